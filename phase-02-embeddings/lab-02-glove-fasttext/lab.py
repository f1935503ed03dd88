# labkit: lab 2.2, skeleton ee04751794ca. Fill the TODOs; then: labkit check 2.2
"""Word vectors by counting, by factorising and by spelling: PPMI with SVD, GloVe, FastText, next to lab 2.1's word2vec.

python solution.py
python solution.py --data text8-prefix --tokens 1000000
Shapes: N tokens, W window, M cells of a sparse matrix, V vocabulary, D width of a vector, R rows of a FastText table.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from labkit import run

PRESETS = {
    "smoke": {"tokens": 6_000, "dim": 16, "epochs": 1, "glove_epochs": 3, "buckets": 2_000, "min_count": 5},
    "cpu": {"tokens": 250_000, "dim": 64, "epochs": 5, "glove_epochs": 30, "buckets": 20_000, "min_count": 5},
    "full": {"tokens": 10**9, "dim": 100, "epochs": 5, "glove_epochs": 50, "buckets": 2_000_000, "min_count": 5},
}
WINDOW, NEGATIVES = 5, 5


# ---------------------------------------------------------------- FastText: words by their spelling
def character_ngrams(word: str, min_n: int = 3, max_n: int = 6) -> list[str]:
    """Every run of min_n to max_n characters of "<word>", as often as it occurs: by where it starts, then by length.

    The marks < and > count as characters, but neither of them alone is an n-gram (which only min_n = 1 could give).
    character_ngrams("as", 2, 3) == ["<a", "<as", "as", "as>", "s>"]
    Raises ValueError naming min_n unless 1 <= min_n <= max_n.      Bojanowski et al. 2017, section 3.2
    """
    # TODO character-ngrams (~6 lines): the marks, every start, every length that still fits
    raise NotImplementedError("TODO character-ngrams")
    # END TODO character-ngrams


def ngram_hash(ngram: str) -> int:
    """A number below 2^32 for a string: FNV-1a over its UTF-8 bytes, bit for bit as fastText computes it.

    Begin with 2166136261. For each byte: exclusive-or with the byte, then times 16777619; 32 bits throughout, what
    overflows is lost. The C++ code holds the byte in a SIGNED 8-bit integer and widens it to 32 bits before the
    exclusive-or: bytes 0 to 127 stay what they are, byte 255 is -1 and becomes 0xFFFFFFFF.      -> int
    """
    # TODO ngram-hash (~5 lines): bytes, sign, exclusive-or, times, 32 bits
    raise NotImplementedError("TODO ngram-hash")
    # END TODO ngram-hash


def subword_rows(word: str, ids: dict[str, int], buckets: int, min_n: int = 3, max_n: int = 6) -> np.ndarray:
    """The rows of a FastText table whose mean is the vector of `word`.   -> (n,) int64

    The table has V + buckets rows: the first V = len(ids) belong to whole words, by their id; the others are shared by
    all n-grams, V + hash modulo buckets. A known word uses its own row first, then those of its n-grams in their order,
    an n-gram that comes twice twice. An unknown word has its n-grams only: possibly none at all.
    """
    # TODO subword-rows (~3 lines): the word's own row if it has one, then a bucket for every n-gram
    raise NotImplementedError("TODO subword-rows")
    # END TODO subword-rows


@dataclass(frozen=True)
class SubwordModel:
    """A trained FastText: ids of the V known words, table (V + buckets, D)."""

    ids: dict[str, int]
    table: np.ndarray

    def vector(self, word: str) -> np.ndarray:
        """(D,): the mean of the word's rows, whether the word was in the corpus or not. Zeros if it has no n-gram."""
        rows = subword_rows(word, self.ids, len(self.table) - len(self.ids))
        return self.table[rows].mean(axis=0) if len(rows) else np.zeros(self.table.shape[1], self.table.dtype)

    def vectors(self) -> np.ndarray:
        """(V, D): the vectors of all known words, by id."""
        return np.stack([self.vector(word) for word in sorted(self.ids, key=self.ids.get)])


