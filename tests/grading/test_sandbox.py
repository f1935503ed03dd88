"""The sandbox itself: what is proved, when it refuses, what a check sees, and what it costs."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from labkit import catalogue
from labkit.grading import isolate, sandbox, session
from labkit.grading.sandbox import ATTEMPTS, OPTIONAL, Proof, Refused
from labkit.grading.session import InfraError, Limits, Template
from labkit.grading.verdicts import Failure, Verdict
from tests.grading import suite

pytestmark = [
    pytest.mark.usefixtures("subreaper"),
    pytest.mark.skipif(sys.platform != "linux", reason="isolation needs Linux"),
]
SOURCE = Path(__file__).parent / "inside.py"


@pytest.fixture(params=sandbox.tiers())
def tier(request, usable):
    with usable(request.param):
        yield request.param


@pytest.fixture
def inside(tier):
    """Calls a function of ``inside.py`` in a check of the tier."""
    template = Template(("numpy",), sandbox.limits(tier))

    def call(name, *inputs):
        return ask(template, name, *inputs)

    yield call
    template.close()


def ask(template, name, *inputs):
    worker = template.open()
    try:
        for request in (
            {"op": "load", "lab": SOURCE.read_text(), "lab_file": "lab.py", "drivers": "", "drivers_file": ""},
            {"op": "call", "target": name, "inputs": list(inputs), "device": None},
        ):
            worker.send(request, time.monotonic() + 30)
            answer = worker.receive(time.monotonic() + 30)
    finally:
        worker.close()
    return answer["value"]


# ---------------------------------------------------------------- the proof


def test_the_proof_holds(tier, tmp_path):
    (tmp_path / "submissions").mkdir()
    (tmp_path / "submissions" / "lab.py").write_text("x = 1\n")
    before = suite.survivors()
    proofs = sandbox.prove(tier, secrets=[tmp_path / "submissions"])
    assert [proof.name for proof in proofs] == list(ATTEMPTS.values())
    assert sandbox.refusal(tier, proofs) is None
    allowed = {ATTEMPTS[name] for name in OPTIONAL} if tier == "container" else set()
    assert {proof.name for proof in proofs if not proof.blocked} <= allowed
    assert suite.survivors() <= before
    assert "LABKIT_PROBE" not in os.environ


def test_the_proof_bites(monkeypatch):
    """Without a sandbox nearly everything must get through, or the proof proves nothing."""
    monkeypatch.setattr(sandbox, "limits", lambda tier, **caps: Limits(caps["memory"], 2**26))
    proofs = {proof.name: proof for proof in sandbox.prove("namespaces")}
    always = ("ordinary_work", "use_descriptors", "take_memory", "take_memory_together", "flood_output", "outlive")
    always += () if os.geteuid() == 0 else ("read_accounts", "write_elsewhere", "gain_rights")
    for name, words in ATTEMPTS.items():
        if name not in always:
            assert not proofs[words].blocked, f"{words} was stopped, but by what?"
    text = sandbox.refusal("namespaces", list(proofs.values()))
    assert "does not hold" in text and "use the network (this machine)" in text


NOTICED = {
    "files": "read_secrets",
    "network": "use_network",
    "calls": "hide_in_kernel",
    "user": "gain_rights",
    "watch": "take_memory_together",
    "environment": "read_environment",
    "descriptors": "use_descriptors",
    "clearing": "leave_files",
    "survivors": "outlive",
}


ELSEWHERE = {"container": ["network"], "namespaces": ["clearing", "survivors"]}  # not this tier's work
ELSEWHERE["container"] += [] if os.geteuid() == 0 else ["user", "clearing"]


@pytest.mark.parametrize(
    ("tier", "off"),
    [(tier, off) for tier in sandbox.tiers() for off in NOTICED if off not in ELSEWHERE[tier]],
    indirect=["tier"],
)
def test_the_proof_notices_a_missing_protection(tier, off, monkeypatch):
    """Each protection taken away is a reason to refuse."""
    both = {name: ATTEMPTS[name] for name in ("ordinary_work", NOTICED[off])}
    monkeypatch.setattr(sandbox, "ATTEMPTS", both)
    whole = session._environment
    if off == "environment":
        monkeypatch.setattr(session, "_environment", lambda strangers=False: whole())
    names = ("numpy", f"tests.grading.off.{off}")
    opened = []

    def template(_, limits):
        opened.append(Template(names, limits))
        return opened[0]

    monkeypatch.setattr(sandbox, "Template", template)
    assert sandbox.refusal(tier, sandbox.prove(tier)) is not None
    for folder in Path("/tmp").glob(f"labkit-check-{opened[0].process.pid}-*"):
        shutil.rmtree(folder)


def test_without_landlock_the_container_tier_says_what_it_can_not_do(usable, monkeypatch):
    """Locked folders still protect what matters; the rest is said, not hidden."""
    if os.geteuid() != 0:
        pytest.skip("needs to become another user")
    names = ("numpy", "tests.grading.off.landlock")
    monkeypatch.setattr(sandbox, "Template", lambda _, limits: Template(names, limits))
    with usable("container"):
        proofs = {proof.name: proof for proof in sandbox.prove("container")}
    assert not proofs[ATTEMPTS["read_elsewhere"]].blocked and not proofs[ATTEMPTS["read_elsewhere"]].mandatory
    assert not proofs[ATTEMPTS["read_secrets"]].blocked, "this repository can be read by all, so it must refuse"
    for name in ("write_elsewhere", "leave_files", "attack_grader", "use_network", "gain_rights", "outlive"):
        assert proofs[ATTEMPTS[name]].blocked, name


def test_without_landlock_locked_folders_do(usable, monkeypatch):
    """As on Gradescope: root takes the rights of others away from what they must not read, and the tier holds."""
    if os.geteuid() != 0:
        pytest.skip("needs to become another user")
    with tempfile.TemporaryDirectory(prefix="labkit-locked-") as folder:
        Path(folder, "solution.py").write_text("x = 1\n")
        monkeypatch.setattr(sandbox, "secrets", lambda: [Path(folder)])
        names = ("numpy", "tests.grading.off.landlock")
        monkeypatch.setattr(sandbox, "Template", lambda _, limits: Template(names, limits))
        with usable("container"):
            assert sandbox.refusal("container", sandbox.prove("container")) is None
            os.chmod(folder, 0o755)
            assert "solution.py" in sandbox.refusal("container", sandbox.prove("container"))


def test_best_takes_the_stronger_tier_that_holds(monkeypatch):
    said = {"namespaces": [Proof("fly", False, True, "wings")], "container": [Proof("fly", True, True)]}
    monkeypatch.setattr(sandbox, "prove", lambda tier, secrets: said[tier])
    assert sandbox.best() == "container"
    said["container"] = said["namespaces"]
    with pytest.raises(Refused, match=r"(?s)namespaces tier.*it could fly \(wings\).*container tier.*What helps"):
        sandbox.best()
    said["container"] = [Proof("see", False, False)]
    assert sandbox.best() == "container", "what is optional is no reason to refuse"


def test_a_sandbox_that_cannot_be_entered_is_the_graders_failure(usable):
    with usable("namespaces"):
        limits = sandbox.limits("namespaces")
    broken = Limits(limits.memory, limits.file_size, limits.sandbox | {"binds": ["/no/such/folder"]})
    template = Template(("numpy",), broken)
    try:
        with pytest.raises(InfraError, match=r"(?s)could not be entered.*no/such/folder"):
            template.open()
    finally:
        template.close()


# ---------------------------------------------------------------- what a check sees


def test_a_check_sees_only_what_it_needs(usable):
    with usable("namespaces"):
        template = Template(("numpy",), sandbox.limits("namespaces"))
        try:
            root = ask(template, "listing", str(catalogue.ROOT))
            inside = {Path(sys.prefix).name} if Path(sys.prefix).parent == catalogue.ROOT else set()  # make's .venv
            assert set(root) - inside == {"labkit"}, "of the repository only the package is there"
            assert {"proc", "dev", "tmp", "usr"} <= set(ask(template, "listing", "/"))
            assert ask(template, "listing", "/dev") == ["full", "null", "random", "shm", "urandom", "zero"]
            assert ask(template, "running") == [1]
        finally:
            template.close()


def test_the_references_a_lab_uses_can_be_read_and_no_others(usable, monkeypatch):
    used, own = catalogue.labs()[:2]
    monkeypatch.setitem(own.__dict__, "uses", (used.id,))
    needs = sandbox.needs([own])
    assert used.solution in needs and used.lab_file not in needs and own.solution not in needs
    for tier in sandbox.tiers():
        with usable(tier):
            template = Template(("numpy",), sandbox.limits(tier, needs=needs))
            try:
                assert ask(template, "readable", str(used.solution))
                assert not ask(template, "readable", str(own.solution))
                assert not ask(template, "readable", str(used.checks_file))
            finally:
                template.close()


def test_every_check_starts_afresh(inside):
    assert inside("leave", "notes.txt") == []
    assert inside("leave", "notes.txt") == []


def test_honest_work_goes_on(inside, tier):
    if tier == "container" and os.geteuid() != 0:
        pytest.skip("without root a container has no shared memory to offer, and so no locks for multiprocessing")
    assert inside("honest_work") == "all done"


def test_the_environment_is_bare(inside, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "s3cret")
    assert set(inside("environment")) == {*isolate.ENVIRONMENT, "HOME", "TMPDIR", "LABKIT_CACHE"}


def test_a_repository_in_a_system_folder_stays_hidden(monkeypatch, tmp_path):
    """Docker files like to put projects in /usr/src/app, and /usr is what every check needs to see."""
    for folder in ("lib", "src/app/tests", "src/app/labkit", "src/app/phase-01-x"):
        (tmp_path / folder).mkdir(parents=True)
    hidden = [str(tmp_path / "src/app/tests"), str(tmp_path / "src/app/phase-01-x")]
    assert sandbox._around(str(tmp_path), hidden) == [str(tmp_path / "lib"), str(tmp_path / "src/app/labkit")]
    assert sandbox._around(str(tmp_path / "lib"), hidden) == [str(tmp_path / "lib")]
    assert sandbox._around(hidden[0], hidden) == []


def test_limits_name_a_wrong_tier():
    with pytest.raises(ValueError, match="tier must be one of namespaces, container; got 'vm'"):
        sandbox.limits("vm")


# ---------------------------------------------------------------- the trusted side


def test_an_answer_that_never_ends_is_cut_off(monkeypatch):
    """Bytes that are always there to be read do not stop the clock, but an answer on its way gets a moment."""
    template = Template(("numpy",))
    worker = template.open()
    try:
        key = type("Key", (), {"data": "receive"})
        monkeypatch.setattr(worker.selector, "select", lambda timeout: [(key, 1)])
        assert worker._wait(time.monotonic() - session.GRACE / 2) == {"receive"}
        with pytest.raises(Failure) as caught:
            worker._wait(time.monotonic() - session.GRACE - 0.1)
        assert caught.value.verdict is Verdict.TIMEOUT
    finally:
        worker.close()
        template.close()


def test_the_end_of_the_grader_is_the_end_of_its_checks(tier, python_for_all, tmp_path):
    """kill -9 in the middle of a check: the keepers end everything by themselves."""
    names = (python_for_all or {}) if tier == "container" else {}
    program = tmp_path / "grader.py"
    program.write_text(GRADER)
    root = str(Path(__file__).parents[2])
    grader = subprocess.Popen(
        [sys.executable, program, tier, repr(names), str(SOURCE)],
        env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    )
    with grader:
        template = int(grader.stdout.readline())
        inner = suite.descendants(template)
        assert len(inner) >= 2, "a keeper and a child"
        grader.kill()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/fd").exists() and os.path.exists(f"/proc/{pid}/exe") for pid in inner):
        assert time.monotonic() < end, "the check has outlived its grader"
        time.sleep(0.05)
    assert not [name for name in os.listdir("/tmp") if name.startswith(f"labkit-check-{template}-")]


GRADER = """
import ast, sys, time
from pathlib import Path

