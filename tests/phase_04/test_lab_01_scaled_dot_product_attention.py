"""Graded checks of lab 4.1, scaled dot-product attention."""

import torch
from torch.nn.functional import scaled_dot_product_attention

from labkit.grading import todo, whole_lab

NAN, INF = float("nan"), float("inf")


def normal(rng, *shape, dtype=torch.float64):
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def problem(rng, b=2, h=3, t=5, s=7, k=4, d=6, dtype=torch.float64):
    """q, k, v of six different sizes, so that no axis passes for another."""
    return tuple(normal(rng, b, h, *size, dtype=dtype) for size in ((t, k), (s, k), (s, d)))


def random_mask(rng, *shape, blind=0):
    """Every row sees at least one key, but `blind` rows, which see none."""
    mask = torch.from_numpy(rng.random(shape) < 0.55)
    mask.scatter_(-1, torch.from_numpy(rng.integers(shape[-1], size=(*shape[:-1], 1))), True)
    rows = mask.view(-1, shape[-1])
    rows[torch.from_numpy(rng.permutation(len(rows))[:blind])] = False
    return mask


def lower(t, s, offset):
    """The causal mask, from its definition."""
    return torch.arange(s)[None, :] <= torch.arange(t)[:, None] + offset


def broadcast_masks(rng, b, h, t, s):
    """One mask of every shape a model uses, and one that is different for every head; some rows see nothing."""
    padding = torch.arange(s) < torch.from_numpy(rng.permutation(s)[:b] + 1)[:, None]
    return [
        lower(t, s, s - t),
        padding[:, None, None, :],
        lower(t, s, s - t) & padding[:, None, None, :],
        random_mask(rng, b, h, t, s, blind=2),
        random_mask(rng, h, 1, s, blind=1),
    ]


def no_nan(value, what):
    bad = int(value.isnan().sum())
    assert not bad, f"{what}: {bad} values are NaN"


def grade_tiled(grade, *inputs):
    """tiled_forward with a plain word about NaN before the numbers are compared."""
    for name, value in zip(("out", "lse"), grade.call("tiled_forward", *inputs)):
        no_nan(value, name)
    grade("tiled_forward", *inputs)


# ---------------------------------------------------------------- masks


@todo("causal-mask")
def test_causal_sees_itself_and_the_past(grade, rng):
    """Query t sees the keys 0 to t, itself included, and none of the future."""
    size = int(rng.integers(3, 9))
    grade("causal_mask", size, size)
    grade("causal_mask", 1, 1)


@todo("causal-mask")
def test_causal_last_queries(grade, rng):
    """With more keys than queries, the queries are the last ones: the last query sees every key."""
    t = int(rng.integers(2, 6))
    grade("causal_mask", t, t + int(rng.integers(1, 6)))
    grade("causal_mask", t + 3, t)


@todo("causal-mask")
def test_causal_offset(grade, rng):
    """An offset says how many keys stand before query 0: also 0, also negative."""
    t, s = int(rng.integers(3, 6)), int(rng.integers(6, 9))
    for offset in (0, 2, -2, s, -t):
        grade("causal_mask", t, s, offset)


@todo("padding-mask")
def test_padding_on_the_right(grade, rng):
    """The first keys are real, as many as the length says; the shape leaves room for heads and queries."""
    s = int(rng.integers(5, 9))
    grade("padding_mask", torch.from_numpy(rng.permutation(s)[:4]), s)
    grade("padding_mask", torch.tensor([s, 0, 1]), s)


@todo("padding-mask")
def test_padding_on_the_left(grade, rng):
    """With left padding the last keys are real."""
    s = int(rng.integers(5, 9))
    grade("padding_mask", torch.from_numpy(rng.permutation(s)[:4]), s, True)
    grade("padding_mask", torch.tensor([0, s, s - 1]), s, True)


@todo("padding-mask")
def test_lengths_must_fit(grade, rng):
    """A length beyond the keys, or below zero, is refused."""
    s = int(rng.integers(4, 9))
    grade("padding_mask", torch.tensor([s, 1]), s)
    for wrong in (s + 1, -1):
        grade("padding_mask", torch.tensor([2, wrong, 1]), s, raises=ValueError, match="lengths")


# ---------------------------------------------------------------- the loop


@todo("loop", points=2)
def test_loop_without_a_mask(grade, rng):
    """Every query averages all values, weighted by the softmax of its scores."""
    grade("attend_loop", *problem(rng, b=2, h=2, t=3, s=4, k=5, d=6))
    grade("attend_loop", *(x.float() for x in problem(rng, b=1, h=2, t=4, s=4, k=4, d=4)))


