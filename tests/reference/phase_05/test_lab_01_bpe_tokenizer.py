"""The reference of lab 5.1 against tiktoken, tokenizers, a slow trainer, and properties of random Unicode."""

import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections import Counter
from itertools import pairwise

import pytest
import tiktoken
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from labkit import data
from labkit.data.datasets import datasets
from labkit.reference import bpe_tokenizer as lab
from labkit.reference.bpe_tokenizer import bpe_report as report

realdata = pytest.mark.realdata
needs_mirror = pytest.mark.skipif("LABKIT_MIRROR" not in os.environ, reason="LABKIT_MIRROR is not set")

SPECIALS = [lab.EOT, "<|user|>", "<|end|>"]
STREAMED = 60_000  # characters of every text that are encoded in parts as well
SNIPPETS = [
    *"aZé天אش٣½²_-.!?€",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    "\r\n",
    "\u00a0",
    "\u3000",
    "\x85",
    "\x00",
    "🙂",
    "👩🏽",
]
SNIPPETS += [
    "'s",
    "'l",
    "l",
    "'",
    "'re",
    "’s",
    "don't",
    "3.14",
    "e\u0301",
    "the",
    " and",
    *SPECIALS,
    "<|",
    "|>",
    "<|end",
]
TRICKY = st.lists(st.sampled_from(SNIPPETS), max_size=30).map("".join)
TEXT = st.one_of(st.text(), TRICKY)
# Python's text and Rust's have different Unicode tables; on characters that no table leaves open they agree.
ASSIGNED = st.one_of(st.text(st.characters(exclude_categories=["Cs", "Cn"])), TRICKY)


def docs(limit=400):
    return [d.text for d in data.load("python-docs", limit=limit).documents]


@pytest.fixture(scope="module")
def trained():
    return lab.BPETokenizer.train(docs(), 800, SPECIALS)


def visible(tokenizer):
    """The ordinary tokens as GPT-2's files write them."""
    alphabet = lab.byte_alphabet()
    ordinary = tokenizer.tokens[: tokenizer.n_vocab - len(tokenizer.special_ids)]
    return ["".join(alphabet[byte] for byte in token) for token in ordinary]


# ---------------------------------------------------------------- training


def slow_merges(piece_counts, n_merges, min_frequency=2, tie=lambda pair: pair):
    """Byte-pair encoding as its definition reads: count everything, take the best pair, begin again."""
    words = {piece: lab.byte_ids(piece) for piece in piece_counts}
    merges = []
    while len(merges) < n_merges:
        totals = Counter()
        for piece, ids in words.items():
            for pair in pairwise(ids):
                totals[pair] += piece_counts[piece]
        if not totals:
            break
        pair = min(totals, key=lambda pair: (-totals[pair], tie(pair)))
        if totals[pair] < min_frequency:
            break
        for piece, ids in words.items():
            out, i = [], 0
            while i < len(ids):
                hit = tuple(ids[i : i + 2]) == pair
                out.append(256 + len(merges) if hit else ids[i])
                i += 1 + hit
            words[piece] = out
        merges.append(pair)
    return merges


COUNTS = st.dictionaries(st.text("abc ", min_size=1, max_size=9), st.integers(1, 9), max_size=12)


@settings(max_examples=200, deadline=None)
@given(COUNTS, st.integers(0, 40), st.integers(1, 4))
@example({"a" * 9: 3, "ab" * 4: 3, "aab" * 3: 3}, 40, 1)
def test_merges_equal_those_of_the_definition(counts, n_merges, min_frequency):
    assert lab.train_merges(counts, n_merges, min_frequency) == slow_merges(counts, n_merges, min_frequency)


def rust_merges(texts, vocab_size, min_frequency=2):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    wanted = {"vocab_size": vocab_size, "min_frequency": min_frequency, "initial_alphabet": alphabet}
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(show_progress=False, **wanted))
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


def our_merges(texts, vocab_size):
    tokenizer = lab.BPETokenizer.train(texts, vocab_size, ())
    names = visible(tokenizer)
    return [(names[first], names[second]) for first, second in tokenizer.merges]


