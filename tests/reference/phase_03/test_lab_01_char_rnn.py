"""The reference of lab 3.1 against nn.RNN, autograd, transformers, nltk and slow definitions, and by properties."""

from __future__ import annotations

import json
import math
import os
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from labkit import data
from labkit.catalogue import find
from labkit.reference import char_rnn as lab

HYPOTHESIS = settings(deadline=None, derandomize=True, max_examples=60)
small = st.integers(1, 5)


def realdata(test):
    """Marks a test that needs the mirror and skips it where there is none."""
    return pytest.mark.realdata(
        pytest.mark.skipif("LABKIT_MIRROR" not in os.environ, reason="needs the data sets of LABKIT_MIRROR")(test)
    )


# ---------------------------------------------------------------- corpus, streams, compression


def test_corpus_encodes_and_decodes():
    corpus = lab.CharCorpus("to be, or not to be → that", held_out=0.25)
    assert corpus.train_text + corpus.held_out_text == "to be, or not to be → that"
    assert corpus.characters == sorted(set("to be, or not to be → that"))
    ids = corpus.encode("not →")
    assert ids.dtype == torch.int64
    assert corpus.decode(ids) == "not →"
    with pytest.raises(ValueError, match="'z'"):
        corpus.encode("zebra")


@HYPOTHESIS
@given(st.integers(1, 7), st.integers(1, 40), st.integers(0, 6), st.integers(1, 9))
def test_streams_and_chunks_predict_every_id_once(batch, width, rest, steps):
    """Rows continue one another; chunk by chunk every id after the first is a target once, after the ids before it."""
    length = batch * width + 1 + rest % batch
    rows = lab.streams(torch.arange(length), batch)
    assert rows.shape == (batch, width + 1)
    pieces = list(lab.chunks(rows, steps))
    inputs, targets = (torch.cat(parts, dim=1) for parts in zip(*pieces))
    assert targets.flatten().tolist() == list(range(1, batch * width + 1))
    assert torch.equal(inputs + 1, targets)
    assert all(piece.size(1) == steps for piece, _ in pieces[:-1])
    assert 1 <= pieces[-1][0].size(1) <= steps


def test_compression_of_worked_examples():
    found = lab.compression(2.3 * 10, 10, "x" * 10)
    assert (found.perplexity, found.bits_per_character) == (
        pytest.approx(9.97, abs=0.005),
        pytest.approx(3.32, abs=0.005),
    )
    for total, tokens, text in ((12.0, 5, "größer 語"), (0.7, 2, "ab")):
        found = lab.compression(total, tokens, text)
        assert found.bits_per_byte * len(text.encode()) == pytest.approx(total * math.log2(math.e))
        assert found.bits_per_character * len(text) == pytest.approx(total * math.log2(math.e))


# ---------------------------------------------------------------- the network against nn.RNN


def as_torch_rnn(model: lab.CharRNN) -> nn.RNN:
    """nn.RNN with the same weights."""
    layers, hidden = len(model.cells), model.hidden
    twin = nn.RNN(model.embedding.embedding_dim, hidden, layers, batch_first=True).to(model.head.weight)
    with torch.no_grad():
        for n, cell in enumerate(model.cells):
            getattr(twin, f"weight_ih_l{n}").copy_(cell.w_xh.weight)
            getattr(twin, f"weight_hh_l{n}").copy_(cell.w_hh.weight)
            getattr(twin, f"bias_ih_l{n}").zero_()
            getattr(twin, f"bias_hh_l{n}").copy_(cell.w_hh.bias)
    return twin


@HYPOTHESIS
@given(small, st.integers(1, 12), st.integers(1, 3), small, st.integers(1, 9), st.booleans())
def test_network_is_nn_rnn(batch, length, layers, d_model, hidden, carried):
    torch.manual_seed(batch * 1000 + length)
    model = lab.CharRNN(7, d_model, hidden, layers)
    twin, ids = as_torch_rnn(model), torch.randint(7, (batch, length))
    state = torch.rand(layers, batch, hidden) if carried else None
    logits, last = model(ids, state)
    outputs, expected_last = twin(model.embedding(ids), state)
    torch.testing.assert_close(logits, model.head(outputs), atol=1e-6, rtol=0)
    torch.testing.assert_close(last, expected_last, atol=1e-6, rtol=0)


