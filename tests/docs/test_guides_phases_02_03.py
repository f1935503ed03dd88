"""The worked numbers of the guides of phases 2 and 3, recomputed."""

from __future__ import annotations

import math
from pathlib import Path

from scipy.special import expit
from scipy.stats import norm

ROOT = Path(__file__).resolve().parents[2]


def says(phase: str, *sentences: str) -> None:
    text = " ".join((ROOT / phase / "HITCHHIKERS-GUIDE.md").read_text(encoding="utf-8").split())
    missing = [sentence for sentence in sentences if sentence not in text]
    assert not missing, f"the guide does not say: {missing}"


def test_phase_02_counts():
    expected = 1_000_000 * 1e-3 * 2e-3
    says("phase-02-embeddings", f"$\\ln {80 / expected:.0f} = {math.log(80 / expected):.2f}$ nats")
    says("phase-02-embeddings", f"$(K + 1) \\ln 2$: {6 * math.log(2):.3f} for $K = 5$")
    says("phase-02-embeddings", f"is drawn {100**0.75:.1f} times as often")
    ratio = 1e-4 / 0.01
    kept = f"the paper keeps {100 * math.sqrt(ratio):.1f} % of the occurrences"
    says("phase-02-embeddings", kept, f"and the code {100 * (math.sqrt(ratio) + ratio):.1f} %")
    says("phase-02-embeddings", f"With $K = 5$ the shift is {math.log(5):.2f}")


def test_phase_02_glove_and_fasttext():
    weight = lambda x: min(1, (x / 100) ** 0.75)  # noqa: E731
    says("phase-02-embeddings", f"counted once weighs {weight(1):.3f}", f"counted ten times {weight(10):.3f}")

    def ngrams(word, low=3, high=6):
        marked = f"<{word}>"
        found = {marked[i : i + n] for n in range(low, high + 1) for i in range(len(marked) - n + 1)}
        return found - {marked}  # the word itself has a vector of its own

    assert ngrams("where", 3, 3) == {"<wh", "whe", "her", "ere", "re>"}
    says("phase-02-embeddings", f"with the default lengths 3 to 6 it has {len(ngrams('where'))} n-grams")
    assert not ngrams("run") & ngrams("ran")


def test_phase_02_fisher_interval():
    z, half = math.atanh(0.6), norm.ppf(0.975) / math.sqrt(353 - 3)
    says("phase-02-embeddings", f"is {math.tanh(z - half):.2f} to {math.tanh(z + half):.2f}")


def test_phase_03_kneser_ney_and_losses():
    says("phase-03-rnns", f"$0.75 \\cdot 4 / 10 = {0.75 * 4 / 10:.2f}$", f"keeps {(5 - 0.75) / 10:.3f} before")
    says("phase-03-rnns", f"perplexity {math.exp(1.5):.2f} and {1.5 / math.log(2):.2f} bits per character")
    says("phase-03-rnns", f"has {3.2 / (4.0 * math.log(2)):.2f} bits per byte")


def test_phase_03_gradients_and_gates():
    says("phase-03-rnns", f"leave {100 * 0.9**50:.1f} % of the signal", f"multiply it by {1.1**50:.0f}")
    says("phase-03-rnns", f"passes {100 * 0.99**50:.1f} % over fifty steps")
    says("phase-03-rnns", f"$\\sigma(1) = {expit(1):.2f}$ instead of $\\sigma(0) = {expit(0):.2f}$")
    one = 128 * (128 + 128 + 1)
    says("phase-03-rnns", f"{one:,}, {3 * one:,} and {4 * one:,}")
