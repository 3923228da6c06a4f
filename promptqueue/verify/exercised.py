"""Travels into the sandbox: notes which lines of the candidate's functions a question reached.

Only a hint: code that wants to can hide from it. It imports nothing of promptqueue.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

_IN_FUNCTIONS = 1  # CO_OPTIMIZED: neither the body of a module nor that of a class
_MAX_LINES = 20_000


class Exercised:
    """Collects lines while it is on; `root` is the folder of the candidate's files."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/") + "/"
        self._lines: set[tuple[str, int]] = set()

    def __enter__(self) -> Exercised:
        root, lines = self._root, self._lines

        def entered(frame: FrameType, *_: object) -> Any:
            """See every call of a question: a model's first pass makes 100,000 of them."""
            code = frame.f_code
            ours = code.co_filename.startswith(root) and code.co_flags & _IN_FUNCTIONS
            return stepped if ours else None

        def stepped(frame: FrameType, event: str, *_: object) -> Any:
            if event == "line":
                lines.add((frame.f_code.co_filename, frame.f_lineno))
            return stepped

        sys.settrace(entered)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def lines(self) -> dict[str, list[int]]:
        """Return file to line numbers, in order."""
        found: dict[str, list[int]] = {}
        for path, number in sorted(self._lines)[:_MAX_LINES]:
            found.setdefault(path[len(self._root) :], []).append(number)
        return found
