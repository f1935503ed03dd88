"""A toy lab in a repository of its own, and one engine for all tests of a session."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from labkit import catalogue, generate, skeleton
from labkit.grading import mistakes
from labkit.grading.answers import Answers
from labkit.grading.checks import checks
from labkit.grading.engine import Engine

TOY = Path(__file__).parent / "toy"


@pytest.fixture
def toy_root(tmp_path) -> Path:
    """A fresh copy of the toy repository, to be changed at will."""
    root = tmp_path / "toy"
    shutil.copytree(TOY, root)
    return root


@pytest.fixture
def toy(toy_root) -> catalogue.Lab:
    """The toy lab with its generated files."""
    lab = catalogue.find("1.1", toy_root)
    skeleton.write_lab(lab)
    (lab.path / "requirements.txt").write_text(generate.requirements(lab))
    return lab


@pytest.fixture(scope="session")
def engine():
    with Engine() as engine:
        yield engine


@pytest.fixture
def grade_body(toy, engine):
    """Grades one body of one TODO, every other TODO left untouched; returns the results of that TODO's checks."""

    def grade(slug: str, body: str, name: str | None = None, **options) -> list:
        text = skeleton.skeleton(mistakes.reference_source(toy), toy.id)
        answers = Answers(skeleton.compose(text, {slug: body}).text, "lab.py")
        wanted = [c for c in checks(toy) if c.todo == slug and name in (None, c.name)]
        return [engine.run(toy, check, answers, **options) for check in wanted]

    return grade
