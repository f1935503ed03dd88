# Generated from lab 5.1 by `make skeletons`.
from __future__ import annotations
import multiprocessing
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, partial
from heapq import heapify, heappop, heappush
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Literal
from labkit import run
from labkit.reference.tokenization_from_scratch import gpt2_pieces, prepare
PRESETS = {'smoke': {'documents': 600, 'vocab_size': 600, 'workers': 1}, 'cpu': {'documents': 12000, 'vocab_size': 8192, 'workers': 2}, 'full': {'documents': 10 ** 9, 'vocab_size': 50257, 'workers': 8}}
EOT = '<|endoftext|>'
CACHED_PIECES = 2 ** 16
Pair = tuple[int, int]
Special = Collection[str] | Literal['all']

@cache
def byte_alphabet() -> dict[int, str]:
    """How GPT-2's files write each byte as one visible character; the n-th byte of the dict has the id n.

    First the 188 bytes that Latin-1 shows as a visible character, each written as that character, in increasing order:
    0x21 to 0x7E, 0xA1 to 0xAC, 0xAE to 0xFF. Then the 68 others, also in increasing order, written as chr(256),
    chr(257) ... chr(323); so the space, the 33rd of them, is "Ġ".      Radford et al. 2019, GPT-2's encoder.py
    """
    ...

@cache
def byte_id_table() -> bytes:
    """For `bytes.translate`: what stands at index b is the id of the byte b."""
    ...

def byte_ids(piece: str) -> list[int]:
    """The ids of a piece's UTF-8 bytes, before any merge."""
    ...

def merge_pair(ids: Sequence[int], pair: Pair, new_id: int) -> list[int]:
    """A new list in which each occurrence of `pair` in `ids` has become the one id `new_id`; `ids` stays as it is.

    From left to right, and an id is used once: of three equal ids in a row the pair of them merges the first two.
    """
    ...

def encode_piece(piece: str, merges: Mapping[Pair, int]) -> list[int]:
    """The ids of one piece: its bytes, merged as long as two neighbours have a merge.

    merges: pair of ids -> the id it becomes. Ids were given in the order of learning, so the pair with the *lowest* new
    id was learned first and has to be merged first, wherever in the piece it stands. No bytes give no ids.
    """
    ...

@lru_cache
def special_pattern(tokens: frozenset[str]) -> re.Pattern:
    """Finds the special tokens in a text; where two of them begin at the same place, the longer one.

    It has no groups, so `special_pattern(tokens).split(text)` is the text between them. No tokens: it finds nothing.
    """
    ...

def unfinished(text: str, tokens: Iterable[str]) -> int:
    """Where in a text one of `tokens` may have begun without having come to its end yet; len(text) if nowhere.

    The first place from which on the rest of the text is the beginning of a token, and shorter than it.
    """
    ...

def count_pieces(texts: Iterable[str], special_tokens: Collection[str]=()) -> Counter[str]:
    """How often each of GPT-2's pieces occurs in the texts.

    A special token in a text is a border and no text: it is left out, and no piece reaches across it. Every text goes
    through `prepare`, which raises TypeError for what is no str and ValueError for a lone surrogate; the pieces are
    those of `gpt2_pieces`. `texts` may be a generator: it is read once, text by text.
    """
    ...

def count_pieces_in_parallel(texts: Iterable[str], special_tokens: Collection[str]=(), workers: int=2) -> Counter[str]:
    """`count_pieces` by `workers` processes. Counts are sums, so it does not matter who counts what."""
    ...

def pair_index(words: Sequence[Sequence[int]], counts: Sequence[int]) -> tuple[dict[Pair, int], dict[Pair, set[int]]]:
    """How often each pair of neighbours occurs, and in which words.

    words: the ids of each distinct piece; counts: how often each piece occurs in the corpus.
    Returns two dicts with default values (0 and an empty set): pair -> its occurrences in the corpus, and pair -> the
    indices of the words that hold it. "aaa" holds the pair ("a", "a") twice.
    """
    ...

