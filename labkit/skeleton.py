"""Regions: the one source from which exercises, answers and mistakes are cut.

A region of ``solution.py`` stands between two quiet markers inside a function::

    # >>> slug (~4 lines): what to compute
    ...
    # <<< slug

and becomes, in the generated ``lab.py``::

    # TODO slug (~4 lines): what to compute
    raise NotImplementedError("TODO slug")
    # END TODO slug

Everything here is text in, text out; files are touched by `write_lab` and `update_lab` alone.
"""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
import textwrap
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from labkit.catalogue import Lab
from labkit.files import write_atomically

_OPEN = re.compile(r"^(?P<indent>[ \t]*)# (?P<kind>>>>|TODO) (?P<slug>[a-z0-9]+(?:-[a-z0-9]+)*)(?P<rest> \(.*?\): .*)$")
_CLOSE = re.compile(r"^[ \t]*# (?P<kind><<<|END TODO) (?P<slug>[a-z0-9]+(?:-[a-z0-9]+)*)[ \t]*$")
_STAMP = re.compile(r"^# labkit: lab (?P<id>\d+\.\d+), skeleton (?P<hash>[0-9a-f]{12})\b.*$")
_STAMP_TEXT = "# labkit: lab {id}, skeleton {hash}. Fill the TODOs; then: labkit check {id}"


class RegionError(ValueError):
    """The markers of a file are damaged; the message says where and how."""


@dataclass(frozen=True)
class Region:
    """One exercise: ``body`` is dedented, ``line`` is the 1-based line of the opening marker."""

    slug: str
    rest: str
    indent: str
    body: str
    line: int
    end: int

    @property
    def summary(self) -> str:
        return self.rest.split(": ", 1)[1]

    @property
    def untouched(self) -> bool:
        """True while the region holds nothing but the raise it was generated with."""
        code = [line.strip() for line in self.body.splitlines() if line.strip() and not line.strip().startswith("#")]
        return code == [f'raise NotImplementedError("TODO {self.slug}")']


def regions(text: str, kind: str) -> list[Region]:
    """The regions of a solution (``kind=">>>"``) or of a lab (``kind="TODO"``), in order.

    Raises RegionError on an unclosed, crossed or repeated region.
    """
    closing = {">>>": "<<<", "TODO": "END TODO"}[kind]
    found: list[Region] = []
    start: tuple[re.Match, int] | None = None
    lines = split_lines(text)
    for number, line in enumerate(lines, 1):
        if (match := _OPEN.match(line)) and match["kind"] == kind:
            if start is not None:
                raise RegionError(f"line {number}: region {match['slug']} opens before {start[0]['slug']} is closed")
            start = match, number
        elif (match := _CLOSE.match(line)) and match["kind"] == closing:
            if start is None or start[0]["slug"] != match["slug"]:
                raise RegionError(f"line {number}: '# {closing} {match['slug']}' closes nothing")
            opened, first = start
            body = textwrap.dedent("\n".join(lines[first : number - 1]).expandtabs(4))
            found.append(Region(opened["slug"], opened["rest"], opened["indent"], body, first, number))
            start = None
    if start is not None:
        raise RegionError(f"line {start[1]}: region {start[0]['slug']} is never closed")
    slugs = [region.slug for region in found]
    if len(slugs) != len(set(slugs)):
        twice = sorted({slug for slug in slugs if slugs.count(slug) > 1})
        raise RegionError(f"more than one region is called {', '.join(twice)}")
    return found


def split_lines(text: str) -> list[str]:
    """The lines as Python counts them: str.splitlines would also cut at form feeds and U+2028 inside a string."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


def todo_regions(text: str) -> list[Region]:
    return regions(text, "TODO")


@lru_cache(maxsize=128)
def solution_regions(text: str) -> tuple[Region, ...]:
    """The regions of a solution, each checked to lie inside one function (else RegionError)."""
    found = regions(text, ">>>")
    spans = [
        (node.lineno, node.end_lineno)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for region in found:
        if not any(first < region.line <= last for first, last in spans):
            raise RegionError(f"line {region.line}: region {region.slug} is not inside a function")
    return tuple(found)


# ---------------------------------------------------------------- generate and check


def skeleton(solution: str, lab_id: str) -> str:
    """The untouched ``lab.py`` of a solution, with its version stamp."""
    for region in reversed(solution_regions(solution)):
        solution = _replace(solution, region, f'raise NotImplementedError("TODO {region.slug}")')
    text = re.sub(r"^([ \t]*# )>>>( [a-z0-9-]+ \()", r"\1TODO\2", solution, flags=re.M)
    text = re.sub(r"^([ \t]*# )<<<( [a-z0-9-]+)[ \t]*$", r"\1END TODO\2", text, flags=re.M)
    return f"{_STAMP_TEXT.format(id=lab_id, hash=_digest(text))}\n{text}"


def edited(lab_text: str) -> bool:
    """True when a ``lab.py`` is somebody's work: it is not what its own stamp says was generated."""
    first, _, rest = lab_text.partition("\n")
    stamp = _STAMP.match(first)
    return stamp is None or stamp["hash"] != _digest(rest)


