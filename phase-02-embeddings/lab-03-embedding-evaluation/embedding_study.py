"""The experiments of lab 2.3 on planted vectors and on real ones that need no network.

Each experiment takes `lab`, the module whose harness it uses: the reference when `solution.py` runs it, the learner's
own code when `lab.py` does.
"""

from __future__ import annotations

import itertools

import embedding_figures
import numpy as np
import planted_world
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

from labkit import run

REMOVED = [0, 1, 2, 3, 5, 10, 20]  # how many principal components, besides the mean
DOCS_GROUPS = {
    "types": "int float str bool list tuple dict bytes complex frozenset",
    "exceptions": "valueerror typeerror keyerror indexerror oserror runtimeerror attributeerror importerror",
    "calendar": "monday friday saturday sunday january february march july december weekday month year",
    "colours": "red green blue yellow black white orange",
    "trigonometry": "sin cos tan sine cosine tangent arcsin arccos arctan hyperbolic",
    "network": "socket server client address http url host port protocol connection",
    "linear algebra": "matrix matrices eigenvalues eigenvectors singular decomposition determinant transpose",
    "threads": "thread threads lock acquire release semaphore daemon deadlock",
}
DOCS_SECTIONS = {
    "plural": """file files string strings array arrays function functions object objects module modules argument
        arguments method methods thread threads value values class classes index indices list lists directory
        directories""",
    "past participle": """call called return returned convert converted raise raised use used write written create
        created find found open opened close closed pass passed add added remove removed sort sorted""",
    "-ing form": """call calling return returning convert converting use using write writing create creating read
        reading open opening pass passing add adding sort sorting match matching""",
    "opposite": """open close read write encode decode pack unpack lock unlock acquire release push pop min max
        first last start end upper lower left right row column""",
}


# ---------------------------------------------------------------- planted vectors


def harness_on_known_vectors(lab, judge, world, sample, rng) -> tuple[dict, np.ndarray]:
    """Every instrument on vectors whose quality is known, and what removing directions does to them."""
    trained = planted_world.learned(world, rng, shared=2.0)
    variants = {"latent": world.latent, "noise only": planted_world.learned(world, rng)}
    variants |= {"as trained": trained} | dict(without(lab, trained, k) for k in REMOVED)
    variants["random"] = rng.standard_normal(trained.shape)
    rows = {}
    for name, vectors in run.progress(variants.items(), "variants", total=len(variants)):
        similarity = judge(vectors)
        correct = lab.analogy_report(vectors, world.sections)["all"]["accuracy"]
        rows[name] = {"anisotropy": lab.anisotropy(vectors, sample), **similarity, "analogies": 100 * correct}
    return rows, trained


def coverage_trap(lab, judge, world, pairs, scores, rng) -> dict:
    """A small model that knows only frequent words against a better one that also tries the rare ones."""
    rank = rng.permutation(len(world.words)) / len(world.words)  # 0: the most frequent word
    small, full = planted_world.learned(world, rng, 1.0), planted_world.learned(world, rng, 0.4 + 3.0 * rank**2)
    small_pairs = np.where(rank[pairs] < 0.5, pairs, -1)
    rows = {
        "small vocabulary": judge(small, small_pairs),
        "full vocabulary": judge(full),
        "full on the same": judge(full, small_pairs),
    }
    both = (small_pairs >= 0).all(axis=1)
    samples = [lab.pair_cosines(full, pairs)[both], lab.pair_cosines(small, pairs)[both], scores[both]]
    return {"rows": rows, "difference": paired_difference(lab, samples, rng)}


def interval_widths(lab, resamples: int, rng, correlation: float = 0.6) -> dict:
    """Samples of two normal variables, whose ρ is known: 6/π arcsin(r/2). How wide is the interval, how often right?"""
    truth = 6 / np.pi * np.arcsin(correlation / 2)
    rows = {}
    for size in run.progress([20, 50, 100, 353, 999], "intervals"):
        found = []
        for _ in range(resamples):
            x, noise = rng.standard_normal((2, size))
            y = correlation * x + np.sqrt(1 - correlation**2) * noise
            found.append(lab.bootstrap_interval(lab.spearman, [x, y], rng.integers(size, size=(resamples, size))))
        low, high = np.array(found).T
        right = (low <= truth) & (truth <= high)
        rows[str(size)] = {"width": (high - low).mean(), "right": 100 * right.mean()}
    return {"truth": truth, "rows": rows}


