"""What a loss is to be compared with: knowing nothing, counting, and the entropy of the text itself."""

from __future__ import annotations

import math

import numpy as np

from labkit.reference import char_rnn

ORDER = 4  # an n-gram is a context of n - 1 tokens and the token after it
COUNTED = 3_000_000  # tokens the n-grams are counted on, at most


def of(shards: list[np.ndarray], windows: np.ndarray, vocab_size: int, entropy: float | None) -> dict[str, float]:
    """Mean nats per token of the same windows that the model is measured on.

    shards: what it was trained on   windows: (count, T + 1) int64, the last T of each predicted
    entropy: nats per token of the generator that wrote the text, None if nobody knows. A window that begins in the
        middle of a document has lost what stood before: its true floor is a little higher.
    """
    train = np.concatenate(shards)[:COUNTED].astype(np.int64)
    counts = np.bincount(train, minlength=vocab_size) + 1.0
    found = {
        "uniform": math.log(vocab_size),
        "unigram": -float(np.log(counts / counts.sum())[windows[:, 1:]].mean()),
        "bigram": ngram_nats(train, windows, vocab_size, 2),
        "ngram": ngram_nats(train, windows, vocab_size, ORDER),
    }
    return found if entropy is None else found | {"entropy": entropy}


def ngram_nats(train: np.ndarray, windows: np.ndarray, vocab_size: int, order: int) -> float:
    """Kneser-Ney; the first targets of a window, with fewer tokens before them, are predicted by shorter n-grams."""
    starts = [windows[:, :n] for n in range(2, order)]
    whole = np.lib.stride_tricks.sliding_window_view(windows, order, axis=1).reshape(-1, order)
    total = -sum(np.log(char_rnn.kneser_ney(train, grams, vocab_size)).sum() for grams in [*starts, whole])
    return float(total / windows[:, 1:].size)
