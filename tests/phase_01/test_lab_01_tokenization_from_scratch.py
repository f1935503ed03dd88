"""Graded checks of lab 1.1. They run in the trusted process; the learner's code answers from a worker."""

from labkit.grading import todo, whole_lab

LATIN = "abcdefghijklmnopqrstuvwxyz"
GREEK = "αβγδεζηθικλμνξοπρστυφχψω"
HEBREW = "אבגדהוזחטיכלמנסעפצקרשת"
CJK = "天地玄黄宇宙洪荒日月盈昃"
EMOJI = "🙂🚀🧠👩🏽🇪🇺"
ACCENTED = "àéîõüçñåßø"
SPECIALS = ["<pad>", "<unk>", "<eos>"]


def word(rng, letters=LATIN, low=2, high=8):
    return "".join(rng.choice(list(letters), size=rng.integers(low, high)))


def words(rng, count, letters=LATIN):
    """Different words, in random order."""
    found = {}
    while len(found) < count:
        found[word(rng, letters)] = None
    return list(found)


def repeated(rng, pieces, low=1, high=6):
    """Each piece 1 to 5 times, all shuffled together."""
    several = [piece for piece in pieces for _ in range(rng.integers(low, high))]
    return [several[i] for i in rng.permutation(len(several))]


def by_frequency(rng, pieces):
    """The first piece once, the second twice, and so on, all shuffled together: no two are equally frequent."""
    several = [piece for i, piece in enumerate(pieces) for _ in range(i + 1)]
    return [several[i] for i in rng.permutation(len(several))]


def any_text(rng, count=12):
    """Words of many scripts, with single spaces between."""
    scripts = [LATIN, GREEK, HEBREW, CJK, EMOJI, ACCENTED]
    order = rng.permutation(count) % len(scripts)
    return " ".join(word(rng, scripts[i]) for i in order)


# ---------------------------------------------------------------- split-words


@todo("split-words")
def test_words_of_a_plain_sentence(grade, rng):
    """Words with one space between them come out as they stand: capitals, commas and all."""
    first, *rest = words(rng, 8)
    grade("whitespace_pieces", f"{first.title()}, {' '.join(rest)}. {word(rng).upper()}!")


@todo("split-words")
def test_any_stretch_of_whitespace_is_one_cut(grade, rng):
    """Several spaces, tabs, line ends, spaces at either end: no piece is empty, none holds whitespace."""
    gaps = ["  ", "\t", "\n", " \n ", "\r\n", "   ", "\u3000", " \t"]
    pairs = zip(rng.permutation(gaps), words(rng, len(gaps)))
    grade("whitespace_pieces", "".join(str(gap) + w for gap, w in pairs) + " \n")


@todo("split-words", edge=True)
def test_nothing_but_whitespace_has_no_words(grade, rng):
    """A text without words gives an empty list."""
    for text in ("", " ", "\n\t  "):
        grade("whitespace_pieces", text)


# ---------------------------------------------------------------- build-vocab


@todo("build-vocab")
def test_special_tokens_have_the_lowest_ids(grade, rng):
    """The list begins with the special tokens, in the order given."""
    grade("vocab_head", repeated(rng, words(rng, 12)), SPECIALS)


@todo("build-vocab")
def test_a_piece_seen_min_freq_times_stays(grade, rng):
    """min_freq=3 keeps what was seen three times and drops what was seen twice."""
    grade("build_vocab", by_frequency(rng, words(rng, 10)), 3)


@todo("build-vocab")
def test_the_most_frequent_come_first(grade, rng):
    """A piece seen more often has the smaller id."""
    grade("build_vocab", by_frequency(rng, words(rng, 10)))


@todo("build-vocab")
def test_ties_keep_the_order_of_first_appearance(grade, rng):
    """Equally frequent pieces stand in the order in which the text first showed them, not in the alphabet's."""
    pieces = words(rng, 20)
    text = pieces + [pieces[i] for i in rng.permutation(len(pieces))]
    vocab = grade.call("build_vocab", text)
    if isinstance(vocab, list) and sorted(map(str, vocab[1:])) == sorted(pieces):
        ruled = vocab[1:] in (pieces, pieces[::-1], sorted(pieces), sorted(pieces, reverse=True))
        assert ruled, "equally frequent pieces follow no rule: neither the text nor the alphabet decides their order"
    grade("build_vocab", text)


