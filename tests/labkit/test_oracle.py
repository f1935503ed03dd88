"""Which known mistake is named: by the message of a check, or by what its calls gave."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from labkit.grading import oracle
from labkit.grading.verdicts import Failure, Verdict
from labkit.grading.wire import Raised


class Known:
    """A draw whose mistakes say or give what they are told to."""

    def __init__(self, said=(), given=()):
        self.said, self.given = dict(said), dict(given)

    def mistakes(self):
        return [SimpleNamespace(name=name) for name in {**self.said, **self.given}]

    def message(self, name):
        return self.said[name]

    def outcomes(self, name, calls, device):
        return self.given[name]


def test_the_very_same_message_is_preferred_and_numbers_may_differ_where_none_is():
    grade = SimpleNamespace(calls=[1], draw=Known(said={"other": "counted 7, not 5", "same": "counted 6, not 5"}))

    def named(message):
        failure = Failure(Verdict.WRONG, message, check=True)
        return [mistake.name for mistake in oracle.matching_mistakes(grade, failure)]

    assert named("counted 6, not 5") == ["same"]
    assert named("counted 9, not 5") == ["other", "same"]
    assert named("something else") == []


def test_an_error_that_had_to_be_raised_hides_no_later_hint():
    def raised(message):
        return Raised("ValueError", ("ValueError",), message)

    def call(got):
        return SimpleNamespace(got=got, rtol=None, atol=None)

    wanted, wrong = np.zeros(5), np.ones(5)
    calls = [call(raised("documents: bad")), call(wrong)]
    draw = Known(given={"ones": [raised("documents: expected ids"), wrong], "other": [wrong, wrong]})
    failure = Failure(Verdict.WRONG, "5 of 5 elements differ", wanted=wanted)
    grade = SimpleNamespace(calls=calls, draw=draw, device=None)
    assert [mistake.name for mistake in oracle.matching_mistakes(grade, failure)] == ["ones"]
    calls.reverse()  # now the error is what is wrong, and its words count
    draw.given = {"ones": [wrong, raised("documents: expected ids")]}
    assert oracle.matching_mistakes(grade, failure) == []


def test_agreement_in_infinities_says_something_and_in_nan_nothing():
    wanted = np.arange(8.0)
    wrong = np.where(np.arange(8) < 4, -np.inf, 1.0)
    assert oracle._informative(wrong, wanted, None, None)
    assert not oracle._informative(np.full(8, np.nan), wanted, None, None)
    assert not oracle._informative(np.where(wanted < 7, np.nan, wanted), wanted, None, None)
    assert not oracle._informative(np.full(8, np.inf), wanted, None, None)
