"""The reference of lab 4.3 against the rotary, ALiBi, T5 and sinusoidal code of transformers, and its own claims."""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from labkit.reference import positional_encodings as lab
from labkit.reference.positional_encodings import extrapolation, positions_report

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def turned(x, positions, layout="half", base=10000.0):
    inv_freq = lab.inverse_frequencies(x.size(-1), base).double()
    return lab.apply_rope(x, *lab.rope_angles(positions, inv_freq), layout)


# ---------------------------------------------------------------- transformers

SCALINGS = [
    {"rope_type": "linear", "factor": 4.0},
    {"rope_type": "dynamic", "factor": 2.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    {"rope_type": "yarn", "factor": 10.0, "original_max_position_embeddings": 4096, "beta_fast": 16, "beta_slow": 2},
    {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 8192, "attention_factor": 1.5},
    {
        "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 512,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    },
]  # fmt: skip


def llama_config(head_dim, base, scaling=None, length=64):
    from transformers import LlamaConfig

    factor = (scaling or {}).get("factor", 1.0)
    length = int(factor * (scaling or {}).get("original_max_position_embeddings", length / factor))
    parameters = {"rope_type": "default"} | (scaling or {}) | {"rope_theta": base}
    return LlamaConfig(
        hidden_size=4 * head_dim, num_attention_heads=4, max_position_embeddings=length, rope_parameters=parameters
    )


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda scaling: f"{scaling['rope_type']}-{scaling['factor']:.0f}")
@pytest.mark.parametrize(("head_dim", "base"), [(16, 10000.0), (64, 500_000.0), (128, 1_000_000.0)])
def test_scaled_frequencies_are_those_of_transformers(scaling, head_dim, base):
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    for seq_len in (None, 40, 300) if scaling["rope_type"] == "dynamic" else (None,):
        config = llama_config(head_dim, base, scaling)
        wanted, wanted_factor = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](config, None, seq_len=seq_len)
        length = scaling.get("original_max_position_embeddings", config.max_position_embeddings)
        options = scaling | {"original_max_position_embeddings": length, "rope_theta": base}
        found, factor = lab.rope_frequencies(head_dim, base, options, seq_len=seq_len)
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
        assert found.dtype == torch.float32 and factor == pytest.approx(wanted_factor, abs=1e-12)
        assert scaling["rope_type"] == "dynamic" or not torch.equal(found, lab.inverse_frequencies(head_dim, base))


