"""Which variables a template reads, and which names it sets itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import Any

from jinja2 import nodes

GIVEN = frozenset({"self", "loop", "caller", "super", "varargs", "kwargs"})
"""Names that Jinja itself gives to blocks, loops and macros."""
_VARIABLES = frozenset({"inputs", "step", "steps"})  # all that a template sees


def names_read(parts: Iterable[nodes.Node]) -> Iterator[str]:
    """Yield every bare name that is read."""
    return (node.name for node in parts if isinstance(node, nodes.Name) and node.ctx == "load")


def names_set(parts: Iterable[nodes.Node]) -> Iterator[str]:
    """Yield every name that a template sets, imports or defines."""
    for node in parts:
        if isinstance(node, nodes.Name):
            if node.ctx != "load":
                yield node.name
        elif isinstance(node, nodes.FromImport):
            yield from _imported(node)
        elif isinstance(node, nodes.Import):
            yield node.target
        elif isinstance(node, nodes.Macro):
            yield node.name


def variables_used(
    parts: Iterable[nodes.Node], *, unknown: Set[str], own: Set[str]
) -> Iterator[tuple[int, str]]:
    """Yield line and path of each variable that is read.

    Args:
        parts: the nodes of one template.
        unknown: names that it reads and that Jinja does not know.
        own: names that it, or what it includes, sets itself.
    """
    strange, seen = unknown - own - _VARIABLES, _VARIABLES - own
    for node in parts:
        use = _use_of(node, strange, seen)
        if use:
            yield node.lineno, use


def _imported(node: nodes.FromImport) -> Iterator[str]:
    for name in node.names:
        yield name[1] if isinstance(name, tuple) else name


def _use_of(node: nodes.Node, unknown: Set[str], seen: Set[str]) -> str | None:
    if isinstance(node, nodes.Name):
        return node.name if node.name in unknown else None
    path = _path_of(node)
    if not path or path[0] not in seen or not 2 <= len(path) <= _deepest(path):
        return None
    if len(path) == 4 and isinstance(node, nodes.Getattr):
        return None  # a method of the files, as items: paths stand in brackets
    return ".".join(path)


def _deepest(path: tuple[str, ...]) -> int:
    """Return how many parts of a path are looked at; what lies deeper is a value's own matter."""
    if path[0] != "steps":
        return 2
    return 4 if path[2:3] in (("files",), ("interface",)) else 3


def _path_of(node: nodes.Node) -> tuple[str, ...]:
    """Return `("steps", "model", "reply")` for `steps.model.reply`; nothing where computed.

    A key in brackets and the argument of a call are parts like any other.
    """
    if isinstance(node, nodes.Name):
        return (node.name,)
    key: Any = None
    if isinstance(node, nodes.Getattr):
        key = node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        key = node.arg.value
    elif isinstance(node, nodes.Call) and len(node.args) == 1:
        key = node.args[0].value if isinstance(node.args[0], nodes.Const) else None
    if not isinstance(node, nodes.Getattr | nodes.Getitem | nodes.Call):
        return ()
    base = _path_of(node.node)
    return (*base, key) if base and isinstance(key, str) else ()
