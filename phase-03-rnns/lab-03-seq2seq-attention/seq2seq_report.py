"""What `python solution.py` (or your finished lab.py) shows: two tasks, three models, their attention, their search."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import seq2seq_experiments as experiments
import torch
from seq2seq_experiments import Coder, Run
from seq2seq_tasks import Dates, Reversal
from torch.nn import functional as F

from labkit import run

LENGTHS = [4, 8, 12, 16, 20, 24]  # of the reversal's test strings
DATE_GROUPS = {"up to 14": (0, 14), "15-19": (15, 19), "20-24": (20, 24), "25-29": (25, 29), "30 and more": (30, 99)}
COLORS = {"no attention": "C3", "Bahdanau": "C0", "Luong": "C2"}
SEARCHED_LENGTH = 12
WAYS = {"greedy": (1, 1.0), "beam 2": (2, 1.0), "beam 4": (4, 1.0), "beam 8": (8, 1.0), "beam 8, α = 0": (8, 0.0)}


def show(args: Any, lab: SimpleNamespace) -> None:
    torch.manual_seed(args.seed)
    results: dict[str, Any] = {"agreement": agreement(lab)}
    dates, reversal = Dates(), Reversal()
    coders = {task.name: Coder(lab, task, args.device) for task in (dates, reversal)}
    rng = np.random.default_rng(args.seed)

    results["formats"] = {key(name): n for name, n in dates.formats.items()} | {"all": sum(dates.formats.values())}
    seen, held_out = dates.formats["seen formats"], dates.formats["held-out formats"]
    print(f"dates: {seen:,} formats in training, {held_out:,} held out")
    for question, answer in dates.pairs(np.random.default_rng(4), 3, "held-out formats", test=True):
        print(f"  {question}  ->  {answer}")
    groups = date_tests(dates, rng, args.test)
    runs = {"dates": experiments.compare(args, lab, dates, coders["dates"], args.date_steps, groups)}
    results["dates"] = learning_table(runs["dates"], ["seen formats", "held-out formats"])

    tests = {str(n): reversal.pairs(rng, args.test, n) for n in LENGTHS}
    print(f"reversal: strings of {reversal.shortest} to {reversal.longest} letters out of 20")
    runs["reversal"] = experiments.compare(args, lab, reversal, coders["reversal"], args.reversal_steps, tests)
    results["reversal"] = learning_table(runs["reversal"], ["24"])
    results["reversal"]["by_length"] = length_table(runs["reversal"])

    results["alignment"] = alignment_table(coders["reversal"], runs["reversal"], tests["24"])
    searched = reversal.pairs(rng, args.test, SEARCHED_LENGTH)
    results["search"] = search_table(lab, reversal, coders["reversal"], runs["reversal"]["no attention"][0], searched)

    plot_accuracy(args, runs)
    plot_lengths(args, runs["reversal"])
    plot_alignment(args, coders, runs, tests["24"][0])
    run.save_results(args, results)


def date_tests(dates: Dates, rng: np.random.Generator, size: int) -> dict[str, list]:
    """Test pairs: the two sets of formats, and the held-out one again in groups by source length."""
    tests = {name: dates.pairs(rng, 2 * size, name, test=True) for name in dates.bodies}
    for name, (low, high) in DATE_GROUPS.items():
        tests[name] = [pair for pair in tests["held-out formats"] if low <= len(pair[0]) <= high]
    return {name: pairs for name, pairs in tests.items() if pairs}


# ---------------------------------------------------------------- agreement with torch


def agreement(lab: SimpleNamespace) -> dict[str, float]:
    """Multiplicative attention against torch's, and a padded batch against its sources one by one; float64."""
    model = lab.Seq2Seq(12, 12, 6, 8, "luong").double()
    source, mask = lab.pad([torch.randint(3, 12, (n,)) for n in (5, 2, 9, 7)])
    with torch.no_grad():
        memory, state = model.encode(source, mask)
        context, _ = model.look(state, memory)
        q, k, v = state[:, None], memory.keys, memory.states
        expected = F.scaled_dot_product_attention(q, k, v, mask[:, None], scale=1.0)[:, 0]
        attention = (context - expected).abs().max().item()
        padding = 0.0
        for row, real in enumerate(mask.sum(1).tolist()):
            alone, first = model.encode(source[row : row + 1, :real], mask[row : row + 1, :real])
            padding = max(padding, (alone.states[0] - memory.states[row, :real]).abs().max().item())
            padding = max(padding, (first[0] - state[row]).abs().max().item())
    print(f"multiplicative attention against torch's: worst difference {attention:.1e}")
    print(f"sources in a padded batch against the same sources alone: worst difference {padding:.1e}\n")
    return {"attention": attention, "padding": padding}


