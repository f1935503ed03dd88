"""Two readers of TinyWorld stories for the tests.

`derivations` counts the sequences of choices that give a text: one, if the nats are to be -ln p(text).
`Reader` knows the sentences but not the generator: it keeps its own account of the world and says where a story
contradicts it.
"""

from __future__ import annotations

import math
import re
from functools import cache

from labkit.data.tinyworld import scene, words
from labkit.data.tinyworld import templates as t
from labkit.data.tinyworld.scene import EVENTS
from labkit.data.tinyworld.story import tell_story
from labkit.data.tinyworld.words import Person


# ---------------------------------------------------------------- all derivations of a text
class Fork(Exception):
    """The script of choices is used up here; `branches` says with what it may go on, and what each costs."""

    def __init__(self, branches: list[tuple[int, float]]) -> None:
        self.branches = branches


class DeadEnd(Exception):
    """These choices do not give the text."""


class Scripted:
    """A chooser that follows a script and asks for more when it ends, offering only what can still give `sentences`."""

    def __init__(self, script: list[tuple[int, float]], sentences: list[str]) -> None:
        self.script, self.sentences = script, sentences
        self.used, self.nats = 0, 0.0
        self.said: list[str] = []

    def choose(self, options, nats, allowed=lambda option: True):
        if self.used == len(self.script):
            raise Fork([(i, nats[i]) for i, option in enumerate(options) if allowed(option) and self.fits(option)])
        i, cost = self.script[self.used]
        self.used += 1
        self.nats += cost
        return options[i]

    def fits(self, option) -> bool:
        """Does the choice show in the next sentence? A choice that did not would leave no derivation at all."""
        done = len(self.said)
        if done >= len(self.sentences):
            raise DeadEnd
        return shows(option, self.sentences[done])

    def pick(self, options):
        return self.choose(options, [math.log(len(options))] * len(options))

    def draw(self, odds):
        return self.choose(odds.options, odds.nats)

    def pick_new(self, options, used):
        cost = math.log(len(options) - len(used))
        return self.choose(options, [cost] * len(options), lambda option: option not in used)

    def below(self, n):
        return self.choose(range(n), [math.log(n)] * n)


def shows(option, sentence: str) -> bool:
    if isinstance(option, tuple):
        return all(shows(part, sentence) for part in option)
    if isinstance(option, t.Template):
        return pattern(option).fullmatch(sentence) is not None
    if isinstance(option, Person):
        return option.name in sentence or sentence.startswith(option.he)
    if isinstance(option, scene.Thing):
        return option.noun in sentence
    return not isinstance(option, str) or option in EVENT_NAMES or option in sentence


EVENT_NAMES = {*t.REMARKS, *t.FINALE, *EVENTS}


def derivations(sentences: list[str]) -> list[float]:
    """The nats of every sequence of choices that tells exactly these sentences."""
    found, scripts = [], [[]]
    while scripts:
        script = scripts.pop()
        chooser = Scripted(script, sentences)
        try:
            told = tell_with(chooser)
        except Fork as fork:
            scripts += [[*script, branch] for branch in fork.branches]
        except DeadEnd:
            continue
        else:
            if told == sentences:
                found.append(chooser.nats)
    return found


def tell_with(chooser: Scripted) -> list[str]:
    """tell_story, with the chooser seeing the sentences as they are said."""

    class Told(list):
        def append(self, sentence):
            super().append(sentence)
            chooser.said = self
            if len(self) > len(chooser.sentences) or chooser.sentences[len(self) - 1] != sentence:
                raise DeadEnd

    original = scene.Scene.__init__

    def init(self, choose):
        original(self, choose)
        self.sentences = Told()

    scene.Scene.__init__ = init
    try:
        return list(tell_story(chooser).sentences)
    finally:
        scene.Scene.__init__ = original


# ---------------------------------------------------------------- what the sentences say
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

    def read(self, sentences: list[str]) -> list[str]:
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
        self.holder.pop(thing)
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
