"""Graded checks of lab 4.3, positional encodings."""

import math

import torch

from labkit.grading import todo, whole_lab


def normal(rng, *shape, dtype=torch.float64):
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def angles(positions, inv_freq):
    """cos and sin, in float64."""
    angle = torch.as_tensor(positions, dtype=torch.float64)[..., None] * inv_freq
    return angle.cos(), angle.sin()


def frequencies(head_dim, base=10000.0):
    return base ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)


def rotary_problem(rng, b=2, h=3, t=5, k=8):
    """x (B, H, T, K) and the cos and sin (T, K/2) of ascending random positions."""
    positions = rng.choice(60, size=t, replace=False)
    return normal(rng, b, h, t, k), *angles(sorted(positions), frequencies(k, 100.0))


def qkv(rng, b=2, h=3, t=6, s=6, k=8):
    return tuple(normal(rng, b, h, length, k) for length in (t, s, s))


# ---------------------------------------------------------------- sinusoids


@todo("sinusoidal", points=2)
def test_sines_and_cosines_alternate(grade, rng):
    """Even columns are sines, odd ones cosines, and the two of a pair share their frequency."""
    grade("sinusoidal", int(rng.integers(5, 12)), 2 * int(rng.integers(3, 8)), atol=1e-5)


@todo("sinusoidal")
def test_sinusoids_of_a_wide_model(grade, rng):
    """The first pair turns once in 6.28 positions, the last one far more slowly; row 0 is position 0."""
    wide = 32 * int(rng.integers(2, 5))
    grade("sinusoidal", 40, wide, atol=1e-5)
    grade("sinusoidal", 1, wide)
    grade("sinusoidal", 7, 2, atol=1e-5)


# ---------------------------------------------------------------- frequencies


@todo("frequencies", points=2)
def test_frequencies_of_any_base(grade, rng):
    """A geometric sequence from 1 down to almost 1/base, whatever the base."""
    for base in (10000.0, 500_000.0, float(rng.integers(50, 5000))):
        grade("inverse_frequencies", 2 * int(rng.integers(3, 33)), base, rtol=1e-5)


@todo("frequencies")
def test_interpolation_slows_every_pair(grade, rng):
    """With a factor and method "linear", every pair turns that many times more slowly, the fastest included."""
    factor = float(rng.uniform(2, 9))
    grade("inverse_frequencies", 2 * int(rng.integers(3, 33)), 10000.0, factor, "linear", rtol=1e-5)


@todo("frequencies")
def test_ntk_stretches_only_the_slow_pairs(grade, rng):
    """With method "ntk" the fastest pair stays as it was and the slowest is slowed by exactly the factor."""
    head_dim, factor = 2 * int(rng.integers(3, 33)), float(rng.uniform(2, 9))
    found = grade.call("inverse_frequencies", head_dim, 10000.0, factor, "ntk")
    plain = frequencies(head_dim)
    if isinstance(found, torch.Tensor) and found.shape == plain.shape and found.isfinite().all():
        first, last = (plain / found.cpu())[[0, -1]].tolist()
        assert abs(first - 1) < 1e-4, f"the fastest pair is slowed {first:.4f} times, expected 1"
        assert abs(last / factor - 1) < 1e-4, f"the slowest pair is slowed {last:.4f} times, expected {factor:.4f}"
    grade("inverse_frequencies", head_dim, float(rng.integers(50, 5000)), factor, "ntk", rtol=1e-5)


@todo("frequencies", edge=True)
def test_frequencies_of_small_heads(grade, rng):
    """A head of two channels has one pair, which turns by 1 radian; a factor of 1 changes nothing."""
    grade("inverse_frequencies", 2, 123.0)
    grade("inverse_frequencies", 2, 123.0, 4.0)
    grade("inverse_frequencies", 8, 10000.0, 1.0, "ntk", rtol=1e-5)


# ---------------------------------------------------------------- rotations


@todo("apply-rope", points=3)
def test_half_layout(grade, rng):
    """Layout "half": channel i is turned together with channel i + K/2, from the first towards the second."""
    grade("apply_rope", *rotary_problem(rng))
    grade("apply_rope", *rotary_problem(rng, b=1, h=2, t=4, k=2), "half")


@todo("apply-rope")
def test_interleaved_layout(grade, rng):
    """Layout "interleaved": channel 2i is turned together with its neighbour 2i + 1."""
    grade("apply_rope", *rotary_problem(rng), "interleaved")
    grade("apply_rope", *rotary_problem(rng, b=4, h=4, t=4, k=4), "interleaved")


