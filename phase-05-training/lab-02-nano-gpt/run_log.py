"""What a training run tells while it goes on, and afterwards: a bar, log.jsonl, TensorBoard or W&B, a figure."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from labkit import run


class Log:
    """A with-block; write(record) appends a line to the file, and sends the numbers to TensorBoard or W&B if asked.

    done: updates the resumed checkpoint has; lines of later ones, which are about to be made again, are dropped.
    """

    def __init__(self, path: Path, service: str | None, done: int) -> None:
        kept = [record for record in read(path) if record["step"] <= done] if done else []
        path.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        self.path, self.send = path, sender(service, path.parent) if service else None

    def __enter__(self) -> Log:
        self.file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *problem: object) -> None:
        self.file.close()

    def write(self, record: dict[str, Any]) -> None:
        self.file.write(json.dumps(record) + "\n")
        if "held_out" in record:
            self.file.flush()  # from here a checkpoint goes on
        if self.send:
            self.send({k: float(v) for k, v in record.items() if k != "step"}, record["step"])


def sender(service: str, folder: Path) -> Callable[[dict[str, float], int], None]:
    try:
        if service == "wandb":
            import wandb

            return wandb.init(project="nano-gpt", dir=folder).log
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise SystemExit(f"--log {service}: it is not installed; pip install {service}") from None
    writer = SummaryWriter(folder / "tensorboard")

    def send(numbers: dict[str, float], step: int) -> None:
        for name, number in numbers.items():
            writer.add_scalar(name, number, step)

    return send


def read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextlib.contextmanager
def bar(updates: int, done: int, tokens_per_update: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """-> a function to be called with every record. Nothing is drawn when stderr is no terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda record: None
        return
    from rich import progress
    from rich.console import Console

    columns = [
        progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[speed]} tokens/s  loss {task.fields[loss]}"), progress.TimeRemainingColumn(),
    ]  # fmt: skip
    began = time.perf_counter()
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("training", total=updates, completed=done, speed="-", loss="-")

        def tell(record: dict[str, Any]) -> None:
            speed = (record["step"] - done) * tokens_per_update / (time.perf_counter() - began)
            loss = f"{record['loss']:.3f}" if "loss" in record else "-"
            bars.update(task, completed=record["step"], speed=f"{speed:,.0f}", loss=loss)

        yield tell


# ---------------------------------------------------------------- the figure


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of the last `width` values, of fewer at the beginning."""
    sums = np.concatenate([[0.0], values.cumsum()])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    return (sums[ends] - sums[starts]) / (ends - starts)


FLOOR_NAMES = {"uniform": "ln V", "unigram": "unigram", "bigram": "2-gram", "ngram": "4-gram", "entropy": "entropy"}


def floor_lines(ax: Any, lines: dict[str, float]) -> None:
    """Level lines with their names and values at the right end."""
    for name, value in lines.items():
        below = name == "entropy"  # where no curve can be
        ax.axhline(value, color="0.45", linestyle="--" if below else ":", linewidth=1.1, zorder=0)
        ax.annotate(
            f"{FLOOR_NAMES[name]} {value:.2f}", (1, value), xycoords=("axes fraction", "data"),
            xytext=(-4, -2 if below else 2), textcoords="offset points", ha="right", va="top" if below else "bottom",
            fontsize=8, color="0.3",
        )  # fmt: skip


def plot(args: Any, history: list[dict[str, Any]], lines: dict[str, float], name: str) -> None:
    """Loss with all floors, learning rate, gradient norm."""
    fig, axes = run.figure(1, 2, width=11, height=4.6)
    left, right = axes
    updates = [record for record in history if "loss" in record]
    steps = np.array([record["step"] for record in updates])
    loss = np.array([record["loss"] for record in updates])
    held_out = [(record["step"], record["held_out"]) for record in history if "held_out" in record]
    left.plot(steps, loss, color="C0", alpha=0.25, linewidth=0.8)
    left.plot(steps, smooth(loss, max(1, len(loss) // 50)), color="C0", label="training")
    left.plot(*zip(*held_out), "o-", color="C1", markersize=3.5, label="held out")
    floor_lines(left, lines)
    left.set(title="Loss", xlabel="update", ylabel="nats per token", ylim=(0, None))
    left.legend(loc="upper center")
    right.plot(steps, [record["lr"] for record in updates], color="C2")
    right.set(title="Learning rate and gradient norm", xlabel="update", ylabel="learning rate", ylim=(0, None))
    norms = right.twinx()
    norm = np.array([record["norm"] for record in updates])
    norms.plot(steps, norm, color="C3", alpha=0.25, linewidth=0.8)
    norms.plot(steps, smooth(norm, max(1, len(norm) // 50)), color="C3")
    norms.set(ylabel="gradient norm before clipping", yscale="log")
    norms.grid(False)
    right.yaxis.label.set_color("C2")
    norms.yaxis.label.set_color("C3")
    run.save_figure(args, fig, name)
