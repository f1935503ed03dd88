"""The trusted side of a worker: starts templates, opens one child per check, speaks to it under limits."""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.grading import wire
from labkit.grading.verdicts import Failure, Verdict

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
OUTPUT_LIMIT = 8 * 2**20
OUTPUT_KEPT = 8_000
START_TIMEOUT = 120.0
ENTRY_TIMEOUT = 30.0
GRACE = 2.0  # seconds for an answer that has begun to come when its time is up


@dataclass(frozen=True)
class Limits:
    """What one check may take."""

    memory: int = 4 * 2**30
    file_size: int = 256 * 2**20
    sandbox: dict | None = None  # for strangers' code: see labkit.grading.sandbox, which makes such limits


class InfraError(RuntimeError):
    """The grader itself failed: never the learner's fault, never a silent zero."""


def _environment(strangers: bool = False) -> dict[str, str]:
    """What a worker is started with. Strangers can read it back from memory, so they get nothing of the grader's."""
    kept = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "LABKIT_ROOT")
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "LABKIT_MIRROR"))}
    keep = {k: v for k, v in keep.items() if k in kept} if strangers else keep
    return keep | {
        **{"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
        **{
            "PYTHONPATH": str(PACKAGE_ROOT),
            "PYTHONSAFEPATH": "1",
            "HF_HUB_OFFLINE": "1",
        },
        **{"TOKENIZERS_PARALLELISM": "false", "MPLBACKEND": "Agg"},
    }


def checked(answer: Any) -> dict:
    """An answer with the fields of one; anything else is malformed."""
    if isinstance(answer, wire.Opaque):
        raise Failure(Verdict.MALFORMED, f"the value could not be sent: {answer.why}")
    if type(answer) is not dict or "value" not in answer:
        raise Failure(Verdict.MALFORMED, "the answer could not be read: it is not one of ours")
    return answer


# ---------------------------------------------------------------- fork: one child per check


class Template:
    """A process that has imported ``preload`` and forks a clean child for every check."""

    def __init__(self, preload: tuple[str, ...], limits: Limits | None = None):
        self.limits = limits or Limits()
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        strangers = self.limits.sandbox is not None
        preload = (*preload, "labkit.grading.isolate") if strangers else preload
        command = [sys.executable, "-m", "labkit.grading.worker", "fork", str(theirs.fileno()), *preload]
        self.folder = tempfile.TemporaryDirectory(prefix="labkit-", ignore_cleanup_errors=True)  # nothing stays
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            cwd=self.folder.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment(strangers),
            start_new_session=True,
        )
        theirs.close()
        self.ready = False

    def _order(self, order: dict, descriptors: tuple[int, ...] = ()) -> dict:
        try:
            if not self.ready:
                self.control.settimeout(START_TIMEOUT)
                if not self.control.recv(1 << 16):
                    raise OSError("it stopped")
                self.ready = True
            socket.send_fds(self.control, [json.dumps(order).encode()], descriptors)
            data = self.control.recv(1 << 16)
            if not data:
                raise OSError("it stopped")
            return json.loads(data)
        except OSError as error:
            said = ""
            if self.process.poll() is not None:
                said = self.process.stderr.read().decode(errors="replace")[-2000:]
            raise InfraError(f"the worker template could not be used: {error}\n{said}".strip()) from None

    def open(self) -> Worker:
        """Forks a child for one check."""
        ours, theirs = socket.socketpair()
        output, their_output = os.pipe()
        try:
            order = {"op": "fork", "memory": self.limits.memory, "file_size": self.limits.file_size}
            pid = self._order(order | {"sandbox": self.limits.sandbox}, (theirs.fileno(), their_output))["pid"]
        except BaseException:
            ours.close()
            os.close(output)
            raise
        finally:
            theirs.close()
            os.close(their_output)
        worker = Worker(self, pid, ours, output)
        if self.limits.sandbox is not None:
            worker.enter()
        return worker

    def reap(self, pid: int) -> dict:
        return self._order({"op": "reap", "pid": pid, "kept": self.limits.sandbox is not None})

    def close(self) -> None:
        self.control.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stderr.close()
        self.folder.cleanup()


