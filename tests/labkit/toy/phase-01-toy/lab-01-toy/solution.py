"""The smallest lab there can be: it serves the tests of labkit."""

import numpy as np


def scale_rows(x):
    """Every row of x divided by its sum.   x: (N, D) float64 -> (N, D).   ValueError unless x has two axes."""
    # >>> scale-rows (~3 lines): check the number of axes, then divide
    if x.ndim != 2:
        raise ValueError(f"x must have 2 axes, got {x.ndim}")
    return x / x.sum(axis=1, keepdims=True)
    # <<< scale-rows


def entropy(p):
    """-sum p log p of each row in nats.   p: (N, D), rows sum to 1 -> (N,)"""
    # >>> entropy (~2 lines): minus the sum over a row of p log p
    return -(p * np.log(p)).sum(axis=1)
    # <<< entropy


class Vocab:
    """Ids for words."""

    def __init__(self, words):
        # >>> vocab (~2 lines): self.ids maps each word to its id, in order of first appearance
        self.ids = {}
        for word in words:
            self.ids.setdefault(word, len(self.ids))
        # <<< vocab


def row_entropy(x):
    """The entropy of the scaled rows of x."""
    return entropy(scale_rows(x))
