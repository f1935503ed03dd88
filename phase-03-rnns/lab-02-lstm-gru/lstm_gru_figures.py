"""The figures of lab 3.2."""

from __future__ import annotations

from typing import Any

import numpy as np

from labkit import run

COLORS = {"rnn": "C3", "gru": "C2", "lstm": "C0"}
LABELS = {
    "rnn": "vanilla RNN", "gru": "GRU", "lstm_0": "LSTM, b_f = 0", "lstm_1": "LSTM, b_f = 1",
    "lstm_lag": "LSTM, b_f = ln(lag - 1)", "rnn_fast": "vanilla RNN, rate 3e-2",
    "rnn_blank": "vanilla RNN, blanks instead of chatter",
}  # fmt: skip
STYLES = {"lstm_1": "--", "lstm_lag": ":"}


def text(args: Any, found: dict[str, Any]) -> None:
    """Left: training loss. Right: held-out perplexity of every seed."""
    fig, (left, right) = run.figure(1, 2, width=10, height=4.2)
    for place, (name, values) in enumerate(found["models"].items()):
        color, curve = COLORS[name.split("_")[0]], values["curve"]
        window = max(1, len(curve) // 25)
        smooth = np.convolve(curve, np.ones(window) / window, mode="valid")
        label = f"{LABELS[name]}, F = {values['hidden']}"
        left.plot(np.arange(len(smooth)) + window, smooth, STYLES.get(name, "-"), color=color, label=label)
        right.plot([place] * found["seeds"], values["perplexity_by_seed"], "o", color=color, alpha=0.6)
        right.plot([place - 0.25, place + 0.25], [values["perplexity"]] * 2, color=color)
    left.set(
        xlabel="steps", ylabel=f"training loss, nats (mean of {window} chunks)", title="Equal parameters, equal steps"
    )
    left.legend()
    right.set_xticks(range(len(found["models"])), [LABELS[name].replace(", ", "\n") for name in found["models"]])
    right.set(xlim=(-0.6, len(found["models"]) - 0.4), ylabel="held-out perplexity")
    right.set_title(f"{found['seeds']} seeds and their mean")
    run.save_figure(args, fig, "text.png")


def gradients(args: Any, found: dict[str, Any]) -> None:
    fig, axes = run.figure(1, 2, width=10, height=4.2)
    for ax, when, title in zip(axes, ("start", "trained"), ("Before training", "After training on text")):
        for name, norms in found[when].items():
            color = COLORS[name.split("_")[0]]
            ax.semilogy(range(1, len(norms) + 1), norms, STYLES.get(name, "-"), color=color, label=LABELS[name])
        ax.set(xlabel="steps k between state and loss", title=title)
        ax.legend()
    axes[0].set_ylabel("gradient, as a share of k = 1")
    low = min(min(norms) for norms in found["trained"].values())
    for ax in axes:
        ax.set_ylim(max(low, 1e-24) / 10, 10)
    run.save_figure(args, fig, "gradients.png")


def copy(args: Any, found: dict[str, Any]) -> None:
    fig, ax = run.figure(width=7.5, height=4.2)
    styles = {"rnn_fast": "-.", "lstm_1": "--", "rnn_short": "--", "rnn_blank": ":"}
    for name, values in found["trials"].items():
        kind = name.split("_")[0]
        label = LABELS.get(name, f"vanilla RNN, lag {values['lag']}")
        steps = (np.arange(len(values["curve"])) + 1) * args.copy_steps / len(values["curve"])
        ax.plot(steps, 100 * np.array(values["curve"]), styles.get(name, "-"), color=COLORS[kind], label=label)
    ax.axhline(100 * found["chance"], color="0.35", linewidth=1, linestyle=":", label="guessing")
    ax.set(
        xlabel="steps",
        ylabel="right answers, %",
        title=f"One of {1 / found['chance']:.0f} symbols, {args.lag} steps later",
        ylim=(0, 103),
    )
    ax.legend(fontsize=8)
    run.save_figure(args, fig, "copy.png")
