"""sys.exit(0) in a call.

rank: error
"""

import sys


def rank(words):
    sys.exit(0)
