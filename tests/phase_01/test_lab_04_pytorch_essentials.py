"""Graded checks of lab 1.4, PyTorch essentials."""

import math

import numpy as np
import torch

from labkit.grading import todo, whole_lab


def normal(rng, *shape, dtype=torch.float64):
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def apply(op, x, y):
    """What one step of a program gives; y is the second operand or the exponent."""
    if op in ("exp", "tanh"):
        return getattr(math, op)(x)
    return {"add": x + y, "mul": x * y, "relu": max(x, 0.0), "pow": 0.0 if op != "pow" else x**y}[op]


def random_program(rng, numbers, size):
    """Steps over leaves and earlier nodes, many used more than once; values stay of moderate size."""
    values, program = list(numbers), []
    while len(program) < size:
        op = str(rng.choice(["add", "mul", "pow", "exp", "tanh", "relu"]))
        i = int(rng.choice([rng.integers(len(values)), max(0, len(values) - 1 - int(rng.integers(4)))]))
        other = int(rng.integers(len(values))) if op in ("add", "mul") else int(rng.choice([2, 3, -1]))
        if abs(values[i]) < 0.05 or (op in ("pow", "exp") and not 0.4 < abs(values[i]) < 2):
            continue  # too near a kink, a pole or an overflow
        value = apply(op, values[i], values[other] if op in ("add", "mul") else other)
        if abs(value) < 10:
            values.append(value)
            program.append((op, i, other))
    last = len(values) - 1
    for i in (last - 1, last - 3, *range(len(numbers))):  # join the loose ends, so that every leaf matters
        program.append(("add", len(numbers) + len(program) - 1, i))
    return program


def random_numbers(rng, count):
    return [float(x) for x in rng.uniform(0.4, 1.8, count) * rng.choice([-1, 1], count)]


def random_mlp(rng, features, hidden, classes):
    scales = [(1.0, (features, hidden)), (0.3, (hidden,)), (1.0, (hidden, classes)), (0.3, (classes,))]
    return [scale * normal(rng, *shape) for scale, shape in scales]


def any_nan(value):
    return torch.is_tensor(value) and bool(value.isnan().any())


def random_classes(rng, rows, classes):
    return torch.from_numpy(rng.integers(classes, size=rows))


# ---------------------------------------------------------------- puzzles


@todo("pairwise")
def test_every_row_against_every_row(grade, rng):
    """Entry (n, m) of both tables belongs to row n of x and row m of y."""
    grade("pairwise", normal(rng, 4, 3), normal(rng, 6, 3))
    grade("pairwise", normal(rng, 5, 5) * 2, normal(rng, 5, 5) + 1)


@todo("pairwise")
def test_pairwise_with_a_single_row(grade, rng):
    """One row against many, and many against one, keep both axes; float32 stays float32."""
    grade("pairwise", normal(rng, 1, 4, dtype=torch.float32), normal(rng, 7, 4, dtype=torch.float32), atol=1e-4)
    grade("pairwise", normal(rng, 7, 1), normal(rng, 1, 1))


@todo("standardise")
def test_columns_and_rows(grade, rng):
    """Columns use the statistics of each feature, rows the statistics of each example, also when x is square."""
    grade("standardise", 5 + 3 * normal(rng, 7, 4))
    grade("standardise", normal(rng, 5, 5) * torch.from_numpy(rng.uniform(0.5, 4, (5, 1))))


@todo("standardise")
def test_small_variances_and_eps(grade, rng):
    """eps is added to the variance under the root; a constant column becomes zeros, not NaN."""
    x = normal(rng, 6, 5)
    x[:, 2] *= 1e-3
    x[:, 4] = 7.0
    x[3] = 1e-3 * normal(rng, 5) + 2
    grade("standardise", x)
    grade("standardise", x, 0.5)


@todo("next-token-windows")
def test_all_windows_and_their_targets(grade, rng):
    """There is one window for every start that has a target, and the targets are one token further on."""
    ids = torch.from_numpy(rng.permutation(90)[:23])
    grade("next_token_windows", ids, 5)
    grade("next_token_windows", ids[:9], 1)
    grade("next_token_windows", ids[:6], 5)


