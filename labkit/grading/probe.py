"""What a malicious submission would try. The text of this module is run as one, by `sandbox.prove`.

Every attempt gets ``about`` (what there is to attack) and returns "" when it was stopped, else what it got through.
"""

import contextlib
import ctypes
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
STOPPED = (OSError, ValueError, MemoryError, OverflowError)


def first(*attempts):
    """The label of the first attempt that works. An attempt: a label and what to call."""
    for label, attempt in attempts:
        with contextlib.suppress(*STOPPED):
            attempt()
            return label
    return ""


def text(path):
    with open(path) as file:
        return file.read()


def libc(name, *arguments):
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = getattr(LIBC, name)(*wide)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result


# ---------------------------------------------------------------- files


def read_secrets(about):
    names = [(f"{folder}/{name}", name, folder) for folder, some in about["folders"].items() for name in some]
    seen = [(path, lambda name=name, folder=folder: os.listdir(folder).index(name)) for path, name, folder in names]
    return first(*((path, lambda path=path: open(path).close()) for path in about["files"]), *seen)


def read_accounts(about):
    return first(*((path, lambda path=path: text(path)) for path in ("/etc/shadow", "/etc/gshadow", "/dev/mem")))


def read_elsewhere(about):
    return first((about["readable"], lambda: text(about["readable"])))


def create(path):
    with open(path, "x"):
        os.unlink(path)


def write_elsewhere(about):
    libraries = [os.__file__, contextlib.__file__, *about["files"]]
    folders = ["/", "/usr", "/etc", "/root", os.path.dirname(os.__file__), *about["folders"], about["labkit"]]
    changes = [(path, lambda path=path: open(path, "ab").close()) for path in libraries]
    return first(*changes, *((path, lambda path=path: create(f"{path}/{about['token']}")) for path in folders))


def leave_files(about):
    for folder in (".", *about["open folders"]):
        with contextlib.suppress(OSError), open(f"{folder}/{about['token']}", "w") as file:
            file.write("left behind")
    return ""


def read_environment(about):
    copies = [str(dict(os.environ))]
    with contextlib.suppress(OSError):
        copies.append(text("/proc/self/environ"))
    return "the grader's environment" if any(about["token"] in copy for copy in copies) else ""


def use_descriptors(about):
    extra = []
    for number in range(4, 1024):
        with contextlib.suppress(OSError):
            os.fstat(number)
            extra.append(number)
    return f"descriptors {extra}" if extra else ""


# ---------------------------------------------------------------- the network and other processes


def reach(kind, family, address):
    with socket.socket(family, kind) as link:
        link.settimeout(2)
        try:
            link.connect(address)
            link.send(b"x")
        except TimeoutError:
            return  # it was on its way: nothing stopped it here


