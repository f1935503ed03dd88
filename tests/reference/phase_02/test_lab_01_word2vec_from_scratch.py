"""The reference of lab 2.1 against autograd, brute force and gensim; on a planted corpus, and on real text."""

from __future__ import annotations

import importlib
import json
import math
import os
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import data
from labkit.catalogue import find
from labkit.reference import word2vec_from_scratch as lab

HYPOTHESIS = settings(deadline=None, derandomize=True, max_examples=100)
probes = importlib.import_module("labkit.reference.word2vec_from_scratch.word2vec_probes")
word2vec_io = importlib.import_module("labkit.reference.word2vec_from_scratch.word2vec_io")


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors: a second thread only costs, and on a busy machine a lot."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def documentation() -> list[list[str]]:
    return word2vec_io.read_sentences((d.text for d in data.load("python-docs").documents), 60_000)


@pytest.fixture(scope="module")
def gensim_model(documentation):
    """gensim's untrained model of the documentation: its vocabulary, keep probabilities and noise."""
    from gensim.models import Word2Vec

    model = Word2Vec(vector_size=8, min_count=5, sample=1e-3, sg=1, negative=5)
    model.build_vocab(documentation)
    return model


@pytest.fixture(scope="module")
def vocabulary(documentation) -> lab.Vocabulary:
    return lab.build_vocabulary(documentation, 5)


# ---------------------------------------------------------------- vocabulary and draws, against gensim


def test_vocabulary_is_gensims(vocabulary, gensim_model):
    theirs = {word: gensim_model.wv.get_vecattr(word, "count") for word in gensim_model.wv.index_to_key}
    assert dict(zip(vocabulary.words, vocabulary.counts.tolist(), strict=True)) == theirs
    assert vocabulary.counts.tolist() == [theirs[word] for word in gensim_model.wv.index_to_key]  # same order by count


def test_keep_probability_is_gensims(vocabulary, gensim_model):
    theirs = [gensim_model.wv.get_vecattr(word, "sample_int") / (2**32 - 1) for word in vocabulary.words]
    np.testing.assert_allclose(lab.keep_probability(vocabulary.counts, 1e-3, "c"), theirs, atol=1e-9)
    assert np.abs(lab.keep_probability(vocabulary.counts, 1e-3, "paper") - theirs).max() > 0.05


def test_noise_is_gensims(vocabulary, gensim_model):
    """gensim draws from a table of cumulated counts^0.75, scaled to integers."""
    ends = gensim_model.cum_table / gensim_model.cum_table[-1]
    counts = np.array([gensim_model.wv.get_vecattr(word, "count") for word in gensim_model.wv.index_to_key])
    for i in (0, 1, 7, 100, len(ends) - 2):
        assert lab.draw_negatives(counts, np.array([ends[i] - 1e-8, ends[i] + 1e-8])).tolist() == [i, i + 1]


def test_noise_follows_its_distribution(vocabulary):
    """400,000 draws: chi-square against count^0.75, false alarm below 1 in 10,000 (and the seed is fixed)."""
    from scipy.stats import chisquare

    counts = vocabulary.counts[:200]
    drawn = lab.draw_negatives(counts, np.random.default_rng(0).random(400_000))
    expected = counts**0.75 / (counts**0.75).sum() * len(drawn)
    assert chisquare(np.bincount(drawn, minlength=200), expected).pvalue > 1e-4
    assert chisquare(np.bincount(drawn, minlength=200), counts / counts.sum() * len(drawn)).pvalue < 1e-10


def test_subsampling_keeps_the_share_it_says(vocabulary, documentation):
    """Over many draws each word stays as often as its probability says: within 6 standard errors."""
    ids, _ = lab.encode(documentation, vocabulary)
    keep = lab.keep_probability(vocabulary.counts, 1e-3, "c")
    kept = np.random.default_rng(1).random((20, len(ids))) < keep[ids]
    often = np.bincount(np.tile(ids, 20)[kept.ravel()], minlength=len(keep))[:50]
    trials = 20 * vocabulary.counts[:50]
    error = np.sqrt(trials * keep[:50] * (1 - keep[:50])) + 1
    assert (np.abs(often - trials * keep[:50]) < 6 * error).all()


# ---------------------------------------------------------------- windows, against two loops


