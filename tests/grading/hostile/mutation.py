"""Right, but the caller's array is changed in place.

center: wrong
"""


def center(x):
    if x.ndim != 2:
        raise ValueError("2 axes")
    x -= x.mean(axis=0)
    return x
