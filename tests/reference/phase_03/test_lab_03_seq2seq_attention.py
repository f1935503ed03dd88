"""The reference of lab 3.3 against torch's attention, unpadded GRUs, slow definitions and exhaustive search."""

from __future__ import annotations

import datetime
import itertools
import json
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from labkit.catalogue import find
from labkit.reference import seq2seq_attention as lab
from labkit.reference.seq2seq_attention import seq2seq_tasks as tasks

HYPOTHESIS = settings(deadline=None, derandomize=True, max_examples=40)
KINDS = st.sampled_from([None, "bahdanau", "luong"])
small = st.integers(1, 5)
lengths_of = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def random_batch(lengths, size=9, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(lengths))
    return lab.pad([torch.randint(3, size, (n,), generator=generator) for n in lengths])


def model_of(attention, seed=0, d_model=4, hidden=5):
    torch.manual_seed(seed)
    return lab.Seq2Seq(9, 8, d_model, hidden, attention).double()


# ---------------------------------------------------------------- vocabulary, padding, loss


def test_vocabulary_goes_there_and_back():
    vocabulary = tasks.Vocabulary("hello world")
    ids = vocabulary.encode("low", end=True)
    assert ids[-1] == tasks.EOS == lab.EOS and ids.min() >= lab.EOS and ids.max() < vocabulary.size
    assert vocabulary.decode(ids.tolist() + [lab.PAD, 5]) == "low"
    assert vocabulary.decode([lab.BOS, *vocabulary.encode("he").tolist()]) == "·he"
    with pytest.raises(ValueError, match="'z'"):
        vocabulary.encode("zoo")


@HYPOTHESIS
@given(lengths_of)
def test_pad_keeps_every_symbol_in_its_place(lengths):
    rows = [torch.arange(3, 3 + n) + 10 * i for i, n in enumerate(lengths)]
    ids, mask = lab.pad(rows)
    assert ids.shape == mask.shape == (len(lengths), max(lengths))
    assert mask.sum(1).tolist() == lengths
    for row, real, given_row in zip(ids, mask, rows):
        assert torch.equal(row[real], given_row)
        assert (row[~real] == lab.PAD).all() and real[: len(given_row)].all()