@todo("loop")
def test_loop_with_masks(grade, rng):
    """A masked key does not exist for its query; a query that sees no key gets zeros."""
    q, k, v = problem(rng, b=2, h=2, t=3, s=4, k=3, d=2)
    for mask in broadcast_masks(rng, 2, 2, 3, 4)[2:]:
        no_nan(grade.call("attend_loop", q, k, v, mask), "attend_loop")
        grade("attend_loop", q, k, v, mask)


@todo("loop")
def test_loop_with_large_scores(grade, rng):
    """Scores in the thousands do not overflow."""
    q, k, v = problem(rng, b=1, h=2, t=3, s=5, k=4, d=3)
    out = grade.call("attend_loop", 80 * q, 80 * k, v)
    assert torch.isfinite(out).all(), "scores in the thousands: the output holds NaN or infinity"
    grade("attend_loop", 80 * q, 80 * k, v)


# ---------------------------------------------------------------- the softmax


@todo("masked-softmax", points=2)
def test_weights_of_every_query(grade, rng):
    """Each query spreads weight 1 over the keys it may see, and none over the others."""
    grade("masked_softmax", normal(rng, 2, 3, 4, 6))
    grade("masked_softmax", normal(rng, 5, 5))
    for mask in broadcast_masks(rng, 2, 3, 6, 6)[0:3:2]:
        grade("masked_softmax", 2 * normal(rng, 2, 3, 6, 6), mask)


@todo("masked-softmax")
def test_masked_scores_do_not_matter(grade, rng):
    """Whatever stands at a masked place, NaN and infinity included, changes nothing; large scores do not overflow."""
    scores, mask = normal(rng, 2, 3, 5, 6), random_mask(rng, 2, 1, 5, 6)
    grade("masked_softmax", torch.where(mask, scores, 1000.0), mask)
    grade("masked_softmax", 700 * scores, mask)
    for junk in (INF, NAN):
        grade("masked_softmax", torch.where(mask, scores, junk), mask)


@todo("masked-softmax")
def test_row_that_sees_nothing(grade, rng):
    """A query that sees no key has weights 0, not NaN and not 1/S; the other queries keep theirs."""
    scores, mask = normal(rng, 2, 2, 5, 6), random_mask(rng, 2, 2, 5, 6, blind=7)
    no_nan(grade.call("masked_softmax", scores, mask), "masked_softmax")
    grade("masked_softmax", scores, mask)
    grade("masked_softmax", normal(rng, 3, 4, 6), random_mask(rng, 3, 1, 6, blind=1))


@todo("masked-softmax")
def test_softmax_gradient(grade, rng):
    """The gradient is finite everywhere: 0 at masked scores and in rows that see nothing."""
    scores, mask, d = normal(rng, 2, 2, 5, 6), random_mask(rng, 2, 2, 5, 6, blind=5), normal(rng, 2, 2, 5, 6)
    no_nan(grade.call("softmax_gradient", scores, mask, d), "gradient of masked_softmax")
    grade("softmax_gradient", scores, mask, d)
    grade("softmax_gradient", scores, None, d)


@todo("masked-softmax")
def test_softmax_keeps_the_dtype(grade, rng):
    """Half precision goes in and comes out; scores are not changed in place."""
    scores, mask = 3 * normal(rng, 2, 1, 5, 6), random_mask(rng, 5, 6, blind=1)
    for dtype, atol in ((torch.float16, 3e-3), (torch.bfloat16, 2e-2), (torch.float32, 1e-6)):
        grade("masked_softmax", scores.to(dtype), mask, atol=atol)


# ---------------------------------------------------------------- bmm and einsum


def vectorised(grade, rng, name):
    few, many = problem(rng, b=2, h=2, t=2, s=3), problem(rng, b=3, h=4, t=9, s=11)
    counts = [grade.call("operations", name, *inputs, random_mask(rng, *inputs[0].shape[2:3], inputs[1].size(2)))
              for inputs in (few, many)]  # fmt: skip
    assert counts[0] > 0, "no torch operation was seen"
    assert counts[0] == counts[1], f"{counts[0]} operations for a small input, {counts[1]} for a larger one: a loop?"


@todo("bmm", points=2)
def test_bmm_without_a_mask(grade, rng):
    """Heads and sequences stay apart: each query meets the keys of its own head in its own sequence."""
    grade("attend_bmm", *problem(rng))
    grade("attend_bmm", *problem(rng, b=1, h=1, t=1, s=4, k=3, d=2, dtype=torch.float32))
    grade("attend_bmm", *problem(rng, b=4, h=4, t=4, s=4, k=4, d=4))


