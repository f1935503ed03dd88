"""Checks of the toy lab."""

from labkit.grading import todo, whole_lab


@todo("center", points=2)
def test_columns_are_centred(grade, rng):
    """Every column has mean zero, three arrays in a row."""
    for rows in (4, 6, 9):
        grade("center", rng.normal(3, 2, (rows, 5)))


@todo("center", edge=True)
def test_a_vector_is_refused(grade, rng):
    """x with one axis is a ValueError."""
    grade("center", rng.normal(size=4), raises=ValueError, match="2 axes")


@todo("rank", points=3)
def test_frequent_words_come_first(grade, rng):
    """The most frequent word has rank 0."""
    grade("rank", [f"w{i}" for i in rng.geometric(0.2, 40)])


@whole_lab()
def test_everything_together(grade, rng):
    """Both pieces work together."""
    grade("everything", rng.normal(size=(5, 3)), list("abracadabra"))
