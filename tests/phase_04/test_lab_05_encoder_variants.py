"""Graded checks of lab 4.5, Encoder variants."""

import torch

from labkit.grading import WeakDraw, todo, whole_lab

IGNORE = -100
SIZES = {"vocab_size": 17, "block_size": 9, "n_layers": 2, "n_heads": 2, "d_model": 8}


def normal(rng, *shape):
    return torch.from_numpy(rng.standard_normal(shape))


def random_ids(rng, *shape, low=4, high=17):
    return torch.from_numpy(rng.integers(low, high, size=shape))


def seed_of(rng):
    return int(rng.integers(2**31))


def random_real(rng, batch, length):
    """Row 0 is full, row 1 has padding on the right, others have it anywhere; every row has a token."""
    real = torch.from_numpy(rng.random((batch, length)) < 0.6)
    real[:, rng.integers(length)] = True
    real[0] = True
    real[1] = torch.arange(length) < rng.integers(1, length)
    return real


def some_labels(rng, ids, share=0.4):
    labels = ids.masked_fill(torch.from_numpy(rng.random(tuple(ids.shape)) > share), IGNORE)
    labels[0, 0], labels[-1, -1] = ids[0, 0], IGNORE
    return labels


# ---------------------------------------------------------------- padding-mask


@todo("padding-mask")
def test_padding_mask(grade, rng):
    """Without `causal`, every query may look at the real keys of its own row: (B, 1, 1, S)."""
    for batch, length in ((3, 5), (4, 4), (2, 1 + int(rng.integers(2, 6)))):
        grade("padding_mask", random_real(rng, batch, length))


@todo("padding-mask")
def test_causal_padding_mask(grade, rng):
    """With `causal`, query t may look at the real keys s <= t: both conditions, (B, 1, S, S)."""
    for batch, length in ((3, 5), (4, 4), (2, 7)):
        grade("padding_mask", random_real(rng, batch, length), True)


@todo("padding-mask")
def test_padding_mask_of_strange_input(grade, rng):
    """Anything but a bool tensor with two axes is refused: a mask of 0 and 1 would be *added* to the scores."""
    real = random_real(rng, 3, 4)
    for wrong in (real.long(), real.double(), real[0], real[None]):
        grade("padding_mask", wrong, raises=ValueError, match="real")
    grade("padding_mask", real)


# ---------------------------------------------------------------- shift-right


@todo("shift-right")
def test_shift_right(grade, rng):
    """At each place the decoder reads the token before; at place 0 it reads PAD. The targets stay as they are."""
    for shape in ((2, 6), (3, 3), (1, 1), (4, 2)):
        grade("shift_right", random_ids(rng, *shape))


@todo("shift-right")
def test_shift_right_of_padded_targets(grade, rng):
    """IGNORE is no token: the decoder reads PAD where the target before says IGNORE."""
    targets = random_ids(rng, 4, 6)
    targets[torch.arange(6) >= torch.tensor([6, 4, 2, 1])[:, None]] = IGNORE
    targets[0, 2] = IGNORE
    grade("shift_right", targets)


# ---------------------------------------------------------------- mask-tokens


def dice(rng, *shape):
    return torch.from_numpy(rng.random((2, *shape))).unbind(0)


@todo("mask-tokens")
def test_eighty_ten_ten(grade, rng):
    """Of the chosen places 80 % show MASK, 10 % a stranger, 10 % what they are; all the chosen are asked for."""
    ids, strangers = random_ids(rng, 8, 50, high=60), random_ids(rng, 8, 50, high=60)
    inputs, labels = grade("mask_tokens", ids, torch.zeros(8, 50, dtype=torch.bool), *dice(rng, 8, 50), strangers)
    if not ((labels != IGNORE) & (inputs == ids)).any():
        raise WeakDraw("no chosen token was kept")