@todo("bmm")
def test_bmm_with_masks(grade, rng):
    """Masks of every shape that broadcasts reach the right head, sequence and query; blind queries get zeros."""
    q, k, v = problem(rng)
    for mask in broadcast_masks(rng, 2, 3, 5, 7):
        grade("attend_bmm", q, k, v, mask)


@todo("bmm")
def test_bmm_gradient(grade, rng):
    """Gradients flow to q, k and v, and stay finite where a query sees no key."""
    q, k, v = problem(rng)
    grade("with_gradients", "bmm", q, k, v, random_mask(rng, 2, 1, 5, 7, blind=2), normal(rng, 2, 3, 5, 6))


@todo("bmm")
def test_bmm_has_no_loop(grade, rng):
    """The number of torch operations does not grow with the input."""
    vectorised(grade, rng, "bmm")


@todo("einsum", points=2)
def test_einsum_without_a_mask(grade, rng):
    """Output and weights agree, with six different sizes and with equal ones."""
    grade("attend_einsum", *problem(rng))
    grade("attend_einsum", *problem(rng, b=4, h=4, t=4, s=4, k=4, d=4))


@todo("einsum")
def test_einsum_with_masks(grade, rng):
    """Masks of every shape that broadcasts act on the weights; blind queries get zeros."""
    q, k, v = problem(rng)
    for mask in broadcast_masks(rng, 2, 3, 5, 7):
        grade("attend_einsum", q, k, v, mask)


@todo("einsum")
def test_einsum_has_no_loop(grade, rng):
    """The number of torch operations does not grow with the input."""
    vectorised(grade, rng, "einsum")


# ---------------------------------------------------------------- tiles


@todo("tiled-forward", points=4)
def test_tiles_of_every_size(grade, rng):
    """The tile size changes nothing: one key at a time, a short last tile, one tile for all."""
    q, k, v = problem(rng, s=10)
    for tile in (1, 3, 5, 10, 64):
        grade("tiled_forward", q, k, v, None, False, tile)


@todo("tiled-forward")
def test_scores_that_rise_from_tile_to_tile(grade, rng):
    """When a later tile has a larger score, what was summed before is rescaled; scores in the thousands are exact."""
    q, k, v = problem(rng, t=4, s=9)
    rising = k * torch.linspace(0.2, 3, 9, dtype=k.dtype)[:, None]
    for keys in (rising, rising.flip(2)):
        grade_tiled(grade, 2 * q, keys, v, None, False, 2)
        grade_tiled(grade, 300 * q, keys, v, None, False, 2)
    grade_tiled(grade, 1000 * (q.abs() + 1), -1 - rising.abs(), v, None, False, 2)  # every score far below zero


@todo("tiled-forward")
def test_tiled_masks(grade, rng):
    """Causal, padding and combined masks, also where a query sees nothing in the first tile."""
    q, k, v = problem(rng)
    late = torch.arange(7) >= 4  # nothing to see in the first two tiles
    _, padding, _, blind, _ = broadcast_masks(rng, 2, 3, 5, 7)
    for mask, causal in ((None, True), (late, False), (padding, False), (padding, True), (blind, True)):
        grade_tiled(grade, q, k, v, mask, causal, 2)


@todo("tiled-forward")
def test_tiled_rows_that_see_nothing(grade, rng):
    """A query that sees no key gets zeros and lse = -inf, not NaN; float32 stays float32."""
    grade_tiled(grade, *problem(rng, dtype=torch.float32), random_mask(rng, 2, 3, 5, 7, blind=8), False, 3)


@todo("tiled-forward")
def test_tiled_memory(grade, rng):
    """Memory grows with T, not with T x S: no tensor of that size is made, nor do tiles that are kept add up to one."""
    size = 192
    q, k, v = problem(rng, b=1, h=1, t=size, s=size, k=4, d=4)
    within_memory(grade.call("forward_cost", q, k, v, None, True, 8), size)


@todo("tiled-forward")
def test_tiled_needs_one_pass(grade, rng):
    """Every score is computed once: the largest score is not known in advance, and need not be."""
    q, k, v = problem(rng, b=1, h=2, t=12, s=16, k=8, d=4)
    _, _, products = grade.call("forward_cost", q, k, v, None, False, 4)
    once = 2 * 12 * 16 * (8 + 4)
    assert products <= 1.1 * once, f"{products} multiplications where one pass needs {once}: is q kᵀ computed twice?"


