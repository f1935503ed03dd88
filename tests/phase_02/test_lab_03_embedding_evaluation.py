"""Graded checks of lab 2.3, embedding evaluation."""

import numpy as np

from labkit.grading import WeakDraw, todo, whole_lab


def cloud(rng, rows, columns, offset=0.0):
    """Rows of very different lengths, columns of clearly different spread, so that no two directions are alike."""
    spread = 2.0 ** -np.arange(columns)
    return (rng.standard_normal((rows, columns)) * spread + offset) * rng.uniform(0.3, 3, (rows, 1))


def related(rng, words=40, dim=6):
    """Vectors in which words 2i and 2i+1 differ by one common step, not quite, and questions a b c about them."""
    own, step = rng.standard_normal((words // 2, dim)), 0.8 * rng.standard_normal(dim)
    vectors = np.repeat(own, 2, axis=0)
    vectors[1::2] += step
    vectors += 0.15 * rng.standard_normal(vectors.shape)
    vectors *= rng.uniform(0.2, 4, (words, 1))
    first = 2 * rng.integers(words // 2, size=(30, 2))
    first = first[first[:, 0] != first[:, 1]]
    return vectors, np.stack([first[:, 0], first[:, 0] + 1, first[:, 1]], axis=1)


@todo("average-ranks", points=2)
def test_ranks_without_ties(grade, rng):
    """The smallest number has rank 1, the largest rank n, and every rank stands at its number's own place."""
    grade("average_ranks", rng.standard_normal(12))
    grade("average_ranks", rng.permutation(30) - 10)
    grade("average_ranks", rng.standard_normal(5).tolist())


@todo("average-ranks")
def test_equal_numbers_share_their_mean_rank(grade, rng):
    """Two equal numbers at places 2 and 3 both have rank 2.5; three at 4, 5 and 6 all have rank 5."""
    grade("average_ranks", rng.integers(0, 5, size=20))
    grade("average_ranks", rng.permutation([0.5, -1.0, 0.5, 2.0, -1.0, -1.0, 7.0]))


@todo("average-ranks")
def test_all_numbers_equal(grade, rng):
    """When nothing differs, everything has the rank in the middle, (n + 1) / 2."""
    grade("average_ranks", np.full(int(rng.integers(4, 9)), rng.standard_normal()))


@todo("spearman", points=2)
def test_spearman_of_random_numbers(grade, rng):
    """The correlation of two orders without ties, from 1 for the same order to -1 for the opposite one."""
    x = rng.standard_normal(25)
    grade("spearman", x, x + rng.standard_normal(25))
    grade("spearman", x, rng.standard_normal(25))
    grade("spearman", x[:7], -(x[:7] ** 3))


@todo("spearman")
def test_spearman_with_ties(grade, rng):
    """Scores of people are rounded, so many are equal: the shared ranks must be correlated, with no short cut."""
    x = rng.integers(0, 4, size=30)
    y = np.clip(x + rng.integers(-1, 2, size=30), 0, 3)
    if len(set(x)) < 3 or len(set(y)) < 3:
        raise WeakDraw
    grade("spearman", x, y)


@todo("spearman", edge=True)
def test_only_the_order_counts(grade, rng):
    """Any growing function of the numbers leaves ρ as it is, however strongly it bends the scale."""
    x = rng.standard_normal(20)
    grade("spearman", x, np.exp(4 * x), expected=1.0, atol=1e-9)
    grade("spearman", np.exp(4 * x), -(x**3), expected=-1.0, atol=1e-9)


@todo("spearman", edge=True)
def test_no_order_no_correlation(grade, rng):
    """If one side is constant there is nothing to agree with: NaN, without a warning, and not 0."""
    grade("quietly", "spearman", np.full(6, 3.7), rng.standard_normal(6), expected=float("nan"))
    grade("quietly", "spearman", rng.standard_normal(5), [2, 2, 2, 2, 2], expected=float("nan"))


@todo("bootstrap-interval", points=2)
def test_interval_of_a_mean(grade, rng):
    """The quantiles of the statistic over the resamples, here of the mean of one skewed sample."""
    sample = rng.exponential(size=20)
    grade("interval_of", "mean", [sample], rng.integers(20, size=(60, 20)))


@todo("bootstrap-interval")
def test_what_belongs_together_is_drawn_together(grade, rng):
    """All samples are resampled with the same draws: a cosine keeps its own human score."""
    x = rng.standard_normal(18)
    y = x + 0.5 * rng.standard_normal(18)
    draws = rng.integers(18, size=(50, 18))
    grade("interval_of", "correlation", [x, y], draws)
    grade("interval_of", "difference", [y, rng.standard_normal(18), x], draws)


@todo("bootstrap-interval")
def test_the_level_sets_both_tails(grade, rng):
    """At level 0.5 a quarter of the resamples lies below the interval and a quarter above."""
    sample = rng.exponential(size=15)
    draws = rng.integers(15, size=(80, 15))
    for level in (0.5, 0.8, 0.99):
        grade("interval_of", "mean", [sample], draws, level)


@todo("bootstrap-interval")
def test_resamples_without_a_value_are_left_out(grade, rng):
    """A resample that drew one pair again and again has no ρ; it must not turn the interval into NaN."""
    x = rng.standard_normal(12)
    draws = rng.integers(12, size=(30, 12))
    draws[[4, 17]] = rng.integers(12, size=(2, 1))
    grade("interval_of", "spearman", [x, x + rng.standard_normal(12)], draws)


@todo("pair-cosines", points=2)
def test_cosines_of_known_pairs(grade, rng):
    """One cosine per pair, whatever the lengths of the two vectors."""
    vectors = cloud(rng, 9, 4) * 10.0 ** rng.uniform(-5, 2, size=(9, 1))
    grade("pair_cosines", vectors, rng.integers(1, 9, size=(12, 2)))  # word 0 has a check of its own


@todo("pair-cosines", edge=True)
def test_word_zero_is_a_word(grade, rng):
    """The id 0 belongs to the first word of the vocabulary; only -1 means missing."""
    vectors, pairs = cloud(rng, 6, 4), np.array([[0, 3], [2, 5], [4, 0], [0, 0], [1, 5]])
    cosines = grade.call("pair_cosines", vectors, pairs)
    assert isinstance(cosines, np.ndarray) and cosines.shape == (5,), "expected one number for each of 5 pairs"
    lost = np.flatnonzero(np.isnan(cosines))
    assert not lost.size, f"NaN for the pair {pairs[lost[0]].tolist()}, but both of its words are known"
    grade("pair_cosines", vectors, pairs)


@todo("pair-cosines")
def test_missing_words_give_nan_at_their_place(grade, rng):
    """A pair with a missing word is NaN where it stands: not dropped, not 0, and not the last word's cosine."""
    pairs = rng.integers(8, size=(14, 2))
    pairs[[1, 4, 5], 0] = -1
    pairs[[2, 5, 7, 12], 1] = -1
    grade("pair_cosines", cloud(rng, 8, 5), pairs)


@todo("pair-cosines")
def test_cosine_with_a_vector_of_zeros(grade, rng):
    """A vector of zeros has cosine 0 with everything, without a warning."""
    vectors = cloud(rng, 6, 3)
    vectors[2] = 0
    grade("quietly", "pair_cosines", vectors, np.array([[0, 1], [2, 3], [4, 2], [5, 1], [2, 2], [3, -1]]))


@todo("pair-cosines", edge=True)
def test_nothing_covered(grade, rng):
    """A test set of which no pair is covered gives only NaN, and an empty one gives an empty array."""
    vectors = cloud(rng, 5, 3)
    grade("quietly", "pair_cosines", vectors, np.array([[-1, 2], [3, -1], [-1, -1]]))
    grade("quietly", "pair_cosines", vectors, np.zeros((0, 2), dtype=np.int64))


@todo("pair-cosines")
def test_cosines_of_float32_vectors_are_float64(grade, rng):
    """Vector files hold float32; the cosines come out as float64 all the same."""
    grade("pair_cosines", cloud(rng, 7, 4).astype(np.float32), rng.integers(7, size=(8, 2)), atol=1e-5)


@todo("analogy-answers", points=2)
def test_answers_to_analogies(grade, rng):
    """The word nearest to b - a + c of unit vectors, by cosine, other than a, b and c."""
    for _ in range(3):
        grade("analogy_answers", *related(rng))


@todo("analogy-answers")
def test_answers_are_never_the_questions_own_words(grade, rng):
    """The word nearest to b - a + c is usually c itself: each question's own three words, and only these, are out."""
    vectors = rng.standard_normal((14, 5))
    questions = np.array([rng.permutation(14)[:3] for _ in range(40)])
    answers = grade("analogy_answers", vectors, questions)
    assert not (answers[:, None] == questions).any(), "an answer is one of its own question's words"


@todo("analogy-answers")
def test_questions_with_missing_words(grade, rng):
    """A question with a missing word has the answer -1; the others are answered at their own places."""
    vectors, questions = related(rng)
    questions[[0, 5], 0] = questions[[2, 5], 1] = questions[7, 2] = -1
    grade("analogy_answers", vectors, questions)


@todo("analogy-answers")
def test_all_other_words_are_far(grade, rng):
    """However far all other words are from b - a + c, the answer is one of them and not a, b or c."""
    pole = rng.standard_normal(6)
    side = np.repeat([1.0, -1.0], [8, 2])[:, None]  # b and c against all the others, a among them
    vectors = side * pole / np.linalg.norm(pole) + 0.15 * rng.standard_normal((10, 6))
    questions = np.array([[a, b, 17 - b] for a in range(8) for b in (8, 9)])
    grade("analogy_answers", vectors * rng.uniform(0.3, 3, (10, 1)), questions)


@todo("analogy-answers", edge=True)
def test_no_questions_no_answers(grade, rng):
    """Of no questions at all the answers are an empty array of whole numbers."""
    grade("analogy_answers", rng.standard_normal((5, 3)), np.zeros((0, 3), dtype=np.int64))


@todo("analogy-answers")
def test_blocks_change_nothing(grade, rng):
    """Blocks that do not divide the number of questions, of 1 and larger than it give the same answers."""
    vectors, questions = related(rng)
    for block in (1, 7, 1000):
        grade("analogy_answers", vectors, questions, block)


@todo("analogy-answers")
def test_memory_is_bounded_by_the_block(grade, rng):
    """With small blocks the memory stays far below questions x vocabulary."""
    words, asked = 3000, 400
    vectors, questions = rng.standard_normal((words, 4)), rng.integers(words, size=(asked, 3))
    peak, table = grade.call("peak_bytes", "analogy_answers", vectors, questions, 8), words * asked * 8
    assert peak < table / 4, f"with block=8 it held {peak / 1e6:.1f} MB; all scores at once are {table / 1e6:.1f} MB"


def assert_peaks_are_positive(found, x, k):
    """Nothing is said about rows that are not the right directions: comparing values says more."""
    components = found[0] if isinstance(found, tuple) and len(found) == 3 else None
    right = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:k]
    if not isinstance(components, np.ndarray) or components.shape != right.shape:
        return
    if not np.allclose(np.abs(components @ right.T), np.eye(k), atol=1e-6):
        return
    peaks = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)[:, 0]
    wrong = np.flatnonzero(peaks < 0)
    assert not wrong.size, (
        f"the sign of component {wrong[0]} is not the one promised: its largest entry is {peaks[wrong[0]]:.3f}"
    )


@todo("pca", points=2)
def test_components_coordinates_and_shares(grade, rng):
    """Directions of largest variance as rows, the centred data along them, and their shares of all variance."""
    x = cloud(rng, 30, 5, offset=2.0)
    assert_peaks_are_positive(grade.call("pca", x, 3), x, 3)
    grade("pca", x, 3, atol=1e-7)
    grade("pca", cloud(rng, 6, 6), 4, atol=1e-7)
    grade("pca", rng.standard_normal((5, 12)), 4, atol=1e-7)


@todo("pca")
def test_a_common_offset_changes_nothing(grade, rng):
    """Principal components describe the spread around the mean: moving all points together leaves them alone."""
    x, offset = cloud(rng, 20, 4), 50 * rng.standard_normal(4)
    moved, still = grade("pca", x + offset, 2, atol=1e-6), grade("pca", x, 2, atol=1e-6)
    for name, one, other in zip(("components", "coordinates", "explained"), moved, still):
        assert np.allclose(one, other, atol=1e-6), f"{name} changed when all points were moved by {offset.round(1)}"


@todo("pca")
def test_the_sign_is_fixed(grade, rng):
    """A mirrored cloud has the same components, each with its largest entry positive, and mirrored coordinates."""
    x = cloud(rng, 15, 5)
    for mirrored in (x, -x):
        assert_peaks_are_positive(grade.call("pca", mirrored, 4), mirrored, 4)
    one, other = grade("pca", x, 4, atol=1e-7), grade("pca", -x, 4, atol=1e-7)
    assert np.allclose(one[0], other[0], atol=1e-6), "x and -x have the same directions, yet the components differ"
    assert np.allclose(one[1], -other[1], atol=1e-6), "the coordinates of -x should be those of x with the other sign"


@todo("pca")
def test_no_array_of_all_pairs_of_rows(grade, rng):
    """A vocabulary has many more words than dimensions: memory grows with N, not with N x N."""
    n = 700
    peak = grade.call("peak_bytes", "pca", rng.standard_normal((n, 5)), 2)
    assert peak < n * n * 8 / 4, f"it held {peak / 1e6:.1f} MB; an array {n} x {n} is {n * n * 8 / 1e6:.1f} MB"


@todo("all-but-the-top", points=2)
def test_mean_and_top_directions_are_removed(grade, rng):
    """First the mean goes, then whatever lies along the first k principal components; the rest stays."""
    for k in (1, 2, 4):
        grade("all_but_the_top", cloud(rng, 25, 6, offset=1.5), k, atol=1e-7)
    grade("all_but_the_top", cloud(rng, 9, 9).astype(np.float32), 3, atol=1e-5)


@todo("all-but-the-top")
def test_without_directions_only_the_mean_goes(grade, rng):
    """k = 0 leaves the centred vectors: their lengths and directions around the mean are not touched."""
    grade("all_but_the_top", cloud(rng, 12, 4, offset=3.0), 0, atol=1e-8)


@todo("bias-direction", points=2)
def test_direction_of_the_pairs(grade, rng):
    """The main direction in which the words of the pairs differ, though the pairs lie far apart from each other."""
    vectors = rng.standard_normal((20, 6))
    step = rng.standard_normal(6)
    vectors[1:12:2] = vectors[0:12:2] - step + 0.3 * rng.standard_normal((6, 6))
    vectors *= rng.uniform(0.2, 5, (20, 1))
    grade("bias_direction", vectors, np.arange(12).reshape(6, 2), atol=1e-6)
    grade("bias_direction", vectors[::-1], rng.permutation(np.arange(8, 20)).reshape(6, 2), atol=1e-6)


@todo("bias-direction", edge=True)
def test_one_pair_is_enough(grade, rng):
    """With a single pair the direction is that of the difference of its two unit vectors."""
    vectors = cloud(rng, 4, 5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    step = unit[2] - unit[1]
    grade("bias_direction", vectors, np.array([[2, 1]]), expected=step / np.linalg.norm(step), atol=1e-7)


@todo("bias-direction")
def test_it_points_to_the_first_words(grade, rng):
    """Pairs written the other way round give the opposite direction, decided by all pairs together."""
    step, *own = np.linalg.qr(rng.standard_normal((6, 6)))[0]  # at right angles, so that normalising turns no step
    own = np.array(own)
    vectors = np.concatenate([own - 0.6 * step, own + 0.6 * step]) + 0.05 * rng.standard_normal((10, 6))
    vectors[[0, 5]] = vectors[[5, 0]]  # the first pair is the exception
    pairs = np.stack([np.arange(5), np.arange(5, 10)], axis=1)
    one = grade("bias_direction", vectors, pairs, atol=1e-6)
    other = grade("bias_direction", vectors, pairs[:, ::-1], atol=1e-6)
    assert np.allclose(one, -other, atol=1e-5), "swapping the words of every pair should turn the direction around"


@todo("bias-direction", edge=True)
def test_pairs_in_both_orders(grade, rng):
    """Where (she, he) and (he, she) are both given, the sum is 0 and the sign free; the length is still 1."""
    first, second = (int(i) for i in rng.permutation(6)[:2])
    direction = grade.call("bias_direction", cloud(rng, 6, 4), np.array([[first, second], [second, first]]))
    assert isinstance(direction, np.ndarray) and direction.shape == (4,), "expected an array of shape (4,)"
    assert abs(np.linalg.norm(direction) - 1) < 1e-6, f"the direction has length {np.linalg.norm(direction):.3g}"


@whole_lab(points=3)
def test_everything_together(grade, rng):
    """Reports on similarity, analogies, anisotropy and bias, before and after removing directions."""
    vectors, questions = related(rng, words=60)
    pairs = rng.integers(60, size=(30, 2))
    pairs[:4, 0] = -1
    answers = np.where(rng.random(len(questions)) < 0.1, -1, questions[:, 2] + 1)
    sections = {"step": np.column_stack([questions, answers]), "none": np.full((3, 4), -1)}
    scores = rng.integers(0, 11, size=30)
    grade("everything", vectors, pairs, scores, sections, np.arange(8).reshape(4, 2), 7, atol=1e-6)
