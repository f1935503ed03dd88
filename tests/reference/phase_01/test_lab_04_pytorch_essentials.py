"""The reference of lab 1.4 against torch's own autograd and optimisers, NumPy and scikit-learn."""

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from labkit.reference import pytorch_essentials as lab
from labkit.reference.pytorch_essentials import demo

SIZES = st.integers(1, 7)
SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=30, deadline=None, derandomize=True)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def normal(seed, *shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


# ---------------------------------------------------------------- puzzles


@few
@given(SEEDS, SIZES, SIZES, SIZES)
def test_pairwise_is_what_cdist_and_numpy_say(seed, n, m, d):
    x, y = normal(seed, (n, d), (m, d))
    dots, squares = lab.pairwise(x, y)
    np.testing.assert_allclose(dots, np.einsum("nd,md->nm", x, y), atol=1e-12)
    direct = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    torch.testing.assert_close(squares, direct, rtol=1e-10, atol=1e-12)


@few
@given(SEEDS, st.integers(2, 9), st.integers(2, 9), st.sampled_from([1e-5, 1e-12, 0.3]))
def test_standardise_is_batch_norm_and_layer_norm(seed, b, d, eps):
    (x,) = normal(seed, (b, d))
    x = 3 * x + 5
    columns, rows = lab.standardise(x, eps)
    batch = torch.nn.BatchNorm1d(d, eps=eps, affine=False, dtype=torch.float64)(x)
    torch.testing.assert_close(columns, batch, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(rows, torch.nn.functional.layer_norm(x, (d,), eps=eps), rtol=1e-9, atol=1e-9)


@few
@given(st.lists(st.integers(0, 99), min_size=2, max_size=30), st.data())
def test_windows_are_numpys_sliding_windows(ids, data):
    width = data.draw(st.integers(1, len(ids) - 1))
    inputs, targets = lab.next_token_windows(torch.tensor(ids), width)
    view = np.lib.stride_tricks.sliding_window_view(np.array(ids), width + 1)
    np.testing.assert_array_equal(inputs, view[:, :-1])
    np.testing.assert_array_equal(targets, view[:, 1:])


@pytest.mark.parametrize("width", [-1, 0, 5, 6])
def test_impossible_widths_are_refused(width):
    with pytest.raises(ValueError, match=rf"width: expected 1 to 4 for 5 ids, got {width}"):
        lab.next_token_windows(torch.arange(5), width)


@few
@given(SEEDS, SIZES, SIZES, SIZES, SIZES)
def test_heads_are_the_pieces_numpy_splits_off(seed, b, t, heads, k):
    (x,) = normal(seed, (b, t, heads * k))
    np.testing.assert_array_equal(lab.split_heads(x, heads), np.stack(np.split(x.numpy(), heads, axis=-1), axis=1))


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="heads: expected a divisor of the 10 features, got 4"):
        lab.split_heads(torch.zeros(2, 3, 10), 4)


@few
@given(SEEDS, SIZES, SIZES, SIZES)
def test_masked_mean_is_numpys(seed, b, t, d):
    x, noise = normal(seed, (b, t, d), (b, t))
    mask = noise > 0
    x[~mask] = math.nan
    hidden = np.ma.masked_array(x.numpy(), np.broadcast_to(~mask.numpy()[:, :, None], x.shape))
    np.testing.assert_allclose(lab.masked_mean(x, mask), hidden.mean(1).filled(0.0), atol=1e-12)


@few
@given(SEEDS, st.tuples(*[SIZES] * 5))
def test_contractions_are_the_sums_they_spell(seed, sizes):
    b, t, s, h, k = sizes
    q, key, v = normal(seed, (b, t, h, k), (b, s, h, k), (b, s, h, k))
    scores, mixture = lab.score_and_mix(q, key, v)
    for i, j in np.ndindex(b, h):
        expected = q[i, :, j].numpy() @ key[i, :, j].numpy().T
        np.testing.assert_allclose(scores[i, j], expected, atol=1e-12)
        np.testing.assert_allclose(mixture[i, :, j], expected @ v[i, :, j].numpy(), atol=1e-12)


# ---------------------------------------------------------------- the scalar autograd against torch


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 80))
def test_value_agrees_with_torch_on_random_expressions(seed, size):
    numbers = [random.Random(seed + i).uniform(-2, 2) for i in range(4)]
    ours = [lab.Value(number) for number in numbers]
    theirs = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in numbers]
    out, expected = (demo.grow(leaves, random.Random(seed), size) for leaves in (ours, theirs))
    assert out.data == pytest.approx(expected.item(), rel=1e-10, abs=1e-12)
    for passes in (1, 2):  # leaves accumulate in both
        out.backward()
        expected.backward(retain_graph=True)
        for leaf, twin in zip(ours, theirs):
            wanted = 0.0 if twin.grad is None else twin.grad.item()
            assert leaf.grad == pytest.approx(wanted, rel=1e-9, abs=1e-12), f"pass {passes}"


