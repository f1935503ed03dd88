"""Graded checks of lab 5.1. They run in the trusted process; the learner's code answers from a worker."""

from collections import Counter

from labkit.grading import todo, whole_lab

LATIN = "abcdefghijklmnopqrstuvwxyz"
SCRIPTS = [LATIN, "αβγδεζηθικλμν", "אבגדהוזחט", "天地玄黄宇宙洪荒", "🙂🚀🧠👩🏽🇪🇺", "àéîõüçñåßø"]
EOT, USER, END = "<|endoftext|>", "<|user|>", "<|end|>"
SPECIALS = [EOT, USER, END]
SPACE, LINE_END = 220, 198  # ids: "!" is 0, "a" is 64; the space is the 33rd of the 68 bytes that come last
GAPS = [" ", "  ", "\n", "\n\n", " \n ", "\t", "   ", "\n\n\n ", "\n   "]


def id_of(letter):
    """The id of a visible ASCII character."""
    return ord(letter) - 33


def word(rng, letters=LATIN, low=2, high=8):
    return "".join(rng.choice(list(letters), size=rng.integers(low, high)))


def any_text(rng, count=12):
    order = rng.permutation(count) % len(SCRIPTS)
    return " ".join(word(rng, SCRIPTS[i]) for i in order)


def random_merges(rng, count, letters="abcde", space=False):
    """So many different merges among a few letters: later ones use what earlier ones made.

    space: some of them join spaces and line ends, so that the borders of pieces of whitespace show in the ids.
    """
    known = [id_of(letter) for letter in letters] + [SPACE] * space
    merges = [(SPACE, SPACE), (LINE_END, LINE_END), (SPACE, LINE_END), (LINE_END, SPACE)] * space
    known += range(256, 256 + len(merges))
    while len(merges) < count:
        pair = tuple(int(i) for i in rng.choice(known, 2))
        if pair not in merges and pair[1] != SPACE:
            merges.append(pair)
            known.append(255 + len(merges))
    return merges


def as_ranks(merges):
    return {pair: 256 + n for n, pair in enumerate(merges)}


def corpus_counts(rng, kinds=60, letters="abcdefg", high=9):
    """Pieces with counts as a text has them: a few frequent ones, many rare ones."""
    pieces = dict.fromkeys(" " + word(rng, letters, 1, high) for _ in range(kinds))
    return {piece: int(60 / (n + 1)) + int(rng.integers(1, 4)) for n, piece in enumerate(pieces)}


def cut(rng, text, longest=6):
    """The text in parts of random lengths, some of them empty."""
    parts, start = [], 0
    while start < len(text):
        size = int(rng.integers(0, longest))
        parts.append(text[start : start + size])
        start += size
    return parts


def english(rng, count=120):
    """Small words of five letters with contractions and all kinds of gaps between them."""
    ends = ["", "", "", "'s", "'ll", "'re", "'", "'l", "!", "...", "12"]
    return "".join(word(rng, "abcde", 1, 5) + str(rng.choice(ends)) + str(rng.choice(GAPS)) for _ in range(count))


# ---------------------------------------------------------------- byte-alphabet


@todo("byte-alphabet", edge=True)
def test_every_byte_has_its_character(grade, rng):
    """Visible bytes are written as themselves, the 68 others as U+0100 and onwards."""
    items = grade.call("alphabet_items")
    got = dict(items)
    assert len(got) == 256 and set(got) == set(range(256)), f"expected the keys 0..255, got {len(got)} keys"
    assert len(set(got.values())) == 256, "two bytes are written as the same character"
    shown = {byte: char for byte, char in got.items() if 0x21 <= byte <= 0x7E}
    for byte, char in sorted(shown.items()):
        assert char == chr(byte), f"{byte:#x} is visible and should be written {chr(byte)!r}, got {char!r}"
    assert got[0x20] == "Ġ", f"the space should be written 'Ġ', got {got[0x20]!r}"
    assert got[0xAD] == "Ń", f"0xAD, the soft hyphen, is not visible and should be written 'Ń', got {got[0xAD]!r}"
    assert got[0x0A] == "Ċ" and got[0xA0] == "ł", (
        f"expected 'Ċ' and 'ł' for 0x0A and 0xA0, got {got[10]!r}, {got[160]!r}"
    )
    assert got[0xE9] == "é", f"0xE9 is visible in Latin-1 and should be written 'é', got {got[0xE9]!r}"


