"""The reference of lab 2.3 against SciPy, scikit-learn, gensim, properties, and the published sets."""

import gzip
import json
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity

from labkit import catalogue
from labkit.reference import embedding_evaluation as lab
from labkit.reference.embedding_evaluation import planted_world, word_vectors

LAB = catalogue.find("2.3")
SEEDS = range(3)
NUMBERS = st.lists(st.sampled_from([-2.0, 0.0, -0.0, 0.25, 1.0, 3.0, 1e300]), min_size=2, max_size=30)
REAL = pytest.mark.skipif(
    not Path(os.environ.get("LABKIT_MIRROR") or "?", "wordsim").is_dir(), reason="LABKIT_MIRROR is not the data mirror"
)


# ---------------------------------------------------------------- ranks, correlation, intervals


@given(x=NUMBERS)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_ranks_agree_with_scipy(x):
    ranks = lab.average_ranks(x)
    np.testing.assert_array_equal(ranks, stats.rankdata(x, method="average"))
    assert ranks.sum() == len(x) * (len(x) + 1) / 2


@given(data=st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_spearman_agrees_with_scipy_ties_included(data):
    x = data.draw(NUMBERS)
    y = data.draw(st.lists(st.integers(0, 4), min_size=len(x), max_size=len(x)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = stats.spearmanr(x, y).statistic
    found = lab.spearman(x, y)
    if math.isnan(expected):
        assert math.isnan(found)
    else:
        assert found == pytest.approx(expected, abs=1e-12) == pytest.approx(lab.spearman(y, x), abs=1e-12)


def test_constant_samples_give_nan_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(lab.spearman([1, 1, 1], [1, 2, 3]))


def test_the_short_cut_is_wrong_with_ties():
    x, y = [1, 1, 1, 1, 2], [1, 2, 3, 4, 5]
    short_cut = 1 - 6 * ((stats.rankdata(x) - stats.rankdata(y)) ** 2).sum() / (5 * 24)
    assert lab.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic) != pytest.approx(short_cut, abs=0.01)


@pytest.mark.parametrize("seed", SEEDS)
def test_interval_agrees_with_scipys_percentile_bootstrap(seed):
    """Both are random, so their ends agree up to the error of a quantile of 2,000 resamples."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(80)
    y = x + rng.standard_normal(80)
    found = lab.bootstrap_interval(lab.spearman, [x, y], rng.integers(80, size=(2000, 80)))
    expected = stats.bootstrap(
        (x, y), lambda a, b: stats.spearmanr(a, b).statistic, paired=True, vectorized=False, n_resamples=300,
        method="percentile", rng=rng,
    ).confidence_interval  # fmt: skip
    np.testing.assert_allclose(found, [expected.low, expected.high], atol=0.05)


def test_interval_holds_the_truth_about_as_often_as_it_says():
    """150 samples of 60 with ρ known: a binomial count, within 5 standard deviations of 93 %, and not always right."""
    rng = np.random.default_rng(0)
    truth = 6 / np.pi * np.arcsin(0.5 / 2)
    hits = 0
    for _ in range(150):
        x, noise = rng.standard_normal((2, 60))
        low, high = lab.bootstrap_interval(
            lab.spearman, [x, 0.5 * x + 0.75**0.5 * noise], rng.integers(60, size=(100, 60))
        )
        hits += low <= truth <= high
    assert 0.93 - 5 * (0.95 * 0.05 / 150) ** 0.5 < hits / 150 < 1


# ---------------------------------------------------------------- cosines and analogies


@pytest.mark.parametrize("seed", SEEDS)
def test_cosines_agree_with_sklearn(seed):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((20, 7))
    vectors[4] = 0
    pairs = rng.integers(-1, 20, size=(50, 2))
    expected = cosine_similarity(vectors)[pairs[:, 0], pairs[:, 1]]
    expected[(pairs < 0).any(axis=1)] = np.nan
    np.testing.assert_allclose(lab.pair_cosines(vectors, pairs), expected, atol=1e-14)


def test_anisotropy_is_the_squared_length_of_the_mean_unit_vector():
    """Over all ordered pairs of different words: (‖Σu‖² - V) / (V (V - 1)); random pairs estimate it."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 5)) + [1.0, 0.5, 0, 0, 0]
    everything = np.array([(i, j) for i in range(60) for j in range(60) if i != j])
    total = lab.l2_normalize(vectors).sum(axis=0)
    exact = (total @ total - 60) / (60 * 59)
    assert lab.anisotropy(vectors, everything) == pytest.approx(exact, abs=1e-12)
    pairs = lab.random_pairs(60, 60_000, rng)
    assert (pairs[:, 0] != pairs[:, 1]).all() and len(np.unique(pairs, axis=0)) == 60 * 59
    assert lab.anisotropy(vectors, pairs) == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("seed", SEEDS)
def test_evaluations_agree_with_gensim(seed, tmp_path):
    """Same Spearman, same coverage, same count of right answers per section; upper case is looked up in lower case."""
    keyed = pytest.importorskip("gensim.models.keyedvectors")
    rng = np.random.default_rng(seed)
    world = planted_world.plant(rng)
    vectors = planted_world.learned(world, rng, noise=1.2) * rng.uniform(0.2, 4, (len(world.words), 1))
    known = [word for word in world.words if word not in ("paris", "dog", "queen")]
    keep = [world.words.index(word) for word in known]
    model = keyed.KeyedVectors(vectors.shape[1])
    model.add_vectors(known, vectors[keep])
    vocabulary = {word: i for i, word in enumerate(known)}
    pairs, scores = planted_world.judged_pairs(world, 200, rng)
    rows = [[world.words[i].title() for i in pair] for pair in pairs]
    file = tmp_path / "pairs.tsv"
    file.write_text("".join(f"{a}\t{b}\t{score}\n" for (a, b), score in zip(rows, scores)))
    _, spearman, missing = model.evaluate_word_pairs(str(file))
    report = lab.similarity_report(vectors[keep], lab.look_up(rows, vocabulary), scores, rng, 10)
    assert report["spearman"] == pytest.approx(spearman.statistic, abs=1e-6)
    assert report["pairs"] - report["covered"] == round(missing * 200 / 100) > 0

    questions = {name: [[world.words[i].title() for i in q] for q in ids] for name, ids in world.sections.items()}
    file.write_text("".join(f": {n}\n" + "".join(" ".join(q) + "\n" for q in qs) for n, qs in questions.items()))
    _, sections = model.evaluate_word_analogies(str(file))
    report = lab.analogy_report(vectors[keep], {n: lab.look_up(q, vocabulary) for n, q in questions.items()})
    for section in sections[:2]:
        found = report[section["section"]]
        assert found["correct"] == len(section["correct"]) > 0
        assert found["covered"] == len(section["correct"]) + len(section["incorrect"]) < found["questions"]


def test_reports_say_what_was_not_covered():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((6, 4))
    pairs = np.array([[0, 1], [2, -1], [-1, -1]])
    expected = {"pairs": 3, "covered": 1, "spearman": None, "low": None, "high": None}
    assert lab.similarity_report(vectors, pairs, [1.0, 2.0, 3.0], rng) == expected
    report = lab.analogy_report(vectors, {"a": np.array([[0, 1, 2, -1]]), "b": np.array([[0, 1, 2, 3], [0, 1, -1, 3]])})
    assert report["a"] == {"questions": 1, "covered": 0, "correct": 0, "accuracy": None}
    assert [report["all"][key] for key in ("questions", "covered")] == [3, 1]


def test_look_up_prefers_the_word_as_written():
    vocabulary = {"us": 0, "US": 1, "paris": 2}
    assert lab.look_up([["US", "us", "Paris"], ["Us", "nowhere", "paris"]], vocabulary).tolist() == [
        [1, 0, 2],
        [0, -1, 2],
    ]


# ---------------------------------------------------------------- directions


@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (9, 9)])
@pytest.mark.parametrize("seed", SEEDS)
def test_pca_agrees_with_sklearn_signs_included(shape, seed):
    x = np.random.default_rng(seed).standard_normal(shape) + 5
    model = PCA(n_components=4, svd_solver="full").fit(x)
    components, coordinates, explained = lab.pca(x, 4)
    np.testing.assert_allclose(components, model.components_, atol=1e-10)
    np.testing.assert_allclose(coordinates, model.transform(x), atol=1e-10)
    np.testing.assert_allclose(explained, model.explained_variance_ratio_, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_pca_properties(seed):
    x = np.random.default_rng(seed).standard_normal((12, 5)) * [5, 4, 3, 2, 1]
    components, coordinates, explained = lab.pca(x, 5)
    np.testing.assert_allclose(components @ components.T, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(coordinates @ components + x.mean(axis=0), x, atol=1e-12)
    np.testing.assert_allclose(coordinates.var(axis=0) / x.var(axis=0).sum(), explained, atol=1e-12)
    assert explained.sum() == pytest.approx(1)
    assert (np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], 1) > 0).all()


