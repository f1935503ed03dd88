"""Graded checks of lab 2.1, word2vec from scratch. Every random draw of the algorithm is an input here."""

from __future__ import annotations

import math

import numpy as np
import torch

from labkit.grading import WeakDraw, todo, whole_lab

# ---------------------------------------------------------------- made-up inputs


def words(rng, n: int) -> list[str]:
    """n different pronounceable words."""
    found: set[str] = set()
    while len(found) < n:
        found.add("".join(rng.choice(list("bdfgklmnprstvz")) + rng.choice(list("aeiou")) for _ in range(3)))
    return [str(word) for word in rng.permutation(sorted(found))]


def sentences(rng, vocabulary: list[str], n: int = 25) -> list[list[str]]:
    """Sentences of 0 to 19 words, some words far more frequent than others."""
    weights = 1 / np.arange(1, len(vocabulary) + 1)
    sizes = rng.integers(0, 20, size=n)
    return [[str(w) for w in rng.choice(vocabulary, size=s, p=weights / weights.sum())] for s in sizes]


def zipf_counts(rng, size: int = 40) -> np.ndarray:
    """Counts that fall from tens of thousands to a handful."""
    return np.sort((60_000 / np.arange(1, size + 1) ** 2.2).astype(np.int64) + rng.integers(3, 12, size=size))[
        ::-1
    ].copy()


