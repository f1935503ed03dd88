"""A decoder-only transformer that is GPT-2 or Llama depending on its configuration: parts, model, counting, generation.

python solution.py --preset smoke         the sanity checks and every ablation, in seconds
python solution.py                        the same with enough training to read something from it

Shapes: B batch, T query time, S key time, H heads, K head size, D model width, F hidden width, V vocabulary, N layers.
"""

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

CHOICES = {
    "norm": ("layernorm", "rmsnorm"),
    "norm_position": ("pre", "post"),
    "pos": ("learned", "sinusoidal", "rope", "alibi"),
    "mlp": ("gelu", "swiglu"),
    "gelu": ("tanh", "exact"),
}
IGNORE = -100  # a target that is not scored; also what F.cross_entropy and transformers mean by -100


# ---------------------------------------------------------------- what there is to choose


@dataclass(frozen=True)
class GPTConfig:
    """Everything that tells one decoder from another. `GPTConfig(**asdict(config))` is the same config again.

    The defaults are GPT-2 small. `gpt2` and `llama` choose the parts and leave the sizes to you.
    """

    vocab_size: int = 50257
    block_size: int = 1024  # the longest sequence
    n_layers: int = 12
    n_heads: int = 12
    d_model: int = 768
    n_kv_heads: int | None = None  # heads of keys and values; None: as many as n_heads
    d_ff: int | None = None  # hidden width; None: 4 D, or for swiglu 8/3 D rounded up to a multiple of 8
    norm: str = "layernorm"
    norm_position: str = "pre"  # x + f(norm(x)), or post: norm(x + f(x))
    norm_eps: float = 1e-5
    pos: str = "learned"
    rope_base: float = 10_000.0
    rope_scaling: dict[str, Any] | None = None  # as transformers writes it: {"rope_type": "linear", "factor": 4.0}
    mlp: str = "gelu"
    bias: bool = True  # of all linear layers but the head, and of LayerNorm
    tie_weights: bool = True  # the head scores with the embedding's matrix
    causal: bool = True  # False: an encoder
    dropout: float = 0.0  # of attention weights, of what a branch adds to the stream, and of the embedding
    init_std: float = 0.02  # of fresh matrices
    gelu: str = "tanh"  # the form of mlp "gelu": GPT-2's tanh formula, or the exact one of most BERTs

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name in ("vocab_size", "block_size", "n_layers", "n_heads", "d_model", "n_kv_heads", "d_ff"):
            size = getattr(self, name)
            if size is not None and size < 1:
                raise ValueError(f"{name}: expected at least 1, got {size}")
        if self.d_model % self.n_heads or self.n_heads % self.kv_heads:
            wanted = f"n_heads to divide d_model = {self.d_model}, and n_kv_heads to divide n_heads"
            raise ValueError(f"n_heads: expected {wanted}, got n_heads = {self.n_heads}, n_kv_heads = {self.kv_heads}")
        if self.pos == "rope" and self.head_dim % 2:
            raise ValueError(f"d_model: RoPE turns pairs and needs heads of even size, got {self.head_dim}")
        if self.pos == "sinusoidal" and self.d_model % 2:
            raise ValueError(f"d_model: sinusoids come in pairs and need an even width, got {self.d_model}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected 0 <= dropout < 1, got {self.dropout}")
        if self.init_std <= 0:
            raise ValueError(f"init_std: expected more than 0, got {self.init_std}")

    @classmethod
    def gpt2(cls, **sizes: Any) -> GPTConfig:
        """LayerNorm, learned positions, GELU, biases, tied head. Without sizes: GPT-2 small."""
        return cls(**sizes)

    @classmethod
    def llama(cls, **sizes: Any) -> GPTConfig:
        """RMSNorm, RoPE, SwiGLU, no biases, a head of its own. What you name wins: `llama(tie_weights=True, ...)`."""
        parts = {"norm": "rmsnorm", "pos": "rope", "mlp": "swiglu", "bias": False, "tie_weights": False}
        return cls(**(parts | sizes))

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    @property
    def hidden(self) -> int:
        if self.d_ff is not None:
            return self.d_ff
        return 4 * self.d_model if self.mlp == "gelu" else 8 * math.ceil(self.d_model / 3)


# ---------------------------------------------------------------- parts


class RMSNorm(nn.Module):
    """y = weight · x / √(mean of x² over D + eps).   x: (..., D) -> (..., D), dtype of x      Zhang & Sennrich 2019

    weight: (D,), dtype of x. The mean of squares and the division happen in float32 at least, also when x has 16 bits.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        # >>> rms-norm (~3 lines): widen to float32 if x is narrower, divide by the root, back to x's dtype, scale
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)
        # <<< rms-norm


def make_gelu(config: GPTConfig) -> nn.Module:
    """z · Φ(z), Φ the normal distribution function: exactly, or GPT-2's z/2 · (1 + tanh(√(2/π) (z + 0.044715 z³)))."""
    return nn.GELU(approximate="none" if config.gelu == "exact" else "tanh")


