"""A character language model from a vanilla RNN, its training by truncated BPTT, and the n-gram floor it must beat.

Shapes: B batch, T time, V vocabulary, D embedding width, F hidden width, N layers, L length of a text, G n-grams.
"""

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

PRESETS = {
    "smoke": {"characters": 12_000, "hidden": 48, "layers": 1, "epochs": 1, "batch": 8, "steps": 32, "order": 4},
    "cpu": {"characters": 1_120_000, "hidden": 512, "layers": 1, "epochs": 7, "batch": 32, "steps": 32, "order": 7},
    "full": {"characters": 10**9, "hidden": 1024, "layers": 1, "epochs": 8, "batch": 32, "steps": 32, "order": 8},
}


# ---------------------------------------------------------------------------------------------------------------------
# Text as numbers, and how well a model compresses it
# ---------------------------------------------------------------------------------------------------------------------
class CharCorpus:
    """A text whose tokens are its characters, cut into a part to train on and the held-out end.

    characters: the distinct characters of the whole text, sorted; a character's id is its place in this list.
    """

    def __init__(self, text: str, held_out: float = 0.1) -> None:
        self.characters = sorted(set(text))
        self.vocab_size = len(self.characters)
        self._id_of = {character: i for i, character in enumerate(self.characters)}
        split = round(len(text) * (1 - held_out))
        self.train_text, self.held_out_text = text[:split], text[split:]

    def encode(self, text: str) -> Tensor:
        """-> (L,) int64.   Raises ValueError for a character the corpus does not have."""
        try:
            return torch.tensor([self._id_of[character] for character in text], dtype=torch.int64)
        except KeyError as missing:
            raise ValueError(f"text: expected characters of the corpus, got {missing.args[0]!r}") from None

    def decode(self, ids: Tensor) -> str:
        """ids: (L,) int64  -> str of length L"""
        return "".join(self.characters[i] for i in ids.tolist())


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
    # >>> compression (~2 lines): one total, divided by tokens, by characters and by bytes
    bits = nats / math.log(2)
    return Compression(math.exp(nats / tokens), bits / len(text), bits / len(text.encode()))
    # <<< compression