@pytest.mark.parametrize("scaling", [None, *SCALINGS[2:4]], ids=["plain", "yarn", "yarn, betas"])
def test_rope_attention_is_llamas(scaling):
    """Rotary embedding and rotation of transformers' Llama, its attention factor included, with torch's attention."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    q, k, v = (normal(seed, 2, 3, 9, 16, dtype=torch.float32) for seed in range(3))
    rotary = LlamaRotaryEmbedding(llama_config(16, 10000.0, scaling))
    cos, sin = rotary(v, torch.arange(5, 14)[None])  # their angles are of float32, and so are ours
    wanted_q, wanted_k = apply_rotary_pos_emb(q, k, cos, sin)
    inv_freq, factor = lab.rope_frequencies(16, 10000.0, scaling)
    ours = [factor * x for x in lab.rope_angles(torch.arange(5, 14), inv_freq)]
    torch.testing.assert_close(lab.apply_rope(q, *ours), wanted_q, rtol=0, atol=1e-6)
    torch.testing.assert_close(lab.apply_rope(k, *ours), wanted_k, rtol=0, atol=1e-6)
    # what follows the rotation is compared in float64, where the order of the sums makes no difference of 1e-6
    wanted_q, wanted_k = apply_rotary_pos_emb(q.double(), k.double(), cos.double(), sin.double())
    wanted = scaled_dot_product_attention(wanted_q, wanted_k, v.double(), is_causal=True)
    found = lab.rope_attention(q.double(), k.double(), v.double(), inv_freq, factor, start=5)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


def test_interleaved_rotation_is_gptjs():
    from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb, create_sinusoidal_positions

    x = normal(0, 2, 3, 9, 16, dtype=torch.float32)
    sin, cos = create_sinusoidal_positions(9, 16).chunk(2, dim=-1)
    wanted = apply_rotary_pos_emb(x.transpose(1, 2), sin[None], cos[None]).transpose(1, 2)
    ours = lab.rope_angles(torch.arange(9), lab.inverse_frequencies(16))
    torch.testing.assert_close(lab.apply_rope(x, *ours, "interleaved"), wanted, rtol=0, atol=1e-6)


def test_own_positions_of_each_sequence_are_llamas():
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    x = normal(0, 3, 3, 4, 16, dtype=torch.float32)
    positions = torch.tensor([[0, 1, 2, 3], [0, 0, 1, 2], [7, 8, 9, 10]])
    wanted, _ = apply_rotary_pos_emb(x, x, *LlamaRotaryEmbedding(llama_config(16, 10000.0))(x, positions))
    found = lab.apply_rope(x, *lab.rope_angles(positions, lab.inverse_frequencies(16)))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


def test_alibi_is_blooms_and_mpts():
    """Bloom adds slope · key position, MPT slope · (key - last key): the same as ours up to a constant per query.

    Both libraries raise the slopes' base to a power in float32; their slopes are compared with ours first. What is left
    of Bloom's bias, products and differences, is compared in float64, so that a rounded product is not taken for more.
    """
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    for n_heads in range(1, 41):
        ours = lab.alibi_bias(n_heads, 11, 11).double()
        blooms = build_alibi_tensor(torch.ones(1, 11, dtype=torch.float64), n_heads, torch.float64)  # (H, 1, S)
        for t in range(11):
            difference = (ours - blooms)[:, t, : t + 1]
            torch.testing.assert_close(difference, difference[:, :1].expand(-1, t + 1), rtol=0, atol=1e-6)
        torch.testing.assert_close(lab.alibi_slopes(n_heads).double(), blooms[:, 0, 1], rtol=0, atol=1e-6)
        mpts = build_mpt_alibi_tensor(n_heads, 11)
        torch.testing.assert_close(lab.alibi_bias(n_heads, 1, 11), mpts, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("n_buckets", "max_distance"), [(32, 128), (8, 20), (64, 1000), (12, 50)])
def test_buckets_are_those_of_t5(bidirectional, n_buckets, max_distance):
    """At every distance, those included where the logarithm is a whole number."""
    from transformers.models.t5.modeling_t5 import T5Attention

    relative = torch.arange(-3000, 3001)
    wanted = T5Attention._relative_position_bucket(relative, bidirectional, n_buckets, max_distance)
    assert torch.equal(lab.t5_buckets(relative, bidirectional, n_buckets, max_distance), wanted)


@pytest.mark.parametrize("decoder", [True, False])
def test_bias_is_that_of_t5(decoder):
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Attention

    layer = T5Attention(T5Config(d_model=16, num_heads=4, d_kv=4, is_decoder=decoder), True, layer_idx=0)
    table = layer.relative_attention_bias.weight.detach()
    wanted = layer.compute_bias(3, 150, past_seen_tokens=147)[0]
    torch.testing.assert_close(lab.t5_bias(table, 3, 150, bidirectional=not decoder), wanted)


def test_sinusoids_are_marians():
    """Marian keeps all sines before all cosines; reordered, the numbers are the same, up to position 3000."""
    from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

    halves = MarianSinusoidalPositionalEmbedding(3000, 32).create_weight()
    interleaved = torch.stack(halves.chunk(2, dim=1), dim=-1).flatten(1)
    torch.testing.assert_close(lab.sinusoidal(3000, 32), interleaved, rtol=0, atol=1e-6)


# ---------------------------------------------------------------- properties


@PROPERTY
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.sampled_from(lab.LAYOUTS), st.integers(1, 16))
def test_scores_depend_on_distance_only(seed, by, layout, half):
    q, k = normal(seed, 2, 1, 2, 5, 2 * half)
    places = torch.arange(5)
    here, there = (turned(q, p, layout) @ turned(k, p, layout).mT for p in (places, places + by))
    torch.testing.assert_close(here, there, rtol=0, atol=1e-9)
    torch.testing.assert_close(turned(q, places + by, layout).norm(dim=-1), q.norm(dim=-1))


@PROPERTY
@given(st.integers(0, 1000), st.integers(0, 1000), st.sampled_from(lab.LAYOUTS))
def test_turns_add_up(first, second, layout):
    x = normal(first, 1, 1, 1, 8)
    once = turned(x, torch.tensor([first + second]), layout)
    twice = turned(turned(x, torch.tensor([first]), layout), torch.tensor([second]), layout)
    torch.testing.assert_close(once, twice, rtol=0, atol=1e-10)


@PROPERTY
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 8))
def test_conversion_commutes_with_the_rotation(seed, heads, half):
    """Turned in one layout and converted = converted and turned in the other; and back again is where it began."""
    weight = normal(seed, heads * 2 * half, 3)
    columns = weight.view(1, heads, 2 * half, 3).transpose(2, 3)  # three vectors per head: (1, H, 3, K)
    places = torch.tensor([3, 14, 15])
    for here, to in (lab.LAYOUTS, lab.LAYOUTS[::-1]):
        converted = lab.convert_layout(weight, heads, to)
        assert torch.equal(lab.convert_layout(converted, heads, here), weight)
        in_new = turned(converted.view(1, heads, 2 * half, 3).transpose(2, 3), places, to)
        in_old = turned(columns, places, here).transpose(2, 3).reshape(weight.shape)
        torch.testing.assert_close(in_new.transpose(2, 3).reshape(weight.shape), lab.convert_layout(in_old, heads, to))


@PROPERTY
@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 16))
def test_a_shift_of_sinusoids_is_a_rotation(place, by, pairs):
    """PE[p + by] follows from PE[p] by a rotation that does not depend on p: what RoPE made of it."""
    table = lab.sinusoidal(601, 2 * pairs).double()
    cos, sin = lab.rope_angles(torch.tensor([by]), lab.inverse_frequencies(2 * pairs).double())
    swapped = table[place].view(-1, 2).flip(-1).flatten()  # (cos, sin) is the point at the angle
    moved = lab.apply_rope(swapped.view(1, 1, 1, -1), cos, sin, "interleaved").view(-1, 2).flip(-1).flatten()
    torch.testing.assert_close(moved, table[place + by], rtol=0, atol=2e-4)


@PROPERTY
@given(st.integers(1, 80))
def test_slopes(n_heads):
    slopes = lab.alibi_slopes(n_heads)
    assert len(slopes) == n_heads == len(set(slopes.tolist())) and slopes.min() == 2**-8 and slopes.max() < 1


@PROPERTY
@given(st.sampled_from([8, 12, 32, 64]), st.integers(40, 500), st.booleans())
def test_buckets_never_fall_with_distance(n_buckets, max_distance, bidirectional):
    found = lab.t5_buckets(-torch.arange(1000), bidirectional, n_buckets, max_distance)
    side = n_buckets // 2 if bidirectional else n_buckets
    assert (found.diff() >= 0).all() and found[0] == 0 and found[-1] == side - 1
    assert (found[max_distance:] == side - 1).all()
    after = lab.t5_buckets(torch.arange(1, 1000), bidirectional, n_buckets, max_distance)
    assert torch.equal(after, found[1:] + side if bidirectional else torch.zeros(999, dtype=torch.int64))


@PROPERTY
@given(st.sampled_from([16, 64, 128]), st.floats(1, 32), st.integers(32, 32_768), st.sampled_from([1e4, 5e5]))
def test_yarn_lies_between_plain_and_interpolated(head_dim, factor, length, base):
    found, attention_factor = lab.yarn_frequencies(head_dim, base, factor, length)
    plain = lab.inverse_frequencies(head_dim, base)
    share = plain / found  # how many times more slowly
    assert (share > 1 - 1e-5).all() and (share < factor * (1 + 1e-5)).all() and (share.diff() > -1e-4).all()
    turns = length * plain / (2 * math.pi)
    assert (share[turns < 0.9 * base ** (-4 / head_dim)] > factor * (1 - 1e-5)).all()
    assert attention_factor == pytest.approx(1 + 0.1 * math.log(factor))


@PROPERTY
@given(st.integers(2, 64), st.floats(1, 50), st.floats(10, 1e6))
def test_ntk_keeps_the_fast_end_and_interpolates_the_slow_end(half, factor, base):
    plain, ntk = (lab.inverse_frequencies(2 * half, base, s, "ntk") for s in (1.0, factor))
    linear = lab.inverse_frequencies(2 * half, base, factor)
    assert ntk[0] == plain[0] == 1
    torch.testing.assert_close(ntk[-1], linear[-1], rtol=1e-4, atol=0)


def test_absolute_positions_in_16_bits():
    """Why rope_angles refuses them: bfloat16 counts 256, 256, 258."""
    assert torch.arange(256, 259).bfloat16().tolist() == [256, 256, 258]
    with pytest.raises(TypeError, match=r"inv_freq: expected float32 or float64, got torch\.bfloat16"):
        lab.rope_angles(torch.arange(3), lab.inverse_frequencies(8).bfloat16())


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: lab.sinusoidal(4, 7), "d_model: expected an even number, 2 or more, got 7"),
        (lambda: lab.inverse_frequencies(5), "head_dim: expected an even number"),
        (lambda: lab.inverse_frequencies(2, method="ntk"), "head_dim: expected at least 4 with method 'ntk'"),
        (lambda: lab.inverse_frequencies(4, method="NTK"), "method: expected 'linear' or 'ntk', got 'NTK'"),
        (lambda: lab.apply_rope(*torch.zeros(3, 2, 2, 2, 4)), r"cos: expected \(2, 2\) or \(2, 2, 2\), got"),
        (lambda: lab.apply_rope(*torch.zeros(3, 2, 4)), r"x: expected \(B, H, T, K\)"),
        (lambda: lab.apply_rope(*torch.zeros(3, 1, 1, 1, 2), "neox"), "layout: expected 'half' or 'interleaved'"),
        (lambda: lab.convert_layout(torch.zeros(6, 2), 2, "half"), "weight: expected rows for 2 heads"),
        (lambda: lab.convert_layout(torch.zeros(8, 2), 2, "gptj"), "to: expected 'half' or 'interleaved', got 'gptj'"),
        (lambda: lab.alibi_slopes(0), "n_heads: expected at least 1, got 0"),
        (lambda: lab.t5_buckets(torch.arange(3), n_buckets=30), "n_buckets: expected a multiple of 4, got 30"),
        (lambda: lab.t5_buckets(torch.arange(3), max_distance=8), "max_distance: expected more than 8"),
        (lambda: lab.LearnedPositions(4, 2)(torch.arange(5)), "positions: expected at most 3, got 4"),
        (lambda: lab.rope_frequencies(8, scaling={"rope_type": "longrope"}), "scaling: expected a rope_type"),
        (lambda: lab.rope_frequencies(8, scaling={"rope_type": "linear"}), "scaling: 'linear' needs factor"),
        (lambda: lab.rope_frequencies(8, scaling={"rope_type": "default", "mscale": 1}), "'default' knows no mscale"),
        (lambda: lab.rope_frequencies(8, scaling={"rope_theta": 500.0}), r"rope_theta is 500\.0, but base is 10000\.0"),
        (
            lambda: lab.rope_frequencies(8, scaling={"rope_type": "dynamic", "factor": 2.0}, seq_len=9),
            "scaling: 'dynamic' needs original_max_position_embeddings",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()


# ---------------------------------------------------------------- the tiny language models

NAMESPACE = SimpleNamespace(**vars(lab))


@pytest.mark.parametrize("scheme", extrapolation.SCHEMES)
def test_tiny_models_are_causal_and_know_the_order(scheme):
    torch.manual_seed(0)
    model = extrapolation.TinyLM(NAMESPACE, scheme, 11).double()
    if scheme == "t5":
        torch.nn.init.normal_(model.table)  # at the start all biases are nearly the same
    tokens = torch.randint(11, (2, 90))
    logits = model(tokens)
    later = tokens.clone()
    later[:, 60:] = (later[:, 60:] + 1) % 11
    change = (model(later) - logits).abs().amax((0, 2))
    assert change[:60].max() < 1e-10 and change[60:].min() > 1e-4
    swapped = tokens.clone()
    swapped[:, [10, 20]] = tokens[:, [20, 10]]
    # Layer 2 tells even a model without positions something: a causal mask lets token 10 see less than token 20.
    moved = (model(swapped) - logits)[:, 30:].abs().max()
    assert moved > 1e-4


def test_rope_models_only_see_distances():
    """The loss of RoPE and ALiBi does not depend on where the text begins, so a shifted model gives the same logits."""
    torch.manual_seed(0)
    model = extrapolation.TinyLM(NAMESPACE, "rope", 11)
    tokens = torch.randint(11, (1, 40))
    logits = model(tokens)
    cos, sin = lab.rope_angles(torch.arange(500, 540), lab.inverse_frequencies(extrapolation.HEAD_SIZE))
    model.turn = lambda *_: (cos, sin)
    torch.testing.assert_close(model(tokens), logits, rtol=0, atol=1e-3)


def test_the_tail_is_the_same_text_at_every_length():
    windows = extrapolation.held_out_windows(torch.arange(5000), 3)
    assert windows.shape == (3, 513) and windows[0, 0] == 0 and windows[-1, -1] == 4999
    seen = []

    def model(tokens, scaling):  # knows nothing: every character costs ln 5000
        seen.append(tokens)
        return torch.zeros(*tokens.shape, 5000)

    for length in extrapolation.LENGTHS:
        assert extrapolation.window_nats(model, windows, length).shape == (3, length)
    assert all(torch.equal(tokens[:, -10:], windows[:, -11:-1]) for tokens in seen)
    found = extrapolation.evaluate(model, windows[:1])
    assert found["tail"] == pytest.approx([math.log(5000)] * 4) and len(found["by_position"]) == 512 // 16


def test_two_processes_find_what_one_finds(monkeypatch):
    monkeypatch.setattr(extrapolation, "SCHEMES", ["alibi"])
    text = torch.randint(9, (3000,), generator=torch.Generator().manual_seed(0))
    job = extrapolation.Job(text, text, 9, steps=3, batch=2, windows=1, device="cpu")
    torch.set_num_threads(1)
    alone, together = (sorted(extrapolation.all_runs(NAMESPACE, job, [0, 1], workers)) for workers in (1, 2))
    assert [seed for seed, _ in alone] == [0, 1] == [seed for seed, _ in together]
    for (_, one), (_, other) in zip(alone, together):
        assert one["alibi"]["window"] == pytest.approx(other["alibi"]["window"], abs=1e-5)


def test_training_learns_and_stretches_with_the_length():
    """A text that repeats itself every 7 characters is learnt; the stretched frequencies depend on the length read."""
    torch.manual_seed(0)
    ids = torch.arange(4000) % 7
    model = extrapolation.TinyLM(NAMESPACE, "rope", 7)
    extrapolation.train(model, extrapolation.batches(ids, 64, 2, 30, seed=0), 30, 3e-3)
    assert extrapolation.window_nats(model, extrapolation.held_out_windows(ids, 2), 64).mean() < 0.5
    device = torch.device("cpu")
    plain, yarn = model.turn(256, None, device), model.turn(256, "yarn", device)
    factor = 0.1 * math.log(4) + 1
    torch.testing.assert_close(yarn[0][:, 0], factor * plain[0][:, 0])  # the fastest pair is kept
    torch.testing.assert_close(
        yarn[1][:, -1] / factor, torch.sin(torch.asin(plain[1][:, -1]) / 4), atol=1e-6, rtol=1e-4
    )
    assert all(torch.equal(a, b) for a, b in zip(model.turn(64, "yarn", device), model.turn(64, None, device)))


def test_summary_over_seeds():
    runs = [{"window": [1.0, 2.0], "by_position": [1.0]}, {"window": [3.0, 2.0], "by_position": [2.0]}]
    assert positions_report.summarise(runs) == {
        "window": [2.0, 2.0], "window_low": [1.0, 2.0], "window_high": [3.0, 2.0], "by_position": [1.5],
    }  # fmt: skip


# ---------------------------------------------------------------- worked numbers of the README


def test_table_of_sinusoids():
    lines = Path(lab.__file__).with_name("README.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if re.match(r"\| [0-3] \|", line)]
    table = torch.tensor([[float(cell) for cell in row.strip("|").split("|")] for row in rows])
    assert table[:, 0].tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(table[:, 1:], lab.sinusoidal(4, 4), rtol=0, atol=5.001e-5)
    assert round(math.sin(100**-0.5), 4) == 0.0998


def test_turns_of_a_head_of_64():
    inv_freq = lab.inverse_frequencies(64).double()
    wavelengths = 2 * math.pi / inv_freq
    assert round(wavelengths[0].item(), 2) == 6.28 and wavelengths[-1].item() == pytest.approx(47_117, abs=1)
    turns = 2048 / wavelengths
    assert round(turns[0].item()) == 326 and round(100 * turns[-1].item()) == 4
    assert round(10000 * 8 ** (64 / 62)) == 85_550


def test_yarn_for_8_times_2048():
    found, factor = lab.yarn_frequencies(64, 10000.0, 8.0, 2048)
    share = lab.inverse_frequencies(64) / found
    assert share[:9].allclose(torch.ones(9)) and share[21:].allclose(torch.tensor(8.0))
    assert (share[9:21] > 1.001).all() and (share[9:21] < 7.999).all()
    assert round(factor, 3) == 1.208 and round(factor**2, 3) == 1.459


def test_alibi_and_t5_by_hand():
    assert lab.alibi_slopes(8).tolist() == [2**-i for i in range(1, 9)]
    bias = lab.alibi_bias(8, 1, 21)[:, 0, 0]
    assert bias[0] == -10 and round(math.exp(-10), 5) == 0.00005 and round(-bias[-1].item(), 2) == 0.08
    assert (
        lab.t5_buckets(torch.tensor([-20]), False).tolist() == [17] == [16 + int(16 * math.log(20 / 16) / math.log(8))]
    )
    assert lab.t5_buckets(torch.tensor([-20, 20])).tolist() == [10, 26]
    # Trained on distances up to 63 only, a decoder's buckets from 27 on have never been used.
    assert lab.t5_buckets(torch.tensor([-63, -66, -67, -500]), False).tolist() == [26, 26, 27, 31]


def test_the_layouts_of_six_channels():
    names = ["A1", "A2", "B1", "B2", "C1", "C2"]
    order = lab.convert_layout(torch.arange(6.0), 1, "half").long().tolist()
    assert [names[i] for i in order] == ["A1", "B1", "C1", "A2", "B2", "C2"]
