"""Readers for the file formats: running text, JSON lines, JSON, CSV and TSV, each also gzipped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

from labkit.data.corpus import Contents, Document

SUFFIXES = (".txt", ".jsonl", ".json", ".csv", ".tsv")
END_OF_TEXT = re.compile(r"^<\|endoftext\|>[ \t]*$", re.MULTILINE)
BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")


def format_of(path: Path) -> str | None:
    """The format its name promises ("txt", "jsonl" ...), .gz aside; None for any other kind of file."""
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    return suffix[1:] if suffix in SUFFIXES else None


def read_file(path: Path, form: str, columns: Sequence[str] | None = None, limit: int | None = None) -> Contents:
    """The contents of a file, at most `limit` documents or records of it.

    form: txt, lines (every line a document), jsonl, json, squad (SQuAD's nesting, one record per question), csv, tsv.
    columns: the names of the columns of a csv or tsv file without a header line.
    Raises ValueError naming the file, and the line where there is one, when it is not what `form` says.
    """
    import gzip
    import zlib

    if form == "binary":
        raise ValueError(f"{path.name} is not a text format: open its .path with the library that reads it")
    try:
        with open_text(path) as file:
            if form in ("txt", "lines"):
                return text_contents(file.read(), form, limit)
            rows = {"jsonl": json_lines, "json": json_rows, "squad": squad_rows}.get(form)
            records = rows(file) if rows else table_rows(file, form, columns)
            return Contents(records=list(islice(records, limit)))
    except UnicodeDecodeError as problem:
        raise ValueError(f"{path} is not UTF-8 text: {problem}") from None
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise ValueError(f"{path} is a damaged gzip file: {problem}") from None


def open_text(path: Path) -> TextIO:
    """The file as UTF-8 text, unpacked when its name ends in .gz; a byte order mark is dropped."""
    if path.name.endswith(".gz"):
        import gzip

        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def text_contents(text: str, form: str, limit: int | None) -> Contents:
    """Running text and its documents: between <|endoftext|> lines if there are any, otherwise between blank lines."""
    text = text.replace("\r\n", "\n")
    separator = re.compile("\n") if form == "lines" else END_OF_TEXT if END_OF_TEXT.search(text) else BLANK_LINES
    documents: list[Document] = []
    end = 0
    for start, stop in pieces(text, separator):
        if len(documents) == limit:
            return Contents(text=text[:end], documents=documents)
        piece = text[start:stop].strip()
        if piece:
            documents.append(Document(str(len(documents)), piece))
            end = stop
    return Contents(text=text, documents=documents)


def pieces(text: str, separator: re.Pattern) -> Iterator[tuple[int, int]]:
    """(start, stop) of what lies between the separators."""
    start = 0
    for match in separator.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def json_lines(file: TextIO) -> Iterator[dict]:
    import json

    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield must_be_object(json.loads(line), f"line {number}")
            except json.JSONDecodeError as problem:
                raise ValueError(f"line {number} is not JSON: {problem.msg}") from None


def json_rows(file: TextIO) -> Iterable[dict]:
    """A list of objects is a list of records; one object is one record."""
    import json

    value = json.load(file)
    return (must_be_object(row, f"item {i}") for i, row in enumerate(value if isinstance(value, list) else [value]))


def must_be_object(value: object, place: str) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: expected a JSON object, got {type(value).__name__}")
    return value


def squad_rows(file: TextIO) -> Iterator[dict]:
    """One record per question: id, context, question, answers (a list of {text, answer_start})."""
    import json

    for article in json.load(file)["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield {
                    "id": question["id"],
                    "context": paragraph["context"],
                    "question": question["question"],
                    "answers": question["answers"],
                }


def table_rows(file: TextIO, form: str, columns: Sequence[str] | None) -> Iterator[dict]:
    """Rows of a csv or tsv file as {column: str}. In a tsv file quotes are ordinary characters."""
    import csv

    csv.field_size_limit(2**31 - 1)  # the default of 128 KB is less than a long article
    options = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if form == "tsv" else {}
    reader = csv.reader(file, **options)
    try:
        columns = columns or next(reader, None)
        for row in reader:
            if row:
                if len(row) != len(columns):
                    wanted = f"expected {len(columns)}: {', '.join(columns)}"
                    raise ValueError(f"line {reader.line_num} has {len(row)} columns, {wanted}")
                yield dict(zip(columns, row, strict=True))
    except csv.Error as problem:
        raise ValueError(f"line {reader.line_num}: {problem}") from None