@todo("build-vocab")
def test_text_that_spells_a_special_token_gets_no_second_entry(grade, rng):
    """A corpus that contains "<eos>" does not put it into the vocabulary twice."""
    pieces = by_frequency(rng, rng.permutation([*words(rng, 8), *SPECIALS]).tolist())
    vocab = grade("build_vocab", pieces, 1, SPECIALS)
    assert len(set(vocab)) == len(vocab), f"{len(vocab)} entries, but only {len(set(vocab))} different tokens"


@todo("build-vocab")
def test_pieces_may_come_from_a_generator(grade, rng):
    """`pieces` can be read only once."""
    grade("vocab_of_generator", by_frequency(rng, words(rng, 12)), 2, ["<unk>"])


# ---------------------------------------------------------------- encode-words


@todo("encode-words")
def test_known_words_become_their_ids(grade, rng):
    """Every word of the vocabulary is encoded as its place in the list, and May is another word than may."""
    known = words(rng, 12)
    known += [w.title() for w in known[:4]] + [w.upper() for w in known[2:6]]
    grade("encode_words", "WhitespaceTokenizer", [[*SPECIALS, *known], SPECIALS], " ".join(rng.permutation(known)))


@todo("encode-words")
def test_unknown_words_become_unk(grade, rng):
    """A word that is not in the vocabulary becomes `unk_id`, wherever "<unk>" stands, and no word is dropped."""
    some = words(rng, 24)
    text = " ".join(rng.permutation(some))
    grade("encode_words", "WhitespaceTokenizer", [[*SPECIALS, *some[:12]], SPECIALS], text)


@todo("encode-words")
def test_each_tokenizer_cuts_in_its_own_way(grade, rng):
    """RegexTokenizer looks up GPT-2's pieces, spaces included."""
    known = words(rng, 8)
    vocab = ["<unk>", *known[:4], *(" " + w for w in known), "!", "'s"]
    text = " ".join(known) + "!" + " " + known[3] + "'s"
    grade("encode_words", "RegexTokenizer", [vocab], text)


@todo("encode-words")
def test_encode_normalises_first(grade, rng):
    """With form="NFC" a letter and its accent find the vocabulary's composed letter; NFKC turns "ﬁ" into "fi"."""
    composed = words(rng, 8, "éàüñç")
    accents = {"é": "e\u0301", "à": "a\u0300", "ü": "u\u0308", "ñ": "n\u0303", "ç": "c\u0327"}
    apart = " ".join("".join(accents[letter] for letter in w) for w in composed)
    grade("encode_words", "WhitespaceTokenizer", [["<unk>", *composed], ["<unk>"], "NFC"], apart)
    known = [w + "fi" + w for w in words(rng, 8)]
    vocab = ["<unk>", *(" " + w for w in known)]
    grade("encode_words", "RegexTokenizer", [vocab, ["<unk>"], "NFKC"], " " + " ".join(known).replace("fi", "ﬁ"))


@todo("encode-words")
def test_the_text_is_normalised_before_it_is_cut(grade, rng):
    """GPT-2's pieces are those of the normalised text: an e and its combining accent are one letter when it is cut."""
    known = [" " + w + "é" + w for w in words(rng, 8)]
    text = "".join(rng.permutation(known)).replace("é", "e\u0301")
    grade("encode_words", "RegexTokenizer", [["<unk>", *known], ["<unk>"], "NFC"], text)


@todo("encode-words")
def test_typing_a_special_token_does_not_make_one(grade, rng):
    """Text that merely spells "<eos>" is ordinary text: an unknown word, not the id that ends a sequence."""
    known = words(rng, 6)
    text = " <eos> ".join(rng.permutation(known)) + " <pad>"
    grade("encode_words", "WhitespaceTokenizer", [[*SPECIALS, *known], SPECIALS], text)


