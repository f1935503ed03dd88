"""Speed of this lab's layer against nn.MultiheadAttention, whose weights it copies, and against a loop over heads.

python bench.py                                  three sizes, forward and backward, half a minute
python bench.py --device cuda --widths 512 1024 2048
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import solution
import torch
from torch import Tensor, nn

from labkit import run

PRESETS = {
    "smoke": {"widths": [64, 128], "tokens": 32, "batch": 2, "head_size": 32, "rounds": 3},
    "cpu": {"widths": [128, 256, 512], "tokens": 128, "batch": 8, "head_size": 64, "rounds": 41},
}
GOAL, LIMIT = 1.1, 1.25  # of the ratio to nn.MultiheadAttention
MODES = {"forward": "forward, no gradient", "training": "forward and backward"}


def layers(width: int, mode: str, args: Any) -> dict[str, Callable[[Tensor], Tensor]]:
    """Self-attention with biases and the same weights in all three; the loop, which knows no biases, goes without.

    Without gradients torch's layer is in eval mode, where it takes a path of its own that is faster still.
    """
    theirs = nn.MultiheadAttention(width, width // args.head_size, batch_first=True, device=args.device)
    ours = solution.from_torch(theirs.train(mode == "training"))

    def loop(x: Tensor) -> Tensor:
        return solution.heads_one_by_one(x, x, *ours.per_head())

    return {"torch": lambda x: theirs(x, x, x, need_weights=False)[0], "fused": ours, "loop": loop}


def workload(layer: Callable[[Tensor], Tensor], x: Tensor, mode: str) -> Callable[[], Any]:
    """One call without autograd, or one with the backward pass behind it, into the input and the weights."""
    if mode == "forward":
        return torch.no_grad()(lambda: layer(x))
    leaf = x.clone().requires_grad_()
    return lambda: layer(leaf).sum().backward()


def interleaved(works: dict[str, Callable[[], Any]], rounds: int, device: str) -> dict[str, float]:
    """Median milliseconds of each, and the median over the rounds of its ratio to torch in the *same* round.

    The layers take turns, so that a busy moment of the machine hits all of them, and a ratio compares neighbours.
    """
    for work in works.values():
        work()  # the first call of anything is slow
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(run.milliseconds(work, device))
    found = {f"{name}_ms": median(values) for name, values in times.items()}
    for name in ("fused", "loop"):
        found[f"{name}_ratio"] = median(a / b for a, b in zip(times[name], times["torch"]))
    return found


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, device=True)
    torch.set_num_threads(1)
    found: dict[str, dict] = {mode: {} for mode in MODES}
    for width in run.progress(args.widths, "widths"):
        x = torch.randn(args.batch, args.tokens, width, device=args.device)
        for mode in MODES:
            compared = layers(width, mode, args)
            works = {name: workload(layer, x, mode) for name, layer in compared.items()}
            found[mode][str(width)] = interleaved(works, args.rounds, args.device)
    print(f"{args.batch} sequences of {args.tokens} tokens, heads of {args.head_size}, float32; {args.rounds} rounds")
    print("x: median ratio to nn.MultiheadAttention in the same round\n")
    for mode, title in MODES.items():
        rows = [
            [width, *(f"{row[key]:.2f}" for key in ("torch_ms", "fused_ms", "fused_ratio", "loop_ms", "loop_ratio"))]
            for width, row in found[mode].items()
        ]
        print(f"{title}\n{run.table(['D', 'torch ms', 'fused ms', 'x', 'loop ms', 'x'], rows)}\n")
    worst = max(row["fused_ratio"] for rows in found.values() for row in rows.values())
    loops = [row["loop_ratio"] for rows in found.values() for row in rows.values()]
    verdict = "within the goal" if worst <= GOAL else "above the goal" if worst <= LIMIT else "above the limit"
    print(f"worst ratio {worst:.2f}: {verdict} (goal {GOAL}, limit {LIMIT})")
    plot(args, found)
    extremes = {"worst_ratio": worst, "least_loop_ratio": min(loops), "worst_loop_ratio": max(loops)}
    run.save_results(args, found | extremes, "bench")


def plot(args: Any, found: dict[str, dict]) -> None:
    fig, axes = run.figure(1, 2, width=9, height=3.6)
    for ax, (mode, title) in zip(axes, MODES.items()):
        for offset, name, label in ((-0.2, "fused", "this lab, fused"), (0.2, "loop", "this lab, head by head")):
            ratios = [row[f"{name}_ratio"] for row in found[mode].values()]
            bars = ax.bar([i + offset for i in range(len(ratios))], ratios, 0.38, label=label)
            ax.bar_label(bars, fmt="%.2f", fontsize=9)
        ax.axhline(1, color="k", linestyle=":", linewidth=1.2)
        ax.set_xticks(range(len(found[mode])), [f"D = {width}" for width in found[mode]])
        ax.set(title=title, ylabel="time / nn.MultiheadAttention")
        ax.set_ylim(0, 1.3 * ax.get_ylim()[1])  # room for the legend
    axes[0].legend(loc="upper right")
    run.save_figure(args, fig, "bench.png")


if __name__ == "__main__":
    run.main(main)
