"""What `python solution.py` (or your finished lab.py) shows: agreement with torch, text, gradients, the delayed copy.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import run
from labkit.reference import char_rnn
from labkit.reference.char_rnn import char_rnn_report
from labkit.reference.lstm_gru import lstm_gru_figures as figures

KINDS, LABELS = figures.KINDS, figures.LABELS

STEPS, MAX_NORM, WARMUP = 64, 1.0, 50
HELD_OUT_ROWS = 64  # the held-out text is read in so many streams at once
COPY_BUDGET, COPY_BATCH, COPY_TESTED, N_SYMBOLS, COPIED = 10_000, 32, 1_000, 8, 1
COPY_D_MODEL = 16
TEXT_TRIALS = {"rnn": ("rnn", 0.0), "gru": ("gru", 0.0), "lstm_0": ("lstm", 0.0), "lstm_1": ("lstm", 1.0)}  # and b_f
CURVE = 20  # accuracy is averaged over so many training steps for the figure


def cell_of(lab: SimpleNamespace, kind: str, forget_bias: float = 1.0) -> Callable[[int, int], nn.Module]:
    """(input width, F) -> a cell of this kind."""
    if kind == "lstm":
        return lambda width, hidden: lab.LSTMCell(width, hidden, forget_bias)
    return {"rnn": char_rnn.VanillaRNNCell, "gru": lab.GRUCell}[kind]


def for_text(args: Any, lab: SimpleNamespace, kind: str, vocab_size: int, forget_bias: float = 1.0) -> nn.Module:
    return build(args, lab, kind, args.budget, KINDS[kind].d_model, vocab_size, forget_bias)


def build(
    args: Any, lab: SimpleNamespace, kind: str, budget: int, d_model: int, vocab_size: int, forget_bias: float
) -> nn.Module:
    """A network of this kind, as large as the budget allows."""
    hidden = lab.matched_hidden(budget, KINDS[kind].blocks, KINDS[kind].biases, d_model, vocab_size)
    return lab.GatedRNN(vocab_size, d_model, hidden, cell=cell_of(lab, kind, forget_bias)).to(args.device)


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def show(args: Any, lab: SimpleNamespace, corpus: Any) -> None:
    results: dict[str, Any] = {"agreement": agreement(lab)}
    results["text"], models = text(args, lab, corpus)
    results["gradients"] = gradients(args, lab, corpus, models)
    results["copy"] = delayed_copy(args, lab)
    figures.text(args, results["text"])
    figures.gradients(args, results["gradients"])
    figures.copy(args, results["copy"])
    for found in results["text"]["models"].values():
        del found["curve"]
    run.save_results(args, results)


# ---------------------------------------------------------------- agreement with torch


def agreement(lab: SimpleNamespace, width: int = 12, hidden: int = 32, steps: int = 50) -> dict[str, float]:
    """Own cells, step after step, against nn.LSTM and nn.GRU with the same weights."""
    found = {}
    for name, own, twin in (
        ("lstm", lab.LSTMCell(width, hidden), nn.LSTM(width, hidden)),
        ("gru", lab.GRUCell(width, hidden), nn.GRU(width, hidden)),
    ):
        own.w_x.load_state_dict({"weight": twin.weight_ih_l0, "bias": twin.bias_ih_l0})
        own.w_h.load_state_dict({"weight": twin.weight_hh_l0, "bias": twin.bias_hh_l0})
        x = torch.randn(steps, 4, width)
        state, worst = x.new_zeros(4, own.parts * hidden), 0.0
        with torch.no_grad():
            for step, expected in zip(x, twin(x)[0]):
                state = own(step, state)
                worst = max(worst, (state[:, :hidden] - expected).abs().max().item())
        found[name] = worst
        print(f"{steps} steps against nn.{name.upper()}: worst difference {worst:.1e}")
    print()
    return found


# ---------------------------------------------------------------- text


def text(args: Any, lab: SimpleNamespace, corpus: Any) -> tuple[dict[str, Any], dict[str, nn.Module]]:
    """All kinds on the same text: equal parameters, equal steps, several seeds. Also the models of seed 0."""
    train_ids, held_out_ids = corpus.encode(corpus.train_text), corpus.encode(corpus.held_out_text)
    rows = char_rnn.streams(train_ids, args.batch).to(args.device)
    held_out = char_rnn.streams(torch.cat([train_ids[-1:], held_out_ids]), HELD_OUT_ROWS).to(args.device)
    steps = args.epochs * math.ceil((rows.size(1) - 1) / STEPS)
    print(f"{len(train_ids):,} characters, {held_out.numel() - HELD_OUT_ROWS:,} held out; {steps:,} steps\n")
    found: dict[str, Any] = {}
    models: dict[str, nn.Module] = {}
    for name, (kind, forget_bias) in TEXT_TRIALS.items():
        nats, curves = [], []
        for seed in run.progress(range(args.seeds), LABELS[name]):
            torch.manual_seed(args.seed + seed)
            model = for_text(args, lab, kind, corpus.vocab_size, forget_bias)
            curves.append(train(model, rows, args.epochs, steps, KINDS[kind].text_rate))
            nats.append(char_rnn.token_nats(model, held_out).double().mean().item())
            models.setdefault(name, model)
        found[name] = {
            "hidden": model.hidden,
            "parameters": size(model),
            "nats_by_seed": nats,
            "perplexity_by_seed": np.exp(nats),
            "perplexity": float(np.exp(np.mean(nats))),
            "nats": float(np.mean(nats)),
            "nats_sd": float(np.std(nats, ddof=1)),
            "curve": np.mean(curves, axis=0),
        }
    for name in ("gru", "lstm_0", "lstm_1"):
        found[name] |= margin(found["rnn"]["nats_by_seed"], found[name]["nats_by_seed"])
    rows = [
        [LABELS[name], f["hidden"], f["parameters"], f["perplexity"], f["nats"], f"{f['nats_sd']:.4f}", low_high(f)]
        for name, f in found.items()
    ]
    headers = ["held out", "F", "parameters", "perplexity", "nats", "sd", "ahead of the RNN"]
    print(run.table(headers, rows))
    print(f"means of {args.seeds} seeds; ahead: difference in nats with its 95 % interval\n")
    return {"steps": steps, "seeds": args.seeds, "models": found}, models


def train(model: nn.Module, rows: Tensor, epochs: int, last: int, rate: float) -> list[float]:
    """Truncated BPTT of lab 3.1 with Adam, a short warm-up and a straight way down to zero; the loss of every chunk."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.99))
    warm_up = max(1, min(WARMUP, last // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min((i + 1) / warm_up, 1) * (1 - i / last))
    losses = []
    for _ in range(epochs):
        passing = char_rnn.truncated_bptt(model, rows, STEPS, optimizer, MAX_NORM)
        for loss in run.progress(passing, "chunks", total=last // epochs):
            losses.append(loss)
            schedule.step()
    return losses


def margin(worse: list[float], better: list[float]) -> dict[str, float]:
    """By how many nats the second list lies below the first, with a 95 % interval (Student's t, pooled variance)."""
    n = len(worse)
    gap = float(np.mean(worse) - np.mean(better))
    pooled = (np.var(worse, ddof=1) + np.var(better, ddof=1)) / 2
    half = float(student.ppf(0.975, 2 * n - 2) * math.sqrt(2 * pooled / n))
    return {"ahead": gap, "ahead_low": gap - half, "ahead_high": gap + half}


def low_high(found: dict) -> str:
    return (
        "-" if "ahead" not in found else f"{found['ahead']:.3f} ({found['ahead_low']:.3f}..{found['ahead_high']:.3f})"
    )


# ---------------------------------------------------------------- gradients


def gradients(args: Any, lab: SimpleNamespace, corpus: Any, models: dict[str, nn.Module]) -> dict[str, Any]:
    """How much of the last character's loss reaches the state k steps earlier: before training, and after."""
    windows = corpus.encode(corpus.held_out_text).unfold(0, 121, 120)[:32]
    fresh = TEXT_TRIALS | {"lstm_lag": ("lstm", long_bias(50))}
    found: dict[str, Any] = {"start": {}, "trained": {}}
    for name, (kind, bias) in fresh.items():
        torch.manual_seed(args.seed)
        model = for_text(args, lab, kind, corpus.vocab_size, bias)
        found["start"][name] = char_rnn_report.gradient_by_distance(copy.deepcopy(model).cpu().double(), windows)
    for name, model in models.items():
        found["trained"][name] = char_rnn_report.gradient_by_distance(copy.deepcopy(model).cpu().double(), windows)
    rows = []
    for when, by_name in found.items():
        for name, norms in by_name.items():
            per_step = (norms[99] / norms[9]) ** (1 / 90)
            rows.append([when, LABELS[name], *(f"{norms[k - 1]:.0e}" for k in (10, 50, 100)), per_step])
    print(run.table(["", "gradient", "k = 10", "k = 50", "k = 100", "per step"], rows))
    print("at a state k steps before the loss, as a share of the gradient one step before it\n")
    at_50 = {when: {name: norms[49] for name, norms in by_name.items()} for when, by_name in found.items()}
    ratios = {when: {n: v / found[when]["rnn"][49] for n, v in at_50[when].items()} for when in at_50}
    return found | {"at_50_over_rnn": ratios}


def long_bias(lag: int) -> float:
    """The forget bias with which 1/lag of the cell state is lost per step: σ(b) = 1 - 1/lag, so b = ln(lag - 1)."""
    return math.log(lag - 1)


# ---------------------------------------------------------------- the delayed copy


def delayed_copy(args: Any, lab: SimpleNamespace) -> dict[str, Any]:
    """The share of right answers, by kind, forget bias, lag, and what is heard in between."""
    short, lasting = max(2, args.lag // 10), long_bias(args.lag)
    trials = {
        "rnn": ("rnn", args.lag, 0.0, True), "gru": ("gru", args.lag, 0.0, True),
        "lstm_lag": ("lstm", args.lag, lasting, True), "lstm_1": ("lstm", args.lag, 1.0, True),
        "rnn_blank": ("rnn", args.lag, 0.0, False), "rnn_short": ("rnn", short, 0.0, True),
    }  # fmt: skip
    found: dict[str, Any] = {}
    rows = []
    for name, (kind, lag, bias, chatter) in trials.items():
        outcomes = []
        for seed in run.progress(range(args.seeds), f"copy: {name}"):
            torch.manual_seed(args.seed + seed)
            model = build(args, lab, kind, COPY_BUDGET, COPY_D_MODEL, 2 * N_SYMBOLS + 2, bias)
            outcomes.append(train_copy(args, lab, model, lag, chatter, KINDS[kind].copy_rate))
        accuracies, curves = zip(*outcomes)
        found[name] = {
            "lag": lag, "hidden": model.hidden, "parameters": size(model), "accuracy_by_seed": accuracies,
            "accuracy": float(np.mean(accuracies)), "lowest": min(accuracies), "highest": max(accuracies),
            "curve": np.mean(curves, axis=0),
        }  # fmt: skip
        percent = [f"{100 * a:.1f} %" for a in (np.mean(accuracies), min(accuracies), max(accuracies))]
        between = "chatter" if chatter else "blanks"
        label = LABELS["rnn"] if kind == "rnn" else LABELS[name]
        rows.append([label, lag, between, model.hidden, *percent])
    print(run.table(["copy", "lag", "between", "F", "right", "worst seed", "best seed"], rows))
    print(
        f"{args.copy_steps:,} steps, {args.seeds} seeds, {COPY_TESTED:,} questions each; guessing {1 / N_SYMBOLS:.1%}\n"
    )
    return {"trials": found, "steps": args.copy_steps, "chance": 1 / N_SYMBOLS}


def questions(args: Any, lab: SimpleNamespace, count: int, lag: int, chatter: bool) -> tuple[Tensor, Tensor]:
    """Inputs and targets of random symbols; chatter has an alphabet of its own, as large as that of the symbols."""
    symbols = torch.randint(N_SYMBOLS, (count, COPIED), device=args.device)
    between = torch.randint(N_SYMBOLS + 2, 2 * N_SYMBOLS + 2, (count, lag - COPIED), device=args.device)
    return lab.delayed_copy(symbols, lag, N_SYMBOLS, between if chatter else None)


def train_copy(
    args: Any, lab: SimpleNamespace, model: nn.Module, lag: int, chatter: bool, rate: float
) -> tuple[float, list[float]]:
    """Adam on fresh questions. The accuracy on others afterwards; that of training, averaged over CURVE steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    right = []
    for _ in run.progress(range(args.copy_steps), "steps"):
        inputs, targets = questions(args, lab, COPY_BATCH, lag, chatter)
        logits = model(inputs)[0]
        loss = F.cross_entropy(logits.mT, targets, ignore_index=lab.IGNORED)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        right.append(share_right(logits, targets, lab.IGNORED))
    with torch.no_grad():
        inputs, targets = questions(args, lab, COPY_TESTED, lag, chatter)
        final = share_right(model(inputs)[0], targets, lab.IGNORED)
    return final, [float(np.mean(part)) for part in np.array_split(right, max(1, len(right) // CURVE))]


def share_right(logits: Tensor, targets: Tensor, ignored: int) -> float:
    asked = targets != ignored
    return (logits.argmax(-1) == targets)[asked].double().mean().item()
