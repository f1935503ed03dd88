# Generated from lab 4.2 by `make skeletons`.
from __future__ import annotations
import math
from dataclasses import dataclass
from types import SimpleNamespace
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from labkit import run
from labkit.reference.scaled_dot_product_attention import attend_bmm, causal_mask, combine_masks, masked_softmax
PRESETS = {'smoke': {'steps': 18, 'uptrain': 4, 'seeds': 1, 'repeats': 1}, 'cpu': {'steps': 1000, 'uptrain': 100, 'seeds': 3, 'repeats': 5}, 'full': {'steps': 4000, 'uptrain': 400, 'seeds': 8, 'repeats': 20}}

@dataclass(frozen=True)
class CacheShape:
    """What a decoder keeps of every token while it generates: the sizes that matter for it, as in a model's config."""
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_size: int

def kv_cache_bytes(shape: CacheShape, n_tokens: int, batch: int=1, bytes_per_number: int=2) -> int:
    """Bytes of the cache: every layer keeps the keys and the values of every token of every sequence.

    n_tokens: tokens per sequence   bytes_per_number: 2 for BF16 and FP16, 4 for FP32, 1 for FP8   -> int
    """
    ...

def group_size(n_heads: int, n_kv_heads: int) -> int:
    """H / G, how many query heads share one key-value head.    Raises ValueError unless n_kv_heads divides n_heads."""
    ...

def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """Cuts the last axis into heads: head h gets the columns h·K to (h+1)·K - 1 of every token.

    x: (B, T, H·K)   -> (B, H, T, K), so that attention can take H for one more batch axis
    Raises ValueError naming n_heads when it does not divide the last axis.
    """
    ...

def merge_heads(x: Tensor) -> Tensor:
    """Undoes `split_heads`: the heads of each token side by side again.    x: (B, H, T, K) -> (B, T, H·K)"""
    ...

def heads_one_by_one(x: Tensor, context: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_o: Tensor, mask: Tensor | None=None) -> Tensor:
    """The definition: Σ_h head_h W_o[h], head_h = attention(x W_q[h], context W_k[g], context W_v[g]), g = h // (H/G).

    Queries come from x, keys and values from context; in self-attention both are the same tensor.
    x: (B, T, D)   context: (B, S, D)   w_q: (H, D, K)   w_k, w_v: (G, D, K)   w_o: (H, K, D)
    mask: bool, broadcasts to (B, H, T, S), True = may look   -> (B, T, D)
    Vaswani et al. 2017, section 3.2.2; Ainslie et al. 2023
    """
    ...

def attend_grouped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None=None) -> tuple[Tensor, Tensor]:
    """All heads at once, without a Python loop, and without copying a key or value for the heads that share it.

    Query head h attends to key-value head h // (H/G). Copies would be B·H·S·K numbers each: with a long cache, far more
    than everything else here, and making the cache small is what sharing is for.
    q: (B, H, T, K)   k, v: (B, G, S, K)   mask: bool, broadcasts to (B, H, T, S), True = may look
    -> out (B, H, T, K), weights (B, H, T, S); a query that sees no key gets zeros in both
    Raises ValueError naming n_kv_heads unless G divides H.
    """
    ...

def attend_fused(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None=None, causal: bool=False) -> Tensor:
    """The same result from torch's kernel, F.scaled_dot_product_attention, which never holds the weights.

    q: (B, H, T, K)   k, v: (B, G, S, K)   -> (B, H, T, K); a query that sees no key gets zeros
    key_mask: (B, S) bool, True = a real token, False = padding
    causal: query t sees the keys 0 .. t + S - T, so that the last query sees all of them (`causal_mask` of lab 4.1)
    """
    ...

class MultiHeadAttention(nn.Module):
    """Self- or cross-attention with H query heads and G key-value heads.

    qkv_proj: nn.Linear, weight (D + 2·G·K, D): first the rows of all query heads, then all keys, then all values
    o_proj:   nn.Linear, weight (D, D)
    Raises ValueError unless n_heads divides d_model and n_kv_heads (default n_heads) divides n_heads.
    """

    def __init__(self, d_model: int, n_heads: int, n_kv_heads: int | None=None, bias: bool=True) -> None:
        ...

    def project(self, x: Tensor, context: Tensor | None=None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of x, keys and values of context, with the rows of `qkv_proj` that belong to each.

        x: (B, T, D)   context: (B, S, D), None means x   -> q (B, H, T, K), k (B, G, S, K), v (B, G, S, K)
        One matrix product if context is None; two otherwise, one for x and one for context.
        """
        ...

    def forward(self, x: Tensor, context: Tensor | None=None, key_mask: Tensor | None=None, causal: bool=False) -> Tensor:
        """x: (B, T, D)   context: (B, S, D), None means x   key_mask: (B, S) bool, True = real   -> (B, T, D)"""
        ...

    def weights(self, x: Tensor, context: Tensor | None=None, mask: Tensor | None=None) -> Tensor:
        """Where each head looks: (B, H, T, S). `forward` never has them.   mask: bool, broadcasts to (B, H, T, S)"""
        ...

    def per_head(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The weights as `heads_one_by_one` wants them: w_q (H, D, K), w_k and w_v (G, D, K), w_o (H, K, D)."""
        ...

    def check(self, x: Tensor, context: Tensor | None, key_mask: Tensor | None) -> None:
        """Raises ValueError or TypeError that names the argument, what was expected and what came."""
        ...

def from_torch(layer: nn.MultiheadAttention) -> MultiHeadAttention:
    """The same layer with the same weights. torch packs its rows as we do: queries, keys, values, head after head.

    Raises ValueError for a layer whose keys or values have another width than its queries.
    """
    ...

def pool_heads(rows: Tensor, n_heads: int, n_kv_heads: int) -> Tensor:
    """Each new head is the mean of the old heads it stands for: of H/G neighbours, those whose queries will share it.

    rows: (H·K, D), the rows of `qkv_proj.weight` that make keys or values; or (H·K,), the same part of its bias
    -> (G·K, D), or (G·K,)       Raises ValueError naming n_kv_heads unless G divides H.      Ainslie et al. 2023, 2.1
    """
    ...

def with_kv_heads(layer: MultiHeadAttention, n_kv_heads: int) -> MultiHeadAttention:
    """A copy with fewer key-value heads, made with `pool_heads`: where GQA training starts from an MHA checkpoint."""
    ...

def main(argv: list[str] | None=None) -> None:
    ...
