"""The keeper: the process that stays outside a sandbox, watches it, and at the end leaves nothing of it behind.

It is trusted code between the template and the child, and no signal of the child's reaches it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from labkit.grading.filters import call, landlock_version

WATCH = 0.1  # seconds between two looks
SHARED_MEMORY = "/dev/shm"  # the locks of multiprocessing live there
OPEN_FOLDERS = ("/tmp", "/var/tmp", SHARED_MEMORY, "/run/lock", "/dev/mqueue")  # where anybody may write


def keep(pid: int, config: dict, uid: int | None, folder: str | None) -> NoReturn:
    """Waits for the child's end or for SIGTERM, ends all that is left, and goes the way the child went.

    uid: the user that nobody but this check is, if there is one.  folder: what the check may write to on disk.
    """
    status, looked, template = None, time.monotonic(), os.getppid()
    while status is None and os.getppid() == template:
        said = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, WATCH)
        if said is not None and said.si_signo == signal.SIGTERM:
            break
        if time.monotonic() - looked >= WATCH:
            if reason := greedy(config, folder, uid):
                _say(f"stopped by the grader: {reason}")
                break
            looked = time.monotonic()
        status = _ended(pid)
    if status is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    end_all(uid)
    clear(folder, uid)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.kill(os.getpid(), -code)
    os._exit(code)


def _say(text: str) -> None:
    """A line among what the check printed; dropped when the pipe is full, as the keeper must not wait."""
    if select.select([], [2], [], 0)[1]:
        os.write(2, f"\n{text}\n".encode())


def _ended(pid: int) -> int | None:
    """The child's wait status once it has ended; reaps the orphans that came here on the way."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found = ended[1] if ended[0] == pid else found
    return found


def greedy(config: dict, folder: str | None, uid: int | None) -> str | None:
    """What the kernel's limits, which are per process and per file, do not see."""
    family = descendants(os.getpid())
    if len(family) > 1 and _memory(family, uid) > config["memory"]:
        return f"its processes together took more than {config['memory'] >> 20} MiB"
    if sum(_size(path, config["disk"]) for path in written(folder, uid)) > config["disk"]:
        return f"it wrote more than {config['disk'] >> 20} MiB"
    return None


def descendants(pid: int) -> list[int]:
    """Every process that comes from ``pid``, itself not included."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def _memory(family: Sequence[int], uid: int | None) -> int:
    """Bytes these processes hold, shared pages divided among their users.

    A container's root may not look into other users' processes, so this is done as their user. One that hides even from
    that is taken for the whole of what it shares.
    """
    total = 0
    if uid is not None:
        os.setegid(uid)
        os.seteuid(uid)
    for pid in family:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, StopIteration):
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) << 10
            except PermissionError:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if uid is not None:
        os.seteuid(0)
        os.setegid(0)
        end_with_parent()  # a change of user forgets it
    return total


def end_with_parent() -> None:
    """SIGTERM to this process when its parent, the template, dies: nobody would ask for an end any more."""
    call("prctl", 1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG


def _size(folder: str, enough: int) -> int:
    """Bytes on disk of a file or below a folder; stops counting when it is enough. A file costs a block at least."""
    if not os.path.isdir(folder):
        return os.lstat(folder).st_blocks * 512 if os.path.lexists(folder) else 0
    total, waiting = 0, [folder]
    while waiting and total <= enough:
        try:
            for entry in os.scandir(waiting.pop()):
                total += max(4096, entry.stat(follow_symlinks=False).st_blocks * 512)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
        except FileNotFoundError:  # gone since
            continue
        except OSError:  # nested too deep to be looked at, or locked: nothing honest is
            return enough + 1
    return total


def end_all(uid: int | None) -> None:
    """Kills whatever is left of the check. In a pid namespace the kernel has done it already."""
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if uid is not None:
            _kill_user(uid)
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def _kill_user(uid: int) -> None:
    """Kills every process of the user in one stroke, so that none can fork its way out of it."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.waitpid(pid, 0)


def clear(folder: str | None, uid: int | None) -> None:
    """Removes all that the check has written."""
    for path in written(folder, uid):
        _remove(path)


def written(folder: str | None, uid: int | None) -> list[str]:
    """The check's folder and what its user has elsewhere: Landlock leaves it only the shared memory for that."""
    found = [] if folder is None else [folder]
    places = () if folder is None or uid is None else [SHARED_MEMORY] if landlock_version() else OPEN_FOLDERS
    for place in places:
        with contextlib.suppress(OSError):
            for entry in os.scandir(place):
                with contextlib.suppress(FileNotFoundError):
                    found += [entry.path] if entry.stat(follow_symlinks=False).st_uid == uid else []
    return list(dict.fromkeys(found))


def _remove(path: str) -> None:
    """However deep it is nested, and without following a link: rm knows how."""
    try:
        os.rmdir(path)  # most checks write nothing
    except OSError:
        os.waitpid(os.posix_spawnp("rm", ["rm", "-rf", "--", path], {"PATH": "/usr/bin:/bin"}), 0)