@todo("encode-words")
def test_words_refuse_half_a_character(grade, rng):
    """A lone surrogate raises the ValueError of `prepare`."""
    grade(
        "encode_lone_surrogate", "WhitespaceTokenizer", word(rng), word(rng), raises=ValueError, match="lone surrogate"
    )


# ---------------------------------------------------------------- decode-words


@todo("decode-words")
def test_words_get_one_space_between_them(grade, rng):
    """WhitespaceTokenizer puts one space between its words, and none at the ends."""
    vocab = ["<unk>", *words(rng, 12)]
    grade("decode_words", "WhitespaceTokenizer", [vocab], rng.integers(0, 13, 20).tolist())


@todo("decode-words")
def test_gpt2_pieces_bring_their_spaces(grade, rng):
    """RegexTokenizer adds nothing: the spaces are inside the pieces."""
    vocab = ["<unk>", *(" " * int(rng.integers(0, 2)) + w for w in words(rng, 12)), "'s", "\n", "  "]
    grade("decode_words", "RegexTokenizer", [vocab], rng.integers(0, len(vocab), 20).tolist())


@todo("decode-words")
def test_special_tokens_are_shown(grade, rng):
    """Both tokenizers decode special tokens like all others: what was lost shows as "<unk>"."""
    vocab = [*SPECIALS, *words(rng, 9)]
    grade("decode_words_with_both", [vocab, SPECIALS], [0, *rng.integers(0, 12, 15).tolist(), 1, 3, 2])


@todo("decode-words")
def test_ids_may_come_from_a_generator(grade, rng):
    """`ids` can be read only once."""
    vocab = ["<unk>", *words(rng, 12)]
    for kind in ("WhitespaceTokenizer", "RegexTokenizer"):
        grade("decode_words_of_generator", kind, [vocab], rng.integers(0, 13, 20).tolist())


@todo("decode-words", edge=True)
def test_no_ids_are_an_empty_text(grade, rng):
    """A list without ids decodes to an empty text."""
    for kind in ("WhitespaceTokenizer", "RegexTokenizer"):
        grade("decode_words", kind, [["<unk>", *words(rng, 5)]], [], expected="")


@todo("decode-words")
def test_an_id_outside_the_vocabulary_is_an_error(grade, rng):
    """The id -1 or V raises ValueError: Python alone would take -1 for the last token."""
    vocab = ["<unk>", *words(rng, 9)]
    inside = rng.integers(0, 10, 5).tolist()
    for wrong in (10, -1, -10, int(rng.integers(11, 10**6))):
        for kind in ("WhitespaceTokenizer", "RegexTokenizer"):
            grade("decode_words", kind, [vocab], [*inside, wrong], raises=ValueError)


# ---------------------------------------------------------------- gpt2-pattern


@todo("gpt2-pattern", points=2)
def test_a_space_belongs_to_the_word_after_it(grade, rng):
    """One space travels with the letters, numbers or signs that follow it."""
    parts = [*words(rng, 5), *(str(n) for n in rng.integers(0, 99_999, 3)), "--", "...", "&"]
    grade("gpt2_pieces", " ".join(rng.permutation(parts)))


@todo("gpt2-pattern")
def test_contractions_are_cut_off_in_lower_case(grade, rng):
    """don't is don + 't, we'll is we + 'll; but in DON'T and don’t the apostrophe stands alone."""
    ends = ["'s", "'d", "'m", "'t", "'ll", "'ve", "'re"]
    lower = [w + end for w, end in zip(words(rng, 7), ends)]
    upper = [w.upper() for w in lower]
    curly = [w.replace("'", "’") for w in lower]
    other = ["'til", "rock'n'roll", "'sure", "x's'll"]
    grade("gpt2_pieces", " ".join(rng.permutation(lower + upper + curly + other)))


@todo("gpt2-pattern")
def test_letters_numbers_and_signs_are_separate(grade, rng):
    """abc123 is two pieces, snake_case three, 3.14 three; a number is one piece however long."""
    numbers = [str(n) for n in rng.integers(10_000, 10**9, 4)]
    glued = [w + n for w, n in zip(words(rng, 4), numbers)]
    signs = ["_".join(words(rng, 2)), f"{rng.integers(9)}.{numbers[0]}", "½x", "x²", "٣٤٥", "__init__", "a=b+c"]
    grade("gpt2_pieces", " ".join(rng.permutation(glued + signs)))


