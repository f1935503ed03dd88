"""What each part of the decoder is worth at small scale: pre-norm and warmup, norms, MLPs, positions, depth and width.

python ablations.py                    72 short trainings on bytes of text, two at a time
python ablations.py --preset full      longer, deeper, five seeds: hours

Every run is plain AdamW without weight decay, clipping or learning-rate decay, so that nothing hides an instability.
Fresh matrices are as large as GPT-2's relative to the width: 0.02 at width 768 is 0.08 at width 48.
Runs with the same seed see the same batches. The score is the loss on held-out text, in nats per byte.
"""

from __future__ import annotations

import importlib.util
import math
import multiprocessing
import statistics
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from labkit import run

PRESETS = {
    "smoke": {
        "steps": 2, "batch": 4, "seeds": 1, "depth": 2, "rates": [3e-3], "windows": 8, "characters": 20_000,
        "workers": 1,
    },
    "cpu": {
        "steps": 200, "batch": 8, "seeds": 3, "depth": 8, "rates": [1e-3, 3e-3, 1e-2], "windows": 128,
        "characters": 1_200_000, "workers": 2,
    },
    "full": {
        "steps": 5_000, "batch": 16, "seeds": 5, "depth": 24, "rates": [3e-4, 1e-3, 3e-3, 1e-2], "windows": 2_000,
        "characters": 10**9, "workers": 2,
    },
}  # fmt: skip
LENGTH = 64
WARM = 0.2  # share of the steps over which the learning rate rises
SIZES = {"vocab_size": 256, "block_size": LENGTH, "n_heads": 2}
PARTS = {  # what differs from the first
    "gpt2": {},
    "rmsnorm": {"norm": "rmsnorm"},
    "swiglu": {"mlp": "swiglu"},
    "rope": {"pos": "rope"},
    "std 0.02": {"init_std": 0.02},
    "llama": {"norm": "rmsnorm", "mlp": "swiglu", "pos": "rope", "bias": False},
}
GPT2_STD = 0.02
SHAPES = [(1, 192), (2, 136), (4, 96), (8, 68)]  # layers, width: N D² within half a percent


@dataclass(frozen=True)
class Job:
    """One training run. `config`: what to change in GPTConfig's defaults."""

    family: str
    name: str
    seed: int
    config: dict[str, Any] = field(hash=False)
    rate: float = 3e-3
    warm: float = WARM


def scaled_std(width: int) -> float:
    """GPT-2's 0.02 at width 768, at another width: what a matrix does to the size of a vector stays the same."""
    return GPT2_STD * math.sqrt(768 / width)


def jobs(args: Any) -> Iterator[Job]:
    for seed in range(args.seeds):
        for place in ("pre", "post"):
            thin = {"n_layers": args.depth, "d_model": 48, "norm_position": place}
            for warm in (WARM, 0.0):
                for rate in args.rates:
                    name = f"{place}-norm, {'warmup' if warm else 'none'}"
                    yield Job("norm", name, seed, thin | {"init_std": scaled_std(48)}, rate, warm)
            yield Job("std", f"{place}-norm", seed, thin | {"init_std": GPT2_STD}, args.rates[0])
        base = {"n_layers": 4, "d_model": 96, "init_std": scaled_std(96)}
        for name, parts in PARTS.items():
            yield Job("parts", name, seed, base | parts)
        for layers, width in SHAPES:
            yield Job("shape", f"{layers} x {width}", seed, base | {
                "n_layers": layers, "d_model": width, "init_std": scaled_std(width)
            })  # fmt: skip


# ---------------------------------------------------------------- one run

_lab: ModuleType  # the file whose model is trained: solution.py, or a learner's lab.py
_text: Tensor  # uint8


def prepare(lab_file: str, text: bytes) -> None:
    """What every process needs before its first job."""
    global _lab, _text
    spec = importlib.util.spec_from_file_location("mini_transformer_under_study", lab_file)
    _lab = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = _lab
    spec.loader.exec_module(_lab)
    _text = torch.frombuffer(bytearray(text), dtype=torch.uint8)


