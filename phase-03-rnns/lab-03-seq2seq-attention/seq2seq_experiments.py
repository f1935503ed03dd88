"""Training, exact match, alignment and search: what seq2seq_report.py prints and draws.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import functools
import multiprocessing
import runpy
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from seq2seq_tasks import Vocabulary
from torch import Tensor, nn

from labkit import run

MODELS = {"no attention": None, "Bahdanau": "bahdanau", "Luong": "luong"}
D_MODEL, LEARNING_RATE, WARMUP, MAX_NORM = 32, 4e-3, 50, 1.0
CHECKPOINTS = 5
ROOM = 4  # answers may be so many symbols longer than the right one


class Coder:
    """Pairs of texts as the three tensors of a batch, and back."""

    def __init__(self, lab: SimpleNamespace, task: Any, device: str) -> None:
        self.lab, self.device = lab, device
        self.source, self.target = (Vocabulary(c) for c in (task.source_characters, task.target_characters))

    def __call__(self, pairs: list[tuple[str, str]]) -> tuple[Tensor, Tensor, Tensor]:
        """-> source (B, S), mask (B, S), target (B, T)"""
        source, mask = self.lab.pad([self.source.encode(question) for question, _ in pairs])
        target, _ = self.lab.pad([self.target.encode(answer, end=True) for _, answer in pairs])
        return source.to(self.device), mask.to(self.device), target.to(self.device)


@dataclass
class Run:
    """One model trained from one seed. exact[step][group]: share of right answers, at every checkpoint."""

    model: nn.Module
    losses: list[float] = field(default_factory=list)
    exact: dict[int, dict[str, float]] = field(default_factory=dict)


def width_for(build: Any, parameters: int) -> int:
    """The smallest width at which a model has that many parameters."""
    hidden = 8
    while count(build(hidden)) < parameters:
        hidden += 1
    return hidden


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def builders(lab: SimpleNamespace, coder: Coder, hidden: int) -> dict[str, Any]:
    """A function per model that makes a fresh one. None has fewer parameters than Bahdanau's at the width `hidden`."""
    sizes = coder.source.size, coder.target.size
    most = count(lab.Seq2Seq(*sizes, D_MODEL, hidden, "bahdanau"))
    found = {}
    for name, attention in MODELS.items():
        width = width_for(lambda h, attention=attention: lab.Seq2Seq(*sizes, D_MODEL, h, attention), most)
        found[name] = lambda width=width, attention=attention: lab.Seq2Seq(*sizes, D_MODEL, width, attention)
    return found