@dataclass
class Worker:
    """One child: ``request`` until done, then ``close``. Not trusted in anything it says."""

    template: Template
    pid: int
    socket: socket.socket
    pipe: int
    output: bytearray = field(default_factory=bytearray)
    printed: int = 0
    status: dict | None = None

    def __post_init__(self) -> None:
        self.socket.setblocking(False)
        os.set_blocking(self.pipe, False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.pipe, selectors.EVENT_READ, "output")
        self.pidfd = None
        with contextlib.suppress(OSError, AttributeError):
            self.pidfd = os.pidfd_open(self.pid)
            self.selector.register(self.pidfd, selectors.EVENT_READ, "death")

    def enter(self) -> None:
        """Waits until the child has shut itself in; that it cannot is the grader's failure, not the learner's."""
        try:
            self._frame(time.monotonic() + ENTRY_TIMEOUT)
        except Failure as failure:
            self.close()
            raise InfraError(f"the sandbox could not be entered: {failure.message}\n{self.text}".strip()) from None

    def send(self, message: Any, deadline: float) -> None:
        """Sends one request; a child that does not read runs into its deadline."""
        if self._pending():
            raise Failure(Verdict.MALFORMED, "more than one answer came for one call")
        view = memoryview(wire.pack(message))
        self.selector.register(self.socket, selectors.EVENT_WRITE, "send")
        try:
            while view:
                if "send" in self._wait(deadline):
                    try:
                        view = view[self.socket.send(view) :]
                    except OSError:
                        raise self._died() from None
        finally:
            self._unregister()

    def receive(self, deadline: float) -> Any:
        """The answer to the last request. Raises Failure with the verdict when there is none."""
        return checked(self._frame(deadline))

    def _frame(self, deadline: float) -> Any:
        frame = bytearray()
        wanted = wire.HEADER.size
        self.selector.register(self.socket, selectors.EVENT_READ, "receive")
        try:
            while len(frame) < wanted:
                if "receive" not in self._wait(deadline):
                    continue
                try:
                    data = self.socket.recv(min(1 << 20, wanted - len(frame)))
                except OSError:
                    raise self._died() from None
                if not data:
                    raise self._died()
                frame += data
                if len(frame) == wire.HEADER.size == wanted:
                    wanted += sum(wire.lengths(bytes(frame)))
            return wire.unpack(frame)
        except wire.WireError as error:
            raise Failure(Verdict.MALFORMED, f"the answer could not be read: {error}") from None
        finally:
            self._unregister()

    def _unregister(self) -> None:
        if self.status is None:  # else closing has done it
            self.selector.unregister(self.socket)

    def _pending(self) -> bool:
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _wait(self, deadline: float) -> set[str]:
        """Waits for an event; drains what was printed; raises on timeout, flood and death."""
        ready = {key.data for key, _ in self.selector.select(max(0.0, deadline - time.monotonic()))}
        if "output" in ready:
            self._drain()
        if self.printed > OUTPUT_LIMIT:
            raise Failure(Verdict.ERROR, f"it printed more than {OUTPUT_LIMIT >> 20} MiB")
        if "receive" not in ready and "death" in ready:
            raise self._died()
        late = time.monotonic() - deadline
        if late >= (GRACE if ready & {"send", "receive"} else 0):  # a child must not hold us with one byte at a time
            raise Failure(Verdict.TIMEOUT, "it took too long")
        return ready

    def _drain(self) -> None:
        for _ in range(64):
            try:
                data = os.read(self.pipe, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                with contextlib.suppress(KeyError):
                    self.selector.unregister(self.pipe)
                return
            self.printed += len(data)
            self.output += data[: max(0, OUTPUT_KEPT - len(self.output))]

    def _died(self) -> Failure:
        """Why there is no answer. A child that has closed its end but lives on is ended here."""
        alive = self.pidfd is not None and not select.select([self.pidfd], [], [], GRACE)[0]
        code = self.close()["status"]
        if alive:
            return Failure(Verdict.ERROR, "it closed its connection to the grader")
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            verdict = Verdict.MEMORY if name == "SIGKILL" else Verdict.ERROR
            return Failure(verdict, f"the process was ended by {name} before it answered")
        return Failure(Verdict.ERROR, f"the process ended with exit code {code} before it answered")

    def finish(self) -> None:
        """The last look at a check: anything still in the socket was not asked for."""
        if self.status is None and self._pending():
            raise Failure(Verdict.MALFORMED, "more than one answer came for one call")

    def close(self) -> dict:
        """Kills the child with all it started; returns its exit status and peak memory."""
        if self.status is None:
            self.status = self.template.reap(self.pid)
            self._drain()
            self.selector.close()
            self.socket.close()
            os.close(self.pipe)
            if self.pidfd is not None:
                os.close(self.pidfd)
        return self.status

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace")


# ---------------------------------------------------------------- spawn: where fork is missing or unsafe


class SpawnTemplate:
    """One spawned worker for all checks, started again after a crash, a timeout or an answer out of turn."""

    def __init__(self, preload: tuple[str, ...], limits: Limits | None = None):
        self.preload = preload
        self.process: subprocess.Popen | None = None

    def open(self) -> SpawnedWorker:
        if self.process is None or self.process.poll() is not None:
            command = [sys.executable, "-m", "labkit.grading.worker", "spawn", "-1", *self.preload]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self.process = subprocess.Popen(command, env=_environment(), **pipes)
        return SpawnedWorker(self)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


@dataclass
class SpawnedWorker:
    """The same conversation as `Worker`, over pipes and with a reading thread instead of a selector."""

    template: SpawnTemplate
    text: str = ""

    def send(self, message: Any, deadline: float) -> None:
        self._within(deadline, lambda process: (process.stdin.write(wire.pack(message)), process.stdin.flush()))

    def receive(self, deadline: float) -> Any:
        from labkit.grading.worker import read_frame

        try:
            answer = wire.unpack(self._within(deadline, lambda process: read_frame(process.stdout)) or b"")
        except (wire.WireError, Exception) as error:
            if isinstance(error, Failure):
                raise
            self.template.close()
            raise Failure(Verdict.ERROR, "the process ended before it answered") from None
        return checked(answer)

    def _within(self, deadline: float, action) -> Any:
        box: list = []

        def work() -> None:
            try:
                box.append(action(process))
            except (OSError, ValueError):
                box.append(None)

        process = self.template.process
        if process is None:
            raise Failure(Verdict.ERROR, "the process ended before it answered")
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(max(0.0, deadline - time.monotonic()))
        if not box:
            process.kill()
            thread.join(5)
            self.template.close()
            raise Failure(Verdict.TIMEOUT, "it took too long")
        return box[0]

    def finish(self) -> None:
        """Nothing to look at: an answer too many shows as a wrong next one."""

    def close(self) -> dict:
        return {"status": 0, "peak": 0}


def open_template(preload: tuple[str, ...], limits: Limits | None = None) -> Template | SpawnTemplate:
    """The best template of this platform; LABKIT_WORKER=spawn forces the portable one."""
    fork = sys.platform == "linux" and os.environ.get("LABKIT_WORKER") != "spawn"
    return Template(preload, limits) if fork else SpawnTemplate(preload, limits)
