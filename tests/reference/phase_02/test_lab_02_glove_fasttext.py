"""The reference of lab 2.2 against fastText, gensim, torch and brute force, by properties, and on words never seen."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import data
from labkit.catalogue import find
from labkit.reference import glove_fasttext as lab
from labkit.reference import word2vec_from_scratch as word2vec
from labkit.reference.word2vec_from_scratch import word2vec_io, word2vec_probes

HYPOTHESIS = settings(deadline=None, derandomize=True, max_examples=60)
WORDS = ["where", "a", "of", "naïve", "straße", "слово", "中文字", "😀x", "e\u0301te\u0301", "banana", "<b>", "x" * 30]
texts = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=25)  # words and sentence lengths

# ---------------------------------------------------------------- n-grams and hashes, bit for bit


@pytest.fixture(scope="module")
def fasttext_model(tmp_path_factory):
    """fastText's own, trained on two lines; 5,003 buckets."""
    fasttext = pytest.importorskip("fasttext")
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("\n".join([" ".join(WORDS[:6])] * 20), encoding="utf-8")
    return fasttext.train_unsupervised(str(path), dim=6, epoch=1, minCount=1, bucket=5_003, thread=1, verbose=0)


@pytest.mark.parametrize("word", [*WORDS, "unseen", "ünseen"])
def test_rows_are_fasttexts(fasttext_model, word):
    known = {w: i for i, w in enumerate(fasttext_model.get_words())}
    ngrams, rows = fasttext_model.get_subwords(word)
    own = [word] if word in known else []
    assert own + lab.character_ngrams(word) == list(ngrams)
    assert lab.subword_rows(word, known, 5_003).tolist() == rows.tolist()


@pytest.mark.parametrize("word", [*WORDS, "unseen"])
def test_vectors_are_fasttexts(fasttext_model, word):
    known = {w: i for i, w in enumerate(fasttext_model.get_words())}
    model = lab.SubwordModel(known, fasttext_model.get_input_matrix())
    np.testing.assert_allclose(model.vector(word), fasttext_model.get_word_vector(word), rtol=1e-5, atol=1e-7)


@HYPOTHESIS
@given(st.text(min_size=1, max_size=8), st.integers(1, 4), st.integers(0, 3))
def test_hashes_are_gensims(word, low, more):
    gensim = pytest.importorskip("gensim.models.fasttext")
    inner = pytest.importorskip("gensim.models.fasttext_inner")
    if any("\ud800" <= c <= "\udfff" for c in word):
        return  # no UTF-8
    ngrams = lab.character_ngrams(word, low, low + more)
    # the lists as sets, the hashes with their repeats
    assert {g.encode() for g in ngrams} == set(inner.compute_ngrams_bytes(word, low, low + more))
    theirs = gensim.ft_ngram_hashes(word, low, low + more, 2_000_000)
    assert sorted(lab.ngram_hash(g) % 2_000_000 for g in ngrams) == sorted(theirs)


def test_where_has_fourteen_ngrams():
    assert len(lab.character_ngrams("where")) == 14
    assert not set(lab.character_ngrams("run")) & set(lab.character_ngrams("ran"))
    assert lab.ngram_hash("a") == 0xE40C292C  # published FNV-1a value: below 128 the sign makes no difference


def test_the_sizes_the_readme_gives():
    text = (find("2.2").path / "README.md").read_text(encoding="utf-8")
    assert f"400,000 words it would take {400_000**2 * 8 / 1e12:.2f} TB" in " ".join(text.split())
    assert f"2,000,000 rows of 300 float32 are {2_000_000 * 300 * 4 / 1e9:.1f} GB" in " ".join(text.split())
    assert f"then takes {2_000_000 * 100 * 4 / 1e9:.1f} GB in float32" in " ".join(text.split())


# ---------------------------------------------------------------- counting


def brute_force(ids, sentence, window, weighting):
    cells = defaultdict(float)
    for i in range(len(ids)):
        for j in range(len(ids)):
            d = abs(i - j)
            if 1 <= d <= window and sentence[i] == sentence[j]:
                cells[int(ids[i]), int(ids[j])] += 1 / d if weighting == "harmonic" else (window - d + 1) / window
    return cells


