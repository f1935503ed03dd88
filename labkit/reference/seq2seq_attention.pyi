# Generated from lab 3.3 by `make skeletons`.
from __future__ import annotations
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from labkit import run
PRESETS = {'smoke': {'seeds': 1, 'date_steps': 4, 'reversal_steps': 4, 'hidden': 16, 'batch': 8, 'test': 5, 'workers': 1}, 'cpu': {'seeds': 3, 'date_steps': 700, 'reversal_steps': 700, 'hidden': 64, 'batch': 32, 'test': 100, 'workers': 2}, 'full': {'seeds': 5, 'date_steps': 4000, 'reversal_steps': 10000, 'hidden': 256, 'batch': 128, 'test': 500, 'workers': 1}}
PAD, BOS, EOS = (0, 1, 2)

def pad(sequences: list[Tensor]) -> tuple[Tensor, Tensor]:
    """A batch, and which of its places are real.

    sequences: B tensors (L_b,) int64 on one device, L_b >= 1, none of which contains PAD
    -> ids (B, S) int64, S the largest L_b, PAD on the right of shorter ones;   mask (B, S) bool, True = a real symbol
    Raises ValueError naming sequences if there are none, or if one is empty.
    """
    ...

def sequence_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The mean of -ln p(symbol) over all real symbols of the batch, EOS included: PAD is nothing to be learned.

    logits: (B, T, V)   target: (B, T) int64, padded with PAD   -> scalar
    Every real symbol counts the same, whether its row is long or short. Finite for logits of any size.
    """
    ...

class Attention(nn.Module):
    """How well does each encoder state h_s answer to the decoder's state q?

    kind "additive":        e_s = v · tanh(W_q q + W_k h_s)      Bahdanau, Cho, Bengio 2015
    kind "multiplicative":  e_s = q · W_k h_s                    Luong, Pham, Manning 2015, "general"
    w_k: nn.Linear (F, memory width), no bias. Additive only: w_q: nn.Linear (F, F), has the bias; v: Parameter (F,)
    W_k h_s does not depend on q, so the keys w_k(h) are made once per source, not once per step.
    """

    def __init__(self, kind: str, memory_width: int, hidden: int) -> None:
        ...

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """query: (B, F)   keys: (B, S, F), already w_k(h)   -> e (B, S), one number for every place of the source"""
        ...

def attend(scores: Tensor, mask: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Weights α = softmax of the scores over the real places of each row, and the weighted mean Σ_s α_s value_s.

    scores: (B, S)   mask: (B, S) bool, True = real, at least one per row   values: (B, S, C)
    -> context (B, C), weights (B, S), exactly 0 at padding. Exact for scores of any size.
    """
    ...

class Memory(NamedTuple):
    """What the decoder may know about the source."""
    states: Tensor
    mask: Tensor
    summary: Tensor
    keys: Tensor | None

class Seq2Seq(nn.Module):
    """attention None: the decoder gets the summary at every step, and only that      Cho et al. 2014

    "bahdanau": additive attention; look with the old state, then move to the new one
    "luong": multiplicative attention; move first, then look with the new state
    """

    def __init__(self, source_size: int, target_size: int, d_model: int, hidden: int, attention: str | None) -> None:
        ...

    def read(self, source: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the encoder over every source as if it were alone: padding changes nothing, in neither direction.

        source: (B, S) int64   mask: (B, S) bool, True = real; real symbols stand on the left
        -> states (B, S, 2F): at s the forward state after symbols 0 .. s, then the backward state after the symbols
           from the last real one down to s; zeros at padding.
           summary (B, 2F): the forward state after the last real symbol, then the backward state after symbol 0.
        """
        ...

    def encode(self, source: Tensor, mask: Tensor) -> tuple[Memory, Tensor]:
        """source: (B, S) int64   mask: (B, S) bool   -> memory, and the decoder's first state (B, F)"""
        ...

    def look(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """query: (B, F)   -> context (B, 2F), weights (B, S); without attention always the summary, and weights 0"""
        ...

    def step(self, token: Tensor, state: Tensor, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        """One step of the decoder: from the previous symbol and state to scores for the next symbol.

        With y the embedded token, q the state handed in, q' the new one, and c what `look` finds:
        moves_first False:  c from look(q),          q' = cell([y, c], q)
        moves_first True:   q' = cell(y, q),         c from look(q')
        both:               logits = head(tanh(combine([q', c])))
        token: (B,) int64   state: (B, F)   -> logits (B, V), new state (B, F), weights (B, S)
        """
        ...

    def forward(self, source: Tensor, mask: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher forcing: whatever the model would have said, the next step reads what it should have said.

        source: (B, S) int64   mask: (B, S) bool   target: (B, T) int64, each row ends with EOS, then PAD
        -> logits (B, T, V): at t the scores for target[:, t], given BOS and target[:, :t];   weights (B, T, S)
        """
        ...

    def stepper(self, memory: Memory) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """`step` as the searches below want it. A memory of one source (B = 1) serves any number of hypotheses."""
        ...

@torch.no_grad()
def greedy(step: Callable, state: Tensor, max_length: int) -> Tensor:
    """From BOS on, always the symbol with the largest logit, which is then fed back; until EOS.

    state: (B, F); every step takes all B rows, ended or not   max_length >= 1
    -> (B, L) int64: each row up to and with its first EOS, then PAD. It stops as soon as all rows have ended, so L is
       the length of the longest; a row that does not end has max_length symbols and no EOS.
    """
    ...

class Hypothesis(NamedTuple):
    """tokens: without BOS, EOS at the end unless it was cut off   log_p: Σ ln p   score: log_p / len(tokens)^α"""
    tokens: list[int]
    log_p: float
    score: float

@torch.no_grad()
def beam_search(step: Callable, state: Tensor, width: int, max_length: int, alpha: float=1.0) -> list[Hypothesis]:
    """Keeps several beginnings alive instead of one, and compares finished ones by score = log_p / length^α.

    Every round extends all live hypotheses by every symbol; of all these extensions together the `width` with the
    largest log_p survive, as many in every round, however many have finished before. Of those, what ends with EOS is
    finished, as is everything once it has max_length tokens (length counts EOS); the rest lives on. It ends when
    nothing is alive.
    state: (1, F), of one source   width >= 1   max_length >= 1   alpha >= 0; 0 compares log_p itself
    -> of all that finished in any round the `width` best, best score first; fewer if fewer have finished
    """
    ...

def main(argv: list[str] | None=None) -> None:
    ...
