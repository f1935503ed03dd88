# labkit: lab 5.3, skeleton 699d23d4c0b9. Fill the TODOs; then: labkit check 5.3
"""The mechanics of a training loop: schedule, clipping, accumulation, AdamW, Muon, FP16, recomputation, checkpoints.

python solution.py --preset smoke         every mechanism once, in seconds
python solution.py                        with enough training to compare optimizers and precisions, and 20 kills

Shapes: B batch, T time, D model width, F hidden width, V vocabulary.
"""

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

PRESETS = {
    "smoke": {"tokens": 20_000, "updates": 10, "kills": 4, "repeats": 1},
    "cpu": {"tokens": 400_000, "updates": 1_000, "kills": 20, "repeats": 10},
    "full": {"tokens": 4_000_000, "updates": 20_000, "kills": 200, "repeats": 50},
}
IGNORE = -100  # a target that is not scored


# ---------------------------------------------------------------- learning rate, gradient norm, accumulation


def learning_rate(
    step: int, *, peak: float, warmup: int, total: int, floor: float = 0.0, decay: int | None = None
) -> float:
    """The learning rate of update `step` = 0, 1, ...: a linear warm-up, then a way down from `peak` to `floor`.

    warm-up, step < warmup: peak · (step + 1) / warmup, so no update is wasted on a rate of 0
    decay None (cosine): floor + (peak - floor) · (1 + cos πx) / 2, x = (step - warmup) / (total - warmup)
    decay D (warm-up, stable, decay): peak until the last D updates of `total`, then a straight line to the floor,
        peak at step = total - D and floor at step = total; D may be 0: no line, the plateau ends at `total`
    From step = total on: floor.      Raises ValueError unless warmup + (decay or 0) <= total.
    """
    if warmup + (decay or 0) > total:
        raise ValueError(f"total: expected at least warmup + decay = {warmup + (decay or 0)} updates, got {total}")
    # TODO learning-rate (~10 lines): after the end, in the warm-up, on the cosine, or on the plateau and the line
    raise NotImplementedError("TODO learning-rate")
    # END TODO learning-rate


@torch.no_grad()
def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """If all gradients, seen as one vector, are longer than max_norm, scales them to that length, in place.

    g ← g · min(1, max_norm / (‖g‖ + 1e-6)), with one norm ‖g‖ over all parameters
    Parameters without a gradient are left out.   -> ‖g‖ before clipping, a scalar tensor; 0 without any gradient
    Pascanu et al. 2013
    """
    # TODO clip-grad-norm (~6 lines): one norm over everything, one factor for everything, at most 1
    raise NotImplementedError("TODO clip-grad-norm")
    # END TODO clip-grad-norm


def summed_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of all scored targets, added up, in float32 at least.

    logits: (..., V)   targets: (...) int64, IGNORE where nothing is to be predicted   -> scalar, nats
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORE, reduction="sum")


def accumulate(
    model: nn.Module,
    micro_batches: Sequence[tuple[Tensor, Tensor]],
    dtype: torch.dtype | None = None,
    scale: float = 1.0,
) -> float:
    """Adds to every .grad what one big batch of all the micro-batches together would give, one piece at a time.

    loss = (nats of all scored targets) / (number of scored targets), over all micro-batches: every token counts alike
    micro_batches: pairs of inputs (B, T) and targets (B, T); B, T and the share of IGNORE may differ between them
    model: inputs -> logits (B, T, V), called once per micro-batch, whose graph is gone before the next call
    dtype: the forward pass and the loss run under torch.autocast(device type of the inputs, dtype); None: as they are
    scale: the gradients, and only they, are those of scale · loss
    -> the loss, a float.      Raises ValueError when no target is scored.
    """
    # TODO accumulate (~9 lines): count the scored targets of all pieces first, then forward and backward, piece by piece
    raise NotImplementedError("TODO accumulate")
    # END TODO accumulate


# ---------------------------------------------------------------- optimizers


