"""A lab's classic mistakes and alternative answers, each a small edit of the reference."""

from __future__ import annotations

import contextlib
import importlib
import io
import textwrap
import tokenize
import tomllib
import types
from dataclasses import dataclass
from functools import cache
from typing import Any

from labkit import catalogue, skeleton
from labkit.catalogue import Lab
from labkit.grading import worker


@dataclass(frozen=True)
class Mistake:
    name: str
    todo: str
    find: str
    replace: str
    hint: str
    caught_by: str


@dataclass(frozen=True)
class Alternative:
    name: str
    todo: str
    body: str


@dataclass(frozen=True)
class Remark:
    """What is said of a right answer that calls what the TODO asks to build. It costs no points."""

    todo: str
    calls: str
    text: str


@dataclass(frozen=True)
class Variants:
    """Everything in a lab's mistakes file."""

    mistakes: tuple[Mistake, ...]
    alternatives: tuple[Alternative, ...]
    remarks: tuple[Remark, ...] = ()

    def of(self, todo: str | None) -> tuple[Mistake, ...]:
        return tuple(m for m in self.mistakes if todo is None or m.todo == todo)


@cache
def variants(lab: Lab) -> Variants:
    """Reads the mistakes file; ValueError names the entry and the field that is wrong."""
    file = lab.mistakes_file
    if not file.is_file():
        return Variants((), ())
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    if unknown := set(data) - {"mistake", "alternative", "remark"}:
        raise ValueError(f"{file}: unknown tables {sorted(unknown)}")
    return Variants(
        tuple(_entry(file, Mistake, raw) for raw in data.get("mistake", [])),
        tuple(_entry(file, Alternative, raw) for raw in data.get("alternative", [])),
        tuple(_entry(file, Remark, raw) for raw in data.get("remark", [])),
    )


def _entry(file: Any, kind: type, raw: dict) -> Any:
    fields = set(kind.__dataclass_fields__)
    if set(raw) != fields or not all(isinstance(value, str) for value in raw.values()):
        name = raw.get("name", raw.get("todo"))
        raise ValueError(f"{file}: {kind.__name__.lower()} {name!r} must have the strings {sorted(fields)}")
    return kind(**raw)


@cache
def reference_source(lab: Lab) -> str:
    return lab.solution.read_text(encoding="utf-8")


@cache
def reference_bodies(lab: Lab) -> dict[str, str]:
    return {region.slug: region.body for region in skeleton.solution_regions(reference_source(lab))}


def mistaken_body(lab: Lab, mistake: Mistake) -> str:
    """The region's body with the mistake made. ValueError when ``find`` does not match exactly once."""
    body = reference_bodies(lab).get(mistake.todo)
    if body is None:
        raise ValueError(f"mistake {mistake.name}: there is no TODO {mistake.todo}")
    find, replace = (textwrap.dedent(text).strip("\n") for text in (mistake.find, mistake.replace))
    if body.count(find) != 1:
        raise ValueError(
            f"mistake {mistake.name}: its find text occurs {body.count(find)} times in TODO {mistake.todo}"
        )
    return body.replace(find, replace)


def alternative_body(alternative: Alternative) -> str:
    return textwrap.dedent(alternative.body).strip("\n")


def remarks(lab: Lab, todo: str | None, body: str) -> tuple[str, ...]:
    """The texts of the remarks on a body of a TODO: those whose function it names.

    Read as tokens: a stranger's text can be nested so deeply that parsing it would end this process.
    """
    wanted = [remark for remark in variants(lab).remarks if remark.todo == todo]
    names = set()
    with contextlib.suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(body).readline) if wanted else ():
            names |= {token.string} if token.type == tokenize.NAME else set()
    return tuple(remark.text for remark in wanted if remark.calls in names)


@cache
def reference_module(lab: Lab) -> types.ModuleType:
    """The reference, imported: ``labkit.reference.<module>`` for the labs of this repository."""
    if lab.phase.path.parent == catalogue.ROOT:
        return importlib.import_module(f"labkit.reference.{lab.module}")
    return worker.load(f"labkit_reference_{lab.module}", reference_source(lab), str(lab.solution))


@cache
def mistaken_module(lab: Lab, name: str) -> types.ModuleType:
    """The reference with one mistake made, imported here: it is this repository's own code."""
    mistake = next(m for m in variants(lab).mistakes if m.name == name)
    source = skeleton.substitute(reference_source(lab), mistake.todo, mistaken_body(lab, mistake))
    return worker.load(f"labkit_mistake_{lab.module}_{name.replace('-', '_')}", source, str(lab.solution))
