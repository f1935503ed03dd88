"""The only test code of lab 5.3 that runs beside a learner's file: small models, watched files, simulated crashes."""

import builtins
import io
import os
import random
import stat
import tempfile
import weakref
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

# ---------------------------------------------------------------- schedule, clipping


def rates(lab, steps, how):
    return [float(lab.learning_rate(step, **how)) for step in steps]


def with_gradients(gradients):
    """Parameters of zeros that hold these gradients; None: a parameter without one."""
    like = next((g for g in gradients if g is not None), torch.zeros(1))
    found = [nn.Parameter(torch.zeros_like(g if g is not None else like)) for g in gradients]
    for p, g in zip(found, gradients):
        p.grad = None if g is None else g.clone()
    return found


def clip(lab, gradients, max_norm):
    """The parameters come one by one, as model.parameters() gives them."""
    parameters = with_gradients(gradients)
    norm = lab.clip_grad_norm((p for p in parameters), max_norm)
    return {"norm": norm, "gradients": [p.grad for p in parameters]}


def clip_nothing(lab):
    return float(lab.clip_grad_norm(iter(with_gradients([None, None])), 1.0))


# ---------------------------------------------------------------- accumulation


class Watched(nn.Module):
    """Two matrices and a tanh; notes in what state the world is whenever it is called."""

    def __init__(self, embedding, head):
        super().__init__()
        self.embedding, self.head = nn.Parameter(embedding.clone()), nn.Parameter(head.clone())
        self.calls, self.alive = [], weakref.WeakSet()

    def forward(self, ids):
        device = ids.device.type
        enabled = torch.is_autocast_enabled(device)
        self.calls.append((tuple(ids.shape), str(torch.get_autocast_dtype(device)) if enabled else "off"))
        self.calls[-1] += (len(self.alive),)
        return torch.tanh(self.embedding[ids]) @ self.head


class Kept:
    """A tensor that a graph keeps for its backward pass."""

    def __init__(self, tensor):
        self.tensor = tensor


def accumulated(lab, weights, micro_batches, *more, start=0.0):
    """Loss and gradients of `accumulate`; the gradients were `start` before."""
    model = Watched(*weights)
    for p in model.parameters():
        p.grad = torch.full_like(p, start)
    loss = lab.accumulate(model, micro_batches, *more)
    return {"loss": loss, "gradients": [p.grad for p in model.parameters()]}


def accumulated_onto(lab, weights, micro_batches):
    return accumulated(lab, weights, micro_batches, start=0.7)


def pieces_seen(lab, weights, micro_batches):
    """Per call of the model: the shape it got, autocast, and how many tensors of earlier graphs were still kept."""
    model = Watched(*weights)

    def keep(tensor):
        kept = Kept(tensor)
        model.alive.add(kept)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
        lab.accumulate(model, micro_batches)
    return model.calls


def autocast_seen(lab, weights, micro_batches, name):
    model = Watched(*weights)
    lab.accumulate(model, micro_batches, getattr(torch, name))
    return [call[1] for call in model.calls], torch.is_autocast_enabled(micro_batches[0][0].device.type)


# ---------------------------------------------------------------- optimizers


def optimize(lab, name, start, gradients, groups):
    """Parameters after every update. gradients: per update one (or None) per parameter. groups: options of each."""
    parameters = [nn.Parameter(p.clone()) for p in start]
    optimizer = getattr(lab, name)([{"params": [p]} | options for p, options in zip(parameters, groups)])
    found = []
    for step in gradients:
        for p, g in zip(parameters, step):
            p.grad = None if g is None else g.clone()
        optimizer.step()
        found.append([p.detach().clone() for p in parameters])
        changed = [g is not None and not torch.equal(p.grad, g) for p, g in zip(parameters, step)]
        if any(changed):
            return "a gradient was changed"
    return found


def averages(lab, start, gradients, options):
    """What AdamW keeps for one parameter after these gradients."""
    p = nn.Parameter(start.clone())
    optimizer = lab.AdamW([p], **options)
    for g in gradients:
        p.grad = g.clone()
        optimizer.step()
    return dict(optimizer.state_dict()["state"][0])


class Sizes(TorchDispatchMode):
    """Notes how many entries the largest tensor has that any operation makes while this is on."""

    def __init__(self):
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = [t for t in (out if isinstance(out, tuple | list) else [out]) if isinstance(t, torch.Tensor)]
        self.largest = max([self.largest, *(t.numel() for t in made)])
        return out


def largest_tensor(lab, matrix):
    """How many entries the largest tensor has that one round of the orthogonalization makes."""
    with Sizes() as sizes:
        lab.orthogonalize(matrix, 1)
    return sizes.largest


