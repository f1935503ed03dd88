"""Drivers for lab 1.3: the only test code that runs beside the learner's."""

import tracemalloc
import warnings


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


def everything(lab, counts, planes, bands):
    """All measures on the same documents, the contrast of one, and hashing from planes to candidates."""
    bits = lab.signatures(counts, planes)
    return {
        "unit": lab.l2_normalize(counts),
        "cosine": lab.cosine(counts, counts[::-1]),
        "euclidean": lab.euclidean(counts, counts[:3] + 1),
        "manhattan": lab.manhattan(counts, counts[:3], 4),
        "jaccard": lab.jaccard(counts, counts[:3]),
        "contrast": lab.relative_contrast(lab.euclidean(counts[:2] + 1, counts)),
        "agreement": lab.agreement(bits, bits[:3]),
        "candidates": lab.banded_candidates(bits, bands),
    }
