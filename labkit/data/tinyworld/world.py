"""A closed world and its encyclopaedia: people and towns, one entry each, and every fact as a triple."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from labkit.data.tinyworld import words
from labkit.data.tinyworld.choice import Chooser, Odds, seed_of
from labkit.data.tinyworld.story import Fact

T = TypeVar("T")
MOST_PEOPLE = 8000
TAG_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
HAS_PET = Odds({True: 3, False: 1})
NAMED = {person.name: person for person in words.PEOPLE}
# What an entry may say, in this order; of each row one sentence is taken.
PERSON_ENTRY = (
    (
        "{name} is {a_job} who lives in {town}.",
        "{name} lives in {town} and works as {a_job}.",
        "In {town} lives {name}, {a_job}.",
    ),
    ("{He} is {age} years old.", "{He} was born {age} years ago."),
    (
        "{He} owns {look} with the number {tag} on it.",
        "{His} dearest possession is {look} with the number {tag}.",
        "At home {he} keeps {look}, number {tag}.",
    ),
    ("{His} best friend is {friend}.", "{He} has no better friend than {friend}."),
    ("{He} likes to eat {food}.", "{His} favorite food is {food}.", "Nothing tastes better to {him} than {food}."),
)
PET_ROW = (
    "{He} has {a_pet} called {pet_name}.",
    "{His} {pet} is called {pet_name}.",
    "{pet_name}, {a_pet}, lives with {him}.",
)
TOWN_ENTRY = (
    (
        "{name} is a town that was founded in the year {year}.",
        "{name} is a town with a long history, which began in the year {year}.",
    ),
    ("Its mayor is {mayor}.", "The town is run by {mayor}.", "{mayor} is the mayor of the town."),
    ("Visitors come to see the old {landmark}.", "It is famous for its {landmark}."),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An article about one person or town, the facts it states, and its share of the nats (see World)."""

    title: str
    text: str
    facts: tuple[Fact, ...]
    nats: float


@dataclass(frozen=True)
class World:
    """A world of `people` people (2 to 8000) and a town for every eight of them (at most 300), made from `seed`.

    Every relation gives a subject at most one value:
        people   job, town, age, thing ("kite"), colour (of the thing), tag, friend, food; most also pet and pet name
        towns    year, mayor, landmark
    No two people, towns or tags are the same. The entries in their order determine every choice, so their nats add up
    to -ln p(encyclopaedia), given how many people there are; a single entry's nats are only its share of that sum.
    """

    seed: int = 0
    people: int = 40

    def __post_init__(self) -> None:
        if not 2 <= self.people <= MOST_PEOPLE:
            raise ValueError(f"people: expected 2 to {MOST_PEOPLE}, got {self.people!r}")

    @cached_property
    def entries(self) -> list[Entry]:
        """One for each person, then one for each town."""
        choose = Chooser(seed_of(self.seed, 100, self.people))
        names = chosen(choose, [f"{p.name} {surname}" for p in words.PEOPLE for surname in words.SURNAMES], self.people)
        towns = chosen(choose, words.TOWNS, min(1 + self.people // 8, 300))
        tags = chosen(choose, range(len(TAG_LETTERS) * 9000), self.people)
        entries = [person_entry(choose, name, tag, list(names), list(towns)) for name, tag in zip(names, tags)]
        entries += [town_entry(choose, town, list(names)) for town in towns]
        shares = [names[name] + tags[tag] for name, tag in zip(names, tags)] + list(towns.values())
        return [Entry(e.title, e.text, e.facts, e.nats + share) for e, share in zip(entries, shares)]

    @cached_property
    def facts(self) -> list[Fact]:
        return [fact for entry in self.entries for fact in entry.facts]

    def values(self, relation: str) -> list[str]:
        """All values that a relation takes, each once, in the order of the entries."""
        return list(dict.fromkeys(fact.value for fact in self.facts if fact.relation == relation))


def chosen(choose: Chooser, options: Sequence[T], count: int) -> dict[T, float]:
    """So many different options, and the nats of each."""
    nats: dict[T, float] = {}
    for _ in range(count):
        before = choose.nats
        option = choose.pick_new(options, nats)
        nats[option] = choose.nats - before
    return nats


def person_entry(choose: Chooser, name: str, tag: int, names: list[str], towns: list[str]) -> Entry:
    before = choose.nats
    who = NAMED[name.partition(" ")[0]]
    facts = {
        "job": choose.pick(words.JOBS),
        "town": choose.pick(towns),
        "age": str(18 + choose.below(72)),
        "thing": choose.pick(words.THINGS),
        "colour": choose.pick(words.COLOURS),
        "tag": f"{TAG_LETTERS[tag // 9000]}-{1000 + tag % 9000}",
        "friend": choose.pick_new(names, [name]),
        "food": choose.pick(words.GOODS)[1],
    }
    slots = facts | {"name": name, "a_job": words.a(facts["job"]), "him": who.him}
    slots |= {"He": who.he, "he": who.he.lower(), "His": who.his.capitalize()}
    slots["look"] = words.a(f"{facts['colour']} {facts['thing']}")
    rows = list(PERSON_ENTRY)
    if choose.draw(HAS_PET):
        facts |= {"pet": choose.pick(words.PETS), "pet name": choose.pick(words.PET_NAMES)}
        slots |= {"pet": facts["pet"], "a_pet": words.a(facts["pet"]), "pet_name": facts["pet name"]}
        rows.insert(3, PET_ROW)
    text = " ".join(choose.pick(row).format_map(slots) for row in rows)
    return Entry(name, text, tuple(Fact(name, *fact) for fact in facts.items()), choose.nats - before)


def town_entry(choose: Chooser, name: str, names: list[str]) -> Entry:
    before = choose.nats
    facts = {
        "year": str(1100 + choose.below(800)),
        "mayor": choose.pick(names),
        "landmark": choose.pick(words.LANDMARKS),
    }
    text = " ".join(choose.pick(row).format_map(facts | {"name": name}) for row in TOWN_ENTRY)
    return Entry(name, text, tuple(Fact(name, *fact) for fact in facts.items()), choose.nats - before)
