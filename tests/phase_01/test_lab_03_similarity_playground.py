"""Graded checks of lab 1.3, similarity playground."""

import numpy as np

from labkit.grading import WeakDraw, todo, whole_lab

# A right answer fails a statistical check when a |z| of 5.5 turns up: 4 in 100 million per comparison.
LARGEST_Z = 5.5


def word_counts(rng, rows, columns):
    """Small counts, many zeros, and in every row at least one word."""
    counts = rng.poisson(0.7, (rows, columns)).astype(np.float64)
    counts[np.arange(rows), rng.integers(columns, size=rows)] += 1
    return counts


def assert_triangle(distances, what):
    """d(i, k) <= d(i, j) + d(j, k) for all triples of the (N, N) distances."""
    assert isinstance(distances, np.ndarray) and distances.ndim == 2, f"{what} must be a (N, N) array"
    excess = distances[:, None, :] - (distances[:, :, None] + distances[None, :, :])  # [i, j, k]
    i, j, k = np.unravel_index(int(np.nan_to_num(excess, nan=np.inf).argmax()), excess.shape)
    assert excess[i, j, k] <= 1e-6, (
        f"{what}: from {i} to {k} it is {distances[i, k]:.4g}, but by way of {j} only "
        f"{distances[i, j]:.4g} + {distances[j, k]:.4g}: a detour cannot be shorter"
    )


@todo("l2-normalize", points=2)
def test_rows_are_divided_by_their_own_length(grade, rng):
    """Every row is divided by its own Euclidean length, also when the array is square."""
    grade("l2_normalize", rng.standard_normal((6, 6)) * rng.uniform(0.5, 20, (6, 1)))
    grade("l2_normalize", rng.standard_normal((4, 9)))
    grade("l2_normalize", rng.integers(1, 9, (5, 3)))
    grade("l2_normalize", rng.standard_normal((4, 6)).astype(np.float32))


@todo("l2-normalize")
def test_zero_rows_stay_zero(grade, rng):
    """A zero row stays zero, without NaN and without a warning."""
    x = rng.standard_normal((5, 4))
    x[[1, 3]] = 0
    grade("quietly", "l2_normalize", x)


@todo("l2-normalize")
def test_short_rows_get_length_one(grade, rng):
    """A very short row has a direction too: it comes out with length 1, not with less."""
    grade("l2_normalize", rng.standard_normal((3, 5)) * np.array([[1e-15], [1e-9], [1e-6]]))


@todo("cosine", points=2)
def test_cosine_of_random_vectors(grade, rng):
    """Every row of a is compared with every row of b, whatever their lengths."""
    scale = rng.uniform(0.1, 50, (5, 1))
    grade("cosine", rng.standard_normal((5, 4)) * scale, rng.standard_normal((3, 4)) * 7)


@todo("cosine")
def test_cosine_with_a_zero_vector(grade, rng):
    """The cosine with a zero vector is 0, also between two zero vectors, and never NaN."""
    a, b = rng.standard_normal((4, 3)), rng.standard_normal((5, 3))
    a[2] = b[0] = b[3] = 0
    grade("quietly", "cosine", a, b)


@todo("cosine")
def test_cosine_of_short_vectors(grade, rng):
    """The shortest vector has a direction too: its cosines are those of any other vector along it."""
    scale = np.array([[1e-100], [1.0], [1e-60], [1e-100]])
    grade("cosine", rng.standard_normal((4, 5)) * scale, rng.standard_normal((3, 5)) * 1e-100)


@todo("cosine")
def test_cosine_is_at_most_one(grade, rng):
    """Rounding never carries a cosine past 1 or -1, so that its arccos is a real angle."""
    a = rng.standard_normal((60, 7))
    similarity = grade("cosine", np.vstack([a, -a]), a * rng.uniform(0.01, 100, (60, 1)), atol=1e-12)
    worst = np.abs(similarity).max()
    assert worst <= 1, f"a cosine of {worst!r} came out: its arccos is NaN"


