# Generated from lab 4.4 by `make skeletons`.
from __future__ import annotations
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from labkit import run
from labkit.reference import positional_encodings
from labkit.reference.scaled_dot_product_attention import causal_mask, combine_masks
CHOICES = {'norm': ('layernorm', 'rmsnorm'), 'norm_position': ('pre', 'post'), 'pos': ('learned', 'sinusoidal', 'rope', 'alibi'), 'mlp': ('gelu', 'swiglu'), 'gelu': ('tanh', 'exact')}
IGNORE = -100

@dataclass(frozen=True)
class GPTConfig:
    """Everything that tells one decoder from another. `GPTConfig(**asdict(config))` is the same config again.

    The defaults are GPT-2 small. `gpt2` and `llama` choose the parts and leave the sizes to you.
    """
    vocab_size: int = 50257
    block_size: int = 1024
    n_layers: int = 12
    n_heads: int = 12
    d_model: int = 768
    n_kv_heads: int | None = None
    d_ff: int | None = None
    norm: str = 'layernorm'
    norm_position: str = 'pre'
    norm_eps: float = 1e-05
    pos: str = 'learned'
    rope_base: float = 10000.0
    rope_scaling: dict[str, Any] | None = None
    mlp: str = 'gelu'
    bias: bool = True
    tie_weights: bool = True
    causal: bool = True
    dropout: float = 0.0
    init_std: float = 0.02
    gelu: str = 'tanh'

    def __post_init__(self) -> None:
        ...

    @classmethod
    def gpt2(cls, **sizes: Any) -> GPTConfig:
        """LayerNorm, learned positions, GELU, biases, tied head. Without sizes: GPT-2 small."""
        ...

    @classmethod
    def llama(cls, **sizes: Any) -> GPTConfig:
        """RMSNorm, RoPE, SwiGLU, no biases, a head of its own. What you name wins: `llama(tie_weights=True, ...)`."""
        ...

    @property
    def head_dim(self) -> int:
        ...

    @property
    def kv_heads(self) -> int:
        ...

    @property
    def hidden(self) -> int:
        ...

class RMSNorm(nn.Module):
    """y = weight · x / √(mean of x² over D + eps).   x: (..., D) -> (..., D), dtype of x      Zhang & Sennrich 2019

    weight: (D,), dtype of x. The mean of squares and the division happen in float32 at least, also when x has 16 bits.
    """

    def __init__(self, d_model: int, eps: float=1e-05) -> None:
        ...

    def forward(self, x: Tensor) -> Tensor:
        ...

def make_gelu(config: GPTConfig) -> nn.Module:
    """z · Φ(z), Φ the normal distribution function: exactly, or GPT-2's z/2 · (1 + tanh(√(2/π) (z + 0.044715 z³)))."""
    ...

class GeluMLP(nn.Module):
    """down(gelu(up(x))) at every position by itself.   x: (..., D) -> (..., D)"""

    def __init__(self, config: GPTConfig) -> None:
        ...

    def forward(self, x: Tensor) -> Tensor:
        ...

class SwiGLU(nn.Module):
    """A gated network: the hidden layer is silu(gate_proj(x)) · up_proj(x), element by element; down_proj follows.

    x: (..., D) -> (..., D)      silu(z) = z · sigmoid(z)      gate_proj, up_proj: D -> F   down_proj: F -> D
    Shazeer 2020
    """

    def __init__(self, config: GPTConfig) -> None:
        ...

    def forward(self, x: Tensor) -> Tensor:
        ...

def make_norm(config: GPTConfig) -> nn.Module:
    ...

class Attention(nn.Module):
    """H heads of queries over `kv_heads` heads of keys and values; query heads h·G ... h·G + G - 1 share key head h,
    with G = H / kv_heads. Scores are divided by √K.

    q_proj: D -> H·K   k_proj, v_proj: D -> kv_heads·K   o_proj: H·K -> D; output h·K ... h·K + K - 1 belongs to head h
    """

    def __init__(self, config: GPTConfig) -> None:
        ...

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None=None, mask: Tensor | None=None, context: Tensor | None=None) -> Tensor:
        """x: (B, T, D) -> (B, T, D)

        rotation: cos and sin for `positional_encodings.apply_rope(heads, cos, sin)`, for queries and keys; None: none
        mask: broadcasts to (B, H, T, S) and is all there is to say about who may look at whom: bool, True = may look,
              or float, added to the scores. None: causal self-attention if config.causal, else no mask at all
        context: (B, S, D), keys and values are made from it; None: from x. With a context nothing is causal by itself
        A query that may look at nothing gets zeros from its heads (before o_proj).
        While self.training, attention weights are dropped with probability config.dropout; otherwise none are.
        """
        ...

