"""What a module or class imports, and what it imports or defines under a condition only."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Sequence

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
    """Return the import statements of `new`, without what `old` imports, be it under `try`.

    What `old` imports under `if` counts if its other branch binds the name, too: else, as with
    `if TYPE_CHECKING`, it may not be there at run time.
    """
    have = _certain(old)
    wanted = [_without(have, node) for node in new.body if isinstance(node, Import)]
    return [ast.unparse(node) for node in wanted if node.names]


def _is_guard(node: Guard) -> bool:
    """Tell whether all that comes first is imported, defined or set, and not all is set."""
    quiet = all(isinstance(each, Import | Definition | Constant | ast.Pass) for each in node.body)
    brings = any(isinstance(each, Import | Definition) for each in node.body)
    return quiet and brings and not is_main_guard(node)


def _brings(node: Guard, old: Scope) -> bool:
    """Tell whether what comes first defines something, or imports what `old` does not."""
    have = _lines(_imports(old.body)) if _is_for_types(node) else _certain(old)
    missing = _lines(_imports(node.body)) - have
    return bool(missing) or any(isinstance(each, Definition) for each in node.body)


def _condition(node: Guard) -> str:
    return f"if {ast.unparse(node.test)}" if isinstance(node, ast.If) else "try"


def _is_for_types(node: Guard) -> bool:
    """Tell whether this is `if TYPE_CHECKING`, with or without its module."""
    return _condition(node).split(".")[-1].removeprefix("if ") == "TYPE_CHECKING"


def _certain(scope: Scope) -> frozenset[str]:
    """Return what is imported whichever branch of an `if` is taken."""
    found = list[Import]()
    for node in scope.body:
        imports = _imports([node])
        if isinstance(node, ast.If):
            both = names_bound(node.body) & names_bound(node.orelse)
            imports = [each for each in imports if names_bound([each]) <= both]
        found += imports
    return _lines(found)


def _imports(body: Sequence[ast.stmt]) -> list[Import]:
    """Return what statements import, each name by an import of its own."""
    nodes = [node for node in statements(body) if isinstance(node, Import)]
    return [_with_names(node, [alias]) for node in nodes for alias in node.names]


def _lines(imports: Iterable[Import]) -> frozenset[str]:
    return frozenset(ast.unparse(node) for node in imports)


def _without(have: frozenset[str], node: Import) -> Import:
    fresh = [each for each in _imports([node]) if ast.unparse(each) not in have]
    return _with_names(node, [alias for each in fresh for alias in each.names])


def _with_names(node: Import, names: list[ast.alias]) -> Import:
    other = copy.copy(node)
    other.names = names
    return other
