"""Compares what a learner's code gave with what was wanted, and finds the worst place.

Both sides have been through the wire, so only plain values, NumPy arrays, torch tensors, `Record`, `Opaque` and
`Raised` meet here. Structure, type, dtype, shape and values must agree; NaN equals only an expected NaN.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.grading.wire import Opaque, Raised, Record

# rtol, atol per dtype; those of torch.testing.assert_close, a little wider in float32 for sums in another order
TOLERANCES = {
    **{"float64": (1e-7, 1e-9), "complex128": (1e-7, 1e-9), "float32": (1e-5, 1e-6), "complex64": (1e-5, 1e-6)},
    **{"float16": (1e-3, 1e-4), "bfloat16": (1.6e-2, 1e-4)},
}


@dataclass(frozen=True)
class Difference:
    """The first or worst place where two values part.

    reason: "structure", "type", "dtype", "shape", "values" or "raised".  path: where, as ``[0]['ids']``.
    got, wanted: the two values at that place, whole arrays where the reason is about arrays.  public: the message
    without any wanted value, where the message has one.
    """

    reason: str
    message: str
    path: str = ""
    got: Any = None
    wanted: Any = None
    public: str | None = None


def tolerance(dtype: str, rtol: float | None, atol: float | None) -> tuple[float, float]:
    """The pair in force for a dtype: an explicit atol alone means no relative slack, and the other way round."""
    if rtol is None and atol is None:
        return TOLERANCES.get(dtype, (0.0, 0.0))
    return rtol or 0.0, atol or 0.0


def is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_numpy(value: Any) -> np.ndarray:
    """An array in at least float64 (or exact integers): bfloat16 has no NumPy dtype."""
    if is_tensor(value):
        value = value.detach()
        value = value.double() if value.is_floating_point() else value
        value = value.cpu().numpy()
    return np.asarray(value)


def type_name(value: Any) -> str:
    if isinstance(value, Opaque | Record):
        return value.type
    if is_tensor(value):
        return "torch.Tensor"
    return "numpy.ndarray" if isinstance(value, np.ndarray) else type(value).__name__


def compare(got: Any, wanted: Any, rtol: float | None = None, atol: float | None = None) -> Difference | None:
    """None when the two agree, else where they part."""
    return _compare(got, wanted, rtol, atol, "")


def _compare(got: Any, wanted: Any, rtol: float | None, atol: float | None, path: str) -> Difference | None:
    if isinstance(wanted, Raised) or isinstance(got, Raised):
        same = isinstance(wanted, Raised) and isinstance(got, Raised) and wanted.type in got.bases
        return None if same else Difference("raised", "", path, got, wanted)
    if isinstance(wanted, np.ndarray) or is_tensor(wanted):
        return _compare_arrays(got, wanted, rtol, atol, path)
    if isinstance(wanted, bool | int | float | complex | np.generic):
        return _compare_numbers(got, wanted, rtol, atol, path)
    if type(got) is not type(wanted) or (isinstance(wanted, Record) and got.type != wanted.type):
        return _type_difference(got, wanted, path)
    if isinstance(wanted, Opaque):
        return Difference("type", f"a {wanted.type} cannot be compared", path, got, wanted)
    if isinstance(wanted, list | tuple):
        return _compare_sequences(got, wanted, rtol, atol, path)
    if isinstance(wanted, dict):
        return _compare_dicts(got, wanted, rtol, atol, path)
    if isinstance(wanted, Record):
        return _compare_dicts(dict(got.fields), dict(wanted.fields), rtol, atol, path)
    if got == wanted:
        return None
    return Difference("values", _text_hint(got, wanted), path, got, wanted)


def _type_difference(got: Any, wanted: Any, path: str) -> Difference:
    return Difference("type", f"its type is {type_name(got)}, not {type_name(wanted)}", path, got, wanted)


def _text_hint(got: Any, wanted: Any) -> str:
    if isinstance(wanted, str | bytes):
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        return f"they part at position {at}" if len(wanted) > 20 else ""
    if isinstance(wanted, set | frozenset):
        extra, missing = got - wanted, wanted - got
        return f"{len(missing)} missing, {len(extra)} too many"
    return ""


def _compare_numbers(got: Any, wanted: Any, rtol: float | None, atol: float | None, path: str) -> Difference | None:
    if not isinstance(got, bool | int | float | complex | np.generic):
        return _type_difference(got, wanted, path)
    if type(got) is int and type(wanted) is int:  # of any size
        return None if got == wanted else Difference("values", "", path, got, wanted)
    a, b = np.asarray(got), np.asarray(wanted)
    if "O" in (a.dtype.kind, b.dtype.kind):  # an int beyond 64 bits beside something else
        return _type_difference(got, wanted, path)
    # An int may stand for a float, a NumPy scalar for a Python one; truth values and numbers are kept apart.
    order = "biufc"
    kind = {k: "i" if k in "iu" else k for k in order}
    if kind.get(b.dtype.kind) == "b" or kind.get(a.dtype.kind) == "b":
        if a.dtype.kind != b.dtype.kind:
            return _type_difference(got, wanted, path)
    elif order.index(a.dtype.kind) > order.index(b.dtype.kind) and kind[a.dtype.kind] != kind[b.dtype.kind]:
        return _type_difference(got, wanted, path)
    if b.dtype.kind in "biu":
        same = bool(got == wanted)
    else:
        dtype = b.dtype.name if isinstance(wanted, np.generic) else "float64"
        r, t = tolerance(dtype, rtol, atol)
        same = bool(np.isclose(a, b, rtol=r, atol=t, equal_nan=True))
    return None if same else Difference("values", "", path, got, wanted)


def _compare_arrays(got: Any, wanted: Any, rtol: float | None, atol: float | None, path: str) -> Difference | None:
    if is_tensor(got) != is_tensor(wanted) or not (is_tensor(got) or isinstance(got, np.ndarray)):
        return _type_difference(got, wanted, path)
    if _dtype(got) != _dtype(wanted):
        return Difference("dtype", f"its dtype is {_dtype(got)}, not {_dtype(wanted)}", path, got, wanted)
    if tuple(got.shape) != tuple(wanted.shape):
        text = f"its shape is {tuple(got.shape)}, not {tuple(wanted.shape)}"
        return Difference("shape", text, path, got, wanted)
    r, t = tolerance(_dtype(wanted), rtol, atol)
    bad = mismatches(got, wanted, r, t)
    if not bad.any():
        return None
    message = f"{int(bad.sum())} of {bad.size} elements differ" if bad.size > 1 else "the value differs"
    return Difference("values", message, path, got, wanted)


def _dtype(value: Any) -> str:
    """The dtype's name; strings of any length are one dtype."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return "str"
    return str(value.dtype).removeprefix("torch.")


