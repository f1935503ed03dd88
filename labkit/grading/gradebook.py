"""What an instructor takes away from a batch: gradebook, Gradescope and JUnit files, feedback pages, a summary.

All of it is derived from the canonical JSON of the submissions, so it can be written again at any time.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

from labkit import catalogue
from labkit.files import write_atomically
from labkit.grading import feedback
from labkit.grading.grader import Plan, load
from labkit.grading.report import WHOLE, gradescope, junit
from labkit.grading.submission import Source
from labkit.grading.verdicts import Verdict

INFRA = "INFRA"
WAITING = "not graded yet"


@dataclass(frozen=True)
class Summary:
    """The batch in a few numbers. ``lines``: what an instructor should look at."""

    submissions: int
    graded: int
    infra: int
    checks: int
    seconds: float
    lines: tuple[str, ...]

    def words(self, out: Path) -> str:
        each = f", {self.seconds / self.checks:.3f} s each" if self.checks else ""
        trouble = f", {self.infra} with trouble in the grader ({INFRA})" if self.infra else ""
        return "\n".join(
            [
                f"graded {self.graded} of {self.submissions} submissions{trouble}: {self.checks:,} checks{each}",
                *(f"  {text}" for text in self.lines),
                f"gradebook: {out / 'grades.csv'}",
            ]
        )


def derive(plan: Plan, sources: list[Source], ignored: list[str]) -> Summary:
    """Writes everything that follows from the records, and sums it up."""
    records = {source.name: load(plan.record_file(source.name)) for source in sources}
    graded = {name: record for name, record in records.items() if record is not None}
    for name, record in graded.items():
        folder = plan.record_file(name).parent
        page, html = feedback.pages(record)
        write_atomically(folder / "feedback.md", page)
        write_atomically(folder / "feedback.html", html)
        write_atomically(folder / "results.json", json.dumps(gradescope_of(record), indent=1) + "\n")
        write_atomically(folder / "junit.xml", junit(_suites(record)))
    out = Path(plan.out)
    write_atomically(out / "grades.csv", table(plan, records))
    rows = [row for record in graded.values() for report in record["reports"] for row in report["checks"]]
    summary = Summary(
        submissions=len(records),
        graded=len(graded),
        infra=sum(record["infra"] for record in graded.values()),
        checks=len(rows),
        seconds=sum(row["seconds"] for row in rows),
        lines=(*ignored, *(f"{name}: {note}" for name, record in graded.items() for note in _notes(record))),
    )
    write_atomically(out / "summary.txt", f"seed {plan.seed}, tier {plan.tier}\n{summary.words(Path())}\n")
    return summary


def _notes(record: dict) -> list[str]:
    """The notes of a record, and for the instructor the first reason of every trouble in the grader."""
    notes = list(record["notes"])
    for report in record["reports"]:
        broken = [row for row in report["checks"] if row["verdict"] == Verdict.INFRA]
        notes += [f"{INFRA}: {report['lab']} {row['check']}: {row['message'][:300]}" for row in broken[:1]]
    return notes


def line(event: dict) -> str:
    """One submission as it is finished."""
    score = INFRA if event["infra"] else f"{event['points']}/{event['max_points']}"
    kept = " (kept)" if event.get("kept") else ""
    return f"{event['submission']:<32} {score:>9}{kept}  {'; '.join(event['notes'])}".rstrip()


# ---------------------------------------------------------------- the gradebook


def table(plan: Plan, records: dict[str, dict | None]) -> str:
    """One row per submission: points per lab, total, maximum, and in words what did not pass."""
    maximum: dict[str, int] = {}
    for record in records.values():
        if record is not None:
            maximum |= record["absent"] | {report["lab"]: report["max_points"] for report in record["reports"]}
    labs = [lab.id for lab in catalogue.labs() if lab.id in (plan.labs if plan.asked else maximum)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["submission", *labs, "total", "maximum", "notes"])
    for name, record in sorted(records.items()):
        if record is None:
            cells = [*[""] * len(labs), "", "", WAITING]
        else:
            total = INFRA if record["infra"] else record["points"]
            cells = [*(_points(record, lab) for lab in labs), total, sum(maximum.get(lab, 0) for lab in labs)]
            cells.append("; ".join([*record["notes"], *_verdicts(record)]))
        writer.writerow([_cell(cell) for cell in (name, *cells)])
    return stream.getvalue()


def _points(record: dict, lab: str) -> int | str:
    report = next((report for report in record["reports"] if report["lab"] == lab), None)
    if report is not None:
        return INFRA if report["infra"] else report["points"]
    if lab in record["absent"]:
        return 0
    return INFRA if record["infra"] and not record["reports"] else ""


def _verdicts(record: dict) -> list[str]:
    """Per lab the TODOs that did not pass, by verdict."""
    lines = []
    for report in record["reports"]:
        groups: dict[str, list[str]] = {}
        for todo in report["todos"]:
            if todo["verdict"] != Verdict.PASS:
                groups.setdefault(todo["verdict"], []).append(todo["todo"])
        if groups:
            texts = (f"{verdict}: {', '.join(todos)}" for verdict, todos in groups.items())
            lines.append(f"{report['lab']} {' | '.join(texts)}")
    return lines


def _cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


# ---------------------------------------------------------------- other people's formats


def gradescope_of(record: dict) -> dict:
    """Gradescope's results.json. When the grader failed there is no score at all, and the text says so."""
    if record["infra"]:
        infra = {"checks": [], "todos": [], "infra": True}
        return gradescope([infra])
    results = gradescope(record["reports"])
    for lab, points in record["absent"].items():
        results["tests"].append({"name": f"{lab} {WHOLE}", "score": 0, "max_score": points, "output": "not handed in"})
    if not results["tests"]:
        results["score"] = 0
    if record["notes"]:
        results["output"] = "\n".join(record["notes"])
    return results


def _suites(record: dict) -> list[dict]:
    if record["reports"] or not record["infra"]:
        return record["reports"]
    row = {"check": "grading", "todo": None, "seconds": 0.0, "verdict": Verdict.INFRA, "diagnosis": []}
    return [{"lab": "", "title": record["submission"], "checks": [row | {"message": "; ".join(record["notes"])}]}]