def test_gradients_are_those_of_nn_rnn():
    torch.manual_seed(0)
    model = lab.CharRNN(9, 5, 8, layers=2).double()
    twin, ids = as_torch_rnn(model), torch.randint(9, (3, 20))
    F.cross_entropy(model(ids[:, :-1])[0].flatten(0, 1), ids[:, 1:].flatten()).backward()
    outputs, _ = twin(model.embedding(ids[:, :-1]).detach())
    logits = outputs @ model.head.weight.detach().T + model.head.bias.detach()
    F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    for n, cell in enumerate(model.cells):
        for ours, theirs in ((cell.w_xh.weight, f"weight_ih_l{n}"), (cell.w_hh.weight, f"weight_hh_l{n}")):
            torch.testing.assert_close(ours.grad, getattr(twin, theirs).grad, atol=1e-12, rtol=0)
        torch.testing.assert_close(cell.w_hh.bias.grad, getattr(twin, f"bias_hh_l{n}").grad, atol=1e-12, rtol=0)


@HYPOTHESIS
@given(st.integers(1, 9), small, small, st.integers(0, 10_000))
def test_bptt_is_autograd(steps, width, hidden, seed):
    torch.manual_seed(seed)
    twin = nn.RNN(width, hidden).double()
    x = torch.randn(steps, width, dtype=torch.float64)
    h0 = torch.randn(1, hidden, dtype=torch.float64).tanh().requires_grad_()
    grad_h = torch.randn(steps, hidden, dtype=torch.float64)
    outputs, _ = twin(x, h0)
    outputs.backward(grad_h)
    states = torch.cat([h0, outputs]).detach()
    found = lab.bptt(x, states, twin.weight_ih_l0.detach(), twin.weight_hh_l0.detach(), grad_h)
    expected = twin.weight_ih_l0.grad, twin.weight_hh_l0.grad, twin.bias_hh_l0.grad, h0.grad[0]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-9)


# ---------------------------------------------------------------- training


def test_truncated_bptt_is_a_loop_over_nn_rnn():
    """The same chunks through nn.RNN, its state detached by hand, the gradient scaled by hand."""
    torch.manual_seed(1)
    model = lab.CharRNN(6, 4, 5).double()
    twin, rows = as_torch_rnn(model), torch.randint(6, (3, 22))
    embedding, head = nn.Embedding(6, 4).double(), nn.Linear(5, 6).double()
    embedding.load_state_dict(model.embedding.state_dict())
    head.load_state_dict(model.head.state_dict())
    twin.bias_ih_l0.requires_grad_(False)  # the lab's cell has one bias
    weights = [p for m in (embedding, twin, head) for p in m.parameters() if p.requires_grad]
    expected, state = [], None
    for start in range(0, 21, 8):
        inputs, targets = rows[:, start : start + 8], rows[:, start + 1 : start + 9]
        outputs, state = twin(embedding(inputs[:, : targets.size(1)]), state)
        loss = -head(outputs).log_softmax(-1).gather(-1, targets[..., None]).mean()
        gradients = torch.autograd.grad(loss, weights)
        norm = math.sqrt(sum(g.square().sum().item() for g in gradients))
        with torch.no_grad():
            for p, g in zip(weights, gradients):
                p -= 0.7 * min(1, 0.3 / norm) * g
        state = state.detach()
        expected.append(loss.item())
    losses = list(lab.truncated_bptt(model, rows, 8, torch.optim.SGD(model.parameters(), 0.7), 0.3))
    assert losses == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(model.cells[0].w_hh.weight, twin.weight_hh_l0, rtol=1e-5, atol=1e-7)


def test_token_nats_do_not_depend_on_chunks(monkeypatch):
    torch.manual_seed(2)
    model, rows = lab.CharRNN(6, 4, 5), torch.randint(6, (2, 700))
    with torch.no_grad():
        log_p = model(rows[:, :-1])[0].log_softmax(-1)
    expected = -log_p.gather(-1, rows[:, 1:, None])[..., 0]
    torch.testing.assert_close(lab.token_nats(model, rows), expected, atol=1e-5, rtol=0)


