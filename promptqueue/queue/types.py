"""The types that the values of a queue file are made of: safe paths, names, durations, counts."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from promptqueue.chat.validation import shown
from promptqueue.queue.interface import UNPARSABLE, parse_quietly

_LONGEST_DURATION = 50
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


class Strict(BaseModel):
    """Frozen data that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _safe_path(path: str) -> str:
    pure = PurePosixPath(path)
    unsafe = pure.is_absolute() or ".." in pure.parts or "\\" in path or ":" in path
    odd = not path.isprintable() or any(char in path for char in '`"*?<>|')  # fences, Windows
    hidden = any(part.startswith((".", "~")) for part in pure.parts)
    if unsafe or odd or hidden or not pure.parts or str(pure) != path or path != path.strip():
        raise ValueError(
            f"{path!r} is not a plain relative path; write something like model.py or data/load.py"
        )
    return path


def _symbol(text: str) -> str:
    try:
        if not text.isidentifier():
            parse_quietly(f"def {text}: ...")
    except UNPARSABLE:
        raise ValueError(
            f"{shown(text)} is neither a name nor name(arguments); write something like "
            'make_loader or "make_loader(path, size=8)", in quotes where there is a comma'
        ) from None
    return text


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value  # a number of seconds
    match = _DURATION.fullmatch(value.strip())
    if not match or not any(match.groups()) or len(value) > _LONGEST_DURATION:
        raise ValueError(f"{value!r} is not a duration; write 90m, 1h30m or 45s")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):  # bool is an int
        return value
    raise ValueError("a value is a text, a number, or one of true and false")


OutputPath = Annotated[str, AfterValidator(_safe_path)]
Symbol = Annotated[str, AfterValidator(_symbol)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=64)]
Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, strict=True, allow_inf_nan=False),
    WithJsonSchema({"type": ["number", "string"], "exclusiveMinimum": 0}),  # as it is written
]
Scalar = Annotated[str | int | float | bool, BeforeValidator(_scalar)]
Count = Annotated[int, Field(strict=True)]  # else `yes` would be 1
