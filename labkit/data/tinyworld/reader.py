"""A reader of TinyWorld stories: it knows the sentences, but not the generator, and says where a story is wrong.

It keeps its own account of who is where and has what, sentence by sentence. The tests hold the generator to it; what a
model has written can be held to it too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from labkit.data.tinyworld import templates as t
from labkit.data.tinyworld import words

SLOTS = {
    **dict.fromkeys(["P", "r", "h"], "|".join(person.name for person in words.PEOPLE)),
    "p": "|".join([person.name for person in words.PEOPLE] + ["He", "She"]),
    **dict.fromkeys(["x", "y"], "the (?:" + "|".join(words.THINGS) + ")"),
    "X": "The (?:" + "|".join(words.THINGS) + ")",
    "ax": r"an? [a-z ]+",
    **dict.fromkeys(["q", "o"], "|".join(words.PLACES)),
    "spot": "|".join(words.SPOTS),
    "n": "|".join(words.NUMBERS),
    "goods": "|".join(plural for _, plural in words.GOODS),
    "colour": "|".join(words.COLOURS),
    "he": "he|she",
    "his": "his|her",
    "rhim": "him|her",
    "child": "boy|girl",
    **{slot: "|".join(options) for slot, options in t.FREE.items()},
}


@cache
def pattern(template: t.Template) -> re.Pattern[str]:
    seen = set()

    def slot(match):
        name = match[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>{SLOTS[name]})"

    return re.compile(re.sub(r"\\{(\w+)\\}", slot, re.escape(template.text)))


GROUPS = {
    name: group
    for name, group in vars(t).items()
    if name.isupper() and isinstance(group, tuple) and name != "MOVE_WITH"
}
GROUPS["CARRY"] = t.MOVE_WITH[len(t.MOVE) :]
GROUPS |= {f"REMARK {kind}": group for kind, group in t.REMARKS.items()}
GROUPS |= {f"FINALE {kind}": group for kind, group in t.FINALE.items()}


def sentences_of(text: str) -> list[str]:
    """Cuts a text into sentences of TinyWorld; what is none of them ends at the next full stop.

    A sentence may hold others in quotation marks, so the longest one that begins at a place is taken.
    """
    found, text = [], text.strip()
    while text:
        ends = [m.end() for group in GROUPS.values() for one in group if (m := pattern(one).match(text))]
        stop = re.search(r"[.?!](?=\s|$)", text)
        end = max(ends) if ends else stop.end() if stop else len(text)
        found.append(text[:end])
        text = text[end:].lstrip()
    return found


class Reader:
    """Reads a story sentence by sentence. `problems` lists what contradicts what was read before."""

    def __init__(self) -> None:
        self.place: dict[str, str] = {}  # of people and of things that nobody has
        self.holder: dict[str, str] = {}
        self.first: dict[str, str] = {}
        self.colour: dict[str, str] = {}
        self.spot: dict[str, str] = {}
        self.count: dict[str, int] = {}
        self.wish: tuple[str, str, str] = ("", "", "")
        self.last = ""
        self.problems: list[str] = []

    def read(self, sentences: Sequence[str]) -> list[str]:
        """The contradictions found so far, one line each; a sentence that TinyWorld cannot say is one too."""
        for sentence in sentences:
            matches = [
                (name, m) for name, group in GROUPS.items() for one in group if (m := pattern(one).fullmatch(sentence))
            ]
            if len(matches) != 1:
                self.problems.append(f"{len(matches)} readings: {sentence}")
                continue
            name, match = matches[0]
            said = match.groupdict()
            for slot in "xyX":
                if slot in said:
                    said[slot.lower()] = said[slot][4:]
            said["p"] = said.get("P") or said.get("p")
            if said["p"] in ("He", "She"):
                said["p"] = self.last
            before = len(self.problems)
            self.claims(name, said)
            getattr(self, "on_" + name.split()[0].lower(), lambda said: None)(said)
            self.problems[before:] = [f"{problem}: {sentence}" for problem in self.problems[before:]]
            self.last = said["p"]
        return self.problems

    def expect(self, truth, said, what: str) -> None:
        if truth != said:
            self.problems.append(f"{what} is {truth}, not {said}")

    def claims(self, name: str, said: dict) -> None:
        """What any sentence takes for granted: where the action is, where things are and who has them."""
        p, x = said["p"], said.get("x")
        if "o" in said:
            self.expect(self.place.get(p), said["o"], p)
        if x and name in ("GOAL", "GIVE", "TRADE", "PUT", "THEFT", "CARRY", "PLEASED"):
            self.expect(self.holder.get(x), p, f"{x}'s holder")
        if name in ("GIVE", "TRADE", "SHARE", "ASK"):
            self.expect(self.place.get(p), self.place.get(said["r"]), f"{p}'s place")
        if name in ("REMARK thing", "FINALE thing", "ANSWER_LIES"):
            self.expect(self.place.get(x), said["q"], x)
            self.expect(self.spot.get(x), said.get("spot", self.spot.get(x)), f"{x}'s spot")
        if name in ("REMARK holder", "FINALE holder", "ANSWER_HELD"):
            self.expect(self.holder.get(x), said["h"], f"{x}'s holder")
        if name == "ANSWER_HELD":
            self.expect(self.place.get(said["h"]), said["q"], said["h"])
        if name in ("REMARK person", "FINALE person"):
            self.expect(self.place.get(said["r"]), said["q"], said["r"])
        if name == "REMARK colour":
            self.expect(self.colour.get(x), said["colour"], x)
        if name == "REMARK first":
            self.expect(self.first.get(x), said["h"], f"{x}'s first owner")
        if name == "REMARK count":
            self.expect(self.count.get(p), words.NUMBERS.index(said["n"]), f"{p}'s number")
        if name in ("SUCCESS", "FAILURE"):
            hero, thing, friend = self.wish
            self.expect((hero, thing, friend), (p, x, said["r"]), "the wish")
            self.expect(self.holder.get(x) == friend, name == "SUCCESS", "the outcome")
        for slot, he in (("he", "he|she"), ("his", "his|her")):
            if slot in said:
                self.expect(he.split("|")[p in words.GIRLS], said[slot], f"{p}'s pronoun")

    def introduce(self, person: str, phrase: str, place: str) -> None:
        *_, colour, noun = phrase.split()
        self.place[person] = place
        self.holder[noun] = self.first[noun] = person
        self.colour[noun] = colour

    def lay(self, thing: str, place: str, spot: str) -> None:
        self.holder.pop(thing, None)
        self.place[thing], self.spot[thing] = place, spot

    def on_opening(self, said):
        self.introduce(said["p"], said["ax"], said["q"])

    def on_goal(self, said):
        self.place[said["r"]] = said["q"]
        self.wish = (said["p"], said["x"], said["r"])

    def on_meet(self, said):
        self.introduce(said["r"], said["ax"], said["o"])
        if "child" in said:
            self.expect("girl" if said["r"] in words.GIRLS else "boy", said["child"], said["r"])

    def on_move(self, said):
        self.place[said["p"]] = said["q"]

    on_carry = on_move

    def on_give(self, said):
        self.holder[said["x"]] = said["r"]

    def on_trade(self, said):
        self.expect(self.holder.get(said["y"]), said["r"], f"{said['y']}'s holder")
        self.holder[said["x"]], self.holder[said["y"]] = said["r"], said["p"]

    def on_put(self, said):
        self.lay(said["x"], said["o"], said["spot"])

    def on_theft(self, said):
        self.lay(said["x"], said["q"], said["spot"])

    def on_find(self, said):
        self.expect(self.place.pop(said["x"], None), said["o"], said["x"])
        self.expect(self.spot.get(said["x"]), said["spot"], f"{said['x']}'s spot")
        self.holder[said["x"]] = said["p"]

    def on_collect(self, said):
        self.count[said["p"]] = words.NUMBERS.index(said["n"])

    def on_share(self, said):
        self.on_eat(said)
        self.count[said["r"]] = self.count.get(said["r"], 0) + words.NUMBERS.index(said["n"])

    def on_eat(self, said):
        left = self.count.get(said["p"], 0) - words.NUMBERS.index(said["n"])
        self.expect(True, left > 0, "enough left")
        self.count[said["p"]] = left
