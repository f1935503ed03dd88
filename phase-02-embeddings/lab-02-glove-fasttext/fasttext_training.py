"""FastText's training: lab 2.1's skip-gram with another input table. Only this file of the lab's own needs torch."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from labkit.reference import word2vec_from_scratch as word2vec


class SubwordInputs(nn.Module):
    """In place of nn.Embedding: the vector of a word is the mean of its rows."""

    def __init__(self, rows: list[np.ndarray], size: int, dim: int, seed: int) -> None:
        """rows: the table rows of each of V words   size: rows of the table, to which one of padding is added."""
        super().__init__()
        self.padding = size
        padded = np.full((len(rows), max(map(len, rows))), size)
        for i, some in enumerate(rows):
            padded[i, : len(some)] = some
        self.rows = torch.from_numpy(padded)  # (V, S)
        start = torch.empty(size + 1, dim).uniform_(-1 / dim, 1 / dim, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter(start)

    def forward(self, words: Tensor) -> Tensor:
        """(B,) -> (B, D). Backwards every row gets the whole gradient, not its share of the mean, as in fastText."""
        rows = self.rows[words]  # (B, S)
        vectors = nn.functional.embedding_bag(rows, self.weight, mode="mean", sparse=True, padding_idx=self.padding)
        if vectors.requires_grad:
            vectors.register_hook(lambda gradient: gradient * (rows != self.padding).sum(1, keepdim=True))
        return vectors


def train(
    lab: ModuleType,
    ids: np.ndarray,
    sentence: np.ndarray,
    vocabulary: word2vec.Vocabulary,
    settings: word2vec.Settings,
    buckets: int,
    seed: int,
):
    """Skip-gram with negative sampling over n-grams.   -> models untrained and trained, mean losses of batches"""
    rows = [lab.subword_rows(word, vocabulary.ids, buckets) for word in vocabulary.words]
    model = word2vec.Word2Vec(len(rows), settings.dim, seed)
    model.inputs = SubwordInputs(rows, len(rows) + buckets, settings.dim, seed)
    untrained = model.inputs.weight.detach()[:-1].clone()
    curve = []
    batches = word2vec.training_batches(ids, sentence, vocabulary.counts, settings, np.random.default_rng(seed))
    for progress, *arrays in batches:
        losses = model.skip_gram_losses(*map(torch.from_numpy, arrays))
        losses.sum().backward()
        with torch.no_grad():
            for table in model.parameters():
                table.add_(table.grad, alpha=-settings.lr * max(1e-4, 1 - progress))
                table.grad = None
        curve.append(losses.mean().item())
    tables = (untrained, model.inputs.weight.detach()[:-1])
    return *(lab.SubwordModel(vocabulary.ids, table.numpy()) for table in tables), curve
