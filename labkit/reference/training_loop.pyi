# Generated from lab 5.3 by `make skeletons`.
from __future__ import annotations
import contextlib
import hashlib
import io
import math
import os
import random
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from labkit import run
PRESETS = {'smoke': {'tokens': 20000, 'updates': 10, 'kills': 4, 'repeats': 1}, 'cpu': {'tokens': 400000, 'updates': 1000, 'kills': 20, 'repeats': 10}, 'full': {'tokens': 4000000, 'updates': 20000, 'kills': 200, 'repeats': 50}}
IGNORE = -100

def learning_rate(step: int, *, peak: float, warmup: int, total: int, floor: float=0.0, decay: int | None=None) -> float:
    """The learning rate of update `step` = 0, 1, ...: a linear warm-up, then a way down from `peak` to `floor`.

    warm-up, step < warmup: peak · (step + 1) / warmup, so no update is wasted on a rate of 0
    decay None (cosine): floor + (peak - floor) · (1 + cos πx) / 2, x = (step - warmup) / (total - warmup)
    decay D (warm-up, stable, decay): peak until the last D updates of `total`, then a straight line to the floor,
        peak at step = total - D and floor at step = total; D may be 0: no line, the plateau ends at `total`
    From step = total on: floor.      Raises ValueError unless warmup + (decay or 0) <= total.
    """
    ...

@torch.no_grad()
def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """If all gradients, seen as one vector, are longer than max_norm, scales them to that length, in place.

    g ← g · min(1, max_norm / (‖g‖ + 1e-6)), with one norm ‖g‖ over all parameters
    Parameters without a gradient are left out.   -> ‖g‖ before clipping, a scalar tensor; 0 without any gradient
    Pascanu et al. 2013
    """
    ...

def summed_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of all scored targets, added up, in float32 at least.

    logits: (..., V)   targets: (...) int64, IGNORE where nothing is to be predicted   -> scalar, nats
    """
    ...

def accumulate(model: nn.Module, micro_batches: Sequence[tuple[Tensor, Tensor]], dtype: torch.dtype | None=None, scale: float=1.0) -> float:
    """Adds to every .grad what one big batch of all the micro-batches together would give, one piece at a time.

    loss = (nats of all scored targets) / (number of scored targets), over all micro-batches: every token counts alike
    micro_batches: pairs of inputs (B, T) and targets (B, T); B, T and the share of IGNORE may differ between them
    model: inputs -> logits (B, T, V), called once per micro-batch, whose graph is gone before the next call
    dtype: the forward pass and the loss run under torch.autocast(device type of the inputs, dtype); None: as they are
    scale: the gradients, and only they, are those of scale · loss
    -> the loss, a float.      Raises ValueError when no target is scored.
    """
    ...

class UpdateRule(torch.optim.Optimizer):
    """An optimizer whose subclass says how one parameter moves; groups and state_dict are those of torch.optim."""

    @torch.no_grad()
    def step(self) -> None:
        ...

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], options: dict[str, Any]) -> None:
        """Moves p, in place. grad stays as it is; state starts empty and is p's own; options are those of its group."""
        ...

class Lion(UpdateRule):
    """θ ← θ - η ( sign(β₁ m + (1 - β₁) g) + λ θ ),   then m ← β₂ m + (1 - β₂) g.      Chen et al. 2023, algorithm 2"""

    def __init__(self, params, lr: float=0.0001, betas=(0.9, 0.99), weight_decay: float=0.0):
        ...

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], options: dict[str, Any]) -> None:
        ...

class AdamW(UpdateRule):
    """θ ← θ - η ( m̂ / (√v̂ + ε) + λ θ )      Loshchilov & Hutter 2019

    m ← β₁ m + (1 - β₁) g    v ← β₂ v + (1 - β₂) g²    m̂ = m / (1 - β₁ᵗ)    v̂ = v / (1 - β₂ᵗ)    t = 1, 2, ... updates
    The state of a parameter: "step" (t, an int), "m" and "v" (tensors like it).
    """

    def __init__(self, params, lr=0.001, betas=(0.9, 0.95), eps=1e-08, weight_decay=0.1, **more: Any):
        ...

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], options: dict[str, Any]) -> None:
        ...

def orthogonalize(matrix: Tensor, rounds: int=5) -> Tensor:
    """Pushes all singular values of a matrix towards 1 and keeps its singular vectors: Newton-Schulz, for Muon.

    X₀ = M / max(‖M‖, 1e-7) (Frobenius norm), then `rounds` times   X ← a X + (b A + c A²) X   with A = X Xᵀ
    a, b, c = 3.4445, -4.7750, 2.0315. A is made on the shorter side: a tall M is transposed first, and back at the end.
    matrix: (m, n) of any floating dtype, left as it is  -> (m, n), computed in that dtype      Jordan 2024
    """
    ...

class Muon(AdamW):
    """Momentum, orthogonalized, for the matrices of hidden layers; a group with "orthogonal": False gets AdamW.

    m ← μ m + (1 - μ) g    O = orthogonalize(μ m + (1 - μ) g)    θ ← (1 - η λ) θ - η · 0.2 √max(rows, columns) · O
    The factor gives the update the root mean square of a typical AdamW update, 0.2: both can share a learning rate.
    Jordan 2024; Liu et al. 2025 (Moonlight)
    """

    def __init__(self, params, lr: float=0.001, momentum: float=0.95, **adamw: Any):
        ...

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], options: dict[str, Any]) -> None:
        ...

