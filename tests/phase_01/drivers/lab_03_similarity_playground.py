"""Drivers for lab 1.3: the only test code that runs beside the learner's."""

from labkit.grading.driving import peak_bytes, quietly  # noqa: F401 - checks name them


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
