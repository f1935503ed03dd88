"""``labkit grade``: what an instructor gets, and what no submission, crash or interruption can do to it."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from labkit import catalogue, skeleton
from labkit.grading import answers, batch, checks, feedback, gradebook
from labkit.grading.batch import Options, UsageError, grade_batch
from labkit.grading.engine import Engine
from labkit.grading.report import SCHEMA

REPOSITORY = Path(__file__).parents[2]
TOY = Path(__file__).parents[1] / "labkit" / "toy"
LAB = catalogue.find("1.1", TOY)
PLACE = "phase-01-toy/lab-01-toy/lab.py"
RIGHT = answers.answers(LAB, "solution").text
UNTOUCHED = answers.answers(LAB, "skeleton").text
LOUD = "\x1b[31mPASS</pre><script>alert(1)</script> ![x](http://evil.example) 10/10 | `"


def with_bodies(**bodies: str) -> str:
    """The right lab.py with some bodies replaced; ``scale_rows`` stands for ``scale-rows``."""
    changed = {slug.replace("_", "-"): body for slug, body in bodies.items()}
    return skeleton.compose(RIGHT, changed).text


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder of submissions of the toy lab, and functions that add to it and grade it in this process."""
    monkeypatch.setenv("LABKIT_ROOT", str(TOY))
    return Work(tmp_path)


class Work:
    def __init__(self, root: Path):
        self.folder, self.out = root / "submissions", root / "grades"
        self.folder.mkdir()

    def hand_in(self, name: str, text: str) -> Path:
        file = self.folder / name / PLACE
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def grade(self, **options) -> int:
        self.said = io.StringIO()
        console = Console(file=self.said, width=200)
        defaults = {"out": self.out, "jobs": 1, "labs": ("1.1",), "tier": "check", "seed": 3}
        return grade_batch(console, self.folder, Options(**(defaults | options)))

    def command(self, *arguments: str) -> list[str]:
        command = [sys.executable, "-m", "labkit.cli", "grade", str(self.folder), "--out", str(self.out)]
        return [*command, "--tier", "check", *arguments]

    def record(self, name: str) -> dict:
        return json.loads((self.out / "submissions" / name / "report.json").read_text())

    def stamps(self) -> dict[str, int]:
        return {file.parent.name: file.stat().st_mtime_ns for file in self.out.glob("submissions/*/report.json")}

    def rows(self) -> dict[str, dict]:
        with open(self.out / "grades.csv", newline="") as file:
            return {row["submission"]: row for row in csv.DictReader(file)}


