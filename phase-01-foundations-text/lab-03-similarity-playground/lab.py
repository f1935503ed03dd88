# labkit: lab 1.3, skeleton e894ed022491. Fill the TODOs; then: labkit check 1.3
"""Five similarity measures, vectorised, and a playground that shows where each of them goes wrong.

Every pairwise function takes a (N, D) and b (M, D), one vector per row, and returns (N, M): entry [i, j] compares a[i]
with b[j]. Floats of 4 bytes stay float32, all other numbers become float64, and results follow. Inputs never change.
"""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict

import numpy as np

from labkit import run

# ---------------------------------------------------------------- the measures


def as_rows(x, name: str = "x") -> np.ndarray:
    """`x` as a float array (N, D): float32 stays float32, bool, integers and other floats become float64.

    Word counts often arrive as uint8, where 200 + 100 = 44: no arithmetic happens before this conversion.
    Raises TypeError for anything but real numbers, ValueError for a wrong number of dimensions, NaN or infinity.
    """
    x = np.asarray(x)
    if x.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold real numbers, got dtype {x.dtype}")
    if x.ndim != 2:
        raise ValueError(f"{name} must have shape (rows, D), got shape {x.shape}")
    x = x.astype(np.float32 if x.dtype == np.float32 else np.float64, copy=False)
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return x


def as_pair(a, b, names: tuple[str, str] = ("a", "b")) -> tuple[np.ndarray, np.ndarray]:
    """Both inputs through `as_rows`; raises ValueError when their vectors differ in length."""
    a, b = as_rows(a, names[0]), as_rows(b, names[1])
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{names[0]} and {names[1]} must have the same D, got {a.shape[1]} and {b.shape[1]}")
    return a, b


def dot(a, b) -> np.ndarray:
    """Inner products a·b: (N, D), (M, D) -> (N, M). Given, as the pattern for the functions below."""
    a, b = as_pair(a, b)
    return a @ b.T  # (N, D) @ (D, M)


def l2_normalize(x) -> np.ndarray:
    """Rows scaled to length 1: x / ‖x‖₂.  (N, D) -> (N, D), a new array.

    A zero row has no direction and stays zero. Any other row gets length 1, one of length 1e-15 too: no epsilon.
    """
    x = as_rows(x)
    # TODO l2-normalize (~3 lines): every row divided by its own length; zero rows stay zero, without a warning
    raise NotImplementedError("TODO l2-normalize")
    # END TODO l2-normalize


def cosine(a, b) -> np.ndarray:
    """Cosine of the angle between vectors, a·b / (‖a‖ ‖b‖): (N, D), (M, D) -> (N, M), never outside [-1, 1].

    With a zero vector the cosine is defined as 0, without a warning: nothing in common with anything, itself included.
    """
    a, b = as_pair(a, b)
    # TODO cosine (~2 lines): compares directions only; rounding must not carry a value past 1 or -1
    raise NotImplementedError("TODO cosine")
    # END TODO cosine


def euclidean(a, b) -> np.ndarray:
    """Straight-line distances ‖a - b‖₂: (N, D), (M, D) -> (N, M), all >= 0.

    Memory: nothing larger than the inputs and a few (N, M) arrays, so no array of all differences (N, M, D).
    """
    a, b = as_pair(a, b)
    # TODO euclidean (~4 lines): ‖a - b‖² multiplied out, so that one matrix product does the work; never NaN
    raise NotImplementedError("TODO euclidean")
    # END TODO euclidean


def manhattan(a, b, block: int = 64) -> np.ndarray:
    """City-block distances Σ |a_d - b_d|: (N, D), (M, D) -> (N, M), float32 when both inputs are.

    Memory: at most a few arrays (block, M, D) beside the result, whatever N is. No matrix product can do this one.
    Raises ValueError when block < 1.
    """
    a, b = as_pair(a, b)
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    # TODO manhattan (~5 lines): `block` rows of a at a time against all of b; the last block may be shorter
    raise NotImplementedError("TODO manhattan")
    # END TODO manhattan


def jaccard(a, b) -> np.ndarray:
    """Overlap of sets, |A ∩ B| / |A ∪ B|: (N, D), (M, D) -> (N, M) float64 in [0, 1].

    A row stands for the set of positions where it is not 0: counts and weights do not matter, presence does.
    Two empty sets are equal: their similarity is defined as 1, without a warning. Empty and non-empty: 0.  Jaccard 1901
    """
    a, b = as_pair(a, b)
    # TODO jaccard (~5 lines): sizes of all intersections at once, unions from them; two empty sets give 1, no warning
    raise NotImplementedError("TODO jaccard")
    # END TODO jaccard


def relative_contrast(distances) -> np.ndarray:
    """How far apart near and far are, (d_max - d_min) / d_min, per query: (Q, N) -> (Q,).  Beyer et al. 1999

    Row q holds the distances from query q to the N points. Near 0 means that all points are about equally far away.
    Raises ValueError when a distance is not positive (usually the query itself is among the points).
    """
    distances = as_rows(distances, "distances")
    # TODO relative-contrast (~4 lines): one number per query, from its own nearest and farthest point
    raise NotImplementedError("TODO relative-contrast")
    # END TODO relative-contrast


