"""Tests of understanding made from stories: cloze, and multiple choice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.data.tinyworld import words
from labkit.data.tinyworld.choice import Chooser
from labkit.data.tinyworld.questions import story_questions
from labkit.data.tinyworld.story import Story

WAYS = 4  # how many options there are to choose from
NAMES = tuple(person.name for person in words.PEOPLE)


@dataclass(frozen=True, slots=True)
class Cloze:
    """A story up to a word that follows from it: a good model continues `context` with " " + answer.

    options: four words, the answer among them. Names and places come from the same story first, so that it does not
    help to know which words have occurred.
    kind: "holder" or "first" (a name), "person" or "thing" (where it is), "colour", "count".
    """

    context: str
    answer: str
    options: tuple[str, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class MultipleChoice:
    """A question with four options; options[answer] is the right one."""

    context: str
    question: str
    options: tuple[str, ...]
    answer: int

    @property
    def prompt(self) -> str:
        """With lettered options, after which the letter is asked for."""
        lines = [f"{letter}. {option}" for letter, option in zip("ABCD", self.options)]
        return "\n".join([self.context, f"Question: {self.question}", *lines, "Answer:"])


def four_options(choose: Chooser, answer: str, near: Sequence[str], far: Sequence[str]) -> tuple[str, ...]:
    """The answer and three others in random order: from `near` as far as it goes, then from `far`."""
    wrong = choose.shuffled([word for word in dict.fromkeys(near) if word != answer])[: WAYS - 1]
    while len(wrong) < WAYS - 1:
        wrong.append(choose.pick_new(far, [answer, *wrong]))
    return tuple(choose.shuffled([answer, *wrong]))


def options_for(choose: Chooser, answer: str, context: str) -> tuple[str, ...]:
    """Wrong options of the same sort as the answer, if possible from the context."""
    if answer in words.NUMBERS:
        n = words.NUMBERS.index(answer)
        return four_options(choose, answer, (), words.NUMBERS[max(1, n - 4) : n + 5])
    for sort in (words.PLACES, words.COLOURS, NAMES):
        if answer in sort:
            seen = [word for word in re.findall(r"\w+", context) if word in sort]
            return four_options(choose, answer, seen, sort)
    raise ValueError(f"answer: expected a name, a place, a colour or a number, got {answer!r}")


def make_cloze(choose: Chooser, story: Story) -> Cloze:
    """One of the story's blanks. The kind is chosen first, so that rare kinds are not drowned by common ones."""
    kind = choose.pick(list(dict.fromkeys(blank.kind for blank in story.blanks)))
    blank = choose.pick([blank for blank in story.blanks if blank.kind == kind])
    text = " ".join(story.sentences[: blank.sentence + 1])
    context = text.removesuffix(f" {blank.answer}.")
    return Cloze(context, blank.answer, options_for(choose, blank.answer, context), kind)


def make_choice(choose: Chooser, story: Story) -> MultipleChoice:
    """An answerable question about the story."""
    question = next(q for q in story_questions(story, choose) if q.kind != "unanswerable")
    options = options_for(choose, question.answer, story.text)
    return MultipleChoice(story.text, question.text, options, options.index(question.answer))
