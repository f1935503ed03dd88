# Generated from lab 1.2 by `make skeletons`.
from __future__ import annotations
import argparse
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
import numpy as np
from labkit import run
PRESETS = {'smoke': {'documents': 400, 'queries': 40}, 'cpu': {'documents': 12000, 'queries': 2000}, 'full': {'documents': 10 ** 9, 'queries': 10000}}
TOKEN = re.compile('(?u)\\b\\w\\w+\\b')

def tokenize(text: str) -> list[str]:
    """The lower-cased words of a text, in order. One-letter words and punctuation are dropped."""
    ...

def build_vocabulary(token_lists: Sequence[Sequence[str]]) -> dict[str, int]:
    """Every distinct token, numbered 0 .. V-1 in alphabetical order, so that equal corpora give equal columns."""
    ...

@dataclass(frozen=True)
class CSR:
    """Compressed sparse rows: only the non-zero entries are stored, row after row.

    indptr:  (rows + 1,) int64   row i owns the entries indptr[i] .. indptr[i+1]-1; indptr[0] = 0, indptr[-1] = nnz
    indices: (nnz,) int64        the column of each entry, ascending within a row, no column twice
    data:    (nnz,) float64      the value of each entry

        [[2, 1, 0],     indptr  = [0, 2, 2, 4]
         [0, 0, 0],     indices = [0, 1, 1, 2]
         [0, 1, 3]]     data    = [2, 1, 1, 3]

    Frozen: a matrix with other values is a new one, see `with_data`.
    """
    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    shape: tuple[int, int]

    def row_ids(self) -> np.ndarray:
        """The row of each entry: (nnz,) int64, the companion of `indices`."""
        ...

    def with_data(self, data: np.ndarray) -> CSR:
        """The same positions with other values. The position arrays are shared, so never write into them."""
        ...

def term_frequency(counts: CSR, sublinear: bool=False) -> CSR:
    """tf = c, or, sublinear, tf = 1 + ln c, for a count c >= 1.

    counts: (n_docs, V) CSR of counts  ->  a CSR of the same positions. The input is left as it was.
    Manning, Raghavan, Schütze 2008, section 6.4.1
    """
    ...

def inverse_document_frequency(counts: CSR) -> np.ndarray:
    """idf(t) = ln((1 + N) / (1 + df(t))) + 1, with N documents of which df(t) contain t at least once.

    counts: (n_docs, V) CSR of counts  ->  (V,) float64. A column without any entry has df = 0.
    This is scikit-learn's smooth_idf=True: as if one more document held every word once.
    """
    ...

def normalize_rows(matrix: CSR) -> CSR:
    """Every row divided by its Euclidean length, x_i / |x_i|_2. A row without entries stays a row without entries.

    matrix: (rows, columns) CSR  ->  a CSR of the same positions. The input is left as it was.
    """
    ...

def tfidf(counts: CSR, idf: np.ndarray, sublinear: bool=False) -> CSR:
    """tf · idf with rows of length 1, so that the dot product of two rows is the cosine of their angle."""
    ...

def count_matrix(token_lists: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> CSR:
    """Row i, column j: how often the token with id j occurs in token list i.

    Tokens that the vocabulary does not know are skipped; an empty token list gives an empty row.
    -> CSR of shape (len(token_lists), len(vocabulary)), as that class promises: int64 positions, columns ascending
    and never twice in a row, float64 counts.
    """
    ...

def transpose(matrix: CSR) -> CSR:
    """The same entries, stored column after column: row t of the result lists the documents that hold term t.

    matrix: (n_docs, V) CSR  ->  (V, n_docs) CSR: `indices` are now document numbers, ascending within each term.
    In a search engine this is the inverted index and its rows are the postings lists.
    """
    ...

def score(postings: CSR, query: CSR) -> np.ndarray:
    """Every document's dot product with the query: scores[d] = sum over the query's terms t of q_t · w_(d,t).

    postings: (V, n_docs) CSR   query: (1, V) CSR   ->  (n_docs,) float64
    Reads the postings of the query's terms and no others. A query without entries scores 0 everywhere.
    Raises ValueError when postings and query differ in V.
    """
    ...

def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """The documents with the k highest scores, best first; of equal scores the lower document number wins.

    scores: (n_docs,) float64  ->  (at most k,) int64. Only scores above 0 count as found, so the result may be shorter
    than k, or empty. Sorts the chosen few, never all n_docs scores.    Raises ValueError when k < 1.
    """
    ...

def bm25(counts: CSR, k1: float=1.2, b: float=0.75) -> CSR:
    """idf(t) · c / (c + k1 · (1 - b + b · len(d) / avglen)) with idf(t) = ln(1 + (N - df(t) + 0.5) / (df(t) + 0.5)).

    counts: (n_docs, V) CSR of counts  ->  a CSR of the same positions. c is the count, len(d) the number of tokens in
    document d (the sum of its row), avglen their mean over all N documents, df(t) the documents that contain t.
    Lucene's variant (no factor k1 + 1).    Raises ValueError when k1 < 0 or b is outside [0, 1].
    Robertson and Zaragoza 2009; Kamphuis et al. 2020
    """
    ...

@dataclass(frozen=True)
class Index:
    """What a query needs. `idf` is None for BM25, whose idf already sits in the postings."""
    vocabulary: dict[str, int]
    postings: CSR
    idf: np.ndarray | None
    sublinear: bool

def build_index(counts: CSR, vocabulary: dict[str, int], ranking: str, sublinear: bool=False) -> Index:
    """Weigh the counts by `ranking` ("tfidf" or "bm25") and store them by term."""
    ...

def search(index: Index, query: str, k: int=10) -> tuple[np.ndarray, np.ndarray]:
    """The k best documents for a query: (document numbers, scores). Empty when no word of the query is known."""
    ...

def add_flags(parser: argparse.ArgumentParser) -> None:
    ...

def main(argv: list[str] | None=None) -> None:
    ...
