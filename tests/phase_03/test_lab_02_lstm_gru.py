"""Graded checks of lab 3.2, LSTM and GRU."""

import numpy as np
import torch

from labkit.grading import todo, whole_lab


def normal(rng, *shape, dtype=torch.float64):
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def random_ids(rng, vocab_size, *shape):
    return torch.from_numpy(rng.integers(vocab_size, size=shape))


def random_cell(rng, blocks, width, hidden, dtype=torch.float64):
    """w_x, b_x, w_h, b_h of moderate size, so that gates are neither open nor shut."""
    scale = 1.2 / hidden**0.5
    shapes = ((blocks * hidden, width), (blocks * hidden,), (blocks * hidden, hidden), (blocks * hidden,))
    return [scale * normal(rng, *shape, dtype=dtype) for shape in shapes]


def random_weights(rng, vocab_size, d_model, hidden, layers, blocks=None):
    """Weights of a GatedRNN: of gated cells with so many blocks, or of the drivers' own cells."""
    weights = {"embedding.weight": normal(rng, vocab_size, d_model)}
    for n in range(layers):
        width = hidden if n else d_model
        if blocks is None:
            weights[f"cells.{n}.a.weight"] = normal(rng, hidden, width) / width
        else:
            names = ("w_x.weight", "w_x.bias", "w_h.weight", "w_h.bias")
            cell = random_cell(rng, blocks, width, hidden)
            weights |= {f"cells.{n}.{name}": value for name, value in zip(names, cell)}
    return weights | {"head.weight": normal(rng, vocab_size, hidden), "head.bias": normal(rng, vocab_size)}


# ---------------------------------------------------------------- sizes


@todo("matched-hidden", cuda=False)
def test_largest_width_that_fits(grade, rng):
    """Vanilla, GRU and LSTM, of every size: the largest F whose network stays within the budget."""
    cases = []
    for blocks, biases in ((1, 1), (3, 2), (4, 2)):
        for low, high in ((900, 3_000), (8_000, 90_000)) * 3:
            sizes = [int(rng.integers(3, 24)), int(rng.integers(9, 20))]
            cases.append([int(rng.integers(low, high)), blocks, biases, *sizes])
    grade("widths", cases)


@todo("matched-hidden", cuda=False)
def test_budget_that_fits_exactly(grade, rng):
    """At most the budget: exactly the parameters of F gives F, one less gives F - 1. Every term counts."""
    for blocks, biases in ((4, 2), (3, 2), (1, 1)):
        hidden, d_model, vocab_size = (int(n) for n in rng.integers(5, 40, size=3))
        exact = vocab_size * d_model + blocks * hidden * (d_model + hidden + biases) + vocab_size * (hidden + 1)
        grade("matched_hidden", exact, blocks, biases, d_model, vocab_size, expected=hidden)
        grade("matched_hidden", exact - 1, blocks, biases, d_model, vocab_size, expected=hidden - 1)


@todo("matched-hidden", cuda=False, edge=True)
def test_budget_too_small_for_anything(grade, rng):
    """A budget into which not even F = 1 fits is refused; the smallest one that fits gives 1."""
    smallest = 10 * 4 + 4 * (4 + 1 + 2) + 10 * 2
    grade("matched_hidden", smallest - 1, 4, 2, 4, 10, raises=ValueError)
    grade("matched_hidden", smallest, 4, 2, 4, 10, expected=1)


# ---------------------------------------------------------------- the LSTM


@todo("lstm-cell", points=2)
def test_one_step_of_the_lstm(grade, rng):
    """Three gates and a candidate, each from its own block; c' kept and added to, h' shown of it; h' first, then c'."""
    for batch, width, hidden in ((1, 3, 5), (4, 6, 6), (3, 2, 4)):
        weights = random_cell(rng, 4, width, hidden)
        grade("cell_step", "LSTMCell", normal(rng, batch, width), normal(rng, batch, 2 * hidden), weights)


