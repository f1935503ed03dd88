"""Its answer twice, and then without end: what nobody asked for is not read.

rank: malformed
"""

import os
import threading
import time

from facts import right

from labkit.grading import wire


def flood(frame):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        os.write(3, frame)


def rank(words):
    frame = wire.pack({"value": right(words), "mutated": False})
    os.write(3, frame + frame)
    threading.Thread(target=flood, args=(frame,), daemon=True).start()
    time.sleep(30)
