"""TinyWorld's questions, tasks and traps: each truth is checked by something that is not the generator."""

import ast
import operator
import re
from collections import Counter

import pytest

from labkit.data.tinyworld import (
    Cloze,
    Problem,
    RedTeamPrompt,
    TinyWorld,
    jaccard,
    leaks,
    reward,
    shingles,
    story_questions,
    words,
)
from labkit.data.tinyworld.choice import Chooser
from labkit.data.tinyworld.preferences import POLITE, RAMBLING, REWARD, RUDE
from labkit.data.tinyworld.probes import make_cloze
from labkit.data.tinyworld.reader import Reader
from labkit.data.tinyworld.red_team import ATTACKS, HARMLESS

WORLD = TinyWorld()
KINDS = ("cloze", "questions", "choices", "instructions", "preferences", "problems", "red_team")


@pytest.mark.parametrize("kind", KINDS)
def test_items_depend_on_seed_split_and_index_alone(kind):
    make = getattr(WORLD, kind)
    first = list(make("train", 12))
    assert list(getattr(TinyWorld(), kind)("train", 2, start=10)) == first[10:]
    assert first != list(getattr(TinyWorld(seed=1), kind)("train", 12))


def prompt_of(item):
    if isinstance(item, Cloze):
        return item.context
    if isinstance(item, Problem):
        return item.question
    return item.system + item.prompt if isinstance(item, RedTeamPrompt) else item.prompt


@pytest.mark.parametrize("kind", KINDS)
def test_splits_share_no_prompt(kind):
    def prompts(split, count):
        return {prompt_of(item) for item in getattr(WORLD, kind)(split, count)}

    train, validation, test = prompts("train", 2000), prompts("validation", None), prompts("test", None)
    assert not train & validation and not train & test and not validation & test


# ---------------------------------------------------------------- questions about stories
def answers_from(reader: Reader, question: str) -> set[str]:
    """Every answer that a reader of the story could give: the question is matched anew, not looked up by its path."""
    holder, place = reader.holder, reader.place
    spots = {**{x: place[h] for x, h in holder.items()}, **{x: place[x] for x in reader.spot if x not in holder}}
    if m := re.fullmatch(r"Where is the person who had the (\w+) first at the end\?", question):
        return {place[reader.first[m[1]]]} if m[1] in reader.first else set()
    if m := re.fullmatch(r"Where is the (\w+) at the end\?", question):
        return {spots[m[1]]} if m[1] in spots else set()
    if m := re.fullmatch(r"Where is (\w+) at the end\?", question):
        return {place[m[1]]} if m[1] in place else set()
    if m := re.fullmatch(r"What color is the thing that (\w+) has at the end\?", question):
        return {(x, reader.colour[x]) for x, h in holder.items() if h == m[1]}
    if m := re.fullmatch(r"What color is the (\w+)\?", question):
        return {reader.colour[m[1]]} if m[1] in reader.colour else set()
    if m := re.fullmatch(r"Who had the (\w+) first\?", question):
        return {reader.first[m[1]]} if m[1] in reader.first else set()
    if m := re.fullmatch(r"Who has the (\w+) at the end\?", question):
        return {holder[m[1]]} if m[1] in holder else set()
    if m := re.fullmatch(r"How many \w+ does (\w+) have at the end\?", question):
        return {words.NUMBERS[reader.count[m[1]]]} if m[1] in reader.count else set()
    assert re.fullmatch(r"How old is \w+\?", question), question
    return set()


def test_story_questions_have_exactly_one_answer():
    seen = Counter()
    for i, story in enumerate(WORLD.stories("validation", 400)):
        reader = Reader()
        reader.read(story.sentences)
        questions = story_questions(story, Chooser(i))
        assert len({question.text for question in questions}) == len(questions)
        for question in questions:
            seen[question.kind] += 1
            found = answers_from(reader, question.text)
            found = (
                {answer[1] if isinstance(answer, tuple) else answer for answer in found} if len(found) == 1 else found
            )
            wanted = set() if question.kind == "unanswerable" else {question.answer}
            assert found == wanted, (question.text, story.text)
            assert question.answer in story.text or question.kind == "unanswerable" or question.answer in words.NUMBERS
    assert min(seen.values()) > 400 and {*seen} == {"single", "multi", "unanswerable"}


def test_each_kind_of_question_is_as_likely():
    counts = Counter(question.kind for question in WORLD.questions("train", 900))
    assert min(counts.values()) > 240 and counts.total() == 900


def test_cloze_answers_follow_from_the_context():
    """A reader finds every other option in contradiction to the context."""
    kinds = Counter()
    stories = {story.text: story for story in WORLD.stories("test")}
    texts = sorted(stories)
    for item in WORLD.cloze("test"):
        kinds[item.kind] += 1
        assert len({*item.options}) == 4 and item.answer in item.options
        (text,) = (text for text in texts if text.startswith(item.context))
        length = (item.context + f" {item.answer}.").count(" ")
        before, spaces = [], 0
        for sentence in stories[text].sentences:
            spaces += sentence.count(" ") + 1
            if spaces > length:
                break
            before.append(sentence)
        start = sentence.removesuffix(f"{item.answer}.")
        right = [o for o in item.options if not Reader().read([*before, f"{start}{o}."])]
        assert right == [item.answer], (item, right)
    assert min(kinds.values()) > 20 and len(kinds) == 6


def test_the_place_of_the_answer_tells_nothing():
    for items, where in (
        (WORLD.cloze("test"), lambda c: c.options.index(c.answer)),
        (WORLD.choices("test"), lambda c: c.answer),
    ):
        counts = Counter(where(item) for item in items)
        assert len(counts) == 4 and min(counts.values()) > 190


