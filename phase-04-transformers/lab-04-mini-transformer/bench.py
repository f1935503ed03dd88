"""Time of a training step of `MiniGPT` against a GPT-2 of transformers of the same size: the median of paired ratios.

python bench.py                          three sizes, float32, two minutes or so
python bench.py --device cuda            the same on a GPU
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import solution
import torch
from torch import nn
from transformers.utils import logging

from labkit import run
from labkit.reference.mini_transformer import hf_weights

PRESETS = {
    "smoke": {"widths": [32], "layers": 2, "vocab": 128, "length": 32, "batch": 2, "repeats": 2, "threads": 1},
    "cpu": {
        "widths": [64, 128, 256],
        "layers": 4,
        "vocab": 1024,
        "length": 128,
        "batch": 8,
        "repeats": 15,
        "threads": 1,
    },
}


def training_step(model: nn.Module, loss_of: Callable[[], torch.Tensor], device: str) -> Callable[[], float]:
    """One step of AdamW; what it returns is the seconds it took."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> float:
        synchronize(device)
        began = time.perf_counter()
        optimizer.zero_grad()
        loss_of().backward()
        optimizer.step()
        synchronize(device)
        return time.perf_counter() - began

    return step


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def paired(first: Callable[[], float], second: Callable[[], float], repeats: int, what: str) -> dict[str, float]:
    """Both take turns, so that a busy moment of the machine hits both alike; the ratio is the median over the pairs."""
    first(), second()  # the first step of anything is slow
    pairs = [(first(), second()) for _ in run.progress(range(repeats), what)]
    ratios = [one / other for one, other in pairs]
    first_ms, second_ms = (1e3 * statistics.median(times) for times in zip(*pairs))
    found = {"first_ms": first_ms, "second_ms": second_ms, "ratio": statistics.median(ratios)}
    return found | {"ratio_low": min(ratios), "ratio_high": max(ratios)}


def config_of(width: int, args: Any, **parts: Any) -> solution.GPTConfig:
    heads = max(1, width // 32)
    sizes = {"vocab_size": args.vocab, "block_size": args.length, "n_layers": args.layers}
    return solution.GPTConfig.gpt2(**sizes, n_heads=heads, d_model=width, **parts)


def batch(args: Any) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(args.vocab, (args.batch, args.length + 1), device=args.device)
    inputs, targets = solution.shift(ids)
    return inputs.contiguous(), targets.contiguous()


def against_transformers(width: int, args: Any) -> dict[str, float]:
    ours = solution.MiniGPT(config_of(width, args)).to(args.device)
    theirs = hf_weights.to_transformers(ours)
    inputs, targets = batch(args)

    def our_loss() -> torch.Tensor:
        return ours(inputs, targets)[1]

    def their_loss() -> torch.Tensor:  # shift_labels: the targets as they are, not shifted once more
        return theirs(inputs, labels=inputs, shift_labels=targets, use_cache=False).loss

    with torch.no_grad():
        apart = (our_loss() - their_loss()).abs().item()
    assert apart < 1e-4, f"the two models' losses are {apart} apart: they do not compute the same thing"
    steps = training_step(ours, our_loss, args.device), training_step(theirs, their_loss, args.device)
    parameters = solution.count_parameters(ours.config)
    return {"parameters": parameters, **paired(*steps, args.repeats, f"width {width}")}


def norm_against_norm(width: int, args: Any) -> dict[str, float]:
    """A step with this lab's RMSNorm, three operations, against one with torch's LayerNorm, one kernel."""
    inputs, targets = batch(args)

    def step(norm: str) -> Callable[[], float]:
        model = solution.MiniGPT(config_of(width, args, norm=norm)).to(args.device)
        return training_step(model, lambda: model(inputs, targets)[1], args.device)

    return paired(step("rmsnorm"), step("layernorm"), args.repeats, "norms")


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, device=True)
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    found = {width: against_transformers(width, args) for width in args.widths}
    title = f"{args.layers} layers, vocabulary {args.vocab:,}, batch {args.batch} x {args.length} tokens, float32"
    print(f"One training step, {title}, {args.device}\n")
    headers = ["width", "parameters", "ours, ms", "transformers, ms", "ratio"]
    keys = ("parameters", "first_ms", "second_ms", "ratio")
    print(run.table(headers, [[width, *(row[key] for key in keys)] for width, row in found.items()]))
    worst = max(row["ratio"] for row in found.values())
    print(f"\nMedian of {args.repeats} paired ratios; the largest is {worst:.2f}, the goal is at most 1.0")
    norms = norm_against_norm(args.widths[-1], args)
    print(f"RMSNorm against LayerNorm at width {args.widths[-1]}: {norms['ratio']:.2f}")
    widths = {str(width): row for width, row in found.items()}
    run.save_results(args, {"widths": widths, "worst": worst, "norms": norms}, "bench")


if __name__ == "__main__":
    run.main(main)