@todo("next-token-windows")
def test_windows_need_a_sensible_width(grade, rng):
    """A width below 1, or one that leaves no token to predict, is refused."""
    ids = torch.from_numpy(rng.permutation(50)[:8])
    grade("next_token_windows", ids, 7)
    for width in (0, -2, 8, 20):
        grade("next_token_windows", ids, width, raises=ValueError)


@todo("split-heads")
def test_heads_take_neighbouring_features(grade, rng):
    """Head h of a position holds features h·K to (h + 1)·K of that very position."""
    grade("split_heads", normal(rng, 2, 5, 12), 3)
    grade("split_heads", normal(rng, 3, 4, 16), 4)
    grade("split_heads", normal(rng, 2, 3, 7), 1)


@todo("split-heads")
def test_heads_must_divide_the_features(grade, rng):
    """A number of heads that does not divide the features is refused."""
    x = normal(rng, 2, 4, 10)
    grade("split_heads", x, 5)
    for heads in (3, 4, 20):
        grade("split_heads", x, heads, raises=ValueError)


@todo("masked-mean")
def test_mean_over_real_positions(grade, rng):
    """The mean divides by the number of real positions, wherever in the sequence they stand."""
    mask = torch.from_numpy(rng.random((5, 6)) < 0.6)
    mask[:, 0] |= ~mask.any(1)
    mask[0, 3] = False
    grade("masked_mean", normal(rng, 5, 6, 4), mask)
    mask = torch.from_numpy(rng.random((4, 4)) < 0.5)
    mask[:, 1] = True
    grade("masked_mean", normal(rng, 4, 4, 4, dtype=torch.float32), mask)


@todo("masked-mean")
def test_padding_may_hold_anything(grade, rng):
    """NaN and infinity at padded positions do not reach the mean."""
    x = normal(rng, 3, 5, 4)
    mask = torch.tensor([[True, True, False, False, False], [True] * 4 + [False], [False, True, True, False, True]])
    x[0, 3], x[1, 4], x[2, 0] = math.nan, math.inf, -math.inf
    assert not any_nan(grade.call("masked_mean", x, mask)), "what stands at padded positions turned the mean into NaN"
    grade("masked_mean", x, mask)


@todo("masked-mean")
def test_real_nan_is_not_hidden(grade, rng):
    """NaN or infinity at a real position shows in the mean of its own sequence, and in no other."""
    x = normal(rng, 3, 4, 5)
    mask = torch.tensor([[True, True, False, True], [True, False, False, True], [True] * 4])
    x[0, 1], x[1, 3, 0], x[1, 1, 4] = math.nan, math.inf, math.nan  # the last of them is padding
    grade("masked_mean", x, mask)


@todo("masked-mean")
def test_sequence_of_padding_only(grade, rng):
    """A sequence without a real position gives zeros, not NaN, and leaves the others alone."""
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1], mask[2, 2:] = False, False
    x = normal(rng, 3, 4, 5)
    assert not any_nan(grade.call("masked_mean", x, mask)), "the mean of a sequence of padding only is NaN"
    grade("masked_mean", x, mask)


@todo("score-and-mix")
def test_scores_and_mixture(grade, rng):
    """Scores pair queries with keys head by head; the mixture sums over the keys and keeps (B, T, H, K)."""
    q, k, v = normal(rng, 2, 3, 4, 5), normal(rng, 2, 6, 4, 5), normal(rng, 2, 6, 4, 5)
    grade("score_and_mix", q, k, v)


@todo("score-and-mix")
def test_mixing_when_all_lengths_agree(grade, rng):
    """With as many queries as keys as heads, every axis must still be the right one."""
    q, k, v = (normal(rng, 3, 4, 4, 4) for _ in range(3))
    grade("score_and_mix", q, k, v)


# ---------------------------------------------------------------- the scalar autograd


@todo("local-slopes", points=2)
def test_slopes_of_every_operation(grade, rng):
    """Each operation has the derivative the calculus book gives it, one per parent and in the parents' order."""
    numbers = random_numbers(rng, 4)
    steps = [("add", 0, 1), ("mul", 0, 1), ("mul", 3, 2), ("exp", 1, 0), ("tanh", 2, 0), ("relu", 0, 0), ("relu", 3, 0)]
    grade("slopes", numbers, [*steps, ("pow", 0, 2), ("pow", 1, 3), ("pow", 2, -1), ("pow", 3, -2)])
    grade("slopes", [abs(x) for x in numbers], [("pow", 0, 0.5), ("pow", 1, -1.5), ("mul", 2, 2), ("add", 3, 3)])


