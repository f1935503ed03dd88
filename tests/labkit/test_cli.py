"""The learner's loop at the command line, on the toy repository."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit import checking
from labkit.grading import answers as kinds
from labkit.grading.checks import checks
from labkit.grading.engine import Engine

REPOSITORY = Path(__file__).resolve().parents[2]
WRONG = "return -(p * np.log2(p)).sum(axis=1)"
RIGHT = "return -(p * np.log(p)).sum(axis=1)"


@pytest.fixture
def labkit(toy):
    """Runs a command in the toy repository; ``labkit.lab`` is its lab."""
    root = toy.phase.path.parent
    environment = os.environ | {"LABKIT_ROOT": str(root), "PYTHONPATH": str(REPOSITORY), "COLUMNS": "120"}

    def run(*arguments, **options):
        command = [sys.executable, "-m", "labkit.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=60, **options)

    run.lab, run.environment, run.root = toy, environment, root
    return run


def fill(lab, slug, body):
    text = lab.lab_file.read_text()
    assert f'raise NotImplementedError("TODO {slug}")' in text
    lab.lab_file.write_text(text.replace(f'raise NotImplementedError("TODO {slug}")', body))


def test_the_learners_loop(labkit):
    untouched = labkit("check", "1.1")
    assert untouched.returncode == 1 and "not started" in untouched.stdout and "Traceback" not in untouched.stdout
    fill(labkit.lab, "entropy", WRONG)
    wrong = labkit("check", "1.1")
    assert wrong.returncode == 1
    assert "nats or bits" in wrong.stdout and "worst at" in wrong.stdout and "wanted" in wrong.stdout
    assert "not started: scale-rows, vocab" in wrong.stdout
    labkit.lab.lab_file.write_text(labkit.lab.lab_file.read_text().replace(WRONG, RIGHT))
    right = labkit("check", "1.1", "--only", "entropy")
    assert right.returncode == 0 and "✓ entropy" in right.stdout
    assert labkit("check", "1.1").returncode == 1
    assert "1 of 3 TODOs done" in labkit("progress").stdout
    assert "TODO scale-rows" in labkit("next").stdout
    assert labkit("next", "1.1").stdout == labkit("next").stdout


def test_finishing_everything(labkit):
    from labkit.grading.mistakes import reference_bodies

    for slug, body in reference_bodies(labkit.lab).items():
        pad = "        " if slug == "vocab" else "    "
        fill(labkit.lab, slug, body.replace("\n", "\n" + pad))
    done = labkit("check", "1.1", "--report", labkit.root / "report.json")
    assert done.returncode == 0, done.stdout
    assert "Everything is done" in labkit("next").stdout
    report = json.loads((labkit.root / "report.json").read_text())["reports"][0]
    assert report["points"] == report["max_points"] == 7 and report["tier"] == "check"
    junit = labkit("export", "report.json", "--to", "junit").stdout
    assert 'tests="6"' in junit and 'failures="0"' in junit
    scores = json.loads(labkit("export", "report.json", "--to", "gradescope").stdout)
    assert sum(test["score"] for test in scores["tests"]) == 7
    code = "from labkit.mine import toy; print(sorted(toy.Vocab('ba').ids))"
    mine = subprocess.run([sys.executable, "-c", code], env=labkit.environment, capture_output=True, text=True)
    assert mine.stdout.strip() == "['a', 'b']", mine.stderr
    labkit.lab.lab_file.write_text(labkit.lab.lab_file.read_text() + "\n# changed\n")
    mine = subprocess.run([sys.executable, "-c", code], env=labkit.environment, capture_output=True, text=True)
    assert mine.returncode != 0 and "labkit check 1.1" in mine.stderr


def test_a_right_answer_by_the_forbidden_call_gets_a_remark_and_its_points(labkit):
    remark = "Right, but a product and a sum are what this TODO is about."
    fill(labkit.lab, "entropy", RIGHT)
    assert remark not in labkit("check", "1.1").stdout
    done = labkit("check", "1.1", "--answers", "alternative:einsum", "--report", labkit.root / "report.json")
    assert remark in done.stdout and done.returncode == 0
    report = json.loads((labkit.root / "report.json").read_text())["reports"][0]
    assert report["points"] == report["max_points"]
    assert {row["todo"] for row in report["checks"] if remark in row["remarks"]} == {"entropy"}
    fill(labkit.lab, "scale-rows", "y = np.einsum('nd->nd', x)\n    return y")
    assert remark not in labkit("check", "1.1").stdout


def test_hints_come_in_levels(labkit):
    first = labkit("hint", "1.1").stdout
    assert "Which axis is a row?" in first and "--level 2" in first
    assert "keepdims" in labkit("hint", "1.1", "--todo", "scale-rows", "--level", "3").stdout
    wrong = labkit("hint", "1.1", "--todo", "nothing")
    assert wrong.returncode == 2 and "vocab" in wrong.stdout


def test_reset_keeps_a_backup(labkit):
    fill(labkit.lab, "entropy", "return 'mine'")
    assert "kept as" in labkit("reset", "1.1").stdout
    assert "mine" not in labkit.lab.lab_file.read_text()
    backups = list(labkit.lab.path.glob("lab.backup-*.py"))
    assert len(backups) == 1 and "return 'mine'" in backups[0].read_text()


def test_update_carries_answers(labkit):
    fill(labkit.lab, "entropy", "return 'mine'")
    labkit.lab.solution.write_text(labkit.lab.solution.read_text().replace("in nats", "in natural units"))
    assert "updated" in labkit("update").stdout
    text = labkit.lab.lab_file.read_text()
    assert "natural units" in text and "return 'mine'" in text


def test_solution_and_list(labkit):
    assert "np.log(p)" in labkit("solution", "1.1", "entropy").stdout
    assert "0/3 TODOs" in labkit("list").stdout


def test_doctor_looks_around(labkit):
    (labkit.root / "constraints.txt").write_text("numpy==1.0\n")
    done = labkit("doctor")
    assert done.returncode == 0 and "Python" in done.stdout and "tested: 1.0" in done.stdout, done.stdout + done.stderr
    labkit.lab.lab_file.write_text("nothing")
    labkit.lab.lab_file.write_text("    # TODO entropy (~1 line): x\n")
    assert labkit("doctor").returncode == 1


def test_debug_runs_here_with_prints_and_breakpoints(labkit):
    fill(labkit.lab, "entropy", f"print('seen', p.shape)\n    breakpoint()\n    {RIGHT}")
    done = labkit("check", "1.1", "--debug", "--only", "entropy", input="p p.shape\nc\nc\n")
    assert "seen (5, 6)" in done.stdout and "(Pdb)" in done.stdout and "nothing was scored" in done.stdout


def test_bad_names_are_one_line(labkit):
    for arguments in (["check", "9.9"], ["check", "1.1", "--only", "nope"], ["watch", "x"], ["check", "--phase", "7"]):
        done = labkit(*arguments)
        assert done.returncode == 2 and "Traceback" not in done.stderr + done.stdout, (
            arguments,
            done.stdout,
            done.stderr,
        )
    assert "there are: 1.1" in labkit("check", "9.9").stdout


def heed_ctrl_c():
    """A job started in the background ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_watch_grades_again_after_a_save(labkit):
    command = [sys.executable, "-u", "-m", "labkit.cli", "watch", "1.1"]
    process = subprocess.Popen(
        command,
        cwd=labkit.root,
        env=labkit.environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509
    )
    try:
        seen = [process.stdout.readline() for _ in range(3)]
        assert any("not started" in line for line in seen), seen
        fill(labkit.lab, "entropy", RIGHT)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not any("✓ entropy" in line for line in seen):
            seen.append(process.stdout.readline())
        assert any("✓ entropy" in line for line in seen), seen
    finally:
        process.send_signal(2)
        assert process.wait(20) == 0
        process.stdout.close()