def planted_bias(lab, world, vectors) -> tuple[dict, np.ndarray]:
    """Is the planted direction found, from how many pairs, and what is left of the bias once it is removed?"""
    professions = world.groups["professions"]
    found = {}
    for count in (1, 2, 4, 8):
        direction = lab.bias_direction(vectors, world.gendered[:count])
        leaning = lab.projections(vectors[professions], direction)
        agree = {"cosine": direction @ world.direction, "rank correlation": lab.spearman(leaning, world.bias)}
        found[str(count)] = agree
    neutral = vectors - np.outer(vectors @ direction, direction)
    removal = {
        name: {
            "direct bias": lab.direct_bias(v[professions], direction),
            "neighbours": 100 * same_leaning(lab, v[professions], world.bias),
        }
        for name, v in (("as trained", vectors), ("direction removed", neutral))
    }
    return {"found": found, "removal": removal}, leaning


def same_leaning(lab, vectors, bias, k: int = 5) -> float:
    """How many of the k nearest other professions lean the same way; 0.48 is chance.  Gonen and Goldberg 2019"""
    unit = lab.l2_normalize(vectors)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    nearest = np.argsort(-cosine, axis=1)[:, :k]
    return float((np.sign(bias)[nearest] == np.sign(bias)[:, None]).mean())


# ---------------------------------------------------------------- real words


def docs_analogies(lab, words: list[str], vectors: np.ndarray) -> dict:
    """Accuracy per section, and what is behind it: what if a, b, c may be answers, what if a and b are ignored?"""
    vocabulary = {word: i for i, word in enumerate(words)}
    sections = {}
    for name, text in DOCS_SECTIONS.items():
        questions = [[*first, *second] for first, second in itertools.permutations(word_pairs(text), 2)]
        sections[name] = lab.look_up(questions, vocabulary)
    report = lab.analogy_report(vectors, sections)
    del report["all"]
    unit = lab.l2_normalize(vectors)
    for name, row in report.items():
        a, b, c, d = sections[name][(sections[name] >= 0).all(axis=1)].T
        like_a, like_b, like_c = (unit[ids] @ unit.T for ids in (a, b, c))  # (Q, V) each
        anything = (like_b - like_a + like_c).argmax(axis=1)
        nearest = like_c
        for ids in (a, b, c):
            nearest[np.arange(len(c)), ids] = -np.inf
        share = {
            "inputs allowed": anything == d,
            "of these c": anything == c,
            "nearest to c": nearest.argmax(axis=1) == d,
        }
        row |= {key: 100 * float(hits.mean()) if len(hits) else None for key, hits in share.items()}
        row["accuracy"] = None if row["accuracy"] is None else 100 * row["accuracy"]
    return report


def on_the_map(words: list[str], vectors: np.ndarray, points: int) -> tuple[list[str], np.ndarray, dict]:
    """The labelled words and the most frequent others, `points` in all: words, vectors, group -> their new ids."""
    vocabulary = {word: i for i, word in enumerate(words)}
    groups = {name: [w for w in text.split() if w in vocabulary] for name, text in DOCS_GROUPS.items()}
    groups = {name: members for name, members in groups.items() if len(members) > 1}
    shown = list(dict.fromkeys([*itertools.chain(*groups.values()), *words]))[:points]
    place = {word: i for i, word in enumerate(shown)}
    ids = {name: np.array([place[word] for word in members]) for name, members in groups.items()}
    return shown, vectors[[vocabulary[word] for word in shown]], ids


def two_dimensions(lab, vectors: np.ndarray, args) -> dict[str, np.ndarray]:
    """name -> (N, 2), of unit vectors: PCA; t-SNE and UMAP where scikit-learn and umap-learn are installed."""
    unit = lab.l2_normalize(vectors)
    views = {"PCA": lab.pca(unit, 2)[1]}
    try:
        from sklearn.manifold import TSNE

        perplexity = min(30, len(unit) / 4)
        steps = min(1000, max(250, args.points))  # a small map needs fewer
        tsne = TSNE(perplexity=perplexity, init="pca", max_iter=steps, random_state=args.seed)
        views["t-SNE"] = tsne.fit_transform(unit)
    except ImportError:
        print("t-SNE needs scikit-learn: pip install scikit-learn")
    if args.preset == "smoke":  # UMAP is compiled when it is imported, for ten seconds
        return views
    try:
        from umap import UMAP

        views["UMAP"] = UMAP(random_state=args.seed, n_jobs=1).fit_transform(unit)
    except ImportError:
        print("UMAP needs umap-learn: pip install umap-learn")
    return views


