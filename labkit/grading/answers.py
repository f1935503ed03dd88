"""Whose code is graded: the working copy, a submission, or one of the answers the repository makes up itself."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labkit import skeleton
from labkit.catalogue import Lab
from labkit.grading import mistakes
from labkit.grading.compare import is_tensor
from labkit.grading.wire import Opaque, Record

DEGENERATE = ("zeros", "ones", "nan", "echo", "transpose", "random")
KINDS = "lab, solution, skeleton, mistake:NAME, alternative:NAME, degenerate:KIND"


@dataclass(frozen=True)
class Answers:
    """The text of a ``lab.py``, the name to call it by, and for degenerate answers what becomes of each value."""

    text: str
    file: str
    degenerate: str | None = None


def answers(lab: Lab, kind: str = "lab", submission: Path | None = None) -> Answers:
    """The answers of one kind (see KINDS). ValueError on an unknown kind or name; FileNotFoundError without a file."""
    kind, _, name = kind.partition(":")
    if kind == "lab":
        file = lab.lab_file if submission is None else submission
        return Answers(file.read_text(encoding="utf-8"), str(file))
    bodies = dict(mistakes.reference_bodies(lab))
    variants = mistakes.variants(lab)
    if kind == "mistake":
        mistake = _named(variants.mistakes, kind, name)
        bodies[mistake.todo] = mistakes.mistaken_body(lab, mistake)
    elif kind == "alternative":
        alternative = _named(variants.alternatives, kind, name)
        bodies[alternative.todo] = mistakes.alternative_body(alternative)
    elif kind == "degenerate" and name not in DEGENERATE:
        raise ValueError(f"degenerate answers are {', '.join(DEGENERATE)}; got {name!r}")
    elif kind == "skeleton":
        bodies = {}
    elif kind not in ("solution", "degenerate"):
        raise ValueError(f"answers must be one of {KINDS}; got {kind!r}")
    return made_up(lab, bodies, name if kind == "degenerate" else None)


def made_up(lab: Lab, bodies: dict[str, str], degenerate: str | None = None) -> Answers:
    """The lab's skeleton with these regions filled."""
    text = skeleton.skeleton(mistakes.reference_source(lab), lab.id)
    return Answers(skeleton.compose(text, bodies).text, str(lab.lab_file), degenerate)


def replaced(lab: Lab, slug: str, body: str) -> Answers:
    """The reference with one region's body replaced."""
    return made_up(lab, mistakes.reference_bodies(lab) | {slug: textwrap.dedent(body)})


def _named(entries: tuple, kind: str, name: str) -> Any:
    for entry in entries:
        if entry.name == name:
            return entry
    raise ValueError(f"there is no {kind} {name!r}; there are: {', '.join(entry.name for entry in entries)}")


# ---------------------------------------------------------------- answers nobody worked for


def degenerate(kind: str, wanted: Any, inputs: tuple) -> Any:
    """What a trivial answer would return where ``wanted`` is right: zeros of its shape, the input echoed, ..."""
    if kind == "echo":
        return inputs[0] if inputs else None
    return _map(kind, wanted)


def _map(kind: str, value: Any) -> Any:
    if isinstance(value, np.ndarray) or is_tensor(value):
        return _array(kind, value)
    if isinstance(value, bool | np.bool_):
        return {"zeros": False, "ones": True, "random": True}.get(kind, value)
    if isinstance(value, int | float | complex | np.generic):
        number = {"zeros": 0, "ones": 1, "nan": float("nan"), "random": 0.37}.get(kind)
        if number is None or (kind == "nan" and not isinstance(value, float)):
            return value if number is None else 0
        return type(value)(number) if not isinstance(value, int) or kind != "random" else 3
    if isinstance(value, str | bytes):
        if kind == "transpose":
            return value[::-1]
        made = {"zeros": "", "ones": "1", "nan": "nan", "random": "x7"}.get(kind)
        return value if made is None else made if isinstance(value, str) else made.encode()
    if isinstance(value, list | tuple):
        return type(value)(_map(kind, item) for item in (reversed(value) if kind == "transpose" else value))
    if isinstance(value, set | frozenset):
        return type(value)(_map(kind, item) for item in value)
    if isinstance(value, dict):
        return {key: _map(kind, item) for key, item in value.items()}
    if isinstance(value, Record):
        return Record(value.type, tuple((name, _map(kind, item)) for name, item in value.fields))
    return value if not isinstance(value, Opaque) else None


def _array(kind: str, value: Any) -> Any:
    if kind == "transpose":  # of a vector: reversed
        if value.ndim >= 2:
            return value.mT if is_tensor(value) else value.swapaxes(-1, -2)
        return value.flip(0) if is_tensor(value) and value.ndim else value[::-1] if value.ndim else value
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return np.full_like(value, "x")
    floating = value.is_floating_point() if is_tensor(value) else value.dtype.kind in "fc"
    number = {"zeros": 0, "ones": 1, "nan": float("nan") if floating else 0}.get(kind)
    if number is not None:
        return value * 0 + number if is_tensor(value) else np.full_like(value, number)
    noise = np.random.default_rng(0).standard_normal(tuple(value.shape))
    if is_tensor(value):
        return value.new_tensor(noise.tolist()).reshape(value.shape) if floating else (value * 0 + 1)
    return noise.astype(value.dtype) if floating else np.full_like(value, 1)
