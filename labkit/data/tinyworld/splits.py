"""Endless training items, and held-out ones that share nothing with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Generic, TypeVar

from labkit.data.tinyworld.choice import Chooser, seed_of

T = TypeVar("T")

SPLITS = ("validation", "test", "train")
HELD_OUT = 1000  # items of validation, and of test


class Stream(Generic[T]):
    """Items of one kind. Item i of a split depends on (seed, kind, split, i) alone.

    make(choose, title): draws an item.      keys(item): the strings that no two splits may share.
    Validation comes first and is drawn freely. An item of test that shares a key with validation is drawn again, and so
    is an item of train that shares one with either; `attempts / items` is 1 / (the chance to be kept).
    """

    def __init__(
        self, seed: int, kind: int, name: str, make: Callable[[Chooser, str], T], keys: Callable[[T], Iterable[str]]
    ) -> None:
        self.seed, self.kind, self.name, self.make, self.keys = seed, kind, name, make, keys

    def draw(self, split: str, index: int, taken: frozenset[str]) -> tuple[T, int]:
        """-> the item and how many times it was drawn. Raises RuntimeError after 1000 draws."""
        title = f"{split} {self.name} {index}"
        for attempt in range(1000):
            choose = Chooser(seed_of(self.seed, self.kind, SPLITS.index(split), index, attempt))
            item = self.make(choose, title)
            if taken.isdisjoint(self.keys(item)):
                return item, attempt + 1
        raise RuntimeError(f"{title}: 1000 draws all shared a text with the held-out items")

    @cached_property
    def validation(self) -> list[T]:
        return [self.draw("validation", i, frozenset())[0] for i in range(HELD_OUT)]

    @cached_property
    def test(self) -> list[T]:
        taken = self.keys_of(self.validation)
        return [self.draw("test", i, taken)[0] for i in range(HELD_OUT)]

    @cached_property
    def held_out(self) -> frozenset[str]:
        return self.keys_of(self.validation) | self.keys_of(self.test)

    def keys_of(self, items: Iterable[T]) -> frozenset[str]:
        return frozenset(key for item in items for key in self.keys(item))

    def items(self, split: str, count: int | None = None, start: int = 0) -> Iterator[T]:
        """Items start, start + 1, ... of a split: `count` of them, all of a held-out split for None.

        Raises ValueError for an unknown split and for items that a held-out split does not have.
        """
        if split not in SPLITS:
            raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
        if start < 0 or (count is not None and count < 0):
            raise ValueError(f"start and count: expected 0 or more, got {start} and {count}")
        if split == "train":
            if count is None:
                raise ValueError("count: the training split has no end, so say how many items of it you want")
            return (self.draw("train", i, self.held_out)[0] for i in range(start, start + count))
        if start + (count or 0) > HELD_OUT:
            raise ValueError(f"{split} has {HELD_OUT} items, asked for {start} to {start + count}")
        held_out = self.validation if split == "validation" else self.test
        return iter(held_out[start : None if count is None else start + count])
