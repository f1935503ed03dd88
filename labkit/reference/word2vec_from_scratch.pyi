# Generated from lab 2.1 by `make skeletons`.
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
PRESETS = {'smoke': {'tokens': 8000, 'epochs': 2, 'dim': 32, 'batch': 256, 'min_count': 5, 't': 0.001, 'variants': True}, 'cpu': {'tokens': 10 ** 9, 'epochs': 5, 'dim': 64, 'batch': 512, 'min_count': 5, 't': 0.001, 'variants': True}, 'full': {'tokens': 10 ** 9, 'epochs': 5, 'dim': 100, 'batch': 512, 'min_count': 5, 't': 0.001, 'variants': False}}
CHUNK = 50000

@dataclass(frozen=True)
class Vocabulary:
    """words[i] is the word with id i, counts[i] how often it occurs: (V,) int64."""
    words: list[str]
    counts: np.ndarray

    @cached_property
    def ids(self) -> dict[str, int]:
        ...

def build_vocabulary(sentences: Iterable[Sequence[str]], min_count: int=5) -> Vocabulary:
    """Every word that occurs min_count times or more: the most frequent first, equally frequent ones alphabetically.

    Raises ValueError when min_count < 1, naming it, and when no word is frequent enough.
    """
    ...

def encode(sentences: Iterable[Sequence[str]], vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """The corpus as two parallel arrays: the id of every known word, and the number of the sentence it stands in.

    -> ids (N,), sentence (N,), both int64. Unknown words are dropped, so that their neighbours move together.
    """
    ...

def keep_probability(counts: np.ndarray, t: float, formula: str='c') -> np.ndarray:
    """How likely one occurrence of each word is to stay in the text. With f the word's share of all counted tokens:

    "paper": an occurrence is DISCARDED with probability 1 - √(t/f)    Mikolov, Sutskever et al. 2013, eq. 5
    "c":     an occurrence is KEPT with probability √(t/f) + t/f       word2vec.c, and gensim after it
    counts: (V,) int64  -> (V,) float64, never above 1.
    Raises ValueError naming the argument for another formula, and for t <= 0.
    """
    ...

def draw_negatives(counts: np.ndarray, draws: np.ndarray, power: float=0.75) -> np.ndarray:
    """Noise words, P(w) = counts[w]^power / Σ_v counts[v]^power, one for each draw.

    The words share the interval [0, 1) in the order of their ids, each with a slice as wide as its probability; a draw
    means the word whose slice it falls into. The left end of a slice belongs to it, the right end does not.
    counts: (V,) int64   draws: any shape, in [0, 1)  -> ids of that shape, int64, below V for every draw
    """
    ...

def context_table(ids: np.ndarray, sentence: np.ndarray, window: int, draws: np.ndarray | None=None) -> np.ndarray:
    """Row i: the ids of the words around token i, at the offsets -W, ..., -1, 1, ..., W; -1 where there is none.

    There is none beyond the ends of the text, in another sentence, and farther away than token i looks: without draws
    that is W, with draws it is one of 1, ..., W, each for an equal part of [0, 1), the smallest draws for 1.
    ids, sentence: (N,) int64, sentence ascending   draws: (N,)  -> (N, 2W) int64.   No Python loop over the tokens.
    """
    ...

def skip_gram_pairs(ids: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every (center, context) in a context table, row by row.   -> two (P,) int64 arrays"""
    ...

def nearest(vectors: np.ndarray, query: np.ndarray, k: int=10, exclude: Sequence[int]=()) -> tuple[np.ndarray, np.ndarray]:
    """The k words with the largest cosine to the query, best first; of equal cosines the lower id comes first.

    vectors: (V, D)   query: (D,), of any length   exclude: ids that may not be answers
    -> ids (k,) int64, cosines (k,); fewer when fewer words are left. A vector of zeros has cosine 0 with everything.
    Raises ValueError naming k when k < 1.
    """
    ...

def analogy(vectors: np.ndarray, a: int, b: int, c: int, k: int=1) -> np.ndarray:
    """a is to b as c is to ...? By 3CosAdd: nearest to b - a + c of unit vectors, the three words themselves excluded.

    -> ids of the k best answers    Mikolov, Yih, Zweig 2013
    """
    ...

def sgns_gradients(inputs: np.ndarray, outputs: np.ndarray, center: np.ndarray, context: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """loss_b = -ln σ(u_context · v_center) - Σ_k ln σ(-u_negative_k · v_center), and the slopes of Σ_b loss_b.

    inputs, outputs: (V, D) float64, rows v and u   center, context: (B,) int64   negatives: (B, K) int64
    -> losses (B,), ∂/∂inputs (V, D), ∂/∂outputs (V, D); no autograd, and no change to the tables.
    A word may stand in the batch many times, in any role. Scores of ±1000 give finite numbers.
    Mikolov, Sutskever et al. 2013, eq. 4
    """
    ...

class Word2Vec(nn.Module):
    """Two tables of word vectors: `inputs.weight` for words that predict, `outputs.weight` for the predicted."""

    def __init__(self, vocabulary_size: int, dim: int, seed: int=0) -> None:
        """inputs uniform within ±1/(2D), outputs zero, as in word2vec.c: every score starts at 0."""
        ...

    def skip_gram_losses(self, center: Tensor, context: Tensor, negatives: Tensor) -> Tensor:
        """The loss of `sgns_gradients`, for autograd.   center, context: (B,)   negatives: (B, K)   -> (B,)"""
        ...

    def cbow_losses(self, center: Tensor, table: Tensor, negatives: Tensor) -> Tensor:
        """The other way round: h, the mean of the context words' input vectors, predicts the center.

        loss_b = -ln σ(u_center · h_b) - Σ_k ln σ(-u_negative_k · h_b)
        center: (B,)   table: (B, 2W), rows of a context table: -1 is no word, every row has one   negatives: (B, K)
        -> (B,)
        """
        ...

@dataclass(frozen=True)
class Settings:
    """The hyper-parameters; bench.py has gensim's names for them."""
    dim: int = 64
    window: int = 5
    negatives: int = 5
    power: float = 0.75
    t: float = 0.001
    formula: str = 'c'
    epochs: int = 5
    lr: float = 0.025
    batch: int = 512
    cbow: bool = False

def training_batches(ids: np.ndarray, sentence: np.ndarray, counts: np.ndarray, s: Settings, rng: np.random.Generator) -> Iterator[tuple[float, np.ndarray, np.ndarray, np.ndarray]]:
    """(progress 0 to 1, center (B,), context (B,) or for CBOW (B, 2W), negatives (B, K)), drawn anew each epoch."""
    ...

def train(ids: np.ndarray, sentence: np.ndarray, counts: np.ndarray, settings: Settings, seed: int=0, device: str='cpu') -> tuple[Word2Vec, list[float]]:
    """Plain stochastic gradient descent, the learning rate falling in a straight line, as in word2vec.c.

    -> the model, and the mean loss per pair of every batch.   Raises ValueError when no two words are in one window.
    """
    ...

def add_flags(parser: argparse.ArgumentParser) -> None:
    ...

def main(argv: list[str] | None=None) -> None:
    ...