@todo("lstm-cell")
def test_lstm_over_several_steps(grade, rng):
    """The new h and the new c are where the next step finds the old ones. float32 stays float32."""
    weights = random_cell(rng, 4, 3, 4)
    grade("cell_steps", "LSTMCell", normal(rng, 6, 2, 3), normal(rng, 2, 8), weights)
    inputs = normal(rng, 4, 2, 3).float(), torch.zeros(2, 8)
    grade("cell_steps", "LSTMCell", *inputs, [w.float() for w in weights], atol=1e-5)


@todo("lstm-cell")
def test_gradients_pass_through_the_lstm(grade, rng):
    """The step can be differentiated: by x, by the old h and the old c, by every weight."""
    x, state, mix = normal(rng, 3, 4), normal(rng, 3, 10), normal(rng, 3, 10)
    grade("cell_gradients", "LSTMCell", x, state, random_cell(rng, 4, 4, 5), mix)


@todo("forget-bias", points=2)
def test_sum_of_both_biases_is_the_value(grade, rng):
    """b_f is the sum of two biases: whatever they were, the sum becomes the value, once and again."""
    values = [float(v) for v in rng.uniform(0.5, 4, size=3)]
    grade("forget_sums", random_cell(rng, 4, 3, 5), values)


@todo("forget-bias")
def test_no_other_gate_is_touched(grade, rng):
    """The biases of i, g and o, and all matrices, keep their values."""
    weights = random_cell(rng, 4, 4, 3)
    found, state = grade.call("forget_biases", weights, [float(rng.uniform(1, 3))])
    wanted = torch.cat([b.unflatten(0, (4, -1))[[0, 2, 3]] for b in (weights[1], weights[3])])
    changed = [name for name, got, want in zip(
        ["i of w_x", "g of w_x", "o of w_x", "i of w_h", "g of w_h", "o of w_h"], found[0][1].cpu(), wanted.cpu()
    ) if not torch.equal(got, want)]  # fmt: skip
    assert not changed, f"the bias of {', '.join(changed)} has changed"
    same = all(torch.equal(got.cpu(), want.cpu()) for got, want in zip(state["weights"], (weights[0], weights[2])))
    assert same, "a weight matrix has changed"


@todo("forget-bias")
def test_parameters_stay_the_objects_they_were(grade, rng):
    """An optimizer that already holds the parameters must see the change: they are filled in place, and still train."""
    found, state = grade.call("forget_biases", random_cell(rng, 4, 2, 3), [2.0])
    assert state["same parameters"], "a parameter was replaced by a new one: an optimizer would go on with the old one"
    assert state["trainable"], "a parameter is no longer trained: it needs requires_grad, and no history of its own"
    forget = found[0][0][1].tolist()
    assert max(abs(b - 2.0) for b in forget) < 1e-9, f"the forget biases should be 2.0, they are {forget}"


@todo("forget-bias")
def test_new_cell_starts_with_its_forget_bias(grade, rng):
    """A new cell has the forget bias it was asked for in every unit, and 0 everywhere else."""
    grade("new_cell", 3, int(rng.integers(4, 8)), float(rng.uniform(1, 4)))


# ---------------------------------------------------------------- the two GRUs


@todo("gru-reset-after", points=2)
def test_one_step_of_the_gru(grade, rng):
    """r lets the product of W_hn and h through, bias included; z says how much of the old h stays."""
    for batch, width, hidden in ((1, 3, 5), (4, 6, 6), (3, 2, 4)):
        weights = random_cell(rng, 3, width, hidden)
        grade("cell_step", "GRUCell", normal(rng, batch, width), normal(rng, batch, hidden), weights)


@todo("gru-reset-after")
def test_gru_over_several_steps(grade, rng):
    """Step after step; float32 stays float32."""
    weights = random_cell(rng, 3, 3, 4)
    grade("cell_steps", "GRUCell", normal(rng, 6, 2, 3), normal(rng, 2, 4), weights)
    inputs = normal(rng, 4, 2, 3).float(), torch.zeros(2, 4)
    grade("cell_steps", "GRUCell", *inputs, [w.float() for w in weights], atol=1e-5)


@todo("gru-reset-after")
def test_gradients_pass_through_the_gru(grade, rng):
    """The step can be differentiated: by x, by the old h, by every weight."""
    x, state, mix = normal(rng, 3, 4), normal(rng, 3, 5), normal(rng, 3, 5)
    grade("cell_gradients", "GRUCell", x, state, random_cell(rng, 3, 4, 5), mix)