# ---------------------------------------------------------------------------------------------------------------------
# The network
# ---------------------------------------------------------------------------------------------------------------------
class VanillaRNNCell(nn.Module):
    """One step of a recurrent layer: h' = tanh(W_xh x + W_hh h + b).      Elman 1990

    w_xh: nn.Linear (F, input width) without bias   w_hh: nn.Linear (F, F), holds the bias b
    """

    def __init__(self, input_width: int, hidden: int) -> None:
        super().__init__()
        self.w_xh = nn.Linear(input_width, hidden, bias=False)
        self.w_hh = nn.Linear(hidden, hidden)
        nn.init.orthogonal_(self.w_hh.weight)  # all singular values are 1

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x: (B, input width)   h: (B, F)   -> the next h (B, F)"""
        # >>> rnn-cell (~1 line): both maps, one sum, one squashing
        return torch.tanh(self.w_xh(x) + self.w_hh(h))
        # <<< rnn-cell


class CharRNN(nn.Module):
    """Embedding, N recurrent layers one above the other, and a linear head that scores the next character.

    cell(input width, F) makes the cell of one layer, a module that maps x (B, input width) and h (B, F) to the next h.
    """

    def __init__(self, vocab_size: int, d_model: int, hidden: int, layers: int = 1, cell: Callable = VanillaRNNCell):
        super().__init__()
        self.hidden = hidden
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.cells = nn.ModuleList(cell(d_model if n == 0 else hidden, hidden) for n in range(layers))
        self.head = nn.Linear(hidden, vocab_size)

    def forward(self, ids: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """ids: (B, T) int64   state: (N, B, F), every layer's h before the first character; None means zeros
        -> logits (B, T, V): at t the scores of the character after ids[:, t];   state (N, B, F) after the last one.
        The state handed in is left as it was.
        """
        x = self.embedding(ids)  # (B, T, D)
        if state is None:
            state = x.new_zeros(len(self.cells), ids.size(0), self.hidden)
        # >>> unroll (~8 lines): step after step, each layer reads the new h of the layer below; the head reads the top
        h, top = list(state), []
        for t in range(ids.size(1)):
            below = x[:, t]  # (B, D)
            for n, cell in enumerate(self.cells):
                h[n] = below = cell(below, h[n])  # (B, F)
            top.append(below)
        return self.head(torch.stack(top, dim=1)), torch.stack(h)
        # <<< unroll


# ---------------------------------------------------------------------------------------------------------------------
# Backpropagation through time
# ---------------------------------------------------------------------------------------------------------------------
def bptt(x: Tensor, h: Tensor, w_xh: Tensor, w_hh: Tensor, grad_h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradient of a loss through T steps of h[t+1] = tanh(W_xh x[t] + W_hh h[t] + b), by hand: no autograd.

    x: (T, D)   h: (T+1, F), h[0] the initial state   w_xh: (F, D)   w_hh: (F, F)
    grad_h: (T, F); grad_h[t] is what the loss gets from h[t+1] directly, at its own step, not through later states
    -> ∂loss/∂W_xh (F, D), ∂loss/∂W_hh (F, F), ∂loss/∂b (F,), ∂loss/∂h[0] (F,)
    """
    grad_w_xh, grad_w_hh = torch.zeros_like(w_xh), torch.zeros_like(w_hh)
    grad_b, through_time = torch.zeros_like(h[0]), torch.zeros_like(h[0])
    # >>> bptt (~7 lines): from the last step to the first; a state is answerable for its own loss and for what follows
    for t in reversed(range(len(x))):
        grad_sum = (grad_h[t] + through_time) * (1 - h[t + 1] ** 2)  # (F,) before the tanh
        grad_w_xh += torch.outer(grad_sum, x[t])
        grad_w_hh += torch.outer(grad_sum, h[t])
        grad_b += grad_sum
        through_time = w_hh.T @ grad_sum  # (F,) reaches h[t]
    return grad_w_xh, grad_w_hh, grad_b, through_time
    # <<< bptt


def streams(ids: Tensor, batch: int) -> Tensor:
    """A text in `batch` rows of equal length, each going on where the row above ends; a remainder is left out.

    ids: (L,)  -> (batch, (L - 1) // batch + 1): the last id of a row is the first of the next, so none goes unpredicted
    """
    width = (len(ids) - 1) // batch
    if width < 1:
        raise ValueError(f"ids: expected more than {batch} for {batch} rows, got {len(ids)}")
    return ids.unfold(0, width + 1, width)[:batch]


