"""The same in the place of an array.

center: wrong
"""


def center(x):
    if x.ndim != 2:
        raise ValueError("2 axes")
    return 10**40_000
