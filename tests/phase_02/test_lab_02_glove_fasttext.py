"""Graded checks of lab 2.2, GloVe and FastText. Texts and words are made up, anew for every seed."""

from __future__ import annotations

from functools import partial

import numpy as np

from labkit.grading import todo as on_any_device
from labkit.grading import whole_lab as whole_lab_on_any_device

todo = partial(on_any_device, cuda=False)  # NumPy throughout
whole_lab = partial(whole_lab_on_any_device, cuda=False)

LETTERS = list("abdeghiklmnorstuz")
MORE_LETTERS = list("äéßñøžяж中日אن") + ["😀", "e\u0301"]

# ---------------------------------------------------------------- made-up inputs


def word(rng, size: int, letters: list[str] = LETTERS) -> str:
    return "".join(str(letter) for letter in rng.choice(letters, size=size))


def text(rng, n: int = 80, size: int = 12, sentence_length: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Ids (every one of them occurs) and ascending sentence numbers, with gaps where a sentence was empty."""
    starts = rng.random(n) < 1 / sentence_length
    ids = rng.permutation(np.concatenate([np.arange(size), rng.integers(0, size, n - size)]))
    return ids, np.cumsum(starts * rng.integers(1, 3, size=n))


def some_cells(rng, size: int = 9, share: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of a matrix that is not symmetric; every row and column holds one at least."""
    there = (rng.random((size, size)) < share) | np.eye(size, dtype=bool)
    row, column = np.nonzero(there)
    return row, column, rng.uniform(0.2, 40, size=len(row))


def glove_inputs(rng, size: int = 10, dim: int = 5, cells: int = 30, largest: float = 90.0) -> list[np.ndarray]:
    """Two tables, two biases, and cells in any order, many of them in one row or column."""
    tables = [0.6 * rng.normal(size=shape) for shape in ((size, dim), (size, dim), size, size)]
    row, column = rng.integers(0, size, size=(2, cells))
    return [*tables, row, column, np.exp(rng.uniform(np.log(0.2), np.log(largest), size=cells))]


# ---------------------------------------------------------------- character-ngrams


@todo("character-ngrams")
def test_ngrams_of_three_to_six(grade, rng):
    """A word's n-grams have 3 to 6 characters, marks included, listed by start and then by length."""
    for size in rng.permutation(np.arange(1, 12)):
        grade("character_ngrams", word(rng, int(size)))


@todo("character-ngrams")
def test_ngrams_of_other_lengths(grade, rng):
    """min_n and max_n count, and an n-gram that occurs twice is listed twice."""
    text = word(rng, 3)
    grade("character_ngrams", text + text, 2, 3)
    low = int(rng.integers(2, 5))
    grade("character_ngrams", word(rng, 9), low, low + int(rng.integers(0, 3)))


@todo("character-ngrams")
def test_marks_alone_are_no_ngrams(grade, rng):
    """With min_n = 1 single characters are n-grams, but neither mark is one by itself."""
    grade("character_ngrams", word(rng, 5), 1, 2)
    grade("character_ngrams", word(rng, 7), 1, 1)


@todo("character-ngrams")
def test_characters_are_not_bytes(grade, rng):
    """Letters that take two bytes or more in UTF-8 count as one character each."""
    for _ in range(3):
        grade("character_ngrams", word(rng, 6, MORE_LETTERS))


@todo("character-ngrams", edge=True)
def test_short_words_and_bad_lengths(grade, rng):
    """A word shorter than min_n with its marks has no n-gram; min_n and max_n out of order raise ValueError."""
    grade("character_ngrams", word(rng, 2), 5, 6)
    grade("character_ngrams", "", 3, 6)
    for low, high in ((0, 3), (4, 3), (-1, 2)):
        grade("character_ngrams", word(rng, 4), low, high, raises=ValueError, match="min_n")


# ---------------------------------------------------------------- ngram-hash


@todo("ngram-hash")
def test_hash_of_ascii(grade, rng):
    """FNV-1a, 32 bits, of plain letters."""
    grade("hashes", [word(rng, int(size)) for size in rng.integers(3, 7, size=12)] + ["<wh", "re>"])


@todo("ngram-hash")
def test_hash_of_signed_bytes(grade, rng):
    """Bytes above 127 enter as negative 8-bit numbers widened to 32 bits, as in fastText's C++."""
    grade("hashes", [word(rng, int(size), MORE_LETTERS) for size in rng.integers(1, 5, size=12)])


@todo("ngram-hash", edge=True)
def test_hash_of_nothing(grade, rng):
    """Without any byte the hash is where it begins."""
    grade("hashes", [""])


# ---------------------------------------------------------------- subword-rows


@todo("subword-rows")
def test_rows_of_a_known_word(grade, rng):
    """A word of the vocabulary uses its own row, then V + hash modulo buckets for every n-gram."""
    words = [word(rng, int(size)) + str(i) for i, size in enumerate(rng.integers(2, 9, size=6))]
    ids = {w: int(i) for w, i in zip(words, rng.permutation(6), strict=True)}
    grade("rows_of", words, ids, int(rng.integers(50, 5_000)))


@todo("subword-rows")
def test_rows_of_an_unknown_word(grade, rng):
    """A word outside the vocabulary has the rows of its n-grams and none of its own."""
    ids = {word(rng, 4): i for i in range(3)}
    unknown = [word(rng, int(size)) for size in rng.integers(5, 9, size=4)]
    grade("rows_of", unknown, ids, int(rng.integers(50, 5_000)))


@todo("subword-rows")
def test_rows_repeat_with_their_ngrams(grade, rng):
    """An n-gram that comes twice, and two n-grams in one bucket, each give a row each time."""
    text = word(rng, 4)
    grade("rows_of", [text + text, text], {text: 0}, 7)


@todo("subword-rows")
def test_rows_with_other_ngram_lengths(grade, rng):
    """min_n and max_n reach the n-grams."""
    grade("rows_of", [word(rng, 6), word(rng, 8, MORE_LETTERS)], {}, 1_000, 2, 4)
    grade("rows_by_default", word(rng, 8), {}, 2_000_000)


@todo("subword-rows", edge=True)
def test_rows_of_a_word_without_ngrams(grade, rng):
    """An unknown word too short for any n-gram has no row: an empty array of whole numbers."""
    grade("rows_of", [word(rng, 1)], {word(rng, 5): 0}, 100, 4, 6)


# ---------------------------------------------------------------- cooccurrence


@todo("cooccurrence", points=2)
def test_harmonic_counts(grade, rng):
    """A pair at distance d adds 1/d in both directions; each cell comes once, by row, then by column."""
    grade("cells", *text(rng), int(rng.integers(2, 6)), "harmonic")
    grade("cells_by_default", *text(rng), 3)


@todo("cooccurrence")
def test_linear_counts(grade, rng):
    """With "linear" a pair at distance d adds (W - d + 1)/W: 1 at distance 1."""
    grade("cells", *text(rng), int(rng.integers(2, 6)), "linear")


@todo("cooccurrence")
def test_windows_end_with_the_sentence(grade, rng):
    """Words of different sentences never meet, however near they stand in the arrays."""
    grade("table", *text(rng, n=60, size=20, sentence_length=3), int(rng.integers(3, 6)), "harmonic")


@todo("cooccurrence")
def test_a_word_beside_itself(grade, rng):
    """Equal words at distance d add 2/d to the diagonal: once for each direction."""
    ids = np.repeat(rng.permutation(5), rng.integers(2, 5, size=5))
    grade("table", ids, np.zeros(len(ids), dtype=np.int64), 3, "harmonic")


@todo("cooccurrence")
def test_the_table_is_never_dense(grade, rng):
    """Thirty words with ids up to 3,000 need a few kilobytes, not a V x V table."""
    ids = rng.choice(3_000, size=30, replace=False)[rng.integers(0, 30, size=90)]
    ids[:2] = 2_999, 0
    found = grade("cells_and_memory", ids, np.arange(90) // 20, 3)
    assert not found["held a V x V table"], "your function held as much memory as a V x V table"


@todo("cooccurrence")
def test_no_loop_over_the_tokens(grade, rng):
    """Ten times as many tokens run no more lines of Python: NumPy does the counting."""
    steps, _ = grade.call("steps_of_cooccurrence", *text(rng, n=200), 4)
    more, found = grade.call("steps_of_cooccurrence", *text(rng, n=2_000), 4)
    assert len(found) == 3 and len(found[2]) > 100, "expected row, column and x of more than 100 cells"
    assert more <= steps + 50, f"200 tokens took {steps} lines of Python, 2,000 took {more}"


@todo("cooccurrence", edge=True)
def test_windows_wider_than_the_text(grade, rng):
    """A window may be wider than the text; a text in which no two words meet gives empty arrays."""
    ids = rng.integers(0, 5, size=4)
    grade("cells", ids, np.zeros(4, dtype=np.int64), 9, "linear")
    grade("cells", ids, np.arange(4), 2, "harmonic")
    grade("cells", ids[:0], ids[:0], 2, "harmonic")


@todo("cooccurrence", edge=True)
def test_bad_windows_and_weightings(grade, rng):
    """window < 1 and a weighting of another name raise ValueError."""
    ids, sentence = text(rng)
    grade("cells", ids, sentence, 0, "harmonic", raises=ValueError, match="window")
    grade("cells", ids, sentence, 3, "flat", raises=ValueError, match="weighting")


# ---------------------------------------------------------------- shifted-pmi


@todo("shifted-pmi", points=2)
def test_plain_pmi(grade, rng):
    """ln P(w, c) / (P(w) P(c)), of a matrix that need not be symmetric."""
    grade("shifted_pmi", *some_cells(rng))


@todo("shifted-pmi")
def test_pmi_is_shifted(grade, rng):
    """ln K is subtracted, and negative values stay."""
    found = grade("shifted_pmi", *some_cells(rng), float(rng.uniform(2, 15)))
    assert (found < 0).any(), "no value is negative: keeping the positive ones only is not this function's business"


@todo("shifted-pmi")
def test_pmi_with_smoothed_contexts(grade, rng):
    """power bends the distribution of the contexts, which still adds up to 1, and leaves that of the words alone."""
    grade("shifted_pmi", *some_cells(rng), 1, 0.75)
    grade("shifted_pmi", *some_cells(rng), float(rng.uniform(2, 9)), float(rng.uniform(0.3, 0.9)))


@todo("shifted-pmi")
def test_pmi_ignores_the_size_of_the_corpus(grade, rng):
    """A corpus read twice has the same PMI; so has one whose words above some id never occur in a row."""
    row, column, x = some_cells(rng)
    grade("shifted_pmi", row, column + int(rng.integers(2, 9)), x)
    once, twice = grade.call("shifted_pmi", row, column, x), grade.call("shifted_pmi", row, column, 2 * x)
    assert np.allclose(once, twice), "the values changed when every count was doubled"


@todo("shifted-pmi", edge=True)
def test_pmi_without_negatives(grade, rng):
    """negatives of 0 or less raise ValueError: ln of that is no number."""
    for negatives in (0, -1):
        grade("shifted_pmi", *some_cells(rng), negatives, raises=ValueError, match="negatives")


# ---------------------------------------------------------------- glove-weight


@todo("glove-weight")
def test_weight_with_its_defaults(grade, rng):
    """(x / 100)^0.75 below 100, and 1 from there on."""
    grade("glove_weight", np.exp(rng.uniform(np.log(0.1), np.log(5_000), size=40)))


@todo("glove-weight")
def test_weight_with_other_parameters(grade, rng):
    """x_max and alpha are used."""
    grade("glove_weight", rng.uniform(0.1, 60, size=30), float(rng.uniform(5, 30)), float(rng.uniform(0.3, 1.5)))


# ---------------------------------------------------------------- adagrad


@todo("adagrad")
def test_one_adagrad_step(grade, rng):
    """The gradient's square is collected first, then divides the step: in place, in both arrays."""
    parameter, gradient = rng.normal(size=(2, 6, 4))
    grade("adagrad_steps", parameter, [gradient], rng.uniform(0.1, 2, size=(6, 4)), float(rng.uniform(0.05, 0.5)))


@todo("adagrad")
def test_adagrad_remembers(grade, rng):
    """Every step is divided by the root of all squares so far, each number's own."""
    parameter, *gradients = rng.normal(size=(5, 7))
    grade("adagrad_steps", parameter, gradients, np.ones(7), float(rng.uniform(0.05, 0.5)))


@todo("adagrad", edge=True)
def test_adagrad_without_a_gradient_so_far(grade, rng):
    """Where the accumulator starts at 0 and no gradient came, nothing moves and nothing becomes NaN."""
    gradient = rng.normal(size=(5, 3))
    gradient[[1, 4]] = 0
    grade("adagrad_steps", rng.normal(size=(5, 3)), [gradient, gradient], np.zeros((5, 3)), 0.1)


# ---------------------------------------------------------------- glove-gradients


@todo("glove-gradients", points=3)
def test_glove_losses_and_slopes(grade, rng):
    """The weighted squared error of each cell, and the slopes of their sum in both tables and both biases."""
    row = rng.permutation(12)
    inputs = glove_inputs(rng, size=12)
    inputs[4:] = [row, rng.permutation(12), np.exp(rng.uniform(-1, 4, size=12))]
    grade("glove_gradients", *inputs)


@todo("glove-gradients")
def test_slopes_of_many_cells_add_up(grade, rng):
    """Where many cells share a word, their slopes add up; words of no cell have slope 0."""
    grade("glove_gradients", *glove_inputs(rng, size=5, cells=60))
    tables = glove_inputs(rng, size=9)
    grade("glove_gradients", *tables[:4], *(part % 6 for part in tables[4:6]), tables[6])


@todo("glove-gradients")
def test_frequent_pairs_are_capped(grade, rng):
    """Cells above x_max weigh 1, and x_max is the caller's."""
    grade("glove_gradients", *glove_inputs(rng, largest=50_000))
    grade("glove_gradients", *glove_inputs(rng), float(rng.uniform(3, 20)))


@todo("glove-gradients", edge=True)
def test_a_perfect_fit_has_no_slope(grade, rng):
    """Where w · c + b + b' is ln x already, loss and slopes are 0."""
    *tables, row, column, _ = glove_inputs(rng)
    fitted = (tables[0][row] * tables[1][column]).sum(1) + tables[2][row] + tables[3][column]
    grade("glove_gradients", *tables, row, column, np.exp(fitted), atol=1e-9)


# ---------------------------------------------------------------- the whole lab


@whole_lab(points=2)
def test_from_counts_to_vectors(grade, rng):
    """Your counts through PPMI and SVD, and through GloVe's training."""
    ids, sentence = text(rng, n=400, size=25)
    grade("counted_vectors", ids, sentence, 4, 6, atol=1e-8)
    grade("glove_vectors", ids, sentence, 4, 6, 3, atol=1e-8)


@whole_lab()
def test_from_spelling_to_vectors(grade, rng):
    """Vectors of known and of unknown words from one table."""
    known = {word(rng, int(size)) + str(i): i for i, size in enumerate(rng.integers(2, 8, size=5))}
    unknown = [word(rng, 7), word(rng, 5, MORE_LETTERS), ""]
    grade("spelled_vectors", known, rng.normal(size=(5 + 97, 4)), unknown)
