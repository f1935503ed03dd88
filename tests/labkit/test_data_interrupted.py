"""labkit.data: downloads that break off, are killed, or run twice at once."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from labkit import data
from labkit.data import download
from tests.labkit.data_server import CONTENT, TEXT, files, put

ROOT = Path(data.__file__).resolve().parents[2]
pytest_plugins = ["tests.labkit.data_server"]


# ---------------------------------------------------------------- interruptions


def test_download_goes_on_from_a_part_file(define, data_server, data_cache):
    define()
    put(data_cache / "text/a.txt.part", CONTENT[:1000])
    assert data.load("a").text == TEXT
    assert data_server.requests == [("/text/a.txt", "bytes=1000-")]


def test_complete_part_file_needs_no_request(define, data_server, data_cache):
    define()
    put(data_cache / "text/a.txt.part", CONTENT)
    assert data.load("a").text == TEXT
    assert not data_server.requests


@pytest.mark.parametrize("part", [b"wrong bytes", b"x" * len(CONTENT), CONTENT + b"too long"])
def test_wrong_part_file_is_dropped_and_the_download_starts_again(define, data_server, data_cache, part):
    define()
    put(data_cache / "text/a.txt.part", part)
    assert data.load("a").text == TEXT
    assert data_server.requests[-1] == ("/text/a.txt", None)


def test_server_without_ranges_sends_everything_again(define, data_server, data_cache):
    define()
    data_server.ranges = False
    put(data_cache / "text/a.txt.part", CONTENT[:1000])
    assert data.load("a").text == TEXT


def test_broken_connection_is_taken_up_where_it_broke(define, data_server):
    define()
    data_server.breaks = [200_000, 200_000]
    assert data.load("a").text == TEXT
    assert [wanted for _, wanted in data_server.requests] == [None, "bytes=200000-", "bytes=400000-"]


def test_connection_that_keeps_breaking_leaves_a_part_for_next_time(define, data_server, data_cache):
    define()
    data_server.breaks = [100_000] * download.ATTEMPTS
    with pytest.raises(data.DataUnavailable, match=f"broke off after 300,000 of {len(CONTENT):,} bytes"):
        data.load("a")
    assert files(data_cache) == ["text/a.txt.lock", "text/a.txt.part"]
    assert data.load("a").text == TEXT
    assert data_server.requests[-1] == ("/text/a.txt", "bytes=300000-")


def test_server_that_is_briefly_unwell_is_asked_again(define, data_server):
    define()
    data_server.statuses = [503, 500]
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
def test_killed_download_leaves_no_half_file_and_no_lock(define, data_server, data_cache):
    entry = define()
    part = data_cache / "text/a.txt.part"
    data_server.gate = threading.Event()
    process = start_process(entry)
    wait_for(lambda: part.exists() and part.stat().st_size > 0)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert not (data_cache / "text/a.txt").exists()
    size = part.stat().st_size
    data_server.gate.set()
    assert data.load("a").text == TEXT
    assert data_server.requests[-1] == ("/text/a.txt", f"bytes={size}-")


def test_two_processes_share_one_download(define, data_server, data_cache):
    entry = define()
    data_server.gate = threading.Event()
    first = start_process(entry)
    wait_for(lambda: len(data_server.requests) == 1)
    second = start_process(entry)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(1)
    data_server.gate.set()
    for process in (first, second):
        assert process.communicate(timeout=30)[0].strip() == str(len(TEXT))
    assert len(data_server.requests) == 1
    assert (data_cache / "text/a.txt").read_bytes() == CONTENT
