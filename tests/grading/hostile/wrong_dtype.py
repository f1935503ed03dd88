"""Right numbers in half the bits.

center: wrong
"""


def center(x):
    if x.ndim != 2:
        raise ValueError("2 axes")
    return (x - x.mean(axis=0)).astype("float32")
