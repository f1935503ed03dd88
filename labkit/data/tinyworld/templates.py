"""The sentences of a story, grouped by what they say.

Slots: {p} who acts, as a name or a pronoun; {P} the same, always by name; {he} {his} their pronouns; {r} somebody else;
{h} who holds the thing; {x} {y} things ("the kite"); {X} one that begins a sentence; {ax} a new thing
("a small red kite"); {q} a place; {o} the place where the action is; {spot} where exactly something lies; {n} a number.
The other slots are free: a word from the list of that name in FREE, chosen when the sentence is said.

Two rules keep every text readable in one way only, so that its nats are exactly -ln p(text) (the tests parse stories
back): sentences of different groups differ in their fixed words, and every choice shows in the sentence it is made for.
A third keeps sentences rich: with names and things filled in, each template gives more than 100,000 sentences, so that
two splits seldom say the same. In the groups that state a fact (REMARKS, FINALE) the answer is the last word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from labkit.data.tinyworld import words

FREE: dict[str, tuple[str, ...]] = {
    "weather": words.WEATHER,
    "time": words.TIMES,
    "going": words.GOING,
    "calmly": words.CALMLY,
    "glad": words.GLAD,
    "glad_act": words.GLAD_ACTS,
    "sorry": words.SORRY,
    "sorry_act": words.SORRY_ACTS,
    "animal": tuple(words.a(animal) for animal in words.ANIMALS),
    "animal_act": words.ANIMAL_ACTS,
}


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A sentence with slots.

    pronoun: it begins with {p}.   free: the slots to fill by chance, with their words.
    names_thing, names_other: it has {x}, it has {r}.
    """

    text: str
    pronoun: bool
    free: tuple[tuple[str, tuple[str, ...]], ...]
    names_thing: bool
    names_other: bool


def group(*texts: str) -> tuple[Template, ...]:
    return tuple(
        Template(
            text,
            text.startswith("{p}"),
            tuple((slot, FREE[slot]) for slot in re.findall(r"{(\w+)}", text) if slot in FREE),
            "{x}" in text,
            "{r}" in text,
        )
        for text in texts
    )


OPENING = group(
    "One {weather} {time}, {P} was at the {q} with {ax}.",
    "It was a {weather} {time}, and {P} was at the {q} with {ax}.",
    "On a {weather} {time}, {P} came to the {q} with {ax}.",
    "One {weather} {time}, {P} sat at the {q} and held {ax}.",
)
GOAL = group(
    "{p} wanted to give {x} to {r}, who was at the {q}.",
    "{p} had promised {x} to {r}, who was at the {q}.",
    "{p} hoped that {r}, who was at the {q}, would soon have {x}.",
)
MOVE = group(
    "{p} {going} from the {o} to the {q}.",
    "{p} left the {o} and {going} to the {q}.",
    "After a while, {P} {going} from the {o} to the {q}.",
    "Soon {P} was tired of the {o} and {going} to the {q}.",
)
MOVE_WITH = group(
    *(template.text for template in MOVE),
    "{p} took {x} from the {o} to the {q}.",
    "With {x} in one hand, {P} {going} to the {q}.",
)
MEET = group(
    "At the {o}, {P} met {r}, who had {ax}.",
    "{p} saw {r} at the {o} with {ax}.",
    "A {child} called {r} came to the {o} with {ax} and waved at {P}.",
)
GIVE = group(
    "{p} {calmly} gave {x} to {r}.",
    "{p} gave {x} to {r} at the {o}.",
    "{p} handed {x} to {r} and {glad_act}.",
    "{r} {calmly} asked for {x}, and {P} let {rhim} have it.",
)
TRADE = group(
    "{p} gave {x} to {r} and got {y} for it.",
    "{p} traded {x} for {y} with {r} at the {o}.",
)
PUT = group(
    "{p} put {x} {spot} at the {o}.",
    "{p} {calmly} left {x} {spot} at the {o}.",
    "{p} was tired of {x} and hid it {spot} at the {o}.",
)
FIND = group(
    "{p} looked around the {o} and found {x} {spot}.",
    "{p} {calmly} picked up {x}, which was {spot} at the {o}.",
)
THEFT = group(
    "Then {animal} took {x} from {P} and dropped it {spot} at the {q}.",
    "While {P} slept, {animal} carried {x} off and left it {spot} at the {q}.",
)
ASK = group(
    '"Where is {x}?" {P} asked {r} at the {o}.',
    'At the {o}, {P} asked {r}, "Have you seen {x}?"',
)
ANSWER_LIES = group(
    '"{X} is {spot} at the {q}," said {r}.',
    '"I saw {x} {spot} at the {q}," {r} told {P}.',
)
ANSWER_HELD = group(
    '"{h} has {x} at the {q}," said {r}.',
    '"Ask {h} at the {q} about {x}," {r} told {P}.',
)
COLLECT = group(
    "At the {o}, {P} found {n} {goods} and put them in a bag.",
    "{P} bought {n} {goods} at the {o}.",
)
SHARE = group(
    "{P} gave {n} of the {goods} to {r} at the {o}.",
    "{P} {calmly} let {r} have {n} of the {goods}.",
)
EAT = group(
    "{P} ate {n} of the {goods} at the {o}.",
    "{P} {calmly} ate {n} of the {goods}.",
)
PLEASED = group("{P} was so {glad} about {x} that {he} {glad_act}.")
BEREFT = group("{P} was so {sorry} about {x} that {he} {sorry_act}.")
SCENE = group(
    "Just then, {animal} {animal_act} {P} at the {o}.",
    "At the {o}, {P} {calmly} watched {animal}.",
)

# Facts that the story has settled already. The answer is the last word.
REMARKS = {
    "holder": group(
        "{P} and everyone else at the {o} knew that {x} was now with {h}.",
        "{P} thought of {x}, which was with {h}.",
    ),
    "person": group(
        "{P} thought about {r}, who was still at the {q}.",
        "While {P} was thinking of {x}, {r} was at the {q}.",
    ),
    "thing": group(
        "{P} remembered that {x} was still {spot} at the {q}.",
        "Nobody had moved {x}, and {P} knew that it was at the {q}.",
    ),
    "colour": group(
        "{P} told everyone at the {o} that {x} was {colour}.",
        "{P} looked at {r} and said that {x} was {colour}.",
    ),
    "count": group(
        "{P} counted {his} {goods} at the {o} and still had exactly {n}.",
    ),
    "first": group(
        "{P} remembered that {x} had first belonged to {h}.",
    ),
}
SUCCESS = group("In the end, {r} had {x}, just as {P} had hoped, and everyone {glad_act}.")
FAILURE = group("In the end, {r} did not have {x}, so {P} {sorry_act} and felt {sorry}.")
FINALE = {
    "holder": group("When the day was over, {P} was at the {o}, and {x} was with {h}."),
    "thing": group("When the day was over, {P} was at the {o}, and {x} lay {spot} at the {q}."),
    "person": group("When the day was over, {P} was at the {o}, and {r} was at the {q}."),
}
