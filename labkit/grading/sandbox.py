"""Isolation for code by people one does not trust: two tiers, each proved before it is used.

*namespaces*: the check sees a file system with only what it needs, read-only, no network, no other process.
*container*: the same goals by another user, Landlock and seccomp, for hosts that allow no namespaces (Docker,
Gradescope).

    tier = sandbox.best(secrets=[submissions, results])             # proves; raises Refused with the reasons
    with Engine(sandbox.limits(tier, needs=sandbox.needs([lab]))) as engine:     # its checks are now isolated

What the child does to itself stands in `isolate`, the attempts to break out of it in `probe`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets as secret_source
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit import catalogue
from labkit.catalogue import Lab
from labkit.grading.keeper import OPEN_FOLDERS
from labkit.grading.session import PACKAGE_ROOT, InfraError, Limits, Template, Worker
from labkit.grading.verdicts import Failure
from labkit.grading.wire import Raised

TIERS = ("namespaces", "container")
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime"),
    *("/etc/nsswitch.conf", "/sys/devices/system/cpu"),
)
ADVICE = """\
What helps: start as root, or let ordinary users make user namespaces (on Ubuntu: sysctl
kernel.apparmor_restrict_unprivileged_userns=0). In a container: be root, keep Python where every user can read it, and
take from other users what they must not read (chmod -R go= tests submissions)."""
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


def needs(labs: Iterable[Lab]) -> list[Path]:
    """The references these labs import: the solutions of the labs they use, with their helper files."""
    used = [catalogue.find(name, lab.phase.path.parent) for lab in labs for name in lab.uses]
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


# ---------------------------------------------------------------- the proof


@dataclass(frozen=True)
class Proof:
    """One attempt to break out of a tier. Grading refuses while a mandatory one is not ``blocked``."""

    name: str
    blocked: bool
    mandatory: bool
    detail: str = ""


# The attempts of `probe`, in words; those of OPTIONAL need not fail in the container tier.
ATTEMPTS = {
    "ordinary_work": "not run at all",
    "read_secrets": "read tests, solutions, submissions or the home folder",
    "read_accounts": "read the accounts or the memory of the machine",
    "read_elsewhere": "read other files of the machine",
    "write_elsewhere": "change files",
    "leave_files": "leave files behind",
    "read_environment": "read the grader's environment",
    "use_descriptors": "use the grader's descriptors",
    "use_network": "use the network",
    "attack_grader": "signal, read or trace the grader",
    "see_processes": "see that the grader runs",
    "gain_rights": "gain rights",
    "hide_in_kernel": "hide memory in the kernel",
    "take_memory": "take more memory",
    "take_memory_together": "take more memory with several processes",
    "start_processes": "start more processes",
    "fill_disk": "fill the disk with a file",
    "fill_disk_with_files": "fill the disk with files",
    "burn_time": "take more processor time",
    "flood_output": "flood the output",
    "outlive": "outlive the check",
}
OPTIONAL = ("see_processes", "read_elsewhere")
_CAPS = {"memory": 2**28, "disk": 4 * 2**20, "processes": 16, "cpu": 1}  # small, so that the limits are reached soon
_PATIENCE = 30.0


def prove(tier: str, *, secrets: Sequence[Path] = ()) -> list[Proof]:
    """Starts a template of this tier and has it attacked from inside.

    secrets: folders that must not be readable, beside those of `secrets()`: the submissions, the results.
    """
    if sys.platform != "linux":
        return [Proof("run elsewhere than on Linux", False, True, f"isolation is not available on {sys.platform}")]
    with _target(secrets) as about:
        template = Template(("numpy",), limits(tier, **_CAPS))
        about["pids"].append(template.process.pid)
        try:
            template.open().close()
            if not (first := _attempt(template, tier, "ordinary_work", about)).blocked:
                return [first]  # nothing else would say anything
            return [_attempt(template, tier, name, about) for name in ATTEMPTS]
        except InfraError as error:
            return [Proof(ATTEMPTS["ordinary_work"], False, True, str(error).splitlines()[-1])]
        finally:
            template.close()


@contextlib.contextmanager
def _target(hidden: Sequence[Path]) -> Iterator[dict]:
    """Everything there is to attack: files, listening sockets, a secret in the environment."""
    token = f"labkit-probe-{secret_source.token_hex(8)}"
    os.environ["LABKIT_PROBE"] = token
    folder = Path(tempfile.mkdtemp(prefix="labkit-proof-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        stack.callback(os.environ.pop, "LABKIT_PROBE")
        stack.callback(_swept, token)
        folder.chmod(0o755)
        (folder / "readable").write_text(token)
        port = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        local = stack.enter_context(socket.socket(socket.AF_UNIX))
        local.bind(f"\0{token}")
        local.listen()
        about = {"token": token, "readable": str(folder / "readable"), "port": port, "abstract": f"\0{token}"}
        about |= {"pids": [os.getpid()], "labkit": str(PACKAGE_ROOT / "labkit"), "open folders": list(OPEN_FOLDERS)}
        yield about | _CAPS | _samples([*secrets(), *hidden])


def _samples(hidden: Sequence[Path]) -> dict:
    """Some files in the hidden folders, and for each folder the names that must not be seen in it."""
    shown = [os.path.realpath(path) for path in _readable()]
    files, folders = [], {}
    for folder in hidden:
        with contextlib.suppress(OSError):  # what this process cannot read itself is no secret of its own
            names = [n for n in os.listdir(folder) if not any(_inside(path, f"{folder}/{n}") for path in shown)]
            folders[str(folder)] = names
            inside = (path for name in names for path in [folder / name, *(folder / name).rglob("*")])
            files += [str(path) for path in itertools.islice((path for path in inside if path.is_file()), 5)]
    return {"files": files, "folders": folders}


def _swept(token: str) -> bool:
    """Removes what a probe left where anybody may write; True when there was something."""
    left = [Path(place, token) for place in (*OPEN_FOLDERS, ".") if Path(place, token).exists()]
    for path in left:
        path.unlink()
    return bool(left)


def _attempt(template: Template, tier: str, name: str, about: dict) -> Proof:
    mandatory = tier == "namespaces" or name not in OPTIONAL
    worker = template.open()
    lifeline = worker.socket.dup()  # at its end of file, nobody holds the other end any more
    try:
        source = Path(__file__).with_name("probe.py").read_text(encoding="utf-8")
        detail = _ask(worker, {"op": "load", "lab": source, "lab_file": "probe.py", "drivers": "", "drivers_file": ""})
        detail = detail or _ask(worker, {"op": "call", "target": name, "inputs": [about], "device": None})
    except Failure as failure:
        detail = failure.message if name == "ordinary_work" else ""
    finally:
        worker.close()
    with lifeline:
        over = _is_over(lifeline)
    if name == "outlive":  # whatever it answered
        detail = "" if over else "a process is still running"
    if name == "leave_files" and _swept(about["token"]):
        detail = "a file is still there"
    return Proof(ATTEMPTS[name], not detail, mandatory, detail)


def _ask(worker: Worker, request: dict) -> str:
    deadline = time.monotonic() + _PATIENCE
    worker.send(request, deadline)
    value = worker.receive(deadline)["value"]
    return f"{value.type}: {value.message}" if isinstance(value, Raised) else value or ""


def _is_over(lifeline: socket.socket) -> bool:
    try:
        while lifeline.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def refusal(tier: str, proofs: Sequence[Proof]) -> str | None:
    """Why strangers' code must not be run in this tier, in one text; None when it may."""
    open_doors = [proof for proof in proofs if proof.mandatory and not proof.blocked]
    if not open_doors:
        return None
    lines = [f"- it could {proof.name}" + f" ({proof.detail})" * bool(proof.detail) for proof in open_doors]
    head = f"The {tier} tier does not hold on this machine. A submission like any other was run in it:"
    return "\n".join([head, *lines])


def best(*, secrets: Sequence[Path] = ()) -> str:
    """The stronger tier whose proof succeeds here; raises Refused with the reasons when there is none."""
    reasons = []
    for tier in TIERS:
        reason = refusal(tier, prove(tier, secrets=secrets))
        if reason is None:
            return tier
        reasons.append(reason)
    raise Refused("\n".join([*reasons, ADVICE]))
