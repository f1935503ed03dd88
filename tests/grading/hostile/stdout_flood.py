"""Prints two gigabytes and wins when it gets to the end.

rank: error
"""

import os

from facts import right


def rank(words):
    line = b"PASS " * 2**18
    for _ in range(2**31 // len(line)):
        os.write(1, line)
    return right(words)
