"""One of two.

center: pass
"""


def center(x):
    if x.ndim != 2:
        raise ValueError(f"x must have 2 axes, got {x.ndim}")
    return x - x.mean(axis=0)