@todo("byte-alphabet", edge=True)
def test_the_order_gives_the_ids(grade, rng):
    """The n-th entry has the id n: the visible bytes first, then the others, each in increasing order."""
    grade("alphabet_items")


# ---------------------------------------------------------------- merge-pair


@todo("merge-pair")
def test_every_occurrence_is_merged(grade, rng):
    """All occurrences of the pair become the new id, at the ends too; everything else stays."""
    a, b, new = 301, 302, 999
    middle = rng.integers(0, 256, 12).tolist()
    ids = [a, b, *middle[:4], a, b, a, b, *middle[4:], b, a, a, b]
    grade("merge_pair", ids, (a, b), new)
    grade("merge_pair", [*ids, a], (a, b), new)


@todo("merge-pair")
def test_an_id_is_used_once(grade, rng):
    """Runs of one id are merged from the left, two by two: aaa becomes one merged pair and an a."""
    a, other = int(rng.integers(0, 100)), int(rng.integers(100, 200))
    for length in (2, 3, 4, 5, 7):
        grade("merge_pair", [other] + [a] * length + [other, a, other], (a, a), 777)


@todo("merge-pair")
def test_random_ids_are_merged(grade, rng):
    """Random ids with many occurrences of the pair; the list that came in is not changed."""
    for _ in range(4):
        ids = rng.integers(0, 3, 40).tolist()
        pair = tuple(rng.integers(0, 3, 2).tolist())
        grade("merge_pair", ids, pair, 256 + int(rng.integers(0, 9)))


@todo("merge-pair", edge=True)
def test_short_lists_are_merged_too(grade, rng):
    """No ids, one id, exactly the pair, and the pair the wrong way round."""
    for ids in ([], [5], [5, 6], [6, 5], [5, 6, 5]):
        grade("merge_pair", ids, (5, 6), 300)


# ---------------------------------------------------------------- encode-piece


@todo("encode-piece")
def test_the_earliest_merge_comes_first(grade, rng):
    """With merges bc, ab, de the piece "abcde" is a bc de: bc was learned before ab, so it is merged before ab."""
    a, b, c, d, e = rng.permutation([id_of(letter) for letter in LATIN])[:5].tolist()
    piece = "".join(chr(i + 33) for i in (a, b, c, d, e))
    grade("encode_piece", piece, as_ranks([(b, c), (a, b), (d, e)]))
    grade("encode_piece", piece * 3, as_ranks([(c, d), (d, e), (b, c), (a, b), (256, 257), (a, 259)]))


@todo("encode-piece", points=2)
def test_merges_of_merges(grade, rng):
    """Random merges on random pieces: merged ids are merged again, until no neighbours have a merge."""
    for _ in range(5):
        merges = random_merges(rng, 25)
        grade("encode_piece", word(rng, "abcde", 15, 40), as_ranks(merges))


@todo("encode-piece")
def test_pieces_of_any_script_are_bytes_first(grade, rng):
    """What no merge knows stays one id per byte of UTF-8, in GPT-2's order of bytes."""
    for letters in SCRIPTS[1:]:
        grade("encode_piece", " " + word(rng, letters) + "ab", as_ranks([(id_of("a"), id_of("b"))]))


@todo("encode-piece", edge=True)
def test_short_pieces(grade, rng):
    """No text, one letter, two letters that have no merge."""
    ranks = as_ranks([(id_of("a"), id_of("b"))])
    for piece in ("", "a", "ba", "ab"):
        grade("encode_piece", piece, ranks)