@todo("gru-reset-before", points=2)
def test_one_step_of_the_papers_gru(grade, rng):
    """r acts on h before the matrix, and the bias of the candidate is not under r; the rest is as in the other GRU."""
    for batch, width, hidden in ((1, 3, 5), (4, 6, 6), (3, 2, 4)):
        weights = random_cell(rng, 3, width, hidden)
        grade("cell_step", "ResetBeforeGRUCell", normal(rng, batch, width), normal(rng, batch, hidden), weights)


@todo("gru-reset-before")
def test_gradients_pass_through_the_papers_gru(grade, rng):
    """The step can be differentiated: by x, by the old h, by every weight."""
    x, state, mix = normal(rng, 3, 4), normal(rng, 3, 5), normal(rng, 3, 5)
    grade("cell_gradients", "ResetBeforeGRUCell", x, state, random_cell(rng, 3, 4, 5), mix)


# ---------------------------------------------------------------- backwards by hand


def random_step(rng, batch, hidden, dtype=torch.float64):
    """Gates of a step, its old and new c, and the two gradients that arrive."""
    before = normal(rng, batch, 4, hidden)
    i, f, g, o = before[:, 0].sigmoid(), before[:, 1].sigmoid(), before[:, 2].tanh(), before[:, 3].sigmoid()
    c_old = normal(rng, batch, hidden)
    c_new = f * c_old + i * g
    step = torch.cat([i, f, g, o], dim=1), c_old, c_new, normal(rng, batch, hidden), normal(rng, batch, hidden)
    return [value.to(dtype) for value in step]


@todo("lstm-backward", points=3)
def test_gradients_of_one_step(grade, rng):
    """Through h' and along c at once: what each gate, the candidate and the old c have to answer for."""
    for batch, hidden in ((1, 4), (3, 5)):
        grade("lstm_backward", *random_step(rng, batch, hidden), atol=1e-10)


@todo("lstm-backward")
def test_gradient_that_comes_along_c_alone(grade, rng):
    """Without any gradient at h', the old c gets the forget gate's share and the output gate gets nothing."""
    gates, c_old, c_new, grad_h, grad_c = random_step(rng, 2, 4)
    grade("lstm_backward", gates, c_old, c_new, torch.zeros_like(grad_h), grad_c, atol=1e-10)
    grade("lstm_backward", gates, c_old, c_new, grad_h, torch.zeros_like(grad_c), atol=1e-10)


@todo("lstm-backward")
def test_step_back_is_worked_out_by_hand(grade, rng):
    """It needs no graph, leaves its inputs as they were, and float32 gives float32."""
    grade("backward_without_autograd", *random_step(rng, 3, 4), atol=1e-10)
    grade("backward_without_autograd", *random_step(rng, 3, 4, torch.float32), atol=1e-5)


# ---------------------------------------------------------------- the network


@todo("unroll", points=2)
def test_only_h_goes_up(grade, rng):
    """The layer above and the head see h alone; c stays in its layer."""
    for vocab_size, d_model, hidden, layers in ((7, 4, 6, 1), (5, 3, 4, 2), (6, 5, 5, 3)):
        weights = random_weights(rng, vocab_size, d_model, hidden, layers)
        grade("run_network", "leaky", weights, random_ids(rng, vocab_size, 3, 5))


@todo("unroll")
def test_all_of_the_state_goes_on(grade, rng):
    """h and c of every layer are where the network starts and what comes back, so a text may be read in pieces."""
    weights = random_weights(rng, 6, 3, 4, 2)
    grade("run_network", "leaky", weights, random_ids(rng, 6, 2, 3), normal(rng, 2, 2, 8))
    grade("run_in_pieces", "leaky", weights, random_ids(rng, 6, 2, 8), [3, 1, 4])


@todo("unroll")
def test_cells_without_a_second_part(grade, rng):
    """A cell whose state is h alone works as well: the vanilla cell of lab 3.1, a GRU."""
    weights = random_weights(rng, 6, 4, 5, 2)
    grade("run_network", "simple", weights, random_ids(rng, 6, 3, 4), normal(rng, 2, 3, 5))
    grade("run_network", "GRUCell", random_weights(rng, 6, 3, 4, 2, 3), random_ids(rng, 6, 2, 5))