def within_memory(cost, size):
    largest, peak, _ = cost
    assert largest > 0, "no tensor was made"
    assert largest < size * size / 2, f"a tensor of {largest} elements was made; T x T is {size * size}"
    assert peak < size * size / 2, f"{peak} elements were alive at once; T x T is {size * size}"


def backward_problem(rng, mask, causal, **sizes):
    """What tiled_backward is given: out and lse come from torch, so that nobody's tiled_forward is needed."""
    q, k, v = problem(rng, **sizes)
    t, s = q.size(2), k.size(2)
    allowed = torch.ones(t, s, dtype=torch.bool) if mask is None else mask
    allowed = allowed & lower(t, s, s - t) if causal else allowed
    scores = (q @ k.mT / q.size(3) ** 0.5).masked_fill(~allowed, -INF)
    lse = scores.logsumexp(-1)
    weights = (scores - lse.masked_fill(lse == -INF, 0.0)[..., None]).exp()
    return q, k, v, mask, causal, weights @ v, lse, normal(rng, *q.shape[:3], v.size(3))


def grade_backward(grade, inputs, tile):
    q, k, v, mask, causal, *rest = inputs
    return grade("tiled_backward", q, k, v, mask, causal, tile, *rest)


@todo("tiled-backward", points=4)
def test_backward_of_every_tile_size(grade, rng):
    """The three gradients agree, whatever the tile size."""
    inputs = backward_problem(rng, None, False, s=10)
    for tile in (1, 3, 10, 64):
        grade_backward(grade, inputs, tile)


@todo("tiled-backward")
def test_backward_with_masks(grade, rng):
    """A masked key gets no gradient from its query: causal, padding and combined masks."""
    for mask in broadcast_masks(rng, 2, 3, 5, 7)[1:3]:
        for causal in (False, True):
            grade_backward(grade, backward_problem(rng, mask, causal), 2)


@todo("tiled-backward")
def test_backward_of_rows_that_see_nothing(grade, rng):
    """A query that saw no key gets gradient 0 and gives none to the keys: NaN appears nowhere."""
    inputs = backward_problem(rng, random_mask(rng, 2, 1, 5, 7, blind=3), False)
    q, k, v, mask, causal, *rest = inputs
    for name, gradient in zip(("dq", "dk", "dv"), grade.call("tiled_backward", q, k, v, mask, causal, 3, *rest)):
        no_nan(gradient, name)
    grade_backward(grade, inputs, 3)


@todo("tiled-backward")
def test_backward_memory(grade, rng):
    """The weights are computed afresh, a tile at a time: nothing of size T x S is made."""
    size = 192
    q, k, v, mask, causal, *rest = backward_problem(rng, None, True, b=1, h=1, t=size, s=size, k=4, d=4)
    within_memory(grade.call("backward_cost", q, k, v, mask, causal, 8, *rest), size)


# ---------------------------------------------------------------- everything together


@whole_lab(points=2)
def test_all_forms_agree(grade, rng):
    """Outputs and gradients of all four forms agree to 1e-6 with each other and with torch's own attention."""
    q, k, v = problem(rng, b=2, h=2, t=4, s=5)
    mask = lower(4, 5, 1) & (torch.arange(5) >= torch.tensor([0, 3])[:, None])[:, None, None, :]  # padded left
    d_out = normal(rng, 2, 2, 4, 6)
    forms = grade("all_forms", q, k, v, mask, d_out, atol=1e-6)
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out = scaled_dot_product_attention(*leaves, attn_mask=mask)
    wanted = dict(zip(("out", "dq", "dk", "dv"), (out.detach(), *torch.autograd.grad(out, leaves, d_out))))
    for form, found in forms.items():
        for name, value in found.items():
            worst = (value - wanted[name]).abs().max().item()
            assert worst <= 1e-6, f"{form}: {name} is {worst:.1e} away from F.scaled_dot_product_attention"


@whole_lab()
def test_own_masks_and_memory_of_training(grade, rng):
    """Your masks serve your forms, and between the two passes the tiled form keeps nothing of size T x S."""
    size, heads = 96, 2
    q, k, v = problem(rng, b=1, h=heads, t=size, s=size, k=4, d=4)
    matrix = heads * size * size
    kept = grade.call("kept_for_backward", "tiled", q, k, v)
    assert 0 < kept < matrix / 2, f"the tiled form keeps {kept} elements; T x T is {matrix}"
    lengths = torch.from_numpy(rng.integers(1, 8, size=2))
    grade("decoder_attention", *problem(rng, t=5, s=7), lengths)
