"""labkit.data: every entry of datasets.toml against the real mirror, where there is one."""

import os

import pytest

from labkit import data
from labkit.data import datasets

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not os.environ.get("LABKIT_MIRROR"), reason="LABKIT_MIRROR is not set"),
]


@pytest.mark.parametrize("name", datasets.datasets())
def test_entry_loads_with_the_right_checksum_and_count(name, monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    entry = datasets.datasets()[name]
    corpus = data.load(name)
    assert corpus.versions == {"sha256": entry.sha256}
    assert corpus.path.stat().st_size == entry.bytes
    if entry.form == "binary":
        with pytest.raises(ValueError, match="is not a text format"):
            _ = corpus.text
        return
    rows = corpus.documents if entry.form in ("txt", "lines") else corpus.records
    assert len(rows) == (entry.records or len(rows)) > 0
    assert corpus.text.strip() and not corpus.text.startswith("\ufeff")


def test_known_contents():
    assert len(data.load("tinyshakespeare").text) == 1_115_394
    assert len(data.load("text8-prefix").text) == 4_499_998
    assert len(data.load("gpt2-encoder").records[0]) == 50_257
    assert len(data.load("gpt2-vocab").text.splitlines()) == 50_001
    assert data.load("wordsim353").records[0] == {"word1": "love", "word2": "sex", "score": "6.77"}
    assert data.load("names", limit=3).text.split() == ["emma", "olivia", "ava"]
    assert len(data.load("wikitext2-test").text.replace("\n", " <eos> ").split()) == 245_569
    assert sum(not line.startswith(":") for line in data.load("questions-words").text.splitlines()) == 19_544
    question = data.load("xquad-en", limit=1).records[0]
    answer = question["answers"][0]
    assert question["context"][answer["answer_start"] :].startswith(answer["text"])
    claim = data.load("scifact-queries", limit=1).records[0]
    assert data.load("scifact-queries", limit=1).documents[0].text == claim["text"]