@HYPOTHESIS
@given(texts, st.integers(1, 6), st.sampled_from(["harmonic", "linear"]))
def test_cooccurrence_by_brute_force(text, window, weighting):
    ids = np.array([word for word, _ in text], dtype=np.int64)
    sentence = np.cumsum(np.array([step for _, step in text], dtype=np.int64))
    row, column, x = lab.cooccurrence(ids, sentence, window, weighting)
    wanted = brute_force(ids, sentence, window, weighting)
    assert list(zip(row.tolist(), column.tolist(), strict=True)) == sorted(wanted)
    np.testing.assert_allclose(x, [wanted[cell] for cell in sorted(wanted)])
    assert x.dtype == np.float64


def test_linear_weighting_is_the_mean_of_word2vecs_windows():
    rng = np.random.default_rng(0)
    ids, sentence = rng.integers(0, 6, 40), np.arange(40) // 15
    row, column, x = lab.cooccurrence(ids, sentence, 4, "linear")
    total = np.zeros((6, 6))
    for draw in (0.1, 0.3, 0.6, 0.9):  # each of the four widths once
        table = word2vec.context_table(ids, sentence, 4, np.full(40, draw))
        np.add.at(total, word2vec.skip_gram_pairs(ids, table), 0.25)
    np.testing.assert_allclose(total[row, column], x)
    assert np.count_nonzero(total) == len(x)


def test_plain_pmi_is_the_textbooks():
    dense = np.random.default_rng(1).uniform(1, 9, size=(5, 7))
    row, column = np.nonzero(dense)
    p = dense / dense.sum()
    wanted = np.log(p / np.outer(p.sum(1), p.sum(0)))
    np.testing.assert_allclose(lab.shifted_pmi(row, column, dense.ravel()), wanted.ravel())


def test_shifted_pmi_is_the_optimum_of_sgns():
    """Where u · v = PMI - ln K, positives and expected negatives pull equally: x σ(-s) = K #(w) Pₙ(c) σ(s)."""
    dense = np.random.default_rng(2).uniform(0.5, 30, size=(6, 8))
    row, column = np.nonzero(dense)
    score = lab.shifted_pmi(row, column, dense.ravel(), 5, 0.75).reshape(6, 8)
    noise = dense.sum(0) ** 0.75 / (dense.sum(0) ** 0.75).sum()
    pull = dense / (1 + np.exp(score))
    push = 5 * dense.sum(1)[:, None] * noise / (1 + np.exp(-score))
    np.testing.assert_allclose(pull, push)


def test_ppmi_vectors_are_the_truncated_svd():
    rng = np.random.default_rng(3)
    dense = np.where(rng.random((30, 30)) < 0.4, rng.normal(size=(30, 30)), 0)
    row, column = np.nonzero(dense)
    vectors = lab.ppmi_vectors(row, column, dense[row, column], 30, 6)
    u, s, _ = np.linalg.svd(np.maximum(dense, 0))
    np.testing.assert_allclose(vectors @ vectors.T, (u[:, :6] * s[:6]) @ u[:, :6].T, atol=1e-9)
    np.testing.assert_allclose(np.square(vectors).sum(0), s[:6])  # largest first


# ---------------------------------------------------------------- GloVe


def glove_inputs(seed=0, size=7, dim=4, cells=25):
    rng = np.random.default_rng(seed)
    tables = [rng.normal(size=shape) for shape in ((size, dim), (size, dim), size, size)]
    return tables, (*rng.integers(0, size, (2, cells)), rng.uniform(0.3, 300, cells))


def test_glove_gradients_are_autograds():
    torch = pytest.importorskip("torch")
    tables, (row, column, x) = glove_inputs()
    words, contexts, b, c = (torch.tensor(table, requires_grad=True) for table in tables)
    error = (words[row] * contexts[column]).sum(1) + b[row] + c[column] - torch.tensor(np.log(x))
    losses = torch.tensor(np.minimum(1, (x / 100) ** 0.75)) * error**2
    losses.sum().backward()
    got = lab.glove_gradients(*tables, row, column, x)
    wanted = [losses.detach(), words.grad, contexts.grad, b.grad, c.grad]
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-10, atol=1e-12)


