"""Verdicts: what each kind of learner code comes to, and that it costs its own check and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from labkit import skeleton
from labkit.grading import answers as kinds
from labkit.grading import checks as check_module
from labkit.grading import mistakes
from labkit.grading.engine import Engine, source_for
from labkit.grading.verdicts import Failure, Verdict

RIGHT = "return -(p * np.log(p)).sum(axis=1)"
ONE = "test_entropy_of_random_rows"


def test_the_solution_passes_everything(toy, engine):
    answers = kinds.answers(toy, "solution")
    assert [engine.run(toy, c, answers).verdict for c in check_module.checks(toy)] == [Verdict.PASS] * 6


def test_the_untouched_lab_is_not_started(toy, engine):
    answers = kinds.answers(toy, "skeleton")
    assert {engine.run(toy, c, answers).verdict for c in check_module.checks(toy)} == {Verdict.NOT_STARTED}


@pytest.mark.parametrize(
    ("body", "verdict", "says"),
    [
        (RIGHT, Verdict.PASS, ""),
        ("return -(p * np.log(p)).sum(axis=0)", Verdict.WRONG, "shape is (6,), not (5,)"),
        ("pass", Verdict.WRONG, "NoneType"),
        ('x = 1\nraise NotImplementedError("TODO entropy")', Verdict.UNFINISHED, "still reaches"),
        ("return undefined_name", Verdict.ERROR, "NameError"),
        ("return (1", Verdict.ERROR, "SyntaxError"),
        ("import sys; sys.exit(0)", Verdict.ERROR, "SystemExit"),
        ("import os; os._exit(0)", Verdict.ERROR, "exit code 0"),
        ("import ctypes; ctypes.string_at(0)", Verdict.ERROR, "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", Verdict.ERROR, "SIGTERM"),
        ("return [0] * 10**11", Verdict.MEMORY, "memory"),
        ("return np.ones(10**10)", Verdict.MEMORY, "memory"),
        ("print('x' * 50_000_000); " + RIGHT, Verdict.ERROR, "printed more than 8 MiB"),
        (f"import os; pid = os.fork(); {RIGHT}", Verdict.ERROR, "wait for what you start"),
        ("return type('E', (), {'__eq__': lambda s, o: True})()", Verdict.WRONG, "E"),
        ("return (-(p * np.log(p)).sum(axis=1)).view(type('Loud', (np.ndarray,), {}))", Verdict.WRONG, "Loud"),
        ("return np.full(len(p), np.nan)", Verdict.WRONG, "elements differ"),
        ("return (-(p * np.log(p)).sum(axis=1)).astype('float32')", Verdict.WRONG, "dtype is float32"),
        ("return list(-(p * np.log(p)).sum(axis=1))", Verdict.WRONG, "list"),
        ("r = -(p * np.log(p)).sum(axis=1)\np *= 2\nreturn r", Verdict.WRONG, "changed its input"),
        ("raise KeyboardInterrupt", Verdict.ERROR, "KeyboardInterrupt"),
        ("return entropy(p)", Verdict.ERROR, "RecursionError"),
        ("return bytes(300 * 2**20)", Verdict.MALFORMED, "larger than"),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E", Verdict.ERROR, "could not be read"),
    ],
)
def test_verdicts(grade_body, body, verdict, says):
    result = grade_body("entropy", body, ONE)[0]
    assert result.verdict == verdict, result
    text = " ".join([result.message, *(v for _, v in result.values), *result.diagnosis])
    assert says in text, text


def test_an_endless_loop_runs_into_the_clock(toy, grade_body, engine, monkeypatch):
    monkeypatch.setattr(engine, "timeout_factor", 0.05)
    started = time.monotonic()
    swallowing = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    assert grade_body("entropy", swallowing, ONE)[0].verdict is Verdict.TIMEOUT
    assert time.monotonic() - started < 5
    monkeypatch.setattr(engine, "timeout_factor", 1.0)
    assert grade_body("entropy", RIGHT, ONE)[0].passed, "the next check must not notice"


def test_nothing_outlives_a_check(grade_body):
    daemon = """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                import sys
                os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(4242)"])
            os._exit(0)
        """
    import textwrap

    grade_body("entropy", textwrap.dedent(daemon) + RIGHT, ONE)
    lines = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not any(b"time.sleep(4242)" in line for line in lines)


def test_state_does_not_leak_from_check_to_check(grade_body):
    body = "np.secret = getattr(np, 'secret', 0) + 1\nreturn np.full(len(p), float(np.secret))"
    shown = [dict(r.values).get("  got") for r in grade_body("entropy", body) + grade_body("entropy", body)]
    assert set(shown) <= {"1", None}


def test_each_todo_is_judged_by_itself(toy, engine):
    """A syntax error and an endless loop in two TODOs do not touch the third."""
    text = skeleton.skeleton(mistakes.reference_source(toy), toy.id)
    bodies = {"scale-rows": "return (1", "vocab": "while True: pass", "entropy": RIGHT}
    answers = kinds.Answers(skeleton.compose(text, bodies).text, "lab.py")
    verdicts = {c.name: engine.run(toy, c, answers).verdict for c in check_module.checks(toy) if c.todo == "entropy"}
    assert set(verdicts.values()) == {Verdict.PASS}


def test_the_whole_lab_runs_the_file_as_it_stands(toy, engine):
    whole = check_module.checks(toy)[-1]
    bodies = mistakes.reference_bodies(toy)
    for slug in bodies:
        answers = kinds.made_up(toy, {k: v for k, v in bodies.items() if k != slug})
        result = engine.run(toy, whole, answers)
        assert result.verdict is Verdict.NOT_STARTED and slug in result.message
    assert engine.run(toy, whole, kinds.replaced(toy, "entropy", "return p.sum(1)")).verdict is Verdict.WRONG


def test_the_line_of_an_error_is_the_learners(toy, engine):
    text = skeleton.skeleton(mistakes.reference_source(toy), toy.id)
    text = skeleton.compose(text, {"entropy": "q = p\n\nreturn q + nonsense"}).text
    line = next(n for n, s in enumerate(text.splitlines(), 1) if "nonsense" in s)
    check = next(c for c in check_module.checks(toy) if c.name == ONE)
    assert engine.run(toy, check, kinds.Answers(text, "mine/lab.py")).place == f"mine/lab.py:{line}"


def test_the_output_of_learner_code_is_kept_and_cut(grade_body):
    result = grade_body("entropy", f"print('here', p.shape)\n{RIGHT} * 2", ONE)[0]
    assert result.output == "here (5, 6)"
    long = grade_body("entropy", f"print('y' * 100_000)\n{RIGHT} * 2", ONE)[0]
    assert len(long.output) <= 8_000


@pytest.mark.parametrize(
    ("slug", "body", "hint"),
    [
        ("entropy", "h = 0\nfor row in p.T:\n    h = h - row * np.log2(row)\nreturn h", "nats or bits"),
        ("scale-rows", "return x / x.sum(axis=0)", "A row runs along which axis?"),
        ("vocab", "self.ids = {w: i for i, w in enumerate(dict.fromkeys(words), 1)}", "Which id does the first word"),
    ],
)
def test_another_way_to_make_a_known_mistake_is_recognised(grade_body, slug, body, hint):
    failing = [r for r in grade_body(slug, body) if not r.passed]
    assert any(hint in sentence for r in failing for sentence in r.diagnosis), failing


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("x = -(p * np.log(p)).sum(axis=1)", "returned None"),
        ("return 3 * -(p * np.log(p)).sum(axis=1)", "3 times what is wanted"),
        ("return -(p * np.log(p)).sum(axis=1) + 1", "off by the same 1"),
        ("return np.roll(-(p * np.log(p)).sum(axis=1), 1)", "shifted by one"),
        ("return (p * np.log(p)).sum(axis=1)", "sign"),
        ("return -(p * np.log(p - 1)).sum(axis=1)", "NaN"),
    ],
)
def test_general_mistakes_are_named(grade_body, body, sentence):
    result = grade_body("entropy", body, ONE)[0]
    assert any(sentence in text for text in result.diagnosis), result.diagnosis


def test_an_unrelated_wrong_answer_gets_no_hint(grade_body):
    result = grade_body("entropy", "return np.cos(np.arange(len(p)) * 7.7)", ONE)[0]
    assert result.mistakes == () and result.diagnosis == ()


def test_weak_draws_are_drawn_again(toy, engine):
    """Inputs for which zeros are right must never decide: the check below draws them half of the time."""
    from dataclasses import replace

    seen = []

    def check(grade, rng):
        p = np.eye(4) * 0.5 + 0.125 if rng.random() < 0.5 else np.ones((4, 1))
        seen.append(p.shape[1])
        grade("entropy", p)

    base = next(c for c in check_module.checks(toy) if c.name == ONE)
    answers = kinds.answers(toy, "solution")
    for seed in range(12):
        seen.clear()
        assert engine.run(toy, replace(base, function=check), answers, seed).passed
        assert seen[-1] == 4 and set(seen[:-1]) <= {1}
    always = replace(base, function=lambda grade, rng: grade("entropy", np.ones((4, 1))))
    assert engine.run(toy, always, answers).verdict is Verdict.INFRA
    assert engine.run(toy, replace(always, edge=True), answers).passed


def test_a_broken_check_is_infra_and_a_broken_template_too(toy, monkeypatch):
    from dataclasses import replace

    base = next(c for c in check_module.checks(toy) if c.name == ONE)
    with Engine() as engine:
        broken = replace(base, function=lambda grade, rng: 1 / 0)
        assert engine.run(toy, broken, kinds.answers(toy, "solution")).verdict is Verdict.INFRA
        engine.warm(toy).process.kill()
        result = engine.run(toy, base, kinds.answers(toy, "solution"))
        assert result.verdict is Verdict.INFRA and "template" in result.message


def test_lost_markers_are_malformed_and_say_what_to_do(toy):
    text = skeleton.skeleton(mistakes.reference_source(toy), toy.id).replace("# END TODO entropy", "# the end")
    with pytest.raises(Failure) as failure:
        source_for(toy, check_module.checks(toy)[0], kinds.Answers(text, "lab.py"))
    assert failure.value.verdict is Verdict.MALFORMED and "entropy" in failure.value.message


def test_the_seed_decides_the_inputs(grade_body):
    body = "return p.sum(axis=1) * p[0, 0]"
    first, again, other = (grade_body("entropy", body, ONE, seed=s)[0].values for s in (1, 1, 2))
    assert first == again != other


def test_the_spawned_worker_grades_alike(toy, monkeypatch):
    monkeypatch.setenv("LABKIT_WORKER", "spawn")
    with Engine() as engine:
        for kind, wanted in (("solution", {Verdict.PASS}), ("mistake:bits", {Verdict.PASS, Verdict.WRONG})):
            answers = kinds.answers(toy, kind)
            assert {engine.run(toy, c, answers).verdict for c in check_module.checks(toy)} == wanted
        check = next(c for c in check_module.checks(toy) if c.name == ONE)
        crash = kinds.replaced(toy, "entropy", "import os; os._exit(3)")
        assert engine.run(toy, check, crash).verdict is Verdict.ERROR
        engine.timeout_factor = 0.1
        loop = kinds.replaced(toy, "entropy", "while True: pass")
        assert engine.run(toy, check, loop).verdict is Verdict.TIMEOUT
        engine.timeout_factor = 1.0
        assert engine.run(toy, check, kinds.answers(toy, "solution")).passed


def test_no_expected_value_enters_the_worker(grade_body):
    """The worker's memory is searched for the right answer while it runs: it must not be there."""
    search = """
import gc
right = -(p * np.log(p)).sum(axis=1)
found = [o for o in gc.get_objects() if type(o) is np.ndarray and o is not right and o.shape == right.shape
         and o.dtype == right.dtype and np.allclose(o, right)]
return np.full(len(p), float(len(found)))
"""
    shown = dict(grade_body("entropy", search.strip(), ONE)[0].values)
    assert shown["  got"] == "0"


def test_pytest_is_a_front_end(toy):
    """Exit code, verdicts and the teaching text through plain pytest on the toy repository."""
    text = toy.lab_file.read_text().replace(
        'raise NotImplementedError("TODO entropy")', "return (p * np.log2(p)).sum(1)"
    )
    toy.lab_file.write_text(text)
    root = toy.phase.path.parent
    environment = os.environ | {"LABKIT_ROOT": str(root), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(root / "tests")]

    def run(*extra):
        return subprocess.run([*command, *extra], cwd=root, env=environment, capture_output=True, text=True)

    done = run()
    assert done.returncode == 1 and "not started" in done.stdout and "Traceback" not in done.stdout
    assert "The entropy of each row, in nats." in done.stdout
    done = run("--answers", "solution")
    assert done.returncode == 0 and "6 passed" in done.stdout, done.stdout