def test_merges_equal_those_of_the_tokenizers_package():
    """All of them, in order: that trainer sorts its alphabet, which is GPT-2's order, and the smallest pair wins."""
    ours = our_merges(docs(3_000), 3_000)
    assert len(ours) == 3_000 - 256
    assert ours == rust_merges(docs(3_000), 3_000)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ASSIGNED, max_size=8))
def test_ties_go_as_in_the_tokenizers_package(texts):
    """Small texts are nothing but ties."""
    assert our_merges(texts * 2, 400) == rust_merges(texts * 2, 400)


def test_other_rules_for_ties_would_be_noticed():
    """The comparison above is not blind: the largest pair, or the one seen first, gives other merges."""
    theirs = rust_merges(docs(40), 330)
    alphabet = list(lab.byte_alphabet().values())
    rules = {"smallest": lambda pair: pair, "largest": lambda pair: (-pair[0], -pair[1]), "first": lambda pair: 0}
    equal = {}
    for name, rule in rules.items():
        names = list(alphabet)
        for first, second in slow_merges(lab.count_pieces(docs(40)), 330 - 256, tie=rule):
            names.append(names[first] + names[second])
        equal[name] = names[256:] == [first + second for first, second in theirs]
    assert equal == {"smallest": True, "largest": False, "first": False}


def test_workers_count_what_one_process_counts():
    texts = [text + lab.EOT for text in docs(900)]
    assert lab.count_pieces_in_parallel(iter(texts), [lab.EOT], 2) == lab.count_pieces(texts, [lab.EOT])


def test_no_two_merges_make_the_same_token(trained):
    ordinary = trained.tokens[: trained.n_vocab - len(SPECIALS)]
    assert len(set(ordinary)) == len(ordinary)


