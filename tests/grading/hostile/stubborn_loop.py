"""Never comes back, and swallows every exception and signal there is.

rank: timeout
patience: 0.1
"""

import contextlib
import signal


def rank(words):
    for number in range(1, signal.NSIG):
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