# ---------------------------------------------------------------- locality-sensitive hashing


def signatures(x, planes) -> np.ndarray:
    """Random-hyperplane bits: which side of each plane a vector lies on.  (N, D), (H, D) -> (N, H) bool

    planes: one normal vector per row, drawn from N(0, 1) by the caller. Bit h is True when x·planes[h] >= 0.
    P(bit of x = bit of y) = 1 - angle(x, y) / π.  Charikar 2002
    """
    x, planes = as_pair(x, planes, ("x", "planes"))
    # TODO signatures (~2 lines): one bit per vector and plane; a vector exactly on a plane gets True
    raise NotImplementedError("TODO signatures")
    # END TODO signatures


def agreement(a_bits, b_bits) -> np.ndarray:
    """Share of equal bits: (N, H), (M, H) bool -> (N, M). On bits, Manhattan distance counts the differing ones."""
    return 1 - manhattan(a_bits, b_bits) / len(a_bits[0])


def collision_probability(similarity) -> np.ndarray:
    """P(one bit agrees) for vectors of this cosine: 1 - arccos(cosine) / π, any shape."""
    return 1 - np.arccos(similarity) / np.pi


def candidate_probability(similarity, bands: int, rows: int) -> np.ndarray:
    """P(at least one of `bands` bands of `rows` bits agrees completely) = 1 - (1 - p^rows)^bands."""
    return 1 - (1 - collision_probability(similarity) ** rows) ** bands


def banded_candidates(bits, bands: int) -> set[tuple[int, int]]:
    """Pairs (i, j), i < j, whose signatures agree on all bits of at least one band.  bits: (N, H) bool

    Band k is bits k·r ... (k + 1)·r - 1 with r = H / bands. Within a band, equal bits fall into one bucket, and only
    vectors that share a bucket are ever paired: no (N, N) array.  Indyk and Motwani 1998
    Raises ValueError when H is not a multiple of bands.
    """
    bits = np.asarray(bits, dtype=bool)
    if not 1 <= bands <= bits.shape[-1] or bits.shape[-1] % bands:
        raise ValueError(f"bands must divide the {bits.shape[-1]} bits, got {bands}")
    # TODO banded-candidates (~9 lines): for each band, rows with equal bits share a bucket; collect the pairs
    raise NotImplementedError("TODO banded-candidates")
    # END TODO banded-candidates


# ---------------------------------------------------------------- the playground

PRESETS = {
    "smoke": {"documents": 200, "vocabulary": 500, "queries": 40, "points": 100, "bits": 1024, "repeats": 5},
    "cpu": {"documents": 2000, "vocabulary": 3000, "queries": 200, "points": 1000, "bits": 16_384, "repeats": 300},
    "full": {"documents": 4000, "vocabulary": 6000, "queries": 400, "points": 2000, "bits": 65_536, "repeats": 1000},
}
DIMENSIONS = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048]


def main(argv: list[str] | None = None) -> None:
    """Play with this file's own measures; the experiments are explained in playground.py."""
    args = run.arguments(__doc__, PRESETS, argv, data="python-docs")
    import playground

    lab = sys.modules[__name__]
    rng = np.random.default_rng(args.seed)
    texts = [document.text for document in run.load_data(args).documents]
    documents, vocabulary, counts = playground.choose_documents(texts, args.documents, args.vocabulary, rng)

    queries = min(args.queries, len(documents))
    print(f"Searching {len(documents):,} documents, as counts of {len(vocabulary):,} words, for themselves")
    search, lengths = playground.document_search(lab, documents, vocabulary, counts, queries)
    playground.print_search(search)

    print("\nMedian error of the distance between points exactly 1 apart, `shift` away from the origin")
    errors = playground.cancellation(lab, rng)
    playground.print_cancellation(errors)

    print("\nMedian relative contrast, (farthest - nearest) / nearest")
    contrast, spread = playground.concentration(lab, counts, DIMENSIONS, args.points, rng)
    playground.print_contrast(contrast)

    curve = playground.collisions(lab, args.bits, args.repeats, rng)
    worst = float(abs(curve["z"]).max())
    print(f"\nAgreement of {args.bits:,} bits against 1 - angle/π at {len(curve['z'])} angles: largest |z| {worst:.2f}")
    hashing = playground.document_hashing(lab, counts, rng)
    near = next(iter(hashing.values()))["near_pairs"]
    print(f"Banding on the documents; {near:,} pairs have a cosine of {playground.NEAR} or more")
    playground.print_hashing(hashing)

    playground.plot_documents(args, search, lengths)
    playground.plot_concentration(args, contrast, spread)
    playground.plot_hashing(args, lab, curve, args.bits)
    results = {
        "documents": len(documents),
        "queries": queries,
        "search": search,
        "cancellation": errors,
        "contrast": contrast,
    }
    run.save_results(args, results | {"collisions": {"bits": args.bits, "largest_z": worst}, "hashing": hashing})


if __name__ == "__main__":
    run.main(main)
