"""The reference of lab 1.3 against SciPy, scikit-learn, Python sets, properties and probability theory."""

import gzip
import itertools
import json
import os
from collections import Counter
from math import pi
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise
from sklearn.preprocessing import normalize

from labkit.reference import similarity_playground as lab

SEEDS = range(3)
SMALL = st.floats(-100, 100, allow_nan=False, width=32).map(lambda x: round(x, 3))


ROWS = st.integers(1, 6)
COLUMNS = st.integers(1, 5)


def vectors(elements=SMALL, columns=COLUMNS):
    """Arrays (N, D) whose rows are often zero or equal, where the edge cases live."""
    shape = st.tuples(ROWS, columns)
    return shape.flatmap(lambda s: arrays(np.float64, s, elements=elements, fill=st.just(0.0)))


def draw_pair(seed, n=23, m=17, d=31, offset=0.0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) + offset, rng.standard_normal((m, d)) * 3 + offset


# ---------------------------------------------------------------- outside oracles


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_distances_agree_with_scipy(seed, offset):
    a, b = draw_pair(seed, offset=offset)
    np.testing.assert_allclose(lab.euclidean(a, b), cdist(a, b, "euclidean"), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(lab.manhattan(a, b, block=7), cdist(a, b, "cityblock"), rtol=1e-12)
    np.testing.assert_allclose(1 - lab.cosine(a, b), cdist(a, b, "cosine"), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_measures_agree_with_sklearn(seed):
    a, b = draw_pair(seed)
    a[3] = b[5] = 0  # scikit-learn defines the cosine with a zero vector as 0 too
    np.testing.assert_allclose(lab.cosine(a, b), pairwise.cosine_similarity(a, b), rtol=0, atol=1e-12)
    np.testing.assert_allclose(lab.euclidean(a, b), pairwise.euclidean_distances(a, b), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(lab.manhattan(a, b), pairwise.manhattan_distances(a, b), rtol=1e-12)
    np.testing.assert_allclose(lab.l2_normalize(a), normalize(a), rtol=1e-14, atol=0)
    np.testing.assert_allclose(lab.dot(a, b), pairwise.linear_kernel(a, b), rtol=1e-12)


@given(x=vectors(st.sampled_from([-2.0, 0.0, 0.5, 3.0])))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_jaccard_agrees_with_sets_and_scipy(x):
    found = lab.jaccard(x, x)
    sets = [set(np.flatnonzero(row)) for row in x]
    expected = [[len(s & t) / len(s | t) if s | t else 1.0 for t in sets] for s in sets]
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    np.testing.assert_allclose(1 - found, cdist(x != 0, x != 0, "jaccard"), atol=1e-15)


# ---------------------------------------------------------------- properties


@given(x=vectors())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_range_symmetry_and_scale(x):
    similarity = lab.cosine(x, x)
    assert np.abs(similarity).max() <= 1
    np.testing.assert_allclose(similarity, similarity.T, atol=1e-14)
    np.testing.assert_allclose(lab.cosine(7 * x, x / 3), similarity, atol=1e-12)
    nonzero = x.any(axis=1)
    np.testing.assert_allclose(np.diag(similarity), nonzero, atol=1e-12)
    for distances in (lab.euclidean(x, x), lab.manhattan(x, x, block=2), 1 - lab.jaccard(x, x)):
        assert (distances >= 0).all()
        np.testing.assert_allclose(distances, distances.T, atol=1e-12)
    assert (lab.jaccard(x, x) <= 1).all() and (np.diag(lab.jaccard(x, x)) == 1).all()
    assert (np.diag(lab.manhattan(x, x)) == 0).all()


@given(x=vectors())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_triangle_inequality_where_it_holds(x):
    angles = np.arccos(lab.cosine(x, x)[np.ix_(x.any(axis=1), x.any(axis=1))])
    for distances in (lab.euclidean(x, x), lab.manhattan(x, x), 1 - lab.jaccard(x, x), angles):
        if distances.size:
            detour = (distances[:, :, None] + distances[None, :, :]).min(axis=1)
            assert (distances <= detour + 1e-5).all()


def test_cosine_distance_breaks_the_triangle_inequality():
    a, b, c = np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]]), np.array([[0.0, 1.0]])
    direct = 1 - lab.cosine(a, c).item()
    detour = (1 - lab.cosine(a, b).item()) + (1 - lab.cosine(b, c).item())
    assert direct == pytest.approx(1) and detour == pytest.approx(2 - 2**0.5)  # 0.586: shorter by way of b