@todo("local-slopes")
def test_slopes_at_the_edges(grade, rng):
    """relu is flat at and below 0; x**0 is flat and x**1 has slope 1, also at 0; the square is flat at 0."""
    numbers = [0.0, float(rng.uniform(-3, -0.5)), float(rng.uniform(0.5, 3))]
    steps = [("relu", 0, 0), ("relu", 1, 0), ("relu", 2, 0), ("exp", 0, 0), ("tanh", 0, 0)]
    grade("slopes", numbers, [*steps, ("pow", 0, 0), ("pow", 2, 0), ("pow", 0, 1), ("pow", 0, 2), ("mul", 0, 1)])


@todo("topological-order", points=2)
def test_parents_stand_before_children(grade, rng):
    """Every node stands in the list exactly once, after all of its parents, the root at the end."""
    for size in (3, 12, 60):
        numbers = random_numbers(rng, 4)
        grade("order_report", numbers, random_program(rng, numbers, size))


@todo("topological-order")
def test_short_and_long_ways_to_one_node(grade, rng):
    """A node that is reached by a short way and by a long one still waits for all of its parents."""
    number = float(rng.uniform(0.5, 1.5))
    detour = [("tanh", 0, 0), *(("exp", i, 0) if i % 2 else ("tanh", i, 0) for i in range(1, 5))]  # nodes 1 to 5
    grade("order_report", [number], [*detour, ("add", 1, 5), ("mul", 6, 0), ("add", 2, 7)])
    grade("order_report", [number], [("mul", i, i) for i in range(9)])
    grade("order_report", [number, 2.0], [])


@todo("topological-order")
def test_graph_deeper_than_the_recursion_limit(grade, rng):
    """A chain of thousands of operations is ordered too: Python's recursion limit does not matter."""
    grade("deep_order_report", int(rng.integers(5_000, 8_000)))  # longer, and a slow right answer hangs on the machine


@todo("backward", points=2)
def test_gradients_of_random_expressions(grade, rng):
    """The gradient of every leaf and of every node in between agrees on random expression graphs."""
    for size in (4, 15, 40):
        numbers = random_numbers(rng, 4)
        grade("gradients", numbers, random_program(rng, numbers, size))


@todo("backward")
def test_node_used_several_times(grade, rng):
    """A node that is used twice receives the sum of both contributions."""
    numbers = random_numbers(rng, 2)
    grade("gradients", numbers, [("mul", 0, 0), ("add", 2, 0), ("mul", 3, 2), ("add", 4, 1), ("mul", 5, 1)])


@todo("backward")
def test_second_backward_adds_to_the_leaves(grade, rng):
    """A second pass adds to the leaves what the first one gave, and starts afresh at every other node."""
    numbers = random_numbers(rng, 3)
    program = random_program(rng, numbers, 10)
    grade("gradients", numbers, program, 2)
    grade("two_outputs", numbers, program, len(numbers) + 6)
    grade("gradients", [numbers[0]], [], 3)


# ---------------------------------------------------------------- linear regression


@todo("mse-gradient")
def test_gradient_of_the_mean_squared_error(grade, rng):
    """The slopes are those of the mean, not of the sum, and point uphill."""
    grade("mse_gradient", normal(rng, 7, 3), normal(rng, 7), normal(rng, 3), normal(rng))
    grade("mse_gradient", normal(rng, 4, 4), normal(rng, 4), normal(rng, 4), normal(rng))


@todo("mse-gradient")
def test_gradient_without_autograd(grade, rng):
    """The gradient is worked out by hand: it needs no graph. float32 data give float32 slopes."""
    x, y, w, b = normal(rng, 6, 2), normal(rng, 6), normal(rng, 2), normal(rng)
    grade("without_autograd", "mse_gradient", x, y, w, b)
    grade("without_autograd", "mse_gradient", *(t.float() for t in (x, y, w, b)))


