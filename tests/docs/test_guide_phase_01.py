"""The worked numbers of phase 1's guide, recomputed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from labkit.reference import tokenization_from_scratch as tokenization

GUIDE = (Path(__file__).resolve().parents[2] / "phase-01-foundations-text" / "HITCHHIKERS-GUIDE.md").read_text()
SENTENCE = "Hello, world! Don't tokenize naively — GPT-2's regex is smart."
LENGTHS = {"characters": len(SENTENCE), "bytes": len(SENTENCE.encode())}


def said(text: str) -> None:
    assert " ".join(text.split()) in " ".join(GUIDE.split()), f"the guide does not say: {text}"


def test_the_sample_sentence():
    said(f"`{SENTENCE}` It has {LENGTHS['characters']} characters")
    said(f"three bytes in UTF-8, {LENGTHS['bytes']} bytes")
    said(f"Cut at blanks it gives {len(tokenization.whitespace_pieces(SENTENCE))} pieces")
    said(f"by GPT-2's pattern {len(tokenization.gpt2_pattern().findall(SENTENCE))}")


@pytest.mark.realdata
def test_gpt2_makes_twenty_tokens_of_it():
    from labkit.reference.tokenization_from_scratch import tokenizer_report

    tokenizer, why_not = tokenizer_report.gpt2_tokenizer()
    if tokenizer is None:
        pytest.skip(why_not)
    said(f"makes {len(tokenizer.encode(SENTENCE))} tokens of it")


def test_vectors():
    u, v = np.array([3.0, 4.0]), np.array([4.0, 3.0])
    cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
    said(f"dot product {u @ v:.0f}, norms {np.linalg.norm(u):.0f} and {np.linalg.norm(v):.0f}, cosine {cosine:.2f}")
    assert np.sum((u / 5 - v / 5) ** 2) == pytest.approx(2 - 2 * cosine)
    said(f"$2 - 2 \\cdot {cosine:.2f} = {2 - 2 * cosine:.2f}$")
    said(f"$1/\\sqrt{{D}}$, which is {768**-0.5:.3f} at $D = 768$")
    said(f"costs about {4**2} times the attention scores")


def test_weights_of_words():
    said(f"50 occurrences weigh {1 + math.log(50):.2f}, not 50")
    rare, common = (math.log(10_001 / (1 + n)) + 1 for n in (10, 5_000))
    said(f"a word in 10 documents weighs {rare:.2f}, a word in 5,000 documents {common:.2f}")


def test_bm25():
    def part(f, length=1.0, k1=1.2, b=0.75):
        return f * (k1 + 1) / (f + k1 * (1 - b + b * length))

    said(f"one occurrence gives {part(1):.2f}, two {part(2):.2f}, ten {part(10):.2f}")
    said(f"In one of twice that length, one occurrence gives {part(1, 2.0):.2f}")
    assert part(10**9) == pytest.approx(2.2)


def test_the_derivative_and_the_uniform_model():
    x, h = 2.0, 1e-6
    f = lambda x: math.sin(x**3 + 2 * x)  # noqa: E731
    assert (f(x + h) - f(x - h)) / (2 * h) == pytest.approx(14 * math.cos(12), rel=1e-5)
    said(f"14 \\cos 12 = {14 * math.cos(12):.2f}$")
    said(f"$\\ln 256 = {math.log(256):.2f}$ nats, {math.log2(256):.0f} bits, perplexity 256")


def test_strides():
    import torch

    x = torch.arange(12).reshape(3, 4)
    assert x.stride() == (4, 1) and x.T.stride() == (1, 4) and x.T.shape == (4, 3)
    assert x[:, 2:].stride() == (4, 1) and x[:, 2:].storage_offset() == 2
    assert x[:, :1].expand(3, 5).stride() == (4, 0)
    said(f"shape (3, 4) has strides {x.stride()}. Its transpose has shape (4, 3) and strides {x.T.stride()}")
    with pytest.raises(RuntimeError):
        x.T.view(12)
    views = [x.T, x[:, 2:], x[:, :1].expand(3, 5)]
    copies = [x.T.reshape(12), x.T.contiguous(), x[x > 3], x[[0, 1]]]
    storage = x.untyped_storage().data_ptr()
    assert all(y.untyped_storage().data_ptr() == storage for y in views)
    assert all(y.untyped_storage().data_ptr() != storage for y in copies)


def test_singular_values():
    a = np.array([[3.0, 0.0], [4.0, 5.0]])
    u, s, vt = np.linalg.svd(a)
    low, high = sorted(np.linalg.eigvals(a))
    said(f"the eigenvalues are {low:.0f} and {high:.0f}, the singular values {s[0]:.2f} and {s[1]:.2f}")
    np.testing.assert_allclose(np.linalg.eigvalsh(a.T @ a)[::-1], s**2)
    best = s[0] * np.outer(u[:, 0], vt[0])
    assert np.sum((a - best) ** 2) == pytest.approx(s[1] ** 2)
    said(f"keeps {100 * np.sum(best**2) / np.sum(a**2):.0f} % of the sum of squares")


def test_state_of_a_module():
    from torch import nn

    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    parameters, state = list(module.parameters()), list(module.state_dict())
    said(f"has {len(parameters)} parameters with {sum(p.numel() for p in parameters)} numbers in all")
    said(f"{len(state)} entries in its state, `{state[0]}` to `{state[-1]}`")
    assert module.to("cpu") is module


def test_probability():
    found, wrong = 0.01 * 0.9, 0.99 * 0.05
    said(f"${found:.3f} / ({found:.3f} + {wrong:.4f}) = {found / (found + wrong):.3f}$")


def test_entropies():
    p, q = np.array([0.5, 0.25, 0.25]), np.array([0.8, 0.1, 0.1])
    own, cross = -p @ np.log(p), -p @ np.log(q)
    there, back = p @ np.log(p / q), q @ np.log(q / p)
    assert cross - own == pytest.approx(there)
    said(f"| {own:.3f} | {cross:.3f} | {there:.3f} | {back:.3f} |")
    said(f"here {math.exp(own):.2f} for who knows $p$ and {math.exp(cross):.2f} for who believes $q$")
    said(f"$e^{{{there:.3f}}} = {math.exp(there):.2f}$")


def test_gradients_of_two_losses():
    import torch

    gradients = []
    for loss in (lambda q: -q.log(), lambda q: (1 - q) ** 2):
        logits = torch.tensor([math.log(0.01), math.log(0.99)], dtype=torch.float64, requires_grad=True)
        loss(logits.softmax(0)[0]).backward()
        gradients.append(logits.grad[0].item())
    said(f"its logit gets ${gradients[0]:.2f}$; squared error of that probability would give ${gradients[1]:.2f}$")