def train_merges(piece_counts: Mapping[str, int], n_merges: int, min_frequency: int=2) -> list[Pair]:
    """The merges that byte-pair encoding learns, in order: the n-th one (from 0) makes the id 256 + n.

    Again and again the most frequent pair of neighbours, counted over all occurrences of all pieces, is merged in every
    piece (`merge_pair`). Of equally frequent pairs the smallest one wins, as Python compares tuples of ids. Ends early
    when no pair occurs `min_frequency` times any more. A merge costs what the pieces that hold its pair cost, not what
    the corpus costs: all others stay as they were, and so do their counts.      Sennrich et al. 2016, algorithm 1
    """
    ...

class PieceCache(dict):
    """Piece -> its ids, computed when a piece is first asked for. Remembers at most CACHED_PIECES short pieces."""

    def __init__(self, merges: Mapping[Pair, int]):
        ...

    def __missing__(self, piece: str) -> list[int]:
        ...

class BPETokenizer:
    """Byte-level BPE. Ids: 0..255 the bytes in the order of `byte_alphabet`, then the merges, then the special tokens.

    merges: pairs of ids in the order in which they were learned; special_tokens: str, none of them empty or twice.
    Attributes: `tokens`, the bytes of every id; `merges`, pair -> id; `special_ids`, special token -> id.
    """

    def __init__(self, merges: Sequence[Pair], special_tokens: Sequence[str]=(EOT,)):
        ...

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, special_tokens: Sequence[str]=(EOT,), min_frequency: int=2, workers: int=1) -> BPETokenizer:
        """A tokenizer with at most `vocab_size` ids, bytes and special tokens included, learned from `texts`."""
        ...

    @property
    def n_vocab(self) -> int:
        ...

    @property
    def eot_id(self) -> int:
        """The id of "<|endoftext|>", which stands between two documents."""
        ...

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of a text in which nothing is special: a typed "<|endoftext|>" is text like any other."""
        ...

    def encode_pieces(self, pieces: Iterable[str]) -> list[int]:
        """The ids of GPT-2's pieces, one piece after another: `encode_piece`, from the cache where it can."""
        ...

    def watched(self, allowed_special: Special, disallowed_special: Special) -> tuple[frozenset[str], frozenset[str]]:
        """The special tokens to look for in a text, and those of them that must not be there.

        "all" means all special tokens; for `disallowed_special`, all that are not allowed. Those in neither are text.
        """
        ...

    def special_id(self, token: str, refused: Collection[str]) -> int:
        """The id of a special token that was found in a text. Raises ValueError when it is one of the refused."""
        ...

    def encode(self, text: str, allowed_special: Special=(), disallowed_special: Special='all') -> list[int]:
        """The ids of a text, with its special tokens treated as `tiktoken` treats them.

        An allowed special token becomes its one id; the text before it and after it is encoded apart from each other
        (`encode_ordinary`). Any other raises ValueError, unless `disallowed_special` leaves it out: then it is text.
        """
        ...

    def encode_iterable(self, texts: Iterable[str], allowed_special: Special=(), disallowed_special: Special='all') -> Iterator[int]:
        """The ids of one long text that comes in parts, for instance the lines of an open file.

        Yields the ids of `encode("".join(texts), ...)`, wherever the parts end, and holds no more of the text than it
        has to. What can still change when more text comes: the last two of GPT-2's pieces ("'" and "l" become "'ll"),
        and everything from the place on where a special token may have begun (`unfinished`).
        """
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of any ids, special tokens included. A model may write bytes that are no UTF-8: they become U+FFFD.

        `ids` may be a generator: it is read once.   Raises ValueError for an id outside 0 .. n_vocab - 1
        """
        ...

    def save(self, folder: str | Path) -> None:
        """Writes GPT-2's two files, vocab.json and merges.txt, and tokenizer.json for the package `tokenizers`."""
        ...

    @classmethod
    def load(cls, path: str | Path, merges_file: str | Path | None=None) -> BPETokenizer:
        """The tokenizer in a folder, in a tokenizer.json, or in a vocabulary and a `merges_file`, wherever they are."""
        ...

def main(argv: list[str] | None=None) -> None:
    ...
