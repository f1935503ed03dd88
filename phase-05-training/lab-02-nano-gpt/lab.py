# labkit: lab 5.2, skeleton f38f12ea3e94. Fill the TODOs; then: labkit check 5.2
"""A language model from raw text: shards of token ids, random crops, training with honest validation, samples.

python solution.py --prepare              tokenizer and shards
python solution.py --train                train on them; again after a crash: goes on where it was
python solution.py --sample               stories at several temperatures
python solution.py                        all three, then figures: five minutes

Shapes: B batch, T time, V vocabulary, D model width, N layers.
"""

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

# ---------------------------------------------------------------- the model and its optimizer


class Logits(nn.Module):
    """A `MiniGPT` as the trainer of 5.3 wants it: inputs (B, T) -> logits (B, T, V), and nothing else."""

    def __init__(self, gpt: MiniGPT) -> None:
        super().__init__()
        self.gpt = gpt

    def forward(self, inputs: Tensor) -> Tensor:
        return self.gpt(inputs)[0]


def optimizer_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimizer: matrices and tables decay, vectors (norms, biases) do not.

    Decay pulls towards 0. A norm's neutral gain is 1, and a bias costs no capacity worth a penalty.
    -> [{"params": those with two dimensions or more, "weight_decay": weight_decay},
        {"params": the others, "weight_decay": 0.0}], each parameter that is trained once, in the order of the model;
        always these two, even if one has no parameters
    """
    # TODO optimizer-groups (~4 lines): by dimensions, not by names
    raise NotImplementedError("TODO optimizer-groups")
    # END TODO optimizer-groups


# ---------------------------------------------------------------- prepare: text becomes shards of token ids


def pack(documents: Iterable[Sequence[int]], eot: int, vocab_size: int) -> np.ndarray:
    """All documents in one row, each followed by `eot`, in the narrowest unsigned type that holds every id.

    documents: the ids of each, a list or an array; may be a generator, is read once, may be empty
    -> (L,) uint16 if vocab_size <= 65,536, else uint32
    Raises ValueError naming documents for an id outside 0 ... vocab_size - 1: a narrow type would wrap it silently.
    """
    # TODO pack (~7 lines): one long list, checked while the numbers are still wide, then narrowed
    raise NotImplementedError("TODO pack")
    # END TODO pack


def write_shards(
    documents: Iterable[Sequence[int]], folder: Path, split: str, *, eot: int, vocab_size: int, shard_tokens: int
) -> int:
    """Writes split_000.bin, split_001.bin ... of about shard_tokens ids each; no document is cut.   -> ids in all

    Memory holds one shard at a time. What an earlier run wrote for this split is replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{split}_*.bin"):
        old.unlink()
    total, shard, waiting, size = 0, 0, [], 0

    def flush() -> int:
        packed = pack(waiting, eot, vocab_size)
        packed.tofile(folder / f"{split}_{shard:03}.bin")
        return len(packed)

    for ids in documents:
        waiting.append(ids)
        size += len(ids) + 1
        if size >= shard_tokens:
            total += flush()
            shard, waiting, size = shard + 1, [], 0
    if waiting:
        total += flush()
    (folder / "shards.json").write_text(json.dumps({"eot": eot, "vocab_size": vocab_size}), encoding="utf-8")
    return total


def open_shards(folder: Path, split: str) -> list[np.ndarray]:
    """The shards as memory maps: the operating system reads the pages that are looked at, and no others."""
    vocab_size = json.loads((folder / "shards.json").read_text(encoding="utf-8"))["vocab_size"]
    dtype = np.uint16 if vocab_size <= 2**16 else np.uint32
    return [np.memmap(path, dtype=dtype, mode="r") for path in sorted(folder.glob(f"{split}_*.bin"))]


# ---------------------------------------------------------------- batches


class RandomCrops:
    """Batches of windows cut at random places, across the borders of documents. There are no epochs.

    shards: 1-D integer arrays or memory maps   Batch n depends on seed and n alone, so n is all the state there is.
    """

    def __init__(
        self, shards: Sequence[np.ndarray], batch: int, length: int, seed: int = 0, device: str = "cpu"
    ) -> None:
        self.places = np.array([max(0, len(shard) - length) for shard in shards])  # where a crop may begin, per shard
        if self.places.sum() == 0:
            raise ValueError(f"shards: expected one of at least length + 1 = {length + 1} ids")
        self.shards, self.batch, self.length, self.device = shards, batch, length, device
        self.seed, self.drawn = seed, 0

    def __next__(self) -> tuple[Tensor, Tensor]:
        """-> inputs (B, length), targets (B, length), int64 on self.device; targets are the inputs one place later.

        Every window of length + 1 consecutive ids of one shard is equally likely; windows may overlap.
        """
        rng = np.random.default_rng([self.seed, self.drawn])
        self.drawn += 1
        # TODO random-crops (~7 lines): draw places, find each one's shard, cut length + 1 ids, widen, shift
        raise NotImplementedError("TODO random-crops")
        # END TODO random-crops

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.drawn = state["drawn"]


def fixed_windows(ids: np.ndarray, count: int, length: int) -> Tensor:
    """`count` windows of ids to measure a loss on: the same at every call, spread over the whole text, disjoint.

    Where the text is cut into windows one after another, window n begins at n · length; the last id of one is the first
    of the next, so that each id but the very first is predicted at most once. Of the W windows that fit, those with the
    numbers floor(k · W / count), k = 0 ... count - 1.
    ids: (L,) of any integer type -> (count, length + 1) int64.   Raises ValueError naming count when W < count.
    """
    # TODO fixed-windows (~6 lines): how many fit, which numbers, where they begin; no chance is involved
    raise NotImplementedError("TODO fixed-windows")
    # END TODO fixed-windows


