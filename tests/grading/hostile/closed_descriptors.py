"""Closes every descriptor and waits.

rank: error
patience: 0.2
"""

import os
import time


def rank(words):
    os.closerange(0, 256)
    time.sleep(30)
