"""What `labkit.data.load` returns: a named body of text whose contents are read when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Document:
    """One text with a title, for example an article, a story or a docstring."""

    title: str
    text: str


@dataclass
class Contents:
    """What a reader found. It fills in what its format has and leaves the rest None."""

    text: str | None = None
    documents: list[Document] | None = None
    records: list[dict] | None = None


@dataclass(frozen=True)
class Corpus:
    """A data set. Nothing is read until `documents`, `text` or `records` is used, and then only once.

    path: the file it is read from; None for a built-in corpus.
    licence, source: on what terms it may be used, and where it comes from.
    versions: what decides its contents: package versions for `python-docs`, the sha256 of a downloaded file.
    read: the function that produces the contents, with any limit already applied.
    """

    name: str
    licence: str
    source: str
    read: Callable[[], Contents] = field(repr=False, compare=False)
    path: Path | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @cached_property
    def _contents(self) -> Contents:
        return self.read()

    @cached_property
    def documents(self) -> list[Document]:
        """The texts one by one. A data set of records gives one document per record."""
        contents = self._contents
        if contents.documents is None:
            return [record_document(record, i) for i, record in enumerate(contents.records or [])]
        return contents.documents

    @cached_property
    def text(self) -> str:
        """Everything as one string: a text file as it stands, otherwise the documents joined by blank lines."""
        if self._contents.text is None:
            return "\n\n".join(document.text for document in self.documents)
        return self._contents.text

    @cached_property
    def records(self) -> list[dict]:
        """The rows of a jsonl, csv, tsv or json data set. Raises ValueError for running text."""
        if self._contents.records is None:
            raise ValueError(f"{self.name} is running text and has no records: use .documents or .text")
        return self._contents.records


def record_document(record: dict, index: int) -> Document:
    """The text of a record: its `text` field if it has one, else all its strings, one per line, else its JSON."""
    titles = (str(record[key]) for key in ("title", "_id", "id") if record.get(key) not in (None, ""))
    text = record.get("text")
    if not isinstance(text, str):
        text = "\n".join(value for value in record.values() if isinstance(value, str)) or as_json(record)
    return Document(next(titles, str(index)), text)


def as_json(record: dict) -> str:
    import json

    return json.dumps(record, ensure_ascii=False)
