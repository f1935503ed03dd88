"""Knows what is right, and what the classic mistakes give: by running the reference and its mistakes in this process.

A student edition has no reference; there `labkit.grading.recorded` answers the same questions from a recording.
"""

from __future__ import annotations

import contextlib
import io
import re
import signal
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, takewhile
from typing import Any, Protocol

import numpy as np

from labkit.catalogue import Lab
from labkit.grading import compare, mistakes, wire, worker
from labkit.grading.checks import Check, drivers
from labkit.grading.grade import Call, Draw, Grade, Known
from labkit.grading.verdicts import Failure, WeakDraw
from labkit.grading.wire import Raised

HINTS = 2
LIMIT = 60  # CPU seconds for one call of the repository's own code
SEARCH = 10  # CPU seconds for finding the mistake that an answer looks like


class Oracle(Protocol):
    """One lab's source of truth. ``slugs``: its TODOs in file order. ``note``: what to say of a nameless failure."""

    note: str
    slugs: tuple[str, ...]

    def others(self, todo: str) -> dict[str, str]:
        """The bodies with which a TODO is judged, in place of the learner's own."""

    def draw(self, check: Check, seed: int, attempt: int) -> Draw:
        """What is known about one draw of a check's inputs."""


@cache
def oracle(lab: Lab) -> Oracle:
    """The reference where there is one, else the recording that a student edition brings along."""
    if lab.solution.is_file():
        return Reference(lab)
    from labkit.grading.recorded import Recorded

    return Recorded(lab)


class Reference:
    """The oracle of the full repository."""

    note = ""

    def __init__(self, lab: Lab):
        self.lab = lab

    @property
    def slugs(self) -> tuple[str, ...]:
        return tuple(mistakes.reference_bodies(self.lab))

    def others(self, todo: str) -> dict[str, str]:
        return {slug: body for slug, body in mistakes.reference_bodies(self.lab).items() if slug != todo}

    def draw(self, check: Check, seed: int, attempt: int) -> ReferenceDraw:
        return ReferenceDraw(self.lab, check, seed, attempt)


@dataclass(frozen=True)
class ReferenceDraw:
    """Runs the reference and its mistakes on the inputs it is asked about."""

    lab: Lab
    check: Check
    seed: int = 0
    attempt: int = 0

    def wanted(self, index: int, target: str, frame: bytes, device: str | None) -> Any:
        return run_here(self.lab, mistakes.reference_module(self.lab), target, frame, device)["value"]

    def mistakes(self) -> list[mistakes.Mistake]:
        return sorted(mistakes.variants(self.lab).of(self.check.todo), key=lambda m: m.caught_by != self.check.name)

    def outcomes(self, name: str, calls: list[Call], device: str | None) -> list:
        module = mistakes.mistaken_module(self.lab, name)
        return [run_here(self.lab, module, call.target, call.inputs, device)["value"] for call in calls]

    def message(self, name: str) -> str | None:
        module = mistakes.mistaken_module(self.lab, name)
        try:
            return run_module_check(self.lab, self.check, module, generator(self.seed, self.check, self.attempt))[0]
        except WeakDraw:
            return None


def generator(seed: int, check: Check, attempt: int) -> np.random.Generator:
    """The inputs of a check depend on the seed and its name only, so that a failure can be repeated."""
    return np.random.default_rng([seed, zlib.crc32(check.name.encode()), attempt])


# ---------------------------------------------------------------- the repository's own code, in this process


def run_here(lab: Lab, module: Any, target: str, frame: bytes, device: str | None) -> dict:
    """Runs a target on a module of the repository's own, in this process; answers as a worker does."""
    inputs = wire.unpack(frame, device)
    before = wire.pack(inputs)
    try:
        with time_limit(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a mistake may well divide by zero
            value = wire.copy(worker.resolve(target, module, drivers(lab))(*inputs))
    except Exception as error:
        return {"value": worker.raised(error), "mutated": False}
    return {"value": value, "mutated": wire.pack(inputs) != before}


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Raises TimeoutError in a block that has used LIMIT seconds of CPU: a mistake may well never end.

    Only where a signal can interrupt it: in the main thread, not on Windows.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"it did not end within {LIMIT} s of CPU time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def play(
    lab: Lab, check: Check, module: Any, rng: np.random.Generator, trivial: str | None = None
) -> tuple[Grade, str | None, bool]:
    """Runs a whole check on a module of the repository's own: the calls, what it fails with, if the draw is weak.

    With ``trivial`` the values it returns are replaced by trivial ones.
    """

    def run(target: str, inputs: tuple) -> Callable[[], dict]:
        answer = run_here(lab, module, target, wire.pack(inputs), None)
        return lambda: answer

    grade = Grade(ReferenceDraw(lab, check), run, None, trivial)
    message = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check.function(grade, rng)
    except (Failure, AssertionError) as failure:
        message = str(failure) or "it does not hold"
    except WeakDraw:
        return grade, None, True
    except Exception as error:
        message = repr(error)
    return grade, message, message is None and bool(grade.satisfied) and not check.edge


