"""The reference of lab 3.2 against nn.LSTM, nn.GRU, autograd, ONNX and slow definitions, and by properties."""

from __future__ import annotations

import json
import math

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from torch import nn

from labkit.catalogue import find
from labkit.reference import char_rnn
from labkit.reference import lstm_gru as lab
from labkit.reference.lstm_gru import lstm_gru_training as training

HYPOTHESIS = settings(deadline=None, derandomize=True, max_examples=50)
small = st.integers(1, 6)


def with_weights_of(cell: lab.GatedCell, twin: nn.Module, layer: int = 0) -> lab.GatedCell:
    """The cell, holding the weights of one layer of nn.LSTM or nn.GRU as they are."""
    cell = cell.to(twin.weight_ih_l0)
    for own, which in ((cell.w_x, "ih"), (cell.w_h, "hh")):
        own.load_state_dict({k: getattr(twin, f"{k}_{which}_l{layer}") for k in ("weight", "bias")})
    return cell


def as_torch(kind: str, layers: int, d_model: int, hidden: int) -> tuple[lab.GatedRNN, nn.Module]:
    """A GatedRNN, and nn.LSTM or nn.GRU with the same weights."""
    own, theirs = {"lstm": (lab.LSTMCell, nn.LSTM), "gru": (lab.GRUCell, nn.GRU)}[kind]
    twin = theirs(d_model, hidden, layers, batch_first=True)
    model = lab.GatedRNN(7, d_model, hidden, layers, own)
    for n, cell in enumerate(model.cells):
        with_weights_of(cell, twin, n)
    return model, twin


# ---------------------------------------------------------------- cells and network against torch


@HYPOTHESIS
@given(st.sampled_from(["lstm", "gru"]), small, st.integers(1, 60), st.integers(1, 3), small, st.integers(1, 9))
def test_network_is_torchs(kind, batch, length, layers, d_model, hidden):
    torch.manual_seed(batch * 1000 + length)
    model, twin = as_torch(kind, layers, d_model, hidden)
    ids, state = torch.randint(7, (batch, length)), torch.rand(layers, batch, model.state_width)
    with torch.no_grad():
        logits, last = model(ids, state)
        h, c = state[..., :hidden].contiguous(), state[..., hidden:].contiguous()
        outputs, expected = twin(model.embedding(ids), (h, c) if kind == "lstm" else h)
        expected = torch.cat(expected, dim=-1) if kind == "lstm" else expected
        torch.testing.assert_close(logits, model.head(outputs), atol=1e-5, rtol=0)
        torch.testing.assert_close(last, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_gradients_are_torchs(kind):
    torch.manual_seed(0)
    model, twin = as_torch(kind, 2, 5, 8)
    model, twin, ids = model.double(), twin.double(), torch.randint(7, (3, 30))
    mix = torch.randn(3, 30, 7, dtype=torch.float64)
    (model(ids)[0] * mix).sum().backward()
    (model.head(twin(model.embedding(ids).detach())[0]) * mix).sum().backward()
    for n, cell in enumerate(model.cells):
        for own, which in ((cell.w_x, "ih"), (cell.w_h, "hh")):
            for part in ("weight", "bias"):
                theirs = getattr(twin, f"{part}_{which}_l{n}").grad
                torch.testing.assert_close(getattr(own, part).grad, theirs, atol=1e-12, rtol=1e-10)


def test_cells_are_torchs_cells():
    torch.manual_seed(1)
    x, h, c = torch.randn(4, 5), torch.randn(4, 6), torch.randn(4, 6)
    for own, twin in ((lab.LSTMCell(5, 6), nn.LSTMCell(5, 6)), (lab.GRUCell(5, 6), nn.GRUCell(5, 6))):
        own.w_x.load_state_dict({"weight": twin.weight_ih, "bias": twin.bias_ih})
        own.w_h.load_state_dict({"weight": twin.weight_hh, "bias": twin.bias_hh})
        expected = torch.cat(twin(x, (h, c)), 1) if own.parts == 2 else twin(x, h)
        torch.testing.assert_close(own(x, torch.cat([h, c], 1)[:, : 6 * own.parts]), expected, atol=1e-6, rtol=0)


def sigmoid(s: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-s))


