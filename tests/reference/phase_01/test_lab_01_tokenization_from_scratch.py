"""The reference of lab 1.1 against tiktoken, tokenizers, Python's own codecs, and properties of random Unicode."""

import codecs
import json
import os
import re
import unicodedata
from collections import Counter
from itertools import pairwise

import pytest
import regex
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiktoken_ext.openai_public import r50k_pat_str
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from labkit import data
from labkit.data.datasets import datasets
from labkit.reference import tokenization_from_scratch as lab
from labkit.reference.tokenization_from_scratch import tokenizer_report as report

realdata = pytest.mark.realdata
needs_mirror = pytest.mark.skipif("LABKIT_MIRROR" not in os.environ, reason="LABKIT_MIRROR is not set")

SAMPLE = "Hello, world! Don't tokenize naively — GPT-2's regex is smart."
SAMPLE_IDS = "15496 11 995 0 2094 470 11241 1096 12385 2280 851 402 11571 12 17 338 40364 318 4451 13"
BEGINNING = 150_000  # characters, where the whole of every text would take minutes

# Any valid Unicode, and text dense in what tokenizers trip over: spaces, apostrophes, digits, marks, several scripts.
ANY = st.text()
# Not all engines have the same Unicode tables, so they disagree about characters that became letters lately.
ASSIGNED = st.text(st.characters(exclude_categories=["Cs", "Cn"]))
SNIPPETS = [*"aZé天אش٣½²_-.!?€", " ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u2028", "\u3000", "\x1c", "\x85", "\x00"]
SNIPPETS += [
    "'s",
    "'t",
    "'re",
    "'LL",
    "’s",
    "don't",
    "3.14",
    "e\u0301",
    "\u200d",
    "\ufeff",
    "\ufffd",
    "🙂",
    "👩🏽",
    "🇪🇺",
]
TRICKY = st.lists(st.sampled_from(SNIPPETS), max_size=30).map("".join)
TEXT = st.one_of(ANY, TRICKY)


# ---------------------------------------------------------------- GPT-2's pieces against other engines


def rust_pieces(text):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return [text[start:stop] for _, (start, stop) in byte_level.pre_tokenize_str(text)]


@settings(max_examples=500, deadline=None)
@given(st.one_of(ASSIGNED, TRICKY))
@example("  two  spaces  ")
@example("DON'T don't 'S it's\n\n\n next")
@example("a\x1cb \x85 c\u180ed\u200be")
def test_pieces_equal_those_of_the_tokenizers_package(text):
    assert lab.gpt2_pieces(text) == rust_pieces(text)


@settings(max_examples=500, deadline=None)
@given(TEXT)
def test_pieces_equal_those_of_tiktokens_pattern(text):
    assert lab.gpt2_pieces(text) == regex.findall(r50k_pat_str, text)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_pieces_joined_are_the_text(text):
    assert "".join(lab.gpt2_pieces(text)) == text


def test_other_patterns_would_be_noticed():
    """The oracles above are not blind: near misses differ from them on the sample."""
    for wrong in (r"'(?:[sdmt]|ll|ve|re)| ?\w+| ?[^\s\w]+|\s+(?!\S)|\s+", r"\w+|\W+", r"\S+|\s+"):
        assert regex.findall(wrong, SAMPLE + "  x_1") != rust_pieces(SAMPLE + "  x_1")


def test_standard_re_has_no_unicode_classes():
    with pytest.raises(re.error, match=r"bad escape \\p"):
        re.compile(lab.gpt2_pattern().pattern)


# ---------------------------------------------------------------- the real GPT-2


@pytest.fixture(scope="module")
def gpt2():
    return report.Gpt2Tokenizer(data.load("gpt2-vocab").text)


@pytest.fixture(scope="module")
def mirrored_texts():
    """Every data set in the mirror that is text: 49 million characters."""
    named = datasets().items()
    return {name: data.load(name).text for name, one in named if one.form != "binary" and not name.startswith("gpt2")}


@pytest.fixture(scope="module")
def beginnings(mirrored_texts):
    return {name: text[:BEGINNING] for name, text in mirrored_texts.items()}


@realdata
@needs_mirror
def test_gpt2_yardstick_is_the_published_tokenizer(gpt2):
    published = data.load("gpt2-encoder").path.read_text(encoding="utf-8")
    ids = json.loads(published)
    printable = {c: b for b, c in _gpt2_bytes().items()}
    for token, i in ids.items():
        if token != "<|endoftext|>":
            assert gpt2.encoding.decode_single_token_bytes(i) == bytes(printable[c] for c in token)
    assert gpt2.vocab_size == len(ids) == 50257
    assert gpt2.encode("Hello, world!") == [15496, 11, 995, 0]