def brute_force(ids, sentence, window, draws):
    rows = []
    for i in range(len(ids)):
        reach = window if draws is None else 1 + int(draws[i] * window)
        row = []
        for offset in [*range(-window, 0), *range(1, window + 1)]:
            j = i + offset
            there = 0 <= j < len(ids) and abs(offset) <= reach and sentence[i] == sentence[j]
            row.append(ids[j] if there else -1)
        rows.append(row)
    return np.array(rows, dtype=np.int64).reshape(len(ids), 2 * window)


@HYPOTHESIS
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.floats(0, 0.999)), max_size=14), st.integers(1, 6))
def test_context_table_is_two_loops(tokens, window):
    ids = np.array([token[0] for token in tokens], dtype=np.int64)
    sentence = np.cumsum([token[1] for token in tokens], dtype=np.int64)
    draws = np.array([token[2] for token in tokens])
    for some in (None, draws):
        np.testing.assert_array_equal(
            lab.context_table(ids, sentence, window, some), brute_force(ids, sentence, window, some)
        )


def test_near_words_count_more():
    """A drawn reach keeps the neighbour at distance d with probability (W - d + 1) / W."""
    n = 200_000
    table = lab.context_table(np.zeros(n, int), np.zeros(n, int), 4, np.random.default_rng(0).random(n))
    np.testing.assert_allclose((table >= 0).mean(0), [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25], atol=0.005)


def test_pairs_come_row_by_row():
    table = np.array([[-1, 4, 5], [-1, -1, -1], [6, -1, 7]])
    center, context = lab.skip_gram_pairs(np.array([1, 2, 3]), table)
    assert center.tolist() == [1, 1, 3, 3]
    assert context.tolist() == [4, 5, 6, 7]


def test_unknown_words_let_their_neighbours_move_together():
    vocabulary = lab.Vocabulary(["a", "b"], np.array([3, 2]))
    ids, sentence = lab.encode([["a", "rare", "b"], [], ["b"]], vocabulary)
    assert ids.tolist() == [0, 1, 1]
    assert sentence.tolist() == [0, 0, 2]


# ---------------------------------------------------------------- gradients


def random_batch(seed: int, size: int = 9, dim: int = 5, pairs: int = 13, negatives: int = 4):
    rng = np.random.default_rng(seed)
    index = rng.integers(0, size, pairs), rng.integers(0, size, pairs), rng.integers(0, size, (pairs, negatives))
    return rng.normal(size=(size, dim)), rng.normal(size=(size, dim)), *index


@HYPOTHESIS
@given(st.integers(0, 10**6))
def test_gradients_by_hand_are_autograds(seed):
    inputs, outputs, center, context, negatives = random_batch(seed)
    v, u = (torch.from_numpy(table).requires_grad_() for table in (inputs, outputs))
    positive = (v[center] * u[context]).sum(-1)
    negative = torch.einsum("bd,bkd->bk", v[center], u[negatives])
    expected = torch.nn.functional.softplus(-positive) + torch.nn.functional.softplus(negative).sum(1)
    expected.sum().backward()
    losses, d_inputs, d_outputs = lab.sgns_gradients(inputs, outputs, center, context, negatives)
    for ours, theirs in ((losses, expected.detach()), (d_inputs, v.grad), (d_outputs, u.grad)):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)


def test_gradients_by_hand_are_finite_differences():
    tables = list(random_batch(3)[:2])
    index = random_batch(3)[2:]
    slopes = lab.sgns_gradients(*tables, *index)[1:]
    for which in (0, 1):
        for place in ((0, 0), (4, 2), (8, 4)):
            moved = []
            for step in (1e-5, -1e-5):
                changed = [table.copy() for table in tables]
                changed[which][place] += step
                moved.append(lab.sgns_gradients(*changed, *index)[0].sum())
            assert (moved[0] - moved[1]) / 2e-5 == pytest.approx(slopes[which][place], abs=1e-8)


def test_pytorch_is_numpy():
    inputs, outputs, *index = random_batch(5)
    model = lab.Word2Vec(9, 5).double()
    with torch.no_grad():
        model.inputs.weight.copy_(torch.from_numpy(inputs))
        model.outputs.weight.copy_(torch.from_numpy(outputs))
    losses = model.skip_gram_losses(*map(torch.from_numpy, index))
    losses.sum().backward()
    theirs = lab.sgns_gradients(inputs, outputs, *index)
    np.testing.assert_allclose(losses.detach().numpy(), theirs[0], atol=1e-12)
    np.testing.assert_allclose(model.inputs.weight.grad.to_dense().numpy(), theirs[1], atol=1e-12)
    np.testing.assert_allclose(model.outputs.weight.grad.to_dense().numpy(), theirs[2], atol=1e-12)


