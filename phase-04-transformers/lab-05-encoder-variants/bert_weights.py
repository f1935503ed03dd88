"""The weights of transformers' BertForMaskedLM as a `MiniBERT`: the same model, under other names."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from labkit.reference.encoder_variants import MiniBERT, bert_config

NAMES = {  # ours: theirs
    "embedding.weight": "bert.embeddings.word_embeddings.weight",
    "position_embedding.weight": "bert.embeddings.position_embeddings.weight",
    "segment_embedding.weight": "bert.embeddings.token_type_embeddings.weight",
    "embedding_norm": "bert.embeddings.LayerNorm",
    "head_dense": "cls.predictions.transform.dense",
    "head_norm": "cls.predictions.transform.LayerNorm",
    "head_bias": "cls.predictions.bias",
}
LAYER = {
    "attention.q_proj": "attention.self.query",
    "attention.k_proj": "attention.self.key",
    "attention.v_proj": "attention.self.value",
    "attention.o_proj": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "mlp.up_proj": "intermediate.dense",
    "mlp.down_proj": "output.dense",
    "mlp_norm": "output.LayerNorm",
}


def from_transformers(model: Any) -> MiniBERT:
    """A MiniBERT with the logits of a transformers BertForMaskedLM, in its dtype.

    The activation must be the tanh form of gelu ("gelu_new", "gelu_pytorch_tanh"), which is BERT's original one;
    transformers' default "gelu" is the exact form. Raises ValueError for anything else.
    """
    c = model.config
    if c.hidden_act not in ("gelu_new", "gelu_pytorch_tanh"):
        raise ValueError(f"model: expected hidden_act gelu_new or gelu_pytorch_tanh, got {c.hidden_act!r}")
    mini = MiniBERT(
        bert_config(
            vocab_size=c.vocab_size, block_size=c.max_position_embeddings, n_layers=c.num_hidden_layers,
            n_heads=c.num_attention_heads, d_model=c.hidden_size, d_ff=c.intermediate_size, norm_eps=c.layer_norm_eps,
        )
    ).to(model.dtype)  # fmt: skip
    theirs = model.state_dict()
    mini.load_state_dict({name: theirs[their_name(name)] for name in mini.state_dict()})
    return mini.train(model.training)


def their_name(name: str) -> str:
    """embedding_norm.bias -> bert.embeddings.LayerNorm.bias; blocks.3.mlp_norm.bias -> bert.encoder.layer.3...."""
    if name in NAMES:
        return NAMES[name]
    stem, _, kind = name.rpartition(".")
    if stem in NAMES:
        return f"{NAMES[stem]}.{kind}"
    _, layer, part = stem.split(".", 2)
    return f"bert.encoder.layer.{layer}.{LAYER[part]}.{kind}"


def worst_difference(mini_logits: Tensor, logits: Tensor, real: Tensor) -> float:
    """Over real places: what stands at padding means nothing, in either model."""
    return (mini_logits - logits)[real].abs().max().item()
