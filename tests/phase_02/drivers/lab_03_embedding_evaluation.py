"""Drivers for lab 2.3: the only test code that runs beside the learner's."""

import tracemalloc
import warnings

import numpy as np


def quietly(lab, name, *inputs):
    """Call a function of the lab with every warning made an error: 0/0 must be avoided, not silenced later."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return getattr(lab, name)(*inputs)


def peak_bytes(lab, name, *inputs):
    """The most memory a call holds at once beyond what was there before, in bytes. NumPy reports to tracemalloc."""
    getattr(lab, name)(*inputs)  # a first call may import, and compiling a module takes megabytes
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        getattr(lab, name)(*inputs)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def interval_of(lab, name, samples, draws, level=0.95):
    """The bootstrap interval of a statistic that cannot cross the wire."""
    statistics = {
        "mean": lambda x: float(x.mean()),
        "correlation": lambda x, y: float(((x - x.mean()) * (y - y.mean())).mean() / (x.std() * y.std())),
        "difference": lambda x, y, scores: lab.spearman(x, scores) - lab.spearman(y, scores),
        "spearman": lab.spearman,
    }
    return lab.bootstrap_interval(statistics[name], samples, draws, level)


def everything(lab, vectors, pairs, scores, sections, defining, seed):
    """The whole harness on one set of vectors, from the reports to what is left after removing directions."""
    direction = lab.bias_direction(vectors, defining)
    cleaned = lab.all_but_the_top(vectors, 2)
    return {
        "similarity": lab.similarity_report(vectors, pairs, scores, np.random.default_rng(seed), 50),
        "cleaned": lab.similarity_report(cleaned, pairs, scores, np.random.default_rng(seed), 50),
        "analogies": lab.analogy_report(vectors, sections),
        "anisotropy": lab.anisotropy(vectors, lab.random_pairs(len(vectors), 200, np.random.default_rng(seed))),
        "direct bias": lab.direct_bias(cleaned, direction),
        "map": lab.pca(vectors, 2)[1],
    }