@todo("mask-tokens")
def test_labels_are_what_stood_there(grade, rng):
    """Labels are the tokens before anything was changed, and IGNORE wherever nothing is asked."""
    ids = random_ids(rng, 5, 20)
    nothing = torch.zeros(5, 20, dtype=torch.bool)
    for rate in (0.15, 0.5, 1.0):
        inputs, labels = grade("mask_tokens", ids, nothing, *dice(rng, 5, 20), random_ids(rng, 5, 20), rate)
        asked = labels != IGNORE
        assert (inputs[~asked] == ids[~asked]).all(), "a token that is not asked for was changed"


@todo("mask-tokens")
def test_special_tokens_are_left_alone(grade, rng):
    """Padding and separators are never chosen, so they are neither hidden, nor replaced, nor asked for."""
    ids, special = random_ids(rng, 4, 30), ~random_real(rng, 4, 30)
    ids[special] = 0
    choose, change = dice(rng, 4, 30)
    grade("mask_tokens", ids, special, 0.3 * choose, change, random_ids(rng, 4, 30))


@todo("mask-tokens", edge=True)
def test_borders_of_the_dice(grade, rng):
    """choose < rate, change < 0.8 and change < 0.9 are strict: a die that shows the border is on the other side."""
    ids = torch.arange(4, 12)[None]
    choose = torch.tensor([[0.15, 0.0, 0.1499, 0.15, 0.1, 0.1, 0.1, 0.1]], dtype=torch.float64)
    change = torch.tensor([[0.0, 0.8, 0.9, 0.9, 0.7999, 0.8999, 0.9, 0.0]], dtype=torch.float64)
    grade("mask_tokens", ids, torch.zeros(1, 8, dtype=torch.bool), choose, change, ids + 20)


# ---------------------------------------------------------------- corrupt-spans


@todo("corrupt-spans", points=2)
def test_corrupted_spans(grade, rng):
    """One sentinel for each run, counting down; the target spells the runs out and ends with one more sentinel, EOS."""
    for length in (6, 12, 30):
        hidden = torch.from_numpy(rng.random(length) < 0.4)
        hidden[:4] = torch.tensor([False, True, True, False])
        grade("corrupt_spans", random_ids(rng, length), hidden, 99)


@todo("corrupt-spans", edge=True)
def test_runs_at_the_ends(grade, rng):
    """Runs may lie at the beginning and at the end; everything hidden is one run, nothing hidden is none."""
    ids = random_ids(rng, 6)
    for hidden in ([1, 1, 0, 0, 0, 1], [1, 0, 1, 0, 1, 0], [0, 0, 0, 0, 1, 1], [1] * 6, [0] * 6):
        grade("corrupt_spans", ids, torch.tensor(hidden, dtype=torch.bool), int(rng.integers(30, 60)))
    grade("corrupt_spans", ids[:1], torch.tensor([True]), 31)


@todo("corrupt-spans")
def test_hidden_must_fit(grade, rng):
    """hidden is refused unless it is bool and as long as the text: 0/1 integers would index instead of choose."""
    ids, hidden = random_ids(rng, 6), torch.from_numpy(rng.random(6) < 0.5)
    for wrong in (hidden.long(), hidden[:5], hidden[None]):
        grade("corrupt_spans", ids, wrong, 99, raises=ValueError, match="hidden")
    hidden[2:4] = torch.tensor([True, False])
    grade("corrupt_spans", ids, hidden, 99)


# ---------------------------------------------------------------- encoder


@todo("encoder", points=2)
def test_features(grade, rng):
    """Token, position and segment are added, normalised, and sent through all blocks."""
    for length in (1, 5, 9):
        grade("features", SIZES, seed_of(rng), random_ids(rng, 2, length, low=0))
    segments = (torch.arange(6) >= torch.tensor([3, 6, 1])[:, None]).long()
    grade("features", SIZES, seed_of(rng), random_ids(rng, 3, 6, low=0), None, segments)


@todo("encoder")
def test_features_see_both_ways(grade, rng):
    """A feature depends on every token of its row, those to its right included."""
    moved = grade("feature_influence", SIZES, seed_of(rng), random_ids(rng, 2, 5, low=0))
    assert (moved > 1e-9).all(), "some feature does not depend on some token of its row: is something causal?"


