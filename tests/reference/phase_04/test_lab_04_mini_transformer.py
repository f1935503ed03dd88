"""The reference of lab 4.4 against Hugging Face's GPT-2 and Llama, torch's own layers, and its own claims."""

import copy
import json
import math
import pickle
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from labkit.reference import mini_transformer as lab
from labkit.reference.mini_transformer import ablations, hf_weights, mini_transformer_report

SMALL = {"vocab_size": 61, "block_size": 24, "n_layers": 2, "n_heads": 4, "d_model": 32}
ROPE = {
    "none": None,
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
}  # fmt: skip


@st.composite
def configs(draw):
    """Any small decoder."""
    kv_heads, group, head_dim = draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 2, 3])), 4
    return lab.GPTConfig(
        vocab_size=draw(st.integers(8, 40)), block_size=draw(st.integers(6, 9)), n_layers=draw(st.integers(1, 3)),
        n_heads=kv_heads * group, n_kv_heads=kv_heads, d_model=kv_heads * group * head_dim,
        d_ff=draw(st.sampled_from([None, 5, 12])), norm=draw(st.sampled_from(lab.CHOICES["norm"])),
        norm_position=draw(st.sampled_from(lab.CHOICES["norm_position"])),
        pos=draw(st.sampled_from(lab.CHOICES["pos"])), mlp=draw(st.sampled_from(lab.CHOICES["mlp"])),
        gelu=draw(st.sampled_from(lab.CHOICES["gelu"])), bias=draw(st.booleans()), tie_weights=draw(st.booleans()),
    )  # fmt: skip


def stirred(model, seed=0, scale=0.15):
    """The model with weights that no zero or one of a fresh model can hide behind."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(scale * noise.to(parameter.dtype))
    return model.eval()


def random_ids(*shape, vocab_size=61, seed=0):
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- transformers


def their_gpt2(**changes):
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"vocab_size": 61, "n_positions": 24, "n_embd": 32, "n_layer": 2, "n_head": 4, "eos_token_id": None}
    torch.manual_seed(0)
    return stirred(GPT2LMHeadModel(GPT2Config(**sizes | {"bos_token_id": None} | changes)))


def their_llama(rope="none", **changes):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 44, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    sizes |= {"bos_token_id": None, "eos_token_id": None}
    parameters = {"rope_theta": 10_000.0, **(ROPE[rope] or {"rope_type": "default"})}
    torch.manual_seed(0)
    return stirred(LlamaForCausalLM(LlamaConfig(**sizes | {"rope_parameters": parameters} | changes)))


THEIRS = {
    "gpt2": their_gpt2,
    "gpt2-exact-gelu": lambda: their_gpt2(activation_function="gelu"),
    "gpt2-untied": lambda: their_gpt2(tie_word_embeddings=False, n_inner=52, layer_norm_epsilon=1e-3),
    "llama-tied": lambda: their_llama(tie_word_embeddings=True, num_key_value_heads=4),
    "llama-mqa": lambda: their_llama(num_key_value_heads=1, rms_norm_eps=1e-3),
    **{f"llama-gqa-{name}": lambda name=name: their_llama(name) for name in ROPE},
}


@pytest.fixture
def exact_llama(monkeypatch):
    """transformers' RMSNorm rounds to float32 also in a float64 model; here it does not."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)


@pytest.mark.parametrize("kind", THEIRS)
def test_logits_equal_those_of_transformers_in_float32(kind):
    theirs, ids = THEIRS[kind](), random_ids(2, 24)
    ours = hf_weights.from_transformers(theirs)
    with torch.no_grad():
        wanted, found = theirs(ids).logits, ours(ids)[0]
    assert wanted.std() > 0.3, "logits this small would agree anyway"
    assert (found - wanted).abs().max() < 1e-4
    with torch.no_grad():
        assert (hf_weights.to_transformers(ours)(ids).logits - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("kind", THEIRS)
def test_logits_equal_those_of_transformers_in_float64(kind, exact_llama):
    theirs, ids = THEIRS[kind]().double(), random_ids(2, 24, seed=1)
    ours = hf_weights.from_transformers(theirs)
    back = hf_weights.to_transformers(ours)
    with torch.no_grad():
        wanted, found, again = theirs(ids).logits, ours(ids)[0], back(ids).logits
    assert (found - wanted).abs().max() < 1e-8 and (again - wanted).abs().max() < 1e-8
    assert ours.head.weight.dtype == torch.float64 and not ours.training
    assert (ours.head.weight is ours.embedding.weight) == theirs.config.tie_word_embeddings
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, back.state_dict()[name]), name


