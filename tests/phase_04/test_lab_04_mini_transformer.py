"""Graded checks of lab 4.4, Mini transformer."""

import math

import torch

from labkit.grading import todo, whole_lab

GPT2 = {"vocab_size": 13, "block_size": 8, "n_layers": 2, "n_heads": 2, "d_model": 8}
LLAMA = {
    **GPT2, "n_heads": 4, "d_model": 16, "n_kv_heads": 2, "norm": "rmsnorm", "pos": "rope", "mlp": "swiglu",
    "bias": False, "tie_weights": False,
}  # fmt: skip


def normal(rng, *shape, dtype=torch.float64):
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def random_ids(rng, *shape, vocab_size=13):
    return torch.from_numpy(rng.integers(vocab_size, size=shape))


def seed_of(rng):
    return int(rng.integers(2**31))


def angles(rng, *shape):
    """Cosines and sines of random angles, (..., T, K/2)."""
    angle = 3 * normal(rng, *shape)
    return angle.cos(), angle.sin()


def visible_mask(rng, *shape):
    """A bool mask in which every query sees at least its own key."""
    return torch.from_numpy(rng.random(shape) < 0.5) | torch.eye(shape[-1], dtype=torch.bool)


# ---------------------------------------------------------------- rms-norm


@todo("rms-norm")
def test_rms_norm(grade, rng):
    """Every vector is divided by the root of its own mean square, and scaled by the weight; its mean stays in it."""
    for shape in ((2, 5, 8), (4, 4, 4), (1, 1, 3)):
        grade("rms_norm", normal(rng, *shape) + 1.5, normal(rng, shape[-1]), 1e-5, rtol=1e-10, atol=1e-10)


@todo("rms-norm")
def test_rms_norm_of_small_vectors(grade, rng):
    """eps is added to the mean square, under the root: that decides what happens to vectors near 0."""
    grade("rms_norm", 1e-3 * normal(rng, 3, 6), normal(rng, 6), 1e-5, rtol=1e-9)
    grade("rms_norm", 0.3 * normal(rng, 3, 6), normal(rng, 6), 0.5)


@todo("rms-norm")
def test_rms_norm_in_half_precision(grade, rng):
    """16 bits go in and come out, and in between nothing overflows: 300² has no place in float16."""
    x = 300 * (normal(rng, 4, 16) + 1)
    for dtype, rtol in ((torch.float16, 4e-3), (torch.bfloat16, 3e-2), (torch.float32, 1e-5)):
        grade("rms_norm", x.to(dtype), normal(rng, 16).to(dtype), 1e-5, rtol=rtol, atol=rtol)


@todo("rms-norm")
def test_gradient_of_rms_norm(grade, rng):
    """The gradient passes through the division as well, and reaches the weight."""
    grade("rms_norm_gradient", normal(rng, 2, 3, 6), normal(rng, 6), normal(rng, 2, 3, 6))


# ---------------------------------------------------------------- swiglu


@todo("swiglu")
def test_swiglu(grade, rng):
    """silu acts on the gate, and only there; the two halves are multiplied."""
    for bias in (False, True):
        sizes = {"d_model": 6, "n_heads": 1, "d_ff": 10, "mlp": "swiglu", "bias": bias}
        grade("swiglu", 2 * normal(rng, 2, 4, 6), sizes, seed_of(rng))


@todo("swiglu")
def test_swiglu_in_float32(grade, rng):
    """float32 stays float32, at the width that the config gives when d_ff is left open."""
    x = normal(rng, 3, 2, 12, dtype=torch.float32)
    grade("swiglu", x, {"d_model": 12, "n_heads": 2, "mlp": "swiglu"}, seed_of(rng), atol=1e-5)


# ---------------------------------------------------------------- attention


@todo("attention", points=3)
def test_causal_attention(grade, rng):
    """Each head attends with its own slice of the channels, and the heads come back side by side."""
    for heads, width, bias in ((1, 4, False), (2, 8, True), (4, 4, True)):
        sizes = {"n_heads": heads, "d_model": width, "bias": bias}
        grade("attention", normal(rng, 2, 4, width), sizes, seed_of(rng))
    x = normal(rng, 2, 5, 12, dtype=torch.float32)
    grade("attention", x, {"n_heads": 3, "d_model": 12}, seed_of(rng), atol=1e-5)


