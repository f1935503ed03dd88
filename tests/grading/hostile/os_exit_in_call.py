"""os._exit(0) in a call.

rank: error
"""

import os


def rank(words):
    os._exit(0)
