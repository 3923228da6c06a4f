"""Finds the annotations that Python never evaluates: a name that is missing there stops nothing."""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Iterator

from promptqueue.queue.interface import UNPARSABLE, Function, parse_quietly

Place = tuple[int, int]
"""Line and column in characters, both from 1."""


class Unevaluated:
    """The places of a module whose code is only annotation, told by reading it.

    These are all annotations under `from __future__ import annotations`, and else those of a
    function's variables, and what is quoted.
    """

    def __init__(self, text: str) -> None:
        # the parser's columns count bytes: with one letter for each character they count these
        text = re.sub(r"[^\x00-\x7f]", "_", text.removeprefix("\ufeff"))
        try:
            spans = sorted(map(_span, _unevaluated(parse_quietly(text))))
        except UNPARSABLE:
            spans = []
        self._starts, self._ends = [start for start, _ in spans], [end for _, end in spans]

    def __contains__(self, place: Place) -> bool:
        number = bisect_right(self._starts, place) - 1
        return number >= 0 and place < self._ends[number]


def _unevaluated(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield annotations and parts of them; none lies in another."""
    postponed = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )
    waiting: list[tuple[ast.AST, bool]] = [(tree, False)]
    while waiting:  # no recursion: foreign code is nested as deeply as it likes
        node, local = waiting.pop()
        local = isinstance(node, Function) or (local and not isinstance(node, ast.ClassDef))
        waiting += [(child, local) for child in ast.iter_child_nodes(node)]
        annotation = _annotation(node)
        if annotation is None:
            continue
        if postponed or (local and isinstance(node, ast.AnnAssign)):
            yield annotation
        else:
            yield from _quoted(annotation)


def _annotation(node: ast.AST) -> ast.expr | None:
    match node:
        case ast.arg(annotation=annotation) | ast.AnnAssign(annotation=annotation):
            return annotation
        case ast.FunctionDef(returns=annotation) | ast.AsyncFunctionDef(returns=annotation):
            return annotation
    return None


def _quoted(annotation: ast.expr) -> Iterator[ast.Constant]:
    for node in ast.walk(annotation):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node


def _span(node: ast.expr) -> tuple[Place, Place]:
    end = (node.end_lineno or node.lineno, (node.end_col_offset or node.col_offset) + 1)
    return (node.lineno, node.col_offset + 1), end