def test_cbow_with_one_context_word_is_skip_gram_turned_round():
    """One word in the window: the context predicts the center, which is a skip-gram pair the other way round."""
    inputs, outputs, center, context, negatives = random_batch(7)
    model = lab.Word2Vec(9, 5).double()
    with torch.no_grad():
        model.inputs.weight.copy_(torch.from_numpy(inputs))
        model.outputs.weight.copy_(torch.from_numpy(outputs))
    table = np.full((13, 6), -1)
    table[np.arange(13), np.arange(13) % 6] = context
    cbow = model.cbow_losses(*map(torch.from_numpy, (center, table, negatives)))
    turned = model.skip_gram_losses(*map(torch.from_numpy, (context, center, negatives)))
    torch.testing.assert_close(cbow, turned)


@pytest.mark.parametrize("negatives", [1, 5, 15])
def test_the_first_loss_is_known(negatives):
    ids = np.random.default_rng(0).integers(0, 20, 400)
    for cbow in (False, True):
        s = lab.Settings(dim=8, epochs=1, negatives=negatives, t=0, batch=64, cbow=cbow)
        _, curve = lab.train(ids, np.zeros(400, int), np.bincount(ids), s)
        assert curve[0] == pytest.approx((negatives + 1) * math.log(2), abs=1e-4)


def test_gensims_cbow_gives_every_context_word_the_whole_gradient():
    """One step of gensim moves each of n context words n times as far as the mean's gradient: word2vec.c does too."""
    from gensim.models import Word2Vec

    words = ["a", "b", "c", "d", "e"]
    model = Word2Vec(vector_size=4, min_count=1, sg=0, negative=1, sample=0, window=4, workers=1, seed=1, cbow_mean=1)
    model.build_vocab([words])
    model.syn1neg[:] = np.random.default_rng(0).normal(size=model.syn1neg.shape)
    before = model.wv.vectors.copy()
    model.train([words], total_examples=1, epochs=1, start_alpha=1e-4, end_alpha=1e-4)
    moved = np.abs(model.wv.vectors - before).max()

    ours = lab.Word2Vec(5, 4)
    with torch.no_grad():
        ours.inputs.weight.copy_(torch.from_numpy(before))
        ours.outputs.weight.copy_(torch.from_numpy(np.random.default_rng(0).normal(size=(5, 4))))
    ids = np.array([model.wv.key_to_index[word] for word in words])
    table = lab.context_table(ids, np.zeros(5, int), 4)
    ours.cbow_losses(*map(torch.from_numpy, (ids, table, ids[:, None] * 0))).sum().backward()
    step = 1e-4 * ours.inputs.weight.grad.to_dense().abs().max()
    assert moved > 2 * step  # between 1 and 4 words share a window; with the right gradient both are of one size


# ---------------------------------------------------------------- neighbours, analogies and files, against gensim


@pytest.fixture(scope="module")
def keyed_vectors():
    from gensim.models import KeyedVectors

    rng = np.random.default_rng(4)
    vectors = (rng.normal(size=(300, 12)) * rng.uniform(0.2, 5, size=(300, 1))).astype(np.float32)
    theirs = KeyedVectors(12)
    theirs.add_vectors([f"w{i}" for i in range(300)], vectors)
    return vectors, theirs


def test_nearest_is_gensims(keyed_vectors):
    vectors, theirs = keyed_vectors
    for i in range(0, 300, 13):
        ids, cosines = lab.nearest(vectors, vectors[i], 8, [i])
        names, expected = zip(*theirs.most_similar(f"w{i}", topn=8), strict=True)
        assert [f"w{j}" for j in ids] == list(names)
        np.testing.assert_allclose(cosines, expected, atol=1e-5)


