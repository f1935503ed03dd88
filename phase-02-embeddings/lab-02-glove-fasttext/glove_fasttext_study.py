"""What main() shows: five methods on one corpus by one yardstick, the bridge from SGNS to PMI, and words never seen.

Every function takes `lab`, the module whose functions it runs: solution.py, or lab.py with your own code in it.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import fasttext_training
import numpy as np

from labkit import run
from labkit.reference import word2vec_from_scratch as word2vec
from labkit.reference.word2vec_from_scratch import word2vec_io, word2vec_probes

BRIDGE_WORDS, BRIDGE_TOKENS, BRIDGE_DIMS = 300, 60_000, (4, 16, 64)
SUFFIXES = [
    "ations",
    "ation",
    "ments",
    "ment",
    "ables",
    "able",
    "ings",
    "ing",
    "ions",
    "ion",
    "ers",
    "ors",
    "ies",
    "ied",
    "er",
    "or",
    "ed",
    "es",
    "ly",
    "al",
    "ic",
    "e",
    "s",
    "y",
]
MADE_UP = ["arrayify", "unserializable", "filenames2", "multiindexing", "recomputation", "transformer", "covid"]
LABELS = {
    "sgns": "SGNS",
    "cbow": "CBOW",
    "glove": "GloVe",
    "ppmi": "PPMI + SVD",
    "fasttext": "FastText",
    "spelling": "spelling only",
}


@dataclass(frozen=True)
class Corpus:
    vocabulary: word2vec.Vocabulary
    ids: np.ndarray  # (N,)
    sentence: np.ndarray  # (N,)
    rare: list[str]  # words too rare for the vocabulary: no method has seen them


def study(lab: ModuleType, data: Any, args: argparse.Namespace) -> None:
    """Train, compare, draw, save."""
    corpus = read(data, args)
    row, column, x = lab.cooccurrence(corpus.ids, corpus.sentence, lab.WINDOW)
    size = len(corpus.vocabulary.words)
    results: dict[str, Any] = {
        "corpus": {"words": len(corpus.ids), "vocabulary": size, "rare": len(corpus.rare)},
        "cells": {"count": len(x), "filled": len(x) / size**2, "below_ten": float((x < 10).mean())},
    }
    print(f"{len(corpus.ids):,} words, {size:,} of them different; {len(x):,} cells, ", end="")
    print(f"{len(x) / size**2:.1%} of the table; {(x < 10).mean():.0%} of them below 10\n")

    vectors, seconds, models, curve = train_all(lab, corpus, (row, column, x), args)
    results["glove_loss"] = {"first": curve[0], "last": curve[-1]}
    results["methods"] = {
        name: {"seconds": seconds[name]} | scores(some, corpus.vocabulary.ids, args.data)
        for name, some in vectors.items()
    }
    show_methods(results["methods"])
    show_neighbours(vectors, corpus.vocabulary)

    results["bridge"], scatter = bridge(lab, corpus, args)
    results["unseen"] = unseen_words(lab, corpus, models, vectors["sgns"])
    show_made_up(lab, models[1], corpus.vocabulary)
    draw_methods(args, results)
    draw_bridge(lab, args, results["bridge"], *scatter)
    run.save_results(args, results)


def read(data: Any, args: argparse.Namespace) -> Corpus:
    sentences = word2vec_io.read_sentences((document.text for document in data.documents), args.tokens)
    vocabulary = word2vec.build_vocabulary(sentences, args.min_count)
    counts = Counter(word for sentence in sentences for word in sentence)
    rare = sorted(word for word, n in counts.items() if n < args.min_count)
    return Corpus(vocabulary, *word2vec.encode(sentences, vocabulary), rare)


def train_all(lab: ModuleType, corpus: Corpus, counts: tuple, args: argparse.Namespace):
    """-> vectors and seconds by method, (untrained, trained) FastText, GloVe's losses"""
    vocabulary, size = corpus.vocabulary, len(corpus.vocabulary.words)
    settings = word2vec.Settings(args.dim, lab.WINDOW, lab.NEGATIVES, epochs=args.epochs, lr=0.05)
    vectors, seconds = {}, {}
    for name, changed in {"sgns": settings, "cbow": replace(settings, cbow=True, lr=0.1)}.items():
        start = time.perf_counter()
        model, _ = word2vec.train(corpus.ids, corpus.sentence, vocabulary.counts, changed, args.seed)
        vectors[name], seconds[name] = model.inputs.weight.numpy(force=True), time.perf_counter() - start
    start = time.perf_counter()
    vectors["glove"], curve = lab.train_glove(*counts, size, args.dim, args.glove_epochs, args.seed)
    seconds["glove"] = time.perf_counter() - start
    start = time.perf_counter()
    pmi = lab.shifted_pmi(*counts, power=0.75)
    vectors["ppmi"] = lab.ppmi_vectors(*counts[:2], pmi, size, args.dim)
    seconds["ppmi"] = time.perf_counter() - start
    start = time.perf_counter()
    untrained, trained, _ = fasttext_training.train(
        lab, corpus.ids, corpus.sentence, vocabulary, settings, args.buckets, args.seed
    )
    seconds["fasttext"], seconds["spelling"] = time.perf_counter() - start, None
    vectors |= {"fasttext": trained.vectors(), "spelling": untrained.vectors()}
    return vectors, seconds, (untrained, trained), curve


