"""Own cells, one Python step after another, beside nn.LSTM and nn.GRU: milliseconds, their ratio, where they go.

python bench.py                     one thread, 32 rows of 64 steps, about a minute
python bench.py --device cuda       there nn.LSTM and nn.GRU are cuDNN's
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import solution
import torch
from torch import Tensor, nn

from labkit import run

PRESETS = {
    "smoke": {"widths": [16], "input_width": 16, "batch": 4, "steps": 8, "repeats": 2},
    "cpu": {"widths": [64, 128, 256, 512], "input_width": 64, "batch": 32, "steps": 64, "repeats": 15},
}
MATRIX = {"aten::addmm", "aten::mm"}
POINTWISE = {"aten::" + name for name in ("sigmoid", "tanh", "mul", "add", "sigmoid_backward", "tanh_backward")}
PAIRS = {"lstm": (solution.LSTMCell, nn.LSTM), "gru": (solution.GRUCell, nn.GRU)}


def unrolled(cell: nn.Module, x: Tensor) -> Tensor:
    """x: (B, T, D) -> every h (B, T, F), as GatedRNN computes them."""
    state, outputs = x.new_zeros(x.size(0), cell.parts * cell.hidden), []
    for step in x.unbind(1):
        state = cell(step, state)
        outputs.append(state[:, : cell.hidden])
    return torch.stack(outputs, dim=1)


def training(forward: Callable[[], Tensor], parameters: list[nn.Parameter]) -> Callable[[], Any]:
    return lambda: torch.autograd.grad(forward().sum(), parameters)


@torch.no_grad()
def reading(forward: Callable[[], Tensor]) -> Tensor:
    return forward()


def measure(args: Any, kind: str, hidden: int) -> dict[str, float]:
    """Median milliseconds, own and torch's in turn, so that a busy moment of the machine meets both; median ratio."""
    make_own, make_twin = PAIRS[kind]
    own = make_own(args.input_width, hidden).to(args.device)
    twin = make_twin(args.input_width, hidden, batch_first=True).to(args.device)
    x = torch.randn(args.batch, args.steps, args.input_width, device=args.device)
    own_forward, twin_forward = (lambda: unrolled(own, x)), (lambda: twin(x)[0])
    works = {
        "forward": (lambda: reading(own_forward), lambda: reading(twin_forward)),
        "training": (training(own_forward, [*own.parameters()]), training(twin_forward, [*twin.parameters()])),
    }
    found = {}
    for mode, pair in works.items():
        for work in pair:  # the first calls load libraries and choose kernels
            work()
        times = [[run.milliseconds(work, args.device) for work in pair] for _ in range(args.repeats)]
        found[f"{mode}_own_ms"], found[f"{mode}_torch_ms"] = (statistics.median(column) for column in zip(*times))
        found[f"{mode}_ratio"] = statistics.median(a / b for a, b in times)
    return found


def profile(args: Any, hidden: int) -> dict[str, float]:
    """Where a training step of the own LSTM spends its time, in shares, as torch's profiler sees it.

    rest: neither matrix products nor arithmetic entry by entry, but Python, autograd, making tensors and views
    kernels: how many products and entry-by-entry operations there are per time step, forward and backward
    """
    cell = solution.LSTMCell(args.input_width, hidden)
    x = torch.randn(args.batch, args.steps, args.input_width)
    work = training(lambda: unrolled(cell, x), [*cell.parameters()])
    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        total = 1e3 * run.milliseconds(lambda: [work() for _ in range(args.repeats)])  # microseconds, as below
    events = [event for event in seen.key_averages() if event.key in MATRIX | POINTWISE]
    matrix, pointwise = (
        sum(event.self_cpu_time_total for event in events if event.key in group) / total
        for group in (MATRIX, POINTWISE)
    )
    kernels = sum(event.count for event in events) / args.repeats / args.steps
    return {"matrix": matrix, "pointwise": pointwise, "rest": 1 - matrix - pointwise, "kernels": kernels}


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, device=True)
    torch.set_num_threads(1)
    found: dict[str, dict[str, dict]] = {kind: {} for kind in PAIRS}
    rows = []
    for kind, hidden in run.progress([(k, f) for k in PAIRS for f in args.widths], "kinds and widths"):
        values = found[kind][str(hidden)] = measure(args, kind, hidden)
        rows.append([kind, hidden, *(values[f"{m}_{what}"] for m in ("forward", "training")
                                     for what in ("own_ms", "torch_ms", "ratio"))])  # fmt: skip
    print(
        f"{args.batch} rows of {args.steps} steps, input width {args.input_width}, float32, {args.device}, one thread\n"
    )
    print(run.table(["", "F", "forward ms", "torch ms", "ratio", "training ms", "torch ms", "ratio"], rows))
    profiles = {}
    if args.device == "cpu":
        profiles = {str(hidden): profile(args, hidden) for hidden in args.widths}
        rows = [[f, *(f"{100 * p[what]:.0f} %" for what in ("matrix", "pointwise", "rest"))]
                for f, p in profiles.items()]  # fmt: skip
        print("\nown LSTM, training: share of the time")
        print(run.table(["F", "matrix products", "entry by entry", "the rest"], rows))
    settings = {"batch": args.batch, "steps": args.steps, "input_width": args.input_width}
    run.save_results(args, settings | found | {"profile": profiles}, "bench")


if __name__ == "__main__":
    run.main(main)