def stamped_lab(first_line: str) -> str | None:
    """The id of the lab whose stamp this is; None when it is no stamp."""
    stamp = _STAMP.match(first_line)
    return stamp["id"] if stamp else None


def fresh(lab: Lab) -> str:
    """The untouched ``lab.py``: generated from the solution, or the copy that a student edition keeps."""
    if lab.solution.is_file():
        return skeleton(lab.solution.read_text(encoding="utf-8"), lab.id)
    from labkit.grading.recorded import untouched

    return untouched(lab)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_lab(lab: Lab) -> str:
    """Writes ``lab.py`` unless it is edited. Returns "written", "unchanged" or "kept" (somebody's work)."""
    wanted = fresh(lab)
    if lab.lab_file.is_file():
        current = lab.lab_file.read_text(encoding="utf-8")
        if current == wanted:
            return "unchanged"
        if edited(current):
            return "kept"
    write_atomically(lab.lab_file, wanted)
    return "written"


def drifted(lab: Lab) -> bool:
    """True when an untouched ``lab.py`` is not what the solution would generate now."""
    if not lab.lab_file.is_file():
        return True
    current = lab.lab_file.read_text(encoding="utf-8")
    return not edited(current) and current != fresh(lab)


def backup(file: Path) -> Path:
    """Copies a file beside itself under a name with the time in it, and returns the copy."""
    copy = file.with_name(f"{file.stem}.backup-{time.strftime('%Y%m%d-%H%M%S')}{file.suffix}")
    number = 1
    while copy.exists():
        number += 1
        copy = file.with_name(f"{file.stem}.backup-{time.strftime('%Y%m%d-%H%M%S')}-{number}{file.suffix}")
    shutil.copy2(file, copy)
    return copy


def update_lab(lab: Lab) -> tuple[str, list[str], Path | None]:
    """Carries the answers of an edited ``lab.py`` by slug into a new skeleton.

    Returns the outcome ("updated" or "unchanged"), the slugs that have no place any more, and the backup.
    """
    current = lab.lab_file.read_text(encoding="utf-8")
    untouched = fresh(lab)
    answers = {region.slug: region.body for region in todo_regions(current) if not region.untouched}
    places = todo_regions(untouched)
    updated = untouched
    for region in reversed(places):
        if region.slug in answers:
            updated = _replace(updated, region, answers[region.slug])
    lost = sorted(set(answers) - {region.slug for region in places})
    if updated == current:
        return "unchanged", lost, None
    copy = backup(lab.lab_file) if edited(current) else None
    write_atomically(lab.lab_file, updated)
    return "updated", lost, copy


# ---------------------------------------------------------------- substitute


@dataclass(frozen=True)
class Composed:
    """A source made of two files. ``lines[i]`` is the learner's line of composed line i + 1, None where it is not."""

    text: str
    lines: tuple[int | None, ...]

    def learner_line(self, number: int) -> int | None:
        return self.lines[number - 1] if 0 < number <= len(self.lines) else None


def compose(learner: str, bodies: dict[str, str]) -> Composed:
    """The learner's file with the regions in ``bodies`` replaced; the others stay as they are.

    Raises RegionError when the learner's markers are damaged or a wanted region is missing.
    """
    found = {region.slug: region for region in todo_regions(learner)}
    if missing := sorted(set(bodies) - set(found)):
        raise RegionError(
            f"the markers of TODO {', '.join(missing)} are gone: each answer stands between "
            "'# TODO name (...): ...' and '# END TODO name'"
        )
    lines = split_lines(learner)
    text: list[str] = []
    numbers: list[int | None] = []
    position = 0
    for region in sorted(found.values(), key=lambda r: r.line):
        if region.slug not in bodies:
            continue
        text += lines[position : region.line]
        numbers += range(position + 1, region.line + 1)
        inserted = textwrap.indent(bodies[region.slug], region.indent).splitlines()
        text += inserted
        numbers += [None] * len(inserted)
        position = region.end - 1
    text += lines[position:]
    numbers += range(position + 1, len(lines) + 1)
    return Composed("\n".join(text) + "\n", tuple(numbers))


def substitute(solution: str, slug: str, body: str) -> str:
    """The solution with one region's body replaced: how mistakes and alternatives are made."""
    for region in solution_regions(solution):
        if region.slug == slug:
            return _replace(solution, region, body)
    raise RegionError(f"there is no region {slug}")


def _replace(text: str, region: Region, body: str) -> str:
    lines = split_lines(text)
    inserted = textwrap.indent(body, region.indent).splitlines()
    return "\n".join(lines[: region.line] + inserted + lines[region.end - 1 :]) + "\n"
