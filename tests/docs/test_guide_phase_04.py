"""The worked numbers of phase 4's guide, recomputed, and the parameter counts taken from transformers' own models."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

GUIDE = Path(__file__).resolve().parents[2] / "phase-04-transformers" / "HITCHHIKERS-GUIDE.md"
LLAMA = {"vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32}


def says(*sentences: str) -> None:
    text = " ".join(GUIDE.read_text(encoding="utf-8").split())
    missing = [sentence for sentence in sentences if sentence not in text]
    assert not missing, f"the guide does not say: {missing}"


def model_of(make, config):
    """A model without memory behind its parameters: only their shapes."""
    with torch.device("meta"):
        return make(config)


def count(parameters) -> int:
    return sum(parameter.numel() for parameter in parameters)


@pytest.fixture(scope="module")
def llama():
    heads = {"num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": False}
    return model_of(LlamaForCausalLM, LlamaConfig(**LLAMA, **heads))


@pytest.fixture(scope="module")
def gpt2():
    return model_of(GPT2LMHeadModel, GPT2Config())


def test_scores():
    says(f"gives the smaller one {100 / (1 + math.exp(8)):.3f} % of the weight")
    says(f"At T = 8,192 with 32 heads that is {8192**2 * 32 * 2 / 2**30:.1f} GiB in BF16")


def attended(rows, divisor=1.0):
    """Every row's answer when it is query, key and value at once."""
    x = torch.tensor(rows, dtype=torch.float64)
    weights = (x @ x.T / divisor).softmax(-1)
    return weights, weights @ x


LOVE = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]  # "I love cats"


def listed(numbers, digits=3):
    return ", ".join(f"{n:.{digits}f}" for n in numbers)


def test_attention_by_hand():
    weights, out = attended(LOVE)
    e = math.exp(1)
    says(f"exponentials 1, {e:.3f}, {e:.3f} with sum {1 + 2 * e:.3f}, so the weights are {listed(weights[1])}.")
    says(f"$0.155 \\cdot (1, 0) + 0.422 \\cdot (0, 1) + 0.422 \\cdot (1, 1) = ({listed(out[1])})$")
    weights, out = attended(LOVE, math.sqrt(2))
    says(f"divided by {math.sqrt(2):.3f}, the weights become {listed(weights[1])}, and the answer ({listed(out[1])})")


def largest_distance(rows):
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").max().item()


def test_averages_of_averages():
    x, plain, added = torch.tensor(LOVE, dtype=torch.float64), [], []
    says(f"section 1, {largest_distance(x):.2f} apart at most")
    alone, stream = x, x
    for _ in range(3):
        alone, stream = attended(alone.tolist())[1], stream + attended(stream.tolist())[1]
        plain.append(largest_distance(alone))
        added.append(largest_distance(stream))
    says(f"largest distance is {plain[0]:.2f}, after two {plain[1]:.4f}, after three less than 0.000001")
    assert plain[2] < 1e-6
    says(f"distances here are {listed(added[:2], 2)}, ...")
    assert added[2] > added[1] and torch.linalg.matrix_rank(alone, tol=1e-3) == 1


def test_pairs_in_a_window():
    t, w = 32_768, 4_096
    pairs, full = sum(min(i, w) for i in range(1, t + 1)), t * (t + 1) // 2
    says(f"At T = {t:,} and W = {w:,} that is {pairs / 1e6:.0f} million pairs of query and key instead of")
    says(f"instead of {full / 1e6:.0f} million", f"holds {128**2:,} numbers a head")
    assert 128**2 == 2 * 128 * 64


def test_sinusoids():
    for p in range(4):
        row = [math.sin(p), math.cos(p), math.sin(p / 100), math.cos(p / 100)]
        says(f"| {p} | " + " | ".join(f"{n:.4f}" for n in row) + " |")
    assert 10_000 ** (2 / 4) == 100
    says(f"with {math.sin(1 / 100 ** (2 / 4)):.4f} where this one has {math.sin(1 / 100):.4f} were made with base 100")


def test_slots_of_the_networks(gpt2):
    slots = sum(p.numel() for name, p in gpt2.named_parameters() if "mlp.c_fc.bias" in name)
    says(f"12 x 3,072 = {slots:,} such slots")


