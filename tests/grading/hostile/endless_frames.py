"""A right answer, and then answers without end to questions nobody asked.

rank: malformed
"""

import os
import threading
import time

from labkit.grading import wire

from facts import right


def flood(frame):
    time.sleep(0.02)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        os.write(3, frame)


def rank(words):
    frame = wire.pack({"value": right(words), "mutated": False})
    os.write(3, frame)
    threading.Thread(target=flood, args=(frame,), daemon=True).start()
    time.sleep(30)
