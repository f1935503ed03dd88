"""Takes in what strangers hand in: a folder, zip or tar from which only the wanted ``lab.py`` files are ever read.

Nothing is unpacked to disk and no link is followed. Whatever is wrong with a submission becomes a sentence in it; only
what is the grader's own trouble (a disk that cannot be read) counts as ``broken``.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from labkit import skeleton
from labkit.catalogue import Lab
from labkit.grading.archives import JUNK, Refused, read_archive, read_folder, shown

LAB_BYTES = 1_000_000
MEMBERS = 20_000
LOOSE = 50  # single .py files looked into for a version stamp
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
FOREIGN = (".rar", ".7z", ".gz", ".bz2", ".xz", ".zst", ".tbz2", ".txz", ".egg", ".whl")


def lab_file(folder: Path, lab: Lab) -> Path | None:
    """The file for one lab in a folder of one's own making: in the repository's place, or named like the lab."""
    for place in _places(lab):
        if (folder / place).is_file():
            return folder / place
    return None


def _places(lab: Lab) -> list[str]:
    name = lab.path.name
    folders = [f"{lab.phase.path.name}/{name}/lab.py", f"{name}/lab.py"]
    return folders + [f"{stem}.py" for stem in dict.fromkeys((name, lab.slug, lab.module, lab.id))]


# ---------------------------------------------------------------- the folder of submissions


@dataclass(frozen=True)
class Source:
    """One entry of the folder of submissions. ``name`` is safe as a folder's name and unique in the batch."""

    name: str
    path: Path


def discover(folder: Path) -> tuple[list[Source], list[str]]:
    """The submissions in a folder, by name, and a line for everything in it that is none."""
    entries = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name not in JUNK]
    sources: list[Source] = []
    ignored = []
    taken: set[str] = set()
    for path in sorted(entries, key=lambda path: (not path.is_dir(), os.fsencode(path.name))):
        lower = path.name.lower()
        suffix = next((s for s in sorted((*ARCHIVES, *FOREIGN), key=len, reverse=True) if lower.endswith(s)), "")
        if not path.is_dir() and not path.is_symlink() and not suffix:
            ignored.append(f"{shown(path.name)}: neither a folder nor an archive, ignored")
            continue
        stem = path.name if path.is_dir() else path.name[: len(path.name) - len(suffix)]
        name = next(n for n in (safe_name(stem), safe_name(path.name), _hashed(path.name)) if n.lower() not in taken)
        taken.add(name.lower())
        sources.append(Source(name, path))
    return sorted(sources, key=lambda source: source.name), ignored


def safe_name(text: str) -> str:
    """The text as the name of a folder: what is odd in it is replaced, and a hash then keeps it apart from others."""
    safe = re.sub(r"[^\w.,+@() -]+", "_", text).strip("._- ")[:80]
    return safe if safe == text else _hashed(text)


def _hashed(text: str) -> str:
    digest = hashlib.sha256(os.fsencode(text)).hexdigest()[:6]
    safe = re.sub(r"[^\w.,+@() -]+", "_", text).strip("._- ")[:80]
    return f"{safe}-{digest}" if safe else f"submission-{digest}"


# ---------------------------------------------------------------- one submission


@dataclass(frozen=True)
class LabText:
    """A ``lab.py``: the name it had in the submission, and its text with plain line ends."""

    file: str
    text: str


@dataclass
class Submission:
    """What somebody handed in. All keys are lab ids.

    refused: why a file is not accepted.  broken: why the grader could not read a file.  notes: lines for the report.
    failure: why the grader could not read the submission at all.
    """

    labs: dict[str, LabText] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failure: str = ""

    @property
    def digest(self) -> str:
        """Names what there is to grade; equal digests grade alike."""
        parts = [sorted((key, lab.file, lab.text) for key, lab in self.labs.items())]
        parts += [sorted(self.refused.items()), sorted(self.broken.items()), self.notes, self.failure]
        return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()


def read(path: Path, labs: Iterable[Lab]) -> Submission:
    """Reads one submission: the files of these labs and nothing else."""
    intake = _Intake(list(labs))
    try:
        if path.is_symlink():
            raise Refused("it is a symbolic link")
        if path.is_dir():
            read_folder(path, intake)
        else:
            read_archive(path, intake)
    except Refused as refusal:
        intake = _Intake([])
        intake.submission.notes.append(str(refusal))
    except OSError as error:
        intake.submission.failure = f"it cannot be read: {error.strerror or error}"
    return intake.finish()


