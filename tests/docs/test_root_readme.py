"""What the root README shows of the grader is what the grader says."""

from __future__ import annotations

import io
from pathlib import Path

from labkit import catalogue, skeleton
from labkit.checking import grade_lab
from labkit.grading import mistakes, render
from labkit.grading.answers import Answers
from labkit.grading.engine import Engine

ROOT = Path(__file__).resolve().parents[2]


def test_the_sample_of_a_wrong_answer():
    lab = catalogue.find("1.1")
    text = skeleton.skeleton(mistakes.reference_source(lab), lab.id)
    text = skeleton.compose(text, {"split-words": 'return text.split(" ")'}).text
    stream = io.StringIO()
    with Engine() as engine:
        graded = grade_lab(lab, engine, Answers(text, str(lab.lab_file.relative_to(ROOT))))
    render.lab_report(render.console(file=stream, width=10_000), graded)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.split('`return text.split(" ")`:\n\n```text\n')[1].split("```")[0]
    assert " ".join(block.split()) in " ".join(stream.getvalue().split()), stream.getvalue()
