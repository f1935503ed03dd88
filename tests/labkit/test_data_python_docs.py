"""labkit.data: the built-in corpus of topics and docstrings."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import data
from labkit.data import builtin, docstrings

ROOT = Path(data.__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def corpus(shared_cache, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(shared_cache))
    return data.load("python-docs")


def digest(documents):
    return hashlib.sha256(json.dumps([[d.title, d.text] for d in documents]).encode()).hexdigest()


# ---------------------------------------------------------------- the corpus


def test_ten_thousand_documents_each_once(corpus):
    assert len(corpus.documents) >= 10_000
    assert len({document.title for document in corpus.documents}) == len(corpus.documents)
    assert len({document.text for document in corpus.documents}) == len(corpus.documents)
    assert all(document.text == document.text.strip() != "" for document in corpus.documents)
    assert corpus.text == "\n\n".join(document.text for document in corpus.documents)
    assert len(corpus.text.encode("utf-8")) > 3_000_000


@pytest.mark.parametrize(
    ("title", "words"),
    {
        "csv.reader": "iterable",  # written in C
        "math.sqrt": "square root",
        "builtins.str.split": "substrings",
        "json.dumps": "Serialize",  # written in Python
        "argparse.ArgumentParser": "parsing command line",
        "topic: for": "iterate",
        "numpy.linalg.svd": "Singular Value Decomposition",
        "numpy.median": "along the specified axis",
        "numpy.ndarray.strides": "Tuple of bytes",  # written in C, documented by add_newdoc
    }.items(),
)
def test_titles_are_the_names_users_know(corpus, title, words):
    texts = {document.title: document.text for document in corpus.documents}
    assert words in texts[title]


def test_versions_say_what_it_was_made_from(corpus):
    import platform

    import numpy

    assert corpus.versions == {"python": platform.python_version(), "numpy": numpy.__version__}
    assert "PSF" in corpus.licence and corpus.path is None


def test_limit_takes_the_first_documents(corpus):
    assert data.load("python-docs", limit=500).documents == corpus.documents[:500]
    kinds = {document.title.partition(".")[0] for document in corpus.documents[:500]}
    assert {"numpy", "builtins"} < kinds and len(kinds) > 50, "a first part should be a sample of the whole"


def test_another_process_with_another_cache_and_hash_seed_makes_the_same(corpus, tmp_path):
    code = """
