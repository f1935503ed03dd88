"""One network of lab 3.2 trained on text or on the delayed copy; many of them, divided over processes.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import math
import multiprocessing
import runpy
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import run
from labkit.reference import char_rnn

STEPS, MAX_NORM, WARMUP = 64, 1.0, 50
HELD_OUT_ROWS = 64  # the held-out text is read in so many streams at once
COPY_BUDGET, COPY_BATCH, COPY_TESTED, N_SYMBOLS, COPIED = 10_000, 32, 1_000, 8, 1
COPY_D_MODEL = 16
CURVE = 20  # accuracy is averaged over so many training steps for the figure


class Kind(NamedTuple):
    """blocks, biases: as `matched_hidden` wants them   d_model, rates: see sweep.py"""

    blocks: int
    biases: int
    d_model: int
    text_rate: float
    copy_rate: float


KINDS = {
    "rnn": Kind(1, 1, 64, 1e-2, 3e-3),
    "gru": Kind(3, 2, 32, 1e-2, 1e-2),
    "lstm": Kind(4, 2, 16, 3e-2, 1e-2),
}


class Trial(NamedTuple):
    """What is trained.   lag: of the delayed copy; 0 means text   chatter: what is heard in between"""

    kind: str
    forget_bias: float
    seed: int
    rate: float
    d_model: int
    lag: int = 0
    chatter: bool = True


class Trained(NamedTuple):
    """score: held-out nats per character, or the share of right answers   curve: the same while training"""

    hidden: int
    parameters: int
    score: float
    curve: list[float]
    weights: dict[str, np.ndarray]


def on_text(kind: str, forget_bias: float, seed: int) -> Trial:
    return Trial(kind, forget_bias, seed, KINDS[kind].text_rate, KINDS[kind].d_model)


def on_copy(kind: str, forget_bias: float, seed: int, lag: int, chatter: bool, rate: float | None = None) -> Trial:
    return Trial(kind, forget_bias, seed, rate or KINDS[kind].copy_rate, COPY_D_MODEL, lag, chatter)


def build(args: Any, lab: SimpleNamespace, trial: Trial, vocab_size: int) -> nn.Module:
    """A network of this kind, as large as the budget allows."""
    kind, budget = KINDS[trial.kind], COPY_BUDGET if trial.lag else args.budget
    hidden = lab.matched_hidden(budget, kind.blocks, kind.biases, trial.d_model, vocab_size)
    cell = cell_of(lab, trial.kind, trial.forget_bias)
    return lab.GatedRNN(vocab_size, trial.d_model, hidden, cell=cell).to(args.device)


def cell_of(lab: SimpleNamespace, kind: str, forget_bias: float) -> Callable[[int, int], nn.Module]:
    """(input width, F) -> a cell of this kind."""
    if kind == "lstm":
        return lambda width, hidden: lab.LSTMCell(width, hidden, forget_bias)
    return {"rnn": char_rnn.VanillaRNNCell, "gru": lab.GRUCell}[kind]


def one(args: Any, lab: SimpleNamespace, corpus: Any, trial: Trial) -> Trained:
    """One training from the trial's seed, on one thread: the steps are many and small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(trial.seed)
    model = build(args, lab, trial, 2 * N_SYMBOLS + 2 if trial.lag else corpus.vocab_size)
    if trial.lag:
        score, curve = train_copy(args, lab, model, trial)
    else:
        rows, held_out = streams(args, corpus)
        curve = train_text(model, rows, args.epochs, trial.rate)
        score = char_rnn.token_nats(model, held_out).double().mean().item()
    torch.set_num_threads(threads)
    weights = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    return Trained(model.hidden, sum(p.numel() for p in model.parameters()), score, curve, weights)


# ---------------------------------------------------------------- text


def streams(args: Any, corpus: Any) -> tuple[Tensor, Tensor]:
    """The rows to train on, and the held-out text in rows, its first character predicted from the last before it."""
    train_ids, held_out_ids = corpus.encode(corpus.train_text), corpus.encode(corpus.held_out_text)
    held_out = char_rnn.streams(torch.cat([train_ids[-1:], held_out_ids]), HELD_OUT_ROWS)
    return char_rnn.streams(train_ids, args.batch).to(args.device), held_out.to(args.device)


def train_text(model: nn.Module, rows: Tensor, epochs: int, rate: float) -> list[float]:
    """Truncated BPTT of lab 3.1 with Adam, a short warm-up and a straight way down to zero; the loss of every chunk."""
    last = epochs * math.ceil((rows.size(1) - 1) / STEPS)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.99))
    warm_up = max(1, min(WARMUP, last // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min((i + 1) / warm_up, 1) * (1 - i / last))
    losses = []
    for _ in range(epochs):
        for loss in char_rnn.truncated_bptt(model, rows, STEPS, optimizer, MAX_NORM):
            losses.append(loss)
            schedule.step()
    return losses


# ---------------------------------------------------------------- the delayed copy


def questions(args: Any, lab: SimpleNamespace, count: int, trial: Trial) -> tuple[Tensor, Tensor]:
    """Inputs and targets of random symbols; chatter has an alphabet of its own, as large as that of the symbols."""
    symbols = torch.randint(N_SYMBOLS, (count, COPIED), device=args.device)
    between = torch.randint(N_SYMBOLS + 2, 2 * N_SYMBOLS + 2, (count, trial.lag - COPIED), device=args.device)
    return lab.delayed_copy(symbols, trial.lag, N_SYMBOLS, between if trial.chatter else None)


def train_copy(args: Any, lab: SimpleNamespace, model: nn.Module, trial: Trial) -> tuple[float, list[float]]:
    """Adam on fresh questions. The accuracy on others afterwards; that of training, averaged over CURVE steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=trial.rate)
    right = []
    for _ in range(args.copy_steps):
        inputs, targets = questions(args, lab, COPY_BATCH, trial)
        logits = model(inputs)[0]
        loss = F.cross_entropy(logits.mT, targets, ignore_index=lab.IGNORED)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        right.append(share_right(logits, targets, lab.IGNORED))
    with torch.no_grad():
        inputs, targets = questions(args, lab, COPY_TESTED, trial)
        final = share_right(model(inputs)[0], targets, lab.IGNORED)
    return final, [float(np.mean(part)) for part in np.array_split(right, max(1, len(right) // CURVE))]


def share_right(logits: Tensor, targets: Tensor, ignored: int) -> float:
    asked = targets != ignored
    return (logits.argmax(-1) == targets)[asked].double().mean().item()


# ---------------------------------------------------------------- all of them


def all_of(
    args: Any, lab: SimpleNamespace, corpus: Any, trials: Iterable[Trial], description: str
) -> Iterator[Trained]:
    """Trains them in `args.workers` processes, and yields what came out in the order of the trials."""
    trials = list(trials)
    if args.workers < 2 or args.device != "cpu":
        yield from run.progress((one(args, lab, corpus, trial) for trial in trials), description, len(trials))
        return
    spawn, start = multiprocessing.get_context("spawn"), (args, lab.__file__, corpus)
    with ProcessPoolExecutor(args.workers, spawn, start_worker, start) as pool:
        yield from run.progress(pool.map(one_in_worker, trials), description, len(trials))


_worker: tuple[Any, SimpleNamespace, Any] | None = None  # what a worker process was started with


def start_worker(args: Any, lab_file: str, corpus: Any) -> None:
    """Functions of a script do not travel between processes, its path does."""
    global _worker
    _worker = args, SimpleNamespace(**runpy.run_path(lab_file, run_name="lab")), corpus


def one_in_worker(trial: Trial) -> Trained:
    return one(*_worker, trial)