@torch.no_grad()
def estimate_loss(model: nn.Module, windows: Tensor, batch: int, dtype: torch.dtype | None = None) -> float:
    """The mean nats per predicted token over all windows: an exact mean, whatever the size of the last batch.

    model: inputs (B, T) -> logits (B, T, V), called with `batch` windows at a time, the last time with what is left,
        under torch.autocast(device type of the windows, dtype) unless dtype is None. It is in eval mode meanwhile, and
        afterwards in the mode it was in
    windows: (count, T + 1) int64, the last T of which are predicted
    """
    # TODO estimate-loss (~9 lines): eval mode; add up nats (`summed_nats`), not means; divide once; the old mode
    raise NotImplementedError("TODO estimate-loss")
    # END TODO estimate-loss


# ---------------------------------------------------------------- the run


def keep(folder: Path, state: dict[str, Any], loss: float, best: float) -> float:
    """Saves a checkpoint after an evaluation.   -> the lowest loss so far, this one included

    loss: of this state on held-out text   best: the lowest one before it, inf at first
    last.ckpt always gets this state; best.ckpt only if loss < best. A loss that is NaN is lower than nothing.
    What is saved is state | {"loss": loss, "best": lowest loss so far}, by `save_checkpoint`.
    If a crash comes between the two writes, the resumed run must still end up with the right best.ckpt: last.ckpt says
    which loss is the best one, so it may not claim a best that has not been written yet.
    """
    # TODO keep (~6 lines): the better of two losses, then one file or two, in an order that a crash cannot spoil
    raise NotImplementedError("TODO keep")
    # END TODO keep


def train(
    trainer: Trainer, updates: int, windows: Tensor, folder: Path, *, every: int, batch: int
) -> Iterator[dict[str, Any]]:
    """Goes on to `updates` updates, from folder/last.ckpt where there is one; evaluates before the first update, after
    every `every` updates and at the end, and keeps a checkpoint each time.

    -> one record per update: step (updates done), loss, lr, norm, accepted; and after an evaluation also "held_out".
    The record of an evaluation before any update (step 0) has only step and held_out.
    """
    best = math.inf
    if (folder / "last.ckpt").exists():
        state = load_checkpoint(folder / "last.ckpt")
        trainer.load_state_dict(state)
        best = state["best"]
    else:
        yield {"step": 0, "held_out": estimate_loss(trainer.model, windows, batch, trainer.dtype)}
    while trainer.step < updates:
        record = vars(trainer.update()) | {"step": trainer.step}
        if trainer.step % every == 0 or trainer.step == updates:
            record["held_out"] = estimate_loss(trainer.model, windows, batch, trainer.dtype)
            best = keep(folder, trainer.state_dict(), record["held_out"], best)
        yield record


# ---------------------------------------------------------------- writing


@torch.no_grad()
def write(
    gpt: MiniGPT,
    prompt: Sequence[int],
    count: int,
    n_new: int,
    eot: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """`count` continuations of one prompt, each until `eot` or for n_new tokens; all of them in one batch.

    -> lists of ids, without prompt and without eot, each of at most n_new ids. An eot in the prompt ends nothing.
    temperature: divides the logits; 0 takes the likeliest token   generator: for torch.multinomial, which draws the
        next token of all rows at once, (count, V) probabilities -> (count, 1), also for rows that have ended
    gpt(tokens)[0] are the logits; it reads the last block_size tokens at most. As soon as all rows have ended, no
    further token is computed. In eval mode, and afterwards in the mode it was in.
    """
    if not prompt:
        raise ValueError("prompt: expected at least one id; the id of <|endoftext|> begins a new document")
    # TODO write (~14 lines): rows that have ended wait for the others; cut every row at its first eot
    raise NotImplementedError("TODO write")
    # END TODO write


# ---------------------------------------------------------------- scaling


def fit_power_law(sizes: Sequence[float], losses: Sequence[float], floor: float) -> tuple[float, float]:
    """loss(N) = floor + A · N^-α, fitted by least squares in ln(loss - floor) against ln N.   -> A, α

    floor: what no model goes below: of generated text the generator's own entropy, in the unit of the losses
    Raises ValueError naming losses when one is not above the floor, and naming sizes when they are fewer than two
    different ones.      Kaplan et al. 2020, section 1.2; the floor: Henighan et al. 2020
    """
    if min(losses) <= floor:
        raise ValueError(f"losses: expected all above the floor {floor:.4f}, got {min(losses):.4f}")
    if len(set(sizes)) < 2:
        raise ValueError(f"sizes: expected at least two different ones, got {list(sizes)}")
    # TODO fit-power-law (~3 lines): a straight line through logarithms
    raise NotImplementedError("TODO fit-power-law")
    # END TODO fit-power-law


# ---------------------------------------------------------------- the command line (given)


def main(argv: list[str] | None = None) -> None:
    from labkit.reference.nano_gpt import nano_gpt_report  # the file beside this one

    presets, flags = nano_gpt_report.PRESETS, nano_gpt_report.add_flags
    args = run.arguments(__doc__, presets, argv, data="tinyworld", device=True, extra=flags)
    nano_gpt_report.show(args, SimpleNamespace(**globals()))


if __name__ == "__main__":
    run.main(main)
