"""The typed inputs of a queue: defaults, a file of values, and `--set name=value`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptqueue.errors import UsageError
from promptqueue.queue.document import read_document
from promptqueue.queue.model import Input, Queue
from promptqueue.queue.problem import suggest
from promptqueue.words import is_unicode

Value = str | int | float | bool
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True}
_BOOLEANS |= {"false": False, "no": False, "off": False, "0": False}
_KINDS = {
    "str": "a text (in quotes, where it looks like something else)",
    "int": "a whole number, such as 5",
    "float": "a number, such as 0.5",
    "bool": "true or false",
}
"""How messages call a type."""


def resolve_inputs(
    queue: Queue,
    settings: Sequence[str] = (),
    file: Path | None = None,
    before: Mapping[str, Value] | None = None,
) -> dict[str, Value]:
    """Return the value of every input: `settings` win over `file`, and that over `before`.

    Args:
        queue: declares names, types and limits.
        settings: texts of the form `name=value`.
        file: a YAML mapping of names to values.
        before: those of a run; what the queue does not have any more is left out, and what is
            new has its default.

    Raises:
        UsageError: its message lists every wrong or missing value.
    """
    problems: list[str] = []
    known = {name: v for name, v in (before or {}).items() if name in queue.inputs}
    written, flags = _from_file(file), _from_settings(settings, problems)
    given = {**known, **written, **flags}
    places = {name: f"{file}: " for name in written if name not in flags}
    problems += [
        places.get(name, "") + _unknown(queue, name) for name in given if name not in queue.inputs
    ]
    values: dict[str, Value] = {}
    for name, spec in queue.inputs.items():
        value = given.get(name, spec.default)
        if value is None:
            way_out = f"has no value; give it with --set {name}=..."
            problems.append(f"{places.get(name, '')}the input {name!r} {way_out}")
            continue
        try:
            values[name] = checked_value(name, spec, value)
        except UsageError as error:
            problems.append(f"{places.get(name, '')}{error}")
    if problems:
        raise UsageError("\n".join(problems))
    return values


def checked_value(name: str, spec: Input, value: Any) -> Value:
    """Return `value` in the declared type.

    Raises:
        UsageError: the value has another type, is no choice, or is out of range.
    """
    try:
        typed = _PARSERS[spec.type](value)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        found = str(value).lower() if isinstance(value, bool) else repr(value)
        text = f"the input {name!r} is {_KINDS[spec.type]}, not {found}"
        raise UsageError(text) from error
    if isinstance(typed, str) and not is_unicode(typed):
        raise UsageError(f"the input {name!r} holds bytes that are no text in UTF-8")
    if spec.choices is not None and typed not in map(_PARSERS[spec.type], spec.choices):
        choices = ", ".join(map(str, spec.choices))
        raise UsageError(f"the input {name!r} is one of {choices}, not {value!r}")
    if isinstance(typed, int | float):
        _check_range(name, spec, typed)
    return typed


def _check_range(name: str, spec: Input, value: float) -> None:
    if spec.min is not None and value < spec.min:
        raise UsageError(f"the input {name!r} is at least {spec.min:g}, not {value!r}")
    if spec.max is not None and value > spec.max:
        raise UsageError(f"the input {name!r} is at most {spec.max:g}, not {value!r}")


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - the caller turns it into one message
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError
    return number


def _boolean(value: Any) -> bool:
    return value if isinstance(value, bool) else _BOOLEANS[str(value).strip().lower()]


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError  # YAML reads a bare `no` as false: it is text only in quotes
    return str(value)


_PARSERS: Mapping[str, Callable[[Any], Value]] = {
    "str": _text,
    "int": _integer,
    "float": _number,
    "bool": _boolean,
}


def _from_settings(settings: Sequence[str], problems: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            problems.append(f"--set {setting}: write it as name=value, for instance language=en")
        else:
            given[name.strip()] = value
    return given


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    document = read_document(file, needs="write a line `name: value` for each input")
    if document.problems:
        raise UsageError("\n".join(map(str, document.problems)))
    if not isinstance(document.data, dict):
        raise UsageError(f"{file}: an inputs file is a mapping of names to values")
    return document.data


def _unknown(queue: Queue, name: str) -> str:
    known = list(queue.inputs)
    hint = suggest(name, known, otherwise=f"it has {', '.join(known) or 'no inputs'}")
    return f"the queue has no input {name!r}; {hint}"


def known_inputs(given: Mapping[str, Value], queue: Queue) -> dict[str, Value]:
    """Return the inputs of a run for the queue as it is now: new ones get their defaults."""
    return resolve_inputs(queue, before=given)


def setting(name: str, value: Value) -> str:
    """Return an input as `--set` takes it."""
    return f"{name}={str(value).lower() if isinstance(value, bool) else value}"