class UpdateRule(torch.optim.Optimizer):
    """An optimizer whose subclass says how one parameter moves; groups and state_dict are those of torch.optim."""

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.update(p, p.grad, self.state[p], group)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], options: dict[str, Any]) -> None:
        """Moves p, in place. grad stays as it is; state starts empty and is p's own; options are those of its group."""
        raise NotImplementedError


class Lion(UpdateRule):
    """θ ← θ - η ( sign(β₁ m + (1 - β₁) g) + λ θ ),   then m ← β₂ m + (1 - β₂) g.      Chen et al. 2023, algorithm 2"""

    def __init__(self, params, lr: float = 1e-4, betas=(0.9, 0.99), weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], options: dict[str, Any]) -> None:
        beta1, beta2 = options["betas"]
        if not state:
            state["m"] = torch.zeros_like(p)
        direction = (beta1 * state["m"] + (1 - beta1) * grad).sign()
        p -= options["lr"] * (direction + options["weight_decay"] * p)
        state["m"].mul_(beta2).add_(grad, alpha=1 - beta2)


class AdamW(UpdateRule):
    """θ ← θ - η ( m̂ / (√v̂ + ε) + λ θ )      Loshchilov & Hutter 2019

    m ← β₁ m + (1 - β₁) g    v ← β₂ v + (1 - β₂) g²    m̂ = m / (1 - β₁ᵗ)    v̂ = v / (1 - β₂ᵗ)    t = 1, 2, ... updates
    The state of a parameter: "step" (t, an int), "m" and "v" (tensors like it).
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, **more: Any):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay} | more)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], options: dict[str, Any]) -> None:
        lr, (beta1, beta2), eps, weight_decay = (options[name] for name in ("lr", "betas", "eps", "weight_decay"))
        if not state:
            state.update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
        # TODO adamw (~6 lines): count the update, move both averages, correct their start, then decay and step
        raise NotImplementedError("TODO adamw")
        # END TODO adamw


def orthogonalize(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Pushes all singular values of a matrix towards 1 and keeps its singular vectors: Newton-Schulz, for Muon.

    X₀ = M / max(‖M‖, 1e-7) (Frobenius norm), then `rounds` times   X ← a X + (b A + c A²) X   with A = X Xᵀ
    a, b, c = 3.4445, -4.7750, 2.0315. A is made on the shorter side: a tall M is transposed first, and back at the end.
    matrix: (m, n) of any floating dtype, left as it is  -> (m, n), computed in that dtype      Jordan 2024
    """
    if matrix.ndim != 2:
        raise ValueError(f"matrix: expected 2 dimensions, got shape {tuple(matrix.shape)}")
    # TODO newton-schulz (~7 lines): lie down, divide by the norm, apply the polynomial, stand up again
    raise NotImplementedError("TODO newton-schulz")
    # END TODO newton-schulz


class Muon(AdamW):
    """Momentum, orthogonalized, for the matrices of hidden layers; a group with "orthogonal": False gets AdamW.

    m ← μ m + (1 - μ) g    O = orthogonalize(μ m + (1 - μ) g)    θ ← (1 - η λ) θ - η · 0.2 √max(rows, columns) · O
    The factor gives the update the root mean square of a typical AdamW update, 0.2: both can share a learning rate.
    Jordan 2024; Liu et al. 2025 (Moonlight)
    """

    def __init__(self, params, lr: float = 1e-3, momentum: float = 0.95, **adamw: Any):
        super().__init__(params, lr, momentum=momentum, orthogonal=True, **adamw)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], options: dict[str, Any]) -> None:
        if not options["orthogonal"]:
            return super().update(p, grad, state, options)
        if not state:
            state["m"] = torch.zeros_like(p)
        momentum, lr = options["momentum"], options["lr"]
        state["m"].lerp_(grad, 1 - momentum)
        direction = orthogonalize(grad.lerp(state["m"], momentum))
        p.mul_(1 - lr * options["weight_decay"])
        p.sub_(direction, alpha=0.2 * max(p.shape) ** 0.5 * lr)


