"""Which learning rate, and on text which embedding width, suits each kind of network? One seed, no seed of solution.py.

python sweep.py     four rates per kind and task, then three widths; a quarter of the text; some minutes

The score of a rate on text is the mean loss over the last tenth of the training: one pass, so nothing in it had been
seen before, and the held-out text stays out of it. The score on the delayed copy is the share of right answers.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import solution

from labkit import run
from labkit.reference.lstm_gru import lstm_gru_report as report
from labkit.reference.lstm_gru import lstm_gru_training as training

PRESETS = {
    "smoke": {**solution.PRESETS["smoke"], "seeds": 1},
    "cpu": {**solution.PRESETS["cpu"], "seeds": 1, "characters": 250_000},
}
RATES = {"text": ["3e-3", "1e-2", "3e-2", "1e-1"], "copy": ["1e-3", "3e-3", "1e-2", "3e-2"]}
WIDTHS = [16, 32, 64]
SEED = 100  # solution.py reports seeds from 0 on


def trials(args: Any) -> dict[tuple[str, str, str], training.Trial]:
    """(task, name, rate or width) -> what to train; the same training may answer two questions."""
    copies = {"rnn": ("rnn", 0.0), "gru": ("gru", 0.0), "lstm_1": ("lstm", 1.0)}
    copies["lstm_lag"] = ("lstm", report.long_bias(args.lag))
    found = {}
    for name, (kind, bias) in report.TEXT_TRIALS.items():
        usual = training.on_text(kind, bias, SEED + args.seed)
        found |= {("text", name, rate): usual._replace(rate=float(rate)) for rate in RATES["text"]}
        if name != "lstm_1":
            found |= {("width", name, str(width)): usual._replace(d_model=width) for width in WIDTHS}
    for name, (kind, bias) in copies.items():
        usual = training.on_copy(kind, bias, SEED + args.seed, args.lag, chatter=True)
        found |= {("copy", name, rate): usual._replace(rate=float(rate)) for rate in RATES["copy"]}
    return found


def score(trial: training.Trial, trained: training.Trained) -> float:
    if trial.lag:
        return trained.score
    return float(np.mean(trained.curve[-max(1, len(trained.curve) // 10) :]))


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, data="python-docs", device=True)
    corpus = solution.CharCorpus(run.load_data(args).text[: args.characters])
    lab = SimpleNamespace(**vars(solution))
    wanted = trials(args)
    distinct = list(dict.fromkeys(wanted.values()))
    trained = dict(zip(distinct, training.all_of(args, lab, corpus, distinct, "sweep")))
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (task, name, value), trial in wanted.items():
        found.setdefault(task, {}).setdefault(name, {})[value] = score(trial, trained[trial])
    for task, values in {"text": RATES["text"], "width": list(map(str, WIDTHS)), "copy": RATES["copy"]}.items():
        rows = [[report.LABELS[name], *scores.values()] for name, scores in found[task].items()]
        print(run.table([task, *values], rows) + "\n")
    steps = {"text": len(trained[wanted["text", "rnn", RATES["text"][0]]].curve), "copy": args.copy_steps}
    run.save_results(args, found | {"steps": steps}, "sweep")


if __name__ == "__main__":
    run.main(main)
