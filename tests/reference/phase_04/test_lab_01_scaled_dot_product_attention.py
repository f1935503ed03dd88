"""The reference of lab 4.1 against torch's attention, finite differences, and its own claims about memory."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import multi_head_attention_forward, scaled_dot_product_attention

from labkit.reference import scaled_dot_product_attention as lab
from labkit.reference.scaled_dot_product_attention import attention_report

FORMS = {
    "loop": lab.attend_loop,
    "bmm": lab.attend_bmm,
    "einsum": lambda *inputs: lab.attend_einsum(*inputs)[0],
    "tiled": lambda *inputs: lab.attend_tiled(*inputs, tile=3),
}


def problem(seed, b=2, h=3, t=5, s=7, k=4, d=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((b, h, t, k), (b, h, s, k), (b, h, s, d), (b, h, t, d))
    q, k, v, d_out = (torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)
    return q, k, v, d_out


def run_with_gradients(attend, q, k, v, d_out, *mask):
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out = attend(*leaves, *mask)
    return out.detach(), *torch.autograd.grad(out, leaves, d_out)


def distance(found, wanted):
    return max((a - b).abs().max().item() for a, b in zip(found, wanted))


# ---------------------------------------------------------------- torch's own attention


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
@pytest.mark.parametrize("name", FORMS)
def test_forms_agree_with_torch(name, backend):
    """Outputs and gradients in float64, unmasked, masked, and with rows that see nothing."""
    q, k, v, d_out = problem(1, d=4)  # torch's flash kernel wants values of the size of the keys
    generator = torch.Generator().manual_seed(2)
    mask = torch.rand(2, 3, 5, 7, generator=generator) < 0.5
    mask[0, 1, 2] = mask[1, 0, 4] = False
    for given_mask in (None, mask, lab.causal_mask(5, 7), lab.padding_mask(torch.tensor([7, 2]), 7).expand(2, 3, 5, 7)):
        found = run_with_gradients(FORMS[name], q, k, v, d_out, given_mask)
        with sdpa_kernel(backend):
            wanted = run_with_gradients(scaled_dot_product_attention, q, k, v, d_out, given_mask)
        assert distance(found, wanted) < 1e-12
        assert all(x.isfinite().all() for x in found)


@pytest.mark.parametrize("name", FORMS)
def test_float32_within_a_few_roundings(name):
    q, k, v, d_out = problem(3, t=16, s=16, k=32, d=32, h=2, dtype=torch.float32)
    found = run_with_gradients(FORMS[name], q, k, v, d_out, lab.causal_mask(16, 16))
    wanted = run_with_gradients(scaled_dot_product_attention, q, k, v, d_out, lab.causal_mask(16, 16))
    assert 0 < distance(found, wanted) < 1e-5


def test_causal_mask_is_torchs_lower_right_one():
    """torch's is_causal=True lines up the first query with the first key; with cached keys the last ones should."""
    q, k, v, _ = problem(4)
    lower_right = scaled_dot_product_attention(q, k, v, causal_lower_right(5, 7))
    torch.testing.assert_close(lab.attend_bmm(q, k, v, lab.causal_mask(5, 7)), lower_right)
    upper_left = scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(lab.attend_bmm(q, k, v, lab.causal_mask(5, 7, offset=0)), upper_left)
    assert (lower_right - upper_left).abs().max() > 0.1


def test_multi_head_attention_means_the_opposite_by_true():
    """nn.MultiheadAttention's key_padding_mask is True where a key is hidden."""
    q, k, v, _ = problem(5, b=2, h=1, t=5, s=7, k=4, d=4)
    mask = lab.padding_mask(torch.tensor([7, 3]), 7)
    eye = torch.eye(4, dtype=q.dtype)
    out, _ = multi_head_attention_forward(
        *(x[:, 0].transpose(0, 1) for x in (q, k, v)), 4, 1, torch.cat([eye, eye, eye]), None, None, None, False, 0.0,
        eye, None, key_padding_mask=~mask[:, 0, 0], need_weights=False,
    )  # fmt: skip
    torch.testing.assert_close(lab.attend_bmm(q, k, v, mask)[:, 0], out.transpose(0, 1))


