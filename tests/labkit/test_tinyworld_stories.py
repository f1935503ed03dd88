"""TinyWorld's stories: exact nats, no contradictions, splits that share no sentence, the same everywhere."""

import hashlib
import itertools
import math
import string
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from labkit import data
from labkit.data.tinyworld import HELD_OUT, SPLITS, TinyWorld, words
from labkit.data.tinyworld import templates as t
from labkit.data.tinyworld.choice import Chooser, Odds, seed_of
from labkit.data.tinyworld.reader import GROUPS, SLOTS, Reader, pattern, sentences_of
from labkit.data.tinyworld.scene import EVENTS, Scene
from labkit.data.tinyworld.story import Fact, tell_story
from tests.labkit.tinyworld_derivations import derivations

WORLD = TinyWorld()
LISTS = {name: value for name, value in vars(words).items() if name.isupper() and isinstance(value, tuple)}


# ---------------------------------------------------------------- words and sentences
@pytest.mark.parametrize("name", LISTS)
def test_no_list_holds_a_word_twice(name):
    assert len(set(LISTS[name])) == len(LISTS[name])


def test_places_things_and_colours_are_different_words():
    for a, b in itertools.combinations(["PLACES", "THINGS", "COLOURS", "SIZES", "ANIMALS", "NUMBERS"], 2):
        assert not {*LISTS[a]} & {*LISTS[b]}, (a, b)


def test_the_slots_of_every_template_are_known():
    for name, group in GROUPS.items():
        for template in group:
            slots = {slot for _, slot, _, _ in string.Formatter().parse(template.text) if slot}
            assert slots <= {*SLOTS}, (name, template.text)


def test_sentences_are_plain_english_in_form():
    for story in WORLD.stories("validation", 300):
        for sentence in story.sentences:
            assert sentence[0].isupper() or sentence[0] == '"', sentence
            assert sentence[-1] in '."' or sentence.endswith("."), sentence
            assert "  " not in sentence and "{" not in sentence, sentence
            for before, word in itertools.pairwise(sentence.split()):
                if before in ("a", "an", "A", "An"):
                    assert (before.lower() == "an") == (word[0] in "aeiou"), sentence


# ---------------------------------------------------------------- nats
def test_a_text_has_one_derivation_and_its_nats_are_those_of_the_story():
    """So nats = -ln p(text), which is what makes them a floor."""
    for story in WORLD.stories("validation", 25):
        (nats,) = derivations(story.sentences)
        assert nats == pytest.approx(story.nats, abs=1e-9), story.text


def test_the_parser_sees_choices_that_collide(monkeypatch):
    """Drawing from three numbers and asking only whether it is zero would charge ln 3 for what has odds of 2 to 1."""
    monkeypatch.setattr(
        Scene,
        "other_place",
        lambda self, old: self.choose.pick_new(self.places, [old]) if self.choose.below(3) else self.new_place(),
    )
    known = (tell_story(Chooser(seed_of(9, i))) for i in range(20))
    assert any(len(derivations(story.sentences)) > 1 for story in known)


def test_nats_of_sentences_add_up():
    for story in WORLD.stories("validation", 100):
        assert len(story.sentence_nats) == len(story.sentences)
        assert min(story.sentence_nats) > 0 and sum(story.sentence_nats) == pytest.approx(story.nats)


def test_a_chooser_charges_what_its_frequencies_cost():
    """The mean of -ln p is the entropy of what is drawn, for every kind of draw."""
    n = 40_000
    odds = Odds({"a": 6, "b": 3, "c": 1})
    ways = {
        "pick": (lambda choose: choose.pick("abcdefg"), 7 * [1 / 7]),
        "draw": (lambda choose: choose.draw(odds), [0.6, 0.3, 0.1]),
        "pick_new": (lambda choose: choose.pick_new("abcdefg", "bd"), 5 * [1 / 5]),
        "below": (lambda choose: choose.below(4), 4 * [1 / 4]),
    }
    for name, (way, p) in ways.items():
        choose = Chooser(7)
        counts = np.array(sorted(Counter(way(choose) for _ in range(n)).values()), dtype=float)
        expected = n * np.array(sorted(p))
        assert len(counts) == len(p)
        assert ((counts - expected) ** 2 / expected).sum() < 30, name  # chi-square, at most 6 degrees of freedom
        assert choose.nats / n == pytest.approx(-sum(q * math.log(q) for q in p), abs=0.02), name


def test_shuffles_are_uniform_and_charged():
    choose = Chooser(3)
    counts = Counter(tuple(choose.shuffled("abc")) for _ in range(6000))
    assert len(counts) == 6 and min(counts.values()) > 850
    assert choose.nats / 6000 == pytest.approx(math.log(6))


def test_an_ideal_coder_reaches_the_floor():
    """The expected nats under the generator's own first choice equal its entropy: all openings are equally likely."""
    first = len(words.PEOPLE) * len(words.PLACES) * len(words.THINGS) * len(words.COLOURS) * len(t.OPENING)
    for story in WORLD.stories("validation", 200):
        match = next(m for one in t.OPENING if (m := pattern(one).fullmatch(story.sentences[0])))
        p = 1 / first / 2 / (len(words.SIZES) if len(match["ax"].split()) == 4 else 1)
        for slot in ("weather", "time"):
            p /= len(t.FREE[slot])
        assert story.sentence_nats[0] == pytest.approx(-math.log(p))


# ---------------------------------------------------------------- truth
def test_stories_never_contradict_their_world():
    for split, count in (("validation", None), ("test", None), ("train", 1500)):
        for story in WORLD.stories(split, count):
            assert Reader().read(story.sentences) == [], story.text


