# Generated from lab 1.3 by `make skeletons`.
from __future__ import annotations
import itertools
import sys
from collections import defaultdict
import numpy as np
from labkit import run

def as_rows(x, name: str='x') -> np.ndarray:
    """`x` as a float array (N, D): float32 stays float32, bool, integers and other floats become float64.

    Word counts often arrive as uint8, where 200 + 100 = 44: no arithmetic happens before this conversion.
    Raises TypeError for anything but real numbers, ValueError for a wrong number of dimensions, NaN or infinity.
    """
    ...

def as_pair(a, b, names: tuple[str, str]=('a', 'b')) -> tuple[np.ndarray, np.ndarray]:
    """Both inputs through `as_rows`; raises ValueError when their vectors differ in length."""
    ...

def dot(a, b) -> np.ndarray:
    """Inner products a·b: (N, D), (M, D) -> (N, M). Given, as the pattern for the functions below."""
    ...

def l2_normalize(x) -> np.ndarray:
    """Rows scaled to length 1: x / ‖x‖₂.  (N, D) -> (N, D), a new array.

    A zero row has no direction and stays zero. Any other row gets length 1, one of length 1e-15 too: no epsilon.
    """
    ...

def cosine(a, b) -> np.ndarray:
    """Cosine of the angle between vectors, a·b / (‖a‖ ‖b‖): (N, D), (M, D) -> (N, M), never outside [-1, 1].

    With a zero vector the cosine is defined as 0, without a warning: nothing in common with anything, itself included.
    """
    ...

def euclidean(a, b) -> np.ndarray:
    """Straight-line distances ‖a - b‖₂: (N, D), (M, D) -> (N, M), all >= 0.

    Memory: nothing larger than the inputs and a few (N, M) arrays, so no array of all differences (N, M, D).
    """
    ...

def manhattan(a, b, block: int=64) -> np.ndarray:
    """City-block distances Σ |a_d - b_d|: (N, D), (M, D) -> (N, M), float32 when both inputs are.

    Memory: at most a few arrays (block, M, D) beside the result, whatever N is. No matrix product can do this one.
    Raises ValueError when block < 1.
    """
    ...

def jaccard(a, b) -> np.ndarray:
    """Overlap of sets, |A ∩ B| / |A ∪ B|: (N, D), (M, D) -> (N, M) float64 in [0, 1].

    A row stands for the set of positions where it is not 0: counts and weights do not matter, presence does.
    Two empty sets are equal: their similarity is defined as 1, without a warning. Empty and non-empty: 0.  Jaccard 1901
    """
    ...

def relative_contrast(distances) -> np.ndarray:
    """How far apart near and far are, (d_max - d_min) / d_min, per query: (Q, N) -> (Q,).  Beyer et al. 1999

    Row q holds the distances from query q to the N points. Near 0 means that all points are about equally far away.
    Raises ValueError when a distance is not positive (usually the query itself is among the points).
    """
    ...

def signatures(x, planes) -> np.ndarray:
    """Random-hyperplane bits: which side of each plane a vector lies on.  (N, D), (H, D) -> (N, H) bool

    planes: one normal vector per row, drawn from N(0, 1) by the caller. Bit h is True when x·planes[h] >= 0.
    P(bit of x = bit of y) = 1 - angle(x, y) / π.  Charikar 2002
    """
    ...

def agreement(a_bits, b_bits) -> np.ndarray:
    """Share of equal bits: (N, H), (M, H) bool -> (N, M). On bits, Manhattan distance counts the differing ones."""
    ...

def collision_probability(similarity) -> np.ndarray:
    """P(one bit agrees) for vectors of this cosine: 1 - arccos(cosine) / π, any shape."""
    ...

def candidate_probability(similarity, bands: int, rows: int) -> np.ndarray:
    """P(at least one of `bands` bands of `rows` bits agrees completely) = 1 - (1 - p^rows)^bands."""
    ...

def banded_candidates(bits, bands: int) -> set[tuple[int, int]]:
    """Pairs (i, j), i < j, whose signatures agree on all bits of at least one band.  bits: (N, H) bool

    Band k is bits k·r ... (k + 1)·r - 1 with r = H / bands. Within a band, equal bits fall into one bucket, and only
    vectors that share a bucket are ever paired: no (N, N) array.  Indyk and Motwani 1998
    Raises ValueError when H is not a multiple of bands.
    """
    ...
PRESETS = {'smoke': {'documents': 200, 'vocabulary': 500, 'queries': 40, 'points': 100, 'bits': 1024, 'repeats': 5}, 'cpu': {'documents': 2000, 'vocabulary': 3000, 'queries': 200, 'points': 1000, 'bits': 16384, 'repeats': 300}, 'full': {'documents': 4000, 'vocabulary': 6000, 'queries': 400, 'points': 2000, 'bits': 65536, 'repeats': 1000}}
DIMENSIONS = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048]

def main(argv: list[str] | None=None) -> None:
    """Play with this file's own measures; the experiments are explained in playground.py."""
    ...
