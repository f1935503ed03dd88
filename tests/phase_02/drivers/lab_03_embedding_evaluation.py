"""Drivers for lab 2.3: the only test code that runs beside the learner's."""

import numpy as np

from labkit.grading.driving import peak_bytes, quietly  # noqa: F401 - checks name them


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
