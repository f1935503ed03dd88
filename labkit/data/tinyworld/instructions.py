"""Instructions whose fulfilment a program can check."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from labkit.data.tinyworld import words
from labkit.data.tinyworld.choice import Chooser


@dataclass(frozen=True, slots=True)
class Instruction:
    """A prompt, a good response, and the rule that a response must meet: rule[0] names it, the rest are its data.

    exact: the rule allows one response only, up to capitals, spaces and the final stop (exact match then measures it).
    """

    kind: str
    prompt: str
    response: str
    rule: tuple
    exact: bool

    def check(self, text: str) -> bool:
        """Does this response do what was asked?"""
        return RULES[self.rule[0]](text.strip(), *self.rule[1:])


def plain(text: str) -> str:
    """Without capitals, repeated spaces and a final stop."""
    return re.sub(r"\s+", " ", text).strip().rstrip(".").strip().lower()


def listed_in(text: str) -> list[str]:
    """The items of a list with commas, with or without "and"."""
    return [item.strip() for item in re.split(r",| and ", plain(text)) if item.strip()]


def sentences_in(text: str) -> int:
    return len(re.findall(r"[.!?](?:\s|$)", text))


RULES: dict[str, Callable[..., bool]] = {
    "is": lambda text, wanted: plain(text) == plain(wanted),
    "list": lambda text, wanted: listed_in(text) == list(wanted),
    "capitals": lambda text, wanted: text.rstrip(".") == wanted.upper(),
    "some of": lambda text, n, allowed: (
        len(listed_in(text)) == n == len({*listed_in(text)}) and {*listed_in(text)} <= {*allowed}
    ),
    "sentence with": lambda text, required, last: (
        sentences_in(text) == 1
        and text.endswith(f" {last}.")
        and all(re.search(rf"\b{word}\b", text) for word in required)
    ),
    "words": lambda text, n, required: len(text.split()) == n and required in re.findall(r"\w+", text),
}


def several(choose: Chooser, options: tuple[str, ...], n: int) -> list[str]:
    picked: list[str] = []
    for _ in range(n):
        picked.append(choose.pick_new(options, picked))
    return picked


def join(items: list[str]) -> str:
    return ", ".join(items[:-1]) + " and " + items[-1]


CATEGORIES = {
    "animals": words.ANIMALS,
    "colors": words.COLOURS,
    "places": words.PLACES,
    "things": words.THINGS,
    "girls' names": words.GIRLS,
    "boys' names": words.BOYS,
}
ORDINALS = ("first", "second", "third", "fourth", "last")


def repeat(choose: Chooser) -> Instruction:
    word, n = choose.pick(words.THINGS + words.ANIMALS), 2 + choose.below(5)
    prompt = choose.pick(("Say {w} {n} times.", "Write the word {w} {n} times.", "Repeat {n} times: {w}"))
    answer = " ".join([word] * n)
    return Instruction("repeat", prompt.format(w=word, n=words.NUMBERS[n]), answer, ("is", answer), True)


def reverse(choose: Chooser) -> Instruction:
    items = several(choose, choose.pick((words.GIRLS, words.BOYS, words.ANIMALS)), 3 + choose.below(2))
    prompt = choose.pick(("Put this list in reverse order: {w}.", "Write these backwards, the last one first: {w}."))
    wanted = items[::-1]
    rule = ("list", tuple(item.lower() for item in wanted))
    return Instruction("reverse", prompt.format(w=join(items)), join(wanted), rule, True)


def sort(choose: Chooser) -> Instruction:
    items = several(choose, choose.pick((words.GIRLS, words.BOYS, words.ANIMALS)), 3 + choose.below(2))
    prompt = choose.pick(("Put these in the order of the alphabet: {w}.", "Sort from A to Z: {w}."))
    wanted = sorted(items)
    rule = ("list", tuple(item.lower() for item in wanted))
    return Instruction("sort", prompt.format(w=join(items)), join(wanted), rule, True)


def nth(choose: Chooser) -> Instruction:
    items = several(choose, words.THINGS, 5)
    i = choose.below(5)
    prompt = choose.pick(("What is the {n} word of this list: {w}?", "Name the {n} of these: {w}."))
    return Instruction("nth", prompt.format(n=ORDINALS[i], w=join(items)), items[i], ("is", items[i]), True)


def odd_one_out(choose: Chooser) -> Instruction:
    kind = choose.pick(("animals", "colors", "girls' names", "boys' names"))
    odd = choose.pick(words.THINGS)
    items = choose.shuffled([*several(choose, CATEGORIES[kind], 3), odd])
    prompt = choose.pick(("Which of these is not like the others: {w}?", "One word does not belong here: {w}. Which?"))
    return Instruction("odd one out", prompt.format(w=join(items)), odd, ("is", odd), True)


def capitals(choose: Chooser) -> Instruction:
    phrase = f"the {choose.pick(words.COLOURS)} {choose.pick(words.THINGS)}"
    prompt = choose.pick(("Write in capital letters: {w}", "Say this loudly, in capitals only: {w}"))
    return Instruction("capitals", prompt.format(w=phrase), phrase.upper(), ("capitals", phrase), True)


def list_some(choose: Chooser) -> Instruction:
    kind, n = choose.pick(list(CATEGORIES)), 2 + choose.below(4)
    prompt = choose.pick(("Name {n} {k}.", "Give me a list of {n} {k}.", "Can you tell me {n} {k}?"))
    rule = ("some of", n, tuple(word.lower() for word in CATEGORIES[kind]))
    response = join(several(choose, CATEGORIES[kind], n))
    return Instruction("list", prompt.format(n=words.NUMBERS[n], k=kind), response, rule, False)


def sentence(choose: Chooser) -> Instruction:
    who, thing, place = choose.pick(words.PEOPLE).name, choose.pick(words.THINGS), choose.pick(words.PLACES)
    prompt = choose.pick(
        (
            "Write one sentence about {p} and a {x} that ends with the word {q}.",
            "Tell me about {p} and a {x} in a single sentence. Its last word must be {q}.",
        )
    ).format(p=who, x=thing, q=place)
    response = f"{who} {choose.pick(words.CALMLY)} took the {thing} to the {place}."
    return Instruction(
        "sentence", prompt.replace(" a u", " an u"), response, ("sentence with", (who, thing), place), False
    )


def exact_length(choose: Chooser) -> Instruction:
    who, n = choose.pick(words.PEOPLE).name, 3 + choose.below(3)
    prompt = choose.pick(("Write exactly {n} words about {p}.", "Say something about {p} in exactly {n} words."))
    mood = choose.pick(words.GLAD)
    response = f"{who} is {mood}" + ("", " today", " and calm")[n - 3] + "."
    return Instruction("length", prompt.format(n=words.NUMBERS[n], p=who), response, ("words", n, who), False)


MAKERS = (repeat, reverse, sort, nth, odd_one_out, capitals, list_some, sentence, exact_length)


def make_instruction(choose: Chooser, title: str = "") -> Instruction:
    return choose.pick(MAKERS)(choose)