class Block(nn.Module):
    """Attention, then the MLP. Both are branches: what they compute is *added* to the stream x.

    norm_position "pre": x + f(norm(x))      "post": norm(x + f(x))      `dropout` acts on what a branch adds.
    """

    def __init__(self, config: GPTConfig) -> None:
        ...

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None=None, mask: Tensor | None=None) -> Tensor:
        """x: (B, T, D) -> (B, T, D)     rotation, mask: for the attention, see there"""
        ...

class MiniGPT(nn.Module):
    """Embedding, N blocks, a last norm, and a head that scores the next token."""

    def __init__(self, config: GPTConfig) -> None:
        ...

    def init_weights(self) -> None:
        """Draw all matrices from N(0, std²), std = config.init_std, those of embeddings and head included, except the
        two per block that write to the stream, `o_proj` and `down_proj`: N(0, std² / 2N), for 2N branches add up. Every
        bias is 0; norms stay as they were made (weight 1). With config.tie_weights, head.weight *is* embedding.weight:
        one Parameter with two names.                                                               Radford et al. 2019
        """
        ...

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor] | None:
        """cos and sin (..., T, K/2) for RoPE, in float32 whatever the model's dtype; None for other positions."""
        ...

    def full_mask(self, tokens: Tensor, mask: Tensor | None) -> Tensor | None:
        """The one mask of all layers: None if causal-or-not is all; else complete: bool, or float with ALiBi's bias."""
        ...

    def features(self, tokens: Tensor, mask: Tensor | None=None, positions: Tensor | None=None) -> Tensor:
        """The stream after the last norm: what the head reads.

        tokens: (B, T) int64 -> (B, T, D), dtype of the weights
        mask: bool, broadcasts to (B, H, T, T), True = may look, on top of the causal one: padding, packed documents
        positions: (T,) or (B, T) int64, by default 0 ... T - 1
        By config.pos: "learned" adds position_embedding(positions) to the embedding; "sinusoidal" multiplies it by √D
        and adds rows `positions` of `positional_encodings.sinusoidal(block_size, D)`; "rope" and "alibi" add nothing.
        `dropout` acts on that sum, once. Raises ValueError naming tokens unless they are (B, T), T <= block_size.
        """
        ...

    def forward(self, tokens: Tensor, targets: Tensor | None=None, mask: Tensor | None=None, positions: Tensor | None=None) -> tuple[Tensor, Tensor | None]:
        """tokens: (B, T) int64   targets: (B, T) int64, what to predict *at* each position, or IGNORE
        -> logits (B, T, V), and the mean cross-entropy in nats over the targets that count (None without targets)
        """
        ...

    @torch.no_grad()
    def generate(self, tokens: Tensor, n_new: int, temperature: float=1.0, top_k: int | None=None, generator: torch.Generator | None=None) -> Tensor:
        """Appends n_new tokens, one forward pass each: there is no cache (lab 9.1 adds one).

        tokens: (B, T) int64, T >= 1 -> (B, T + n_new). The model reads the last block_size tokens at most.
        temperature: divides the logits; 0 takes the likeliest token   top_k: draw among the k likeliest, all if k > V
        generator: for torch.multinomial. Dropout is off meanwhile; afterwards the model is in the mode it was in.
        """
        ...

def shift(ids: Tensor, lengths: Tensor | None=None) -> tuple[Tensor, Tensor]:
    """What the model reads and what it is to predict: at position t the target is ids[:, t + 1].

    ids: (B, T + 1) int64, left as they are   lengths: (B,) int64, real tokens per row; the rest is padding
    -> inputs (B, T), targets (B, T), IGNORE where the target would be padding.   Raises ValueError for T + 1 < 2
    """
    ...

def parameter_groups(config: GPTConfig) -> dict[str, int]:
    """How many numbers a `MiniGPT(config)` learns, from the config alone, without building it. Keys:

    embedding   the token table                        attention   the four matrices, all layers
    positions   the table of learned positions, or 0   mlp         its two (gelu) or three (swiglu) matrices, all layers
    norms       weights and biases of all norms        biases      of all linear layers
    head        0 if it is tied
    """
    ...

def count_parameters(config: GPTConfig) -> int:
    """All of them: what sum(p.numel() for p in model.parameters()) counts."""
    ...

def flops_per_token(config: GPTConfig, n_tokens: int) -> int:
    """Floating-point operations of one training step per token, in sequences of n_tokens; forward alone is a third.

    6 per weight of a matrix that is multiplied with (2 forward, 4 backward; the head is one even when it is tied), plus
    12 N D n_tokens for scores and weighted values, counted without the causal mask, which could save half of them.
    """
    ...

def main(argv: list[str] | None=None) -> None:
    ...
