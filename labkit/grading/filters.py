"""Two filters of the Linux kernel, by ctypes: seccomp (which system calls) and Landlock (which files).

Both can only ever be tightened by the process that has them, and all its children inherit them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
import struct
from collections.abc import Iterable
from functools import cache
from typing import Any

_NO_NEW_PRIVS = 38


@cache
def _function(name: str) -> Any:
    return getattr(ctypes.CDLL(None, use_errno=True), name)


def call(name: str, *arguments: Any) -> int:
    """A function of the C library; OSError when it fails."""
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = _function(name)(*wide)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def no_new_privileges() -> None:
    """From here on, no program gives more rights than its caller has: set-uid bits do nothing."""
    call("prctl", _NO_NEW_PRIVS, 1, 0, 0, 0)


# ---------------------------------------------------------------- seccomp

# The machine: its AUDIT_ARCH, and where a call's number is in the second column of DENIED.
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# What no lab needs and an attacker might: (x86_64, aarch64).
DENIED = {
    # other processes: read them, write them, take their descriptors
    **{"ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271)},
    **{"pidfd_getfd": (438, 438), "kcmp": (312, 272), "process_madvise": (440, 440)},
    # new namespaces and mounts: each is a door into kernel code that only root should reach
    **{"unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39)},
    **{"pivot_root": (155, 41), "chroot": (161, 51), "move_mount": (429, 429), "open_tree": (428, 428)},
    **{"fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433)},
    **{"mount_setattr": (442, 442), "open_by_handle_at": (304, 265), "quotactl": (179, 60)},
    # kernel interfaces with a long list of holes
    **{"bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "fanotify_init": (300, 262)},
    **{"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427)},
    # memory that no limit counts, and that would outlive the check
    **{"shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180)},
    **{"memfd_create": (319, 279), "memfd_secret": (447, 447)},
    **{"keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "syslog": (103, 116)},
}
# What a process may do to itself alone, argument ``which`` being 0: (x86_64, aarch64), which.
OWN_ONLY = {
    **{"prlimit64": ((302, 261), 0), "setpriority": ((141, 140), 1), "ioprio_set": ((251, 30), 1)},
    **{"sched_setaffinity": ((203, 122), 0), "sched_setattr": ((314, 274), 0)},
    **{"sched_setscheduler": ((144, 119), 0), "sched_setparam": ((142, 118), 0)},
}
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW... flag of clone
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: harmless in a network of one's own

# Classic BPF over struct seccomp_data: nr at 0, arch at 4, the low half of argument i at 16 + 8 i.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def program(sockets: bool, machine: str | None = None) -> bytes:
    """The filter. ``sockets`` allows sockets of the ordinary families, else there are none but socketpair()."""
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"there is no list of system calls for {machine}")
    arch, column = _MACHINES[machine]
    deny, missing, allow = ((_RETURN, 0, 0, what) for what in (_ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS, _ALLOW))
    load_number, load_argument = (_LOAD, 0, 0, 0), (_LOAD, 0, 0, 16)
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, arch), deny, load_number]
    if machine == "x86_64":
        steps += [(_AT_LEAST, 0, 1, 0x40000000), deny]  # the x32 variants have numbers of their own
    for numbers in DENIED.values():
        steps += [(_EQUAL, 0, 1, numbers[column]), deny]
    for numbers, which in OWN_ONLY.values():
        steps += [(_EQUAL, 0, 4, numbers[column]), (_LOAD, 0, 0, 16 + 8 * which), (_EQUAL, 1, 0, 0), deny, load_number]
    # clone3 hides its flags behind a pointer; the C library falls back to clone when it does not exist
    steps += [(_EQUAL, 0, 1, _CLONE3[column]), missing]
    steps += [(_EQUAL, 0, 3, _CLONE[column]), load_argument, (_ANY_BIT, 0, 1, _NEW_NAMESPACES), deny, load_number]
    steps += [(_EQUAL, 0, 2 + len(_FAMILIES), _SOCKET[column]), load_argument]
    steps += [(_EQUAL, len(_FAMILIES) - at, 0, family if sockets else 0xFFFF) for at, family in enumerate(_FAMILIES)]
    steps += [deny, allow]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


def filter_calls(sockets: bool) -> None:
    """Refuses DENIED, new namespaces and (some) sockets from here on."""
    code = program(sockets)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    call("prctl", 22, 2, header, 0, 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


# ---------------------------------------------------------------- Landlock

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on every machine
_READ = 0b1101  # execute, read file, read folder
_FILE_RIGHTS = 0b111 | 1 << 14 | 1 << 15  # those that make sense for a file: truncate and ioctl too
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # what each version can restrict


def landlock_version() -> int:
    """0 where the kernel has no Landlock. 6 and later also fence off signals."""
    try:
        return call("syscall", _CREATE, None, 0, 1)
    except OSError:
        return 0


def restrict_files(readable: Iterable[str], writable: Iterable[str]) -> None:
    """No file can be opened any more but these and what lies in them. Without Landlock: nothing happens."""
    version = landlock_version()
    if not version:
        return
    rights = max(mask for since, mask in _RIGHTS.items() if since <= version)
    attributes = struct.pack("<QQQ", rights, 0, 0b11 if version >= 6 else 0)  # scopes: abstract sockets, signals
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = call("syscall", _CREATE, attributes, size, 0)
    for paths, allowed in ((readable, _READ), (writable, rights)):
        for path in paths:
            try:
                descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:  # what this user cannot reach needs no rule
                continue
            folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            allowed_here = allowed & rights & (rights if folder else _FILE_RIGHTS)
            call("syscall", _ADD_RULE, ruleset, 1, struct.pack("<Qi", allowed_here, descriptor), 0)
            os.close(descriptor)
    call("syscall", _RESTRICT, ruleset, 0)
    os.close(ruleset)