def test_smoothed_loss_falls_on_the_bundled_text():
    """Chunk losses jump about; their means over thirds of the training fall, and end below the unigram floor."""
    corpus = lab.CharCorpus(data.load("python-docs").text[:20_000])
    ids = corpus.encode(corpus.train_text)
    torch.manual_seed(0)
    model = lab.CharRNN(corpus.vocab_size, 32, 64)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=5e-3), []
    for _ in range(2):
        losses += lab.truncated_bptt(model, lab.streams(ids, 16), 32, optimizer, 1.0)
    first, second, third = (np.mean(part) for part in np.array_split(losses, 3))
    assert first > second > third
    unigram = lab.kneser_ney(ids.numpy(), ids.numpy()[:, None], corpus.vocab_size)
    assert third < -np.log(unigram).mean()
    assert (np.diff(losses) > 0).any()


# ---------------------------------------------------------------- sampling


def brute_force_distribution(logits, temperature, top_k, top_p):
    """One row by the definition: try every size of the kept set."""
    weights = np.exp((logits - logits.max()) / temperature)
    order = np.argsort(-weights)[: top_k or len(weights)]
    weights = weights[order] / weights[order].sum()
    size = next(n for n in range(1, len(order) + 1) if n == len(order) or weights[:n].sum() >= top_p)
    out = np.zeros(len(logits))
    out[order[:size]] = weights[:size] / weights[:size].sum()
    return out


@HYPOTHESIS
@given(
    st.integers(0, 10_000), st.sampled_from([0.3, 0.8, 1.0, 2.5]), st.sampled_from([None, 1, 2, 5, 12, 99]),
    st.sampled_from([0.01, 0.5, 0.9, 0.999, 1.0]),
)  # fmt: skip
def test_distribution_is_its_definition(seed, temperature, top_k, top_p):
    logits = np.random.default_rng(seed).standard_normal((3, 12)) * 2
    found = lab.next_token_distribution(torch.from_numpy(logits), temperature, top_k, top_p).numpy()
    expected = np.stack([brute_force_distribution(row, temperature, top_k, top_p) for row in logits])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)


def test_distribution_is_that_of_transformers():
    warpers = pytest.importorskip("transformers.generation.logits_process")
    torch.manual_seed(3)
    logits = 2 * torch.randn(50, 40)
    for temperature, top_k, top_p in ((0.7, 10, 0.9), (1.3, 40, 0.6), (1.0, 3, 0.99), (0.5, 25, 0.3)):
        scores = logits
        for warper in (
            warpers.TemperatureLogitsWarper(temperature),
            warpers.TopKLogitsWarper(top_k),
            warpers.TopPLogitsWarper(top_p),
        ):
            scores = warper(None, scores)
        found = lab.next_token_distribution(logits, temperature, top_k, top_p)
        torch.testing.assert_close(found, scores.softmax(-1), atol=1e-6, rtol=0)


def test_samples_follow_the_distribution():
    """20,000 draws: each frequency within five standard errors of its probability (false alarms below 1e-5)."""
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, 0.5]])
    how = {"temperature": 0.8, "top_k": 4, "top_p": 0.95}
    p = lab.next_token_distribution(logits, **how)[0]
    drawn = lab.sample(logits.expand(20_000, -1), **how, generator=torch.Generator().manual_seed(0))
    frequency = torch.bincount(drawn, minlength=5) / 20_000
    assert ((frequency - p).abs() <= 5 * (p * (1 - p) / 20_000).sqrt()).all()


@pytest.mark.parametrize("bad", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_bad_ways_to_sample_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad)) + "="):
        lab.next_token_distribution(torch.zeros(1, 3), **bad)