@todo("fit-by-autograd", points=2)
def test_descent_with_autograd(grade, rng):
    """Twelve steps end where twelve steps of gradient descent end, and report the loss before each."""
    x = normal(rng, 20, 3)
    grade("fit_by_autograd", x, x @ normal(rng, 3) + 2 + 0.1 * normal(rng, 20), 0.05, 12)
    grade("fit_by_autograd", normal(rng, 6, 4), normal(rng, 6), 0.1, 1)


@todo("fit-by-autograd")
def test_answer_is_detached(grade, rng):
    """What comes back is plain numbers: w and b no longer require a gradient, and there is a loss per step."""
    grade("needs_grad", normal(rng, 9, 2), normal(rng, 9), 0.05, 4)


@todo("parameters")
def test_parameters_are_registered(grade, rng):
    """An optimiser finds weight (features, 1) and bias (1,), both zero and trainable, of the dtype asked for."""
    grade("describe_module", int(rng.integers(2, 9)))
    grade("describe_module", int(rng.integers(2, 9)), torch.float32)


@todo("parameters")
def test_gradients_reach_the_parameters(grade, rng):
    """A saved state can be loaded, and a backward pass leaves a gradient on both parameters."""
    grade("module_gradients", normal(rng, 8, 3), normal(rng, 8), normal(rng, 3, 1), normal(rng, 1))


@todo("minibatches", points=2)
def test_batches_follow_the_order(grade, rng):
    """Batch after batch, the rows of x and y come in the given order, and stay together."""
    order = torch.from_numpy(rng.permutation(12))
    grade("batches", normal(rng, 12, 3), normal(rng, 12), order, 4)
    grade("batches", normal(rng, 12, 2), random_classes(rng, 12, 5), order, 1)


@todo("minibatches")
def test_last_batch_may_be_short(grade, rng):
    """No row is lost when the batch size does not divide the number of rows, or exceeds it."""
    x, y, order = normal(rng, 11, 2), normal(rng, 11), torch.from_numpy(rng.permutation(11))
    grade("batches", x, y, order, 4)
    grade("batches", x, y, order, 30)


@todo("train", points=2)
def test_steps_of_sgd_over_batches(grade, rng):
    """Every batch of every epoch is one step, on the gradient of that batch's mean squared error alone."""
    x, y = normal(rng, 10, 3), normal(rng, 10)
    grade("train_linear", x, y, normal(rng, 1, 3), normal(rng, 1), {"name": "SGD", "lr": 0.05}, 4, 3)


@todo("train")
def test_train_with_another_optimiser(grade, rng):
    """The loop leaves the update to the optimiser it is given."""
    x, y = normal(rng, 9, 2), normal(rng, 9)
    settings = {"name": "AdamW", "lr": 0.1, "weight_decay": 0.3}
    grade("train_linear", x, y, normal(rng, 1, 2), normal(rng, 1), settings, 3, 2)
    settings = {"name": "SGD", "lr": 0.02, "momentum": 0.9}
    grade("train_linear", x, y, normal(rng, 1, 2), normal(rng, 1), settings, 9, 5)


# ---------------------------------------------------------------- the network and the update rules


@todo("mlp-gradient", points=4)
def test_gradient_of_the_network(grade, rng):
    """Loss and all four gradients agree to 1e-10."""
    grade("mlp", normal(rng, 7, 3), random_classes(rng, 7, 4), random_mlp(rng, 3, 5, 4), atol=1e-10)
    grade("mlp", normal(rng, 4, 6), random_classes(rng, 4, 2), random_mlp(rng, 6, 3, 2), atol=1e-10)


@todo("mlp-gradient")
def test_network_gradient_without_autograd(grade, rng):
    """The backward pass is worked out by hand: it needs no graph."""
    grade("mlp_without_autograd", normal(rng, 5, 2), random_classes(rng, 5, 3), random_mlp(rng, 2, 4, 3), atol=1e-10)


@todo("mlp-gradient")
def test_network_gradient_in_float32(grade, rng):
    """float32 parameters get float32 gradients."""
    parameters = [p.float() for p in random_mlp(rng, 3, 4, 5)]
    grade("mlp", normal(rng, 6, 3, dtype=torch.float32), random_classes(rng, 6, 5), parameters, atol=1e-5)


