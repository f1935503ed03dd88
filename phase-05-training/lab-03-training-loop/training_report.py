"""What `python solution.py` (or your finished lab.py) shows: agreements, precision, recomputation, optimizers, kills.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from labkit.reference.training_loop.window_lm import MarkovSource, TokenBatches, WindowLM
from torch import Tensor, nn

from labkit import run
from labkit.reference import char_rnn
from labkit.reference.training_loop import training_figures

BATCH, LENGTH, ACCUMULATION = 16, 32, 2
SCALES = [2.0**k for k in range(0, 33, 2)]


def show(args: Any, lab: SimpleNamespace) -> None:
    source = MarkovSource()
    letters, held_out = source.write(args.tokens, seed=1), source.write(max(4_000, args.tokens // 20), seed=2)
    results: dict[str, Any] = {"kills": kills(args, lab)}
    results["agreement"] = agreement(lab, letters)
    results["floors"] = floors(source, letters, held_out)
    ids = torch.from_numpy(letters).to(args.device)
    results["fp16"] = fp16(args, lab, ids)
    results["recompute"] = recomputation(args, lab, ids)
    results["range_test"], results["optimizers"], curves = optimizers(args, lab, ids, held_out)
    table = [[name, run_["lr"], run_["held_out"]] for name, run_ in results["optimizers"].items()]
    print("\nheld-out nats per letter after training")
    print(run.table(["optimizer", "peak rate", "held out"], table))
    training_figures.plot_precision(args, results["fp16"])
    training_figures.plot_training(args, results, curves)
    run.save_results(args, results)


def new_trainer(lab: SimpleNamespace, ids: Tensor, optimizer: str = "AdamW", peak: float = 3e-3, updates: int = 1000,
                **how: Any) -> Any:  # fmt: skip
    """A small model, the same at every call, and its trainer."""
    torch.manual_seed(0)
    model = WindowLM(MarkovSource().vocab_size).to(ids.device)
    if optimizer == "Muon":
        hidden = {id(p) for p in model.blocks.parameters() if p.ndim == 2}
        groups = [
            {"params": [p for p in model.parameters() if (id(p) in hidden) == inside], "orthogonal": inside}
            for inside in (True, False)
        ]
        rule = lab.Muon(groups, weight_decay=0.1)
    else:
        rule = getattr(lab, optimizer)(model.parameters(), weight_decay=0.1)
    schedule = partial(lab.learning_rate, peak=peak, warmup=max(1, updates // 20), total=updates, floor=peak / 10)
    batches = TokenBatches(ids, BATCH, LENGTH)
    return lab.Trainer(model, rule, batches, schedule, accumulation=ACCUMULATION, **how)


# ---------------------------------------------------------------- the proof


def kills(args: Any, lab: SimpleNamespace) -> dict[str, Any]:
    """Runs kill_and_resume.py on the file that was started, in a process of its own."""
    if not hasattr(os, "fork"):
        print("kill and resume: needs fork, which Windows does not have")
        return {}
    script = Path(__file__).with_name("kill_and_resume.py")
    command = [sys.executable, script, Path(lab.__file__), "--kills", str(args.kills), "--seed", str(args.seed)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found["same_end"] = int(found["same_end"])
    print(f"killed {found['kills']} times with signal 9, {found['inside_a_save']} of them inside a save")
    print(f"updates {found['updates']}, done again after a kill {found['updates_done_again']}")
    print(f"losses that differ from the uninterrupted run {found['different_losses']}")
    print(f"last checkpoint {'identical, bit by bit' if found['same_end'] else 'different'}\n")
    return found


# ---------------------------------------------------------------- agreement with torch


def agreement(lab: SimpleNamespace, letters: np.ndarray) -> dict[str, float]:
    """Largest differences, in float64, from what torch ships."""
    torch.manual_seed(0)
    start, gradients = torch.randn(6, 9).double(), torch.randn(20, 6, 9).double()

    def after(optimizer: Any, p: Tensor) -> Tensor:
        for g in gradients:
            p.grad = g.clone()
            optimizer.step()
        return p.detach()

    def differs(ours: type, theirs: type, how: dict[str, Any], more: dict[str, Any]) -> float:
        a, b = (nn.Parameter(start.clone()) for _ in range(2))
        return (after(ours([a], **how), a) - after(theirs([b], **how, **more), b)).abs().max().item()

    how = {"lr": 0.02, "weight_decay": 0.1}
    found = {"adamw": differs(lab.AdamW, torch.optim.AdamW, how, {"betas": (0.9, 0.95)})}
    models = [WindowLM(MarkovSource().vocab_size, dropout=0.2).double() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, clip in zip(models, (lab.clip_grad_norm, nn.utils.clip_grad_norm_)):
        for i, p in enumerate(model.parameters()):
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(i)).double()
        clip(model.parameters(), 1.0)
    found["clip"] = worst(models)
    rows = torch.from_numpy(letters[: 7 * 33]).view(7, 33)
    pieces = [(r[:, :-1], r[:, 1:]) for r in (rows[:4], rows[4:6], rows[6:, :12])]  # 128, 64 and 11 targets
    for model in models:
        model.zero_grad()
        model.eval()
    lab.accumulate(models[0], pieces)
    padded = torch.full((7, 32), lab.IGNORE)
    padded[:6], padded[6, :11] = rows[:6, 1:], rows[6, 1:12]
    lab.accumulate(models[1], [(rows[:, :-1], padded)])
    found["accumulate"] = worst(models)
    models[1].zero_grad()
    for inputs, targets in pieces:
        (nn.functional.cross_entropy(models[1](inputs).mT, targets) / len(pieces)).backward()
    found["mean_of_means"] = worst(models)
    names = {"adamw": "AdamW after 20 updates", "clip": "clipped gradients", "accumulate": "three uneven micro-batches"}
    names["mean_of_means"] = "the same, but a mean of means"
    print(run.table(["largest difference, float64", "from torch"], [[names[k], f"{v:.0e}"] for k, v in found.items()]))
    print()
    return found


def worst(models: list[nn.Module]) -> float:
    return max((a.grad - b.grad).abs().max().item() for a, b in zip(*(m.parameters() for m in models)))


# ---------------------------------------------------------------- floors


def floors(source: MarkovSource, letters: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    """What a model has to beat, and what none can beat, in nats per held-out letter."""
    found = {"uniform": math.log(source.vocab_size)}
    for n, name in ((1, "unigram"), (2, "bigram"), (3, "trigram")):
        grams = char_rnn.ngrams(held_out, n)
        found[name] = float(-np.log(char_rnn.kneser_ney(letters, grams, source.vocab_size)).mean())
    found["entropy"] = source.nats(held_out)
    print("nats per held-out letter")
    labels = {"uniform": "uniform, ln V", "entropy": "the source itself"}
    rows = [[labels.get(name, f"{name}, Kneser-Ney"), nats] for name, nats in found.items()]
    print(run.table(["floor", "nats"], rows) + "\n")
    return found


# ---------------------------------------------------------------- FP16


def fp16(args: Any, lab: SimpleNamespace, ids: Tensor) -> dict[str, Any]:
    """What FP16 loses of a half-trained model's gradients at every loss scale; then the scaler at work.

    The gradients are those of what the linear layers put out: under autocast these are the ones that have 16 bits.
    """
    trainer = new_trainer(lab, ids, updates=args.updates)
    for _ in trainer.train(max(4, args.updates // 5)):
        pass
    outputs: list[Tensor] = []

    def watch(module: nn.Module, inputs: Any, out: Tensor) -> None:
        out.retain_grad()
        outputs.append(out)

    hooks = [m.register_forward_hook(watch) for m in trainer.model.modules() if isinstance(m, nn.Linear)]
    lab.accumulate(trainer.model, [next(trainer.batches) for _ in range(ACCUMULATION)])
    for hook in hooks:
        hook.remove()
    gradient = torch.cat([out.grad.flatten() for out in outputs]).cpu()
    gradient = gradient[gradient != 0]
    lost, subnormal, overflowed = [], [], []
    for scale in SCALES:
        half = (gradient * scale).half()
        lost.append((half == 0).double().mean().item())
        subnormal.append(((half != 0) & (half.abs() < 2.0**-14)).double().mean().item())
        overflowed.append(half.isinf().double().mean().item())
    exponents = gradient.abs().log2().floor().clamp(-60, 20).long()
    counts = torch.bincount(exponents + 60, minlength=81).double()
    runs = {}
    for name, dtype in (("float32", None), ("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        scaler = lab.LossScaler(scale=2.0**30, interval=max(5, args.updates // 30)) if name == "float16" else None
        trainer = new_trainer(lab, ids, updates=args.updates, dtype=dtype, scaler=scaler)
        losses, scales, skipped = [], [], 0
        for update in run.progress(trainer.train(args.updates), name, total=args.updates):
            losses.append(update.loss)
            skipped += not update.accepted
            scales.append(math.log2(trainer.scaler.scale) if scaler else 0.0)
        runs[name] = {"final": float(np.mean(losses[-len(losses) // 10 :])), "skipped": skipped}
        if scaler:
            runs[name]["log2_scale"] = scales
    rows = [[name, r["final"], r["skipped"]] for name, r in runs.items()]
    print("training loss at the end, and updates skipped for overflow")
    print(run.table(["autocast", "nats", "skipped"], rows) + "\n")
    best = min(range(len(SCALES)), key=lambda i: (overflowed[i] > 0, lost[i] + subnormal[i]))
    return {
        "scales": [math.log2(s) for s in SCALES],
        "lost": lost,
        "subnormal": subnormal,
        "overflowed": overflowed,
        "subnormal_without": subnormal[0],
        "subnormal_at_best": subnormal[best],
        "lost_without": lost[0],
        "lost_at_best": lost[best],
        "best_log2": math.log2(SCALES[best]),
        "exponents": (counts / counts.sum()).tolist(),
        "runs": runs,
    }


# ---------------------------------------------------------------- recomputation


def recomputation(args: Any, lab: SimpleNamespace, ids: Tensor) -> dict[str, float]:
    """Bytes that autograd keeps between forward and backward, and the CPU time of both, with and without it."""
    inputs, targets = next(TokenBatches(ids, 32, LENGTH))
    kept, seconds, gradients = {}, {}, {}
    for name, how in (("kept", lambda block, x: block(x)), ("recomputed", lab.recompute)):
        torch.manual_seed(0)
        model = WindowLM(MarkovSource().vocab_size, layers=12, hidden=256, dropout=0.1, run=how).to(ids.device)
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        blocks: dict[int, int] = {}

        def note(tensor: Tensor, blocks: dict[int, int] = blocks, weights: set[int] = weights) -> Tensor:
            if tensor.untyped_storage().data_ptr() not in weights:
                blocks[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = lab.summed_nats(model(inputs), targets)
        loss.backward()
        kept[name] = sum(blocks.values()) / 2**20
        gradients[name] = torch.cat([p.grad.flatten() for p in model.parameters()])
        times = []
        for _ in range(args.repeats):
            started = time.process_time()
            lab.summed_nats(model(inputs), targets).backward()
            times.append(time.process_time() - started)
        seconds[name] = min(times)
    same = torch.equal(gradients["kept"], gradients["recomputed"])
    found = {f"mib_{name}": value for name, value in kept.items()} | {"ms_kept": seconds["kept"] * 1e3}
    found |= {"ms_recomputed": seconds["recomputed"] * 1e3, "memory_ratio": kept["kept"] / kept["recomputed"]}
    found |= {"time_ratio": seconds["recomputed"] / seconds["kept"], "same_gradients": int(same)}
    rows = [["kept" if name == "kept" else "computed again", kept[name], seconds[name] * 1e3] for name in kept]
    print("12 blocks with dropout: activations for the backward pass, and forward + backward")
    print(run.table(["inside a block", "MiB", "CPU ms"], rows))
    print(f"gradients {'identical, bit by bit' if same else 'different'}\n")
    return found


# ---------------------------------------------------------------- optimizers


def lr_range_test(trainer: Any, low: float, high: float, updates: int) -> list[tuple[float, float]]:
    """(rate, loss) of updates whose rate grows by a constant factor from low to high; stops when the loss explodes.

    The trainer is put back to where it was: its state is copied first, since a state_dict shares memory with its owner.
    """
    before, schedule = copy.deepcopy(trainer.state_dict()), trainer.schedule
    start, found = trainer.step, []
    trainer.schedule = lambda step: low * (high / low) ** ((step - start) / (updates - 1))
    for update in trainer.train(start + updates):
        found.append((update.lr, update.loss))
        if not math.isfinite(update.loss) or update.loss > 2 * found[0][1]:
            break
    trainer.schedule = schedule
    trainer.load_state_dict(before)
    return found


def suggested_rate(curve: list[tuple[float, float]]) -> float:
    """A quarter of the rate at which the smoothed loss is lowest.      after Smith 2017"""
    rates, losses = np.array(curve).T
    smooth = np.convolve(np.pad(losses, 4, mode="edge"), np.ones(9) / 9, mode="valid")
    return float(rates[np.nanargmin(smooth)] / 4)


def optimizers(args: Any, lab: SimpleNamespace, ids: Tensor, held_out: np.ndarray) -> tuple[dict, dict, dict]:
    """A range test for each optimizer, then training at the rate it suggests."""
    tests, runs, curves = {}, {}, {}
    windows = torch.from_numpy(held_out).to(ids.device).unfold(0, LENGTH + 1, LENGTH)
    for name in training_figures.COLOURS:
        trainer = new_trainer(lab, ids, name)
        curve = lr_range_test(trainer, 1e-5, 3.0, max(9, args.updates // 5))
        peak = suggested_rate(curve)
        trainer = new_trainer(lab, ids, name, peak, args.updates, guard=lab.SpikeGuard())
        losses = [u.loss for u in run.progress(trainer.train(args.updates), name, total=args.updates)]
        with torch.no_grad():
            nats = lab.summed_nats(trainer.model(windows[:, :-1]), windows[:, 1:]).item() / windows[:, 1:].numel()
        tests[name] = {"rates": [r for r, _ in curve], "losses": [loss for _, loss in curve]}
        runs[name] = {"lr": peak, "first": losses[0], "held_out": nats}
        curves[name] = losses
    return tests, runs, curves
