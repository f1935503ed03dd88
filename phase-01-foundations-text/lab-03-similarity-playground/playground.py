"""The experiments and figures of lab 1.3.

Each experiment takes `lab`, the module whose measures it plays with: the reference when `solution.py` runs it, the
learner's own code when `lab.py` does.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from labkit import run

BANDINGS = [(32, 8), (16, 16), (64, 16)]  # (bands, rows); bits = bands * rows
LABELS = {
    "cosine": "cosine",
    "jaccard": "Jaccard",
    "euclidean": "Euclidean",
    "manhattan": "Manhattan",
    "dot": "dot",
    "unit_dot": "dot, unit rows",
    "unit_euclidean": "Euclidean, unit rows",
}
NEAR = 0.8  # documents of at least this cosine are what hashing should find


# ---------------------------------------------------------------- text as vectors


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def most_frequent(documents: list[list[str]], size: int) -> dict[str, int]:
    """The `size` most frequent words and their columns, most frequent first, ties in alphabetical order."""
    totals = Counter(word for words in documents for word in words)
    ranked = sorted(totals, key=lambda word: (-totals[word], word))
    return {word: column for column, word in enumerate(ranked[:size])}


def word_counts(documents: list[list[str]], vocabulary: dict[str, int]) -> np.ndarray:
    """How often each word of the vocabulary stands in each document: (N, D) float64, so that ties stay ties."""
    counts = np.zeros((len(documents), len(vocabulary)))
    for row, words in enumerate(documents):
        for word, count in Counter(words).items():
            if word in vocabulary:
                counts[row, vocabulary[word]] = count
    return counts


def choose_documents(texts, most: int, vocabulary_size: int, rng) -> tuple[list[list[str]], dict[str, int], np.ndarray]:
    """Up to `most` documents of 40 to 2,000 words, no two with the same word counts: words, vocabulary, counts."""
    documents = [words for words in map(words_of, texts) if 40 <= len(words) <= 2000]
    documents = [documents[i] for i in rng.permutation(len(documents))[:most]]
    vocabulary = most_frequent(documents, vocabulary_size)
    counts = word_counts(documents, vocabulary)
    _, keep = np.unique(counts, axis=0, return_index=True)
    keep = rng.permutation(keep)
    if len(keep) < 50:
        raise SystemExit(f"this lab needs 50 documents of 40 to 2,000 words, the corpus has {len(keep)}: see --data")
    return [documents[i] for i in keep], vocabulary, counts[keep]


# ---------------------------------------------------------------- experiments


def scores_by_measure(lab, queries, counts) -> dict[str, np.ndarray]:
    """Larger is nearer, for every measure: (Q, N) each."""
    unit_queries, unit_counts = lab.l2_normalize(queries), lab.l2_normalize(counts)
    return {
        "cosine": lab.cosine(queries, counts),
        "jaccard": lab.jaccard(queries, counts),
        "euclidean": -lab.euclidean(queries, counts),
        "manhattan": -lab.manhattan(queries, counts, block=1),
        "dot": lab.dot(queries, counts),
        "unit_dot": lab.dot(unit_queries, unit_counts),
        "unit_euclidean": -lab.euclidean(unit_queries, unit_counts),
    }


def document_search(lab, documents, vocabulary, counts, queries: int) -> tuple[dict, dict]:
    """Change only the length of a document and search for it; then see how long the nearest *other* document is.

    Returns per measure the percentage of queries whose own document comes first, and the word counts for the figure.
    """
    own = np.arange(queries)
    lengths = np.array([len(words) for words in documents])
    variants = {
        "whole": documents[:queries],
        "four_times": [words * 4 for words in documents[:queries]],
        "quarter": [words[::4] for words in documents[:queries]],
    }
    rows: dict = {measure: {} for measure in LABELS}
    neighbours = {}
    for variant, texts in run.progress(variants.items(), "searching", total=len(variants)):
        for measure, scores in scores_by_measure(lab, word_counts(texts, vocabulary), counts).items():
            rows[measure][variant] = percent(scores.argmax(axis=1) == own)
            if variant == "whole":
                scores[own, own] = -np.inf  # now the nearest other document
                neighbours[measure] = scores.argmax(axis=1)
    for measure, nearest in neighbours.items():
        rows[measure] |= {"words": np.median(lengths[nearest]), "distinct": len(np.unique(nearest))}
        neighbours[measure] = lengths[nearest]
    return rows, {"queries": lengths[:queries], "neighbours": neighbours}


def cancellation(lab, rng) -> dict[str, dict[str, float]]:
    """Pairs exactly one unit apart, moved away from the origin together: {shift: {dtype: median error}}."""
    a = rng.standard_normal((200, 64))
    b = a + lab.l2_normalize(rng.standard_normal((200, 64)))
    errors: dict = {}
    for shift in (0, 10, 100, 1000, 10_000):
        for dtype in ("float32", "float64"):
            distances = np.diag(lab.euclidean((a + shift).astype(dtype), (b + shift).astype(dtype)))
            errors.setdefault(str(shift), {})[dtype] = float(np.median(np.abs(distances - 1)))
    return errors


def concentration(lab, counts, dimensions: list[int], points: int, rng) -> tuple[dict, dict]:
    """Median relative contrast of 20 queries against `points` points, for each dimension.

    Returns {data: {dimension: contrast}} and, for the figure, the distances in the uniform cube over their mean.
    """
    contrasts: dict = {}
    spread = {}
    for d in run.progress(dimensions, "dimensions"):
        cube, gauss = rng.random((points + 20, d)), rng.standard_normal((points + 20, d))
        distances = {
            "uniform_euclidean": lab.euclidean(cube[:20], cube[20:]),
            "uniform_manhattan": lab.manhattan(cube[:20], cube[20:], block=4),
            "gaussian_unit_euclidean": lab.euclidean(*np.split(lab.l2_normalize(gauss), [20])),
        }
        if d <= counts.shape[1]:
            # The d most frequent words only; documents that become equal are left out.
            text = np.unique(lab.l2_normalize(counts[:, :d]).round(6), axis=0)
            text = rng.permutation(text)[: points + 20]
            if len(text) > 200:
                distances["text_unit_euclidean"] = lab.euclidean(text[:20], text[20:])
        for data, values in distances.items():
            contrasts.setdefault(data, {})[str(d)] = float(np.median(lab.relative_contrast(values)))
        spread[d] = (distances["uniform_euclidean"] / distances["uniform_euclidean"].mean()).ravel()
    return contrasts, spread


def collisions(lab, bits: int, repeats: int, rng) -> dict:
    """One vector against vectors at known angles: measured bit agreement and candidate rates, with the theory.

    At every angle the number of agreeing bits is binomial(bits, 1 - angle/π), so each z below is about N(0, 1).
    """
    angles = np.linspace(0, np.pi, 21)[1:-1]
    x, away = np.linalg.qr(rng.standard_normal((64, 2)))[0].T  # two orthogonal unit vectors
    vectors = np.vstack([x, np.cos(angles)[:, None] * x + np.sin(angles)[:, None] * away])  # row 0 is x itself
    signs = lab.signatures(vectors, rng.standard_normal((bits, 64)))
    measured = lab.agreement(signs[:1], signs[1:])[0]
    theory = lab.collision_probability(np.cos(angles))
    z = (measured - theory) / np.sqrt(theory * (1 - theory) / bits)
    rates = {}
    for bands, rows in BANDINGS:
        hits = np.zeros(len(angles))
        for _ in run.progress(range(repeats), f"{bands} bands of {rows}"):
            signs = lab.signatures(vectors, rng.standard_normal((bands * rows, 64)))
            found = lab.banded_candidates(signs, bands)
            hits += [(0, 1 + k) in found for k in range(len(angles))]
        rates[bands, rows] = hits / repeats
    return {"angles": angles, "measured": measured, "z": z, "rates": rates}


def percent(shares) -> float | None:
    return 100 * float(np.mean(shares)) if len(shares) else None


def document_hashing(lab, counts, rng) -> dict[str, dict]:
    """Banding on real documents, in percent: near pairs found and all pairs examined, with the theory of both."""
    i, j = np.triu_indices(len(counts), k=1)
    similarity = lab.cosine(counts, counts)[i, j]  # the slow way, to know the truth
    near = similarity >= NEAR
    results = {}
    for bands, rows in run.progress(BANDINGS, "hashing"):
        signs = lab.signatures(counts, rng.standard_normal((bands * rows, counts.shape[1])))
        is_candidate = np.zeros((len(counts), len(counts)), bool)
        is_candidate[tuple(np.array(list(lab.banded_candidates(signs, bands)), dtype=int).reshape(-1, 2).T)] = True
        found, expected = is_candidate[i, j], lab.candidate_probability(similarity, bands, rows)
        results[f"{bands}x{rows}"] = {
            "near_pairs": int(near.sum()),
            "found": percent(found[near]),
            "found_theory": percent(expected[near]),
            "examined": percent(found),
            "examined_theory": percent(expected),
        }
    return results


# ---------------------------------------------------------------- tables


def print_search(rows: dict) -> None:
    headers = ["measure", "whole %", "4 times %", "quarter %", "words", "distinct"]
    print(run.table(headers, [[LABELS[measure], *row.values()] for measure, row in rows.items()]))


def print_cancellation(errors: dict) -> None:
    print(run.table(["shift", "float32", "float64"], [[int(shift), *row.values()] for shift, row in errors.items()]))


def print_contrast(contrasts: dict) -> None:
    rows = [[int(d), *(values.get(d) for values in contrasts.values())] for d in contrasts["uniform_euclidean"]]
    print(run.table(["D", "cube L2", "cube L1", "sphere L2", "documents"][: 1 + len(contrasts)], rows))


def print_hashing(results: dict) -> None:
    rows = [[*map(int, name.split("x")), *list(row.values())[1:]] for name, row in results.items()]
    print(run.table(["bands", "bits each", "found %", "theory", "examined %", "theory"], rows))


# ---------------------------------------------------------------- figures


def plot_documents(args, rows: dict, lengths: dict) -> None:
    fig, (left, right) = run.figure(ncols=2, width=11, height=4.4)
    measures = list(LABELS)[:5]
    names = [LABELS[measure] for measure in measures]
    labels = {"whole": "the document itself", "four_times": "its text four times", "quarter": "every fourth word"}
    for k, (variant, label) in enumerate(labels.items()):
        shares = [rows[measure][variant] for measure in measures]
        left.bar(np.arange(len(measures)) + 0.27 * (k - 1), shares, width=0.25, label=label)
    left.set(title="Is a document its own best match?", ylabel="% of queries", ylim=(0, 128), yticks=range(0, 101, 20))
    left.set_xticks(range(len(measures)), names)
    left.grid(axis="x", visible=False)
    left.legend(title="query", loc="upper right", ncols=3, columnspacing=1, handlelength=1, fontsize=9)
    boxes = [lengths["queries"], *(lengths["neighbours"][measure] for measure in measures)]
    right.boxplot(boxes, whis=(5, 95), showfliers=False, widths=0.55, medianprops={"color": "#D55E00", "linewidth": 2})
    right.set_xticks(range(1, len(boxes) + 1), ["queries", *names])
    right.set(yscale="log", title="How long is the nearest other document?", ylabel="words")
    right.grid(axis="x", visible=False)
    run.save_figure(args, fig, "documents.png")


def plot_concentration(args, contrasts: dict, spread: dict) -> None:
    fig, (left, right) = run.figure(ncols=2, width=11, height=4.2)
    for d in (2, 16, 128, 1024):
        left.hist(spread[d], 120, (0, 2.2), density=True, histtype="stepfilled", alpha=0.55, label=f"D = {d}")
    left.set(title="Distances in the unit cube, over their mean", xlabel="distance / mean distance", ylabel="density")
    left.legend()
    styles = {
        "uniform_euclidean": ("uniform cube, Euclidean", "o-"),
        "uniform_manhattan": ("uniform cube, Manhattan", "s-"),
        "gaussian_unit_euclidean": ("random unit vectors, Euclidean", "^-"),
        "text_unit_euclidean": ("real documents, unit rows, Euclidean", "D--"),
    }
    for data, (label, style) in styles.items():
        if data in contrasts:
            right.loglog([int(d) for d in contrasts[data]], list(contrasts[data].values()), style, ms=5, label=label)
    right.set(title="Farthest over nearest, minus 1", xlabel="dimension D", ylabel="relative contrast")
    right.legend()
    run.save_figure(args, fig, "concentration.png")


def plot_hashing(args, lab, result: dict, bits: int) -> None:
    fig, (left, right) = run.figure(ncols=2, width=11, height=4.2)
    smooth = np.linspace(-1, 1, 401)
    p = lab.collision_probability(smooth)
    left.plot(np.degrees(np.arccos(smooth)), p, color="#444444", label="theory: 1 - angle / 180°")
    left.plot(np.degrees(result["angles"]), result["measured"], "o", color="#0072B2", label=f"measured, {bits:,} bits")
    left.set(title="One random hyperplane", xlabel="angle between the vectors (degrees)", ylabel="P(bits agree)")
    left.legend()
    for k, (bands, rows) in enumerate(BANDINGS):
        step = lab.candidate_probability(smooth, bands, rows)
        right.plot(smooth, step, color=f"C{k}", label=f"{bands} bands of {rows} bits")
        right.plot(np.cos(result["angles"]), result["rates"][bands, rows], "o", color=f"C{k}", ms=5)
    right.set(title="Bands turn the line into a step", xlabel="cosine similarity", ylabel="P(pair becomes a candidate)")
    right.set_xlim(-0.5, 1.02)
    right.legend(title="line: theory, dots: measured")
    run.save_figure(args, fig, "hashing.png")
