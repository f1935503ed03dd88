# labkit: lab 4.1, skeleton 9580314544ca. Fill the TODOs; then: labkit check 4.1
"""Scaled dot-product attention four ways: loops, bmm, einsum, and tiles that never hold a T x T matrix.

python solution.py --preset smoke         all forms against torch, in seconds
python solution.py                        the same, the variance figure, and attention maps of a trained layer

Shapes: B batch, H heads (independent attentions side by side; here just a second batch axis), T query time, S key time,
K size of a query or key, D size of a value.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from types import SimpleNamespace

import torch
from torch import Tensor

from labkit import run

PRESETS = {
    "smoke": {"draws": 200, "steps": 60, "repeats": 1},
    "cpu": {"draws": 2_000, "steps": 400, "repeats": 5},
    "full": {"draws": 50_000, "steps": 4_000, "repeats": 20},
}


# ---------------------------------------------------------------- masks: True = may look


def causal_mask(n_queries: int, n_keys: int, offset: int | None = None, device: str | None = None) -> Tensor:
    """Query t may look at the keys 0 .. t + offset: at the past and at itself, never at the future.

    offset: how many keys stand before query 0 (it may be negative). By default n_keys - n_queries: the queries are the
    last ones, as when a decoder adds a few tokens to keys it has cached.     -> (n_queries, n_keys) bool on `device`
    """
    # TODO causal-mask (~3 lines): True on and below one diagonal; which one, offset says
    raise NotImplementedError("TODO causal-mask")
    # END TODO causal-mask


def padding_mask(lengths: Tensor, n_keys: int, left: bool = False) -> Tensor:
    """True for the real keys of every sequence of a batch, False for its padding, for all heads and queries alike.

    lengths: (B,) int64, real tokens per sequence; they stand at the start, or at the end if `left` is set (generation
    pads on the left, so that all sequences end together)     -> (B, 1, 1, n_keys) bool on the device of `lengths`
    Raises ValueError naming lengths unless 0 <= length <= n_keys for each of them.
    """
    # TODO padding-mask (~6 lines): check, then compare positions with lengths; two axes of size 1 for heads and queries
    raise NotImplementedError("TODO padding-mask")
    # END TODO padding-mask


def combine_masks(*masks: Tensor | None) -> Tensor | None:
    """May look = every mask allows it. Masks broadcast against each other; None allows everything."""
    combined = None
    for mask in masks:
        if mask is not None:
            combined = mask if combined is None else combined & mask
    return combined


def check_inputs(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
    """q: (B, H, T, K)   k: (B, H, S, K)   v: (B, H, S, D)   mask: bool, broadcasts to (B, H, T, S).

    Raises ValueError or TypeError that names the argument, what was expected and what came.
    """
    if not (q.dim() == k.dim() == v.dim() == 4 and q.shape[:2] == k.shape[:2] == v.shape[:2]):
        shapes = [tuple(x.shape) for x in (q, k, v)]
        raise ValueError(f"q, k, v: expected (B, H, T, K), (B, H, S, K), (B, H, S, D), got {shapes}")
    if q.size(3) != k.size(3) or k.size(2) != v.size(2):
        raise ValueError(f"k: expected S = {v.size(2)} as in v and K = {q.size(3)} as in q, got {tuple(k.shape)}")
    if not q.dtype == k.dtype == v.dtype or not q.is_floating_point():
        raise TypeError(f"q, k, v: expected one floating-point dtype, got {q.dtype}, {k.dtype}, {v.dtype}")
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise TypeError(f"mask: expected bool, True = may look, got {mask.dtype}")
    full = (*q.shape[:3], k.size(2))
    try:
        mask.expand(full)
    except RuntimeError:
        raise ValueError(f"mask: expected a shape that broadcasts to {full}, got {tuple(mask.shape)}") from None


# ---------------------------------------------------------------- three forms that hold every weight


def attend_loop(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """What attention means, one query at a time:   out_t = Σ_s w_s v_s,   w = softmax over visible s of q_t·k_s / √K.

    A key that is masked does not exist for that query. A query that sees no key at all gets zeros. Exact also when
    scores are in the thousands, where exp overflows.
    q: (B, H, T, K)   k: (B, H, S, K)   v: (B, H, S, D)   mask: bool, broadcasts to (B, H, T, S)   -> (B, H, T, D)
    """
    check_inputs(q, k, v, mask)
    may_look = torch.ones((), dtype=torch.bool, device=q.device) if mask is None else mask
    may_look = may_look.expand(*q.shape[:3], k.size(2))  # (B, H, T, S)
    out = v.new_zeros(*q.shape[:3], v.size(3))
    for b, h, t in itertools.product(range(q.size(0)), range(q.size(1)), range(q.size(2))):
        # TODO loop (~6 lines): the visible keys of query (b, h, t), their scores, their weights; write out[b, h, t]
        raise NotImplementedError("TODO loop")
        # END TODO loop
    return out


def masked_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Weights over the last axis: exp(score_s) / Σ exp over the visible s; exactly 0 where the mask is False.

    What stands in `scores` at a masked place must not matter, not even NaN or infinity. A row with no visible key gives
    zeros, and zero gradients: NaN appears nowhere, forwards or backwards. Visible scores may be in the thousands.
    scores: (..., T, S)   mask: bool, broadcasts to scores, True = may look   -> (..., T, S), dtype of scores
    """
    # TODO masked-softmax (~5 lines): hide before you normalise; rows that see nothing need a detour
    raise NotImplementedError("TODO masked-softmax")
    # END TODO masked-softmax