@HYPOTHESIS
@given(lengths_of, st.integers(0, 1000))
def test_loss_symbol_by_symbol(lengths, seed):
    target, _ = random_batch(lengths)
    logits = torch.randn(*target.shape, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    nats = [
        -math.log(math.exp(logits[b, t, target[b, t]]) / sum(math.exp(x) for x in logits[b, t].tolist()))
        for b, n in enumerate(lengths)
        for t in range(n)
    ]
    assert lab.sequence_loss(logits, target).item() == pytest.approx(sum(nats) / len(nats), rel=1e-9)


# ---------------------------------------------------------------- attention


@HYPOTHESIS
@given(lengths_of, small, small, st.integers(0, 1000))
def test_multiplicative_attention_is_torchs(lengths, hidden, width, seed):
    torch.manual_seed(seed)
    _, mask = random_batch(lengths)
    attention = lab.Attention("multiplicative", width, hidden).double()
    query, values = torch.randn(len(lengths), hidden).double(), torch.randn(*mask.shape, width).double()
    keys = attention.w_k(values)
    context, weights = lab.attend(attention.scores(query, keys), mask, values)
    expected = F.scaled_dot_product_attention(query[:, None], keys, values, mask[:, None], scale=1.0)[:, 0]
    torch.testing.assert_close(context, expected, atol=1e-12, rtol=0)
    assert (weights[~mask] == 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(len(lengths)).double(), atol=1e-12, rtol=0)


@HYPOTHESIS
@given(small, small, small, st.integers(0, 1000))
def test_additive_scores_number_by_number(batch, places, hidden, seed):
    torch.manual_seed(seed)
    attention = lab.Attention("additive", 3, hidden).double()
    query, h = torch.randn(batch, hidden).double(), torch.randn(batch, places, 3).double()
    found = attention.scores(query, attention.w_k(h))
    w_q, b, w_k, v = (x.tolist() for x in (attention.w_q.weight, attention.w_q.bias, attention.w_k.weight, attention.v))
    for row, place in itertools.product(range(batch), range(places)):
        total = 0.0
        for f in range(hidden):
            inner = b[f] + sum(w * x for w, x in zip(w_q[f], query[row].tolist()))
            total += v[f] * math.tanh(inner + sum(w * x for w, x in zip(w_k[f], h[row, place].tolist())))
        assert found[row, place].item() == pytest.approx(total, abs=1e-12)


# ---------------------------------------------------------------- the model


@HYPOTHESIS
@given(lengths_of, st.integers(0, 4), st.integers(0, 1000))
def test_padding_changes_nothing(lengths, more, seed):
    """A source in a batch, however wide the padding, is read as an unpadded GRU reads it alone."""
    model = model_of("bahdanau", seed)
    source, mask = random_batch(lengths)
    source, mask = F.pad(source, (0, more)), F.pad(mask, (0, more))
    states, summary = model.read(source, mask)
    assert states.shape == (len(lengths), max(lengths) + more, 10)
    for row, n in enumerate(lengths):
        outputs, last = model.encoder(model.source_embedding(source[row : row + 1, :n]))
        torch.testing.assert_close(states[row, :n], outputs[0], atol=1e-12, rtol=0)
        torch.testing.assert_close(summary[row], last[:, 0].flatten(), atol=1e-12, rtol=0)
        assert (states[row, n:] == 0).all()


def gru_by_hand(cell, x, h):
    """The equations of nn.GRUCell, gate by gate."""
    w_r, w_z, w_n = (cell.weight_ih @ x + cell.bias_ih).chunk(3)
    u_r, u_z, u_n = (cell.weight_hh @ h + cell.bias_hh).chunk(3)
    r, z = (w_r + u_r).sigmoid(), (w_z + u_z).sigmoid()
    return (1 - z) * (w_n + r * u_n).tanh() + z * h


@pytest.mark.parametrize("attention", [None, "bahdanau", "luong"])
def test_step_from_its_equations(attention):
    model = model_of(attention, seed=3)
    memory, state = model.encode(*random_batch([4]))
    h, q = memory.states[0], state[0]
    y = model.target_embedding.weight[5]
    context = memory.summary[0]
    if attention == "bahdanau":
        part = model.attention
        e = torch.stack([part.v @ torch.tanh(part.w_q.weight @ q + part.w_q.bias + part.w_k.weight @ x) for x in h])
        context = e.softmax(0) @ h
    new = gru_by_hand(model.cell, y if attention == "luong" else torch.cat([y, context]), q)
    if attention == "luong":
        context = torch.stack([new @ model.attention.w_k.weight @ x for x in h]).softmax(0) @ h
    logits = model.head(torch.tanh(model.combine(torch.cat([new, context]))))
    found, found_state, _ = model.step(torch.tensor([5]), state, memory)
    torch.testing.assert_close(found[0], logits, atol=1e-12, rtol=0)
    torch.testing.assert_close(found_state[0], new, atol=1e-12, rtol=0)


@HYPOTHESIS
@given(KINDS, lengths_of, st.integers(0, 1000))
def test_no_step_sees_its_answer(attention, lengths, seed):
    """Changing the target from some place on changes no logits up to that place, and does change later ones."""
    model = model_of(attention, seed)
    source, mask = random_batch(lengths)
    target = torch.randint(3, 8, (len(lengths), 6))
    place = seed % 5
    changed = target.clone()
    changed[:, place] = (changed[:, place] - 2) % 5 + 3
    before, after = (model(source, mask, t)[0] for t in (target, changed))
    assert torch.equal(before[:, : place + 1], after[:, : place + 1])
    assert not torch.equal(before[:, place + 1], after[:, place + 1])


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match=r"attention: expected .* got 'dot'"):
        lab.Seq2Seq(5, 5, 2, 2, "dot")
    with pytest.raises(ValueError, match=r"kind: expected .* got 'cosine'"):
        lab.Attention("cosine", 2, 2)


# ---------------------------------------------------------------- search


def log_p(model, memory, state, answer):
    """ln p of one answer, symbol by symbol."""
    token, total = lab.BOS, 0.0
    for symbol in answer:
        logits, state, _ = model.step(torch.tensor([token]), state, memory)
        total += logits[0].log_softmax(0)[symbol].item()
        token = symbol
    return total


@HYPOTHESIS
@given(KINDS, lengths_of, st.integers(0, 1000))
def test_greedy_row_by_row_and_as_a_beam_of_one(attention, lengths, seed):
    model = model_of(attention, seed)
    with torch.no_grad():
        model.head.bias[lab.EOS] += 0.4
        source, mask = random_batch(lengths)
        memory, state = model.encode(source, mask)
        together = lab.greedy(model.stepper(memory), state, 7)
        widths = []
        for row, n in enumerate(lengths):
            memory, state = model.encode(source[row : row + 1, :n], mask[row : row + 1, :n])
            alone = lab.greedy(model.stepper(memory), state, 7)[0].tolist()
            assert together[row].tolist() == alone + [lab.PAD] * (together.size(1) - len(alone))
            beam = lab.beam_search(model.stepper(memory), state, 1, 7)
            assert [hypothesis.tokens for hypothesis in beam] == [alone]
            widths.append(len(alone))
        assert together.size(1) == max(widths)


