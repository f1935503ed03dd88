"""Hands in what somebody else has written.

rank: error
check rank: pass
"""

from pathlib import Path

from facts import SUBMISSIONS


def rank(words):
    theirs = Path(SUBMISSIONS, "alice", "lab.py").read_text()
    names = {}
    exec(theirs, names)
    return names["rank"](words)
