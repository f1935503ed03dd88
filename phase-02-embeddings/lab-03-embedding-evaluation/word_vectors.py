"""Where the vectors and the questions of lab 2.3 come from: files, published sets, and a counting baseline.

The baseline is PPMI-SVD: count which words stand near each other, ask how much more often than by chance, and compress
the answer. No training, a few seconds, and on small corpora a serious rival of word2vec (Levy, Goldberg, Dagan 2015).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

SIMILARITY = ("wordsim353", "wordsim353-similarity", "wordsim353-relatedness", "simlex999")
ANALOGIES = "questions-words"

# ---------------------------------------------------------------- published sets


def read_similarity(name: str) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Word pairs and human scores of a set of labkit.data: P pairs, (P,) float64."""
    from labkit import data

    records = data.load(name).records
    return [(row["word1"], row["word2"]) for row in records], np.array([float(row["score"]) for row in records])


def read_analogies(name: str = ANALOGIES) -> dict[str, list[list[str]]]:
    """section -> questions [a, b, c, d], from the format of questions-words.txt (`: section`, then one per line)."""
    from labkit import data

    sections: dict[str, list[list[str]]] = {}
    for line in data.load(name).text.splitlines():
        if line.startswith(":"):
            questions = sections.setdefault(line[1:].strip(), [])
        elif line.strip():
            questions.append(line.split())
    return sections


# ---------------------------------------------------------------- vector files


def load_vectors(path: str | Path, limit: int | None = None) -> tuple[list[str], np.ndarray]:
    """Words and (V, D) float32 from word2vec's text or binary format or GloVe's text format (no header line).

    limit: at most so many words, the first ones. Raises ValueError naming the file where it is none of these.
    """
    path = Path(path).expanduser()
    with path.open("rb") as file:
        first = file.readline().split()
        if len(first) == 2 and all(part.isdigit() for part in first):
            count, dim = map(int, first)
            count = count if limit is None else min(count, limit)
            start = file.tell()
            if not _is_text(file.readline(), dim):
                file.seek(start)
                return _read_binary(file, count, dim, path)
            file.seek(start)
        else:
            count, dim = limit, len(first) - 1
            file.seek(0)
        return _read_text(file, count, dim, path)


def _is_text(line: bytes, dim: int) -> bool:
    try:
        return len([float(part) for part in line.split()[-dim:]]) == dim
    except ValueError:
        return False


def _read_text(file, count: int | None, dim: int, path: Path) -> tuple[list[str], np.ndarray]:
    words, rows = [], []
    for line in file:
        if len(words) == count:
            break
        word, *numbers = line.decode("utf-8", "replace").rstrip().rsplit(" ", dim)  # a word of GloVe may hold spaces
        try:
            rows.append(np.array(numbers, dtype=np.float32))
        except ValueError:
            raise ValueError(f"{path}: word {len(words) + 1} is not followed by {dim} numbers") from None
        words.append(word)
        if dim < 1 or len(rows[-1]) != dim:
            raise ValueError(f"{path}: word {len(words)} is not followed by {dim} numbers")
    return words, np.stack(rows)


def _read_binary(file, count: int, dim: int, path: Path) -> tuple[list[str], np.ndarray]:
    words, vectors = [], np.empty((count, dim), dtype=np.float32)
    for i in range(count):
        letters = bytearray()
        while (letter := file.read(1)) != b" ":
            if not letter:
                raise ValueError(f"{path}: expected {count} words, the file ends after {i}")
            letters += letter
        words.append(letters.lstrip(b"\n").decode("utf-8", "replace"))  # word2vec.c ends every vector with a line feed
        content = file.read(4 * dim)
        if len(content) < 4 * dim:
            raise ValueError(f"{path}: the vector of word {i + 1} is cut short")
        vectors[i] = np.frombuffer(content, "<f4")
    return words, vectors


# ---------------------------------------------------------------- the counting baseline


def read_words(texts: Iterable[str], limit: int) -> list[list[str]]:
    """Paragraphs as lower-case words, none twice (documentation repeats itself), about `limit` words in all."""
    paragraphs, seen, total = [], set(), 0
    for text in texts:
        for paragraph in text.lower().split("\n\n"):
            words = re.findall(r"[a-z]+", paragraph)
            if words and (key := tuple(words)) not in seen:
                seen.add(key)
                paragraphs.append(words[: limit - total])
                total += len(paragraphs[-1])
                if total >= limit:
                    return paragraphs
    return paragraphs


def ppmi_svd(paragraphs: list[list[str]], vocabulary: int, dim: int, window: int = 5) -> tuple[list[str], np.ndarray]:
    """The `vocabulary` most frequent words and their vectors (V, dim), float64.

    PPMI[w, c] = max(0, ln P(w, c) / (P(w) P'(c))) with P'(c) ∝ count^0.75, which tames rare contexts; the vectors are
    U √S of its truncated singular value decomposition.      Levy, Goldberg, Dagan 2015
    """
    from scipy import sparse
    from scipy.sparse.linalg import svds

    counts = Counter(word for words in paragraphs for word in words)
    kept = sorted(counts, key=lambda word: (-counts[word], word))[:vocabulary]
    index = {word: i for i, word in enumerate(kept)}
    size = len(kept)
    # -1 for words outside the vocabulary, and `window` of them between paragraphs, so that no pair reaches across
    gap = [-1] * window
    ids = np.array([i for words in paragraphs for i in [*(index.get(word, -1) for word in words), *gap]])
    codes = []  # a pair (left, right) as the number left * V + right
    for distance in range(1, window + 1):
        left, right = ids[:-distance], ids[distance:]
        both = (left >= 0) & (right >= 0)
        codes.append(left[both] * size + right[both])
    code, times = np.unique(np.concatenate(codes), return_counts=True)
    near = sparse.coo_matrix((times.astype(np.float64), np.divmod(code, size)), shape=(size, size)).tocsr()
    near = (near + near.T).tocoo()  # (V, V), both directions
    word, context = near.sum(axis=1).A1, near.sum(axis=0).A1 ** 0.75
    pmi = np.log(near.data * context.sum() / (word[near.row] * context[near.col]))
    ppmi = sparse.csr_matrix((np.maximum(pmi, 0), (near.row, near.col)), shape=near.shape)
    u, s, _ = svds(ppmi, k=min(dim, size - 1), v0=np.ones(size))
    return kept, (u * np.sqrt(s))[:, ::-1]
