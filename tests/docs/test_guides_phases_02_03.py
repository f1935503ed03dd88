"""The worked numbers of the guides of phases 2 and 3, recomputed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
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


def test_phase_02_hierarchical_softmax():
    counts = [8, 4, 2, 1, 1]
    nodes, questions = sorted(counts), 0
    while len(nodes) > 1:  # Huffman: each merge asks one question of everything below it
        merged = nodes[0] + nodes[1]
        nodes, questions = sorted([*nodes[2:], merged]), questions + merged
    entropy = -sum(n / sum(counts) * math.log2(n / sum(counts)) for n in counts)
    assert questions / sum(counts) == entropy
    says("phase-02-embeddings", f"counts 8, 4, 2, 1 and 1 need {entropy:.3f} questions on average")
    says("phase-02-embeddings", f"With {2**16:,} words a balanced tree asks {math.log2(2**16):.0f} questions")


def test_phase_02_published_vectors():
    says("phase-02-embeddings", f"in float32 take {(2_000_000 + 2_000_000) * 300 * 4 / 1e9:.1f} GB")


def test_phase_02_sentences():
    frequent, rare = (0.001 / (0.001 + p) for p in (0.05, 0.00001))
    says("phase-02-embeddings", f"5 % the weight {frequent:.3f} and one of 0.001 % the weight {rare:.3f}")
    pairs = f"{10_000 * 9_999 // 2:,}".replace(",", "{,}")
    says("phase-02-embeddings", f"$10{{,}}000 \\cdot 9{{,}}999 / 2 = {pairs}$ passes")


def test_phase_02_infonce():
    def loss(right, wrong, temperature, batch=256):
        scores = np.array([right] + [wrong] * (batch - 1)) / temperature
        return np.logaddexp.reduce(scores) - scores[0]

    says("phase-02-embeddings", f"it is $\\ln B$, {loss(0.3, 0.3, 0.05):.3f} for $B = 256$")
    says("phase-02-embeddings", f"leaves a loss of {loss(1, -1, 1):.3f}")
    says("phase-02-embeddings", f"a margin of 0.5 over all others leaves {loss(0.8, 0.3, 0.05):.3f}")


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


def test_phase_03_reference_losses():
    """The derived half of the cited nanoGPT loss: perplexity and bits per character."""
    says("phase-03-rnns", f"validation loss 1.47 (its README) | {math.exp(1.47):.2f} | {1.47 / math.log(2):.2f} per")


def test_phase_03_scan_finds_the_states_of_the_linear_recurrence():
    """The composition rule of section 7, doubled log2 T times, gives what T steps one after another give."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (2, 1024))
    states = [0.0]
    for keep, add in zip(a, b):
        states.append(keep * states[-1] + add)
    rounds, distance = 0, 1
    while distance < len(a):
        b[distance:] = a[distance:] * b[:-distance] + b[distance:]
        a[distance:] = a[distance:] * a[:-distance]
        rounds, distance = rounds + 1, 2 * distance
    np.testing.assert_allclose(b, states[1:], atol=1e-12)
    says("phase-03-rnns", f"{rounds} for 1,024 steps")
