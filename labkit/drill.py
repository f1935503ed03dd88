"""A lab from the blank file against the clock: a fresh skeleton in a scratch folder, a timer, a grade at the end."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from labkit import catalogue, skeleton
from labkit.catalogue import Lab
from labkit.checking import grade_lab, warm
from labkit.files import write_atomically
from labkit.grading import answers as kinds
from labkit.grading import render
from labkit.grading.engine import Engine

TICK = 0.25


def fresh_copy(lab: Lab) -> Path:
    """The untouched lab in a folder of its own below ``.labkit/drills``, which git ignores; nothing is overwritten."""
    started = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    folder = catalogue.ROOT / ".labkit" / "drills" / f"{lab.id}-{started}"
    folder.mkdir(parents=True)
    write_atomically(folder / "lab.py", skeleton.fresh(lab))
    return folder / "lab.py"


def drill(out: Console, lab: Lab, minutes: float) -> int:
    """Runs the clock, then grades what was saved; Ctrl-C hands in early. Returns 0 when every check passes."""
    file = fresh_copy(lab)
    out.print(f"[bold]{lab}[/]: {minutes:g} minutes, no feedback until the end. Write and save")
    out.print(f"  [cyan]{render.relative(str(file))}[/]")
    with Engine() as engine:
        warm(lab, engine)
        seconds = _wait(out, minutes * 60)
        text = file.read_text(encoding="utf-8")  # what is saved now counts, later edits do not
        graded = grade_lab(lab, engine, kinds.Answers(text, str(file)))
    render.lab_report(out, graded)
    out.print(f"Handed in after {seconds / 60:.1f} minutes. A drill is not part of your progress.")
    return 0 if graded.passed else 1


def _wait(out: Console, seconds: float) -> float:
    """Shows the time that is left until it is over or Ctrl-C comes; returns the seconds used."""
    started = time.monotonic()
    columns = (TextColumn("time left"), TimeRemainingColumn(), BarColumn(), TextColumn("Ctrl-C hands in"))
    try:
        with Progress(*columns, console=out, transient=True) as progress:
            task = progress.add_task("", total=seconds)
            while (used := time.monotonic() - started) < seconds:
                progress.update(task, completed=used)
                time.sleep(min(TICK, seconds - used))
    except KeyboardInterrupt:
        out.print()
    return min(time.monotonic() - started, seconds)