@pytest.mark.parametrize(("attention", "alpha"), [(None, 0.0), ("bahdanau", 1.0), ("luong", 0.6)])
def test_wide_beam_is_exhaustive_search(attention, alpha):
    """A beam with room for everything returns every answer, in order of score."""
    torch.manual_seed(1)
    model = lab.Seq2Seq(9, 5, 4, 5, attention).double()
    longest = 3
    with torch.no_grad():
        memory, state = model.encode(*random_batch([4]))
        every = [a for n in range(1, longest + 1) for a in itertools.product(range(5), repeat=n)]
        every = [a for a in every if lab.EOS not in a[:-1] and (a[-1] == lab.EOS or len(a) == longest)]
        scored = {a: log_p(model, memory, state, a) for a in every}
        assert sum(math.exp(x) for x in scored.values()) == pytest.approx(1)
        found = lab.beam_search(model.stepper(memory), state, 5**longest, longest, alpha)
    expected = sorted(every, key=lambda a: scored[a] / len(a) ** alpha, reverse=True)
    assert [tuple(hypothesis.tokens) for hypothesis in found] == expected
    for tokens, total, score in found:
        assert total == pytest.approx(scored[tuple(tokens)], abs=1e-10)
        assert score == pytest.approx(scored[tuple(tokens)] / len(tokens) ** alpha, abs=1e-10)


@HYPOTHESIS
@given(KINDS, st.integers(1, 6), st.integers(1, 7), st.floats(0, 1.5), st.integers(0, 1000))
def test_what_a_beam_returns(attention, width, longest, alpha, seed):
    """Finished answers only, at most `width`, all different, best first, with the log p that the model gives them."""
    model = model_of(attention, seed)
    with torch.no_grad():
        memory, state = model.encode(*random_batch([5], seed=seed))
        found = lab.beam_search(model.stepper(memory), state, width, longest, alpha)
        assert 1 <= len(found) <= width
        assert len({tuple(hypothesis.tokens) for hypothesis in found}) == len(found)
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        for tokens, total, score in found:
            assert lab.EOS not in tokens[:-1] and (tokens[-1] == lab.EOS or len(tokens) == longest)
            assert total == pytest.approx(log_p(model, memory, state, tokens), abs=1e-10)
            assert score == pytest.approx(total / len(tokens) ** alpha)


def test_worked_example_of_a_beam():
    """The README's table of three rounds. The state holds the last two symbols, the older one first."""
    end, a, b = lab.EOS, 3, 4
    after = {
        (0, lab.BOS): {a: 0.5, b: 0.4, end: 0.1},
        (lab.BOS, a): {a: 0.4, b: 0.3, end: 0.3},
        (lab.BOS, b): {a: 0.05, b: 0.05, end: 0.9},
        (a, a): {a: 0.15, b: 0.05, end: 0.8},
    }

    def step(token, state):
        state = torch.stack([state[:, 1], token.double()], dim=1)
        rows = [after[tuple(row)] for row in state.int().tolist()]
        return torch.tensor([[row.get(symbol, 0.0) for symbol in range(5)] for row in rows]).log(), state

    def said(width):
        found = lab.beam_search(step, torch.zeros(1, 2).double(), width, 3)
        return [(hypothesis.tokens, round(hypothesis.score, 3)) for hypothesis in found]

    assert said(2) == [([b, end], -0.511), ([a, a, end], -0.611)]
    assert said(1) == [([a, a, end], -0.611)]


def test_beam_search_names_bad_arguments():
    for width, longest, alpha in ((0, 3, 1.0), (2, 0, 1.0), (2, 3, -1.0)):
        with pytest.raises(ValueError, match="expected width >= 1, max_length >= 1, alpha >= 0"):
            lab.beam_search(lambda token, state: (state, state), torch.zeros(1, 4), width, longest, alpha)


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("attention", [None, "bahdanau", "luong"])
def test_a_few_steps_of_training_lower_the_loss(attention):
    torch.manual_seed(0)
    rng, task = np.random.default_rng(0), tasks.Reversal()
    vocabulary = tasks.Vocabulary(task.source_characters)
    model = lab.Seq2Seq(vocabulary.size, vocabulary.size, 16, 24, attention)
    losses = []
    for _ in range(30):
        pairs = task.pairs(rng, 32, length=3)
        source, mask = lab.pad([vocabulary.encode(a) for a, _ in pairs])
        target, _ = lab.pad([vocabulary.encode(b, end=True) for _, b in pairs])
        losses.append(lab.sequence_loss(model(source, mask, target)[0], target))
        gradients = torch.autograd.grad(losses[-1], list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients):
                parameter -= 1.0 * gradient
    assert losses[0].item() == pytest.approx(math.log(vocabulary.size), abs=0.3)
    assert losses[-1] < 0.85 * losses[0]


