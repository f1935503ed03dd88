"""What `python solution.py` (or your finished lab.py) shows: both objectives on a sentence, then the contest.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import math
from statistics import mean
from typing import Any

import torch

from labkit import run

SENTENCE = "thank you for inviting me to your party last week , it was a pleasure to see everybody again"


def show(args: Any, lab: Any) -> None:
    from labkit.reference.encoder_variants import topologies

    show_objectives(lab, topologies)
    runs = contest(args, lab, topologies)
    show_contest(runs, topologies.CASES)
    chance = 1 / (topologies.LETTERS - topologies.HALF + 1)
    print(f"\nGuessing one letter among those that can still stand there: {100 * chance:.1f}\n")
    summary = {name: {case: 100 * mean(r[case] for r in rs) for case in topologies.CASES} for name, rs in runs.items()}
    draw(args, runs, chance, topologies.CASES)
    parameters = {name: rs[0]["parameters"] for name, rs in runs.items()}
    run.save_results(args, {"mean": summary, "runs": runs, "parameters": parameters, "chance": 100 * chance})


def show_objectives(lab: Any, topologies: Any) -> None:
    """The sentence as BERT and as T5 get it."""
    words = SENTENCE.split()
    ids = torch.arange(len(words)) + lab.FIRST
    sentinels = 5
    size = lab.FIRST + len(words) + sentinels
    names = {lab.PAD: "[PAD]", lab.EOS: "</s>", lab.MASK: "[MASK]", lab.SEP: "[SEP]"}
    names |= {lab.FIRST + i: word for i, word in enumerate(words)}
    names |= {size - 1 - k: f"<{k}>" for k in range(sentinels)}
    generator = torch.Generator().manual_seed(31)
    choose, change = torch.rand(2, 1, len(words), generator=generator)
    strangers = torch.randint(lab.FIRST, lab.FIRST + len(words), (1, len(words)), generator=generator)
    inputs, labels = lab.mask_tokens(ids[None], torch.zeros(1, len(words), dtype=torch.bool), choose, change, strangers)
    # more and shorter spans than T5's 15 % and 3: this text is short
    hidden = topologies.random_spans(len(words), generator, density=0.3, mean_span=2.0)
    source, target = lab.corrupt_spans(ids, hidden, size - 1)

    def text(tokens: torch.Tensor) -> str:
        return " ".join("_" if token == lab.IGNORE else names[token] for token in tokens.tolist())

    for name, tokens in (
        ("text", ids), ("BERT reads", inputs[0]), ("is asked", labels[0]),
        ("T5 reads", source), ("T5 writes", target), ("reading", lab.shift_right(target[None])[0]),
    ):  # fmt: skip
        print(f"{name:<10} {text(tokens)}")
    print()


def contest(args: Any, lab: Any, topologies: Any) -> dict[str, list[dict[str, Any]]]:
    """Every model, every seed. -> per model what `topologies.one_run` found, one entry per seed"""
    runs: dict[str, list[dict[str, Any]]] = {}
    total = len(topologies.MODELS) * args.seeds
    for found in run.progress(topologies.all_runs(lab, args), "models", total=total):
        for name, scores in found.items():
            runs.setdefault(name, []).append(scores)
    return runs


def spread(values: list[float]) -> str:
    """ "99.2 (98.4 to 100.0)" in percent; the mean alone for a single run."""
    text = f"{100 * mean(values):.1f}"
    return text if len(values) == 1 else f"{text} ({100 * min(values):.0f}-{100 * max(values):.0f})"


def steps_to(share: float, way: dict[str, list]) -> int | None:
    """After which step a model was first that good at what was said before; None: never."""
    return next((step for step, left in zip(way["step"], way["left"]) if left >= share), None)


def patience(rs: list[dict[str, Any]]) -> str:
    """ "240-600", or "240-never": from the fastest seed to the slowest."""
    steps = sorted(steps_to(0.9, r["way"]) or math.inf for r in rs if "way" in r)
    return "-".join("never" if n == math.inf else str(n) for n in (steps[0], steps[-1])) if steps else ""


def show_contest(runs: dict[str, list], cases: tuple[str, ...]) -> None:
    print("Right answers in percent: mean of all seeds (lowest-highest); steps until 90 % of left were right\n")
    rows = [[name, *(spread([r[case] for r in rs]) for case in cases), patience(rs)] for name, rs in runs.items()]
    print(run.table(["model", *cases, "steps"], rows))


def draw(args: Any, runs: dict, chance: float, cases: tuple[str, ...]) -> None:
    fig, axes = run.figure(1, 2, width=10, height=4.4)
    bars, curves = axes
    width = 0.8 / len(runs)
    for i, (name, rs) in enumerate(runs.items()):
        heights = [100 * mean(r[case] for r in rs) for case in cases]
        at = [j + (i - (len(runs) - 1) / 2) * width for j in range(len(cases))]
        bars.bar(at, heights, width * 0.92, label=name)
        for r in rs:
            bars.scatter(at, [100 * r[case] for case in cases], s=7, color="black", zorder=3)
    bars.axhline(100 * chance, ls=":", color="grey", lw=1)
    bars.set_xticks(range(len(cases)), ["said before\n(left)", "said later\n(right)", "both hidden\n(twins)"])
    bars.set(ylabel="% right", ylim=(0, 104), title="Filling in what is hidden")
    bars.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, -0.36), ncols=3)
    for i, rs in enumerate(runs.values()):  # in the colours of the bars
        for r in (r for r in rs if "way" in r):
            curves.plot(r["way"]["step"], [100 * share for share in r["way"]["left"]], color=f"C{i}", lw=1.4)
    curves.set(xlabel="step", ylabel="% right", ylim=(0, 104), title="On the way: said before, a line per seed")
    run.save_figure(args, fig, "topologies.png")
