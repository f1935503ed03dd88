"""Graded checks of lab 4.2, multi-head attention."""

import torch
from torch import nn

from labkit.grading import todo, whole_lab

F64 = torch.float64


def normal(rng, *shape, dtype=F64):
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def problem(rng, b=2, h=6, g=3, t=5, s=7, k=4, dtype=F64):
    """q, k, v with every size different, so that no axis passes for another."""
    return tuple(normal(rng, b, *size, k, dtype=dtype) for size in ((h, t), (g, s), (g, s)))


def random_mask(rng, *shape, blind=0):
    """Every row sees at least one key, but `blind` rows, which see none."""
    mask = torch.from_numpy(rng.random(shape) < 0.55)
    mask.scatter_(-1, torch.from_numpy(rng.integers(shape[-1], size=(*shape[:-1], 1))), True)
    rows = mask.view(-1, shape[-1])
    rows[torch.from_numpy(rng.permutation(len(rows))[:blind])] = False
    return mask


def real_tokens(rng, b, s):
    """A key mask: a different number of real tokens, at least one, at the start of each sequence; one is full."""
    lengths = torch.from_numpy(rng.permutation(s - 1)[:b] + 1)
    lengths[0] = s
    return torch.arange(s) < lengths[:, None]


def state(rng, d, heads, kv_heads, bias=True):
    """Weights of a layer, as its state_dict names them."""
    rows = d + 2 * kv_heads * (d // heads)
    found = {"qkv_proj.weight": normal(rng, rows, d) / d**0.5, "o_proj.weight": normal(rng, d, d) / d**0.5}
    return found | ({"qkv_proj.bias": normal(rng, rows), "o_proj.bias": normal(rng, d)} if bias else {})


def no_nan(value, what):
    bad = int(value.isnan().sum())
    assert not bad, f"{what}: {bad} values are NaN"


# ---------------------------------------------------------------- the cache


@todo("kv-cache-bytes")
def test_cache_of_one_token(grade, rng):
    """A token costs a key and a value per key-value head and layer, in two bytes a number unless told otherwise."""
    layers, size, heads = int(rng.integers(2, 90)), int(rng.integers(3, 20)) * 8, int(rng.integers(2, 9))
    for kv_heads in (heads, 1):
        grade("cache_bytes", (layers, 4 * heads, kv_heads, size), 1)


@todo("kv-cache-bytes")
def test_cache_of_a_batch(grade, rng):
    """The cache grows with the tokens of each sequence, the sequences, and the bytes of a number."""
    tokens, batch = int(rng.integers(100, 9_000)), int(rng.integers(2, 40))
    for width in (1, 2, 4):
        grade("cache_bytes", (32, 32, 8, 128), tokens, batch, width)


# ---------------------------------------------------------------- heads apart and together


@todo("split-heads")
def test_head_gets_its_columns(grade, rng):
    """Head h gets its own run of neighbouring columns, of every token."""
    grade("split_heads", normal(rng, 2, 5, 12), 3)
    grade("split_heads", normal(rng, 1, 4, 10, dtype=torch.float32), 5)


@todo("split-heads")
def test_split_with_equal_sizes(grade, rng):
    """Tokens and heads do not get mixed up where there are as many of one as of the other."""
    grade("split_heads", normal(rng, 2, 4, 16), 4)
    grade("split_heads", normal(rng, 3, 1, 6), 6)
    grade("split_heads", normal(rng, 3, 5, 6), 1)


@todo("split-heads")
def test_split_refuses_what_does_not_fit(grade, rng):
    """A number of heads that does not divide the width is refused by name."""
    grade("split_heads", normal(rng, 2, 3, 12), 6)
    grade("split_heads", normal(rng, 2, 3, 12), 5, raises=ValueError, match="n_heads")


@todo("merge-heads")
def test_heads_side_by_side(grade, rng):
    """Each token gets its heads side by side, in order."""
    grade("merge_heads", normal(rng, 2, 3, 5, 4))
    grade("merge_heads", normal(rng, 2, 4, 4, 4, dtype=torch.float32))


@todo("merge-heads")
def test_merge_of_any_memory_order(grade, rng):
    """It undoes split_heads, and works whatever the order in memory is."""
    x = normal(rng, 2, 3, 5, 4)
    merged, whole = grade("merge_strided", x)
    assert torch.equal(whole, x.reshape(2, 5, 12)), "merge_heads(split_heads(x)) is not x"
    assert merged.shape == (2, 5, 12), f"expected the shape (2, 5, 12), got {tuple(merged.shape)}"


# ---------------------------------------------------------------- the loop


def per_head(rng, h, g, d, k):
    return normal(rng, h, d, k), normal(rng, g, d, k), normal(rng, g, d, k), normal(rng, h, k, d)


@todo("head-loop", points=2)
def test_loop_of_self_attention(grade, rng):
    """Every head attends with its own matrices, and their contributions add up."""
    x = normal(rng, 2, 5, 6)
    grade("heads_one_by_one", x, x, *per_head(rng, 3, 3, 6, 4))
    grade("heads_one_by_one", x, x, *per_head(rng, 1, 1, 6, 4))


@todo("head-loop")
def test_loop_of_cross_attention(grade, rng):
    """Queries come from x; keys and values come from the context, which may have another length."""
    grade("heads_one_by_one", normal(rng, 2, 3, 6), normal(rng, 2, 5, 6), *per_head(rng, 2, 2, 6, 3))


@todo("head-loop")
def test_loop_with_shared_keys(grade, rng):
    """Neighbouring query heads share a key-value head: two each, and all of them."""
    x, context = normal(rng, 2, 3, 5), normal(rng, 2, 4, 5)
    grade("heads_one_by_one", x, context, *per_head(rng, 6, 3, 5, 2))
    grade("heads_one_by_one", x, context, *per_head(rng, 4, 1, 5, 2))


@todo("head-loop")
def test_loop_with_masks(grade, rng):
    """A mask may differ from head to head; a query that sees no key adds nothing from that head."""
    x, context, weights = normal(rng, 2, 3, 5), normal(rng, 2, 4, 5), per_head(rng, 4, 2, 5, 2)
    for shape in ((2, 4, 3, 4), (4, 1, 4), (2, 1, 1, 4), (3, 4)):
        mask = random_mask(rng, *shape, blind=1)
        no_nan(grade.call("heads_one_by_one", x, context, *weights, mask), "heads_one_by_one")
        grade("heads_one_by_one", x, context, *weights, mask)


# ---------------------------------------------------------------- the projection


@todo("project-qkv", points=2)
def test_rows_of_self_attention(grade, rng):
    """The first rows make queries, then come all keys, then all values; the biases go with them."""
    for kv_heads, bias in ((4, True), (4, False), (2, True), (1, False)):
        grade("projected", state(rng, 12, 4, kv_heads, bias), 4, kv_heads, normal(rng, 2, 5, 12), None)


@todo("project-qkv")
def test_rows_of_cross_attention(grade, rng):
    """Queries are made of x, keys and values of the context, with the same rows and biases as in self-attention."""
    x, context = normal(rng, 2, 3, 12), normal(rng, 2, 5, 12)
    for kv_heads, bias in ((4, True), (2, True), (4, False), (1, False)):
        grade("projected", state(rng, 12, 4, kv_heads, bias), 4, kv_heads, x, context)


@todo("project-qkv")
def test_one_product_or_two(grade, rng):
    """Self-attention takes one matrix product, cross-attention two, and nothing is computed to be thrown away."""
    x, context, weights = normal(rng, 2, 3, 12), normal(rng, 2, 5, 12), state(rng, 12, 4, 2)
    for other, products, wanted in ((None, 1, 6 * 12 * 24), (context, 2, 6 * 12 * 12 + 10 * 12 * 12)):
        cost = grade.call("projection_cost", weights, 4, 2, x, other)
        kind = "self-attention" if other is None else "cross-attention"
        assert cost, f"{kind}: no matrix product was seen"
        assert sum(cost) <= wanted, f"{kind}: {sum(cost)} multiplications, {wanted} are needed: what is not used?"
        assert len(cost) == products, f"{kind}: {len(cost)} matrix products, {products} will do"


@todo("project-qkv")
def test_projection_learns(grade, rng):
    """Gradients reach every row of the weight, in self- and in cross-attention."""
    x, context, weights = normal(rng, 2, 3, 12), normal(rng, 2, 5, 12), state(rng, 12, 4, 2)
    for other, s in ((None, 3), (context, 5)):
        d_q, d_k, d_v = normal(rng, 2, 4, 3, 3), normal(rng, 2, 2, s, 3), normal(rng, 2, 2, s, 3)
        grade("projection_gradients", weights, 4, 2, x, other, d_q, d_k, d_v)


# ---------------------------------------------------------------- grouped


@todo("attend-grouped", points=3)
def test_heads_of_their_own(grade, rng):
    """With as many key-value heads as query heads, each query head meets its own: MHA."""
    grade("attend_grouped", *problem(rng, h=3, g=3))
    grade("attend_grouped", *problem(rng, b=4, h=4, g=4, t=4, s=4, k=4))
    grade("attend_grouped", *problem(rng, h=3, g=3, dtype=torch.float32))


@todo("attend-grouped")
def test_neighbours_share(grade, rng):
    """Query heads 0 to H/G - 1 share key-value head 0, the next ones head 1; with one head all share it."""
    for g in (3, 2, 1):
        grade("attend_grouped", *problem(rng, g=g))


@todo("attend-grouped")
def test_grouped_masks(grade, rng):
    """Masks of every shape that broadcasts reach the right head; a query that sees no key gets zeros, not NaN."""
    q, k, v = problem(rng)
    for shape, blind in (((2, 6, 5, 7), 3), ((6, 1, 7), 1), ((2, 1, 1, 7), 0), ((5, 7), 1)):
        mask = random_mask(rng, *shape, blind=blind)
        for name, value in zip(("out", "weights"), grade.call("attend_grouped", q, k, v, mask)):
            no_nan(value, name)
        grade("attend_grouped", q, k, v, mask)


@todo("attend-grouped")
def test_grouped_gradients(grade, rng):
    """Keys and values collect gradients from all heads that share them."""
    q, k, v = problem(rng)
    grade("with_gradients", "grouped", q, k, v, random_mask(rng, 2, 1, 5, 7, blind=2), normal(rng, 2, 6, 5, 4))


@todo("attend-grouped")
def test_grouped_copies_nothing(grade, rng):
    """One query against a long cache: no tensor of the size of keys or values repeated for every head is made."""
    q, k, v = problem(rng, b=2, h=8, g=2, t=1, s=64, k=16)
    repeated, kept = 2 * 8 * 64 * 16, 2 * 2 * 64 * 16
    operations, largest = grade.call("probe", "attend_grouped", q, k, v)
    assert operations, "no torch operation was seen"
    assert largest <= kept, (
        f"a tensor of {largest} numbers was made: the keys are {kept}, repeated for every head they are {repeated}"
    )


@todo("attend-grouped")
def test_grouped_has_no_loop(grade, rng):
    """The number of torch operations does not grow with heads, groups or sequences."""
    sizes = {"b": 2, "h": 4, "g": 2, "t": 3, "s": 5}, {"b": 3, "h": 12, "g": 4, "t": 5, "s": 6}
    counts = [grade.call("probe", "attend_grouped", *problem(rng, **some))[0] for some in sizes]
    assert counts[0] > 0, "no torch operation was seen"
    assert counts[0] == counts[1], f"{counts[0]} operations for a small input, {counts[1]} for a larger one: a loop?"


@todo("attend-grouped")
def test_grouped_refuses_what_does_not_fit(grade, rng):
    """Key-value heads that do not divide the query heads are refused by name."""
    grade("attend_grouped", *problem(rng, h=6, g=2))
    grade("attend_grouped", *problem(rng, h=6, g=4), raises=ValueError, match="n_kv_heads")


# ---------------------------------------------------------------- fused


@todo("attend-fused", points=2)
def test_fused_without_a_mask(grade, rng):
    """The same as the grouped form, for any number of key-value heads."""
    for g in (6, 3, 1):
        grade("attend_fused", *problem(rng, g=g))
    grade("attend_fused", *problem(rng, dtype=torch.float32))


@todo("attend-fused")
def test_fused_padding(grade, rng):
    """False in key_mask hides that key of that sequence from all heads and queries, also where B = T = S."""
    for b, t, s in ((2, 5, 7), (4, 4, 4)):
        grade("attend_fused", *problem(rng, b=b, t=t, s=s), real_tokens(rng, b, s))


@todo("attend-fused")
def test_fused_causal(grade, rng):
    """Causal: a query sees itself and the past; with more keys than queries the queries are the last ones."""
    for t, s in ((5, 5), (3, 7), (1, 6)):
        grade("attend_fused", *problem(rng, t=t, s=s), None, True)


@todo("attend-fused")
def test_fused_causal_and_padding(grade, rng):
    """Both masks at once; a query that sees no key, as with padding on the left, gets zeros."""
    q, k, v = problem(rng, t=6, s=6)
    for key_mask in (real_tokens(rng, 2, 6), real_tokens(rng, 2, 6).flip(1)):
        no_nan(grade.call("attend_fused", q, k, v, key_mask, True), "attend_fused")
        grade("attend_fused", q, k, v, key_mask, True)
    grade("with_gradients", "fused", q, k, v, real_tokens(rng, 2, 6).flip(1), normal(rng, 2, 6, 6, 4))


@todo("attend-fused", cuda=False)
def test_fused_holds_no_weights(grade, rng):
    """The kernel works in tiles: no tensor of the size of all weights is made, whatever the mask."""
    q, k, v = problem(rng, b=2, h=8, g=4, t=48, s=48, k=4)
    for key_mask, causal in ((None, False), (None, True), (real_tokens(rng, 2, 48), True)):
        _, largest = grade.call("probe", "attend_fused", q, k, v, key_mask, causal)
        size = 2 * 8 * 48 * 48
        assert 0 < largest < size, (
            f"a tensor of {largest} numbers was made and all weights are {size}: which function of torch avoids them?"
        )


# ---------------------------------------------------------------- pooling


@todo("pool-heads")
def test_mean_of_neighbours(grade, rng):
    """Each new head is the mean, row by row, of the neighbouring heads it stands for."""
    grade("pool_heads", normal(rng, 6 * 4, 5), 6, 3)
    grade("pool_heads", normal(rng, 6 * 4, 5), 6, 2)
    grade("pool_heads", normal(rng, 8 * 3, 24), 8, 1)


@todo("pool-heads")
def test_pooled_biases(grade, rng):
    """A bias has no columns, and is pooled in the same way; with as many heads as before nothing changes."""
    grade("pool_heads", normal(rng, 6 * 4), 6, 3)
    rows = normal(rng, 4 * 3, 12)
    kept = grade("pool_heads", rows, 4, 4)
    assert torch.equal(kept, rows), "4 heads pooled to 4 heads should be what they were"


@todo("pool-heads")
def test_pool_refuses_what_does_not_fit(grade, rng):
    """A number of new heads that does not divide the old one is refused by name."""
    grade("pool_heads", normal(rng, 6 * 4, 5), 6, 3)
    grade("pool_heads", normal(rng, 6 * 4, 5), 6, 4, raises=ValueError, match="n_kv_heads")


# ---------------------------------------------------------------- everything together


@whole_lab(points=2)
def test_it_is_torchs_layer(grade, rng):
    """With the weights of nn.MultiheadAttention the layer does what nn.MultiheadAttention does, to 1e-5."""
    theirs = nn.MultiheadAttention(12, 3, batch_first=True, dtype=F64)
    theirs.load_state_dict({name: normal(rng, *value.shape) / 3 for name, value in theirs.state_dict().items()})
    x, context, real = normal(rng, 2, 5, 12), normal(rng, 2, 7, 12), real_tokens(rng, 2, 7)
    found = grade("copied_layer", dict(theirs.state_dict()), 3, x, context, real, atol=1e-5)
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    with torch.no_grad():
        cross, weights = theirs(x, context, context, key_padding_mask=~real, average_attn_weights=False)
        wanted = {
            "causal self-attention": theirs(x, x, x, attn_mask=future)[0],
            "padded self-attention": theirs(context, context, context, key_padding_mask=~real)[0],
            "padded cross-attention": cross,
            "weights of the heads": weights,
        }
    for name, value in wanted.items():
        worst = (found[name] - value).abs().max().item()
        assert worst <= 1e-5, f"{name}: {worst:.1e} away from nn.MultiheadAttention"


@whole_lab(points=1)
def test_layer_loop_and_cache_agree(grade, rng):
    """The fused layer equals the loop over its heads, with shared key-value heads and after pooling them."""
    x, context, real = normal(rng, 2, 5, 12), normal(rng, 2, 7, 12), real_tokens(rng, 2, 7)
    found = grade("three_ways", state(rng, 12, 6, 2, bias=False), 6, 2, x, context, real)
    for name in ("shared", "pooled"):
        layer, loop = found[name]
        worst = (layer - loop).abs().max().item()
        assert worst <= 1e-9, f"{name} key-value heads: layer and loop differ by {worst:.1e}"
    assert found["shared cache"] == 2 * found["pooled cache"], "two key-value heads keep twice as much as one"
