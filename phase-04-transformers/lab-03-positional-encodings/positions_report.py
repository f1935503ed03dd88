"""What `python solution.py` (or your finished lab.py) shows: the relative property, the schemes, and extrapolation.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from labkit import run
from labkit.reference.positional_encodings import extrapolation

LENGTHS, TRAIN_LENGTH, TAIL = extrapolation.LENGTHS, extrapolation.TRAIN_LENGTH, extrapolation.TAIL
SCHEMES, SCALINGS = extrapolation.SCHEMES, extrapolation.SCALINGS
SHIFTS = [10, 1_000, 100_000]
LABELS = {
    "none": "no positions",
    "t5": "T5 bias",
    "alibi": "ALiBi",
    "rope": "RoPE",
    "rope_linear": "RoPE, interpolated",
    "rope_ntk": "RoPE, NTK-aware",
    "rope_yarn": "RoPE, YaRN",
}
COLOURS = dict(zip(SCHEMES, ["0.55", "C4", "C5", "C2", "C0", "C1"])) | {
    "rope_linear": "C3", "rope_ntk": "C6", "rope_yarn": "saddlebrown",
}  # fmt: skip


def label(name: str) -> str:
    return LABELS.get(name, name)


def show(args: Any, lab: SimpleNamespace, text: str) -> None:
    if args.device == "cpu":
        torch.set_num_threads(1)  # the tensors below are small: a second thread costs more than it brings
    results: dict[str, Any] = {"shift": shift(args, lab)}
    draw_schemes(args, lab)
    results["extrapolation"] = extrapolate(args, lab, text)
    run.save_results(args, results)


# ---------------------------------------------------------------- the relative property


def shift(args: Any, lab: SimpleNamespace, size: int = 64) -> dict[str, list[float]]:
    """How much the scores of 32 queries and keys change when all positions move by N, with angles in three precisions.

    In exact arithmetic not at all. "bfloat16": what happens to a model whose buffers are all cast to 16 bits.
    """
    q, k = torch.randn(2, 1, 1, 32, size, dtype=torch.float64)
    inv_freq = lab.rope_frequencies(size)[0]

    def scores(start: int, dtype: torch.dtype) -> Tensor:
        angle = (torch.arange(start, start + 32).to(dtype)[:, None] * inv_freq.to(dtype)).double()
        a, b = (lab.apply_rope(x, angle.cos(), angle.sin()) for x in (q, k))
        return a @ b.mT / math.sqrt(size)

    found = {"shifts": SHIFTS}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        here = scores(0, dtype)
        moved = [(scores(by, dtype) - here).abs().max().item() for by in SHIFTS]
        found[str(dtype).removeprefix("torch.")] = moved
    rows = [[f"{by:,}", *(f"{found[name][i]:.0e}" for name in list(found)[1:])] for i, by in enumerate(SHIFTS)]
    print("Largest change of a RoPE score when query and key both move by N positions:\n")
    print(run.table(["N", "angles in float64", "float32", "bfloat16"], rows) + "\n")
    return found


# ---------------------------------------------------------------- what each scheme does to a score


def draw_schemes(args: Any, lab: SimpleNamespace) -> None:
    fig, axes = run.figure(2, 2, width=10, height=7)
    (alibi, buckets), (similarity, waves) = axes
    distance = torch.arange(129)
    for head, values in enumerate(lab.alibi_bias(8, 1, 129)[:, 0].flip(-1)):
        alibi.plot(distance, values, color="C0", alpha=1 - head / 10)
    alibi.set(title="ALiBi, 8 heads", xlabel="distance to the key", ylabel="added to the score", ylim=(-16, 0.5))

    relative = torch.arange(-160, 161)
    for both, name in ((True, "encoder, both sides"), (False, "decoder")):
        buckets.step(relative, lab.t5_buckets(relative, both), where="mid", label=name)
    buckets.set(title="T5, 32 buckets", xlabel="key position minus query position", ylabel="bucket")
    buckets.legend()

    for size in (16, 64, 256):
        cos, _ = lab.rope_angles(torch.arange(257), lab.rope_frequencies(size)[0])
        similarity.plot(cos.mean(-1), label=f"K = {size}")
    similarity.set(title="RoPE: score of a vector with itself", xlabel="distance", ylabel="share of the score at 0")
    similarity.legend()

    size, length, factor = 64, 2048, 8.0
    for kind, name in ((None, "plain"), ("linear", "interpolated"), ("ntk", "NTK-aware"), ("yarn", "YaRN")):
        options = {"rope_type": kind, "factor": factor, "original_max_position_embeddings": length} if kind else None
        inv_freq, _ = lab.rope_frequencies(size, scaling=options)
        waves.semilogy(2 * math.pi / inv_freq, label=name)
    waves.axhline(length, color="k", linestyle=":", linewidth=1.2)
    waves.text(0, length * 1.25, "training length")
    waves.set(title="RoPE for 8 times the length, K = 64", xlabel="pair", ylabel="positions per turn")
    waves.legend(loc="lower right")
    run.save_figure(args, fig, "schemes.png")
    print()


# ---------------------------------------------------------------- longer texts than in training


def extrapolate(args: Any, lab: SimpleNamespace, text: str) -> dict[str, Any]:
    alphabet = {character: i for i, character in enumerate(sorted(set(text)))}
    ids = torch.tensor([alphabet[character] for character in text])
    ids, held_out = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]
    job = extrapolation.Job(ids, held_out, len(alphabet), args.steps, args.batch, args.windows, args.device)
    runs: dict[str, dict[int, dict[str, list[float]]]] = {}
    total = len(SCHEMES) * args.seeds
    seeds = [args.seed + i for i in range(args.seeds)]
    for seed, found in run.progress(extrapolation.all_runs(lab, job, seeds, args.workers), "models", total=total):
        for name, values in found.items():
            runs.setdefault(name, {})[seed] = values
    summary = {name: summarise([of_seed[seed] for seed in seeds]) for name, of_seed in runs.items()}
    print(f"{total} models, {len(ids):,} characters to train on, windows of {TRAIN_LENGTH}; {args.seeds} seeds each.")
    names = [*SCHEMES, *(f"rope_{scaling}" for scaling in SCALINGS)]
    for part, what in (("window", "whole window"), ("tail", f"its last {TAIL} characters, the same in all columns")):
        print(f"\nNats per held-out character against the length of the window: {what}\n")
        rows = [[label(name), *(f"{nats:.2f}" for nats in summary[name][part])] for name in names]
        print(run.table(["", *map(str, LENGTHS)], rows))
    print_tuned(args, summary)
    draw_extrapolation(args, summary)
    draw_positions(args, summary)
    sizes = {"models": total, "seeds": args.seeds, "train_length": TRAIN_LENGTH, "lengths": LENGTHS, "tail": TAIL}
    return sizes | {"train_characters": len(ids)} | summary


def summarise(runs: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Means over the seeds; the lowest and highest of the seeds as <name>_low and <name>_high."""
    found = {}
    for part in runs[0]:
        values = torch.tensor([each[part] for each in runs], dtype=torch.float64)  # (seeds, lengths)
        found[part] = values.mean(0).tolist()
        if part != "by_position":
            found[f"{part}_low"], found[f"{part}_high"] = values.amin(0).tolist(), values.amax(0).tolist()
    return found


