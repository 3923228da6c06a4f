"""What may come back over the wire: three shapes, and nothing else is believed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from promptqueue.queue.types import Strict

_PLACE = re.compile(r"[^:]{1,1000}:\d{1,6}", re.ASCII)
_Lines = dict[
    Annotated[str, Field(max_length=1000)], list[Annotated[int, Field(ge=0, lt=1_000_000)]]
]
"""File to line numbers, as large as those of a file can be that is judged."""


class _Exact(Strict):
    """Converts nothing either: a number in the place of a text is garbage."""

    model_config = ConfigDict(strict=True)


class Ready(_Exact):
    """The worker's first words; no code under test has run by then."""

    pid: int
    """The worker's number, as its own PID namespace has it."""
    absent: list[str]
    """Modules to preload that are not installed."""


class Answered(_Exact):
    """What the probe returned."""

    answer: Any
    tampered: list[str]
    """Functions of other libraries that the code replaced."""
    lines: _Lines = Field(default_factory=dict)
    """File to the lines of its functions that ran."""


class ToldException(_Exact):
    """An exception, as text."""

    kind: str
    text: str
    at: str
    """File and line of the code; empty where it has no part in it."""


class Raised(_Exact):
    """The code or the probe raised an exception."""

    raised: ToldException
    lines: _Lines = Field(default_factory=dict)
    """As in `Answered`."""


class Failed(_Exact):
    """There is no answer."""

    failed: Literal["time", "time over", "ended", "worker", "garbage"]
    stage: str = Field("", max_length=200)
    """What it was doing: `answering`, or `importing model`."""
    status: int | None = Field(None, ge=0, le=0xFFFF)
    """Of waitpid, where it ended."""
    text: str = ""


Reply = Answered | Raised | Failed
_REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)


def read_reply(message: object) -> Reply:
    """Return a decoded frame as what it says it is; whoever wrote it may have written anything."""
    try:
        return _REPLY.validate_python(message)
    except ValidationError:
        return Failed(failed="garbage", text="the answer is garbage")


def told_place(at: str) -> str:
    """Return where an exception came from, if that can be a file and a line; nothing else is."""
    return at if _PLACE.fullmatch(at) and at.isprintable() else ""


def told_status(status: int | None) -> str:
    """Say how a process ended; None if nobody knows."""
    if status is None:
        return "closed its wire"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(number).name}"
        return f"was ended by signal {number}"
    return f"exited with {os.WEXITSTATUS(status)}"
