"""Says in plain words what pydantic finds wrong with what users wrote."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Location = Sequence[str | int]

_KINDS = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "finite": "a number",
    "bool": "true or false",
    "tuple": "a list (`[...]`, or lines that begin with `- `)",
    "dict": "a mapping (lines of `key: value`)",
    "mapping": "a mapping (lines of `key: value`)",
}
"""First word of pydantic's name of any other error to what was needed."""
_SHOWN = 60
"""Characters of a wrong value that a message repeats."""
_SENTENCES = {
    "too_short": "the list is empty; it needs at least one entry",
    "string_pattern_mismatch": (
        "{} is no name; use letters, digits, - and _, beginning with a letter"
    ),
    "string_too_long": "a name has at most {max_length} characters; shorten {}",
    "greater_than_equal": "this must be at least {ge:g}, not {}",
    "greater_than": "this must be more than {gt:g}, not {}",
    "less_than_equal": "this must be at most {le:g}, not {}",
    "literal_error": "this must be {expected}, not {}",
}
"""Pydantic's name of an error to what we say; `{}` is what was found."""


def sentence(detail: ErrorDetails, keys: Iterable[str] = ()) -> str:
    """Say what pydantic found wrong with a value.

    Args:
        detail: one of `ValidationError.errors()`.
        keys: those of the mapping that was needed, if it was one.
    """
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    if detail["input"] is None:
        return "this key has no value; write one, or remove the key"
    words = _SENTENCES.get(detail["type"])
    if words:
        return words.format(shown(detail["input"]), **detail.get("ctx", {}))
    if detail["type"].startswith("model"):
        needed = f"a mapping with the keys {', '.join(keys)}"
    else:
        needed = _KINDS.get(detail["type"].partition("_")[0], "another value")
    return f"{needed} is needed here, not {shown(detail['input'])}"


def shown(value: Any) -> str:
    """Return a wrong value as a message repeats it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r}..."
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else repr(value)


def unknown_key(name: str, known: Sequence[str]) -> str:
    """Say that a key is not known, and which was probably meant."""
    hint = suggest(name, known, otherwise=f"known here: {', '.join(known)}")
    return f"unknown key {name!r}; {hint}"


def suggest(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Return the way out of a wrong name: the nearest one, else `otherwise`, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    if otherwise:
        return otherwise
    return f"there is {', '.join(map(repr, names))}" if names else "there is none"


def keys_at(root: type[BaseModel], location: Location) -> list[str]:
    """Return the keys that the model at `location`, seen from `root`, knows."""
    model = root
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = next(_models_in(model.model_fields[part].annotation), model)
    return [info.alias or name for name, info in model.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType) or get_args(annotation):
        for argument in get_args(annotation):
            yield from _models_in(argument)
