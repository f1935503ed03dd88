# Generated from lab 3.1 by `make skeletons`.
from __future__ import annotations
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import NamedTuple
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from labkit import run
PRESETS = {'smoke': {'characters': 12000, 'hidden': 48, 'layers': 1, 'epochs': 1, 'batch': 8, 'steps': 32, 'order': 4}, 'cpu': {'characters': 1120000, 'hidden': 512, 'layers': 1, 'epochs': 7, 'batch': 32, 'steps': 32, 'order': 7}, 'full': {'characters': 10 ** 9, 'hidden': 1024, 'layers': 1, 'epochs': 8, 'batch': 32, 'steps': 32, 'order': 8}}

class CharCorpus:
    """A text whose tokens are its characters, cut into a part to train on and the held-out end.

    characters: the distinct characters of the whole text, sorted; a character's id is its place in this list.
    """

    def __init__(self, text: str, held_out: float=0.1) -> None:
        ...

    def encode(self, text: str) -> Tensor:
        """-> (L,) int64.   Raises ValueError for a character the corpus does not have."""
        ...

    def decode(self, ids: Tensor) -> str:
        """ids: (L,) int64  -> str of length L"""
        ...

class Compression(NamedTuple):
    """perplexity is per token and depends on the tokenizer; bits per character and per byte do not."""
    perplexity: float
    bits_per_character: float
    bits_per_byte: float

def compression(nats: float, tokens: int, text: str) -> Compression:
    """What a total loss means, with log₂ e bits to the nat.

    nats: Σ -ln p(token) over the whole text (the sum, not the mean)   tokens: how many were predicted
    text: the string these tokens spell, which need not be one character per token
    -> perplexity = exp(nats per token), bits per character of text, bits per byte of text in UTF-8
    """
    ...

class VanillaRNNCell(nn.Module):
    """One step of a recurrent layer: h' = tanh(W_xh x + W_hh h + b).      Elman 1990

    w_xh: nn.Linear (F, input width) without bias   w_hh: nn.Linear (F, F), holds the bias b
    """

    def __init__(self, input_width: int, hidden: int) -> None:
        ...

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x: (B, input width)   h: (B, F)   -> the next h (B, F)"""
        ...

class CharRNN(nn.Module):
    """Embedding, N recurrent layers one above the other, and a linear head that scores the next character.

    cell(input width, F) makes the cell of one layer, a module that maps x (B, input width) and h (B, F) to the next h.
    """

    def __init__(self, vocab_size: int, d_model: int, hidden: int, layers: int=1, cell: Callable=VanillaRNNCell):
        ...

    def forward(self, ids: Tensor, state: Tensor | None=None) -> tuple[Tensor, Tensor]:
        """ids: (B, T) int64   state: (N, B, F), every layer's h before the first character; None means zeros
        -> logits (B, T, V): at t the scores of the character after ids[:, t];   state (N, B, F) after the last one.
        The state handed in is left as it was.
        """
        ...

def bptt(x: Tensor, h: Tensor, w_xh: Tensor, w_hh: Tensor, grad_h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradient of a loss through T steps of h[t+1] = tanh(W_xh x[t] + W_hh h[t] + b), by hand: no autograd.

    x: (T, D)   h: (T+1, F), h[0] the initial state   w_xh: (F, D)   w_hh: (F, F)
    grad_h: (T, F); grad_h[t] is what the loss gets from h[t+1] directly, at its own step, not through later states
    -> ∂loss/∂W_xh (F, D), ∂loss/∂W_hh (F, F), ∂loss/∂b (F,), ∂loss/∂h[0] (F,)
    """
    ...

def streams(ids: Tensor, batch: int) -> Tensor:
    """A text in `batch` rows of equal length, each going on where the row above ends; a remainder is left out.

    ids: (L,)  -> (batch, (L - 1) // batch + 1): the last id of a row is the first of the next, so none goes unpredicted
    """
    ...