def chunks(rows: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """inputs and targets, both (B, up to `steps`), from left to right; targets are the ids one place further on."""
    for start in range(0, rows.size(1) - 1, steps):
        piece = rows[:, start : start + steps + 1]
        yield piece[:, :-1], piece[:, 1:]


def truncated_bptt(
    model: nn.Module, rows: Tensor, steps: int, optimizer: torch.optim.Optimizer, max_norm: float
) -> Iterator[float]:
    """One pass over the rows, an optimizer step per chunk. The state lives on from chunk to chunk, the graph does not.

    model: (ids, state) -> (logits, state), state None at the start   rows: (B, L) as `streams` makes them
    max_norm: if the gradient of all parameters, seen as one vector, is longer, it is scaled to this length
    Yields the mean cross-entropy of each chunk, a float, once the step on it is taken.      Werbos 1990; Pascanu 2013
    """
    # >>> truncated-bptt (~9 lines): for each of chunks(rows, steps): loss, gradient, clip, step, cut the graph
    state = None
    for inputs, targets in chunks(rows, steps):
        logits, state = model(inputs, state)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        state = state.detach()
        yield loss.item()
    # <<< truncated-bptt


@torch.no_grad()
def token_nats(model: nn.Module, rows: Tensor) -> Tensor:
    """-ln p of every id but the first of each row, given the ids before it in that row.   rows: (B, L) -> (B, L-1)"""
    state, found = None, []
    for inputs, targets in chunks(rows, 256):
        logits, state = model(inputs, state)
        found.append(F.cross_entropy(logits.mT, targets, reduction="none"))
    return torch.cat(found, dim=1)


# ---------------------------------------------------------------------------------------------------------------------
# Sampling
# ---------------------------------------------------------------------------------------------------------------------
def next_token_distribution(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0
) -> Tensor:
    """The probabilities to draw the next token from: temperature first, then top-k, then top-p.

    logits: (B, V)  -> (B, V), rows sum to 1
    temperature: divides the logits; 0 puts all weight on the largest   top_k: keep the k most probable
    top_p: of what is left, keep the smallest set of most probable tokens whose weight reaches top_p; 1 keeps all
    What is kept shares the weight in its old proportions.      Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p)
    """
    if temperature < 0 or (top_k is not None and top_k < 1) or not 0 < top_p <= 1:
        wanted = "expected temperature >= 0, top_k >= 1 or None, 0 < top_p <= 1"
        raise ValueError(f"{wanted}, got temperature={temperature}, top_k={top_k}, top_p={top_p}")
    # >>> next-token-distribution (~12 lines): greedy, or scale, cut by rank, cut by weight, share out the rest
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.size(-1)).to(logits.dtype)
    logits = logits / temperature
    if top_k is not None and top_k < logits.size(-1):
        least = logits.topk(top_k).values[:, -1:]  # (B, 1)
        logits = logits.masked_fill(logits < least, -math.inf)
    probabilities = logits.softmax(-1)
    if top_p < 1:
        ordered, place = probabilities.sort(descending=True)
        cut = ordered.cumsum(-1) - ordered >= top_p  # those before it already reach top_p
        probabilities = probabilities.masked_fill(cut.scatter(-1, place, cut), 0.0)
        probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    return probabilities
    # <<< next-token-distribution


