"""Documents among which near-duplicates are planted, and what a search for them should find."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.data.corpus import Document
from labkit.data.tinyworld import words
from labkit.data.tinyworld.choice import Chooser
from labkit.data.tinyworld.story import Story, tell_story

NAMES = tuple(person.name for person in words.PEOPLE)


@dataclass(frozen=True, slots=True)
class Planted:
    """Documents `original` and `copy` (indices) are near-duplicates.

    edit: what was done to the copy.   jaccard: what the two share of all their shingles of five words, exactly.
    """

    original: int
    copy: int
    edit: str
    jaccard: float


def shingles(text: str, n: int = 5) -> set[tuple[str, ...]]:
    """All runs of n words; the whole text if it is shorter."""
    tokens = text.split()
    return {tuple(tokens[i : i + n]) for i in range(max(1, len(tokens) - n + 1))}


def jaccard(a: str, b: str) -> float:
    one, two = shingles(a), shingles(b)
    return len(one & two) / len(one | two)


def edited(choose: Chooser, story: Story) -> tuple[str, str]:
    """-> the edit's name and a changed text."""
    sentences = list(story.sentences)
    edit = choose.pick(("exact", "framed", "shortened", "renamed", "words"))
    if edit == "framed":
        sentences = ["Share this story with your friends.", *sentences, "Come back tomorrow for another one."]
    elif edit == "shortened":
        del sentences[1 + choose.below(len(sentences) - 1)]
    elif edit == "renamed":
        new = choose.pick_new(NAMES, story.people)
        sentences = " ".join(sentences).replace(choose.pick(story.people), new).split(" ")
    elif edit == "words":
        tokens = " ".join(sentences).split(" ")
        for _ in range(1 + choose.below(8)):
            tokens[choose.below(len(tokens))] = choose.pick(words.CALMLY)
        sentences = tokens
    return edit, " ".join(sentences)


def plant(choose: Chooser, count: int, share: float) -> tuple[list[Document], list[Planted]]:
    """`count` documents in random order, `share` of them edited copies of others; a story has one copy at most."""
    copies = int(count * share)
    stories = [tell_story(choose) for _ in range(count - copies)]
    texts = [story.text for story in stories]
    edits = []
    for original in choose.shuffled(range(len(stories)))[:copies]:
        edit, text = edited(choose, stories[original])
        edits.append((original, len(texts), edit))
        texts.append(text)
    order = choose.shuffled(range(len(texts)))  # order[k]: which text stands at place k
    place = {text: k for k, text in enumerate(order)}
    planted = [Planted(place[a], place[b], edit, jaccard(texts[a], texts[b])) for a, b, edit in edits]
    return [Document(f"document {k}", texts[i]) for k, i in enumerate(order)], planted