@pytest.mark.parametrize("number", [-1.5, 0.0, 0.7])
@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
def test_powers_and_relu_at_the_edges_as_in_torch(number, exponent):
    leaf, twin = lab.Value(number), torch.tensor(number, dtype=torch.float64, requires_grad=True)
    out, expected = (x**exponent + x.relu() * 3.0 for x in (leaf, twin))
    out.backward()
    expected.backward()
    assert out.data == pytest.approx(expected.item())
    assert leaf.grad == pytest.approx(twin.grad.item())


def test_plain_numbers_mix_with_values():
    x = lab.Value(0.5)
    out = 2 * x - 3 + (1 + x * 4) ** -1
    out.backward()
    assert out.data == pytest.approx(2 * 0.5 - 3 + 1 / 3)
    assert x.grad == pytest.approx(2 - 4 / 9)


def test_graph_drawn_in_the_readme():
    a, b = lab.Value(2.0), lab.Value(3.0)
    c = a * b
    d = c + a
    f = d**2
    f.backward()
    assert [(node.data, node.grad) for node in (a, b, c, d, f)] == [(2, 64), (3, 32), (6, 16), (8, 16), (64, 1)]


def test_chain_of_100_000_operations():
    x = lab.Value(1.0)
    node = x
    for _ in range(100_000):
        node = node * 1.0
    node.backward()
    assert x.grad == 1.0
    assert len(lab.topological_order(node)) == 200_001


# ---------------------------------------------------------------- regression


def test_three_ways_meet_the_closed_form():
    errors = demo.regression(lab)
    assert max(errors[way] for way in ("hand", "autograd", "module")) < 1e-6


def test_autograd_meets_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    torch.manual_seed(3)
    x, y, w, b = demo.line_data(200, 5)
    theirs = linear_model.LinearRegression().fit(x.numpy(), y.numpy())
    ours_w, ours_b, losses = lab.fit_by_autograd(x, y, 0.2, 400)
    np.testing.assert_allclose(ours_w, theirs.coef_, atol=1e-6)
    assert ours_b.item() == pytest.approx(theirs.intercept_, abs=1e-6)
    np.testing.assert_allclose(w, theirs.coef_, atol=1e-9)
    assert b.item() == pytest.approx(theirs.intercept_, abs=1e-9)
    assert losses[0] > 10 * losses[-1]


@few
@given(SEEDS, st.integers(1, 9), SIZES)
def test_mse_gradient_is_autograds(seed, rows, d):
    x, y, w, b = normal(seed, (rows, d), (rows,), (d,), ())
    loss = torch.nn.functional.mse_loss(x @ w.requires_grad_() + b.requires_grad_(), y)
    expected = torch.autograd.grad(loss, (w, b))
    for ours, theirs in zip(lab.mse_gradient(x, y, w.detach(), b.detach()), expected):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@few
@given(SEEDS, st.integers(1, 20), st.integers(1, 25))
def test_minibatches_are_what_dataloader_yields(seed, rows, batch_size):
    x, y = normal(seed, (rows, 2), (rows,))
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    theirs = list(DataLoader(TensorDataset(x, y), batch_size=batch_size, sampler=order.tolist()))
    ours = list(lab.minibatches(x, y, order, batch_size))
    assert len(ours) == len(theirs)
    for pair, expected in zip(ours, theirs):
        assert torch.equal(pair[0], expected[0])
        assert torch.equal(pair[1], expected[1])