@todo("encoder")
def test_padding_changes_nothing(grade, rng):
    """What stands at padding has no influence on what comes out at real places."""
    tokens, real, seed = random_ids(rng, 4, 6, low=0), random_real(rng, 4, 6), seed_of(rng)
    segments = random_ids(rng, 4, 6, low=0, high=2)
    first = grade("features", SIZES, seed, tokens, real, segments)
    other = torch.where(real, tokens, (tokens + 3) % 17)
    second = grade("features", SIZES, seed, other, real, segments)
    worst = (first - second).abs().max().item()
    assert worst < 1e-9, f"another token at padding moves a feature at a real place by {worst:.2g}"
    grade("features_in_float32", SIZES, seed, tokens, real, atol=1e-4)


@todo("encoder")
def test_dropout_of_the_embedding(grade, rng):
    """dropout acts on the sum of the embeddings after its norm: in training, and only there."""
    sizes = SIZES | {"dropout": 0.4}
    train, evaluate, carried = grade.call("dropped_features", sizes, seed_of(rng), random_ids(rng, 40, 9))
    assert (evaluate != 0).all(), f"{(evaluate == 0).double().mean():.0%} of the embedded values are 0 in eval mode"
    assert not torch.equal(train, evaluate), "the first block reads the same in training as in eval mode"
    gone = train == 0
    right = ((train - evaluate / 0.6).abs() < 1e-9) | gone
    assert right.all(), "at p = 0.4 each number of the norm's output becomes 0 or 1/0.6 of itself in training"
    share = gone.double().mean().item()
    assert 0.3 < share < 0.5, f"dropout 0.4 set {share:.0%} of the embedded values to 0 in training"
    assert carried == 0, f"what comes out of a block is not what goes into the next, or out of features: {carried:.3g}"


# ---------------------------------------------------------------- masked-lm


@todo("masked-lm", points=2)
def test_masked_lm_logits(grade, rng):
    """Dense, the config's gelu, norm, the embedding's own matrix, one bias per token; without labels no loss."""
    tokens, real = random_ids(rng, 3, 6, low=0), random_real(rng, 3, 6)
    segments = random_ids(rng, 3, 6, low=0, high=2)
    for form in ("tanh", "exact"):
        grade("masked_lm", SIZES | {"gelu": form}, seed_of(rng), tokens)
    grade("masked_lm", SIZES, seed_of(rng), tokens, None, real, segments)


@todo("masked-lm")
def test_masked_lm_loss(grade, rng):
    """The loss is the mean over the places that are asked for, over all rows together, and over no others."""
    tokens = random_ids(rng, 4, 7)
    for share in (0.15, 0.5):
        grade("masked_lm", SIZES, seed_of(rng), tokens, some_labels(rng, random_ids(rng, 4, 7), share))
    grade("masked_lm", SIZES, seed_of(rng), tokens, some_labels(rng, tokens), random_real(rng, 4, 7))


@todo("masked-lm")
def test_nothing_is_asked(grade, rng):
    """A batch in which no place is asked for has loss 0, not NaN: with 15 % of few tokens that happens."""
    tokens = random_ids(rng, 2, 4)
    loss = grade.call("masked_lm", SIZES, 5, tokens, torch.full((2, 4), IGNORE))[1]
    assert loss is None or isinstance(loss, torch.Tensor), f"expected a tensor, got {type(loss).__name__} {loss}"
    assert loss is not None and loss.item() == 0, f"expected 0 when nothing is asked for, got {loss}"
    grade("masked_lm", SIZES, seed_of(rng), tokens, some_labels(rng, tokens))


@todo("masked-lm")
def test_gradient_of_masked_lm(grade, rng):
    """The embedding learns from both its jobs: as the first layer and as the head."""
    tokens = random_ids(rng, 3, 6)
    grade("masked_lm_gradient", SIZES, seed_of(rng), tokens, some_labels(rng, random_ids(rng, 3, 6)), atol=1e-9)


