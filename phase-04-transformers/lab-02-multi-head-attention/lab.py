# labkit: lab 4.2, skeleton 08b0b1eae04f. Fill the TODOs; then: labkit check 4.2
"""Multi-head attention: head by head, fused, and with keys and values shared among heads (GQA, MQA).

python solution.py --preset smoke         agreement with torch and a short look at the heads, in seconds
python solution.py                        the same, two heads that learn two jobs, and what fewer key-value heads cost

Shapes: B batch, T query time, S key time, D model width, H query heads, G key-value heads, K = D / H head size.
Query head h reads key-value head h // (H / G): neighbours share. G = H is MHA, 1 < G < H is GQA, G = 1 is MQA.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import run
from labkit.reference.scaled_dot_product_attention import attend_bmm, causal_mask, combine_masks, masked_softmax

PRESETS = {
    "smoke": {"steps": 18, "uptrain": 4, "seeds": 1, "repeats": 1},
    "cpu": {"steps": 1_000, "uptrain": 100, "seeds": 3, "repeats": 5},
    "full": {"steps": 4_000, "uptrain": 400, "seeds": 8, "repeats": 20},
}


# ---------------------------------------------------------------- what a key-value cache costs


@dataclass(frozen=True)
class CacheShape:
    """What a decoder keeps of every token while it generates: the sizes that matter for it, as in a model's config."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_size: int


def kv_cache_bytes(shape: CacheShape, n_tokens: int, batch: int = 1, bytes_per_number: int = 2) -> int:
    """Bytes of the cache: every layer keeps the keys and the values of every token of every sequence.

    n_tokens: tokens per sequence   bytes_per_number: 2 for BF16 and FP16, 4 for FP32, 1 for FP8   -> int
    """
    # TODO kv-cache-bytes (~2 lines): one product; queries are not kept, so which number of heads counts?
    raise NotImplementedError("TODO kv-cache-bytes")
    # END TODO kv-cache-bytes


# ---------------------------------------------------------------- one wide vector, many heads


def group_size(n_heads: int, n_kv_heads: int) -> int:
    """H / G, how many query heads share one key-value head.    Raises ValueError unless n_kv_heads divides n_heads."""
    if n_kv_heads < 1 or n_heads % n_kv_heads:
        raise ValueError(f"n_kv_heads: expected a divisor of the {n_heads} query heads, got {n_kv_heads}")
    return n_heads // n_kv_heads


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """Cuts the last axis into heads: head h gets the columns h·K to (h+1)·K - 1 of every token.

    x: (B, T, H·K)   -> (B, H, T, K), so that attention can take H for one more batch axis
    Raises ValueError naming n_heads when it does not divide the last axis.
    """
    # TODO split-heads (~3 lines): check; name the two parts of the last axis; bring the heads to the front
    raise NotImplementedError("TODO split-heads")
    # END TODO split-heads


def merge_heads(x: Tensor) -> Tensor:
    """Undoes `split_heads`: the heads of each token side by side again.    x: (B, H, T, K) -> (B, T, H·K)"""
    # TODO merge-heads (~1 line): both steps of split_heads, in the opposite order
    raise NotImplementedError("TODO merge-heads")
    # END TODO merge-heads


def heads_one_by_one(
    x: Tensor, context: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_o: Tensor, mask: Tensor | None = None
) -> Tensor:
    """The definition: Σ_h head_h W_o[h], head_h = attention(x W_q[h], context W_k[g], context W_v[g]), g = h // (H/G).

    Queries come from x, keys and values from context; in self-attention both are the same tensor.
    x: (B, T, D)   context: (B, S, D)   w_q: (H, D, K)   w_k, w_v: (G, D, K)   w_o: (H, K, D)
    mask: bool, broadcasts to (B, H, T, S), True = may look   -> (B, T, D)
    Vaswani et al. 2017, section 3.2.2; Ainslie et al. 2023
    """
    group = group_size(len(w_q), len(w_k))
    may_look = torch.ones((), dtype=torch.bool, device=x.device) if mask is None else mask
    may_look = may_look.expand(x.size(0), len(w_q), x.size(1), context.size(1))  # (B, H, T, S)
    # TODO head-loop (~7 lines): head by head: q, k, v; attend_bmm of lab 4.1 (it wants four axes); project, add up
    raise NotImplementedError("TODO head-loop")
    # END TODO head-loop


