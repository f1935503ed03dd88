"""The weights of transformers' BertForMaskedLM or BertModel as a `MiniBERT`: the same model, under other names."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from labkit.reference.encoder_variants import MiniBERT, bert_config

NAMES = {  # ours: theirs
    "embedding.weight": "embeddings.word_embeddings.weight",
    "position_embedding.weight": "embeddings.position_embeddings.weight",
    "segment_embedding.weight": "embeddings.token_type_embeddings.weight",
    "embedding_norm": "embeddings.LayerNorm",
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
GELU = {"gelu": "exact", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}  # their hidden_act: our config's gelu


def from_transformers(model: Any) -> MiniBERT:
    """A MiniBERT with the logits of a BertForMaskedLM, or whose `features` are the last hidden state of a BertModel.

    In the model's dtype and mode. A BertModel has no head, so ours is a fresh one; its pooler is left behind.
    Raises ValueError naming what MiniBERT has not: another activation than gelu, a head that is not tied to the
    embedding, a mask that hides the future, or different dropouts for attention and branches.
    """
    c = model.config
    if c.hidden_act not in GELU:
        raise ValueError(f"hidden_act: expected one of {', '.join(GELU)}, got {c.hidden_act!r}")
    for name, wanted in (
        ("tie_word_embeddings", True), ("is_decoder", False), ("attention_probs_dropout_prob", c.hidden_dropout_prob),
    ):  # fmt: skip
        if getattr(c, name) != wanted:
            raise ValueError(f"{name}: expected {wanted}, got {getattr(c, name)}")
    mini = MiniBERT(
        bert_config(
            vocab_size=c.vocab_size, block_size=c.max_position_embeddings, n_layers=c.num_hidden_layers,
            n_heads=c.num_attention_heads, d_model=c.hidden_size, d_ff=c.intermediate_size, norm_eps=c.layer_norm_eps,
            gelu=GELU[c.hidden_act], dropout=c.hidden_dropout_prob, init_std=c.initializer_range,
        )
    ).to(model.dtype)  # fmt: skip
    theirs = {name.removeprefix("bert."): tensor for name, tensor in model.state_dict().items()}
    headless = "cls.predictions.bias" not in theirs
    names = [name for name in mini.state_dict() if not (headless and name.startswith("head_"))]
    mini.load_state_dict({name: theirs[their_name(name)] for name in names}, strict=not headless)
    return mini.train(model.training)


def their_name(name: str) -> str:
    """embedding_norm.bias: embeddings.LayerNorm.bias; blocks.3.mlp_norm.bias: encoder.layer.3.output.LayerNorm.bias"""
    if name in NAMES:
        return NAMES[name]
    stem, _, kind = name.rpartition(".")
    if stem in NAMES:
        return f"{NAMES[stem]}.{kind}"
    _, layer, part = stem.split(".", 2)
    return f"encoder.layer.{layer}.{LAYER[part]}.{kind}"


def worst_difference(ours: Tensor, theirs: Tensor, real: Tensor) -> float:
    """Over real places: what stands at padding means nothing, in either model."""
    return (ours - theirs)[real].abs().max().item()