@pytest.mark.parametrize("kind", THEIRS)
def test_what_is_left_in_float64_without_lifting_that_line(kind):
    """GPT-2 agrees as it is. A Llama is apart by its norms, which round to float32: far more than 1e-15, below 1e-5."""
    theirs, ids = THEIRS[kind]().double(), random_ids(2, 24, seed=1)
    with torch.no_grad():
        wanted = theirs(ids).logits
        apart = (hf_weights.from_transformers(theirs)(ids)[0] - wanted).abs().max()
    assert apart < 1e-8 if kind.startswith("gpt2") else 1e-8 < apart < 1e-5


def test_the_line_that_is_lifted_is_the_norms():
    """One norm of theirs in float64 is ours of the same numbers, but for the rounding of its division to float32."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    x = torch.randn(5, 32, dtype=torch.float64)
    theirs = LlamaRMSNorm(32, 1e-5).double()(x)
    assert theirs.dtype == torch.float64 and torch.equal(theirs, theirs.float().double())
    assert 1e-9 < (theirs - lab.RMSNorm(32, 1e-5).double()(x)).abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["gpt2", "llama-gqa-llama3"])
def test_gradients_and_loss_equal_those_of_transformers(kind, exact_llama):
    theirs, ids = THEIRS[kind]().double(), random_ids(2, 13, seed=2)
    ours = hf_weights.from_transformers(theirs)
    loss = ours(*lab.shift(ids))[1]
    wanted = theirs(ids, labels=ids).loss  # they shift inside
    assert abs(loss.item() - wanted.item()) < 1e-6  # their loss is taken in float32
    loss.backward(), wanted.backward()
    name = "transformer.wte.weight" if kind == "gpt2" else "model.embed_tokens.weight"
    gradient = dict(theirs.named_parameters())[name].grad
    assert (ours.embedding.weight.grad - gradient).abs().max() < 1e-6 < gradient.abs().max() / 100


@pytest.mark.parametrize("kind", ["gpt2", "llama-gqa-yarn"])
def test_left_padding_as_in_transformers(kind, exact_llama):
    theirs, ids = THEIRS[kind]().double(), random_ids(2, 9, seed=3)
    ours = hf_weights.from_transformers(theirs)
    real = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 1], [1] * 9])
    positions = (real.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        found = ours(ids, mask=real.bool()[:, None, None, :], positions=positions)[0]
        wanted = theirs(ids, attention_mask=real, position_ids=positions).logits
        alone = ours(ids[:1, 3:])[0]
    assert (found - wanted)[real.bool()].abs().max() < 1e-8
    assert (found[0, 3:] - alone[0]).abs().max() < 1e-8 and found.isfinite().all()


def test_greedy_text_as_in_transformers():
    for theirs in (their_gpt2(), their_llama("llama3")):
        ids = random_ids(2, 5)
        seen = torch.ones_like(ids)
        wanted = theirs.generate(ids, attention_mask=seen, max_new_tokens=15, do_sample=False, pad_token_id=0)
        assert torch.equal(hf_weights.from_transformers(theirs).generate(ids, 15, temperature=0), wanted)


def test_a_saved_folder_is_read_by_transformers(tmp_path):
    from transformers import AutoModelForCausalLM

    config = lab.GPTConfig.llama(**SMALL, n_kv_heads=2, rope_scaling=ROPE["llama3"], tie_weights=True, init_std=0.03)
    ours, ids = stirred(lab.MiniGPT(config)), random_ids(2, 20)
    hf_weights.to_transformers(ours).save_pretrained(tmp_path)
    read = AutoModelForCausalLM.from_pretrained(tmp_path)
    again = hf_weights.from_transformers(read)
    assert again.config == replace(config, n_kv_heads=2, d_ff=config.hidden)
    with torch.no_grad():
        torch.testing.assert_close(read(ids).logits, ours(ids)[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(again(ids)[0], ours(ids)[0], atol=1e-5, rtol=0)


def test_what_cannot_be_converted_is_named():
    from transformers import GPT2Config, LlamaConfig, Qwen2Config

    for theirs, match in (
        (GPT2Config(activation_function="relu"), "activation_function: expected one of gelu_new, .*, got 'relu'"),
        (GPT2Config(attn_pdrop=0.3), "attn_pdrop: expected 0.1, got 0.3"),
        (LlamaConfig(attention_bias=True), "attention_bias: expected False"),
        (LlamaConfig(head_dim=64, hidden_size=256, num_attention_heads=8), "head_dim: expected 32, got 64"),
        (Qwen2Config(), "model_type: expected 'gpt2' or 'llama', got 'qwen2'"),
    ):
        with pytest.raises(ValueError, match=match):
            hf_weights.config_from_transformers(theirs)
    for config in (lab.GPTConfig(pos="alibi"), lab.GPTConfig(n_kv_heads=3), lab.GPTConfig.llama(dropout=0.1)):
        with pytest.raises(ValueError, match="config: expected the parts"):
            hf_weights.config_to_transformers(config)


# ---------------------------------------------------------------- counting


@settings(max_examples=60, deadline=None, derandomize=True)
@given(configs())
def test_counts_are_exact(config):
    with torch.device("meta"):
        model = lab.MiniGPT(config)
    assert lab.count_parameters(config) == sum(p.numel() for p in model.parameters())
    assert lab.GPTConfig(**json.loads(json.dumps(asdict(config)))) == config


def test_counts_of_published_models():
    """The numbers of the README; both are what transformers counts."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    llama = lab.GPTConfig.llama(**mini_transformer_report.KNOWN["Llama 3 8B"])
    theirs = LlamaConfig(
        vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32, num_key_value_heads=8
    )
    with torch.device("meta"):
        counts = [sum(p.numel() for p in make(config).parameters()) for make, config in
                  ((GPT2LMHeadModel, GPT2Config()), (LlamaForCausalLM, theirs))]  # fmt: skip
    assert [lab.count_parameters(lab.GPTConfig.gpt2()), lab.count_parameters(llama)] == counts
    assert counts == [124_439_808, 8_030_261_248]
    rule = lab.GPTConfig.gpt2(vocab_size=50_000, n_layers=32, n_heads=32, d_model=4096, bias=False)
    groups = lab.parameter_groups(rule)
    assert groups["attention"] + groups["mlp"] == 12 * 32 * 4096**2 == 6_442_450_944
    assert groups["embedding"] == 204_800_000 and groups["head"] == 0


