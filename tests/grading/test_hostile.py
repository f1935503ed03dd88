"""The hostile submissions: none gains a point, none costs another one, and nothing is left of them."""

from __future__ import annotations

import time

import pytest

from labkit.grading.report import WHOLE
from tests.grading import suite
from tests.grading.suite import HOSTILE, Hostile

pytestmark = pytest.mark.usefixtures("subreaper")
ALL = [Hostile(path) for path in HOSTILE]


@pytest.fixture(scope="module", params=["check", "container", "namespaces"])
def tier(request, usable):
    with usable(request.param):
        yield request.param


@pytest.fixture(scope="module")
def engine(tier, world):
    with suite.engine(tier) as engine:
        yield engine


@pytest.mark.parametrize("hostile", ALL, ids=lambda hostile: hostile.path.stem)
def test_hostile(tier, engine, world, hostile):
    if hostile.lab == "1.2":
        pytest.importorskip("torch")
    got = world.verdicts(hostile, engine, tier)
    for todo, verdict in got.items():
        wanted = hostile.wanted(tier, todo)
        assert "any" in wanted or verdict in wanted, f"{todo}: {verdict}, not {' or '.join(sorted(wanted))}"
    left, changed = world.left_behind(suite.pids(engine)), world.state() != world.before
    if changed:
        world.furnish()
    assert tier == "check" or not left, f"left behind: {left}"
    assert tier == "check" or not changed, "it changed what belongs to others"


def test_every_promise_names_a_todo():
    """A misspelt line in a docstring would promise nothing."""
    known = {"center", "rank", "double", WHOLE, "lab", "patience"}
    for hostile in ALL:
        names = {
            name.removeprefix("check ").removeprefix("container ").removeprefix("namespaces ") for name in hostile.said
        }
        assert names <= known, f"{hostile.path.name}: {names - known}"


def test_a_right_answer_passes_after_all_of_them(tier, engine, world):
    """Neither the template nor the machine remembers what ran before."""
    got = world.verdicts(Hostile(suite.HERE / "hostile" / "correct.py"), engine, tier)
    assert set(got.values()) == {"pass"}


def test_nothing_outlives_grading(tier, engine, world):
    """With the engine closed, every process that came from the submissions is gone."""
    world.verdicts(Hostile(suite.HERE / "hostile" / "daemon.py"), engine, tier)
    templates = suite.pids(engine)
    engine.forget()
    end = time.monotonic() + 5
    while (left := suite.survivors() - {world.bystander}) and time.monotonic() < end:
        time.sleep(0.05)
    suite.end(left)
    assert not left
    assert not world.left_behind(templates) or tier == "check"
