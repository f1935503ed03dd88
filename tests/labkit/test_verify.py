"""`labkit verify` is itself tested: break a lab or the engine, and it goes red."""

from __future__ import annotations

import pytest

from labkit import catalogue, skeleton
from labkit.grading import checks as check_module
from labkit.grading import compare, mistakes, oracle
from labkit.grading.engine import Engine
from labkit.grading.verify import verify


@pytest.fixture
def problems(toy):
    """Edits one file of the toy lab, verifies it, and returns what was found."""

    caches = (
        *(check_module.checks, check_module.drivers, mistakes.variants, mistakes.reference_source),
        *(mistakes.reference_bodies, mistakes.reference_module, mistakes.mistaken_module),
    )

    def run(file=None, find="", replace=""):
        if file is not None:
            text = file.read_text()
            assert text.count(find) == 1, f"{find!r} must occur once"
            file.write_text(text.replace(find, replace))
        for cached in caches:
            cached.cache_clear()
        with Engine() as engine:
            return "\n".join(verify(catalogue.find("1.1", toy.phase.path.parent), engine).problems)

    yield run
    for cached in caches:
        cached.cache_clear()


def test_the_toy_lab_is_sound(problems):
    assert problems() == ""


def test_a_deleted_comparison_is_seen(problems, toy):
    old = 'grade("scale_rows", rng.uniform(0.5, 2.0, (5, 7)))'
    found = problems(toy.checks_file, old, old.replace("grade(", "grade.call("))
    assert "mistake scale-columns is not caught by test_rows_are_scaled" in found


def test_a_comparison_whose_result_is_dropped_is_seen(problems, toy):
    old = 'grade("vocab_ids", [f"w{i}" for i in rng.integers(0, 9, 30)])'
    found = problems(toy.checks_file, old, 'grade.call("vocab_ids", ["a"])')
    assert "mistake ids-from-one is not caught" in found
    assert "the trivial answer 'ones' earns TODO vocab" in found


def test_an_infinite_tolerance_is_seen(problems, toy):
    old = 'grade("scale_rows", rng.uniform(0.5, 2.0, (5, 7)))'
    found = problems(toy.checks_file, old, old[:-1] + ', atol=float("inf"))')
    assert "the trivial answer 'zeros' earns TODO scale-rows" in found


def test_a_check_that_never_calls_is_seen(problems, toy):
    found = problems(toy.checks_file, '    p = rng.dirichlet([1.0] * 6, size=5)\n    grade("entropy", p)', "    pass")
    assert "test_entropy_of_random_rows passes without reaching TODO entropy" in found


def test_a_lost_hint_is_seen(problems, toy):
    old = 'hint = "A row runs along which axis? Sum over the other one."'
    assert "mistake scale-columns: it has no hint" in problems(toy.mistakes_file, old, 'hint = ""')


def test_a_mistake_that_is_not_named_is_seen(problems, toy, monkeypatch):
    from labkit.grading import engine

    monkeypatch.setattr(engine, "matching_mistakes", lambda *_: [])
    assert "mistake bits is caught by test_entropy_of_random_rows but not named" in problems()


def test_a_mistake_that_never_ends_is_seen(problems, toy, monkeypatch):
    monkeypatch.setattr(oracle, "LIMIT", 0.2)
    old = 'replace = "np.log2"'
    found = problems(toy.mistakes_file, old, 'replace = "[0 for _ in iter(int, 1)] or np.log"')
    assert "mistake bits is caught by test_entropy_of_random_rows but not named (named: []; timeout" in found


def test_a_solved_skeleton_is_seen(problems, monkeypatch):
    real = skeleton.skeleton

    def solved(text, lab_id):
        body = "return -(p * np.log(p)).sum(axis=1)"
        return real(text, lab_id).replace('raise NotImplementedError("TODO entropy")', body)

    monkeypatch.setattr(skeleton, "skeleton", solved)
    assert "on the untouched lab test_entropy_of_random_rows is pass, not 'not started'" in problems()


def test_a_drifted_lab_file_is_seen(problems, toy):
    assert "lab.py is missing, or untouched and not" in problems(toy.solution, "in nats", "in natural units")


def test_a_pitfall_without_a_mistake_is_seen(problems, toy):
    new = "- Forgetting the minus: `p * log(p)`.\n- Doubting"
    assert "README pitfall without a mistake" in problems(toy.path / "README.md", "- Doubting", new)


def test_a_pitfall_that_names_no_known_mistake_is_seen(problems, toy):
    found = problems(toy.path / "README.md", "mistake: scale-columns", "mistake: scale-diagonals")
    assert "scale-diagonals, which does not exist" in found


def test_a_wrong_solution_is_seen(problems, toy):
    """A reference that disagrees with what a check asserts about it fails that check."""
    found = problems(toy.solution, "return -(p * np.log(p))", "return -2 * (p * np.log(p))")
    assert "the solution fails test_entropy_is_at_most_log_d" in found


def test_a_failing_alternative_is_seen(problems, toy):
    found = problems(toy.mistakes_file, "return -np.einsum", "return np.einsum")
    assert "alternative einsum fails test_entropy_of_random_rows" in found


def test_a_remark_that_nothing_shows_is_seen(problems, toy):
    assert "no alternative of this TODO calls einsun" in problems(toy.mistakes_file, '"einsum"\ntext', '"einsun"\ntext')


def test_a_remark_on_the_solution_itself_is_seen(problems, toy):
    found = problems(toy.mistakes_file, 'calls = "einsum"', 'calls = "log"')
    assert "remark on entropy: the solution itself calls log" in found


def test_remarks_read_names_and_nothing_else(toy):
    (remark,) = mistakes.variants(toy).remarks
    for body in ("return -np.einsum(p)", "from numpy import einsum as e", "  return (einsum(p)\n+ 1)", "einsum\n)))"):
        assert mistakes.remarks(toy, "entropy", body) == (remark.text,), body
    for body in ("return p.sum()  # not einsum", "return 'einsum'", "einsums = 1", "", "(" * 100_000):
        assert mistakes.remarks(toy, "entropy", body) == (), body[:30]
    assert mistakes.remarks(toy, "vocab", "einsum") == mistakes.remarks(toy, None, "einsum") == ()


def test_a_comparison_that_always_agrees_is_seen(problems, monkeypatch):
    monkeypatch.setattr(compare, "compare", lambda *_: None)
    assert "could not tell a right answer from a trivial one" in problems()


def test_a_missing_hint_level_and_a_missing_whole_lab_check_are_seen(problems, toy):
    assert "2 levels for TODO vocab" in problems(toy.path / "hints.md", "3. setdefault(word, len(ids))\n", "")
    assert "the last check must be a @whole_lab check" in problems(toy.checks_file, "@whole_lab()\n", "")