@pytest.mark.parametrize("parts", [{}, {"n_kv_heads": 2, "mlp": "swiglu", "norm": "rmsnorm", "tie_weights": False}])
def test_operations_are_those_that_torch_counts(parts):
    config = lab.GPTConfig(**SMALL, **parts)
    model, ids = lab.MiniGPT(config), random_ids(3, 17)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(*lab.shift(ids))[1].backward()
    assert counter.get_total_flops() == lab.flops_per_token(config, 16) * 3 * 16


# ---------------------------------------------------------------- causality, the start, learning


@settings(max_examples=25, deadline=None, derandomize=True)
@given(configs(), st.integers(0, 1000))
def test_no_information_from_the_future(config, seed):
    torch.manual_seed(seed)
    model, length = stirred(lab.MiniGPT(config).double(), seed, 0.3), 6
    ids = random_ids(2, length, vocab_size=config.vocab_size, seed=seed)
    with torch.no_grad():
        before = model(ids)[0]
        for place in range(1, length):
            changed = ids.clone()
            changed[:, place:] = (changed[:, place:] + 1) % config.vocab_size
            after = model(changed)[0]
            assert torch.equal(after[:, :place], before[:, :place])
            assert (after[:, place] - before[:, place]).abs().max() > 1e-9
    assert mini_transformer_report.leak(model, length) == 0


