"""Announces a frame of 16 exabytes.

rank: malformed
"""

import os
import struct
import time


def rank(words):
    os.write(3, struct.pack("<4sIQ", b"LKW1", 2**32 - 1, 2**64 - 1))
    time.sleep(5)
