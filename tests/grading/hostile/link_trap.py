"""Right, and leaves a working folder that is dangerous to tidy up.

rank: pass
"""

import contextlib
import os

from facts import SUBMISSIONS, right


def rank(words):
    with contextlib.suppress(OSError):
        os.makedirs("labkit-hostile/locked")
        os.symlink(SUBMISSIONS, "labkit-hostile/others")
        os.symlink(SUBMISSIONS, "labkit-hostile-others")
        here = os.getcwd()
        for _ in range(100):
            os.mkdir("labkit-hostile-n")
            os.chdir("labkit-hostile-n")
        os.chdir(here)
        os.chmod("labkit-hostile/locked", 0)
    return right(words)
