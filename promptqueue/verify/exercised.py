"""Travels into the sandbox: notes which lines of the candidate's functions a question reached.

Only a hint: code that wants to can hide from it. It imports nothing of promptqueue.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any

_IN_FUNCTIONS = 1  # CO_OPTIMIZED: neither the body of a module nor that of a class
_MAX_LINES = 20_000


class Exercised:
    """Collects lines while it is on; `root` is the folder of the candidate's files."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/") + "/"
        self._lines: set[tuple[str, int]] = set()

    def __enter__(self) -> Exercised:
        sys.settrace(self._entered)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def lines(self) -> dict[str, list[int]]:
        """Return file to line numbers, in order."""
        found: dict[str, list[int]] = {}
        for path, number in sorted(self._lines)[:_MAX_LINES]:
            found.setdefault(path[len(self._root) :], []).append(number)
        return found

    def _entered(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._stepped if event == "call" and self._counts(frame.f_code) else None

    def _stepped(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            self._lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._stepped

    def _counts(self, code: CodeType) -> bool:
        return bool(code.co_flags & _IN_FUNCTIONS) and code.co_filename.startswith(self._root)
