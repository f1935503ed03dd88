# labkit: lab 1.2, skeleton ce34a2b24e58. Fill the TODOs; then: labkit check 1.2
"""A search engine over technical documentation: sparse TF-IDF, cosine ranking, top-k and BM25, in NumPy alone.

From the command line, with solution.py or with your own lab.py in place of FILE:

python FILE "read a csv file" --top 5
python FILE "read a csv file" --ranking bm25 --data python-docs+packages
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labkit import run

PRESETS = {
    "smoke": {"documents": 400, "queries": 40},
    "cpu": {"documents": 12_000, "queries": 2_000},
    "full": {"documents": 10**9, "queries": 10_000},  # every document the corpus has
}
TOKEN = re.compile(r"(?u)\b\w\w+\b")  # two or more word characters: the pattern scikit-learn's vectorisers use


# ---------------------------------------------------------------- text to tokens


def tokenize(text: str) -> list[str]:
    """The lower-cased words of a text, in order. One-letter words and punctuation are dropped."""
    return TOKEN.findall(text.lower())


def build_vocabulary(token_lists: Sequence[Sequence[str]]) -> dict[str, int]:
    """Every distinct token, numbered 0 .. V-1 in alphabetical order, so that equal corpora give equal columns."""
    return {token: i for i, token in enumerate(sorted(set().union(*token_lists)))}


# ---------------------------------------------------------------- a sparse matrix is three arrays


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
        return np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))

    def with_data(self, data: np.ndarray) -> CSR:
        """The same positions with other values. The position arrays are shared, so never write into them."""
        return CSR(self.indptr, self.indices, data, self.shape)


# ---------------------------------------------------------------- weights


def term_frequency(counts: CSR, sublinear: bool = False) -> CSR:
    """tf = c, or, sublinear, tf = 1 + ln c, for a count c >= 1.

    counts: (n_docs, V) CSR of counts  ->  a CSR of the same positions. The input is left as it was.
    Manning, Raghavan, Schütze 2008, section 6.4.1
    """
    # TODO term-frequency (~2 lines): the counts as they are, or damped by a logarithm
    raise NotImplementedError("TODO term-frequency")
    # END TODO term-frequency


def inverse_document_frequency(counts: CSR) -> np.ndarray:
    """idf(t) = ln((1 + N) / (1 + df(t))) + 1, with N documents of which df(t) contain t at least once.

    counts: (n_docs, V) CSR of counts  ->  (V,) float64. A column without any entry has df = 0.
    This is scikit-learn's smooth_idf=True: as if one more document held every word once.
    """
    # TODO inverse-document-frequency (~3 lines): in how many documents does each word occur, and the formula
    raise NotImplementedError("TODO inverse-document-frequency")
    # END TODO inverse-document-frequency


def normalize_rows(matrix: CSR) -> CSR:
    """Every row divided by its Euclidean length, x_i / |x_i|_2. A row without entries stays a row without entries.

    matrix: (rows, columns) CSR  ->  a CSR of the same positions. The input is left as it was.
    """
    # TODO normalize-rows (~3 lines): the length of each row, then each entry over the length of its own row
    raise NotImplementedError("TODO normalize-rows")
    # END TODO normalize-rows


def tfidf(counts: CSR, idf: np.ndarray, sublinear: bool = False) -> CSR:
    """tf · idf with rows of length 1, so that the dot product of two rows is the cosine of their angle."""
    tf = term_frequency(counts, sublinear)
    return normalize_rows(tf.with_data(tf.data * idf[tf.indices]))


# ---------------------------------------------------------------- counting, turning, scoring, choosing


def count_matrix(token_lists: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> CSR:
    """Row i, column j: how often the token with id j occurs in token list i.

    Tokens that the vocabulary does not know are skipped; an empty token list gives an empty row.
    -> CSR of shape (len(token_lists), len(vocabulary)), as that class promises: int64 positions, columns ascending
    and never twice in a row, float64 counts.
    """
    # TODO count-matrix (~9 lines): count the known tokens of every document and lay the counts out row by row
    raise NotImplementedError("TODO count-matrix")
    # END TODO count-matrix


def transpose(matrix: CSR) -> CSR:
    """The same entries, stored column after column: row t of the result lists the documents that hold term t.

    matrix: (n_docs, V) CSR  ->  (V, n_docs) CSR: `indices` are now document numbers, ascending within each term.
    In a search engine this is the inverted index and its rows are the postings lists.
    """
    # TODO transpose (~5 lines): the entries column by column, the rows ascending within each column
    raise NotImplementedError("TODO transpose")
    # END TODO transpose


def score(postings: CSR, query: CSR) -> np.ndarray:
    """Every document's dot product with the query: scores[d] = sum over the query's terms t of q_t · w_(d,t).

    postings: (V, n_docs) CSR   query: (1, V) CSR   ->  (n_docs,) float64
    Reads the postings of the query's terms and no others. A query without entries scores 0 everywhere.
    Raises ValueError when postings and query differ in V.
    """
    # TODO score (~7 lines): what each term of the query adds to the documents in its postings list
    raise NotImplementedError("TODO score")
    # END TODO score


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """The documents with the k highest scores, best first; of equal scores the lower document number wins.

    scores: (n_docs,) float64  ->  (at most k,) int64. Only scores above 0 count as found, so the result may be shorter
    than k, or empty. Sorts the chosen few, never all n_docs scores.    Raises ValueError when k < 1.
    """
    # TODO top-k (~8 lines): the best of what was found, in one fixed order, without sorting everything
    raise NotImplementedError("TODO top-k")
    # END TODO top-k


def bm25(counts: CSR, k1: float = 1.2, b: float = 0.75) -> CSR:
    """idf(t) · c / (c + k1 · (1 - b + b · len(d) / avglen)) with idf(t) = ln(1 + (N - df(t) + 0.5) / (df(t) + 0.5)).

    counts: (n_docs, V) CSR of counts  ->  a CSR of the same positions. c is the count, len(d) the number of tokens in
    document d (the sum of its row), avglen their mean over all N documents, df(t) the documents that contain t.
    Lucene's variant (no factor k1 + 1).    Raises ValueError when k1 < 0 or b is outside [0, 1].
    Robertson and Zaragoza 2009; Kamphuis et al. 2020
    """
    # TODO bm25 (~8 lines): saturating counts, long documents discounted, rare terms raised
    raise NotImplementedError("TODO bm25")
    # END TODO bm25


# ---------------------------------------------------------------- the engine: the pieces in order (given)


@dataclass(frozen=True)
class Index:
    """What a query needs. `idf` is None for BM25, whose idf already sits in the postings."""

    vocabulary: dict[str, int]
    postings: CSR  # (V, n_docs)
    idf: np.ndarray | None  # (V,)
    sublinear: bool


def build_index(counts: CSR, vocabulary: dict[str, int], ranking: str, sublinear: bool = False) -> Index:
    """Weigh the counts by `ranking` ("tfidf" or "bm25") and store them by term."""
    if ranking not in ("tfidf", "bm25"):
        raise ValueError(f'ranking: expected "tfidf" or "bm25", got {ranking!r}')
    if ranking == "bm25":
        return Index(vocabulary, transpose(bm25(counts)), None, sublinear)
    idf = inverse_document_frequency(counts)
    return Index(vocabulary, transpose(tfidf(counts, idf, sublinear)), idf, sublinear)


def search(index: Index, query: str, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """The k best documents for a query: (document numbers, scores). Empty when no word of the query is known."""
    vector = count_matrix([tokenize(query)], index.vocabulary)  # (1, V)
    if index.idf is not None:  # a TF-IDF query is weighed like a document; a BM25 query is its counts
        vector = tfidf(vector, index.idf, index.sublinear)
    scores = score(index.postings, vector)
    best = top_k(scores, k)
    return best, scores[best]


# ---------------------------------------------------------------- the command line (given)


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", nargs="?", default="read a csv file", help='what to look for, default "%(default)s"')
    parser.add_argument("--top", type=int, default=5, metavar="K", help="how many documents to show, default 5")
    parser.add_argument("--ranking", choices=["tfidf", "bm25"], default="tfidf", help="default tfidf")


def main(argv: list[str] | None = None) -> None:
    import retrieval_study

    args = run.arguments(__doc__, PRESETS, argv, data="python-docs", extra=add_flags)
    documents = retrieval_study.read_documents(run.load_data(args), args.documents)
    start = time.perf_counter()
    tokens = [tokenize(text) for text in run.progress(documents.texts, "tokenising")]
    vocabulary = build_vocabulary(tokens)
    counts = count_matrix(tokens, vocabulary)  # (n_docs, V)
    indexes = {
        "tfidf": build_index(counts, vocabulary, "tfidf", sublinear=True),
        "bm25": build_index(counts, vocabulary, "bm25"),
    }
    seconds = time.perf_counter() - start
    lab = sys.modules[__name__]  # the study runs on the functions of this very file, yours in lab.py
    retrieval_study.show_hits(lab, documents, indexes, args)
    results = {"build_seconds": seconds} | retrieval_study.study(lab, documents, counts, indexes, args)
    run.save_results(args, results)


if __name__ == "__main__":
    run.main(main)