def scores(vectors: np.ndarray, ids: dict[str, int], corpus: str) -> dict[str, float]:
    """Lab 2.1's probes; for documentation also the pairs in ten of the relations of form and of that of meaning."""
    found = dict(word2vec_probes.scores(vectors, ids, corpus))
    found.pop("relations", None)
    if "in_ten" in found:
        pairs = word2vec_probes.pairs_of(ids)
        form = [pair for relation, some in pairs.items() if relation != "opposite" for pair in some]
        found |= {"form": word2vec_probes.in_ten(vectors, form)} if form else {}
        found |= {"meaning": word2vec_probes.in_ten(vectors, pairs["opposite"])} if pairs["opposite"] else {}
    return found


def show_methods(methods: dict[str, dict]) -> None:
    columns = {
        "form": "form",
        "meaning": "opposites",
        "analogies": "analogies",
        "wordsim": "WordSim",
        "google": "Google",
    }
    columns = {key: name for key, name in columns.items() if key in methods["sgns"]}
    rows = [[LABELS[name], row["seconds"], *(row[key] for key in columns)] for name, row in methods.items()]
    print(run.table(["", "seconds", *columns.values()], rows) + "\n")
    if "wordsim_pairs" in methods["sgns"]:
        covered = methods["sgns"]
        print(f"{covered['wordsim_pairs']:,} WordSim pairs, {covered['google_questions']:,} of Google's questions\n")


def neighbours(vectors: np.ndarray, words: list[str], query: np.ndarray, k: int = 5, exclude=()) -> str:
    found, cosines = word2vec.nearest(vectors, query, k, exclude)
    return "  ".join(f"{words[i]} {c:.2f}" for i, c in zip(found, cosines, strict=True))


def show_neighbours(vectors: dict[str, np.ndarray], vocabulary: word2vec.Vocabulary) -> None:
    for word in [word for word in ("returns", "maximum", "king") if word in vocabulary.ids]:
        i = vocabulary.ids[word]
        print(word)
        for name, some in vectors.items():
            print(f"  {LABELS[name]:13}  " + neighbours(some, vocabulary.words, some[i], 5, [i]))
    print()


# ---------------------------------------------------------------- SGNS against shifted PMI


def bridge(lab: ModuleType, corpus: Corpus, args: argparse.Namespace) -> tuple[dict, tuple]:
    """Train SGNS on the most frequent words, without subsampling, and compare u · v with PMI - ln K, pair by pair.

    The noise is counts^0.75, so the PMI must use that too, and the windows shrink at random, so pairs are weighed
    linearly. -> results, and (PMI, u · v) of the widest model for the figure
    """
    some = np.flatnonzero(corpus.ids < BRIDGE_WORDS)[:BRIDGE_TOKENS]
    ids, sentence = corpus.ids[some], corpus.sentence[some]
    size = int(ids.max()) + 1
    row, column, x = lab.cooccurrence(ids, sentence, lab.WINDOW, "linear")
    pmi = lab.shifted_pmi(row, column, x, lab.NEGATIVES, power=0.75)
    often = x >= 5  # a pair met once or twice has a PMI of chance
    counts = np.maximum(np.bincount(ids, minlength=size), 1)
    results: dict[str, Any] = {"pairs": int(often.sum()), "words": size, "tokens": len(ids), "dims": {}}
    for dim in BRIDGE_DIMS:
        settings = word2vec.Settings(dim, lab.WINDOW, lab.NEGATIVES, t=0, epochs=2 * args.epochs, lr=0.05)
        model, _ = word2vec.train(ids, sentence, counts, settings, args.seed)
        dots = model.inputs.weight.numpy(force=True) @ model.outputs.weight.numpy(force=True).T  # (V, V)
        unseen = np.ones_like(dots, dtype=bool)
        unseen[row, column] = False
        found = dots[row, column][often]
        results["dims"][str(dim)] = {
            "correlation": float(np.corrcoef(found, pmi[often])[0, 1]),
            "mean_error": float((found - pmi[often]).mean()),
            "unseen": float(dots[unseen].mean()) if unseen.any() else None,
        }
    results["mean_pmi"] = float(pmi[often].mean())
    rows = [[int(d), r["correlation"], r["mean_error"], r["unseen"]] for d, r in results["dims"].items()]
    print(f"u · v of SGNS against PMI - ln {lab.NEGATIVES}: {often.sum():,} pairs of {size} words, ", end="")
    print(f"on average {results['mean_pmi']:.2f}")
    print(run.table(["D", "correlation", "mean error", "u · v unseen"], rows) + "\n")
    return results, (pmi[often], found)


# ---------------------------------------------------------------- words never seen


def stem(word: str) -> str:
    """The word without its longest known ending, if at least four letters stay. Crude, and good enough to count."""
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 4:
            return word[: -len(suffix)]
    return word


