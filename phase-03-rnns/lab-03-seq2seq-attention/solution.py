"""Sequence to sequence: a GRU encoder and decoder, with nothing but one vector between them, or with attention.

Shapes: B batch, S source time, T target time, V target vocabulary, D embedding width, F hidden width, W live hypotheses
of a beam. The encoder reads in both directions, so one of its states has 2F entries.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from labkit import run

PRESETS = {
    "smoke": {"seeds": 1, "date_steps": 4, "reversal_steps": 4, "hidden": 16, "batch": 8, "test": 5, "workers": 1},
    "cpu": {"seeds": 3, "date_steps": 700, "reversal_steps": 700, "hidden": 64, "batch": 32, "test": 100, "workers": 2},
    "full": {
        "seeds": 5,
        "date_steps": 4_000,
        "reversal_steps": 10_000,
        "hidden": 256,
        "batch": 128,
        "test": 500,
        "workers": 1,
    },
}

PAD, BOS, EOS = 0, 1, 2  # fills up short rows; starts every target; ends every target


# ---------------------------------------------------------------------------------------------------------------------
# Sequences of different length in one batch
# ---------------------------------------------------------------------------------------------------------------------
def pad(sequences: list[Tensor]) -> tuple[Tensor, Tensor]:
    """A batch, and which of its places are real.

    sequences: B tensors (L_b,) int64 on one device, L_b >= 1, none of which contains PAD
    -> ids (B, S) int64, S the largest L_b, PAD on the right of shorter ones;   mask (B, S) bool, True = a real symbol
    Raises ValueError naming sequences if there are none, or if one is empty.
    """
    # >>> pad (~4 lines): check, fill up on the right, remember what is real
    if not sequences or min(len(s) for s in sequences) < 1:
        raise ValueError(f"sequences: expected at least one, none empty, got lengths {[len(s) for s in sequences]}")
    ids = pad_sequence(sequences, batch_first=True, padding_value=PAD)
    return ids, ids != PAD
    # <<< pad


def sequence_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The mean of -ln p(symbol) over all real symbols of the batch, EOS included: PAD is nothing to be learned.

    logits: (B, T, V)   target: (B, T) int64, padded with PAD   -> scalar
    Every real symbol counts the same, whether its row is long or short. Finite for logits of any size.
    """
    # >>> sequence-loss (~1 line): cross-entropy that does not see PAD
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)
    # <<< sequence-loss


# ---------------------------------------------------------------------------------------------------------------------
# Attention
# ---------------------------------------------------------------------------------------------------------------------
class Attention(nn.Module):
    """How well does each encoder state h_s answer to the decoder's state q?

    kind "additive":        e_s = v · tanh(W_q q + W_k h_s)      Bahdanau, Cho, Bengio 2015
    kind "multiplicative":  e_s = q · W_k h_s                    Luong, Pham, Manning 2015, "general"
    w_k: nn.Linear (F, memory width), no bias. Additive only: w_q: nn.Linear (F, F), has the bias; v: Parameter (F,)
    W_k h_s does not depend on q, so the keys w_k(h) are made once per source, not once per step.
    """

    def __init__(self, kind: str, memory_width: int, hidden: int) -> None:
        super().__init__()
        if kind not in ("additive", "multiplicative"):
            raise ValueError(f"kind: expected 'additive' or 'multiplicative', got {kind!r}")
        self.kind = kind
        self.w_k = nn.Linear(memory_width, hidden, bias=False)
        if kind == "additive":
            self.w_q = nn.Linear(hidden, hidden)
            self.v = nn.Parameter(torch.empty(hidden).uniform_(-1, 1) / hidden**0.5)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """query: (B, F)   keys: (B, S, F), already w_k(h)   -> e (B, S), one number for every place of the source"""
        # >>> scores (~3 lines): one formula for each kind; a query meets every key of its own row
        if self.kind == "additive":
            return torch.tanh(self.w_q(query)[:, None] + keys) @ self.v  # (B, S, F) @ (F,)
        return (keys @ query[:, :, None]).squeeze(-1)  # (B, S, F) @ (B, F, 1)
        # <<< scores


