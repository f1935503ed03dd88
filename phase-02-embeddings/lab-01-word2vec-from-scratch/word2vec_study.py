"""What main() shows: the gradient check, training, neighbours and analogies, the same with one thing changed, figures.

Every function takes `lab`, the module whose functions it runs: solution.py, or lab.py with your own code in it.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
import word2vec_io
import word2vec_probes as probes

from labkit import run

SHOWN_WORDS = ["file", "float64", "string", "min", "king", "france", "three"]
SHOWN_ANALOGIES = [("array", "arrays", "file"), ("read", "write", "encode"), ("return", "returns", "raise")]
SHOWN_ANALOGIES += [("start", "end", "first"), ("man", "woman", "king"), ("france", "paris", "germany")]
SHOWN_PAIRS = 10  # arrows in the figure; their direction comes from the other pairs


@dataclass(frozen=True)
class Corpus:
    vocabulary: Any
    ids: np.ndarray  # (N,)
    sentence: np.ndarray  # (N,)


def study(lab: ModuleType, sentences: list[list[str]], settings: Any, args: argparse.Namespace) -> None:
    """Train, show, compare, draw, save."""
    vocabulary = lab.build_vocabulary(sentences, args.min_count)
    corpus = Corpus(vocabulary, *lab.encode(sentences, vocabulary))
    results = describe(lab, corpus, settings)
    results["gradient_difference"] = check_gradients(lab, args.seed)
    print(f"gradients by hand against autograd: largest difference {results['gradient_difference']:.1e}\n")

    vectors, curve, row = one_run(lab, corpus, settings, args)
    results["loss"] = {
        "first": curve[0],
        "last": float(np.mean(curve[-100:])),
        "start": (1 + settings.negatives) * math.log(2),
    }
    print(f"loss per pair {curve[0]:.3f} at first, {results['loss']['last']:.3f} at the end\n")
    show_neighbours(lab, vectors, vocabulary)
    show_analogies(lab, vectors, vocabulary)

    results["runs"] = {"skip_gram": row}
    if args.variants:
        untrained = lab.Word2Vec(len(vocabulary.words), settings.dim, args.seed).inputs.weight.numpy(force=True)
        results["runs"] = {"untrained": probes.scores(untrained, vocabulary.ids, args.data)} | results["runs"]
        for name, changed in variants(settings).items():
            results["runs"][name] = one_run(lab, corpus, changed, args)[2]
    show_runs(results["runs"])

    path = args.vectors or args.out / "vectors.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    word2vec_io.save_word2vec(path, vocabulary.words, vectors)
    print(f"vectors {path.name}: {len(vectors):,} words, {path.stat().st_size / 1e6:.1f} MB, gensim loads it\n")
    draw_words(args, vectors, vocabulary, results["runs"])
    draw_training(lab, args, corpus, settings, curve)
    run.save_results(args, results)


def describe(lab: ModuleType, corpus: Corpus, settings: Any) -> dict[str, Any]:
    """Sizes, what subsampling keeps, and how often a noise word is by accident the very word to be predicted."""
    counts = corpus.vocabulary.counts
    share = counts / counts.sum()
    noise = counts**settings.power / (counts**settings.power).sum()
    collision = float((share * noise).sum())
    results = {
        "corpus": {"words": len(corpus.ids), "vocabulary": len(counts), "top_share": float(share[0])},
        "collision": {"mean": collision, "times_uniform": collision * len(counts)},
    }
    print(f"{len(corpus.ids):,} words, {len(counts):,} of them different; most frequent:")
    print(f"{corpus.vocabulary.words[0]!r} with {share[0]:.1%} of the text, {noise[0]:.1%} of the noise")
    if settings.t:
        kept = {f: lab.keep_probability(counts, settings.t, f) for f in ("paper", "c")}
        results["kept"] = {name: float(share @ keep) for name, keep in kept.items()}
        results["kept_top"] = {name: float(keep[0]) for name, keep in kept.items()}
        print(f"t = {settings.t:g} keeps {results['kept']['c']:.0%} of the text by the C formula, ", end="")
        print(f"{results['kept']['paper']:.0%} by the paper's")
    return results


def check_gradients(lab: ModuleType, seed: int) -> float:
    """The largest difference between sgns_gradients and autograd through skip_gram_losses, in float64."""
    rng = np.random.default_rng(seed)
    inputs, outputs = rng.normal(size=(2, 50, 16))
    center, context, negatives = rng.integers(50, size=64), rng.integers(50, size=64), rng.integers(50, size=(64, 5))
    losses, *by_hand = lab.sgns_gradients(inputs, outputs, center, context, negatives)
    model = lab.Word2Vec(50, 16).double()
    with torch.no_grad():
        model.inputs.weight.copy_(torch.from_numpy(inputs))
        model.outputs.weight.copy_(torch.from_numpy(outputs))
    theirs = model.skip_gram_losses(*map(torch.from_numpy, (center, context, negatives)))
    theirs.sum().backward()
    pairs = [(losses, theirs.detach()), (by_hand[0], model.inputs.weight.grad), (by_hand[1], model.outputs.weight.grad)]
    return max(float(np.abs(a - (b.to_dense() if b.is_sparse else b).numpy()).max()) for a, b in pairs)


def one_run(lab: ModuleType, corpus: Corpus, settings: Any, args: argparse.Namespace) -> tuple[np.ndarray, list, dict]:
    """Train once.   -> vectors (V, D), the loss of every batch, and a row of measurements"""
    start = time.process_time()  # not the clock on the wall: other programs then do not count
    model, curve = lab.train(
        corpus.ids, corpus.sentence, corpus.vocabulary.counts, settings, args.seed, device=args.device
    )
    seconds = time.process_time() - start
    vectors = model.inputs.weight.numpy(force=True)
    row = {"seconds": seconds, "examples": len(curve) * settings.batch, "mean_cosine": mean_cosine(vectors)}
    return vectors, curve, row | probes.scores(vectors, corpus.vocabulary.ids, args.data)


def variants(settings: Any) -> dict[str, Any]:
    """The same training with one thing changed."""
    return {
        "paper_t": replace(settings, formula="paper", t=1e-5),
        "all_words": replace(settings, t=0),
        "noise_1": replace(settings, power=1.0),
        "noise_0": replace(settings, power=0.0),
        "cbow": replace(settings, cbow=True),
        "cbow_lr": replace(settings, cbow=True, lr=4 * settings.lr),
    }


LABELS = {
    "untrained": "untrained",
    "skip_gram": "skip-gram",
    "paper_t": "paper's t, 1e-5",
    "all_words": "no subsampling",
    "noise_1": "noise ∝ count",
    "noise_0": "noise all alike",
    "cbow": "CBOW",
    "cbow_lr": "CBOW, 4 x lr",
}


def mean_cosine(vectors: np.ndarray) -> float:
    """The mean cosine of two different words: 0 when the vectors point everywhere alike, 1 when they are one."""
    unit = probes.unit_rows(vectors)
    n = len(unit)
    return float((np.square(unit.sum(0)).sum() - n) / (n * (n - 1)))


# ---------------------------------------------------------------- printed


def show_neighbours(lab: ModuleType, vectors: np.ndarray, vocabulary: Any) -> None:
    for word in [word for word in SHOWN_WORDS if word in vocabulary.ids]:
        i = vocabulary.ids[word]
        found, cosines = lab.nearest(vectors, vectors[i], 5, exclude=[i])
        print(f"{word:8}  " + "  ".join(f"{vocabulary.words[j]} {c:.2f}" for j, c in zip(found, cosines, strict=True)))
    print()


def show_analogies(lab: ModuleType, vectors: np.ndarray, vocabulary: Any) -> None:
    known = [words for words in SHOWN_ANALOGIES if all(word in vocabulary.ids for word in words)]
    for a, b, c in known:
        answers = lab.analogy(vectors, *(vocabulary.ids[word] for word in (a, b, c)), k=3)
        print(f"{a} : {b} = {c} : " + ", ".join(vocabulary.words[i] for i in answers))
    print()


def show_runs(runs: dict[str, dict]) -> None:
    """The table of runs, with whichever scores the corpus has."""
    columns = {"in_ten": "in ten", "analogies": "analogies", "wordsim": "WordSim", "google": "Google"}
    columns = {key: name for key, name in columns.items() if key in runs["skip_gram"]}
    rows = [
        [LABELS[name], row.get("seconds"), row.get("mean_cosine"), *(row.get(key) for key in columns)]
        for name, row in runs.items()
    ]
    print(run.table(["", "CPU s", "mean cos", *columns.values()], rows))
    answered = {"questions": "analogies", "wordsim_pairs": "WordSim pairs", "google_questions": "Google's questions"}
    main = runs["skip_gram"]
    print("; ".join(f"{main[key]:,} {name}" for key, name in answered.items() if key in main))
    if "not_excluded" in main:
        print(f"skip-gram, words of the question allowed as answers: {main['not_excluded']:.1%} right")
    print()


# ---------------------------------------------------------------- figures


def draw_words(args: argparse.Namespace, vectors: np.ndarray, vocabulary: Any, runs: dict[str, dict]) -> None:
    """Singular and plural along the direction that other pairs give, and the score of every run."""
    fig, (left, right) = run.figure(ncols=2, width=11, height=4.6)
    pairs = probes.pairs_of(vocabulary.ids)["plural"]
    if len(pairs) >= 2 * SHOWN_PAIRS:
        draw_arrows(left, probes.unit_rows(vectors), np.array(pairs), vocabulary.words)
    left.set(title="From singular to plural", xlabel="along the direction of the other pairs", yticks=[])
    key, name = (
        ("analogies", "analogies answered") if "analogies" in runs["skip_gram"] else ("google", "Google's analogies")
    )
    bars = {LABELS[run_name]: row[key] for run_name, row in runs.items() if key in row}
    right.barh(list(bars), list(bars.values()), color=["C1" if label == "skip-gram" else "C0" for label in bars])
    for place, value in enumerate(bars.values()):
        right.annotate(
            f"{value:.1%}", (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9
        )
    right.invert_yaxis()
    right.margins(x=0.18)
    right.set(title="One thing changed at a time", xlabel=name)
    run.save_figure(args, fig, "words.png")


def draw_arrows(axes: Any, unit: np.ndarray, pairs: np.ndarray, words: list[str]) -> None:
    """The first pairs as arrows. Their common direction is taken from the others, so that it could fail to show."""
    a, b = pairs[SHOWN_PAIRS:].T
    direction = (unit[b] - unit[a]).mean(0)
    along = unit @ (direction / np.linalg.norm(direction))  # (V,)
    for line, (one, many) in enumerate(pairs[:SHOWN_PAIRS]):
        right = along[many] > along[one]
        style = {"arrowstyle": "->", "color": "C0" if right else "C1", "lw": 1.6}
        axes.annotate("", (along[many], line), (along[one], line), arrowprops=style)
        for i, outward in ((one, -1 if right else 1), (many, 1 if right else -1)):
            axes.annotate(
                words[i], (along[i], line), xytext=(5 * outward, 0), textcoords="offset points",
                ha="left" if outward > 0 else "right", va="center", fontsize=9,
            )  # fmt: skip
    axes.plot(along[pairs[:SHOWN_PAIRS]].T, np.tile(np.arange(SHOWN_PAIRS), (2, 1)), ".", color="C0", ms=4)
    axes.margins(x=0.28, y=0.06)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def draw_training(lab: ModuleType, args: argparse.Namespace, corpus: Corpus, settings: Any, curve: list[float]) -> None:
    """Both subsampling formulas over the frequency of a word, and the loss."""
    fig, (left, right) = run.figure(ncols=2, width=11, height=4.2)
    counts = corpus.vocabulary.counts
    share = counts / counts.sum()
    for formula, label in (("paper", "paper: √(t/f)"), ("c", "C code: √(t/f) + t/f")):
        for t, style in ((1e-3, "-"), (1e-5, "--")):
            keep = lab.keep_probability(counts, t, formula)
            left.plot(share, keep, style, color="C0" if formula == "c" else "C1", label=f"{label}, t = {t:g}")
    for word in ("the", "return", "file", "directory"):
        if word in corpus.vocabulary.ids:
            i = corpus.vocabulary.ids[word]
            left.plot(share[i], lab.keep_probability(counts, 1e-3, "c")[i], "o", color="C6", ms=5)
            place = (share[i], lab.keep_probability(counts, 1e-3, "c")[i])
            left.annotate(word, place, xytext=(5, 5), textcoords="offset points", fontsize=9)
    left.set(title="How likely a word stays", xlabel="share of the text", ylabel="keep probability", xscale="log")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=9)
    window = max(1, len(curve) // 100)
    smooth = np.convolve(curve, np.ones(window) / window, mode="valid")
    right.plot(np.linspace(0, settings.epochs, len(smooth)), smooth)
    start = (1 + settings.negatives) * math.log(2)
    right.axhline(start, ls="--", color="C6", lw=1.2)
    right.annotate(
        f"(K + 1) ln 2 = {start:.3f}", (settings.epochs, start), xytext=(0, -14), textcoords="offset points", ha="right"
    )
    right.set(title="Loss per pair", xlabel="epochs", ylabel="nats")
    run.save_figure(args, fig, "training.png")