def test_by_inner_product_a_vector_need_not_be_its_own_best_match():
    a = np.array([[1.0, 2.0]])
    assert lab.dot(a, np.vstack([a, 3 * a])).argmax() == 1


@given(x=vectors(columns=st.just(4)), y=vectors(columns=st.just(4)))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_on_unit_vectors_everything_is_the_dot_product(x, y):
    u, v = lab.l2_normalize(x[x.any(axis=1)]), lab.l2_normalize(y[y.any(axis=1)])
    np.testing.assert_allclose(lab.cosine(u, v), lab.dot(u, v), atol=1e-14)
    np.testing.assert_allclose(lab.euclidean(u, v) ** 2, np.maximum(2 - 2 * lab.dot(u, v), 0), atol=1e-13)


def test_float32_cancels_far_from_the_origin_and_float64_does_not():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((50, 64)) + 1000
    b = a + lab.l2_normalize(rng.standard_normal((50, 64)))
    near = np.diag(lab.euclidean(a, b))
    np.testing.assert_allclose(near, 1, atol=1e-6)
    single = np.diag(lab.euclidean(np.float32(a), np.float32(b)))
    assert single.dtype == np.float32 and np.isfinite(single).all() and np.abs(single - 1).max() > 0.5


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("name", ["dot", "cosine", "euclidean", "manhattan", "jaccard", "signatures"])
def test_bad_input_is_named(name):
    function, good = getattr(lab, name), np.ones((2, 3))
    word = "x and planes" if name == "signatures" else "a and b"
    with pytest.raises(ValueError, match=f"{word}.*got 3 and 4"):
        function(good, np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        function(np.ones(3), good)
    with pytest.raises(ValueError, match="finite"):
        function(good, np.full((2, 3), np.nan))
    with pytest.raises(TypeError, match="real numbers"):
        function(np.array([["a", "b", "c"]]), good)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="block must be at least 1, got 0"):
        lab.manhattan(np.ones((2, 3)), np.ones((2, 3)), block=0)
    for bands in (0, 5, 13):
        with pytest.raises(ValueError, match=f"bands must divide the 12 bits, got {bands}"):
            lab.banded_candidates(np.ones((2, 12), bool), bands)
    with pytest.raises(ValueError, match="positive"):
        lab.relative_contrast([[1.0, 0.0]])


def test_small_integers_do_not_wrap_around():
    a = np.full((1, 3), 200, np.uint8)
    assert lab.dot(a, a).item() == 120_000 and lab.manhattan(a, a * 0).item() == 600


# ---------------------------------------------------------------- distances in high dimension, hashing


def test_contrast_falls_like_one_over_root_d():
    rng = np.random.default_rng(0)
    medians = []
    for d in (64, 1024):
        x = rng.random((520, d))
        distances = lab.euclidean(x[:20], x[20:])
        assert distances.std() == pytest.approx((7 / 120) ** 0.5, rel=0.05)  # the same for every large D
        assert distances.mean() == pytest.approx((d / 6) ** 0.5, rel=0.01)
        medians.append(np.median(lab.relative_contrast(distances)))
    assert medians[0] / medians[1] == pytest.approx(4, rel=0.25)  # 16 times the dimension