@todo("gpt2-pattern")
def test_a_run_of_spaces_leaves_one_for_the_next_word(grade, rng):
    """Three spaces before a word are two spaces, then the word with its one; line ends and tabs never join a word."""
    gaps = [" ", "  ", "   ", "\n", "\n\n", "\n    ", " \n", "\t", "\t\t", "  \t ", "\r\n", "\u00a0 "]
    text = "".join(w + str(gap) for w, gap in zip(words(rng, len(gaps)), rng.permutation(gaps)))
    grade("gpt2_pieces", text + word(rng) + "  \n ")
    grade("gpt2_pieces", "   " + word(rng))


@todo("gpt2-pattern")
def test_letters_of_every_script_are_letters(grade, rng):
    """Greek, Hebrew, Chinese and accented letters form words as Latin ones do; a combining accent or emoji does not."""
    text = any_text(rng, 18) + " cafe\u0301s " + word(rng, GREEK) + word(rng, "0123456789") + word(rng, CJK)
    grade("gpt2_pieces", f"{text} {word(rng)}{word(rng, ACCENTED)}{word(rng)}!{word(rng, HEBREW)}")


@todo("gpt2-pattern")
def test_the_pieces_joined_are_the_text(grade, rng):
    """Whatever scripts and signs stand side by side, the cuts are GPT-2's, and no character is lost."""
    alphabet = LATIN + ACCENTED + GREEK + HEBREW + CJK + EMOJI + "0123456789½'’_-.,!?$€<|>     \n\n\t\u0301\u200d"
    text = "".join(rng.choice(list(alphabet), size=400))
    pieces = grade("gpt2_pieces", text)
    assert "".join(pieces) == text, "the pieces joined are not the text"


# ---------------------------------------------------------------- encode-bytes


@todo("encode-bytes")
def test_plain_english_is_one_byte_a_character(grade, rng):
    """ASCII text gives one id per character, as a list."""
    grade("encode_bytes", " ".join(words(rng, 8)), None)


@todo("encode-bytes", points=2)
def test_other_characters_take_two_to_four_bytes(grade, rng):
    """Accents, Greek, Chinese and emoji give the bytes of UTF-8, all below 256."""
    ids = grade("encode_bytes", any_text(rng), None)
    assert max(ids) < 256, f"the largest id is {max(ids)}, but a byte is at most 255"


@todo("encode-bytes")
def test_bytes_normalise_first(grade, rng):
    """With a form, the bytes are those of the normalised text; without one, nothing is changed."""
    text = " ".join(w + "e\u0301ﬁ²Å" for w in words(rng, 5))
    for form in ("NFC", "NFKC", None):
        grade("encode_bytes", text, form)


@todo("encode-bytes")
def test_bytes_refuse_half_a_character(grade, rng):
    """A lone surrogate has no UTF-8 and raises ValueError."""
    grade("encode_lone_surrogate", "ByteLevelTokenizer", word(rng), word(rng), raises=ValueError, match="surrogate")


@todo("encode-bytes")
def test_bytes_refuse_what_is_no_text(grade, rng):
    """Bytes, None or a list of ids in place of a str raise the TypeError of `prepare`."""
    text = word(rng)
    for wrong in (text.encode("utf-8"), None, list(text)):
        grade("encode_bytes", wrong, None, raises=TypeError)


# ---------------------------------------------------------------- decode-bytes


@todo("decode-bytes")
def test_bytes_become_text_again(grade, rng):
    """The bytes of any text are decoded to that text."""
    text = any_text(rng) + "".join(rng.choice(list(CJK + EMOJI + ACCENTED), 20))
    grade("decode_bytes", list(text.encode("utf-8")), expected=text)


@todo("decode-bytes")
def test_bytes_that_are_not_utf8_show_as_replacement(grade, rng):
    """Random bytes do not raise and do not vanish: what cannot be read shows as U+FFFD."""
    grade("decode_bytes", rng.integers(0, 256, 60).tolist())
    grade("decode_bytes", [*b"caf", 0xC3, *b" ", 0xF0, 0x9F, *b"ok", 0xFF, 0x80])


