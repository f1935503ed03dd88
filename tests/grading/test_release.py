"""Student editions and autograders: they work by themselves, and give nothing away."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from labkit import catalogue, skeleton
from labkit.grading import answers as kinds
from labkit.grading import mistakes, oracle, recorded, release
from labkit.grading.checks import checks, recording
from labkit.grading.engine import Engine
from labkit.grading.verdicts import Verdict

REPOSITORY = Path(__file__).parents[2]
TOY = Path(__file__).parents[1] / "labkit" / "toy"
LAB = catalogue.find("1.1", TOY)
SECOND = "phase-01-toy/lab-02-second"

README = """\
# 1.2 Second

```bash
python solution.py
```

## Walkthrough

<details><summary><code>perplexity</code></summary>

It is `np.exp(toy.row_entropy(x))`, and then some.
</details>

```python
## no heading
```

## How it is graded

As [1.1](../lab-01-toy/) is, see [1.3](../lab-03-third/README.md), [the code](solution.py#L1) and
![a figure](figures/none.png), or [the web](https://example.org/lab).

## References

- Jelinek 1977
"""
SOLUTION = '''\
"""A second lab, which builds on the first."""

import numpy as np

from labkit.reference import toy


def perplexity(x):
    """exp of the entropy of each scaled row.   x: (N, D) -> (N,)"""
    # >>> perplexity (~2 lines): the exponential of the entropy of the rows
    nats = toy.row_entropy(x)  # how surprised one is on average
    return np.exp(nats)  # among so many equally likely things one chooses
    # <<< perplexity
'''
CHECKS = '''\
from labkit.grading import todo, whole_lab


@todo("perplexity")
def test_perplexity_of_random_rows(grade, rng):
    """The perplexity of each row."""
    grade("perplexity", rng.uniform(0.5, 2.0, (5, 7)))


@whole_lab()
def test_it_all(grade, rng):
    """Everything together."""
    grade("perplexity", rng.uniform(0.5, 2.0, (3, 4)))
'''
MISTAKES = """\
[[mistake]]
name = "base-two"
todo = "perplexity"
find = "np.exp(nats)"
replace = "2**nats"
hint = "Nats are to e what bits are to two: which power undoes a natural logarithm?"
caught_by = "test_perplexity_of_random_rows"
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """The toy repository with a second lab that uses the first."""
    root = tmp_path_factory.mktemp("course") / "course"
    shutil.copytree(TOY, root)
    toml = (root / "phase-01-toy/lab-01-toy/lab.toml").read_text()
    toml = toml.replace('"1.1"', '"1.2"').replace('"Toy"', '"Second"').replace("uses = []", 'uses = ["1.1"]')
    table = "| 1.1 | [Toy](lab-01-toy/) | 5 |\n| 1.2 | [Second](lab-02-second/) | 5 |\n"
    files = {
        f"{SECOND}/lab.toml": toml,
        f"{SECOND}/solution.py": SOLUTION,
        f"{SECOND}/README.md": README,
        f"{SECOND}/hints.md": "## perplexity\n1. Undo the logarithm.\n2. e to the power.\n3. np.exp\n",
        f"{SECOND}/bench.py": "import solution\n",
        f"{SECOND}/helper.py": "ANSWER = 42\n",
        f"{SECOND}/lab.py": "somebody's work\n",
        "phase-01-toy/README.md": f"# Phase 1: Toys\n\n{table}\nStart with [1.1](lab-01-toy/).\n",
        "tests/phase_01/test_lab_02_second.py": CHECKS,
        "tests/phase_01/mistakes/lab_02_second.toml": MISTAKES,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, root / name)
    return root


def labkit(*arguments: str, root: Path, package: Path = REPOSITORY) -> subprocess.CompletedProcess:
    """Runs the command line of a package on a repository."""
    environment = os.environ | {"PYTHONPATH": str(package), "LABKIT_ROOT": str(root), "COLUMNS": "200"}
    command = [sys.executable, "-m", "labkit.cli", *arguments]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)


@pytest.fixture(scope="module")
def released(course, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("released") / "edition"
    done = labkit("release", str(target), "--labs", "1.1-1.2", root=course)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.fixture
def edition(released, tmp_path) -> Path:
    """A fresh copy of the student edition."""
    shutil.copytree(released, tmp_path / "edition")
    return tmp_path / "edition"


def fill(edition: Path, lab: str = "lab-01-toy", **bodies: str) -> None:
    """Fills TODOs of a lab.py; ``scale_rows`` stands for ``scale-rows``."""
    file = edition / "phase-01-toy" / lab / "lab.py"
    changed = {slug.replace("_", "-"): body for slug, body in bodies.items()}
    file.write_text(skeleton.compose(file.read_text(), changed).text)


RIGHT = {slug.replace("-", "_"): body for slug, body in mistakes.reference_bodies(LAB).items()}


def check(edition: Path, *arguments: str) -> tuple[int, str]:
    done = labkit("check", *arguments, root=edition, package=edition)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


# ---------------------------------------------------------------- what is in it


def test_an_edition_gives_nothing_away(edition):
    files = [file for file in edition.rglob("*") if file.is_file()]
    names = {file.name for file in files}
    assert not names & {"solution.py", "bench.py", "verify.py", "batch.py", "sandbox.py", "release.py"}
    assert not [file for file in files if "mistakes" in file.parts or file.suffix == ".pyi"]
    assert {"helper.py", "hints.md", "lab.toml", "Makefile", "README.md", "pyproject.toml", "constraints.txt"} <= names
    for file in files:
        if file.suffix != ".zip" and file.name != "hints.md":
            text = file.read_text()
            for secret in ("p * np.log(p)", "keepdims=True", "self.ids.setdefault", "np.exp(", "x.ndim != 2"):
                assert secret not in text, file
    lab = (edition / SECOND / "lab.py").read_text()
    assert lab == skeleton.skeleton(SOLUTION, "1.2"), "untouched, whatever the working copy holds"


def test_the_pages_speak_of_what_is_there(edition):
    text = (edition / SECOND / "README.md").read_text()
    assert "Walkthrough" not in text and "details" not in text and "no heading" not in text
    assert "python lab.py" in text and "solution.py" not in text
    assert (
        "As [1.1](../lab-01-toy/) is, see 1.3, [the code](lab.py#L1) and\na figure, or [the web](https://example.org/lab)."
        in text
    )
    assert "In this student edition" in text and "Jelinek 1977" in text
    front = (edition / "README.md").read_text()
    assert "[Second](phase-01-toy/lab-02-second/)" in front and "{" not in front


def test_a_part_of_a_phase(course, tmp_path):
    """1.1 alone; and 1.2 alone, which brings 1.1 along complete because it is built on it."""
    assert labkit("release", str(tmp_path / "one"), "--labs", "1.1", root=course).returncode == 0
    assert not (tmp_path / "one" / SECOND).exists()
    assert "[Second]" not in (tmp_path / "one/phase-01-toy/README.md").read_text()
    assert labkit("release", str(tmp_path / "two"), "--labs", "1.2", root=course).returncode == 0
    assert (tmp_path / "two/phase-01-toy/lab-01-toy/solution.py").is_file()
    fill(tmp_path / "two", "lab-02-second", perplexity="return np.exp(toy.row_entropy(x))")
    code, text = check(tmp_path / "two", "1.2")
    assert code == 0 and "2 of 2 points" in text


def test_an_edition_that_would_tell_is_not_written(course, tmp_path):
    root = tmp_path / "course"
    shutil.copytree(course, root)
    readme = root / SECOND / "README.md"
    readme.write_text(README + f"\n```python\n{mistakes.reference_bodies(LAB)['vocab']}\n```\n")
    done = labkit("release", str(tmp_path / "edition"), "--labs", "1.1,1.2", root=root)
    assert done.returncode == 2 and f"{SECOND}/README.md: TODO vocab" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["course"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    assert "is not empty" in labkit("release", str(tmp_path / "full"), "--labs", "1.1", root=course).stdout


# ---------------------------------------------------------------- what it does


def test_checks_tell_right_from_wrong(edition):
    code, text = check(edition, "1.1", "1.2")
    assert code == 1 and "not started: 0 of 3 TODOs done" in text
    fill(edition, **RIGHT)
    code, text = check(edition, "1.1", "--seed", "2")
    assert code == 0 and "7 of 7 points" in text
    code, text = check(edition, "1.1", "--seed", "7")
    assert code == 1 and "only the seeds 0, 1, 2 are recorded here, not 7" in text and "0 of 7 points" in text
    fill(edition, entropy="return -(p * np.log2(p)).sum(axis=1)")
    code, text = check(edition, "1.1", "--only", "entropy")
    assert code == 1 and "→ Are the units nats or bits" in text and "wanted" in text and "/lab.py:" in text


def test_a_todo_waits_for_the_ones_it_needs(edition):
    fill(edition, entropy=RIGHT["entropy"], vocab="return row_entropy(np.ones((2, 2)))")
    code, text = check(edition, "1.1")
    assert code == 1 and "✓ entropy" in text and "- vocab" in text and "waits for TODO scale-rows" in text
    fill(edition, scale_rows="return x", vocab=RIGHT["vocab"])
    assert "✓ vocab" in check(edition, "1.1")[1]
    fill(edition, vocab="self.ids = {str(w): int(row_entropy(np.ones((2, 2)))[0]) for w in words}")
    assert "Your own other TODOs run along with this one" in check(edition, "1.1", "--only", "vocab")[1]


def test_labs_build_on_the_learners_own_labs(edition):
    fill(edition, "lab-02-second", perplexity="return np.exp(toy.row_entropy(x))")
    code, text = check(edition, "1.2")
    assert code == 1 and "waits for TODO scale-rows of another lab" in text
    fill(edition, **RIGHT)
    assert check(edition, "1.2")[0] == 0
    fill(edition, "lab-02-second", perplexity="return 2 ** toy.row_entropy(x)")
    assert "Nats are to e what bits are to two" in check(edition, "1.2")[1]
    fill(edition, "lab-02-second", perplexity="return toy.no_such_name(x)")
    assert f"{SECOND}/lab.py:" in check(edition, "1.2")[1]


def test_the_learners_commands_work(edition):
    run = lambda *arguments: labkit(*arguments, root=edition, package=edition)  # noqa: E731
    assert "TODO scale-rows" in run("next").stdout
    assert "Which axis is a row?" in run("hint", "1.1").stdout
    fill(edition, vocab=RIGHT["vocab"])
    file = edition / "phase-01-toy/lab-01-toy/lab.py"
    mine = file.read_text()
    assert run("update", "1.1").returncode == 0 and file.read_text() == mine
    assert run("reset", "1.1").returncode == 0 and file.read_text() != mine
    assert file.read_text() == recorded.untouched(catalogue.find("1.1", edition))
    assert run("list").returncode == 0
    named = set(re.findall(r"^\W*([a-z]+)", run("--help").stdout, flags=re.M))  # a command begins its line
    assert {"check", "watch", "reset"} <= named
    assert not named & {"verify", "solution", "grade", "release", "skeletons"}
    assert run("solution", "1.1").returncode == 2


def test_pytest_is_a_front_end_there_too(edition):
    fill(edition, **RIGHT)
    environment = os.environ | {"PYTHONPATH": str(edition), "LABKIT_ROOT": str(edition)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/phase_01/test_lab_01_toy.py"]
    if not shutil.which("labkit") and not (REPOSITORY / "labkit.egg-info").is_dir():
        command += ["-p", "labkit.grading.plugin"]
    done = subprocess.run(command, env=environment, cwd=edition, capture_output=True, text=True)
    assert done.returncode == 0 and "6 passed" in done.stdout, done.stdout + done.stderr


# ---------------------------------------------------------------- the recording


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> catalogue.Lab:
    """The toy lab as a student edition has it: a recording, no solution, no mistakes."""
    root = tmp_path_factory.mktemp("bare") / "toy"
    shutil.copytree(TOY, root)
    lab = catalogue.find("1.1", root)
    recording(lab).parent.mkdir()
    recording(lab).write_bytes(recorded.record(LAB))
    lab.solution.unlink()
    lab.mistakes_file.unlink()
    return lab


def test_a_recording_judges_as_the_reference_does(bare):
    """Every classic mistake, alternative and trivial file: the same verdict, words and names, on every check."""
    assert isinstance(oracle.oracle(bare), recorded.Recorded) and isinstance(oracle.oracle(LAB), oracle.Reference)
    variants = mistakes.variants(LAB)
    files = ["solution", "skeleton", *(f"mistake:{m.name}" for m in variants.mistakes)]
    files += [f"alternative:{a.name}" for a in variants.alternatives]
    compared = named = 0
    with Engine() as engine:
        for kind in files:
            answers = kinds.Answers(kinds.answers(LAB, kind).text, "lab.py")
            for mine, theirs in zip(checks(bare), checks(LAB)):
                here, there = (engine.run(lab, c, answers, 1) for lab, c in ((bare, mine), (LAB, theirs)))
                assert (here.verdict, here.message, here.mistakes) == (there.verdict, there.message, there.mistakes)
                compared, named = compared + 1, named + bool(here.mistakes)
    assert compared > 40 and named >= len(variants.mistakes)


def test_a_recording_is_the_same_every_time():
    assert recorded.record(LAB, (0,)) == recorded.record(LAB, (0,))


def test_other_inputs_are_not_judged(bare):
    check = checks(bare)[0]
    draw = oracle.oracle(bare).draw(check, 0, 0)
    from labkit.grading import wire
    from labkit.grading.verdicts import Failure

    with pytest.raises(Failure, match="not the recorded ones") as failure:
        draw.wanted(0, "scale_rows", wire.pack((np.ones((5, 7)),)), None)
    assert failure.value.verdict is Verdict.SKIPPED


def test_a_sketch_forgives_the_last_bits_only():
    x = np.random.default_rng(0).normal(size=(5, 7))
    same = [(x, ["a", 1], {"b": 2.0}), (x * (1 + 1e-12), ["a", 1], {"b": 2.0})]
    assert recorded.alike(*map(recorded.sketch, same))
    others = [x + 1e-3, x.T, x.astype("float32"), x.tolist(), np.where(x > 1, np.nan, x), x[:4]]
    for other in others:
        assert not recorded.alike(recorded.sketch(x), recorded.sketch(other))
    for a, b in [(1, True), (1, 2), ("a", "b"), ([1, 2], (1, 2)), ({1}, {2}), (None, 0), (np.int64(1), np.int32(1))]:
        assert not recorded.alike(recorded.sketch([a]), recorded.sketch([b]))


@pytest.mark.parametrize(
    ("text", "ids"), [("1.1", ["1.1"]), ("1.2-1.4", ["1.2", "1.3", "1.4"]), ("1.3, 1.1", ["1.1", "1.3"])]
)
def test_the_list_of_labs(text, ids):
    assert [lab.id for lab in release.chosen(text)] == ids


@pytest.mark.parametrize("text", ["", "1.3-1.1", "77.1", "1.1-"])
def test_a_bad_list_of_labs(text):
    with pytest.raises(ValueError):
        release.chosen(text)


# ---------------------------------------------------------------- Gradescope


@pytest.fixture(scope="module")
def autograder(course, tmp_path_factory) -> Path:
    """An unpacked autograder zip, the folders as Gradescope lays them out, and a stand-in for its environment."""
    root = tmp_path_factory.mktemp("gradescope")
    done = labkit("pack-gradescope", "1.2", "-o", str(root / "a.zip"), "--tier", "check", root=course)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(root / "a.zip") as archive:
        modes = {info.filename: info.external_attr >> 16 & 0o777 for info in archive.infolist()}
        archive.extractall(root / "autograder/source")
    assert modes["setup.sh"] == modes["run_autograder"] == 0o755
    python = root / "autograder/venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={root}/autograder/source/repo exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (root / "autograder/submission").mkdir()
    return root / "autograder"


def run_autograder(autograder: Path, text: str | None) -> tuple[int, dict]:
    file = autograder / "submission/lab.py"
    file.unlink(missing_ok=True)
    if text is not None:
        file.write_text(text)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LABKIT_ROOT")}
    command = ["bash", str(autograder / "source/run_autograder")]
    environment["AUTOGRADER"] = str(autograder)
    done = subprocess.run(command, env=environment, cwd=autograder, capture_output=True, text=True)
    return done.returncode, json.loads((autograder / "results/results.json").read_text())


def test_an_autograder_grades(autograder):
    untouched = skeleton.skeleton(SOLUTION, "1.2")
    right = skeleton.compose(untouched, {"perplexity": "return np.exp(toy.row_entropy(x))"}).text
    code, results = run_autograder(autograder, right)
    assert code == 0 and [(t["name"], t["score"], t["max_score"]) for t in results["tests"]] == [
        ("1.2 perplexity", 1, 1),
        ("1.2 whole lab", 1, 1),
    ]
    code, results = run_autograder(autograder, right.replace("np.exp(", "np.exp2("))
    assert code == 0 and sum(test["score"] for test in results["tests"]) == 0
    assert "Nats are to e" in results["tests"][0]["output"]
    code, results = run_autograder(autograder, None)
    assert code == 0 and results["tests"][0]["score"] == 0 and "not handed in" in results["output"]


def test_an_autograder_that_fails_gives_no_score(autograder):
    broken = autograder / "source/repo/tests/phase_01/test_lab_02_second.py"
    text = broken.read_text()
    broken.write_text("raise RuntimeError\n")
    try:
        code, results = run_autograder(autograder, skeleton.skeleton(SOLUTION, "1.2"))
    finally:
        broken.write_text(text)
    assert code == 1 and set(results) == {"output"} and "no score" in results["output"]
    (autograder / "venv/bin/python").rename(autograder / "venv/bin/away")
    try:
        code, results = run_autograder(autograder, skeleton.skeleton(SOLUTION, "1.2"))
    finally:
        (autograder / "venv/bin/away").rename(autograder / "venv/bin/python")
    assert code != 0 and set(results) == {"output"} and "no score" in results["output"]


def test_the_scripts_are_sound(autograder):
    for script in ("setup.sh", "run_autograder"):
        text = (autograder / "source" / script).read_text()
        assert "@" not in text.replace('"$@"', "")
        subprocess.run(["bash", "-n", str(autograder / "source" / script)], check=True)
    assert not (autograder / "source/repo/labkit/grading/edition").exists()
    assert (autograder / "source/repo/phase-01-toy/lab-01-toy/solution.py").is_file(), "1.2 uses 1.1"
