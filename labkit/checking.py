"""Grading the working copy from the command line: ``check``, ``watch`` and the debugger."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from labkit import progress, requirements, skeleton
from labkit.catalogue import Lab
from labkit.grading import answers as kinds
from labkit.grading import render, report, worker
from labkit.grading.checks import Check, checks
from labkit.grading.engine import Engine, source_for
from labkit.grading.verdicts import Failure, Result, Verdict

POLL = 0.15


def selected(lab: Lab, only: str | None, slow: bool) -> list[Check]:
    """The checks to run; ValueError when ``only`` names no TODO of the lab."""
    only = only.replace("_", "-") if only else None
    found = [check for check in checks(lab) if only is None or check.todo == only]
    if not found:
        todos = dict.fromkeys(check.todo for check in checks(lab) if check.todo)
        raise ValueError(f"lab {lab.id} has no TODO {only!r}; there are: {', '.join(todos)}")
    return [check for check in found if slow or not check.slow]


def grade_lab(
    lab: Lab,
    engine: Engine | Memory,
    answers: kinds.Answers,
    *,
    seed: int = 0,
    only: str | None = None,
    slow: bool = False,
) -> report.Report:
    """One lab's report."""
    if any(not region.untouched for region in _regions(answers)):
        warm(lab, engine)
    results = tuple(engine.run(lab, check, answers, seed) for check in selected(lab, only, slow))
    return report.Report(lab, results, seed, "check")


class Memory:
    """An engine that does not run a passed check again while the code it runs stays the same.

    A check of one TODO runs the reference's answers to the others, so that an edit elsewhere changes nothing for it.
    """

    def __init__(self, engine: Engine):
        self.engine, self.passed = engine, {}
        self.warm = engine.warm

    def run(self, lab: Lab, check: Check, answers: kinds.Answers, seed: int = 0) -> Result:
        try:
            key = (check.name, source_for(lab, check, answers)[0].text)
        except Failure:
            return self.engine.run(lab, check, answers, seed)
        if key in self.passed:
            return self.passed[key]
        result = self.engine.run(lab, check, answers, seed)
        if result.passed:
            self.passed[key] = result
        return result


def warm(lab: Lab, engine: Engine | Memory) -> None:
    """Starts the worker template and meanwhile imports here what it imports: torch takes seconds."""
    engine.warm(lab)
    worker.import_all(lab.preload)


def _regions(answers: kinds.Answers) -> list[skeleton.Region]:
    try:
        return skeleton.todo_regions(answers.text)
    except skeleton.RegionError:
        return []


def untouched(lab: Lab, answers: kinds.Answers) -> bool:
    """Nothing to grade: then not even the lab's packages are needed."""
    regions = _regions(answers)
    return bool(regions) and all(region.untouched for region in regions)


def missing_packages(lab: Lab) -> str | None:
    if missing := requirements.missing(lab):
        return f"lab {lab.id} needs {', '.join(missing)}, which is not installed: labkit install {lab.id}"
    return None


def check_labs(out: Console, labs: list[Lab], options: dict, submission: Path | None) -> tuple[int, list[dict]]:
    """Grades labs one after another and prints each. Returns the exit code and the canonical reports."""
    code, reports = 0, []
    with Engine() as engine:
        for lab, answers in _with_answers(out, labs, options["answers"], submission):
            if untouched(lab, answers) and options["only"] is None:
                count = len(_regions(answers))
                out.print(f"[bold]{lab}[/]  [dim]not started: 0 of {count} TODOs done[/]")
                code = 1
                continue
            if problem := missing_packages(lab):
                out.print(f"[bold]{lab}[/]  [yellow]{problem}[/]")
                code = 1
                continue
            grading = {name: options[name] for name in ("seed", "only", "slow")}
            graded = grade_lab(lab, engine, answers, **grading)
            render.lab_report(out, graded)
            canonical = graded.canonical(values=True)
            reports.append(canonical)
            if submission is None and options["answers"] == "lab" and render.unloadable(graded) is None:
                partial = options["only"] is not None
                progress.record(lab, canonical, report.file_hash(lab.lab_file), partial=partial)
                if graded.passed and not partial:
                    out.print(f"  [green]all done[/]: `python lab.py` runs it with your code; {render.typed('next')}")
            code = max(code, 0 if graded.passed else 1)
    return code, reports


def _with_answers(
    out: Console, labs: list[Lab], kind: str, submission: Path | None
) -> Iterator[tuple[Lab, kinds.Answers]]:
    from labkit.grading.submission import lab_file

    for lab in labs:
        file = lab_file(submission, lab) if submission else None
        if submission and file is None:
            out.print(f"[bold]{lab}[/]  [dim]not handed in[/]")
            continue
        yield lab, kinds.answers(lab, kind, file)


def watch(out: Console, lab: Lab, slow: bool) -> None:
    """Grades again after every save, on one warm engine, until Ctrl-C."""
    with Engine() as engine:
        warm(lab, engine)
        checks(lab)
        memory, stamp = Memory(engine), None
        while True:
            now = _stamp(lab.lab_file)
            if now != stamp and now is not None:
                stamp = now
                started = time.monotonic()
                graded = grade_lab(lab, memory, kinds.answers(lab), slow=slow)
                progress.record(lab, graded.canonical(values=False), report.file_hash(lab.lab_file))
                out.clear()
                render.lab_report(out, graded)
                out.print(f"[dim]{time.monotonic() - started:.2f} s; watching {_short(lab.lab_file)}, Ctrl-C ends[/]")
            time.sleep(POLL)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None  # an editor is just replacing it
    return status.st_mtime_ns, status.st_size


def _short(file: Path) -> str:
    return os.path.relpath(file)


def debug(out: Console, lab: Lab, only: str | None) -> int:
    """Runs the checks in this process: no worker, no clock, no score; prints and ``breakpoint()`` work."""
    code = 0
    answers = kinds.answers(lab)
    for check in selected(lab, only, slow=True):
        try:
            source_for(lab, check, answers)
        except Failure as failure:
            if failure.verdict is not Verdict.NOT_STARTED:
                out.print(f"{check.name}: {failure.verdict}: {failure.message}")
            continue
        out.rule(check.name)
        engine = Engine(open_with=lambda *_: InProcess(lab))
        result: Result = engine.run(lab, check, answers)
        render.lab_report(out, report.Report(lab, (result,), 0, "debug"))
        code = max(code, 0 if result.passed else 1)
        if "breakpoint" in result.message:  # the debugger was left
            break
    out.print("[dim]debug run: nothing was scored[/]")
    return code


class InProcess:
    """A template and worker in one that runs the learner's code here."""

    text = ""

    def __init__(self, lab: Lab):
        self.lab = lab

    def open(self) -> InProcess:
        return self

    def send(self, message: dict, deadline: float) -> None:
        self.message = message

    def receive(self, deadline: float) -> dict:
        from labkit.grading import wire

        message = self.message
        try:
            if message["op"] == "load":
                self.module = worker.load("lab", message["lab"], message["lab_file"])
                text = message["drivers"]
                self.drivers = worker.load("drivers", text, message["drivers_file"]) if text else None
                return {"value": None}
            inputs = wire.copy(message["inputs"], message["device"])
            before = wire.pack(inputs)
            value = worker.resolve(message["target"], self.module, self.drivers)(*inputs)
            return {"value": wire.copy(value), "mutated": wire.pack(inputs) != before}
        except Exception as error:
            return {"value": worker.raised(error)}

    def finish(self) -> None:
        sys.stdout.flush()

    def close(self) -> dict:
        return {"status": 0, "peak": 0}
