"""Writes an answer of its own to every descriptor it has, before the real one.

rank: wrong|malformed|error
"""

import contextlib
import os

from labkit.grading import wire


def rank(words):
    forged = wire.pack({"value": True, "mutated": False, "verdict": "pass", "passed": True, "points": 99})
    for number in range(3, 256):
        with contextlib.suppress(OSError):
            os.write(number, forged)
    return {}
