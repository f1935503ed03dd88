"""pytest as a front end of the engine: ``pytest tests/phase_01 [--submission DIR] [--answers KIND]``.

A graded check is an ordinary item whose call goes to the engine; the report it leaves is the engine's text, and the
run's exit code is 0 only when every check passed.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path

import pytest

from labkit import catalogue
from labkit.grading import checks
from labkit.grading.verdicts import Result, Verdict

_SESSION = pytest.StashKey["GradingSession"]()
_CHECK = pytest.StashKey[checks.Check]()
_RESULT = pytest.StashKey[Result]()


class NotPassed(Exception):
    """A check that did not pass; its text is the whole report."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("labkit", "grading of labs")
    group.addoption("--answers", default="lab", help="whose code: lab, solution, skeleton, mistake:NAME, ...")
    group.addoption("--submission", type=Path, help="a folder of lab.py files to grade instead of the working copy")
    group.addoption("--grade-seed", type=int, default=0, help="seed of the checks' inputs")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SESSION] = GradingSession(config)
    config.addinivalue_line("markers", "cuda: needs a CUDA device")


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_SESSION].close()


class GradingSession:
    """The engine and the answers of one pytest run, made when the first check needs them."""

    def __init__(self, config: pytest.Config):
        self.config = config
        self.engine = None
        self.results: dict[str, list[Result]] = {}
        self.no_device = 0

    def lab_of(self, item: pytest.Item) -> catalogue.Lab | None:
        for lab in catalogue.labs():
            if lab.checks_file == item.path:
                return lab
        return None

    def run(self, item: pytest.Item, lab: catalogue.Lab, check: checks.Check) -> Result:
        from labkit.grading.answers import answers
        from labkit.grading.engine import Engine
        from labkit.grading.submission import lab_file

        option = self.config.getoption
        self.engine = self.engine or Engine()
        check = replace(check, function=item.function)  # the copy whose asserts pytest has rewritten
        folder = option("--submission")
        file = lab_file(folder, lab) if folder else None
        if folder and file is None:
            pytest.skip(f"{folder} holds no lab.py of {lab.id}")
        return self.engine.run(
            lab, check, answers(lab, option("--answers"), file), option("--grade-seed"), device(item)
        )

    def close(self) -> None:
        if self.engine is not None:
            self.engine.__exit__()


def device(item: pytest.Item) -> str:
    return "cuda" if item.get_closest_marker("cuda") else "cpu"


@pytest.fixture
def grade() -> None:
    """Runs a target on the learner's code and on the reference: see CONTRIBUTING.md. Given by the engine."""


@pytest.fixture
def rng() -> None:
    """The check's numpy Generator, made from the seed and its name. Given by the engine."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives every check of a torch lab a twin marked ``cuda``."""
    check = checks.check_of(metafunc.function)
    if check is None or not check.cuda:
        return
    lab = next((lab for lab in catalogue.labs() if lab.checks_file == metafunc.definition.path), None)
    if lab is not None and lab.uses_torch:
        twins = [pytest.param("cpu", id=pytest.HIDDEN_PARAM), pytest.param("cuda", id="cuda", marks=pytest.mark.cuda)]
        metafunc.fixturenames.append("labkit_device")
        metafunc.parametrize("labkit_device", twins)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    graded = [item for item in items if checks.check_of(getattr(item, "function", None))]
    for item in graded:
        item.stash[_CHECK] = checks.check_of(item.function)
    twins = [item for item in graded if device(item) == "cuda"]
    if twins and not has_cuda():
        config.stash[_SESSION].no_device = len(twins)
        config.hook.pytest_deselected(items=twins)
        items[:] = [item for item in items if item not in set(twins)]


def has_cuda() -> bool:
    with contextlib.suppress(ImportError):
        import torch

        return torch.cuda.is_available()
    return False


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    check = pyfuncitem.stash.get(_CHECK, None)
    if check is None:
        return None
    session = pyfuncitem.config.stash[_SESSION]
    lab = session.lab_of(pyfuncitem)
    if lab is None:
        raise pytest.UsageError(f"{pyfuncitem.path} holds graded checks but belongs to no lab")
    result = session.run(pyfuncitem, lab, check)
    pyfuncitem.stash[_RESULT] = result
    session.results.setdefault(lab.id, []).append(result)
    if not result.passed:
        raise NotPassed(_text(lab, result, session.config.getoption("--grade-seed")))
    return True


def _text(lab: catalogue.Lab, result: Result, seed: int) -> str:
    from labkit.grading import render
    from labkit.grading.report import Report

    stream = io.StringIO()
    render.lab_report(render.console(file=stream, width=120), Report(lab, (result,), seed, "check"))
    return stream.getvalue()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    outcome = yield
    report = outcome.get_result()
    result = item.stash.get(_RESULT, None)
    if call.when == "call" and result is not None:
        report.labkit_verdict = str(result.verdict)
        if report.failed:
            report.longrepr = str(call.excinfo.value)


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config):
    """Work not begun is no failure to shout about; the exit code still says that not all is done."""
    if getattr(report, "labkit_verdict", None) == Verdict.NOT_STARTED:
        return "not started", ".", "NOT STARTED"
    return None


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    session = config.stash[_SESSION]
    if session.no_device:
        terminalreporter.write_line(f"{session.no_device} CUDA twins were not graded: there is no CUDA device")