@todo("attention")
def test_nothing_comes_from_the_future(grade, rng):
    """Output t depends on the inputs 0 ... t and on no other, by value and by gradient."""
    sizes = {"n_heads": 2, "d_model": 8}
    moved, slope = grade("attention_influence", normal(rng, 2, 5, 8), sizes, seed_of(rng))
    for name, found in (("value", moved), ("gradient", slope)):
        late, early = found.triu(1).max().item(), found[torch.ones(5, 5).tril().bool()].min().item()
        assert late == 0, f"by {name}, an output depends on a later input ({late:.2g})"
        assert early > 1e-9, f"by {name}, some output does not depend on an earlier input, or on its own"


@todo("attention")
def test_grouped_heads(grade, rng):
    """With fewer key heads than query heads, neighbouring query heads share one."""
    for heads, kv_heads in ((4, 2), (6, 2), (6, 3), (4, 1)):
        sizes = {"n_heads": heads, "n_kv_heads": kv_heads, "d_model": 4 * heads, "bias": False}
        grade("attention", normal(rng, 2, 5, 4 * heads), sizes, seed_of(rng))


@todo("attention")
def test_rotated_queries_and_keys(grade, rng):
    """Queries and keys are rotated, values are not; angles may differ between the sequences of a batch."""
    sizes = {"n_heads": 4, "n_kv_heads": 2, "d_model": 16, "pos": "rope"}
    grade("rotated_attention", normal(rng, 2, 5, 16), sizes, seed_of(rng), *angles(rng, 5, 2))
    grade("rotated_attention", normal(rng, 2, 5, 16), sizes, seed_of(rng), *angles(rng, 2, 5, 2))


@todo("attention")
def test_masks_say_everything(grade, rng):
    """A mask is all there is: bool or added to the scores, of any shape that broadcasts, with nothing causal on top."""
    sizes, x = {"n_heads": 2, "d_model": 8}, normal(rng, 3, 5, 8)
    for shape in ((5, 5), (3, 1, 5, 5), (3, 2, 5, 5)):
        grade("masked_attention", x, sizes, seed_of(rng), visible_mask(rng, *shape))
    grade("masked_attention", x, sizes, seed_of(rng), 2 * normal(rng, 2, 5, 5))
    bias = normal(rng, 2, 5, 5).masked_fill(~visible_mask(rng, 5, 5), -math.inf)
    grade("masked_attention", x, sizes, seed_of(rng), bias)


@todo("attention")
def test_queries_that_see_nothing(grade, rng):
    """A query that may look at nothing gets zeros from its heads, not NaN: padding on the left makes such queries."""
    sizes, x = {"n_heads": 2, "d_model": 8}, normal(rng, 2, 5, 8)
    real = torch.arange(5) >= torch.tensor([2, 0])[:, None]  # (B, S)
    mask = torch.ones(5, 5, dtype=torch.bool).tril() & real[:, None, None, :]
    out = grade.call("masked_attention", x, sizes, 7, mask)
    assert not out.isnan().any(), "NaN: a softmax over nothing. What should such a query get?"
    grade("masked_attention", x, sizes, seed_of(rng), mask)


@todo("attention")
def test_encoders_and_cross_attention(grade, rng):
    """Without causal every position sees all; with a context, keys and values come from there, however long it is."""
    sizes = {"n_heads": 2, "d_model": 8, "n_kv_heads": 1}
    grade("attention", normal(rng, 2, 5, 8), sizes | {"causal": False}, seed_of(rng))
    grade("cross_attention", normal(rng, 2, 3, 8), sizes, seed_of(rng), normal(rng, 2, 6, 8))
    mask = torch.tensor([6, 4])[:, None, None, None] > torch.arange(6)
    grade("cross_attention", normal(rng, 2, 3, 8), sizes, seed_of(rng), normal(rng, 2, 6, 8), mask)


@todo("attention")
def test_nothing_is_dropped_in_eval_mode(grade, rng):
    """In eval mode dropout does nothing: the same input gives the same output, whatever config.dropout says."""
    x, sizes, seed = normal(rng, 4, 6, 8), {"n_heads": 4, "d_model": 8, "dropout": 0.5}, seed_of(rng)
    first, second = (grade.call("attention", x, sizes, seed) for _ in range(2))
    assert torch.equal(first, second), "in eval mode the same input gave two different outputs: is something dropped?"
    grade("attention", x, sizes, seed)