@todo("apply-rope")
def test_every_sequence_has_its_own_positions(grade, rng):
    """cos and sin of (B, T, K/2) belong to the sequences, not to the heads, even when B = H."""
    for layout in ("half", "interleaved"):
        cos, sin = angles(rng.integers(0, 50, size=(3, 5)), frequencies(6, 100.0))
        grade("apply_rope", normal(rng, 3, 3, 5, 6), cos, sin, layout)
        grade("apply_rope", normal(rng, 3, 2, 5, 6), cos, sin, layout)


@todo("apply-rope")
def test_scores_depend_on_distance_only(grade, rng):
    """Moving query and key by the same number of positions changes no score; turning changes no length."""
    q, k = normal(rng, 1, 2, 6, 8), normal(rng, 1, 2, 6, 8)
    places, moved = torch.arange(6), torch.arange(6) + int(rng.integers(10, 1000))
    for layout in ("half", "interleaved"):
        turned = {
            name: [grade.call("apply_rope", x, *angles(positions, frequencies(8)), layout) for x in (q, k)]
            for name, positions in (("here", places), ("there", moved))
        }
        scores = {name: (a.double() @ b.double().mT).cpu() for name, (a, b) in turned.items()}
        change = (scores["here"] - scores["there"]).abs().max().item()
        assert change < 1e-9, f'layout "{layout}": a common shift changes a score q·k by {change:.2g}, expected 0'
        stretch = (turned["here"][0].double().norm(dim=-1).cpu() / q.norm(dim=-1) - 1).abs().max().item()
        assert stretch < 1e-9, f'layout "{layout}": a vector became {100 * stretch:.2g} % longer or shorter by turning'
        grade("apply_rope", q, *angles(moved, frequencies(8)), layout)


@todo("apply-rope")
def test_rope_keeps_the_dtype(grade, rng):
    """16-bit and 32-bit inputs come back in their own dtype; x itself is not changed."""
    x, cos, sin = rotary_problem(rng)
    for dtype, atol in ((torch.bfloat16, 0.05), (torch.float16, 0.01), (torch.float32, 1e-5)):
        for layout in ("half", "interleaved"):
            grade("apply_rope", x.to(dtype), cos.float(), sin.float(), layout, atol=atol)
    grade("apply_rope", x, cos.float(), sin.float(), atol=1e-5)


# ---------------------------------------------------------------- from one layout to the other


@todo("convert-layout", points=2)
def test_weights_for_the_half_layout(grade, rng):
    """Interleaved to half: in every head, first the first channels of all pairs, then the second ones."""
    grade("convert_layout", normal(rng, 3 * 8, 5), 3, "half")
    grade("convert_layout", normal(rng, 8, 8), 1, "half")


@todo("convert-layout")
def test_weights_for_the_interleaved_layout(grade, rng):
    """Half to interleaved, and there and back again: nothing has changed."""
    weight = normal(rng, 4 * 6, 7)
    there = grade("convert_layout", weight, 4, "interleaved")
    grade("convert_layout", there.cpu(), 4, "half", expected=weight)


@todo("convert-layout")
def test_a_bias_is_converted_too(grade, rng):
    """A bias has one axis; the dtype stays."""
    for to in ("half", "interleaved"):
        grade("convert_layout", normal(rng, 2 * 10, dtype=torch.float32), 2, to)


@todo("convert-layout")
def test_scores_survive_the_conversion(grade, rng):
    """With query and key weights converted, and the other layout's rotation, all scores are what they were."""
    x, wq, wk = normal(rng, 2, 5, 12), normal(rng, 3 * 8, 12), normal(rng, 3 * 8, 12)
    cos, sin = angles(torch.arange(5), frequencies(8))
    before = grade.call("scores", x, wq, wk, 3, cos, sin, "interleaved", None)
    after = grade.call("scores", x, wq, wk, 3, cos, sin, "half", "half")
    change = (before - after).abs().max().item()
    assert change < 1e-9, f"converted to the half layout, a score changes by {change:.2g}, expected 0"
    grade("scores", x, wq, wk, 3, cos, sin, "interleaved", "interleaved")


# ---------------------------------------------------------------- attention with rotary positions


@todo("rope-attention", points=2)
def test_rotary_attention(grade, rng):
    """Queries and keys are turned, values are not; a query sees itself and the past."""
    grade("rope_attention", *qkv(rng), frequencies(8))
    grade("rope_attention", *qkv(rng, b=1, h=1, t=9, s=9, k=4), frequencies(4, 50.0))


@todo("rope-attention")
def test_queries_behind_cached_keys(grade, rng):
    """With more keys than queries the queries stand at the last positions, not at the first ones."""
    q, k, v = qkv(rng, t=7, s=7)
    whole = grade.call("rope_attention", q, k, v, frequencies(8))
    for t in (1, 3):
        last = grade("rope_attention", q[:, :, -t:], k, v, frequencies(8))
        change = (last - whole[:, :, -t:]).abs().max().item()
        assert change < 1e-9, f"the last {t} queries alone get an output that differs by {change:.2g} from all at once"


