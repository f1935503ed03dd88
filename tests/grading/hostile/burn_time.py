"""Two processes that compute for ever, in the background of a wrong answer.

rank: wrong|error
"""

import os
import time


def rank(words):
    for _ in range(2):
        if os.fork() == 0:
            while time.process_time() < 10:
                pass
            os._exit(0)
    return {}
