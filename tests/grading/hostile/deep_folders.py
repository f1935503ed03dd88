"""Hides what it writes in folders nested so deep that no path leads there; wins when 100 MiB get in.

rank: error|memory
check rank: pass
"""

import os
import time

from facts import right


def rank(words):
    here = os.getcwd()
    for _ in range(30):
        name = "labkit-hostile-" + "n" * 200
        os.mkdir(name)
        os.chdir(name)
    for number in range(50):
        with open(f"part{number}", "wb") as file:
            file.write(bytes(2 * 2**20))
        time.sleep(0.01)
    os.chdir(here)
    return right(words)
