"""One task for four models: fill in what is hidden in a word that is said twice.

A text is a word of five different letters, and the same word again. Two letters that do not touch are hidden:

    left    both in the second half: what is hidden has been said before
    right   both in the first half: what is hidden is said later
    twins   the same letter of both halves: nobody can know it, but the two answers should agree
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import mean
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from labkit.reference.mini_transformer import MiniGPT

LETTERS, HALF, HIDDEN, SENTINELS = 10, 5, 2, 3
FIRST = 4  # as in solution.py
VOCAB = FIRST + LETTERS + SENTINELS
DENSITY = HIDDEN / (2 * HALF)  # of the hidden letters, in the tests and, for both objectives, in training
CASES = ("left", "right", "twins")
BATCH, RATE, WARMUP = 32, 3e-3, 50


def random_spans(length: int, generator: torch.Generator, density: float = 0.15, mean_span: float = 3.0) -> Tensor:
    """T5's choice of what to hide: (length,) bool, True = hidden.

    round(length · density) tokens are hidden, at least 1 and not all, in about that number / mean_span spans. Visible
    and hidden spans take turns, a visible one first, each at least one token long; all ways to cut are equally likely.
    """
    if length < 2 or not 0 < density < 1 or mean_span < 1:
        wanted = "expected length >= 2, 0 < density < 1, mean_span >= 1"
        raise ValueError(f"{wanted}, got length={length}, density={density}, mean_span={mean_span}")
    n_hidden = min(max(round(length * density), 1), length - 1)
    n_spans = min(max(round(n_hidden / mean_span), 1), length - n_hidden)
    parts = []
    for total in (length - n_hidden, n_hidden):
        cuts = (torch.randperm(total - 1, generator=generator)[: n_spans - 1] + 1).sort().values
        edges = torch.cat([torch.tensor([0]), cuts, torch.tensor([total])])
        parts.append(edges.diff())  # (n_spans,) lengths that sum to total
    lengths = torch.stack(parts, dim=1).flatten()  # visible, hidden, visible, hidden, ...
    return (torch.arange(2 * n_spans) % 2 == 1).repeat_interleave(lengths)


def texts(count: int, generator: torch.Generator) -> Tensor:
    """(count, 2 HALF): five different letters, twice."""
    word = torch.rand(count, LETTERS, generator=generator).argsort(-1)[:, :HALF] + FIRST
    return word.repeat(1, 2)


def hide(case: str, count: int, generator: torch.Generator) -> Tensor:
    """(count, 2 HALF) bool, True = hidden. The text's first letter stays visible, as in `random_spans`."""
    first = torch.randint(1, HALF - HIDDEN, (count,), generator=generator)
    gap = 2 + (torch.rand(count, generator=generator) * (HALF - 2 - first)).long()  # at least one visible between
    places = {"left": (first + HALF, first + gap + HALF), "right": (first, first + gap), "twins": (first, first + HALF)}
    hidden = torch.zeros(count, 2 * HALF, dtype=torch.bool)
    return hidden.scatter(1, torch.stack(places[case], dim=1), True)


class Contestant:
    """A model, how a batch is made for it, and how it fills in hidden letters.

    `loss(text, generator)` trains it. `fill(text, hidden, sample)`, both (B, 2 HALF), gives the text with its own
    letters at the hidden places (B, 2 HALF), -1 where it wrote none. sample: draw instead of taking the likeliest.
    """

    model: nn.Module

    def __init__(self, lab: SimpleNamespace, config: Any) -> None:
        self.lab, self.model = lab, MiniGPT(config)

    def choose(self, logits: Tensor, sample: bool) -> Tensor:
        """logits: (..., V) -> (...)"""
        if not sample:
            return logits.argmax(-1)
        return torch.distributions.Categorical(logits=logits).sample()


class LeftToRight(Contestant):
    """GPT as it is pretrained: the next letter, from those before."""

    def loss(self, text: Tensor, generator: torch.Generator) -> Tensor:
        return self.model(self.lab.shift_right(text), text)[1]

    def fill(self, text: Tensor, hidden: Tensor, sample: bool) -> Tensor:
        text = text.masked_fill(hidden, -1)
        for t in range(text.size(1)):
            logits = self.model(self.lab.shift_right(text[:, : t + 1]))[0][:, -1]
            text[:, t] = torch.where(hidden[:, t], self.choose(logits, sample), text[:, t])
        return text