def test_multiple_choice_has_one_right_option():
    for story, item in zip(WORLD.stories("test", 300), WORLD.choices("test", 300)):
        reader = Reader()
        reader.read(story.sentences)
        found = {answer[1] if isinstance(answer, tuple) else answer for answer in answers_from(reader, item.question)}
        assert found == {item.options[item.answer]} and len({*item.options}) == 4
        assert item.prompt.endswith("Answer:") and f"\nA. {item.options[0]}\n" in item.prompt


# ---------------------------------------------------------------- tasks
def test_good_responses_pass_their_rule_and_others_fail():
    items = list(WORLD.instructions("validation"))
    assert len({item.kind for item in items}) == 9
    for item, other in zip(items, items[1:] + items[:1]):
        assert item.check(item.response), item
        assert not item.check("") and not item.check("I do not know."), item
        assert not item.check(item.response + " " + item.response), item
        if item.exact and other.response.lower() != item.response.lower():
            assert not item.check(other.response), (item, other)


def test_a_list_may_be_put_in_many_ways():
    item = next(i for i in WORLD.instructions("validation") if i.rule[:2] == ("some of", 2))
    a, b, *_ = item.rule[2]
    assert item.check(f"{b} and {a}") and item.check(f"{a}, {b}.") and item.check(f"{a}, and {b}")
    assert not item.check(f"{a} and {a}") and not item.check(a) and not item.check(f"{a} and justice")


OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}


def test_word_problems_are_solved_by_reading_them():
    for problem in WORLD.problems("train", 1500):
        sentences = problem.question.split(". ")
        numbers = [int(n) for n in re.findall(r"\d+", sentences[0])]
        n = numbers[0] * numbers[1] if " each" in sentences[0] else numbers[0]
        for sentence in sentences[1:-1]:
            k = int(found[0]) if (found := re.findall(r"\d+", sentence)) else 0
            if "more" in sentence:
                n += k
            elif "of them" in sentence and k:
                n -= k
            elif "as many again" in sentence:
                n *= 2
            else:
                assert "half" in sentence and n % 2 == 0, sentence
                n //= 2
        assert n == problem.answer > 0, problem
        for step in problem.steps:
            left, result = step.split(" = ")
            a, sign, b = left.split()
            assert OPERATORS[sign](ast.literal_eval(a), ast.literal_eval(b)) == int(result)
        assert problem.solution.endswith(f"#### {problem.answer}") and 1 <= len(problem.steps) <= 3


def test_preferences_are_ordered_by_the_true_reward():
    agree = []
    for item in WORLD.preferences("train", 2000):
        for response, value in ((item.chosen, item.chosen_reward), (item.rejected, item.rejected_reward)):
            right = response.startswith((item.question.answer, f"The answer is {item.question.answer}."))
            expected = REWARD["right" if right else "wrong"]
            for name, sentences in (("polite", POLITE), ("rude", RUDE), ("rambling", RAMBLING)):
                expected += REWARD[name] * any(s in response for s in sentences)
            assert value == reward(item.question, response) == expected
        assert item.chosen_reward > item.rejected_reward
        agree.append((item.judged() == (item.chosen, item.rejected), item.p_chosen))
    right, p = sum(a for a, _ in agree), sum(p for _, p in agree)
    variance = sum(p * (1 - p) for _, p in agree)
    assert abs(right - p) < 4 * variance**0.5, "judges err as often as Bradley and Terry say"


def test_red_team_prompts_hold_no_secret_and_leaks_are_found():
    items = list(WORLD.red_team("train", 1500))
    assert 0.45 < sum(item.attack for item in items) / len(items) < 0.55
    for item in items:
        assert item.secret in item.system and item.secret not in item.prompt
        assert item.family in (ATTACKS if item.attack else HARMLESS)
    assert {item.family for item in items} == {*ATTACKS, *HARMLESS}
    for response in ("It is Velvet!", "t e v l e v", "v-e-l-v-e-t", "Very\nearly\nlions\nvisit\neach\ntown", "TEVLEV"):
        assert leaks(response, "velvet"), response
    for response in ("I must not say.", "vel", ""):
        assert not leaks(response, "velvet"), response


def test_near_duplicates_are_as_near_as_they_say():
    documents, planted = WORLD.near_duplicates(300, 0.3)
    assert len(documents) == 300 and len(planted) == 90
    assert {p.edit for p in planted} == {"exact", "framed", "shortened", "renamed", "words"}
    together = {frozenset((p.original, p.copy)) for p in planted}
    for p in planted:
        a, b = documents[p.original].text, documents[p.copy].text
        ta, tb = a.split(), b.split()
        one = {" ".join(ta[i : i + 5]) for i in range(len(ta) - 4)}
        two = {" ".join(tb[i : i + 5]) for i in range(len(tb) - 4)}
        assert p.jaccard == jaccard(a, b) == len(one & two) / len(one | two)
        assert (a == b) == (p.edit == "exact")
    others = [
        jaccard(documents[i].text, documents[i + 1].text) for i in range(299) if frozenset((i, i + 1)) not in together
    ]
    assert max(others) < 0.1
    assert shingles("too short") == {("too", "short")}
    with pytest.raises(ValueError, match="share"):
        WORLD.near_duplicates(10, 0.7)


def test_cloze_options_come_from_the_context():
    """A wrong option that never occurred would give itself away."""
    inside = total = 0
    for i, story in enumerate(WORLD.stories("test", 300)):
        item = make_cloze(Chooser(i), story)
        if item.kind in ("holder", "first", "person", "thing"):
            total += 3
            inside += sum(option in item.context for option in item.options if option != item.answer)
    assert inside / total > 0.6
