# Generated from lab 3.2 by `make skeletons`.
from __future__ import annotations
from collections.abc import Callable
from types import SimpleNamespace
import torch
from torch import Tensor, nn
from labkit import run
from labkit.reference.char_rnn import CharCorpus, CharRNN
PRESETS = {'smoke': {'seeds': 2, 'budget': 8000, 'characters': 1600, 'epochs': 1, 'batch': 8, 'copy_steps': 2, 'lag': 6, 'workers': 1}, 'cpu': {'seeds': 3, 'budget': 60000, 'characters': 1000000, 'epochs': 1, 'batch': 16, 'copy_steps': 300, 'lag': 50, 'workers': 2}, 'full': {'seeds': 5, 'budget': 10 ** 6, 'characters': 10 ** 9, 'epochs': 10, 'batch': 32, 'copy_steps': 2000, 'lag': 50, 'workers': 2}}
IGNORED = -100

class GatedCell(nn.Module):
    """What LSTM and GRU share: one map of the input and one of the old h, each for all blocks at once.

    w_x: nn.Linear (blocks · F, D)   w_h: nn.Linear (blocks · F, F); both have a bias, as in torch
    A block is F rows, all that belongs to one gate or to the candidate; the order of the blocks is that of nn.LSTM and
    nn.GRU, so weight_ih_l0, bias_ih_l0, weight_hh_l0 and bias_hh_l0 can be copied over as they are.
    """
    blocks: int
    parts = 1

    def __init__(self, input_width: int, hidden: int) -> None:
        ...

class LSTMCell(GatedCell):
    """Three gates i, f, o, a candidate g, and a second state c.   Hochreiter and Schmidhuber 1997; f: Gers et al. 2000

    i = σ(W_xi x + W_hi h + b_i)    f = σ(W_xf x + W_hf h + b_f)    o = σ(W_xo x + W_ho h + b_o)
    g = tanh(W_xg x + W_hg h + b_g)    c' = f ⊙ c + i ⊙ g    h' = o ⊙ tanh(c')
    Order of the blocks: i, f, g, o. Each b is the sum of the biases of w_x and w_h.
    """
    blocks, parts = (4, 2)

    def __init__(self, input_width: int, hidden: int, forget_bias: float=1.0) -> None:
        ...

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """x: (B, D)   state: (B, 2F), h and then c side by side   -> the next state (B, 2F), h' and then c'"""
        ...

    @torch.no_grad()
    def set_forget_bias(self, value: float) -> None:
        """Makes b_f = value in every unit, so that f = σ(value) as long as x and h say nothing.

        In place: the parameters stay the objects they were. All other biases keep their values.
        """
        ...

class GRUCell(GatedCell):
    """Two gates r, z and a candidate n; the reset gate acts AFTER the matrix: the GRU of nn.GRU and cuDNN.

    r = σ(W_xr x + b_xr + W_hr h + b_hr)    z = σ(W_xz x + b_xz + W_hz h + b_hz)
    n = tanh(W_xn x + b_xn + r ⊙ (W_hn h + b_hn))    h' = (1 - z) ⊙ n + z ⊙ h
    Order of the blocks: r, z, n. b_x are the biases of w_x, b_h those of w_h.
    """
    blocks = 3

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x: (B, D)   h: (B, F)   -> h' (B, F)"""
        ...

class ResetBeforeGRUCell(GRUCell):
    """The GRU of the paper (Cho et al. 2014): the reset gate acts on h BEFORE the matrix.

    Weights, r, z and h' as above, but n = tanh(W_xn x + b_xn + W_hn (r ⊙ h) + b_hn)
    """

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x: (B, D)   h: (B, F)   -> h' (B, F)"""
        ...

def lstm_backward(gates: Tensor, c_old: Tensor, c_new: Tensor, grad_h: Tensor, grad_c: Tensor) -> tuple[Tensor, Tensor]:
    """One step of an LSTM backwards, by hand: no autograd.

    gates: (B, 4F), i, f, g, o after σ and tanh   c_old, c_new: (B, F)
    grad_h, grad_c: (B, F), ∂loss/∂h' and ∂loss/∂c'; grad_c is what comes from later steps, not what comes through h'
    -> ∂loss/∂(gates before σ and tanh) (B, 4F) in the same order, ∂loss/∂c (B, F)
    """
    ...

class GatedRNN(CharRNN):
    """The CharRNN of lab 3.1 with room in its state for all that a cell keeps.

    cell(input width, F) makes the cell of one layer: x (B, input width), state (B, S) -> state (B, S), its h in the
    first F columns. S is F, or 2F for LSTM cells, whose c stands in the rest.
    """

    def __init__(self, vocab_size: int, d_model: int, hidden: int, layers: int=1, cell: Callable=LSTMCell) -> None:
        ...

    def forward(self, ids: Tensor, state: Tensor | None=None) -> tuple[Tensor, Tensor]:
        """ids: (B, T) int64   state: (N, B, S), every layer's state before the first id; None means zeros
        -> logits (B, T, V): at t the scores of the id after ids[:, t];   state (N, B, S) after the last one.
        The state handed in is left as it was.
        """
        ...

def matched_hidden(budget: int, blocks: int, biases: int, d_model: int, vocab_size: int) -> int:
    """The largest F with which a network of one recurrent layer has at most `budget` parameters.

    Counted are the embedding (V, D); the layer: `blocks` blocks, each with a matrix (F, D), a matrix (F, F) and
    `biases` vectors (F,); the head (V, F) with a bias (V,).
    Raises ValueError when not even F = 1 fits.
    """
    ...

def delayed_copy(symbols: Tensor, lag: int, n_symbols: int, chatter: Tensor | None=None) -> tuple[Tensor, Tensor]:
    """Read P symbols and what follows; a bell rings, and they are to be named in order, each `lag` steps after it came.

    symbols: (B, P) int64, below n_symbols   lag >= P. Two more ids: blank = n_symbols, bell = n_symbols + 1
    chatter: (B, lag - P) int64 or None, ids that stand between the symbols and the bell, where None leaves blanks
    -> inputs (B, lag + P) int64: the symbols, then blanks, or chatter up to the bell; the bell at step `lag`;
       targets (B, lag + P) int64: the symbols at the last P steps, IGNORED at all others
    Raises ValueError when lag < P: an answer would be due before the question is over.
    """
    ...

def main(argv: list[str] | None=None) -> None:
    ...
