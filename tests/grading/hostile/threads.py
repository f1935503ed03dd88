"""Right, with threads that go on for ever.

rank: pass
"""

import threading
import time

from facts import right


def forever():
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pass


def rank(words):
    for daemon in (True, False):
        threading.Thread(target=forever, daemon=daemon).start()
    return right(words)
