"""labkit.data: mirrors, the cache, downloads that break off, wrong files, no network."""

import gzip
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from labkit import data
from labkit.data import datasets, download

ROOT = Path(data.__file__).resolve().parents[2]
TEXT = "\n\n".join(f"Paragraph {n}: {random.Random(n).random()}" for n in range(20_000)) + "\n"
CONTENT = TEXT.encode()
DEAD = "http://127.0.0.1:1/nothing.txt"  # nobody listens on port 1


class Server(ThreadingHTTPServer):
    """Serves `files`, with Range, and misbehaves as told."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/text/a.txt": CONTENT}
        self.requests = []  # (path, Range header)
        self.breaks = []  # for each request to come: close the connection after so many bytes
        self.statuses = []  # for each request to come: answer with this status
        self.ranges = True
        self.gate = None  # a threading.Event: send half, then wait for it

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):  # a client that was killed is no error
        pass


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.path, wanted))
        content = server.files.get(self.path)
        if server.statuses or content is None:
            self.send_error(server.statuses.pop(0) if server.statuses else 404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
        if start >= len(content) > 0 and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + server.breaks.pop(0) if server.breaks else len(content)
        half = (start + end) // 2
        self.wfile.write(content[start:half])
        self.wfile.flush()
        if server.gate:
            server.gate.wait(30)
        self.wfile.write(content[half:end])


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name == "LABKIT_MIRROR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    return tmp_path / "cache"


@pytest.fixture
def define(monkeypatch, server):
    """define(name=..., ...) makes an entry of datasets.toml; by default text/a.txt on the test server."""

    def entry(content=CONTENT, **changes):
        fields = {
            "name": "a",
            "path": "text/a.txt",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "licence": "CC0",
            "description": "a test",
            "form": "txt",
            "homepage": "https://example.org/original",
            "url": f"{server.url}/text/a.txt",
        }
        made = datasets.Dataset(**fields | changes)
        monkeypatch.setattr(datasets, "datasets", lambda: {made.name: made})
        return made

    return entry


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# ---------------------------------------------------------------- the good way


def test_download_is_cached_under_its_path(define, server, cache):
    entry = define()
    corpus = data.load("a")
    assert corpus.text == TEXT
    assert (corpus.path, corpus.versions) == (cache / "text/a.txt", {"sha256": entry.sha256})
    assert (corpus.licence, corpus.source) == ("CC0", "https://example.org/original")
    assert data.load("a", limit=2).documents == corpus.documents[:2]
    assert len(server.requests) == 1
    assert [row.cached for row in data.available() if row.name == "a"] == [True]
    assert not [name for name in files(cache) if name.endswith((".part", ".tmp"))]


def test_mirror_folder_is_used_in_place(define, server, cache, tmp_path, monkeypatch):
    define()
    path = put(tmp_path / "mirror/text/a.txt", CONTENT)
    monkeypatch.setenv("LABKIT_MIRROR", str(tmp_path / "mirror"))
    assert data.load("a").path == path
    assert not server.requests and not cache.exists()


def test_mirror_folder_without_the_file_is_passed_over(define, tmp_path, monkeypatch):
    define()
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("LABKIT_MIRROR", str(tmp_path / "mirror"))
    assert data.load("a").text == TEXT


def test_mirror_address_comes_before_the_original(define, server, monkeypatch):
    define(url=DEAD)
    server.files = {"/m/text/a.txt": CONTENT}
    monkeypatch.setenv("LABKIT_MIRROR", server.url + "/m/")
    assert data.load("a").text == TEXT
    assert data.load("a").text == TEXT
    assert server.requests == [("/m/text/a.txt", None)]


def test_original_steps_in_for_a_mirror_address_without_the_file(define, server, monkeypatch):
    define()
    monkeypatch.setenv("LABKIT_MIRROR", server.url + "/elsewhere")
    assert data.load("a").text == TEXT
    assert [path for path, _ in server.requests] == ["/elsewhere/text/a.txt", "/text/a.txt"]


def test_mirror_setting_that_is_neither_folder_nor_address(define, monkeypatch):
    define()
    monkeypatch.setenv("LABKIT_MIRROR", "/no/such/folder")
    with pytest.raises(data.DataUnavailable, match="LABKIT_MIRROR is '/no/such/folder', which is neither"):
        data.load("a")


def test_original_of_a_set_that_the_mirror_has_gzipped(define, server, cache, tmp_path, monkeypatch):
    packed = gzip.compress(CONTENT)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    define(packed, path="text/a.txt.gz", url_bytes=len(CONTENT), url_sha256=sha256)
    corpus = data.load("a")
    assert (corpus.text, corpus.path, corpus.versions) == (TEXT, cache / "text/a.txt", {"sha256": sha256})
    put(tmp_path / "mirror/text/a.txt.gz", packed)
    monkeypatch.setenv("LABKIT_MIRROR", str(tmp_path / "mirror"))
    assert data.load("a").text == TEXT
    assert data.load("a").path == tmp_path / "mirror/text/a.txt.gz"
    assert len(server.requests) == 1


# ---------------------------------------------------------------- interruptions


def test_download_goes_on_from_a_part_file(define, server, cache):
    define()
    put(cache / "text/a.txt.part", CONTENT[:1000])
    assert data.load("a").text == TEXT
    assert server.requests == [("/text/a.txt", "bytes=1000-")]


def test_complete_part_file_needs_no_request(define, server, cache):
    define()
    put(cache / "text/a.txt.part", CONTENT)
    assert data.load("a").text == TEXT
    assert not server.requests


@pytest.mark.parametrize("part", [b"wrong bytes", b"x" * len(CONTENT), CONTENT + b"too long"])
def test_wrong_part_file_is_dropped_and_the_download_starts_again(define, server, cache, part):
    define()
    put(cache / "text/a.txt.part", part)
    assert data.load("a").text == TEXT
    assert server.requests[-1] == ("/text/a.txt", None)


def test_server_without_ranges_sends_everything_again(define, server, cache):
    define()
    server.ranges = False
    put(cache / "text/a.txt.part", CONTENT[:1000])
    assert data.load("a").text == TEXT


def test_broken_connection_is_taken_up_where_it_broke(define, server):
    define()
    server.breaks = [200_000, 200_000]
    assert data.load("a").text == TEXT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=200000-", "bytes=400000-"]


def test_connection_that_keeps_breaking_leaves_a_part_for_next_time(define, server, cache):
    define()
    server.breaks = [100_000] * download.ATTEMPTS
    with pytest.raises(data.DataUnavailable, match=f"broke off after 300,000 of {len(CONTENT):,} bytes"):
        data.load("a")
    assert files(cache) == ["text/a.txt.lock", "text/a.txt.part"]
    assert data.load("a").text == TEXT
    assert server.requests[-1] == ("/text/a.txt", "bytes=300000-")


def test_server_that_is_briefly_unwell_is_asked_again(define, server):
    define()
    server.statuses = [503, 500]
    assert data.load("a").text == TEXT


IN_A_NEW_PROCESS = """
import sys
from labkit import data
from labkit.data import datasets
entry = datasets.Dataset("a", "text/a.txt", int(sys.argv[1]), sys.argv[2], "CC0", "a test", "txt", "", url=sys.argv[3])
datasets.datasets = lambda: {"a": entry}
print(len(data.load("a").text))
"""


def start_process(entry):
    command = [sys.executable, "-c", IN_A_NEW_PROCESS, str(entry.bytes), entry.sha256, entry.url]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def wait_for(condition, seconds=30):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        threading.Event().wait(0.01)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_download_leaves_no_half_file_and_no_lock(define, server, cache):
    entry = define()
    part = cache / "text/a.txt.part"
    server.gate = threading.Event()
    process = start_process(entry)
    wait_for(lambda: part.exists() and part.stat().st_size > 0)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert not (cache / "text/a.txt").exists()
    size = part.stat().st_size
    server.gate.set()
    assert data.load("a").text == TEXT
    assert server.requests[-1] == ("/text/a.txt", f"bytes={size}-")


def test_two_processes_share_one_download(define, server, cache):
    entry = define()
    server.gate = threading.Event()
    first = start_process(entry)
    wait_for(lambda: len(server.requests) == 1)
    second = start_process(entry)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(1)
    server.gate.set()
    for process in (first, second):
        assert process.communicate(timeout=30)[0].strip() == str(len(TEXT))
    assert len(server.requests) == 1
    assert (cache / "text/a.txt").read_bytes() == CONTENT


# ---------------------------------------------------------------- wrong files


def test_wrong_file_in_mirror_or_cache_is_named_with_both_checksums(define, cache, tmp_path, monkeypatch):
    entry = define()
    wrong = CONTENT[:-1] + b"!"
    places = {"mirror": tmp_path / "mirror/text/a.txt", "cache": cache / "text/a.txt"}
    monkeypatch.setenv("LABKIT_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror").mkdir()
    for path in places.values():
        put(path, wrong)
        with pytest.raises(data.ChecksumError) as problem:
            data.load("a")
        message = str(problem.value)
        assert all(part in message for part in [str(path), entry.sha256, hashlib.sha256(wrong).hexdigest()])
        path.unlink()


def test_file_that_is_damaged_after_its_check_is_noticed(define, cache):
    define()
    data.load("a")
    path = cache / "text/a.txt"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(data.ChecksumError):
        data.load("a")


def test_file_is_hashed_once_per_process(define, monkeypatch):
    define()
    data.load("a")
    monkeypatch.setattr(download, "sha256_of", lambda path: pytest.fail("hashed again"))
    data.load("a")


@pytest.mark.parametrize("served", [CONTENT[:-1] + b"!", CONTENT[:-5], CONTENT + b"more", b""])
def test_wrong_download_is_refused_and_removed(define, server, cache, served):
    define()
    server.files["/text/a.txt"] = served
    with pytest.raises(data.ChecksumError, match=r"is another file: expected"):
        data.load("a")
    assert files(cache) == ["text/a.txt.lock"]


# ---------------------------------------------------------------- nothing to be had


def one_sentence(message):
    return "\n" not in message and not re.search(r"[.!?] [A-Z]", message) and "--data python-docs" in message


def test_no_network_is_one_sentence_that_names_the_built_in_corpus(define):
    define(url=DEAD)
    with pytest.raises(data.DataUnavailable, match="a is not on this machine and could not be downloaded") as problem:
        data.load("a")
    assert one_sentence(str(problem.value)) and DEAD in str(problem.value)


def test_missing_page_is_reported_with_its_status(define, server):
    define(url=f"{server.url}/gone.txt")
    with pytest.raises(data.DataUnavailable, match=r"gone\.txt answered 404") as problem:
        data.load("a")
    assert one_sentence(str(problem.value)) and len(server.requests) == 1


def test_set_without_address_asks_for_a_mirror(define):
    define(url=None, change="the first half only")
    with pytest.raises(data.DataUnavailable, match="set LABKIT_MIRROR to a folder or address that has text/a.txt") as e:
        data.load("a")
    assert one_sentence(str(e.value)) and "the first half only" in str(e.value) and "example.org" in str(e.value)


def test_set_without_address_and_a_mirror_that_fails(define, monkeypatch):
    define(url=None, change="the first half only")
    monkeypatch.setenv("LABKIT_MIRROR", DEAD)
    with pytest.raises(data.DataUnavailable, match="the mirror failed .*: check LABKIT_MIRROR") as problem:
        data.load("a")
    assert one_sentence(str(problem.value))


def test_cache_that_cannot_be_written(define, cache):
    define()
    put(cache, b"a file where the folder should be")
    with pytest.raises(data.DataUnavailable, match="cannot write .* set LABKIT_CACHE"):
        data.load("a")


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    from labkit.data.cache import cache_folder

    monkeypatch.delenv("LABKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "labkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/labkit"