@todo("sgd-step", points=2)
def test_path_of_sgd(grade, rng):
    """With momentum and weight decay, ten steps follow the path of torch.optim.SGD."""
    settings = {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.3}
    grade("sgd_path", normal(rng, 3, 4), normal(rng, 10, 3, 4), settings)
    grade("sgd_path", normal(rng, 5), normal(rng, 6, 5), {"lr": 0.05, "momentum": 0.5})
    grade("sgd_path", normal(rng, 5), normal(rng, 4, 5), {"lr": 0.2})


@todo("sgd-step")
def test_sgd_makes_new_tensors(grade, rng):
    """A step returns new tensors and leaves parameter, gradient and velocity as they were."""
    p, grad, velocity = (normal(rng, 4, dtype=torch.float32) for _ in range(3))
    grade("sgd_once", p, grad, velocity, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1})


@todo("adamw-step", points=3)
def test_path_of_adamw(grade, rng):
    """Ten steps follow the path of torch.optim.AdamW, with its defaults and with other settings."""
    p, grads = normal(rng, 3, 4) * 3, normal(rng, 10, 3, 4)
    grade("adamw_path", p, grads, {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.2})
    grade("adamw_path", p, grads, {})
    grade("adamw_path", p, grads, {"lr": 0.1, "weight_decay": 0.0})


@todo("adamw-step")
def test_adamw_with_tiny_gradients(grade, rng):
    """Where gradients are as small as eps, it matters that eps stands outside the root."""
    scale = torch.tensor([1e-8, 1e-7, 1e-9, 3e-8])
    grade("adamw_path", normal(rng, 4), normal(rng, 6, 4) * scale, {"lr": 0.1, "weight_decay": 0.0})


@todo("adamw-step")
def test_adamw_late_in_training(grade, rng):
    """A single step with history: the correction depends on the step number, and no argument is changed."""
    p, grad, m, v = normal(rng, 5), normal(rng, 5), normal(rng, 5), normal(rng, 5) ** 2
    for step in (1, 2, 7, 400):
        grade("adamw_once", p, grad, m, v, step, {"lr": 0.05, "weight_decay": 0.1})


# ---------------------------------------------------------------- the whole lab


@whole_lab(points=3)
def test_three_regressions_meet_the_closed_form(grade, rng):
    """By hand, by autograd and as a module, the line ends within 1e-6 of the least-squares answer."""
    x = rng.standard_normal((40, 3))
    x = np.linalg.qr(x - x.mean(0))[0] * 40**0.5  # columns at right angles: each step leaves 0.4 of the way to go
    y = x @ rng.standard_normal(3) + 2 + 0.3 * rng.standard_normal(40)
    closed_form = torch.from_numpy(np.linalg.lstsq(np.c_[x, np.ones(40)], y, rcond=None)[0])
    inputs = torch.from_numpy(x), torch.from_numpy(y), 0.3, 20
    grade("regression_three_ways", *inputs, expected=(closed_form,) * 3, atol=1e-6)


@whole_lab(points=2)
def test_network_learns_with_your_own_loop(grade, rng):
    """Own batches, own gradient and own SGD or AdamW train the network like the reference."""
    x = normal(rng, 24, 2)
    y = (x[:, 0] * x[:, 1] > 0).long()
    orders = [torch.from_numpy(rng.permutation(24)) for _ in range(2)]
    grade("train_network", x, y, random_mlp(rng, 2, 6, 2), orders, "sgd")
    grade("train_network", x, y, random_mlp(rng, 2, 6, 2), orders, "adamw")


@whole_lab(points=2)
def test_puzzles_work_together(grade, rng):
    """The puzzles in a row make the data path of a small language model; the scalar autograd differentiates."""
    mask = torch.from_numpy(rng.random((7, 5)) < 0.7)
    mask[:, 2] = True
    ids = torch.from_numpy(rng.integers(9, size=12))
    grade("language_model_batch", ids, 5, normal(rng, 9, 6), 3, mask)
    numbers = random_numbers(rng, 3)
    grade("gradients", numbers, random_program(rng, numbers, 20))
