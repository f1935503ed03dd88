"""The two figures of lab 5.3."""

from __future__ import annotations

from typing import Any

import numpy as np

from labkit import run

COLOURS = {"AdamW": "C0", "Lion": "C1", "Muon": "C2"}


def plot_precision(args: Any, found: dict[str, Any]) -> None:
    """Left: the gradient's exponents against FP16's range. Middle: what is lost at each scale. Right: the scaler."""
    fig, (left, middle, right) = run.figure(1, 3, width=12, height=3.9)
    exponents = np.arange(-60, 21)
    left.bar(exponents, found["exponents"], width=1.0, color="C0")
    for start, stop, colour in ((-62, -24, "C3"), (-24, -14, "C1")):
        left.axvspan(start, stop, color=colour, alpha=0.15, linewidth=0)
    shown = [e for e, share in zip(exponents, found["exponents"]) if share > 1e-4]
    left.set_xlim(min(*shown, -30) - 1, 1)
    top = left.get_ylim()[1] * 1.25
    left.set_ylim(0, top)
    left.text(-24.3, top * 0.97, "rounded\nto 0", ha="right", va="top", color="C3")
    left.text(-19, top * 0.97, "subnormal", ha="center", va="top", color="C1")
    left.set(xlabel="log₂ |gradient entry|", ylabel="share of entries", title="Small gradients and FP16")
    middle.plot(found["scales"], 100 * np.array(found["lost"]), "o-", color="C3", label="rounded to 0")
    middle.plot(found["scales"], 100 * np.array(found["subnormal"]), "v-", color="C1", label="subnormal: fewer bits")
    middle.plot(found["scales"], 100 * np.array(found["overflowed"]), "s-", color="C0", label="overflowed to inf")
    middle.set(xlabel="log₂ of the loss scale", ylabel="% of entries", title="What FP16 loses")
    middle.legend()
    trace = found["runs"]["float16"]["log2_scale"]
    right.step(range(1, len(trace) + 1), trace, where="post", color="C2")
    right.set(xlabel="update", ylabel="log₂ of the loss scale", title="The scaler finds its size")
    run.save_figure(args, fig, "fp16.png")


def plot_training(args: Any, results: dict[str, Any], curves: dict[str, list[float]]) -> None:
    """Left: the range tests. Right: training with the suggested rates, and the floors."""
    fig, (left, right) = run.figure(1, 2, width=11, height=4.6)
    floors = results["floors"]
    for name, colour in COLOURS.items():
        test = results["range_test"][name]
        left.semilogx(test["rates"], test["losses"], color=colour, label=name)
        left.axvline(results["optimizers"][name]["lr"], color=colour, linestyle=":", linewidth=1.2)
        window = max(1, len(curves[name]) // 50)
        smooth = np.convolve(curves[name], np.ones(window) / window, mode="valid")
        right.plot(np.arange(window, len(curves[name]) + 1), smooth, color=colour, label=name)
    left.set(xlabel="learning rate, growing", ylabel="nats per letter", title="Range test (dotted: the rate chosen)")
    left.set_ylim(floors["entropy"] * 0.9, floors["uniform"] * 1.6)
    left.legend(loc="lower left")
    for name, style in (
        ("uniform", ":"),
        ("unigram", "-."),
        ("bigram", "--"),
        ("trigram", (0, (5, 1))),
        ("entropy", "-"),
    ):
        label = {"uniform": "ln V", "entropy": "entropy of the source"}.get(name, f"{name}, Kneser-Ney")
        for axes in (left, right):
            axes.axhline(floors[name], color="0.35", linestyle=style, linewidth=1, label=label, zorder=1)
    right.set(xlabel="update", ylabel="nats per letter", title="Training loss and its floors")
    right.legend(loc="upper right", fontsize=8, ncols=2)
    right.set_ylim(floors["entropy"] - 0.1, floors["uniform"] + 0.9)
    run.save_figure(args, fig, "training.png")