def test_module_is_nn_linear_to_the_last_loss():
    x, y = normal(5, (30, 4), (30,))
    batches = DataLoader(TensorDataset(x, y), batch_size=7)
    ours, theirs = lab.LinearRegression(4), torch.nn.Linear(4, 1, dtype=torch.float64)
    for p in theirs.parameters():
        torch.nn.init.zeros_(p)
    losses = [lab.train(m, batches, torch.optim.AdamW(m.parameters(), 0.1), 3) for m in (ours, theirs)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert len(losses[0]) == 15
    torch.testing.assert_close(ours.weight.T, theirs.weight)


# ---------------------------------------------------------------- the network and the update rules


@few
@given(SEEDS, SIZES, SIZES, SIZES, st.integers(2, 6))
def test_mlp_gradient_is_autograds_to_1e_10(seed, rows, d, f, v):
    x, *parameters = normal(seed, (rows, d), (d, f), (f,), (f, v), (v,))
    y = torch.randint(v, (rows,), generator=torch.Generator().manual_seed(seed))
    twins = [p.clone().requires_grad_() for p in parameters]
    hidden = torch.nn.Tanh()(torch.nn.functional.linear(x, twins[0].T, twins[1]))
    expected = torch.nn.CrossEntropyLoss()(torch.nn.functional.linear(hidden, twins[2].T, twins[3]), y)
    expected.backward()
    loss, gradient = lab.mlp_gradient(x, y, lab.MLP(*parameters))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    for ours, twin in zip(gradient, twins):
        torch.testing.assert_close(ours, twin.grad, rtol=0, atol=1e-10)


RATES = st.floats(1e-4, 0.5)
SHARES = st.floats(0, 0.99)


def torch_path(kind, start, grads, **options):
    p = torch.nn.Parameter(start.clone())
    optimiser, path = kind([p], **options), []
    for grad in grads:
        p.grad = grad.clone()
        optimiser.step()
        path.append(p.detach().clone())
    return torch.stack(path)


@few
@given(SEEDS, RATES, SHARES, SHARES)
def test_sgd_is_torchs(seed, lr, momentum, weight_decay):
    start, grads = normal(seed, (3, 2), (12, 3, 2))
    expected = torch_path(torch.optim.SGD, start, grads, lr=lr, momentum=momentum, weight_decay=weight_decay)
    p, velocity = start, torch.zeros_like(start)
    for grad, wanted in zip(grads, expected):
        p, velocity = lab.sgd_step(p, grad, velocity, lr=lr, momentum=momentum, weight_decay=weight_decay)
        torch.testing.assert_close(p, wanted, rtol=1e-10, atol=1e-12)


@few
@given(SEEDS, RATES, st.tuples(SHARES, SHARES), SHARES, st.sampled_from([(1e-8, 1.0), (1e-8, 1e-8), (1e-3, 1.0)]))
def test_adamw_is_torchs(seed, lr, betas, weight_decay, eps_and_scale):
    eps, scale = eps_and_scale
    start, grads = normal(seed, (3, 2), (12, 3, 2))
    settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
    expected = torch_path(torch.optim.AdamW, start, scale * grads, **settings)
    p, m, v = start, torch.zeros_like(start), torch.zeros_like(start)
    for step, (grad, wanted) in enumerate(zip(scale * grads, expected), 1):
        p, m, v = lab.adamw_step(p, grad, m, v, step, **settings)
        torch.testing.assert_close(p, wanted, rtol=1e-9, atol=1e-11)


def test_defaults_are_torchs():
    start, grads = normal(9, (4,), (5, 4))
    expected = torch_path(torch.optim.AdamW, start, grads)
    p, m, v = start, torch.zeros_like(start), torch.zeros_like(start)
    for step, grad in enumerate(grads, 1):
        p, m, v = lab.adamw_step(p, grad, m, v, step)
    torch.testing.assert_close(p, expected[-1], rtol=1e-12, atol=1e-12)