@pytest.mark.parametrize("parts", [{}, {"pos": "rope", "norm": "rmsnorm", "mlp": "swiglu"}, {"norm_position": "post"},
                                   {"pos": "sinusoidal"}, {"pos": "alibi", "tie_weights": False}])  # fmt: skip
def test_first_loss(parts):
    sizes = {"vocab_size": 1000, "block_size": 32, "n_layers": 3, "n_heads": 4, "d_model": 128}
    for seed in range(2):
        torch.manual_seed(seed)
        model = lab.MiniGPT(lab.GPTConfig(**sizes, **parts))
        with torch.no_grad():
            loss = model(*lab.shift(torch.randint(1000, (48, 33))))[1].item()
        assert math.log(1000) <= loss <= math.log(1000) + 0.0002 * 128 + 0.05


def test_residual_scaling_keeps_the_stream_small():
    """At the start, what 2N branches add does not grow with N: that is what the scaling is for."""

    def size(layers, scaled):
        torch.manual_seed(0)
        model = lab.MiniGPT(lab.GPTConfig(vocab_size=50, block_size=16, n_layers=layers, n_heads=2, d_model=64))
        if not scaled:
            for block in model.blocks:
                for linear in (block.attention.o_proj, block.mlp.down_proj):
                    linear.weight.data *= math.sqrt(2 * layers)
        model.final_norm = nn.Identity()
        with torch.no_grad():
            tokens = torch.randint(50, (4, 16))
            stream = model.embedding(tokens) + model.position_embedding(torch.arange(16))
            return ((model.features(tokens) - stream).std() / stream.std()).item()

    assert size(24, True) < 1.5 * size(3, True) and size(24, False) > 2 * size(3, False)


def test_one_batch_is_learnt_by_heart_and_what_that_does_not_see():
    """Below 0.05 in 200 steps; but so is a model that sees the future, and one that is asked for what it has read."""
    sizes = {"vocab_size": 20, "block_size": 8, "n_layers": 2, "n_heads": 2, "d_model": 32}
    inputs, targets = lab.shift(random_ids(4, 9, vocab_size=20))
    for config, wanted in (({}, targets), ({"causal": False}, targets), ({}, inputs)):
        torch.manual_seed(0)
        model = lab.MiniGPT(lab.GPTConfig(**sizes, **config))
        assert min(mini_transformer_report.overfit(model, inputs, wanted, 200)) < 0.05
        assert (mini_transformer_report.leak(model, 8) > 0) == (config == {"causal": False})


def test_dropout_is_off_in_eval_mode():
    ids = random_ids(2, 8)
    with torch.no_grad():
        model = stirred(lab.MiniGPT(lab.GPTConfig(**SMALL, dropout=0.3)))
        assert torch.equal(model(ids)[0], model(ids)[0])
        plain = lab.MiniGPT(lab.GPTConfig(**SMALL))
        plain.load_state_dict(model.state_dict())
        assert torch.equal(plain(ids)[0], model(ids)[0])
        assert not torch.equal(model.train()(ids)[0], model(ids)[0])


# ---------------------------------------------------------------- torch's own parts


def test_rms_norm_is_torchs():
    ours, theirs = lab.RMSNorm(16, 1e-3), nn.RMSNorm(16, 1e-3)
    ours.weight.data.normal_()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 5, 16)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.double()(x.double()), theirs.double()(x.double()), atol=1e-14, rtol=0)
    x = (300 * x).half()
    torch.testing.assert_close(ours.half()(x), theirs.half()(x), atol=2e-3, rtol=2e-3)
    assert ours(torch.zeros(2, 16).half()).abs().max() == 0