# ---------------------------------------------------------------- tables


def percent(values: list[float]) -> str:
    """Mean over the seeds, and the range where there is one."""
    mean, low, high = (100 * f(values) for f in (np.mean, min, max))
    return f"{mean:.1f}" if low == high else f"{mean:.1f} ({low:.0f}-{high:.0f})"


def learning_table(runs: dict[str, list[Run]], groups: list[str]) -> dict[str, Any]:
    """Exact match at every checkpoint, per model."""
    steps = list(runs["Bahdanau"][0].exact)
    found: dict[str, Any] = {"steps": steps}
    for group in groups:
        rows = []
        for name, trained in runs.items():
            values = [[one.exact[step][group] for one in trained] for step in steps]
            rows.append([name, *(percent(v) for v in values)])
            found.setdefault(key(name), {"parameters": experiments.count(trained[0].model)})[key(group)] = {
                "mean": [100 * float(np.mean(v)) for v in values],
                "last": [100 * x for x in values[-1]],
                "final": 100 * float(np.mean(values[-1])),
            }
        what = f"length {group}" if group.isdigit() else group
        seeds = len(runs["Bahdanau"])
        print(f"\nexact match in %, {what}" + (f", mean of {seeds} seeds (lowest-highest)" if seeds > 1 else ""))
        print(run.table(["after steps", *map(str, steps)], rows))
    sizes = ", ".join(f"{name} {found[key(name)]['parameters']:,}" for name in runs)
    print(f"parameters: {sizes}\n")
    return found


def key(name: str) -> str:
    return name.replace(" ", "_").replace("-", "_").lower()


def length_table(runs: dict[str, list[Run]]) -> dict[str, dict[str, float]]:
    """Exact match of the trained models per length of the source."""
    last = max(runs["Bahdanau"][0].exact)
    rows, found = [], {}
    for name, trained in runs.items():
        values = {str(n): [one.exact[last][str(n)] for one in trained] for n in LENGTHS}
        rows.append([name, *(f"{100 * np.mean(v):.1f}" for v in values.values())])
        found[key(name)] = {n: 100 * float(np.mean(v)) for n, v in values.items()}
    print(f"exact match in % after {last} steps, by length of the source")
    print(run.table(["length", *map(str, LENGTHS)], rows) + "\n")
    return found


def alignment_table(coder: Coder, runs: dict[str, list[Run]], pairs: list) -> dict[str, dict[str, float]]:
    rows, found = [], {}
    for name in ("Bahdanau", "Luong"):
        values = [experiments.on_the_antidiagonal(coder, one.model, pairs) for one in runs[name]]
        mean = {what: 100 * float(np.mean([v[what] for v in values])) for what in values[0]}
        rows.append([name, *(f"{share:.1f}" for share in mean.values())])
        found[key(name)] = mean
    print("reversal of 24: attention at the letter that is written, in %")
    print(run.table(["", "largest weight there", "weight there", "weight there or beside it"], rows) + "\n")
    return found


