"""The data sets that need no network. To add one, write a function that returns a Corpus and enter it in BUILT_IN."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labkit.data.cache import cache_folder
from labkit.data.corpus import Contents, Corpus, Document
from labkit.files import write_atomically


@dataclass(frozen=True)
class BuiltIn:
    """A data set made on this machine: load(limit) -> Corpus; the rest is what `labkit.data.available()` shows."""

    load: Callable[[int | None], Corpus]
    description: str
    licence: str


def python_docs(limit: int | None) -> Corpus:
    """Topics and docstrings of Python and numpy: 4 MB, more than 10,000 documents on a core install."""
    return docs_corpus("python-docs", ("numpy",), limit)


def python_docs_and_packages(limit: int | None) -> Corpus:
    """`python-docs` and the docstrings of the larger packages, as far as they are installed."""
    return docs_corpus("python-docs+packages", ("numpy", "scipy", "sklearn", "torch", "transformers"), limit)


def docs_corpus(name: str, packages: Iterable[str], limit: int | None) -> Corpus:
    versions = installed_versions(packages)
    return Corpus(
        name=name,
        licence=BUILT_IN[name].licence,
        source="help() topics and docstrings of the installed " + ", ".join(versions),
        read=lambda: Contents(documents=cached_documents(name, versions)[:limit]),
        versions=versions,
    )


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python and of those of the packages (import names) that are installed."""
    import platform
    from importlib import metadata

    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = metadata.version({"sklearn": "scikit-learn"}.get(package, package))
        except metadata.PackageNotFoundError:
            continue
    return versions


def cached_documents(name: str, versions: dict[str, str]) -> list[Document]:
    """The documents from the user's cache, else collected and cached. A cache that cannot be used is done without."""
    import json
    import sys

    path = docs_cache_path(name, versions)
    try:
        return [Document(title, text) for title, text in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):  # not there yet, or damaged
        from labkit.data.docstrings import collect

        if sys.stderr.isatty():
            print(f"collecting {name}, once for these versions ...", file=sys.stderr)
        pairs = collect(package for package in versions if package != "python")
    with suppress(OSError):  # a read-only or full disk costs the next run two seconds, nothing else
        write_atomically(path, json.dumps(pairs).encode("ascii"))
    return [Document(title, text) for title, text in pairs]


def docs_cache_path(name: str, versions: dict[str, str]) -> Path:
    """One file for each set of versions, each installation of Python and each way of collecting."""
    import hashlib
    import sys
    import sysconfig

    collector = Path(__file__).with_name("docstrings.py").read_bytes()
    key = repr([versions, sys.version, sysconfig.get_path("stdlib"), sys.prefix, collector])
    return cache_folder() / "built-in" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


BUILT_IN: dict[str, BuiltIn] = {
    "python-docs": BuiltIn(
        python_docs,
        "the Python manual's help topics and the docstrings of the standard library and numpy",
        "PSF-2.0 (Python), BSD-3-Clause (numpy)",
    ),
    "python-docs+packages": BuiltIn(
        python_docs_and_packages,
        "python-docs and the docstrings of scipy, scikit-learn, torch and transformers, where installed",
        "PSF-2.0 (Python), BSD-3-Clause (numpy, scipy, scikit-learn, torch), Apache-2.0 (transformers)",
    ),
}
