"""Drivers of lab 1.2. A matrix goes in as (indptr, indices, data, shape) and comes back as a record named CSR."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import make_dataclass

import numpy as np

_Matrix = make_dataclass("CSR", ["shape", "indptr", "indices", "data"])  # the shape first: it is compared first
SORTS = ("sort", "argsort", "lexsort", "unique")


def _positions(array):
    """Integers of any width are as good as int64; everything else stays as it is, so that a difference shows."""
    return array.astype(np.int64) if isinstance(array, np.ndarray) and array.dtype.kind in "iu" else array


def _plain(lab, matrix):
    if not isinstance(matrix, lab.CSR):
        return matrix
    shape = matrix.shape
    if isinstance(shape, tuple | list):
        shape = tuple(int(n) if isinstance(n, int | np.integer) else n for n in shape)
    return _Matrix(shape, _positions(matrix.indptr), _positions(matrix.indices), matrix.data)


def _dense(lab, matrix):
    """A CSR as a dense array, entry by entry, whatever the order of the entries; other values as they are."""
    if not isinstance(matrix, lab.CSR):
        return matrix
    dense = np.zeros(matrix.shape)
    for row in range(matrix.shape[0]):
        for entry in range(int(matrix.indptr[row]), int(matrix.indptr[row + 1])):
            dense[row, int(matrix.indices[entry])] += matrix.data[entry]
    return dense


# ---------------------------------------------------------------- one function each


def tf(lab, counts, sublinear):
    return _plain(lab, lab.term_frequency(lab.CSR(*counts), sublinear))


def idf(lab, counts):
    return lab.inverse_document_frequency(lab.CSR(*counts))


def unit_rows(lab, matrix):
    return _plain(lab, lab.normalize_rows(lab.CSR(*matrix)))


def unit_rows_dense(lab, matrix):
    return _dense(lab, lab.normalize_rows(lab.CSR(*matrix)))


def count(lab, token_lists, vocabulary):
    return _plain(lab, lab.count_matrix(token_lists, vocabulary))


def turned(lab, matrix):
    return _plain(lab, lab.transpose(lab.CSR(*matrix)))


def turned_twice(lab, matrix):
    return _plain(lab, lab.transpose(lab.transpose(lab.CSR(*matrix))))


def scored(lab, postings, query):
    return lab.score(lab.CSR(*postings), lab.CSR(*query))


def scored_among_traps(lab, postings, query):
    """Scores where the postings of all other words hold NaN: whoever reads them gets NaN."""
    scores = lab.score(lab.CSR(*postings), lab.CSR(*query))
    if not isinstance(scores, np.ndarray) or scores.dtype.kind != "f":
        return scores
    return {"read other postings": bool(np.isnan(scores).any()), "scores": np.nan_to_num(scores)}


def best(lab, scores, k):
    return _positions(lab.top_k(scores, k))


def bm25_weights(lab, counts, k1, b):
    return _plain(lab, lab.bm25(lab.CSR(*counts), k1, b))


def bm25_default(lab, counts):
    return _plain(lab, lab.bm25(lab.CSR(*counts)))


# ---------------------------------------------------------------- is everything sorted?


class _Watched(np.ndarray):
    """Scores that note how many numbers they are asked to sort."""

    longest = 0

    def __array_function__(self, function, types, args, kwargs):
        if function.__name__ in SORTS:
            _Watched.longest = max(_Watched.longest, np.size(args[0] if args else self))
        return super().__array_function__(function, types, args, kwargs)

    def sort(self, *args, **kwargs):
        _Watched.longest = max(_Watched.longest, self.size)
        super().sort(*args, **kwargs)

    def argsort(self, *args, **kwargs):
        _Watched.longest = max(_Watched.longest, self.size)
        return super().argsort(*args, **kwargs)


@contextmanager
def _watched_sorts(lab):
    """NumPy's sorts and the builtin `sorted`, as the lab sees them, note the length of what they sort."""
    originals = {name: getattr(np, name) for name in SORTS}

    def watch(function):
        def watched(*args, **kwargs):
            values = args[0] if args else next(iter(kwargs.values()))
            _Watched.longest = max(_Watched.longest, np.size(values))
            return function(*args, **kwargs)

        return watched

    def watched_sorted(values, **kwargs):
        values = list(values)
        _Watched.longest = max(_Watched.longest, len(values))
        return sorted(values, **kwargs)

    lab.sorted = watched_sorted
    for name, function in originals.items():
        setattr(np, name, watch(function))
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(np, name, function)
        del lab.sorted


def best_without_sorting_everything(lab, scores, k):
    """The documents, and whether half of the scores or more went through a sort."""
    _Watched.longest = 0
    with _watched_sorts(lab):
        found = lab.top_k(scores.view(_Watched), k)
    found = np.asarray(found) if isinstance(found, np.ndarray) else found
    return {"documents": _positions(found), "sorted everything": _Watched.longest >= len(scores) // 2}


# ---------------------------------------------------------------- the whole engine


def search_texts(lab, texts, queries, how, k):
    """Index the texts and ask every query: a list of (documents, scores)."""
    tokens = [lab.tokenize(text) for text in texts]
    vocabulary = lab.build_vocabulary(tokens)
    ranking, sublinear = how
    index = lab.build_index(lab.count_matrix(tokens, vocabulary), vocabulary, ranking, sublinear)
    hits = [lab.search(index, query, k) for query in queries]
    return [(_positions(documents), scores) for documents, scores in hits]