@todo("cosine")
def test_angles_obey_the_triangle_inequality(grade, rng):
    """1 - cosine is no distance (0, 45 and 90 degrees show it), but the angle itself is one."""
    plane = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    gaps = 1 - grade("cosine", plane, plane, atol=1e-9)
    assert gaps[0, 2] > gaps[0, 1] + gaps[1, 2], f"1 - cosine at 0, 45 and 90 degrees came out as {gaps.round(3)}"
    x = rng.standard_normal((12, 3))
    assert_triangle(np.arccos(grade("cosine", x, x, atol=1e-9)), "the angle")


@todo("euclidean", points=2)
def test_euclidean_distances(grade, rng):
    """Entry [i, j] is the straight-line distance from a[i] to b[j]."""
    grade("euclidean", rng.standard_normal((5, 8)) * 3, rng.standard_normal((7, 8)))
    grade("euclidean", rng.integers(0, 5, (4, 4)), rng.integers(6, 9, (4, 4)))
    grade("euclidean", *np.float32(rng.standard_normal((2, 5, 6))), atol=1e-4)


@todo("euclidean")
def test_equal_points_have_a_distance(grade, rng):
    """The distance between equal points is a small number, never NaN, although rounding makes its square negative."""
    x = (rng.standard_normal((80, 50)) + 30).astype(np.float32)
    distances = grade.call("euclidean", x, x)
    assert isinstance(distances, np.ndarray) and distances.shape == (80, 80), "expected an array of shape (80, 80)"
    nans = int(np.isnan(distances).sum())
    assert nans == 0, f"{nans} of {distances.size} distances are NaN: the square root of a negative number?"
    own, others = np.diag(distances).max(), distances[~np.eye(80, dtype=bool)].min()
    assert own < 1 < others, f"points are up to {own:.3g} from themselves and only {others:.3g} from others"


@todo("euclidean")
def test_euclidean_needs_no_cube_of_differences(grade, rng):
    """Memory grows with N x M, not with N x M x D."""
    n, d = 120, 100
    a, b = rng.standard_normal((n, d)), rng.standard_normal((n, d))
    peak = grade.call("peak_bytes", "euclidean", a, b)
    cube = n * n * d * 8
    assert peak < cube / 5, f"it held {peak / 1e6:.1f} MB; all {n} x {n} x {d} differences are {cube / 1e6:.0f} MB"


@todo("euclidean")
def test_euclidean_is_a_metric(grade, rng):
    """Symmetric, and a detour is never shorter."""
    x = rng.standard_normal((12, 4)) * 10
    distances = grade("euclidean", x, x, atol=1e-5)
    assert np.allclose(distances, distances.T, atol=1e-5), "d(x, y) and d(y, x) differ"
    assert_triangle(distances, "the distance")


@todo("manhattan", points=2)
def test_manhattan_distances(grade, rng):
    """Entry [i, j] sums the absolute differences of a[i] and b[j]."""
    grade("manhattan", rng.standard_normal((6, 5)), rng.standard_normal((4, 5)) * 4)
    grade("manhattan", rng.integers(0, 9, (5, 5)), rng.integers(0, 9, (5, 5)))
    grade("manhattan", *np.float32(rng.standard_normal((2, 5, 6))), 2)
    grade("manhattan", rng.standard_normal((4, 6)).astype(np.float32), rng.standard_normal((3, 6)))


@todo("manhattan")
def test_any_block_gives_the_same_distances(grade, rng):
    """Blocks that do not divide N, blocks of 1 and blocks larger than N all give the same distances."""
    a, b = rng.standard_normal((11, 6)), rng.standard_normal((7, 6))
    for block in (1, 4, 5, 11, 100):
        grade("manhattan", a, b, block)


@todo("manhattan")
def test_manhattan_memory_is_bounded_by_the_block(grade, rng):
    """With a small block the memory stays far below N x M x D numbers."""
    n, d, block = 120, 100, 4
    a, b = rng.standard_normal((n, d)), rng.standard_normal((n, d))
    peak = grade.call("peak_bytes", "manhattan", a, b, block)
    cube = n * n * d * 8
    assert peak < cube / 5, f"with block={block} it held {peak / 1e6:.1f} MB; all differences are {cube / 1e6:.0f} MB"


