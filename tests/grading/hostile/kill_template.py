"""Kills its parent: at best the grader is broken, which must never be a silent zero.

rank: wrong
check rank: infra
"""

import contextlib
import os
import signal
import time


def rank(words):
    with contextlib.suppress(OSError):
        if os.getppid() > 1:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(5)
    return {}