def unseen_words(lab: ModuleType, corpus: Corpus, models: tuple, sgns: np.ndarray) -> dict[str, Any]:
    """Words too rare for the vocabulary: do their vectors lie near their relatives, and do they mean the same?

    family: how often a word of the same stem is nearest, or among ten.  agreement: Spearman's correlation between the
    word's cosines with all other words, and those SGNS gives to its most frequent relative.
    """
    from scipy.stats import spearmanr

    vocabulary = corpus.vocabulary
    stems = np.array([stem(word) for word in vocabulary.words])
    rare = [word for word in corpus.rare if len(word) > 5 and word.isalpha() and (stems == stem(word)).any()]
    results: dict[str, Any] = {"words": len(rare)}
    sgns = word2vec_probes.unit_rows(sgns)
    for name, model in zip(("spelling", "fasttext"), models, strict=True):
        known = word2vec_probes.unit_rows(model.vectors())
        first, ten, agreement = [], [], []
        for word in rare:
            family = stems == stem(word)
            cosines = known @ model.vector(word)
            order = np.argsort(-cosines, kind="stable")[:10]
            first.append(family[order[0]])
            ten.append(family[order].any())
            relative = sgns @ sgns[np.flatnonzero(family)[0]]  # the first is the most frequent
            agreement.append(spearmanr(cosines[~family], relative[~family]).statistic)
        values = {"nearest": first, "in_ten": ten, "agreement": agreement}
        results[name] = {key: float(np.mean(value)) if value else 0.0 for key, value in values.items()}
    print(f"{len(rare):,} words that no method has seen, each with a relative in the vocabulary")
    rows = [[LABELS[name], *results[name].values()] for name in ("spelling", "fasttext")]
    print(run.table(["", "relative nearest", "in ten", "agreement with SGNS"], rows) + "\n")
    return results


def show_made_up(lab: ModuleType, model: Any, vocabulary: word2vec.Vocabulary) -> None:
    known = model.vectors()
    for word in [word for word in MADE_UP if word not in vocabulary.ids]:
        print(f"{word:15} " + neighbours(known, vocabulary.words, model.vector(word), 4))
    print()


# ---------------------------------------------------------------- figures


def draw_methods(args: argparse.Namespace, results: dict[str, Any]) -> None:
    """Left: every method on the probes. Right: words never seen."""
    fig, (left, right) = run.figure(ncols=2, width=11, height=4.4)
    methods = results["methods"]
    docs = "form" in methods["sgns"] and "meaning" in methods["sgns"]
    keys = {"form": "word forms", "meaning": "opposites"} if docs else {"wordsim": "WordSim", "google": "Google"}
    for i, (key, label) in enumerate(keys.items()):
        places = np.arange(len(methods)) + 0.38 * (i - 0.5)
        left.barh(places, [row.get(key, 0) for row in methods.values()], 0.36, label=label, color=f"C{i}")
    left.set_yticks(range(len(methods)), [LABELS[name] for name in methods])
    left.invert_yaxis()
    left.legend(loc="best")
    left.set(title="One corpus, one yardstick", xlabel="partner among the ten nearest" if docs else "score")
    names = {"nearest": "relative is nearest", "in_ten": "relative in ten", "agreement": "agreement with SGNS"}
    for i, name in enumerate(("spelling", "fasttext")):
        places = np.arange(3) + 0.38 * (i - 0.5)
        right.bar(places, [results["unseen"][name][key] for key in names], 0.36, label=LABELS[name], color=f"C{i + 2}")
    right.set_xticks(range(3), names.values())
    right.set(title=f"{results['unseen']['words']:,} words never seen", ylim=(0, 1))
    right.legend(loc="best")
    run.save_figure(args, fig, "methods.png")


def draw_bridge(lab: ModuleType, args: argparse.Namespace, results: dict, pmi: np.ndarray, dots: np.ndarray) -> None:
    """Left: trained dot products over shifted PMI. Right: GloVe's weight."""
    fig, (left, right) = run.figure(ncols=2, width=11, height=4.4)
    dim, row = list(results["dims"].items())[-1]
    left.plot(pmi, dots, ".", ms=3, alpha=0.25, color="C0")
    ends = np.array([min(pmi.min(), dots.min()), max(pmi.max(), dots.max())])
    left.plot(ends, ends, "--", color="C6", lw=1.2, label="u · v = PMI - ln K")
    left.set(title=f"SGNS, D = {dim}: correlation {row['correlation']:.2f}", xlabel="PMI - ln K", ylabel="u · v")
    left.legend(loc="upper left")
    x = np.geomspace(0.2, 1000, 200)
    for x_max, style in ((100, "-"), (10, "--")):
        right.plot(x, lab.glove_weight(x, x_max), style, label=f"x_max = {x_max}")
    right.set(title="How much a cell's error matters to GloVe", xscale="log", xlabel="co-occurrence x", ylabel="f(x)")
    right.legend(loc="upper left")
    run.save_figure(args, fig, "bridge.png")
