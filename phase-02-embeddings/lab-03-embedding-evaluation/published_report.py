"""The report of lab 2.3 on the published sets: WordSim-353, SimLex-999 and Google's analogies.

python solution.py --published                   vectors counted from `--data`
python solution.py --vectors vectors.bin         vectors of a file, the first `--vocabulary` of them
"""

from __future__ import annotations

import embedding_figures
import numpy as np
import word_vectors
from report_tools import (
    SAMPLE,
    baseline,
    interval,
    paired_difference,
    plain_keys,
    print_similarity,
    without,
    word_pairs,
)

from labkit import data, run

SHE_HE = """she he her his herself himself woman man women men daughter son mother father girl boy sister brother
    female male"""
OCCUPATIONS = """actor architect artist author bishop captain carpenter chemist composer doctor economist engineer
    farmer judge lawyer mathematician mechanic musician nurse painter philosopher physicist pilot poet politician
    president priest professor programmer secretary singer soldier teacher writer"""


def report(lab, args) -> None:
    """Vectors of a file, or counted from `--data`, on the published sets."""
    rng = np.random.default_rng(args.seed)
    try:
        similarity = {name: word_vectors.read_similarity(name) for name in word_vectors.SIMILARITY}
        questions = word_vectors.read_analogies()
    except data.DataUnavailable as problem:
        raise SystemExit(str(problem)) from None
    words, vectors = word_vectors.load_vectors(args.vectors, args.vocabulary) if args.vectors else baseline(args)
    vocabulary = {word: i for i, word in enumerate(words)}
    pairs = {name: lab.look_up(rows, vocabulary) for name, (rows, _) in similarity.items()}
    sections = {name: lab.look_up(rows, vocabulary) for name, rows in questions.items()}
    print(f"{len(words):,} vectors of {vectors.shape[1]} numbers from {args.vectors or args.data + ', PPMI-SVD'}")
    rows = {
        name: lab.similarity_report(vectors, pairs[name], scores, rng, args.resamples)
        for name, (_, scores) in similarity.items()
    }
    print_similarity(rows)
    analogies = lab.analogy_report(vectors, sections)
    headers = ["section", "asked", "covered", "correct", "of covered %"]
    keys = ["questions", "covered", "correct"]
    table = [[n, *(r[key] for key in keys), r["accuracy"] and 100 * r["accuracy"]] for n, r in analogies.items()]
    print("\n" + run.table(headers, table))
    results = {"words": len(words), "dim": vectors.shape[1], "similarity": rows, "analogies": analogies}
    asked = pairs["wordsim353"], similarity["wordsim353"][1]
    results["removed"] = removal_on_published(lab, vectors, *asked, rng)
    results["vocabulary"] = by_vocabulary(lab, vectors, *asked, rng, args.resamples)
    results["bias"] = published_bias(lab, vectors, vocabulary)
    embedding_figures.plot_published(args, results)
    run.save_results(args, plain_keys(results), name="published")


def removal_on_published(lab, vectors, pairs, scores, rng) -> dict:
    """Does removing directions help on WordSim-353? The same pairs before and after, so the difference is paired."""
    known = (pairs >= 0).all(axis=1)
    before = lab.pair_cosines(vectors, pairs)[known]
    sample = lab.random_pairs(len(vectors), SAMPLE, rng)
    rows = {"as trained": {"anisotropy": lab.anisotropy(vectors, sample)}}
    for k in (0, 2, 10):
        name, changed = without(lab, vectors, k)
        row = {"anisotropy": lab.anisotropy(changed, sample)}
        if known.sum() >= 10:
            row |= paired_difference(lab, [lab.pair_cosines(changed, pairs)[known], before, scores[known]], rng)
        rows[name] = row
    print("\nDirections removed: change of WordSim-353's Spearman")
    table = [
        [n, round(r["anisotropy"], 3) + 0, r.get("difference"), interval({"low": None} | r, 3)] for n, r in rows.items()
    ]
    print(run.table(["vectors", "anisotropy", "change", "95 % interval"], table))
    return rows


def by_vocabulary(lab, vectors, pairs, scores, rng, resamples: int) -> dict:
    """WordSim-353 when only the first (most frequent) words count."""
    sizes = [n for n in (500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000) if n < len(vectors)] + [len(vectors)]
    rows = {
        str(n): lab.similarity_report(vectors[:n], np.where(pairs < n, pairs, -1), scores, rng, resamples)
        for n in sizes
    }
    print("\nWordSim-353 with the most frequent words only")
    print_similarity({f"{int(n):,} words": row for n, row in rows.items()})
    return rows


def published_bias(lab, vectors, vocabulary) -> dict | None:
    """Direct bias of occupations along the she-he direction, and that of all words, without which it says little."""
    defining = lab.look_up(word_pairs(SHE_HE), vocabulary)
    defining = defining[(defining >= 0).all(axis=1)]
    occupations = lab.look_up([OCCUPATIONS.split()], vocabulary)[0]
    occupations = occupations[occupations >= 0]
    if len(defining) < 2 or len(occupations) < 2:
        return None
    direction = lab.bias_direction(vectors, defining)
    bias = {
        "occupations": lab.direct_bias(vectors[occupations], direction),
        "all words": lab.direct_bias(vectors, direction),
    }
    print(
        f"\nDirect bias (she-he, {len(defining)} pairs): {len(occupations)} occupations {bias['occupations']:.3f}, ",
        end="",
    )
    print(f"all words {bias['all words']:.3f}")
    return {"pairs": len(defining), "count": len(occupations), **bias}