def sample(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One id per row, drawn from `next_token_distribution`.   logits: (B, V) -> (B,) int64"""
    probabilities = next_token_distribution(logits, temperature, top_k, top_p)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]


@torch.no_grad()
def generate(model: nn.Module, prompt: Tensor, length: int, choose: Callable[[Tensor], Tensor] = sample) -> Tensor:
    """The prompt and `length` further tokens. The model reads every token once: the state remembers the rest.

    model: (ids, state) -> (logits, state)   prompt: (B, P) int64, P >= 1   choose: logits (B, V) -> ids (B,)
    -> (B, P + length) int64
    """
    if prompt.size(1) < 1:
        raise ValueError(f"prompt: expected at least one token per row, got shape {tuple(prompt.shape)}")
    # >>> generate (~7 lines): read the prompt, then choose, keep and feed back one token at a time
    tokens = [prompt]
    state = None
    for _ in range(length):
        logits, state = model(tokens[-1], state)
        tokens.append(choose(logits[:, -1])[:, None])
    return torch.cat(tokens, dim=1)
    # <<< generate


# ---------------------------------------------------------------------------------------------------------------------
# The floor: n-gram models. An n-gram is a row of n ids: a context of n-1 and the token that follows it.
# ---------------------------------------------------------------------------------------------------------------------
class Counts(NamedTuple):
    """rows: (U, n) int64, distinct n-grams in lexicographic order   counts: (U,) int64, all at least 1"""

    rows: np.ndarray
    counts: np.ndarray


def ngrams(ids: np.ndarray, n: int) -> np.ndarray:
    """Every n-gram of a text, in order.   ids: (L,) int64 -> (L - n + 1, n).   ValueError unless 1 <= n <= L"""
    if not 1 <= n <= len(ids):
        raise ValueError(f"n: expected 1 to {len(ids)} for a text of {len(ids)} ids, got {n}")
    return np.lib.stride_tricks.sliding_window_view(ids, n)


def pack(rows: np.ndarray, base: int) -> np.ndarray:
    """Each row as one number in the given base, which sorts and compares much faster.   (U, n) -> (U,) int64"""
    if base ** rows.shape[1] >= 2**63:
        raise ValueError(f"n-grams of {rows.shape[1]} ids below {base} do not fit into 63 bits: take a smaller n")
    return rows @ base ** np.arange(rows.shape[1])[::-1]


def count_rows(rows: np.ndarray) -> Counts:
    """The distinct rows, and how often each occurs.   rows: (G, n) int64"""
    _, first, counts = np.unique(pack(rows, int(rows.max()) + 1), return_index=True, return_counts=True)
    return Counts(rows[first], counts)


def lookup(table: Counts, grams: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each row of grams (G, n), three answers (G,) int64, 0 for what the table does not have:

    count: of this n-gram   total: the sum over all n-grams with its context   kinds: how many n-grams have its context
    """
    base = 1 + int(max(table.rows.max(), grams.max()))
    contexts, start = np.unique(pack(table.rows[:, :-1], base), return_index=True)
    totals, kinds = np.add.reduceat(table.counts, start), np.diff(start, append=len(table.counts))

    def find(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        return np.where(keys[place] == wanted, values[place], 0)

    context = pack(grams[:, :-1], base)
    count = find(pack(table.rows, base), table.counts, pack(grams, base))
    return count, find(contexts, totals, context), find(contexts, kinds, context)


def add_k(train: np.ndarray, grams: np.ndarray, vocab_size: int, k: float = 1.0) -> np.ndarray:
    """P(w | h) = (c(hw) + k) / (c(h·) + k V): as if every n-gram had been seen k times more.

    train: (L,) int64   grams: (G, n) int64   -> (G,) float64, the probability of each row's last token after the others
    """
    count, total, _ = lookup(count_rows(ngrams(train, grams.shape[1])), grams)
    return (count + k) / (total + k * vocab_size)


def continuation_counts(table: Counts) -> Counts:
    """N₁₊(·g): how many different tokens were seen in front of each g, however often.

    table: counts of n-grams, n >= 2  -> Counts of the (n-1)-grams that stand at the end of one
    """
    # >>> continuation-counts (~1 line): the first token of each n-gram goes; what is left is counted by kind
    return count_rows(table.rows[:, 1:])
    # <<< continuation-counts


def kneser_ney(train: np.ndarray, grams: np.ndarray, vocab_size: int, discount: float = 0.75) -> np.ndarray:
    """Interpolated Kneser-Ney of order n = grams.shape[1].      Kneser and Ney 1995; Chen and Goodman 1999

    P_m(w|h) = ( max(c_m(hw) - d, 0) + d · kinds_m(h) · P_{m-1}(w|h') ) / Σ_w c_m(hw)     for m = 1 ... n
    h: the last m-1 tokens, h' the last m-2   kinds_m(h): how many w have c_m(hw) > 0   P_0 = 1/V
    c_n: how often the n-gram occurs in train; below n: c_m(g) = N₁₊(·g), its continuation count in train
    P_m = P_{m-1} where nothing was seen after h.
    train: (L,) int64, L >= n   grams: (G, n) int64   0 < discount <= 1
    -> (G,) float64, the probability of each row's last token after the others
    """
    if not 0 < discount <= 1:
        raise ValueError(f"discount: expected more than 0 and at most 1, got {discount}")
    n = grams.shape[1]
    probability = np.full(len(grams), 1 / vocab_size)
    # >>> kneser-ney (~6 lines): from the shortest context to the longest, each order falls back on the one before
    for m in range(1, n + 1):
        table = count_rows(ngrams(train, n)) if m == n else continuation_counts(count_rows(ngrams(train, m + 1)))
        count, total, kinds = lookup(table, grams[:, n - m :])
        backed_off = np.maximum(count - discount, 0) + discount * kinds * probability
        probability = np.where(total > 0, backed_off / np.maximum(total, 1), probability)
    return probability
    # <<< kneser-ney


# ---------------------------------------------------------------------------------------------------------------------
# The command line (given); the experiments and figures are in char_rnn_report.py
# ---------------------------------------------------------------------------------------------------------------------
def main(argv: list[str] | None = None) -> None:
    import char_rnn_report

    args = run.arguments(__doc__, PRESETS, argv, data="python-docs", device=True)
    corpus = CharCorpus(run.load_data(args).text[: args.characters])
    char_rnn_report.show(args, SimpleNamespace(**globals()), corpus)


if __name__ == "__main__":
    run.main(main)
