"""A story as a document: its text, its truth, and the nats of its choices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from labkit.data.tinyworld.choice import Chooser
from labkit.data.tinyworld.events import Episode
from labkit.data.tinyworld.scene import LONGEST, Blank, Scene
from labkit.data.tinyworld.words import NUMBERS, Person


class Fact(NamedTuple):
    """Something that is so when the story ends, and follows from its text.

    (thing, "colour", colour)      (thing, "first owner", name)      (name, "place", place)
    (thing, "holder", name), or (thing, "place", place) and (thing, "spot", "under a bush") for a thing that nobody has
    (name, "apples", "three"), with the plural of what the story counts
    """

    subject: str
    relation: str
    value: str


@dataclass(slots=True)
class Story:
    """A text and what is true in it.

    sentence_nats[i] = -ln p(sentence i | the sentences before it), and nats, their sum, = -ln p(text). After the last
        sentence a story always ends, so an end-of-text token costs nothing.
    blanks: sentences whose last word follows from the sentences before them: Blank(sentence, kind, answer).
    events: what happened, in order: ("moves", "Tom", "lake", "mill"), ("gives", "Tom", "kite", "Ann"), ...
    people, things, places: the names that occur, in the order of appearance.
    """

    title: str
    text: str
    sentences: list[str]
    sentence_nats: list[float]
    nats: float
    blanks: list[Blank]
    events: list[tuple]
    scene: Scene = field(repr=False)

    @property
    def people(self) -> list[str]:
        return [person.name for person in self.scene.at]

    @property
    def things(self) -> list[str]:
        return [thing.noun for thing in self.scene.things]

    @property
    def places(self) -> list[str]:
        return list(self.scene.places)

    def facts(self) -> list[Fact]:
        """What is so at the end."""
        facts = [Fact(person.name, "place", place) for person, place in self.scene.at.items()]
        for thing in self.scene.things:
            facts += Fact(thing.noun, "colour", thing.colour), Fact(thing.noun, "first owner", thing.first.name)
            if isinstance(thing.where, Person):
                facts.append(Fact(thing.noun, "holder", thing.where.name))
            else:
                facts += Fact(thing.noun, "place", thing.where), Fact(thing.noun, "spot", thing.spot)
        if self.scene.goods:
            facts += [Fact(p.name, self.scene.goods[1], NUMBERS[n]) for p, n in self.scene.count.items()]
        return facts


def tell_story(choose: Chooser, title: str = "") -> Story:
    """A story whose every choice is made by `choose`: an opening, 6 to 12 events, an ending."""
    scene = Episode(choose)
    scene.opening()
    event = "opening"
    for told in range(LONGEST):
        event = scene.next_event(told, event)
        if event == "ending":
            break
        getattr(scene, event)()
    else:
        scene.survey()
    scene.ending()
    ends = scene.nats
    sentence_nats = [after - before for before, after in zip([0.0, *ends], ends)]
    sentences = scene.sentences
    return Story(title, " ".join(sentences), sentences, sentence_nats, ends[-1], scene.blanks, scene.events, scene)