def chunks(rows: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """inputs and targets, both (B, up to `steps`), from left to right; targets are the ids one place further on."""
    ...

def truncated_bptt(model: nn.Module, rows: Tensor, steps: int, optimizer: torch.optim.Optimizer, max_norm: float) -> Iterator[float]:
    """One pass over the rows, an optimizer step per chunk. The state lives on from chunk to chunk, the graph does not.

    model: (ids, state) -> (logits, state), state None at the start   rows: (B, L) as `streams` makes them
    max_norm: if the gradient of all parameters, seen as one vector, is longer, it is scaled to this length
    Yields the mean cross-entropy of each chunk, a float, once the step on it is taken.      Werbos 1990; Pascanu 2013
    """
    ...

@torch.no_grad()
def token_nats(model: nn.Module, rows: Tensor) -> Tensor:
    """-ln p of every id but the first of each row, given the ids before it in that row.   rows: (B, L) -> (B, L-1)"""
    ...

def next_token_distribution(logits: Tensor, temperature: float=1.0, top_k: int | None=None, top_p: float=1.0) -> Tensor:
    """The probabilities to draw the next token from: temperature first, then top-k, then top-p.

    logits: (B, V)  -> (B, V), rows sum to 1
    temperature: divides the logits; 0 puts all weight on the largest   top_k: keep the k most probable
    top_p: of what is left, keep the smallest set of most probable tokens whose weight reaches top_p; 1 keeps all
    What is kept shares the weight in its old proportions.      Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p)
    """
    ...

def sample(logits: Tensor, temperature: float=1.0, top_k: int | None=None, top_p: float=1.0, generator: torch.Generator | None=None) -> Tensor:
    """One id per row, drawn from `next_token_distribution`.   logits: (B, V) -> (B,) int64"""
    ...

@torch.no_grad()
def generate(model: nn.Module, prompt: Tensor, length: int, choose: Callable[[Tensor], Tensor]=sample) -> Tensor:
    """The prompt and `length` further tokens. The model reads every token once: the state remembers the rest.

    model: (ids, state) -> (logits, state)   prompt: (B, P) int64, P >= 1   choose: logits (B, V) -> ids (B,)
    -> (B, P + length) int64
    """
    ...

class Counts(NamedTuple):
    """rows: (U, n) int64, distinct n-grams in lexicographic order   counts: (U,) int64, all at least 1"""
    rows: np.ndarray
    counts: np.ndarray

def ngrams(ids: np.ndarray, n: int) -> np.ndarray:
    """Every n-gram of a text, in order.   ids: (L,) int64 -> (L - n + 1, n).   ValueError unless 1 <= n <= L"""
    ...

def pack(rows: np.ndarray, base: int) -> np.ndarray:
    """Each row as one number in the given base, which sorts and compares much faster.   (U, n) -> (U,) int64"""
    ...

def count_rows(rows: np.ndarray) -> Counts:
    """The distinct rows, and how often each occurs.   rows: (G, n) int64"""
    ...

def lookup(table: Counts, grams: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each row of grams (G, n), three answers (G,) int64, 0 for what the table does not have:

    count: of this n-gram   total: the sum over all n-grams with its context   kinds: how many n-grams have its context
    """
    ...

def add_k(train: np.ndarray, grams: np.ndarray, vocab_size: int, k: float=1.0) -> np.ndarray:
    """P(w | h) = (c(hw) + k) / (c(h·) + k V): as if every n-gram had been seen k times more.

    train: (L,) int64   grams: (G, n) int64   -> (G,) float64, the probability of each row's last token after the others
    """
    ...

def continuation_counts(table: Counts) -> Counts:
    """N₁₊(·g): how many different tokens were seen in front of each g, however often.

    table: counts of n-grams, n >= 2  -> Counts of the (n-1)-grams that stand at the end of one
    """
    ...

def kneser_ney(train: np.ndarray, grams: np.ndarray, vocab_size: int, discount: float=0.75) -> np.ndarray:
    """Interpolated Kneser-Ney of order n = grams.shape[1].      Kneser and Ney 1995; Chen and Goodman 1999

    P_m(w|h) = ( max(c_m(hw) - d, 0) + d · kinds_m(h) · P_{m-1}(w|h') ) / Σ_w c_m(hw)     for m = 1 ... n
    h: the last m-1 tokens, h' the last m-2   kinds_m(h): how many w have c_m(hw) > 0   P_0 = 1/V
    c_n: how often the n-gram occurs in train; below n: c_m(g) = N₁₊(·g), its continuation count in train
    P_m = P_{m-1} where nothing was seen after h.
    train: (L,) int64, L >= n   grams: (G, n) int64   0 < discount <= 1
    -> (G,) float64, the probability of each row's last token after the others
    """
    ...

def main(argv: list[str] | None=None) -> None:
    ...