# ---------------------------------------------------------------- count-pieces


@todo("count-pieces")
def test_pieces_are_counted_over_all_texts(grade, rng):
    """GPT-2's pieces, spaces included, summed over the texts; no piece reaches from one text into the next."""
    some = [word(rng) for _ in range(6)]
    texts = [" ".join(rng.choice(some, 8)) + str(rng.choice(["!", "'s", "  "])) for _ in range(5)]
    grade("piece_counts", texts, [])


@todo("count-pieces", points=2)
def test_special_tokens_are_borders(grade, rng):
    """A special token is not counted, and neither does a piece reach across it: "ab<|end|>cd" holds ab and cd."""
    some = [word(rng) for _ in range(6)]
    texts = [f"{some[0]}{EOT}{some[1]} {some[2]}{EOT} {some[3]}", EOT + some[4], f"{some[5]}  {USER}{END}  {some[0]}"]
    grade("piece_counts", texts, SPECIALS)
    grade("piece_counts", texts, [EOT])
    grade("piece_counts", [f"{some[0]}<|a|><|b|>{some[1]}<|a|>{some[2]}"], ["<|a|>", "<|a|><|b|>"])


@todo("count-pieces")
def test_without_special_tokens_they_are_text(grade, rng):
    """A text that spells "<|endoftext|>" is ordinary text for a tokenizer without that token."""
    some = [word(rng) for _ in range(4)]
    texts = [EOT.join(rng.choice(some, 6)) + " " + " ".join(rng.choice(some, 6)) for _ in range(3)]
    grade("piece_counts", texts, [])


@todo("count-pieces")
def test_texts_may_come_from_a_generator(grade, rng):
    """`texts` can be read only once."""
    texts = [english(rng, 6) + EOT + english(rng, 3) for _ in range(4)]
    grade("piece_counts_of_generator", texts, SPECIALS)


@todo("count-pieces")
def test_texts_are_prepared(grade, rng):
    """Half a surrogate pair raises ValueError, and what is no str raises TypeError, as `prepare` does."""
    grade("piece_counts_with_surrogate", word(rng), word(rng), raises=ValueError, match="lone surrogate")
    grade("piece_counts", [word(rng), 7], [EOT], raises=TypeError)


# ---------------------------------------------------------------- train-merges


@todo("train-merges")
def test_the_most_frequent_pair_is_merged_first(grade, rng):
    """Pairs are counted with the counts of their pieces: a rare piece counts little however many of them there are."""
    letters = "".join(rng.permutation(list(LATIN)))
    often, seldom = letters[:2], letters[2:4]
    counts = {seldom + letter: 2 for letter in letters[10:16]} | {often: 40, often[::-1]: 25}
    grade("merges_learned", counts, 3, 2)


@todo("train-merges", points=2)
def test_ties_go_to_the_smallest_pair(grade, rng):
    """Of equally frequent pairs the smallest pair of ids is merged, whatever came first in the text."""
    pieces = dict.fromkeys(word(rng, LATIN, 2, 3) for _ in range(30))
    grade("merges_learned", dict.fromkeys(pieces, 3), 20, 2)
    counts = dict.fromkeys((word(rng, "abcd", 4, 8) for _ in range(12)), 5)
    grade("merges_learned", counts, 20, 2)


@todo("train-merges", points=2)
def test_many_merges_on_a_small_corpus(grade, rng):
    """Counts stay right after many merges: what a merge took away is gone, what it made is there."""
    for _ in range(3):
        grade("merges_learned", corpus_counts(rng), 80, 2)


@todo("train-merges")
def test_runs_of_one_letter(grade, rng):
    """The piece "aaaa" holds the pair aa three times, and merging it leaves two merged ids."""
    counts = {"a" * n: int(rng.integers(2, 20)) for n in rng.permutation(12)[:6] + 1}
    counts |= {"b" * 5: 7, "ab" * 4: 5, "aab" * 3: 6}
    grade("merges_learned", counts, 25, 2)


