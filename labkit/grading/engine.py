"""Runs checks: the one engine behind ``labkit check``, ``labkit grade``, ``labkit verify`` and pytest.

For every check a fresh worker runs the learner's code; this process knows what is right and compares.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from labkit import skeleton
from labkit.catalogue import Lab, find
from labkit.grading import diagnose, mistakes, wire
from labkit.grading.answers import Answers
from labkit.grading.checks import Check
from labkit.grading.grade import Grade
from labkit.grading.oracle import generator, matching_mistakes, oracle
from labkit.grading.session import InfraError, Limits, SpawnTemplate, Template, open_template
from labkit.grading.verdicts import UNLOADABLE, Failure, Result, Verdict, WeakDraw
from labkit.grading.wire import Raised

DRAWS = 20


def preload(lab: Lab) -> tuple[str, ...]:
    """What a lab's template imports before any learner code exists."""
    used = [find(name, lab.phase.path.parent) for name in lab.uses]
    own = [f"labkit.reference.{other.module}" for other in used if other.solution.is_file()]
    return tuple(dict.fromkeys([*lab.preload, "labkit.run", "labkit.data", *own]))


@dataclass
class Engine:
    """Keeps one warm template per set of packages. Use as a context manager."""

    limits: Limits = field(default_factory=Limits)
    timeout_factor: float = 1.0
    open_with: Callable = open_template  # the debugger and the sandbox tiers bring their own
    templates: dict[tuple[str, ...], Template | SpawnTemplate] = field(default_factory=dict)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        for template in self.templates.values():
            template.close()
        self.templates.clear()

    def warm(self, lab: Lab) -> Template | SpawnTemplate:
        """Starts the lab's template without waiting for it."""
        names = preload(lab)
        if names not in self.templates:
            self.templates[names] = self.open_with(names, self.limits)
        return self.templates[names]

    def forget(self) -> None:
        """Ends all templates; the next check starts fresh ones."""
        self.__exit__()

    def run(self, lab: Lab, check: Check, answers: Answers, seed: int = 0, device: str = "cpu") -> Result:
        """Runs one check and says how it went; only a broken grader raises (InfraError becomes a verdict)."""
        result = Result(lab.id, check.name, check.todo, check.points, Verdict.PASS, check.description, device=device)
        result = replace(result, slow=check.slow)
        started = time.monotonic()
        try:
            source, line = source_for(lab, check, answers)
        except Failure as failure:
            return replace(result, verdict=failure.verdict, message=failure.message)
        place = f"{answers.file}:{line}" if line else answers.file
        case = Case(lab, check, answers, source, place, result)
        for attempt in range(DRAWS):
            outcome = self._attempt(case, seed, attempt)
            if outcome is not None:
                break
        else:
            text = f"{DRAWS} draws in a row could not tell a right answer from a trivial one"
            outcome = replace(result, verdict=Verdict.INFRA, message=text)
        return replace(outcome, seconds=round(time.monotonic() - started, 4))

    def _attempt(self, case: Case, seed: int, attempt: int) -> Result | None:
        """One draw of the inputs. None when the draw was weak."""
        check, result = case.check, case.result
        device = None if result.device == "cpu" else result.device
        grade = Grade(oracle(case.lab).draw(check, seed, attempt), lambda *_: {}, device, case.answers.degenerate)
        conversation = None
        try:
            conversation = Conversation(self.warm(case.lab), case, check.timeout * self.timeout_factor, grade)
            grade.run = conversation.call
            conversation.load()
            check.function(grade, generator(seed, check, attempt))
            conversation.finish()
            trivial = case.answers.degenerate is None and not check.edge and grade.satisfied
            return None if trivial else self._closed(replace(result, remarks=remarks_on(case)), conversation)
        except WeakDraw:
            return None
        except Failure as failure:
            failed = failed_result(case, failure, grade)
        except InfraError as error:
            return replace(result, verdict=Verdict.INFRA, message=str(error))
        except AssertionError as error:
            text = str(error).splitlines()[0] if str(error) else "it does not hold"
            failure = Failure(Verdict.WRONG, text, check=True, public=diagnose.authored(error))
            failed = failed_result(case, failure, grade)
        except Exception as error:
            if not grade.calls:
                return replace(result, verdict=Verdict.INFRA, message=f"the check itself failed: {error!r}")
            text = f"the check cannot use {diagnose.show(grade.calls[-1].got)} ({type(error).__name__}"
            failure = Failure(Verdict.WRONG, f"{text}: {error})", check=True, public=f"{text})")
            failed = failed_result(case, failure, grade)
        finally:
            if conversation is not None:
                with contextlib.suppress(InfraError):
                    conversation.close()
        return self._closed(failed, conversation)

    @staticmethod
    def _closed(result: Result, conversation: Conversation | None) -> Result:
        if conversation is None:
            return result
        try:
            status = conversation.close()
        except InfraError as error:
            return replace(result, verdict=Verdict.INFRA, message=str(error))
        return replace(result, output=conversation.text.strip(), peak_mib=round(status["peak"] / 2**20, 1))


