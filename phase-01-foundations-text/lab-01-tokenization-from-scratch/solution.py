"""Three tokenizers - words, GPT-2's pieces, bytes - and what each one costs on real text.

Run it as it is for the report: table, coverage figure, results.json. Run it with

--preset smoke                          for a first look, in seconds
--show "two  naïve cafés" --form NFC    for your own sentence, in colour
"""

from __future__ import annotations

import codecs
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

import regex

from labkit import run

PRESETS = {
    "smoke": {"documents": 2_000, "min_freq": 2, "repeats": 3},
    "cpu": {"documents": 12_000, "min_freq": 2, "repeats": 5},
    "full": {"documents": 10**9, "min_freq": 2, "repeats": 5},  # the whole corpus: about a second per MB
}
SENTENCE = "Don't panic:  the café is naïve, but €3.50 is OK 🙂"
UNK = "<unk>"  # stands for every piece that is not in the vocabulary
FORMS = (None, "NFC", "NFD", "NFKC", "NFKD")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def prepare(text: str, form: str | None = None) -> str:
    """Text checked and, if a Unicode normal form is named, normalised: what every tokenizer does before it encodes.

    Normalising is a one-way street: "ﬁ" becomes "fi" under NFKC, and nothing can tell afterwards which one it was.
    Raises TypeError when text is not a str, ValueError for an unknown form or a lone surrogate.      Unicode UAX #15
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, got {type(text).__name__}")
    if form not in FORMS:
        raise ValueError(f"form must be one of {FORMS}, got {form!r}")
    if not text.isascii() and (lone := LONE_SURROGATE.search(text)):
        raise ValueError(
            f"text must be valid Unicode, got the lone surrogate U+{ord(lone[0]):04X} at position {lone.start()}: "
            "half of a UTF-16 pair, for which no UTF-8 exists"
        )
    return text if form is None else unicodedata.normalize(form, text)


# ---------------------------------------------------------------------------------------------------------------------
# Words, and a vocabulary of them
# ---------------------------------------------------------------------------------------------------------------------
def whitespace_pieces(text: str) -> list[str]:
    """The words of a text: what stands between stretches of whitespace (spaces, tabs, line ends), in order.

    No piece is empty and none contains whitespace, however much of it there is and wherever it stands.
    """
    # >>> split-words (~2 lines): cut the text at every stretch of whitespace
    words = text.split()  # without an argument: split(" ") cuts at every single space, and at nothing else
    return words
    # <<< split-words


def build_vocab(pieces: Iterable[str], min_freq: int = 1, special_tokens: Sequence[str] = (UNK,)) -> list[str]:
    """The vocabulary as a list: the token at index i has the id i.

    First the special tokens, as given, at the lowest ids; then every piece seen at least `min_freq` times, the most
    frequent first; equally frequent ones in the order in which they first appeared. Text that spells a special token
    gets no second entry. `pieces` may be a generator: it is read once.   Raises ValueError when min_freq < 1
    """
    if min_freq < 1:
        raise ValueError(f"min_freq must be at least 1, got {min_freq}")
    # >>> build-vocab (~3 lines): count the pieces, drop the rare ones, put them in order behind the special tokens
    counts = Counter(pieces)
    frequent = [piece for piece, count in counts.most_common() if count >= min_freq]  # a stable sort: ties keep order
    return [*special_tokens, *(piece for piece in frequent if piece not in special_tokens)]
    # <<< build-vocab


# ---------------------------------------------------------------------------------------------------------------------
# A tokenizer with a vocabulary
# ---------------------------------------------------------------------------------------------------------------------
class WordTokenizer:
    """Pieces of text looked up in a vocabulary; a subclass says how to cut.

    vocab: list of str, the special tokens first (among them "<unk>"); form: a Unicode normal form for `encode`, or None
    """

    pieces: Callable[[str], list[str]]  # how the text is cut
    pieces_hold_spaces: bool  # True when the spaces between words are inside the pieces

    def __init__(self, vocab: Sequence[str], special_tokens: Sequence[str] = (UNK,), form: str | None = None):
        start = list(vocab[: len(special_tokens)])
        if UNK not in start or start != list(special_tokens):
            raise ValueError(f"vocab must start with special_tokens {special_tokens}, {UNK!r} among them; got {start}")
        self.vocab, self.special_tokens, self.form = list(vocab), tuple(special_tokens), form
        self.unk_id, self.vocab_size = self.vocab.index(UNK), len(self.vocab)
        # Ordinary text only: someone who *types* "<eos>" must not end the sequence.
        self.word_ids = {token: i for i, token in enumerate(self.vocab) if token not in special_tokens}

    @classmethod
    def train(
        cls, texts: Iterable[str], min_freq: int = 1, special_tokens: Sequence[str] = (UNK,), form: str | None = None
    ) -> WordTokenizer:
        """A tokenizer whose vocabulary comes from `texts`, an iterable of strings."""
        if isinstance(texts, str):
            raise TypeError("texts must be several strings, got one str: put it in a list")
        pieces = (piece for text in texts for piece in cls.pieces(prepare(text, form)))
        return cls(build_vocab(pieces, min_freq, special_tokens), special_tokens, form)

    def encode(self, text: str) -> list[int]:
        """The ids of the text's pieces: prepared with `self.form`, cut by `self.pieces`, looked up in `self.word_ids`.

        A piece that is not there becomes `self.unk_id`: every piece yields exactly one id.
        """
        # >>> encode-words (~2 lines): prepare, cut, look up
        text = prepare(text, self.form)
        return [self.word_ids.get(piece, self.unk_id) for piece in self.pieces(text)]
        # <<< encode-words

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids: their tokens in `self.vocab`, put together so that as much as possible is restored.

        Pieces that hold their spaces (`self.pieces_hold_spaces`) need nothing between them; of the others we know that
        there was some whitespace, and put one space. Special tokens are shown like all others, and no ids give "".
        `ids` may be a generator: it is read once.   Raises ValueError for an id outside 0 .. len(self.vocab) - 1
        """
        # >>> decode-words (~6 lines): check every id, look it up, join
        tokens = []
        for i in ids:
            if not 0 <= i < len(self.vocab):
                raise ValueError(f"ids must lie in 0..{len(self.vocab) - 1}, got {i}")
            tokens.append(self.vocab[i])
        return ("" if self.pieces_hold_spaces else " ").join(tokens)
        # <<< decode-words