def test_gradients_agree_with_finite_differences():
    q, k, v, _ = problem(6, b=1, h=2, t=3, s=5, k=2, d=2)
    mask = lab.padding_mask(torch.tensor([3]), 5, left=True)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    assert torch.autograd.gradcheck(lambda *x: lab.attend_tiled(*x, mask, causal=True, tile=2), leaves)
    assert torch.autograd.gradcheck(lambda *x: lab.attend_bmm(*x, mask), leaves)


# ---------------------------------------------------------------- properties


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 6), st.integers(1, 12), st.integers(1, 15), st.integers(0, 10_000), st.booleans(),
    st.sampled_from([0.1, 1.0, 30.0]),
)  # fmt: skip
def test_tiles_change_nothing(t, s, tile, seed, causal, scale):
    q, k, v, d_out = problem(seed, b=2, h=2, t=t, s=s, k=3, d=2)
    mask = torch.rand(2, 1, t, s, generator=torch.Generator().manual_seed(seed)) < 0.6
    whole = lab.combine_masks(mask, lab.causal_mask(t, s) if causal else None)
    found = run_with_gradients(lambda *x: lab.attend_tiled(*x, mask, causal, tile), scale * q, k, v, d_out)
    wanted = run_with_gradients(lab.attend_bmm, scale * q, k, v, d_out, whole)
    assert distance(found, wanted) < 1e-10
    scores = (scale * q @ k.mT / math.sqrt(3)).masked_fill(~whole, -torch.inf)
    _, lse = lab.tiled_forward(scale * q, k, v, mask, causal, tile)
    torch.testing.assert_close(lse, scores.logsumexp(-1))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 10_000))
