"""Right the first time it is asked, wrong the second.

center: wrong
"""

import numpy as np

CALLS = []


def center(x):
    if x.ndim != 2:
        raise ValueError("2 axes")
    CALLS.append(x)
    return x - x.mean(axis=0) if len(CALLS) == 1 else np.zeros(x.shape)