tier, names, source = sys.argv[1:]
for name, value in ast.literal_eval(names).items():
    setattr(sys, name, value)
from labkit.grading import sandbox
from labkit.grading.session import Template

template = Template(("numpy",), sandbox.limits(tier))
worker = template.open()
text = Path(source).read_text()
load = {"op": "load", "lab": text, "lab_file": "lab.py", "drivers": "", "drivers_file": ""}
worker.send(load, time.monotonic() + 30)
worker.receive(time.monotonic() + 30)
worker.send({"op": "call", "target": "linger", "inputs": [], "device": None}, time.monotonic() + 30)
time.sleep(1)
print(template.process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_isolation_costs_little(tier):
    """At most 30 ms a check, on a quiet machine; here with room for a busy one. `-s` shows the numbers."""
    seconds = {}
    for name, limits in (("plain", Limits()), (tier, sandbox.limits(tier))):
        template = Template(("numpy",), limits)
        try:
            took = []
            for _ in range(40):
                started = time.perf_counter()
                ask(template, "nothing")
                took.append(time.perf_counter() - started)
            seconds[name] = statistics.median(took)
        finally:
            template.close()
    extra = seconds[tier] - seconds["plain"]
    print(f"\n{tier}: {1e3 * extra:.1f} ms more than {1e3 * seconds['plain']:.1f} ms, on {platform.machine()}")
    assert extra < 0.03 * max(1.0, 2 * os.getloadavg()[0])
