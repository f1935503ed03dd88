"""Regions, skeletons, drift, substitution, update."""

from __future__ import annotations

import os

import pytest

from labkit import skeleton
from labkit.skeleton import RegionError

SOLUTION = '''"""Doc."""


def f(x):
    """Twice x."""
    # >>> twice (~1 line): return x two times
    y = x

    return y * 2
    # <<< twice


class A:
    def g(self):
        # >>> zero (~1 line): nothing
        return 0
        # <<< zero
'''


def test_a_skeleton_has_a_stamp_and_a_todo_for_each_region():
    text = skeleton.skeleton(SOLUTION, "1.1")
    assert text.splitlines()[0].startswith("# labkit: lab 1.1, skeleton ")
    assert [r.slug for r in skeleton.todo_regions(text)] == ["twice", "zero"]
    assert all(r.untouched for r in skeleton.todo_regions(text))
    assert "y * 2" not in text and ">>>" not in text and "<<<" not in text
    assert '        raise NotImplementedError("TODO zero")\n        # END TODO zero' in text


def test_filling_every_region_gives_the_solution_back():
    text = skeleton.skeleton(SOLUTION, "1.1")
    bodies = {r.slug: r.body for r in skeleton.solution_regions(SOLUTION)}
    filled = skeleton.compose(text, bodies).text
    code = [line for line in filled.splitlines() if not line.strip().startswith("#")]
    assert code == [line for line in SOLUTION.splitlines() if not line.strip().startswith("#")]


@pytest.mark.parametrize(
    ("find", "replace", "message"),
    [
        ("    # <<< twice\n", "", "opens before twice is closed"),
        ("        # <<< zero\n", "", "zero is never closed"),
        ("# <<< twice", "# <<< thrice", "closes nothing"),
        ("zero", "twice", "more than one region"),
        ('def f(x):\n    """Twice x."""\n', "if True:\n", "not inside a function"),
    ],
)
def test_damaged_markers_are_refused(find, replace, message):
    assert find in SOLUTION
    with pytest.raises(RegionError, match=message):
        skeleton.solution_regions(SOLUTION.replace(find, replace).replace("return y * 2", "z = y * 2"))


def test_edited_is_told_from_untouched_and_from_drifted(toy):
    assert not skeleton.drifted(toy)
    text = toy.lab_file.read_text()
    assert not skeleton.edited(text)
    toy.lab_file.write_text(text.replace('raise NotImplementedError("TODO entropy")', "return 1"))
    assert skeleton.edited(toy.lab_file.read_text()) and not skeleton.drifted(toy)
    assert skeleton.write_lab(toy) == "kept"
    toy.lab_file.write_text(text)
    toy.solution.write_text(toy.solution.read_text().replace("in nats", "in natural units"))
    assert skeleton.drifted(toy)
    assert skeleton.write_lab(toy) == "written" and not skeleton.drifted(toy)


def test_a_composed_line_knows_the_learners_line():
    text = skeleton.skeleton(SOLUTION, "1.1")
    composed = skeleton.compose(text, {"twice": "a = 1\nb = 2\nc = 3\nreturn x"})
    lines, original = composed.text.splitlines(), text.splitlines()
    for number, line in enumerate(lines, 1):
        own = composed.learner_line(number)
        if own is not None:
            assert original[own - 1] == line
    assert composed.learner_line(lines.index("    b = 2") + 1) is None


def test_a_missing_region_is_named():
    text = skeleton.skeleton(SOLUTION, "1.1").replace("# TODO zero", "# zero").replace("# END TODO zero", "#")
    with pytest.raises(RegionError, match="zero"):
        skeleton.compose(text, {"zero": "return 1"})


def test_update_carries_answers_by_slug(toy):
    mine = toy.lab_file.read_text().replace('raise NotImplementedError("TODO entropy")', "h = 1\n    return h  # mine")
    mine = mine.replace('raise NotImplementedError("TODO vocab")', "self.ids = {'mine': 0}")
    toy.lab_file.write_text(mine)
    changed = toy.solution.read_text().replace("in nats", "in natural units").replace("vocab (~2", "lexicon (~2")
    toy.solution.write_text(changed.replace("<<< vocab", "<<< lexicon"))
    outcome, lost, copy = skeleton.update_lab(toy)
    text = toy.lab_file.read_text()
    assert outcome == "updated" and lost == ["vocab"] and copy.read_text() == mine
    assert "in natural units" in text and "    h = 1\n    return h  # mine" in text
    states = {r.slug: r.untouched for r in skeleton.todo_regions(text)}
    assert states == {"scale-rows": True, "entropy": False, "lexicon": True}
    assert skeleton.update_lab(toy)[0] == "unchanged"


def test_two_backups_in_one_second_are_two_files(toy):
    first, second = skeleton.backup(toy.lab_file), skeleton.backup(toy.lab_file)
    assert first != second and first.read_text() == second.read_text()


def test_a_crash_while_writing_leaves_the_old_text(toy, monkeypatch):
    before = toy.lab_file.read_text()

    def crash(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="no space"):
        skeleton.write_atomically(toy.lab_file, "new")
    assert toy.lab_file.read_text() == before
    assert [f.name for f in toy.path.iterdir() if f.name.startswith(".")] == []


def test_only_line_ends_end_lines():
    """A form feed or U+2028 in a learner's string is no line end; CRLF is one."""
    text = skeleton.skeleton(SOLUTION, "1.1").replace(
        'raise NotImplementedError("TODO twice")', "return 'a\x0cb\u2028c'"
    )
    composed = skeleton.compose(text.replace("\n", "\r\n"), {"zero": "return 1"})
    assert "return 'a\x0cb\u2028c'" in composed.text and "\r" not in composed.text
    assert composed.learner_line(len(composed.lines)) == len(text.split("\n")) - 1
