"""Writes 200 MiB in small files and wins when there is room for them.

rank: error|memory
check rank: pass
"""

import time

from facts import right


def rank(words):
    for number in range(100):
        with open(f"labkit-hostile-fill-{number}", "wb") as file:
            file.write(bytes(2 * 2**20))
        time.sleep(0.005)
    return right(words)
