"""Every lab's demo runs: the reference in its smoke preset, and an unfinished lab.py without a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from labkit import catalogue, skeleton

LABS = catalogue.labs()


def run(lab, *arguments, **environment):
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=lab.path, env=variables, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.id)
def test_the_smoke_preset_runs(lab, tmp_path):
    done = run(lab, "solution.py", "--preset", "smoke", "--out", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["results"] and results["versions"]["python"]
    assert done.stdout.strip() and "Traceback" not in done.stderr


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.id)
def test_an_untouched_lab_lists_its_todos(lab, tmp_path):
    folder = tmp_path / lab.path.name
    folder.mkdir()
    for file in lab.path.glob("*.py"):
        (folder / file.name).write_text(file.read_text())
    (folder / "lab.toml").write_text((lab.path / "lab.toml").read_text())
    text = skeleton.skeleton(lab.solution.read_text(), lab.id)
    (folder / "lab.py").write_text(text)
    done = subprocess.run([sys.executable, "lab.py"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr + done.stdout
    for region in skeleton.todo_regions(text):
        assert f"lab.py:{region.line}" in done.stdout + done.stderr


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.id)
def test_the_reference_imports_fast_and_alone(lab):
    """A check loads the module afresh every time: plotting, oracles and data stay out of the import."""
    heavy = ["matplotlib", "sklearn", "tiktoken", "tokenizers", "rich", "scipy", "transformers"]
    code = f"import sys; from labkit.reference import {lab.module}; bad = set({heavy}) & set(sys.modules); "
    code += "sys.exit(f'imported with the lab: {bad}' if bad else 0)"
    done = run(lab, "-c", code)
    assert done.returncode == 0, done.stderr