def attend(scores: Tensor, mask: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Weights α = softmax of the scores over the real places of each row, and the weighted mean Σ_s α_s value_s.

    scores: (B, S)   mask: (B, S) bool, True = real, at least one per row   values: (B, S, C)
    -> context (B, C), weights (B, S), exactly 0 at padding. Exact for scores of any size.
    """
    # >>> attend (~3 lines): hide the padding, normalise over the source, average
    weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
    return (weights[:, None] @ values).squeeze(1), weights  # (B, 1, S) @ (B, S, C)
    # <<< attend


# ---------------------------------------------------------------------------------------------------------------------
# The model
# ---------------------------------------------------------------------------------------------------------------------
class Memory(NamedTuple):
    """What the decoder may know about the source."""

    states: Tensor  # (B, S, 2F) every state of the encoder
    mask: Tensor  # (B, S) bool, True = real
    summary: Tensor  # (B, 2F) the last state of each direction: the one vector of a model without attention
    keys: Tensor | None  # (B, S, F) the states as attention compares them; None without attention


class Seq2Seq(nn.Module):
    """attention None: the decoder gets the summary at every step, and only that      Cho et al. 2014

    "bahdanau": additive attention; look with the old state, then move to the new one
    "luong": multiplicative attention; move first, then look with the new state
    """

    def __init__(self, source_size: int, target_size: int, d_model: int, hidden: int, attention: str | None) -> None:
        super().__init__()
        kinds = {None: None, "bahdanau": "additive", "luong": "multiplicative"}
        if attention not in kinds:
            raise ValueError(f"attention: expected None, 'bahdanau' or 'luong', got {attention!r}")
        self.moves_first = attention == "luong"
        self.attention = Attention(kinds[attention], 2 * hidden, hidden) if attention else None
        self.source_embedding = nn.Embedding(source_size, d_model)
        self.encoder = nn.GRU(d_model, hidden, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(2 * hidden, hidden)  # from the summary to the decoder's first state
        self.target_embedding = nn.Embedding(target_size, d_model)
        self.cell = nn.GRUCell(d_model if self.moves_first else d_model + 2 * hidden, hidden)
        self.combine = nn.Linear(3 * hidden, hidden)
        self.head = nn.Linear(hidden, target_size)

    def read(self, source: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the encoder over every source as if it were alone: padding changes nothing, in neither direction.

        source: (B, S) int64   mask: (B, S) bool, True = real; real symbols stand on the left
        -> states (B, S, 2F): at s the forward state after symbols 0 .. s, then the backward state after the symbols
           from the last real one down to s; zeros at padding.
           summary (B, 2F): the forward state after the last real symbol, then the backward state after symbol 0.
        """
        # >>> read (~6 lines): embed, pack, run the GRU, unpack to S places, put the two last states side by side
        lengths = mask.sum(1).cpu()  # packing wants them there
        embedded = self.source_embedding(source)  # (B, S, D)
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        outputs, last = self.encoder(packed)  # last: (2, B, F)
        states, _ = pad_packed_sequence(outputs, batch_first=True, total_length=source.size(1))
        return states, torch.cat([last[0], last[1]], dim=-1)
        # <<< read

    def encode(self, source: Tensor, mask: Tensor) -> tuple[Memory, Tensor]:
        """source: (B, S) int64   mask: (B, S) bool   -> memory, and the decoder's first state (B, F)"""
        states, summary = self.read(source, mask)
        keys = self.attention.w_k(states) if self.attention else None
        return Memory(states, mask, summary, keys), torch.tanh(self.bridge(summary))

    def look(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """query: (B, F)   -> context (B, 2F), weights (B, S); without attention always the summary, and weights 0"""
        if self.attention is None:
            return memory.summary, torch.zeros_like(memory.states[:, :, 0])
        return attend(self.attention.scores(query, memory.keys), memory.mask, memory.states)

    def step(self, token: Tensor, state: Tensor, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        """One step of the decoder: from the previous symbol and state to scores for the next symbol.

        With y the embedded token, q the state handed in, q' the new one, and c what `look` finds:
        moves_first False:  c from look(q),          q' = cell([y, c], q)
        moves_first True:   q' = cell(y, q),         c from look(q')
        both:               logits = head(tanh(combine([q', c])))
        token: (B,) int64   state: (B, F)   -> logits (B, V), new state (B, F), weights (B, S)
        """
        # >>> step (~8 lines): look and move in the model's order, then read the next symbol off state and context
        y = self.target_embedding(token)  # (B, D)
        if self.moves_first:
            state = self.cell(y, state)
            context, weights = self.look(state, memory)
        else:
            context, weights = self.look(state, memory)
            state = self.cell(torch.cat([y, context], dim=-1), state)
        logits = self.head(torch.tanh(self.combine(torch.cat([state, context], dim=-1))))
        return logits, state, weights
        # <<< step

    def forward(self, source: Tensor, mask: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher forcing: whatever the model would have said, the next step reads what it should have said.

        source: (B, S) int64   mask: (B, S) bool   target: (B, T) int64, each row ends with EOS, then PAD
        -> logits (B, T, V): at t the scores for target[:, t], given BOS and target[:, :t];   weights (B, T, S)
        """
        # >>> teacher-forcing (~7 lines): encode once, then T steps, each fed with the true symbol before
        memory, state = self.encode(source, mask)
        start = torch.full_like(target[:, :1], BOS)
        logits, weights = [], []
        for token in torch.cat([start, target[:, :-1]], dim=1).unbind(1):
            scores, state, looked = self.step(token, state, memory)
            logits.append(scores)
            weights.append(looked)
        return torch.stack(logits, dim=1), torch.stack(weights, dim=1)
        # <<< teacher-forcing

    def stepper(self, memory: Memory) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """`step` as the searches below want it. A memory of one source (B = 1) serves any number of hypotheses."""

        def step(token: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            rows = [x if x is None else x.expand(len(token), *x.shape[1:]) for x in memory]
            return self.step(token, state, Memory(*rows))[:2]

        return step


# ---------------------------------------------------------------------------------------------------------------------
# Search. step(token (B,) int64, state (B, F)) -> logits (B, V), state (B, F); rows do not depend on each other.
# ---------------------------------------------------------------------------------------------------------------------
@torch.no_grad()
def greedy(step: Callable, state: Tensor, max_length: int) -> Tensor:
    """From BOS on, always the symbol with the largest logit, which is then fed back; until EOS.

    state: (B, F); every step takes all B rows, ended or not   max_length >= 1
    -> (B, L) int64: each row up to and with its first EOS, then PAD. It stops as soon as all rows have ended, so L is
       the length of the longest; a row that does not end has max_length symbols and no EOS.
    """
    # >>> greedy (~9 lines): choose, keep, feed back; a row that has ended writes only PAD
    token = torch.full((len(state),), BOS, device=state.device)
    ended, tokens = torch.zeros_like(token, dtype=torch.bool), []
    while len(tokens) < max_length and not ended.all():
        logits, state = step(token, state)
        token = logits.argmax(-1).masked_fill(ended, PAD)
        tokens.append(token)
        ended = ended | (token == EOS)
    return torch.stack(tokens, dim=1)
    # <<< greedy


class Hypothesis(NamedTuple):
    """tokens: without BOS, EOS at the end unless it was cut off   log_p: Σ ln p   score: log_p / len(tokens)^α"""

    tokens: list[int]
    log_p: float
    score: float


@torch.no_grad()
def beam_search(step: Callable, state: Tensor, width: int, max_length: int, alpha: float = 1.0) -> list[Hypothesis]:
    """Keeps several beginnings alive instead of one, and compares finished ones by score = log_p / length^α.

    Every round extends all live hypotheses by every symbol; of all these extensions together the `width` with the
    largest log_p survive, as many in every round, however many have finished before. Of those, what ends with EOS is
    finished, as is everything once it has max_length tokens (length counts EOS); the rest lives on. It ends when
    nothing is alive.
    state: (1, F), of one source   width >= 1   max_length >= 1   alpha >= 0; 0 compares log_p itself
    -> of all that finished in any round the `width` best, best score first; fewer if fewer have finished
    """
    if width < 1 or max_length < 1 or alpha < 0:
        wanted = "expected width >= 1, max_length >= 1, alpha >= 0"
        raise ValueError(f"{wanted}, got width={width}, max_length={max_length}, alpha={alpha}")
    # >>> beam-search (~15 lines): extend, keep the best `width`, put aside what has ended, go on with the rest
    live, finished = [[]], []
    token, log_p = torch.full((1,), BOS, device=state.device), state.new_zeros(1)
    for length in range(1, max_length + 1):
        logits, state = step(token, state)
        extended = log_p[:, None] + logits.log_softmax(-1)  # (W, V)
        log_p, place = extended.flatten().topk(min(width, extended.numel()))
        row, token = place // logits.size(-1), place % logits.size(-1)
        live, state = [[*live[r], t] for r, t in zip(row.tolist(), token.tolist())], state[row]
        ended = (token == EOS) | (length == max_length)
        for i in ended.nonzero().flatten().tolist():
            finished.append(Hypothesis(live[i], log_p[i].item(), log_p[i].item() / length**alpha))
        live = [tokens for tokens, over in zip(live, ended.tolist()) if not over]
        token, state, log_p = token[~ended], state[~ended], log_p[~ended]
        if not live:
            break
    return sorted(finished, key=lambda hypothesis: hypothesis.score, reverse=True)[:width]
    # <<< beam-search


# ---------------------------------------------------------------------------------------------------------------------
# The command line (given); the tasks are in seq2seq_tasks.py, the experiments and figures in seq2seq_report.py
# ---------------------------------------------------------------------------------------------------------------------
def main(argv: list[str] | None = None) -> None:
    import seq2seq_report

    args = run.arguments(__doc__, PRESETS, argv, device=True)
    seq2seq_report.show(args, SimpleNamespace(**globals()))


if __name__ == "__main__":
    run.main(main)
