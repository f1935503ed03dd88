"""What counts as equal, what as different, and that no value of a learner's can break the comparison."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from labkit.grading import compare, diagnose
from labkit.grading.wire import Opaque, Raised, Record

EQUAL = [
    (1, 1),
    (10**30, 10**30),
    ([10**30, -1], [10**30, -1]),
    (1, 1.0),
    (np.float64(2.0), 2.0),
    (0.1 + 0.2, 0.3),
    (math.nan, math.nan),
    ("é", "é"),
    ({"a": [1, (2.0, None)]}, {"a": [1, (2.0, None)]}),
    (np.array([1.0, np.nan]), np.array([1.0 + 1e-10, np.nan])),
    (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
    (np.array(["a", "bc"]), np.array(["a", "bc"])),
    (Record("P", (("x", 1),)), Record("P", (("x", 1),))),
    (Raised("KeyError", ("KeyError", "LookupError"), "x"), Raised("KeyError", ("KeyError", "LookupError"), "y")),
]
DIFFERENT = [
    ([2**63 + 1, -1], [2**63, -1]),
    ([2**200, 1], [2**63, 1]),
    (True, 1),
    (1, True),
    (1.5, 1),
    (10**30, 10**30 + 1),
    (10**30, 1.0),
    (math.nan, 1.0),
    (1.0, math.nan),
    ((1, 2), [1, 2]),
    ([1, 2], [1, 2, 3]),
    ({"a": 1}, {"b": 1}),
    (None, 0),
    (np.zeros(3), np.zeros(3, dtype="float32")),
    (np.zeros(3), np.zeros((3, 1))),
    (np.zeros(3), torch.zeros(3)),
    (torch.zeros(()), 0.0),
    ([0.0], np.zeros(1)),
    (Record("P", (("x", 1),)), Record("Q", (("x", 1),))),
    (Opaque("E", ""), Opaque("E", "")),
    (Raised("KeyError", ("KeyError",), ""), Raised("ValueError", ("ValueError",), "")),
]


@pytest.mark.parametrize(("got", "wanted"), EQUAL, ids=repr)
def test_equal(got, wanted):
    assert compare.compare(got, wanted) is None


@pytest.mark.parametrize(("got", "wanted"), DIFFERENT, ids=repr)
def test_different(got, wanted):
    assert compare.compare(got, wanted) is not None


def test_any_two_values_can_be_compared_shown_and_diagnosed():
    odd = [[np.zeros(2), np.ones(3)], [np.zeros((2, 2)), 1, 2, 3], [1, "a", None, 2.0], [[1], [2], [3], [4]]]
    values = [value for pair in (*EQUAL, *DIFFERENT) for value in pair] + odd
    for got, wanted in itertools.product(values, values):
        difference = compare.compare(got, wanted)
        if difference is not None:
            diagnose.values(difference, None, None)
            diagnose.general(got, wanted, (), difference)


@pytest.mark.parametrize(
    ("rtol", "atol", "equal"), [(None, 1e-3, True), (1e-3, None, True), (1e-5, None, False), (None, 0.0, False)]
)
def test_tolerances_are_those_asked_for(rtol, atol, equal):
    assert (compare.compare(1.0005, 1.0, rtol, atol) is None) == equal
    assert (compare.compare(np.array([1.0005]), np.array([1.0]), rtol, atol) is None) == equal


def test_arrays_inside_containers_are_shown_short():
    table = torch.zeros(3, 4)
    assert diagnose.show([table, 1]) == "[Tensor float32 (3, 4) [0, 0, 0, 0, 0, 0, ...], 1]"
    assert diagnose.show({"w": (table, None)}) == "{'w': (Tensor float32 (3, 4) [0, 0, 0, 0, 0, 0, ...], None)}"
    assert diagnose.show([[1, 2], "a"]) == "[[1, 2], 'a']"


def test_a_length_is_reported_at_the_list_that_has_it():
    difference = compare.compare([[1, 5], 0], [[1, 2, 3], 0])
    assert (difference.path, difference.got, difference.wanted) == ("[0]", [1, 5], [1, 2, 3])
    assert difference.message == "it has 2 items, not 3"