@todo("attention")
def test_dropout_of_attention_weights(grade, rng):
    """In training an attention weight is dropped or grows by 1 / (1 - p), head by head."""
    sizes = {"n_heads": 4, "d_model": 8, "dropout": 0.25, "bias": False}
    quiet, ratio = grade.call("attention_dropout", normal(rng, 1000, 1, 8), sizes, seed_of(rng))
    assert quiet.abs().min() > 0 and ratio.shape == (1000, 1, 4, 2), "attention is not what it should be in eval mode"
    kept = (ratio - 4 / 3).abs().amax(-1) < 1e-6  # (B, T, H)
    gone = ratio.abs().amax(-1) < 1e-6
    assert (kept | gone).all(), "with one visible key and p = 0.25, a head gives 0 or 4/3 of its value"
    share = gone.double().mean().item()  # of 4,000: 0.25 give or take 0.007, so 0.05 is 7 standard deviations
    assert abs(share - 0.25) < 0.05, f"{share:.3f} of the weights were dropped, config.dropout is 0.25"


# ---------------------------------------------------------------- block


@todo("block", points=2)
def test_pre_norm_block(grade, rng):
    """Attention, then the MLP: each reads the normalised stream, and what it says is added to the stream itself."""
    for parts in ({}, {"norm": "rmsnorm", "mlp": "swiglu", "bias": False}):
        grade("block", 2 * normal(rng, 2, 4, 8) + 1, {"n_heads": 2, "d_model": 8, **parts}, seed_of(rng))


@todo("block")
def test_post_norm_block(grade, rng):
    """With norm_position "post" the sum of stream and branch is normalised."""
    sizes = {"n_heads": 2, "d_model": 8, "norm_position": "post"}
    grade("block", 2 * normal(rng, 2, 4, 8) + 1, sizes, seed_of(rng))


@todo("block")
def test_rotation_and_mask_reach_the_attention(grade, rng):
    """Rotation and mask are handed on, in both orders of norm and sum."""
    for place in ("pre", "post"):
        sizes = {"n_heads": 2, "d_model": 8, "norm_position": place, "pos": "rope"}
        inputs = normal(rng, 2, 4, 8), sizes, seed_of(rng), *angles(rng, 4, 2), visible_mask(rng, 2, 1, 4, 4)
        grade("block_with_rotation_and_mask", *inputs)


@todo("block")
def test_gradients_of_a_block(grade, rng):
    """Every weight of the block gets its gradient, and the stream gets the part that bypasses both branches."""
    for place in ("pre", "post"):
        sizes = {"n_heads": 2, "d_model": 4, "d_ff": 6, "norm_position": place, "norm": "rmsnorm"}
        grade("block_gradient", normal(rng, 2, 3, 4), sizes, seed_of(rng), normal(rng, 2, 3, 4))


@todo("block", edge=True)
def test_dropout_acts_on_branches(grade, rng):
    """In training, dropout strikes what a branch adds, not the stream it is added to; in eval mode, nothing."""
    for place in ("pre", "post"):
        sizes = {"n_heads": 1, "d_model": 4, "dropout": 0.5, "norm_position": place}
        found = grade.call("block_dropout", torch.full((2, 40, 4), 10.0), sizes, seed_of(rng))
        training, quiet = ([round(value, 6) for value in values] for values in found)
        assert quiet == [12.0], f"in eval mode a stream of 10 and two branches that say 1 make 12, got {quiet[:5]}"
        assert training == [10.0, 12.0, 14.0], (
            f"at p = 0.5 a stream of 10 and two branches that say 1 make 10, 12 or 14 ({place}, norms left out), "
            f"got {training[:5]}"
        )


# ---------------------------------------------------------------- init


@todo("init", points=2, cuda=False)
def test_spread_of_the_weights(grade, rng):
    """Matrices have the config's standard deviation, those that write to the stream 1 / √(2N) of it; biases are 0."""
    sizes = {"vocab_size": 300, "block_size": 100, "n_layers": 8, "n_heads": 2, "d_model": 64, "tie_weights": False}
    for parts in ({}, {"mlp": "swiglu", "norm": "rmsnorm", "n_kv_heads": 1, "init_std": 0.07}):
        std = parts.get("init_std", 0.02)
        found, shared, _ = grade.call("fresh", sizes | parts, seed_of(rng))
        assert not shared, "head and embedding share their weights although tie_weights is False"
        for name, (first, second) in found.items():
            if name.endswith("bias"):
                assert first == second == 0, f"{name} lies between {first:.3g} and {second:.3g}, not at 0"
            elif "norm" in name:
                assert first == second == 1, f"{name} lies between {first:.3g} and {second:.3g}, not at 1"
            else:
                wanted = std / 4 if name.endswith(("o_proj.weight", "down_proj.weight")) else std
                # at least 2,048 draws each: the spread is known to 1.6 %, the mean to 2.2 % of it
                assert abs(second / wanted - 1) < 0.12, f"{name} has standard deviation {second:.4f}, not {wanted:.4f}"
                assert abs(first) < 0.2 * wanted, f"{name} has mean {first:.4f}, not 0"


