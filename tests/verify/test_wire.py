"""Frames: what goes in comes out, and no bytes do more than raise WireError."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptqueue.verify import wire

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text()
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES.filter(lambda value: "$tensor" not in json.dumps(value)))
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair cannot travel
        return
    assert wire.decode(wire.encode(value)) == value


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (0, 4), (1,)], ids=str)
def test_arrays_keep_values_shape_and_type(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)

    (back,) = wire.decode(wire.encode([{"a": array}]))[0].values()

    np.testing.assert_array_equal(back, array)
    assert (back.dtype, back.shape) == (array.dtype, shape)


def test_an_array_that_is_not_contiguous_keeps_its_order() -> None:
    array = np.arange(6.0).reshape(2, 3).T

    np.testing.assert_array_equal(wire.decode(wire.encode(array)), array)


def test_torch_tensors_arrive_as_arrays_bfloat16_widened() -> None:
    torch = pytest.importorskip("torch")
    back = wire.decode(wire.encode({"a": torch.tensor([1.5], dtype=torch.bfloat16)}))["a"]

    assert (back.dtype, back.tolist()) == (np.float32, [1.5])


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_raise(data: bytes) -> None:
    read, write = os.pipe()
    try:
        os.write(write, data)
        os.close(write)
        with contextlib.suppress(wire.WireError):
            wire.receive(read, deadline=time.monotonic() + 5)
    finally:
        os.close(read)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_no_well_measured_frame_does_more_than_raise(text: bytes, tensors: bytes) -> None:
    with contextlib.suppress(wire.WireError):
        wire.decode(struct.pack(">II", len(text), len(tensors)) + text + tensors)


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack(">II", wire.MAX_JSON + 1, 0),
        struct.pack(">II", 0, wire.MAX_TENSORS + 1),
        b"\xff" * 8,
    ],
    ids=["too much text", "too many tensors", "no frame"],
)
def test_a_frame_that_announces_too_much_is_not_read(frame: bytes) -> None:
    read, write = os.pipe()
    os.write(write, frame)

    with pytest.raises(wire.WireError, match="larger than"):
        wire.receive(read, deadline=time.monotonic() + 5)


def test_half_a_frame_is_a_timeout_and_a_closed_wire_is_told() -> None:
    read, write = os.pipe()
    os.write(write, struct.pack(">II", 10, 0) + b"half")

    with pytest.raises(wire.WireTimeout):
        wire.receive(read, deadline=time.monotonic() + 0.05)
    os.close(write)
    with pytest.raises(wire.WireClosed):
        wire.receive(read, deadline=time.monotonic() + 5)


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, b"bytes", lambda: None], ids=lambda value: type(value).__name__
)
def test_what_is_no_plain_data_is_refused(value: object) -> None:
    with pytest.raises(wire.WireError, match="no plain data"):
        wire.encode({"a": value})


def test_json_that_nests_for_ever_is_refused() -> None:
    nest: Any = 1
    for _ in range(100_000):
        nest = [nest]
    text = b"[" * 100_000 + b"]" * 100_000

    with pytest.raises(wire.WireError, match="nested"):
        wire.encode(nest)
    with pytest.raises(wire.WireError, match="nested"):
        wire.decode(struct.pack(">II", len(text), 0) + text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 2.0, "x", None]}, True),
        ({"a": [float("nan")]}, False),
        (np.array([1.0, np.inf]), False),
        (np.array([1, 2]), True),
    ],
    ids=["plain", "NaN", "infinite array", "whole numbers"],
)
def test_finite(value: Any, expected: bool) -> None:
    assert wire.finite(value) is expected
