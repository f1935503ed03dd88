# labkit: lab 3.2, skeleton 23be9acf93fb. Fill the TODOs; then: labkit check 3.2
"""LSTM and GRU cells from primitives, in a language model of equal size and on a task that needs a long memory.

Shapes: B batch, T time, V vocabulary, D input width, F hidden width, N layers, P symbols to remember.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from labkit import run
from labkit.reference.char_rnn import CharCorpus, CharRNN

PRESETS = {
    "smoke": {
        "seeds": 2,
        "budget": 8_000,
        "characters": 1_600,
        "epochs": 1,
        "batch": 8,
        "copy_steps": 2,
        "lag": 6,
        "workers": 1,
    },
    "cpu": {
        "seeds": 3,
        "budget": 60_000,
        "characters": 1_000_000,
        "epochs": 1,
        "batch": 16,
        "copy_steps": 300,
        "lag": 50,
        "workers": 2,  # processes, of one thread each; the trainings are divided among them
    },
    "full": {
        "seeds": 5,
        "budget": 10**6,
        "characters": 10**9,
        "epochs": 10,
        "batch": 32,
        "copy_steps": 2_000,
        "lag": 50,
        "workers": 2,
    },
}
IGNORED = -100  # the target that F.cross_entropy leaves out


# ---------------------------------------------------------------------------------------------------------------------
# Cells: x (B, D) and the old state -> the new state. What a layer passes up is the first F columns of its state.
# ---------------------------------------------------------------------------------------------------------------------
class GatedCell(nn.Module):
    """What LSTM and GRU share: one map of the input and one of the old h, each for all blocks at once.

    w_x: nn.Linear (blocks · F, D)   w_h: nn.Linear (blocks · F, F); both have a bias, as in torch
    A block is F rows, all that belongs to one gate or to the candidate; the order of the blocks is that of nn.LSTM and
    nn.GRU, so weight_ih_l0, bias_ih_l0, weight_hh_l0 and bias_hh_l0 can be copied over as they are.
    """

    blocks: int
    parts = 1  # the state is (B, parts · F)

    def __init__(self, input_width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.w_x = nn.Linear(input_width, self.blocks * hidden)
        self.w_h = nn.Linear(hidden, self.blocks * hidden)
        nn.init.normal_(self.w_x.weight, std=input_width**-0.5)  # inputs of variance 1 make sums of variance 1
        for weight in self.w_h.weight.split(hidden):
            nn.init.orthogonal_(weight)  # as in the vanilla cell
        nn.init.zeros_(self.w_x.bias)
        nn.init.zeros_(self.w_h.bias)


class LSTMCell(GatedCell):
    """Three gates i, f, o, a candidate g, and a second state c.   Hochreiter and Schmidhuber 1997; f: Gers et al. 2000

    i = σ(W_xi x + W_hi h + b_i)    f = σ(W_xf x + W_hf h + b_f)    o = σ(W_xo x + W_ho h + b_o)
    g = tanh(W_xg x + W_hg h + b_g)    c' = f ⊙ c + i ⊙ g    h' = o ⊙ tanh(c')
    Order of the blocks: i, f, g, o. Each b is the sum of the biases of w_x and w_h.
    """

    blocks, parts = 4, 2

    def __init__(self, input_width: int, hidden: int, forget_bias: float = 1.0) -> None:
        super().__init__(input_width, hidden)
        self.set_forget_bias(forget_bias)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """x: (B, D)   state: (B, 2F), h and then c side by side   -> the next state (B, 2F), h' and then c'"""
        # TODO lstm-cell (~5 lines): two maps, one sum, four blocks; c is kept and added to, h shows part of it
        raise NotImplementedError("TODO lstm-cell")
        # END TODO lstm-cell

    @torch.no_grad()
    def set_forget_bias(self, value: float) -> None:
        """Makes b_f = value in every unit, so that f = σ(value) as long as x and h say nothing.

        In place: the parameters stay the objects they were. All other biases keep their values.
        """
        # TODO forget-bias (~2 lines): b_f is a sum of two; mind which block is f's
        raise NotImplementedError("TODO forget-bias")
        # END TODO forget-bias


class GRUCell(GatedCell):
    """Two gates r, z and a candidate n; the reset gate acts AFTER the matrix: the GRU of nn.GRU and cuDNN.

    r = σ(W_xr x + b_xr + W_hr h + b_hr)    z = σ(W_xz x + b_xz + W_hz h + b_hz)
    n = tanh(W_xn x + b_xn + r ⊙ (W_hn h + b_hn))    h' = (1 - z) ⊙ n + z ⊙ h
    Order of the blocks: r, z, n. b_x are the biases of w_x, b_h those of w_h.
    """

    blocks = 3

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x: (B, D)   h: (B, F)   -> h' (B, F)"""
        # TODO gru-reset-after (~5 lines): both maps cut into blocks; the candidate needs its two parts separately
        raise NotImplementedError("TODO gru-reset-after")
        # END TODO gru-reset-after


class ResetBeforeGRUCell(GRUCell):
    """The GRU of the paper (Cho et al. 2014): the reset gate acts on h BEFORE the matrix.

    Weights, r, z and h' as above, but n = tanh(W_xn x + b_xn + W_hn (r ⊙ h) + b_hn)
    """

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x: (B, D)   h: (B, F)   -> h' (B, F)"""
        # TODO gru-reset-before (~6 lines): the candidate's matrix has to wait until r is known
        raise NotImplementedError("TODO gru-reset-before")
        # END TODO gru-reset-before


def lstm_backward(gates: Tensor, c_old: Tensor, c_new: Tensor, grad_h: Tensor, grad_c: Tensor) -> tuple[Tensor, Tensor]:
    """One step of an LSTM backwards, by hand: no autograd.

    gates: (B, 4F), i, f, g, o after σ and tanh   c_old, c_new: (B, F)
    grad_h, grad_c: (B, F), ∂loss/∂h' and ∂loss/∂c'; grad_c is what comes from later steps, not what comes through h'
    -> ∂loss/∂(gates before σ and tanh) (B, 4F) in the same order, ∂loss/∂c (B, F)
    """
    # TODO lstm-backward (~8 lines): c' is reached by two ways; then one product rule per factor, one slope per squashing
    raise NotImplementedError("TODO lstm-backward")
    # END TODO lstm-backward


# ---------------------------------------------------------------------------------------------------------------------
# A network of any of these cells, and sizes that can be compared
# ---------------------------------------------------------------------------------------------------------------------
class GatedRNN(CharRNN):
    """The CharRNN of lab 3.1 with room in its state for all that a cell keeps.

    cell(input width, F) makes the cell of one layer: x (B, input width), state (B, S) -> state (B, S), its h in the
    first F columns. S is F, or 2F for LSTM cells, whose c stands in the rest.
    """

    def __init__(self, vocab_size: int, d_model: int, hidden: int, layers: int = 1, cell: Callable = LSTMCell) -> None:
        super().__init__(vocab_size, d_model, hidden, layers, cell)
        self.state_width = hidden * getattr(self.cells[0], "parts", 1)  # S

    def forward(self, ids: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """ids: (B, T) int64   state: (N, B, S), every layer's state before the first id; None means zeros
        -> logits (B, T, V): at t the scores of the id after ids[:, t];   state (N, B, S) after the last one.
        The state handed in is left as it was.
        """
        x = self.embedding(ids)  # (B, T, D)
        if state is None:
            state = x.new_zeros(len(self.cells), ids.size(0), self.state_width)
        # TODO unroll (~9 lines): all of a state goes on to the next step, only h goes up to the next layer and the head
        raise NotImplementedError("TODO unroll")
        # END TODO unroll


def matched_hidden(budget: int, blocks: int, biases: int, d_model: int, vocab_size: int) -> int:
    """The largest F with which a network of one recurrent layer has at most `budget` parameters.

    Counted are the embedding (V, D); the layer: `blocks` blocks, each with a matrix (F, D), a matrix (F, F) and
    `biases` vectors (F,); the head (V, F) with a bias (V,).
    Raises ValueError when not even F = 1 fits.
    """

    # TODO matched-hidden (~6 lines): count, and go up until the next one would not fit
    raise NotImplementedError("TODO matched-hidden")
    # END TODO matched-hidden


# ---------------------------------------------------------------------------------------------------------------------
# A task that cannot be done without remembering
# ---------------------------------------------------------------------------------------------------------------------
def delayed_copy(symbols: Tensor, lag: int, n_symbols: int, chatter: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Read P symbols and what follows; a bell rings, and they are to be named in order, each `lag` steps after it came.

    symbols: (B, P) int64, below n_symbols   lag >= P. Two more ids: blank = n_symbols, bell = n_symbols + 1
    chatter: (B, lag - P) int64 or None, ids that stand between the symbols and the bell, where None leaves blanks
    -> inputs (B, lag + P) int64: the symbols, then blanks, or chatter up to the bell; the bell at step `lag`;
       targets (B, lag + P) int64: the symbols at the last P steps, IGNORED at all others
    Raises ValueError when lag < P: an answer would be due before the question is over.
    """
    # TODO delayed-copy (~10 lines): two grids of the right length filled with blanks and IGNORED; then assignments
    raise NotImplementedError("TODO delayed-copy")
    # END TODO delayed-copy


# ---------------------------------------------------------------------------------------------------------------------
# The command line (given); trainings and figures are in lstm_gru_*.py
# ---------------------------------------------------------------------------------------------------------------------
def main(argv: list[str] | None = None) -> None:
    import lstm_gru_report

    args = run.arguments(__doc__, PRESETS, argv, data="python-docs", device=True)
    corpus = CharCorpus(run.load_data(args).text[: args.characters])
    lstm_gru_report.show(args, SimpleNamespace(**globals()), corpus)


if __name__ == "__main__":
    run.main(main)