@todo("init", cuda=False)
def test_tied_is_one_parameter(grade, rng):
    """Tied weights are one Parameter, counted once, with the spread of the embedding."""
    sizes = {"vocab_size": 300, "block_size": 4, "n_layers": 1, "n_heads": 1, "d_model": 16}
    found, shared, numbers = grade.call("fresh", sizes, seed_of(rng))
    assert shared, "head.weight is not embedding.weight: equal values are not enough, they part at the first step"
    wanted = 300 * 16 + 4 * 16 + 4 * 16 * 17 + 2 * 16 * 64 + 64 + 16 + 3 * 32
    assert numbers == wanted, f"the model has {numbers} parameters, expected {wanted} with the shared matrix once"
    spread = found["embedding.weight"][1]
    assert abs(spread / 0.02 - 1) < 0.12, f"embedding.weight has standard deviation {spread:.4f}, not 0.02"


@todo("init")
def test_tied_stays_tied(grade, rng):
    """After a training step head and embedding are still the same numbers; untied ones are not."""
    tokens = random_ids(rng, 2, 5)
    for tied in (True, False):
        apart = grade.call("tied_after_a_step", tokens, GPT2 | {"tie_weights": tied}, seed_of(rng))
        assert (apart == 0) == tied, f"tie_weights={tied}, and after one step head and embedding are {apart:.3g} apart"


# ---------------------------------------------------------------- decoder


@todo("decoder", points=3)
def test_features(grade, rng):
    """Embeddings and positions, all blocks in turn, the last norm: with learned positions and with RoPE."""
    for sizes in (GPT2, LLAMA, GPT2 | {"n_layers": 1, "norm_position": "post"}):
        grade("features", random_ids(rng, 2, 6), sizes, seed_of(rng))


@todo("decoder")
def test_other_positions(grade, rng):
    """Sinusoids are added to embeddings that were multiplied by √D; ALiBi adds nothing to them."""
    for pos in ("sinusoidal", "alibi"):
        grade("features", random_ids(rng, 2, 6), GPT2 | {"pos": pos}, seed_of(rng))


@todo("decoder")
def test_positions_that_are_handed_in(grade, rng):
    """Given positions count, not the places in the row: shifted ones, and others for every row."""
    each = torch.from_numpy(rng.permuted([[0, 1, 2, 3, 4, 5, 6, 7]] * 2, axis=1)[:, :5].copy())
    for pos, positions in (("learned", torch.arange(3, 8)), ("learned", each), ("sinusoidal", each), ("rope", each)):
        grade("features", random_ids(rng, 2, 5), LLAMA | {"pos": pos, "n_layers": 1}, seed_of(rng), None, positions)


@todo("decoder")
def test_mask_reaches_every_block(grade, rng):
    """A mask hides what it hides in every block, on top of the causal mask."""
    for pos in ("learned", "alibi"):
        mask = visible_mask(rng, 2, 1, 6, 6)
        grade("features", random_ids(rng, 2, 6), GPT2 | {"pos": pos}, seed_of(rng), mask)


@todo("decoder")
def test_logits_and_loss(grade, rng):
    """Logits and mean loss follow from the features; every parameter gets its gradient."""
    targets = random_ids(rng, 2, 6)
    targets[0, 3:] = -100
    grade("logits_and_loss", random_ids(rng, 2, 6), targets, LLAMA, seed_of(rng))
    grade("gradients", random_ids(rng, 2, 6), targets, GPT2, seed_of(rng), atol=1e-8)


@todo("decoder")
def test_features_in_sixteen_bits(grade, rng):
    """A model of bfloat16 gives features of bfloat16, whatever the positions."""
    for pos in ("sinusoidal", "learned"):
        sizes = GPT2 | {"pos": pos, "n_layers": 1}
        grade("features_in_bfloat16", random_ids(rng, 2, 6), sizes, seed_of(rng), atol=0.2, rtol=0.1)


