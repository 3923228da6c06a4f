"""What a module or class has under names of its own: its definitions and its constants."""

from __future__ import annotations

import ast
import copy
import sys
from typing import NamedTuple

from promptqueue.queue.interface import UNPARSABLE, Definition
from promptqueue.run.torn import parse_torn
from promptqueue.verify.lint import names_bound

if sys.version_info >= (3, 12):
    Constant = ast.Assign | ast.AnnAssign | ast.TypeAlias
else:
    Constant = ast.Assign | ast.AnnAssign
Named = Definition | Constant
Scope = ast.Module | ast.ClassDef


class Unit(NamedTuple):
    """What can be sent alone: a function, class or constant at the top level of a module."""

    name: str
    opening: str
    """Its lines before the body or value, such as `def mean(values):` or `LIMIT =`."""


def unit_at(text: str, line: int) -> Unit | None:
    """Return the function, class or constant at the top level that a line belongs to, if any."""
    try:
        for name, node in units(parse_torn(text)).items():
            start, end = span(node)
            if start <= line <= end:
                return Unit(name, opening_of(node))
    except UNPARSABLE:
        pass
    return None


def units(scope: Scope) -> dict[str, Named]:
    """Return what can be replaced by its name; of several with one name the last, which counts."""
    return {**constants(scope), **definitions(scope)}


def definitions(scope: Scope) -> dict[str, Definition]:
    """Return functions and classes, name to the last one."""
    return {name: node for name, node in named(scope) if isinstance(node, Definition)}


def constants(scope: Scope) -> dict[str, Constant]:
    """Return constants and, of a class, its fields; those set together have one name."""
    return {name: node for name, node in named(scope) if isinstance(node, Constant)}


def named(scope: Scope) -> list[tuple[str, Named]]:
    """Return what has a name, in its order.

    What sets a property `x` goes by `x.setter`, and what makes another `x` of `x` by `x again`.
    """
    found = [(_name_of(node), node) for node in scope.body if isinstance(node, Named)]
    return [(name, node) for name, node in found if name]


def names_read(node: ast.AST) -> frozenset[str]:
    """Return the names that have to be there when a module comes to a statement or expression.

    What the body of a function reads is not among them.
    """
    found, own, waiting = set[str](), set[str](), list[ast.AST]([node])
    while waiting:
        inner = waiting.pop()
        match inner:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                inner = copy.copy(inner)
                inner.body = []
            case ast.Lambda(args=arguments):
                inner = arguments
            case ast.comprehension(target=target):
                own |= {each.id for each in ast.walk(target) if isinstance(each, ast.Name)}
            case ast.Name(id=name, ctx=ast.Load()):
                found.add(name)
        waiting += ast.iter_child_nodes(inner)
    return frozenset(found - own)


def span(node: ast.stmt) -> tuple[int, int]:
    """Return first and last line, decorators included."""
    decorators = node.decorator_list if isinstance(node, Definition) else []
    return min([node.lineno, *(each.lineno for each in decorators)]), node.end_lineno or node.lineno


def opening_of(node: Named) -> str:
    """Return the lines before the body or value, such as `def mean(values):` or `LIMIT =`."""
    bare = copy.copy(node)  # decorators and signature, however many lines they take
    if isinstance(bare, Definition):
        bare.body = [ast.Expr(ast.Constant(...))]
        return ast.unparse(bare).removesuffix("\n    ...")
    bare.value = ast.Constant(...)
    return ast.unparse(bare).removesuffix(" ...")


def _name_of(node: Named) -> str:
    match node:
        case ast.FunctionDef(name="_"):  # those that singledispatch registers
            return opening_of(node)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return _accessor(node) or node.name
        case ast.AnnAssign(target=ast.Name(id=name), value=None):
            return name  # a field, even without a value
    names = names_bound([node])
    again = node.value is not None and names & names_read(node.value)
    return ", ".join(sorted(names)) + (" again" if again else "")


def _accessor(node: Definition) -> str:
    for decorator in node.decorator_list:
        match decorator:
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name == node.name:
                return f"{name}.{attr}"
    return ""
