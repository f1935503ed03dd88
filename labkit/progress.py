"""What the learner has done: the last score of each lab, kept in ``.labkit/progress.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass

from labkit import catalogue, skeleton
from labkit.catalogue import Lab
from labkit.files import write_atomically
from labkit.skeleton import Region


def _file():
    return catalogue.ROOT / ".labkit" / "progress.json"


def load() -> dict[str, dict]:
    """Per lab id: points, max_points, passed TODOs and the hash of the lab.py that was graded."""
    try:
        return json.loads(_file().read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def record(lab: Lab, canonical: dict, lab_hash: str, *, partial: bool = False) -> None:
    """Keeps the result of grading the working copy; a partial one (``--only``) is laid over what is known."""
    progress = load()
    todos = {score["todo"]: [score["points"], score["maximum"]] for score in canonical["todos"]}
    if partial:  # no hash: the file as a whole was not graded
        todos, lab_hash = progress.get(lab.id, {}).get("todos", {}) | todos, ""
    entry = {
        "points": sum(points for points, _ in todos.values()),
        "max_points": sum(maximum for _, maximum in todos.values()),
        "passed": [todo for todo, (points, maximum) in todos.items() if points == maximum],
        "todos": todos,
        "hash": lab_hash,
    }
    _file().parent.mkdir(exist_ok=True)
    write_atomically(_file(), json.dumps(progress | {lab.id: entry}, indent=1, sort_keys=True) + "\n")


@dataclass(frozen=True)
class State:
    """One lab as the learner left it; ``open`` are the TODOs not known to pass, in file order."""

    lab: Lab
    todos: tuple[Region, ...]
    passed: frozenset[str]
    problem: str = ""

    @property
    def open(self) -> list[Region]:
        return [region for region in self.todos if region.slug not in self.passed]

    @property
    def started(self) -> bool:
        return any(not region.untouched for region in self.todos)


def state(lab: Lab, progress: dict[str, dict] | None = None) -> State:
    """Reads ``lab.py`` and the last grade. A TODO that was emptied again counts as open."""
    progress = load() if progress is None else progress
    try:
        regions = tuple(skeleton.todo_regions(lab.lab_file.read_text(encoding="utf-8")))
    except (OSError, skeleton.RegionError) as error:
        return State(lab, (), frozenset(), str(error))
    done = {region.slug for region in regions if not region.untouched}
    return State(lab, regions, frozenset(progress.get(lab.id, {}).get("passed", ())) & done)
