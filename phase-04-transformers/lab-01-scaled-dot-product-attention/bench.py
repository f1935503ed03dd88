"""Peak memory and time of the four forms against the sequence length, beside torch's own attention.

python bench.py                                  two heads of 64, causal, T = S up to 4,096, about two minutes
python bench.py --device cuda --lengths 1024 4096 16384
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import solution
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from labkit import run

PRESETS = {
    "smoke": {"lengths": [64, 128], "loop_limit": 64, "tile": 32, "heads": 2, "head_size": 64, "repeats": 1},
    "cpu": {
        "lengths": [64, 128, 256, 512, 1024, 2048, 4096],
        "loop_limit": 128,  # the loop stops here: twice the length is four times the work
        "tile": 128,
        "heads": 2,
        "head_size": 64,
        "repeats": 3,
    },
}
FORMS = ["loop", "bmm", "einsum", "tiled", "torch"]
MODES = {"forward": "Forward", "training": "Forward and backward"}


def causal_form(name: str, tile: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Causal self-attention in one of the forms. Those that need a (T, T) mask make it: it is part of the bill."""

    def masked(attend: Callable) -> Callable:
        return lambda q, k, v: attend(q, k, v, solution.causal_mask(q.size(2), k.size(2), device=q.device))

    return {
        "loop": masked(solution.attend_loop),
        "bmm": masked(solution.attend_bmm),
        "einsum": masked(lambda *inputs: solution.attend_einsum(*inputs)[0]),
        "tiled": lambda q, k, v: solution.attend_tiled(q, k, v, causal=True, tile=tile),
        "torch": lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True),
    }[name]


def measure(name: str, length: int, mode: str, args: dict[str, Any]) -> dict[str, float | None]:
    """Peak MiB beyond the inputs, and milliseconds (best of the repeats).

    Runs in a process of its own: memory that an earlier call freed but the process kept would hide the next peak.
    """
    torch.set_num_threads(1)
    attend = causal_form(name, args["tile"])
    workload(attend, 16, mode, args)()  # the first call of anything loads libraries
    work = workload(attend, length, mode, args)
    peak = peak_mib(work, args["device"])
    return {
        f"{mode}_mib": peak,
        f"{mode}_ms": min(run.milliseconds(work, args["device"]) for _ in range(args["repeats"])),
    }


def workload(attend: Callable, length: int, mode: str, args: dict[str, Any]) -> Callable[[], Any]:
    """One call of attention without autograd, or one with the backward pass behind it."""
    shape = (1, args["heads"], length, args["head_size"])
    q, k, v, d_out = (torch.randn(shape, device=args["device"]) for _ in range(4))
    if mode == "forward":
        return lambda: attend(q, k, v)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    return lambda: torch.autograd.grad(attend(*leaves), leaves, d_out)


def peak_mib(work: Callable[[], Any], device: str) -> float | None:
    """How far memory rose during the call: the process's own high-water mark, so nothing inside a kernel is missed.

    None where there is no way to reset that mark (CPU on anything but Linux).
    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not reset.exists():
        work()
        return None
    reset.write_text("5")
    before = status.read_text()
    work()
    kib = [int(re.search(rf"{field}:\s+(\d+) kB", text)[1]) for field, text in
           (("VmRSS", before), ("VmHWM", status.read_text()))]  # fmt: skip
    return max(0, kib[1] - kib[0]) / 2**10


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, device=True)
    torch.set_num_threads(1)
    settings = {key: getattr(args, key) for key in ("tile", "heads", "head_size", "repeats", "device")}
    jobs = [
        (name, length, mode, settings) for length in args.lengths for name in FORMS for mode in MODES
        if name != "loop" or length <= args.loop_limit
    ]  # fmt: skip
    found: dict[str, dict] = {name: {} for name in FORMS}
    with processes().Pool(1, maxtasksperchild=1) as pool:
        for job in run.progress(jobs, "forms and lengths"):
            found[job[0]].setdefault(job[1], {}).update(pool.apply(measure, job))
    print(f"One sequence, {args.heads} heads of {args.head_size}, causal, float32, one thread; tile {args.tile}\n")
    for mode, title in MODES.items():
        for unit, words in (("ms", "milliseconds"), ("mib", "peak MiB beyond the inputs")):
            rows = [
                [length, *(cell(found[name].get(length, {}).get(f"{mode}_{unit}")) for name in FORMS)]
                for length in args.lengths
            ]
            print(f"{title}, {words}\n{run.table(['T', *FORMS], rows)}\n")
    plot(args, found)
    run.save_results(args, summary(args, found), "bench")


def processes() -> Any:
    """Fresh processes that need not import torch again, where the platform has them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "labkit.run"])
    return context


def cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def summary(args: Any, found: dict[str, dict]) -> dict[str, Any]:
    """Every measurement by form, quantity and length, and the ratios at the longest length."""
    results: dict[str, Any] = {"tile": args.tile, "heads": args.heads, "head_size": args.head_size}
    for name, by_length in found.items():
        quantities = next(iter(by_length.values()))
        results[name] = {key: {str(n): row[key] for n, row in by_length.items()} for key in quantities}
    longest = args.lengths[-1]
    ours, peer, torch_own = (found[name][longest] for name in ("tiled", "bmm", "torch"))
    results["longest"] = longest
    for key in ours:
        if ours[key] and torch_own[key]:
            results[f"{key}_bmm_over_tiled"] = peer[key] / ours[key]
            results[f"{key}_tiled_over_torch"] = ours[key] / torch_own[key]
    return results


def plot(args: Any, found: dict[str, dict]) -> None:
    fig, axes = run.figure(1, 2, width=10, height=4.2)
    for ax, (quantity, label) in zip(axes, (("training_ms", "ms"), ("training_mib", "peak MiB beyond the inputs"))):
        for name, marker in zip(FORMS, "xos^d"):
            points = [(n, row[quantity]) for n, row in found[name].items() if row[quantity]]
            if points:
                ax.loglog(*zip(*points), marker=marker, markersize=5, label=name)
        ax.set_xticks(args.lengths, [f"{n:,}" for n in args.lengths])
        ax.minorticks_off()
        ax.set(xlabel="sequence length T = S", ylabel=label)
    axes[0].set_title("Time, forward and backward")
    axes[1].set_title("Memory, forward and backward")
    axes[0].legend()
    run.save_figure(args, fig, "bench.png")


if __name__ == "__main__":
    run.main(main)
