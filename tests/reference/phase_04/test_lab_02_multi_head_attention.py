"""The reference of lab 4.2 against nn.MultiheadAttention, torch's grouped attention, and its own claims."""

import copy
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from labkit import catalogue
from labkit.reference import multi_head_attention as lab
from labkit.reference.multi_head_attention import lookup_task, multi_head_report

README = (catalogue.find("4.2").path / "README.md").read_text(encoding="utf-8")


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def torch_layer(seed=0, d=24, heads=6, bias=True, dtype=torch.float64, **sizes):
    torch.manual_seed(seed)
    layer = nn.MultiheadAttention(d, heads, bias=bias, batch_first=True, dtype=dtype, **sizes)
    for name, value in layer.named_parameters():
        if "bias" in name:
            nn.init.normal_(value)  # they start at 0, which would hide a bias in the wrong place
    return layer


def grouped_layer(seed=0, d=24, heads=6, kv_heads=2, bias=True):
    torch.manual_seed(seed)
    return lab.MultiHeadAttention(d, heads, kv_heads, bias).double()


def worst(found, wanted):
    return (found - wanted).abs().max().item()


# ---------------------------------------------------------------- nn.MultiheadAttention


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["f64", "f32"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_it_is_torchs_layer(dtype, tolerance, bias):
    """Self and cross, causal and padded, outputs, weights of each head, and gradients down to the parameters."""
    theirs = torch_layer(bias=bias, dtype=dtype)
    ours = lab.from_torch(theirs)
    x, context = normal(1, 2, 5, 24, dtype=dtype), normal(2, 2, 7, 24, dtype=dtype)
    real = torch.arange(7) < torch.tensor([[7], [3]])
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    per_head, weights = theirs(x, context, context, key_padding_mask=~real, average_attn_weights=False)
    assert worst(ours(x, context, real), per_head) < tolerance
    assert worst(ours.weights(x, context, real[:, None, None]), weights) < tolerance
    wanted = theirs(x, x, x, attn_mask=future, need_weights=False)[0]
    assert worst(ours(x, causal=True), wanted) < tolerance
    both = theirs(context, context, context, key_padding_mask=~real, need_weights=False,
                  attn_mask=torch.ones(7, 7, dtype=torch.bool).triu(1))[0]  # fmt: skip
    assert worst(ours(context, key_mask=real, causal=True), both) < tolerance
    gradients = [
        torch.autograd.grad((out * normal(3, 2, 5, 24, dtype=dtype)).sum(), [layer_in, layer_out])
        for out, layer_in, layer_out in (
            (ours(x, context, real), ours.qkv_proj.weight, ours.o_proj.weight),
            (theirs(x, context, context, key_padding_mask=~real)[0], theirs.in_proj_weight, theirs.out_proj.weight),
        )
    ]
    assert all(worst(a, b) < 10 * tolerance for a, b in zip(*gradients))


def test_the_eval_fast_path_agrees_too():
    """In eval mode without gradients torch's layer runs other code."""
    theirs = torch_layer(dtype=torch.float32).eval()
    ours, x = lab.from_torch(theirs), normal(4, 2, 5, 24, dtype=torch.float32)
    with torch.no_grad():
        assert worst(ours(x), theirs(x, x, x, need_weights=False)[0]) < 1e-5


def test_torchs_other_widths_are_refused():
    with pytest.raises(ValueError, match=r"layer: expected kdim = vdim = 24, got 8 and 24"):
        lab.from_torch(torch_layer(kdim=8))


# ---------------------------------------------------------------- the forms among themselves


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 7), st.integers(0, 10_000), st.booleans()
)
def test_grouped_is_torchs_gqa(kv_heads, group, t, s, seed, masked):
    """For any H, G, T, S: outputs and gradients, rows that see nothing included."""
    shapes = (2, kv_heads * group, t, 3), (2, kv_heads, s, 3), (2, kv_heads, s, 3)
    leaves = [normal(seed + i, *shape).requires_grad_() for i, shape in enumerate(shapes)]
    mask = normal(seed, 2, kv_heads * group, t, s) > 0 if masked else None
    results = []
    for out in (
        lab.attend_grouped(*leaves, mask)[0],
        F.scaled_dot_product_attention(*leaves, attn_mask=mask, enable_gqa=True),
    ):
        results.append([out, *torch.autograd.grad(out, leaves, normal(seed, *out.shape))])
    assert all(worst(a, b) < 1e-12 for a, b in zip(*results))
    out, weights = lab.attend_grouped(*leaves, mask)
    seen = torch.ones(t, dtype=torch.float64) if mask is None else mask.any(-1).double()
    torch.testing.assert_close(weights.sum(-1), seen.expand(weights.shape[:3]))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 10_000), st.booleans(), st.booleans())
