# labkit: lab 2.1, skeleton 77c8d02984d1. Fill the TODOs; then: labkit check 2.1
"""Word2vec from scratch: skip-gram with negative sampling in NumPy, by hand, then in batched PyTorch; and CBOW.

python solution.py
python solution.py --data text8-prefix --epochs 10
Shapes: N tokens, W window, P pairs, B batch, K negatives per pair, D width of a word vector, V vocabulary.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from labkit import run

PRESETS = {
    "smoke": {"tokens": 8_000, "epochs": 2, "dim": 32, "batch": 256, "min_count": 5, "t": 1e-3, "variants": True},
    "cpu": {"tokens": 10**9, "epochs": 5, "dim": 64, "batch": 512, "min_count": 5, "t": 1e-3, "variants": True},
    "full": {"tokens": 10**9, "epochs": 5, "dim": 100, "batch": 512, "min_count": 5, "t": 1e-3, "variants": False},
}
CHUNK = 50_000  # tokens whose windows are laid out at a time: bounds the memory, whatever the length of the corpus


# ---------------------------------------------------------------- text to ids
@dataclass(frozen=True)
class Vocabulary:
    """words[i] is the word with id i, counts[i] how often it occurs: (V,) int64."""

    words: list[str]
    counts: np.ndarray

    @cached_property
    def ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}


def build_vocabulary(sentences: Iterable[Sequence[str]], min_count: int = 5) -> Vocabulary:
    """Every word that occurs min_count times or more: the most frequent first, equally frequent ones alphabetically.

    Raises ValueError when min_count < 1, naming it, and when no word is frequent enough.
    """
    # TODO vocabulary (~6 lines): count, drop the rare, order
    raise NotImplementedError("TODO vocabulary")
    # END TODO vocabulary


def encode(sentences: Iterable[Sequence[str]], vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """The corpus as two parallel arrays: the id of every known word, and the number of the sentence it stands in.

    -> ids (N,), sentence (N,), both int64. Unknown words are dropped, so that their neighbours move together.
    """
    known = vocabulary.ids
    rows = [[known[word] for word in sentence if word in known] for sentence in sentences]
    ids = np.fromiter((i for row in rows for i in row), dtype=np.int64)
    return ids, np.repeat(np.arange(len(rows)), [len(row) for row in rows])


# ---------------------------------------------------------------- what is drawn: every draw comes in, from [0, 1)
def keep_probability(counts: np.ndarray, t: float, formula: str = "c") -> np.ndarray:
    """How likely one occurrence of each word is to stay in the text. With f the word's share of all counted tokens:

    "paper": an occurrence is DISCARDED with probability 1 - √(t/f)    Mikolov, Sutskever et al. 2013, eq. 5
    "c":     an occurrence is KEPT with probability √(t/f) + t/f       word2vec.c, and gensim after it
    counts: (V,) int64  -> (V,) float64, never above 1.
    Raises ValueError naming the argument for another formula, and for t <= 0.
    """
    # TODO keep-probability (~5 lines): shares, one of the two formulas, cut off at 1
    raise NotImplementedError("TODO keep-probability")
    # END TODO keep-probability


def draw_negatives(counts: np.ndarray, draws: np.ndarray, power: float = 0.75) -> np.ndarray:
    """Noise words, P(w) = counts[w]^power / Σ_v counts[v]^power, one for each draw.

    The words share the interval [0, 1) in the order of their ids, each with a slice as wide as its probability; a draw
    means the word whose slice it falls into. The left end of a slice belongs to it, the right end does not.
    counts: (V,) int64   draws: any shape, in [0, 1)  -> ids of that shape, int64, below V for every draw
    """
    # TODO draw-negatives (~3 lines): where the slices end, and into which one each draw falls
    raise NotImplementedError("TODO draw-negatives")
    # END TODO draw-negatives


def context_table(ids: np.ndarray, sentence: np.ndarray, window: int, draws: np.ndarray | None = None) -> np.ndarray:
    """Row i: the ids of the words around token i, at the offsets -W, ..., -1, 1, ..., W; -1 where there is none.

    There is none beyond the ends of the text, in another sentence, and farther away than token i looks: without draws
    that is W, with draws it is one of 1, ..., W, each for an equal part of [0, 1), the smallest draws for 1.
    ids, sentence: (N,) int64, sentence ascending   draws: (N,)  -> (N, 2W) int64.   No Python loop over the tokens.
    """
    # TODO context-table (~9 lines): positions by broadcasting, a mask of those that count, their ids
    raise NotImplementedError("TODO context-table")
    # END TODO context-table


def skip_gram_pairs(ids: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every (center, context) in a context table, row by row.   -> two (P,) int64 arrays"""
    row, column = np.nonzero(table >= 0)
    return ids[row], table[row, column]


