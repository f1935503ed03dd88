"""Starts 60 processes (a real one would not stop there); wins when all of them come to life.

rank: error
check rank: error
"""

import os
import time

from facts import right


def rank(words):
    for _ in range(60):
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
    return right(words)