@todo("jaccard", points=2)
def test_jaccard_of_binary_vectors(grade, rng):
    """Size of the intersection over size of the union, for every pair of 0/1 rows."""
    grade("jaccard", rng.integers(0, 2, (6, 12)), rng.integers(0, 2, (5, 12)))
    grade("jaccard", rng.random((4, 9)) < 0.4, rng.random((4, 9)) < 0.6)


@todo("jaccard")
def test_jaccard_ignores_counts_and_signs(grade, rng):
    """Anything that is not 0 is a member: counts, fractions and negative weights weigh the same."""
    a, b = (rng.integers(-3, 4, (n, 10)) * 0.5 for n in (6, 4))
    grade("jaccard", a, b)


@todo("jaccard")
def test_jaccard_of_large_sets(grade, rng):
    """Sets of hundreds of elements are counted too, not only those whose size fits into one byte."""
    grade("jaccard", rng.random((3, 900)) < 0.7, rng.random((4, 900)) < 0.6)


@todo("jaccard")
def test_jaccard_of_empty_sets(grade, rng):
    """Two empty sets have similarity 1, an empty and a non-empty one 0, without a warning."""
    a, b = word_counts(rng, 6, 8), word_counts(rng, 5, 8)
    a[[1, 4]] = b[[0, 2]] = 0
    grade("quietly", "jaccard", a, b)


@todo("jaccard")
def test_jaccard_distance_is_a_metric(grade, rng):
    """1 - similarity is 0 from a set to itself, and a detour is never shorter."""
    x = rng.integers(0, 2, (14, 6))
    x[0] = 0
    distances = 1 - grade("jaccard", x, x)
    assert np.allclose(np.diag(distances), 0), "a set, the empty one included, has similarity 1 with itself"
    assert_triangle(distances, "1 - similarity")


@todo("relative-contrast", points=2)
def test_contrast_of_each_query(grade, rng):
    """Each query gets its own number, from its own nearest and farthest point."""
    grade("relative_contrast", rng.uniform(1, 10, (6, 6)))
    grade("relative_contrast", rng.uniform(0.1, 3, (3, 50)))


@todo("relative-contrast")
def test_contrast_of_equal_distances_is_zero(grade, rng):
    """When all points are equally far away there is no contrast, at any scale."""
    distances = rng.uniform(1, 5, (5, 8))
    distances[[1, 3]] = distances[[1, 3], :1]
    contrast = grade("relative_contrast", distances * 1000)
    assert contrast[1] == contrast[3] == 0, f"queries 1 and 3 have equal distances, yet contrast {contrast[[1, 3]]}"


@todo("relative-contrast")
def test_contrast_refuses_a_zero_distance(grade, rng):
    """A query that is among its own points is an error that says so, and so is a distance below 0."""
    distances = rng.uniform(1, 5, (4, 6))
    for wrong in (0, -0.5):
        distances[2, 3] = wrong
        grade("relative_contrast", distances, raises=ValueError)


@todo("signatures", points=2)
def test_bits_tell_the_side_of_each_plane(grade, rng):
    """Row i, column h: on which side of plane h vector i lies, as a bool."""
    grade("signatures", rng.standard_normal((6, 5)), rng.standard_normal((9, 5)))
    grade("signatures", rng.standard_normal((5, 5)), rng.standard_normal((5, 5)))
    grade("signatures", rng.integers(0, 4, (7, 12)), rng.standard_normal((20, 12)))


@todo("signatures")
def test_vectors_on_a_plane_get_true(grade, rng):
    """A projection of exactly 0, such as that of the zero vector, counts as True."""
    x = rng.integers(-1, 2, (40, 3))
    x[5] = 0
    planes = rng.integers(-1, 2, (8, 3))
    if not (x @ planes.T == 0).any(axis=1)[6:].any():
        raise WeakDraw
    grade("signatures", x, planes)