class WhitespaceTokenizer(WordTokenizer):
    """Words as they stand between spaces. Loses which spaces there were, and every word it has not seen."""

    pieces, pieces_hold_spaces = staticmethod(whitespace_pieces), False


# ---------------------------------------------------------------------------------------------------------------------
# GPT-2's pieces
# ---------------------------------------------------------------------------------------------------------------------
@cache
def gpt2_pattern() -> regex.Pattern:
    r"""The compiled expression that cuts text as GPT-2 does. Where several alternatives match, the first one wins:

    1. the end of a contraction: a straight ' and then s, d, m, t, ll, ve or re; lower case only
    2. a run of letters of any script (\p{L}), together with one space in front of it if there is one
    3. a run of numbers of any script (\p{N}), likewise
    4. a run of anything that is neither whitespace nor letter nor number, likewise
    5. a run of whitespace; when something else follows it, all of the run but its last character
    6. a run of whitespace

    Every character belongs to one piece, so the pieces joined are the text.   Radford et al. 2019, GPT-2's encoder.py
    """
    # >>> gpt2-pattern (~8 lines): regex.compile(...) of the six alternatives, for use with findall
    return regex.compile(
        r"'(?:[sdmt]|ll|ve|re)"
        r"| ?\p{L}+"
        r"| ?\p{N}+"
        r"| ?[^\s\p{L}\p{N}]+"
        r"|\s+(?!\S)"
        r"|\s+"
    )
    # <<< gpt2-pattern


def gpt2_pieces(text: str) -> list[str]:
    """The pieces GPT-2 would cut a text into before its merges: `"".join(gpt2_pieces(text)) == text`."""
    return gpt2_pattern().findall(text)


class RegexTokenizer(WordTokenizer):
    """GPT-2's pieces. Keeps every space, but still loses every piece it has not seen."""

    pieces, pieces_hold_spaces = staticmethod(gpt2_pieces), True