@contextlib.contextmanager
def drilling(labkit, minutes):
    """A drill that has begun: the process, and its file."""
    command = [sys.executable, "-u", "-m", "labkit.cli", "drill", "1.1", "--minutes", str(minutes)]
    process = subprocess.Popen(
        command,
        cwd=labkit.root,
        env=labkit.environment | {"COLUMNS": "300"},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509
    )
    try:
        process.stdout.readline()
        yield process, labkit.root / process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()


def test_a_drill_ends_with_a_grade(labkit):
    fill(labkit.lab, "vocab", "return None")  # the drill takes the untouched lab, not the learner's
    with drilling(labkit, minutes=30) as (process, file):
        text = file.read_text()
        assert text.count("raise NotImplementedError") == 3
        file.write_text(text.replace('raise NotImplementedError("TODO entropy")', RIGHT))
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        assert "✓ entropy" in said and "2 of 7 points" in said, said
        assert process.wait(20) == 1
    assert "1 of 3" not in labkit("progress").stdout


def test_a_drill_ends_by_itself(labkit):
    with drilling(labkit, minutes=0.01) as (process, _):
        said = process.stdout.read()
        assert "0 of 7 points" in said and "Handed in after 0.0 minutes" in said, said
        assert process.wait(20) == 1
    assert labkit("drill", "1.1", "--minutes", "-1").returncode == 2