# ---------------------------------------------------------------- the tasks


def read_date(text: str) -> datetime.date:
    """What a careful reader makes of it, from the text alone, by the conventions that `bodies` states."""
    months = [m[:3].lower() for m in tasks.MONTHS]
    text = re.sub("|".join(f"{lead.strip()} " for lead in tasks.LEADS if lead), "", text, count=1)
    text = re.sub(f"^({'|'.join(day[:3] for day in tasks.WEEKDAYS)})[a-z]*,? ", "", text)
    word = re.search(r"(?i)(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*", text)
    short = re.search(r"'(\d\d)(?!\d)", text)
    year = int(re.search(r"\d{4}", text)[0]) if not short else int(short[1]) + (2000 if int(short[1]) < 50 else 1900)
    numbers = [int(n) for n in re.findall(r"\d+", re.sub(r"'\d\d(?!\d)|\d{4}", "", text))]
    if word:
        return datetime.date(year, months.index(word[1].lower()) + 1, *numbers)
    first, second = numbers
    return datetime.date(year, second, first) if "." in text else datetime.date(year, first, second)


def test_every_format_can_be_read_in_one_way():
    rng = np.random.default_rng(0)
    bodies = tasks.bodies()
    assert len(set(bodies)) == len(bodies)
    for body in bodies:
        for lead, weekday in ((lead, weekday) for lead in tasks.LEADS for weekday in tasks.WEEKDAY_FORMS):
            date = datetime.date.fromordinal(int(rng.integers(tasks.FIRST_DAY, tasks.LAST_DAY + 1)))
            text = tasks.write_date(date, lead + weekday + body)
            assert read_date(text) == date, text


def test_dates_are_split_by_format_and_by_day():
    dates, rng = tasks.Dates(), np.random.default_rng(1)
    seen, held_out = (set(dates.bodies[name]) for name in ("seen formats", "held-out formats"))
    assert not seen & held_out and seen | held_out == set(tasks.bodies())
    assert dates.formats["held-out formats"] > 1_000
    train, test = (dates.pairs(rng, 4_000, test=which) for which in (False, True))
    days = [{datetime.date.fromisoformat(answer).toordinal() for _, answer in pairs} for pairs in (train, test)]
    assert not days[0] & days[1]
    assert all(tasks.FIRST_DAY <= day <= tasks.LAST_DAY for both in days for day in both)
    pairs = train + test + dates.pairs(rng, 999, "held-out formats")
    questions, answers = (set("".join(texts)) for texts in zip(*pairs))
    assert questions <= set(dates.source_characters) and answers <= set(dates.target_characters)
    assert all(len(answer) == dates.answer_length for _, answer in train)


def test_worked_example_of_a_date():
    assert tasks.write_date(datetime.date(2024, 3, 4), "{o} of {Month} '{yy}") == "4th of March '24"
    ordinals = [tasks.write_date(datetime.date(2024, 1, n), "{o}") for n in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 31)]
    assert " ".join(ordinals) == "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 23rd 31st"


def test_reversal_is_the_reversal():
    task, rng = tasks.Reversal(), np.random.default_rng(2)
    pairs = task.pairs(rng, 500)
    assert all(answer == question[::-1] for question, answer in pairs)
    assert {len(question) for question, _ in pairs} == set(range(task.shortest, task.longest + 1))
    assert {len(question) for question, _ in task.pairs(rng, 5, 24)} == {24}


# ---------------------------------------------------------------- the experiments


@pytest.fixture
def experiments(monkeypatch):
    monkeypatch.syspath_prepend(find("3.3").path)
    import seq2seq_experiments

    return seq2seq_experiments


