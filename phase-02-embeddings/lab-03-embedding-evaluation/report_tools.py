"""What the study and the report of lab 2.3 share."""

from __future__ import annotations

from typing import Any

import numpy as np
import word_vectors

from labkit import run

SAMPLE = 20_000  # pairs of words whose mean cosine is the anisotropy


def baseline(args) -> tuple[list[str], np.ndarray]:
    texts = (document.text for document in run.load_data(args).documents)
    return word_vectors.ppmi_svd(word_vectors.read_words(texts, args.tokens), args.vocabulary, args.dim)


def word_pairs(text: str) -> list[tuple[str, str]]:
    words = text.split()
    return list(zip(words[::2], words[1::2]))


def without(lab, vectors: np.ndarray, k: int) -> tuple[str, np.ndarray]:
    """The vectors without their mean and k principal components, and what to call them."""
    return f"and top {k}" if k else "mean removed", lab.all_but_the_top(vectors, k)


def paired_difference(lab, samples, rng) -> dict:
    """ρ of the first model minus ρ of the second on the same pairs, with an interval from resampling the pairs."""

    def difference(one, other, scores):
        return lab.spearman(one, scores) - lab.spearman(other, scores)

    draws = rng.integers(len(samples[0]), size=(1000, len(samples[0])))
    low, high = lab.bootstrap_interval(difference, samples, draws)
    return {"pairs": len(samples[0]), "difference": difference(*samples), "low": low, "high": high}


def interval(row: dict, digits: int = 2) -> str:
    if row["low"] is None:
        return "-"
    low, high = (round(row[end], digits) + 0 for end in ("low", "high"))  # + 0: no "-0.00"
    return f"{low:.{digits}f} to {high:.{digits}f}"


def print_similarity(rows: dict) -> None:
    table = [[name, row["pairs"], row["covered"], row["spearman"], interval(row)] for name, row in rows.items()]
    print(run.table(["", "pairs", "covered", "Spearman", "95 % interval"], table))


def plain_keys(results: Any) -> Any:
    """The same with underscores for spaces in the keys, so that a README can point at every number."""
    if not isinstance(results, dict):
        return results
    return {key.replace(" ", "_"): plain_keys(value) for key, value in results.items()}
