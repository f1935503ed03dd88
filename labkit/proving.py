"""``labkit verify`` and ``labkit test``: what the repository proves about itself, and the table that says so."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

from rich.console import Console
from rich.table import Table

from labkit import catalogue
from labkit.catalogue import Lab
from labkit.grading.engine import Engine
from labkit.grading.verify import Proof, verify

ORDINARY = ("tests/labkit", "tests/reference", "tests/docs", "tests/grading")


def verify_labs(out: Console, labs: list[Lab]) -> list[Proof]:
    """Verifies labs one after another in this warm process, one line each."""
    proofs = []
    with Engine() as engine:
        for lab in labs:
            proof = verify(lab, engine)
            proofs.append(proof)
            mark = "[red]✗[/]" if proof.problems else "[green]✓[/]"
            out.print(
                f"{mark} {lab!s:<44} {proof.todos:>3} TODOs {proof.checks:>3} checks {proof.mistakes:>3} mistakes "
                f"{proof.alternatives:>3} alternatives {proof.runs:>4} runs {proof.seconds:>6.1f} s"
            )
            for problem in proof.problems:
                out.print(f"    {problem}", markup=False)
    return proofs


def test_everything(out: Console) -> int:
    """Verify, then the ordinary tests, then one table. Returns the exit code."""
    started = time.monotonic()
    out.rule("labkit verify")
    proofs = verify_labs(out, list(catalogue.labs()))
    out.rule("tests of labkit, references and documents")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        folders = [name for name in ORDINARY if (catalogue.ROOT / name).is_dir()]
        command = [sys.executable, "-m", "pytest", "-q", *folders, f"--junitxml={report}", *_parallel()]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment.pop("LABKIT_MAKE", None)  # the tests say themselves how commands are typed
        code = subprocess.run(command, cwd=catalogue.ROOT, env=environment).returncode
        totals = _totals(report)
    problems = sum(len(proof.problems) for proof in proofs)
    table = Table(title="What was proved", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name in ("todos", "checks", "mistakes", "alternatives", "runs"):
        table.add_row(WORDS[name], f"{sum(getattr(proof, name) for proof in proofs):,}")
    table.add_row("labs", f"{len(proofs)}")
    table.add_row("problems in the labs", f"{problems}")
    table.add_row("ordinary tests passed", f"{totals['passed']:,}")
    table.add_row("ordinary tests failed", f"{totals['failed']:,}")
    table.add_row("ordinary tests skipped", f"{totals['skipped']:,}")
    table.add_row("CUDA twins of checks not graded (no device)", f"{_twins_not_graded()}")
    table.add_row("seconds", f"{time.monotonic() - started:.0f}")
    out.print(table)
    return 1 if problems or code else 0


WORDS = {
    "todos": "TODOs, each with checks that need it",
    "checks": "checks: pass on the solution, 'not started' on the lab",
    "mistakes": "mistakes, each caught and named with its hint",
    "alternatives": "other right answers, each accepted",
    "runs": "gradings of answers whose score is known",
}


def _twins_not_graded() -> int:
    from labkit.grading.checks import checks
    from labkit.grading.plugin import has_cuda

    labs = [] if has_cuda() else [lab for lab in catalogue.labs() if lab.uses_torch]
    return sum(check.cuda for lab in labs for check in checks(lab))


def _parallel() -> list[str]:
    cores = min(4, os.cpu_count() or 1)
    return ["-n", str(cores)] if cores > 1 else []


def _totals(report: Path) -> dict[str, int]:
    if not report.is_file():
        return {"passed": 0, "failed": 0, "skipped": 0}
    suite = ET.parse(report).getroot().find("testsuite")
    count = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    return {"passed": count["tests"] - failed - count["skipped"], "failed": failed, "skipped": count["skipped"]}
