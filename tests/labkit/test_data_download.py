"""labkit.data: where files come from, wrong files, and what is said when there is none."""

import gzip
import hashlib
import re
from pathlib import Path

import pytest

from labkit import data
from labkit.data import download
from tests.labkit.data_server import CONTENT, DEAD, TEXT, files, put

pytest_plugins = ["tests.labkit.data_server"]


# ---------------------------------------------------------------- the good way


def test_download_is_cached_under_its_path(define, data_server, data_cache):
    entry = define()
    corpus = data.load("a")
    assert corpus.text == TEXT
    assert (corpus.path, corpus.versions) == (data_cache / "text/a.txt", {"sha256": entry.sha256})
    assert (corpus.licence, corpus.source) == ("CC0", "https://example.org/original")
    assert data.load("a", limit=2).documents == corpus.documents[:2]
    assert len(data_server.requests) == 1
    assert [row.cached for row in data.available() if row.name == "a"] == [True]
    assert not [name for name in files(data_cache) if name.endswith((".part", ".tmp"))]


def test_mirror_folder_is_used_in_place(define, data_server, data_cache, tmp_path, monkeypatch):
    define()
    path = put(tmp_path / "mirror/text/a.txt", CONTENT)
    monkeypatch.setenv("LABKIT_MIRROR", str(tmp_path / "mirror"))
    assert data.load("a").path == path
    assert not data_server.requests and not data_cache.exists()


def test_mirror_folder_without_the_file_is_passed_over(define, tmp_path, monkeypatch):
    define()
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("LABKIT_MIRROR", str(tmp_path / "mirror"))
    assert data.load("a").text == TEXT


def test_mirror_address_comes_before_the_original(define, data_server, monkeypatch):
    define(url=DEAD)
    data_server.files = {"/m/text/a.txt": CONTENT}
    monkeypatch.setenv("LABKIT_MIRROR", data_server.url + "/m/")
    assert data.load("a").text == TEXT
    assert data.load("a").text == TEXT
    assert data_server.requests == [("/m/text/a.txt", None)]


def test_original_steps_in_for_a_mirror_address_without_the_file(define, data_server, monkeypatch):
    define()
    monkeypatch.setenv("LABKIT_MIRROR", data_server.url + "/elsewhere")
    assert data.load("a").text == TEXT
    assert [path for path, _ in data_server.requests] == ["/elsewhere/text/a.txt", "/text/a.txt"]


def test_mirror_setting_that_is_neither_folder_nor_address(define, monkeypatch):
    define()
    monkeypatch.setenv("LABKIT_MIRROR", "/no/such/folder")
    with pytest.raises(data.DataUnavailable, match="LABKIT_MIRROR is '/no/such/folder', which is neither"):
        data.load("a")


def test_original_of_a_set_that_the_mirror_has_gzipped(define, data_server, data_cache, tmp_path, monkeypatch):
    packed = gzip.compress(CONTENT)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    define(packed, path="text/a.txt.gz", url_bytes=len(CONTENT), url_sha256=sha256)
    corpus = data.load("a")
    assert (corpus.text, corpus.path, corpus.versions) == (TEXT, data_cache / "text/a.txt", {"sha256": sha256})
    put(tmp_path / "mirror/text/a.txt.gz", packed)
    monkeypatch.setenv("LABKIT_MIRROR", str(tmp_path / "mirror"))
    assert data.load("a").text == TEXT
    assert data.load("a").path == tmp_path / "mirror/text/a.txt.gz"
    assert len(data_server.requests) == 1


# ---------------------------------------------------------------- wrong files


def test_wrong_file_in_mirror_or_cache_is_named_with_both_checksums(define, data_cache, tmp_path, monkeypatch):
    entry = define()
    wrong = CONTENT[:-1] + b"!"
    places = {"mirror": tmp_path / "mirror/text/a.txt", "cache": data_cache / "text/a.txt"}
    monkeypatch.setenv("LABKIT_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror").mkdir()
    for path in places.values():
        put(path, wrong)
        with pytest.raises(data.ChecksumError) as problem:
            data.load("a")
        message = str(problem.value)
        assert all(part in message for part in [str(path), entry.sha256, hashlib.sha256(wrong).hexdigest()])
        path.unlink()


def test_file_that_is_damaged_after_its_check_is_noticed(define, data_cache):
    define()
    data.load("a")
    path = data_cache / "text/a.txt"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(data.ChecksumError):
        data.load("a")


def test_file_is_hashed_once_per_process(define, monkeypatch):
    define()
    data.load("a")
    monkeypatch.setattr(download, "sha256_of", lambda path: pytest.fail("hashed again"))
    data.load("a")


@pytest.mark.parametrize("served", [CONTENT[:-1] + b"!", CONTENT[:-5], CONTENT + b"more", b""])
def test_wrong_download_is_refused_and_removed(define, data_server, data_cache, served):
    define()
    data_server.files["/text/a.txt"] = served
    with pytest.raises(data.ChecksumError, match=r"is another file: expected"):
        data.load("a")
    assert files(data_cache) == ["text/a.txt.lock"]


# ---------------------------------------------------------------- nothing to be had


def one_sentence(message):
    return "\n" not in message and not re.search(r"[.!?] [A-Z]", message) and "--data python-docs" in message


def test_no_network_is_one_sentence_that_names_the_built_in_corpus(define):
    define(url=DEAD)
    with pytest.raises(data.DataUnavailable, match="a is not on this machine and could not be downloaded") as problem:
        data.load("a")
    assert one_sentence(str(problem.value)) and DEAD in str(problem.value)


def test_missing_page_is_reported_with_its_status(define, data_server):
    define(url=f"{data_server.url}/gone.txt")
    with pytest.raises(data.DataUnavailable, match=r"gone\.txt answered 404") as problem:
        data.load("a")
    assert one_sentence(str(problem.value)) and len(data_server.requests) == 1


def test_set_without_address_asks_for_a_mirror(define):
    define(url=None, change="the first half only")
    with pytest.raises(data.DataUnavailable, match=r"set LABKIT_MIRROR to .* that has text/a\.txt") as e:
        data.load("a")
    assert one_sentence(str(e.value)) and "the first half only" in str(e.value) and "example.org" in str(e.value)


def test_set_without_address_and_a_mirror_that_fails(define, monkeypatch):
    define(url=None, change="the first half only")
    monkeypatch.setenv("LABKIT_MIRROR", DEAD)
    with pytest.raises(data.DataUnavailable, match=r"the mirror failed .*: check LABKIT_MIRROR") as problem:
        data.load("a")
    assert one_sentence(str(problem.value))


def test_cache_that_cannot_be_written(define, data_cache):
    define()
    put(data_cache, b"a file where the folder should be")
    with pytest.raises(data.DataUnavailable, match=r"cannot write .* set LABKIT_CACHE"):
        data.load("a")


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    from labkit.data.cache import cache_folder

    monkeypatch.delenv("LABKIT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "labkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/labkit"