def _gpt2_bytes():
    """Byte to character as GPT-2's encoder.py defines it: the n-th unprintable byte is written as U+0100 + n."""
    kept = {b for b in range(256) if chr(b).isprintable() and chr(b) != " " and b != 0xAD}
    moved = [b for b in range(256) if b not in kept]
    return {b: chr(b) for b in kept} | {b: chr(256 + n) for n, b in enumerate(moved)}


@realdata
@needs_mirror
def test_the_sample_sentence_has_10_17_64_and_20_tokens(gpt2):
    assert len(SAMPLE) == 62
    assert len(lab.whitespace_pieces(SAMPLE)) == 10
    assert len(lab.gpt2_pieces(SAMPLE)) == 17
    assert len(lab.ByteLevelTokenizer().encode(SAMPLE)) == 64
    assert gpt2.encode(SAMPLE) == [int(i) for i in SAMPLE_IDS.split()]


@realdata
@needs_mirror
def test_pieces_equal_tiktokens_on_all_mirrored_texts(mirrored_texts):
    """tiktoken's own engine, with a vocabulary in which every one of our pieces is a token.

    tiktoken looks a whole piece up before it merges bytes. So if it cuts as we do, its tokens are our pieces. If it did
    not cut between two of them, it would find the two in one, which is a token too; if it cut elsewhere, that shows.
    """
    for name, text in mirrored_texts.items():
        pieces = [piece.encode("utf-8") for piece in lab.gpt2_pieces(text)]
        tokens = [bytes([b]) for b in range(256)] + pieces + [a + b for a, b in pairwise(pieces)]
        ranks = {token: rank for rank, token in enumerate(dict.fromkeys(tokens))}
        engine = tiktoken.Encoding(name, pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={})
        assert engine.encode_ordinary(text) == [ranks[piece] for piece in pieces], name


@realdata
@needs_mirror
def test_bpe_never_merges_across_pieces(gpt2, beginnings):
    """The ids of a text are the ids of its pieces, one after another: hence never fewer tokens than pieces."""
    for name, text in beginnings.items():
        pieces = lab.gpt2_pieces(text)
        of_piece = {piece: gpt2.encode(piece) for piece in set(pieces)}
        ids = gpt2.encode(text)
        assert ids == [i for piece in pieces for i in of_piece[piece]], name
        assert len(ids) >= len(pieces), name


@realdata
@needs_mirror
def test_every_mirrored_text_comes_back(beginnings):
    for name, text in beginnings.items():
        for tokenizer in (lab.ByteLevelTokenizer(), lab.RegexTokenizer.train([text])):
            assert tokenizer.decode(tokenizer.encode(text)) == text, name


# ---------------------------------------------------------------- round trips


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_bytes_round_trip(text):
    tokenizer = lab.ByteLevelTokenizer()
    ids = tokenizer.encode(text)
    assert bytes(ids) == text.encode("utf-8")
    assert tokenizer.decode(ids) == "".join(tokenizer.stream(ids)) == text


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, max_size=4))
def test_regex_round_trips_what_it_was_trained_on(texts):
    tokenizer = lab.RegexTokenizer.train(texts)
    assert all(tokenizer.decode(tokenizer.encode(text)) == text for text in texts)


@settings(max_examples=200, deadline=None)
@given(TEXT)
def test_whitespace_keeps_the_words_and_nothing_else(text):
    tokenizer = lab.WhitespaceTokenizer.train([text])
    back = tokenizer.decode(tokenizer.encode(text))
    assert back.split() == text.split()
    assert back == " ".join(text.split())


@settings(max_examples=200, deadline=None)
@given(TEXT, st.sampled_from(lab.FORMS))
def test_normalisation_happens_once_before_encoding(text, form):
    normal = text if form is None else unicodedata.normalize(form, text)
    for kind in (lab.WhitespaceTokenizer, lab.RegexTokenizer):
        assert kind.train([text], form=form).vocab == kind.train([normal]).vocab
        assert kind.train([text], form=form).encode(text) == kind.train([normal]).encode(normal)
    tokenizer = lab.ByteLevelTokenizer(form)
    assert tokenizer.decode(tokenizer.encode(text)) == normal


@settings(max_examples=100, deadline=None)
@given(ANY, st.characters(categories=["Cs"]), ANY)
def test_lone_surrogates_get_a_clear_error(before, lone, after):
    tokenizers = [lab.ByteLevelTokenizer(), lab.RegexTokenizer(["<unk>"]), lab.WhitespaceTokenizer(["<unk>"])]
    for tokenizer in tokenizers:
        with pytest.raises(ValueError, match=rf"lone surrogate U\+{ord(lone):04X} at position {len(before)}:"):
            tokenizer.encode(before + lone + after)