@todo("rope-attention")
def test_attention_is_relative(grade, rng):
    """Where the text begins does not matter: any start gives the same output."""
    inputs = (*qkv(rng, t=4, s=6), frequencies(8))
    for start in (1, int(rng.integers(100, 5000))):
        here = grade.call("rope_attention", *inputs, 1.0, "half", start)
        grade("rope_attention", *inputs, 1.0, "half", start, atol=1e-8)
        change = (here - grade.call("rope_attention", *inputs)).abs().max().item()
        assert change < 1e-8, f"start = {start} instead of 0 changes the output by {change:.2g}, expected 0"


@todo("rope-attention")
def test_attention_factor_and_layout(grade, rng):
    """The attention factor scales queries and keys alike; the layout is passed on."""
    factor = float(rng.uniform(1.1, 1.6))
    grade("rope_attention", *qkv(rng), frequencies(8), factor)
    grade("rope_attention", *qkv(rng), frequencies(8), 1.0, "interleaved")
    grade("rope_attention", *qkv(rng, t=2), frequencies(8), factor, "interleaved", 17)


# ---------------------------------------------------------------- ALiBi


@todo("alibi-slopes", points=2)
def test_slopes_of_powers_of_two(grade, rng):
    """For 2, 4, 8 ... heads the slopes fall geometrically down to 2^-8, from 2^(-8/H)."""
    for n_heads in (8, 2 ** int(rng.integers(1, 6))):
        grade("alibi_slopes", n_heads, rtol=1e-5)
    grade("alibi_slopes", 1)


@todo("alibi-slopes")
def test_slopes_of_other_numbers_of_heads(grade, rng):
    """For 3, 12 or 20 heads: the slopes of the power of two below, then every other slope of the power above."""
    for n_heads in (14, 12, 3, int(rng.integers(17, 31)), int(rng.integers(5, 8))):
        grade("alibi_slopes", n_heads, rtol=1e-5)


@todo("alibi-slopes")
def test_no_heads(grade, rng):
    """Fewer than one head is refused."""
    grade("alibi_slopes", int(rng.integers(2, 9)), rtol=1e-5)
    for n_heads in (0, -3):
        grade("alibi_slopes", n_heads, raises=ValueError, match="n_heads")


@todo("alibi-bias", points=2)
def test_distance_costs_score(grade, rng):
    """A key that is farther away has a lower score, in every head by another slope; distance 0 costs nothing."""
    bias = grade.call("alibi_bias", 4, 7, 7)
    assert bias.isfinite().all(), "some entries are infinite: a bias is a price, and who may look is left to the mask"
    grade("alibi_bias", 4, 7, 7, rtol=1e-5)
    grade("alibi_bias", int(rng.integers(3, 8)), 5, 5, rtol=1e-5)


@todo("alibi-bias")
def test_alibi_of_the_last_queries(grade, rng):
    """With more keys than queries the last query stands at the last key."""
    t = int(rng.integers(2, 5))
    grade("alibi_bias", 2, t, t + int(rng.integers(1, 5)), rtol=1e-5)
    grade("alibi_bias", 6, 1, 9, rtol=1e-5)


# ---------------------------------------------------------------- T5


def relative_grid(rng, n_buckets, max_distance, bidirectional, t=6, s=9, reach=300):
    """Relative positions in which rounding decides about no bucket."""
    size = n_buckets // 2 if bidirectional else n_buckets
    exact = size // 2
    relative = rng.integers(-reach, reach + 1, size=4 * t * s)
    place = [(size - exact) * math.log(max(abs(d), 1) / exact) / math.log(max_distance / exact) for d in relative]
    clear = [d for d, x in zip(relative, place) if abs(d) < exact or abs(x - round(x)) > 1e-3]
    return torch.tensor(clear[: t * s]).view(t, s)


@todo("t5-buckets", points=3)
def test_buckets_of_a_decoder(grade, rng):
    """Looking back only: near distances one by one, far ones by their logarithm, keys of the future like distance 0."""
    grade("t5_buckets", relative_grid(rng, 32, 128, False), False)
    grade("t5_buckets", torch.arange(-15, 16), False)


@todo("t5-buckets")
def test_buckets_of_an_encoder(grade, rng):
    """Looking both ways: each side has half of the buckets, and the upper half is for keys after the query."""
    grade("t5_buckets", relative_grid(rng, 32, 128, True), True)
    grade("t5_buckets", torch.arange(-7, 8))