def test_weights_are_a_distribution_over_the_visible_keys(t, s, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = 5 * torch.randn(2, t, s, generator=generator, dtype=torch.float64)
    mask = torch.rand(2, t, s, generator=generator) < 0.5
    weights = lab.masked_softmax(scores, mask)
    assert (weights >= 0).all() and not weights[~mask].any()
    torch.testing.assert_close(weights.sum(-1), mask.any(-1).double())
    torch.testing.assert_close(lab.masked_softmax(scores + 1234, mask), weights)  # only differences of scores count
    order = torch.randperm(s, generator=generator)
    torch.testing.assert_close(lab.masked_softmax(scores[..., order], mask[..., order]), weights[..., order])


@pytest.mark.parametrize("name", FORMS)
def test_no_information_from_the_future(name):
    """Changing key and value 4 changes no output of a query before 4, and every output from 4 on."""
    q, k, v, _ = problem(7, t=7)
    mask = lab.causal_mask(7, 7)
    before = FORMS[name](q, k, v, mask)
    k[:, :, 4], v[:, :, 4] = k[:, :, 4] + 1, v[:, :, 4] - 1
    change = (FORMS[name](q, k, v, mask) - before).abs().amax((0, 1, 3))
    assert not change[:4].any() and (change[4:] > 1e-3).all()


def test_attention_does_not_know_the_order_of_its_keys():
    q, k, v, _ = problem(8)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    torch.testing.assert_close(lab.attend_bmm(q, k[:, :, order], v[:, :, order]), lab.attend_bmm(q, k, v))


def test_masks_by_hand():
    rows = lab.causal_mask(2, 4).tolist()
    assert rows == [[True, True, True, False], [True, True, True, True]]
    assert not lab.causal_mask(3, 1)[:2].any()  # queries that stand before the only key
    lengths = torch.tensor([0, 1, 3])
    right, left = (lab.padding_mask(lengths, 3, left=side)[:, 0, 0].tolist() for side in (False, True))
    assert right == [[False] * 3, [True, False, False], [True] * 3]
    assert left == [[False] * 3, [False, False, True], [True] * 3]
    assert lab.combine_masks() is None and lab.combine_masks(None, None) is None


# ---------------------------------------------------------------- the folklore about masks


def test_minus_a_billion():
    """It leaks nothing next to a visible key, does not exist in float16, and spreads a blind row evenly."""
    assert torch.tensor([5.0, -1e9]).softmax(-1).tolist() == [1.0, 0.0]
    assert torch.tensor(-1e9).half().item() == -math.inf
    assert torch.full((4,), -1e9).softmax(-1).tolist() == [0.25] * 4
    assert torch.full((4,), -math.inf).softmax(-1).isnan().all()


# ---------------------------------------------------------------- memory, refusals


@pytest.mark.parametrize("name", ["bmm", "tiled"])
def test_what_autograd_keeps(name):
    """Doubling T doubles what the tiled form keeps and quadruples what bmm keeps."""

    def kept(size):
        q, k, v, _ = problem(9, b=1, h=2, t=size, s=size)
        blocks = {}
        with torch.autograd.graph.saved_tensors_hooks(lambda x: blocks.setdefault(x.data_ptr(), x), lambda x: x):
            FORMS[name](*(x.requires_grad_() for x in (q, k, v)))
        return sum(x.numel() for x in blocks.values())

    ratio = kept(128) / kept(64)
    assert ratio == pytest.approx(2, abs=0.1) if name == "tiled" else ratio > 3.5


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_bad_input_is_named(form):
    q, k, v, _ = problem(10)
    for inputs, error, match in (
        ((q[0], k[0], v[0], None), ValueError, r"expected \(B, H, T, K\).*got \[\(3, 5, 4\)"),
        ((q, k[:, :2], v, None), ValueError, "q, k, v"),
        ((q, k[..., :3], v, None), ValueError, r"k: expected S = 7.*K = 4.*got \(2, 3, 7, 3\)"),
        ((q, k, v[:, :, :6], None), ValueError, "k: expected S = 6"),
        ((q, k.float(), v, None), TypeError, "one floating-point dtype.*torch.float32"),
        ((q, k, v, torch.zeros(5, 7)), TypeError, "mask: expected bool, True = may look, got torch.float32"),
        ((q, k, v, torch.ones(2, 7, dtype=torch.bool)), ValueError, r"mask: .*\(2, 3, 5, 7\), got \(2, 7\)"),
    ):
        with pytest.raises(error, match=match):
            form(*inputs)


def test_other_bad_arguments():
    q, k, v, _ = problem(11)
    with pytest.raises(ValueError, match="tile: expected at least 1, got 0"):
        lab.attend_tiled(q, k, v, tile=0)
    with pytest.raises(ValueError, match=r"lengths: expected 0 to 4 \(n_keys\), got \[2, 5\]"):
        lab.padding_mask(torch.tensor([2, 5]), 4)


# ---------------------------------------------------------------- what the report claims


def test_variance_of_a_dot_product_is_k():
    generator = torch.Generator().manual_seed(0)
    for size in (4, 64):
        q, k = (torch.randn(40_000, size, generator=generator, dtype=torch.float64) for _ in range(2))
        assert (q * k).sum(1).var().item() == pytest.approx(size, rel=0.05)


def test_jacobian_norm():
    weights = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).softmax(-1)
    full = torch.diag_embed(weights) - weights[:, :, None] * weights[:, None, :]
    torch.testing.assert_close(attention_report.jacobian_norm(weights), full.flatten(1).norm(dim=1))


def test_questions_are_answerable():
    letters, digits, lengths, places = attention_report.sequences(200, torch.Generator().manual_seed(0))
    assert (places < lengths[:, None]).all() and (places.sort(1).values.diff(dim=1) > 0).all()
    assert (letters.sort(1).values.diff(dim=1) > 0).all() and digits.max() < attention_report.DIGITS


def test_steps_to():
    accuracy = [0.0] * 20 + [1.0] * 20
    assert attention_report.steps_to(accuracy, 0.9) == 29 and attention_report.steps_to([0.5] * 30, 0.9) is None


# ---------------------------------------------------------------- worked numbers of the README


def test_online_softmax_by_hand():
    first, second = 1 + math.exp(-2), 1 + math.exp(-3)
    assert round(first, 4) == 1.1353 and round(first * math.exp(-2), 4) == 0.1537 and round(second, 4) == 1.0498
    direct = sum(math.exp(score - 5) for score in (1, 3, 5, 2))
    assert first * math.exp(-2) + second == pytest.approx(direct) and round(direct, 4) == 1.2034


def test_memory_of_a_score_matrix():
    assert 32 * 32_768**2 * 2 == 64 * 2**30 and 32 * 32_768 * 128 * 2 == 0.25 * 2**30
