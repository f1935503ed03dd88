"""What a check is given as ``grade``: one call after another on the code under test, compared with what is right."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from labkit.grading import compare, diagnose, wire
from labkit.grading.answers import degenerate
from labkit.grading.verdicts import Failure, Verdict
from labkit.grading.wire import Raised

UNSET = object()
TRIVIAL = ("zeros", "ones", "echo")


@dataclass
class Call:
    """One call of the learner's code, kept to be repeated on the mistakes."""

    target: str
    inputs: bytes
    got: Any
    rtol: float | None
    atol: float | None


@dataclass(frozen=True)
class Known:
    """A classic mistake, as a learner may hear of it."""

    name: str
    hint: str


class Draw(Protocol):
    """All that is known about one draw of a check's inputs: what is right, and what the classic mistakes give."""

    def wanted(self, index: int, target: str, frame: bytes, device: str | None) -> Any:
        """The right outcome of the check's call number ``index``."""

    def mistakes(self) -> Iterable[Known]:
        """The mistakes of the check's TODO, the likeliest first."""

    def outcomes(self, name: str, calls: list[Call], device: str | None) -> list:
        """What a mistake gives for these calls; fewer items when it does not get that far."""

    def message(self, name: str) -> str | None:
        """What the check says of a mistake; None when nothing is known."""


def _first_index(path: str) -> int | None:
    """The number a path such as ``[3]['ids']`` begins with."""
    found = re.match(r"\[(\d+)\]", path)
    return int(found[1]) if found else None


class Grade:
    """What a check is given as ``grade``. ``run`` executes one call on the code under test."""

    def __init__(self, draw: Draw, run: Callable[[str, tuple], dict], device: str | None, trivial: str | None = None):
        self.draw, self.run, self.device, self.trivial = draw, run, device, trivial
        self.calls: list[Call] = []
        self.satisfied: set[str] | None = None
        self.trivial_differs = False
        self.reference_seconds = 0.0

    def __call__(
        self,
        target: str,
        *inputs: Any,
        expected: Any = UNSET,
        atol: float | None = None,
        rtol: float | None = None,
        raises: type[BaseException] | None = None,
        match: str | None = None,
        mutates: bool = False,
    ) -> Any:
        """Runs ``target`` on the learner's code and on the reference, and compares. Returns the learner's value."""
        frame = wire.pack(inputs)
        waiting = self.run(target, inputs)
        wanted = None
        if raises is None:
            wanted = self.reference(target, frame) if expected is UNSET else wire.copy(expected)
        got = self._value(waiting, target, frame, mutates, rtol, atol)
        if raises is not None:
            return self._expect_raise(got, raises, match)
        if self.trivial is not None:
            got = self._trivial(wanted, frame)
        if isinstance(got, Raised) and not isinstance(wanted, Raised):
            raise self._exception(got)
        self._note_trivial(wanted, inputs, rtol, atol)
        difference = compare.compare(got, wanted, rtol, atol)
        if difference is None:
            return got
        message, public = difference.message, difference.public
        if isinstance(wanted, Raised):
            message, public = f"it should raise {diagnose.show(wanted)}", f"it should raise {wanted.type}"
        words = diagnose.general(got, wanted, wire.unpack(frame), difference)
        raise Failure(
            Verdict.WRONG,
            message,
            public=public,
            values=diagnose.values(difference, rtol, atol) if difference.reason != "raised" else (),
            diagnosis=tuple(words),
            wanted=wanted,
            index=_first_index(difference.path) if type(wanted) is list else None,
        )

    def call(self, target: str, *inputs: Any, mutates: bool = False) -> Any:
        """Runs ``target`` on the learner's code and returns what came, without comparing."""
        frame = wire.pack(inputs)
        got = self._value(self.run(target, inputs), target, frame, mutates, None, None)
        if isinstance(got, Raised):
            raise self._exception(got)
        self.satisfied = set()  # the check asserts something of its own
        return got if self.trivial is None else self._trivial(got, frame)

    def _trivial(self, right: Any, frame: bytes) -> Any:
        made = degenerate(self.trivial, right, wire.unpack(frame))
        self.trivial_differs = self.trivial_differs or compare.compare(made, right, 0.0, 0.0) is not None
        return made

    def reference(self, target: str, frame: bytes) -> Any:
        """The right outcome, as it looks from the other side of the wire."""
        started = time.monotonic()
        outcome = self.draw.wanted(len(self.calls), target, frame, self.device)
        self.reference_seconds += time.monotonic() - started
        return outcome

    def _value(self, waiting: Any, target: str, frame: bytes, mutates: bool, rtol: Any, atol: Any) -> Any:
        answer = waiting()
        got = answer["value"]
        self.calls.append(Call(target, frame, got, rtol, atol))
        if answer.get("mutated") and not mutates and not isinstance(got, Raised):
            raise Failure(Verdict.WRONG, "it changed its input in place: work on a copy", check=True)
        return got

    def _expect_raise(self, got: Any, raises: type[BaseException], match: str | None) -> Raised:
        if not isinstance(got, Raised):
            raise Failure(Verdict.WRONG, f"it returned {diagnose.show(got)}; it should raise {raises.__name__}")
        if raises.__name__ not in got.bases:
            failure = self._exception(got)
            if failure.verdict is Verdict.ERROR:
                failure.message = f"it raised {diagnose.show(got)}; it should raise {raises.__name__}"
                failure.verdict = Verdict.WRONG
            raise failure
        if match is not None and not re.search(match, got.message):
            text = f"its {got.type} says {got.message!r}; the message should match /{match}/"
            raise Failure(Verdict.WRONG, text)
        return got

    @staticmethod
    def _exception(got: Raised) -> Failure:
        """The verdict an exception of the learner's code deserves."""
        if got.type == "NotImplementedError":
            text = f'it still reaches raise NotImplementedError("{got.message}")'
            todo = got.message.removeprefix("TODO ") if got.message.startswith("TODO ") else None
            return Failure(Verdict.UNFINISHED, text, todo=todo, raised=None if todo else got)
        if "MemoryError" in got.bases or "not enough memory" in got.message or "out of memory" in got.message:
            return Failure(Verdict.MEMORY, f"it needs more memory than a check may take: {got.message}", raised=got)
        if got.type == "BdbQuit":
            text = "a breakpoint() is left in the code: take it out, or use check --debug"
            return Failure(Verdict.ERROR, text, raised=got)
        return Failure(Verdict.ERROR, diagnose.show(got), raised=got)

    def _note_trivial(self, wanted: Any, inputs: tuple, rtol: float | None, atol: float | None) -> None:
        """Keeps which trivial answers would have passed every call so far."""
        would = {
            kind
            for kind in TRIVIAL
            if compare.compare(wire.copy(degenerate(kind, wanted, inputs)), wanted, rtol, atol) is None
        }
        self.satisfied = would if self.satisfied is None else self.satisfied & would