@todo("train-merges")
def test_training_ends_when_pairs_are_too_rare(grade, rng):
    """A pair that occurs min_frequency times is still merged, a rarer one ends the training early."""
    counts = {word(rng, letters, 3, 6): n + 1 for n, letters in enumerate(["abc", "def", "ghi", "jkl", "mno"])}
    for least in (1, 2, 3, 4):
        grade("merges_learned", counts, 500, least)


@todo("train-merges", edge=True)
def test_no_merges_of_nothing(grade, rng):
    """No pieces, pieces of one byte, or no merges asked for: an empty list."""
    for counts, wanted in (({}, 5), ({"a": 9, "b": 4}, 5), ({"abc": 9}, 0)):
        grade("merges_learned", counts, wanted, 2)


@todo("train-merges")
def test_the_order_of_the_pieces_does_not_matter(grade, rng):
    """The same pieces in another order give the same merges: processes may count in any order."""
    counts = corpus_counts(rng, 40)
    order = list(counts)
    first = grade("merges_learned", counts, 40, 2)
    shuffled = {order[i]: counts[order[i]] for i in rng.permutation(len(order))}
    grade("merges_learned", shuffled, 40, 2, expected=first)


@todo("train-merges", points=2, timeout=20)
def test_a_merge_does_not_count_everything_again(grade, rng):
    """150 merges in a corpus of rare pairs cost a few counts of the corpus, not 150."""
    letters = [chr(c) for c in range(0x21, 0x7F)]
    counts = dict(Counter("".join(row) for row in rng.choice(letters, size=(400, 7))))
    merges, work = grade.call("merges_and_their_work", counts, 150)
    assert len(merges) == 150, f"expected 150 merges, got {len(merges)}"
    one, walked = work["one count"], work["walked through"]
    looked_up = work["looked up"] - 2 * walked  # whoever walks through `totals` may look each entry up once or twice
    assert looked_up < 12 * one, f"150 merges looked up as many pairs as {looked_up / one:.0f} counts of the corpus do"
    assert walked < 12 * one, f"150 merges walked through {walked:,.0f} entries of totals, one after another"


# ---------------------------------------------------------------- decode


@todo("decode")
def test_ids_become_text_again(grade, rng):
    """Tokens are put together without anything between them."""
    merges = random_merges(rng, 20, space=True)
    ids = rng.integers(0, 94, 10).tolist() + rng.integers(256, 276, 30).tolist() + [SPACE, id_of("z")]
    grade("decoded", [merges], ids)


@todo("decode")
def test_a_character_in_two_tokens(grade, rng):
    """A character whose bytes lie in different tokens comes out whole: bytes are joined before they are read."""
    text = any_text(rng) + "".join(word(rng, letters) for letters in SCRIPTS[1:])
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    order = visible + [byte for byte in range(256) if byte not in visible]
    grade("decoded", [[]], [order.index(byte) for byte in text.encode("utf-8")], expected=text)


@todo("decode")
def test_any_ids_can_be_decoded(grade, rng):
    """Bytes that are no UTF-8 show as U+FFFD: they do not raise and do not vanish."""
    grade("decoded", [random_merges(rng, 10)], rng.integers(0, 266, 60).tolist())
    grade("decoded", [[]], [64, 127, 65, 172, 66])


@todo("decode")
def test_special_tokens_are_decoded(grade, rng):
    """Special tokens come out as they are written; their ids follow those of the merges."""
    merges = random_merges(rng, 8)
    ids = [264, *rng.integers(256, 264, 5).tolist(), 266, *rng.integers(60, 90, 5).tolist(), 265]
    grade("decoded", [merges, SPECIALS], ids)


@todo("decode")
def test_ids_come_from_a_generator(grade, rng):
    """`ids` can be read only once."""
    grade("decoded_generator", [random_merges(rng, 8)], rng.integers(60, 90, 20).tolist())


