"""Turns a difference into words: what was got and wanted, and which general or classic mistake it looks like."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from labkit.grading import compare
from labkit.grading.compare import Difference, is_tensor, to_numpy
from labkit.grading.wire import Opaque, Raised, Record

WIDTH = 300
SHOWN = 160  # characters of one input


def show(value: Any, width: int = WIDTH) -> str:
    """A value in few characters: arrays by dtype, shape and first numbers."""
    if isinstance(value, Opaque):
        return f"<{value.type}: {value.why}>"
    if isinstance(value, Raised):
        return f"{value.type}: {value.message}" if value.message else value.type
    if isinstance(value, Record):
        return _cut(f"{value.type}({', '.join(f'{k}={show(v, 60)}' for k, v in value.fields)})", width)
    if _is_array(value):
        array = to_numpy(value)
        flat = ", ".join(_number(x) for x in array.ravel()[:6])
        dots = ", ..." if array.size > 6 else ""
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{compare.type_name(value).split('.')[-1]} {dtype} {tuple(value.shape)} [{flat}{dots}]"
    if isinstance(value, np.generic):
        return _number(value)
    if isinstance(value, list | tuple) and len(value) > 12:
        return _cut(_window(value, 0), width)
    if _holds_array(value):
        if isinstance(value, dict):
            return _cut("{" + ", ".join(f"{k!r}: {show(v, 60)}" for k, v in value.items()) + "}", width)
        inside = ", ".join(show(x, 100) for x in value)
        return _cut(f"[{inside}]" if isinstance(value, list) else f"({inside})", width)
    return _cut(repr(value), width)


def _holds_array(value: Any) -> bool:
    """Whether repr would print whole arrays."""
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list | tuple) and any(_is_array(x) or _holds_array(x) for x in value)


def _window(items: list | tuple, at: int) -> str:
    """A long list around one place."""
    first = max(0, at - 2)
    inside = ", ".join(show(x, 60) for x in items[first : first + 8])
    before, after = "..., " if first else "", ", ..." if first + 8 < len(items) else ""
    return f"[{before}{inside}{after}] ({len(items)} items)"


def inputs(values: tuple, index: int | None) -> str:
    """The inputs of a call in one line; of a batch that is too long for it only the item it went wrong for."""
    if index is not None and len(values) == 1 and isinstance(values[0], list | tuple) and index < len(values[0]):
        fits = len(values[0]) <= SHOWN and len(repr(values[0])) <= SHOWN
        values = values if fits else (values[0][index],)
    return _cut(", ".join(show(value, SHOWN) for value in values), WIDTH)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 20]} ... ({len(text)} characters)"


def _number(x: Any) -> str:
    return f"{x:.6g}" if isinstance(x, float | np.floating) else str(x)


def values(difference: Difference, rtol: float | None, atol: float | None) -> tuple[tuple[str, str], ...]:
    """The pairs to print: (label, text). For arrays the worst element comes before the whole."""
    got, wanted = difference.got, difference.wanted
    where = f" at {difference.path}" if difference.path else ""
    rows = []
    if difference.reason == "values" and _is_array(wanted) and wanted.ndim:
        r, t = compare.tolerance(str(wanted.dtype).removeprefix("torch."), rtol, atol)
        index = compare.worst(got, wanted, r, t)
        inside = ", ".join(map(str, index))
        rows.append((f"worst at {difference.path}[{inside}]", ""))
        worst = [to_numpy(array)[index] for array in (got, wanted)]
        shown = [_number(number) for number in worst]
        rows += zip(("  got", "  wanted"), shown if shown[0] != shown[1] else map(str, worst))
    if isinstance(got, str) and isinstance(wanted, str) and len(wanted) > 80:
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        got, wanted = (f"...{text[max(0, at - 20) : at + 40]!r}..." for text in (got, wanted))
        return (*rows, (f"got{where}", got), (f"wanted{where}", wanted))
    if isinstance(got, list | tuple) and isinstance(wanted, list | tuple) and max(len(got), len(wanted)) > 12:
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if compare.compare(a, b, rtol, atol)), None)
        at = min(len(got), len(wanted)) if at is None else at
        rows.append((f"first differ at {difference.path}[{at}]", ""))
        return (*rows, ("  got", _cut(_window(got, at), WIDTH)), ("  wanted", _cut(_window(wanted, at), WIDTH)))
    return (*rows, (f"got{where}", show(got)), (f"wanted{where}", show(wanted)))


def authored(error: AssertionError) -> str:
    """The words of a failed assertion that stand in the check's source; values put into them become "…"."""
    words = ["it does not hold"]
    trace = error.__traceback__
    while trace is not None:
        words += [c for c in trace.tb_frame.f_code.co_consts if isinstance(c, str) and " " in c and len(c) > 3]
        trace = trace.tb_next
    text = str(error).splitlines()[0] if str(error) else words[0]
    written = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))
    kept = written.findall(text)
    return text if "".join(kept) == text else "…".join(["", *kept, ""]) if kept else words[0]


