"""What a check can come to, and the plain data of a result."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    PASS = "pass"
    WRONG = "wrong"
    NOT_STARTED = "not started"
    UNFINISHED = "unfinished"
    ERROR = "error"
    MALFORMED = "malformed"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    SKIPPED = "skipped"
    INFRA = "infra"


UNLOADABLE = "the file could not be loaded"


class Failure(Exception):
    """Ends a check with a verdict. Raised in the trusted process only."""

    def __init__(self, verdict: Verdict, message: str, **details):
        super().__init__(message)
        self.verdict = verdict
        self.message = message
        self.details = details


class WeakDraw(Exception):
    """The drawn inputs cannot tell a right answer from a trivial one: draw again."""


@dataclass(frozen=True)
class Result:
    """The outcome of one check.

    ``values`` (got and wanted), ``output`` and ``message`` are for the learner's own eyes. A stranger reads ``public``
    instead of the message where the message holds a value that the grader knows (None: it holds none). ``remarks`` are
    about an answer that passes.
    """

    lab: str
    check: str
    todo: str | None
    points: int
    verdict: Verdict
    description: str = ""
    message: str = ""
    public: str | None = None
    values: tuple[tuple[str, str], ...] = ()
    place: str = ""
    diagnosis: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    output: str = ""
    seconds: float = 0.0
    peak_mib: float = 0.0
    device: str = "cpu"
    slow: bool = field(default=False, compare=False)

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASS
