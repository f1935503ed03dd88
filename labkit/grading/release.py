"""Writes a part of this repository that works by itself: a student edition, or what an autograder needs.

A *student edition* has no solutions, no mistakes and no walkthroughs; its checks compare with recorded cases (see
`labkit.grading.recorded`). Labs that the released ones use, without being released themselves, come complete: nobody
is asked to write them.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from labkit import catalogue, skeleton
from labkit.catalogue import Lab, Phase
from labkit.files import write_atomically
from labkit.grading import mistakes
from labkit.grading.checks import recording
from labkit.grading.recorded import record

EDITION = Path(__file__).parent / "edition"
PACKAGE = Path(__file__).resolve().parents[1]
PROJECT = ("pyproject.toml", "constraints.txt", "LICENSE", ".gitignore")
JUNK = shutil.ignore_patterns("__pycache__", "*.pyc", "out", ".*", "*.backup-*", "lab.backup*")
# What of labkit is for those who have the reference, and what of its grading a learner needs.
INSTRUCTORS = {"proving.py", "generate.py", "cli_grade.py"}
LEARNERS = {
    *(
        "__init__",
        "answers",
        "archives",
        "checks",
        "compare",
        "diagnose",
        "engine",
        "grade",
        "mistakes",
        "oracle",
        "plugin",
    ),
    *("recorded", "render", "report", "session", "submission", "verdicts", "wire", "worker"),
}
GRADED = """\
In this student edition each TODO is judged together with your own other TODOs, against recorded cases; what follows
describes how your instructor grades, with the reference and on fresh inputs.
"""


def chosen(text: str) -> list[Lab]:
    """The labs of a list such as ``4.1-4.4,1.1``; a range follows the course. ValueError on what is not there."""
    order = list(catalogue.labs())
    found: dict[Lab, None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = part.partition("-") if re.fullmatch(r"[\d.]+-[\d.]+", part) else (part, "", part)
        span = order[order.index(catalogue.find(first)) : order.index(catalogue.find(last)) + 1]
        if not span:
            raise ValueError(f"--labs: the range {part} runs backwards")
        found |= dict.fromkeys(span)
    if not found:
        raise ValueError("--labs: name at least one lab, as in 4.1-4.4,1.1")
    return sorted(found, key=lambda lab: lab.order)


def used_by(labs: Iterable[Lab]) -> list[Lab]:
    """The labs whose reference these labs import, directly or not, and which are not among them."""
    labs = list(labs)
    found: dict[str, Lab] = {}
    todo = [name for lab in labs for name in lab.uses]
    while todo:
        lab = catalogue.find(todo.pop())
        if lab not in labs and lab.id not in found:
            found[lab.id] = lab
            todo += lab.uses
    return sorted(found.values(), key=lambda lab: lab.order)


# ---------------------------------------------------------------- the student edition


def release(target: Path, labs: list[Lab], say: Callable[[str], None] = print) -> None:
    """Writes a student edition of these labs. ValueError, and nothing written, when it would give an answer away."""
    libraries = used_by(labs)
    for library in libraries:
        if back := [lab.id for lab in labs if lab.id in library.uses]:
            raise ValueError(f"lab {library.id} lies between labs of this release (it uses {', '.join(back)}): add it")
    if target.exists() and any(target.iterdir()):
        raise ValueError(f"{target} is not empty")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        root = Path(folder) / "edition"
        grading = {f"grading/{path.name}" for path in Path(__file__).parent.iterdir() if path.stem not in LEARNERS}
        copy_package(root, INSTRUCTORS | grading, libraries)
        shutil.copy2(EDITION / "cli_grade.py", root / "labkit" / "cli_grade.py")
        for lab in libraries:
            copy_lab(root, lab)
        for lab in labs:
            say(f"{lab}: recording its cases")
            _release_lab(root, lab)
        _front_page(root, labs)
        for file in sorted(root.rglob("*.md")):
            write_atomically(file, unlinked(file.read_text(encoding="utf-8"), file.parent))
        if leaks := [line for lab in labs for line in leaked(root, lab)]:
            raise ValueError("the edition would give answers away:\n" + "\n".join(leaks))
        if target.exists():
            target.rmdir()
        os.rename(root, target)


def _release_lab(root: Path, lab: Lab) -> None:
    without = {"solution.py", "lab.py", "bench.py"}  # the bench measures the reference
    shutil.copytree(lab.path, _place(root, lab.path), ignore=_ignoring(lab.path, without), dirs_exist_ok=True)
    write_atomically(_place(root, lab.lab_file), skeleton.fresh(lab))
    write_atomically(_place(root, recording(lab)), record(lab))
    for file in (lab.checks_file, lab.drivers_file):
        _copy(root, file)
    for page in _place(root, lab.path).glob("*.md"):
        write_atomically(page, student_page(page.read_text(encoding="utf-8")))
    _copy_phase(root, lab.phase)


def student_page(text: str) -> str:
    """A page of a lab without its walkthrough, for somebody who has ``lab.py`` only."""
    parts = []
    for heading, section in sections(text):
        if heading == "Walkthrough":
            continue
        if heading == "How it is graded":
            section = section.replace("\n", f"\n\n{GRADED}", 1)
        parts.append(section)
    return "".join(parts).replace("solution.py", "lab.py")


def sections(text: str) -> list[tuple[str, str]]:
    """The text cut at its ``##`` headings (not at those inside fences): (heading, the section with it)."""
    found = [("", "")]
    fenced = False
    for line in text.splitlines(keepends=True):
        fenced ^= line.lstrip().startswith("```")
        if line.startswith("## ") and not fenced:
            found.append((line[3:].strip(), ""))
        found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def unlinked(text: str, folder: Path) -> str:
    """The text with links to files that this edition does not have turned into plain words."""

    def keep(match: re.Match) -> str:
        words, place = match[1], match[2].partition("#")[0]
        gone = place and "://" not in place and not place.startswith("mailto:") and not (folder / place).exists()
        return words if gone else match[0]

    return re.sub(r"!?\[([^\]\[]*)\]\(([^()\s]+)\)", keep, text)


def _front_page(root: Path, labs: list[Lab]) -> None:
    rows = [f"| {lab.id} | [{lab.title}]({lab.phase.path.name}/{lab.path.name}/) | {lab.minutes} |" for lab in labs]
    table = "\n".join(["", "| | Lab | Minutes |", "|---|---|---:|", *rows, ""])
    text = (EDITION / "README.md").read_text(encoding="utf-8")
    text = text.replace("<!--lab table-->\n<!--end of lab table-->\n", table)
    text = text.replace("{first}", labs[0].id).replace("{phase}", str(labs[0].phase.number))
    write_atomically(root / "README.md", text)
    shutil.copy2(EDITION / "Makefile", root / "Makefile")


def leaked(root: Path, lab: Lab) -> list[str]:
    """The files of an edition in which the answer to one of the lab's TODOs stands, word for word."""
    bodies = {slug: _plain(body) for slug, body in mistakes.reference_bodies(lab).items()}
    long = {slug: body for slug, body in bodies.items() if len(body) > 60}  # a shorter one may well stand in a formula
    found = []
    for file in sorted(root.rglob("*")):
        if file.suffix in (".py", ".pyi", ".md", ".toml", ".txt") and file.name != "hints.md":
            text = _plain(file.read_text(encoding="utf-8"))
            found += [f"{file.relative_to(root)}: TODO {slug}" for slug, body in long.items() if body in text]
    return found


def _plain(code: str) -> str:
    """Code without comments, indentation and line ends."""
    return " ".join(" ".join(line.split("  #")[0].split()) for line in code.splitlines() if line.strip())


# ---------------------------------------------------------------- parts of this repository


def copy_package(root: Path, without: set[str], labs: Iterable[Lab]) -> None:
    """labkit itself and the files of the project, with the import stubs of these labs only."""
    stubs = {f"reference/{file.name}" for file in (PACKAGE / "reference").glob("*.pyi")}
    stubs -= {f"reference/{lab.module}.pyi" for lab in labs}
    shutil.copytree(PACKAGE, root / "labkit", ignore=_ignoring(PACKAGE, without | stubs))
    for name in PROJECT:
        if (catalogue.ROOT / name).is_file():
            shutil.copy2(catalogue.ROOT / name, root / name)


def copy_lab(root: Path, lab: Lab) -> None:
    """A lab with everything: solution, checks, mistakes; its ``lab.py`` untouched."""
    shutil.copytree(lab.path, _place(root, lab.path), ignore=_ignoring(lab.path, {"lab.py"}), dirs_exist_ok=True)
    write_atomically(_place(root, lab.lab_file), skeleton.fresh(lab))
    for file in (lab.checks_file, lab.drivers_file, lab.mistakes_file):
        _copy(root, file)
    _copy_phase(root, lab.phase)


def _copy_phase(root: Path, phase: Phase) -> None:
    """The phase's own pages, its table of labs cut down to the labs that are there."""
    for file in sorted(phase.path.glob("*.md")):
        text = file.read_text(encoding="utf-8")
        for lab in phase.labs:
            if not _place(root, lab.path).is_dir():
                text = re.sub(rf"^\| {re.escape(lab.id)} \| \[.*\n", "", text, flags=re.M)
        write_atomically(_place(root, file), text)


def _place(root: Path, file: Path) -> Path:
    return root / file.relative_to(catalogue.ROOT)


def _copy(root: Path, file: Path) -> None:
    if file.is_file():
        _place(root, file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, _place(root, file))


def _ignoring(top: Path, without: set[str]) -> Callable[[str, list[str]], set[str]]:
    """What ``shutil.copytree`` leaves out: junk, and the paths in ``without``, relative to ``top``."""

    def ignore(folder: str, names: list[str]) -> set[str]:
        here = Path(folder).relative_to(top)
        return set(JUNK(folder, names)) | {name for name in names if (here / name).as_posix() in without}

    return ignore