class AllAtOnce(Contestant):
    """BERT: every hidden letter from everything that is visible, none from another hidden one."""

    def __init__(self, lab: SimpleNamespace, config: Any) -> None:
        sizes = {name: getattr(config, name) for name in ("vocab_size", "block_size", "n_layers", "n_heads", "d_model")}
        self.lab, self.model = lab, lab.MiniBERT(lab.bert_config(**sizes))

    def loss(self, text: Tensor, generator: torch.Generator) -> Tensor:
        special = torch.zeros_like(text, dtype=torch.bool)
        choose, change = torch.rand(2, *text.shape, generator=generator).to(text.device)
        strangers = torch.randint(FIRST, FIRST + LETTERS, text.shape, generator=generator).to(text.device)
        inputs, labels = self.lab.mask_tokens(text, special, choose, change, strangers, rate=DENSITY)
        return self.model(inputs, labels)[1]

    def fill(self, text: Tensor, hidden: Tensor, sample: bool) -> Tensor:
        chosen = self.choose(self.model(text.masked_fill(hidden, self.lab.MASK))[0], sample)
        return torch.where(hidden, chosen, text)


class OneByOne(AllAtOnce):
    """The same BERT, asked again after every letter that it has filled in, from left to right."""

    def fill(self, text: Tensor, hidden: Tensor, sample: bool) -> Tensor:
        text = text.masked_fill(hidden, self.lab.MASK)
        for t in range(text.size(1)):
            if hidden[:, t].any():
                chosen = self.choose(self.model(text)[0][:, t], sample)
                text[:, t] = torch.where(hidden[:, t], chosen, text[:, t])
        return text


class SpanWriter(Contestant):
    """T5: reads the text with sentinels, writes what belongs in their place."""

    def __init__(self, lab: SimpleNamespace, config: Any) -> None:
        self.lab, self.model = lab, lab.MiniT5(config)

    def loss(self, text: Tensor, generator: torch.Generator) -> Tensor:
        hidden = random_spans(2 * HALF, generator, DENSITY, mean_span=1.0).repeat(len(text), 1)
        # a text ends hidden by construction; rolled, every place has its turn (T5's code offers the same)
        turns = torch.randint(2 * HALF, (len(text), 1), generator=generator)
        hidden = hidden.gather(1, (torch.arange(2 * HALF) + turns) % (2 * HALF))
        return self.score(*self.corrupt(text, hidden))

    def score(self, source: Tensor, target: Tensor) -> Tensor:
        return self.model(source, target)[1]

    def corrupt(self, text: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S), (B, T): all rows hide as many letters in as many spans, so none needs padding."""
        pairs = [self.lab.corrupt_spans(row, hide, VOCAB - 1) for row, hide in zip(text, hidden.to(text.device))]
        return tuple(torch.stack(side) for side in zip(*pairs))

    def write(self, source: Tensor, length: int, sample: bool) -> Tensor:
        memory = self.model.encode(source)
        written = torch.full_like(source[:, :1], self.lab.PAD)
        for _ in range(length):
            chosen = self.choose(self.model.decode(written, memory)[:, -1], sample)
            written = torch.cat([written, chosen[:, None]], dim=1)
        return written[:, 1:]

    def fill(self, text: Tensor, hidden: Tensor, sample: bool) -> Tensor:
        source, target = self.corrupt(text, hidden)
        written = self.write(source, target.size(1), sample)
        shape_kept = ((written >= FIRST + LETTERS) == (target >= FIRST + LETTERS)).all(1)  # sentinels where they belong
        letters = written[:, 1 : 2 * HIDDEN : 2]  # s0 . s1 . s2 EOS
        filled = text.clone()
        filled[hidden] = letters.masked_fill(~shape_kept[:, None], -1).flatten()
        return filled


class SpanPrompt(SpanWriter):
    """GPT on T5's task: the text with sentinels, SEP, and then the answer; the loss counts the answer only."""

    def __init__(self, lab: SimpleNamespace, config: Any) -> None:
        self.lab, self.model = lab, MiniGPT(config)

    def score(self, source: Tensor, target: Tensor) -> Tensor:
        prompt = self.prompt(source)
        inputs = torch.cat([prompt, target[:, :-1]], dim=1)
        silent = torch.full_like(prompt[:, :-1], self.lab.IGNORE)
        return self.model(inputs, torch.cat([silent, target], dim=1))[1]

    def prompt(self, source: Tensor) -> Tensor:
        return torch.cat([source, torch.full_like(source[:, :1], self.lab.SEP)], dim=1)

    def write(self, source: Tensor, length: int, sample: bool) -> Tensor:
        prompt = self.prompt(source)
        written = self.model.generate(prompt, length, temperature=1.0 if sample else 0.0)
        return written[:, prompt.size(1) :]