# ---------------------------------------------------------------- FP16 loss scaling, and a guard


class LossScaler:
    """FP16 gradients below 6e-8 become 0, above 65,504 they become inf. Multiplying the loss moves them in between.

    growth, backoff: factors   interval: after so many updates in a row without overflow the scale grows
    """

    def __init__(self, scale: float = 2.0**16, growth: float = 2.0, backoff: float = 0.5, interval: int = 2000):
        self.scale, self.growth, self.backoff, self.interval = scale, growth, backoff, interval
        self.good = 0  # updates in a row without overflow, since the scale last changed

    def unscale(self, parameters: Iterable[Tensor]) -> bool:
        """Once per update, after the last backward: divides every gradient by the scale, in place.

        -> True if every entry of every gradient is finite; if not, the update is to be skipped
        Then the scale is set for the next update: times `backoff` after an overflow; times `growth` once `interval`
        updates in a row were finite; the counting starts anew after either. Micikevicius et al. 2018
        """
        # TODO loss-scaler (~10 lines): divide and look, then move the scale; parameters may lack a gradient
        raise NotImplementedError("TODO loss-scaler")
        # END TODO loss-scaler

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self.scale, "good": self.good}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scale, self.good = state["scale"], state["good"]


class Diverged(RuntimeError):
    """Too many updates in a row had to be refused: go back to an older checkpoint and change something."""


class SpikeGuard:
    """Refuses an update whose loss or gradient is not finite, or whose gradient is far longer than is usual.

    factor: how many times the median norm of the last `window` accepted updates is too long
    patience: so many refusals in a row raise Diverged
    """

    def __init__(self, factor: float = 10.0, window: int = 50, patience: int = 5):
        self.factor, self.patience = factor, patience
        self.norms: deque[float] = deque(maxlen=window)
        self.refused = 0  # in a row

    def accepts(self, loss: float, norm: float) -> bool:
        """Whether the update may be made. While fewer than `window` norms are known, only NaN and inf are refused."""
        usual = statistics.median(self.norms) if len(self.norms) == self.norms.maxlen else math.inf
        if math.isfinite(loss) and math.isfinite(norm) and norm <= self.factor * usual:
            self.norms.append(norm)
            self.refused = 0
            return True
        self.refused += 1
        if self.refused >= self.patience:
            raise Diverged(f"{self.refused} updates refused in a row: loss {loss:.3g}, gradient norm {norm:.3g}")
        return False

    def state_dict(self) -> dict[str, Any]:
        return {"norms": list(self.norms), "refused": self.refused}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.norms = deque(state["norms"], maxlen=self.norms.maxlen)
        self.refused = state["refused"]


# ---------------------------------------------------------------- activation checkpointing: compute again, keep less


def remember(device: torch.device) -> Callable[[], AbstractContextManager[None]]:
    """-> a function that opens a `with` block in which torch's random numbers and autocast are as they are now.

    After the block the random numbers go on where they were before it.
    """
    cuda = device.type == "cuda"
    read = (lambda: torch.cuda.get_rng_state(device)) if cuda else torch.get_rng_state
    write = (lambda state: torch.cuda.set_rng_state(state, device)) if cuda else torch.set_rng_state
    then, enabled, dtype = read(), torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)

    @contextlib.contextmanager
    def again() -> Iterator[None]:
        now = read()
        write(then)
        try:
            with torch.autocast(device.type, dtype=dtype, enabled=enabled):
                yield
        finally:
            write(now)

    return again