def test_watch_runs_again_only_what_an_edit_touched(toy):
    ran = []

    class Counting(Engine):
        def run(self, lab, check, *rest):
            ran.append(check.name)
            return super().run(lab, check, *rest)

    with Counting() as engine:
        memory = checking.Memory(engine)

        def regrade():
            """What passes, and what was run to know it."""
            ran.clear()
            graded = checking.grade_lab(toy, memory, kinds.answers(toy))
            return {result.todo for result in graded.results if result.passed}, set(ran)

        of = {todo: {c.name for c in checks(toy) if c.todo == todo} for todo in ("entropy", "scale-rows")}
        fill(toy, "entropy", RIGHT)
        assert regrade()[0] == {"entropy"}
        fill(toy, "scale-rows", "return x / x.sum(axis=0, keepdims=True)")
        for _ in range(2):  # what fails is run every time
            passing, again = regrade()
            assert passing == {"entropy"}
            assert of["scale-rows"] <= again and not of["entropy"] & again
        toy.lab_file.write_text(toy.lab_file.read_text().replace(RIGHT, WRONG))
        passing, again = regrade()
        assert passing == set() and of["entropy"] <= again


def test_skeletons_never_overwrite_work(labkit):
    fill(labkit.lab, "entropy", "return 'mine'")
    assert "edited, left alone" in labkit("skeletons").stdout
    assert "return 'mine'" in labkit.lab.lab_file.read_text()


def test_one_todo_at_a_time_counts(labkit):
    fill(labkit.lab, "entropy", RIGHT)
    assert labkit("check", "1.1", "--only", "entropy").returncode == 0
    assert "1 of 3 TODOs done" in labkit("progress").stdout
    assert "first_appearance" not in labkit("check", "1.1", "--only", "scale_rows").stdout  # _ stands for -
    assert "1 of 3 TODOs done" in labkit("progress").stdout


def test_a_file_that_cannot_be_loaded_is_said_once_and_forgets_nothing(labkit):
    fill(labkit.lab, "entropy", RIGHT)
    labkit("check", "1.1")
    fill(labkit.lab, "vocab", "self.ids = {}")
    text = labkit.lab.lab_file.read_text()
    labkit.lab.lab_file.write_text(text + "\nx = (\n")
    done = labkit("check", "1.1")
    assert done.stdout.count("SyntaxError") == 1 and "x = (" in done.stdout and "Nothing could be graded" in done.stdout
    assert f"lab.py:{len(text.splitlines()) + 2}" in done.stdout
    assert "1 of 3 TODOs done" in labkit("progress").stdout


def test_the_input_and_the_first_difference_are_shown(labkit):
    fill(labkit.lab, "vocab", "self.ids = {w: i for i, w in enumerate(sorted(set(words)))}")
    shown = labkit("check", "1.1", "--only", "vocab").stdout
    assert "for " in shown and "'w" in shown
    from labkit.grading import compare, diagnose

    got, wanted = list(range(40)), [*range(30), 99, *range(31, 40)]
    rows = dict(diagnose.values(compare.compare(got, wanted), None, None))
    assert "first differ at [30]" in rows or "got at [30]" in rows


def test_an_answer_that_gives_up_half_way_is_unfinished(labkit):
    fill(labkit.lab, "entropy", 'raise NotImplementedError("the sum is missing")')
    shown = labkit("check", "1.1").stdout
    assert "unfinished" in shown and 'still reaches raise NotImplementedError("the sum is missing")' in shown
    assert f"{labkit.lab.lab_file.name}:" in shown, "the line where it gives up"


def test_a_batch_is_shown_whole_where_it_fits():
    from labkit.grading import diagnose

    assert diagnose.inputs((["a", "b"],), 1) == "['a', 'b']"
    assert diagnose.inputs((["a" * 200, "b"],), 1) == "'b'"


def test_a_forgotten_breakpoint_is_named(labkit):
    fill(labkit.lab, "entropy", f"breakpoint()\n    {RIGHT}")
    assert "a breakpoint() is left" in labkit("check", "1.1").stdout
