"""Finds the labs in a folder somebody handed in."""

from __future__ import annotations

from pathlib import Path

from labkit.catalogue import Lab


def lab_file(folder: Path, lab: Lab) -> Path | None:
    """The file for one lab: in the repository's own place, in a folder named like the lab, or by the lab's name."""
    name = lab.path.name
    places = [
        folder / lab.phase.path.name / name / "lab.py",
        folder / name / "lab.py",
        *(folder / f"{stem}.py" for stem in (name, lab.slug, lab.module, lab.id)),
    ]
    for place in places:
        if place.is_file():
            return place
    return None
