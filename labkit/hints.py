"""Hints in three levels per TODO, from a lab's ``hints.md``."""

from __future__ import annotations

import re

from labkit.catalogue import Lab


def read_hints(lab: Lab) -> dict[str, list[str]]:
    """The levels of every TODO: ``## slug`` followed by the items 1., 2., 3."""
    file = lab.path / "hints.md"
    if not file.is_file():
        return {}
    hints: dict[str, list[str]] = {}
    for part in re.split(r"^## ", file.read_text(encoding="utf-8"), flags=re.M)[1:]:
        heading, _, body = part.partition("\n")
        levels = re.split(r"^\d\. ", body, flags=re.M)[1:]
        hints[heading.strip()] = [re.sub(r"\n {3}", "\n", level).strip() for level in levels]
    return hints
