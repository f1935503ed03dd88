"""The only test code of lab 5.2 that runs beside a learner's file: small models, temporary folders, a crash."""

import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from labkit.grading.driving import peak_of

SHAPES = {"matrix": (3, 2), "vector": (4,), "table": (5, 3), "cube": (2, 2, 2), "scalar": ()}
NAMES = {  # as they are called in real models, so that sorting by name is seen through where names mislead
    "matrix": "matrix_weight", "vector": "norm_weight", "table": "table_weight", "cube": "cube_weight",
    "scalar": "scalar_bias",
}  # fmt: skip

# ---------------------------------------------------------------- optimizer groups


def described(lab, model, weight_decay):
    """The groups, with each parameter's name in place of the parameter."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = lab.optimizer_groups(model, weight_decay)
    torch.optim.AdamW(groups)  # raises when a parameter is in two groups
    return [
        {"weight_decay": group["weight_decay"], "params": [names[id(p)] for p in group["params"]]} for group in groups
    ]


def groups(lab, kinds, weight_decay, names=None):
    model = nn.Module()
    for n, kind in enumerate(kinds):
        model.register_parameter(names[n] if names else f"{n}_{NAMES[kind]}", nn.Parameter(torch.zeros(SHAPES[kind])))
    return described(lab, model, weight_decay)


def groups_of_a_tied_model(lab, weight_decay):
    model = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 6))
    model[4].weight = model[0].weight
    model[3].requires_grad_(False)
    return described(lab, model, weight_decay)


# ---------------------------------------------------------------- pack, crops, windows


def packed_from_a_generator(lab, documents, eot, vocab_size):
    return lab.pack((np.array(ids, dtype=np.int32) for ids in documents), eot, vocab_size)


def crops(lab, shards, batch, length, seed, count):
    batches = lab.RandomCrops(shards, batch, length, seed)
    return [next(batches) for _ in range(count)]


def crop_devices(lab, shards, batch, length):
    """Where inputs and targets are, for batches on torch's "meta" device, which every machine has."""
    return [str(tensor.device) for tensor in next(lab.RandomCrops(shards, batch, length, 0, "meta"))]


def crops_again(lab, shards, batch, length, seed):
    """Four batches; the same again from the start; the third one after a resume; the first one of another seed; the
    state after two batches."""
    first = [inputs for inputs, _ in crops(lab, shards, batch, length, seed, 4)]
    again = [inputs for inputs, _ in crops(lab, shards, batch, length, seed, 4)]
    stopped = lab.RandomCrops(shards, batch, length, seed)
    next(stopped), next(stopped)
    resumed = lab.RandomCrops(shards, batch, length, seed)
    state = dict(stopped.state_dict())
    resumed.load_state_dict(state)
    return first, again, next(resumed)[0], crops(lab, shards, batch, length, seed + 1, 1)[0][0], state


