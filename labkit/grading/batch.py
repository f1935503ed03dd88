"""Grades a folder of submissions by people one does not trust: ``labkit grade``.

This process hands submissions to grader processes, watches them, and derives the gradebook from the JSON they write. It
never reads a submission itself: whatever one does to its grader costs that submission and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from labkit import catalogue
from labkit.grading import gradebook, submission
from labkit.grading.grader import Plan, first_line, load, record_of
from labkit.grading.report import SCHEMA, write_json
from labkit.grading.session import PACKAGE_ROOT
from labkit.grading.submission import Source

TRIES = 2
PATIENCE = 300.0  # seconds beyond a check's own limit before its grader counts as hung


class UsageError(ValueError):
    """What was asked for cannot be done; nothing has been graded."""


@dataclass(frozen=True)
class Options:
    """What the instructor asked for. None: as the batch was begun, or for a new one the default."""

    out: Path
    jobs: int = 2
    resume: bool = False
    only: tuple[str, ...] = ()
    labs: tuple[str, ...] = ()
    seed: int | None = None
    timeout: float | None = None
    tier: str = "auto"
    single: bool = False


def grade_batch(console: Console, folder: Path, options: Options) -> int:
    """Grades all submissions. 0: every one was graded, whatever its score; 1: the grader had trouble; 130: stopped."""
    sources, ignored = _sources(folder, options)
    with _locked(options.out):
        plan = _plan(folder, options)
        wanted = [source for source in sources if not options.only or source.name in options.only]
        console.print(f"{len(wanted)} submissions, seed {plan.seed}, tier {plan.tier}", highlight=False)
        pool = Pool(plan, min(options.jobs, len(wanted)), again=bool(options.only) and not options.resume)
        stopped = False
        try:
            with _stoppable(), _bar(console) as bar:
                task = bar.add_task("", total=len(wanted))
                for event in pool.run(wanted):
                    bar.update(task, description=event["submission"], advance=int("points" in event))
                    if "points" in event:
                        console.print(gradebook.line(event), markup=False, highlight=False)
        except KeyboardInterrupt:
            stopped = True
        finally:
            pool.close()
        summary = gradebook.derive(plan, sources, ignored)
    console.print(summary.words(options.out), markup=False, highlight=False)
    if stopped:
        console.print("stopped: nothing already graded is lost; go on with --resume", markup=False)
        return 130
    return 1 if summary.infra else 0


def _bar(console: Console) -> Progress:
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False)
    return Progress(*columns, console=console, transient=True)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM stops a batch just as Ctrl-C does."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# ---------------------------------------------------------------- what to grade, and where to


def _sources(folder: Path, options: Options) -> tuple[list[Source], list[str]]:
    if not folder.exists():
        raise UsageError(f"there is no folder {folder}")
    if options.single:
        return [Source(submission.safe_name(folder.resolve().name), folder)], []
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder of submissions (for one submission: --single)")
    if any(submission.lab_file(folder, lab) for lab in catalogue.labs()) or (folder / "lab.py").is_file():
        raise UsageError(f"{folder} looks like one submission, not like a folder of them: use --single")
    found, ignored = submission.discover(folder)
    sources = [source for source in found if source.path.resolve() != options.out.resolve()]
    if not sources:
        raise UsageError(f"{folder} holds no submissions: a folder, .zip or .tar(.gz) for each person")
    names = {source.name for source in sources}
    if unknown := sorted(set(options.only) - names):
        raise UsageError(f"--only: there is no submission {', '.join(unknown)}; there are: {', '.join(sorted(names))}")
    return sources, ignored


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """One batch at a time writes to a folder. The kernel drops the lock when its holder dies, however it dies."""
    try:
        import fcntl
    except ImportError:
        raise UsageError("grading other people's code needs Linux or macOS") from None
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read(40).strip() or "another process"
            raise UsageError(f"{out} is in use: {holder} is grading into it") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        yield


def _plan(folder: Path, options: Options) -> Plan:
    """The plan of the batch, kept in ``batch.json``: a resumed batch goes on as it was begun unless told otherwise."""
    file = options.out / "batch.json"
    begun = load(file) or {}
    if begun and not (options.resume or options.only):
        raise UsageError(f"{options.out} already holds a batch: --resume goes on with it, --out names another folder")
    labs = tuple(dict.fromkeys(catalogue.find(name).id for name in options.labs)) or tuple(begun.get("asked", ()))
    plan = Plan(
        out=str(options.out.resolve()),
        labs=labs or tuple(lab.id for lab in catalogue.labs()),
        asked=bool(labs),
        seed=next(s for s in (options.seed, begun.get("seed"), secrets.randbits(31)) if s is not None),
        tier=_tier(begun.get("tier", "auto") if options.tier == "auto" else options.tier, folder, options.out),
        timeout=options.timeout or begun.get("timeout", 1.0),
    )
    kept = {"schema": SCHEMA, "seed": plan.seed, "tier": plan.tier, "timeout": plan.timeout, "asked": labs}
    write_json(file, kept)
    return plan


def _tier(name: str, folder: Path, out: Path) -> str:
    """The tier to grade on, proved on this machine just now. UsageError when it does not hold."""
    if name == "check":
        return name
    from labkit.grading import sandbox

    hidden = [folder.resolve(), out.resolve()]
    try:
        if name == "auto":
            return sandbox.best(secrets=hidden)
        refusal = sandbox.refusal(name, sandbox.prove(name, secrets=hidden))
    except sandbox.Refused as error:
        refusal = str(error)
    if refusal:
        raise UsageError(f"{refusal}\nFor code you trust there is --tier check, which does not isolate it.")
    return name


# ---------------------------------------------------------------- grader processes


class GraderProcess:
    """One grader process and the submission it is at."""

    def __init__(self, plan: Plan):
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        with open(Path(plan.out) / "log.txt", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "labkit.grading.grader"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | one_thread | {"PYTHONPATH": str(PACKAGE_ROOT)},
                start_new_session=True,
            )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.source: Source | None = None
        self.buffer = b""
        self.deadline = 0.0
        self._write(first_line(plan))

    def _write(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # then its end is read next
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()

    def give(self, source: Source, again: bool) -> None:
        self.source = source
        self.deadline = time.monotonic() + PATIENCE
        self._write(json.dumps({"name": source.name, "path": str(source.path), "again": again}) + "\n")

    def read(self) -> list[dict] | None:
        """What it has said since the last look; None when it has ended."""
        data = self.process.stdout.read()
        if data == b"":
            return None
        *lines, self.buffer = (self.buffer + (data or b"")).split(b"\n")
        events = [json.loads(line) for line in lines]
        for event in events:
            self.deadline = time.monotonic() + PATIENCE + event.get("limit", 0)
        return events

    def kill(self) -> int:
        """Ends the process, its templates and their children; returns its exit status."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        status = self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        return status


