"""The child's side of the sandbox: how a forked child shuts itself in before it reads a stranger's code.

`enter` forks once more. The parent stays outside as its `keeper`. The child gives up everything it does not need and
goes on to serve. In the *namespaces* tier it is the first process of a pid namespace, so that its end is the end of all
it started.

Every protection is a function of its own: the tests switch each off and look for what then gets through.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import stat
import struct
import tempfile
from pathlib import Path

from labkit.grading import filters
from labkit.grading.filters import call
from labkit.grading.keeper import SHARED_MEMORY, end_with_parent, keep

_NEWNS, _NEWUTS, _NEWIPC = 0x20000, 0x4000000, 0x8000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
_NOSUID_NODEV_NOEXEC, _BIND_RECURSIVE, _PRIVATE_RECURSIVE = 0b1110, 0x5000, 0x44000
_DEVICES = ("null", "zero", "full", "random", "urandom")
ENVIRONMENT = {
    **{"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    **{"MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg"},
    **{"USER": "learner", "LOGNAME": "learner"},
}


def enter(config: dict) -> None:
    """Returns in a child that is shut in. The caller stays outside as its keeper, and never returns."""
    uid = None
    if os.geteuid() == 0:
        first, count = config["uids"]
        uid = first + os.getppid() % count  # one user per template, so that no grader meets another's processes
    mapped = _mapped()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    folder = None
    if config["tier"] == "namespaces":
        uid = own_processes(uid)
    else:
        folder = tempfile.mkdtemp(prefix=f"labkit-check-{os.getppid()}-")
        if uid is not None:
            os.chown(folder, uid, uid)
    end_with_parent()
    call("prctl", 36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    pid = os.fork()
    if pid:
        os.closerange(3, 4096)
        keep(pid, config, uid, folder)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGTERM})
    os.setsid()
    if config["tier"] == "namespaces":
        own_network()
        own_files(config, uid)
    os.chdir(folder or "/tmp")
    environment(folder or "/tmp")
    lower_limits(config, mapped, uid)
    give_up_capabilities(uid)
    filters.no_new_privileges()
    if folder is not None:
        restrict_files(config, [folder] if uid is None else [folder, SHARED_MEMORY])
    filter_calls(config)


def _mapped() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


# ---------------------------------------------------------------- what the child gives up


def own_processes(uid: int | None) -> int | None:
    """A pid namespace for the next child; without the right to make one, a user namespace that gives it."""
    if _has_capability(21):  # CAP_SYS_ADMIN
        call("unshare", _NEWPID)
        return uid
    if uid is not None:
        become(uid)
    outside = os.geteuid(), os.getegid()
    call("unshare", _NEWUSER | _NEWPID)
    Path("/proc/self/setgroups").write_text("deny")
    for file, number in zip(("uid_map", "gid_map"), outside):
        Path("/proc/self", file).write_text(f"{number} {number} 1")
    return None


def _has_capability(number: int) -> bool:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return bool(int(line.split()[1], 16) >> number & 1)


def own_network() -> None:
    """A network with nothing in it but a loopback of its own."""
    call("unshare", _NEWNET)
    import fcntl
    import socket

    with socket.socket() as device:
        fcntl.ioctl(device, 0x8914, struct.pack("<16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP


def own_files(config: dict, uid: int | None) -> None:
    """A root folder that holds ``binds`` read-only, a small /tmp, /proc of this pid namespace, five devices."""
    call("unshare", _NEWNS | _NEWIPC | _NEWUTS)
    call("sethostname", b"check", 5)
    call("mount", b"", b"/", None, _PRIVATE_RECURSIVE, None)
    _mount("tmpfs", "/tmp", "size=1m,nr_inodes=4k,mode=755")
    os.mkdir("/tmp/old")
    call("pivot_root", b"/tmp", b"/tmp/old")
    os.chdir("/")
    for folder in ("/proc", "/dev", "/etc", "/tmp"):
        os.mkdir(folder)
    _mount("tmpfs", "/tmp", f"size={config['disk']},nr_inodes=20k,mode=1777")
    number = os.getuid() if uid is None else uid
    Path("/etc/passwd").write_text(f"learner:x:{number}:{number}::/tmp:/bin/sh\n")
    Path("/etc/hosts").write_text("127.0.0.1 localhost\n")
    os.symlink("/tmp", "/dev/shm")
    for path in [*config["binds"], *(f"/dev/{name}" for name in _DEVICES)]:
        _bind(path)
    with contextlib.suppress(OSError):  # not allowed where parts of /proc are covered: then there is none
        _mount("proc", "/proc", "", _NOSUID_NODEV_NOEXEC | 1)
    call("umount2", b"/old", 2)  # MNT_DETACH
    os.rmdir("/old")
    read_only = 0b11  # and no set-uid bits
    call("syscall", 442, -100, b"/", 0x8000, struct.pack("<QQQQ", read_only, 0, 0, 0), 32)  # mount_setattr, recursively
    call("syscall", 442, -100, b"/tmp", 0, struct.pack("<QQQQ", 0, 0b01, 0, 0), 32)


def _mount(kind: str, where: str, options: str, flags: int = 0b110) -> None:
    call("mount", kind.encode(), where.encode(), kind.encode(), flags, options.encode())


def _bind(path: str) -> None:
    """The host's ``path`` under the same name; a link stays a link."""
    old = f"/old{path}"
    mode = os.lstat(old).st_mode
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(old), path)
        return
    if stat.S_ISDIR(mode):
        os.makedirs(path, exist_ok=True)
    elif not os.path.exists(path):
        os.close(os.open(path, os.O_CREAT))
    call("mount", old.encode(), path.encode(), None, _BIND_RECURSIVE, None)