def test_antidiagonal_of_known_weights(experiments):
    """A model that looks where reversal must look has 100 %; one that looks straight ahead only where they cross."""
    task = tasks.Reversal()
    coder = experiments.Coder(lab, task, "cpu")
    pairs = task.pairs(np.random.default_rng(0), 3, 5)

    def looks(weights):
        return lambda source, mask, target: (None, torch.stack([torch.cat([weights, weights[:1]])] * len(source)))

    backwards = experiments.on_the_antidiagonal(coder, looks(torch.eye(5).flip(1)), pairs)
    forwards = experiments.on_the_antidiagonal(coder, looks(torch.eye(5)), pairs)
    shifted = experiments.on_the_antidiagonal(coder, looks(torch.eye(5).flip(1).roll(1, dims=1)), pairs)
    assert backwards == {"largest": 1.0, "weight": 1.0, "beside": 1.0}
    assert forwards == {"largest": pytest.approx(0.2), "weight": pytest.approx(0.2), "beside": pytest.approx(0.2)}
    assert shifted == {"largest": 0.0, "weight": 0.0, "beside": pytest.approx(0.8)}


def test_exact_match_counts_whole_answers(experiments):
    """With weights that always write the same answer, the share is that of the pairs with this answer."""
    task = tasks.Reversal()
    coder = experiments.Coder(lab, task, "cpu")
    model = lab.Seq2Seq(coder.source.size, coder.target.size, 4, 5, None)
    a = coder.target.encode("a").item()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.head.bias[a], model.head.bias[lab.EOS] = 1.0, 0.5  # never ends
        never = experiments.exact_match(lab, task, coder, model, {"one": [("a", "a")], "two": [("aa", "aa")]})
        model.head.bias[lab.EOS] = 2.0  # ends at once
        empty = experiments.answers(lab, task, coder, model, [("a", "a"), ("bc", "cb")])
    assert never == {"one": 0.0, "two": 0.0}
    assert empty == ["", ""]


def test_search_errors_are_told_from_wrong_answers(experiments):
    """A model that prefers the right answer, searched too narrowly: wrong by search, right with a wider beam."""
    task = tasks.Reversal()
    coder = experiments.Coder(lab, task, "cpu")
    model = lab.Seq2Seq(coder.source.size, coder.target.size, 4, 8, "bahdanau")
    pairs = task.pairs(np.random.default_rng(1), 6, 4)
    found = experiments.search(lab, task, coder, model, pairs, {"greedy": (1, 0.0), "wide": (30, 0.0)})
    assert found["wide"]["log_p"] >= found["greedy"]["log_p"]
    assert all(0 <= way["search_errors"] + way["exact"] <= 1 for way in found.values())


def test_numbers_of_the_readme():
    """What it calculates: bits of a string and of a date, and how symbol accuracy becomes string accuracy."""
    assert round(24 * math.log2(20)) == 104
    assert round(math.log2(tasks.LAST_DAY - tasks.FIRST_DAY + 1)) == 15
    assert tasks.LAST_DAY - tasks.FIRST_DAY + 1 == 36_525
    assert round(100 * 0.98**24) == 62


# ---------------------------------------------------------------- the command line and what was measured


def test_smoke_run(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(find("3.3").path)
    lab.main(["--preset", "smoke", "--out", str(tmp_path)])
    assert "exact match in %" in capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert results["agreement"]["attention"] < 1e-12
    assert results["agreement"]["padding"] < 1e-12
    assert {path.name for path in tmp_path.glob("*.png")} == {"accuracy.png", "lengths.png", "alignment.png"}


@pytest.fixture
def recorded() -> dict:
    return json.loads((find("3.3").path / "figures" / "results.json").read_text())["results"]


def test_recorded_gap_on_long_strings(recorded):
    """What the README claims of reversal: 24 letters go through attention and not through one vector."""
    last = {name: recorded["reversal"][name]["24"]["last"] for name in ("no_attention", "bahdanau", "luong")}
    assert len(last["bahdanau"]) >= 3
    assert max(last["no_attention"]) == 0
    assert min(last["bahdanau"]) > 95
    assert recorded["alignment"]["luong"]["largest"] >= 90
    assert recorded["alignment"]["bahdanau"]["beside"] >= 90
    assert recorded["alignment"]["bahdanau"]["largest"] < 50


def test_recorded_gap_on_dates_does_not_last(recorded):
    for name in ("no_attention", "bahdanau", "luong"):
        assert recorded["dates"][name]["held_out_formats"]["final"] > 95
    early = [recorded["dates"][name]["held_out_formats"]["mean"][1] for name in ("no_attention", "bahdanau")]
    assert early[1] > early[0] + 15


def test_no_model_is_smaller_than_bahdanaus(recorded):
    for task in ("dates", "reversal"):
        sizes = {name: recorded[task][name]["parameters"] for name in ("no_attention", "bahdanau", "luong")}
        assert sizes["bahdanau"] == min(sizes.values())
        assert max(sizes.values()) < 1.03 * sizes["bahdanau"]