def attend_bmm(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / √K) v as two batched matrix products, without a Python loop.      Vaswani et al. 2017, eq. 1

    torch.bmm and masked_softmax, not F.scaled_dot_product_attention, which is all of this lab in one call.

    q: (B, H, T, K)   k: (B, H, S, K)   v: (B, H, S, D)   mask: bool, broadcasts to (B, H, T, S)   -> (B, H, T, D)
    """
    check_inputs(q, k, v, mask)
    # TODO bmm (~5 lines): torch.bmm knows one batch axis: fold B and H into it, and unfold where the mask needs them
    raise NotImplementedError("TODO bmm")
    # END TODO bmm


def attend_einsum(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same with every axis named, and with the weights, for whoever wants to see where a query looks.

    torch.einsum and masked_softmax, not F.scaled_dot_product_attention.

    q: (B, H, T, K)   k: (B, H, S, K)   v: (B, H, S, D)   mask: bool, broadcasts to (B, H, T, S)
    -> out (B, H, T, D), weights (B, H, T, S)
    """
    check_inputs(q, k, v, mask)
    # TODO einsum (~3 lines): two contractions with masked_softmax between them
    raise NotImplementedError("TODO einsum")
    # END TODO einsum


# ---------------------------------------------------------------- tiles: the FlashAttention recurrence


def tiles(n_keys: int, tile: int) -> Iterator[slice]:
    """The keys in slices of `tile`; the last may be shorter."""
    for start in range(0, n_keys, tile):
        yield slice(start, min(start + tile, n_keys))


def mask_tile(mask: Tensor | None, causal: bool, q: Tensor, n_keys: int, keys: slice) -> Tensor:
    """What the queries may see of one slice of the keys: the columns `keys` of the mask, and of `causal_mask` if set.

    The columns are cut first: a whole (T, S) mask would be the matrix this file's last form is about to avoid.
    -> bool, broadcasts to (B, H, T, length of the slice)
    """
    n_queries, width = q.size(2), keys.stop - keys.start
    if mask is not None and mask.dim() and mask.size(-1) == n_keys:
        mask = mask[..., keys]
    past = causal_mask(n_queries, width, n_keys - n_queries - keys.start, device=q.device) if causal else None
    combined = combine_masks(mask, past)
    return torch.ones(1, 1, dtype=torch.bool, device=q.device) if combined is None else combined


def tiled_forward(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, tile: int
) -> tuple[Tensor, Tensor]:
    """Attention in one pass over the keys, a tile at a time, with an *online softmax*: no (T, S) matrix ever exists.

    For every query three things are carried from tile to tile: the largest score so far, Σ exp(score - largest), and
    Σ exp(score - largest) v. When a tile brings a larger score, the old sums are too large by a known factor.
    q: (B, H, T, K)   k: (B, H, S, K)   v: (B, H, S, D)   mask, causal: see `mask_tile`; each key is used once
    -> out (B, H, T, D), zeros for a query that sees no key;
       lse (B, H, T) = log Σ exp(score) over its visible keys, -inf if there are none: all the backward pass will need
    Milakov & Gimelshein 2018, algorithm 3; Dao et al. 2022, algorithm 1
    """
    # TODO tiled-forward (~14 lines): for keys in tiles(...): scores of the tile, new largest, rescale the sums, add
    raise NotImplementedError("TODO tiled-forward")
    # END TODO tiled-forward


def tiled_backward(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, tile: int,
    out: Tensor, lse: Tensor, d_out: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradient of `tiled_forward`'s out, again a tile at a time: weights are computed afresh, never stored.

    With w_ts = exp(score_ts - lse_t) and dw_ts = d_out_t · v_s, the softmax passes back
        d_score_ts = w_ts (dw_ts - Σ_r w_tr dw_tr),     and that sum over all keys is simply d_out_t · out_t.
    Arguments as in `tiled_forward`; out, lse: what it returned; d_out: (B, H, T, D)    -> dq, dk, dv like q, k, v
    A query that saw no key gets and gives no gradient.                               Dao et al. 2022, algorithm 4
    """
    # TODO tiled-backward (~11 lines): once per query d_out · out; then per tile the weights, dv, d_score, dq and dk
    raise NotImplementedError("TODO tiled-backward")
    # END TODO tiled-backward


class TiledAttention(torch.autograd.Function):
    """Ties the two passes together: autograd keeps q, k, v, out and lse between them, and nothing of size T x S."""

    @staticmethod
    def forward(ctx, q, k, v, mask, causal, tile):
        out, lse = tiled_forward(q, k, v, mask, causal, tile)
        ctx.save_for_backward(q, k, v, mask, out, lse)
        ctx.causal, ctx.tile = causal, tile
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_out):
        q, k, v, mask, out, lse = ctx.saved_tensors
        return *tiled_backward(q, k, v, mask, ctx.causal, ctx.tile, out, lse, d_out), None, None, None


def attend_tiled(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False, tile: int = 64
) -> Tensor:
    """Attention in memory that grows with T, not with T x S: `tiled_forward`, and `tiled_backward` for the gradient.

    q: (B, H, T, K)   k: (B, H, S, K)   v: (B, H, S, D)   mask: bool, broadcasts to (B, H, T, S)   -> (B, H, T, D)
    causal: `causal_mask` on top of the mask, made tile by tile.        Raises ValueError when tile < 1
    """
    check_inputs(q, k, v, mask)
    if tile < 1:
        raise ValueError(f"tile: expected at least 1, got {tile}")
    return TiledAttention.apply(q, k, v, mask, causal, tile)


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, device=True)
    from labkit.reference.scaled_dot_product_attention import attention_report  # the file beside this one

    attention_report.show(args, SimpleNamespace(**globals()))


if __name__ == "__main__":
    run.main(main)
