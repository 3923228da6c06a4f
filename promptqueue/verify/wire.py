"""The wire between the trusted side and the sandbox: frames of JSON and safetensors, with caps.

A frame is two lengths (JSON, tensors; big-endian, 4 bytes each), the JSON, and the tensors as a
safetensors file. In the JSON a tensor is `{"$tensor": name}`. Nothing is ever unpickled.
This file also travels into the sandbox, so it imports nothing of promptqueue.
"""

from __future__ import annotations

import json
import math
import os
import select
import struct
import time
from collections.abc import Mapping
from typing import Any

MAX_JSON = 1 << 20
MAX_TENSORS = 64 << 20
_HEAD = struct.Struct(">II")
_TENSOR = "$tensor"
_CHUNK = 1 << 20
_MAX_DEPTH = 32


class WireError(Exception):
    """What came over the wire is no frame, or none in time."""


class WireTimeout(WireError):
    """Nothing, or not all of it, came in time."""


class WireClosed(WireError):
    """The other side closed the wire."""


def send(wire: int, message: Any, *, patience_s: float = 60.0) -> None:
    """Write one frame into the file descriptor `wire`.

    Raises:
        WireError: the message is no plain data, is too large, or nobody takes it.
    """
    write_all(wire, encode(message), deadline=time.monotonic() + patience_s)


def receive(wire: int, *, deadline: float) -> Any:
    """Read one frame from the file descriptor `wire`.

    Args:
        wire: a pipe.
        deadline: of the monotonic clock; inf to wait for ever.

    Raises:
        WireTimeout: it did not come in time.
        WireClosed: the other side is gone.
        WireError: what came is no frame, or too large.
    """
    return decode(receive_bytes(wire, deadline=deadline))


def receive_bytes(wire: int, *, deadline: float) -> bytes:
    """Read the bytes of one frame, unread; raises as `receive` does."""
    head = _read_exactly(wire, _HEAD.size, deadline)
    text, tensors = _HEAD.unpack(head)
    if text > MAX_JSON or tensors > MAX_TENSORS:
        raise WireError(f"the answer is larger than {MAX_JSON >> 20} MiB and "
                        f"{MAX_TENSORS >> 20} MiB of tensors, or no answer at all")  # fmt: skip
    return head + _read_exactly(wire, text + tensors, deadline)


def encode(message: Any) -> bytes:
    """Return a message of JSON values, numpy arrays and torch tensors as a frame."""
    tensors: dict[str, Any] = {}
    try:
        plain = _packed(message, tensors, 0)
        text = json.dumps(plain, allow_nan=True, ensure_ascii=False).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"this is no plain data: {error}") from error
    data = _saved(tensors) if tensors else b""
    if len(text) > MAX_JSON or len(data) > MAX_TENSORS:
        raise WireError(
            f"{len(text)} bytes and {len(data)} bytes of tensors are too much for one answer"
        )
    return _HEAD.pack(len(text), len(data)) + text + data


def decode(frame: bytes) -> Any:
    """Return the message of a frame, its tensors as numpy arrays; raises WireError."""
    length, _ = _HEAD.unpack_from(frame)
    text, data = frame[_HEAD.size : _HEAD.size + length], frame[_HEAD.size + length :]
    try:
        message = json.loads(text)
        tensors = _loaded(data) if data else {}
        return _unpacked(message, tensors)
    except RecursionError as error:
        raise WireError("the answer is nested too deeply") from error
    except Exception as error:  # safetensors raises classes of its own
        raise WireError(f"the answer cannot be read: {error}") from error


def write_all(wire: int, data: bytes, *, deadline: float) -> None:
    """Write `data` whole; raises as `receive` does."""
    view = memoryview(data)
    while view:
        _wait(wire, deadline, write=True)
        try:
            view = view[os.write(wire, view[:4096]) :]  # a pipe that is ready takes so much
        except BrokenPipeError as error:
            raise WireClosed("the other side is gone") from error


def _read_exactly(wire: int, size: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        _wait(wire, deadline, write=False)
        part = os.read(wire, min(size - len(data), _CHUNK))
        if not part:
            raise WireClosed("the other side is gone")
        data += part
    return bytes(data)


def _wait(wire: int, deadline: float, *, write: bool) -> None:
    left = None if deadline == math.inf else max(deadline - time.monotonic(), 0)
    ready = select.select([] if write else [wire], [wire] if write else [], [], left)
    if not (ready[0] or ready[1]):
        raise WireTimeout("no answer in time")


def _packed(value: Any, tensors: dict[str, Any], depth: int) -> Any:
    """Return `value` as JSON; arrays and tensors go into `tensors`."""
    if depth > _MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, dict):
        return {str(key): _packed(each, tensors, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(each, tensors, depth + 1) for each in value]
    if hasattr(value, "detach") or hasattr(value, "__array_interface__"):
        if value.shape == () and not hasattr(value, "detach"):  # a numpy scalar
            return value.item()
        name = f"t{len(tensors)}"
        tensors[name] = value
        return {_TENSOR: name}
    raise TypeError(f"{type(value).__name__} is neither JSON nor an array")


def _unpacked(value: Any, tensors: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_TENSOR}:
            return tensors[value[_TENSOR]]
        return {key: _unpacked(each, tensors) for key, each in value.items()}
    if isinstance(value, list):
        return [_unpacked(each, tensors) for each in value]
    return value


def _saved(tensors: dict[str, Any]) -> bytes:
    import numpy as np
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(_as_array(each)) for name, each in tensors.items()}
    return bytes(save({n: a.reshape(tensors[n].shape) for n, a in arrays.items()}))


def _as_array(value: Any) -> Any:
    if not hasattr(value, "detach"):
        return value
    value = value.detach().cpu()
    # numpy knows no bfloat16; float32 holds every value of it
    return (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()


def _loaded(data: bytes) -> dict[str, Any]:
    from safetensors.numpy import load

    return dict(load(data))


def finite(value: Any) -> bool:
    """Tell whether every number in an answer is finite."""
    if isinstance(value, Mapping):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return _finite_array(value) if hasattr(value, "dtype") else True


def _finite_array(value: Any) -> bool:
    import numpy as np

    return value.dtype.kind not in "fc" or bool(np.isfinite(value).all())
