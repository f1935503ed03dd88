# Generated from lab 5.2 by `make skeletons`.
from __future__ import annotations
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
import numpy as np
import torch
from torch import Tensor, nn
from labkit import run
from labkit.reference.mini_transformer import MiniGPT
from labkit.reference.training_loop import Trainer, load_checkpoint, save_checkpoint, summed_nats

class Logits(nn.Module):
    """A `MiniGPT` as the trainer of 5.3 wants it: inputs (B, T) -> logits (B, T, V), and nothing else."""

    def __init__(self, gpt: MiniGPT) -> None:
        ...

    def forward(self, inputs: Tensor) -> Tensor:
        ...

def optimizer_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimizer: matrices and tables decay, vectors (norms, biases) do not.

    Decay pulls towards 0. A norm's neutral gain is 1, and a bias costs no capacity worth a penalty.
    -> [{"params": those with two dimensions or more, "weight_decay": weight_decay},
        {"params": the others, "weight_decay": 0.0}], each parameter that is trained once, in the order of the model;
        always these two, even if one has no parameters
    """
    ...

def pack(documents: Iterable[Sequence[int]], eot: int, vocab_size: int) -> np.ndarray:
    """All documents in one row, each followed by `eot`, in the narrowest unsigned type that holds every id.

    documents: the ids of each, a list or an array; may be a generator, is read once, may be empty
    -> (L,) uint16 if vocab_size <= 65,536, else uint32
    Raises ValueError naming documents for an id outside 0 ... vocab_size - 1: a narrow type would wrap it silently.
    """
    ...

def write_shards(documents: Iterable[Sequence[int]], folder: Path, split: str, *, eot: int, vocab_size: int, shard_tokens: int) -> int:
    """Writes split_000.bin, split_001.bin ... of about shard_tokens ids each; no document is cut.   -> ids in all

    Memory holds one shard at a time. What an earlier run wrote for this split is replaced.
    """
    ...

def open_shards(folder: Path, split: str) -> list[np.ndarray]:
    """The shards as memory maps: the operating system reads the pages that are looked at, and no others."""
    ...

class RandomCrops:
    """Batches of windows cut at random places, across the borders of documents. There are no epochs.

    shards: 1-D integer arrays or memory maps   Batch n depends on seed and n alone, so n is all the state there is.
    """

    def __init__(self, shards: Sequence[np.ndarray], batch: int, length: int, seed: int=0, device: str='cpu') -> None:
        ...

    def __next__(self) -> tuple[Tensor, Tensor]:
        """-> inputs (B, length), targets (B, length), int64 on self.device; targets are the inputs one place later.

        Every window of length + 1 consecutive ids of one shard is equally likely; windows may overlap.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        ...

def fixed_windows(ids: np.ndarray, count: int, length: int) -> Tensor:
    """`count` windows of ids to measure a loss on: the same at every call, spread over the whole text, disjoint.

    Where the text is cut into windows one after another, window n begins at n · length; the last id of one is the first
    of the next, so that each id but the very first is predicted at most once. Of the W windows that fit, those with the
    numbers floor(k · W / count), k = 0 ... count - 1.
    ids: (L,) of any integer type -> (count, length + 1) int64.   Raises ValueError naming count when W < count.
    """
    ...

@torch.no_grad()
def estimate_loss(model: nn.Module, windows: Tensor, batch: int, dtype: torch.dtype | None=None) -> float:
    """The mean nats per predicted token over all windows: an exact mean, whatever the size of the last batch.

    model: inputs (B, T) -> logits (B, T, V), called with `batch` windows at a time, the last time with what is left,
        under torch.autocast(device type of the windows, dtype) unless dtype is None. It is in eval mode meanwhile, and
        afterwards in the mode it was in
    windows: (count, T + 1) int64, the last T of which are predicted
    """
    ...

def keep(folder: Path, state: dict[str, Any], loss: float, best: float) -> float:
    """Saves a checkpoint after an evaluation.   -> the lowest loss so far, this one included

    loss: of this state on held-out text   best: the lowest one before it, inf at first
    last.ckpt always gets this state; best.ckpt only if loss < best. A loss that is NaN is lower than nothing.
    What is saved is state | {"loss": loss, "best": lowest loss so far}, by `save_checkpoint`.
    If a crash comes between the two writes, the resumed run must still end up with the right best.ckpt: last.ckpt says
    which loss is the best one, so it may not claim a best that has not been written yet.
    """
    ...

def train(trainer: Trainer, updates: int, windows: Tensor, folder: Path, *, every: int, batch: int) -> Iterator[dict[str, Any]]:
    """Goes on to `updates` updates, from folder/last.ckpt where there is one; evaluates before the first update, after
    every `every` updates and at the end, and keeps a checkpoint each time.

    -> one record per update: step (updates done), loss, lr, norm, accepted; and after an evaluation also "held_out".
    The record of an evaluation before any update (step 0) has only step and held_out.
    """
    ...

@torch.no_grad()
def write(gpt: MiniGPT, prompt: Sequence[int], count: int, n_new: int, eot: int, temperature: float=1.0, generator: torch.Generator | None=None) -> list[list[int]]:
    """`count` continuations of one prompt, each until `eot` or for n_new tokens; all of them in one batch.

    -> lists of ids, without prompt and without eot, each of at most n_new ids. An eot in the prompt ends nothing.
    temperature: divides the logits; 0 takes the likeliest token   generator: for torch.multinomial, which draws the
        next token of all rows at once, (count, V) probabilities -> (count, 1), also for rows that have ended
    gpt(tokens)[0] are the logits; it reads the last block_size tokens at most. As soon as all rows have ended, no
    further token is computed. In eval mode, and afterwards in the mode it was in.
    """
    ...

def fit_power_law(sizes: Sequence[float], losses: Sequence[float], floor: float) -> tuple[float, float]:
    """loss(N) = floor + A · N^-α, fitted by least squares in ln(loss - floor) against ln N.   -> A, α

    floor: what no model goes below: of generated text the generator's own entropy, in the unit of the losses
    Raises ValueError naming losses when one is not above the floor, and naming sizes when they are fewer than two
    different ones.      Kaplan et al. 2020, section 1.2; the floor: Henighan et al. 2020
    """
    ...

def main(argv: list[str] | None=None) -> None:
    ...