@todo("decoder", edge=True)
def test_dropout_of_the_embedding(grade, rng):
    """In training a part of the embedding is dropped and the rest grows by 1 / (1 - p); between blocks, nothing is."""
    ratio, carried = grade.call("embedding_dropout", random_ids(rng, 40, 8), GPT2 | {"dropout": 0.5}, seed_of(rng))
    values = sorted({round(value, 6) + 0.0 for value in ratio.flatten().tolist()})
    assert values == [0.0, 2.0], f"at p = 0.5 each number of the embedding becomes 0 or its double, got {values[:5]}"
    assert carried == 0, f"what comes out of a block is not what goes into the next or the last norm: {carried:.3g}"


# ---------------------------------------------------------------- generate


@todo("generate", points=2)
def test_greedy_continuation(grade, rng):
    """Temperature 0 takes the likeliest token each time, after all tokens that are there."""
    for sizes in (GPT2, LLAMA):
        grade("generate", random_ids(rng, 3, 2), sizes, seed_of(rng), 6, 0)


@todo("generate")
def test_longer_than_the_block(grade, rng):
    """Beyond block_size the model reads the last block_size tokens; nothing is lost from what is returned."""
    grade("generate", random_ids(rng, 2, 5), GPT2, seed_of(rng), 12, 0)
    grade("generate", random_ids(rng, 2, 11), LLAMA, seed_of(rng), 3, 0)


@todo("generate")
def test_one_candidate_is_greedy(grade, rng):
    """With top_k = 1 there is nothing to draw, at any temperature; a top_k beyond V keeps everything."""
    grade("generate", random_ids(rng, 2, 3), GPT2, seed_of(rng), 6, 3.0, 1)
    made = grade.call("generate", random_ids(rng, 2, 3), GPT2, seed_of(rng), 4, 1.0, 99)["tokens"]
    assert made.shape == (2, 7), f"3 tokens and 4 new ones make 7, got {tuple(made.shape)}"


@todo("generate")
def test_dropout_is_off_meanwhile(grade, rng):
    """Nothing is dropped while the model writes, and afterwards it is in the mode it was in."""
    for training in (True, False):
        grade("generate", random_ids(rng, 3, 3), GPT2 | {"dropout": 0.5}, seed_of(rng), 6, 0, None, training)


@todo("generate")
def test_frequencies(grade, rng):
    """Drawn tokens have the probabilities softmax(logits / temperature), among the top_k likeliest only."""
    sizes, rows = GPT2 | {"vocab_size": 6}, 4000
    for temperature, top_k in ((1.0, None), (3.0, 4), (0.4, None)):
        prompt = random_ids(rng, 1, 3, vocab_size=6)
        drawn, logits = grade.call("next_tokens", prompt, sizes, seed_of(rng), rows, temperature, top_k)
        share = torch.bincount(drawn.cpu(), minlength=6).double() / rows
        scaled = logits.cpu() / temperature
        if top_k is not None:
            scaled[scaled < scaled.topk(top_k).values[-1]] = -math.inf
        wanted = scaled.softmax(-1)
        # the share of a token has standard deviation 0.008 at most: 0.05 is 6 of them
        worst = (share - wanted).abs().max().item()
        assert worst < 0.05, (
            f"temperature {temperature}, top_k {top_k}: drawn {share.tolist()}, expected {wanted.tolist()}"
        )
        outside = share[wanted == 0].sum().item()
        assert outside == 0, f"with top_k = {top_k}, {outside:.4f} of the tokens are none of the {top_k} likeliest"


@todo("generate")
def test_generator_decides(grade, rng):
    """The generator that is handed in decides what is drawn: the same seed gives the same text."""
    first, second = grade.call("seeded_twice", random_ids(rng, 8, 2), GPT2, seed_of(rng), 5)
    assert first.shape == (8, 7), f"2 tokens and 5 new ones make 7, got {tuple(first.shape)}"
    assert torch.equal(first, second), "two generators with the same seed gave different texts"


# ---------------------------------------------------------------- shift


@todo("shift")
def test_targets_are_the_next_tokens(grade, rng):
    """At position t the model reads token t and is asked for token t + 1."""
    grade("inputs_and_targets", random_ids(rng, 3, 7, vocab_size=1000))
    grade("inputs_and_targets", random_ids(rng, 1, 2, vocab_size=1000))


