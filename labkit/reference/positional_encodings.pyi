# Generated from lab 4.3 by `make skeletons`.
from __future__ import annotations
import math
from types import SimpleNamespace
from typing import Any
import torch
from torch import Tensor, nn
from labkit import run
from labkit.reference.scaled_dot_product_attention import attend_bmm, causal_mask
PRESETS = {'smoke': {'seeds': 1, 'steps': 2, 'batch': 4, 'windows': 1, 'workers': 1, 'characters': 60000}, 'cpu': {'seeds': 3, 'steps': 1000, 'batch': 16, 'windows': 128, 'workers': 2, 'characters': 1200000}, 'full': {'seeds': 5, 'steps': 20000, 'batch': 64, 'windows': 1000, 'workers': 2, 'characters': 10 ** 9}}
LAYOUTS = ('half', 'interleaved')
Device = torch.device | str | None

def check_even(name: str, size: int) -> None:
    """Raises ValueError naming the argument unless `size` is even and positive: channels come in pairs."""
    ...

def sinusoidal(n_positions: int, d_model: int, *, device: Device=None) -> Tensor:
    """Every position as D/2 clock hands, the fastest first; each shows its sine and, in the next column, its cosine.

        PE[p, 2i] = sin(p · 10000^(-2i/D)),     PE[p, 2i+1] = cos(p · 10000^(-2i/D)),     i = 0 ... D/2 - 1

    -> (n_positions, D) float32                Raises ValueError when d_model is odd.       Vaswani et al. 2017, 3.5
    """
    ...

class LearnedPositions(nn.Module):
    """One free vector per position, as in BERT and GPT-2. There is no row for position n_positions, and never was."""

    def __init__(self, n_positions: int, d_model: int) -> None:
        ...

    def forward(self, positions: Tensor) -> Tensor:
        """positions: (T,) int   -> (T, D).     Raises ValueError for a position that the table does not have."""
        ...

def inverse_frequencies(head_dim: int, base: float=10000.0, factor: float=1.0, method: str='linear', *, device: Device=None) -> Tensor:
    """Radians per position of the K/2 channel pairs, the fastest first:    base^(-2i/K),    i = 0 ... K/2 - 1.

    With a factor s > 1 a model meant for L positions is made to fit s · L of them, in one of two ways:
    method "linear" (position interpolation): every pair turns s times more slowly;   Chen et al. 2023
    method "ntk": the same formula with base' = base · s^(K/(K-2)), which makes the slowest pair turn exactly s times
                  more slowly and leaves the fastest as it was.           bloc97 2023; Peng et al. 2023, section 3.1
    -> (K/2,) float32      Raises ValueError naming head_dim (odd, or 2 with "ntk") or method.
    """
    ...

