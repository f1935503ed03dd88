"""A small torch lab for the hostile submissions."""

import torch


def double(t):
    """Twice t.   t: (N,) float32 -> (N,)"""
    # >>> double (~1 line): twice the tensor
    return torch.add(t, t)
    # <<< double