MODELS = {"GPT": LeftToRight, "GPT, prompted": SpanPrompt, "BERT": AllAtOnce, "T5": SpanWriter}


def larger_weights(model: nn.Module) -> None:
    """N(0, 0.02²) suits widths like 768. At 64 the first scores are almost 0, and looking up is learned late."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.32 if "embedding" in name else 0.16)


def train(contestant: Contestant, args: Any, seed: int) -> tuple[list[float], dict[str, list[float]]]:
    """AdamW with warmup and a linear decay to 0, the same for all; one fresh batch per step.

    -> the losses, and the way there: after which steps it was asked (args.checks times, on a few examples), and the
    share of right answers where the hidden letters had been said before.
    """
    generator = torch.Generator().manual_seed(seed)
    larger_weights(contestant.model)
    contestant.model.to(args.device).train()
    optimizer = torch.optim.AdamW(contestant.model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    losses, way = [], {"step": [], "left": []}
    every, some = max(1, args.steps // args.checks), SimpleNamespace(device=args.device, examples=args.examples // 4)
    for step in range(args.steps):
        optimizer.param_groups[0]["lr"] = RATE * min((step + 1) / WARMUP, 1 - step / args.steps)
        loss = contestant.loss(texts(BATCH, generator).to(args.device), generator)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(contestant.model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % every == 0:
            way["step"].append(step + 1)
            way["left"].append(judge(contestant, some, seed, ("left",))["left"])
            contestant.model.train()
    return losses, way


@torch.no_grad()
def judge(contestant: Contestant, args: Any, seed: int, cases: tuple[str, ...] = CASES) -> dict[str, float]:
    """Share of examples, per case: both letters right ("left", "right"), or both the same ("twins", drawn)."""
    generator = torch.Generator().manual_seed(1_000_000 + seed)  # no training seed comes near
    torch.manual_seed(seed)
    contestant.model.eval()
    scores = {}
    for case in cases:
        text, hidden = texts(args.examples, generator), hide(case, args.examples, generator)
        text, hidden = text.to(args.device), hidden.to(args.device)
        filled = contestant.fill(text, hidden, sample=case == "twins")
        answers = filled[hidden].view(-1, HIDDEN)
        wanted = answers[:, :1] if case == "twins" else text[hidden].view(-1, HIDDEN)
        good = (answers == wanted) & (answers >= FIRST) & (answers < FIRST + LETTERS)
        scores[case] = good.all(1).double().mean().item()
    return scores


# ---------------------------------------------------------------- all of them, in two processes


def one_run(lab: SimpleNamespace, args: Any, name: str, seed: int) -> dict[str, dict[str, Any]]:
    """Trains one model. -> its scores, its size and its way there, under its name; BERT's one by one under another."""
    torch.manual_seed(seed)
    layers = 1 if name == "T5" else 2  # one on each side
    config = lab.GPTConfig(vocab_size=VOCAB, block_size=32, n_layers=layers, n_heads=4, d_model=args.width)
    contestant = MODELS[name](lab, config)
    losses, way = train(contestant, args, seed)
    parameters = sum(p.numel() for p in contestant.model.parameters())
    scores = judge(contestant, args, seed)
    found = {name: scores | {"parameters": parameters, "loss": mean(losses[-20:]), "way": way}}
    if name == "BERT":
        patient = OneByOne(lab, config)
        patient.model = contestant.model
        found["BERT, one by one"] = judge(patient, args, seed) | {"parameters": parameters}
    return found


def all_runs(lab: SimpleNamespace, args: Any) -> Iterator[dict[str, dict[str, Any]]]:
    """What `one_run` finds for every model and seed, in this order. In a worker each run computes in one thread."""
    tasks = [(name, seed) for name in MODELS for seed in range(args.seed, args.seed + args.seeds)]
    if args.workers < 2 or args.device != "cpu":
        yield from (one_run(lab, args, name, seed) for name, seed in tasks)
        return
    told = SimpleNamespace(**{name: getattr(args, name) for name in ("steps", "checks", "examples", "width", "device")})
    with ProcessPoolExecutor(args.workers, get_context("spawn"), start_worker, (lab.__file__, told)) as pool:
        yield from pool.map(worker_run, *zip(*tasks))


_worker: tuple[SimpleNamespace, Any] | None = None  # what a worker process was started with


def start_worker(lab_file: str, args: Any) -> None:
    """Functions of a script do not travel between processes, its path does."""
    global _worker
    torch.set_num_threads(1)
    _worker = SimpleNamespace(**runpy.run_path(lab_file, run_name="lab")), args


def worker_run(name: str, seed: int) -> dict[str, dict[str, Any]]:
    return one_run(*_worker, name, seed)