def windows(part: Tensor, count: int, seed: int) -> Tensor:
    """`count` random rows of LENGTH + 1 bytes."""
    starts = torch.randint(len(part) - LENGTH, (count, 1), generator=torch.Generator().manual_seed(seed))
    return part[starts + torch.arange(LENGTH + 1)].long()


def train(job: Job, steps: int, batch: int, held_out: int, device: str) -> dict[str, float]:
    """Held-out loss after `steps` steps; a run that ends in NaN or above counts as ln 256, which is knowing nothing."""
    torch.manual_seed(job.seed)
    config = _lab.GPTConfig(**(SIZES | job.config))
    model = _lab.MiniGPT(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    cut = len(_text) * 9 // 10
    rows = windows(_text[:cut], steps * batch, seed=job.seed).view(steps, batch, -1).to(device)
    for step, ids in enumerate(rows):
        rising = min(1.0, (step + 1) / (job.warm * steps)) if job.warm else 1.0
        for group in optimizer.param_groups:
            group["lr"] = job.rate * rising
        optimizer.zero_grad()
        model(*_lab.shift(ids))[1].backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        pieces = windows(_text[cut:], held_out, seed=10**6).split(64)
        losses = [model(*_lab.shift(ids.to(device)))[1].item() for ids in pieces]
    loss = statistics.fmean(losses)
    return {
        "loss": min(loss, math.log(256)) if math.isfinite(loss) else math.log(256),
        "parameters": _lab.count_parameters(config),
        "flops": _lab.flops_per_token(config, LENGTH),
    }


def gradient_norms(lab: Any, depth: int, batch: int, seeds: int) -> dict[str, list[float]]:
    """At the start, before any step: the length of the gradient of every block, for pre- and for post-norm."""
    found = {}
    for place in ("pre", "post"):
        norms = torch.zeros(depth)
        for seed in range(seeds):
            torch.manual_seed(seed)
            thin = {"n_layers": depth, "d_model": 48, "init_std": scaled_std(48)}
            model = lab.MiniGPT(lab.GPTConfig(**SIZES, **thin, norm_position=place))
            model(*lab.shift(windows(_text, batch, seed)))[1].backward()
            norms += torch.tensor([sum(p.grad.square().sum() for p in block.parameters()) for block in model.blocks])
        found[place] = (norms / seeds).sqrt().tolist()
    return found


# ---------------------------------------------------------------- all of them


def run_jobs(args: Any, lab_file: str, text: bytes) -> Iterable[tuple[Job, dict[str, float]]]:
    todo = list(jobs(args))
    rest = [[value] * len(todo) for value in (args.steps, args.batch, args.windows, args.device)]
    prepare(lab_file, text)
    if args.workers == 1:
        yield from zip(todo, run.progress(map(train, todo, *rest), "ablations", len(todo)))
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers, spawn, start_process, (lab_file, text)) as pool:
        yield from zip(todo, run.progress(pool.map(train, todo, *rest), "ablations", len(todo)))


def start_process(lab_file: str, text: bytes) -> None:
    torch.set_num_threads(1)
    prepare(lab_file, text)


def show(args: Any, lab: Any, text: bytes) -> dict[str, Any]:
    """Trains everything, prints three tables, draws two figures, and returns the numbers for results.json.

    lab: the namespace of the file that was started; args.lab_file: that file, which other processes load again
    """
    scores: dict[str, dict[str, dict[str, Any]]] = {"norm": {}, "std": {}, "parts": {}, "shape": {}}
    for job, found in run_jobs(args, args.lab_file, text):
        key = f"{job.name}, {job.rate:g}" if job.family == "norm" else job.name
        entry = scores[job.family].setdefault(key, {**found, "losses": []})
        entry["losses"].append(found["loss"])
    for entry in (entry for family in scores.values() for entry in family.values()):
        entry["loss"] = statistics.fmean(entry["losses"])
        entry["spread"] = max(entry["losses"]) - min(entry["losses"])
    norms = gradient_norms(lab, args.depth, args.batch, args.seeds)
    report(args, scores)
    plot_norms(args, scores["norm"], norms)
    plot_rest(args, scores)
    return {**{family: keyed(entries) for family, entries in scores.items()}, "gradient_norms": norms}


