# Generated from lab 2.3 by `make skeletons`.
from __future__ import annotations
import math
import sys
from collections.abc import Callable, Mapping, Sequence
import numpy as np
from labkit import run
from labkit.reference.similarity_playground import as_rows, l2_normalize

def look_up(rows: Sequence[Sequence[str]], vocabulary: Mapping[str, int]) -> np.ndarray:
    """The ids of rows of words, (N, K) int64: the word as it is written, else in lower case, else -1 for missing."""
    ...

def as_sample(x, name: str) -> np.ndarray:
    """`x` as float64 (n,). Raises ValueError for another number of dimensions, no numbers at all, NaN or infinity."""
    ...

def as_ids(ids, columns: int, size: int, name: str) -> np.ndarray:
    """`ids` as int64 (N, columns). Raises ValueError for another shape or dtype, and for ids outside -1 ... size-1."""
    ...

def average_ranks(x) -> np.ndarray:
    """The place of every number when they are sorted: (n,) -> (n,) float64, 1 for the smallest, n for the largest.

    Equal numbers share a rank, the mean of the places they take up together: [3, 1, 3] -> [2.5, 1, 2.5].
    """
    ...

def spearman(x, y) -> float:
    """Spearman's ρ, the Pearson correlation of the ranks of x and of y: (n,), (n,) -> a float, 1 for equal orders.

    NaN, without a warning, when all of x or all of y are equal: then there is no order to agree with.
    Raises ValueError when x and y differ in length or have fewer than 2 numbers.      Spearman 1904
    """
    ...

def bootstrap_interval(statistic: Callable, samples: Sequence, draws, level: float=0.95) -> tuple[float, float]:
    """Percentile bootstrap: between which two values the statistic stays in `level` of the resamples.  Efron 1979

    statistic: takes as many (n,) arrays as there are in `samples`, gives a number   samples: S arrays (n,); the entries
    i of all of them belong together (a pair's cosine and its human score)   draws: (B, n) integers; resample b consists
    of the entries draws[b], some of them several times   -> (low, high): the quantiles (1 - level) / 2 and
    1 - (1 - level) / 2 of the B values, with linear interpolation. Resamples whose statistic is NaN are left out.
    Raises ValueError when the lengths differ, a draw is outside 0 ... n-1, or level is not between 0 and 1.
    """
    ...

def pair_cosines(vectors, pairs) -> np.ndarray:
    """The cosine of each pair of words: vectors (V, D), pairs (P, 2) ids -> (P,) float64.

    NaN where at least one of the two words is missing (id -1): no pair is dropped, and none gets a made-up number.
    With a vector of zeros the cosine is 0.
    """
    ...

def similarity_report(vectors, pairs, scores, rng: np.random.Generator, resamples: int=1000) -> dict:
    """How well cosines order the pairs as people did, and for how many of them that could be asked.

    pairs: (P, 2) ids   scores: (P,) human scores   -> pairs, covered, spearman (of the covered pairs), low, high (its
    95 % bootstrap interval). The last three are None where they do not exist: fewer than 10 pairs, or no order at all.
    """
    ...

def analogy_answers(vectors, questions, block: int=256) -> np.ndarray:
    """3CosAdd: a is to b as c is to the word whose vector is nearest, by cosine, to b - a + c of unit vectors.

    questions: (Q, 3) ids a, b, c   -> (Q,) int64. The answer is never one of the question's own three words, and it is
    -1 where one of them is missing.
    Memory: a few arrays (block, V) beside copies of the vectors, whatever Q is: `block` questions at a time.
    Raises ValueError when block < 1.      Mikolov, Yih, Zweig 2013; Levy and Goldberg 2014
    """
    ...

def analogy_report(vectors, sections: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Counts per section and in total: questions, covered (all four words have vectors), correct, accuracy of covered.

    sections: name -> (Q, 4) ids a, b, c, d.   accuracy is None where nothing is covered.
    """
    ...

def anisotropy(vectors, pairs) -> float:
    """Mean cosine of pairs of different words drawn at random: 0 when no direction is preferred.  Ethayarajh 2019"""
    ...

def random_pairs(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2) ids of two different words each, every ordered pair equally likely."""
    ...

def pca(x, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal components by singular value decomposition of the centred rows: (N, D) -> three float64 arrays.

    components (k, D): orthonormal directions, the one with the largest variance first; of each, the entry of largest
    absolute value is positive   coordinates (N, k): the centred rows along them   explained (k,): their shares of the
    variance in all D directions.      Memory: no (N, N) array.
    Raises ValueError unless 0 <= k <= min(N - 1, D) and the rows differ.
    """
    ...

def all_but_the_top(vectors, k: int) -> np.ndarray:
    """The vectors without their mean, and then without what lies along their k first principal components.

    (V, D) -> (V, D) float64.  k = 0 removes the mean only.      Mu and Viswanath 2018
    """
    ...

def bias_direction(vectors, pairs) -> np.ndarray:
    """The direction in which the two words of each defining pair (she, he), (woman, man) ... differ.  -> (D,), length 1

    pairs: (P, 2) ids. Of unit vectors, each pair's own midpoint is subtracted from both its words; the direction is the
    first principal component of these 2P differences. It points to the pairs' first words: the sum over pairs of
    (first - second)·direction is not negative.      Bolukbasi et al. 2016
    Raises ValueError when a word is missing: a definition has no gaps.
    """
    ...

def projections(vectors, direction) -> np.ndarray:
    """The cosine of every vector with one direction: (V, D), (D,) -> (V,)."""
    ...

def direct_bias(vectors, direction) -> float:
    """Mean |cosine| of vectors that should be neutral with the bias direction.  Bolukbasi et al. 2016, with c = 1"""
    ...
PRESETS = {'smoke': {'vocabulary': 400, 'dim': 32, 'tokens': 60000, 'points': 150, 'resamples': 100}, 'cpu': {'vocabulary': 8000, 'dim': 100, 'tokens': 10 ** 9, 'points': 1500, 'resamples': 1000}, 'full': {'vocabulary': 30000, 'dim': 300, 'tokens': 10 ** 9, 'points': 5000, 'resamples': 2000}}

def more_flags(parser) -> None:
    ...

def main(argv: list[str] | None=None) -> None:
    ...
