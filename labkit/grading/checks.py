"""Checks: the decorators that make a test function one, and how they are found."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from labkit.catalogue import Lab

_MARK = "__labkit_check__"


@dataclass(frozen=True)
class Check:
    """One graded test function. ``todo`` is None for a check of the whole lab."""

    name: str
    todo: str | None
    points: int
    timeout: float
    slow: bool
    edge: bool
    cuda: bool
    function: Callable

    @property
    def description(self) -> str:
        return " ".join((self.function.__doc__ or "").split())


def todo(
    slug: str, *, points: int = 1, timeout: float = 10, slow: bool = False, edge: bool = False, cuda: bool = True
) -> Callable:
    """Makes a function a graded check of one TODO.

    points: what the TODO is worth; the points of its checks add up, and are given when all its checks pass.
    timeout: seconds of wall clock; ten times the quiet figure.  slow: left out of ``labkit check`` unless ``--slow``.
    edge: a single edge case that zeros, ones or the echoed input may satisfy; it is not drawn again for that.
    cuda: in a lab that uses torch, has a twin whose tensors live on a CUDA device.
    """
    return _decorate(slug, points, timeout, slow, edge, cuda)


def whole_lab(
    *, points: int = 1, timeout: float = 10, slow: bool = False, edge: bool = False, cuda: bool = True
) -> Callable:
    """Makes a function a check of the learner's file as it stands, every TODO its own."""
    return _decorate(None, points, timeout, slow, edge, cuda)


def _decorate(slug: str | None, points: int, timeout: float, slow: bool, edge: bool, cuda: bool) -> Callable:
    def mark(function: Callable) -> Callable:
        setattr(function, _MARK, Check(function.__name__, slug, points, timeout, slow, edge, cuda, function))
        return function

    return mark


def check_of(function: Callable) -> Check | None:
    """The check a function was made into, if any."""
    return getattr(function, _MARK, None)


def load_module(name: str, file: Path) -> types.ModuleType:
    """Imports one of the repository's own files under the given name."""
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@cache
def checks(lab: Lab) -> tuple[Check, ...]:
    """The checks of a lab in file order; TODO checks first, as the file must have them."""
    module = load_module(f"labkit_checks_{lab.module}", lab.checks_file)
    return tuple(check for value in vars(module).values() if callable(value) and (check := check_of(value)))


@cache
def drivers(lab: Lab) -> types.ModuleType | None:
    """The lab's drivers as the trusted process uses them, on the reference."""
    return load_module(f"labkit_drivers_{lab.module}", lab.drivers_file) if lab.drivers_file.is_file() else None


def recording(lab: Lab) -> Path:
    """Where a student edition keeps what the reference gave."""
    return lab.mistakes_file.parent.with_name("recorded") / f"{lab.mistakes_file.stem}.zip"


def checks_hash(lab: Lab) -> str:
    """Names the exact checks that gave a score."""
    digest = hashlib.sha256()
    for file in (lab.checks_file, lab.drivers_file, lab.mistakes_file):
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
