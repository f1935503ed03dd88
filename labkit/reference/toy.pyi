# Generated from lab 1.1 by `make skeletons`.
import numpy as np

def scale_rows(x):
    """Every row of x divided by its sum.   x: (N, D) float64 -> (N, D).   ValueError unless x has two axes."""
    ...

def entropy(p):
    """-sum p log p of each row in nats.   p: (N, D), rows sum to 1 -> (N,)"""
    ...

class Vocab:
    """Ids for words."""

    def __init__(self, words):
        ...

def row_entropy(x):
    """The entropy of the scaled rows of x."""
    ...
