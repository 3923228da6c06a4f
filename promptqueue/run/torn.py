"""Parses a module of which one function or class does not parse, so that it can be mended alone."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence

from promptqueue.queue.interface import UNPARSABLE, parse_quietly

_OPENS = re.compile(r"(?:def|async def|class)\s")
_GOES_ON = " \t)]}#"
"""What a line of a definition begins with, after the first."""
_LONGEST_HEADER = 20


def parse_torn(text: str) -> ast.Module:
    """Parse a module; the definition at the top level that does not parse is taken for empty.

    It keeps its signature and the number of its lines, and its statements are `pass`.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: more than that does not parse.
    """
    try:
        return parse_quietly(text)
    except SyntaxError as error:
        emptied = _emptied(lines_of(text), (error.lineno or 0) - 1)
        if emptied is None:
            raise
        return parse_quietly("\n".join(emptied))


def lines_of(text: str) -> list[str]:
    """Split where Python's parser does; `splitlines` knows more ends of lines than that."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return text.removesuffix("\n").split("\n")


def _emptied(lines: Sequence[str], at: int) -> list[str] | None:
    """Return the lines with nothing in the definition that the one with index `at` is part of."""
    starts = [n for n, line in enumerate(lines[: at + 1]) if _OPENS.match(line)]
    if not starts:
        return None
    start = starts[-1]
    rest = range(start + 1, len(lines))
    end = next((n for n in rest if lines[n] and lines[n][0] not in _GOES_ON), len(lines))
    while not lines[end - 1].strip():
        end -= 1
    body = header_length(lines[start:end])
    if body is None or at >= end:
        return None
    return [*lines[: start + body], *["    pass"] * (end - start - body), *lines[end:]]


def header_length(definition: Sequence[str]) -> int | None:
    """Return how many lines decorators and signature take, if they are whole and stand alone."""
    for length in range(1, min(len(definition), _LONGEST_HEADER)):
        header = textwrap.dedent("\n".join(definition[:length]))
        try:
            parse_quietly(f"{header}\n    pass")
        except UNPARSABLE:
            continue
        return length
    return None