def test_kept_keys_and_values():
    def per_token(heads):
        return 2 * 80 * heads * 128 * 2 / 1024

    says(f"one token keeps {per_token(8):.0f} KiB; with 64 heads it would keep {per_token(64):,.0f} KiB")
    token = 2 * 32 * 8 * 128 * 2
    says(f"Llama 3 8B in BF16: {token >> 10} KiB a token, {token * 8192 >> 30} GiB for 8,192 tokens")
    says(f"{32 * token * 8192 >> 30} GiB for a batch of 32 such sequences - twice the weights")
    assert 1.9 < 32 * token * 8192 / (2 * 8_030_261_248) < 2.2


def test_rotations():
    turns = [2 * math.pi * 10_000 ** (2 * i / 128) for i in range(64)]
    says(f"the slowest pair needs {turns[-1]:,.0f} positions for one turn")
    says(f"has seen {sum(turn > 4096 for turn in turns)} of its 64 pairs make less than one turn")


def test_initial_scale():
    says(f"For N = 12 that is 0.02 / {math.sqrt(24):.2f} = {0.02 / math.sqrt(24):.4f}")


def test_rule_of_thumb():
    layers, table = 32 * 12 * 4096**2, 50_000 * 4096
    text = f"{layers / 1e9:.2f} billion in the layers and {table / 1e9:.2f} in the embedding, "
    says(text + f"{(layers + table) / 1e9:.2f} billion in all")


def test_parameters_of_gpt2(gpt2):
    parts = {
        "token table": ("wte",),
        "position table": ("wpe",),
        "12 x attention": (".attn.",),
        "12 x network": (".mlp.",),
    }
    parts |= {"25 x norm": ("ln_",), "all": ("",)}
    named = dict(gpt2.named_parameters())  # a tied matrix appears once
    text = GUIDE.read_text(encoding="utf-8")
    for part, keys in parts.items():
        total = count(p for name, p in named.items() if any(key in name for key in keys))
        row = next(line for line in text.splitlines() if line.startswith(f"| {part}"))
        assert row.endswith(f" {total:,} |"), (row, total)
    assert sum("ln_" in name and "weight" in name for name in named) == 25
    matrices = count(p for name, p in named.items() if ".h." in name and p.dim() == 2)
    table = count([named["transformer.wte.weight"]])
    says(f"{matrices / 1e6:.1f} million in the matrices of the layers and {table / 1e6:.1f} million in the token")


def test_parameters_of_llama(llama):
    named = dict(llama.named_parameters())
    attention = count(p for name, p in named.items() if "layers.0.self_attn" in name)
    network = count(p for name, p in named.items() if "layers.0.mlp" in name)
    norms = count(p for name, p in named.items() if "norm" in name)
    table = count([named["model.embed_tokens.weight"]])
    says(
        f"{attention:,} in a layer's attention, {network:,} in its network, twice {table:,} in the tables, {norms:,} in"
    )
    says(f"{count(named.values()):,} in all", f"make it {32 * (attention + network) / 1e9:.2f}")


def test_operations(gpt2):
    layers, output = 12 * 12 * 768**2, 50_257 * 768
    attention = 12 * 12 * 1024 * 768
    says(f"{6 * layers / 1e6:.0f} million from the layers' matrices, {6 * output / 1e6:.0f} million from the output")
    total = 6 * (layers + output) + attention
    says(f"{attention / 1e6:.0f} million from attention; {total / 1e6:.0f} million in all")
    says(f"of which attention is {100 * attention / total:.0f} %")
    assert all(4 * (6 * d) * d == 24 * d**2 for d in (768, 4096))
    says(f"which is {6 * 768:,} for D = 768 and {6 * 4096:,} for D = 4,096")


def test_operations_are_those_torch_counts():
    """torch's own counter on a small model of the guide's shape: 2P per token forwards plus 4TD per layer."""
    from torch.utils.flop_counter import FlopCounterMode

    d, layers, t, vocabulary = 32, 2, 16, 64
    sizes = {"n_embd": d, "n_layer": layers, "n_head": 4, "n_positions": t, "vocab_size": vocabulary}
    model = GPT2LMHeadModel(GPT2Config(**sizes, attn_implementation="eager"))
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, t, dtype=torch.long))
    assert counter.get_total_flops() == t * (2 * (layers * 12 * d**2 + vocabulary * d) + layers * 4 * t * d)


def test_masked_positions():
    says(f"a signal from {round(0.15 * 512)} of them where a decoder learns from 511")


def test_loss_at_the_start():
    says(f"close to $\\ln V$: {math.log(50257):.3f} for V = 50,257")