class GeluMLP(nn.Module):
    """down(gelu(up(x))) at every position by itself.   x: (..., D) -> (..., D)"""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.d_model, config.hidden, bias=config.bias)
        self.down_proj = nn.Linear(config.hidden, config.d_model, bias=config.bias)
        self.gelu = make_gelu(config)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.gelu(self.up_proj(x)))


class SwiGLU(nn.Module):
    """A gated network: the hidden layer is silu(gate_proj(x)) · up_proj(x), element by element; down_proj follows.

    x: (..., D) -> (..., D)      silu(z) = z · sigmoid(z)      gate_proj, up_proj: D -> F   down_proj: F -> D
    Shazeer 2020
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.d_model, config.hidden, bias=config.bias)
        self.up_proj = nn.Linear(config.d_model, config.hidden, bias=config.bias)
        self.down_proj = nn.Linear(config.hidden, config.d_model, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        # >>> swiglu (~1 line): one product of two projections, projected back
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        # <<< swiglu


def make_norm(config: GPTConfig) -> nn.Module:
    if config.norm == "rmsnorm":
        return RMSNorm(config.d_model, config.norm_eps)
    return nn.LayerNorm(config.d_model, config.norm_eps, bias=config.bias)


class Attention(nn.Module):
    """H heads of queries over `kv_heads` heads of keys and values; query heads h·G ... h·G + G - 1 share key head h,
    with G = H / kv_heads. Scores are divided by √K.

    q_proj: D -> H·K   k_proj, v_proj: D -> kv_heads·K   o_proj: H·K -> D; output h·K ... h·K + K - 1 belongs to head h
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        kv_width = config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.d_model, config.d_model, bias=config.bias)
        self.k_proj = nn.Linear(config.d_model, kv_width, bias=config.bias)
        self.v_proj = nn.Linear(config.d_model, kv_width, bias=config.bias)
        self.o_proj = nn.Linear(config.d_model, config.d_model, bias=config.bias)

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor] | None = None, mask: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """x: (B, T, D) -> (B, T, D)

        rotation: cos and sin for `positional_encodings.apply_rope(heads, cos, sin)`, for queries and keys; None: none
        mask: broadcasts to (B, H, T, S) and is all there is to say about who may look at whom: bool, True = may look,
              or float, added to the scores. None: causal self-attention if config.causal, else no mask at all
        context: (B, S, D), keys and values are made from it; None: from x. With a context nothing is causal by itself
        A query that may look at nothing gets zeros from its heads (before o_proj).
        While self.training, attention weights are dropped with probability config.dropout; otherwise none are.
        """
        c = self.config
        source = x if context is None else context
        causal = c.causal and mask is None and context is None
        # >>> attention (~10 lines): project, split into heads (B, heads, T or S, K), rotate, attend, merge, project
        q = self.q_proj(x).unflatten(-1, (c.n_heads, c.head_dim)).transpose(1, 2)  # (B, H, T, K)
        k = self.k_proj(source).unflatten(-1, (c.kv_heads, c.head_dim)).transpose(1, 2)  # (B, kv_heads, S, K)
        v = self.v_proj(source).unflatten(-1, (c.kv_heads, c.head_dim)).transpose(1, 2)
        if rotation is not None:
            q, k = (positional_encodings.apply_rope(heads, *rotation) for heads in (q, k))
        dropout = c.dropout if self.training else 0.0
        grouped = c.kv_heads != c.n_heads
        out = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=causal, enable_gqa=grouped)
        return self.o_proj(out.transpose(1, 2).flatten(2))  # (B, H, T, K) -> (B, T, D)
        # <<< attention


