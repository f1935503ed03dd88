"""What a learner reads in the terminal. Everything that came from learner code is shown as plain text."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from labkit.grading.report import WHOLE, Report, Score
from labkit.grading.verdicts import UNLOADABLE, Result, Verdict

MARKS = {
    Verdict.PASS: ("green", "✓"),
    Verdict.NOT_STARTED: ("dim", "·"),
    Verdict.UNFINISHED: ("yellow", "…"),
    Verdict.SKIPPED: ("dim", "-"),
    Verdict.INFRA: ("magenta", "!"),
}
OUTPUT_LINES = 12


def console(**options) -> Console:
    return Console(highlight=False, soft_wrap=True, **options)


def lab_report(out: Console, report: Report, *, values: bool = True) -> None:
    """One lab: a line per TODO, and for the failing ones what went wrong and what it looks like."""
    out.print(f"[bold]{escape(str(report.lab))}[/]  {report.points} of {report.maximum} points")
    waiting = [score for score in report.scores if score.verdict is Verdict.NOT_STARTED]
    broken = unloadable(report)
    for score in report.scores:
        if score.verdict is not Verdict.NOT_STARTED and broken is None:
            own = [r for r in report.results if (r.todo or WHOLE) == score.todo]
            failing = [r for r in own if not r.passed]
            _score(out, score, f"  ({len(own) - len(failing)} of {len(own)} checks pass)" if failing else "")
            if failing:
                _failure(out, report, failing[0], values)
            for remark in report.remarks(score.todo):
                out.print(f"      [yellow]{escape(remark)}[/]")
    if broken is not None:
        _failure(out, report, replace(broken, description="Nothing could be graded."), values)
    if waiting:
        names = ", ".join(score.todo for score in waiting if score.todo != WHOLE) or WHOLE
        out.print(f"  [dim]· not started: {names}[/]")


def unloadable(report: Report) -> Result | None:
    """The one result to show when every check failed to load the file: the fault is outside the TODOs."""
    begun = [r for r in report.results if r.verdict is not Verdict.NOT_STARTED]
    todos = {r.todo for r in begun}
    if len(todos) > 1 and all(r.message.startswith(UNLOADABLE) for r in begun):
        return begun[0]
    return None


def _score(out: Console, score: Score, note: str = "") -> None:
    colour, mark = MARKS.get(score.verdict, ("red", "✗"))
    points = f"{score.points}/{score.maximum}"
    verdict = "" if score.verdict is Verdict.PASS else f"  {score.verdict}{note}"
    out.print(f"  [{colour}]{mark} {score.todo:<28}[/] {points:>5}[{colour}]{verdict}[/]")


def _failure(out: Console, report: Report, result: Result, values: bool) -> None:
    def line(text: str, style: str = "") -> None:
        for part in text.splitlines() or [""]:
            out.print(f"      [{style}]{escape(printable(part))}[/]" if style else f"      {escape(printable(part))}")

    if result.place:
        line(relative(result.place), "cyan")
    if result.description:
        line(result.description)
    if result.message:
        line(f"But {result.message}" if result.description else result.message)
    for sentence in result.diagnosis:
        line(f"→ {sentence}", "bold yellow")
    if values:
        width = max((len(label) for label, _ in result.values), default=0)
        for label, text in result.values:
            line(f"{label:<{width}}  {text}")
    if values and result.output:
        line("it printed:", "dim")
        lines = result.output.splitlines()
        for text in lines[:OUTPUT_LINES]:
            line(f"  {text[:160]}", "dim")
        if len(lines) > OUTPUT_LINES:
            line(f"  ... {len(lines) - OUTPUT_LINES} more lines", "dim")
    line(f"again: {typed('check', report.lab.id, only=result.todo, seed=report.seed)}", "dim")


def typed(command: str, lab: str = "", **options: object) -> str:
    """A command as this reader types it: through make when make runs us, for then labkit is not on the path."""
    given = {name: value for name, value in options.items() if value}
    if os.environ.get("LABKIT_MAKE"):
        words = [f"make {command}", f"LAB={lab}" if lab else "", *(f"{k.upper()}={v}" for k, v in given.items())]
    else:
        words = [f"labkit {command}", lab, *(f"--{name} {value}" for name, value in given.items())]
    return " ".join(word for word in words if word)


def printable(text: str) -> str:
    """Without terminal control codes."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def relative(place: str) -> str:
    """A path as the reader would type it."""
    path, colon, line = place.rpartition(":")
    path, suffix = (path, f":{line}") if colon and line.isdigit() else (place, "")
    if Path(path).is_absolute():
        short = os.path.relpath(path)
        path = short if len(short) < len(path) else path
    return path + suffix
