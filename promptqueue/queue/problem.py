"""What is wrong with a file, and where: the lines that a user reads."""

from __future__ import annotations

from typing import Literal, NamedTuple

from promptqueue.chat.validation import suggest as suggest
from promptqueue.words import printable

_MAX_WIDTH = 160
"""Of a line in a message; more of it helps nobody."""


class Place(NamedTuple):
    """Where something stands; lines and columns count from 1."""

    path: str
    line: int
    column: int


class Problem(NamedTuple):
    """One thing that is wrong with a file."""

    place: Place
    message: str
    source: str = ""
    """The line of the file, without its line end."""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        label = "" if self.severity == "error" else "warning: "
        head = f"{self.place.path}:{self.place.line}:{self.place.column}: {label}{self.message}"
        if not self.source.strip():
            return head
        return f"{head}\n{_excerpt(self.source, self.place.column)}"


def _excerpt(source: str, column: int) -> str:
    """Return the part of a line around `column`, and a caret below; control characters blanked."""
    line = printable(source).rstrip()
    first = max(0, column - 1 - _MAX_WIDTH // 2) if len(line) > _MAX_WIDTH else 0
    head, tail = "…" if first else "", "…" if len(line) > first + _MAX_WIDTH else ""
    caret = " " * (len(head) + column - 1 - first) + "^"
    return f"    {head}{line[first : first + _MAX_WIDTH]}{tail}\n    {caret}"
