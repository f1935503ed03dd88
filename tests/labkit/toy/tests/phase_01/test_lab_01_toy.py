"""Checks of the toy lab."""

from labkit.grading import todo, whole_lab


@todo("scale-rows", points=2)
def test_rows_are_scaled(grade, rng):
    """Every row is divided by its own sum."""
    grade("scale_rows", rng.uniform(0.5, 2.0, (5, 7)))


@todo("scale-rows", edge=True)
def test_a_vector_is_refused(grade, rng):
    """x with one axis is a ValueError."""
    grade("scale_rows", rng.uniform(size=4), raises=ValueError, match="2 axes")


@todo("entropy")
def test_entropy_of_random_rows(grade, rng):
    """The entropy of each row, in nats."""
    p = rng.dirichlet([1.0] * 6, size=5)
    grade("entropy", p)


@todo("entropy")
def test_entropy_is_at_most_log_d(grade, rng):
    """No entropy exceeds the logarithm of the number of columns."""
    values = grade.call("entropy", rng.dirichlet([1.0] * 6, size=5))
    assert values.shape == (5,), f"the shape is {values.shape}, not (5,)"
    assert (values > 0).all() and (values <= 1.8).all(), f"the largest value is {values.max():.3f}"


@todo("vocab")
def test_ids_follow_first_appearance(grade, rng):
    """The first new word gets 0, the next new one 1."""
    grade("vocab_ids", [f"w{i}" for i in rng.integers(0, 9, 30)])


@whole_lab()
def test_entropy_of_scaled_rows(grade, rng):
    """Everything together."""
    grade("everything", rng.uniform(0.5, 2.0, (5, 7)), ["b", "a", "b"])