def test_training_is_the_same_under_every_hash_seed():
    code = (
        "from labkit.reference import bpe_tokenizer as lab; from labkit import data;"
        "texts = [d.text for d in data.load('python-docs', limit=200).documents];"
        "print(list(lab.BPETokenizer.train(texts, 500).merges))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


# ---------------------------------------------------------------- encoding


@settings(max_examples=400, deadline=None)
@given(text=TEXT)
@example(text="a" * 300)
@example(text="don't  stop\n\n\n it's\t 'll 'LL")
def test_ids_equal_tiktokens_with_our_merges(trained, text):
    assert trained.encode_ordinary(text) == report.tiktoken_of(trained).encode_ordinary(text)


@settings(max_examples=300, deadline=None)
@given(text=TEXT, allowed=st.sets(st.sampled_from(SPECIALS)), refused=st.sets(st.sampled_from(SPECIALS)))
def test_special_tokens_are_treated_as_tiktoken_treats_them(trained, text, allowed, refused):
    engine = report.tiktoken_of(trained)
    for disallowed in ("all", refused, ()):
        try:
            wanted = engine.encode(text, allowed_special=allowed, disallowed_special=disallowed)
        except ValueError:
            with pytest.raises(ValueError, match="special token"):
                trained.encode(text, allowed, disallowed)
        else:
            assert trained.encode(text, allowed, disallowed) == wanted


@settings(max_examples=400, deadline=None)
@given(text=TEXT, cuts=st.lists(st.integers(0, 60), max_size=12), allowed=st.sampled_from([(), "all", SPECIALS[1:]]))
def test_streaming_equals_encoding_the_whole(trained, text, cuts, allowed):
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    parts = [text[a:b] for a, b in pairwise(places)]
    for pieces in (parts, list(text)):
        assert list(trained.encode_iterable(pieces, allowed, ())) == trained.encode(text, allowed, ())


@settings(max_examples=150, deadline=None)
@given(
    specials=st.lists(st.text("ab<", min_size=1, max_size=4), min_size=1, max_size=4, unique=True),
    text=st.text("ab< ", max_size=25),
)
def test_special_tokens_may_overlap_in_any_way(specials, text):
    tokenizer = lab.BPETokenizer([(64, 65), (220, 64), (65, 65)], specials)
    assert list(tokenizer.encode_iterable(list(text), "all")) == tokenizer.encode(text, "all")


@pytest.fixture(scope="module")
def engine_of_files(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    trained.save(folder)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@settings(max_examples=300, deadline=None)
@given(text=ASSIGNED)
def test_the_tokenizers_package_reads_our_file(trained, engine_of_files, text):
    ids = trained.encode(text, "all")
    assert engine_of_files.encode(text).ids == ids
    assert engine_of_files.decode(ids, skip_special_tokens=False) == trained.decode(ids) == text


def streaming_peak(texts):
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in texts:
        pass
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak


def test_streaming_takes_constant_memory(trained):
    """Eight times the text takes the same memory; the same test notices an encoder that joins its parts first."""
    text = "".join(docs(30))
    parts = [text[i : i + 1_000] for i in range(0, 60_000, 1_000)]

    def peak(encode, times):
        return streaming_peak(encode("".join([part]) for _ in range(times) for part in parts))

    def joined_first(texts):
        yield from trained.encode("".join(texts))

    peak(trained.encode_iterable, 1)  # fills the cache
    assert peak(trained.encode_iterable, 8) < peak(trained.encode_iterable, 1) + 30_000
    assert peak(joined_first, 8) > peak(joined_first, 1) + 300_000


def test_the_cache_is_bounded(monkeypatch, trained):
    monkeypatch.setattr(lab, "CACHED_PIECES", 50)
    cache = lab.PieceCache(trained.merges)
    for n in range(300):
        assert cache[f" {n}x"] == lab.encode_piece(f" {n}x", trained.merges)
    assert cache["y" * 5_000] and len(cache) == 50


# ---------------------------------------------------------------- decoding


@settings(max_examples=300, deadline=None)
@given(text=TEXT)
def test_any_text_comes_back(trained, text):
    assert trained.decode(trained.encode(text, "all")) == text
    assert trained.decode(trained.encode_ordinary(text)) == text


@settings(max_examples=300, deadline=None)
@given(ids=st.lists(st.integers(0, 799), max_size=40))
def test_any_ids_can_be_decoded(trained, ids):
    ids = [i % trained.n_vocab for i in ids]
    assert trained.decode(ids) == report.tiktoken_of(trained).decode(ids)


# ---------------------------------------------------------------- files


def test_saved_tokenizers_come_back(trained, tmp_path):
    trained.save(tmp_path / "new" / "folder")
    for path in (tmp_path / "new" / "folder", tmp_path / "new" / "folder" / "tokenizer.json"):
        again = lab.BPETokenizer.load(path)
        assert (again.merges, again.special_ids, again.tokens) == (trained.merges, trained.special_ids, trained.tokens)
    again = pickle.loads(pickle.dumps(trained))
    assert again.encode(SPECIALS[1] + " text", "all") == trained.encode(SPECIALS[1] + " text", "all")


def test_a_merge_that_begins_with_a_hash_is_read(tmp_path):
    hash_id = ord("#") - 33
    lab.BPETokenizer([(hash_id, hash_id), (256, 256)]).save(tmp_path)
    assert list(lab.BPETokenizer.load(tmp_path).merges) == [(hash_id, hash_id), (256, 256)]


def test_transformers_reads_our_file(trained, tmp_path):
    from transformers import PreTrainedTokenizerFast

    trained.save(tmp_path)
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), eos_token=lab.EOT)
    text = f"The tokenizer's words{lab.EOT}  and 🙂"
    assert theirs.encode(text) == trained.encode(text, "all")
    assert theirs.eos_token_id == trained.eot_id and len(theirs) == trained.n_vocab


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda whole: whole["model"]["vocab"].update({"!": 5}), "bytes, merges, special tokens in this order"),
        (lambda whole: whole["model"]["merges"].insert(0, ["zz", "zz"]), "which no merge has made before"),
        (lambda whole: whole["pre_tokenizer"].update(type="Whitespace"), "expected byte-level BPE"),
        (lambda whole: whole["model"].update(type="WordPiece"), "expected byte-level BPE"),
    ],
)
def test_files_of_other_tokenizers_are_refused(trained, tmp_path, change, words):
    trained.save(tmp_path)
    file = tmp_path / "tokenizer.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    change(whole)
    file.write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        lab.BPETokenizer.load(file)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: lab.BPETokenizer.train("one text", 300), TypeError, "put it in a list"),
        (lambda: lab.BPETokenizer.train(["text"], 256), ValueError, "vocab_size must be at least 257, got 256"),
        (
            lambda: lab.BPETokenizer.train(["text"], 300, min_frequency=0),
            ValueError,
            "min_frequency must be at least 1",
        ),
        (lambda: lab.BPETokenizer([(0, 256)]), ValueError, "must join two ids below 256"),
        (lambda: lab.BPETokenizer([(0, 1), (0, 1)]), ValueError, "1 of them twice"),
        (lambda: lab.BPETokenizer([], "<|end|>"), TypeError, "put it in a list"),
        (lambda: lab.BPETokenizer([], ["a", "a"]), ValueError, "different and not empty"),
        (lambda: lab.BPETokenizer([]).encode("a", ["<|no|>"]), ValueError, "not special tokens of this tokenizer"),
        (lambda: lab.BPETokenizer([]).encode("x<|endoftext|>"), ValueError, "holds the special token '<.endoftext.>'"),
        (lambda: lab.BPETokenizer([]).encode(b"x"), TypeError, "text must be a str, got bytes"),
        (lambda: lab.BPETokenizer([]).encode_ordinary("\ud83d"), ValueError, "lone surrogate"),
        (lambda: lab.BPETokenizer([]).decode([257]), ValueError, r"ids must lie in 0\.\.256, got 257"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---------------------------------------------------------------- the real GPT-2


@pytest.fixture(scope="module")
def gpt2():
    return report.gpt2(lab)[0]


@pytest.fixture(scope="module")
def gpt2_in_rust(gpt2):
    """tiktoken with GPT-2's published vocabulary: its ids are read from that file, not computed by the lab."""
    vocab = json.loads(data.load("gpt2-encoder").path.read_text(encoding="utf-8"))
    kept = [b for b in range(256) if chr(b).isprintable() and chr(b) != " " and b != 0xAD]
    moved = [b for b in range(256) if b not in kept]
    byte_of = {chr(b): b for b in kept} | {chr(256 + n): b for n, b in enumerate(moved)}
    ranks = {bytes(byte_of[c] for c in token): i for token, i in vocab.items() if token != lab.EOT}
    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
    special = {lab.EOT: 50256}
    return tiktoken.Encoding("gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)


@realdata
@needs_mirror
def test_published_files_are_read(gpt2):
    assert gpt2.n_vocab == 50_257 and gpt2.eot_id == 50_256
    assert gpt2.encode("Hello, world!") == [15496, 11, 995, 0]


@realdata
@needs_mirror
@pytest.mark.timeout(600)  # 50 s on a quiet machine
def test_ids_equal_tiktokens_on_all_mirrored_texts(gpt2, gpt2_in_rust):
    """All 49 million characters of them."""
    for name, dataset in datasets().items():
        if dataset.form != "binary" and not name.startswith("gpt2"):
            text = data.load(name).text
            ids = gpt2_in_rust.encode(text, allowed_special="all")
            assert gpt2.encode(text, "all") == ids, name
            text = text[:STREAMED]
            parts = (text[i : i + 997] for i in range(0, len(text), 997))
            assert list(gpt2.encode_iterable(parts, "all")) == gpt2.encode(text, "all"), name


@realdata
@needs_mirror
@settings(max_examples=500, deadline=None)
@given(text=TEXT)
def test_ids_equal_tiktokens_on_any_text(gpt2, gpt2_in_rust, text):
    ids = gpt2_in_rust.encode_ordinary(text)
    assert gpt2.encode_ordinary(text) == ids
    assert gpt2.decode(ids) == text


@realdata
@needs_mirror
def test_saving_gpt2_gives_its_published_files(gpt2, tmp_path):
    gpt2.save(tmp_path)
    published = data.load("gpt2-encoder").path.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8")) == json.loads(published)
    merges = data.load("gpt2-vocab").path.read_text(encoding="utf-8")
    assert (tmp_path / "merges.txt").read_text(encoding="utf-8") == merges


# ---------------------------------------------------------------- numbers of the README that are calculated


def test_the_price_of_a_vocabulary():
    """At D = 256 with a tied table; the blocks of a six-layer decoder hold 12 N D^2 parameters."""
    assert round(4_096 * 256 / 1e6, 1) == 1.0
    assert round(50_257 * 256 / 1e6, 1) == 12.9
    assert 50_257 * 256 > 2 * 12 * 6 * 256**2