# ---------------------------------------------------------------------------------------------------------------------
# The tokenizer that knows everything
# ---------------------------------------------------------------------------------------------------------------------
class ByteLevelTokenizer:
    """One id per byte of the text's UTF-8: 256 ids, no training, nothing unknown."""

    vocab_size = 256

    def __init__(self, form: str | None = None):
        self.form = form

    def encode(self, text: str) -> list[int]:
        """The UTF-8 bytes of the text, prepared with `self.form`, as ints in 0..255: 1 to 4 per character.

        Raises as `prepare` does: TypeError when text is not a str, ValueError for a lone surrogate.
        """
        # >>> encode-bytes (~2 lines): prepare, then one id per byte
        text = prepare(text, self.form)
        return list(text.encode("utf-8"))
        # <<< encode-bytes

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the bytes `ids`. A model may write any bytes at all: what is not UTF-8 becomes U+FFFD (�).

        Raises ValueError for an id outside 0..255.
        """
        # >>> decode-bytes (~2 lines): ids to bytes to text, and never an exception for what a model may write
        data = bytes(list(ids))  # list: bytes() of a NumPy array would be its raw memory
        return data.decode("utf-8", errors="replace")
        # <<< decode-bytes

    def stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Decode while a model still writes: each character as soon as its last byte is known, never half of one.

        Reads `ids` one at a time, yields no empty strings, and joined gives `decode(ids)`: a character cut off by the
        end becomes U+FFFD, bytes that cannot be UTF-8 likewise.   Raises ValueError for an id outside 0..255
        """
        # >>> stream-bytes (~6 lines): a decoder with a memory takes one byte at a time; at the end ask it what is left
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for i in ids:
            if text := decoder.decode(bytes([i])):
                yield text
        if rest := decoder.decode(b"", final=True):
            yield rest
        # <<< stream-bytes


# ---------------------------------------------------------------------------------------------------------------------
# The report
# ---------------------------------------------------------------------------------------------------------------------
def main(argv: list[str] | None = None) -> None:
    def more_flags(parser):
        parser.add_argument("--show", default=SENTENCE, metavar="TEXT", help="the sentence to show in colour")
        parser.add_argument("--form", choices=FORMS[1:], help="normalise all text to this Unicode form first")

    args = run.arguments(__doc__, PRESETS, argv, data="python-docs", extra=more_flags)
    from labkit.reference.tokenization_from_scratch import tokenizer_report as report  # the file beside this one

    texts = [d.text for d in run.load_data(args).documents if not LONE_SURROGATE.search(d.text)]
    random.Random(args.seed).shuffle(texts)
    texts = texts[: args.documents]
    if len(texts) < 10:
        raise SystemExit(f"at least 10 documents are needed, and {args.data} gave {len(texts)}")
    held_out, train = texts[: len(texts) // 10], texts[len(texts) // 10 :]  # the tokenizers never see held_out
    tokenizers = {
        "whitespace": WhitespaceTokenizer.train(train, args.min_freq, form=args.form),
        "regex": RegexTokenizer.train(train, args.min_freq, form=args.form),
        "bytes": ByteLevelTokenizer(args.form),
    }
    gpt2, left_out = report.gpt2_tokenizer()
    peers = tokenizers | ({"gpt2": gpt2} if gpt2 else {})
    report.show(args.show, peers, UNK)

    print(f"On {len(held_out):,} documents that no tokenizer was trained on:\n")
    results = {name: report.measure(t, held_out, args.repeats) for name, t in run.progress(peers.items(), "encoding")}
    columns = ["vocabulary", "chars_per_token", "unknown_percent", "exact_percent"]
    rows = [[name, *(row[column] for column in columns)] for name, row in results.items()]
    print(run.table(["tokenizer", "vocabulary", "chars/token", "unknown %", "exact %"], rows) + "\n")
    print("encoding, MB/s: " + ", ".join(f"{name} {row['mb_per_s']:.3g}" for name, row in results.items()))
    if left_out:
        print(left_out)

    # The same with every word kept, however rare: what would a larger vocabulary buy?
    curves = {}
    for name, kind in {"whitespace": WhitespaceTokenizer, "regex": RegexTokenizer}.items():
        full = kind.train(train, min_freq=1, form=args.form)
        curves[name] = {"training text": report.coverage(full, train), "new text": report.coverage(full, held_out)}
        results[name] |= {"distinct_pieces": full.vocab_size - 1, "best_coverage_percent": curves[name]["new text"][-1]}
    fig, ax = run.figure(width=7, height=4.2)
    report.draw_coverage(ax, curves)
    run.save_figure(args, fig, "coverage.png")
    run.save_results(args, results)


if __name__ == "__main__":
    run.main(main)
