# labkit: lab 5.1, skeleton c917f8f50ef4. Fill the TODOs; then: labkit check 5.1
"""Byte-level byte-pair encoding, as GPT-2 does it: learn merges from text, encode, stream, decode, save.

Run it as it is for the report: a tokenizer trained on nine tenths of a corpus, measured on the rest. Run it with

--preset smoke                  for a first look, in seconds
--save my_tokenizer             to keep the tokenizer: GPT-2's two files, and one that `tokenizers` reads
"""

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

PRESETS = {
    "smoke": {"documents": 600, "vocab_size": 600, "workers": 1},
    "cpu": {"documents": 12_000, "vocab_size": 8_192, "workers": 2},
    "full": {"documents": 10**9, "vocab_size": 50_257, "workers": 8},  # the whole corpus, as many ids as GPT-2
}
EOT = "<|endoftext|>"  # stands between two documents
CACHED_PIECES = 2**16  # pieces an encoder remembers: enough for nearly all of a text, and no more memory than that
Pair = tuple[int, int]
Special = Collection[str] | Literal["all"]  # some special tokens, or all of them


# ---------------------------------------------------------------------------------------------------------------------
# Bytes, and merging two of them
# ---------------------------------------------------------------------------------------------------------------------
@cache
def byte_alphabet() -> dict[int, str]:
    """How GPT-2's files write each byte as one visible character; the n-th byte of the dict has the id n.

    First the 188 bytes that Latin-1 shows as a visible character, each written as that character, in increasing order:
    0x21 to 0x7E, 0xA1 to 0xAC, 0xAE to 0xFF. Then the 68 others, also in increasing order, written as chr(256),
    chr(257) ... chr(323); so the space, the 33rd of them, is "Ġ".      Radford et al. 2019, GPT-2's encoder.py
    """
    # TODO byte-alphabet (~3 lines): byte -> character, the visible bytes first, then the others
    raise NotImplementedError("TODO byte-alphabet")
    # END TODO byte-alphabet


@cache
def byte_id_table() -> bytes:
    """For `bytes.translate`: what stands at index b is the id of the byte b."""
    return bytes(id_ for _, id_ in sorted((byte, id_) for id_, byte in enumerate(byte_alphabet())))


def byte_ids(piece: str) -> list[int]:
    """The ids of a piece's UTF-8 bytes, before any merge."""
    return list(piece.encode("utf-8").translate(byte_id_table()))


def merge_pair(ids: Sequence[int], pair: Pair, new_id: int) -> list[int]:
    """A new list in which each occurrence of `pair` in `ids` has become the one id `new_id`; `ids` stays as it is.

    From left to right, and an id is used once: of three equal ids in a row the pair of them merges the first two.
    """
    # TODO merge-pair (~9 lines): walk along the ids; where both of the pair stand, put the new id and step over them
    raise NotImplementedError("TODO merge-pair")
    # END TODO merge-pair


def encode_piece(piece: str, merges: Mapping[Pair, int]) -> list[int]:
    """The ids of one piece: its bytes, merged as long as two neighbours have a merge.

    merges: pair of ids -> the id it becomes. Ids were given in the order of learning, so the pair with the *lowest* new
    id was learned first and has to be merged first, wherever in the piece it stands. No bytes give no ids.
    """
    # TODO encode-piece (~6 lines): from byte_ids(piece), merge the earliest learned pair until none is left
    raise NotImplementedError("TODO encode-piece")
    # END TODO encode-piece