@todo("t5-buckets")
def test_buckets_of_other_sizes(grade, rng):
    """Other numbers of buckets and other greatest distances, also where a side has few buckets."""
    for n_buckets, farthest in ((16, 40), (64, 1000), (8, 20), (12, 100)):
        for bidirectional in (True, False):
            relative = relative_grid(rng, n_buckets, farthest, bidirectional)
            grade("t5_buckets", relative, bidirectional, n_buckets, farthest)


@todo("t5-buckets")
def test_buckets_of_the_farthest_keys(grade, rng):
    """Everything beyond the greatest distance shares the last bucket of its side."""
    far = torch.from_numpy(rng.integers(200, 100_000, size=8))
    for bidirectional in (True, False):
        grade("t5_buckets", torch.cat([-far, far, torch.tensor([0, -1])]), bidirectional)


# ---------------------------------------------------------------- YaRN

MODELS = [
    (64, 10000.0, 2048),
    (128, 10000.0, 4096),
    (128, 500_000.0, 8192),
    (96, 1_000_000.0, 32_768),
    (32, 1000.0, 600),
]


def pick(rng, count):
    return [MODELS[i] for i in rng.permutation(len(MODELS))[:count]]


@todo("yarn", points=3)
def test_fast_pairs_stay_and_slow_ones_are_interpolated(grade, rng):
    """Pairs that turn often keep their frequency, pairs that never finish a turn are slowed, a ramp lies between."""
    for head_dim, base, length in pick(rng, 3):
        grade("yarn_frequencies", head_dim, base, float(rng.uniform(2, 16)), length, rtol=1e-5, atol=0)


@todo("yarn")
def test_ramp_of_other_betas(grade, rng):
    """beta_fast and beta_slow move the two ends of the ramp."""
    for head_dim, base, length in pick(rng, 2):
        grade("yarn_frequencies", head_dim, base, 4.0, length, 20.0, 3.0, rtol=1e-5, atol=0)


@todo("yarn")
def test_ramp_ends_inside_the_head(grade, rng):
    """The ramp begins at pair 0 at the earliest and ends at K - 1 at the latest, for texts of any length."""
    factor = float(rng.uniform(2, 16))
    grade("yarn_frequencies", 64, 10000.0, factor, 128, rtol=1e-5, atol=0)
    grade("yarn_frequencies", 16, 10000.0, factor, 64, rtol=1e-5, atol=0)
    grade("yarn_frequencies", 64, 10000.0, factor, 131072, rtol=1e-5, atol=0)  # K/2 = 32 pairs, high = 35


@todo("yarn")
def test_ramp_without_length(grade, rng):
    """Where low = high, the share of the slower frequency jumps from 0 to 1: pairs up to low keep theirs."""
    factor = float(rng.uniform(2, 16))
    inv_freq, _ = grade.call("yarn_frequencies", 64, 10000.0, factor, 6)
    assert not inv_freq.isnan().any(), "NaN where low = high = 0: a ramp of length 0 is a step"
    grade("yarn_frequencies", 64, 10000.0, factor, 6, rtol=1e-5, atol=0)


@todo("yarn")
def test_attention_factor_of_yarn(grade, rng):
    """The attention factor grows with the logarithm of the factor, from 1 on; a factor of 1 changes nothing at all."""
    for factor in (1.0, 0.5, 4.0, float(rng.uniform(2, 40))):
        grade("yarn_frequencies", 64, 10000.0, factor, 4096, rtol=1e-5, atol=0)


# ---------------------------------------------------------------- everything together


@whole_lab(points=2)
def test_one_attention_in_two_layouts(grade, rng):
    """Your conversion, rotation and attention together: weights of one layout give the same output in the other."""
    x, weights = normal(rng, 2, 6, 10), [normal(rng, 2 * 8, 10) / 3 for _ in range(3)]
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}
    found = grade("attention_in_both_layouts", x, weights, 2, scaling, 40, atol=1e-5)
    change = (found["half"] - found["interleaved"]).abs().max().item()
    assert change < 1e-5, f"the two layouts differ by {change:.2g} in their output, expected 0"
    moved = grade.call("attention_in_both_layouts", x, weights, 2, scaling, 0)
    change = (found["half"] - moved["half"]).abs().max().item()
    assert change < 1e-4, f"moving all positions by 40 changes the output by {change:.2g}, expected rounding"


@whole_lab()
def test_every_scheme_tells_positions_apart(grade, rng):
    """Every scheme of the lab in one attention layer over a text of one token, repeated: your pieces fit together."""
    x = normal(rng, 1, 1, 1, 8).expand(1, 4, 9, 8).contiguous()
    grade("every_scheme", x, normal(rng, 32, 4, dtype=torch.float32), atol=1e-5)
