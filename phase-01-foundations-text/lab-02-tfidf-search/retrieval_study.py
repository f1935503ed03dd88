"""What main() shows: hits with snippets, query latency, a known-item experiment and two figures.

Every function takes `lab`, the module whose functions it runs: solution.py, or lab.py with your own code in it.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from labkit import run

KEYS = {  # labels of the ladder's steps and their names in results.json
    "counts": "counts",
    "+ unit length": "unit_length",
    "+ idf": "idf",
    "+ log tf": "log_tf",
    "BM25, b = 0": "bm25_b0",
    "BM25": "bm25",
}
OPENING_END = re.compile(r"\n|(?<=[.!?])\s")  # a docstring's summary line, an abstract's first sentence
MIN_BODY, MIN_OPENING = 10, 3  # words: a known item needs a text worth finding and a line worth searching with


@dataclass(frozen=True)
class Documents:
    titles: list[str]
    texts: list[str]  # what is searched: the title and the text


def read_documents(corpus: Any, limit: int) -> Documents:
    """The first `limit` documents of a corpus, each title put before its text so that it can be found too."""
    chosen = corpus.documents[:limit]
    return Documents([d.title for d in chosen], [f"{d.title}\n{d.text}" for d in chosen])


# ---------------------------------------------------------------- showing hits


def snippet(lab: ModuleType, text: str, words: set[str], width: int = 150) -> str:
    """About `width` characters of text with the most different query words, each put in *asterisks*."""
    text = " ".join(text.split())
    found = [match for match in lab.TOKEN.finditer(text) if match.group().lower() in words]
    best_start, best_words = 0, 0
    for i, first in enumerate(found):
        inside = {match.group().lower() for match in found[i:] if match.end() <= first.start() + width * 3 // 4}
        if len(inside) > best_words:
            best_start, best_words = max(0, first.start() - width // 4), len(inside)
    start = text.rfind(" ", 0, best_start) + 1 if best_start else 0
    piece = text[start : start + width]
    marked = lab.TOKEN.sub(lambda m: f"*{m.group()}*" if m.group().lower() in words else m.group(), piece)
    return ("... " if start else "") + marked + (" ..." if start + width < len(text) else "")


def show_hits(lab: ModuleType, documents: Documents, indexes: dict[str, Any], args: argparse.Namespace) -> None:
    """Title, score and snippet of the best documents, and the place the other ranking gives each of them."""
    other = next(name for name in indexes if name != args.ranking)
    best, scores = lab.search(indexes[args.ranking], args.query, args.top)
    elsewhere = lab.search(indexes[other], args.query, len(documents.texts))[0].tolist()
    words = set(lab.tokenize(args.query))
    print(f'{args.ranking}: "{args.query}" in {len(documents.texts):,} documents\n')
    for place, (document, score) in enumerate(zip(best, scores, strict=True), 1):
        print(f"{place}. {score:.3f}  {documents.titles[document]}   ({other}: {elsewhere.index(document) + 1})")
        body = documents.texts[document].partition("\n")[2]
        print(f"   {snippet(lab, body, words)}\n")
    if len(best) == 0:
        print("Nothing: no document holds any word of the query.\n")


# ---------------------------------------------------------------- known items


@dataclass(frozen=True)
class KnownItems:
    """Openings as queries; the text that follows an opening is the one document that should be found."""

    bodies: list[list[str]]  # tokens of every document without its opening
    queries: list[str]
    targets: np.ndarray  # (queries,) document number


def known_items(lab: ModuleType, documents: Documents, limit: int, rng: np.random.Generator) -> KnownItems:
    """Cut each text after its first line or sentence; draw `limit` of these openings as queries."""
    bodies, openings, seen = [], [], set()
    for text in documents.texts:
        opening, body = [*OPENING_END.split(text.partition("\n")[2], maxsplit=1), ""][:2]
        words = lab.tokenize(body)
        if len(words) < MIN_BODY or len(set(lab.tokenize(opening))) < MIN_OPENING or body in seen:
            continue  # inherited docstrings appear many times: one copy of each
        seen.add(body)
        bodies.append(words)
        openings.append(opening)
    targets = rng.permutation(len(bodies))[:limit]
    if not bodies:
        raise SystemExit("the known-item experiment found no text of more than one sentence: use other --data")
    return KnownItems(bodies, [openings[i] for i in targets], targets)


def rankings(lab: ModuleType, items: KnownItems) -> Iterator[tuple[str, Callable[[str], np.ndarray]]]:
    """(label, a function from a query to its ten best documents): one more idea at each step."""
    vocabulary = lab.build_vocabulary(items.bodies)
    counts = lab.count_matrix(items.bodies, vocabulary)  # (n_docs, V)
    idf = lab.inverse_document_frequency(counts)
    as_counts = lambda vector: vector  # noqa: E731
    steps = [
        ("counts", counts, as_counts),
        ("+ unit length", lab.normalize_rows(counts), as_counts),
        ("+ idf", lab.tfidf(counts, idf), lambda vector: lab.tfidf(vector, idf)),
        ("+ log tf", lab.tfidf(counts, idf, True), lambda vector: lab.tfidf(vector, idf, True)),
        ("BM25, b = 0", lab.bm25(counts, b=0.0), as_counts),
        ("BM25", lab.bm25(counts), as_counts),
    ]
    for name, matrix, weigh in steps:
        postings = lab.transpose(matrix)

        def best(query: str, postings=postings, weigh=weigh) -> np.ndarray:
            vector = weigh(lab.count_matrix([lab.tokenize(query)], vocabulary))
            return lab.top_k(lab.score(postings, vector), 10)

        yield name, best


def measure_rankings(lab: ModuleType, items: KnownItems) -> dict[str, dict[str, Any]]:
    """Per ranking: mean reciprocal rank of the target in the first ten, and which lengths fill the first ten."""
    lengths = np.array([len(body) for body in items.bodies])
    decile = np.searchsorted(np.quantile(lengths, np.arange(0.1, 1, 0.1)), lengths, side="right")  # (n_docs,) 0..9
    results = {}
    for label, best in rankings(lab, items):
        reciprocal, shown = np.zeros(len(items.queries)), np.zeros(10)
        for i, query in enumerate(run.progress(items.queries, label)):
            top = best(query)
            place = np.flatnonzero(top == items.targets[i])
            reciprocal[i] = 1 / (place[0] + 1) if len(place) else 0.0
            shown += np.bincount(decile[top], minlength=10)
        results[KEYS[label]] = {
            "label": label,
            "mrr": reciprocal.mean(),
            "standard_error": reciprocal.std() / np.sqrt(len(reciprocal)),
            "found_first": (reciprocal == 1).mean(),
            "found_in_ten": (reciprocal > 0).mean(),
            "share_by_length": shown / max(shown.sum(), 1),
        }
    return results


def milliseconds(lab: ModuleType, index: Any, queries: list[str], rounds: int = 3) -> np.ndarray:
    """The time of each query, from its text to its ten best documents: the fastest of a few rounds."""
    times = np.full(len(queries), np.inf)
    for _ in range(rounds):
        for i, query in enumerate(queries):
            start = time.perf_counter()
            lab.search(index, query, 10)
            times[i] = min(times[i], time.perf_counter() - start)
    return 1000 * times


# ---------------------------------------------------------------- figures


def weights_figure(lab: ModuleType, index: Any, args: argparse.Namespace) -> None:
    """Left: four idf formulas over the share of documents that hold a word. Right: what repeating a word is worth."""
    n_docs = index.postings.shape[1]
    df = np.diff(index.postings.indptr)  # a postings list is as long as the word has documents
    fig, (left, right) = run.figure(1, 2, width=10, height=4.2)

    n = np.unique(np.geomspace(1, n_docs, 200).round())
    left.plot(n / n_docs, np.log((1 + n_docs) / (1 + n)) + 1, label="scikit-learn, smoothed")
    left.plot(n / n_docs, np.log(n_docs / n), label="textbook, ln(N / df)")
    left.plot(n / n_docs, np.log1p((n_docs - n + 0.5) / (n + 0.5)), label="BM25, Lucene", linestyle="--")
    left.plot(n / n_docs, np.log((n_docs - n + 0.5) / (n + 0.5)), label="BM25, Robertson", linestyle=":")
    for word in ("the", "return", "file", "csv"):
        if word in index.vocabulary:
            term = index.vocabulary[word]
            left.plot(df[term] / n_docs, index.idf[term], "o", color="#24292f", markersize=4)
            left.annotate(word, (df[term] / n_docs, index.idf[term]), (4, 4), textcoords="offset points", fontsize=10)
    left.axhline(0, color="#57606a", linewidth=0.8)
    left.set(xscale="log", ylim=(-4, 10.5), xlabel="share of documents that hold the word", ylabel="idf")
    left.set_title("Rare words weigh more")
    left.legend(loc="lower left")

    count = np.arange(1, 21)
    ones = lab.CSR(np.array([0, 1]), np.array([0]), np.array([1.0]), (1, 1))
    logarithm = [lab.term_frequency(ones.with_data(np.array([float(c)])), True).data[0] for c in count]
    right.plot(count, count, label="count")
    right.plot(count, logarithm, label="1 + ln count")
    for share, style in ((0.25, "-"), (1.0, "--"), (4.0, ":")):
        gain = 2.2 * count / (count + 1.2 * (0.25 + 0.75 * share))  # scaled: 1 for one occurrence at average length
        right.plot(count, gain, style, color="C2", label=f"BM25, {share:g} x average length")
    right.set(ylim=(0, 8), xticks=[1, 5, 10, 15, 20], xlabel="times the word occurs", ylabel="weight")
    right.set_title("Repeating a word pays less and less")
    right.legend()
    run.save_figure(args, fig, "weights.png")


def ranking_figure(measured: dict[str, dict[str, Any]], args: argparse.Namespace) -> None:
    """Left: mean reciprocal rank per step. Right: which document lengths fill the first ten places."""
    fig, (left, right) = run.figure(1, 2, width=10, height=4.2)
    labels = [m["label"] for m in measured.values()]
    mrr = [m["mrr"] for m in measured.values()]
    error = [1.96 * m["standard_error"] for m in measured.values()]
    left.barh(labels[::-1], mrr[::-1], xerr=error[::-1], color="C0", error_kw={"ecolor": "#57606a"})
    left.set(xlabel="mean reciprocal rank of the right document", title="What each idea is worth")
    left.grid(axis="y", visible=False)

    for key in ("counts", "log_tf", "bm25_b0", "bm25"):
        share = 100 * measured[key]["share_by_length"]
        right.plot(range(1, 11), share, "o-", markersize=4, label=measured[key]["label"])
    right.axhline(10, color="#57606a", linewidth=1, linestyle="--", label="every length alike")
    right.set(xticks=[1, 5, 10], xlabel="document length: shortest tenth to longest tenth", ylabel="% of the results")
    right.set_title("Who fills the first ten places")
    right.legend()
    run.save_figure(args, fig, "ranking.png")


# ---------------------------------------------------------------- all of it


def study(
    lab: ModuleType, documents: Documents, counts: Any, indexes: dict[str, Any], args: argparse.Namespace
) -> dict[str, Any]:
    """Latency, the known-item experiment and both figures; returns the numbers."""
    n_docs, n_terms = counts.shape
    items = known_items(lab, documents, args.queries, np.random.default_rng(args.seed))
    latency = {}
    for name, index in indexes.items():
        times = milliseconds(lab, index, items.queries)
        latency[name] = {"p50_ms": np.percentile(times, 50), "p99_ms": np.percentile(times, 99)}
    measured = measure_rankings(lab, items)
    filled = len(counts.data) / (n_docs * n_terms)
    print(f"{n_docs:,} documents, {n_terms:,} words, {len(counts.data):,} entries: {filled:.2%} of the matrix")
    print(run.table(["query latency", "p50 ms", "p99 ms"], [[n, *t.values()] for n, t in latency.items()]) + "\n")
    print(f"{len(items.queries):,} openings as queries, {len(items.bodies):,} texts without theirs to find")
    rows = [[m["label"], m["mrr"], m["found_first"], m["found_in_ten"]] for m in measured.values()]
    print(run.table(["ranking", "MRR", "first", "in ten"], rows) + "\n")
    weights_figure(lab, indexes["tfidf"], args)
    ranking_figure(measured, args)
    size = {"documents": n_docs, "words": n_terms, "entries": len(counts.data), "filled": filled}
    known = {"queries": len(items.queries), "texts": len(items.bodies)}
    return {"corpus": size, "latency": latency, "known_items": known, "rankings": measured}
