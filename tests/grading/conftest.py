"""The tiers of isolation as fixtures, and a world to protect."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
from pathlib import Path

import pytest

from labkit.grading.session import InfraError, Template
from tests.grading import suite

SHARED = ("test_hostile.py", "test_bites.py", "test_sandbox.py")  # they look at what is left on the machine


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One worker runs ``SHARED`` from end to end, the others share the rest test by test."""
    from xdist.scheduler import LoadScopeScheduling

    class OneWorkerForShared(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "shared" if Path(nodeid.partition("::")[0]).name in SHARED else nodeid

    # xdist's own groups do nothing under pytest 9.2: github.com/pytest-dev/pytest-xdist/issues/1386
    return OneWorkerForShared(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture(scope="module")
def subreaper():
    """Orphans of what is graded come here, so that one that got away is seen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    yield
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)


@contextlib.contextmanager
def alone():
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with open(Path(tempfile.gettempdir(), f"hostile-{os.getuid()}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def world():
    """One at a time on a machine: a second worker, or a second run, waits here."""
    os.environ["LABKIT_HOSTILE"] = suite.SECRET
    with alone(), suite.world() as made:
        yield made
    del os.environ["LABKIT_HOSTILE"]


@pytest.fixture(scope="session")
def python_for_all():
    """What to set in ``sys`` so that every user can run Python; None when there is none."""
    with tempfile.TemporaryDirectory(prefix="labkit-python-") as folder:
        Path(folder).chmod(0o755)
        yield suite.common_python(Path(folder))


@pytest.fixture(scope="session")
def usable(python_for_all):
    """Makes a tier usable inside a ``with``, or skips where this machine does not let a process shut itself in so."""
    known: dict[str, str] = {}

    @contextlib.contextmanager
    def use(tier: str):
        if tier != "check" and sys.platform != "linux":
            pytest.skip("isolation needs Linux")
        if tier == "container" and python_for_all is None:
            pytest.skip("the container tier needs a Python that every user can run")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (python_for_all if tier == "container" else {}).items():
                patch.setattr(sys, name, value)
            if tier not in known:
                known[tier] = _trouble(tier)
            if known[tier]:
                pytest.skip(f"no {tier} tier on this machine: {known[tier]}")
            yield

    return use


def _trouble(tier: str) -> str:
    template = Template(("numpy",), suite.limits(tier))
    try:
        template.open().close()
    except InfraError as error:
        return str(error)
    finally:
        template.close()
    return ""