def test_papers_gru_by_its_equations():
    """Cho et al. 2014, equations 5 to 8, unit by unit."""
    torch.manual_seed(2)
    cell = lab.ResetBeforeGRUCell(3, 4).double()
    for p in cell.parameters():
        nn.init.normal_(p)
    x, h = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    w, b, u, d = (p.detach().numpy() for p in (cell.w_x.weight, cell.w_x.bias, cell.w_h.weight, cell.w_h.bias))
    expected = np.empty((2, 4))
    for row in range(2):
        xs, hs = x[row].numpy(), h[row].numpy()
        r = np.array([sigmoid(w[j] @ xs + b[j] + u[j] @ hs + d[j]) for j in range(4)])
        for j in range(4):
            z = sigmoid(w[4 + j] @ xs + b[4 + j] + u[4 + j] @ hs + d[4 + j])
            n = np.tanh(w[8 + j] @ xs + b[8 + j] + sum(u[8 + j, k] * r[k] * hs[k] for k in range(4)) + d[8 + j])
            expected[row, j] = z * hs[j] + (1 - z) * n
    np.testing.assert_allclose(cell(x, h).detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["GRUCell", "ResetBeforeGRUCell"])
def test_both_grus_are_those_of_onnx(kind):
    """ONNX names the two conventions linear_before_reset = 1 and 0; its blocks stand in the order z, r, n."""

    torch.manual_seed(3)
    cell = getattr(lab, kind)(3, 4)
    for p in cell.parameters():
        nn.init.normal_(p)
    x, h = torch.randn(1, 2, 3), torch.randn(1, 2, 4)
    z_r_n = torch.cat([torch.arange(4, 8), torch.arange(4), torch.arange(8, 12)])
    w, u = cell.w_x.weight[z_r_n][None], cell.w_h.weight[z_r_n][None]
    b = torch.cat([cell.w_x.bias[z_r_n], cell.w_h.bias[z_r_n]])[None]
    node = onnx.helper.make_node(
        "GRU", ["x", "w", "u", "b", "", "h"], ["", "out"], hidden_size=4, linear_before_reset=int(kind == "GRUCell")
    )
    feeds = {name: t.detach().numpy() for name, t in (("x", x), ("w", w), ("u", u), ("b", b), ("h", h))}
    inputs = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, t.shape) for n, t in feeds.items()]
    outputs = [onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, (1, 2, 4))]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "gru", inputs, outputs))
    expected = ReferenceEvaluator(model).run(None, feeds)[0][0]
    np.testing.assert_allclose(cell(x[0], h[0]).detach().numpy(), expected, atol=1e-5)


def test_the_two_grus_agree_only_where_nothing_is_reset():
    """With r = 1 in every unit both are one function; with r = 1/2 they are not."""
    torch.manual_seed(4)
    after, before = lab.GRUCell(3, 5).double(), lab.ResetBeforeGRUCell(3, 5).double()
    before.load_state_dict(after.state_dict())
    x, h = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    with torch.no_grad():
        assert (after(x, h) - before(x, h)).abs().max() > 1e-3
        for cell in (after, before):
            cell.w_x.bias[:5] = 50.0
        torch.testing.assert_close(after(x, h), before(x, h), atol=1e-12, rtol=0)


# ---------------------------------------------------------------- backwards, forget bias


@HYPOTHESIS
@given(small, small, st.integers(0, 10_000))
def test_lstm_backward_is_autograd(batch, hidden, seed):
    torch.manual_seed(seed)
    before = torch.randn(batch, 4 * hidden, dtype=torch.float64, requires_grad=True)
    c_old = torch.randn(batch, hidden, dtype=torch.float64, requires_grad=True)
    i, f, g, o = before.chunk(4, 1)
    gates = torch.cat([i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()], 1)
    i, f, g, o = gates.chunk(4, 1)
    c_new = f * c_old + i * g
    grads = torch.randn(2, batch, hidden, dtype=torch.float64)
    expected = torch.autograd.grad([o * c_new.tanh(), c_new], [before, c_old], [*grads])
    found = lab.lstm_backward(gates.detach(), c_old.detach(), c_new.detach(), *grads)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)


def test_bptt_from_lstm_backward():
    """Step by step backwards through 12 steps: the gradient of w_h is autograd's."""
    torch.manual_seed(5)
    cell = lab.LSTMCell(3, 4).double()
    xs, states = torch.randn(12, 2, 3, dtype=torch.float64), [torch.zeros(2, 8, dtype=torch.float64)]
    for x in xs:
        states.append(cell(x, states[-1]))
    states[-1][:, :4].sum().backward()
    grad_h, grad_c = torch.ones(2, 4).double(), torch.zeros(2, 4).double()
    total = torch.zeros_like(cell.w_h.weight)
    with torch.no_grad():
        for t in reversed(range(12)):
            h, c = states[t].chunk(2, 1)
            i, f, g, o = (cell.w_x(xs[t]) + cell.w_h(h)).chunk(4, 1)
            gates = torch.cat([i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()], 1)
            grad_gates, grad_c = lab.lstm_backward(gates, c, states[t + 1][:, 4:], grad_h, grad_c)
            total += grad_gates.T @ h
            grad_h = grad_gates @ cell.w_h.weight
    torch.testing.assert_close(total, cell.w_h.weight.grad, atol=1e-12, rtol=1e-10)


