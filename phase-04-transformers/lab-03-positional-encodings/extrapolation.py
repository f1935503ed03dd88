"""Tiny language models that differ in one thing only, how they know positions, and their loss on longer texts.

Each reads windows of TRAIN_LENGTH characters in training, and windows up to 8 times as long afterwards.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS, LAYERS = 64, 4, 2
HEAD_SIZE = WIDTH // HEADS
TRAIN_LENGTH = 64
LENGTHS = [TRAIN_LENGTH * times for times in (1, 2, 4, 8)]
TAIL = 16  # the last characters of a window, the same ones at every length
TUNED_LENGTH = 4 * TRAIN_LENGTH
LEARNING_RATE, TUNING_RATE, WARM_UP = 3e-3, 1e-3, 50

SCHEMES = ["none", "learned", "sinusoidal", "t5", "alibi", "rope"]
SCALINGS = ["linear", "ntk", "yarn"]  # ways to read longer texts with the trained RoPE model, weights untouched


class Attention(nn.Module):
    """Causal self-attention. cos and sin turn q and k; bias, with the causal mask in it, is added to the scores."""

    def __init__(self, lab: SimpleNamespace) -> None:
        super().__init__()
        self.lab = lab
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor] | None, bias: Tensor | None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, HEAD_SIZE)).permute(2, 0, 3, 1, 4)  # (B, H, T, K) each
        if turn is not None:
            q, k = self.lab.apply_rope(q, *turn), self.lab.apply_rope(k, *turn)
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=bias is None)
        return self.out(heads.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, lab: SimpleNamespace) -> None:
        super().__init__()
        self.attention = Attention(lab)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor] | None, bias: Tensor | None) -> Tensor:
        x = x + self.attention(self.norm1(x), turn, bias)
        return x + self.mlp(self.norm2(x))


class TinyLM(nn.Module):
    """A decoder of 2 layers and 4 heads of size 16. lab: where the positional functions come from."""

    def __init__(self, lab: SimpleNamespace, scheme: str, vocab_size: int) -> None:
        super().__init__()
        self.lab, self.scheme = lab, scheme
        self.embedding = nn.Embedding(vocab_size, WIDTH)
        nn.init.normal_(self.embedding.weight, std=0.5)  # of the size of a sinusoid's entries
        self.blocks = nn.ModuleList(Block(lab) for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, vocab_size)
        if scheme == "learned":  # rows beyond the training length exist here, but no training step ever reaches them
            self.positions = lab.LearnedPositions(LENGTHS[-1], WIDTH)
        if scheme == "t5":
            self.table = nn.Parameter(0.02 * torch.randn(32, HEADS))

    def forward(self, tokens: Tensor, scaling: str | None = None) -> Tensor:
        """tokens: (B, T) int   scaling: one of SCALINGS, for RoPE   -> logits (B, T, V)"""
        lab, length, device = self.lab, tokens.size(1), tokens.device
        x, turn, bias = self.embedding(tokens), None, None
        if self.scheme == "learned":
            x = x + self.positions(torch.arange(length, device=device))
        elif self.scheme == "sinusoidal":
            x = x + lab.sinusoidal(length, WIDTH, device=device)
        elif self.scheme == "rope":
            turn = self.turn(length, scaling, device)
        elif self.scheme == "alibi":
            bias = lab.alibi_bias(HEADS, length, length, device=device)
        elif self.scheme == "t5":
            bias = lab.t5_bias(self.table, length, length, bidirectional=False)
        if bias is not None:
            bias = bias.masked_fill(~lab.causal_mask(length, length, device=device), float("-inf"))
        for block in self.blocks:
            x = block(x, turn, bias)
        return self.head(self.norm(x))

    def turn(self, length: int, scaling: str | None, device: torch.device) -> tuple[Tensor, Tensor]:
        """RoPE's cosines and sines for positions 0 ... length - 1, stretched by length / TRAIN_LENGTH if asked for."""
        options = None
        if scaling is not None:
            options = {"rope_type": scaling, "factor": max(1.0, length / TRAIN_LENGTH)}
            options["original_max_position_embeddings"] = TRAIN_LENGTH
        inv_freq, factor = self.lab.rope_frequencies(HEAD_SIZE, scaling=options, device=device)
        cos, sin = self.lab.rope_angles(torch.arange(length, device=device), inv_freq)
        return factor * cos, factor * sin


# ---------------------------------------------------------------- training and evaluation of one model


