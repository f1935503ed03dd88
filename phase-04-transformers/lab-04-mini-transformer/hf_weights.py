"""Weights from Hugging Face's GPT-2 and Llama into `MiniGPT`, and back: same logits, other names.

    from transformers import AutoModelForCausalLM
    model = from_transformers(AutoModelForCausalLM.from_pretrained("openai-community/gpt2"))

Two things are more than names: GPT-2 keeps queries, keys and values in one matrix, and stores its matrices transposed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from labkit.reference.mini_transformer import GPTConfig, MiniGPT

GPT2_BLOCK = {  # our name in a block: theirs
    "attention_norm": "ln_1",
    "mlp_norm": "ln_2",
    "attention.o_proj": "attn.c_proj",
    "mlp.up_proj": "mlp.c_fc",
    "mlp.down_proj": "mlp.c_proj",
}
GELU = {"gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "gelu": "exact"}  # their names of its two forms: ours
LLAMA_BLOCK = {
    "attention_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
    **{f"attention.{name}_proj": f"self_attn.{name}_proj" for name in "qkvo"},
    **{f"mlp.{name}_proj": f"mlp.{name}_proj" for name in ("gate", "up", "down")},
}


def from_transformers(theirs: nn.Module) -> MiniGPT:
    """A MiniGPT with the weights of a GPT2LMHeadModel or LlamaForCausalLM, in its dtype, on its device, in its mode.

    Raises ValueError for a config that `MiniGPT` cannot express, naming the field.
    """
    config = config_from_transformers(theirs.config)
    state = state_from_transformers(theirs.state_dict(), config)
    return filled(config, {name: tensor.detach().clone() for name, tensor in state.items()}).train(theirs.training)


def filled(config: GPTConfig, state: dict[str, Tensor]) -> MiniGPT:
    """A MiniGPT whose weights are these very tensors."""
    with torch.device("meta"):  # no memory and no random numbers: every weight is about to be replaced
        ours = MiniGPT(config)
    ours.load_state_dict(state, assign=True)
    if config.tie_weights:
        ours.head.weight = ours.embedding.weight  # two were assigned
    return ours


def to_transformers(ours: MiniGPT) -> nn.Module:
    """The way back: a GPT2LMHeadModel or LlamaForCausalLM, for `save_pretrained` and everything that reads its files.

    Raises ValueError for a config that is neither of the two.
    """
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_config(config_to_transformers(ours.config))
    theirs = theirs.to(device=ours.head.weight.device, dtype=ours.head.weight.dtype)
    theirs.load_state_dict(state_to_transformers(ours.state_dict(), ours.config))
    return theirs.train(ours.training)


# ---------------------------------------------------------------- configs


def config_from_transformers(theirs: Any) -> GPTConfig:
    if theirs.model_type == "gpt2":
        require(theirs, scale_attn_weights=True, add_cross_attention=False)
        require(theirs, scale_attn_by_inverse_layer_idx=False, embd_pdrop=theirs.resid_pdrop)
        require(theirs, attn_pdrop=theirs.resid_pdrop)
        return GPTConfig.gpt2(
            vocab_size=theirs.vocab_size, block_size=theirs.n_positions, n_layers=theirs.n_layer,
            n_heads=theirs.n_head, d_model=theirs.n_embd, d_ff=theirs.n_inner, norm_eps=theirs.layer_norm_epsilon,
            tie_weights=theirs.tie_word_embeddings, dropout=theirs.resid_pdrop, init_std=theirs.initializer_range,
            gelu=gelu_of("activation_function", theirs.activation_function),
        )  # fmt: skip
    if theirs.model_type == "llama":
        require(theirs, hidden_act="silu", attention_bias=False, mlp_bias=False, attention_dropout=0.0)
        require(theirs, head_dim=theirs.hidden_size // theirs.num_attention_heads)
        rope = dict(theirs.rope_parameters)
        base = rope.pop("rope_theta")
        return GPTConfig.llama(
            vocab_size=theirs.vocab_size, block_size=theirs.max_position_embeddings, n_layers=theirs.num_hidden_layers,
            n_heads=theirs.num_attention_heads, n_kv_heads=theirs.num_key_value_heads, d_model=theirs.hidden_size,
            d_ff=theirs.intermediate_size, norm_eps=theirs.rms_norm_eps, rope_base=base,
            rope_scaling=None if rope["rope_type"] == "default" else rope, tie_weights=theirs.tie_word_embeddings,
            init_std=theirs.initializer_range,
        )  # fmt: skip
    raise ValueError(f"model_type: expected 'gpt2' or 'llama', got {theirs.model_type!r}")


def config_to_transformers(ours: GPTConfig) -> Any:
    from transformers import GPT2Config, LlamaConfig

    if config_like(ours, GPTConfig.gpt2()) and ours.kv_heads == ours.n_heads:
        return GPT2Config(
            vocab_size=ours.vocab_size, n_positions=ours.block_size, n_layer=ours.n_layers, n_head=ours.n_heads,
            n_embd=ours.d_model, n_inner=ours.hidden, layer_norm_epsilon=ours.norm_eps,
            tie_word_embeddings=ours.tie_weights, resid_pdrop=ours.dropout, embd_pdrop=ours.dropout,
            attn_pdrop=ours.dropout, initializer_range=ours.init_std, bos_token_id=None, eos_token_id=None,
            activation_function="gelu" if ours.gelu == "exact" else "gelu_new",
        )  # fmt: skip
    if config_like(ours, GPTConfig.llama()) and ours.dropout == 0:
        rope = ours.rope_scaling or {"rope_type": "default"}
        return LlamaConfig(
            vocab_size=ours.vocab_size, max_position_embeddings=ours.block_size, num_hidden_layers=ours.n_layers,
            num_attention_heads=ours.n_heads, num_key_value_heads=ours.kv_heads, hidden_size=ours.d_model,
            intermediate_size=ours.hidden, rms_norm_eps=ours.norm_eps, tie_word_embeddings=ours.tie_weights,
            rope_parameters={"rope_theta": ours.rope_base, **rope}, initializer_range=ours.init_std,
            bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
    raise ValueError(f"config: expected the parts of GPTConfig.gpt2() or GPTConfig.llama(), got {ours}")


def config_like(config: GPTConfig, preset: GPTConfig) -> bool:
    """Whether both have the same parts, whatever their sizes."""
    parts = ("norm", "norm_position", "pos", "mlp", "bias", "causal")
    return all(getattr(config, name) == getattr(preset, name) for name in parts)


def gelu_of(field: str, name: str) -> str:
    """The form of GELU that transformers calls `name`."""
    if name not in GELU:
        raise ValueError(f"{field}: expected one of {', '.join(GELU)}, got {name!r}")
    return GELU[name]


def require(theirs: Any, **wanted: Any) -> None:
    for name, value in wanted.items():
        if getattr(theirs, name) != value:
            raise ValueError(f"{name}: expected {value!r}, got {getattr(theirs, name)!r}: MiniGPT has no such thing")


# ---------------------------------------------------------------- tensors


def names(config: GPTConfig) -> dict[str, str]:
    """Our parameter names to theirs, for everything that is only renamed."""
    gpt2 = config.pos == "learned"
    block, prefix = (GPT2_BLOCK, "transformer.h") if gpt2 else (LLAMA_BLOCK, "model.layers")
    found = {"embedding": "transformer.wte" if gpt2 else "model.embed_tokens", "head": "lm_head"}
    found["final_norm"] = "transformer.ln_f" if gpt2 else "model.norm"
    if gpt2:
        found["position_embedding"] = "transformer.wpe"
    for n in range(config.n_layers):
        found |= {f"blocks.{n}.{ours}": f"{prefix}.{n}.{theirs}" for ours, theirs in block.items()}
    biased = {name for name in found if config.bias and ("norm" in name or "proj" in name)}
    return {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in found.items()
            for kind in ("weight", "bias") if kind == "weight" or ours in biased}  # fmt: skip


def is_transposed(config: GPTConfig, name: str) -> bool:
    """GPT-2 stores y = x W where nn.Linear stores y = x Wᵀ."""
    return config.pos == "learned" and name.endswith("_proj.weight")


def state_from_transformers(theirs: dict[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    state = {ours: theirs[name] for ours, name in names(config).items()}
    if config.pos == "learned":
        for n in range(config.n_layers):
            for kind in ("weight", "bias"):  # c_attn: (D, 3 D) and (3 D,), queries first
                parts = theirs[f"transformer.h.{n}.attn.c_attn.{kind}"].chunk(3, dim=-1)
                state |= {f"blocks.{n}.attention.{p}_proj.{kind}": part for p, part in zip("qkv", parts)}
    return {name: tensor.T if is_transposed(config, name) else tensor for name, tensor in state.items()}


def state_to_transformers(ours: dict[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    ours = {name: tensor.T if is_transposed(config, name) else tensor for name, tensor in ours.items()}
    state = {theirs: ours[name] for name, theirs in names(config).items()}
    if config.pos == "learned":
        for n in range(config.n_layers):
            for kind in ("weight", "bias"):
                parts = [ours[f"blocks.{n}.attention.{p}_proj.{kind}"] for p in "qkv"]
                state[f"transformer.h.{n}.attn.c_attn.{kind}"] = torch.cat(parts, dim=-1)
    return state
