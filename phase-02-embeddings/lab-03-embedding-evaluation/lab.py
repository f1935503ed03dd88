# labkit: lab 2.3, skeleton 8667b8775a29. Fill the TODOs; then: labkit check 2.3
"""A harness for judging word vectors: similarity, analogies, anisotropy, bias and maps, with intervals and coverage.

python solution.py                       planted and real vectors, no network
python solution.py --published           vectors counted from --data on WordSim-353, SimLex-999 and Google's analogies
python solution.py --vectors FILE        the same for vectors of your own, word2vec text or binary format

`from labkit.reference import embedding_evaluation` gives all of this to later labs. Vectors are (V, D), one row per
word, and a word's id is its row. The id -1 stands for a word without a vector: missing in, missing out.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from labkit import run
from labkit.reference.similarity_playground import as_rows, l2_normalize

# ---------------------------------------------------------------- words and samples


def look_up(rows: Sequence[Sequence[str]], vocabulary: Mapping[str, int]) -> np.ndarray:
    """The ids of rows of words, (N, K) int64: the word as it is written, else in lower case, else -1 for missing."""
    ids = [[vocabulary.get(word, vocabulary.get(word.lower(), -1)) for word in row] for row in rows]
    return np.array(ids, dtype=np.int64).reshape(len(rows), -1)


def as_sample(x, name: str) -> np.ndarray:
    """`x` as float64 (n,). Raises ValueError for another number of dimensions, no numbers at all, NaN or infinity."""
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1 or not x.size:
        raise ValueError(f"{name} must have shape (n,) with n >= 1, got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return x


def as_ids(ids, columns: int, size: int, name: str) -> np.ndarray:
    """`ids` as int64 (N, columns). Raises ValueError for another shape or dtype, and for ids outside -1 ... size-1."""
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.shape[1] != columns or ids.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers of shape (N, {columns}), got {ids.dtype} of shape {ids.shape}")
    if ids.size and not -1 <= ids.min() <= ids.max() < size:
        raise ValueError(f"{name} must lie in -1 ... {size - 1}, got {ids.min()} ... {ids.max()}")
    return ids.astype(np.int64, copy=False)


# ---------------------------------------------------------------- how well two orders agree


def average_ranks(x) -> np.ndarray:
    """The place of every number when they are sorted: (n,) -> (n,) float64, 1 for the smallest, n for the largest.

    Equal numbers share a rank, the mean of the places they take up together: [3, 1, 3] -> [2.5, 1, 2.5].
    """
    x = as_sample(x, "x")
    # TODO average-ranks (~3 lines): places from 1 to n in the order of the input, ties averaged
    raise NotImplementedError("TODO average-ranks")
    # END TODO average-ranks


def spearman(x, y) -> float:
    """Spearman's ρ, the Pearson correlation of the ranks of x and of y: (n,), (n,) -> a float, 1 for equal orders.

    NaN, without a warning, when all of x or all of y are equal: then there is no order to agree with.
    Raises ValueError when x and y differ in length or have fewer than 2 numbers.      Spearman 1904
    """
    x, y = as_sample(x, "x"), as_sample(y, "y")
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(f"x and y must have the same length, 2 or more, got {len(x)} and {len(y)}")
    # TODO spearman (~5 lines): ranks, centred; their products over the root of the product of their squares
    raise NotImplementedError("TODO spearman")
    # END TODO spearman


def bootstrap_interval(statistic: Callable, samples: Sequence, draws, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap: between which two values the statistic stays in `level` of the resamples.  Efron 1979

    statistic: takes as many (n,) arrays as there are in `samples`, gives a number   samples: S arrays (n,); the entries
    i of all of them belong together (a pair's cosine and its human score)   draws: (B, n) integers; resample b consists
    of the entries draws[b], some of them several times   -> (low, high): the quantiles (1 - level) / 2 and
    1 - (1 - level) / 2 of the B values, with linear interpolation. Resamples whose statistic is NaN are left out.
    Raises ValueError when the lengths differ, a draw is outside 0 ... n-1, or level is not between 0 and 1.
    """
    samples = [as_sample(sample, f"samples[{i}]") for i, sample in enumerate(samples)]
    n = len(samples[0])
    if any(len(sample) != n for sample in samples):
        raise ValueError(f"samples must have one length, got {[len(sample) for sample in samples]}")
    draws = as_ids(draws, n, n, "draws")
    if not draws.size or draws.min() < 0 or not 0 < level < 1:
        raise ValueError(f"draws must hold 0 ... {n - 1} and level lie between 0 and 1, got {draws.shape} and {level}")
    # TODO bootstrap-interval (~5 lines): the statistic on every resample, then two quantiles
    raise NotImplementedError("TODO bootstrap-interval")
    # END TODO bootstrap-interval