@dataclass(frozen=True)
class Case:
    """One check on one learner's file. ``result``: what is known before it runs."""

    lab: Lab
    check: Check
    answers: Answers
    source: skeleton.Composed
    place: str
    result: Result


def failed_result(case: Case, failure: Failure, grade: Grade) -> Result:
    """The result of a check that did not pass: where, and which mistakes it looks like."""
    place = case.place
    if isinstance(got := failure.details.get("raised"), Raised):
        place = place_of(got, case) or place
    note = oracle(case.lab).note
    waits_for = failure.details.get("todo")
    if note and waits_for and case.check.todo not in (None, waits_for):
        where = "" if waits_for in oracle(case.lab).slugs else " of another lab"
        return replace(case.result, verdict=Verdict.SKIPPED, message=f"waits for TODO {waits_for}{where}")
    known = []
    if failure.verdict in (Verdict.WRONG, Verdict.ERROR) and case.answers.degenerate is None:
        known = matching_mistakes(grade, failure)
    words = tuple(mistake.hint for mistake in known[:1]) or tuple(failure.details.get("diagnosis", ()))
    if note and not words and case.check.todo is not None and failure.verdict in (Verdict.WRONG, Verdict.ERROR):
        words = (note,)
    message = failure.message
    if failure.verdict is Verdict.TIMEOUT:
        message = f"it took longer than the {case.check.timeout:g} s it may take"
    values = failure.details.get("values", ())
    if grade.calls and failure.verdict in (Verdict.WRONG, Verdict.ERROR):
        shown = diagnose.inputs(wire.unpack(grade.calls[-1].inputs), failure.details.get("index"))
        values = (("for", shown), *values) if shown else values
    return replace(
        case.result,
        verdict=failure.verdict,
        message=message,
        public=failure.details.get("public"),
        values=values,
        place=place,
        diagnosis=words,
        mistakes=tuple(mistake.name for mistake in known),
    )


class Conversation:
    """One check's talk with one worker: loads the composed file once, then calls, under one time budget."""

    def __init__(self, template: Template | SpawnTemplate, case: Case, seconds: float, grade: Grade):
        self.worker = template.open()
        self.lab, self.source, self.grade = case.lab, case.source, grade
        self.deadline = time.monotonic() + seconds

    def _ask(self, message: dict) -> Callable[[], dict]:
        limit = self.deadline + self.grade.reference_seconds
        self.worker.send(message, limit)
        return lambda: self.worker.receive(self.deadline + self.grade.reference_seconds)

    def load(self) -> None:
        lab = self.lab
        text = lab.drivers_file.read_text(encoding="utf-8") if lab.drivers_file.is_file() else ""
        request = {"op": "load", "lab": self.source.text, "lab_file": str(lab.lab_file)}
        got = self._ask(request | {"drivers": text, "drivers_file": str(lab.drivers_file)})()["value"]
        if isinstance(got, Raised):
            failure = Grade._exception(got)
            failure.message = f"{UNLOADABLE}: {failure.message}"
            raise failure

    def call(self, target: str, inputs: tuple) -> Callable[[], dict]:
        request = {"op": "call", "target": target, "inputs": list(inputs), "device": self.grade.device}
        return self._ask(request)

    def finish(self) -> None:
        self.worker.finish()

    def close(self) -> dict:
        return self.worker.close()

    @property
    def text(self) -> str:
        return self.worker.text


def source_for(lab: Lab, check: Check, answers: Answers) -> tuple[skeleton.Composed, int | None]:
    """The file a check runs (the other TODOs from the oracle) and the line of its TODO; Failure if it cannot be."""
    try:
        regions = {region.slug: region for region in skeleton.todo_regions(answers.text)}
        slugs = oracle(lab).slugs
        wanted = set(slugs) if check.todo is None else {check.todo}
        if gone := sorted(wanted - set(regions)):
            raise skeleton.RegionError(
                f"TODO {', '.join(gone)} is not in the file any more: put its two marker lines back, or if the lab is "
                f"newer than the file: labkit update {lab.id}"
            )
        if check.todo is None:
            if missing := [slug for slug in slugs if regions[slug].untouched]:
                raise Failure(Verdict.NOT_STARTED, f"waits for {', '.join(missing)}")
            return skeleton.compose(answers.text, {}), None
        region = regions[check.todo]
        if region.untouched:
            raise Failure(Verdict.NOT_STARTED, region.summary)
        others = {slug: body for slug, body in oracle(lab).others(check.todo).items() if slug in regions}
        return skeleton.compose(answers.text, others), region.line
    except skeleton.RegionError as error:
        raise Failure(Verdict.MALFORMED, str(error)) from None


def remarks_on(case: Case) -> tuple[str, ...]:
    """What there is to say of the right answer to a check's TODO."""
    bodies = {region.slug: region.body for region in skeleton.todo_regions(case.answers.text)}
    return mistakes.remarks(case.lab, case.check.todo, bodies.get(case.check.todo, ""))


def place_of(got: Raised, case: Case) -> str | None:
    """The innermost line of the learner's own file an exception went through."""
    for name, line, _ in reversed(got.frames):
        if name == str(case.lab.lab_file) and (own := case.source.learner_line(line)) is not None:
            return f"{case.answers.file}:{own}"
    return None