class Recompute(torch.autograd.Function):
    """A block as one node of the graph. Autograd does not look into `forward`: nothing the block computes is kept."""

    @staticmethod
    def forward(ctx: Any, block: nn.Module, x: Tensor, *weights: Tensor) -> Tensor:
        ctx.block, ctx.as_it_was = block, remember(x.device)
        ctx.save_for_backward(x, *weights)
        return block(x)

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        """d_out: ∂loss/∂out  -> one entry per argument of forward: None for the block, ∂loss/∂x, ∂loss/∂weight ...

        None also for whatever needs no gradient. ctx.needs_input_grad: a bool per argument of forward.
        The weights saved are the parameters of the block themselves. `with ctx.as_it_was():` draws the dropout masks of
        the forward pass once more. Nobody else's graph and no .grad is touched.      Chen et al. 2016
        """
        # TODO recompute (~8 lines): cut x off, run the block again with a graph of its own, ask that graph for gradients
        raise NotImplementedError("TODO recompute")
        # END TODO recompute


def recompute(block: nn.Module, x: Tensor) -> Tensor:
    """block(x), the same value and gradients, with x as the only activation kept.   x: (..., D) -> what block gives"""
    return Recompute.apply(block, x, *block.parameters())


# ---------------------------------------------------------------- checkpoints that survive a crash at any moment

MAGIC = b"checkpoint 1\n"


class CorruptCheckpoint(ValueError):
    """The file is not a whole checkpoint: cut short, changed, or something else altogether."""


def pack(state: dict[str, Any]) -> bytes:
    """Magic, sha256 of the payload (32 bytes), payload: what torch.save makes of the state."""
    payload = io.BytesIO()
    torch.save(state, payload)
    return MAGIC + hashlib.sha256(payload.getbuffer()).digest() + payload.getvalue()


