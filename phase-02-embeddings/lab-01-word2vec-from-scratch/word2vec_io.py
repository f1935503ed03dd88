"""Text in, vectors out: sentences from a corpus, and the binary format that word2vec tools exchange vectors in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

WORD = re.compile(r"[a-z]+[0-9]*")
PIECE = 10_000  # words: running text without paragraphs is cut into sentences of this length, as gensim does


def read_sentences(texts: Iterable[str], limit: int = 10**9) -> list[list[str]]:
    """The words of every paragraph, lower-cased, `limit` words in all at most. A paragraph that comes again is skipped.

    Documentation repeats itself (inherited docstrings, stock phrases); counted every time, it would drown the rest.
    Raises ValueError when there is no sentence of two words.
    """
    sentences: list[list[str]] = []
    seen, total = set(), 0
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text.lower()):
            words = WORD.findall(paragraph)[: limit - total]
            if len(words) > 1 and paragraph not in seen:
                seen.add(paragraph)
                sentences += [words[i : i + PIECE] for i in range(0, len(words), PIECE)]
                total += len(words)
    if not sentences:
        raise ValueError(f"texts: expected running text, found no two words in a row (limit {limit})")
    return sentences


def save_word2vec(path: Path, words: Sequence[str], vectors: np.ndarray) -> None:
    """word2vec's binary format: a line "V D", then for each word its UTF-8 bytes, a space and D little-endian float32.

    words: V of them, without spaces   vectors: (V, D)
    """
    if len(words) != len(vectors):
        raise ValueError(f"words: expected one for each of the {len(vectors)} vectors, got {len(words)}")
    with path.open("wb") as file:
        file.write(f"{len(words)} {vectors.shape[1]}\n".encode())
        for word, vector in zip(words, vectors.astype("<f4"), strict=True):
            file.write(word.encode("utf-8") + b" " + vector.tobytes())


def load_word2vec(path: Path) -> tuple[list[str], np.ndarray]:
    """What `save_word2vec`, gensim and word2vec.c write.   -> words, vectors (V, D) float32"""
    content = path.read_bytes()
    start = content.index(b"\n") + 1
    count, dim = map(int, content[:start].split())
    words, vectors = [], np.empty((count, dim), dtype=np.float32)
    for i in range(count):
        end = content.index(b" ", start)
        words.append(content[start:end].lstrip(b"\n").decode("utf-8"))  # word2vec.c ends every vector with a line feed
        vectors[i] = np.frombuffer(content, "<f4", dim, end + 1)
        start = end + 1 + 4 * dim
    return words, vectors