def batches(ids: Tensor, length: int, batch: int, steps: int, seed: int) -> Iterator[Tensor]:
    """`steps` times `batch` windows from random places: (B, length + 1). The same windows for every scheme."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        starts = torch.randint(len(ids) - length, (batch,), generator=generator)
        yield ids[starts[:, None] + torch.arange(length + 1)]


def train(
    model: TinyLM, windows: Iterator[Tensor], steps: int, learning_rate: float, scaling: str | None = None
) -> None:
    """AdamW with a short warm-up and a straight way down to a tenth of the learning rate."""
    device = model.head.weight.device
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    warm_up = max(1, min(WARM_UP, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm_up, 1) * (1 - 0.9 * step / steps)
    )
    for window in windows:
        window = window.to(device)
        logits = model(window[:, :-1], scaling)
        loss = F.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


@torch.no_grad()
def window_nats(model: TinyLM, windows: Tensor, length: int, scaling: str | None = None) -> Tensor:
    """Nats of the last `length` characters of each window, the model having read nothing before them: (W, length)"""
    nats = []
    for window in windows[:, -length - 1 :].split(max(1, 8192 // length)):
        logits = model(window[:, :-1], scaling)
        nats.append(F.cross_entropy(logits.transpose(1, 2), window[:, 1:], reduction="none"))
    return torch.cat(nats)


def evaluate(model: TinyLM, windows: Tensor, scaling: str | None = None) -> dict[str, list[float]]:
    """Mean nats per character, for each of LENGTHS.

    window: of all characters of the windows    tail: of their last TAIL characters, which are the same at every length
    by_position: of each TAIL successive positions of the longest windows
    """
    found: dict[str, list[float]] = {"window": [], "tail": []}
    for length in LENGTHS:
        nats = window_nats(model, windows, length, scaling)
        found["window"].append(nats.mean().item())
        found["tail"].append(nats[:, -TAIL:].mean().item())
    found["by_position"] = nats.mean(0).unflatten(0, (-1, TAIL)).mean(1).tolist()
    return found


def held_out_windows(ids: Tensor, count: int) -> Tensor:
    """`count` windows of the greatest length + 1, evenly spread over the text."""
    starts = torch.linspace(0, len(ids) - LENGTHS[-1] - 1, count).long()
    return ids[starts[:, None] + torch.arange(LENGTHS[-1] + 1)]


@dataclass(frozen=True)
class Job:
    """ids, held_out: (n,) int64   windows: how many of the held-out text are read"""

    ids: Tensor
    held_out: Tensor
    vocab_size: int
    steps: int
    batch: int
    windows: int
    device: str


def one_run(lab: SimpleNamespace, job: Job, scheme: str, seed: int) -> dict[str, dict[str, list[float]]]:
    """Trains one model -> what `evaluate` finds; for RoPE also with each of SCALINGS, and after fine-tuning."""
    torch.manual_seed(seed)
    model = TinyLM(lab, scheme, job.vocab_size).to(job.device)
    train(model, batches(job.ids, TRAIN_LENGTH, job.batch, job.steps, seed), job.steps, LEARNING_RATE)
    windows = held_out_windows(job.held_out, job.windows).to(job.device)
    found = {scheme: evaluate(model, windows)}
    if scheme == "rope":
        found |= {f"rope_{scaling}": evaluate(model, windows, scaling) for scaling in SCALINGS}
        for scaling in (None, *SCALINGS):
            found[f"tuned_{scaling or 'rope'}"] = fine_tuned(model, job, windows, scaling, seed)
    return found


def fine_tuned(model: TinyLM, job: Job, windows: Tensor, scaling: str | None, seed: int) -> dict[str, list[float]]:
    """Nats at TUNED_LENGTH after a tenth as many steps with texts of that length, as many characters per step."""
    tuned = TinyLM(model.lab, model.scheme, job.vocab_size).to(job.device)
    tuned.load_state_dict(model.state_dict())
    steps, batch = max(1, job.steps // 10), max(1, job.batch * TRAIN_LENGTH // TUNED_LENGTH)
    train(tuned, batches(job.ids, TUNED_LENGTH, batch, steps, seed + 1000), steps, TUNING_RATE, scaling)
    nats = window_nats(tuned, windows, TUNED_LENGTH, scaling)
    return {"window": [nats.mean().item()], "tail": [nats[:, -TAIL:].mean().item()]}


# ---------------------------------------------------------------- all models, in two processes


def all_runs(
    lab: SimpleNamespace, job: Job, seeds: list[int], workers: int
) -> Iterator[tuple[int, dict[str, dict[str, list[float]]]]]:
    """Yields (seed, what `one_run` found) for every scheme and seed as they end. Each run computes in one thread."""
    tasks = [(scheme, seed) for seed in seeds for scheme in reversed(SCHEMES)]  # the longest first
    if workers < 2 or job.device != "cpu":
        for scheme, seed in tasks:
            yield seed, one_run(lab, job, scheme, seed)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), start_worker, (lab.__file__, job)) as pool:
        running = {pool.submit(worker_run, scheme, seed): seed for scheme, seed in tasks}
        for done in as_completed(running):
            yield running[done], done.result()


_worker: tuple[SimpleNamespace, Job] | None = None  # what a worker process was started with


def start_worker(lab_file: str, job: Job) -> None:
    """Functions of a script do not travel between processes, its path does."""
    global _worker
    torch.set_num_threads(1)
    _worker = SimpleNamespace(**runpy.run_path(lab_file, run_name="lab")), job


def worker_run(scheme: str, seed: int) -> dict[str, dict[str, list[float]]]:
    return one_run(*_worker, scheme, seed)