def keyed(entries: dict[str, Any]) -> dict[str, Any]:
    """Names that a README can point at: "pre-norm, warmup, 0.003" becomes pre-norm_warmup_0p003."""
    return {name.replace(", ", "_").replace(" ", "").replace(".", "p"): entry for name, entry in entries.items()}


def combinations() -> list[str]:
    return [f"{place}-norm, {warm}" for place in ("pre", "post") for warm in ("warmup", "none")]


def report(args: Any, scores: dict[str, Any]) -> None:
    runs = f"{args.steps} steps of {args.batch} x {LENGTH} bytes, held-out nats per byte, mean of {args.seeds} seeds"
    print(f"Ablations: {runs}\n")
    rates = [f"{rate:g}" for rate in args.rates]
    rows = [[name, *(scores["norm"][f"{name}, {rate}"]["loss"] for rate in rates)] for name in combinations()]
    print(f"{args.depth} layers, width 48: norm and warmup against the learning rate\n")
    print(run.table(["norm, warmup", *rates], rows) + "\n")
    small = ", ".join(f"{name} {entry['loss']:.3f}" for name, entry in scores["std"].items())
    print(f"with warmup at {rates[0]}, but standard deviation {GPT2_STD} instead of {scaled_std(48):.2f}: {small}\n")
    for family, title in (("parts", "4 layers, width 96: parts"), ("shape", "layers x width at equal compute")):
        rows = [[name, e["parameters"], e["flops"] / 1e6, e["loss"], e["spread"]] for name, e in scores[family].items()]
        print(title + "\n")
        print(run.table(["", "parameters", "MFLOP/token", "loss", "spread"], rows) + "\n")


def plot_norms(args: Any, scores: dict[str, Any], norms: dict[str, list[float]]) -> None:
    fig, (left, right) = run.figure(1, 2, width=10, height=4.2)
    for name in combinations():
        points = [scores[f"{name}, {rate:g}"]["losses"] for rate in args.rates]
        style = {"marker": "o" if name.startswith("pre") else "s", "linestyle": "-" if "warmup" in name else "--"}
        color = "C0" if name.startswith("pre") else "C1"
        label = name.replace("none", "no warmup")
        left.plot(args.rates, [statistics.fmean(p) for p in points], color=color, label=label, **style)
        left.fill_between(args.rates, [min(p) for p in points], [max(p) for p in points], color=color, alpha=0.12)
    left.set_xscale("log")
    left.set_xticks(args.rates, [f"{rate:g}" for rate in args.rates])
    left.minorticks_off()
    left.set(
        title=f"{args.depth} layers after {args.steps} steps", xlabel="learning rate", ylabel="held-out nats per byte"
    )
    left.legend()
    for color, (place, values) in zip(("C0", "C1"), norms.items()):
        marker = "o" if place == "pre" else "s"
        right.plot(range(1, len(values) + 1), values, color=color, marker=marker, label=f"{place}-norm")
    right.set(title="Gradient before the first step", xlabel="block", ylabel="length of its gradient", ylim=(0, None))
    right.legend()
    run.save_figure(args, fig, "pre_and_post_norm.png")


def plot_rest(args: Any, scores: dict[str, Any]) -> None:
    fig, axes = run.figure(1, 2, width=10, height=3.8)
    titles = {"parts": "Parts: 4 layers, width 96", "shape": "Layers x width, equal compute"}
    for ax, (family, title) in zip(axes, titles.items()):
        for place, entry in enumerate(scores[family].values()):
            ax.plot(entry["losses"], [place] * len(entry["losses"]), "o", color="C0", alpha=0.5)
            ax.plot(entry["loss"], place, "|", color="C1", markersize=18, markeredgewidth=2.5)
        ax.set_yticks(range(len(scores[family])), list(scores[family]))
        ax.set(title=title, xlabel="held-out nats per byte", ylim=(len(scores[family]) - 0.5, -0.5))
    run.save_figure(args, fig, "parts_and_shapes.png")


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, data="python-docs", device=True)
    from labkit.reference import mini_transformer

    args.lab_file = str(Path(mini_transformer.__file__))
    text = run.load_data(args).text[: args.characters].encode()
    run.save_results(args, show(args, mini_transformer, text), "ablations")


if __name__ == "__main__":
    run.main(main)
