"""The only source of chance in TinyWorld. It keeps account of what it has decided, in nats."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate
from math import log
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

NATS = [0.0] + [log(n) for n in range(1, 10_000)]  # NATS[n]: what one of n equally likely options costs


class Odds:
    """Options with weights, prepared once so that drawing is fast."""

    __slots__ = ("cumulative", "nats", "options", "total")

    def __init__(self, weights: dict[Any, float]) -> None:
        self.options = list(weights)
        self.cumulative = list(accumulate(weights.values()))
        self.total = self.cumulative[-1]
        self.nats = [log(self.total / weight) for weight in weights.values()]


class Chooser:
    """Draws and adds -ln p of every draw to `nats`.

    The stream depends on `seed` alone: only Random.random() is used, whose values Python promises not to change.
    """

    __slots__ = ("nats", "random")

    def __init__(self, seed: int) -> None:
        self.random = Random(seed).random
        self.nats = 0.0

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each as likely. They must differ, or the nats are too many."""
        n = len(options)
        self.nats += NATS[n]
        return options[int(self.random() * n)]

    def draw(self, odds: Odds) -> Any:
        """One of the options of `odds`, as likely as its weight says."""
        i = bisect_right(odds.cumulative, self.random() * odds.total)
        self.nats += odds.nats[i]
        return odds.options[i]

    def pick_new(self, options: Sequence[T], used: Collection[T]) -> T:
        """One of the options that are not in `used` (a part of them, without repeats), each as likely."""
        n = len(options)
        self.nats += log(n - len(used))
        while (option := options[int(self.random() * n)]) in used:
            pass
        return option

    def below(self, n: int) -> int:
        """0, 1, ... n-1, each as likely."""
        self.nats += NATS[n]
        return int(self.random() * n)

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """The options in random order."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(len(left))]


def seed_of(*parts: int) -> int:
    """One number from several of at most 64 bits, injectively: nearby parts give unrelated streams."""
    seed = 1
    for part in parts:
        if not 0 <= part < 1 << 64:
            raise ValueError(f"seed parts: expected whole numbers from 0 below 2**64, got {part!r}")
        seed = seed << 64 | part
    return seed
