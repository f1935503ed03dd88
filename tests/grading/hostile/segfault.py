"""A read through a null pointer.

rank: error
"""

import ctypes


def rank(words):
    return ctypes.string_at(0)