@HYPOTHESIS
@given(st.floats(-3, 5), st.integers(1, 40))
def test_forget_bias_is_what_is_left_of_c(value, steps):
    """With matrices of zeros and an input that says nothing, c shrinks by σ(value) at every step."""
    cell = lab.LSTMCell(2, 3).double()
    for p in cell.parameters():
        nn.init.zeros_(p)
    cell.set_forget_bias(value)
    state = torch.cat([torch.zeros(1, 3), torch.ones(1, 3)], 1).double()
    with torch.no_grad():
        for _ in range(steps):
            state = cell(torch.zeros(1, 2).double(), state)
    assert state[0, 3].item() == pytest.approx((1 / (1 + math.exp(-value))) ** steps, rel=1e-9)


def test_setting_the_bias_as_if_torch_had_one_gives_twice_the_value():
    """The trap the README warns of: both biases of nn.LSTM are added."""
    twin = nn.LSTM(3, 4)
    with torch.no_grad():
        for bias in (twin.bias_ih_l0, twin.bias_hh_l0):
            bias[4:8] = 1.0
    cell = with_weights_of(lab.LSTMCell(3, 4), twin)
    assert (cell.w_x.bias + cell.w_h.bias)[4:8].tolist() == [2.0] * 4
    cell.set_forget_bias(1.0)
    assert (cell.w_x.bias + cell.w_h.bias)[4:8].tolist() == [1.0] * 4


# ---------------------------------------------------------------- sizes, task, training


@HYPOTHESIS
@given(st.sampled_from(["rnn", "gru", "lstm"]), st.integers(1, 20), st.integers(2, 30), st.integers(0, 20_000))
def test_matched_hidden_counts_what_the_network_has(kind, d_model, vocab_size, spare):
    cell, blocks, biases = {
        "rnn": (char_rnn.VanillaRNNCell, 1, 1), "gru": (lab.GRUCell, 3, 2), "lstm": (lab.LSTMCell, 4, 2)
    }[kind]  # fmt: skip

    def parameters(hidden):
        return sum(p.numel() for p in lab.GatedRNN(vocab_size, d_model, hidden, cell=cell).parameters())

    budget = parameters(1) + spare
    hidden = lab.matched_hidden(budget, blocks, biases, d_model, vocab_size)
    assert parameters(hidden) <= budget < parameters(hidden + 1)
    with pytest.raises(ValueError, match="budget"):
        lab.matched_hidden(parameters(1) - 1, blocks, biases, d_model, vocab_size)


@HYPOTHESIS
@given(small, st.integers(1, 5), st.integers(0, 20), st.booleans(), st.integers(0, 1000))
def test_delayed_copy_is_its_definition(batch, width, extra, chatter, seed):
    torch.manual_seed(seed)
    lag, symbols = width + extra, torch.randint(4, (batch, width))
    between = torch.randint(6, 9, (batch, extra)) if chatter else None
    inputs, targets = lab.delayed_copy(symbols, lag, 4, between)
    assert inputs.shape == targets.shape == (batch, lag + width)
    for t in range(lag + width):
        expected = symbols[:, t] if t < width else torch.full((batch,), 4)
        if t == lag:
            expected = torch.full((batch,), 5)
        elif chatter and width <= t < lag:
            expected = between[:, t - width]
        assert torch.equal(inputs[:, t], expected)
        due = symbols[:, t - lag] if t >= lag else torch.full((batch,), lab.IGNORED)
        assert torch.equal(targets[:, t], due)
    with pytest.raises(ValueError, match="lag"):
        lab.delayed_copy(symbols, width - 1, 4)


def test_truncated_bptt_of_lab_3_1_trains_it():
    """The training loop of lab 3.1 carries h and c from chunk to chunk and brings the loss down."""
    torch.manual_seed(6)
    rows = torch.arange(5).repeat(60).view(2, -1)
    for cell in (lab.LSTMCell, lab.GRUCell, lab.ResetBeforeGRUCell):
        model = lab.GatedRNN(5, 4, 8, layers=2, cell=cell)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        losses = [loss for _ in range(6) for loss in char_rnn.truncated_bptt(model, rows, 10, optimizer, 1.0)]
        assert losses[-1] < losses[0] / 2


# ---------------------------------------------------------------- the command line and what was measured


