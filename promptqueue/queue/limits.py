"""Limits from the command line: the same names, rules and words as `limits` of a queue file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from promptqueue.chat.validation import sentence, suggest
from promptqueue.errors import UsageError
from promptqueue.queue.document import MAX_DIGITS
from promptqueue.queue.model import Limits

_NUMBER = re.compile(r"[+-]?\d[\d_]*(\.\d*)?")
_EXAMPLES = {"calls": "10", "tokens": "20000", "wall": "10m", "usd": "0.50"}


def parse_limits(texts: Sequence[str]) -> Limits:
    """Return the limits that texts like `calls=10` or `wall=1h30m` give.

    Raises:
        UsageError: its message lists every text that is wrong, and how to write it.
    """
    problems: list[str] = []
    given: dict[str, object] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        problem = _misnamed(name, given) if equals else f"write it as NAME=VALUE, {_example()}"
        if problem:
            problems.append(f"--limit {text}: {problem}")
        else:
            given[name] = _number(value)
    try:
        limits = Limits.model_validate(given)
    except ValidationError as error:
        problems += _wrong_values(error)
    if problems:
        raise UsageError("\n".join(problems))
    return limits


def _misnamed(name: str, given: dict[str, object]) -> str:
    if name not in _EXAMPLES:
        there = f"there is {', '.join(_EXAMPLES)}"
        return f"no limit {name!r}; {suggest(name, _EXAMPLES, otherwise=there)}"
    return "this limit is given twice; keep one" if name in given else ""


def _number(text: str) -> int | float | str:
    """Read a number the way YAML does; anything else stays a text (`inf`, `10m`)."""
    found, plain = _NUMBER.fullmatch(text), text.replace("_", "")
    if not found or len(plain) > MAX_DIGITS:
        return text
    return float(plain) if found[1] else int(plain)


def _wrong_values(error: ValidationError) -> Iterator[str]:
    for detail in error.errors():
        name = str(detail["loc"][0])
        hint = "" if detail["type"] == "value_error" else f"; {_example(name)}"
        yield f"--limit {name}={detail['input']}: {sentence(detail)}{hint}"


def _example(name: str = "calls") -> str:
    return f"for example --limit {name}={_EXAMPLES[name]}"
