"""The reference solution of every lab under a stable name: ``from labkit.reference import mini_transformer``.

The name is the lab's folder without its number. Each module is the lab's ``solution.py`` itself, so classes pickle and
processes spawn; helper files beside the solution are its submodules. In a student edition, which has no solutions, the
name gives the learner's own ``lab.py``.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from labkit import catalogue


class _Finder:
    """Maps ``labkit.reference.<module>`` to the lab's solution.py."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, module = name.rpartition(".")
        if package != __name__:
            return None
        for lab in catalogue.labs():
            if lab.module == module:
                return importlib.util.spec_from_file_location(
                    name,
                    lab.solution if lab.solution.is_file() else lab.lab_file,
                    submodule_search_locations=[str(lab.path)],
                )
        return None


FOLDER = Path(__file__).parent

sys.meta_path.insert(0, _Finder)


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        there_are = ", ".join(lab.module for lab in catalogue.labs())
        raise AttributeError(f"no lab is called {name!r}; there are: {there_are}") from None
