"""The canonical report of one lab, written by the trusted process, and its exports."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from labkit.catalogue import Lab
from labkit.files import write_atomically
from labkit.grading.checks import checks_hash, recording
from labkit.grading.verdicts import Result, Verdict

SCHEMA = 2
WHOLE = "whole lab"


@dataclass(frozen=True)
class Score:
    """What one TODO earned: all its points when all its checks pass, else none."""

    todo: str
    points: int
    maximum: int
    verdict: Verdict


@dataclass(frozen=True)
class Report:
    """All results of one lab for one learner."""

    lab: Lab
    results: tuple[Result, ...]
    seed: int
    tier: str
    submission: str = ""

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """One per TODO in file order, the whole-lab checks last."""
        groups: dict[str, list[Result]] = {}
        for result in self.results:
            groups.setdefault(result.todo or WHOLE, []).append(result)
        scores = []
        for todo, results in groups.items():
            failing = [r for r in results if not r.passed]
            maximum = sum(r.points for r in results)
            verdict = failing[0].verdict if failing else Verdict.PASS
            scores.append(Score(todo, 0 if failing else maximum, maximum, verdict))
        return tuple(scores)

    def remarks(self, todo: str) -> tuple[str, ...]:
        """What there is to say of a TODO that passed."""
        said = [text for result in self.results if (result.todo or WHOLE) == todo for text in result.remarks]
        passed = any(score.todo == todo and score.verdict is Verdict.PASS for score in self.scores)
        return tuple(dict.fromkeys(said)) if passed else ()

    @property
    def points(self) -> int:
        return sum(score.points for score in self.scores)

    @property
    def maximum(self) -> int:
        return sum(score.maximum for score in self.scores)

    @property
    def passed(self) -> bool:
        return all(result.passed for result in self.results)

    @property
    def infra(self) -> bool:
        """True when the grader failed somewhere: the score then says nothing."""
        return any(result.verdict is Verdict.INFRA for result in self.results)

    def canonical(self, *, values: bool) -> dict:
        """The report as plain data. ``values=False``, for strangers: no got and wanted, no prints, public messages."""
        rows = []
        for result in self.results:
            row = asdict(result)
            public = row.pop("public")
            row["verdict"] = str(result.verdict)
            row["earned"] = next(s.points > 0 for s in self.scores if s.todo == (result.todo or WHOLE))
            if not values:
                row |= {"values": [], "output": "", "message": result.message if public is None else public}
            rows.append(row)
        return {
            "schema": SCHEMA,
            "lab": self.lab.id,
            "title": self.lab.title,
            "submission": self.submission,
            "lab_hash": lab_hash(self.lab),
            "checks_hash": checks_hash(self.lab),
            "seed": self.seed,
            "tier": self.tier,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "points": self.points,
            "max_points": self.maximum,
            "infra": self.infra,
            "todos": [{**asdict(score), "verdict": str(score.verdict)} for score in self.scores],
            "checks": rows,
        }


def lab_hash(lab: Lab) -> str:
    """Names the exact reference that gave a score, or in a student edition the exact recording."""
    return file_hash(lab.solution if lab.solution.is_file() else recording(lab))


def file_hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """The versions that can change a result; of modules already imported only."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("numpy", "torch"):
        if name in sys.modules:
            found[name] = str(sys.modules[name].__version__)
    return found


def junit(reports: list[dict]) -> str:
    """JUnit XML of canonical reports: one suite per lab, one case per check."""
    root = ET.Element("testsuites")
    for report in reports:
        failing = [row for row in report["checks"] if row["verdict"] != Verdict.PASS]
        broken = sum(row["verdict"] == Verdict.INFRA for row in failing)
        suite = ET.SubElement(root, "testsuite", name=f"{report['lab']} {report['title']}")
        suite.set("tests", str(len(report["checks"])))
        suite.set("failures", str(len(failing) - broken))
        suite.set("errors", str(broken))
        for row in report["checks"]:
            case = ET.SubElement(suite, "testcase", classname=f"{report['lab']}.{row['todo'] or WHOLE}")
            case.set("name", row["check"])
            case.set("time", f"{row['seconds']:.3f}")
            if row["verdict"] != Verdict.PASS:
                kind = "error" if row["verdict"] == Verdict.INFRA else "failure"
                node = ET.SubElement(case, kind, type=row["verdict"], message=_xml(row["message"]))
                node.text = _xml("\n".join(row["diagnosis"]))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Text without the control characters XML cannot hold."""
    return "".join(c if c in "\t\n" or (c >= " " and not "\ud800" <= c <= "\udfff") else "?" for c in text)


def gradescope(reports: list[dict]) -> dict:
    """Gradescope's results.json: one test per TODO. A grader that failed says so aloud, and gives no score."""
    if any(report["infra"] for report in reports):
        return {"output": "The autograder itself failed, so there is no score. Please tell your instructor."}
    tests = []
    for report in reports:
        for score in report["todos"]:
            rows = [
                r for r in report["checks"] if (r["todo"] or WHOLE) == score["todo"] and r["verdict"] != Verdict.PASS
            ]
            lines = [line for r in rows for line in (f"{r['description']} {r['message']}", *r["diagnosis"])]
            test = {"name": f"{report['lab']} {score['todo']}", "score": score["points"], "max_score": score["maximum"]}
            tests.append(test | {"output": "\n".join([score["verdict"], *lines]), "output_format": "text"})
    return {"tests": tests}


def write_json(file: Path, data: dict) -> None:
    """Writes JSON atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(data, indent=1, ensure_ascii=True) + "\n")