def train(
    lab: SimpleNamespace, task: Any, coder: Coder, model: nn.Module, steps: int, batch: int, seed: int, tests: dict
) -> Run:
    """Adam: a short warm-up, then constant, the last two fifths straight down to zero. Fresh pairs at every step."""
    rng = np.random.default_rng([seed, 1])
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    warm_up = max(1, min(WARMUP, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min((i + 1) / warm_up, 1.0, max((steps - i) / (0.4 * steps), 0.0))
    )
    found, checkpoints = Run(model), {round(steps * k / CHECKPOINTS) for k in range(1, CHECKPOINTS + 1)}
    for i in range(1, steps + 1):
        source, mask, target = coder(task.pairs(rng, batch))
        loss = lab.sequence_loss(model(source, mask, target)[0], target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        schedule.step()
        found.losses.append(loss.item())
        if i in checkpoints:
            found.exact[i] = exact_match(lab, task, coder, model, tests)
    return found


def answers(lab: SimpleNamespace, task: Any, coder: Coder, model: nn.Module, pairs: list) -> list[str]:
    """The greedy answer to each question."""
    source, mask, _ = coder(pairs)
    with torch.no_grad():
        memory, state = model.encode(source, mask)
    tokens = lab.greedy(model.stepper(memory), state, task.answer_length + ROOM)
    return [coder.target.decode(row) for row in tokens.tolist()]


def exact_match(lab: SimpleNamespace, task: Any, coder: Coder, model: nn.Module, tests: dict) -> dict[str, float]:
    """Per group of test pairs, the share whose whole answer is right."""
    pairs = [pair for group in tests.values() for pair in group]
    right = [text == answer for text, (_, answer) in zip(answers(lab, task, coder, model, pairs), pairs)]
    shares, start = {}, 0
    for name, group in tests.items():
        shares[name] = float(np.mean(right[start : start + len(group)]))
        start += len(group)
    return shares


def compare(args: Any, lab: SimpleNamespace, task: Any, coder: Coder, steps: int, tests: dict) -> dict[str, list[Run]]:
    """Every model from every seed, in `args.workers` processes; the data of a seed are the same for all models."""
    jobs = [(name, seed) for name in MODELS for seed in range(args.seed, args.seed + args.seeds)]
    settings = (lab.__file__, type(task), args.device, args.hidden, steps, args.batch, tests)
    with ProcessPoolExecutor(args.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        work = pool.map if args.workers > 1 else map
        trained = work(job, [settings] * len(jobs), jobs)
        runs = list(run.progress(trained, f"training, {task.name}", total=len(jobs)))
    make = builders(lab, coder, args.hidden)
    found: dict[str, list[Run]] = {name: [] for name in MODELS}
    for (name, _), (weights, losses, exact) in zip(jobs, runs):
        model = make[name]()
        model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
        found[name].append(Run(model.to(args.device), losses, exact))
    return found


def job(settings: tuple, which: tuple[str, int]) -> tuple[dict[str, np.ndarray], list[float], dict]:
    """One model from one seed, on one thread: the steps are many and small. -> weights, losses, exact match"""
    file, make_task, device, hidden, steps, batch, tests = settings
    lab = namespace(file)
    task, (name, seed) = make_task(), which
    coder = Coder(lab, task, device)
    make = builders(lab, coder, hidden)[name]
    torch.manual_seed(seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    done = train(lab, task, coder, make().to(device), steps, batch, seed, tests)
    torch.set_num_threads(threads)
    return {key: value.cpu().numpy() for key, value in done.model.state_dict().items()}, done.losses, done.exact


@functools.cache
def namespace(file: str) -> SimpleNamespace:
    """The file that was started, loaded once per process: solution.py, or a learner's lab.py."""
    return SimpleNamespace(**runpy.run_path(file, run_name="lab"))


# ---------------------------------------------------------------- where it looks


@torch.no_grad()
def alignment(coder: Coder, model: nn.Module, pair: tuple[str, str]) -> np.ndarray:
    """The weights of one pair under teacher forcing, (T, S); the last row is the step that writes EOS."""
    return model(*coder([pair]))[1][0].cpu().numpy()


@torch.no_grad()
def on_the_antidiagonal(coder: Coder, model: nn.Module, pairs: list) -> dict[str, float]:
    """Reversals of one length: where attention is when a letter is written, as shares.

    largest: how often the largest weight is at this very letter   weight: how much weight is there
    beside: how much is there and at its two neighbours
    """
    source, mask, target = coder(pairs)
    weights = model(source, mask, target)[1][:, : source.size(1)].flip(2)  # letter t is now at place t
    largest = (weights.argmax(2) == torch.arange(source.size(1), device=weights.device)).double().mean().item()
    bands = [weights.diagonal(offset, dim1=1, dim2=2).sum().item() for offset in (-1, 0, 1)]
    letters = weights.size(0) * source.size(1)
    return {"largest": largest, "weight": bands[1] / letters, "beside": sum(bands) / letters}


# ---------------------------------------------------------------- how it searches


@torch.no_grad()
def search(lab: SimpleNamespace, task: Any, coder: Coder, model: nn.Module, pairs: list, ways: dict) -> dict[str, dict]:
    """Beam search in several ways over the same questions.

    log_p: mean of the answer's ln p   exact: share right   length: mean length without EOS
    search_errors: share of questions answered wrongly although the right answer is more probable to the model
    """
    found = {name: [] for name in ways}
    for pair in run.progress(pairs, "beam search"):
        source, mask, target = coder([pair])
        truth = -lab.sequence_loss(model(source, mask, target)[0], target).item() * target.size(1)
        memory, state = model.encode(source, mask)
        for name, (width, alpha) in ways.items():
            best = lab.beam_search(model.stepper(memory), state, width, task.answer_length + ROOM, alpha)[0]
            text = coder.target.decode(best.tokens)
            right = text == pair[1]
            found[name].append([best.log_p, right, not right and truth > best.log_p, len(text)])
    names = ["log_p", "exact", "search_errors", "length"]
    return {way: dict(zip(names, np.mean(rows, axis=0).tolist())) for way, rows in found.items()}