# ---------------------------------------------------------------- counting
def cooccurrence(
    ids: np.ndarray, sentence: np.ndarray, window: int, weighting: str = "harmonic"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often two words stand at most `window` positions apart in one sentence; near pairs count more.

    A pair of positions at distance d adds its weight to both cells (a, b) and (b, a) - twice to (a, a) if the words are
    equal. "harmonic": 1/d, as in GloVe.  "linear": (W - d + 1)/W, what word2vec's dynamic window does on average.
    ids, sentence: (N,) int64, sentence ascending
    -> row, column (M,) int64, x (M,) float64: every non-zero cell once, by row, then by column; three empty arrays for
    a text in which no two words meet, an empty one too.      Memory: no V x V array, no Python loop over the tokens.
    Raises ValueError naming the argument for window < 1 and another weighting.
    """
    # TODO cooccurrence (~11 lines): pairs by distance, one number for each cell, equal numbers added up
    raise NotImplementedError("TODO cooccurrence")
    # END TODO cooccurrence


def shifted_pmi(
    row: np.ndarray, column: np.ndarray, x: np.ndarray, negatives: float = 1, power: float = 1.0
) -> np.ndarray:
    """Pointwise mutual information of every cell, minus ln(negatives):   -> (M,) float64, in nats, of either sign

    ln [P(w, c) / (P(w) Pₙ(c))] - ln K,  P(w, c) = x / Σx,  P(w): the row's share of Σx,
    Pₙ(c) ∝ (sum of column c)^power over all columns, so that it adds up to 1; power = 1 is plain PMI.
    Each cell comes once at most; the matrix need not be symmetric.      Levy and Goldberg 2014, eq. 12
    Raises ValueError naming negatives when it is 0 or less.
    """
    # TODO shifted-pmi (~7 lines): three distributions, one logarithm, the shift
    raise NotImplementedError("TODO shifted-pmi")
    # END TODO shifted-pmi


def ppmi_vectors(
    row: np.ndarray, column: np.ndarray, pmi: np.ndarray, size: int, dim: int, exponent: float = 0.5
) -> np.ndarray:
    """The positive cells as a sparse matrix, its `dim` largest singular values: U · Σ^exponent.   -> (V, D)

    A pair never seen has PMI -∞: only what is positive is kept, so a missing cell and a zero are the same thing.
    exponent 1/2 shares the singular values between words and contexts      Levy, Goldberg, Dagan 2015
    Raises ValueError unless dim is below the size of the vocabulary.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import svds

    if not 0 < dim < size:
        raise ValueError(f"dim: expected 1 to {size - 1}, below the size of the vocabulary, got {dim}")
    positive = pmi > 0
    matrix = csr_array((pmi[positive], (row[positive], column[positive])), shape=(size, size))
    u, singular, _ = svds(matrix, k=dim, v0=np.ones(size))  # ascending
    return u[:, ::-1] * singular[::-1] ** exponent


# ---------------------------------------------------------------- GloVe
def glove_weight(x: np.ndarray, x_max: float = 100.0, alpha: float = 0.75) -> np.ndarray:
    """How much a cell's error matters: f(x) = (x / x_max)^alpha below x_max, and 1 from there on.   (M,) -> (M,)

    Pennington et al. 2014, eq. 9
    """
    # TODO glove-weight (~1 line): grows, then is capped
    raise NotImplementedError("TODO glove-weight")
    # END TODO glove-weight


def adagrad(parameter: np.ndarray, gradient: np.ndarray, accumulator: np.ndarray, lr: float) -> None:
    """One step of AdaGrad. Changes `parameter` and `accumulator` in place, three arrays of one shape; gives None.

    The accumulator first collects gradient²; then each number moves by -lr · gradient / √accumulator, a step of its
    own size. Where the accumulator is still 0 nothing moves.      Duchi, Hazan, Singer 2011
    """
    # TODO adagrad (~2 lines): collect, then step
    raise NotImplementedError("TODO adagrad")
    # END TODO adagrad


def glove_gradients(
    words: np.ndarray,
    contexts: np.ndarray,
    word_bias: np.ndarray,
    context_bias: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    x: np.ndarray,
    x_max: float = 100.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """loss_m = f(x_m) (w_row · c_column + b_row + b'_column - ln x_m)², and the slopes of Σ_m loss_m.

    words, contexts: (V, D), rows w and c   word_bias, context_bias: (V,)   row, column, x: (M,) cells, in any order;
    f is `glove_weight` with this x_max. The tables stay as they are.      Pennington et al. 2014, eq. 8
    -> losses (M,), and the slopes in words (V, D), contexts (V, D), word_bias (V,), context_bias (V,)
    """
    from scipy.sparse import csr_array  # entries of the same cell are added up

    # TODO glove-gradients (~9 lines): errors, losses, slopes; what the cells of one row or one column add up to
    raise NotImplementedError("TODO glove-gradients")
    # END TODO glove-gradients


def train_glove(
    row: np.ndarray,
    column: np.ndarray,
    x: np.ndarray,
    size: int,
    dim: int,
    epochs: int,
    seed: int = 0,
    lr: float = 0.3,
    x_max: float = 10.0,
) -> tuple[np.ndarray, list[float]]:
    """Every cell once per epoch, in batches drawn anew.   -> words + contexts (V, D), the mean loss of each epoch"""
    rng = np.random.default_rng(seed)
    tables = [rng.uniform(-0.5, 0.5, shape) / dim for shape in ((size, dim), (size, dim), size, size)]
    accumulators = [np.ones_like(table) for table in tables]  # as in the published C code
    batch, curve = max(1, len(x) // 64), []
    for _ in run.progress(range(epochs), "GloVe"):
        total = 0.0
        for cells in np.array_split(rng.permutation(len(x)), max(1, len(x) // batch)):
            losses, *gradients = glove_gradients(*tables, row[cells], column[cells], x[cells], x_max)
            for table, gradient, accumulator in zip(tables, gradients, accumulators, strict=True):
                adagrad(table, gradient, accumulator, lr)
            total += losses.sum()
        curve.append(total / len(x))
    return tables[0] + tables[1], curve


# ---------------------------------------------------------------- the command line (given)
def main(argv: list[str] | None = None) -> None:
    import glove_fasttext_study

    args = run.arguments(__doc__, PRESETS, argv, data="python-docs")
    # the study runs on the functions of this very file, yours in lab.py
    glove_fasttext_study.study(sys.modules[__name__], run.load_data(args), args)


if __name__ == "__main__":
    run.main(main)
