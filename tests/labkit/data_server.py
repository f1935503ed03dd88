"""A web server that misbehaves as told, and a data set on it: for the tests of labkit.data's downloads.

The test modules import it and name it in `pytest_plugins`, hence PYTEST_DONT_REWRITE (it asserts nothing).
"""

import hashlib
import os
import random
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from labkit.data import datasets, download

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
def data_server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def data_cache(tmp_path, monkeypatch):
    """An empty cache folder, no mirror, no proxy."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name == "LABKIT_MIRROR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE", 0)
    return tmp_path / "cache"


@pytest.fixture
def define(monkeypatch, data_server, data_cache):
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
            "url": f"{data_server.url}/text/a.txt",
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