def mismatches(got: Any, wanted: Any, rtol: float, atol: float) -> np.ndarray:
    """Where two arrays of one shape differ by more than the tolerance."""
    a, b = to_numpy(got), to_numpy(wanted)
    if b.dtype.kind in "biuUS":
        return a != b
    with np.errstate(all="ignore"):
        return ~np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=True)


def worst(got: Any, wanted: Any, rtol: float, atol: float) -> tuple[int, ...]:
    """The index at which two arrays of one shape differ most; a NaN or infinity out of place is worst."""
    a, b = to_numpy(got), to_numpy(wanted)
    bad = mismatches(got, wanted, rtol, atol)
    if b.dtype.kind in "bUS":
        return tuple(int(i) for i in np.argwhere(bad)[0])
    with np.errstate(all="ignore"):
        gap = np.abs(a.astype(complex) - b.astype(complex))
    gap = np.where(bad, np.where(np.isnan(gap), np.inf, gap), -1.0)
    return tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))


def _compare_sequences(got: Any, wanted: Any, rtol: float | None, atol: float | None, path: str) -> Difference | None:
    if flat := _flat_numbers(got, wanted):
        a, b = flat
        bad = a != b if b.dtype.kind in "biu" else mismatches(a, b, *tolerance("float64", rtol, atol))
        if len(a) == len(b) and not bad.any():
            return None
    if len(got) != len(wanted):
        return Difference("structure", _length(got, wanted), path, got, wanted)
    for index, (x, y) in enumerate(zip(got, wanted)):
        if difference := _compare(x, y, rtol, atol, f"{path}[{index}]"):
            return difference
    return None


def _length(got: Any, wanted: Any) -> str:
    return f"it has {len(got)} item{'s' * (len(got) != 1)}, not {len(wanted)}"


def _flat_numbers(got: Any, wanted: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Two equally long lists of plain numbers of one type as arrays: lists of a million ids compare at once."""
    if not wanted or len(got) != len(wanted) or type(wanted[0]) not in (int, float):
        return None
    kind = type(wanted[0])
    if any(type(x) is not kind for x in wanted) or any(type(x) is not kind for x in got):
        return None
    try:
        dtype = np.int64 if kind is int else np.float64  # chosen by NumPy, 2**63 and -1 together would become floats
        return np.array(got, dtype), np.array(wanted, dtype)
    except OverflowError:
        return None


def _compare_dicts(got: dict, wanted: dict, rtol: float | None, atol: float | None, path: str) -> Difference | None:
    missing, extra = [k for k in wanted if k not in got], [k for k in got if k not in wanted]
    if missing or extra:
        parts = [f"{len(missing)} missing, such as {missing[0]!r}"] if missing else []
        parts += [f"{len(extra)} too many, such as {extra[0]!r}"] if extra else []
        public = f"keys: {len(missing)} missing, {len(extra)} too many"
        return Difference("structure", "keys: " + "; ".join(parts), path, got, wanted, public)
    for key, value in wanted.items():
        if difference := _compare(got[key], value, rtol, atol, f"{path}[{key!r}]"):
            return difference
    return None