@todo("decode-bytes")
def test_a_character_cut_in_half_shows_as_replacement(grade, rng):
    """An answer that stops in the middle of a character ends in U+FFFD."""
    texts = [f"{any_text(rng, 4)} {last}" for last in "🙂天é"]
    grade("decode_several", [list(text.encode("utf-8"))[:-1] for text in texts])


@todo("decode-bytes", edge=True)
def test_an_id_that_is_no_byte_is_an_error(grade, rng):
    """256 and -1 are no bytes: ValueError."""
    for wrong in (256, -1, 50_256):
        grade("decode_bytes", [72, 105, wrong], raises=ValueError)


# ---------------------------------------------------------------- stream-bytes


@todo("stream-bytes")
def test_each_character_comes_whole(grade, rng):
    """A chunk per character, none empty, none half: the first byte of an emoji yields nothing yet."""
    grade("stream_chunks", list((any_text(rng, 6) + word(rng, EMOJI)).encode("utf-8")))


@todo("stream-bytes")
def test_a_character_comes_as_soon_as_its_last_byte(grade, rng):
    """Nothing waits for the end of the answer: each character comes when its last byte has been read, not later."""
    grade("stream_as_written", list(any_text(rng, 6).encode("utf-8")))


@todo("stream-bytes")
def test_a_broken_byte_holds_nothing_up(grade, rng):
    """After bytes that are no UTF-8 the good characters still come one by one, as they are written."""
    for broken in (b"\xff", b"\xc3", b"\xf0\x9f", b"\x80\xfe"):
        grade("good_characters_as_written", list(word(rng).encode() + broken + any_text(rng, 3).encode()))


@todo("stream-bytes")
def test_what_is_left_at_the_end_is_not_forgotten(grade, rng):
    """An answer that stops in the middle of a character ends in U+FFFD."""
    ids = list((any_text(rng, 3) + " 🙂").encode("utf-8"))
    for cut in (1, 2, 3):
        grade("stream_joined", ids[:-cut])


@todo("stream-bytes")
def test_streaming_any_bytes_equals_decoding_them(grade, rng):
    """Whatever a model writes, the chunks joined are what `decode` gives."""
    for _ in range(4):
        ids = rng.integers(0, 256, 40).tolist() + list(any_text(rng, 2).encode("utf-8"))[:-1]
        grade("stream_joined", ids)
    grade("stream_joined", [0xFF, 0xFF, 0xFF, *"é".encode(), 0xE2, 0x82, *"€".encode(), 0xF0])


@todo("stream-bytes")
def test_a_broken_character_takes_no_good_one_with_it(grade, rng):
    """A character begun and never finished becomes U+FFFD; the good character after it is still there."""
    for begun in (b"\xc3", b"\xe2\x82", b"\xf0\x9f"):
        grade("stream_joined", list(word(rng).encode() + begun + word(rng).encode()))
    for begun in (b"\xc3", b"\xe2\x82", b"\xf0\x9f"):
        grade("stream_joined", list(word(rng).encode() + begun + word(rng, GREEK).encode() + begun + "🙂".encode()))


@todo("stream-bytes", edge=True)
def test_the_stream_refuses_an_id_that_is_no_byte(grade, rng):
    """256 is no byte: ValueError. No ids at all: no chunks."""
    grade("stream_chunks", [72, 256], raises=ValueError)
    grade("stream_chunks", [])


# ---------------------------------------------------------------- the whole lab


@whole_lab(points=2)
def test_three_tokenizers_there_and_back(grade, rng):
    """Trained on the same texts, the three tokenizers give the reference's vocabularies, ids and decoded text."""
    common = words(rng, 30)
    texts = [" ".join(rng.choice(common, 12)) + "." for _ in range(20)]
    text = f"{texts[0]}  {texts[1][:-1]}'s {any_text(rng, 6)}\n<eos> cafe\u0301 ﬁn"
    grade("everything", texts, text, [2, SPECIALS, None])
    grade("everything", [*texts, "café fin"], text, [1, SPECIALS, "NFKC"])