def attend_grouped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """All heads at once, without a Python loop, and without copying a key or value for the heads that share it.

    Query head h attends to key-value head h // (H/G). Copies would be B·H·S·K numbers each: with a long cache, far more
    than everything else here, and making the cache small is what sharing is for.
    q: (B, H, T, K)   k, v: (B, G, S, K)   mask: bool, broadcasts to (B, H, T, S), True = may look
    -> out (B, H, T, K), weights (B, H, T, S); a query that sees no key gets zeros in both
    Raises ValueError naming n_kv_heads unless G divides H.
    """
    # TODO attend-grouped (~6 lines): check; scores, masked_softmax (lab 4.1), averages, with k and v as they are
    raise NotImplementedError("TODO attend-grouped")
    # END TODO attend-grouped


def attend_fused(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """The same result from torch's kernel, F.scaled_dot_product_attention, which never holds the weights.

    q: (B, H, T, K)   k, v: (B, G, S, K)   -> (B, H, T, K); a query that sees no key gets zeros
    key_mask: (B, S) bool, True = a real token, False = padding
    causal: query t sees the keys 0 .. t + S - T, so that the last query sees all of them (`causal_mask` of lab 4.1)
    """
    # TODO attend-fused (~5 lines): one mask of four axes, or is_causal where that means the same; enable_gqa
    raise NotImplementedError("TODO attend-fused")
    # END TODO attend-fused


# ---------------------------------------------------------------- the layer


class MultiHeadAttention(nn.Module):
    """Self- or cross-attention with H query heads and G key-value heads.

    qkv_proj: nn.Linear, weight (D + 2·G·K, D): first the rows of all query heads, then all keys, then all values
    o_proj:   nn.Linear, weight (D, D)
    Raises ValueError unless n_heads divides d_model and n_kv_heads (default n_heads) divides n_heads.
    """

    def __init__(self, d_model: int, n_heads: int, n_kv_heads: int | None = None, bias: bool = True) -> None:
        super().__init__()
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(f"n_heads: expected a divisor of d_model = {d_model}, got {n_heads}")
        self.n_heads, self.n_kv_heads = n_heads, n_heads if n_kv_heads is None else n_kv_heads
        group_size(self.n_heads, self.n_kv_heads)
        self.head_size = d_model // n_heads
        self.sizes = [d_model, self.n_kv_heads * self.head_size, self.n_kv_heads * self.head_size]  # rows of q, k, v
        self.qkv_proj = nn.Linear(d_model, sum(self.sizes), bias)
        self.o_proj = nn.Linear(d_model, d_model, bias)

    def project(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of x, keys and values of context, with the rows of `qkv_proj` that belong to each.

        x: (B, T, D)   context: (B, S, D), None means x   -> q (B, H, T, K), k (B, G, S, K), v (B, G, S, K)
        One matrix product if context is None; two otherwise, one for x and one for context.
        """
        # TODO project-qkv (~9 lines): self.sizes cuts the result, or, for cross-attention, weight and bias; split_heads
        raise NotImplementedError("TODO project-qkv")
        # END TODO project-qkv

    def forward(
        self, x: Tensor, context: Tensor | None = None, key_mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """x: (B, T, D)   context: (B, S, D), None means x   key_mask: (B, S) bool, True = real   -> (B, T, D)"""
        self.check(x, context, key_mask)
        q, k, v = self.project(x, context)
        return self.o_proj(merge_heads(attend_fused(q, k, v, key_mask, causal)))

    def weights(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Where each head looks: (B, H, T, S). `forward` never has them.   mask: bool, broadcasts to (B, H, T, S)"""
        q, k, v = self.project(x, context)
        return attend_grouped(q, k, v, mask)[1]

    def per_head(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The weights as `heads_one_by_one` wants them: w_q (H, D, K), w_k and w_v (G, D, K), w_o (H, K, D)."""
        w_q, w_k, w_v = (w.unflatten(0, (-1, self.head_size)).mT for w in self.qkv_proj.weight.split(self.sizes))
        return w_q, w_k, w_v, self.o_proj.weight.mT.unflatten(0, (self.n_heads, self.head_size))

    def check(self, x: Tensor, context: Tensor | None, key_mask: Tensor | None) -> None:
        """Raises ValueError or TypeError that names the argument, what was expected and what came."""
        width = self.o_proj.in_features
        for name, value in {"x": x, "context": x if context is None else context}.items():
            if value.dim() != 3 or value.size(2) != width or value.size(0) != x.size(0):
                raise ValueError(f"{name}: expected (B, tokens, {width}), got {tuple(value.shape)}")
        if key_mask is not None:
            wanted = (x.size(0), x.size(1) if context is None else context.size(1))
            if key_mask.dtype != torch.bool:
                raise TypeError(f"key_mask: expected bool, True = a real token, got {key_mask.dtype}")
            if key_mask.shape != wanted:
                raise ValueError(f"key_mask: expected {wanted}, got {tuple(key_mask.shape)}")


# ---------------------------------------------------------------- layers made of other layers


def from_torch(layer: nn.MultiheadAttention) -> MultiHeadAttention:
    """The same layer with the same weights. torch packs its rows as we do: queries, keys, values, head after head.

    Raises ValueError for a layer whose keys or values have another width than its queries.
    """
    if layer.in_proj_weight is None:
        raise ValueError(f"layer: expected kdim = vdim = {layer.embed_dim}, got {layer.kdim} and {layer.vdim}")
    ours = MultiHeadAttention(layer.embed_dim, layer.num_heads, bias=layer.in_proj_bias is not None)
    ours = ours.to(layer.out_proj.weight)  # device and dtype
    state = {"qkv_proj.weight": layer.in_proj_weight, "qkv_proj.bias": layer.in_proj_bias}
    state |= {"o_proj.weight": layer.out_proj.weight, "o_proj.bias": layer.out_proj.bias}
    ours.load_state_dict({name: value for name, value in state.items() if value is not None})
    return ours


def pool_heads(rows: Tensor, n_heads: int, n_kv_heads: int) -> Tensor:
    """Each new head is the mean of the old heads it stands for: of H/G neighbours, those whose queries will share it.

    rows: (H·K, D), the rows of `qkv_proj.weight` that make keys or values; or (H·K,), the same part of its bias
    -> (G·K, D), or (G·K,)       Raises ValueError naming n_kv_heads unless G divides H.      Ainslie et al. 2023, 2.1
    """
    # TODO pool-heads (~3 lines): three axes in place of the first: new head, member of its group, row of a head
    raise NotImplementedError("TODO pool-heads")
    # END TODO pool-heads


def with_kv_heads(layer: MultiHeadAttention, n_kv_heads: int) -> MultiHeadAttention:
    """A copy with fewer key-value heads, made with `pool_heads`: where GQA training starts from an MHA checkpoint."""
    bias = layer.qkv_proj.bias is not None
    pooled = MultiHeadAttention(layer.o_proj.in_features, layer.n_heads, n_kv_heads, bias).to(layer.o_proj.weight)
    state = layer.state_dict()
    for name in ("qkv_proj.weight", "qkv_proj.bias")[: 1 + bias]:
        q, k, v = state[name].split(layer.sizes)
        state[name] = torch.cat([q, *(pool_heads(rows, layer.n_kv_heads, n_kv_heads) for rows in (k, v))])
    pooled.load_state_dict(state)
    return pooled


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, device=True)
    from labkit.reference.multi_head_attention import multi_head_report  # the file beside this one

    multi_head_report.show(args, SimpleNamespace(**globals()))


if __name__ == "__main__":
    run.main(main)
