"""Counts the sequences of choices that give a text of TinyWorld: one, if the nats are to be -ln p(text)."""

from __future__ import annotations

import math

from labkit.data.tinyworld import scene
from labkit.data.tinyworld import templates as t
from labkit.data.tinyworld.reader import pattern
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