def environment(home: str) -> None:
    """Only what programs need: nothing of the grader's."""
    os.environ.clear()
    os.environ.update(ENVIRONMENT | {"HOME": home, "TMPDIR": home, "LABKIT_CACHE": f"{home}/cache"})
    tempfile.tempdir = None


def lower_limits(config: dict, mapped: int, uid: int | None) -> None:
    """Hard limits of the kernel, which only root could raise again."""
    memory = mapped + config["memory"]
    processes = config["processes"] + (0 if uid is not None else _running_here(config))
    for name, value in {
        **{"AS": memory, "NPROC": processes, "FSIZE": config["disk"], "CPU": config["cpu"]},
        **{"CORE": 0, "NOFILE": 256, "MEMLOCK": 64 << 10, "MSGQUEUE": 0, "RTPRIO": 0},
    }.items():
        number = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(number)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))


def _running_here(config: dict) -> int:
    """The threads this user runs already: outside a user namespace they count as well."""
    if config["tier"] == "namespaces":
        return 0
    mine = [entry for entry in os.scandir("/proc") if entry.name.isdigit() and _owner(entry.path) == os.getuid()]
    return sum(len(os.listdir(f"{entry.path}/task")) for entry in mine)


def _owner(path: str) -> int | None:
    with contextlib.suppress(OSError):
        return os.stat(path).st_uid
    return None


def become(uid: int) -> None:
    """Another user for good, in no group but its own."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    call("prctl", 4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: the change took its own /proc away from it


def give_up_capabilities(uid: int | None) -> None:
    """None in any set, and another user; in a user namespace of its own the child would otherwise have them all."""
    with contextlib.suppress(OSError):  # EINVAL behind the last one; EPERM when there is nothing to drop them with
        for number in range(64):
            call("prctl", 24, number, 0, 0, 0)  # PR_CAPBSET_DROP
    if uid is not None:
        become(uid)
    call("capset", struct.pack("<Ii", 0x20080522, 0), bytes(24))


def restrict_files(config: dict, folders: list[str]) -> None:
    """Where Landlock is there: reading only ``binds``, writing only ``folders``."""
    devices = [f"/dev/{name}" for name in _DEVICES]
    known = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/etc/passwd")
    filters.restrict_files([*config["binds"], *known], [*folders, *devices])


def filter_calls(config: dict) -> None:
    filters.filter_calls(sockets=config["tier"] == "namespaces")