# ---------------------------------------------------------------- what vectors are asked
def nearest(
    vectors: np.ndarray, query: np.ndarray, k: int = 10, exclude: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The k words with the largest cosine to the query, best first; of equal cosines the lower id comes first.

    vectors: (V, D)   query: (D,), of any length   exclude: ids that may not be answers
    -> ids (k,) int64, cosines (k,); fewer when fewer words are left. A vector of zeros has cosine 0 with everything.
    Raises ValueError naming k when k < 1.
    """
    # TODO nearest (~6 lines): cosines, the excluded ones out, a stable order
    raise NotImplementedError("TODO nearest")
    # END TODO nearest


def analogy(vectors: np.ndarray, a: int, b: int, c: int, k: int = 1) -> np.ndarray:
    """a is to b as c is to ...? By 3CosAdd: nearest to b - a + c of unit vectors, the three words themselves excluded.

    -> ids of the k best answers    Mikolov, Yih, Zweig 2013
    """
    unit = {i: vectors[i] / np.linalg.norm(vectors[i]) for i in (a, b, c)}
    return nearest(vectors, unit[b] - unit[a] + unit[c], k, exclude=[a, b, c])[0]


# ---------------------------------------------------------------- skip-gram with negative sampling, by hand
def sgns_gradients(
    inputs: np.ndarray, outputs: np.ndarray, center: np.ndarray, context: np.ndarray, negatives: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """loss_b = -ln σ(u_context · v_center) - Σ_k ln σ(-u_negative_k · v_center), and the slopes of Σ_b loss_b.

    inputs, outputs: (V, D) float64, rows v and u   center, context: (B,) int64   negatives: (B, K) int64
    -> losses (B,), ∂/∂inputs (V, D), ∂/∂outputs (V, D); no autograd, and no change to the tables.
    A word may stand in the batch many times, in any role. Scores of ±1000 give finite numbers.
    Mikolov, Sutskever et al. 2013, eq. 4
    """
    # TODO sgns-gradients (~11 lines): scores, losses, the slope of each loss in its score, and the rows it flows back to
    raise NotImplementedError("TODO sgns-gradients")
    # END TODO sgns-gradients


# ---------------------------------------------------------------- the same in PyTorch
class Word2Vec(nn.Module):
    """Two tables of word vectors: `inputs.weight` for words that predict, `outputs.weight` for the predicted."""

    def __init__(self, vocabulary_size: int, dim: int, seed: int = 0) -> None:
        """inputs uniform within ±1/(2D), outputs zero, as in word2vec.c: every score starts at 0."""
        super().__init__()
        start = torch.empty(vocabulary_size, dim)
        start.uniform_(-0.5 / dim, 0.5 / dim, generator=torch.Generator().manual_seed(seed))
        # sparse: backward then keeps the gradients of the rows in the batch, and nothing for the rest of the table
        self.inputs = nn.Embedding(vocabulary_size, dim, sparse=True, _weight=start)
        self.outputs = nn.Embedding(vocabulary_size, dim, sparse=True, _weight=torch.zeros(vocabulary_size, dim))

    def skip_gram_losses(self, center: Tensor, context: Tensor, negatives: Tensor) -> Tensor:
        """The loss of `sgns_gradients`, for autograd.   center, context: (B,)   negatives: (B, K)   -> (B,)"""
        # TODO skip-gram (~4 lines): one positive and K negative scores per pair, and their stable log-sigmoids
        raise NotImplementedError("TODO skip-gram")
        # END TODO skip-gram

    def cbow_losses(self, center: Tensor, table: Tensor, negatives: Tensor) -> Tensor:
        """The other way round: h, the mean of the context words' input vectors, predicts the center.

        loss_b = -ln σ(u_center · h_b) - Σ_k ln σ(-u_negative_k · h_b)
        center: (B,)   table: (B, 2W), rows of a context table: -1 is no word, every row has one   negatives: (B, K)
        -> (B,)
        """
        # TODO cbow (~7 lines): a mean over the words that are there, then as in skip-gram
        raise NotImplementedError("TODO cbow")
        # END TODO cbow


@dataclass(frozen=True)
class Settings:
    """The hyper-parameters; bench.py has gensim's names for them."""

    dim: int = 64
    window: int = 5
    negatives: int = 5
    power: float = 0.75
    t: float = 1e-3  # 0: no subsampling
    formula: str = "c"
    epochs: int = 5
    lr: float = 0.025
    batch: int = 512
    cbow: bool = False


def training_batches(
    ids: np.ndarray, sentence: np.ndarray, counts: np.ndarray, s: Settings, rng: np.random.Generator
) -> Iterator[tuple[float, np.ndarray, np.ndarray, np.ndarray]]:
    """(progress 0 to 1, center (B,), context (B,) or for CBOW (B, 2W), negatives (B, K)), drawn anew each epoch."""
    keep = keep_probability(counts, s.t, s.formula) if s.t else np.ones(len(counts))
    for epoch in run.progress(range(s.epochs), "epochs"):
        kept = rng.random(len(ids)) < keep[ids]
        words, where = ids[kept], sentence[kept]  # dropped before the windows are laid: neighbours move together
        for first in range(0, len(words), CHUNK):
            chunk = words[first : first + CHUNK]
            table = context_table(chunk, where[first : first + CHUNK], s.window, rng.random(len(chunk)))
            some = (table >= 0).any(1)
            center, context = (chunk[some], table[some]) if s.cbow else skip_gram_pairs(chunk, table)
            negatives = draw_negatives(counts, rng.random((len(center), s.negatives)), s.power)
            order = rng.permutation(len(center))
            for i in range(0, len(order), s.batch):
                rows = order[i : i + s.batch]
                done = (first + len(chunk) * i / len(order)) / len(words)
                yield (epoch + done) / s.epochs, center[rows], context[rows], negatives[rows]


def train(
    ids: np.ndarray, sentence: np.ndarray, counts: np.ndarray, settings: Settings, seed: int = 0, device: str = "cpu"
) -> tuple[Word2Vec, list[float]]:
    """Plain stochastic gradient descent, the learning rate falling in a straight line, as in word2vec.c.

    -> the model, and the mean loss per pair of every batch.   Raises ValueError when no two words are in one window.
    """
    model = Word2Vec(len(counts), settings.dim, seed).to(device)
    losses_of = model.cbow_losses if settings.cbow else model.skip_gram_losses
    curve = []
    for progress, *arrays in training_batches(ids, sentence, counts, settings, np.random.default_rng(seed)):
        losses = losses_of(*(torch.from_numpy(array).to(device) for array in arrays))  # (B,)
        losses.sum().backward()  # the sum: the learning rate of word2vec is that of one pair
        with torch.no_grad():
            for table in model.parameters():
                table.add_(table.grad, alpha=-settings.lr * max(1e-4, 1 - progress))
                table.grad = None
        curve.append(losses.mean().item())
    if not curve:
        raise ValueError(f"ids: expected words with a neighbour in their sentence, found none among {len(ids)}")
    return model, curve


# ---------------------------------------------------------------- the command line (given)
def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vectors", type=Path, metavar="FILE", help="default vectors.bin in --out")


def main(argv: list[str] | None = None) -> None:
    import word2vec_io
    import word2vec_study

    args = run.arguments(__doc__, PRESETS, argv, data="python-docs", device=True, extra=add_flags)
    corpus = run.load_data(args)
    sentences = word2vec_io.read_sentences((document.text for document in corpus.documents), args.tokens)
    settings = Settings(dim=args.dim, epochs=args.epochs, batch=args.batch, t=args.t)
    # the study runs on the functions of this very file, yours in lab.py
    word2vec_study.study(sys.modules[__name__], sentences, settings, args)


if __name__ == "__main__":
    run.main(main)
