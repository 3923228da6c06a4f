"""What `{{ ... }}` of a template may print: texts and plain values, the same in each process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jinja2 import TemplateRuntimeError, Undefined

from promptqueue.queue.model import StepResult, Turn
from promptqueue.words import is_unicode

_FLAWS: tuple[tuple[Any, str], ...] = (
    (StepResult, "the result of a step is no text; name one of its parts, as .reply"),
    (Turn, "a turn is no text; name one of its parts, .prompt or .reply"),
    (Mapping, 'a mapping is no text; name one of its parts, as ["a.py"], or add | tojson'),
    (Iterator, "this is no text but what filters like map give; add | join or | list"),
    (Callable, "a function is no text; call it, with its arguments in brackets"),
)
"""What a template may hold and a prompt cannot; the first that fits."""


def printed(value: Any) -> Any:
    """Return a value that a template prints, if a prompt can hold it.

    Python shows an object by its address, another one in each process: the prompt would never be
    the one that was answered before.

    Raises:
        TemplateRuntimeError: it is no text; the message names the way out.
    """
    if isinstance(value, Undefined):  # it complains itself, in better words
        return value
    if isinstance(value, str) and not is_unicode(value):
        raise TemplateRuntimeError(r"half of a character; write the whole of it, as \U0001f600")
    flaw = _flaw(value)
    if flaw:
        raise TemplateRuntimeError(flaw)
    return value


def plain(value: Any) -> Any:
    """Return as JSON knows it what the filter `tojson` is given: files and turns of a step.

    Raises:
        TypeError: JSON knows nothing like it.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON knows")


def _flaw(value: Any) -> str:
    """Say what is wrong with a value that is no text; nothing where it can be printed."""
    if isinstance(value, Sequence) and value and isinstance(value[0], Turn):
        return "a list of turns is no text; name a part of one of them, as [0].reply"
    kind: Any = type(value)
    nameless = kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__
    otherwise = f"a {kind.__name__} is no text" if nameless else ""
    return next((flaw for each, flaw in _FLAWS if isinstance(value, each)), otherwise)
