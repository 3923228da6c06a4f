"""Which of a run's files others lead to, by what they import."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from promptqueue.queue.interface import UNPARSABLE, parse_quietly


def imported(paths: Iterable[str], texts: Mapping[str, str]) -> set[str]:
    """Return the files among `texts` that those of `paths` import, and what these import."""
    found: set[str] = set()
    left = [*paths]
    while left:
        named = {f"{name}.py" for name in _modules(texts.get(left.pop(), ""))}
        fresh = (named & texts.keys()) - found
        found |= fresh
        left += fresh
    return found


def _modules(text: str) -> Iterator[str]:
    """Yield the modules that a text may import, as paths without their suffix."""
    try:
        tree = parse_quietly(text)
    except UNPARSABLE:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.replace(".", "/") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").replace(".", "/")
            yield module
            yield from (f"{module}/{alias.name}".strip("/") for alias in node.names)