@todo("signatures")
def test_agreement_follows_the_angle(grade, rng):
    """The share of equal bits is 1 - angle/π, whatever the lengths of the vectors."""
    angles = np.array([0.2, 0.8, np.pi / 2, 2.2, 2.9])
    x, away = np.linalg.qr(rng.standard_normal((16, 2)))[0].T
    vectors = np.vstack([x, np.cos(angles)[:, None] * x + np.sin(angles)[:, None] * away])
    vectors *= np.array([[1.0], [0.01], [100.0], [1.0], [7.0], [0.3]])
    planes = rng.standard_normal((5000, 16))
    bits = grade("signatures", vectors, planes)
    share, theory = (bits[:1] == bits[1:]).mean(axis=1), 1 - angles / np.pi
    z = np.abs(share - theory) / np.sqrt(theory * (1 - theory) / len(planes))
    assert z.max() < LARGEST_Z, f"at angles {angles} the bits agree in {share} of the planes, not in {theory}"


def bits_with_twins(rng, n, width):
    """Random bits in which some rows are equal and some equal up to a few bits: (n, width)."""
    bits = rng.random((n, width)) < 0.5
    bits[n // 2 :] = bits[rng.integers(0, n // 2, size=n - n // 2)]
    return bits ^ (rng.random((n, width)) < 0.04)


@todo("banded-candidates", points=2)
def test_candidates_of_random_bits(grade, rng):
    """Exactly the pairs (i, j), i < j, that agree on a whole band, each once."""
    for n, width, bands in ((30, 24, 4), (40, 24, 3), (25, 30, 5)):
        grade("banded_candidates", bits_with_twins(rng, n, width), bands)


@todo("banded-candidates", edge=True)
def test_one_equal_band_is_enough(grade, rng):
    """A pair that agrees on one band only is a candidate; one that agrees on parts of several is not."""
    one = rng.random(12) < 0.5
    same_band, scattered = ~one, ~one
    same_band[4:8] = one[4:8]
    scattered[[0, 1, 2, 5, 6, 7, 9, 10, 11]] = one[[0, 1, 2, 5, 6, 7, 9, 10, 11]]
    grade("banded_candidates", np.array([scattered, one, same_band]), 3, expected={(1, 2)})


@todo("banded-candidates", edge=True)
def test_equal_bits_in_different_bands_do_not_count(grade, rng):
    """Bits of one row's first band that equal another row's second band mean nothing."""
    one, other = rng.random(6) < 0.5, rng.random(6) < 0.5
    other[0] = ~one[0]
    grade("banded_candidates", np.array([[*one, *other], [*other, *one]]), 2, expected=set())


@todo("banded-candidates")
def test_widest_and_narrowest_bands(grade, rng):
    """One band asks for equal signatures; bands of one bit ask for one equal bit."""
    bits = bits_with_twins(rng, 24, 10)
    bits[20] = bits[3]
    grade("banded_candidates", bits, 1)
    grade("banded_candidates", bits[:6] ^ bits[6:7], 10)


@todo("banded-candidates")
def test_no_array_of_all_pairs(grade, rng):
    """Only rows that share a bucket are paired: memory does not grow with N x N."""
    n = 800
    bits = rng.random((n, 64)) < 0.5
    pairs = grade("banded_candidates", bits, 4)
    peak = grade.call("peak_bytes", "banded_candidates", bits, 4)
    assert peak < n * n, f"for {len(pairs)} pairs it held {peak / 1e6:.1f} MB; {n} x {n} bools are {n * n / 1e6:.0f} MB"


@whole_lab(points=3)
def test_everything_together(grade, rng):
    """Every measure, and hashing from planes to candidate pairs, on one set of documents."""
    counts = word_counts(rng, 16, 12)
    counts[8:12] = counts[:4] * 3
    grade("everything", counts, rng.standard_normal((24, 12)), 6, atol=1e-6)