@pytest.mark.parametrize("place", ["pre", "post"])
def test_a_block_is_torchs_encoder_layer(place):
    config = lab.GPTConfig(n_heads=4, d_model=32, norm_position=place, causal=False)
    ours = stirred(lab.Block(config).double())
    theirs = nn.TransformerEncoderLayer(
        32, 4, 128, 0.0, lambda x: F.gelu(x, approximate="tanh"), 1e-5, batch_first=True, norm_first=place == "pre"
    )
    state = ours.state_dict()
    names = {"attention.o_proj": "self_attn.out_proj", "mlp.up_proj": "linear1", "mlp.down_proj": "linear2"}
    names |= {"attention_norm": "norm1", "mlp_norm": "norm2"}
    renamed = {f"{new}.{kind}": state[f"{old}.{kind}"] for old, new in names.items() for kind in ("weight", "bias")}
    for kind in ("weight", "bias"):
        renamed[f"self_attn.in_proj_{kind}"] = torch.cat([state[f"attention.{p}_proj.{kind}"] for p in "qkv"])
    theirs = theirs.double().eval()
    theirs.load_state_dict(renamed)
    x, causal = torch.randn(2, 7, 32, dtype=torch.float64), torch.ones(7, 7, dtype=torch.bool).tril()
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-10, rtol=0)
    torch.testing.assert_close(ours(x, mask=causal), theirs(x, src_mask=~causal), atol=1e-10, rtol=0)


def test_cross_attention_is_torchs():
    ours = stirred(lab.Attention(lab.GPTConfig(n_heads=4, d_model=32)).double())
    theirs = nn.MultiheadAttention(32, 4, batch_first=True).double()
    state = ours.state_dict()
    for kind in ("weight", "bias"):
        joined = torch.cat([state[f"{p}_proj.{kind}"] for p in "qkv"])
        getattr(theirs, f"in_proj_{kind}").data.copy_(joined)
        getattr(theirs.out_proj, kind).data.copy_(state[f"o_proj.{kind}"])
    x, context = torch.randn(2, 3, 32, dtype=torch.float64), torch.randn(2, 9, 32, dtype=torch.float64)
    torch.testing.assert_close(ours(x, context=context), theirs(x, context, context)[0], atol=1e-12, rtol=0)


# ---------------------------------------------------------------- masks, positions, generation


@pytest.mark.parametrize("pos", lab.CHOICES["pos"])
def test_padding_changes_nothing_for_the_rest(pos):
    """Rows of different lengths in one batch, padded on either side, give what each row gives alone."""
    model, ids = stirred(lab.MiniGPT(lab.GPTConfig(**SMALL, pos=pos)).double()), random_ids(1, 5)
    with torch.no_grad():
        alone = model(ids)[0]
        for left in (0, 3):
            row = F.pad(ids, (left, 3 - left), value=7)
            place = torch.arange(8)
            real = (place >= left) & (place < left + 5)
            found = model(row, mask=real[None, None, None, :], positions=(place - left).clamp(min=0))[0]
            torch.testing.assert_close(found[:, left : left + 5], alone, atol=1e-10, rtol=0)
            assert found.isfinite().all()


def test_packed_documents_do_not_see_each_other():
    model, ids = stirred(lab.MiniGPT(lab.GPTConfig.llama(**SMALL)).double()), random_ids(1, 9)
    document = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1])
    positions = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 4])
    with torch.no_grad():
        packed = model(ids, mask=document[:, None] == document, positions=positions)[0]
        apart = torch.cat([model(ids[:, :4])[0], model(ids[:, 4:])[0]], dim=1)
    torch.testing.assert_close(packed, apart, atol=1e-10, rtol=0)


def test_an_encoder_sees_both_ways():
    config = lab.GPTConfig(**SMALL, causal=False)
    assert mini_transformer_report.leak(stirred(lab.MiniGPT(config))) > 1e-3