def faithfulness(lab, vectors: np.ndarray, views: dict, groups: dict[str, np.ndarray]) -> dict:
    """Of the labelled words in each view: is the nearest one of the same group, and are far groups still far?

    near: percentage of words whose nearest labelled word shares their group   far: ρ between the distances of group
    centres in this view and in all dimensions.
    """
    ids, label = np.concatenate(list(groups.values())), np.repeat(range(len(groups)), [*map(len, groups.values())])
    unit = lab.l2_normalize(vectors)
    upper = np.triu_indices(len(groups), 1)
    rows, truth = {}, None
    for name, points in {"all dimensions": unit, **views}.items():
        distance = np.linalg.norm(points[ids][:, None] - points[ids], axis=-1)
        np.fill_diagonal(distance, np.inf)
        centres = np.array([points[members].mean(axis=0) for members in groups.values()])
        apart = np.linalg.norm(centres[:, None] - centres, axis=-1)[upper]
        truth = apart if truth is None else truth
        rows[name] = {
            "near": 100 * float((label[distance.argmin(axis=1)] == label).mean()),
            "far": lab.spearman(apart, truth) if len(apart) > 1 else None,
        }
    return rows


# ---------------------------------------------------------------- everything, on the terminal


def study(lab, args) -> None:
    """The default: planted vectors, then vectors counted from `--data`."""
    rng = np.random.default_rng(args.seed)
    world = planted_world.plant(rng)
    pairs, scores = planted_world.judged_pairs(world, 353, rng)
    sample = lab.random_pairs(len(world.words), SAMPLE, rng)

    def judge(vectors, asked=pairs):
        return lab.similarity_report(vectors, asked, scores, rng, args.resamples)

    variants, trained = harness_on_known_vectors(lab, judge, world, sample, rng)
    print(f"Planted world: {len(world.words)} words, {len(pairs)} judged pairs, 296 analogies")
    rows = [[n, round(r["anisotropy"], 3) + 0, r["spearman"], interval(r), r["analogies"]] for n, r in variants.items()]
    print(run.table(["vectors", "anisotropy", "Spearman", "95 % interval", "analogies %"], rows))

    coverage = coverage_trap(lab, judge, world, pairs, scores, rng)
    print("\nTwo models with different vocabularies")
    print_similarity(coverage["rows"])
    d = coverage["difference"]
    print(f"on the {d['pairs']} pairs of both, full - small: {d['difference']:+.2f}, 95 % interval {interval(d)}")

    widths = interval_widths(lab, args.resamples // 5, rng)
    print(f"\nThe interval itself: samples with a true Spearman of {widths['truth']:.3f}")
    rows = [[int(size), r["width"], r["right"]] for size, r in widths["rows"].items()]
    print(run.table(["pairs", "mean width", "holds the truth %"], rows))

    bias, leaning = planted_bias(lab, world, planted_world.learned(world, rng))
    print("\nA planted bias: the direction from so many defining pairs")
    rows = [[int(count), r["cosine"], r["rank correlation"]] for count, r in bias["found"].items()]
    print(run.table(["pairs", "cosine with truth", "Spearman of leanings"], rows))
    rows = [[name, round(r["direct bias"], 3), r["neighbours"]] for name, r in bias["removal"].items()]
    print(run.table(["professions", "direct bias", "neighbours alike %"], rows))

    words, vectors = baseline(args)
    analogies = docs_analogies(lab, words, vectors)
    print(f"\nReal words: {len(words):,} from {args.data}, PPMI-SVD, analogies in %")
    keys = ["questions", "covered", "accuracy", "inputs allowed", "of these c", "nearest to c"]
    headers = ["section", "asked", "covered", "3CosAdd", "inputs allowed", "it is c", "nearest to c"]
    print(run.table(headers, [[name, *(row[key] for key in keys)] for name, row in analogies.items()]))

    maps = {"planted": (world.words, world.latent, world.groups), "docs": on_the_map(words, vectors, args.points)}
    views = {name: two_dimensions(lab, v, args) for name, (_, v, _) in maps.items()}
    faith = {name: faithfulness(lab, v, views[name], g) for name, (_, v, g) in maps.items() if len(g) > 1}
    print("\nMaps: nearest labelled word of the same group (near), order of the distances between groups kept (far)")
    rows = [[name, view, r["near"], r["far"]] for name, by_view in faith.items() for view, r in by_view.items()]
    print(run.table(["words", "view", "near %", "far"], rows))

    embedding_figures.plot_maps(args, maps, views)
    embedding_figures.plot_intervals(args, variants, widths)
    embedding_figures.plot_anisotropy(args, lab, trained, sample, variants)
    embedding_figures.plot_bias(args, world, leaning, bias["removal"])
    results = {"words": len(world.words), "pairs": len(pairs), "variants": variants, "coverage": coverage}
    results |= {"intervals": widths, "bias": bias, "vocabulary": len(words), "docs_analogies": analogies, "maps": faith}
    run.save_results(args, plain_keys(results))