# ---------------------------------------------------------------- loss scaling


def scaling(lab, updates, how):
    """After every update: was it finite, the scale and count that follow, and the gradients, 0 for inf and NaN."""
    scaler, found = lab.LossScaler(**how), []
    for gradients in updates:
        parameters = with_gradients(gradients)
        finite = scaler.unscale(p for p in parameters)
        gradients = [None if p.grad is None else p.grad.nan_to_num(0, 0, 0) for p in parameters]
        state = {"finite": bool(finite), "scale": float(scaler.scale), "good": int(scaler.good)}
        found.append(state | {"gradients": gradients})
    return found


def scales(lab, overflows, how):
    """The scale over many updates; True: this one overflows."""
    scaler, found = lab.LossScaler(**how), []
    for overflow in overflows:
        finite = scaler.unscale(with_gradients([torch.tensor([float("inf") if overflow else 1.0])]))
        found.append({"finite": bool(finite), "scale": float(scaler.scale)})
    return found


# ---------------------------------------------------------------- recomputation


class Small(nn.Module):
    """A block with dropout, a parameter that cannot be trained and one that is not used."""

    def __init__(self, up, down, dropout):
        super().__init__()
        self.up, self.down = nn.Parameter(up.clone()), nn.Parameter(down.clone())
        self.fixed = nn.Parameter(torch.ones_like(up[0]), requires_grad=False)
        self.unused = nn.Parameter(torch.ones_like(up[0]))
        self.dropout, self.runs = dropout, 0

    def forward(self, x):
        self.runs += 1
        return nn.functional.dropout(torch.tanh(x @ self.up) * self.fixed, self.dropout) @ self.down


def rerun(lab, up, down, x, d_out, dropout=0.0, x_needs=True, precision="off"):
    """Value, gradients, what happened to .grad and to the random numbers; and how often the block was run."""
    torch.manual_seed(7)
    block = Small(up, down, dropout)
    x = x.clone().requires_grad_(x_needs)
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        out = lab.recompute(block, x)
    torch.rand(3, device=x.device)  # the world goes on before the backward pass
    wanted = [block.up, block.down] + [x] * x_needs
    found = torch.autograd.grad(out, wanted, d_out.to(out.dtype))
    untouched = all(p.grad is None for p in (*block.parameters(), x))
    return {"out": out.detach(), "gradients": found, "no .grad touched": untouched, "runs": block.runs} | {
        "random numbers go on": torch.rand(2, device=x.device)
    }


def chain(lab, up, down, x, d_out):
    """Three blocks one after another, the first and the last being the same one; gradients through backward()."""
    torch.manual_seed(3)
    first, second = Small(up, down, 0.3), Small(up.flip(0), down.flip(1), 0.0)
    x = x.clone().requires_grad_()
    out = x * 2
    for block in (first, second, first):
        out = lab.recompute(block, out)
    out.backward(d_out)
    return {"out": out.detach(), "x": x.grad, "weights": [p.grad for b in (first, second) for p in (b.up, b.down)]}


# ---------------------------------------------------------------- checkpoints


def state_of(number):
    return {"number": number, "weights": torch.arange(200.0) + number, "nested": {"lr": [0.1, number], "name": "x"}}


@contextmanager
def folder():
    """A folder for checkpoints, on a disk that is always in time: nobody waits for fsync."""
    real, os.fsync = os.fsync, lambda handle: None
    try:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
    finally:
        os.fsync = real


def number_in(lab, path):
    """Which state a file holds: its number, or why not."""
    try:
        state = lab.read_checkpoint(path)
    except (FileNotFoundError, ValueError) as problem:
        return "missing" if isinstance(problem, FileNotFoundError) else "damaged"
    right = torch.equal(state["weights"], state_of(state["number"])["weights"])
    return state["number"] if right else "wrong weights"


def saved_files(lab, count, leftover):
    """After each of `count` saves: what stands in path, in the previous one, and which files there are."""
    found = []
    with folder() as where:
        path = where / "last.pt"
        if leftover:
            (where / "last.pt.tmp").write_bytes(b"x" * leftover)
        for number in range(count):
            lab.save_checkpoint(str(path) if number == 1 else path, state_of(number))
            names = sorted(file.name for file in where.iterdir())
            found.append((number_in(lab, path), number_in(lab, lab.previous_of(path)), names))
    return found