def test_sampling_follows_the_softmax():
    model, prompt = stirred(lab.MiniGPT(lab.GPTConfig(**SMALL | {"vocab_size": 7}))), random_ids(1, 4, vocab_size=7)
    with torch.no_grad():
        logits = model(prompt)[0][0, -1]
    for temperature, top_k in ((1.0, None), (0.5, 3)):
        made = model.generate(prompt.expand(20_000, -1), 1, temperature, top_k, torch.Generator().manual_seed(0))
        share = torch.bincount(made[:, -1], minlength=7) / 20_000
        kept = logits if top_k is None else logits.masked_fill(logits < logits.topk(top_k).values[-1], -math.inf)
        assert (share - (kept / temperature).softmax(-1)).abs().max() < 0.02


def test_shift_by_hand():
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 0, 0]])
    inputs, targets = lab.shift(ids, torch.tensor([4, 2]))
    assert inputs.tolist() == [[5, 6, 7], [5, 6, 0]] and targets.tolist() == [[6, 7, 8], [6, -100, -100]]
    assert ids.tolist() == [[5, 6, 7, 8], [5, 6, 0, 0]]


def test_bfloat16_copies_and_pickles():
    model, ids = stirred(lab.MiniGPT(lab.GPTConfig.llama(**SMALL, tie_weights=True))), random_ids(2, 10)
    with torch.no_grad():
        wanted = model(ids)[0]
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(other(ids)[0], wanted) and other.head.weight is other.embedding.weight
        with torch.autocast("cpu", torch.bfloat16):
            assert (model(ids)[0] - wanted).abs().max() < 0.1
        narrow = model.bfloat16()(ids)[0]
        assert narrow.dtype == torch.bfloat16 and (narrow - wanted).abs().max() < 0.2


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"norm": "batchnorm"}, "norm: expected one of layernorm, rmsnorm, got 'batchnorm'"),
        ({"pos": "none"}, "pos: expected one of learned, sinusoidal, rope, alibi, got 'none'"),
        ({"n_layers": 0}, "n_layers: expected at least 1, got 0"),
        ({"n_heads": 5}, "n_heads to divide d_model = 768"),
        ({"n_kv_heads": 5}, "n_heads = 12, n_kv_heads = 5"),
        ({"n_kv_heads": 0}, "n_kv_heads: expected at least 1, got 0"),
        ({"pos": "rope", "d_model": 9, "n_heads": 3}, "heads of even size, got 3"),
        ({"pos": "sinusoidal", "d_model": 9, "n_heads": 3}, "even width, got 9"),
        ({"init_std": 0.0}, "init_std: expected more than 0, got 0.0"),
        ({"dropout": 1.0}, "dropout: expected 0 <= dropout < 1, got 1.0"),
    ],
)
def test_configs_that_make_no_sense(changes, match):
    with pytest.raises(ValueError, match=match):
        lab.GPTConfig(**changes)


def test_bad_input_is_named():
    model = lab.MiniGPT(lab.GPTConfig(**SMALL))
    for call, match in (
        (lambda: model(random_ids(1, 25)), r"tokens: expected \(B, T\) with T <= 24, got \(1, 25\)"),
        (lambda: model(random_ids(5)), r"tokens: expected \(B, T\)"),
        (lambda: model.generate(random_ids(2, 0), 1), r"tokens: .*T >= 1, got \(2, 0\)"),
        (lambda: model.generate(random_ids(2, 2), 1, temperature=-1.0), "temperature >= 0"),
        (lambda: model.generate(random_ids(2, 2), 1, top_k=0), "top_k >= 1"),
        (lambda: lab.shift(random_ids(2, 1)), r"ids: expected \(B, T \+ 1\).*got \(2, 1\)"),
    ):
        with pytest.raises(ValueError, match=match):
            call()


def test_default_widths():
    assert lab.GPTConfig().hidden == 3072 and lab.GPTConfig.llama(d_model=96, n_heads=4).hidden == 256
    config = replace(lab.GPTConfig.llama(d_model=64, n_heads=4), d_model=4096)
    assert config.hidden == 10_928 and config.kv_heads == 4 and config.head_dim == 1024


