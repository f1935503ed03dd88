"""Text and data sets for the labs: `load(name)` finds, checks and reads them. See README.md in this folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labkit.data.corpus import Contents, Corpus, Document
from labkit.data.errors import ChecksumError, DataUnavailable, UnknownData

if TYPE_CHECKING:
    from labkit.data.datasets import Available, Dataset

__all__ = ["ChecksumError", "Contents", "Corpus", "DataUnavailable", "Document", "UnknownData", "available", "load"]

# Every graded check imports this package afresh, so each function imports what it needs.


def load(name: str | Path, *, limit: int | None = None) -> Corpus:
    """The data set called `name`, or the local file at the path `name`, as a Corpus.

    name: a built-in (`python-docs`), an entry of datasets.toml (`tinyshakespeare`), or the path of a .txt, .jsonl,
        .json, .csv or .tsv file, which may be gzipped (`.txt.gz`).
    limit: at most so many documents or records, the first ones; None for all.

    A download happens here; reading happens when the corpus is used. Raises UnknownData for a name that does not
    exist, DataUnavailable when the data is not here and cannot be fetched, ChecksumError when a file is not the
    one it should be (all three are DataUnavailable).
    """
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise ValueError(f"limit: expected a positive whole number or None, got {limit!r}")
    if isinstance(name, str):
        from labkit.data.builtin import BUILT_IN
        from labkit.data.datasets import datasets

        if name in BUILT_IN:
            return BUILT_IN[name].load(limit)
        if name in datasets():
            return load_dataset(datasets()[name], limit)
    return load_file(name, limit)


def load_dataset(dataset: Dataset, limit: int | None) -> Corpus:
    from labkit.data.download import locate
    from labkit.data.formats import read_file

    path, copy = locate(dataset)
    return Corpus(
        name=dataset.name,
        licence=dataset.licence,
        source=dataset.homepage,
        read=lambda: read_file(path, dataset.form, dataset.columns, limit),
        path=path,
        versions={"sha256": copy.sha256},
    )


def load_file(name: str | Path, limit: int | None) -> Corpus:
    """A file of the user's own. A str that does not look like a path is a data set's name spelt wrong."""
    from labkit.data.formats import SUFFIXES, format_of, read_file

    path = Path(name).expanduser()
    if not path.exists() and isinstance(name, str) and path.name == name and not format_of(path):
        raise UnknownData(unknown_name(name))
    if not path.is_file():
        raise UnknownData(f"there is no file {path}" if not path.exists() else f"{path} is a folder, not a file")
    form = format_of(path)
    if form is None:
        raise UnknownData(f"{path}: expected a file ending in {', '.join(SUFFIXES)} (or one of these and .gz)")
    return Corpus(
        name=path.name,
        licence="unknown (a local file)",
        source="local file",
        read=lambda: read_file(path, form, limit=limit),
        path=path,
    )


def unknown_name(name: str) -> str:
    from difflib import get_close_matches

    from labkit.data.builtin import BUILT_IN
    from labkit.data.datasets import datasets

    close = get_close_matches(name, [*BUILT_IN, *datasets()])
    return (
        f"there is no data set {name!r}"
        + (f" (did you mean {' or '.join(close)}?)" if close else "")
        + f"; built in: {', '.join(BUILT_IN)}; to download: {', '.join(datasets())}"
        + "; or give the path of a .txt, .jsonl, .json, .csv or .tsv file"
    )


def available() -> list[Available]:
    """Every data set that `load` knows by name, the built-in ones first."""
    from labkit.data.builtin import BUILT_IN
    from labkit.data.datasets import Available, datasets
    from labkit.data.download import find_local

    rows = [Available(name, "built-in", None, item.licence, item.description, True) for name, item in BUILT_IN.items()]
    for name, item in datasets().items():
        kind = "download" if item.url else "mirror"
        rows.append(Available(name, kind, item.bytes, item.licence, item.description, find_local(item) is not None))
    return rows