# ---------------------------------------------------------------- similarity and analogies


def pair_cosines(vectors, pairs) -> np.ndarray:
    """The cosine of each pair of words: vectors (V, D), pairs (P, 2) ids -> (P,) float64.

    NaN where at least one of the two words is missing (id -1): no pair is dropped, and none gets a made-up number.
    With a vector of zeros the cosine is 0.
    """
    vectors = as_rows(vectors, "vectors")
    pairs = as_ids(pairs, 2, len(vectors), "pairs")
    # TODO pair-cosines (~5 lines): which pairs are complete; the cosines of those, at their places; NaN elsewhere
    raise NotImplementedError("TODO pair-cosines")
    # END TODO pair-cosines


def similarity_report(vectors, pairs, scores, rng: np.random.Generator, resamples: int = 1000) -> dict:
    """How well cosines order the pairs as people did, and for how many of them that could be asked.

    pairs: (P, 2) ids   scores: (P,) human scores   -> pairs, covered, spearman (of the covered pairs), low, high (its
    95 % bootstrap interval). The last three are None where they do not exist: fewer than 10 pairs, or no order at all.
    """
    cosines, scores = pair_cosines(vectors, pairs), as_sample(scores, "scores")
    known = ~np.isnan(cosines)
    report = {"pairs": len(cosines), "covered": int(known.sum()), "spearman": None, "low": None, "high": None}
    if known.sum() < 10 or math.isnan(rho := spearman(cosines[known], scores[known])):
        return report
    draws = rng.integers(known.sum(), size=(resamples, known.sum()))
    low, high = bootstrap_interval(spearman, [cosines[known], scores[known]], draws)
    return report | {"spearman": rho, "low": low, "high": high}


def analogy_answers(vectors, questions, block: int = 256) -> np.ndarray:
    """3CosAdd: a is to b as c is to the word whose vector is nearest, by cosine, to b - a + c of unit vectors.

    questions: (Q, 3) ids a, b, c   -> (Q,) int64. The answer is never one of the question's own three words, and it is
    -1 where one of them is missing.
    Memory: a few arrays (block, V) beside copies of the vectors, whatever Q is: `block` questions at a time.
    Raises ValueError when block < 1.      Mikolov, Yih, Zweig 2013; Levy and Goldberg 2014
    """
    vectors = as_rows(vectors, "vectors")
    questions = as_ids(questions, 3, len(vectors), "questions")
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    # TODO analogy-answers (~10 lines): targets of a block against all words, its own three words out, the best one
    raise NotImplementedError("TODO analogy-answers")
    # END TODO analogy-answers


