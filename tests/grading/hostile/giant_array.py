"""An answer of 280 MB.

center: malformed|wrong|error
"""

import numpy as np


def center(x):
    if x.ndim != 2:
        raise ValueError("2 axes")
    return np.zeros(35_000_000)