def test_adagrad_is_torchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    mine, accumulator = rng.normal(size=(5, 3)), np.ones((5, 3))
    theirs = torch.tensor(mine.copy(), requires_grad=True)
    optimizer = torch.optim.Adagrad([theirs], lr=0.2, initial_accumulator_value=1.0, eps=0)
    for _ in range(4):
        gradient = rng.normal(size=(5, 3))
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
        lab.adagrad(mine, gradient, accumulator, 0.2)
        np.testing.assert_allclose(mine, theirs.detach().numpy())


def test_glove_fits_the_logarithms_of_a_small_table():
    rng = np.random.default_rng(5)
    row, column = np.nonzero(np.ones((12, 12)))
    _, curve = lab.train_glove(row, column, np.exp(rng.uniform(0, 4, 144)), 12, 16, epochs=150)
    assert curve[-1] < 0.01 * curve[0], f"the loss fell from {curve[0]:.3g} to {curve[-1]:.3g} only"


# ---------------------------------------------------------------- words never seen


def made_up_corpus(rng):
    """Stems with endings; a stem stands with a few others, all of its own. Of every stem one form is held out."""
    endings = ["", "s", "ed", "ing", "er"]
    stems = ["".join(rng.choice(list(part)) for part in ["bdgklmnprst", "aeiou"] * 3) for _ in range(60)]
    stems = list(dict.fromkeys(stems))
    forms = [[stem + ending for ending in endings] for stem in stems]
    held_out = [some.pop(int(rng.integers(len(some)))) for some in forms]
    sentences = []
    for _ in range(1_500):
        about = (rng.integers(len(stems)) + np.array([0, 7, 19])[rng.integers(3, size=6)]) % len(stems)
        sentences.append([str(rng.choice(forms[stem])) for stem in about])
    return sentences, forms, held_out


def test_unseen_words_find_their_family():
    """By their n-grams, held-out forms are nearest to a form of their own stem, 80 % of the time or more."""
    pytest.importorskip("torch")
    from labkit.reference.glove_fasttext import fasttext_training

    sentences, forms, held_out = made_up_corpus(np.random.default_rng(6))
    vocabulary = word2vec.build_vocabulary(sentences, 1)
    ids, sentence = word2vec.encode(sentences, vocabulary)
    chosen = word2vec.Settings(dim=24, window=3, t=0, epochs=4, lr=0.05)
    _, model, curve = fasttext_training.train(lab, ids, sentence, vocabulary, chosen, 5_000, seed=0)
    assert np.mean(curve[-10:]) < curve[0] - 0.3
    vectors = model.vectors()
    right = 0
    for word, family in zip(held_out, forms, strict=True):
        assert word not in vocabulary.ids
        right += vocabulary.words[word2vec.nearest(vectors, model.vector(word), 1)[0][0]] in family
    assert right / len(held_out) >= 0.8, f"{right} of {len(held_out)}"


@pytest.mark.realdata
def test_counted_vectors_on_wordsim():
    """Half a million words of Wikipedia, counted and factorised, order WordSim-353 clearly as people do."""
    text = data.load("text8-prefix").text
    sentences = word2vec_io.read_sentences([text], 500_000)
    vocabulary = word2vec.build_vocabulary(sentences, 10)
    ids, sentence = word2vec.encode(sentences, vocabulary)
    row, column, x = lab.cooccurrence(ids, sentence, 5)
    pmi = lab.shifted_pmi(row, column, x, power=0.75)
    vectors = lab.ppmi_vectors(row, column, pmi, len(vocabulary.words), 100)
    found = word2vec_probes.published_scores(vectors, vocabulary.ids)
    assert found["wordsim_pairs"] > 100 and found["wordsim"] > 0.4, found