import sys
before = set(sys.modules)
from labkit import data
documents = data.load("python-docs").documents
import hashlib, json
print(hashlib.sha256(json.dumps([[d.title, d.text] for d in documents]).encode()).hexdigest())
parsed = {"numpy", "this", "antigravity", "tkinter", "asyncio", "_tkinter", "readline"}
print(sorted(parsed & set(sys.modules) - before))
"""
    env = os.environ | {"LABKIT_CACHE": str(tmp_path), "PYTHONHASHSEED": "7"}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
    same, imported = run.stdout.splitlines()
    assert same == digest(corpus.documents)
    assert imported == "[]", "collecting must not import what it reads"


def test_packages_come_on_top(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(docstrings, "collect", lambda packages: [(package, package) for package in packages])
    corpus = data.load("python-docs+packages")
    assert {"numpy", "scipy"} <= {document.title for document in corpus.documents}
    assert set(corpus.versions) == {"python", *(document.title for document in corpus.documents)}


# ---------------------------------------------------------------- its cache


@pytest.fixture
def collected(monkeypatch, tmp_path):
    """A fast stand-in for the collector; the list grows by one with each collection."""
    calls = []

    def collect(packages):
        calls.append(list(packages))
        return [("title", f"text {len(calls)} é \ud800")]

    monkeypatch.setattr(docstrings, "collect", collect)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    return calls


def test_second_load_reads_the_cache(collected, tmp_path):
    first = data.load("python-docs").documents
    assert data.load("python-docs").documents == first
    assert collected == [["numpy"]]
    assert len(list(tmp_path.rglob("*"))) == 2, "one folder, one file, nothing temporary"


def test_another_version_is_collected_anew(collected, monkeypatch):
    installed = {"python": "3.11.7", "numpy": "2.4.6"}
    monkeypatch.setattr(builtin, "installed_versions", lambda packages: dict(installed))
    data.load("python-docs").documents  # noqa: B018
    installed["numpy"] = "2.5.0"
    assert data.load("python-docs").documents[0].text.startswith("text 2")
    installed["numpy"] = "2.4.6"
    assert data.load("python-docs").documents[0].text.startswith("text 1")
    monkeypatch.setattr(sys, "version", sys.version + " another build")
    assert data.load("python-docs").documents[0].text.startswith("text 3")


@pytest.mark.parametrize("damage", ["", "[[", '{"a": 1}', "[1, 2]", '[["only a title"]]'])
def test_damaged_cache_is_made_again(collected, tmp_path, damage):
    good = data.load("python-docs").documents
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.write_text(damage)
    assert [document.title for document in data.load("python-docs").documents] == [good[0].title]
    assert data.load("python-docs").documents[0].text.startswith("text 2")
    assert len(collected) == 2


def test_cache_that_cannot_be_written_is_done_without(collected, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "file"))
    assert data.load("python-docs").documents[0].title == "title"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ---------------------------------------------------------------- the collector

SOURCE = '''
"""Module."""
raise SystemExit("imported!")

if True:
    def under_if():
        """Under if."""
else:
    def under_if():
        """A second one under the same name."""

try:
    async def under_try():
        """Under try."""
except ImportError:
    class Fallback:
        """Under except."""

class Outer:
    """Outer.

        Indented.
    """
    def method(self):
        "No triple quotes, still a docstring."
        def inner():
            """Not reachable by a name."""
    class Inner:
        """Inner."""
    def bare(self):
        return """not a docstring"""
    def blank(self):
        """   """
    def byte(self):
        b"""not text"""

add_newdoc("pack._core.umath", "sin", """Sine.""")
add_newdoc("pack._core.multiarray", "ndarray", ("T", """
    Transposed.
    """))
add_newdoc("short", """By the function's name only.""")
add_newdoc("pack", name, """Not a constant.""")
other_call("pack", "x", """Not a docstring.""")
'''


def test_docstrings_of_a_source_tree(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "not-a-package").mkdir()
    (tmp_path / "mod.py").write_text(SOURCE)
    (tmp_path / "sub/__init__.py").write_text('"""Sub, with an invalid \\. escape."""')
    (tmp_path / "sub/latin.py").write_bytes(b'# coding: latin-1\n"""caf\xe9"""')
    for name in ["tests/t.py", "test_x.py", "not-a-package/x.py"]:
        (tmp_path / name).write_text('"""Skipped."""')
    for name, content in {"python2.py": b'"""x"""\nprint 1', "nul.py": b'"""x"""\0', "bad.py": b'"""\xff"""'}.items():
        (tmp_path / name).write_bytes(content)
    assert list(docstrings.source_docs(tmp_path, "pack")) == [
        ("pack.mod", "Module."),
        ("pack.mod.under_if", "Under if."),
        ("pack.mod.under_if", "A second one under the same name."),
        ("pack.mod.under_try", "Under try."),
        ("pack.mod.Fallback", "Under except."),
        ("pack.mod.Outer", "Outer.\n\nIndented."),
        ("pack.mod.Outer.method", "No triple quotes, still a docstring."),
        ("pack.mod.Outer.Inner", "Inner."),
        ("pack._core.umath.sin", "Sine."),
        ("pack._core.multiarray.ndarray.T", "Transposed."),
        ("pack.mod.short", "By the function's name only."),
        ("pack.sub", "Sub, with an invalid \\. escape."),
        ("pack.sub.latin", "café"),
    ]


@pytest.mark.parametrize(
    ("title", "public"),
    {
        "numpy._core.numeric.ones": "numpy.ones",
        "numpy._core.numeric._helper": "numpy._core.numeric._helper",
        "numpy._core.numeric": "numpy._core.numeric",
        "numpy.lib._function_base_impl.median": "numpy.median",
        "numpy.lib.scimath.sqrt": "numpy.lib.scimath.sqrt",
        "numpy.linalg._linalg.svd": "numpy.linalg.svd",
        "scipy.stats._continuous_distns.norm_gen.fit": "scipy.stats.norm_gen.fit",
        "scipy._lib._util.check": "scipy._lib._util.check",
        "_pydecimal.Decimal": "_pydecimal.Decimal",
        "json.decoder._private": "json.decoder._private",
        "topic: for": "topic: for",
    }.items(),
)
def test_public_names(title, public):
    assert docstrings.public_name(title) == public


def test_titles_and_texts_are_kept_once(monkeypatch):
    pairs = [("a._x.f", "one"), ("a._y.f", "two"), ("b", "one"), ("a._y.f", "three"), ("a.f", "four")]
    monkeypatch.setattr(docstrings, "topic_docs", lambda: iter(pairs))
    monkeypatch.setattr(docstrings, "c_docs", lambda: iter([]))
    monkeypatch.setattr(docstrings, "source_docs", lambda *_: iter([]))
    assert sorted(docstrings.collect([])) == [("a._y.f", "two"), ("a.f", "one")]


def test_garbage_collector_is_back_on_after_collecting(tmp_path):
    import gc

    generator = docstrings.source_docs(ROOT / "labkit/data", "x")
    next(generator)
    generator.close()
    assert gc.isenabled()
