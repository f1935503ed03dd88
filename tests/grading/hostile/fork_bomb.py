"""Starts 60 processes (a real one would not stop there); wins when all of them come to life.

rank: error
check rank: pass
"""

import os
import time

from facts import right


def rank(words):
    children = []
    for _ in range(60):
        pid = os.fork()
        if pid == 0:
            time.sleep(1)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    return right(words)