def analogy_report(vectors, sections: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Counts per section and in total: questions, covered (all four words have vectors), correct, accuracy of covered.

    sections: name -> (Q, 4) ids a, b, c, d.   accuracy is None where nothing is covered.
    """
    report = {}
    total = {"questions": 0, "covered": 0, "correct": 0}
    for name, questions in sections.items():
        questions = as_ids(questions, 4, len(vectors), f"sections[{name!r}]")
        answers, wanted = analogy_answers(vectors, questions[:, :3]), questions[:, 3]
        covered = (answers != -1) & (wanted != -1)
        correct = int((answers[covered] == wanted[covered]).sum())
        report[name] = {"questions": len(questions), "covered": int(covered.sum()), "correct": correct}
        total = {key: total[key] + report[name][key] for key in total}
    report["all"] = total
    for counts in report.values():
        counts["accuracy"] = counts["correct"] / counts["covered"] if counts["covered"] else None
    return report


# ---------------------------------------------------------------- the shape of the cloud


def anisotropy(vectors, pairs) -> float:
    """Mean cosine of pairs of different words drawn at random: 0 when no direction is preferred.  Ethayarajh 2019"""
    return float(pair_cosines(vectors, pairs).mean())


def random_pairs(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2) ids of two different words each, every ordered pair equally likely."""
    first, second = rng.integers(size, size=count), rng.integers(size - 1, size=count)
    return np.stack([first, second + (second >= first)], axis=1)


def pca(x, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal components by singular value decomposition of the centred rows: (N, D) -> three float64 arrays.

    components (k, D): orthonormal directions, the one with the largest variance first; of each, the entry of largest
    absolute value is positive   coordinates (N, k): the centred rows along them   explained (k,): their shares of the
    variance in all D directions.      Memory: no (N, N) array.
    Raises ValueError unless 0 <= k <= min(N - 1, D) and the rows differ.
    """
    x = as_rows(x).astype(np.float64)
    if not 0 <= k <= min(len(x) - 1, x.shape[1]):
        raise ValueError(f"k must lie in 0 ... {min(len(x) - 1, x.shape[1])} for x of shape {x.shape}, got {k}")
    if (x == x[0]).all():
        raise ValueError(f"x must have rows that differ, got {len(x)} equal ones")
    # TODO pca (~6 lines): centre, decompose, fix each sign, project, turn singular values into shares of variance
    raise NotImplementedError("TODO pca")
    # END TODO pca


def all_but_the_top(vectors, k: int) -> np.ndarray:
    """The vectors without their mean, and then without what lies along their k first principal components.

    (V, D) -> (V, D) float64.  k = 0 removes the mean only.      Mu and Viswanath 2018
    """
    vectors = as_rows(vectors, "vectors").astype(np.float64)
    # TODO all-but-the-top (~3 lines): centre, then subtract the projection onto the span of k directions
    raise NotImplementedError("TODO all-but-the-top")
    # END TODO all-but-the-top


# ---------------------------------------------------------------- bias


def bias_direction(vectors, pairs) -> np.ndarray:
    """The direction in which the two words of each defining pair (she, he), (woman, man) ... differ.  -> (D,), length 1

    pairs: (P, 2) ids. Of unit vectors, each pair's own midpoint is subtracted from both its words; the direction is the
    first principal component of these 2P differences. It points to the pairs' first words: the sum over pairs of
    (first - second)·direction is not negative.      Bolukbasi et al. 2016
    Raises ValueError when a word is missing: a definition has no gaps.
    """
    vectors = as_rows(vectors, "vectors").astype(np.float64)
    pairs = as_ids(pairs, 2, len(vectors), "pairs")
    if not len(pairs) or pairs.min() < 0:
        raise ValueError(f"pairs must be one or more pairs of known words, got {pairs.tolist()}")
    # TODO bias-direction (~5 lines): what each word adds to its pair's midpoint, the main direction of that, its sign
    raise NotImplementedError("TODO bias-direction")
    # END TODO bias-direction


def projections(vectors, direction) -> np.ndarray:
    """The cosine of every vector with one direction: (V, D), (D,) -> (V,)."""
    return l2_normalize(vectors) @ l2_normalize(np.asarray(direction)[None])[0]


def direct_bias(vectors, direction) -> float:
    """Mean |cosine| of vectors that should be neutral with the bias direction.  Bolukbasi et al. 2016, with c = 1"""
    return float(np.abs(projections(vectors, direction)).mean())


# ---------------------------------------------------------------- the command line

PRESETS = {
    "smoke": {"vocabulary": 400, "dim": 32, "tokens": 60_000, "points": 150, "resamples": 100},
    "cpu": {"vocabulary": 8_000, "dim": 100, "tokens": 10**9, "points": 1_500, "resamples": 1_000},
    "full": {"vocabulary": 30_000, "dim": 300, "tokens": 10**9, "points": 5_000, "resamples": 2_000},
}


def more_flags(parser) -> None:
    parser.add_argument("--published", action="store_true", help="evaluate vectors of --data on the published sets")
    parser.add_argument("--vectors", metavar="FILE", help="evaluate these vectors on the published sets")


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, data="python-docs", extra=more_flags)
    if args.published or args.vectors:
        from published_report import report as program
    else:
        from embedding_study import study as program
    program(sys.modules[__name__], args)  # on the functions of this very file: yours in lab.py


if __name__ == "__main__":
    run.main(main)
