# Generated from lab 4.5 by `make skeletons`.
from __future__ import annotations
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from labkit import run
from labkit.reference.mini_transformer import IGNORE, Attention, Block, GPTConfig, make_gelu, make_norm
PAD, EOS, MASK, SEP = (0, 1, 2, 3)
FIRST = 4
PRESETS = {'smoke': {'steps': 3, 'checks': 2, 'seeds': 1, 'examples': 16, 'width': 16, 'workers': 1}, 'cpu': {'steps': 1200, 'checks': 30, 'seeds': 3, 'examples': 500, 'width': 64, 'workers': 2}, 'full': {'steps': 5000, 'checks': 50, 'seeds': 5, 'examples': 5000, 'width': 128, 'workers': 2}}

def padding_mask(real: Tensor, causal: bool=False) -> Tensor:
    """Which keys a query may look at, in a batch whose rows have different lengths.

    real: (B, S) bool, True = a token, False = padding, which may stand anywhere in the row
    -> bool, True = may look.   causal False: (B, 1, 1, S), every query may look at the real keys of its row
    causal True: (B, 1, S, S), query t at the real keys s <= t.   The axis of size 1 is that of the heads.
    Raises ValueError naming real unless it is bool with two axes.
    """
    ...

def shift_right(targets: Tensor) -> Tensor:
    """What the decoder reads while it learns to write `targets`: at each place, the token before.

    targets: (B, T) int64, with IGNORE where there is nothing to learn; left as it is
    -> (B, T) int64. Place 0 is PAD, which is how T5 starts every text; place t is targets[:, t - 1], with PAD for
    IGNORE, for no table has a row -100.
    """
    ...

def mask_tokens(ids: Tensor, special: Tensor, choose: Tensor, change: Tensor, strangers: Tensor, rate: float=0.15) -> tuple[Tensor, Tensor]:
    """BERT's task: of some tokens it is asked what they were. The dice have been thrown already.

    ids, strangers: (B, T) int64   special: (B, T) bool   choose, change: (B, T) float in [0, 1)
    A place is chosen if it is not special and choose < rate. Of the chosen places, those with
        change < 0.8             show MASK
        0.8 <= change < 0.9      show the token of `strangers` at the same place
        change >= 0.9            show what they are
    and all other places show what they are.
    -> inputs (B, T): what is shown;   labels (B, T): ids where a place was chosen, else IGNORE.   ids stays as it is.
    Devlin et al. 2018, section 3.1
    """
    ...

def corrupt_spans(ids: Tensor, hidden: Tensor, first_sentinel: int) -> tuple[Tensor, Tensor]:
    """T5's task: each run of hidden tokens becomes one sentinel in the input; the target spells the runs out.

        ids      a b c d e f g h      hidden   b c and g      s0 = first_sentinel, s1 = s0 - 1, s2 = s0 - 2
        inputs   a s0 d e f s1 h EOS
        targets  s0 b c s1 g s2 EOS           the sentinel that no run has is the sign that there are no more runs

    ids: (T,) int64   hidden: (T,) bool, any number of runs, also at the ends, also none
    -> inputs, targets: 1-D int64.   Raises ValueError naming hidden unless it is bool of ids' shape.
    Raffel et al. 2020, section 3.1.4
    """
    ...

def draw_weights(model: nn.Module) -> None:
    """Matrices from N(0, 0.02²), biases 0; norms stay as they were made."""
    ...

def bert_config(**sizes: Any) -> GPTConfig:
    """GPT-2's parts with three things changed: nothing is causal, norms follow the sums, eps is 1e-12.

    `gelu="exact"` makes it transformers' BERT; the first BERT of 2018 has the tanh form, as GPT-2.
    """
    ...

class MiniBERT(nn.Module):
    """An encoder that says, for every place, which token stands there.      Devlin et al. 2018

    embedding: (V, D)   position_embedding: (block_size, D)   segment_embedding: (2, D)   embedding_norm: of their sum
    blocks: of lab 4.4   head_dense: D -> D   head_gelu: no weights   head_norm: D   head_bias: (V,)
    """

    def __init__(self, config: GPTConfig) -> None:
        ...

    def features(self, tokens: Tensor, real: Tensor | None=None, segments: Tensor | None=None) -> Tensor:
        """One vector for every place, made from the whole row.

        tokens: (B, T) int64, T <= block_size   real: (B, T) bool, False = padding; None: there is none
        segments: (B, T) int64, 0 for the first text of a row, 1 for the second; None: all 0
        -> (B, T, D). Three embeddings are added: of the token, of its position 0 ... T - 1, of its segment. Then
        `embedding_norm`, `dropout` (once, here), and the blocks, `block(x, mask=...)`. What comes out at a real place
        does not depend on what stands at padding; what comes out at padding means nothing.
        """
        ...

    def forward(self, tokens: Tensor, labels: Tensor | None=None, real: Tensor | None=None, segments: Tensor | None=None) -> tuple[Tensor, Tensor | None]:
        """logits = head_norm(head_gelu(head_dense(features))) · embedding.weightᵀ + head_bias

        tokens, real, segments: as `features` takes them   labels: (B, T) int64, what stood at each place, or IGNORE
        -> logits (B, T, V), and the mean cross-entropy in nats over the labels that count: 0 if none does (a short
        batch may have none), None without labels.
        """
        ...

class CrossBlock(Block):
    """A decoder's block: lab 4.4's, with a third branch between its two, in which the text asks the encoder.

    Pre-norm. attention_norm, attention, mlp_norm, mlp, dropout: lab 4.4's   cross_norm, cross_attention: the third
    """

    def __init__(self, config: GPTConfig) -> None:
        ...

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None=None) -> Tensor:
        """x: (B, T, D)   memory: (B, S, D), the encoder's output, normalised already -> (B, T, D)

        memory_mask: bool, broadcasts to (B, H, T, S), True = may look; None: all
        Each branch reads the stream through its own norm and adds to it, through `dropout`: self-attention (causal by
        itself), cross-attention from the text to the memory, MLP. The attention layers are lab 4.4's:
        `attention(x, rotation=None, mask=None, context=None)`; with a context nothing is causal.
        """
        ...

class MiniT5(nn.Module):
    """An encoder that reads in both directions, a decoder that writes and looks at what was read. After Raffel et al.
    2020, with learned positions in place of T5's relative ones.

    One table of tokens and one of positions serve both sides; the table of tokens is also the head.
    config: a causal one, for the decoder; the encoder has as many layers, and is not causal
    """

    def __init__(self, config: GPTConfig) -> None:
        ...

    def embed(self, tokens: Tensor) -> Tensor:
        ...

    def encode(self, source: Tensor, mask: Tensor | None=None) -> Tensor:
        """source: (B, S) int64   mask: as `padding_mask` makes it -> memory (B, S, D)"""
        ...

    def decode(self, tokens: Tensor, memory: Tensor, memory_mask: Tensor | None=None) -> Tensor:
        """tokens: (B, T) int64, what has been written so far -> logits (B, T, V) of what comes after each

        Padding on the right of a text needs no mask: nothing before it can see it.
        """
        ...

    def forward(self, source: Tensor, targets: Tensor, real: Tensor | None=None) -> tuple[Tensor, Tensor]:
        """source: (B, S) int64   targets: (B, T) int64, or IGNORE   real: (B, S) bool, False = padding of the source
        -> logits (B, T, V), and the mean cross-entropy in nats over the targets that count
        """
        ...

def main(argv: list[str] | None=None) -> None:
    ...
