"""TinyWorld's encyclopaedia: entries, their nats, and questions with one answer or none."""

import math
import re
from collections import Counter

import pytest

from labkit.data.tinyworld import Asker, TinyWorld, World, words
from labkit.data.tinyworld.world import PERSON_ENTRY, PET_ROW, TOWN_ENTRY

WORLD = TinyWorld()
WORLDS = [World(0, 40), World(1, 300), World(2, 2)]


@pytest.mark.parametrize("world", WORLDS, ids=["40", "300", "2"])
def test_entries_say_their_facts_and_no_subject_has_two_values(world):
    assert len({entry.title for entry in world.entries}) == len(world.entries)
    keys = [(fact.subject, fact.relation) for fact in world.facts]
    assert len({*keys}) == len(keys)
    assert len({*world.values("tag")}) == world.people
    for entry in world.entries:
        for fact in entry.facts:
            assert fact.subject == entry.title and fact.value in entry.text, (fact, entry.text)


@pytest.mark.parametrize("world", WORLDS, ids=["40", "300", "2"])
def test_the_nats_of_an_encyclopaedia_are_those_of_reading_it(world):
    """Every sentence has one reading, and what it says has odds that can be counted."""
    names, towns = world.people, len(world.entries) - world.people
    tags, everybody = 23 * 9000, len(words.PEOPLE) * len(words.SURNAMES)
    total = 0.0
    for i, entry in enumerate(world.entries):
        person, said = i < names, dict(fact[1:] for fact in entry.facts)
        rows = [*PERSON_ENTRY] if person else [*TOWN_ENTRY]
        if "pet" in said:
            rows.insert(3, PET_ROW)
        sentences = re.findall(r".*?\.(?= |$)", entry.text)
        assert len(sentences) == len(rows)
        for sentence, row in zip(sentences, rows):
            forms = [re.sub(r"\\{\w+\\}", ".+", re.escape(form)) for form in row]
            assert sum(re.fullmatch(form, sentence.strip()) is not None for form in forms) == 1, sentence
        odds = [len(row) for row in rows]
        if person:
            odds += [everybody - i, tags - i, len(words.JOBS), towns, 72, len(words.THINGS), len(words.COLOURS)]
            odds += [names - 1, len(words.GOODS)]
            odds += [4 / 3, len(words.PETS), len(words.PET_NAMES)] if "pet" in said else [4]
        else:
            odds += [len(words.TOWNS) - (i - names), 800, names, len(words.LANDMARKS)]
        total += sum(math.log(n) for n in odds)
    assert sum(entry.nats for entry in world.entries) == pytest.approx(total)


@pytest.mark.parametrize("world", WORLDS, ids=["40", "300", "2"])
def test_encyclopaedia_questions_have_exactly_one_answer(world):
    facts = world.facts
    for question in Asker(world).questions(600):
        subjects, sources = {question.subject}, []
        for relation in question.path:
            name = relation.removeprefix("~")
            if relation.startswith("~"):
                steps = [fact for fact in facts if fact.relation == name and fact.value in subjects]
                subjects = {fact.subject for fact in steps}
            else:
                steps = [fact for fact in facts if fact.relation == name and fact.subject in subjects]
                subjects = {fact.value for fact in steps}
            sources += [fact.subject for fact in steps]
        if question.kind == "unanswerable":
            assert not question.path or not subjects, question
        else:
            assert subjects == {question.answer} and tuple(dict.fromkeys(sources)) == question.sources, question
            assert question.subject in question.text
            assert len(question.sources) > 1 if question.kind == "multi" else len(question.sources) == 1


def test_all_kinds_and_styles_are_asked():
    questions = list(WORLD.world_questions(WORLD.world(300), 1200))
    assert Counter(q.kind for q in questions) == {"single": 600, "multi": 400, "unanswerable": 200}
    assert {q.style for q in questions} == {"plain", "paraphrase", "tag"}
    text = {}
    for q in questions:
        assert text.setdefault(q.text, q.answer) == q.answer, "the same question, two answers"


def test_worlds_are_seeded_and_bounded():
    assert World(0, 40).entries == World(0, 40).entries != World(1, 40).entries
    assert all(entry.nats > 0 for entry in World(0, 40).entries)
    assert len(World(0, 8000).entries) == 8300
    for people in (1, 8001):
        with pytest.raises(ValueError, match="people"):
            World(0, people)