class _Intake:
    """Is offered every member of a submission in turn and keeps the wanted ones (see `archives.Intake`)."""

    def __init__(self, labs: list[Lab]):
        self.places = {place: lab.id for lab in labs for place in _places(lab)}
        self.ids = {lab.id for lab in labs}
        self.submission = Submission()
        self.found: dict[str, list[tuple[str, bytes]]] = {}
        self.members = self.others = self.loose = 0
        self.odd: list[str] = []

    def offer(self, name: str, kind: str, load: Callable[[int], bytes]) -> None:
        """One member: its path, what it is if not a plain file, and how to read so many bytes of it."""
        self.count()
        label, path = shown(name), name.replace("\\", "/")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if path.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", path):
            self.odd.append(f"{label}: a path that leads out of the submission, ignored")
            return
        if not parts or any(part in JUNK or part.startswith(".") for part in parts):
            return
        key = self.places.get("/".join(parts)) or self.places.get("/".join(parts[1:]))
        loose = key is None and parts[-1].endswith(".py") and len(parts) <= 2 and self.loose < LOOSE
        if kind:
            self._irregular(key, label, kind)
            return
        if key is None and not loose:
            self.others += 1
            return
        self.loose += loose
        try:
            data = load(LAB_BYTES + 1)
        except OSError as error:
            if key is not None:
                self.submission.broken[key] = f"{label} cannot be read: {error.strerror or error}"
            return
        except Refused as refusal:
            if key is not None:
                self.submission.refused[key] = f"{label}: {refusal}"
            return
        key = key or self._lab_of(data, parts)
        if key is None:
            self.others += 1
        elif len(data) > LAB_BYTES:
            self.submission.refused[key] = f"{label} is larger than {LAB_BYTES // 1_000_000} MB"
        else:
            self.found.setdefault(key, []).append((label, data))

    def count(self) -> None:
        self.members += 1
        if self.members > MEMBERS:
            raise Refused(f"it holds more than {MEMBERS:,} files: hand in the lab.py files only")

    def _irregular(self, key: str | None, label: str, kind: str) -> None:
        if key is None:
            self.odd.append(f"{label}: {kind}, ignored")
        else:
            self.submission.refused[key] = f"{label} is no plain file but {kind}"

    def _lab_of(self, data: bytes, parts: list[str]) -> str | None:
        """Which lab a loose file belongs to: its version stamp says so, or there is only one lab it can be."""
        first = data[:300].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").splitlines()
        stamped = skeleton.stamped_lab(first[0]) if first else None
        if stamped is None and parts[-1] == "lab.py" and len(self.ids) == 1:
            return next(iter(self.ids))
        return stamped if stamped in self.ids else None

    def finish(self) -> Submission:
        submission = self.submission
        for key, files in self.found.items():
            names = ", ".join(label for label, _ in files)
            if len({data for _, data in files}) > 1:
                submission.refused[key] = f"there are {len(files)} different files for lab {key}: {names}"
            elif key not in submission.refused and key not in submission.broken:
                self._keep(key, *files[0])
        for key in submission.refused:
            submission.labs.pop(key, None)
        submission.notes += self.odd[:3]
        if len(self.odd) > 3:
            submission.notes.append(f"{len(self.odd) - 3} more such files ignored")
        if not (submission.labs or submission.refused or submission.broken or submission.notes or submission.failure):
            other = f"; {self.others:,} other files were ignored" if self.others else ""
            submission.notes.append(f"it holds no lab.py of the labs to be graded{other}")
        elif self.others > 1000:
            submission.notes.append(f"{self.others:,} other files were ignored")
        return submission

    def _keep(self, key: str, label: str, data: bytes) -> None:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            where = f"byte 0x{data[error.start]:02x} at position {error.start:,}"
            self.submission.refused[key] = f"{label} is not UTF-8 text ({where})"
            return
        self.submission.labs[key] = LabText(label, text.replace("\r\n", "\n").replace("\r", "\n"))
