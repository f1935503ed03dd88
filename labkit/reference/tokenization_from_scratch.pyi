# Generated from lab 1.1 by `make skeletons`.
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
PRESETS = {'smoke': {'documents': 2000, 'min_freq': 2, 'repeats': 3}, 'cpu': {'documents': 12000, 'min_freq': 2, 'repeats': 5}, 'full': {'documents': 10 ** 9, 'min_freq': 2, 'repeats': 5}}
SENTENCE = "Don't panic:  the café is naïve, but €3.50 is OK 🙂"
UNK = '<unk>'
FORMS = (None, 'NFC', 'NFD', 'NFKC', 'NFKD')
LONE_SURROGATE = re.compile('[\ud800-\udfff]')

def prepare(text: str, form: str | None=None) -> str:
    """Text checked and, if a Unicode normal form is named, normalised: what every tokenizer does before it encodes.

    Normalising is a one-way street: "ﬁ" becomes "fi" under NFKC, and nothing can tell afterwards which one it was.
    Raises TypeError when text is not a str, ValueError for an unknown form or a lone surrogate.      Unicode UAX #15
    """
    ...

def whitespace_pieces(text: str) -> list[str]:
    """The words of a text: what stands between stretches of whitespace (spaces, tabs, line ends), in order.

    No piece is empty and none contains whitespace, however much of it there is and wherever it stands.
    """
    ...

def build_vocab(pieces: Iterable[str], min_freq: int=1, special_tokens: Sequence[str]=(UNK,)) -> list[str]:
    """The vocabulary as a list: the token at index i has the id i.

    First the special tokens, as given, at the lowest ids; then every piece seen at least `min_freq` times, the most
    frequent first; equally frequent ones in the order in which they first appeared. Text that spells a special token
    gets no second entry. `pieces` may be a generator: it is read once.   Raises ValueError when min_freq < 1
    """
    ...

class WordTokenizer:
    """Pieces of text looked up in a vocabulary; a subclass says how to cut.

    vocab: list of str, the special tokens first (among them "<unk>"); form: a Unicode normal form for `encode`, or None
    """
    pieces: Callable[[str], list[str]]
    pieces_hold_spaces: bool

    def __init__(self, vocab: Sequence[str], special_tokens: Sequence[str]=(UNK,), form: str | None=None):
        ...

    @classmethod
    def train(cls, texts: Iterable[str], min_freq: int=1, special_tokens: Sequence[str]=(UNK,), form: str | None=None) -> WordTokenizer:
        """A tokenizer whose vocabulary comes from `texts`, an iterable of strings."""
        ...

    def encode(self, text: str) -> list[int]:
        """The ids of the text's pieces: prepared with `self.form`, cut by `self.pieces`, looked up in `self.word_ids`.

        A piece that is not there becomes `self.unk_id`: every piece yields exactly one id.
        """
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids: their tokens in `self.vocab`, put together so that as much as possible is restored.

        Pieces that hold their spaces (`self.pieces_hold_spaces`) need nothing between them; of the others we know that
        there was some whitespace, and put one space. Special tokens are shown like all others, and no ids give "".
        `ids` may be a generator: it is read once.   Raises ValueError for an id outside 0 .. len(self.vocab) - 1
        """
        ...

class WhitespaceTokenizer(WordTokenizer):
    """Words as they stand between spaces. Loses which spaces there were, and every word it has not seen."""
    pieces, pieces_hold_spaces = (staticmethod(whitespace_pieces), False)

@cache
def gpt2_pattern() -> regex.Pattern:
    """The compiled expression that cuts text as GPT-2 does. Where several alternatives match, the first one wins:

    1. the end of a contraction: a straight ' and then s, d, m, t, ll, ve or re; lower case only
    2. a run of letters of any script (\\p{L}), together with one space in front of it if there is one
    3. a run of numbers of any script (\\p{N}), likewise
    4. a run of anything that is neither whitespace nor letter nor number, likewise
    5. a run of whitespace; when something else follows it, all of the run but its last character
    6. a run of whitespace

    Every character belongs to one piece, so the pieces joined are the text.   Radford et al. 2019, GPT-2's encoder.py
    """
    ...

def gpt2_pieces(text: str) -> list[str]:
    """The pieces GPT-2 would cut a text into before its merges: `"".join(gpt2_pieces(text)) == text`."""
    ...

class RegexTokenizer(WordTokenizer):
    """GPT-2's pieces. Keeps every space, but still loses every piece it has not seen."""
    pieces, pieces_hold_spaces = (staticmethod(gpt2_pieces), True)

class ByteLevelTokenizer:
    """One id per byte of the text's UTF-8: 256 ids, no training, nothing unknown."""
    vocab_size = 256

    def __init__(self, form: str | None=None):
        ...

    def encode(self, text: str) -> list[int]:
        """The UTF-8 bytes of the text, prepared with `self.form`, as ints in 0..255: 1 to 4 per character.

        Raises as `prepare` does: TypeError when text is not a str, ValueError for a lone surrogate.
        """
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the bytes `ids`. A model may write any bytes at all: what is not UTF-8 becomes U+FFFD (�).

        Raises ValueError for an id outside 0..255.
        """
        ...

    def stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Decode while a model still writes: each character as soon as its last byte is known, never half of one.

        Reads `ids` one at a time, yields no empty strings, and joined gives `decode(ids)`: a character cut off by the
        end becomes U+FFFD, bytes that cannot be UTF-8 likewise.   Raises ValueError for an id outside 0..255
        """
        ...

def main(argv: list[str] | None=None) -> None:
    ...
