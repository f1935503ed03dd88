"""Computes in a process of its own for longer than it may; wins when it gets to the end.

rank: wrong
check rank: pass
patience: 6
"""

import os
import time

from facts import right


def rank(words):
    pid = os.fork()
    if pid == 0:
        while time.process_time() < 3:
            pass
        os._exit(0)
    return right(words) if os.waitpid(pid, 0)[1] == 0 else {}