# ---------------------------------------------------------------- streaming


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=40))
@example(b"\xf0\x9f\x99")
@example(b"\xff\xff\xff\xc3\xa9")
@example(b"\xed\xa0\xbd\xe2\x82")
def test_streaming_equals_decoding_for_any_bytes(broken):
    tokenizer = lab.ByteLevelTokenizer()
    chunks = list(tokenizer.stream(broken))
    assert "".join(chunks) == tokenizer.decode(broken) == broken.decode("utf-8", errors="replace")
    assert all(chunks)
    assert chunks == list(codecs.iterdecode((bytes([b]) for b in broken), "utf-8", errors="replace"))


@settings(max_examples=200, deadline=None)
@given(ANY)
def test_a_chunk_per_character_of_valid_text(text):
    assert list(lab.ByteLevelTokenizer().stream(text.encode("utf-8"))) == list(text)


# ---------------------------------------------------------------- vocabulary

PIECES = st.lists(st.sampled_from(["a", "b", "c", "ab", "<unk>", "<eos>", "é", " ", "z"]), max_size=40)


@settings(max_examples=300, deadline=None)
@given(PIECES, st.integers(1, 4))
def test_vocabulary_equals_its_definition(pieces, min_freq):
    specials = ["<unk>", "<eos>"]
    kept = {p for p in pieces if pieces.count(p) >= min_freq and p not in specials}
    wanted = specials + sorted(kept, key=lambda p: (-pieces.count(p), pieces.index(p)))
    assert lab.build_vocab(iter(pieces), min_freq, specials) == wanted
    everything = lab.build_vocab(pieces, 1, specials)
    assert everything[: len(wanted)] == wanted  # a higher min_freq cuts off the end and moves no id


def test_vocabulary_holds_what_the_tokenizers_package_would_keep():
    text = data.load("python-docs", limit=300).text
    ours = lab.WhitespaceTokenizer.train([text], min_freq=3, special_tokens=["<pad>", "<unk>"])
    theirs = Tokenizer(models.WordLevel(unk_token="<unk>"))
    theirs.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    settings_of_theirs = {"vocab_size": 10**6, "min_frequency": 3, "special_tokens": ["<pad>", "<unk>"]}
    theirs.train_from_iterator([text], trainers.WordLevelTrainer(show_progress=False, **settings_of_theirs))
    assert set(ours.vocab) == set(theirs.get_vocab())
    assert ours.vocab[:2] == [theirs.id_to_token(0), theirs.id_to_token(1)]
    known = [theirs.id_to_token(i) for i in theirs.encode(text).ids]
    assert [ours.vocab[i] for i in ours.encode(text)] == known


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: lab.build_vocab([], min_freq=0), ValueError, "min_freq must be at least 1, got 0"),
        (lambda: lab.WhitespaceTokenizer.train("one string"), TypeError, "put it in a list"),
        (lambda: lab.WhitespaceTokenizer(["a", "<unk>"]), ValueError, "must start with special_tokens"),
        (lambda: lab.RegexTokenizer(["<pad>"], ["<pad>"]), ValueError, "'<unk>'"),
        (lambda: lab.RegexTokenizer(["<unk>"]).encode(b"bytes"), TypeError, "text must be a str, got bytes"),
        (lambda: lab.ByteLevelTokenizer("nfc").encode("a"), ValueError, "form must be one of .* got 'nfc'"),
        (lambda: lab.WhitespaceTokenizer(["<unk>"]).decode([1]), ValueError, r"ids must lie in 0\.\.0, got 1"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---------------------------------------------------------------- the report


def test_coverage_equals_counting():
    train, new = ["a a a b b c", "d d a"], ["a b x d", "c c"]
    tokenizer = lab.WhitespaceTokenizer.train(train)
    words = tokenizer.vocab[1:]
    pieces = Counter(" ".join(new).split())
    wanted = [100 * sum(pieces[w] for w in words[:k]) / pieces.total() for k in range(1, len(words) + 1)]
    assert report.coverage(tokenizer, new) == pytest.approx(wanted)


def test_measure_counts_characters_tokens_and_losses():
    tokenizer = lab.WhitespaceTokenizer.train(["one two"])
    costs = report.measure(tokenizer, ["one two", "one  two", "one three"], repeats=1)
    assert costs["vocabulary"] == 3
    assert costs["chars_per_token"] == pytest.approx(24 / 6)
    assert costs["unknown_percent"] == pytest.approx(100 / 6)
    assert costs["exact_percent"] == pytest.approx(100 / 3)


def test_labels_show_every_byte():
    assert report.labels(lab.ByteLevelTokenizer(), "a é\n") == ["a", "·", "c3", "a9", "↵"]
