"""Speed and quality against gensim: same sentences, same hyper-parameters, several seeds, in one run.

Time is processor time on one thread, so that a busy machine does not distort the ratio.

python bench.py
python bench.py --data text8-prefix --out figures
"""

from __future__ import annotations

import importlib.util
import math
import time
from typing import Any

import numpy as np
import solution
import torch
import word2vec_io
import word2vec_probes as probes

from labkit import run

PRESETS = {
    "smoke": {"tokens": 8_000, "epochs": 1, "dim": 32, "seeds": 2},
    "cpu": {"tokens": 10**9, "epochs": 5, "dim": 64, "seeds": 5},
}
MIN_COUNT = 5
SCORES = {"in_ten": "pairs in ten", "analogies": "analogies", "wordsim": "WordSim-353", "google": "Google analogies"}


def train_here(corpus: tuple, vocabulary: Any, settings: Any, seed: int) -> tuple[np.ndarray, float]:
    """-> vectors (V, D) and the seconds of processor time for drawing the pairs and training"""
    start = time.process_time()
    model, _ = solution.train(*corpus, vocabulary.counts, settings, seed)
    return model.inputs.weight.numpy(force=True), time.process_time() - start


def train_gensim(sentences: list[list[str]], vocabulary: Any, settings: Any, seed: int) -> tuple[np.ndarray, float]:
    """The same with gensim on one thread, in the order of our ids; its own vocabulary is not timed."""
    from gensim.models import Word2Vec

    s = settings
    model = Word2Vec(
        vector_size=s.dim, window=s.window, min_count=MIN_COUNT, sg=int(not s.cbow), negative=s.negatives,
        ns_exponent=s.power, sample=s.t, alpha=s.lr, min_alpha=s.lr * 1e-4, workers=1, seed=seed + 1,
    )  # fmt: skip
    model.build_vocab(sentences)
    start = time.process_time()
    model.train(sentences, total_examples=model.corpus_count, epochs=s.epochs)
    return model.wv[vocabulary.words], time.process_time() - start


def numpy_pairs_per_second(size: int, settings: Any, steps: int = 20) -> float:
    """How many pairs `sgns_gradients` and a plain step get through: the price of dense gradients."""
    rng = np.random.default_rng(0)
    inputs, outputs = rng.normal(size=(2, size, settings.dim)) / settings.dim
    negatives = rng.integers(size, size=(settings.batch, settings.negatives))
    center, context = rng.integers(size, size=(2, settings.batch))
    start = time.process_time()
    for _ in range(steps):
        _, d_inputs, d_outputs = solution.sgns_gradients(inputs, outputs, center, context, negatives)
        inputs -= settings.lr * d_inputs
        outputs -= settings.lr * d_outputs
    return steps * settings.batch / (time.process_time() - start)


def pairs_per_epoch(corpus: tuple, vocabulary: Any, settings: Any) -> int:
    one = solution.Settings(dim=1, epochs=1, t=settings.t, window=settings.window, batch=10**6)
    rng = np.random.default_rng(0)
    return sum(len(center) for _, center, _, _ in solution.training_batches(*corpus, vocabulary.counts, one, rng))


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half the width of its 95% interval (Student's t)."""
    from scipy.stats import t

    return float(values.mean()), float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))


def difference(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Ours minus theirs, with the 95% interval of Welch's t-test."""
    from scipy.stats import ttest_ind

    low, high = ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    return {"mean": float(ours.mean() - theirs.mean()), "low": float(low), "high": float(high)}


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, data="python-docs")
    if importlib.util.find_spec("gensim") is None:
        raise SystemExit("bench.py compares with gensim, which is not installed: pip install gensim")
    torch.set_num_threads(1)
    sentences = word2vec_io.read_sentences((d.text for d in run.load_data(args).documents), args.tokens)
    vocabulary = solution.build_vocabulary(sentences, MIN_COUNT)
    corpus = solution.encode(sentences, vocabulary)
    settings = solution.Settings(dim=args.dim, epochs=args.epochs)

    seconds: dict[str, list[float]] = {"here": [], "gensim": []}
    scores: dict[str, list[dict]] = {"here": [], "gensim": []}
    for seed in run.progress(range(args.seeds), "seeds"):  # in turn, so that a busy moment hits both
        for name, result in (
            ("here", train_here(corpus, vocabulary, settings, seed)),
            ("gensim", train_gensim(sentences, vocabulary, settings, seed)),
        ):
            seconds[name].append(result[1])
            scores[name].append(probes.scores(result[0], vocabulary.ids, args.data))

    words, pairs = len(corpus[0]) * args.epochs, pairs_per_epoch(corpus, vocabulary, settings) * args.epochs
    best = {name: min(some) for name, some in seconds.items()}
    rows = [[name, words / s, pairs / s, best["gensim"] / s] for name, s in best.items()]
    by_hand = numpy_pairs_per_second(len(vocabulary.words), settings)
    rows.append(["NumPy, by hand", by_hand * words / pairs, by_hand, best["gensim"] * by_hand / pairs])
    print(
        f"{args.data}: {len(corpus[0]):,} words, {len(vocabulary.words):,} different, {args.seeds} seeds, one thread\n"
    )
    print(run.table(["", "words/s", "pairs/s", "x gensim"], rows) + "\n")

    results: dict[str, Any] = {
        "words": len(corpus[0]), "vocabulary": len(vocabulary.words), "pairs_per_epoch": pairs / args.epochs,
        "words_per_s": {name: words / s for name, s in best.items()}, "ratio": best["gensim"] / best["here"],
        "ratio_by_hand": best["gensim"] * by_hand / pairs, "scores": {},
    }  # fmt: skip
    table = []
    for key, label in SCORES.items():
        if key in scores["here"][0]:
            ours, theirs = (np.array([row[key] for row in scores[name]]) for name in ("here", "gensim"))
            (m, d), (n, e), gap = interval(ours), interval(theirs), difference(ours, theirs)
            results["scores"][key] = {"here": m, "here_pm": d, "gensim": n, "gensim_pm": e, "gap": gap}
            cells = [f"{m:.3f} ± {d:.3f}", f"{n:.3f} ± {e:.3f}", f"{gap['low']:+.3f} to {gap['high']:+.3f}"]
            table.append([label, *cells, "yes" if gap["low"] <= 0 <= gap["high"] else "no"])
    results["counted"] = {k: v for k, v in scores["here"][0].items() if k.endswith(("questions", "pairs"))}
    print(run.table(["score", "here", "gensim", "95% of the gap", "in noise"], table) + "\n")
    run.save_results(args, results, "bench" if args.data == "python-docs" else f"bench-{args.data}")


if __name__ == "__main__":
    run.main(main)
