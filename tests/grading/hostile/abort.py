"""abort(), as a failed assertion of a C library would.

rank: error
"""

import os


def rank(words):
    os.abort()