# ---------------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------------
@lru_cache
def special_pattern(tokens: frozenset[str]) -> re.Pattern:
    """Finds the special tokens in a text; where two of them begin at the same place, the longer one.

    It has no groups, so `special_pattern(tokens).split(text)` is the text between them. No tokens: it finds nothing.
    """
    return re.compile("|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True)) or r"(?!)")


def unfinished(text: str, tokens: Iterable[str]) -> int:
    """Where in a text one of `tokens` may have begun without having come to its end yet; len(text) if nowhere.

    The first place from which on the rest of the text is the beginning of a token, and shorter than it.
    """
    longest = max(map(len, tokens), default=0)
    for start in range(max(0, len(text) - longest + 1), len(text)):
        if any(len(token) > len(text) - start and token.startswith(text[start:]) for token in tokens):
            return start
    return len(text)


def count_pieces(texts: Iterable[str], special_tokens: Collection[str] = ()) -> Counter[str]:
    """How often each of GPT-2's pieces occurs in the texts.

    A special token in a text is a border and no text: it is left out, and no piece reaches across it. Every text goes
    through `prepare`, which raises TypeError for what is no str and ValueError for a lone surrogate; the pieces are
    those of `gpt2_pieces`. `texts` may be a generator: it is read once, text by text.
    """
    # TODO count-pieces (~5 lines): cut each prepared text at the special tokens, and each part into pieces; count
    raise NotImplementedError("TODO count-pieces")
    # END TODO count-pieces


def count_pieces_in_parallel(
    texts: Iterable[str], special_tokens: Collection[str] = (), workers: int = 2
) -> Counter[str]:
    """`count_pieces` by `workers` processes. Counts are sums, so it does not matter who counts what."""
    texts, counts = iter(texts), Counter()
    batches = iter(lambda: list(islice(texts, 256)), [])
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for part in pool.imap_unordered(partial(count_pieces, special_tokens=special_tokens), batches):
            counts.update(part)
    return counts


def pair_index(words: Sequence[Sequence[int]], counts: Sequence[int]) -> tuple[dict[Pair, int], dict[Pair, set[int]]]:
    """How often each pair of neighbours occurs, and in which words.

    words: the ids of each distinct piece; counts: how often each piece occurs in the corpus.
    Returns two dicts with default values (0 and an empty set): pair -> its occurrences in the corpus, and pair -> the
    indices of the words that hold it. "aaa" holds the pair ("a", "a") twice.
    """
    totals, where = defaultdict(int), defaultdict(set)
    for index, (word, count) in enumerate(zip(words, counts, strict=True)):
        for pair in pairwise(word):
            totals[pair] += count
            where[pair].add(index)
    return totals, where


def train_merges(piece_counts: Mapping[str, int], n_merges: int, min_frequency: int = 2) -> list[Pair]:
    """The merges that byte-pair encoding learns, in order: the n-th one (from 0) makes the id 256 + n.

    Again and again the most frequent pair of neighbours, counted over all occurrences of all pieces, is merged in every
    piece (`merge_pair`). Of equally frequent pairs the smallest one wins, as Python compares tuples of ids. Ends early
    when no pair occurs `min_frequency` times any more. A merge costs what the pieces that hold its pair cost, not what
    the corpus costs: all others stay as they were, and so do their counts.      Sennrich et al. 2016, algorithm 1
    """
    words = [byte_ids(piece) for piece in piece_counts]
    counts = list(piece_counts.values())
    totals, where = pair_index(words, counts)
    # TODO train-merges (~20 lines): a heap of (-occurrences, pair); after a merge recount only the words that held it
    raise NotImplementedError("TODO train-merges")
    # END TODO train-merges


# ---------------------------------------------------------------------------------------------------------------------
# The tokenizer
# ---------------------------------------------------------------------------------------------------------------------
class PieceCache(dict):
    """Piece -> its ids, computed when a piece is first asked for. Remembers at most CACHED_PIECES short pieces."""

    def __init__(self, merges: Mapping[Pair, int]):
        self.merges = merges

    def __missing__(self, piece: str) -> list[int]:
        ids = encode_piece(piece, self.merges)
        if len(self) < CACHED_PIECES and len(piece) < 64:
            self[piece] = ids
        return ids


class BPETokenizer:
    """Byte-level BPE. Ids: 0..255 the bytes in the order of `byte_alphabet`, then the merges, then the special tokens.

    merges: pairs of ids in the order in which they were learned; special_tokens: str, none of them empty or twice.
    Attributes: `tokens`, the bytes of every id; `merges`, pair -> id; `special_ids`, special token -> id.
    """

    def __init__(self, merges: Sequence[Pair], special_tokens: Sequence[str] = (EOT,)):
        self.tokens = [bytes([byte]) for byte in byte_alphabet()]
        for n, (first, second) in enumerate(merges):
            if not (0 <= first < len(self.tokens) and 0 <= second < len(self.tokens)):
                raise ValueError(f"merges: number {n} must join two ids below {256 + n}, got {(first, second)}")
            self.tokens.append(self.tokens[first] + self.tokens[second])
        self.merges = {tuple(pair): 256 + n for n, pair in enumerate(merges)}
        if len(self.merges) < len(merges):
            raise ValueError(f"merges must be different pairs, got {len(merges) - len(self.merges)} of them twice")
        if isinstance(special_tokens, str):
            raise TypeError("special_tokens must be several strings, got one str: put it in a list")
        if "" in special_tokens or len(set(special_tokens)) < len(special_tokens):
            raise ValueError(f"special_tokens must be different and not empty, got {list(special_tokens)}")
        self.special_ids = {token: len(self.tokens) + n for n, token in enumerate(special_tokens)}
        self.tokens += [token.encode("utf-8") for token in special_tokens]
        self._cache = PieceCache(self.merges)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str] = (EOT,),
        min_frequency: int = 2,
        workers: int = 1,
    ) -> BPETokenizer:
        """A tokenizer with at most `vocab_size` ids, bytes and special tokens included, learned from `texts`."""
        if isinstance(texts, str):
            raise TypeError("texts must be several strings, got one str: put it in a list")
        n_merges = vocab_size - 256 - len(special_tokens)
        if n_merges < 0:
            raise ValueError(f"vocab_size must be at least {256 + len(special_tokens)}, got {vocab_size}")
        if min_frequency < 1:
            raise ValueError(f"min_frequency must be at least 1, got {min_frequency}")
        if workers > 1:
            counts = count_pieces_in_parallel(texts, special_tokens, workers)
        else:
            counts = count_pieces(texts, special_tokens)
        return cls(train_merges(counts, n_merges, min_frequency), special_tokens)

    @property
    def n_vocab(self) -> int:
        return len(self.tokens)

    @property
    def eot_id(self) -> int:
        """The id of "<|endoftext|>", which stands between two documents."""
        return self.special_ids[EOT]

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of a text in which nothing is special: a typed "<|endoftext|>" is text like any other."""
        return self.encode_pieces(gpt2_pieces(prepare(text)))

    def encode_pieces(self, pieces: Iterable[str]) -> list[int]:
        """The ids of GPT-2's pieces, one piece after another: `encode_piece`, from the cache where it can."""
        return list(chain.from_iterable(map(self._cache.__getitem__, pieces)))

    def watched(self, allowed_special: Special, disallowed_special: Special) -> tuple[frozenset[str], frozenset[str]]:
        """The special tokens to look for in a text, and those of them that must not be there.

        "all" means all special tokens; for `disallowed_special`, all that are not allowed. Those in neither are text.
        """
        every = frozenset(self.special_ids)
        allowed = every if allowed_special == "all" else frozenset(allowed_special)
        refused = every - allowed if disallowed_special == "all" else frozenset(disallowed_special)
        if unknown := (allowed | refused) - every:
            raise ValueError(f"not special tokens of this tokenizer: {sorted(unknown)}; there are {sorted(every)}")
        return allowed | refused, refused

    def special_id(self, token: str, refused: Collection[str]) -> int:
        """The id of a special token that was found in a text. Raises ValueError when it is one of the refused."""
        if token in refused:
            raise ValueError(
                f"the text holds the special token {token!r}: pass it in allowed_special to get its id, or "
                "disallowed_special=() to encode it as ordinary text"
            )
        return self.special_ids[token]

    def encode(self, text: str, allowed_special: Special = (), disallowed_special: Special = "all") -> list[int]:
        """The ids of a text, with its special tokens treated as `tiktoken` treats them.

        An allowed special token becomes its one id; the text before it and after it is encoded apart from each other
        (`encode_ordinary`). Any other raises ValueError, unless `disallowed_special` leaves it out: then it is text.
        """
        text = prepare(text)
        watched, refused = self.watched(allowed_special, disallowed_special)
        # TODO encode-special (~7 lines): walk from match to match; the text before each, its self.special_id, the rest
        raise NotImplementedError("TODO encode-special")
        # END TODO encode-special

    def encode_iterable(
        self, texts: Iterable[str], allowed_special: Special = (), disallowed_special: Special = "all"
    ) -> Iterator[int]:
        """The ids of one long text that comes in parts, for instance the lines of an open file.

        Yields the ids of `encode("".join(texts), ...)`, wherever the parts end, and holds no more of the text than it
        has to. What can still change when more text comes: the last two of GPT-2's pieces ("'" and "l" become "'ll"),
        and everything from the place on where a special token may have begun (`unfinished`).
        """
        watched, refused = self.watched(allowed_special, disallowed_special)
        # TODO encode-iterable (~15 lines): for each part, yield what is certain and keep the rest; at the end, the rest
        raise NotImplementedError("TODO encode-iterable")
        # END TODO encode-iterable

    def decode(self, ids: Iterable[int]) -> str:
        """The text of any ids, special tokens included. A model may write bytes that are no UTF-8: they become U+FFFD.

        `ids` may be a generator: it is read once.   Raises ValueError for an id outside 0 .. n_vocab - 1
        """
        # TODO decode (~6 lines): the bytes of every id, joined, and only then read as UTF-8
        raise NotImplementedError("TODO decode")
        # END TODO decode

    def save(self, folder: str | Path) -> None:
        """Writes GPT-2's two files, vocab.json and merges.txt, and tokenizer.json for the package `tokenizers`."""
        from labkit.reference.bpe_tokenizer import bpe_files  # the file beside this one

        bpe_files.write(Path(folder), self.tokens, list(self.merges), list(self.special_ids), byte_alphabet())

    @classmethod
    def load(cls, path: str | Path, merges_file: str | Path | None = None) -> BPETokenizer:
        """The tokenizer in a folder, in a tokenizer.json, or in a vocabulary and a `merges_file`, wherever they are."""
        from labkit.reference.bpe_tokenizer import bpe_files

        return cls(*bpe_files.read(Path(path), merges_file and Path(merges_file), byte_alphabet()))


# ---------------------------------------------------------------------------------------------------------------------
# The report
# ---------------------------------------------------------------------------------------------------------------------
def main(argv: list[str] | None = None) -> None:
    def more_flags(parser):
        parser.add_argument("--save", metavar="FOLDER", help="write the trained tokenizer there")

    args = run.arguments(__doc__, PRESETS, argv, data="python-docs", extra=more_flags)
    from labkit.reference.bpe_tokenizer import bpe_report  # the file beside this one

    bpe_report.report(sys.modules[__name__], args)


if __name__ == "__main__":
    run.main(main)