class LossScaler:
    """FP16 gradients below 6e-8 become 0, above 65,504 they become inf. Multiplying the loss moves them in between.

    growth, backoff: factors   interval: after so many updates in a row without overflow the scale grows
    """

    def __init__(self, scale: float=2.0 ** 16, growth: float=2.0, backoff: float=0.5, interval: int=2000):
        ...

    def unscale(self, parameters: Iterable[Tensor]) -> bool:
        """Once per update, after the last backward: divides every gradient by the scale, in place.

        -> True if every entry of every gradient is finite; if not, the update is to be skipped
        Then the scale is set for the next update: times `backoff` after an overflow; times `growth` once `interval`
        updates in a row were finite; the counting starts anew after either. Micikevicius et al. 2018
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        ...

class Diverged(RuntimeError):
    """Too many updates in a row had to be refused: go back to an older checkpoint and change something."""

class SpikeGuard:
    """Refuses an update whose loss or gradient is not finite, or whose gradient is far longer than is usual.

    factor: how many times the median norm of the last `window` accepted updates is too long
    patience: so many refusals in a row raise Diverged
    """

    def __init__(self, factor: float=10.0, window: int=50, patience: int=5):
        ...

    def accepts(self, loss: float, norm: float) -> bool:
        """Whether the update may be made. While fewer than `window` norms are known, only NaN and inf are refused."""
        ...

    def state_dict(self) -> dict[str, Any]:
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        ...

def remember(device: torch.device) -> Callable[[], AbstractContextManager[None]]:
    """-> a function that opens a `with` block in which torch's random numbers and autocast are as they are now.

    After the block the random numbers go on where they were before it.
    """
    ...

class Recompute(torch.autograd.Function):
    """A block as one node of the graph. Autograd does not look into `forward`: nothing the block computes is kept."""

    @staticmethod
    def forward(ctx: Any, block: nn.Module, x: Tensor, *weights: Tensor) -> Tensor:
        ...

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        """d_out: ∂loss/∂out  -> one entry per argument of forward: None for the block, ∂loss/∂x, ∂loss/∂weight ...

        None also for whatever needs no gradient. ctx.needs_input_grad: a bool per argument of forward.
        The weights saved are the parameters of the block themselves. `with ctx.as_it_was():` draws the dropout masks of
        the forward pass once more. Nobody else's graph and no .grad is touched.      Chen et al. 2016
        """
        ...

def recompute(block: nn.Module, x: Tensor) -> Tensor:
    """block(x), the same value and gradients, with x as the only activation kept.   x: (..., D) -> what block gives"""
    ...
MAGIC = b'checkpoint 1\n'

class CorruptCheckpoint(ValueError):
    """The file is not a whole checkpoint: cut short, changed, or something else altogether."""

def pack(state: dict[str, Any]) -> bytes:
    """Magic, sha256 of the payload (32 bytes), payload: what torch.save makes of the state."""
    ...

def payload_of(path: Path) -> bytes:
    """What stands in the file after the sha256.   Raises FileNotFoundError, or CorruptCheckpoint if a bit is wrong."""
    ...

def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state in one file, tensors on the CPU.   Raises what payload_of raises.

    weights_only: tensors, numbers, strings and collections of them; loading runs no code that is in the file.
    """
    ...

def is_intact(path: Path) -> bool:
    ...

def previous_of(path: Path) -> Path:
    ...

def sync(path: Path) -> None:
    """Waits until a file's contents, or a folder's list of names, are on the disk and not only in memory."""
    ...

def save_checkpoint(path: Path | str, state: dict[str, Any]) -> None:
    """Writes the state to `path`. A crash, at whatever moment, leaves a checkpoint that load_checkpoint can read.

    1. All bytes go into a temporary file beside path, path.name + ".tmp", and are synced before it gets another name.
    2. What stood at path becomes previous_of(path), if it is intact: a damaged file never takes an intact one's place.
    3. The temporary file is renamed to path, and the folder is synced.
    A temporary file that an earlier crash left behind is overwritten. The folder must exist.
    """
    ...

def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """The state in `path`; if that file is missing or damaged, the one in previous_of(path). No file is changed.

    Raises FileNotFoundError if neither file exists, CorruptCheckpoint if some file does and none of them is intact.
    """
    ...

class RandomState:
    """The generators of Python, NumPy and torch, as something that has a state_dict."""

    def state_dict(self) -> dict[str, Any]:
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        ...

class Trainer:
    """Update after update, each from `accumulation` micro-batches; can be stopped at any moment and resumed.

    batches: next(batches) -> inputs, targets   schedule: step -> learning rate   dtype: of autocast, None: no autocast
    scaler: for FP16   guard: None makes every update, also one of NaN
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, batches: Any, schedule: Callable[[int], float], *, accumulation: int=1, max_norm: float=1.0, dtype: torch.dtype | None=None, scaler: LossScaler | None=None, guard: SpikeGuard | None=None) -> None:
        ...

    def update(self) -> SimpleNamespace:
        """One update.   -> step (counted from 0), loss, lr, norm (before clipping), accepted"""
        ...

    def train(self, updates: int, path: Path | None=None, every: int=100) -> Iterator[SimpleNamespace]:
        """Goes on until `updates` updates are done, with a checkpoint after every `every` of them and at the end.

        An update is handed out before the checkpoint that has it: whoever logs it loses no line in a crash.
        """
        ...

    def parts(self) -> dict[str, Any]:
        """Everything but self.step that the next updates depend on and that updates change; all under names you choose.

        -> name (a string) to an object with state_dict() and load_state_dict(). A scaler or guard of None is left out.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        ...

def main(argv: list[str] | None=None) -> None:
    ...
