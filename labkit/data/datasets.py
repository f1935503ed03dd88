"""The downloadable data sets, read from datasets.toml."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Dataset:
    """One entry of datasets.toml.

    path, bytes, sha256: the file in a mirror.      records: how many records, lines or documents it holds.
    form, columns: how `formats.read_file` reads it.
    url: an address that serves the same bytes; with url_sha256 and url_bytes, the same file before we gzipped it.
    homepage, change: where the original is and what was done to it; the change is why some entries have no url.
    """

    name: str
    path: str
    bytes: int
    sha256: str
    licence: str
    description: str
    form: str
    homepage: str
    records: int | None = None
    columns: tuple[str, ...] | None = None
    url: str | None = None
    url_bytes: int | None = None
    url_sha256: str | None = None
    change: str | None = None


class Available(NamedTuple):
    """A row of `labkit.data.available()`.

    kind: "built-in", "download", or "mirror" when only a mirror has it.      cached: no network is needed to load it.
    bytes: the size of the file; None for a built-in, whose size depends on versions.
    """

    name: str
    kind: str
    bytes: int | None
    licence: str
    description: str
    cached: bool


@cache
def datasets() -> dict[str, Dataset]:
    """Every entry of datasets.toml by name."""
    import tomllib

    with Path(__file__).with_name("datasets.toml").open("rb") as file:
        entries = tomllib.load(file)
    return {name: Dataset(name=name, **entry) for name, entry in entries.items()}
