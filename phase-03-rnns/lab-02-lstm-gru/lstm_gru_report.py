"""What `python solution.py` (or your finished lab.py) shows: agreement with torch, text, gradients, the delayed copy.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy.special import stdtrit
from torch import nn

from labkit import run
from labkit.reference.char_rnn import char_rnn_report
from labkit.reference.lstm_gru import lstm_gru_figures as figures
from labkit.reference.lstm_gru import lstm_gru_training as training

LABELS = figures.LABELS
FAST = 3e-2  # on the delayed copy the vanilla RNN's best rate of those in sweep.py, ten times its usual one
TEXT_TRIALS = {"rnn": ("rnn", 0.0), "gru": ("gru", 0.0), "lstm_0": ("lstm", 0.0), "lstm_1": ("lstm", 1.0)}  # and b_f


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
    """All kinds on the same text: equal parameters, equal steps, several seeds. Also the models of the first seed."""
    seeds = range(args.seed, args.seed + args.seeds)
    trials = [training.on_text(kind, bias, seed) for kind, bias in TEXT_TRIALS.values() for seed in seeds]
    trained = iter(training.all_of(args, lab, corpus, trials, "text"))
    found: dict[str, Any] = {}
    models: dict[str, nn.Module] = {}
    for name, (kind, bias) in TEXT_TRIALS.items():
        of_this = list(itertools.islice(trained, args.seeds))
        nats = [one.score for one in of_this]
        found[name] = {
            "hidden": of_this[0].hidden,
            "parameters": of_this[0].parameters,
            "nats_by_seed": nats,
            "perplexity_by_seed": np.exp(nats),
            "perplexity": float(np.exp(np.mean(nats))),
            "nats": float(np.mean(nats)),
            "nats_sd": float(np.std(nats, ddof=1)),
            "curve": np.mean([one.curve for one in of_this], axis=0),
        }
        models[name] = training.build(args, lab, training.on_text(kind, bias, args.seed), corpus.vocab_size)
        weights = {key: torch.from_numpy(value) for key, value in of_this[0].weights.items()}
        models[name].load_state_dict(weights)
    for name in ("gru", "lstm_0", "lstm_1"):
        found[name] |= margin(found["rnn"]["nats_by_seed"], found[name]["nats_by_seed"])
    steps = len(found["rnn"]["curve"])
    scored = training.streams(args, corpus)[1][:, 1:].numel()
    print(f"{len(corpus.train_text):,} characters, {scored:,} held out; {steps:,} steps\n")
    rows = [
        [LABELS[name], f["hidden"], f["parameters"], f["perplexity"], f["nats"], f"{f['nats_sd']:.4f}", low_high(f)]
        for name, f in found.items()
    ]
    headers = ["held out", "F", "parameters", "perplexity", "nats", "sd", "ahead of the RNN"]
    print(run.table(headers, rows))
    print(f"means of {args.seeds} seeds; ahead: difference in nats with its 95 % interval\n")
    return {"steps": steps, "seeds": args.seeds, "models": found}, models


def margin(worse: list[float], better: list[float]) -> dict[str, float]:
    """By how many nats the second list lies below the first, with a 95 % interval (Student's t, pooled variance)."""
    n = len(worse)
    gap = float(np.mean(worse) - np.mean(better))
    pooled = (np.var(worse, ddof=1) + np.var(better, ddof=1)) / 2
    half = float(stdtrit(2 * n - 2, 0.975) * math.sqrt(2 * pooled / n))
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
        model = training.build(args, lab, training.on_text(kind, bias, args.seed), corpus.vocab_size)
        found["start"][name] = char_rnn_report.gradient_by_distance(model.cpu().double(), windows)
    for name, model in models.items():
        found["trained"][name] = char_rnn_report.gradient_by_distance(model.cpu().double(), windows)
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
        "rnn": ("rnn", 0.0, args.lag, True), "rnn_fast": ("rnn", 0.0, args.lag, True, FAST),
        "gru": ("gru", 0.0, args.lag, True), "lstm_lag": ("lstm", lasting, args.lag, True),
        "lstm_1": ("lstm", 1.0, args.lag, True), "rnn_blank": ("rnn", 0.0, args.lag, False),
        "rnn_short": ("rnn", 0.0, short, True),
    }  # fmt: skip
    seeds = range(args.seed, args.seed + args.seeds)
    to_do = [training.on_copy(kind, bias, seed, *rest) for kind, bias, *rest in trials.values() for seed in seeds]
    trained = iter(training.all_of(args, lab, None, to_do, "delayed copy"))
    found: dict[str, Any] = {}
    rows = []
    for name, (_, _, lag, chatter, *_) in trials.items():
        of_this = list(itertools.islice(trained, args.seeds))
        accuracies = [one.score for one in of_this]
        found[name] = {
            "lag": lag, "hidden": of_this[0].hidden, "parameters": of_this[0].parameters,
            "accuracy_by_seed": accuracies, "accuracy": float(np.mean(accuracies)), "lowest": min(accuracies),
            "highest": max(accuracies), "curve": np.mean([one.curve for one in of_this], axis=0),
        }  # fmt: skip
        percent = [f"{100 * a:.1f} %" for a in (np.mean(accuracies), min(accuracies), max(accuracies))]
        between = "chatter" if chatter else "blanks"
        label = LABELS["rnn"] if name in ("rnn_blank", "rnn_short") else LABELS[name]
        rows.append([label, lag, between, of_this[0].hidden, *percent])
    print(run.table(["copy", "lag", "between", "F", "right", "worst seed", "best seed"], rows))
    chance = 1 / training.N_SYMBOLS
    tested = f"{training.COPY_TESTED:,} questions each; guessing {chance:.1%}\n"
    print(f"{args.copy_steps:,} steps, {args.seeds} seeds, {tested}")
    return {"trials": found, "steps": args.copy_steps, "chance": chance}