def search_table(lab: SimpleNamespace, task: Reversal, coder: Coder, trained: Run, pairs: list) -> dict[str, dict]:
    found = experiments.search(lab, task, coder, trained.model, pairs, WAYS)
    rows = [
        [name, f"{v['log_p']:.2f}", f"{100 * v['exact']:.1f}", f"{100 * v['search_errors']:.1f}", f"{v['length']:.2f}"]
        for name, v in found.items()
    ]
    print(f"search with the model without attention, {len(pairs)} strings of {SEARCHED_LENGTH} letters")
    print(run.table(["search", "ln p", "exact %", "search errors %", "length"], rows))
    return {key(name.replace(", α = 0", " plain")): values for name, values in found.items()}


# ---------------------------------------------------------------- figures


def plot_accuracy(args: Any, runs: dict[str, dict[str, list[Run]]]) -> None:
    """Exact match against step and source length, a panel per task and model; means over the seeds."""
    fig, axes = run.figure(2, 3, width=9.5, height=5.2)
    groups = {"dates": list(DATE_GROUPS), "reversal": [str(n) for n in LENGTHS]}
    for row, (task, models) in zip(axes, runs.items()):
        for ax, (name, trained) in zip(row, models.items()):
            steps = list(trained[0].exact)
            there = [g for g in groups[task] if g in trained[0].exact[steps[0]]]
            values = [[np.mean([one.exact[step][g] for one in trained]) for step in steps] for g in there]
            image = ax.imshow(values, vmin=0, vmax=1, origin="lower", aspect="auto", cmap="viridis")
            ax.set_yticks(range(len(there)), there if name == "no attention" else [""] * len(there))
            ax.set_xticks(range(len(steps)), map(str, steps))
            ax.set(title=f"{task}, {name}", xlabel="steps")
            ax.grid(False)
        row[0].set_ylabel("source length")
    fig.colorbar(image, ax=axes, label="exact match", shrink=0.8)
    run.save_figure(args, fig, "accuracy.png")


def plot_lengths(args: Any, runs: dict[str, list[Run]]) -> None:
    """The trained models by source length, each seed a thin line."""
    fig, ax = run.figure(width=6.5, height=4)
    for name, trained in runs.items():
        curves = np.array([[one.exact[max(one.exact)][str(n)] for n in LENGTHS] for one in trained])
        ax.plot(LENGTHS, 100 * curves.T, color=COLORS[name], linewidth=0.8, alpha=0.5)
        ax.plot(LENGTHS, 100 * curves.mean(0), "o-", color=COLORS[name], label=name)
    ax.set(xlabel="letters in the source", ylabel="exact match in %", title="Reversal: what one vector can hold")
    ax.set_xticks(LENGTHS)
    ax.set_ylim(-3, 103)
    ax.legend()
    run.save_figure(args, fig, "lengths.png")


def plot_alignment(args: Any, coders: dict[str, Coder], runs: dict[str, dict[str, list[Run]]], pair: tuple) -> None:
    """Where the decoder looks when it writes each symbol: one date, one reversal, both kinds of attention."""
    fig, axes = run.figure(2, 2, width=9.5, height=7.6)
    date = ("by Thursday, 14th of March '24", "2024-03-14")
    for row, task, shown in zip(axes, ("dates", "reversal"), (date, pair)):
        for ax, name in zip(row, ("Bahdanau", "Luong")):
            weights = experiments.alignment(coders[task], runs[task][name][0].model, shown)
            ax.imshow(weights, vmin=0, vmax=1, cmap="viridis", aspect="auto")
            ax.set_xticks(range(len(shown[0])), shown[0].replace(" ", "␣"), fontsize=7)
            ax.set_yticks(range(len(shown[1]) + 1), [*shown[1], "end"], fontsize=7)
            ax.set(title=f"{task}, {name}", xlabel="read", ylabel="written")
            ax.grid(False)
    run.save_figure(args, fig, "alignment.png")