def test_analogies_are_gensims(keyed_vectors):
    vectors, theirs = keyed_vectors
    questions = np.random.default_rng(5).permutation(300)[:100].reshape(25, 4)
    answers = [lab.analogy(vectors, a, b, c, 5) for a, b, c, _ in questions]
    for (a, b, c, _), answer in zip(questions, answers, strict=True):
        names = [name for name, _ in theirs.most_similar(positive=[f"w{b}", f"w{c}"], negative=[f"w{a}"], topn=5)]
        assert [f"w{i}" for i in answer] == names
    questions[::2, 3] = [answer[0] for answer in answers[::2]]
    right = np.mean([answer[0] == q[3] for answer, q in zip(answers, questions, strict=True)])
    assert probes.analogy_accuracy(vectors, questions) == pytest.approx(right)


def test_pairs_in_ten_by_hand(keyed_vectors):
    vectors, _ = keyed_vectors
    pairs = [(i, int(lab.nearest(vectors, vectors[i], 12, [i])[0][place])) for i, place in ((3, 0), (40, 9), (99, 10))]
    found = [b in lab.nearest(vectors, vectors[a], 10, [a])[0] for p in pairs for a, b in (p, p[::-1])]
    assert probes.in_ten(vectors, pairs) == pytest.approx(np.mean(found))


def test_gensim_loads_our_file_and_we_load_gensims(tmp_path, keyed_vectors):
    from gensim.models import KeyedVectors

    vectors, theirs = keyed_vectors
    words = ["naïve", "中", *(f"w{i}" for i in range(298))]
    word2vec_io.save_word2vec(tmp_path / "vectors.bin", words, vectors)
    loaded = KeyedVectors.load_word2vec_format(tmp_path / "vectors.bin", binary=True)
    assert loaded.index_to_key == words
    np.testing.assert_array_equal(loaded.vectors, vectors)
    theirs.save_word2vec_format(tmp_path / "theirs.bin", binary=True)
    names, again = word2vec_io.load_word2vec(tmp_path / "theirs.bin")
    assert names == theirs.index_to_key
    np.testing.assert_array_equal(again, vectors)
    with_line_feeds = b"2 3\n" + b"".join(w + b" " + np.arange(3, dtype="<f4").tobytes() + b"\n" for w in (b"x", b"y"))
    (tmp_path / "c.bin").write_bytes(with_line_feeds)  # as word2vec.c writes it
    assert word2vec_io.load_word2vec(tmp_path / "c.bin")[0] == ["x", "y"]


# ---------------------------------------------------------------- what is learned


def planted_corpus(rng: np.random.Generator, topics: int = 10, sentences: int = 3500) -> list[list[str]]:
    """Words with a topic and a form: w3_0 and w3_1 share the company of topic 3, all w*_1 that of form 1."""
    lists = []
    for _ in range(sentences):
        topic, form = rng.integers(topics), rng.integers(2)
        around = [f"t{topic}_{rng.integers(4)}" for _ in range(2)] + [f"f{form}_{rng.integers(4)}" for _ in range(2)]
        around = [str(word) for word in rng.permutation(around)]
        lists.append([*around[:2], f"w{topic}_{form}", *around[2:]])
    return lists


@pytest.mark.parametrize("cbow", [False, True])
def test_planted_classes_and_analogies_are_found(cbow):
    """Neighbour purity of at least 0.9 and at least 80 % of the planted analogies, by both models."""
    lists = planted_corpus(np.random.default_rng(0))
    vocabulary = lab.build_vocabulary(lists, 5)
    ids, sentence = lab.encode(lists, vocabulary)
    s = lab.Settings(dim=24, epochs=4, t=0, batch=64, lr=0.2 if cbow else 0.05, cbow=cbow)
    model, curve = lab.train(ids, sentence, vocabulary.counts, s)
    vectors = model.inputs.weight.numpy(force=True)
    assert np.mean(curve[-50:]) < 0.8 * curve[0]

    of_topic = [word for word in vocabulary.words if word.startswith("t")]
    pure = []
    for word in of_topic:
        i = vocabulary.ids[word]
        others = [vocabulary.ids[w] for w in vocabulary.words if not w.startswith("t")]
        found, _ = lab.nearest(vectors, vectors[i], 3, [i, *others])
        pure += [vocabulary.words[j].split("_")[0] == word.split("_")[0] for j in found]
    assert np.mean(pure) >= 0.9

    pairs = [(vocabulary.ids[f"w{t}_0"], vocabulary.ids[f"w{t}_1"]) for t in range(10)]
    assert probes.analogy_accuracy(vectors, probes.questions_of(pairs)) >= 0.8


