"""A small lab for the hostile submissions: one answer is an array, the other a dict."""

import numpy as np


def center(x):
    """Every column of x minus its mean.   x: (N, D) float64 -> (N, D).   ValueError unless x has two axes."""
    # >>> center (~3 lines): check the axes, then subtract the mean of each column
    if x.ndim != 2:
        raise ValueError(f"x must have 2 axes, got {x.ndim}")
    return x - x.mean(axis=0)
    # <<< center


def rank(words):
    """Each word's rank by how often it occurs, the most frequent first, ties by the alphabet.   list[str] -> dict"""
    # >>> rank (~3 lines): count, sort, number
    counts = {word: words.count(word) for word in words}
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: i for i, word in enumerate(ordered)}
    # <<< rank


def spread(x):
    """The root of the mean square of the centred columns."""
    return np.sqrt((center(x) ** 2).mean(axis=0))