def payload_of(path: Path) -> bytes:
    """What stands in the file after the sha256.   Raises FileNotFoundError, or CorruptCheckpoint if a bit is wrong."""
    blob = path.read_bytes()
    start = len(MAGIC) + 32
    if blob[: len(MAGIC)] != MAGIC or hashlib.sha256(blob[start:]).digest() != blob[len(MAGIC) : start]:
        raise CorruptCheckpoint(f"{path.name}: not a whole checkpoint ({len(blob):,} bytes)")
    return blob[start:]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state in one file, tensors on the CPU.   Raises what payload_of raises.

    weights_only: tensors, numbers, strings and collections of them; loading runs no code that is in the file.
    """
    return torch.load(io.BytesIO(payload_of(path)), map_location="cpu", weights_only=True)


def is_intact(path: Path) -> bool:
    try:
        payload_of(path)
    except (FileNotFoundError, CorruptCheckpoint):
        return False
    return True


def previous_of(path: Path) -> Path:
    return path.with_name(path.name + ".previous")


def sync(path: Path) -> None:
    """Waits until a file's contents, or a folder's list of names, are on the disk and not only in memory."""
    if os.name == "nt" and path.is_dir():
        return  # Windows does not open folders
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save_checkpoint(path: Path | str, state: dict[str, Any]) -> None:
    """Writes the state to `path`. A crash, at whatever moment, leaves a checkpoint that load_checkpoint can read.

    1. All bytes go into a temporary file beside path, path.name + ".tmp", and are synced before it gets another name.
    2. What stood at path becomes previous_of(path), if it is intact: a damaged file never takes an intact one's place.
    3. The temporary file is renamed to path, and the folder is synced.
    A temporary file that an earlier crash left behind is overwritten. The folder must exist.
    """
    path = Path(path)
    blob = pack(state)
    # TODO save-checkpoint (~7 lines): write aside, sync, step the old one back, rename, sync the folder
    raise NotImplementedError("TODO save-checkpoint")
    # END TODO save-checkpoint


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """The state in `path`; if that file is missing or damaged, the one in previous_of(path). No file is changed.

    Raises FileNotFoundError if neither file exists, CorruptCheckpoint if some file does and none of them is intact.
    """
    path = Path(path)
    # TODO load-checkpoint (~9 lines): the newest that read_checkpoint accepts; only then is it an error
    raise NotImplementedError("TODO load-checkpoint")
    # END TODO load-checkpoint


# ---------------------------------------------------------------- the trainer


class RandomState:
    """The generators of Python, NumPy and torch, as something that has a state_dict."""

    def state_dict(self) -> dict[str, Any]:
        (version, python, gauss), (kind, numpy, *rest) = random.getstate(), np.random.get_state()
        state = {"python": (version, torch.tensor(python), gauss), "torch": torch.get_rng_state()}
        state["numpy"] = (kind, torch.from_numpy(numpy.astype(np.int64)), *rest)
        return state | {"cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        (version, python, gauss), (kind, numpy, *rest) = state["python"], state["numpy"]
        random.setstate((version, tuple(python.tolist()), gauss))
        np.random.set_state((kind, numpy.numpy().astype(np.uint32), *rest))
        torch.set_rng_state(state["torch"])
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])


class Trainer:
    """Update after update, each from `accumulation` micro-batches; can be stopped at any moment and resumed.

    batches: next(batches) -> inputs, targets   schedule: step -> learning rate   dtype: of autocast, None: no autocast
    scaler: for FP16   guard: None makes every update, also one of NaN
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Any,
        schedule: Callable[[int], float],
        *,
        accumulation: int = 1,
        max_norm: float = 1.0,
        dtype: torch.dtype | None = None,
        scaler: LossScaler | None = None,
        guard: SpikeGuard | None = None,
    ) -> None:
        self.model, self.optimizer, self.batches, self.schedule = model, optimizer, batches, schedule
        self.accumulation, self.max_norm, self.dtype = accumulation, max_norm, dtype
        self.scaler, self.guard = scaler, guard
        self.step = 0  # updates done, those that were skipped included

    def update(self) -> SimpleNamespace:
        """One update.   -> step (counted from 0), loss, lr, norm (before clipping), accepted"""
        micro_batches = [next(self.batches) for _ in range(self.accumulation)]
        lr, parameters = self.schedule(self.step), list(self.model.parameters())
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        loss = accumulate(self.model, micro_batches, self.dtype, self.scaler.scale if self.scaler else 1.0)
        overflow = self.scaler is not None and not self.scaler.unscale(
            parameters
        )  # the scaler's business, not the guard's
        norm = float(clip_grad_norm(parameters, self.max_norm))
        accepted = not overflow and (self.guard is None or self.guard.accepts(loss, norm))
        if accepted:
            self.optimizer.step()
        self.step += 1
        return SimpleNamespace(step=self.step - 1, loss=loss, lr=lr, norm=norm, accepted=accepted)

    def train(self, updates: int, path: Path | None = None, every: int = 100) -> Iterator[SimpleNamespace]:
        """Goes on until `updates` updates are done, with a checkpoint after every `every` of them and at the end.

        An update is handed out before the checkpoint that has it: whoever logs it loses no line in a crash.
        """
        while self.step < updates:
            yield self.update()
            if path is not None and (self.step % every == 0 or self.step == updates):
                save_checkpoint(path, self.state_dict())

    def parts(self) -> dict[str, Any]:
        """Everything but self.step that the next updates depend on and that updates change; all under names you choose.

        -> name (a string) to an object with state_dict() and load_state_dict(). A scaler or guard of None is left out.
        """
        # TODO resumable-parts (~4 lines): restored from these alone, a run goes on as if nothing had happened
        raise NotImplementedError("TODO resumable-parts")
        # END TODO resumable-parts

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step} | {"parts": {name: part.state_dict() for name, part in self.parts().items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        for name, part in self.parts().items():
            part.load_state_dict(state["parts"][name])


# ---------------------------------------------------------------- the command line (given)


def main(argv: list[str] | None = None) -> None:
    from labkit.reference.training_loop import training_report  # the file beside this one

    args = run.arguments(__doc__, PRESETS, argv, device=True)
    training_report.show(args, SimpleNamespace(**globals()))


if __name__ == "__main__":
    run.main(main)
