"""A task that needs several lookups at once, the one-layer model that learns it, and its training.

An item is a row of J symbols, one per field: with two fields a letter and a number, "C 7". No symbol occurs twice in a
field of one sequence. A question holds J symbols, "C? 4?", each of another item as a rule, and has J answers: what
stands in the *next* field beside each. So the two jobs are "which number stands beside this letter?" and "which letter
stands beside this number?". Sequences are padded. Nothing here depends on positions.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import run

SYMBOLS, SLOTS, QUESTIONS = 16, 12, 8  # symbols per field, most items per sequence, questions per sequence
WIDTH, BATCH, RATE = 64, 64, 2e-3


class Lookups(NamedTuple):
    """items: (B, S, J)   real: (B, S) bool   asked, answers: (B, T, J)   places: (B, T, J), the item that was meant"""

    items: Tensor
    real: Tensor
    asked: Tensor
    answers: Tensor
    places: Tensor


def lookups(count: int, jobs: int, generator: torch.Generator, device: str) -> Lookups:
    """`count` sequences of 6 to 12 items, and 8 questions about each."""
    items = torch.rand(count, jobs, SYMBOLS, generator=generator).argsort(-1)[..., :SLOTS].mT  # (B, S, J)
    lengths = torch.randint(SLOTS // 2, SLOTS + 1, (count, 1), generator=generator)
    real = torch.arange(SLOTS) < lengths  # (B, S)
    chance = torch.rand(count, QUESTIONS, jobs, SLOTS, generator=generator)
    places = chance.masked_fill(~real[:, None, None], -1.0).argmax(-1)  # (B, T, J)
    asked, answers = items.gather(1, places), items.roll(-1, dims=2).gather(1, places)
    return Lookups(*(x.to(device) for x in (items, real, asked, answers, places)))


class LookupModel(nn.Module):
    """Embeddings, one cross-attention from the questions to the items, and a linear reading of its output.

    There is no way around the attention: the reading sees nothing but what the heads brought back.
    """

    def __init__(self, lab: SimpleNamespace, jobs: int, n_heads: int, n_kv_heads: int) -> None:
        super().__init__()
        self.jobs = jobs
        self.item = nn.ModuleList(nn.Embedding(SYMBOLS, WIDTH) for _ in range(jobs))
        self.question = nn.ModuleList(nn.Embedding(SYMBOLS, WIDTH) for _ in range(jobs))
        self.attention = lab.MultiHeadAttention(WIDTH, n_heads, n_kv_heads, bias=False)
        self.read = nn.Linear(WIDTH, jobs * SYMBOLS)

    def embed(self, data: Lookups) -> tuple[Tensor, Tensor]:
        """-> the questions (B, T, D), the items (B, S, D)"""
        pairs = (self.question, data.asked), (self.item, data.items)
        x, context = (sum(table(ids[..., j]) for j, table in enumerate(tables)) for tables, ids in pairs)
        return x / self.jobs**0.5, context / self.jobs**0.5

    def forward(self, data: Lookups) -> Tensor:
        """-> logits (B, T, J, SYMBOLS)"""
        x, context = self.embed(data)
        return self.read(self.attention(x, context, data.real)).unflatten(-1, (self.jobs, SYMBOLS))

    @torch.no_grad()
    def weights(self, data: Lookups) -> Tensor:
        """Where each head looks: (B, H, T, S)"""
        return self.attention.weights(*self.embed(data), data.real[:, None, None, :])


def train(model: LookupModel, steps: int, seed: int, device: str, words: str) -> list[float]:
    """Adam on batches that never repeat   -> share of right answers in each batch, before the step on it"""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    accuracy = []
    for _ in run.progress(range(steps), words):
        data = lookups(BATCH, model.jobs, generator, device)
        logits = model(data)
        loss = F.cross_entropy(logits.flatten(0, 2), data.answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy.append((logits.argmax(-1) == data.answers).double().mean().item())
    return accuracy


@torch.no_grad()
def score(model: LookupModel, data: Lookups) -> Tensor:
    """Share of right answers for each of the J jobs, on sequences no training batch contained: (J,)"""
    return (model(data).argmax(-1) == data.answers).double().mean((0, 1))
