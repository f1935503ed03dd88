"""How values cross between the grader and a worker: a JSON tree with raw buffers, never pickle.

A message is one frame: 16 bytes of header (magic, length of the tree, length of the buffers), the tree as JSON, the
buffers one after another. The reader checks every size and dtype before it touches a buffer, so that a forged frame is
a ``WireError`` and nothing else. What a worker cannot say in this language arrives as `Opaque` and equals nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

MAGIC = b"LKW1"
HEADER = struct.Struct("<4sIQ")
MAX_TREE = 16 * 2**20
MAX_BUFFERS = 256 * 2**20
MAX_DEPTH = 100
MAX_DIGITS = 3_500  # of an integer, in hexadecimal: about what Python is ready to print
MAX_ALIKE = 100  # different values with one hash: many make a set or dict take time squared
LONG = 16  # collections from here on are worth a look whether they can go as they are

_NUMPY_DTYPES = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
}
_TORCH_DTYPES = {
    **{"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "uint16": 2, "uint32": 4, "uint64": 8},
    **{"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16},
}


_KINDS = {
    *("int", "float", "complex", "bytes", "bytearray", "list", "tuple", "set", "frozenset", "dict", "record"),
    *("opaque", "raised", "strings", "ndarray", "scalar", "torch-dtype", "tensor"),
}


class WireError(ValueError):
    """A frame that does not follow the format."""


@dataclass(frozen=True)
class Opaque:
    """A value outside the wire's language; ``why`` says what it was."""

    type: str
    why: str


@dataclass(frozen=True)
class Record:
    """A dataclass instance or named tuple, by name and fields: no class of the learner's is ever rebuilt."""

    type: str
    fields: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Raised:
    """An exception that left the called function."""

    type: str
    bases: tuple[str, ...]
    message: str
    frames: tuple[tuple[str, int, str], ...] = ()  # (file, line, function), outermost first


# ---------------------------------------------------------------- values to tree


def _is_json(items: Any) -> bool:
    """True for a collection of strings, or of small integers, or of finite floats: no need to walk a million ids."""
    kinds = set(map(type, items))
    if kinds == {int}:
        return min(items) >= -(2**63) and max(items) < 2**64
    return kinds == {str} or (kinds == {float} and all(map(math.isfinite, items)))