@todo("decode", edge=True)
def test_ids_outside_the_vocabulary_raise(grade, rng):
    """-1 and n_vocab raise ValueError, and no ids at all are an empty text."""
    merges = random_merges(rng, 8)
    for wrong in (-1, 267, int(rng.integers(300, 60_000))):
        grade("decoded", [merges, SPECIALS], [70, 71, wrong], raises=ValueError)
    grade("decoded", [merges, SPECIALS], [])


# ---------------------------------------------------------------- encode-special


@todo("encode-special", points=2)
def test_an_allowed_special_token_is_one_id(grade, rng):
    """Each allowed token becomes its id, in its place; the text before, between and after is encoded."""
    settings = [random_merges(rng, 25, space=True), SPECIALS]
    some = [english(rng, 3) for _ in range(4)]
    grade("encoded", settings, f"{some[0]}{USER}{some[1]}{END}{EOT}{some[2]}{USER}{some[3]}", "all")
    grade("encoded", settings, f"{END}{some[0]}{USER}", SPECIALS)


@todo("encode-special")
def test_text_around_a_special_token_stays_apart(grade, rng):
    """Pieces end at a special token: "ab<|end|>cd" is ab, the token, cd, and never abcd."""
    a, b, c, d = (id_of(letter) for letter in "abcd")
    settings = [[(a, b), (c, d), (256, 257), (SPACE, c)], SPECIALS]
    left, right = (int(n) for n in rng.integers(1, 5, 2))
    grade("encoded", settings, "ab" * left + END + "cd" * right + f"ab   {END} cd", "all")


@todo("encode-special", points=2)
def test_a_special_token_that_is_not_allowed_raises(grade, rng):
    """By default every special token in a text raises ValueError; so does one of those that are disallowed."""
    settings = [random_merges(rng, 9), SPECIALS]
    text = f"{word(rng)} {EOT} {word(rng)}{USER}"
    grade("encoded", settings, text, raises=ValueError, match="special")
    grade("encoded", settings, text, [EOT], raises=ValueError, match="special")
    grade("encoded", settings, text, [EOT], [USER], raises=ValueError, match="special")


@todo("encode-special", points=2)
def test_what_is_neither_allowed_nor_disallowed_is_text(grade, rng):
    """disallowed_special=() makes ordinary text of a typed token: nothing is removed, nothing is special."""
    settings = [random_merges(rng, 25, space=True), SPECIALS]
    text = f"{english(rng, 2)}{EOT}{english(rng, 2)}{USER} {END}"
    grade("encoded", settings, text, [], [])
    grade("encoded", settings, text, [USER], [])
    grade("encoded", settings, text, [USER, EOT], [])


@todo("encode-special")
def test_text_without_special_tokens(grade, rng):
    """Plain text is encoded as encode_ordinary would, by default too; an empty text has no ids."""
    settings = [random_merges(rng, 25, space=True), SPECIALS]
    grade("encoded", settings, english(rng, 20))
    grade("encoded", settings, any_text(rng) + " <|endoftext| |> <|", "all")
    grade("encoded", [[], []], english(rng, 3), "all")
    grade("encoded", settings, "", expected=[])


# ---------------------------------------------------------------- encode-iterable


@todo("encode-iterable", points=2)
def test_parts_may_end_anywhere(grade, rng):
    """However a text is cut into parts, the ids are those of the whole text."""
    settings = [random_merges(rng, 25, space=True), SPECIALS]
    for longest in (2, 6, 40):
        text = english(rng, 60) + any_text(rng)
        ids = grade("encoded", settings, text)
        grade("streamed", settings, cut(rng, text, longest), expected=ids)


