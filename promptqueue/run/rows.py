"""Statements that share a line, put on lines of their own, so that each can be replaced alone."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator, Sequence

from promptqueue.run.torn import lines_of, parse_torn
from promptqueue.run.units import Scope


def spread(text: str, rows: Container[int] | None = None) -> str:
    """Break lines between the statements of a module and its classes; a function stays as it is.

    Args:
        text: of a module; one of its definitions may be torn.
        rows: the lines to break, counted from 1; None: all.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it does not parse.
    """
    lines = lines_of(text)
    for node, indent in reversed([*_crowded(parse_torn(text), lines, "")]):
        if rows is None or node.lineno in rows:
            before = _before(node, lines)
            rest = lines[node.lineno - 1].removeprefix(before)
            lines[node.lineno - 1 : node.lineno] = [before.rstrip("; \t\f"), indent + rest]
    return "\n".join(lines) + "\n"


def _crowded(scope: Scope, lines: Sequence[str], indent: str) -> Iterator[tuple[ast.stmt, str]]:
    """Yield statements behind others on their line, and the indentation of their scope."""
    for node in scope.body:
        before = _before(node, lines)
        if before.strip() and not isinstance(node, ast.Pass):  # also what stands for a torn line
            yield node, indent
        if isinstance(node, ast.ClassDef):
            inner = _before(node.body[0], lines)
            yield from _crowded(node, lines, f"{before}    " if inner.strip() else inner)


def _before(node: ast.stmt, lines: Sequence[str]) -> str:
    """Return what stands before a statement on its line; the parser counts bytes."""
    return lines[node.lineno - 1].encode()[: node.col_offset].decode(errors="ignore")