# ---------------------------------------------------------------- cross-block

CROSS = {"n_heads": 2, "d_model": 8}


@todo("cross-block", points=2)
def test_cross_block(grade, rng):
    """Self-attention, cross-attention, MLP: each reads through its own norm and adds to the stream."""
    for text, source in ((5, 5), (3, 7), (6, 2), (1, 1)):
        grade("cross_block", CROSS, seed_of(rng), normal(rng, 2, text, 8), normal(rng, 2, source, 8))
    sizes = {"n_heads": 4, "n_kv_heads": 2, "d_model": 16, "norm": "rmsnorm", "mlp": "swiglu", "bias": False}
    grade("cross_block", sizes, seed_of(rng), normal(rng, 2, 4, 16), normal(rng, 2, 6, 16))


@todo("cross-block")
def test_cross_block_hides_padding(grade, rng):
    """Cross-attention may not look at the padding of the source; it says nothing about the text's own places."""
    real, seed = random_real(rng, 3, 5), seed_of(rng)
    x, memory, mask = normal(rng, 3, 5, 8), normal(rng, 3, 5, 8), real[:, None, None, :]
    first = grade("cross_block", CROSS, seed, x, memory, mask)
    second = grade("cross_block", CROSS, seed, x, torch.where(real[..., None], memory, 7 - memory), mask)
    worst = (first - second).abs().max().item()
    assert worst < 1e-9, f"another memory at the source's padding moves the output by {worst:.2g}"
    wide = random_real(rng, 3, 8)[:, None, None, :]
    grade("cross_block", CROSS, seed, normal(rng, 3, 4, 8), normal(rng, 3, 8, 8), wide)


@todo("cross-block")
def test_cross_block_is_causal_in_the_text(grade, rng):
    """Output t depends on the text up to t, and on all of the source."""
    by_x, by_memory = grade("cross_influence", CROSS, seed_of(rng), normal(rng, 2, 4, 8), normal(rng, 2, 6, 8))
    late = by_x.triu(1).max().item()
    assert late == 0, f"an output depends on a later place of the text ({late:.2g})"
    assert (by_memory > 1e-9).all(), "some output does not depend on some place of the source"


@todo("cross-block", edge=True)
def test_dropout_of_the_three_branches(grade, rng):
    """dropout acts on what each of the three branches adds, in training only."""
    zeros, memory = torch.zeros(4, 50, 8, dtype=torch.float64), normal(rng, 4, 3, 8)
    found = grade.call("cross_dropout", CROSS | {"dropout": 0.5}, seed_of(rng), zeros, memory)
    train, quiet = ([round(value, 6) for value in values] for values in found)
    assert quiet == [111.0], f"in eval mode branches that say 1, 10 and 100 make 111, got {quiet[:4]}"
    wanted = [0.0, 2.0, 20.0, 22.0, 200.0, 202.0, 220.0, 222.0]
    assert train == wanted, (
        f"at p = 0.5 the self-attention's 1 becomes 0 or 2, the cross-attention's 10 becomes 0 or 20, the MLP's 100 "
        f"becomes 0 or 200, each by itself: eight sums, got {train[:9]}"
    )


# ---------------------------------------------------------------- all together


@whole_lab(points=2)
def test_everything_together(grade, rng):
    """Both objectives, on both models, from the same padded batch."""
    ids, real = random_ids(rng, 3, 9, high=14), torch.arange(9) < torch.tensor([9, 6, 4])[:, None]
    ids = ids.masked_fill(~real, 0)
    choose, change = dice(rng, 3, 9)
    hidden = torch.from_numpy(rng.random((3, 9)) < 0.3) & real
    hidden[:, 1:3] = torch.tensor([False, True])
    hidden[:, 5:] = False
    sizes = SIZES | {"block_size": 16}
    grade("everything", sizes, seed_of(rng), ids, hidden, 0.3 * choose, change, random_ids(rng, 3, 9), real)