@todo("encode-iterable")
def test_a_contraction_in_two_parts(grade, rng):
    """A quote and an l are two pieces until another l makes them one: the last two pieces can still change."""
    el, e, r, quote = (id_of(letter) for letter in "ler'")
    settings = [[(quote, el), (256, el), (quote, r), (258, e)], [EOT]]
    start = word(rng, "abcd")
    for parts in ([start, "'", "l", "l ", start], [start + "'r", "e"], [start + "'l", "l"], [start, "'r", "", "ea"]):
        grade("streamed", settings, parts)


@todo("encode-iterable", points=2)
def test_a_special_token_in_several_parts(grade, rng):
    """A special token is found wherever the parts cut it; something that only begins like one is text."""
    settings = [random_merges(rng, 25, space=True), SPECIALS]
    words = [english(rng, 2) for _ in range(6)]
    text = f"{words[0]}{EOT}{words[1]}{USER}{END}{words[2]} <|use{words[3]}<|end{EOT}<{words[4]}  {END}{words[5]}<|end"
    for longest in (2, 5, 12, 200):
        parts = cut(rng, text, longest)
        grade("streamed", settings, parts, "all")
        grade("streamed", settings, parts, [EOT, END], [])
        grade("streamed", settings, parts, [], [])


@todo("encode-iterable")
def test_special_tokens_that_overlap(grade, rng):
    """Where a longer special token begins like a shorter one, the longer one wins, even if it comes in two parts."""
    settings = [random_merges(rng, 9), ["<|a|>", "<|a|><|b|>", "|><"]]
    some = word(rng)
    for parts in (
        [some, "<|a|>", "<|b|>", some],
        [some + "<|a|", "><|", "b", some],
        [some, "<|a|>", some, "|", ">", "<"],
    ):
        grade("streamed", settings, parts, "all")


@todo("encode-iterable")
def test_a_refused_token_in_a_stream_raises(grade, rng):
    """A special token that is not allowed raises ValueError, in one part or in two."""
    settings = [random_merges(rng, 9), SPECIALS]
    for parts in ([word(rng), USER, word(rng)], [word(rng) + "<|us", "er|>"]):
        grade("streamed", settings, parts, raises=ValueError, match="special token")


@todo("encode-iterable", points=2)
def test_ids_come_while_the_text_is_read(grade, rng):
    """No part is asked for as long as more than a few characters of the earlier ones are owed."""
    settings = [random_merges(rng, 25, space=True), SPECIALS]
    parts = cut(rng, english(rng, 150), 20)
    ids, backlog = grade.call("stream_backlog", settings, parts)
    grade("streamed", settings, parts, expected=ids)
    assert backlog <= 60, f"{backlog} characters had been read and not encoded when the next part was asked for"


@todo("encode-iterable", points=2, timeout=30)
def test_a_stream_takes_no_more_memory_than_its_parts(grade, rng):
    """100 parts of a kilobyte need as little memory as one: nothing that has been encoded is kept."""
    settings = [random_merges(rng, 9, space=True), SPECIALS]
    text = [piece + " " for piece in (word(rng, "abcde") for _ in range(180))]
    _, few = grade.call("stream_peak", settings, text, 5)
    count, many = grade.call("stream_peak", settings, text, 100)
    assert count > 100 * 180, f"expected an id for every word at least, got {count} ids"
    assert many < few + 40_000, f"5 parts took {few} bytes of memory and 100 parts {many}"


@todo("encode-iterable", edge=True)
def test_an_empty_stream(grade, rng):
    """No parts, or only empty ones, give no ids."""
    for parts in ([], [""], ["", "", ""]):
        grade("streamed", [random_merges(rng, 5), SPECIALS], parts, expected=[])


# ---------------------------------------------------------------- the whole lab


@whole_lab(points=2)
def test_train_encode_stream_decode(grade, rng):
    """A tokenizer trained by your code gives the reference's merges, ids and text, at once and in parts."""
    texts = [english(rng, 15) + EOT + any_text(rng, 6) + END for _ in range(5)]
    new = english(rng, 12) + EOT + any_text(rng, 6) + "<|en" + USER
    grade("everything", texts, 300, SPECIALS, new, cut(rng, new))