@pytest.mark.parametrize("seed", SEEDS)
def test_collision_rate_follows_the_theory(seed):
    """Binomial counts at 19 angles; |z| < 5.5 for all fails a right program once in 1.4 million runs (union bound)."""
    rng, bits = np.random.default_rng(seed), 20_000
    angles = np.linspace(0, pi, 21)[1:-1]
    x, away = np.linalg.qr(rng.standard_normal((48, 2)))[0].T
    y = np.cos(angles)[:, None] * x + np.sin(angles)[:, None] * away
    planes = rng.standard_normal((bits, 48))
    share = lab.agreement(lab.signatures(x[None], planes), lab.signatures(5 * y, planes))[0]
    theory = 1 - angles / pi
    assert (np.abs(share - theory) / np.sqrt(theory * (1 - theory) / bits)).max() < 5.5
    np.testing.assert_allclose(lab.collision_probability(np.cos(angles)), theory, atol=1e-12)


def test_candidate_rate_follows_the_theory():
    """400 draws of the planes: a binomial count against 1 - (1 - p^r)^b; |z| < 5.5, once in 26 million."""
    rng, draws, bands, rows = np.random.default_rng(0), 400, 6, 5
    similarity = 0.7
    pair = np.array([[1.0, 0, 0], [similarity, (1 - similarity**2) ** 0.5, 0]])
    hits = sum(
        (0, 1) in lab.banded_candidates(lab.signatures(pair, rng.standard_normal((bands * rows, 3))), bands)
        for _ in range(draws)
    )
    p = lab.candidate_probability(similarity, bands, rows)
    assert abs(hits / draws - p) < 5.5 * np.sqrt(p * (1 - p) / draws)


@given(bits=arrays(bool, st.tuples(st.integers(0, 9), st.just(6))), bands=st.sampled_from([1, 2, 3, 6]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_candidates_agree_with_comparing_all_pairs(bits, bands):
    parts = bits.reshape(len(bits), bands, 6 // bands)
    expected = {
        (i, j) for i, j in itertools.combinations(range(len(bits)), 2) if (parts[i] == parts[j]).all(axis=1).any()
    }
    assert lab.banded_candidates(bits, bands) == expected


# ---------------------------------------------------------------- real text


@pytest.mark.realdata
def test_measures_on_real_abstracts():
    """Character trigrams of 150 scientific abstracts, against SciPy; and length misleads Euclid, not the cosine."""
    mirror = os.environ.get("LABKIT_MIRROR", "")
    file = Path(mirror, "ir/scifact/corpus.jsonl.gz")
    if not mirror or not file.is_file():
        pytest.skip("LABKIT_MIRROR does not point at the data mirror")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in itertools.islice(lines, 150)]
    trigrams = [Counter(text[i : i + 3] for i in range(len(text) - 2)) for text in texts]
    columns = {trigram: d for d, trigram in enumerate(sorted(set().union(*trigrams)))}

    def count(counters):
        counts = np.zeros((len(counters), len(columns)), np.float32)
        for row, counter in enumerate(counters):
            counts[row, [columns[trigram] for trigram in counter]] = list(counter.values())
        return counts

    counts = count(trigrams)
    np.testing.assert_allclose(lab.cosine(counts, counts), 1 - cdist(counts, counts, "cosine"), atol=1e-5)
    np.testing.assert_allclose(lab.euclidean(counts, counts[:9]), cdist(counts, counts[:9]), rtol=1e-4, atol=0.05)
    np.testing.assert_allclose(lab.manhattan(counts[:9], counts, 2), cdist(counts[:9], counts, "cityblock"), rtol=1e-5)
    np.testing.assert_allclose(lab.jaccard(counts, counts), 1 - cdist(counts != 0, counts != 0, "jaccard"), atol=1e-12)
    quarters = count([Counter(text[i : i + 3] for i in range(len(text) // 4)) for text in texts])
    own = np.arange(len(texts))
    found_by_cosine = (lab.cosine(quarters, counts).argmax(axis=1) == own).mean()
    found_by_euclid = (lab.euclidean(quarters, counts).argmin(axis=1) == own).mean()
    assert found_by_cosine > 0.9 and found_by_euclid < 0.5
