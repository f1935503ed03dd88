"""The largest frame allowed, sent byte by byte: there is always something to read. Wins when it is let finish.

rank: timeout
patience: 0.1
"""

import os
import struct
import time

from facts import right

from labkit.grading import wire


def rank(words):
    end = time.monotonic() + 8
    filler = 2**18
    body = wire.pack({"value": right(words), "mutated": False})[16:]
    os.write(3, struct.pack("<4sIQ", b"LKW1", len(body) + filler, 0))
    for _ in range(filler):
        os.write(3, b" ")
        if time.monotonic() < end:
            time.sleep(0.001)
    os.write(3, body)
    time.sleep(30)
