"""A scene: people, things and places, who has what and who is where, told sentence by sentence.

Every choice is made when it is about to be expressed, and shows in the very next sentence. So a text determines its
choices, and the nats are exactly -ln p(text) under the generator, sentence by sentence.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from labkit.data.tinyworld import templates as t
from labkit.data.tinyworld import words
from labkit.data.tinyworld.choice import Chooser, Odds
from labkit.data.tinyworld.words import Person

MOST_PEOPLE = 4
KNOWN_PLACE = Odds({True: 2, False: 1})
# How likely each event is, relative to the others that the scene allows.
EVENTS = {
    "move": 6,
    "scene": 1,
    "meet": 3,
    "give": 9,
    "trade": 3,
    "put": 2,
    "find": 6,
    "theft": 2,
    "ask": 6,
    "collect": 2,
    "share": 5,
    "eat": 2,
    "feel": 8,
    "remark": 9,
    "ending": 3,
}
BITS = {event: 1 << i for i, event in enumerate(EVENTS)}
MOVE, SCENE, MEET, GIVE, TRADE, PUT, FIND, THEFT, ASK, COLLECT, SHARE, EAT, FEEL, REMARK, ENDING = BITS.values()
QUIET = ("scene", "feel", "remark")  # events that change nothing
SHORTEST, LONGEST = 6, 12  # events between the opening and the ending


class Thing:
    """Something to hold. where: the Person who has it, or the place where it lies (then spot says where exactly).

    giver: who gave it to its holder and does not get it straight back.
    """

    __slots__ = ("colour", "first", "giver", "look", "noun", "spot", "the", "where")

    def __init__(self, noun: str, colour: str, look: str, owner: Person) -> None:
        self.noun, self.colour, self.look = noun, colour, look
        self.the = "the " + noun
        self.first = self.where = owner
        self.spot = ""
        self.giver: Person | None = None


class Blank(NamedTuple):
    """The last word of a sentence, which the sentences before it decide."""

    sentence: int
    kind: str
    answer: str


class Scene:
    """What is true in the story so far, and the sentences that made it so."""

    def __init__(self, choose: Chooser) -> None:
        self.choose = choose
        self.at: dict[Person, str] = {}
        self.things: list[Thing] = []
        self.places: list[str] = []
        self.goods: tuple[str, str] | None = None
        self.count: dict[Person, int] = {}
        self.sentences: list[str] = []
        self.nats: list[float] = []
        self.blanks: list[Blank] = []
        self.events: list[tuple] = []
        self.focus: Person | None = None  # whom "he" or "she" would mean at the start of the next sentence
        self.moved: tuple[tuple[t.Template, ...], Person, Thing]  # how who feels about what, when it has just moved
        self.asked: Thing | None = None  # what was asked for last, unless it has moved since

    # -------------------------------------------------------------- telling

    def say(self, group: tuple[t.Template, ...] | t.Template, p: Person, *others: Person, **slots: str) -> None:
        """One of the group's sentences about p, or the given one; `others` occur in it as well."""
        pick = self.choose.pick
        template = pick(group) if type(group) is tuple else group
        slots["p"] = slots["P"] = p.name
        if p is self.focus and template.pronoun:
            slots["p"] = pick((p.name, p.he))
        for slot, options in template.free:
            slots[slot] = pick(options)
        self.sentences.append(template.text.format_map(slots))
        self.nats.append(self.choose.nats)
        self.focus = p
        for other in others:
            if other.he == p.he:
                self.focus = None

    # -------------------------------------------------------------- new things

    def new_person(self, place: str) -> Person:
        person = self.choose.pick_new(words.PEOPLE, list(self.at))
        self.at[person] = place
        return person

    def new_place(self) -> str:
        place = self.choose.pick_new(words.PLACES, self.places)
        self.places.append(place)
        return place

    def other_place(self, old: str) -> str:
        """Where to go from `old`: mostly a place that the story knows already, so that people meet."""
        if self.choose.draw(KNOWN_PLACE):
            return self.choose.pick_new(self.places, [old])
        return self.new_place()

    def new_thing(self, owner: Person) -> Thing:
        choose = self.choose
        noun = choose.pick_new(words.THINGS, [thing.noun for thing in self.things])
        colour = choose.pick(words.COLOURS)
        look = words.a(f"{choose.pick(words.SIZES)} {colour} {noun}" if choose.below(2) else f"{colour} {noun}")
        thing = Thing(noun, colour, look, owner)
        self.things.append(thing)
        self.events.append(("has", owner.name, noun, colour))
        return thing

    def hand(self, x: Thing, where: Person | str, spot: str = "", giver: Person | None = None) -> None:
        x.where, x.spot, x.giver = where, spot, giver
        if self.asked is x:
            self.asked = None

    def place_of(self, x: Thing) -> str:
        return self.at.get(x.where, x.where)

    # -------------------------------------------------------------- what can happen

    def next_event(self, told: int, last: str) -> str:
        """What happens next. told: the events so far; last: the latest of them."""
        if last not in QUIET:
            self.survey()
        flags = self.possible
        if last in ("give", "find", "theft"):
            flags |= FEEL
        if last != "scene":
            flags |= SCENE
        if last != "remark" and told > 1:
            flags |= REMARK
        if told >= SHORTEST:
            flags |= ENDING
        return self.choose.draw(event_odds(flags))

    def survey(self) -> None:
        """Who could do what: the choices of the events, and in `possible` the bits of the events that have some."""
        at, count = self.at, self.count
        possible = MOVE
        if len(at) < MOST_PEOPLE:
            possible |= MEET
        self.held, self.lying = held, lying = [], []
        for x in self.things:
            (held if x.where in at else lying).append(x)
        if held:
            possible |= PUT | THEFT
        if lying:
            self.finds = [(p, x) for x in lying for p in at if at[p] == x.where]
            if self.finds:
                possible |= FIND
        if count:
            self.eaters = [p for p in count if count[p] > 1]
            if self.eaters:
                possible |= EAT
        else:
            possible |= COLLECT
        self.talks = []
        if len(set(at.values())) < len(at):
            self.talks = [(p, r) for p in at for r in at if at[p] == at[r] and p is not r]
            possible |= self.survey_talks()
        self.possible = possible

    def survey_talks(self) -> int:
        """What people at the same place could do with each other."""
        at, count, talks = self.at, self.count, self.talks
        possible = 0
        self.gifts = [(p, r, x) for x in self.held for p, r in talks if p is x.where and r is not x.giver]
        if self.gifts:
            possible |= GIVE
            if len(self.gifts) > 1:
                self.trades = [(p, r, x, y) for p, r, x in self.gifts for q, s, y in self.gifts if q is r and s is p]
                if self.trades:
                    possible |= TRADE
        if count:
            self.shares = [(p, r) for p, r in talks if count.get(p, 0) > 1]
            if self.shares:
                possible |= SHARE
        here = {at[p] for p, _ in talks}
        for x in self.things:
            if x is not self.asked and here != {self.place_of(x)}:
                possible |= ASK
        return possible


@cache
def event_odds(flags: int) -> Odds:
    """What may happen next and how likely it is. flags: the bits of EVENTS that the scene allows."""
    return Odds({event: weight for event, weight in EVENTS.items() if flags & BITS[event]})