def test_training_repeats_itself_and_the_seed_matters():
    rng = np.random.default_rng(0)
    lists = planted_corpus(rng, sentences=300)
    vocabulary = lab.build_vocabulary(lists, 1)
    corpus = lab.encode(lists, vocabulary)
    s = lab.Settings(dim=8, epochs=1)
    (one, first), (two, second), (_, third) = (lab.train(*corpus, vocabulary.counts, s, seed) for seed in (3, 3, 4))
    assert first == second
    assert torch.equal(one.inputs.weight, two.inputs.weight)
    assert first != third


def test_a_corpus_without_neighbours_is_refused():
    with pytest.raises(ValueError, match="neighbour"):
        lab.train(np.array([0, 1]), np.array([0, 1]), np.array([1, 1]), lab.Settings(epochs=1, t=0))


def held_out_loss(inputs: np.ndarray, outputs: np.ndarray, corpus: tuple, counts: np.ndarray) -> float:
    """The mean loss per pair on text that was not trained on."""
    one = lab.Settings(epochs=1, batch=4096)
    batches = lab.training_batches(*corpus, counts, one, np.random.default_rng(0))
    losses = [lab.sgns_gradients(inputs, outputs, *part[1:])[0] for part in batches]
    return float(np.concatenate(losses).mean())


@pytest.mark.realdata
@pytest.mark.skipif("LABKIT_MIRROR" not in os.environ, reason="needs the data sets of LABKIT_MIRROR")
def test_held_out_loss_is_gensims():
    """Same text, same hyper-parameters: text neither has seen costs both the same, within half a percent."""
    from gensim.models import Word2Vec

    sentences = word2vec_io.read_sentences([data.load("text8-prefix").text], 100_000)
    training, unseen = sentences[:-2], sentences[-2:]
    vocabulary = lab.build_vocabulary(training, 10)
    s = lab.Settings(dim=32, epochs=2)
    model, _ = lab.train(*lab.encode(training, vocabulary), vocabulary.counts, s)
    ours = [table.weight.numpy(force=True).astype(float) for table in (model.inputs, model.outputs)]

    theirs = Word2Vec(
        training, vector_size=32, window=5, min_count=10, sg=1, negative=5, sample=1e-3, epochs=2, workers=1, seed=1
    )
    order = [theirs.wv.key_to_index[word] for word in vocabulary.words]
    corpus = lab.encode(unseen, vocabulary)
    mine = held_out_loss(*ours, corpus, vocabulary.counts)
    peer = held_out_loss(
        *(table[order].astype(float) for table in (theirs.wv.vectors, theirs.syn1neg)), corpus, vocabulary.counts
    )
    assert mine < 0.75 * 6 * math.log(2)
    assert mine == pytest.approx(peer, rel=0.005)


# ---------------------------------------------------------------- text and the command line


def test_sentences_are_paragraphs_once():
    texts = ["Open the File.\n\nread(csv_file, n=3)", "open the file.\n \nalone\n\nx1 float64"]
    assert word2vec_io.read_sentences(texts) == [
        ["open", "the", "file"],
        ["read", "csv", "file", "n"],
        ["x1", "float64"],
    ]
    assert word2vec_io.read_sentences(texts, 5) == [["open", "the", "file"], ["read", "csv"]]
    with pytest.raises(ValueError, match="texts"):
        word2vec_io.read_sentences(["alone", ""])


def test_running_text_is_cut():
    lengths = [len(sentence) for sentence in word2vec_io.read_sentences(["a b c d e " * 5000])]
    assert lengths == [10_000, 10_000, 5_000]


def test_probes_are_in_the_documentation(vocabulary):
    """Enough of the probes are words of the corpus for a score to mean something."""
    sentences = word2vec_io.read_sentences(d.text for d in data.load("python-docs").documents)
    known = {word for word, n in Counter(w for s in sentences for w in s).items() if n >= 15}
    asked = [word for text in probes.RELATIONS.values() for word in text.split()]
    assert np.mean([word in known for word in asked]) > 0.95


def test_smoke_run(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(find("2.1").path)
    lab.main(["--preset", "smoke", "--device", "cpu", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "loss per pair 4.159 at first" in printed
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert results["gradient_difference"] < 1e-12
    assert {path.name for path in tmp_path.glob("*.png")} == {"words.png", "training.png"}
    words, vectors = word2vec_io.load_word2vec(tmp_path / "vectors.bin")
    assert len(words) == len(vectors) == results["corpus"]["vocabulary"]
