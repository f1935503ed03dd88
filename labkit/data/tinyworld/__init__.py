"""TinyWorld: a seeded generator of short simple texts that knows the truth behind each. See README.md in this folder.

world = TinyWorld()
for story in world.stories("train", 1000): story.text, story.nats, story.facts()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from labkit.data.corpus import Document
from labkit.data.tinyworld.arithmetic import Problem, make_problem
from labkit.data.tinyworld.choice import Chooser, seed_of
from labkit.data.tinyworld.duplicates import Planted, jaccard, plant, shingles
from labkit.data.tinyworld.instructions import Instruction, make_instruction
from labkit.data.tinyworld.preferences import Preference, make_preference, reward
from labkit.data.tinyworld.probes import Cloze, MultipleChoice, make_choice, make_cloze
from labkit.data.tinyworld.questions import Asker, Question, make_question, story_questions
from labkit.data.tinyworld.red_team import RedTeamPrompt, leaks, make_red_team
from labkit.data.tinyworld.scene import Blank
from labkit.data.tinyworld.splits import HELD_OUT, SPLITS, Stream
from labkit.data.tinyworld.story import Fact, Story, tell_story
from labkit.data.tinyworld.world import Entry, World

__all__ = [
    "HELD_OUT",
    "SPLITS",
    "Asker",
    "Blank",
    "Cloze",
    "Entry",
    "Fact",
    "Instruction",
    "MultipleChoice",
    "Planted",
    "Preference",
    "Problem",
    "Question",
    "RedTeamPrompt",
    "Story",
    "TinyWorld",
    "World",
    "jaccard",
    "leaks",
    "reward",
    "shingles",
    "story_questions",
]


T = TypeVar("T")


@dataclass(frozen=True)
class TinyWorld:
    """Everything there is, from one seed. All methods give the same items again for the same arguments.

    The methods that take a split ("train", "validation", "test") give items start ... start + count - 1 of it. Training
    has no end; validation and test have HELD_OUT (1000) items each, all of which count=None gives. No two splits share
    a sentence of a story, an instruction, a problem or a red-team prompt: what would be shared is drawn again. Item i
    of cloze, questions, choices and preferences is about story i of the same split.
    """

    seed: int = 0

    def stories(self, split: str = "train", count: int | None = None, start: int = 0) -> Iterator[Story]:
        """Texts for language models, with their nats and their truth."""
        return self._stories.items(split, count, start)

    def cloze(self, split: str = "test", count: int | None = None, start: int = 0) -> Iterator[Cloze]:
        """Stories up to a word that follows from them."""
        return self._about_stories(make_cloze, 10, split, count, start)

    def questions(self, split: str = "train", count: int | None = None, start: int = 0) -> Iterator[Question]:
        """A story and a question each: a third answered by one fact, a third by several, a third not answered."""
        return self._about_stories(make_question, 11, split, count, start)

    def choices(self, split: str = "test", count: int | None = None, start: int = 0) -> Iterator[MultipleChoice]:
        """A story and a question with four options each."""
        return self._about_stories(make_choice, 12, split, count, start)

    def instructions(self, split: str = "train", count: int | None = None, start: int = 0) -> Iterator[Instruction]:
        """Short tasks with a rule that checks any response."""
        return self._instructions.items(split, count, start)

    def preferences(self, split: str = "train", count: int | None = None, start: int = 0) -> Iterator[Preference]:
        """A story, a question and two answers each, with the true rewards."""
        return self._about_stories(make_preference, 13, split, count, start)

    def problems(self, split: str = "train", count: int | None = None, start: int = 0) -> Iterator[Problem]:
        """Arithmetic word problems with worked solutions."""
        return self._problems.items(split, count, start)

    def red_team(self, split: str = "train", count: int | None = None, start: int = 0) -> Iterator[RedTeamPrompt]:
        """Attacks on a secret, and harmless requests that look like them, half and half."""
        return self._red_team.items(split, count, start)

    def near_duplicates(self, count: int = 1000, share: float = 0.2) -> tuple[list[Document], list[Planted]]:
        """So many documents, of which about `share` (0 to 0.5) are edited copies of others, and which they are."""
        if not (0 <= share <= 0.5 and 1 <= count < 10_000):
            raise ValueError(f"expected 1 to 9999 documents and a share of 0 to 0.5, got {count} and {share}")
        return plant(Chooser(seed_of(self.seed, 102, count, round(share * 1e6))), count, share)

    def world(self, people: int = 40) -> World:
        """People and towns with an encyclopaedia entry each."""
        return World(self.seed, people)

    def world_questions(self, world: World, count: int, start: int = 0) -> Iterator[Question]:
        """Questions about a world's encyclopaedia: half single, a third multi, a sixth unanswerable."""
        return Asker(world, self.seed).questions(count, start)

    def _about_stories(
        self, make: Callable[[Chooser, Story], T], kind: int, split: str, count: int | None, start: int
    ) -> Iterator[T]:
        """Item i of a split is about story i of that split."""
        for i, story in enumerate(self.stories(split, count, start), start):
            yield make(Chooser(seed_of(self.seed, kind, SPLITS.index(split), i)), story)

    # The numbers of the streams are part of the seed.
    @cached_property
    def _stories(self) -> Stream[Story]:
        return Stream(self.seed, 0, "story", tell_story, lambda story: story.sentences)

    @cached_property
    def _instructions(self) -> Stream[Instruction]:
        return Stream(self.seed, 1, "instruction", make_instruction, lambda item: [item.prompt])

    @cached_property
    def _problems(self) -> Stream[Problem]:
        return Stream(self.seed, 2, "problem", make_problem, lambda item: [item.question])

    @cached_property
    def _red_team(self) -> Stream[RedTeamPrompt]:
        return Stream(self.seed, 3, "prompt", make_red_team, lambda item: [item.system + item.prompt])