def test_smoke_run(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(find("3.2").path)
    lab.main(["--preset", "smoke", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "ahead of the RNN" in printed
    assert "guessing 12.5%" in printed
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert max(results["agreement"].values()) < 1e-5
    sizes = [found["parameters"] for found in results["text"]["models"].values()]
    assert max(sizes) <= lab.PRESETS["smoke"]["budget"] < 1.05 * min(sizes)
    assert {path.name for path in tmp_path.glob("*.png")} == {"text.png", "gradients.png", "copy.png"}


def recorded() -> dict:
    return json.loads((find("3.2").path / "figures" / "results.json").read_text())["results"]


def test_recorded_copy_task_is_what_the_readme_says():
    """Lag 50: every seed of GRU and of the LSTM with a long memory above 95 %, the vanilla RNN near chance."""
    found = recorded()["copy"]
    for name in ("gru", "lstm_lag"):
        assert found["trials"][name]["lag"] == 50
        assert found["trials"][name]["lowest"] > 0.95
    assert found["trials"]["rnn"]["highest"] < 0.2
    assert found["trials"]["rnn_fast"]["highest"] < 0.6  # at the best rate of the sweep: more, and far from enough
    assert found["trials"]["rnn_short"]["lowest"] > 0.95


def test_recorded_percentages_stand_in_the_readme():
    text, found = (find("3.2").path / "README.md").read_text(encoding="utf-8"), recorded()["copy"]
    percent = {name: f"{100 * trial['accuracy']:.1f} %" for name, trial in found["trials"].items()}
    worst = min(found["trials"][name]["lowest"] for name in ("gru", "lstm_lag"))
    assert f"names {percent['rnn']} of the symbols" in text
    assert f"and {percent['rnn_fast']} at the best rate" in text
    assert (
        f"the GRU {percent['gru']}, the LSTM {percent['lstm_lag']}, and the worst seed of either {100 * worst:.1f} %"
        in text
    )
    assert f"{percent['lstm_lag']} (LSTM) and {percent['gru']} (GRU) against {percent['rnn']} at a chance" in text


@pytest.mark.parametrize("name", ["gru", "lstm_0"])
def test_recorded_gates_beat_the_vanilla_rnn_on_text(name):
    """By more than seeds do by themselves."""
    found = recorded()["text"]["models"]
    assert found[name]["ahead_low"] > 0
    assert max(found[name]["nats_by_seed"]) < min(found["rnn"]["nats_by_seed"])


def test_recorded_gradient_at_distance_50():
    """After 50 steps an LSTM of long memory keeps at least 100 times as much of the gradient as the vanilla RNN."""
    ratios = recorded()["gradients"]["at_50_over_rnn"]
    assert ratios["start"]["lstm_1"] > 100
    assert ratios["start"]["lstm_lag"] > 100


def test_recorded_sizes_are_equal():
    found = recorded()["text"]["models"]
    sizes = [values["parameters"] for values in found.values()]
    assert min(sizes) > 0.98 * max(sizes)


def test_rates_follow_from_the_sweep():
    """What the README says of them: on text a step of the grid below the best, on the copy task where it works."""
    sweep = json.loads((find("3.2").path / "figures" / "sweep.json").read_text())["results"]
    for name, scores in sweep["text"].items():
        best = min(scores, key=scores.get)
        smaller = list(scores)[list(scores).index(best) - 1]
        assert float(smaller) == training.KINDS[name.split("_")[0]].text_rate
    for name, widths in sweep["width"].items():
        assert widths[str(training.KINDS[name.split("_")[0]].d_model)] < min(widths.values()) + 0.02
    for name in ("gru", "lstm_lag"):
        assert min(sweep["copy"][name][rate] for rate in ("1e-2", "3e-2")) > 0.95
    assert max(sweep["copy"]["lstm_1"].values()) < 0.2
    assert max(sweep["copy"]["rnn"][rate] for rate in ("1e-3", "3e-3")) < 0.2
    assert max(sweep["copy"]["rnn"], key=sweep["copy"]["rnn"].get) == "3e-2"


def test_calculated_numbers_of_the_readme():
    text = " ".join((find("3.2").path / "README.md").read_text(encoding="utf-8").split())
    half_open = 1 / (1 + math.exp(-1))
    for sentence in (
        f"at $f = 0.98$, {100 * 0.98**50:.0f} % after 50 steps",
        f"$\\sigma(1) = {half_open:.2f}$",
        f"which is {math.log(50 - 1):.1f} for $T = 50$",
    ):
        assert sentence in text
    assert 1e-7 < half_open**50 < 2e-7  # "less than two parts in ten million"
