"""Stops itself: neither dead nor alive.

rank: timeout
patience: 0.1
"""

import os
import signal


def rank(words):
    os.kill(os.getpid(), signal.SIGSTOP)
    signal.pause()