def test_a_text_is_cut_into_its_sentences():
    """Also where sentences stand in quotation marks inside others; what TinyWorld does not say ends at a full stop."""
    for story in WORLD.stories("test", 300):
        assert sentences_of(story.text) == story.sentences
    strange = ["It was late. ", *story.sentences[:2], "The moon is a cheese? ", story.sentences[2], "Never", " ended"]
    found = sentences_of(" ".join(strange))
    assert found == ["It was late.", *story.sentences[:2], "The moon is a cheese?", story.sentences[2], "Never  ended"]
    assert sentences_of("") == []


def test_the_reader_notices_a_contradiction():
    wrong = 0
    for story in WORLD.stories("validation", 60):
        blank = story.blanks[-1]
        other = next(
            w
            for w in (*story.places, *story.people)
            if w != blank.answer and w[0].isupper() == blank.answer[0].isupper()
        )
        sentences = [*story.sentences]
        sentences[blank.sentence] = sentences[blank.sentence].removesuffix(f"{blank.answer}.") + f"{other}."
        wrong += bool(Reader().read(sentences))
    assert wrong == 60


def test_facts_are_what_a_reader_knows_in_the_end():
    for story in WORLD.stories("validation", 300):
        reader = Reader()
        reader.read(story.sentences)
        known = {Fact(name, "place", place) for name, place in reader.place.items() if name not in reader.holder}
        known |= {Fact(thing, "holder", name) for thing, name in reader.holder.items()}
        known |= {Fact(thing, "colour", colour) for thing, colour in reader.colour.items()}
        known |= {Fact(thing, "first owner", name) for thing, name in reader.first.items()}
        known |= {Fact(thing, "spot", spot) for thing, spot in reader.spot.items() if thing not in reader.holder}
        if reader.count:
            goods = story.scene.goods[1]
            known |= {Fact(name, goods, words.NUMBERS[n]) for name, n in reader.count.items()}
        assert {*story.facts()} == known, story.text


def test_blanks_are_last_words_and_people_things_and_places_occur():
    for story in WORLD.stories("validation", 200):
        for blank in story.blanks:
            assert story.sentences[blank.sentence].endswith(f" {blank.answer}.")
        for name in (*story.people, *story.things, *story.places):
            assert name in story.text


def test_every_event_and_every_template_occurs():
    told = Counter()
    for story in WORLD.stories("train", 1500):
        for sentence in story.sentences:
            told.update(
                template for group in GROUPS.values() for template in group if pattern(template).fullmatch(sentence)
            )
    assert {template for group in GROUPS.values() for template in group} == {*told}
    assert min(told.values()) > 10
    assert all(hasattr(tell_story(Chooser(0)).scene, event) for event in EVENTS)


# ---------------------------------------------------------------- splits and seeds
def test_splits_share_no_sentence():
    sentences = {
        split: {sentence for story in WORLD.stories(split, count) for sentence in story.sentences}
        for split, count in (("validation", None), ("test", None), ("train", 5000))
    }
    for a, b in itertools.combinations(SPLITS, 2):
        assert not sentences[a] & sentences[b], (a, b)


def test_few_stories_are_drawn_again():
    """The chance r of a redraw shifts the nats of a training story by ln(1 - r): it must be negligible."""
    stream = WORLD._stories
    draws = sum(stream.draw("train", i, stream.held_out)[1] for i in range(2000))
    assert draws / 2000 < 1.01


def test_items_depend_on_seed_split_and_index_alone():
    first = [story.text for story in WORLD.stories("train", 20)]
    assert [story.text for story in TinyWorld().stories("train", 5, start=15)] == first[15:]
    assert not {*first} & {story.text for story in TinyWorld(seed=1).stories("train", 20)}
    assert not {*first} & {story.text for story in WORLD.stories("validation")}


def test_the_text_is_the_same_on_every_machine():
    """A change here changes everybody's corpus: raise the version in labkit.data.builtin and train models anew."""
    digest = hashlib.sha256("\n".join(story.text for story in WORLD.stories("train", 200)).encode()).hexdigest()
    assert digest[:16] == "068f6f98c458e963"
    code = "from labkit.data.tinyworld import TinyWorld; print(next(TinyWorld().stories('train', 1)).text, end='')"
    for hash_seed in "01":
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": hash_seed}
        )
        assert run.stdout == next(WORLD.stories("train", 1)).text, run.stderr


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="split: expected one of"):
        WORLD.stories("dev", 3)
    with pytest.raises(ValueError, match="count: the training split has no end"):
        WORLD.stories("train")
    with pytest.raises(ValueError, match="test has 1000 items"):
        WORLD.stories("test", HELD_OUT, 1)
    with pytest.raises(ValueError, match="start and count"):
        WORLD.stories("train", -1)
    with pytest.raises(ValueError, match="seed parts"):
        next(TinyWorld(seed=-1).stories("train", 1))


def test_the_corpora_are_registered():
    corpus = data.load("tinyworld", limit=30)
    assert [document.text for document in corpus.documents] == [story.text for story in WORLD.stories("train", 30)]
    assert [record["nats"] for record in corpus.records] == [story.nats for story in WORLD.stories("train", 30)]
    assert len(data.load("tinyworld-validation").documents) == len(data.load("tinyworld-test").documents) == HELD_OUT
    assert corpus.documents[0].title == "train story 0"
    assert {"tinyworld", "tinyworld-validation", "tinyworld-test"} <= {row.name for row in data.available()}


def test_the_vocabulary_is_small():
    seen = {word for story in WORLD.stories("train", 3000) for word in story.text.replace('"', "").split()}
    assert 500 < len({word.strip('.,?"').lower() for word in seen}) < 1500
