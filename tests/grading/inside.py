"""What test_sandbox.py runs inside a check."""

import os
import signal
import threading
import time


def nothing():
    return None


def listing(folder):
    return sorted(os.listdir(folder))


def running():
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def readable(path):
    try:
        with open(path) as file:
            return bool(file.read())
    except OSError:
        return False


def leave(name):
    """What is there already; then leaves something."""
    found = os.listdir(".") if os.getcwd() != "/tmp" else [n for n in os.listdir(".") if n == name]
    with open(name, "w") as file:
        file.write("here")
    return found


def environment():
    return sorted(os.environ)


def honest_work():
    import asyncio
    import multiprocessing
    import subprocess
    import sys
    import tempfile

    import numpy as np

    async def sleep():
        await asyncio.sleep(0.001)

    asyncio.run(sleep())
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
    assert subprocess.run([sys.executable, "-c", "print(2)"], capture_output=True, check=True).stdout == b"2\n"
    with tempfile.NamedTemporaryFile() as file:
        np.save(file, np.ones(3))
    with open(os.devnull, "w") as null:
        null.write("x")
    threads = [threading.Thread(target=sum, args=([1],)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    import getpass

    assert getpass.getuser() == "learner"
    return "all done"


def linger():
    """Does what it can to be left alone."""
    import ctypes

    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
    time.sleep(120)
