"""Wins when it can open the memory of the grader, or look into what it was started with.

rank: wrong
check rank: any
"""

import contextlib

from facts import GRADER, right


def rank(words):
    for file in ("mem", "environ", "maps"):
        with contextlib.suppress(OSError), open(f"/proc/{GRADER}/{file}", "rb") as stream:
            stream.read(0 if file == "mem" else -1)
            return right(words)
    return {}
