"""One grader process of a batch: takes submissions one after another and writes one canonical JSON for each.

``python -m labkit.grading.grader`` reads JSON lines: first a `Plan`, then jobs ``{"name", "path"}`` until the end of
input. It answers with a line before every check, so that the batch can tell work from a hang, and one with the points
per submission, when its JSON is on disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labkit import catalogue, requirements
from labkit.catalogue import Lab
from labkit.grading import submission
from labkit.grading.answers import Answers
from labkit.grading.checks import checks, checks_hash
from labkit.grading.engine import Engine
from labkit.grading.render import printable
from labkit.grading.report import SCHEMA, Report, lab_hash, versions, write_json
from labkit.grading.session import Limits
from labkit.grading.submission import LabText, Submission
from labkit.grading.verdicts import Result, Verdict

LONGEST = 1000


@dataclass(frozen=True)
class Plan:
    """What all submissions of a batch have in common. ``asked``: the labs were named, so a missing one is a line."""

    out: str
    labs: tuple[str, ...]
    asked: bool
    seed: int
    tier: str
    timeout: float = 1.0

    def record_file(self, name: str) -> Path:
        """Where a submission's canonical JSON lives."""
        return Path(self.out) / "submissions" / name / "report.json"


def limits_for(tier: str, lab: Lab) -> Limits:
    """What a check of this lab may take and see."""
    if tier == "check":
        return Limits()
    from labkit.grading import sandbox

    return sandbox.limits(tier, needs=sandbox.needs([lab]))


def load(file: Path) -> dict | None:
    """A record as it was written; None when there is none of this schema."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("schema") == SCHEMA else None


def record_of(plan: Plan, name: str, source: str, **more: object) -> dict:
    """The fields every record has, those of a submission nobody could grade unless ``more`` says otherwise."""
    record = {"schema": SCHEMA, "submission": name, "source": source, "versions": versions()}
    record |= {"date": datetime.now(UTC).isoformat(timespec="seconds"), "seed": plan.seed, "tier": plan.tier}
    record |= {"timeout_factor": plan.timeout, "key": "", "seconds": 0.0, "points": 0, "max_points": 0}
    return record | {"infra": True, "notes": [], "absent": {}, "reports": []} | more


class Grader:
    """Grades submissions with warm templates, one engine for each set of limits."""

    def __init__(self, plan: Plan, say: Callable[[dict], None]):
        self.plan, self.say = plan, say
        self.labs = [catalogue.find(name) for name in plan.labs]
        self.engines: dict[str, Engine] = {}  # by what their checks may take

    def close(self) -> None:
        for engine in self.engines.values():
            engine.forget()

    def grade(self, name: str, path: Path, again: bool) -> dict:
        """The record of one submission: the one on disk if nothing has changed since, else a new one, written."""
        started = time.monotonic()
        handed = submission.read(path, self.labs)
        key = self._key(handed)
        old = load(self.plan.record_file(name))
        if old is not None and not again and old["key"] == key and not old["infra"]:
            return old | {"kept": True}
        reports = [clean(self._report(name, lab, handed).canonical(values=False)) for lab in self._graded(handed)]
        present = {report["lab"] for report in reports}
        missing = [lab for lab in self.labs if self.plan.asked and lab.id not in present]
        absent = {lab.id: sum(check.points for check in checks(lab)) for lab in missing}
        notes = [*handed.notes, *handed.refused.values(), *handed.broken.values()]
        notes += [handed.failure] if handed.failure else [f"lab {lab} was not handed in" for lab in absent]
        record = record_of(
            self.plan,
            name,
            submission.shown(path.name),
            key=key,
            points=sum(report["points"] for report in reports),
            max_points=sum(report["max_points"] for report in reports) + sum(absent.values()),
            infra=bool(handed.failure) or any(report["infra"] for report in reports),
            notes=notes,
            absent=absent,
            reports=reports,
            seconds=round(time.monotonic() - started, 3),
        )
        write_json(self.plan.record_file(name), record)
        return record

    def _graded(self, handed: Submission) -> list[Lab]:
        there = {*handed.labs, *handed.refused, *handed.broken}
        return [lab for lab in self.labs if lab.id in there]

    def _key(self, handed: Submission) -> str:
        """Equal keys mean that grading again would give the same: same work, checks, references, seed and tier."""
        hashes = {}
        for lab in self._graded(handed):
            used = [catalogue.find(name) for name in lab.uses]
            hashes[lab.id] = [checks_hash(lab), lab_hash(lab), *map(lab_hash, used)]
        asked = self.plan.labs if self.plan.asked else ()
        parts = [SCHEMA, self.plan.seed, self.plan.tier, self.plan.timeout, asked, handed.digest, hashes]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _report(self, name: str, lab: Lab, handed: Submission) -> Report:
        missing = requirements.missing(lab)
        if lab.id in handed.refused:
            results = _all(lab, Verdict.MALFORMED, handed.refused[lab.id])
        elif lab.id in handed.broken:
            results = _all(lab, Verdict.INFRA, handed.broken[lab.id])
        elif missing:
            results = _all(lab, Verdict.INFRA, f"the grader lacks {', '.join(missing)}")
        else:
            results = tuple(self._results(lab, handed.labs[lab.id]))
        return Report(lab, results, self.plan.seed, self.plan.tier, name)

    def _results(self, lab: Lab, text: LabText) -> Iterator[Result]:
        limits = limits_for(self.plan.tier, lab)
        engine = self.engines.setdefault(repr(limits), Engine(limits, self.plan.timeout))
        answers = Answers(text.text, text.file)
        for check in checks(lab):
            self.say({"check": f"{lab.id} {check.name}", "limit": check.timeout * self.plan.timeout})
            result = engine.run(lab, check, answers, self.plan.seed)
            if result.verdict is Verdict.INFRA:  # a template may have been killed: once more, with a fresh one
                engine.forget()
                result = engine.run(lab, check, answers, self.plan.seed)
                if result.verdict is Verdict.INFRA:
                    engine.forget()
            yield result


def clean(value: Any) -> Any:
    """The same data with every text on one line, printable and of bounded length: learner code wrote some of them."""
    if isinstance(value, str):
        text = printable(" ".join(value.split()))
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list | tuple) else value


def _all(lab: Lab, verdict: Verdict, message: str) -> tuple[Result, ...]:
    """The same result for every check of a lab that could not be run."""
    return tuple(Result(lab.id, c.name, c.todo, c.points, verdict, c.description, message) for c in checks(lab))


def main() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: never outlive the batch
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever a check prints stays out of the answers

    def say(message: dict) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    plan = Plan(**json.loads(sys.stdin.readline()))
    grader = Grader(plan, say)
    try:
        for line in sys.stdin:
            job = json.loads(line)
            say({"check": "reading it", "limit": 60})
            record = grader.grade(job["name"], Path(job["path"]), job["again"])
            say({name: record.get(name) for name in ("points", "max_points", "infra", "notes", "kept")})
    finally:
        grader.close()


def first_line(plan: Plan) -> str:
    return json.dumps(asdict(plan)) + "\n"


if __name__ == "__main__":
    main()