class Pool:
    """Keeps so many graders at work. A grader that dies or hangs is replaced, and its submission tried once more."""

    def __init__(self, plan: Plan, jobs: int, again: bool):
        self.plan, self.jobs, self.again = plan, max(1, jobs), again
        self.graders: list[GraderProcess] = []
        self.selector = selectors.DefaultSelector()
        self.failures: dict[str, int] = {}

    def run(self, sources: list[Source]) -> Iterator[dict]:
        """Yields what the graders report: ``check`` while they work, ``points`` and the rest when one is done."""
        waiting = deque(sources)
        for _ in range(self.jobs):
            self._start(waiting)
        while self.graders:
            for key, _ in self.selector.select(1.0):
                yield from self._listen(key.data, waiting)
            for grader in list(self.graders):
                if time.monotonic() > grader.deadline:
                    yield from self._lost(grader, "it hung", waiting)

    def _start(self, waiting: deque[Source]) -> None:
        if waiting:
            grader = GraderProcess(self.plan)
            self.graders.append(grader)
            self.selector.register(grader.process.stdout, selectors.EVENT_READ, grader)
            grader.give(waiting.popleft(), self.again)

    def _listen(self, grader: GraderProcess, waiting: deque[Source]) -> Iterator[dict]:
        events = grader.read()
        if events is None:
            yield from self._lost(grader, "", waiting)
            return
        for event in events:
            yield event | {"submission": grader.source.name}
            if "points" in event and waiting:
                grader.give(waiting.popleft(), self.again)
            elif "points" in event:
                self._end(grader)

    def _lost(self, grader: GraderProcess, why: str, waiting: deque[Source]) -> Iterator[dict]:
        source, status = grader.source, self._end(grader)
        why = why or f"it ended with status {status}"
        self.failures[source.name] = self.failures.get(source.name, 0) + 1
        if self.failures[source.name] < TRIES:
            waiting.appendleft(source)
        else:
            note = f"the grader failed {TRIES} times on this submission ({why}): see log.txt"
            record = record_of(self.plan, source.name, submission.shown(source.path.name), notes=[note])
            write_json(self.plan.record_file(source.name), record)
            yield record
        self._start(waiting)

    def _end(self, grader: GraderProcess) -> int:
        self.selector.unregister(grader.process.stdout)
        self.graders.remove(grader)
        return grader.kill()

    def close(self) -> None:
        for grader in list(self.graders):
            self._end(grader)
