"""Isolation for code by people one does not trust: two tiers, each proved before it is used.

*namespaces*: the check sees a file system with only what it needs, read-only, no network, no other process.
*container*: for hosts that allow no namespaces (Docker, Gradescope); the same goals by another user, Landlock and seccomp.

    tier = sandbox.best(secrets=[submissions, results])         # proves; raises Refused with the reasons
    with Engine(open_with=sandbox.opener(tier)) as engine: ...   # every template of this engine is now sandboxed

What the child does to itself stands in `isolate`, the attempts to break out of it in `probe`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from labkit import catalogue
from labkit.grading.session import PACKAGE_ROOT, Limits, Template

TIERS = ("namespaces", "container")
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime"),
    *("/etc/nsswitch.conf", "/sys/devices/system/cpu"),
)
_ROOMY, _NARROW = (2**30, 2**22), (61_000, 4_096)  # first user id and how many; the second where few are mapped


class Refused(RuntimeError):
    """No tier holds on this machine, so strangers' code is not run. The text gives the reasons."""


def tiers() -> tuple[str, ...]:
    """The tiers for strangers' code, the stronger first."""
    return TIERS


def limits(
    tier: str,
    *,
    needs: Iterable[Path] = (),
    memory: int = 2 * 2**30,
    disk: int = 256 * 2**20,
    processes: int = 64,
    cpu: int = 600,
) -> Limits:
    """What one check of a stranger may do and see.

    needs: files and folders it may read beyond Python, its packages, labkit and the system's libraries.
    memory, disk: bytes.  processes: processes and threads together.  cpu: seconds of one process.
    """
    if tier not in TIERS:
        raise ValueError(f"the tier must be one of {', '.join(TIERS)}; got {tier!r}")
    binds = list(dict.fromkeys([*_readable(), *(str(Path(path).absolute()) for path in needs)]))
    caps = {"memory": memory, "disk": disk, "processes": processes, "cpu": cpu}
    return Limits(memory, disk, {"tier": tier, "binds": binds, "uids": _user_ids(), **caps})


def opener(tier: str, **caps: int) -> Callable[[tuple[str, ...], Limits], Template]:
    """For ``Engine(open_with=...)``: sandboxed templates, each with the files of just the references it imports."""

    def open_with(preload: tuple[str, ...], _: Limits) -> Template:
        return Template(preload, limits(tier, needs=needs(preload), **caps))

    return open_with


def needs(preload: Iterable[str]) -> list[Path]:
    """The files behind the references among these modules: the solutions of used labs and their helpers."""
    names = {name.removeprefix("labkit.reference.") for name in preload if name.startswith("labkit.reference.")}
    used = [lab for lab in catalogue.labs() if lab.module in names]
    return [file for lab in used for file in sorted(lab.path.glob("*.py")) if file != lab.lab_file]


def secrets() -> list[Path]:
    """What no check may read, wherever it lies: the tests, the labs with their solutions, the home folder."""
    return [catalogue.ROOT / "tests", *(phase.path for phase in catalogue.phases()), Path.home()]


def _readable() -> list[str]:
    """Python, its packages, labkit and the system's libraries, by every name they go by."""
    packages = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
    names = [*_SYSTEM, sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable)), *packages]
    names += [os.path.realpath(name) for name in (sys.prefix, sys.base_prefix)]
    hidden = [os.path.realpath(path) for path in secrets()] + [os.path.realpath(PACKAGE_ROOT / "tests")]
    package = str(PACKAGE_ROOT / "labkit")
    found: list[str] = []
    for name in sorted({os.path.abspath(name) for name in names if name and os.path.exists(name)}):
        if not any(_inside(name, other) for other in found):
            found += _around(name, hidden)
    return found if any(_inside(package, other) for other in found) else [*found, package]


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _around(path: str, hidden: Sequence[str]) -> list[str]:
    """``path``, or where something hidden lies in it, everything in it but that."""
    real = os.path.realpath(path)
    if os.path.islink(path) or not any(_inside(secret, real) for secret in hidden):
        return [path]
    if real in hidden or not os.path.isdir(path):
        return []
    return [found for name in sorted(os.listdir(path)) for found in _around(f"{path}/{name}", hidden)]


def _user_ids() -> list[int]:
    """Numbers for the users that checks run as; in some containers only the small ones exist."""
    first, count = _ROOMY
    with open("/proc/self/uid_map") as extents:
        spans = [(int(a), int(a) + int(n)) for a, _, n in (line.split() for line in extents)]
    roomy = any(low <= first and first + count <= high for low, high in spans)
    return list(_ROOMY if roomy else _NARROW)