def run_module_check(
    lab: Lab, check: Check, module: Any, rng: np.random.Generator, trivial: str | None = None
) -> tuple[str | None, bool]:
    """The message a check fails with, None when it passes; and if any trivial value differed from the right one.

    Raises WeakDraw on a weak draw.
    """
    grade, message, weak = play(lab, check, module, rng, trivial)
    if weak:
        raise WeakDraw
    return message, grade.trivial_differs


# ---------------------------------------------------------------- which classic mistake is it?


def matching_mistakes(grade: Grade, failure: Failure) -> list[Known]:
    """The known mistakes that would have given just what the learner's code gave, the likeliest first.

    What a check asserts itself is matched by its words, what it compares by the values.
    """
    if not grade.calls:
        return []
    alike = _same_failure if failure.details.get("check") else _same_values
    return list(islice(alike(grade, failure), HINTS))


def _tried(known: Sequence[Known]) -> Iterator[Known]:
    """The mistakes to compare with, until that has cost so much time that a hint is not worth it."""
    end = time.process_time() + SEARCH
    return takewhile(lambda _: time.process_time() < end, known)


def _same_failure(grade: Grade, failure: Failure) -> list[Known]:
    """Those that fail with the same sentence; where none has the same numbers too, those with other numbers."""
    said = [(mistake, grade.draw.message(mistake.name)) for mistake in _tried(grade.draw.mistakes())]
    firsts = [(mistake, message.splitlines()[0]) for mistake, message in said if message]
    exact = [mistake for mistake, first in firsts if first == failure.message]
    return exact or [mistake for mistake, first in firsts if _wordless(first) == _wordless(failure.message)]


def _wordless(text: str) -> str:
    return re.sub(r"[-+]?\d[\d.e+-]*", "#", text)


def _same_values(grade: Grade, failure: Failure) -> Iterator[Known]:
    last = grade.calls[-1]
    for mistake in _tried(grade.draw.mistakes()):
        outcomes = grade.draw.outcomes(mistake.name, grade.calls, grade.device)
        same = len(outcomes) == len(grade.calls) and all(
            _alike(call, outcome, last=call is last) for call, outcome in zip(grade.calls, outcomes)
        )
        if same and _informative(outcomes[-1], failure.details.get("wanted"), last.rtol, last.atol):
            yield mistake


def _alike(call: Call, outcome: Any, last: bool) -> bool:
    """Calls before the last one have passed: what was raised there was to be raised, in whatever words."""
    if isinstance(outcome, Raised) or isinstance(call.got, Raised):
        if not (isinstance(outcome, Raised) and isinstance(call.got, Raised) and outcome.type == call.got.type):
            return False
        return not last or _wordless(outcome.message) == _wordless(call.got.message)
    return compare.compare(call.got, outcome, call.rtol, call.atol) is None


def _informative(value: Any, wanted: Any, rtol: float | None, atol: float | None) -> bool:
    """Whether agreeing with ``value`` says anything: not NaN, and far from right in at least four elements."""
    if wanted is None or isinstance(value, Raised):
        return True
    difference = compare.compare(value, wanted, rtol, atol)
    if difference is None:
        return False
    if difference.reason != "values" or not hasattr(difference.wanted, "shape") or not difference.wanted.shape:
        return True
    got, right = difference.got, difference.wanted
    array = compare.to_numpy(got)
    if array.dtype.kind not in "fc":
        return True
    r, t = compare.tolerance(str(right.dtype).removeprefix("torch."), rtol, atol)
    far = compare.mismatches(got, right, 10 * r, 10 * t) & ~np.isnan(array)
    return bool(np.isfinite(array).any()) and int(far.sum()) >= min(4, array.size)
