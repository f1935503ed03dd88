"""What the house models read: TinyWorld as documents, a tokenizer with room for chats, batches of whole documents.

Shapes: B batch, T time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit import run
from labkit.data.tinyworld import TinyWorld
from labkit.reference.bpe_tokenizer import EOT, BPETokenizer
from labkit.reference.mini_transformer import IGNORE
from labkit.reference.nano_gpt import write_shards

SPECIAL_TOKENS = (EOT, "<|im_start|>", "<|im_end|>", "<|pad|>", *(f"<|reserved_{n}|>" for n in range(4)))
VOCABULARY = 2048
STORIES = 200_000  # 45 million tokens, 212,501 documents: enough for 6,640 updates that read no document twice


def documents(stories: int) -> Iterator[str]:
    """Stories; a question and its answer after every fourth; now and then a page of instructions or of arithmetic."""
    world = TinyWorld()
    instructions, problems = world.instructions("train", stories), world.problems("train", stories)
    pairs = zip(world.stories("train", stories), world.questions("train", stories))  # question i is about story i
    for i, (story, question) in enumerate(pairs):
        yield f"{question.prompt} {question.answer}" if i % 4 == 0 else story.text
        if i % 24 == 0:
            yield "\n\n".join(f"{item.prompt}\n{item.response}" for item in islice(instructions, 8))
        if i % 48 == 0:
            yield "\n\n".join(f"{item.question}\n{item.solution}" for item in islice(problems, 4))


def train_tokenizer() -> BPETokenizer:
    """Every frequent word of TinyWorld is one token; texts that no model is trained on are in it too."""
    world = TinyWorld()
    texts = list(documents(6_000))
    texts += [f"{item.system}\n{item.prompt}" for item in world.red_team("train", 1_000)]
    texts += [entry.text for entry in world.world(200).entries]
    return BPETokenizer.train(texts, VOCABULARY, SPECIAL_TOKENS, min_frequency=10)


def prepare(folder: Path, stories: int) -> None:
    """Tokenizer and shards, train and validation, one shard each."""
    tokenizer = train_tokenizer()
    tokenizer.save(folder / "tokenizer")
    how = {"eot": tokenizer.eot_id, "vocab_size": tokenizer.n_vocab, "shard_tokens": 2**31}
    texts = run.progress(documents(stories), "tokenizing", stories)
    train = write_shards(map(tokenizer.encode_ordinary, texts), folder, "train", **how)
    held_out = (story.text for story in TinyWorld().stories("validation"))
    validation = write_shards(map(tokenizer.encode_ordinary, held_out), folder, "validation", **how)
    print(f"{train:,} tokens to train on, {validation:,} for validation, vocabulary {tokenizer.n_vocab:,}")


class WholeDocuments:
    """Batches of whole documents, EOT first and last, beside others of about their length; IGNORE after their ends.

    Random crops cut half of all stories off from the facts that explain them; here every window begins with a document.
    shard: 1-D, documents with EOT after each   pool: so many batches are sorted by length together
    Batch n depends on seed and n alone.
    """

    def __init__(self, shard: np.ndarray, eot: int, batch: int, pool: int = 32, seed: int = 0) -> None:
        self.shard, self.eot, self.batch, self.pool, self.seed = shard, eot, batch, pool, seed
        self.ends = np.flatnonzero(np.asarray(shard) == eot)
        if len(self.ends) <= batch * pool + 1:
            raise ValueError(f"shard: expected more than {batch * pool + 1} documents, got {len(self.ends)}")
        self.drawn = 0

    def __next__(self) -> tuple[Tensor, Tensor]:
        """-> inputs (B, T), targets (B, T); T is the longest document of the batch, rounded up to a multiple of 8"""
        cycle, place = divmod(self.drawn, self.pool)
        self.drawn += 1
        rows = self.batch * self.pool
        first = cycle * rows % (len(self.ends) - 1 - rows)
        ends = self.ends[first : first + rows + 1]
        by_length = np.argsort(np.diff(ends), kind="stable").reshape(self.pool, self.batch)
        chosen = by_length[np.random.default_rng([self.seed, cycle]).permutation(self.pool)[place]]
        width = -(-int(np.diff(ends)[chosen].max()) // 8) * 8
        inputs = np.full((self.batch, width), self.eot, dtype=np.int64)
        targets = np.full((self.batch, width), IGNORE, dtype=np.int64)
        for row, n in enumerate(chosen):
            ids = self.shard[ends[n] : ends[n + 1] + 1]  # from the end of the document before to its own
            inputs[row, : len(ids) - 1], targets[row, : len(ids) - 1] = ids[:-1], ids[1:]
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.drawn = state["drawn"]