class _Encoder:
    def __init__(self) -> None:
        self.buffers: list[bytes] = []
        self.size = 0

    def buffer(self, data: bytes | memoryview) -> dict:
        data = bytes(data)
        self.size += len(data)
        if self.size > MAX_BUFFERS:
            raise WireError(f"a value larger than {MAX_BUFFERS >> 20} MiB")
        self.buffers.append(data)
        return {"at": self.size - len(data), "size": len(data)}

    def tree(self, value: Any, depth: int = 0) -> Any:
        """Exact types only: a subclass is the learner's code, and stays in the learner's process."""
        if depth > MAX_DEPTH:
            return {"k": "opaque", "type": type(value).__name__, "why": f"nested more than {MAX_DEPTH} deep"}
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return value if -(2**63) <= value < 2**64 else {"k": "int", "hex": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"k": "float", "v": repr(value)}
        if kind is complex:
            return {"k": "complex", "re": repr(value.real), "im": repr(value.imag)}
        if kind in (bytes, bytearray):
            return {"k": kind.__name__, **self.buffer(value)}
        if kind in (list, tuple, set, frozenset) and len(value) >= LONG and _is_json(value):
            return {"k": kind.__name__, "v": list(value)}
        if kind in (list, tuple, set, frozenset):
            return {"k": kind.__name__, "v": [self.tree(item, depth + 1) for item in value]}
        if kind is dict or (isinstance(value, dict) and kind.__module__ == "collections"):
            pairs = [[self.tree(k, depth + 1), self.tree(v, depth + 1)] for k, v in value.items()]
            return {"k": "dict", "type": kind.__name__, "v": pairs}
        if isinstance(value, Record):
            pairs = [[name, self.tree(item, depth + 1)] for name, item in value.fields]
            return {"k": "record", "type": value.type, "v": pairs}
        if isinstance(value, Opaque):
            return {"k": "opaque", "type": value.type, "why": value.why}
        if isinstance(value, Raised):
            return {"k": "raised", **dataclasses.asdict(value)}
        if (tree := self._array(value)) is not None:
            return tree
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            pairs = [[f.name, self.tree(getattr(value, f.name), depth + 1)] for f in dataclasses.fields(value)]
            return {"k": "record", "type": kind.__name__, "v": pairs}
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            pairs = [[name, self.tree(item, depth + 1)] for name, item in zip(kind._fields, tuple(value))]
            return {"k": "record", "type": kind.__name__, "v": pairs}
        return {"k": "opaque", "type": f"{kind.__module__}.{kind.__qualname__}", "why": "not a plain value"}

    def _array(self, value: Any) -> dict | None:
        kind = type(value)
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if numpy is not None and kind is numpy.ndarray:
            if value.dtype.kind in "US":
                return {"k": "strings", "shape": list(value.shape), "v": [str(x) for x in value.ravel().tolist()]}
            if value.dtype.name not in _NUMPY_DTYPES:
                return {"k": "opaque", "type": "numpy.ndarray", "why": f"dtype {value.dtype}"}
            data = numpy.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
            shape = list(value.shape)
            return {"k": "ndarray", "dtype": value.dtype.name, "shape": shape, **self.buffer(data.tobytes())}
        if numpy is not None and isinstance(value, numpy.generic) and value.dtype.name in _NUMPY_DTYPES:
            return {"k": "scalar", "dtype": value.dtype.name, **self.buffer(numpy.asarray(value).tobytes())}
        if numpy is not None and kind is numpy.str_:
            return str(value)
        if torch is not None and kind in (torch.Tensor, torch.nn.Parameter):
            if value.layout != torch.strided or str(value.dtype).removeprefix("torch.") not in _TORCH_DTYPES:
                return {"k": "opaque", "type": "torch.Tensor", "why": f"{value.layout}, {value.dtype}"}
            data = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
            raw = data.reshape(-1).view(torch.uint8).numpy().tobytes() if data.numel() else b""
            return {
                **{"k": "tensor", "dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)},
                **{"grad": bool(value.requires_grad), "device": value.device.type, **self.buffer(raw)},
            }
        if torch is not None and kind is torch.dtype:
            return {"k": "torch-dtype", "v": str(value).removeprefix("torch.")}
        return None


# ---------------------------------------------------------------- tree to values


class _Decoder:
    """``device`` moves tensors there, for the CUDA twins of checks."""

    def __init__(self, buffers: memoryview, device: str | None = None):
        self.buffers = buffers
        self.device = device

    def buffer(self, tree: dict) -> memoryview:
        at, size = tree.get("at"), tree.get("size")
        if type(at) is not int or type(size) is not int or at < 0 or size < 0 or at + size > len(self.buffers):
            raise WireError("a buffer outside the frame")
        return self.buffers[at : at + size]

    def value(self, tree: Any, depth: int = 0) -> Any:
        if depth > MAX_DEPTH + 2:
            raise WireError("a tree that is too deep")
        if tree is None or type(tree) in (bool, int, float, str):
            return tree
        if type(tree) is not dict or type(tree.get("k")) is not str:
            raise WireError("an unknown node")
        if tree["k"] not in _KINDS:
            raise WireError(f"an unknown kind of value {tree['k'][:40]!r}")
        decode = getattr(self, "_" + tree["k"].replace("-", "_"))
        try:
            return decode(tree, depth)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise error if isinstance(error, WireError) else WireError(f"a damaged {tree['k']}") from None

    def _items(self, tree: dict, depth: int) -> list:
        return [self.value(item, depth + 1) for item in tree["v"]]

    def _pairs(self, tree: dict, depth: int) -> list:
        return [(self.value(key, depth + 1), self.value(item, depth + 1)) for key, item in tree["v"]]

    def _distinct(self, items: list) -> list:
        alike = Counter(map(hash, items))
        if alike and max(alike.values()) > MAX_ALIKE:
            raise WireError("a set or dict whose values all have the same hash")
        return items

    def _int(self, tree: dict, depth: int) -> int | Opaque:
        digits = tree["hex"]
        return int(digits, 16) if len(digits) <= MAX_DIGITS else Opaque("number of thousands of digits", "not compared")

    def _float(self, tree: dict, depth: int) -> float:
        return float(tree["v"])

    def _complex(self, tree: dict, depth: int) -> complex:
        return complex(float(tree["re"]), float(tree["im"]))

    def _bytes(self, tree: dict, depth: int) -> bytes:
        return bytes(self.buffer(tree))

    def _bytearray(self, tree: dict, depth: int) -> bytearray:
        return bytearray(self.buffer(tree))

    def _list(self, tree: dict, depth: int) -> list:
        return self._items(tree, depth)

    def _tuple(self, tree: dict, depth: int) -> tuple:
        return tuple(self._items(tree, depth))

    def _set(self, tree: dict, depth: int) -> set:
        return set(self._distinct(self._items(tree, depth)))

    def _frozenset(self, tree: dict, depth: int) -> frozenset:
        return frozenset(self._distinct(self._items(tree, depth)))

    def _dict(self, tree: dict, depth: int) -> dict:
        pairs = self._pairs(tree, depth)
        self._distinct([key for key, _ in pairs])
        return dict(pairs)

    def _record(self, tree: dict, depth: int) -> Record:
        return Record(str(tree["type"]), tuple((str(k), v) for k, v in self._pairs(tree, depth)))

    def _opaque(self, tree: dict, depth: int) -> Opaque:
        return Opaque(str(tree["type"])[:200], str(tree["why"])[:200])

    def _raised(self, tree: dict, depth: int) -> Raised:
        frames = tuple((str(file), int(line), str(function)) for file, line, function in tree["frames"])
        return Raised(str(tree["type"]), tuple(map(str, tree["bases"])), str(tree["message"])[:4000], frames[-50:])

    def _shape(self, tree: dict) -> tuple[int, ...]:
        shape = tree["shape"]
        if type(shape) is not list or len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
            raise WireError("a damaged shape")
        if math.prod(max(n, 1) for n in shape) > MAX_BUFFERS:
            raise WireError("a shape that is too large")
        return tuple(shape)

    def _strings(self, tree: dict, depth: int) -> Any:
        import numpy

        shape, items = self._shape(tree), [str(item) for item in tree["v"]]
        if len(items) * max(map(len, items), default=0) * 4 > MAX_BUFFERS:
            raise WireError("an array of strings that is too large")
        return numpy.array(items, dtype=str if items else "U1").reshape(shape)

    def _ndarray(self, tree: dict, depth: int) -> Any:
        import numpy

        if tree["dtype"] not in _NUMPY_DTYPES:
            raise WireError("an unknown dtype")
        shape, data = self._shape(tree), self.buffer(tree)
        if math.prod(shape) * numpy.dtype(tree["dtype"]).itemsize != len(data):
            raise WireError("an array whose size does not match its shape")
        return numpy.frombuffer(data, dtype=tree["dtype"]).reshape(shape).copy()

    def _scalar(self, tree: dict, depth: int) -> Any:
        return self._ndarray({**tree, "shape": []}, depth)[()]

    def _torch_dtype(self, tree: dict, depth: int) -> Any:
        torch = sys.modules.get("torch")
        return getattr(torch, tree["v"]) if torch and tree["v"] in _TORCH_DTYPES else Opaque("torch.dtype", "")

    def _tensor(self, tree: dict, depth: int) -> Any:
        torch = sys.modules.get("torch")
        if torch is None:
            return Opaque("torch.Tensor", "this lab does not use torch")
        shape, data = self._shape(tree), self.buffer(tree)
        if tree["dtype"] not in _TORCH_DTYPES or math.prod(shape) * _TORCH_DTYPES[tree["dtype"]] != len(data):
            raise WireError("a tensor whose size does not match its shape and dtype")
        dtype = getattr(torch, tree["dtype"])
        flat = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
        tensor = flat.reshape(shape)
        if self.device is not None:
            tensor = tensor.to(self.device)
        return tensor.requires_grad_() if tree["grad"] and (dtype.is_floating_point or dtype.is_complex) else tensor


# ---------------------------------------------------------------- frames


def pack(value: Any) -> bytes:
    """One frame. A value that is too large or too deep is packed as `Opaque`, so that packing never fails."""
    encoder = _Encoder()
    try:
        tree = json.dumps(encoder.tree(value)).encode()
        if len(tree) > MAX_TREE:
            raise WireError(f"a value larger than {MAX_TREE >> 20} MiB")
    except (WireError, RecursionError) as error:
        encoder = _Encoder()
        tree = json.dumps(encoder.tree(Opaque(type(value).__name__, str(error)))).encode()
    return HEADER.pack(MAGIC, len(tree), encoder.size) + tree + b"".join(encoder.buffers)


def lengths(header: bytes) -> tuple[int, int]:
    """The lengths of tree and buffers a header announces; WireError when it is forged or too large."""
    magic, tree, buffers = HEADER.unpack(header)
    if magic != MAGIC or tree > MAX_TREE or buffers > MAX_BUFFERS:
        raise WireError("a damaged frame")
    return tree, buffers


def unpack(frame: bytes | bytearray, device: str | None = None) -> Any:
    """The value of one whole frame. Raises WireError on anything out of the ordinary."""
    tree, buffers = lengths(bytes(frame[: HEADER.size]))
    if len(frame) != HEADER.size + tree + buffers:
        raise WireError("a frame of the wrong length")
    view = memoryview(frame)
    try:
        parsed = json.loads(bytes(view[HEADER.size : HEADER.size + tree]))
    except (ValueError, RecursionError):
        raise WireError("a frame that is not JSON") from None
    return _Decoder(view[HEADER.size + tree :], device).value(parsed)


def copy(value: Any, device: str | None = None) -> Any:
    """An equal copy, as the other side of the wire would see it."""
    return unpack(pack(value), device)