class Block(nn.Module):
    """Attention, then the MLP. Both are branches: what they compute is *added* to the stream x.

    norm_position "pre": x + f(norm(x))      "post": norm(x + f(x))      `dropout` acts on what a branch adds.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.norm_position = config.norm_position
        self.attention_norm, self.mlp_norm = make_norm(config), make_norm(config)
        self.attention = Attention(config)
        self.mlp = SwiGLU(config) if config.mlp == "swiglu" else GeluMLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None = None, mask: Tensor | None = None) -> Tensor:
        """x: (B, T, D) -> (B, T, D)     rotation, mask: for the attention, see there"""
        # >>> block (~5 lines): two branches, one after the other, in either order of norm and sum
        if self.norm_position == "pre":
            x = x + self.dropout(self.attention(self.attention_norm(x), rotation, mask))
            return x + self.dropout(self.mlp(self.mlp_norm(x)))
        x = self.attention_norm(x + self.dropout(self.attention(x, rotation, mask)))
        return self.mlp_norm(x + self.dropout(self.mlp(x)))
        # <<< block


# ---------------------------------------------------------------- the model


class MiniGPT(nn.Module):
    """Embedding, N blocks, a last norm, and a head that scores the next token."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        if config.pos == "learned":
            self.position_embedding = nn.Embedding(config.block_size, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        # a post-norm block ends in a norm; the stream of a pre-norm model has never been normalised
        self.final_norm = make_norm(config) if config.norm_position == "pre" else nn.Identity()
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.init_weights()

    def init_weights(self) -> None:
        """Draw all matrices from N(0, std²), std = config.init_std, those of embeddings and head included, except the
        two per block that write to the stream, `o_proj` and `down_proj`: N(0, std² / 2N), for 2N branches add up. Every
        bias is 0; norms stay as they were made (weight 1). With config.tie_weights, head.weight *is* embedding.weight:
        one Parameter with two names.                                                               Radford et al. 2019
        """
        # >>> init (~9 lines): walk over named_parameters(), then tie
        std = self.config.init_std
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=std / math.sqrt(2 * self.config.n_layers) if writes else std)
        if self.config.tie_weights:
            self.head.weight = self.embedding.weight
        # <<< init

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor] | None:
        """cos and sin (..., T, K/2) for RoPE, in float32 whatever the model's dtype; None for other positions."""
        c = self.config
        if c.pos != "rope":
            return None
        inv_freq, factor = positional_encodings.rope_frequencies(
            c.head_dim, c.rope_base, c.rope_scaling, device=positions.device
        )
        cos, sin = positional_encodings.rope_angles(positions, inv_freq)
        return cos * factor, sin * factor

    def full_mask(self, tokens: Tensor, mask: Tensor | None) -> Tensor | None:
        """The one mask of all layers: None if causal-or-not is all; else complete: bool, or float with ALiBi's bias."""
        c, n = self.config, tokens.size(1)
        if mask is None and c.pos != "alibi":
            return None
        if c.causal:
            mask = combine_masks(mask, causal_mask(n, n, device=tokens.device))
        if c.pos == "alibi":
            bias = positional_encodings.alibi_bias(c.n_heads, n, n, device=tokens.device)  # (H, T, T)
            bias = bias.to(self.embedding.weight.dtype)
            return bias if mask is None else bias.masked_fill(~mask, float("-inf"))
        return mask

    def features(self, tokens: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """The stream after the last norm: what the head reads.

        tokens: (B, T) int64 -> (B, T, D), dtype of the weights
        mask: bool, broadcasts to (B, H, T, T), True = may look, on top of the causal one: padding, packed documents
        positions: (T,) or (B, T) int64, by default 0 ... T - 1
        By config.pos: "learned" adds position_embedding(positions) to the embedding; "sinusoidal" multiplies it by √D
        and adds rows `positions` of `positional_encodings.sinusoidal(block_size, D)`; "rope" and "alibi" add nothing.
        `dropout` acts on that sum, once. Raises ValueError naming tokens unless they are (B, T), T <= block_size.
        """
        c = self.config
        if tokens.dim() != 2 or tokens.size(1) > c.block_size:
            raise ValueError(f"tokens: expected (B, T) with T <= {c.block_size}, got {tuple(tokens.shape)}")
        positions = torch.arange(tokens.size(1), device=tokens.device) if positions is None else positions
        rotation, mask = self.rotation(positions), self.full_mask(tokens, mask)
        # >>> decoder (~9 lines): tokens to vectors, positions as config.pos says, dropout, the blocks, the last norm
        x = self.embedding(tokens)  # (B, T, D)
        if c.pos == "learned":
            x = x + self.position_embedding(positions)
        elif c.pos == "sinusoidal":
            table = positional_encodings.sinusoidal(c.block_size, c.d_model, device=x.device)
            x = x * math.sqrt(c.d_model) + table[positions].to(x.dtype)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, rotation, mask)
        return self.final_norm(x)
        # <<< decoder

    def forward(
        self, tokens: Tensor, targets: Tensor | None = None, mask: Tensor | None = None, positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """tokens: (B, T) int64   targets: (B, T) int64, what to predict *at* each position, or IGNORE
        -> logits (B, T, V), and the mean cross-entropy in nats over the targets that count (None without targets)
        """
        logits = self.head(self.features(tokens, mask, positions))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)

    @torch.no_grad()
    def generate(
        self, tokens: Tensor, n_new: int, temperature: float = 1.0, top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """Appends n_new tokens, one forward pass each: there is no cache (lab 9.1 adds one).

        tokens: (B, T) int64, T >= 1 -> (B, T + n_new). The model reads the last block_size tokens at most.
        temperature: divides the logits; 0 takes the likeliest token   top_k: draw among the k likeliest, all if k > V
        generator: for torch.multinomial. Dropout is off meanwhile; afterwards the model is in the mode it was in.
        """
        if tokens.dim() != 2 or tokens.size(1) < 1:
            raise ValueError(f"tokens: expected (B, T) with T >= 1, got {tuple(tokens.shape)}")
        if temperature < 0 or (top_k is not None and top_k < 1):
            raise ValueError(f"expected temperature >= 0 and top_k >= 1 or None, got {temperature} and {top_k}")
        # >>> generate (~13 lines): eval mode; n_new times: read, take the last logits, choose, append; the old mode
        was_training = self.training
        self.eval()
        for _ in range(n_new):
            logits = self(tokens[:, -self.config.block_size :])[0][:, -1]  # (B, V)
            if temperature == 0:
                chosen = logits.argmax(-1, keepdim=True)
            else:
                if top_k is not None and top_k < logits.size(-1):
                    least = logits.topk(top_k).values[:, -1:]  # (B, 1)
                    logits = logits.masked_fill(logits < least, float("-inf"))
                chosen = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
            tokens = torch.cat([tokens, chosen], dim=1)
        self.train(was_training)
        return tokens
        # <<< generate


# ---------------------------------------------------------------- training data, and counting


def shift(ids: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What the model reads and what it is to predict: at position t the target is ids[:, t + 1].

    ids: (B, T + 1) int64, left as they are   lengths: (B,) int64, real tokens per row; the rest is padding
    -> inputs (B, T), targets (B, T), IGNORE where the target would be padding.   Raises ValueError for T + 1 < 2
    """
    if ids.dim() != 2 or ids.size(1) < 2:
        raise ValueError(f"ids: expected (B, T + 1), at least two tokens a row, got {tuple(ids.shape)}")
    # >>> shift (~5 lines): two overlapping windows; then strike out the targets beyond each length
    inputs, targets = ids[:, :-1], ids[:, 1:]
    if lengths is not None:
        place = torch.arange(1, ids.size(1), device=ids.device)  # of each target in ids
        targets = targets.masked_fill(place >= lengths[:, None], IGNORE)
    return inputs, targets
    # <<< shift


def parameter_groups(config: GPTConfig) -> dict[str, int]:
    """How many numbers a `MiniGPT(config)` learns, from the config alone, without building it. Keys:

    embedding   the token table                        attention   the four matrices, all layers
    positions   the table of learned positions, or 0   mlp         its two (gelu) or three (swiglu) matrices, all layers
    norms       weights and biases of all norms        biases      of all linear layers
    head        0 if it is tied
    """
    # >>> count-parameters (~14 lines): n_layers, d_model, hidden, kv_heads, head_dim, vocab_size; mind the last norm
    c, d = config, config.d_model
    kv_width, matrices = c.kv_heads * c.head_dim, 3 if c.mlp == "swiglu" else 2
    norms = 2 * c.n_layers + (c.norm_position == "pre")
    per_norm = 2 * d if c.norm == "layernorm" and c.bias else d
    layer_biases = 2 * d + 2 * kv_width + (matrices - 1) * c.hidden + d
    return {
        "embedding": c.vocab_size * d,
        "positions": c.block_size * d if c.pos == "learned" else 0,
        "attention": c.n_layers * 2 * d * (d + kv_width),
        "mlp": c.n_layers * matrices * d * c.hidden,
        "norms": norms * per_norm,
        "biases": c.n_layers * layer_biases if c.bias else 0,
        "head": 0 if c.tie_weights else c.vocab_size * d,
    }
    # <<< count-parameters


def count_parameters(config: GPTConfig) -> int:
    """All of them: what sum(p.numel() for p in model.parameters()) counts."""
    return sum(parameter_groups(config).values())


def flops_per_token(config: GPTConfig, n_tokens: int) -> int:
    """Floating-point operations of one training step per token, in sequences of n_tokens; forward alone is a third.

    6 per weight of a matrix that is multiplied with (2 forward, 4 backward; the head is one even when it is tied), plus
    12 N D n_tokens for scores and weighted values, counted without the causal mask, which could save half of them.
    """
    groups = parameter_groups(config)
    matrices = groups["attention"] + groups["mlp"] + config.vocab_size * config.d_model
    return 6 * matrices + 12 * config.n_layers * config.d_model * n_tokens


def main(argv: list[str] | None = None) -> None:
    from labkit.reference.mini_transformer import mini_transformer_report

    args = run.arguments(__doc__, mini_transformer_report.PRESETS, argv, data="python-docs", device=True)
    mini_transformer_report.show(args, SimpleNamespace(**globals()), run.load_data(args))


if __name__ == "__main__":
    run.main(main)