def test_fused_is_grouped(t, s, seed, causal, padded):
    q, k, v = normal(seed, 2, 4, t, 3), normal(seed + 1, 2, 2, s, 3), normal(seed + 2, 2, 2, s, 3)
    key_mask = normal(seed, 2, s) > 0 if padded else None
    mask = torch.ones(2, 1, t, s, dtype=torch.bool)
    if padded:
        mask = mask & key_mask[:, None, None]
    if causal:
        mask = mask.tril(s - t)
    assert worst(lab.attend_fused(q, k, v, key_mask, causal), lab.attend_grouped(q, k, v, mask)[0]) < 1e-12


@pytest.mark.parametrize("kv_heads", [6, 3, 2, 1])
def test_project_then_add_is_concatenate_then_project(kv_heads):
    """The layer concatenates its heads and projects once; the loop projects each head and adds."""
    layer = grouped_layer(kv_heads=kv_heads, bias=False)
    x, context, real = normal(1, 2, 5, 24), normal(2, 2, 7, 24), torch.arange(7) < torch.tensor([[7], [3]])
    loop = lab.heads_one_by_one(x, context, *layer.per_head(), real[:, None, None])
    assert worst(layer(x, context, real), loop) < 1e-12


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.integers(0, 1000))
def test_split_and_merge_undo_each_other(b, t, heads, size, seed):
    x = normal(seed, b, t, heads * size)
    split = lab.split_heads(x, heads)
    assert split.shape == (b, heads, t, size) and torch.equal(lab.merge_heads(split), x)
    assert all(torch.equal(split[:, h], x[..., h * size : (h + 1) * size]) for h in range(heads))
    assert torch.equal(lab.merge_heads(split.clone(memory_format=torch.contiguous_format)), x)


def test_a_self_projection_is_a_cross_projection():
    layer, x = grouped_layer(), normal(1, 2, 5, 24)
    assert all(worst(a, b) < 1e-12 for a, b in zip(layer.project(x), layer.project(x, x)))


# ---------------------------------------------------------------- properties of the layer


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 1000))
def test_the_order_of_keys_does_not_matter_and_that_of_tokens_goes_through(seed):
    layer, x, context = grouped_layer(seed), normal(seed, 2, 5, 24), normal(seed + 1, 2, 7, 24)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    assert worst(layer(x, context[:, order]), layer(x, context)) < 1e-12
    assert worst(layer(context[:, order]), layer(context)[:, order]) < 1e-12


def test_no_information_from_the_future_or_from_padding():
    """By value and by gradient."""
    layer, x = grouped_layer(), normal(1, 2, 7, 24).requires_grad_()
    layer(x, causal=True)[:, 3].sum().backward()
    assert not x.grad[:, 4:].any() and x.grad[:, :4].abs().amin(0).amax(-1).gt(1e-9).all()
    real = torch.arange(7) < torch.tensor([[7], [4]])
    changed = x.detach().clone()
    changed[1, 4:] += 100
    before, after = layer(x, key_mask=real)[1, :4], layer(changed, key_mask=real)[1, :4]
    assert torch.equal(before, after)


def test_cached_keys_continue_a_sequence():
    """One token at a time against kept keys and values gives what the whole sequence gives."""
    layer, x = grouped_layer(), normal(1, 2, 6, 24)
    whole, steps, kept = layer(x, causal=True), [], []
    for t in range(6):
        q, k, v = layer.project(x[:, t : t + 1])
        kept = [torch.cat([old, new], 2) for old, new in zip(kept, (k, v))] if kept else [k, v]
        steps.append(layer.o_proj(lab.merge_heads(lab.attend_fused(q, *kept, causal=True))))
    assert worst(torch.cat(steps, 1), whole) < 1e-12
    numbers = sum(x.numel() for x in kept)
    assert lab.kv_cache_bytes(lab.CacheShape(1, 6, 2, 4), 6, batch=2, bytes_per_number=8) == 8 * numbers


@pytest.mark.parametrize("kv_heads", [6, 3, 2, 1])
def test_parameters(kv_heads):
    """D² for queries and for the output, D·G·K for keys and for values, and the biases."""
    count = sum(p.numel() for p in grouped_layer(kv_heads=kv_heads).parameters())
    assert count == 2 * 24 * 24 + 2 * 24 * kv_heads * 4 + 24 + 2 * kv_heads * 4 + 24


# ---------------------------------------------------------------- pooling


@pytest.mark.parametrize("bias", [True, False])
def test_pooling_equal_heads_changes_nothing(bias):
    """A GQA layer written out as MHA, with every key-value head repeated, pools back to what it was."""
    layer = grouped_layer(bias=bias)
    written_out = lab.MultiHeadAttention(24, 6, 6, bias).double()
    state = copy.deepcopy(layer.state_dict())
    for name in [name for name in state if name.startswith("qkv")]:
        q, k, v = state[name].split(layer.sizes)
        k, v = (part.unflatten(0, (2, 4)).repeat_interleave(3, 0).flatten(0, 1) for part in (k, v))
        state[name] = torch.cat([q, k, v])
    written_out.load_state_dict(state)
    x = normal(1, 2, 5, 24)
    assert worst(written_out(x), layer(x)) < 1e-12
    pooled = lab.with_kv_heads(written_out, 2)
    assert worst(pooled(x), layer(x)) < 1e-12 and pooled.qkv_proj.weight.shape == layer.qkv_proj.weight.shape
    assert worst(lab.with_kv_heads(pooled, 1)(x), lab.with_kv_heads(written_out, 1)(x)) < 1e-12


