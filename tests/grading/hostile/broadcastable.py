"""A shape that broadcasting would make right.

center: wrong
"""

import numpy as np


def center(x):
    if x.ndim != 2:
        raise ValueError("2 axes")
    return np.broadcast_to(x - x.mean(axis=0), (1, *x.shape))