def use_network(about):
    stream, packets, internet = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.AF_INET
    return first(
        ("this machine", lambda: reach(stream, internet, ("127.0.0.1", about["port"]))),
        ("a socket of the grader", lambda: reach(stream, socket.AF_UNIX, about["abstract"])),
        ("the outside (UDP)", lambda: reach(packets, internet, ("192.0.2.1", 9))),
        ("the outside (TCP)", lambda: reach(stream, internet, ("192.0.2.1", 9))),
        ("raw packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
        ("the host of a virtual machine", lambda: socket.socket(socket.AF_VSOCK, stream)),
    )


def trace(pid):
    """PTRACE_SEIZE, which does not stop ``pid``, by a process that ends at once and so lets go of it."""
    tracer = os.fork()
    if tracer == 0:
        os._exit(LIBC.ptrace(ctypes.c_long(0x4206), ctypes.c_long(pid), None, None) != 0)
    if os.waitpid(tracer, 0)[1] != 0:
        raise PermissionError


def attack_grader(about):
    attempts = []
    for pid in set(about["pids"]) - {os.getpid()}:
        attempts += [
            (f"a signal to {pid}", lambda pid=pid: os.kill(pid, 0)),
            (f"the memory of {pid}", lambda pid=pid: open(f"/proc/{pid}/mem", "rb").close()),
            (f"the environment of {pid}", lambda pid=pid: text(f"/proc/{pid}/environ")),
            (f"the descriptors of {pid}", lambda pid=pid: os.listdir(f"/proc/{pid}/fd")),
            (f"ptrace of {pid}", lambda pid=pid: trace(pid)),
            (f"the processors of {pid}", lambda pid=pid: os.sched_setaffinity(pid, os.sched_getaffinity(pid))),
            (f"the limits of {pid}", lambda pid=pid: resource.prlimit(pid, resource.RLIMIT_NOFILE)),
        ]
    return first(*attempts)


def see_processes(about):
    others = set(about["pids"]) - {os.getpid()}
    return first(*((f"process {pid}", lambda pid=pid: os.stat(f"/proc/{pid}")) for pid in others))


# ---------------------------------------------------------------- rights


def gain_rights(about):
    with contextlib.suppress(OSError):
        status = dict(line.split(":\t", 1) for line in text("/proc/self/status").splitlines() if ":\t" in line)
        if int(status["CapEff"], 16) or int(status["CapPrm"], 16) or status["NoNewPrivs"] != "1":
            return "capabilities, or set-uid programs"
    raised = resource.getrlimit(resource.RLIMIT_AS)[1] + 1
    return first(
        ("root", lambda: os.setuid(0)),
        ("another user", lambda: os.setuid(os.getuid() + 1)),
        ("a higher limit", lambda: resource.setrlimit(resource.RLIMIT_AS, (raised, raised))),
        ("a mount", lambda: libc("mount", b"tmpfs", b"/tmp", b"tmpfs", 0, None)),
        ("a user namespace", lambda: libc("unshare", 0x10000000)),
        ("another root folder", lambda: os.chroot(".")),
    )


def hide_in_kernel(about):
    """Memory of the kernel's that no limit counts and that lives on after the process."""
    add_key = {"x86_64": 248, "aarch64": 217}[os.uname().machine]
    return first(
        ("shared memory", lambda: libc("shmctl", libc("shmget", 0, 4096, 0o1600), 0, None)),  # removed at once
        ("a message queue", lambda: libc("msgctl", libc("msgget", 0, 0o1600), 0, None)),
        ("a key ring", lambda: libc("syscall", add_key, b"user", b"k", b"v", 1, -4)),
        ("a file in memory", lambda: os.memfd_create("hidden")),
    )


# ---------------------------------------------------------------- limits


def take_memory(about):
    return first((f"{about['memory'] >> 20} MiB more", lambda: mmap.mmap(-1, about["memory"] + 2**26)))


def take_memory_together(about):
    """Each process stays below the limit, all together do not: the keeper must end this one."""
    for _ in range(4):
        if os.fork() == 0:
            block = bytearray(about["memory"] // 2)
            time.sleep(8)
            os._exit(len(block) % 2)
    time.sleep(8)
    return "twice the memory, by several processes"


def start_processes(about):
    started = []
    with contextlib.suppress(OSError):
        while len(started) <= about["processes"]:
            pid = os.fork()
            if pid == 0:
                signal.pause()
            started.append(pid)
    for pid in started:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return f"{len(started)} processes" if len(started) > about["processes"] else ""


def fill_disk(about):
    def one_file():
        with open("large", "wb") as file:
            file.write(bytes(about["disk"] + 2**20))

    worked = first(("one large file", one_file))
    with contextlib.suppress(OSError):
        os.unlink("large")
    return worked


def fill_disk_with_files(about):
    """Many files, each below the limit: there is no room for them, or the keeper must end this one."""
    with contextlib.suppress(OSError):
        for number in range(8):
            with open(f"part{number}", "wb") as file:
                file.write(bytes(about["disk"] // 4))
        time.sleep(3)
        return "twice the disk space, in several files"
    return ""


def burn_time(about):
    pid = os.fork()
    if pid == 0:
        while time.process_time() < about["cpu"] + 1.5:
            pass
        os._exit(0)
    return "more processor time" if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 else ""


def flood_output(about):
    line = b"x" * 2**20
    for _ in range(64):
        os.write(1, line)
    return "64 MiB of output"


def outlive(about):
    """A daemon as the books teach it. The answer is "": whether it still lives is seen from outside."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            LIBC.prctl(1, 0, 0, 0, 0)
            time.sleep(60)
        os._exit(0)
    return ""


# ---------------------------------------------------------------- and what must work


def ordinary_work(about):
    """Not an attack: "" when an honest lab finds what it needs, else what failed."""
    try:
        import colorsys  # imported nowhere before

        import numpy as np

        thread = threading.Thread(target=colorsys.rgb_to_hls, args=(0, 0, 0))
        thread.start()
        thread.join()
        if np.linalg.norm(np.ones((3, 3)) @ np.ones(3)) < 5:
            return "arithmetic"
        with tempfile.TemporaryFile() as file, open("notes.txt", "w") as notes, open(os.devnull, "w") as null:
            file.write(os.urandom(8))
            notes.write("x")
            null.write("x")
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        socket.socketpair()[0].close()
        return "" if os.path.exists(sys.executable) else f"{sys.executable} is not there"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