def print_tuned(args: Any, summary: dict[str, Any]) -> None:
    place, rows = LENGTHS.index(extrapolation.TUNED_LENGTH), []
    for scaling in ("rope", *SCALINGS):
        before, after = summary["rope" if scaling == "rope" else f"rope_{scaling}"], summary[f"tuned_{scaling}"]
        name = label("rope" if scaling == "rope" else f"rope_{scaling}")
        rows.append([name, *(f"{nats:.2f}" for nats in (before["tail"][place], after["tail"][0], after["window"][0]))])
    steps = max(1, args.steps // 10)
    print(f"\nLength {extrapolation.TUNED_LENGTH} after {steps} more steps on texts of that length\n")
    print(run.table(["", "tail before", "tail after", "window after"], rows) + "\n")


def draw_extrapolation(args: Any, summary: dict[str, Any]) -> None:
    """Loss against the length read: whole windows, the same last characters, and ways to stretch RoPE."""
    fig, (left, middle, right) = run.figure(1, 3, width=12, height=4.4)
    for ax, part, names in (
        (left, "window", SCHEMES),
        (middle, "tail", SCHEMES),
        (right, "tail", ["alibi", "rope", *(f"rope_{scaling}" for scaling in SCALINGS)]),
    ):
        for name in names:
            found = summary[name]
            ax.plot(LENGTHS, found[part], "o-", color=COLOURS[name], label=label(name), markersize=4)
            ax.fill_between(LENGTHS, found[f"{part}_low"], found[f"{part}_high"], color=COLOURS[name], alpha=0.2)
        ax.set_xscale("log", base=2)
        ax.set_xticks(LENGTHS, [str(length) for length in LENGTHS])
        ax.minorticks_off()
        ax.set_xlabel(f"window length (training: {TRAIN_LENGTH})")
    left.set(title="Whole window", ylabel="nats per character")
    middle.set(title=f"Last {TAIL} characters only")
    right.set(title=f"Last {TAIL}: RoPE, stretched")
    low, high = zip(*(ax.get_ylim() for ax in (left, middle, right)))
    for ax in (left, middle, right):
        ax.set_ylim(min(low), max(high))
    left.legend(loc="upper left")
    right.legend(loc="upper left")
    run.save_figure(args, fig, "extrapolation.png")


def draw_positions(args: Any, summary: dict[str, Any]) -> None:
    """Loss against the position in the longest windows."""
    fig, ax = run.figure(width=9, height=4.4)
    centres = torch.arange(0, LENGTHS[-1], TAIL) + TAIL / 2
    for name in (*SCHEMES, "rope_yarn"):
        style = "--" if name == "rope_yarn" else "-"
        ax.plot(centres, summary[name]["by_position"], style, color=COLOURS[name], label=label(name), linewidth=1.4)
    ax.axvline(TRAIN_LENGTH, color="k", linestyle=":", linewidth=1.2)
    ax.set(xlabel=f"position in a window of {LENGTHS[-1]}", ylabel="nats per character")
    ax.set_title("Where each scheme breaks")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    run.save_figure(args, fig, "by_position.png")
