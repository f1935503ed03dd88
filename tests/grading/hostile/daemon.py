"""Leaves a daemon behind that ignores signals, and returns a wrong answer.

rank: wrong|error
"""

import contextlib
import os
import signal
import time


def rank(words):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(1, signal.NSIG):
                with contextlib.suppress(OSError, ValueError):
                    signal.signal(number, signal.SIG_IGN)
            time.sleep(20)
        os._exit(0)
    os.wait()
    return {}
