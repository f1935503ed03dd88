"""os._exit(0) while the file is loaded: plain pytest says 0 to that.

rank: error
"""

import os

os._exit(0)


def rank(words):
    return {}
