"""The wire: everything goes through unchanged, and no forged frame gets past the reader."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.grading import wire

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
)


@given(PLAIN)
@settings(max_examples=300, deadline=None)
def test_plain_values_survive(value):
    back = wire.copy(value)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        {(1, 2): b"x", "a": frozenset({3})},
        10**40,
        "\ud800 lone",
        complex(1, -0.0),
        bytearray(b"ab"),
        {b"a", b"b"},
        -0.0,
        collections.Counter("abba"),
    ],
)
def test_odd_values_survive(value):
    assert wire.copy(value) == value


def test_nan_and_infinities_survive():
    nan, plus, minus = wire.copy([math.nan, math.inf, -math.inf])
    assert math.isnan(nan) and plus == math.inf and minus == -math.inf


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "float32", "float64", "complex128"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_arrays_survive(dtype, shape):
    array = (np.random.default_rng(0).standard_normal(shape) * 10).astype(dtype)
    back = wire.copy(np.asarray(array))
    assert back.dtype == array.dtype and back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_views_strings_and_scalars_survive():
    array = np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1)[::2]
    np.testing.assert_array_equal(wire.copy(array), array)
    np.testing.assert_array_equal(wire.copy(np.array(["a", "Bc"])), np.array(["a", "Bc"]))
    assert wire.copy(np.float32(0.1)) == np.float32(0.1) and type(wire.copy(np.float32(0.1))) is np.float32


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int64, torch.bool]
)
def test_tensors_survive(dtype):
    tensor = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).mul(9).to(dtype).t()
    back = wire.copy(tensor)
    assert back.dtype == dtype and torch.equal(back, tensor)
    assert wire.copy(torch.zeros(2, requires_grad=True)).requires_grad


@dataclasses.dataclass
class Point:
    x: int
    y: list


Pair = collections.namedtuple("Pair", "left right")


def test_records_keep_name_and_fields():
    assert wire.copy(Point(1, [2])) == wire.Record("Point", (("x", 1), ("y", [2])))
    assert wire.copy(Pair(1, 2)) == wire.Record("Pair", (("left", 1), ("right", 2)))


class EqualToEverything:
    def __eq__(self, other):
        return True

    __hash__ = None


class Loud(np.ndarray):
    pass


class Sly(int):
    pass


@pytest.mark.parametrize(
    "value",
    [EqualToEverything(), np.zeros(3).view(Loud), Sly(3), object(), print, (x for x in "a"), np.array([object()])],
    ids=["equal", "subclass", "int-subclass", "object", "function", "generator", "object-array"],
)
def test_everything_else_is_opaque(value):
    assert isinstance(wire.copy(value), wire.Opaque)


def test_a_value_too_large_or_too_deep_is_opaque():
    deep: list = []
    for _ in range(10_000):
        deep = [deep]
    flat = wire.copy(deep)
    while isinstance(flat, list):
        flat = flat[0]
    assert isinstance(flat, wire.Opaque)
    assert isinstance(wire.copy(bytes(wire.MAX_BUFFERS + 1)), wire.Opaque)
    assert isinstance(wire.copy([0.1234567890123] * (wire.MAX_TREE // 14)), wire.Opaque)


def frame_of(tree, buffers: bytes = b"") -> bytes:
    text = json.dumps(tree).encode()
    return wire.HEADER.pack(wire.MAGIC, len(text), len(buffers)) + text + buffers


@pytest.mark.parametrize(
    "tree",
    [
        {"k": "ndarray", "dtype": "float64", "shape": [2], "at": 0, "size": 8},
        {"k": "ndarray", "dtype": "float64", "shape": [1], "at": 4, "size": 8},
        {"k": "ndarray", "dtype": "object", "shape": [1], "at": 0, "size": 8},
        {"k": "ndarray", "dtype": "float64", "shape": [-1], "at": 0, "size": 8},
        {"k": "ndarray", "dtype": "float64", "shape": [True], "at": 0, "size": 8},
        {"k": "ndarray", "dtype": "float64", "shape": [2**62, 4], "at": 0, "size": 8},
        {"k": "tensor", "dtype": "qint8", "shape": [8], "at": 0, "size": 8, "grad": False},
        {"k": "tensor", "dtype": "float32", "shape": "2", "at": 0, "size": 8, "grad": False},
        {"k": "bytes", "at": -1, "size": 4},
        {"k": "_init__", "v": []},
        {"k": "value"},
        {"k": "dict", "v": [[{"k": "list", "v": []}, 1]]},
        {"k": "set", "v": [{"k": "list", "v": []}]},
        {"k": "strings", "shape": [2], "v": ["a"]},
        {"k": "strings", "shape": [100001], "v": ["a" * 100_000] + [""] * 100_000},
        {"no": "kind"},
        [1, 2],
    ],
)
def test_forged_trees_are_refused(tree):
    with pytest.raises(wire.WireError):
        wire.unpack(frame_of(tree, bytes(8)))


def test_forged_frames_are_refused():
    good = wire.pack([1, np.arange(3)])
    with pytest.raises(wire.WireError):
        wire.lengths(wire.HEADER.pack(wire.MAGIC, 10, 2**60))
    with pytest.raises(wire.WireError):
        wire.lengths(b"NOPE" + good[4 : wire.HEADER.size])
    with pytest.raises(wire.WireError):
        wire.unpack(good + b"x")
    with pytest.raises(wire.WireError):
        wire.unpack(frame_of(None)[:-4] + b"[[[[")


def test_random_damage_is_a_wire_error_or_a_value():
    good = bytearray(wire.pack({"a": [1.5, "x", (None, True)], "b": np.arange(6.0).reshape(2, 3), "c": torch.ones(2)}))
    random.seed(0)
    for _ in range(3000):
        bad = bytearray(good)
        for _ in range(random.randint(1, 4)):
            bad[random.randrange(len(bad))] = random.randrange(256)
        with contextlib.suppress(wire.WireError):
            wire.unpack(bad)