def text(rng, n: int = 60, size: int = 12, sentence_length: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Ids (word 0 among them) and ascending sentence numbers, with numbers left out where a sentence was empty."""
    starts = rng.random(n) < 1 / sentence_length
    return rng.integers(0, size, size=n), np.cumsum(starts * rng.integers(1, 3, size=n))


def tables(rng, size: int = 30, dim: int = 6, scale: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    return scale * rng.normal(size=(size, dim)), scale * rng.normal(size=(size, dim))


def batch(rng, size: int, pairs: int = 8, negatives: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return rng.integers(0, size, pairs), rng.integers(0, size, pairs), rng.integers(0, size, (pairs, negatives))


def distinct_batch(rng, size: int, pairs: int = 5, negatives: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A batch in which no word comes twice."""
    drawn = rng.permutation(size)[: pairs * (2 + negatives)].reshape(pairs, -1)
    return drawn[:, 0].copy(), drawn[:, 1].copy(), drawn[:, 2:].copy()


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def window_rows(rng, size: int, rows: int = 9, width: int = 6, missing: float = 0.4) -> np.ndarray:
    """Rows of a context table over ids below size - 1 (the last word of the tables is in no window); none is empty.

    Word 0, the most frequent one of a text, is in most of them.
    """
    table = rng.integers(0, size - 1, size=(rows, width))
    table[rng.random((rows, width)) < missing] = -1
    table[np.arange(rows), rng.integers(0, width, size=rows)] = rng.integers(0, size - 1, size=rows)
    table[rng.permutation(rows)[: rows // 2 + 1], rng.integers(0, width)] = 0
    return table


# ---------------------------------------------------------------- vocabulary


@todo("vocabulary", cuda=False)
def test_words_and_their_counts(grade, rng):
    """Words that occur min_count times or more, the most frequent first, each with its count."""
    for min_count in (1, int(rng.integers(3, 6))):
        grade("counted", sentences(rng, words(rng, 30)), min_count)


@todo("vocabulary", cuda=False)
def test_equally_frequent_words_are_alphabetical(grade, rng):
    """Among words with the same count the alphabet decides, so that equal corpora give equal ids."""
    tied = words(rng, 14)
    lists = [[word] * int(rng.integers(2, 4)) for word in tied] + [[tied[0]] * 5]
    grade("counted", lists, 2)


@todo("vocabulary", edge=True, cuda=False)
def test_a_vocabulary_needs_words(grade, rng):
    """min_count below 1, and a corpus without a frequent word, raise ValueError."""
    lists = sentences(rng, words(rng, 10))
    grade("counted", lists, 0, raises=ValueError, match="min_count")
    grade("counted", lists, 10_000, raises=ValueError)
    grade("counted", [[], []], 1, raises=ValueError)


# ---------------------------------------------------------------- keep-probability


@todo("keep-probability", cuda=False)
def test_the_formula_of_the_c_code(grade, rng):
    """word2vec.c keeps an occurrence with probability √(t/f) + t/f, f being the word's share of the text."""
    grade("keep_probability", zipf_counts(rng), float(10 ** rng.uniform(-4, -2)), "c")


@todo("keep-probability", cuda=False)
def test_the_formula_of_the_paper(grade, rng):
    """The paper discards an occurrence with probability 1 - √(t/f); asked for is how likely it is to stay."""
    grade("keep_probability", zipf_counts(rng), float(10 ** rng.uniform(-4, -2)), "paper")


@todo("keep-probability", cuda=False)
def test_rare_words_always_stay(grade, rng):
    """No probability is above 1, however rare the word and whatever the t."""
    counts = zipf_counts(rng, size=int(rng.integers(20, 60)))
    for formula in ("c", "paper"):
        keep = grade("keep_probability", counts, float(rng.uniform(0.02, 0.1)), formula)
        assert keep.max() <= 1, f"a word stays with probability {keep.max():.4g}"


@todo("keep-probability", edge=True, cuda=False)
def test_formula_and_t_are_checked(grade, rng):
    """Another formula, and a t of 0 or less, raise ValueError."""
    counts = zipf_counts(rng)
    grade("keep_probability", counts, 1e-3, "gensim", raises=ValueError, match="formula")
    for t in (0.0, -1e-3):
        grade("keep_probability", counts, t, "c", raises=ValueError, match=r"\bt\b")


# ---------------------------------------------------------------- draw-negatives


@todo("draw-negatives", cuda=False)
def test_draws_fall_into_slices(grade, rng):
    """Each draw gives the word whose slice of [0, 1) it falls into, each as wide as count^0.75 / Σ count^0.75."""
    grade("draw_negatives", zipf_counts(rng), rng.random((40, 5)))


@todo("draw-negatives", cuda=False)
def test_the_power_changes_the_slices(grade, rng):
    """Power 1 draws by frequency, power 0 draws every word alike; any shape of draws is welcome."""
    counts = rng.permutation(zipf_counts(rng))
    for power in (0.0, 1.0, float(rng.uniform(0.2, 0.6))):
        grade("draw_negatives", counts, rng.random(150), power)


@todo("draw-negatives", edge=True, cuda=False)
def test_the_left_end_belongs_to_a_slice(grade, rng):
    """A draw at which one slice ends and the next begins gives the next word; a draw of 0 gives word 0."""
    counts = np.array([1, 2, 1, 4])[rng.permutation(4)]
    grade("draw_negatives", counts, np.arange(8) / 8, 1.0)


@todo("draw-negatives", edge=True, cuda=False)
def test_the_largest_draw_is_a_word(grade, rng):
    """The largest number below 1 gives the last word, in large vocabularies too, whose slices add up inexactly."""
    for _ in range(200):
        counts = rng.integers(5, 1000, size=400)
        share = counts**0.75 / (counts**0.75).sum()
        if np.cumsum(share)[-1] < 1:
            break
    else:
        raise WeakDraw
    grade("draw_negatives", counts, np.array([np.nextafter(1.0, 0.0), 0.5]))


# ---------------------------------------------------------------- context-table


@todo("context-table", cuda=False)
def test_whole_windows(grade, rng):
    """Without draws every token looks W words to the left and W to the right, nearest words in the middle columns."""
    ids, _ = text(rng)
    grade("context_table", ids, np.zeros(len(ids), dtype=np.int64), int(rng.integers(2, 6)))


@todo("context-table", cuda=False)
def test_windows_end_with_the_sentence(grade, rng):
    """A window never reaches into another sentence, however short the sentences are."""
    grade("context_table", *text(rng), 4)
    grade("context_table", *text(rng, sentence_length=2), 5)


@todo("context-table", cuda=False)
def test_draws_set_how_far_a_token_looks(grade, rng):
    """With draws, token i looks 1 to W words far, each for an equal part of [0, 1), the smallest draws for 1."""
    ids, sentence = text(rng, sentence_length=25)
    grade("context_table", ids, sentence, 5, rng.random(len(ids)))
    grade("context_table", ids, sentence, 3, rng.random(len(ids)))


@todo("context-table", edge=True, cuda=False)
def test_the_ends_of_the_draws(grade, rng):
    """A draw of 0 looks one word far, the largest draw looks W words far."""
    ids, _ = text(rng, n=12)
    draws = np.where(rng.random(12) < 0.5, 0.0, np.nextafter(1.0, 0.0))
    draws[:2] = draws[0], 0.0 if draws[0] else np.nextafter(1.0, 0.0)
    grade("context_table", ids, np.zeros(12, dtype=np.int64), 4, draws)


@todo("context-table", edge=True, cuda=False)
def test_texts_shorter_than_the_window(grade, rng):
    """Texts of one, two or three words have windows too, mostly empty."""
    for n in (1, 2, 3):
        grade("context_table", rng.integers(0, 9, size=n), np.zeros(n, dtype=np.int64), 5)


@todo("context-table", cuda=False)
def test_no_loop_over_the_tokens(grade, rng):
    """The work is done by NumPy: 3,000 tokens take few steps of Python."""
    ids, sentence = text(rng, n=3000, size=50)
    steps, table = grade.call("steps_of_context_table", ids, sentence, 5, rng.random(3000))
    assert np.shape(table) == (3000, 10), f"the table's shape is {np.shape(table)}, not (3000, 10)"
    assert steps < 1000, f"3,000 tokens took {steps:,} lines of Python: let NumPy loop over the tokens"


# ---------------------------------------------------------------- nearest


@todo("nearest", cuda=False)
def test_cosines_not_dot_products(grade, rng):
    """Long vectors have no advantage, and the length of the query does not matter."""
    vectors = rng.normal(size=(40, 6)) * rng.uniform(0.1, 10, size=(40, 1))
    grade("nearest", vectors, float(rng.uniform(2, 50)) * rng.normal(size=6), int(rng.integers(4, 12)))


@todo("nearest", cuda=False)
def test_excluded_words_make_room(grade, rng):
    """Excluded words are no answers, and the next best take their places."""
    vectors = rng.normal(size=(30, 5))
    query = rng.normal(size=5)
    order = np.argsort(-(vectors @ query) / np.linalg.norm(vectors, axis=1))
    grade("nearest", vectors, query, 5, [int(i) for i in order[[0, 2, 7]]])
    i = int(rng.integers(30))
    grade("nearest", vectors, vectors[i], 6, [i])


@todo("nearest", cuda=False)
def test_equal_cosines_by_id(grade, rng):
    """Of equally near words the lower id comes first, also where the list is cut."""
    few = np.eye(4)[:, rng.permutation(4)]
    vectors = few[rng.integers(0, 4, size=120)] * 2.0 ** rng.integers(-3, 4, size=(120, 1))
    grade("nearest", vectors, few[0] + 2 * few[1], 45)


@todo("nearest", edge=True, cuda=False)
def test_zero_vectors_and_short_lists(grade, rng):
    """A vector of zeros has cosine 0 with everything; where fewer than k words are left, they are all returned."""
    vectors = rng.normal(size=(7, 4))
    vectors[[2, 5]] = 0
    grade("nearest", vectors, rng.normal(size=4), 20, [1])
    grade("nearest", vectors, np.zeros(4), 3)


@todo("nearest", edge=True, cuda=False)
def test_k_below_one(grade, rng):
    """k < 1 raises ValueError."""
    vectors = rng.normal(size=(5, 3))
    for k in (0, -2):
        grade("nearest", vectors, vectors[0], k, raises=ValueError, match=r"\bk\b")


# ---------------------------------------------------------------- sgns-gradients


@todo("sgns-gradients", points=2, cuda=False)
def test_losses_and_gradients(grade, rng):
    """Loss and both gradients for a batch in which every word comes once."""
    inputs, outputs = tables(rng)
    grade("sgns_gradients", inputs, outputs, *distinct_batch(rng, 30))


@todo("sgns-gradients", cuda=False)
def test_repeated_words_collect_every_share(grade, rng):
    """A word that comes several times in the batch, in any role, gets the sum of all its shares."""
    inputs, outputs = tables(rng, size=5, dim=4)
    grade("sgns_gradients", inputs, outputs, *batch(rng, 5, pairs=20))


@todo("sgns-gradients", cuda=False)
def test_any_number_of_pairs_and_negatives(grade, rng):
    """The loss is summed over K negatives, the gradient over B pairs: neither is an average."""
    inputs, outputs = tables(rng, size=9)
    for pairs, negatives in ((1, 1), (3, 12), (25, 2)):
        grade("sgns_gradients", inputs, outputs, *batch(rng, 9, pairs, negatives))


@todo("sgns-gradients", cuda=False)
def test_large_scores_stay_finite(grade, rng):
    """Scores of several hundred, right or wrong, give the exact loss: not infinite, and not capped either."""
    inputs, outputs = tables(rng, size=12, dim=4, scale=20.0)
    grade("sgns_gradients", inputs, outputs, *batch(rng, 12, pairs=16))


# ---------------------------------------------------------------- skip-gram


@todo("skip-gram")
def test_one_loss_per_pair(grade, rng):
    """Each pair's loss is that of its positive and, summed, of its K negatives."""
    inputs, outputs = tables(rng)
    grade("skip_gram", *tensors(inputs, outputs, *batch(rng, 30)))
    grade("skip_gram", *tensors(inputs, outputs, *batch(rng, 30, pairs=3, negatives=9)))


@todo("skip-gram")
def test_gradients_reach_both_tables(grade, rng):
    """Backward fills the rows of the batch: centers in inputs, contexts and negatives in outputs."""
    inputs, outputs = tables(rng, size=10, dim=5)
    grade("skip_gram_slopes", *tensors(inputs, outputs, *batch(rng, 10), rng.uniform(0.5, 2, size=8)))


@todo("skip-gram")
def test_the_loss_begins_at_k_plus_1_ln_2(grade, rng):
    """Before training every score is 0, so K + 1 coin flips cost (K + 1) ln 2."""
    for k in (1, int(rng.integers(3, 12))):
        got = grade("skip_gram_before_training", 20, 8, *tensors(*batch(rng, 20, negatives=k)))
        assert abs(float(got[0]) - (k + 1) * math.log(2)) < 1e-4, f"K = {k}: the loss begins at {float(got[0]):.4f}"


@todo("skip-gram")
def test_large_scores_in_float32(grade, rng):
    """Scores of several hundred give the exact loss in float32 too: not infinite, and not capped."""
    inputs, outputs = (20 * table.astype(np.float32) for table in tables(rng, size=12))
    _, context, negatives = batch(rng, 12)
    center = rng.permutation(12)[:8]
    inputs[center[:2]] /= 100  # two pairs with small scores
    grade("skip_gram", *tensors(inputs, outputs, center, context, negatives), rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- cbow


@todo("cbow", points=2)
def test_cbow_with_full_windows(grade, rng):
    """The mean of the context's input vectors predicts the center with its output vector."""
    inputs, outputs = tables(rng)
    center, _, negatives = batch(rng, 30, pairs=9)
    grade("cbow", *tensors(inputs, outputs, center, window_rows(rng, 30, missing=0), negatives))


@todo("cbow")
def test_cbow_averages_the_words_that_are_there(grade, rng):
    """-1 is no word: it adds nothing to the mean and does not count in it."""
    inputs, outputs = tables(rng, size=12)
    center, _, negatives = batch(rng, 12, pairs=9)
    grade("cbow", *tensors(inputs, outputs, center, window_rows(rng, 12), negatives))
    grade("cbow", *tensors(inputs, outputs, center, window_rows(rng, 12, missing=1.0), negatives))


@todo("cbow")
def test_cbow_gradients(grade, rng):
    """Each context word gets its share of the mean's gradient, and words outside the windows get none."""
    inputs, outputs = tables(rng, size=12)
    center, _, negatives = batch(rng, 12, pairs=9)
    weights = rng.uniform(0.5, 2, size=9)
    grade("cbow_slopes", *tensors(inputs, outputs, center, window_rows(rng, 12), negatives, weights))


# ---------------------------------------------------------------- the whole lab


@whole_lab(points=3, cuda=False)
def test_from_text_to_neighbours(grade, rng):
    """Your vocabulary, draws, windows, both trainings and neighbours, one after the other."""
    lists = sentences(rng, words(rng, 12), n=10)
    draws, start = rng.random((3, 200)), rng.normal(size=(12, 6))
    got = grade("from_text_to_neighbours", lists, draws, start, 3, 0.02, rtol=1e-6, atol=1e-8)
    apart = np.abs(np.subtract(got["losses by hand"], got["losses by autograd"])).max()
    assert apart < 1e-9, f"your gradients by hand and autograd lead apart: losses differ by {apart:.2g}"