def crop_memory(lab, tokens, batch, length):
    """Peak bytes of one batch from a file of this many ids, and the size of the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ids.bin"
        np.zeros(tokens, dtype=np.uint16).tofile(path)
        return one_batch_peak(lab, path, batch, length), 2 * tokens


def one_batch_peak(lab, path, batch, length):
    """The file is closed when this returns: Windows deletes none that is open."""
    batches = lab.RandomCrops([np.memmap(path, dtype=np.uint16, mode="r")], batch, length)
    return peak_of(lambda: next(batches))[1]


def windows_twice(lab, ids, count, length):
    return lab.fixed_windows(ids, count, length), lab.fixed_windows(ids, count, length)


# ---------------------------------------------------------------- estimate loss


class Bigrams(nn.Module):
    """Logits that depend on the last token only, with dropout, and notes about every call."""

    def __init__(self, weights, dropout=0.0):
        super().__init__()
        self.table = nn.Parameter(weights.clone())
        self.dropout, self.calls = nn.Dropout(dropout), []

    def forward(self, inputs):
        kind = inputs.device.type
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        note = "off" if autocast is None else str(autocast)
        self.calls.append((tuple(inputs.shape), torch.is_grad_enabled(), note, self.training))
        return self.dropout(self.table[inputs]).to(autocast or self.table.dtype)  # as a linear layer's output would be


def estimated(lab, weights, windows, batch, name=None):
    return lab.estimate_loss(Bigrams(weights), windows, batch, getattr(torch, name) if name else None)


def estimation_seen(lab, weights, windows, batch, name):
    model = Bigrams(weights)
    lab.estimate_loss(model, windows, batch, getattr(torch, name) if name else None)
    return model.calls


def modes(lab, weights, windows, batch, training):
    model = Bigrams(weights, dropout=0.5).train(training)
    loss = lab.estimate_loss(model, windows, batch)
    return {"loss": loss, "in between": [call[3] for call in model.calls], "afterwards": model.training}


# ---------------------------------------------------------------- keep


def steps_in(folder, lab):
    found = {}
    for name in ("best", "last"):
        path = folder / f"{name}.ckpt"
        state = lab.load_checkpoint(path) if path.exists() else dict.fromkeys(("step", "loss", "best"), "no file")
        found |= {f"{name}_{key}": state.get(key, "missing") for key in ("step", "loss", "best")}
    return found


def kept(lab, losses):
    """After each evaluation: what `keep` returned, and what is in the two files."""
    with tempfile.TemporaryDirectory() as name:
        folder, best, found = Path(name), float("inf"), []
        for step, loss in enumerate(losses):
            lowest = lab.keep(folder, {"step": step}, loss, best)
            found.append({"lowest": lowest, **steps_in(folder, lab)})
            best = best if lowest is None else lowest
    return found


class Killed(BaseException):
    pass


def crash_between(lab, loss):
    """Evaluation 1 is better than 0; the process dies after its first file; a resumed one does evaluation 1 again."""
    save = lab.save_checkpoint

    def dies_after_the_first(path, state):
        save(path, state)
        raise Killed

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        best = lab.keep(folder, {"step": 0}, loss + 1, float("inf"))
        lab.save_checkpoint = dies_after_the_first
        try:
            lab.keep(folder, {"step": 1}, loss, best)
        except Killed:
            pass
        finally:
            lab.save_checkpoint = save
        state = lab.load_checkpoint(folder / "last.ckpt")
        if state["step"] == 0:
            lab.keep(folder, {"step": 1}, loss, state["best"])
        else:  # the run goes on after evaluation 1, and never gets better again
            lab.keep(folder, {"step": 2}, loss + 1, state["best"])
        return steps_in(folder, lab)


def kept_state(lab, loss, best):
    state = {"step": 4, "parts": {"batches": {"drawn": 9}}}
    with tempfile.TemporaryDirectory() as name:
        lowest = lab.keep(Path(name), state, loss, best)
        saved = {path.name: lab.load_checkpoint(path) for path in sorted(Path(name).glob("*.ckpt"))}
    return {"lowest": lowest, "state": state, "saved": saved}


# ---------------------------------------------------------------- write


class TinyGPT(Bigrams):
    """What `write` knows of a MiniGPT: a call gives logits and a loss; generate; config.block_size; head.weight."""

    def __init__(self, lab, weights, block_size=4):
        super().__init__(weights)
        self.generate = partial(lab.MiniGPT.generate, self)
        self.config = SimpleNamespace(block_size=block_size)
        self.head = SimpleNamespace(weight=self.table)

    def forward(self, tokens):
        return super().forward(tokens), None


def generator_for(weights, seed):
    return torch.Generator(weights.device).manual_seed(seed)


def written(lab, weights, prompt, count, n_new, eot, temperature, seed, block_size=64):
    gpt = TinyGPT(lab, weights, block_size)
    return lab.write(gpt, prompt, count, n_new, eot, temperature, generator_for(weights, seed))


def calls_of_write(lab, weights, prompt, count, n_new, eot):
    gpt = TinyGPT(lab, weights)
    lab.write(gpt, prompt, count, n_new, eot, 1.0, generator_for(weights, 0))
    return [(call[0], call[3]) for call in gpt.calls]


def number_of_calls(lab, weights, prompt, count, n_new, eot):
    return len(calls_of_write(lab, weights, prompt, count, n_new, eot))


def mode_after_writing(lab, weights, training):
    gpt = TinyGPT(lab, weights).train(training)
    lab.write(gpt, [1], 2, 3, 0, 1.0, generator_for(weights, 0))
    return gpt.training


# ---------------------------------------------------------------- everything


@contextmanager
def without_sync(lab):
    """Checkpoints that are only written, not synced to the disk: most of the time of a small run."""
    save, load = lab.save_checkpoint, lab.load_checkpoint
    lab.save_checkpoint = lambda path, state: torch.save(state, path)
    lab.load_checkpoint = lambda path: torch.load(path, weights_only=True)
    try:
        yield
    finally:
        lab.save_checkpoint, lab.load_checkpoint = save, load


def greedy(table, token, n_new, eot=0):
    """The likeliest continuation, by the table alone: which crops were drawn is the learner's affair."""
    row = []
    while len(row) < n_new:
        token = int(table[token].argmax())
        if token == eot:
            break
        row.append(token)
    return row


def small_run(lab, documents, seed):
    """Shards of several files, 2 updates, then 2 more from the checkpoint, and how much the model writes greedily."""

    def trainer(folder):
        weights = torch.randn(12, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        model = lab.Logits(TinyGPT(lab, weights, block_size=16))
        batches = lab.RandomCrops(lab.open_shards(folder, "train"), 4, 12, seed)
        optimizer = torch.optim.AdamW(lab.optimizer_groups(model, 0.1))
        return lab.Trainer(model, optimizer, batches, lambda step: 0.1)

    with tempfile.TemporaryDirectory() as name, without_sync(lab):
        folder = Path(name)
        total = lab.write_shards(documents[8:], folder, "train", eot=0, vocab_size=12, shard_tokens=300)
        lab.write_shards(documents[:8], folder, "held_out", eot=0, vocab_size=12, shard_tokens=300)
        windows = lab.fixed_windows(lab.open_shards(folder, "held_out")[0], 5, 12)
        how = {"windows": windows, "folder": folder, "every": 2, "batch": 2}
        records = list(lab.train(trainer(folder), 2, **how))
        last = trainer(folder)
        records += lab.train(last, 4, **how)
        held_out = [record["held_out"] for record in records if "held_out" in record]
        best = lab.load_checkpoint(folder / "best.ckpt")
        rows = lab.write(last.model.gpt, documents[0][:3], 2, 10, 0, 0.0)
        likeliest = greedy(last.model.gpt.table, documents[0][2], 10)
        shards = len(lab.open_shards(folder, "train"))
    learned = held_out[-1] < held_out[0]
    law = lab.fit_power_law([1, 10, 100], [3.0, 2.0, 1.6], 1.0)
    return {
        "law": law,
        "tokens": total,
        "shards": shards,
        "steps": len(records),
        "evaluations": len(held_out),
        "learned": learned,
        "kept the best": best["loss"] == min(held_out[1:]),
        "writes the likeliest": rows == [likeliest, likeliest],
    }
