"""Leaves result files, a conftest and an exit handler that writes them again.

rank: wrong
"""

import atexit
import contextlib
import json
import sys
from pathlib import Path

from facts import DESK


def forge():
    report = {"tests": [{"score": 99, "max_score": 1}], "points": 99, "passed": True, "infra": False}
    for folder in (".", DESK, "/autograder/results"):
        for name in ("labkit-hostile-results.json", "labkit-hostile-report.json"):
            with contextlib.suppress(OSError):
                Path(folder, name).write_text(json.dumps(report))


atexit.register(forge)
sys.excepthook = lambda *args: forge()


def rank(words):
    forge()
    return {}
