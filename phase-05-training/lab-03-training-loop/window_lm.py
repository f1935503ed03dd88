"""A text whose entropy is known, batches of it that know where they stand, and a small language model.

Shapes: B batch, T time, D model width, F hidden width, V vocabulary, C characters that predict the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MarkovSource:
    """Random text in which every letter depends on the two before it, and on nothing else.

    table: (V, V, V), table[a, b, c] = P(c | a b), drawn once from `seed`; few letters are likely after any two.
    """

    def __init__(self, vocab_size: int = 24, concentration: float = 0.08, seed: int = 0) -> None:
        self.vocab_size = vocab_size
        rng = np.random.default_rng(seed)
        favourites = rng.dirichlet(np.full(vocab_size, 0.5))  # some letters are rare everywhere
        self.table = rng.dirichlet(vocab_size * concentration * favourites + 1e-3, size=(vocab_size, vocab_size))

    def write(self, length: int, seed: int) -> np.ndarray:
        """-> (length,) int64"""
        cumulative = self.table.cumsum(-1)
        draws = np.random.default_rng(seed).random(length).tolist()
        a = b = 0
        letters = []
        for u in draws:
            a, b = b, min(int(cumulative[a, b].searchsorted(u)), self.vocab_size - 1)
            letters.append(b)
        return np.array(letters)

    def nats(self, letters: np.ndarray) -> float:
        """The mean of -ln P of every letter but the first two: what a model that knows the table would score."""
        return float(-np.log(self.table[letters[:-2], letters[1:-1], letters[2:]]).mean())


class TokenBatches:
    """Inputs and targets (B, length) from a text cut into windows: every window once per epoch, each time in new order.

    ids: (L,) int64, on the device where the batches are wanted. The last batch of an epoch may have fewer rows.
    """

    def __init__(self, ids: Tensor, batch: int, length: int, seed: int = 0) -> None:
        if len(ids) <= length:
            raise ValueError(f"ids: expected more than length = {length}, got {len(ids)}")
        self.windows = ids.unfold(0, length + 1, length)  # (windows, length + 1)
        self.batch, self.seed, self.epoch, self.place = batch, seed, 0, 0

    def __next__(self) -> tuple[Tensor, Tensor]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.windows))
        rows = self.windows[torch.from_numpy(order[self.place : self.place + self.batch]).to(self.windows.device)]
        self.place += self.batch
        if self.place >= len(self.windows):
            self.epoch, self.place = self.epoch + 1, 0
        return rows[:, :-1], rows[:, 1:]

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "place": self.place}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.place = state["epoch"], state["place"]


class Block(nn.Module):
    """x + down(dropout(gelu(up(norm(x)))))   x: (..., D)"""

    def __init__(self, d_model: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(d_model), nn.Dropout(dropout)
        self.up, self.down = nn.Linear(d_model, hidden), nn.Linear(hidden, d_model)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.dropout(F.gelu(self.up(self.norm(x)))))


class WindowLM(nn.Module):
    """Predicts the next letter from the last C: their embeddings side by side, then blocks, then a linear head.

    run: how a block is called, (block, x) -> block(x); `recompute` fits here.      after Bengio et al. 2003
    """

    def __init__(
        self,
        vocab_size: int,
        context: int = 3,
        d_model: int = 64,
        hidden: int = 128,
        layers: int = 2,
        dropout: float = 0.0,
        run: Callable[[nn.Module, Tensor], Tensor] = lambda block, x: block(x),
    ) -> None:
        super().__init__()
        self.context, self.run = context, run
        self.embedding = nn.Embedding(vocab_size, 16)
        self.mix = nn.Linear(16 * context, d_model)
        self.blocks = nn.ModuleList(Block(d_model, hidden, dropout) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(d_model), nn.Linear(d_model, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (B, T) int64  -> logits (B, T, V): at t the scores of the letter after ids[:, t]"""
        x = F.pad(self.embedding(ids), (0, 0, self.context - 1, 0))  # (B, C-1+T, 16), zeros in front
        x = self.mix(x.unfold(1, self.context, 1).flatten(2))  # (B, T, 16 C) -> (B, T, D)
        for block in self.blocks:
            x = self.run(block, x)
        return self.head(self.norm(x))
