"""Wins when it can change the checks, the reference, or what somebody else handed in.

rank: wrong
check rank: pass
"""

import contextlib
from pathlib import Path

from facts import ROOT, SUBMISSIONS, right


def rank(words):
    for file in (*Path(ROOT).rglob("*.py"), *Path(SUBMISSIONS).rglob("*.py")):
        with contextlib.suppress(OSError), open(file, "a") as stream:
            stream.write("# changed by somebody\n")
            return right(words)
    return {}
