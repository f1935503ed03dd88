"""Drivers of lab 2.2. Whole numbers of any width are as good as int64; everything else crosses as it is."""

from __future__ import annotations

import sys

import numpy as np

from labkit.grading.driving import peak_of


def _whole(value):
    """Integers as int or int64, so that NumPy's narrower ones count as right."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return value.astype(np.int64)
    return int(value) if isinstance(value, np.integer) else value


def _cells(found):
    """An empty x may have any dtype: NumPy's bincount of nothing gives integers."""
    if not isinstance(found, tuple) or len(found) != 3:
        return found
    row, column, x = map(_whole, found)
    return row, column, x if np.size(x) else x.astype(float)


# ---------------------------------------------------------------- spelling


def hashes(lab, ngrams):
    """By n-gram, so that a wrong one is shown with its text."""
    return {ngram: _whole(lab.ngram_hash(ngram)) for ngram in ngrams}


def rows_of(lab, words, ids, buckets, min_n=3, max_n=6):
    return [_whole(lab.subword_rows(word, ids, buckets, min_n, max_n)) for word in words]


def rows_by_default(lab, word, ids, buckets):
    return _whole(lab.subword_rows(word, ids, buckets))


# ---------------------------------------------------------------- counting


def cells(lab, ids, sentence, window, weighting):
    return _cells(lab.cooccurrence(ids, sentence, window, weighting))


def cells_by_default(lab, ids, sentence, window):
    return _cells(lab.cooccurrence(ids, sentence, window))


def table(lab, ids, sentence, window, weighting):
    """The cells as a dense matrix, whatever their order."""
    found = lab.cooccurrence(ids, sentence, window, weighting)
    if not isinstance(found, tuple) or len(found) != 3:
        return found
    row, column, x = found
    dense = np.zeros((int(ids.max()) + 1,) * 2)
    np.add.at(dense, (row, column), x)
    return dense


def cells_and_memory(lab, ids, sentence, window):
    """The cells, and whether as many bytes as half of a V x V table has cells were held at once."""
    found, peak = peak_of(lambda: lab.cooccurrence(ids, sentence, window))
    return {"cells": _cells(found), "held a V x V table": peak > int(ids.max()) ** 2 // 2}


def steps_of_cooccurrence(lab, ids, sentence, window):
    """How many lines of Python the learner's file runs for one count, and the cells."""
    file, steps = lab.cooccurrence.__code__.co_filename, 0

    def trace(frame, event, argument):
        nonlocal steps
        if frame.f_code.co_filename != file:
            return None
        steps += event in ("call", "line")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = lab.cooccurrence(ids, sentence, window)
    finally:
        sys.settrace(before)
    return steps, _cells(found)


# ---------------------------------------------------------------- GloVe


def adagrad_steps(lab, parameter, gradients, accumulator, lr):
    """One step for each gradient.   -> parameter and accumulator after every step"""
    parameter, accumulator = parameter.copy(), accumulator.copy()
    after = []
    for gradient in gradients:
        lab.adagrad(parameter, gradient, accumulator, lr)
        after.append((parameter.copy(), accumulator.copy()))
    return after


# ---------------------------------------------------------------- the whole lab


def counted_vectors(lab, ids, sentence, window, dim):
    """PPMI and SVD. Signs of singular vectors are free, so the dot products of all words are compared."""
    row, column, x = lab.cooccurrence(ids, sentence, window)
    pmi = lab.shifted_pmi(row, column, x, 1, 0.75)
    vectors = lab.ppmi_vectors(row, column, pmi, int(ids.max()) + 1, dim)
    return vectors @ vectors.T


def glove_vectors(lab, ids, sentence, window, dim, epochs):
    row, column, x = lab.cooccurrence(ids, sentence, window)
    return lab.train_glove(row, column, x, int(ids.max()) + 1, dim, epochs)


def spelled_vectors(lab, known, table, words):
    """The vectors of known words by id, and of any others."""
    model = lab.SubwordModel(known, table)
    return model.vectors(), [model.vector(word) for word in words]