# ---------------------------------------------------------------- general mistakes


def general(got: Any, wanted: Any, inputs: tuple, difference: Difference) -> list[str]:
    """What any learner may have done, whatever the lab: at most one sentence, the surest first."""
    got_here, wanted_here = difference.got, difference.wanted
    if got is None and wanted is not None:
        return ["The function returned None: is there a `return` on every path?"]
    if isinstance(got_here, Opaque):
        if "generator" in got_here.type:
            return ["It is a generator: collect it, for instance with list(...)."]
        return [f"It is a {got_here.type}; a plain {compare.type_name(wanted_here)} is expected."]
    if difference.reason == "dtype":
        return [f"{difference.message[0].upper()}{difference.message[1:]}: convert it, or keep the dtype of the input."]
    if difference.reason == "type" and is_tensor(got_here) and isinstance(wanted_here, int | float):
        return ["A tensor with one element is not a number: `.item()` makes it one."]
    if _is_array(got_here) and _is_array(wanted_here) and _numeric(got_here) and _numeric(wanted_here):
        sentence = _arrays(to_numpy(got_here), to_numpy(wanted_here))
        return [sentence] if sentence else []
    if isinstance(got, list) and isinstance(wanted, list) and len(wanted) >= 4 and _plain(got) and _plain(wanted):
        sentence = _lists(got, wanted)
        return [sentence] if sentence else []
    return []


def _plain(items: list) -> bool:
    return all(isinstance(item, str | bytes | int | float) for item in items)


def _numeric(array: Any) -> bool:
    return to_numpy(array).dtype.kind in "biuf"


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or is_tensor(value)


def _arrays(got: np.ndarray, wanted: np.ndarray) -> str | None:
    if got.dtype.kind == "f" and np.isnan(got).any() and not np.isnan(wanted).any():
        return f"{int(np.isnan(got).sum())} values are NaN: look for 0/0, inf - inf, or the log of a negative number."
    if got.shape != wanted.shape:
        if min(got.ndim, wanted.ndim) >= 2 and _close(got, wanted.swapaxes(-1, -2)):
            return "It is the transpose of what is wanted."
        if got.shape == wanted.shape[::-1]:
            return "Its shape is the wanted one backwards."
        if got.size == wanted.size:
            return "It has the right number of elements in another shape."
        return None
    if got.ndim >= 2 and got.shape[-1] == got.shape[-2] > 1 and _close(got.swapaxes(-1, -2), wanted):
        return "It is the transpose of what is wanted."
    if wanted.size < 4 or wanted.dtype.kind != "f" or not np.isfinite(got).all() or not np.isfinite(wanted).all():
        return None
    if _close(-got, wanted):
        return "Every sign is the opposite of what is wanted."
    solid = np.abs(wanted) > 1e-8
    if solid.sum() >= 4:
        ratio = got[solid] / wanted[solid]
        if np.allclose(ratio, ratio[0], rtol=1e-4) and abs(ratio[0]) > 1e-8 and abs(ratio[0] - 1) > 1e-3:
            return f"Every value is {ratio[0]:.4g} times what is wanted: a constant factor is missing or too many."
    offset = got - wanted
    if np.allclose(offset, offset.flat[0], rtol=1e-4, atol=1e-8) and abs(offset.flat[0]) > 1e-6:
        return f"Every value is off by the same {offset.flat[0]:.4g}: a term is missing or too many."
    for axis in range(wanted.ndim):
        for step in (1, -1):
            if wanted.shape[axis] > 3 and _shifted(got, wanted, axis, step):
                return f"The values are right but shifted by one along axis {axis}."
    return None


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-7)


def _shifted(got: np.ndarray, wanted: np.ndarray, axis: int, step: int) -> bool:
    first, rest = [slice(None)] * wanted.ndim, [slice(None)] * wanted.ndim
    first[axis], rest[axis] = slice(None, -1), slice(1, None)
    a, b = (got[tuple(rest)], wanted[tuple(first)]) if step == 1 else (got[tuple(first)], wanted[tuple(rest)])
    return a.size >= 4 and not np.allclose(a, a.flat[0]) and _close(a, b)


def _lists(got: list, wanted: list) -> str | None:
    if len(got) == len(wanted):
        if got == wanted[::-1]:
            return "The items are right but in the opposite order."
        try:
            if sorted(got) == sorted(wanted):
                return "The items are right but in another order."
        except TypeError:
            pass
        if got[1:] == wanted[:-1] or got[:-1] == wanted[1:]:
            return "The items are right but shifted by one place."
    return None
