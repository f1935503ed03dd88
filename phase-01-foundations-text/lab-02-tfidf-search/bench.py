"""Build time and query latency against scikit-learn, in one run, on the same documents and the same queries.

Each query is asked several times and its fastest answer counts, for every searcher alike: the percentiles then tell
easy queries from hard ones, not a quiet machine from a busy one.

python bench.py
python bench.py --data python-docs+packages --documents 40000
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import retrieval_study
import solution

from labkit import run

PRESETS = {
    "smoke": {"documents": 400, "queries": 50, "repeats": 1},
    "cpu": {"documents": 12_000, "queries": 1_000, "repeats": 5},
}
TOP = 10
GOAL_MS = 8.0  # the 99th percentile at 10,000 documents


def build_here(texts: list[str]) -> solution.Index:
    tokens = [solution.tokenize(text) for text in texts]
    vocabulary = solution.build_vocabulary(tokens)
    return solution.build_index(solution.count_matrix(tokens, vocabulary), vocabulary, "tfidf", sublinear=True)


def build_sklearn(texts: list[str]) -> tuple:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True)
    return vectorizer, vectorizer.fit_transform(texts)


def best_of(scores: np.ndarray) -> np.ndarray:
    """The TOP best documents the usual NumPy way; ties as they come."""
    chosen = np.argpartition(-scores, TOP - 1)[:TOP]
    return chosen[np.argsort(-scores[chosen], kind="stable")]


def searchers(index: solution.Index, vectorizer, matrix) -> dict[str, Callable[[str], np.ndarray]]:
    """The same question three ways: this lab, scikit-learn's everyday product, and SciPy with the index turned."""
    turned = matrix.T.tocsr()  # (V, n_docs): as fast as SciPy gets, the same idea as this lab's postings
    return {
        "this lab": lambda query: solution.search(index, query, TOP)[0],
        "scikit-learn": lambda query: best_of((matrix @ vectorizer.transform([query]).T).toarray().ravel()),
        "scikit-learn, turned": lambda query: best_of((vectorizer.transform([query]) @ turned).toarray().ravel()),
    }


def time_builds(texts: list[str], repeats: int) -> dict[str, float]:
    """Seconds of the fastest of `repeats` builds each, the two taking turns."""
    seconds: dict[str, list[float]] = {"this lab": [], "scikit-learn": []}
    for _ in range(repeats):
        for name, build in (("this lab", build_here), ("scikit-learn", build_sklearn)):
            start = time.perf_counter()
            build(texts)
            seconds[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in seconds.items()}


def time_queries(search: dict[str, Callable], queries: list[str], repeats: int) -> dict[str, np.ndarray]:
    """Milliseconds per query, the fastest of `repeats`; the searchers take turns, so that noise hits them alike."""
    times = {name: np.full(len(queries), np.inf) for name in search}
    for _ in range(repeats):
        for i, query in enumerate(run.progress(queries, "queries")):
            for name, find in search.items():
                start = time.perf_counter()
                find(query)
                times[name][i] = min(times[name][i], 1000 * (time.perf_counter() - start))
    return times


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, data="python-docs")
    documents = retrieval_study.read_documents(run.load_data(args), args.documents)
    items = retrieval_study.known_items(solution, documents, args.queries, np.random.default_rng(args.seed))
    builds = time_builds(documents.texts, args.repeats)
    search = searchers(build_here(documents.texts), *build_sklearn(documents.texts))
    times = time_queries(search, items.queries, args.repeats)
    p50 = {name: float(np.percentile(ms, 50)) for name, ms in times.items()}
    p99 = {name: float(np.percentile(ms, 99)) for name, ms in times.items()}

    print(f"{len(documents.texts):,} documents, {len(items.queries):,} queries, the {TOP} best of each\n")
    rows = [[name, builds.get(name), p50[name], p99[name], p99[name] / p99["this lab"]] for name in times]
    print(run.table(["", "build s", "p50 ms", "p99 ms", "p99 ratio"], rows) + "\n")
    print(f"p99 under {GOAL_MS:g} ms: {'yes' if p99['this lab'] < GOAL_MS else 'no'}")
    print(f"not slower than scikit-learn: {'yes' if p99['this lab'] <= p99['scikit-learn'] else 'no'}")
    keys = {"this lab": "lab", "scikit-learn": "sklearn", "scikit-learn, turned": "sklearn_turned"}
    results = {keys[name]: {"p50_ms": p50[name], "p99_ms": p99[name]} for name in times}
    for name, seconds in builds.items():
        results[keys[name]]["build_seconds"] = seconds
    results["documents"], results["queries"] = len(documents.texts), len(items.queries)
    results["ratio_p50"] = p50["scikit-learn"] / p50["this lab"]
    results["ratio_p99"] = p99["scikit-learn"] / p99["this lab"]
    results["ratio_p99_turned"] = p99["scikit-learn, turned"] / p99["this lab"]
    results["ratio_build"] = builds["scikit-learn"] / builds["this lab"]
    run.save_results(args, results, "bench")


if __name__ == "__main__":
    run.main(main)