@pytest.fixture
def environment():
    return os.environ | {"LABKIT_ROOT": str(TOY), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


# ---------------------------------------------------------------- what comes out


def test_a_batch_from_end_to_end(work):
    with zipfile.ZipFile(work.folder / "anna.zip", "w") as archive:
        archive.writestr(f"anna/{PLACE}", RIGHT)
    work.hand_in("bert", UNTOUCHED)
    work.hand_in("carl", with_bodies(entropy="return -(p * np.log2(p)).sum(axis=1)", vocab="self.ids = {}"))
    work.hand_in("dora", with_bodies(entropy=f"raise ValueError({LOUD!r})\n"))
    work.hand_in("=SUM(A1)", with_bodies(entropy="return ("))
    work.hand_in("fred", with_bodies(entropy="return -np.einsum('nd,nd->n', p, np.log(p))"))
    (work.folder / "eve.zip").write_bytes(b"PK nonsense")
    assert work.grade(jobs=2) == 0, work.said.getvalue()
    rows = work.rows()
    total = {name: row["total"] for name, row in rows.items()}
    formula = next(name for name in rows if name.startswith("SUM"))
    assert total == {"anna": "7", "bert": "0", "carl": "3", "dora": "4", "eve": "0", "fred": "7", formula: "4"}
    remark = "entropy: Right, but a product and a sum are what this TODO is about."
    said = {name: (work.out / "submissions" / name / "feedback.md").read_text() for name in ("anna", "fred")}
    assert remark in said["fred"] and remark not in said["anna"]
    assert rows["carl"]["1.1"] == "3" and rows["carl"]["maximum"] == "7"
    assert rows["carl"]["notes"] == "1.1 wrong: entropy, vocab, whole lab"
    assert "the archive is damaged" in rows["eve"]["notes"] and "lab 1.1 was not handed in" in rows["eve"]["notes"]
    record = work.record("carl")
    assert record["seed"] == 3 and record["tier"] == "check" and record["schema"] == SCHEMA and not record["infra"]
    (report,) = record["reports"]
    assert report["lab_hash"] and report["checks_hash"] and report["versions"]["numpy"]
    row = next(row for row in report["checks"] if row["check"] == "test_entropy_of_random_rows")
    assert row["verdict"] == "wrong" and "nats or bits" in row["diagnosis"][0] and row["mistakes"] == ["bits"]
    assert (
        row["place"].startswith(f"{PLACE}:") and row["seconds"] > 0 and row["peak_mib"] > 1 and row["earned"] is False
    )
    for name in rows:
        folder = work.out / "submissions" / name
        results = json.loads((folder / "results.json").read_text())
        assert sum(test["score"] for test in results["tests"]) == int(total[name])
        suites = ET.parse(folder / "junit.xml").getroot()
        assert len(suites) == (name != "eve")
    summary = (work.out / "summary.txt").read_text()
    assert "graded 7 of 7 submissions" in summary and "eve: the archive is damaged" in summary
    assert json.loads((work.out / "batch.json").read_text())["seed"] == 3
    no_wanted_value_is_told(work, "carl")
    nothing_of_theirs_is_markup(work, "dora")


def no_wanted_value_is_told(work: Work, name: str) -> None:
    """What `check` prints as wanted must stand in no file of the batch."""
    text = (work.folder / name / PLACE).read_text()
    with Engine() as engine:
        results = [engine.run(LAB, check, answers.Answers(text, "lab.py"), 3) for check in checks.checks(LAB)]
    wanted = [text for result in results for label, text in result.values if "wanted" in label]
    wanted += [number for text in wanted for number in re.findall(r"\d\.\d{4,}", text)]
    assert len(wanted) >= 8
    assert any("such as 'w" in result.message for result in results), "the missing keys are told to the learner herself"
    for file in work.out.rglob("*"):
        if file.is_file():
            said = file.read_text()
            assert not [value for value in wanted if value in said], file
            assert "such as" not in said


def nothing_of_theirs_is_markup(work: Work, name: str) -> None:
    folder = work.out / "submissions" / name
    page, markdown = (folder / "feedback.html").read_text(), (folder / "feedback.md").read_text()
    assert "PASS" in page, "the message itself is shown"
    tags = set()
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.add(tag)
    parser.feed(page)
    assert not tags & {"script", "img", "a", "iframe"}
    assert "<script" not in markdown and "![x]" not in markdown and "http://" not in markdown
    for file in work.out.rglob("*"):
        assert not file.is_file() or b"\x1b" not in file.read_bytes(), file
    assert "\x1b" not in work.said.getvalue()


def test_labs_that_nobody_asked_for_by_name(work, environment):
    work.hand_in("anna", RIGHT)
    (work.folder / "bert").mkdir()
    done = subprocess.run(work.command(), env=environment, capture_output=True, text=True, check=True)
    assert "anna" in done.stdout and "2 of 2" in done.stdout
    rows = work.rows()
    assert (rows["anna"]["1.1"], rows["anna"]["total"]) == ("7", "7")
    assert (rows["bert"]["1.1"], rows["bert"]["total"], rows["bert"]["maximum"]) == ("", "0", "7")
    assert json.loads((work.out / "batch.json").read_text())["seed"] > 2**10, "a fresh seed nobody could know"


def test_a_single_submission(work):
    work.hand_in("anna", RIGHT)
    work.folder = work.folder / "anna"
    with pytest.raises(UsageError, match="one submission"):
        (work.folder / "lab.py").write_text(UNTOUCHED)
        work.grade()
    (work.folder / "lab.py").unlink()
    assert work.grade(single=True) == 0
    assert work.rows()["anna"]["total"] == "7"


# ---------------------------------------------------------------- going on


def test_a_resumed_batch_grades_what_has_changed(work):
    for name in ("anna", "bert"):
        work.hand_in(name, RIGHT)
    assert work.grade() == 0
    first = work.stamps()
    with pytest.raises(UsageError, match="already holds a batch"):
        work.grade()
    assert work.grade(resume=True, seed=None) == 0
    assert work.stamps() == first and "(kept)" in work.said.getvalue()
    work.hand_in("bert", UNTOUCHED)
    work.hand_in("carl", RIGHT)
    assert work.grade(resume=True, seed=None, labs=()) == 0
    second = work.stamps()
    assert second["anna"] == first["anna"] and second["bert"] > first["bert"]
    assert {name: row["total"] for name, row in work.rows().items()} == {"anna": "7", "bert": "0", "carl": "7"}
    assert work.record("carl")["seed"] == 3, "the batch's own seed"
    assert work.grade(only=("anna",), seed=None) == 0
    third = work.stamps()
    assert third["anna"] > second["anna"] and third["carl"] == second["carl"]
    assert work.grade(resume=True, seed=4) == 0
    assert all(stamp > third[name] for name, stamp in work.stamps().items()), "another seed: everything again"


def test_changed_checks_are_graded_again(work, tmp_path, monkeypatch):
    root = tmp_path / "toy"
    shutil.copytree(TOY, root)
    monkeypatch.setenv("LABKIT_ROOT", str(root))
    work.hand_in("anna", RIGHT)
    assert work.grade() == 0
    first = work.stamps()
    file = root / "tests/phase_01/test_lab_01_toy.py"
    file.write_text(file.read_text().replace('@todo("entropy")', '@todo("entropy", points=5)', 1))
    assert work.grade(resume=True) == 0
    assert work.stamps()["anna"] > first["anna"] and work.rows()["anna"]["total"] == "11"


def test_kill_9_in_the_middle_loses_nothing(work, environment):
    """The batch, its graders and their workers are gone at once; what was graded stays; --resume does the rest."""
    for name in "abc":
        work.hand_in(
            name,
            with_bodies(
                vocab="import time; time.sleep(0.5); self.ids = {w: i for i, w in [*enumerate(dict.fromkeys(words))]}"
            ),
        )
    process = subprocess.Popen(
        work.command("-j", "1", "--seed", "5"), env=environment, stdout=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not work.stamps() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    first = work.stamps()
    assert 1 <= len(first) < 3, "killed too early or too late to show anything"
    while graders_of(work) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not graders_of(work), "a grader outlived its batch"
    assert not list(work.out.rglob(".report.json.*")) or len(work.stamps()) == len(first)
    done = subprocess.run(work.command("--resume"), env=environment, capture_output=True, text=True, check=True)
    assert "(kept)" in done.stdout
    second = work.stamps()
    assert len(second) == 3 and all(second[name] == stamp for name, stamp in first.items())
    assert {row["total"] for row in work.rows().values()} == {"7"} and work.record("c")["seed"] == 5


def graders_of(work: Work) -> list[str]:
    """Processes of this batch that still run: graders have its log file open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) == str(work.out / "log.txt") for fd in (process / "fd").iterdir()):
                found.append(process.name)
        except OSError:
            continue
    return found


def test_stopping_writes_the_gradebook_of_what_is_done(work, environment):
    work.hand_in("anna", RIGHT)
    work.hand_in("bert", with_bodies(vocab="import time; time.sleep(9)"))
    process = subprocess.Popen(work.command("-j", "1"), env=environment, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not work.stamps() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 130 and "go on with --resume" in output
    rows = work.rows()
    assert rows["anna"]["total"] == "7" and rows["bert"]["notes"] == gradebook.WAITING and rows["bert"]["total"] == ""


def test_two_graders_on_one_folder_are_refused(work, environment):
    work.hand_in("anna", with_bodies(vocab="import time; time.sleep(9)"))
    process = subprocess.Popen(work.command(), env=environment, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (work.out / "batch.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(UsageError, match=rf"is in use: process {process.pid} is grading into it"):
        work.grade(resume=True)
    process.kill()
    process.communicate()


# ---------------------------------------------------------------- trouble in the grader is never a zero

KILL_THE_TEMPLATE = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
KILL_THE_GRADER = """
import os, signal, time
os.kill(int(open(f"/proc/{os.getppid()}/stat").read().split()[3]), signal.SIGKILL)
time.sleep(0.5)
"""


def test_a_killed_template_is_infra_and_the_others_are_untouched(work):
    """Possible in the tier ``check`` only, which does not isolate; there it shows what a broken grader looks like."""
    work.hand_in("anna", RIGHT)
    work.hand_in("bert", with_bodies(vocab=KILL_THE_TEMPLATE))
    work.hand_in("carl", RIGHT)
    assert work.grade() == 1
    rows = work.rows()
    assert (rows["bert"]["1.1"], rows["bert"]["total"]) == (gradebook.INFRA, gradebook.INFRA)
    assert rows["anna"]["total"] == rows["carl"]["total"] == "7"
    results = json.loads((work.out / "submissions/bert/results.json").read_text())
    assert set(results) == {"output"} and "autograder itself failed" in results["output"], "no score at all"
    junit = ET.parse(work.out / "submissions/bert/junit.xml").getroot()
    assert junit[0].get("errors") == "2"
    page = (work.out / "submissions/bert/feedback.md").read_text()
    assert "not your fault" in page and "there is no total yet" in page and "template" not in page
    summary = (work.out / "summary.txt").read_text()
    assert "bert: INFRA: 1.1 test_ids_follow_first_appearance: the worker template could not be used" in summary
    before = work.stamps()
    assert work.grade(resume=True) == 1
    after = work.stamps()
    assert after["bert"] > before["bert"] and after["anna"] == before["anna"], "infra is tried again"


def test_a_grader_that_dies_costs_its_submission_only(work):
    work.hand_in("anna", RIGHT)
    work.hand_in("bert", with_bodies(vocab=KILL_THE_GRADER))
    work.hand_in("carl", RIGHT)
    assert work.grade(jobs=2) == 1
    rows = work.rows()
    assert rows["bert"]["total"] == rows["bert"]["1.1"] == gradebook.INFRA
    assert "the grader failed 2 times on this submission (it ended with status -9)" in rows["bert"]["notes"]
    assert rows["anna"]["total"] == rows["carl"]["total"] == "7"
    assert set(json.loads((work.out / "submissions/bert/results.json").read_text())) == {"output"}
    assert ET.parse(work.out / "submissions/bert/junit.xml").getroot()[0].get("errors") == "1"
    assert f"1 with trouble in the grader ({gradebook.INFRA})" in work.said.getvalue()


def test_a_grader_that_hangs_is_ended(work, tmp_path, monkeypatch):
    root = tmp_path / "toy"
    shutil.copytree(TOY, root)
    file = root / "tests/phase_01/test_lab_01_toy.py"
    hang = '    """Every row is divided by its own sum."""\n'
    file.write_text(
        file.read_text()
        .replace(hang, hang + "    __import__('time').sleep(60)\n")
        .replace("points=2)", "points=2, timeout=0.5)")
    )
    monkeypatch.setenv("LABKIT_ROOT", str(root))
    monkeypatch.setattr(batch, "PATIENCE", 1.5)
    work.hand_in("anna", RIGHT)
    assert work.grade() == 1
    assert "it hung" in work.rows()["anna"]["notes"] and work.rows()["anna"]["total"] == gradebook.INFRA


# ---------------------------------------------------------------- small things


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"only": ("nobody",)}, "there is no submission nobody; there are: anna"),
        ({"labs": ("9.99",)}, "no lab is called '9.99'"),
    ],
)
def test_bad_usage_is_refused_before_anything_is_graded(work, options, says):
    work.hand_in("anna", RIGHT)
    with pytest.raises(ValueError, match=says):
        work.grade(**options)
    assert not work.stamps()


def test_an_empty_or_missing_folder(work):
    with pytest.raises(UsageError, match="holds no submissions"):
        work.grade()
    work.folder = work.folder / "nowhere"
    with pytest.raises(UsageError, match="there is no folder"):
        work.grade()


def test_the_time_limit_factor(work):
    work.hand_in("anna", with_bodies(vocab="import time; time.sleep(2)"))
    assert work.grade(timeout=0.05) == 0
    verdicts = {row["check"]: row["verdict"] for row in work.record("anna")["reports"][0]["checks"]}
    assert verdicts["test_ids_follow_first_appearance"] == "timeout" and verdicts["test_rows_are_scaled"] == "pass"


def test_a_cell_is_no_formula():
    cells = ["=1+1", "+1", "-1", "@x", "\tx", "plain", -1, ""]
    assert [gradebook._cell(c) for c in cells] == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "plain", -1, ""]


def test_every_verdict_has_words():
    from labkit.grading.verdicts import Verdict

    assert set(feedback.MEANING) == set(Verdict) - {Verdict.PASS}
