"""Finds the labs by looking at the folders: there is no list to keep.

A phase is a folder ``phase-NN-slug``, a lab a folder ``lab-NN-slug`` (or ``capstone-NN-slug``) in it that holds a
``lab.toml``, which is the one home of the lab's metadata. LABKIT_ROOT names another folder to look in.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

ROOT = Path(os.environ.get("LABKIT_ROOT") or Path(__file__).resolve().parent.parent)

_PHASE = re.compile(r"phase-(\d\d)-[a-z0-9-]+$")
_LAB = re.compile(r"(lab|capstone)-(\d\d)-([a-z0-9-]+)$")
_FIELDS = {
    "id": str,
    "title": str,
    "summary": str,
    "minutes": int,
    "difficulty": int,
    "uses": list,
    "packages": list,
    "preload": list,
    "figures": list,
}


@dataclass(frozen=True)
class Phase:
    """One phase folder: its number, title (first heading of its README) and labs."""

    number: int
    path: Path

    @cached_property
    def title(self) -> str:
        readme = self.path / "README.md"
        if readme.is_file():
            for line in readme.read_text(encoding="utf-8").splitlines():
                if line.startswith("# "):
                    return line.removeprefix("# ").strip()
        return self.path.name

    @cached_property
    def labs(self) -> tuple[Lab, ...]:
        folders = [p for p in self.path.iterdir() if _LAB.match(p.name) and (p / "lab.toml").is_file()]
        return tuple(sorted((Lab.read(self, folder) for folder in folders), key=lambda lab: lab.order))


@dataclass(frozen=True)
class Lab:
    """One lab folder with the contents of its ``lab.toml``."""

    phase: Phase
    path: Path
    id: str
    title: str
    summary: str
    minutes: int
    difficulty: int
    uses: tuple[str, ...]
    packages: tuple[str, ...]
    preload: tuple[str, ...]
    figures: tuple[str, ...]

    @classmethod
    def read(cls, phase: Phase, folder: Path) -> Lab:
        """Reads ``lab.toml``; raises ValueError naming the file and the field that is wrong."""
        file = folder / "lab.toml"
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{file}: not valid TOML: {error}") from None
        unknown = set(data) - set(_FIELDS)
        missing = set(_FIELDS) - set(data)
        if unknown or missing:
            raise ValueError(f"{file}: unknown fields {sorted(unknown)}, missing fields {sorted(missing)}")
        for name, kind in _FIELDS.items():
            if not isinstance(data[name], kind):
                raise ValueError(f"{file}: {name} must be a {kind.__name__}, got {data[name]!r}")
            if kind is list:
                data[name] = tuple(data[name])
        number = int(_LAB.match(folder.name)[2])
        if data["id"] != f"{phase.number}.{number}":
            raise ValueError(f"{file}: id must be {phase.number}.{number} in this folder, got {data['id']!r}")
        return cls(phase, folder, **data)

    @property
    def order(self) -> tuple[int, int]:
        phase, number = self.id.split(".")
        return int(phase), int(number)

    @property
    def slug(self) -> str:
        return _LAB.match(self.path.name)[3]

    @property
    def module(self) -> str:
        """The importable name: ``labkit.reference.<module>`` and ``labkit.mine.<module>``."""
        return self.slug.replace("-", "_")

    @property
    def solution(self) -> Path:
        return self.path / "solution.py"

    @property
    def lab_file(self) -> Path:
        return self.path / "lab.py"

    @property
    def uses_torch(self) -> bool:
        return "torch" in self.packages

    def _test_file(self, folder: str, prefix: str, suffix: str) -> Path:
        stem = self.path.name.replace("-", "_")
        return self.phase.path.parent / "tests" / f"phase_{self.phase.number:02d}" / folder / f"{prefix}{stem}{suffix}"

    @property
    def checks_file(self) -> Path:
        return self._test_file("", "test_", ".py")

    @property
    def drivers_file(self) -> Path:
        return self._test_file("drivers", "", ".py")

    @property
    def mistakes_file(self) -> Path:
        return self._test_file("mistakes", "", ".toml")

    def __str__(self) -> str:
        return f"{self.id} {self.title}"


@lru_cache(maxsize=8)
def phases(root: Path = ROOT) -> tuple[Phase, ...]:
    """All phases below ``root`` that hold at least a README, in order."""
    found = [Phase(int(_PHASE.match(p.name)[1]), p) for p in root.iterdir() if p.is_dir() and _PHASE.match(p.name)]
    return tuple(sorted(found, key=lambda phase: phase.number))


def labs(root: Path = ROOT) -> tuple[Lab, ...]:
    """All labs below ``root``, in course order."""
    return tuple(lab for phase in phases(root) for lab in phase.labs)


def find(name: str, root: Path = ROOT) -> Lab:
    """The lab with this id (``4.1``), folder name, slug or path; ValueError lists what there is."""
    wanted = name.strip().rstrip("/")
    last = Path(wanted).name
    for lab in labs(root):
        if wanted == lab.id or last in (lab.path.name, lab.slug, lab.module):
            return lab
    raise ValueError(f"no lab is called {name!r}; there are: {', '.join(lab.id for lab in labs(root))}")


def find_phase(number: int, root: Path = ROOT) -> Phase:
    for phase in phases(root):
        if phase.number == number:
            return phase
    raise ValueError(f"there is no phase {number}; there are: {', '.join(str(p.number) for p in phases(root))}")