def rope_angles(positions: Tensor, inv_freq: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of position · frequency.

    positions: (T,) or (B, T) int   inv_freq: (K/2,) float32 or float64   -> cos, sin (..., T, K/2), dtype of inv_freq
    Raises TypeError for an inv_freq of 16 bits: bfloat16 cannot tell position 256 from 257.
    """
    ...

def check_rope(x: Tensor, cos: Tensor, sin: Tensor, layout: str) -> None:
    """Raises ValueError naming the argument unless cos and sin are (T, K/2) or (B, T, K/2) for an x of (B, H, T, K)."""
    ...

def apply_rope(x: Tensor, cos: Tensor, sin: Tensor, layout: str='half') -> Tensor:
    """Turns every channel pair (a, b) of x by its angle:     (a cos - b sin,  b cos + a sin),  put back in its places.

    layout "half" (Llama, transformers): pair i is channels (i, i + K/2);  "interleaved" (paper, GPT-J): (2i, 2i + 1)
    x: (B, H, T, K)   cos, sin: (T, K/2), or (B, T, K/2) if sequences differ in their positions; all heads share them
    -> (B, H, T, K), dtype of x                                                          Su et al. 2021, eq. 34
    """
    ...

def convert_layout(weight: Tensor, n_heads: int, to: str) -> Tensor:
    """Reorders the output channels of a query or key projection for a model that uses the other layout of RoPE.

    Within every head, the channels of pair i move from where the one layout keeps them to where `to` does. If wq and wk
    are both converted, all attention scores stay what they were.
    weight: (H·K, D), or a bias (H·K,), made for the layout that is not `to`; head h owns rows h·K ... h·K + K - 1
    -> the same shape.      Raises ValueError naming to, or weight when its rows are not n_heads heads of even size.
    """
    ...

def rope_attention(q: Tensor, k: Tensor, v: Tensor, inv_freq: Tensor, attention_factor: float=1.0, layout: str='half', start: int=0) -> Tensor:
    """Causal attention with rotary positions; q, k, v as they come out of their projections.

    The keys stand at positions start ... start + S - 1. The queries are the last T of these positions, as with a cache
    of S - T keys. attention_factor (YaRN's; 1 otherwise) scales queries and keys alike, so scores grow by its square.
    The result depends on distances only: `start` changes nothing but rounding.
    q: (B, H, T, K)   k, v: (B, H, S, K), T <= S   inv_freq: (K/2,)   -> (B, H, T, K)
    """
    ...

def relative_positions(n_queries: int, n_keys: int, *, device: Device=None) -> Tensor:
    """Position of the key minus position of the query, (T, S) int64; the last query stands at the last key."""
    ...

def alibi_slopes(n_heads: int, *, device: Device=None) -> Tensor:
    """One slope per head, -> (H,) float32: how much score a step of distance costs.

    For H = 2^n heads: 2^(-8/H), 2^(-16/H), ..., 2^-8. Otherwise let P be the largest power of two below H: first the P
    slopes of P heads, then the 1st, 3rd, 5th ... of the slopes of 2P heads, until there are H.
    Raises ValueError naming n_heads when it is below 1.                    Press et al. 2022, section 3 and code
    """
    ...

def alibi_bias(n_heads: int, n_queries: int, n_keys: int, *, device: Device=None) -> Tensor:
    """What ALiBi adds to the scores:    bias[h, t, s] = -slope_h · |distance of query t and key s|.

    The last query stands at the last key. The bias hides nothing: a causal mask is still needed.
    -> (H, T, S) float32                                                                  Press et al. 2022, section 3
    """
    ...

def t5_buckets(relative: Tensor, bidirectional: bool=True, n_buckets: int=32, max_distance: int=128) -> Tensor:
    """Which learned bias a relative position gets: near ones each their own, far ones together in wider and wider bins.

    relative: any shape, int64, key minus query   -> the same shape, int64, in 0 ... n_buckets - 1
    bidirectional (encoder): the upper half of the buckets is for keys after the query; each side has N = n_buckets / 2,
        and the distance is d = |relative|. Otherwise (decoder) N = n_buckets, and all keys after the query have d = 0.
    With E = N / 2: distances d < E have bucket d, the others E + floor(ln(d / E) / ln(max_distance / E) · (N - E)),
    but N - 1 at most. The upper half starts at N.                              Raffel et al. 2020, section 2.1 and code
    Raises ValueError naming n_buckets (not a multiple of 4) or max_distance (not above E).
    """
    ...

def t5_bias(table: Tensor, n_queries: int, n_keys: int, bidirectional: bool=True, max_distance: int=128) -> Tensor:
    """The learned bias that T5 adds to its scores, which it does not divide by the root of K.

    table: (n_buckets, H)   -> (H, T, S); the last query stands at the last key
    """
    ...

def yarn_frequencies(head_dim: int, base: float, factor: float, original_length: int, beta_fast: float=32.0, beta_slow: float=1.0, *, device: Device=None) -> tuple[Tensor, float]:
    """Keeps the pairs that turn often within the original length L, interpolates those that never finish a turn.

    Pair i turns r = L · base^(-2i/K) / 2π times within L. Solved for i, the pair that turns r times is
        index(r) = K · ln(L / (2π r)) / (2 ln base).
    Pairs up to low = floor(index(beta_fast)) keep their frequency, pairs from high = ceil(index(beta_slow)) on turn
    `factor` times more slowly. low is at least 0 and high at most K - 1. In between the two frequencies are mixed, the
    share of the slower one rising linearly in i (a step if low = high).
    -> inv_freq (K/2,) float32, attention_factor = 0.1 ln(factor) + 1 (1 if factor <= 1)       Peng et al. 2023, 3.2-3.4
    """
    ...

def llama3_frequencies(head_dim: int, base: float, factor: float, original_length: int, low_freq_factor: float, high_freq_factor: float, *, device: Device=None) -> Tensor:
    """YaRN's idea with a ramp in the number of turns, from low_freq_factor to high_freq_factor.    Llama 3.1, 2024"""
    ...

def rope_frequencies(head_dim: int, base: float=10000.0, scaling: dict[str, Any] | None=None, *, seq_len: int | None=None, device: Device=None) -> tuple[Tensor, float]:
    """inv_freq (K/2,) float32 and the attention factor for a `rope_parameters` (once `rope_scaling`) of transformers.

    scaling: None or {"rope_type": ..., "factor": s, ...} with the type and what it needs:
        "default"; "linear"; "ntk" (s fixed; transformers has no such type);
        "dynamic": "ntk" with a factor that grows with the text, s · seq_len / L - (s - 1); plain up to seq_len = L;
        "yarn": optional beta_fast, beta_slow, attention_factor;     "llama3": low_freq_factor, high_freq_factor
        L is "original_max_position_embeddings", which the last three types need ("dynamic" only with a seq_len).
        The base is the argument `base`; a "rope_theta" in the dict must not contradict it.
    Raises ValueError naming scaling: unknown type, missing or unknown entry.
    """
    ...

def main(argv: list[str] | None=None) -> None:
    ...