# ---------------------------------------------------------------- what the report and the ablations do


def test_shapes_cost_the_same():
    flops = [lab.flops_per_token(lab.GPTConfig(**ablations.SIZES, n_layers=layers, d_model=width), ablations.LENGTH)
             for layers, width in ablations.SHAPES]  # fmt: skip
    assert max(flops) / min(flops) < 1.04
    gelu, swiglu = (
        lab.parameter_groups(lab.GPTConfig(d_model=96, n_heads=2, mlp=mlp))["mlp"] for mlp in ("gelu", "swiglu")
    )
    assert gelu == swiglu


def test_ablations_differ_where_they_say(tmp_path):
    args = SimpleNamespace(**ablations.PRESETS["cpu"])
    todo = list(ablations.jobs(args))
    assert len(todo) == 72 and len({(job.family, job.name, job.seed, job.rate) for job in todo}) == 72
    file = str(sys.modules[lab.__name__].__file__)
    ablations.prepare(file, bytes(range(256)) * 40)
    job = ablations.Job("parts", "gpt2", 0, {"n_layers": 1, "d_model": 16}, rate=1e-2)
    first, second = (ablations.train(job, steps, 16, 8, "cpu") for steps in (1, 30))
    assert second["loss"] < first["loss"] - 0.2 < math.log(256) and first == ablations.train(job, 1, 16, 8, "cpu")
    burnt = ablations.train(replace(job, rate=1e9), 3, 16, 8, "cpu")
    assert burnt["loss"] == math.log(256)


def test_gradient_norms_are_those_of_blocks():
    ablations.prepare(str(sys.modules[lab.__name__].__file__), bytes(range(256)) * 40)
    found = ablations.gradient_norms(lab, 3, 8, 2)
    assert set(found) == {"pre", "post"} and all(len(v) == 3 and min(v) > 0 for v in found.values())


# ---------------------------------------------------------------- worked numbers of the README


def test_norms_by_hand():
    x = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(lab.RMSNorm(2, 0.0)(x), torch.tensor([[0.8485, 1.1314]]), atol=5e-5, rtol=0)
    torch.testing.assert_close(F.layer_norm(x, (2,), eps=0.0), torch.tensor([[-1.0, 1.0]]))
    assert round(12.5**0.5, 4) == 3.5355


def test_counts_by_hand():
    groups = lab.parameter_groups(lab.GPTConfig.llama(**mini_transformer_report.KNOWN["Llama 3 8B"]))
    rule = 32 * 4096**2
    assert [round(groups[key] / 1e9, 2) for key in ("attention", "mlp")] == [1.34, 5.64]
    assert [round(n * rule / 1e9, 2) for n in (4, 8, 12)] == [2.15, 4.29, 6.44]
    assert groups["head"] == 525_336_576 and round(50_000 * 4096 / 1e9, 2) == 0.20
    gpt2 = lab.parameter_groups(lab.GPTConfig.gpt2())
    assert gpt2["embedding"] == 38_597_376 and round(2 * gpt2["embedding"] / 1e6) == 77


def test_operations_by_hand():
    config, width = lab.GPTConfig.gpt2(), 768
    flops = lab.flops_per_token(config, 1024)
    assert round(flops / 1e9, 3) == 0.854 and round(12 * 12 * width * 1024 / flops, 2) == 0.13
    assert 24 * 6 * width * width**2 == 4 * (6 * width) ** 2 * width and 6 * width == 4608


def test_first_scale_by_hand():
    assert [round(x, 3) for x in (math.log(50_257), 0.0002 * 768)] == [10.825, 0.154]
    assert round(math.log(50_257) + 0.0002 * 768, 3) == 10.979
    assert round(math.sqrt(24), 2) == 4.90 and round(0.02 / math.sqrt(24), 4) == 0.0041
    assert torch.finfo(torch.float16).max == 65_504 < 256**2
    assert [round(0.02 * math.sqrt(width), 2) for width in (768, 48)] == [0.55, 0.14]
    assert round(ablations.scaled_std(48), 4) == 0.08
