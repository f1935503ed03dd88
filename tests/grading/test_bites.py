"""The suite bites: with one protection taken away, the submission it was there for is seen to win.

Where two protections stand behind each other, both are taken away, and each alone is seen to hold.
"""

from __future__ import annotations

import contextlib
import os
import time

import numpy as np
import pytest

from labkit.grading import session, worker
from labkit.grading.engine import Engine
from labkit.grading.grade import Grade
from tests.grading import suite
from tests.grading.suite import SEED, Hostile

pytestmark = pytest.mark.usefixtures("subreaper")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, which is protection here")


@pytest.fixture
def outcome(world, usable):
    """The verdict of a submission's one TODO in a tier, with protections off or caps raised."""

    def run(name: str, tier: str, *off: str, seed=SEED, todo="rank", patience=None, **caps: int) -> str:
        hostile = Hostile(suite.HERE / "hostile" / f"{name}.py")
        if patience is not None:
            hostile.said["patience"] = str(patience)
        with usable(tier), suite.engine(tier, off, **caps) as engine:
            try:
                return world.verdicts(hostile, engine, tier, seed)[todo]
            finally:
                templates = suite.pids(engine)
                engine.forget()
                suite.end(suite.survivors() - {world.bystander})
                world.left_behind(templates)
                if world.state() != world.before:
                    world.furnish()

    return run


@pytest.mark.parametrize(
    ("name", "tier", "off"),
    [
        ("read_solution", "namespaces", ["files"]),
        ("read_tests", "namespaces", ["files"]),
        ("read_others", "namespaces", ["files"]),
        ("read_home", "namespaces", ["files"]),
        ("read_solution", "container", ["files"]),
        ("read_tests", "container", ["files"]),
        ("read_others", "container", ["files"]),
        ("read_home", "container", ["files"]),
        ("network_loopback", "namespaces", ["network"]),
        ("network_loopback", "container", ["calls"]),
        ("kernel_leak", "container", ["calls"]),
        pytest.param("state_leak", "container", ["clearing"], marks=as_root),
        ("memory_family", "namespaces", ["watch"]),
        ("memory_family", "container", ["watch"]),
        ("disk_fill_files", "container", ["watch"]),
        ("deep_folders", "container", ["watch"]),
        ("gain_rights", "container", ["calls"]),
        pytest.param("gain_rights", "container", ["user"], marks=as_root),
        ("gain_rights", "namespaces", ["calls"]),
        pytest.param("gain_rights", "namespaces", ["user"], marks=as_root),
        ("descriptors", "container", ["descriptors"]),
        ("descriptors", "namespaces", ["descriptors"]),
    ],
)
def test_one_protection_less(outcome, name, tier, off):
    assert outcome(name, tier, *off) == "pass"


@as_root
@pytest.mark.parametrize(
    ("name", "tier", "off"),
    [
        ("write_outside", "namespaces", ["files", "user"]),
        ("write_outside", "container", ["files", "user"]),
        ("signal_grader", "container", ["files", "user"]),
        ("signal_grader", "namespaces", ["processes", "user"]),
        ("read_grader_memory", "container", ["files", "user"]),
        ("kernel_leak", "namespaces", ["calls", "files"]),
    ],
)
def test_two_protections_less(outcome, name, tier, off):
    assert outcome(name, tier, *off) == "pass", "with both gone it must win"
    for one in off:
        assert outcome(name, tier, one) != "pass", f"without {one} the other must hold"


@pytest.mark.parametrize("tier", ["container", "namespaces"])
@pytest.mark.parametrize(
    ("name", "caps"),
    [
        ("memory_balloon", {"memory": 4 * 2**30}),
        ("disk_fill", {"disk": 512 * 2**20}),
        ("fork_bomb", {"processes": 100}),
        ("burn_time", {"cpu": 60}),
    ],
)
def test_caps(outcome, name, tier, caps):
    assert outcome(name, tier, **caps) == "pass"


@pytest.mark.parametrize("tier", ["container", "namespaces"])
def test_the_environment(outcome, tier, monkeypatch):
    whole = session._environment
    monkeypatch.setattr(session, "_environment", lambda strangers=False: whole())
    assert outcome("read_environment", tier, "environment") == "pass"
    assert outcome("read_environment", tier) == "pass", "/proc still shows what the template was started with"
    monkeypatch.undo()
    assert outcome("read_environment", tier, "environment") == "wrong"


def test_without_an_end_for_survivors_a_daemon_lives_on(world, usable):
    """In the container tier it is the keeper and the template that end them; in namespaces it is the kernel."""
    for tier, lives in (("container", True), ("namespaces", False)):
        with usable(tier), suite.engine(tier, ("survivors",)) as engine:
            world.verdicts(Hostile(suite.HERE / "hostile" / "daemon.py"), engine, tier)
            engine.forget()
            time.sleep(1)
            left = suite.survivors() - {world.bystander}
            suite.end(left)
            assert bool(left) is lives


def test_the_public_seed(outcome):
    """Answers learned by heart win on the seed they were learned from: hence a fresh one for every batch."""
    assert outcome("memorised", "check", seed=0) == "pass"


def test_the_output_limit(outcome, monkeypatch):
    monkeypatch.setattr(session, "OUTPUT_LIMIT", 2**40)
    assert outcome("stdout_flood", "check") == "pass"


def test_the_clock(outcome):
    """An answer that drips in keeps its grader waiting as long as it is allowed to."""
    assert outcome("slow_drip", "check", patience=6.0) == "pass"


def test_answers_out_of_turn(outcome, monkeypatch):
    monkeypatch.setattr(session.Worker, "_pending", lambda self: False)
    assert outcome("endless_frames", "check") == "pass"


def test_inputs_in_place(outcome, monkeypatch):
    value = Grade._value
    monkeypatch.setattr(Grade, "_value", lambda *args: value(*args[:4], True, *args[5:]))
    assert outcome("mutation", "check", todo="center") == "pass"


# ---------------------------------------------------------------- what a process of its own is good for


class InProcess:
    """A worker as most graders have it: in the process that knows the answers."""

    text = ""

    def __init__(self, *_: object):
        self.modules: dict = {}

    def open(self):
        return self

    def send(self, message, deadline) -> None:
        self.message = message

    def receive(self, deadline) -> dict:
        message = self.message
        if message["op"] == "load":
            self.modules["lab"] = worker.load("labkit_in_process", message["lab"], message["lab_file"])
            return {"value": None}
        try:
            return {"value": worker.resolve(message["target"], self.modules["lab"], None)(*message["inputs"])}
        except ValueError as error:
            return {"value": worker.raised(error)}

    def finish(self) -> None:
        pass

    def close(self) -> dict:
        return {"status": 0, "peak": 0}


@pytest.mark.parametrize(("name", "todo"), [("frame_search", "rank"), ("patched_numpy", "center")])
def test_a_process_of_its_own(world, name, todo):
    """In one process with the expected values, they are found and comparison is patched."""
    with _unpatched(), Engine(open_with=InProcess) as engine:
        assert world.verdicts(Hostile(suite.HERE / "hostile" / f"{name}.py"), engine, "check")[todo] == "pass"


@contextlib.contextmanager
def _unpatched():
    """Puts NumPy back together afterwards."""
    before = {module: dict(vars(module)) for module in (np, np.testing)}
    try:
        yield
    finally:
        for module, names in before.items():
            vars(module).update(names)