@todo("unroll")
def test_gradients_pass_through_time(grade, rng):
    """Logits and new state depend, step by step, on all of the state that was handed in and on every weight."""
    ids, state = random_ids(rng, 5, 2, 4), normal(rng, 2, 2, 8)
    grade("network_gradients", "LSTMCell", random_weights(rng, 5, 3, 4, 2, 4), ids, state, normal(rng, 2, 4, 5))


# ---------------------------------------------------------------- the task


@todo("delayed-copy", points=2)
def test_where_everything_stands(grade, rng):
    """Symbols first, then blanks with the bell at step `lag`; targets at the last P steps, nothing to say before."""
    for batch, width, lag, n_symbols in ((3, 1, 7, 8), (4, 3, 9, 5), (2, 4, 12, 3)):
        grade("delayed_copy", random_ids(rng, n_symbols, batch, width), lag, n_symbols)


@todo("delayed-copy")
def test_chatter_instead_of_blanks(grade, rng):
    """Chatter fills the steps between the symbols and the bell, and no others; it is no target."""
    for width, lag in ((1, 6), (3, 8)):
        symbols, chatter = random_ids(rng, 5, 4, width), 7 + random_ids(rng, 5, 4, lag - width)
        grade("delayed_copy", symbols, lag, 5, chatter)


@todo("delayed-copy")
def test_each_symbol_is_due_lag_steps_later(grade, rng):
    """What was read at step t is the target of step t + lag, for every symbol."""
    symbols, lag = random_ids(rng, 6, 5, 3), int(rng.integers(5, 12))
    inputs, targets = grade.call("delayed_copy", symbols, lag, 6)
    assert inputs.shape == targets.shape == (5, lag + 3), (
        f"expected (5, {lag + 3}), got {tuple(inputs.shape)} and {tuple(targets.shape)}"
    )
    for t in range(3):
        got, wanted = targets[:, t + lag].tolist(), symbols[:, t].tolist()
        assert got == wanted, f"read at step {t}: {wanted}; target of step {t + lag}: {got}"


@todo("delayed-copy", edge=True)
def test_lag_of_no_blank_at_all(grade, rng):
    """With lag = P the bell follows the last symbol at once; a smaller lag is refused."""
    symbols = random_ids(rng, 7, 2, 4)
    grade("delayed_copy", symbols, 4, 7)
    grade("delayed_copy", symbols, 3, 7, raises=ValueError)


# ---------------------------------------------------------------- the whole lab


@whole_lab(points=3)
def test_train_on_the_copy_task(grade, rng):
    """Your cells in your network learn your task as the reference does: the same losses, step after step."""
    batches = [random_ids(rng, 3, 4, 2) for _ in range(3)]
    for cell, blocks in (("LSTMCell", 4), ("GRUCell", 3), ("ResetBeforeGRUCell", 3)):
        grade("train_on_copy", cell, random_weights(rng, 5, 3, 4, 2, blocks), batches, 4, 3, 0.3, rtol=1e-6)


@whole_lab(points=2, cuda=False)
def test_sizes_are_those_of_the_modules(grade, rng):
    """The counted parameters are those that the networks really have."""
    budget = int(rng.integers(2_000, 20_000))
    for hidden, parameters in grade("sizes", budget, 8, 12):
        assert parameters <= budget, f"F = {hidden} has {parameters} parameters, more than {budget}"


@whole_lab(points=2)
def test_backward_step_agrees_with_autograd(grade, rng):
    """By hand and by autograd through your cell, the gradient of a step is the same."""
    x, state, weights = normal(rng, 3, 4), normal(rng, 3, 10), random_cell(rng, 4, 4, 5)
    by_hand, by_autograd = grade("step_both_ways", x, state, weights, normal(rng, 3, 5), normal(rng, 3, 5), atol=1e-10)
    worst = max(float((a - b).abs().max()) for a, b in zip(by_hand, by_autograd))
    assert worst < 1e-10, f"by hand and by autograd differ by {worst:.2g}"
    assert np.isfinite(worst), "the gradients are not finite"