@pytest.mark.parametrize("k", [0, 1, 3])
def test_nothing_is_left_along_what_was_removed(k):
    x = np.random.default_rng(k).standard_normal((30, 6)) + 4
    rest, components = lab.all_but_the_top(x, k), lab.pca(x, k)[0]
    np.testing.assert_allclose(rest.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(rest @ components.T, 0, atol=1e-13)
    kept = 1 - lab.pca(x, k)[2].sum()
    assert (rest**2).sum() == pytest.approx(kept * ((x - x.mean(axis=0)) ** 2).sum())


@pytest.mark.parametrize("seed", SEEDS)
def test_planted_bias_is_found_and_hidden(seed):
    rng = np.random.default_rng(seed)
    world = planted_world.plant(rng)
    vectors = planted_world.learned(world, rng, noise=0.5)
    direction = lab.bias_direction(vectors, world.gendered)
    assert np.linalg.norm(direction) == pytest.approx(1) and direction @ world.direction > 0.9
    professions = vectors[world.groups["professions"]]
    assert lab.spearman(lab.projections(professions, direction), world.bias) > 0.8
    assert lab.direct_bias(professions - np.outer(professions @ direction, direction), direction) < 1e-12
    np.testing.assert_allclose(lab.bias_direction(vectors, world.gendered[:, ::-1]), -direction, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_planted_order_is_found(seed):
    """The harness ranks vectors by how much noise they have, and random vectors at zero."""
    rng = np.random.default_rng(seed)
    world = planted_world.plant(rng)
    pairs, scores = planted_world.judged_pairs(world, 353, rng)
    assert len(np.unique(scores)) < 20  # many ties
    reports = [
        lab.similarity_report(planted_world.learned(world, rng, noise), pairs, scores, rng, 100)
        for noise in (0.0, 0.7, 2.0)
    ]
    values = [report["spearman"] for report in reports]
    assert values[0] > 0.98 > values[1] > values[2] > 0.3
    assert all(report["low"] < report["spearman"] < report["high"] for report in reports[1:])
    assert lab.analogy_report(world.latent, world.sections)["all"]["accuracy"] == 1.0
    noise = lab.similarity_report(rng.standard_normal(world.latent.shape), pairs, scores, rng, 100)
    assert abs(noise["spearman"]) < 5.5 / 352**0.5


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lab.average_ranks([[1.0]]), r"x must have shape \(n,\)"),
        (lambda: lab.average_ranks([1.0, math.nan]), "x must be finite"),
        (lambda: lab.spearman([1, 2], [1, 2, 3]), "got 2 and 3"),
        (lambda: lab.spearman([1], [1]), "2 or more, got 1 and 1"),
        (lambda: lab.bootstrap_interval(np.mean, [[1, 2]], [[0, 2]]), "draws must lie in -1 ... 1, got 0 ... 2"),
        (lambda: lab.bootstrap_interval(np.mean, [[1, 2]], [[0, -1]]), "draws must hold 0 ... 1"),
        (lambda: lab.bootstrap_interval(np.mean, [[1, 2]], [[0, 1]], 1.0), "got .*1.0"),
        (lambda: lab.bootstrap_interval(np.mean, [[1, 2], [1]], [[0, 1]]), r"one length, got \[2, 1\]"),
        (lambda: lab.pair_cosines(np.eye(3), [[0, 3]]), "pairs must lie in -1 ... 2, got 0 ... 3"),
        (lambda: lab.pair_cosines(np.eye(3), [[0.0, 1.0]]), "pairs must be integers"),
        (lambda: lab.analogy_answers(np.eye(3), [[0, 1]]), r"questions must be integers of shape \(N, 3\)"),
        (lambda: lab.analogy_answers(np.eye(3), [[0, 1, 2]], 0), "block must be at least 1, got 0"),
        (lambda: lab.pca(np.eye(3), 3), r"k must lie in 0 ... 2 for x of shape \(3, 3\), got 3"),
        (lambda: lab.pca(np.ones((3, 3)), 1), "got 3 equal ones"),
        (lambda: lab.bias_direction(np.eye(3), [[0, -1]]), "pairs of known words"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------- files and counts


def write_binary(path, words, vectors, line_feed):
    with path.open("wb") as file:
        file.write(f"{len(words)} {vectors.shape[1]}\n".encode())
        for word, vector in zip(words, vectors):
            file.write(word.encode() + b" " + vector.astype("<f4").tobytes() + (b"\n" if line_feed else b""))


@pytest.mark.parametrize("form", ["binary", "binary of word2vec.c", "text", "GloVe"])
def test_vector_files_are_read(form, tmp_path):
    rng = np.random.default_rng(0)
    words, vectors = ["the", "Zürich", "10", "a"], rng.standard_normal((4, 5)).astype(np.float32)
    path = tmp_path / "vectors"
    if form.startswith("binary"):
        write_binary(path, words, vectors, line_feed=form != "binary")
    else:
        if form == "GloVe":
            words[3] = ". . ."  # the 840B file has such words
        lines = [f"{word} {' '.join(map(str, vector.tolist()))}" for word, vector in zip(words, vectors)]
        path.write_text("\n".join([*(["4 5"] if form == "text" else []), *lines]) + "\n", encoding="utf-8")
    found, read = word_vectors.load_vectors(path)
    assert found == words and read.dtype == np.float32
    np.testing.assert_allclose(read, vectors, rtol=1e-6)
    assert word_vectors.load_vectors(path, 2)[0] == words[:2]


@pytest.mark.parametrize("binary", [True, False])
def test_gensims_files_are_read(binary, tmp_path):
    keyed = pytest.importorskip("gensim.models.keyedvectors")
    model = keyed.KeyedVectors(3)
    vectors = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    model.add_vectors(list("abcde"), vectors)
    model.save_word2vec_format(str(tmp_path / "file"), binary=binary)
    words, read = word_vectors.load_vectors(tmp_path / "file")
    assert words == list("abcde")
    np.testing.assert_allclose(read, vectors, rtol=1e-5)


def test_damaged_vector_files_are_named(tmp_path):
    path = tmp_path / "vectors.bin"
    write_binary(path, ["a", "b"], np.ones((2, 4)), line_feed=True)
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(ValueError, match=r"vectors.bin: the vector of word 2 is cut short"):
        word_vectors.load_vectors(path)
    path.write_text("a 1 2 3\nb 1 2\n")
    with pytest.raises(ValueError, match="word 2 is not followed by 3 numbers"):
        word_vectors.load_vectors(path)


def test_ppmi_svd_by_hand():
    """All D dimensions of a tiny corpus give back PPMI² up to its square root; nothing is counted across paragraphs."""
    paragraphs = [["a", "b", "a", "c"], ["b", "c"], ["d", "a"]]
    words, vectors = word_vectors.ppmi_svd(paragraphs, 4, 3, window=2)
    assert words == ["a", "b", "c", "d"]
    counts = np.zeros((4, 4))
    for paragraph in paragraphs:
        ids = [words.index(word) for word in paragraph]
        for i, one in enumerate(ids):
            for j, other in enumerate(ids):
                counts[one, other] += 0 < abs(i - j) <= 2
    context = counts.sum(axis=0) ** 0.75
    with np.errstate(divide="ignore"):
        ppmi = np.maximum(np.log(counts * context.sum() / np.outer(counts.sum(axis=1), context)), 0)
    u, s, _ = np.linalg.svd(ppmi)
    expected = (u * np.sqrt(s))[:, :3]
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-10)


# ---------------------------------------------------------------- the published sets


@REAL
@pytest.mark.realdata
def test_published_sets_are_complete():
    for name, size in {"wordsim353": 353, "simlex999": 999}.items():
        pairs, scores = word_vectors.read_similarity(name)
        assert len(pairs) == len(scores) == size and 0 <= scores.min() < 1.5 and 9.5 < scores.max() <= 10
    pairs, _ = word_vectors.read_similarity("wordsim353")
    assert len(pairs) - len(set(pairs)) == 1 and pairs.count(("money", "cash")) == 2
    sections = word_vectors.read_analogies()
    assert len(sections) == 14 and sum(map(len, sections.values())) == 19_544
    assert all(len(question) == 4 for questions in sections.values() for question in questions)
    assert sections["capital-common-countries"][0] == ["Athens", "Greece", "Baghdad", "Iraq"]


@REAL
@pytest.mark.realdata
def test_harness_on_wikipedia():
    """Vectors counted from a third of the text8 slice beat chance by far, and agree with gensim's evaluation."""
    with gzip.open(Path(os.environ["LABKIT_MIRROR"], "text/text8_prefix.txt.gz"), "rt") as file:
        words, vectors = word_vectors.ppmi_svd([file.read(1_500_000).split()], 3000, 50)
    vocabulary = {word: i for i, word in enumerate(words)}
    pairs, scores = word_vectors.read_similarity("wordsim353")
    rng = np.random.default_rng(0)
    report = lab.similarity_report(vectors, lab.look_up(pairs, vocabulary), scores, rng, 100)
    assert 80 < report["covered"] < 200 and 0.3 < report["spearman"] < 0.75 and report["low"] > 0.15
    family = word_vectors.read_analogies()["family"]
    counts = lab.analogy_report(vectors, {"family": lab.look_up(family, vocabulary)})["family"]
    assert counts["questions"] == 506 and 50 < counts["covered"] < 506 and counts["accuracy"] > 0.05
    keyed = pytest.importorskip("gensim.models.keyedvectors")
    model = keyed.KeyedVectors(50)
    model.add_vectors(words, vectors)
    folder = Path(os.environ["LABKIT_MIRROR"], "wordsim")
    _, spearman, missing = model.evaluate_word_pairs(str(folder / "wordsim353.tsv"))
    assert report["spearman"] == pytest.approx(spearman.statistic, abs=1e-6)
    assert report["covered"] == 353 - round(missing * 3.53)


@REAL
@pytest.mark.realdata
def test_vectors_of_a_file_on_the_published_sets(tmp_path):
    rng = np.random.default_rng(0)
    words = sorted({word.lower() for pair in word_vectors.read_similarity("wordsim353")[0] for word in pair})
    write_binary(tmp_path / "random.bin", words, rng.standard_normal((len(words), 10)), line_feed=True)
    command = [sys.executable, "solution.py", "--preset", "smoke", "--vectors", tmp_path / "random.bin"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--out", tmp_path], cwd=LAB.path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads((tmp_path / "published.json").read_text())["results"]
    assert results["words"] == 400  # --vocabulary of the smoke preset
    assert (
        abs(results["similarity"]["wordsim353"]["spearman"]) < 0.5
        and results["analogies"]["all"]["questions"] == 19_544
    )
