"""The untrusted side: a template process that forks one child per check, and the child's loop.

The template imports the lab's packages and never computes anything (a fork after OpenMP threads have started hangs). It
obeys two orders on its control socket, *fork* and *reap*. A forked child isolates itself, loads the learner's file and
the drivers under their own names and answers calls until its socket closes. Where fork is missing (Windows) or unsafe
(macOS) the same child's loop runs in one spawned process.

No expected value ever enters these processes.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import linecache
import os
import signal
import socket
import sys
import traceback
import types
from collections.abc import Iterable
from typing import Any, BinaryIO

from labkit.grading import wire

try:
    import resource
except ImportError:  # Windows: no limits there
    resource = None


HELPERS = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver", b"torch_shm_manager")

# ---------------------------------------------------------------- the child


def load(name: str, source: str, filename: str) -> types.ModuleType:
    """A module made from source text, under its real file name so that tracebacks and ``__file__`` are right."""
    module = types.ModuleType(name)
    module.__file__ = filename
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    sys.modules[name] = module
    exec(compile(source, filename, "exec"), module.__dict__)
    return module


def resolve(target: str, lab: types.ModuleType, drivers: types.ModuleType | None) -> Any:
    """The callable a check names: a driver (bound to the lab) or, if there is none, a name in the lab."""
    if drivers is not None and hasattr(drivers, target):
        driver = getattr(drivers, target)
        return lambda *inputs: driver(lab, *inputs)
    if not hasattr(lab, target):
        raise AttributeError(f"lab.py has no {target!r} any more")
    return getattr(lab, target)


def raised(error: BaseException) -> wire.Raised:
    """An exception as plain data. The learner may have broken ``__str__``: nothing here may raise."""
    kind = type(error)
    bases = tuple(base.__name__ for base in kind.__mro__)
    try:
        message = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    except BaseException:
        message = "(its message could not be read)"
    frames = tuple((f.filename, f.lineno or 0, f.name) for f in traceback.extract_tb(error.__traceback__))
    if isinstance(error, SyntaxError):
        text = linecache.getline(error.filename or "", error.lineno or 0)  # Python itself would read the file on disk
        message = f"{error.msg}: {text.strip()}"
        frames = ((error.filename or "", error.lineno or 0, "<module>"),)
    return wire.Raised(kind.__name__, bases, message[:4000], frames[-50:])


def serve(stream: BinaryIO, reply: BinaryIO) -> None:
    """Answers load and call requests until the stream closes."""
    lab: types.ModuleType | None = None
    drivers: types.ModuleType | None = None
    own = os.getpid()
    while (frame := read_frame(stream)) is not None:
        request = wire.unpack(frame)
        answer: dict[str, Any] = {"mutated": False}
        try:
            if request["op"] == "load":
                lab = drivers = None
                lab = load("lab", request["lab"], request["lab_file"])
                drivers = load("drivers", request["drivers"], request["drivers_file"]) if request["drivers"] else None
                answer["value"] = None
            else:
                inputs = wire.copy(request["inputs"], request["device"])
                before = wire.pack(inputs)
                answer["value"] = resolve(request["target"], lab, drivers)(*inputs)
                answer["mutated"] = wire.pack(inputs) != before
        except BaseException as error:
            answer["value"] = raised(error)
        if os.getpid() != own:
            os._exit(0)  # a copy made by the learner's fork has nothing to say here
        if left := started_processes():
            text = f"{left} processes it started are still there: wait for what you start"
            answer = {
                "value": wire.Raised("ChildProcessError", ("ChildProcessError", "OSError"), text),
                "mutated": False,
            }
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        reply.write(wire.pack(answer))
        reply.flush()


def started_processes() -> int:
    """How many children this process has, dead ones not waited for included; Python's own helpers do not count."""
    count = 0
    for pid in _children():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as line:
            count += not _is_helper(line.read())
    return count


def _is_helper(command: bytes) -> bool:
    return any(helper in command for helper in HELPERS)


def read_frame(stream: BinaryIO) -> bytes | None:
    header = stream.read(wire.HEADER.size)
    if len(header) < wire.HEADER.size:
        return None
    tree, buffers = wire.lengths(header)
    return header + stream.read(tree + buffers)


def limit(memory: int, file_size: int) -> None:
    """Caps what one child may take: ``memory`` bytes beyond what the template already maps."""
    if resource is None:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    with contextlib.suppress(OSError, ValueError):  # macOS has no working RLIMIT_AS
        with open("/proc/self/statm") as statm:
            mapped = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))


def child(order: dict, answers: int, output: int) -> None:
    """The life of a forked child. Never returns."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        stream = os.dup2(answers, 3)
        os.closerange(4, 4096)
        if order["sandbox"] is not None:
            from labkit.grading import isolate

            isolate.enter(order["sandbox"])
        else:
            limit(order["memory"], order["file_size"])
        with open(stream, "rb", closefd=False) as reader, open(stream, "wb", closefd=False) as writer:
            if order["sandbox"] is not None:
                writer.write(wire.pack("ready"))
                writer.flush()
            serve(reader, writer)
    except BaseException:
        with contextlib.suppress(BaseException):
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(70)
    os._exit(0)


# ---------------------------------------------------------------- the template


def reap(pid: int, kept: bool) -> dict:
    """Ends a child and everything it left behind; returns its wait status and peak memory.

    kept: the child is the keeper of a sandbox, which ends all that is inside when it is told to.
    """
    if kept:
        os.kill(pid, signal.SIGTERM)
    else:
        for kill in (lambda: os.killpg(pid, signal.SIGKILL), lambda: os.kill(pid, signal.SIGKILL)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill()
    _, status, usage = os.wait4(pid, 0)
    while left := _children():  # orphans come to the template, which is their subreaper
        for orphan in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(orphan, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.wait4(-1, 0)
    scale = 1 if sys.platform == "darwin" else 1024
    return {"status": os.waitstatus_to_exitcode(status), "peak": usage.ru_maxrss * scale}


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            return [int(pid) for pid in children.read().split()]
    except OSError:
        return []


def template(control: socket.socket) -> None:
    """Obeys fork and reap orders until the grader goes away."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    gc.freeze()  # the children then share the pages of what is imported
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not data:
            return
        order = json.loads(data)
        if order["op"] == "fork":
            pid = os.fork()
            if pid == 0:
                child(order, *descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            control.send(json.dumps({"pid": pid}).encode())
        else:
            control.send(json.dumps(reap(order["pid"], order["kept"])).encode())


def import_all(names: Iterable[str]) -> None:
    """Imports modules for good, without the garbage collector, which would take a fifth of torch's import time."""
    gc.disable()
    try:
        for name in names:
            importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def main() -> None:
    """``python -m labkit.grading.worker fork|spawn CONTROL_FD MODULE...``"""
    how, descriptor, *preload = sys.argv[1:]
    import_all(preload)
    if "torch" in preload:
        sys.modules["torch"].set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the grader's to handle
    if how == "fork":
        control = socket.socket(fileno=int(descriptor))
        control.send(b"{}")
        template(control)
    else:
        answers, output = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(output, 1)
        with open(os.dup(0), "rb") as reader, open(answers, "wb") as writer:
            serve(reader, writer)


if __name__ == "__main__":
    from labkit.grading import worker  # one copy of this module, whatever started it

    worker.main()
