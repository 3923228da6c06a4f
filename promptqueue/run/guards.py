"""What a module or class imports, and what it imports or defines under a condition only."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Iterator

from promptqueue.queue.interface import Definition, is_main_guard
from promptqueue.run.units import Constant, Scope
from promptqueue.verify.lint import names_bound, statements

Import = ast.Import | ast.ImportFrom
Guard = ast.If | ast.Try | ast.TryStar
"""Such as `try: import x` with `except ImportError: x = None`, or two definitions of a name."""


def guards(scope: Scope) -> dict[str, Guard]:
    """Return imports and definitions under a condition, by that and the names that they bind."""
    found = [node for node in scope.body if isinstance(node, Guard) and _is_guard(node)]
    return {f"{_condition(node)}: {', '.join(sorted(names_bound([node])))}": node for node in found}


def new_guards(old: Scope, new: Scope) -> list[Guard]:
    """Return the guards of `new` that bring what `old` does not have."""
    known = guards(old)
    return [node for name, node in guards(new).items() if name not in known and _brings(node, old)]


def new_imports(old: Scope, new: Scope) -> list[str]:
    """Return the import statements of `new`, without what `old` imports, if under a guard.

    What is imported for types alone is not there at run time.
    """
    have = _imported(_at_run_time(old.body))
    wanted = [_without(have, node) for node in new.body if isinstance(node, Import)]
    return [ast.unparse(node) for node in wanted if node.names]


def _is_guard(node: Guard) -> bool:
    """Tell whether all that comes first is imported, defined or set, and not all is set."""
    quiet = all(isinstance(each, Import | Definition | Constant | ast.Pass) for each in node.body)
    brings = any(isinstance(each, Import | Definition) for each in node.body)
    return quiet and brings and not is_main_guard(node)


def _brings(node: Guard, old: Scope) -> bool:
    """Tell whether what comes first defines something, or imports what `old` does not."""
    have = _imported(old.body if _is_for_types(node) else _at_run_time(old.body))
    return bool(_imported(node.body) - have) or any(isinstance(n, Definition) for n in node.body)


def _condition(node: Guard) -> str:
    return f"if {ast.unparse(node.test)}" if isinstance(node, ast.If) else "try"


def _is_for_types(node: ast.stmt) -> bool:
    """Tell whether this is `if TYPE_CHECKING`, with or without its module."""
    if not isinstance(node, ast.If):
        return False
    return ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING"


def _at_run_time(body: Iterable[ast.stmt]) -> list[ast.stmt]:
    """Return the statements without those for type checkers alone."""
    return [
        each
        for node in body
        for each in (node.orelse if isinstance(node, ast.If) and _is_for_types(node) else [node])
    ]


def _imported(body: list[ast.stmt]) -> frozenset[str]:
    """Return what statements import, each name as an import of its own."""
    nodes = [node for node in statements(body) if isinstance(node, Import)]
    return frozenset(line for node in nodes for line in _single(node))


def _single(node: Import) -> Iterator[str]:
    for alias in node.names:
        yield ast.unparse(_with_names(node, [alias]))


def _without(have: frozenset[str], node: Import) -> Import:
    names = [
        alias for alias, line in zip(node.names, _single(node), strict=True) if line not in have
    ]
    return _with_names(node, names)


def _with_names(node: Import, names: list[ast.alias]) -> Import:
    other = copy.copy(node)
    other.names = names
    return other
