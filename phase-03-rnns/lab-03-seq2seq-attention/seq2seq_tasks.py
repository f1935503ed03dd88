"""Characters as ids, and two generated tasks: dates in many formats to ISO 8601, and the reversal of a random string.

Both tasks know the right answer to every question. `rng` is a numpy Generator; nothing else is random.
"""

from __future__ import annotations

import datetime
import itertools
import string

import numpy as np
import torch
from torch import Tensor

EOS = 2  # as in solution.py, where 0 is PAD and 1 is BOS

MONTHS = ["January", "February", "March", "April", "May", "June", "July"]
MONTHS += ["August", "September", "October", "November", "December"]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
FIRST_DAY, LAST_DAY = datetime.date(1950, 1, 1).toordinal(), datetime.date(2049, 12, 31).toordinal()


class Vocabulary:
    """Characters as ids from 3 on; 0, 1 and 2 are PAD, BOS and EOS in every vocabulary."""

    def __init__(self, characters: str) -> None:
        self.characters = sorted(set(characters))
        self.size = len(self.characters) + 3
        self._id_of = {character: i for i, character in enumerate(self.characters, start=3)}

    def encode(self, text: str, end: bool = False) -> Tensor:
        """-> (L,) int64, followed by EOS if `end` is set.   Raises ValueError for a character that is not known."""
        try:
            ids = [self._id_of[character] for character in text]
        except KeyError as missing:
            raise ValueError(f"text: expected characters of the vocabulary, got {missing.args[0]!r}") from None
        return torch.tensor(ids + [EOS] * end, dtype=torch.int64)

    def decode(self, ids: list[int]) -> str:
        """The text up to the first EOS; PAD and BOS, which have no character, come out as a middle dot."""
        ids = ids[: ids.index(EOS)] if EOS in ids else ids
        return "".join(self.characters[i - 3] if i > EOS else "·" for i in ids)


# ---------------------------------------------------------------- dates


def bodies() -> list[str]:
    """Every way to write day, month and year, as templates for `write_date`. No two readings of one text differ:

    numbers with dots are day first, with slashes month first, with dashes or spaces year first; '49 and below is 20xx.
    """
    months = ["{Month}", "{Mon}", "{Mon}.", "{MONTH}", "{MON}", "{month}", "{mon}"]
    days, years = ["{d}", "{dd}", "{o}"], ["{yyyy}", "'{yy}"]
    found = [d + a + m + b + y for d, m, y in itertools.product(days, months, years) for a, b in DAY_FIRST]
    found += [m + " " + d + b + y for d, m, y in itertools.product(days, months, years) for b in (", ", " ")]
    found += [y + a + m + a + d for d, m, y in itertools.product(days, months, years) for a in (" ", "-", ", ")]
    for d, m in (("{d}", "{m}"), ("{dd}", "{mm}")):
        found += [f"{d}.{m}.{y}" for y in years] + [f"{m}/{d}/{y}" for y in years]
        found += [f"{{yyyy}}{a}{m}{a}{d}" for a in "- "]
    return found


DAY_FIRST = [(" ", " "), (" ", ", "), ("-", "-"), (". ", " "), (" of ", " "), (" of ", ", ")]
WEEKDAY_FORMS = ["", "{Wkd} ", "{Wkd}, ", "{Weekday} ", "{Weekday}, "]
LEADS = ["", "on ", "by ", "dated ", "since ", "not before "]


def write_date(date: datetime.date, template: str) -> str:
    """The date in one format.   write_date(date(2024, 3, 4), "{o} of {Month} '{yy}") == "4th of March '24" """
    month, weekday, day = MONTHS[date.month - 1], WEEKDAYS[date.weekday()], date.day
    ending = "th" if 11 <= day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    fields = {"d": day, "dd": f"{day:02}", "o": f"{day}{ending}", "m": date.month, "mm": f"{date.month:02}"}
    fields |= {"yyyy": date.year, "yy": f"{date.year % 100:02}", "Weekday": weekday, "Wkd": weekday[:3]}
    fields |= {"Month": month, "MONTH": month.upper(), "month": month.lower()}
    fields |= {"Mon": month[:3], "MON": month[:3].upper(), "mon": month[:3].lower()}
    return template.format_map(fields)


class Dates:
    """Pairs like ("by Thursday, 14th of March '24", "2024-03-14").

    A format is a lead, a weekday form and a body. One body in five never occurs in training, nor does one day in ten.
    """

    name = "dates"
    answer_length = 10

    def __init__(self) -> None:
        shuffled = np.random.default_rng(3).permutation(bodies()).tolist()
        cut = len(shuffled) // 5
        self.bodies = {"held-out formats": shuffled[:cut], "seen formats": shuffled[cut:]}
        self.source_characters = string.ascii_letters + string.digits + " ,.'/-"
        self.target_characters = string.digits + "-"

    @property
    def formats(self) -> dict[str, int]:
        """How many formats each set has."""
        return {name: len(found) * len(LEADS) * len(WEEKDAY_FORMS) for name, found in self.bodies.items()}

    def pairs(self, rng: np.random.Generator, size: int, of: str = "seen formats", test: bool = False) -> list[tuple]:
        """size pairs of source and target, in formats of the named set, of test days or of the others."""
        days = (LAST_DAY - FIRST_DAY) // 10 * 10
        ordinals = FIRST_DAY + rng.integers(days // 10, size=size) * 10  # every tenth day is a test day
        if not test:
            ordinals += rng.integers(1, 10, size=size)
        choices = [rng.integers(len(x), size=size) for x in (LEADS, WEEKDAY_FORMS, self.bodies[of])]
        found = []
        for ordinal, lead, weekday, body in zip(ordinals.tolist(), *(c.tolist() for c in choices)):
            date = datetime.date.fromordinal(ordinal)
            template = LEADS[lead] + WEEKDAY_FORMS[weekday] + self.bodies[of][body]
            found.append((write_date(date, template), date.isoformat()))
        return found


# ---------------------------------------------------------------- reversal


class Reversal:
    """Pairs like ("hcsa", "asch"): 20 letters, lengths from `shortest` to `longest`, all equally often."""

    name = "reversal"
    shortest, longest = 4, 24
    source_characters = target_characters = "abcdefghijklmnopqrst"
    answer_length = longest

    def pairs(self, rng: np.random.Generator, size: int, length: int | None = None) -> list[tuple]:
        """size pairs, all of the given length, or of random lengths."""
        lengths = rng.integers(self.shortest, self.longest + 1, size=size) if length is None else [length] * size
        letters = np.array(list(self.source_characters))
        texts = ["".join(letters[rng.integers(len(letters), size=n)]) for n in lengths]
        return [(text, text[::-1]) for text in texts]
