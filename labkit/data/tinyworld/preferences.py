"""Pairs of answers of which one is better, by a reward that is known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from labkit.data.tinyworld.choice import Chooser
from labkit.data.tinyworld.probes import options_for
from labkit.data.tinyworld.questions import Question, story_questions
from labkit.data.tinyworld.story import Story

# The true reward of an answer is the sum of these for what it has.
REWARD = {"right": 2.0, "wrong": -2.0, "polite": 0.5, "rude": -1.0, "rambling": -0.5}
POLITE = ("I am glad to help.", "Thank you for asking.", "What a good question.")
RUDE = ("Read it yourself.", "You never listen.", "Do not ask me that again.")
RAMBLING = (
    "Well, let me see, there is a lot to say about this.",
    "I have read the whole story from the beginning to the end.",
    "Stories are long, and one has to keep many things in mind.",
)


@dataclass(frozen=True, slots=True)
class Preference:
    """Two answers to a question. By the true reward `chosen` is the better one.

    p_chosen = 1 / (1 + exp(rejected_reward - chosen_reward)): how often a judge of the Bradley-Terry kind agrees.
    coin: uniform on [0, 1), for `judged`.
    """

    question: Question
    chosen: str
    rejected: str
    chosen_reward: float
    rejected_reward: float
    coin: float

    @property
    def prompt(self) -> str:
        return self.question.prompt

    @property
    def p_chosen(self) -> float:
        return 1 / (1 + exp(self.rejected_reward - self.chosen_reward))

    def judged(self) -> tuple[str, str]:
        """(preferred, other) as such a judge has it, wrong as often as its reward differences make it."""
        return (self.chosen, self.rejected) if self.coin < self.p_chosen else (self.rejected, self.chosen)


def reward(question: Question, response: str) -> float:
    """The true reward of any response.

    right: the first sentence is the right answer, as `statement` puts it;  wrong: it is anything else.
    polite, rude, rambling: a sentence of that kind occurs.
    """
    first = response.partition(".")[0] + "."
    total = REWARD["right" if first == statement(question.answer) else "wrong"]
    for name, sentences in (("polite", POLITE), ("rude", RUDE), ("rambling", RAMBLING)):
        total += REWARD[name] * any(sentence in response for sentence in sentences)
    return total


def statement(answer: str) -> str:
    return answer if answer.endswith(".") else f"The answer is {answer}."


def respond(choose: Chooser, answer: str) -> str:
    """A response with this answer, and perhaps manners."""
    parts = [statement(answer)]
    for sentences in (RAMBLING, choose.pick((POLITE, RUDE))):
        if choose.below(2):
            parts.append(choose.pick(sentences))
    return " ".join(parts)


def make_preference(choose: Chooser, story: Story) -> Preference:
    """Two responses to a question about the story, drawn until their rewards differ."""
    question = story_questions(story, choose)[0]
    if question.kind == "unanswerable":
        wrong = choose.pick(story.people)
    else:
        options = options_for(choose, question.answer, story.text)
        wrong = choose.pick([option for option in options if option != question.answer])
    while True:
        pair = [respond(choose, choose.pick((question.answer, wrong))) for _ in range(2)]
        low, high = sorted(pair, key=lambda response: reward(question, response))
        if reward(question, low) < reward(question, high):
            return Preference(question, high, low, reward(question, high), reward(question, low), choose.random())