def test_greedy_generation_is_the_slow_way():
    """Reading each token once gives what reading the whole text anew for every token gives."""
    torch.manual_seed(4)
    model, prompt = lab.CharRNN(11, 6, 9, 2), torch.randint(11, (3, 4))
    made = lab.generate(model, prompt, 15, lambda logits: lab.sample(logits, temperature=0))
    slow = prompt
    for _ in range(15):
        slow = torch.cat([slow, model(slow)[0][:, -1].argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(made, slow)
    assert lab.generate(model, prompt, 5).shape == (3, 9)
    with pytest.raises(ValueError, match="prompt"):
        lab.generate(model, prompt[:, :0], 3)


# ---------------------------------------------------------------- n-grams


texts = st.integers(1, 5).flatmap(
    lambda v: st.tuples(st.just(v), st.lists(st.integers(0, v - 1), min_size=6, max_size=60))
)


@HYPOTHESIS
@given(texts, st.integers(1, 4))
def test_counts_are_a_counters(text, n):
    _, ids = text
    table = lab.count_rows(lab.ngrams(np.array(ids), n))
    expected = Counter(zip(*(ids[i:] for i in range(n))))
    assert [tuple(row) for row in table.rows.tolist()] == sorted(expected)
    assert table.counts.tolist() == [expected[gram] for gram in sorted(expected)]
    grams = np.array([list(g) for g in expected] + [[9] * n])
    count, total, kinds = lab.lookup(table, grams)
    for gram, c, t, k in zip(grams.tolist(), count, total, kinds):
        same = {g: m for g, m in expected.items() if list(g[:-1]) == gram[:-1]}
        assert (c, t, k) == (expected[tuple(gram)], sum(same.values()), len(same))


def slow_kneser_ney(ids: list[int], gram: tuple[int, ...], order: int, vocab_size: int, d: float) -> float:
    """The textbook recursion on one n-gram, with sets instead of tables (Jurafsky and Martin, 3rd ed., section 3)."""
    if not gram:
        return 1 / vocab_size
    m = len(gram)
    context, lower = gram[:-1], slow_kneser_ney(ids, gram[1:], order, vocab_size, d)
    windows = [tuple(ids[i : i + m]) for i in range(len(ids) - m + 1)]
    if m == order:
        c = Counter(windows)
    else:
        in_front = defaultdict(set)
        for i in range(len(ids) - m):
            in_front[tuple(ids[i + 1 : i + 1 + m])].add(ids[i])
        c = {g: len(s) for g, s in in_front.items()}
    after = {g[-1]: k for g, k in c.items() if g[:-1] == context}
    if not after:
        return lower
    total = sum(after.values())
    return max(after.get(gram[-1], 0) - d, 0) / total + d * len(after) / total * lower


@HYPOTHESIS
@given(texts, st.integers(1, 4), st.sampled_from([0.1, 0.75, 1.0]), st.integers(0, 1000))
def test_kneser_ney_is_its_definition(text, n, discount, seed):
    vocab_size, ids = text
    grams = np.random.default_rng(seed).integers(vocab_size + 1, size=(8, n))
    found = lab.kneser_ney(np.array(ids), grams, vocab_size + 1, discount)
    expected = [slow_kneser_ney(ids, tuple(g), n, vocab_size + 1, discount) for g in grams.tolist()]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@HYPOTHESIS
@given(texts, st.integers(1, 4), st.integers(0, 1000))
def test_every_floor_sums_to_one(text, n, seed):
    vocab_size, ids = text
    context = np.random.default_rng(seed).integers(vocab_size + 1, size=n - 1)
    grams = np.array([[*context, w] for w in range(vocab_size + 1)])
    for p in (
        lab.kneser_ney(np.array(ids), grams, vocab_size + 1),
        lab.add_k(np.array(ids), grams, vocab_size + 1, 0.3),
    ):
        assert p.sum() == pytest.approx(1, abs=1e-12)
        assert (p > 0).all()


def test_kneser_ney_is_nltks():
    """nltk ends its recursion at the unigrams; ours, and the textbook's, go on to 1/V: give nltk that last step."""
    models = pytest.importorskip("nltk.lm.models")
    from nltk.lm.smoothing import KneserNey
    from nltk.util import everygrams

    order, d, vocab_size = 3, 0.6, 5
    ids = np.random.default_rng(0).integers(4, size=150).tolist()
    ids += ids[:order]  # the first n-grams come again, with something in front of them

    class ToTheUniform(KneserNey):
        def unigram_score(self, word):
            count, total = self._continuation_counts(word)
            kinds = sum(1 for w in range(vocab_size) if self._continuation_counts(str(w))[0] > 0)
            return (max(count - d, 0) + d * kinds / vocab_size) / total

    oracle = models.InterpolatedLanguageModel(ToTheUniform, order, params={"discount": d, "order": order})
    words = [str(i) for i in ids]
    oracle.fit([everygrams(words, max_len=order)], vocabulary_text=[str(w) for w in range(vocab_size)])
    grams = np.random.default_rng(1).integers(5, size=(60, order))
    expected = [oracle.unmasked_score(str(w), tuple(map(str, h))) for *h, w in grams.tolist()]
    np.testing.assert_allclose(lab.kneser_ney(np.array(ids), grams, vocab_size, d), expected, atol=1e-12)


def test_add_k_by_hand():
    """abab then a: after a came b twice and nothing else."""
    train = np.array([0, 1, 0, 1, 0])
    grams = np.array([[0, 1], [0, 0], [1, 0], [2, 0]])
    np.testing.assert_allclose(lab.add_k(train, grams, 3, 1.0), [3 / 5, 1 / 5, 3 / 5, 1 / 3])
    np.testing.assert_allclose(lab.add_k(train, grams, 3, 0.5), [2.5 / 3.5, 0.5 / 3.5, 2.5 / 3.5, 1 / 3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lab.ngrams(np.arange(3), 4), "n: expected 1 to 3"),
        (lambda: lab.pack(np.zeros((1, 8), dtype=np.int64), 2**8), "smaller n"),
        (lambda: lab.kneser_ney(np.arange(3), np.zeros((1, 2), dtype=np.int64), 3, 0.0), "discount"),
        (lambda: lab.streams(torch.arange(3), 3), "more than 3"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------- the command line and what was measured


def test_smoke_run(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(find("3.1").path)
    lab.main(["--preset", "smoke", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "held-out perplexity per character" in printed
    assert "temperature 1.2" in printed
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert results["agreement"]["bptt"] < 1e-10
    assert results["agreement"]["nn_rnn"] < 1e-6
    assert results["rnn"]["nats"] < results["rnn"]["untrained_nats"]
    assert {path.name for path in tmp_path.glob("*.png")} == {"learning.png", "memory.png"}


def test_gradient_by_distance_is_a_product_of_jacobians(monkeypatch):
    """|∂loss/∂h_(T-k)| by retained gradients equals the product of diag(1 - h²) W_hh, transposed, by hand."""
    from labkit.reference.char_rnn import char_rnn_report

    torch.manual_seed(5)
    model, ids = lab.CharRNN(6, 4, 5).double(), torch.randint(6, (1, 9))
    states, state = [], None
    for t in range(8):
        logits, state = model(ids[:, t : t + 1], state)
        states.append(state[0, 0].detach())
    w_hh, head = model.cells[0].w_hh.weight.detach(), model.head.weight.detach()
    back = head.T @ (logits[0, 0].softmax(-1) - F.one_hot(ids[0, 8], 6)).detach()
    norms = []
    for h in reversed(states[1:]):
        back = w_hh.T @ (back * (1 - h**2))
        norms.append(back.norm().item())
    found = char_rnn_report.gradient_by_distance(model, ids)
    np.testing.assert_allclose(found, np.array(norms) / norms[0], rtol=1e-9)


@realdata
def test_floor_on_tiny_shakespeare_is_as_recorded():
    """Recomputes one line of the README's table of n-gram models from the text."""
    text = data.load("tinyshakespeare").text
    recorded = json.loads((find("3.1").path / "figures" / "results.json").read_text())["results"]
    corpus = lab.CharCorpus(text)
    train, size = corpus.encode(corpus.train_text).numpy(), recorded["corpus"]["held_out"]
    held_out = corpus.encode(corpus.held_out_text).numpy()[:size]
    grams = lab.ngrams(np.concatenate([train[-2:], held_out]), 3)
    assert len(grams) == size
    nats = -np.log(lab.kneser_ney(train, grams, corpus.vocab_size)).sum()
    found = lab.compression(nats, size, corpus.held_out_text[:size])._asdict()
    assert found == pytest.approx(recorded["floor"]["3"]["kneser_ney"], rel=1e-5)


def test_recorded_rnn_beats_the_floor():
    """What the README claims of the figures that were made: below every n-gram model."""
    recorded = json.loads((find("3.1").path / "figures" / "results.json").read_text())["results"]
    floors = [row["kneser_ney"]["perplexity"] for row in recorded["floor"].values()]
    assert recorded["rnn"]["perplexity"] < min(floors)
    assert recorded["rnn"]["held_out_by_epoch"] == sorted(recorded["rnn"]["held_out_by_epoch"], reverse=True)


def test_cost_of_the_full_preset():
    """The README says four times the arithmetic of the CPU preset: multiplications per character, times epochs."""

    def cost(preset, vocab_size=65, d_model=64):
        hidden = preset["hidden"]
        return preset["epochs"] * hidden * (d_model + hidden + vocab_size)

    assert lab.PRESETS["full"]["layers"] == lab.PRESETS["cpu"]["layers"] == 1
    assert cost(lab.PRESETS["full"]) / cost(lab.PRESETS["cpu"]) == pytest.approx(4, abs=0.5)