def test_pooling_by_hand():
    rows = torch.arange(8.0)  # four heads of two rows: 0 1, 2 3, 4 5, 6 7
    assert lab.pool_heads(rows, 4, 2).tolist() == [1, 2, 5, 6] and lab.pool_heads(rows, 4, 1).tolist() == [3, 4]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: lab.MultiHeadAttention(24, 5), ValueError, r"n_heads: expected a divisor of d_model = 24, got 5"),
        (lambda: lab.MultiHeadAttention(24, 6, 4), ValueError, r"n_kv_heads: .*6 query heads, got 4"),
        (lambda: lab.MultiHeadAttention(24, 6, 0), ValueError, r"n_kv_heads: .*got 0"),
        (lambda: grouped_layer()(normal(0, 5, 24)), ValueError, r"x: expected \(B, tokens, 24\), got \(5, 24\)"),
        (lambda: grouped_layer()(normal(0, 2, 5, 24), normal(0, 2, 5, 12)), ValueError, r"context: .*\(2, 5, 12\)"),
        (lambda: grouped_layer()(normal(0, 2, 5, 24), normal(0, 3, 5, 24)), ValueError, r"context: .*\(3, 5, 24\)"),
        (lambda: grouped_layer()(normal(0, 2, 5, 24), key_mask=torch.ones(2, 5)), TypeError, "key_mask: .*bool"),
        (
            lambda: grouped_layer()(normal(0, 2, 5, 24), normal(0, 2, 7, 24), torch.ones(2, 5, dtype=torch.bool)),
            ValueError,
            r"key_mask: expected \(2, 7\), got \(2, 5\)",
        ),
        (lambda: lab.split_heads(normal(0, 1, 2, 7), 3), ValueError, "n_heads: expected a divisor of the width 7"),
        (lambda: lab.attend_grouped(*(normal(0, 1, h, 2, 3) for h in (6, 4, 4))), ValueError, "n_kv_heads"),
    ],
)
def test_bad_input_is_named(call, error, match):
    with pytest.raises(error, match=match):
        call()


# ---------------------------------------------------------------- the task of the report


def test_lookups_are_answerable():
    data = lookup_task.lookups(200, 4, torch.Generator().manual_seed(0), "cpu")
    lengths = data.real.sum(1)
    assert (data.places < lengths[:, None, None]).all() and lengths.min() >= 6 and lengths.max() == 12
    for job in range(4):
        field = data.items[..., job]
        assert (field.sort(1).values.diff(dim=1) > 0).all()  # no symbol twice: the question has one answer
        found = field.gather(1, data.places[..., job])
        assert torch.equal(found, data.asked[..., job])
        assert torch.equal(data.items[..., (job + 1) % 4].gather(1, data.places[..., job]), data.answers[..., job])


def test_untrained_models_guess():
    torch.manual_seed(0)
    exam = lookup_task.lookups(300, 2, torch.Generator().manual_seed(1), "cpu")
    model = lookup_task.LookupModel(lab, 2, 2, 1)
    assert lookup_task.score(model, exam).mean() < 0.2
    torch.testing.assert_close(model.weights(exam).sum(-1), torch.ones(300, 2, 8))


# ---------------------------------------------------------------- worked numbers of the README


def says(*sentences):
    text = re.sub(r"<!--.*?-->", "", " ".join(README.split()))
    missing = [sentence for sentence in sentences if sentence not in text]
    assert not missing, f"the README does not say: {missing}"


def test_cache_by_hand():
    llama = lab.CacheShape(32, 32, 8, 128)
    assert lab.kv_cache_bytes(llama, 1) == 2 * 32 * 8 * 128 * 2 == 128 * 1024
    assert lab.kv_cache_bytes(llama, 8192) == 2**30 and lab.kv_cache_bytes(llama, 8192, batch=32) == 32 * 2**30
    assert round(lab.kv_cache_bytes(llama, 8192) / 1e9, 4) == 1.0737
    says("128 KiB a token, and 1.00 GiB (1.07 GB)", "131,072 bytes = 128 KiB a token")
    assert lab.kv_cache_bytes(lab.CacheShape(80, 64, 8, 128), 131_072) == 40 * 2**30


def test_picking_any_item():
    lengths = range(6, 13)
    says(f"picking any item of the sequence gives {100 * sum(1 / n for n in lengths) / len(lengths):.0f} %")


def test_printed_models():
    sizes = {
        name: lab.kv_cache_bytes(lab.CacheShape(*shape), *rest)
        for name, (shape, rest) in multi_head_report.MODELS.items()
    }
    assert sizes["Llama-3-8B if MHA"] == 4 * sizes["Llama-3-8B"] == 32 * sizes["Llama-3-8B if MQA"]
    assert sizes["Llama-3-70B"] == 2 * sizes["Llama-3-70B, FP8"]
