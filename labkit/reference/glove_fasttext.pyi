# Generated from lab 2.2 by `make skeletons`.
from __future__ import annotations
import sys
from dataclasses import dataclass
import numpy as np
from labkit import run
PRESETS = {'smoke': {'tokens': 6000, 'dim': 16, 'epochs': 1, 'glove_epochs': 3, 'buckets': 2000, 'min_count': 5}, 'cpu': {'tokens': 250000, 'dim': 64, 'epochs': 5, 'glove_epochs': 30, 'buckets': 20000, 'min_count': 5}, 'full': {'tokens': 10 ** 9, 'dim': 100, 'epochs': 5, 'glove_epochs': 50, 'buckets': 2000000, 'min_count': 5}}
WINDOW, NEGATIVES = (5, 5)

def character_ngrams(word: str, min_n: int=3, max_n: int=6) -> list[str]:
    """Every run of min_n to max_n characters of "<word>", as often as it occurs: by where it starts, then by length.

    The marks < and > count as characters, but neither of them alone is an n-gram (which only min_n = 1 could give).
    character_ngrams("as", 2, 3) == ["<a", "<as", "as", "as>", "s>"]
    Raises ValueError naming min_n unless 1 <= min_n <= max_n.      Bojanowski et al. 2017, section 3.2
    """
    ...

def ngram_hash(ngram: str) -> int:
    """A number below 2^32 for a string: FNV-1a over its UTF-8 bytes, bit for bit as fastText computes it.

    Begin with 2166136261. For each byte: exclusive-or with the byte, then times 16777619; 32 bits throughout, what
    overflows is lost. The C++ code holds the byte in a SIGNED 8-bit integer and widens it to 32 bits before the
    exclusive-or: bytes 0 to 127 stay what they are, byte 255 is -1 and becomes 0xFFFFFFFF.      -> int
    """
    ...

def subword_rows(word: str, ids: dict[str, int], buckets: int, min_n: int=3, max_n: int=6) -> np.ndarray:
    """The rows of a FastText table whose mean is the vector of `word`.   -> (n,) int64

    The table has V + buckets rows: the first V = len(ids) belong to whole words, by their id; the others are shared by
    all n-grams, V + hash modulo buckets. A known word uses its own row first, then those of its n-grams in their order,
    an n-gram that comes twice twice. An unknown word has its n-grams only: possibly none at all.
    """
    ...

@dataclass(frozen=True)
class SubwordModel:
    """A trained FastText: ids of the V known words, table (V + buckets, D)."""
    ids: dict[str, int]
    table: np.ndarray

    def vector(self, word: str) -> np.ndarray:
        """(D,): the mean of the word's rows, whether the word was in the corpus or not. Zeros if it has no n-gram."""
        ...

    def vectors(self) -> np.ndarray:
        """(V, D): the vectors of all known words, by id."""
        ...

def cooccurrence(ids: np.ndarray, sentence: np.ndarray, window: int, weighting: str='harmonic') -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often two words stand at most `window` positions apart in one sentence; near pairs count more.

    A pair of positions at distance d adds its weight to both cells (a, b) and (b, a) - twice to (a, a) if the words are
    equal. "harmonic": 1/d, as in GloVe.  "linear": (W - d + 1)/W, what word2vec's dynamic window does on average.
    ids, sentence: (N,) int64, sentence ascending
    -> row, column (M,) int64, x (M,) float64: every non-zero cell once, by row, then by column; three empty arrays for
    a text in which no two words meet, an empty one too.      Memory: no V x V array, no Python loop over the tokens.
    Raises ValueError naming the argument for window < 1 and another weighting.
    """
    ...

def shifted_pmi(row: np.ndarray, column: np.ndarray, x: np.ndarray, negatives: float=1, power: float=1.0) -> np.ndarray:
    """Pointwise mutual information of every cell, minus ln(negatives):   -> (M,) float64, in nats, of either sign

    ln [P(w, c) / (P(w) Pₙ(c))] - ln K,  P(w, c) = x / Σx,  P(w): the row's share of Σx,
    Pₙ(c) ∝ (sum of column c)^power over all columns, so that it adds up to 1; power = 1 is plain PMI.
    Each cell comes once at most; the matrix need not be symmetric.      Levy and Goldberg 2014, eq. 12
    Raises ValueError naming negatives when it is 0 or less.
    """
    ...

def ppmi_vectors(row: np.ndarray, column: np.ndarray, pmi: np.ndarray, size: int, dim: int, exponent: float=0.5) -> np.ndarray:
    """The positive cells as a sparse matrix, its `dim` largest singular values: U · Σ^exponent.   -> (V, D)

    A pair never seen has PMI -∞: only what is positive is kept, so a missing cell and a zero are the same thing.
    exponent 1/2 shares the singular values between words and contexts      Levy, Goldberg, Dagan 2015
    Raises ValueError unless dim is below the size of the vocabulary.
    """
    ...

def glove_weight(x: np.ndarray, x_max: float=100.0, alpha: float=0.75) -> np.ndarray:
    """How much a cell's error matters: f(x) = (x / x_max)^alpha below x_max, and 1 from there on.   (M,) -> (M,)

    Pennington et al. 2014, eq. 9
    """
    ...

def adagrad(parameter: np.ndarray, gradient: np.ndarray, accumulator: np.ndarray, lr: float) -> None:
    """One step of AdaGrad. Changes `parameter` and `accumulator` in place, three arrays of one shape; gives None.

    The accumulator first collects gradient²; then each number moves by -lr · gradient / √accumulator, a step of its
    own size. Where the accumulator is still 0 nothing moves.      Duchi, Hazan, Singer 2011
    """
    ...

def glove_gradients(words: np.ndarray, contexts: np.ndarray, word_bias: np.ndarray, context_bias: np.ndarray, row: np.ndarray, column: np.ndarray, x: np.ndarray, x_max: float=100.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """loss_m = f(x_m) (w_row · c_column + b_row + b'_column - ln x_m)², and the slopes of Σ_m loss_m.

    words, contexts: (V, D), rows w and c   word_bias, context_bias: (V,)   row, column, x: (M,) cells, in any order;
    f is `glove_weight` with this x_max. The tables stay as they are.      Pennington et al. 2014, eq. 8
    -> losses (M,), and the slopes in words (V, D), contexts (V, D), word_bias (V,), context_bias (V,)
    """
    ...

def train_glove(row: np.ndarray, column: np.ndarray, x: np.ndarray, size: int, dim: int, epochs: int, seed: int=0, lr: float=0.3, x_max: float=10.0) -> tuple[np.ndarray, list[float]]:
    """Every cell once per epoch, in batches drawn anew.   -> words + contexts (V, D), the mean loss of each epoch"""
    ...

def main(argv: list[str] | None=None) -> None:
    ...