def damage(blob, how):
    """how: ("cut", share), ("flip", share), ("grow", 0), ("empty", 0), ("text", 0)"""
    kind, share = how
    place = int(share * len(blob))
    if kind == "cut":
        return blob[:place]
    if kind == "flip":
        return blob[:place] + bytes([blob[place] ^ 4]) + blob[place + 1 :]
    return {"grow": blob + b"\0", "empty": b"", "text": b"not a checkpoint"}[kind]


def put(lab, path, what, number):
    """what: "good", "missing" or a way to damage"""
    if what != "missing":
        blob = lab.pack(state_of(number))
        path.write_bytes(blob if what == "good" else damage(blob, what))


class Crash(BaseException):
    """The process ends here."""


CALLS = ("fsync", "replace", "rename", "link", "unlink", "remove")


@contextmanager
def watched_calls(at_call):
    """Every call of these functions of os is announced first: at_call(name, arguments)."""
    real = {name: getattr(os, name) for name in CALLS}

    def watching(name):
        def call(*args, **kwargs):
            at_call(name, args)
            return real[name](*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, watching(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def crash_everywhere(lab, current):
    """save_checkpoint crashes just before its first, second, ... call into os. What can be loaded after each crash?

    Before, state 1 is the previous one, and state 2 the current one (`current`: "good", or how it is damaged).
    -> (call, number of the state that loads, or what went wrong), one per call
    """
    found = []
    for moment in range(1, 30):
        with folder() as where:
            path = where / "last.pt"
            put(lab, path, current, 2)
            put(lab, lab.previous_of(path), "good", 1)
            seen = []

            def at_call(name, args, seen=seen, moment=moment):
                seen.append(name)
                if len(seen) == moment:
                    raise Crash

            try:
                with watched_calls(at_call):
                    lab.save_checkpoint(path, state_of(3))
            except Crash:
                found.append((seen[-1], what_loads(lab, path)))
            else:
                return found
    return found


def what_loads(lab, path):
    try:
        return lab.load_checkpoint(path)["number"]
    except (FileNotFoundError, ValueError) as problem:
        return type(problem).__name__


def crash_while_writing(lab):
    """The disk is full, or the process dies, when half of the bytes are written. What loads then?"""

    class Half:
        def __init__(self, stream):
            self.stream = stream

        def __getattr__(self, name):
            return getattr(self.stream, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.stream.close()

        def write(self, blob):
            self.stream.write(bytes(blob)[: len(blob) // 2])
            self.stream.flush()
            raise Crash

    def opened(file, mode="r", *args, **kwargs):
        stream = real(file, mode, *args, **kwargs)
        return Half(stream) if "b" in mode and set(mode) & set("wxa+") else stream

    real = io.open
    with folder() as where:
        path = where / "last.pt"
        put(lab, path, "good", 2)
        put(lab, lab.previous_of(path), "good", 1)
        builtins.open = io.open = opened
        try:
            lab.save_checkpoint(path, state_of(3))
        except Crash:
            pass
        finally:
            builtins.open = io.open = real
        return what_loads(lab, path)


def order_of_calls(lab):
    """What happens to the disk, in order: "bytes synced", "synced too early", "renamed to path", "folder synced"."""
    found = []
    with folder() as where:
        path = where / "last.pt"
        lab.save_checkpoint(path, state_of(0))
        size = path.stat().st_size

        def at_call(name, args):
            if name == "fsync":
                about = os.fstat(args[0] if isinstance(args[0], int) else args[0].fileno())
                whole = about.st_size == size
                found.append("folder synced" if stat.S_ISDIR(about.st_mode) else "bytes synced" if whole else "early")
            elif name in ("replace", "rename") and Path(args[1]).name == path.name:
                found.append("renamed to path")

        with watched_calls(at_call):
            lab.save_checkpoint(path, state_of(1))
    return found


def loaded(lab, current, previous):
    """What loads when the two files are in this state, and whether any file was touched. Errors by name."""
    with folder() as where:
        path = where / "last.pt"
        put(lab, path, current, 2)
        put(lab, lab.previous_of(path), previous, 1)
        before = {file.name: file.read_bytes() for file in where.iterdir()}
        for as_text in (False, True):
            try:
                found = lab.load_checkpoint(str(path) if as_text else path)
            except Exception as problem:
                found = type(problem).__name__
        after = {file.name: file.read_bytes() for file in where.iterdir()}
        return {"loaded": found, "files left as they were": before == after}


# ---------------------------------------------------------------- the trainer


class Noisy(nn.Module):
    """A table, a matrix, dropout, and a running mean that is a buffer."""

    def __init__(self, embedding, head, run=None):
        super().__init__()
        self.inner = Small(head, head.mT.contiguous(), 0.2)
        self.embedding, self.head = nn.Parameter(embedding.clone()), nn.Parameter(head.clone())
        self.register_buffer("mean", torch.zeros_like(embedding[0]))
        self.run = run or (lambda block, x: block(x))

    def forward(self, ids):
        x = self.embedding[ids]
        self.mean.lerp_(x.detach().mean((0, 1)), 0.1)
        return (x + self.run(self.inner, x) - self.mean) @ self.head


class Stream:
    """Batches in order from a text; each drops some targets at random, with Python's and NumPy's generators."""

    def __init__(self, ids, rows=3, length=5):
        self.ids, self.rows, self.length, self.place = ids, rows, length, 0

    def __next__(self):
        size = self.rows * self.length
        if self.place + size + 1 > len(self.ids):
            self.place = 0
        piece = self.ids[self.place : self.place + size + 1]
        self.place += size
        targets = piece[1:].clone()
        targets[random.randrange(size)] = -100
        targets[int(np.random.randint(size))] = -100
        return piece[:-1].view(self.rows, -1), targets.view(self.rows, -1)

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


def trainer_for(lab, weights, ids, run=None, scaler=True, guard=True, **how):
    """A trainer, all generators at the same start."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    model = Noisy(*weights, run=run)
    return lab.Trainer(
        model,
        lab.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1),
        Stream(ids),
        lambda step: lab.learning_rate(step, peak=0.05, warmup=3, total=40),
        accumulation=2,
        scaler=lab.LossScaler(scale=64.0, interval=3) if scaler else None,
        guard=lab.SpikeGuard(factor=1.2, window=4, patience=30) if guard else None,
        **how,
    )


def report(trainer, update):
    """What an update was like, and what the scaler and the guard think after it."""
    scale = trainer.scaler.scale if trainer.scaler else 0.0
    usual = sum(trainer.guard.norms) if trainer.guard else 0.0
    found = {"loss": update.loss, "gradient norm": update.norm, "learning rate": update.lr}
    return found | {"accepted": update.accepted, "loss scale": float(scale), "sum of usual norms": float(usual)}


def interrupted(lab, weights, ids, stop, updates, scaler, guard):
    """Updates from `stop` on: of a run left in peace, and of one that is stopped there and goes on from its checkpoint.

    The second one goes on in a new trainer, whose model, text position and random numbers are somewhere else.
    """
    how = {"scaler": scaler, "guard": guard}
    trainer = trainer_for(lab, weights, ids, **how)
    peace = [report(trainer, update) for update in trainer.train(updates)]
    trainer = trainer_for(lab, weights, ids, **how)
    for _ in trainer.train(stop):
        pass
    with folder() as where:
        lab.save_checkpoint(where / "last.pt", trainer.state_dict())
        trainer = trainer_for(lab, [torch.zeros_like(w) for w in weights], ids, **how)
        for _ in range(7):
            next(trainer.batches)
        torch.rand(3), random.random(), np.random.rand()
        trainer.load_state_dict(lab.load_checkpoint(where / "last.pt"))
    resumed = [report(trainer, update) for update in trainer.train(updates)]
    return {"uninterrupted": peace[stop:], "resumed": resumed}


def names_of_parts(lab, weights, ids):
    """How many parts there are with and without scaler and guard, and whether all names are strings."""
    counts, strings = [], True
    for scaler, guard in ((True, True), (True, False), (False, True), (False, False)):
        parts = trainer_for(lab, weights, ids, scaler=scaler, guard=guard).parts()
        counts.append(len(parts))
        strings = strings and all(isinstance(name, str) for name in parts)
    return counts[0] - counts[1], counts[0] - counts[2], counts[0] - counts[3], strings


def everything(lab, weights, ids):
    """A run with recomputation that crashes inside a save and is resumed; then Muon's direction for a matrix."""
    with folder() as where:
        path, found = where / "last.pt", []
        trainer = trainer_for(lab, weights, ids, lab.recompute, max_norm=0.5)
        count = 0

        def at_call(name, args):
            nonlocal count
            count += name in ("replace", "rename")
            if count == 3:  # inside the second save
                raise Crash

        try:
            with watched_calls(at_call):
                for update in trainer.train(3, path, every=1):
                    found.append(report(trainer, update))
        except Crash:
            pass
        trainer = trainer_for(lab, weights, ids, lab.recompute, max_norm=0.5)
        trainer.load_state_dict(lab.load_checkpoint(path))
        found = found[: trainer.step] + [report(trainer, update) for update in trainer.train(3)]
    return found, lab.orthogonalize(weights[1])