@todo("shift")
def test_padding_is_no_target(grade, rng):
    """The last real token is still a target; what comes after it is not; the ids themselves stay as they are."""
    grade("inputs_and_targets", random_ids(rng, 4, 8, vocab_size=1000), torch.tensor([8, 7, 3, 1]))
    grade("inputs_and_targets", random_ids(rng, 2, 5, vocab_size=1000), torch.from_numpy(rng.integers(2, 5, size=2)))


# ---------------------------------------------------------------- count-parameters


def groups(grade, **changes):
    """parameter_groups of a config, and nothing built."""
    return grade("groups", {"vocab_size": 101, "block_size": 17, "n_layers": 3, "n_heads": 6, "d_model": 36, **changes})


@todo("count-parameters", points=2, cuda=False)
def test_count_of_gpt2(grade, rng):
    """GPT-2 small has 124,439,808 parameters; biases and the last norm count, the tied head does not."""
    grade("groups", {})
    groups(grade, d_ff=int(rng.integers(20, 90)))
    groups(grade, bias=False)
    groups(grade, tie_weights=False, norm_position="post")


@todo("count-parameters", cuda=False)
def test_count_of_llama(grade, rng):
    """Three matrices in the MLP, fewer key heads, no learned positions, RMSNorm without bias, a head of its own."""
    parts = {"norm": "rmsnorm", "pos": "rope", "mlp": "swiglu", "bias": False, "tie_weights": False}
    groups(grade, **parts, n_kv_heads=2)
    groups(grade, **parts, n_kv_heads=1, d_ff=int(rng.integers(20, 90)))
    groups(grade, norm="rmsnorm", mlp="swiglu", pos="alibi", n_kv_heads=3)
    groups(grade, pos="sinusoidal", n_layers=int(rng.integers(4, 9)))


# ---------------------------------------------------------------- everything together


@whole_lab(points=2)
def test_your_model_starts_right(grade, rng):
    """Counted by formula = counted by hand, and the first loss lies between ln V and ln V + 0.0002 D + 0.05."""
    for parts in ({"pos": "alibi"}, {"norm": "rmsnorm", "pos": "rope", "mlp": "swiglu", "tie_weights": False}):
        sizes = {"vocab_size": 100, "block_size": 16, "n_layers": 2, "n_heads": 2, "d_model": 32, **parts}
        grade("counted_and_held", sizes)
        loss = grade.call("first_loss", random_ids(rng, 24, 17, vocab_size=100), sizes, seed_of(rng))
        floor = math.log(100)  # the mean of 384 losses is known to about 0.006, so 0.03 below is no accident
        assert floor - 0.03 < loss < floor + 0.0002 * 32 + 0.05, f"first loss {loss:.3f}, expected about {floor:.3f}"


@whole_lab(points=2)
def test_your_model_is_causal(grade, rng):
    """No logit depends on a later token, neither by value nor by gradient, whatever the positions."""
    for sizes in (GPT2, LLAMA, GPT2 | {"pos": "alibi", "norm_position": "post"}):
        tokens = torch.from_numpy(1 + rng.permutation(12)[:6])
        moved, slope = grade.call("logit_influence", tokens, sizes | {"tie_weights": False}, seed_of(rng))
        for name, found in (("value", moved), ("gradient", slope)):
            late, early = found.triu(1).max().item(), found[torch.ones(6, 6).tril().bool()].min().item()
            assert late == 0, f"by {name}, a logit depends on a later token ({late:.2g})"
            assert early > 1e-9, f"by {name}, some logit does not depend on an earlier token, or on its own"


@whole_lab(slow=True, timeout=60)
def test_your_model_learns_a_batch_by_heart(grade, rng):
    """One batch, 200 steps: the loss falls below 0.05. A model that sees the future passes this as well."""
    sizes = {"vocab_size": 20, "block_size": 8, "n_layers": 2, "n_heads": 2, "d_model": 32}
    losses = grade.call("overfit", random_ids(rng, 4, 9, vocab_size=20), sizes, seed_of(rng), 200, 0.05)
    start, end = losses[0], losses[-1]
    assert end < 0.05, f"after 200 steps on one batch the loss is {end:.3f}: it started at {start:.3f}"


@whole_lab(points=2)
def test_everything_together(grade, rng):
    """Your parts in a row: count, shift, loss, gradient, and a greedy continuation."""
    for sizes in (GPT2, LLAMA):
        ids = random_ids(rng, 3, 9)
        grade("count_and_write", ids, torch.tensor([9, 5, 7]), sizes, seed_of(rng))
