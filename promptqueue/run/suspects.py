"""Which functions of a file an error may come of: the one it shows in, and those that feed it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from promptqueue.queue.bullets import names_used
from promptqueue.queue.interface import UNPARSABLE, Definition, Function
from promptqueue.run.torn import parse_torn
from promptqueue.run.units import definitions

_CALLED = ("forward", "__call__")
"""What a call of an object runs; torch's modules have the first."""


class Place(NamedTuple):
    """A function at the top level of a module, or a method of a class there."""

    function: Function
    owner: ast.ClassDef | None

    @property
    def names(self) -> tuple[str, ...]:
        """Return its name and that of its class, the innermost first."""
        return (self.function.name, *([self.owner.name] if self.owner else []))

    def holds(self, line: int) -> bool:
        """Tell whether a line is one of the function's."""
        return self.function.lineno <= line <= (self.function.end_lineno or 0)


def definitions_around(text: str, line: int) -> list[Definition]:
    """Return the functions and classes around a line, the innermost first."""
    found = [
        node
        for node in ast.walk(_parsed(text))
        if isinstance(node, Definition) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return sorted(found, key=lambda node: node.lineno, reverse=True)


def names_around(text: str, line: int) -> Sequence[str]:
    """Return the names of the functions and classes around a line, the innermost first."""
    return [node.name for node in definitions_around(text, line)]


def classes_of(text: str) -> frozenset[str]:
    """Return the names of the classes at the top level of a module."""
    nodes = definitions(_parsed(text)).items()
    return frozenset(name for name, node in nodes if isinstance(node, ast.ClassDef))


def place_of(text: str, line: int) -> Place | None:
    """Return the function or method that a line lies in; none where it is outside of them."""
    return next((place for place in _places(_parsed(text)) if place.holds(line)), None)


def feeding(text: str, line: int) -> list[Place]:
    """Return the functions of the module whose results a line works with, in their order.

    Those that it calls, and those that set the names which it reads, in the same function: for
    `y + z`, with `y = self.gate(x)` before it, the `forward` of the class that `self.gate` is.
    """
    tree, place = _parsed(text), place_of(text, line)
    if place is None:
        return []
    calls = [node.func for node in _values(place.function, line) if isinstance(node, ast.Call)]
    wanted = {name for func in calls for name in _run_by(func, place, tree)}
    return [each for each in _places(tree) if each.names in wanted and each != place]


def places_of(text: str) -> list[Place]:
    """Return the functions and methods of a module, in their order."""
    return [*_places(_parsed(text))]


def lacks(place: Place, paragraph: str) -> list[str]:
    """Return the names of what a paragraph of the task uses and a function does not.

    Of a method it is its class that is to hold them: a paragraph on one often speaks of others.
    What is nested too deeply to be read lacks none.
    """
    try:
        held = _written_in(place.owner or place.function)
    except UNPARSABLE:
        return []
    return sorted(names_used(paragraph) - held - {*place.names})


def without_super(text: str) -> list[Place]:
    """Return each `__init__` of a class with bases that never calls that of a base."""
    return [
        place
        for place in _places(_parsed(text))
        if place.function.name == "__init__"
        and place.owner is not None
        and place.owner.bases
        and not any(
            isinstance(node, ast.Attribute) and node.attr == "__init__"
            for node in ast.walk(place.function)
        )
    ]


@lru_cache(maxsize=8)  # a function of one tree is itself in each answer, and a turn asks often
def _parsed(text: str) -> ast.Module:
    try:
        return parse_torn(text)
    except UNPARSABLE:
        return ast.Module(body=[], type_ignores=[])


def _places(tree: ast.Module) -> Iterator[Place]:
    for node in definitions(tree).values():
        if isinstance(node, ast.ClassDef):
            inner = definitions(node).values()
            yield from (Place(each, node) for each in inner if isinstance(each, Function))
        else:
            yield Place(node, None)


def _values(function: Function, line: int) -> Iterator[ast.AST]:
    """Yield what stands in the statement at a line, and in what sets the names that it reads."""
    statements = [node for node in ast.walk(function) if isinstance(node, ast.stmt)]
    here = [each for each in statements if each.lineno <= line <= (each.end_lineno or 0)]
    if not here:
        return
    statement = min(here, key=lambda each: (each.end_lineno or 0) - each.lineno)
    yield from ast.walk(statement)
    read = _names_in(statement)
    for each in statements:
        if not isinstance(each, ast.Assign) or each.lineno >= statement.lineno:
            continue
        if _names_in(*each.targets) & read:
            yield from ast.walk(each.value)


@lru_cache(maxsize=128)  # a class is read for each of its methods
def _written_in(node: ast.AST) -> frozenset[str]:
    """Return every name that is written in code or in a text, such as that of a key."""
    return frozenset(re.findall(r"\w+", ast.unparse(node)))


def _names_in(*nodes: ast.AST) -> set[str]:
    found = (inner for node in nodes for inner in ast.walk(node))
    return {node.id for node in found if isinstance(node, ast.Name)}


def _run_by(func: ast.expr, place: Place, tree: ast.Module) -> Iterator[tuple[str, ...]]:
    """Yield the names of the functions of this module that a call in a function runs."""
    known = definitions(tree)
    match func:
        case ast.Name(id=name) if isinstance(known.get(name), Function):
            yield (name,)
        case ast.Name(id=name) if name in known:
            yield ("__init__", name)
        case ast.Name(id=name):
            made = [*_given_as(name, place.function, tree), *_taken_from(name, place)]
            for kind in made:
                yield from _called(kind, tree)
        case ast.Attribute(value=ast.Name(id="self"), attr=attr) if place.owner is not None:
            if attr in definitions(place.owner):
                yield (attr, place.owner.name)
            for kind in _made_as(f"self.{attr}", place.owner):
                yield from _called(kind, tree)


def _called(kind: str, tree: ast.Module) -> Iterator[tuple[str, ...]]:
    """Yield what calling an object of a class of this module runs."""
    node = definitions(tree).get(kind)
    if isinstance(node, ast.ClassDef):
        yield from [(name, kind) for name in _CALLED if name in definitions(node)][:1]


def _given_as(name: str, function: Function, tree: ast.Module) -> Iterator[str]:
    """Yield the classes of what other functions of the module pass for an argument."""
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    if name not in names:
        return
    for place in _places(tree):
        for call in ast.walk(place.function):
            match call:
                case ast.Call(func=ast.Name(id=called)) if called == function.name:
                    given = dict(zip(names, call.args, strict=False))
                    given |= {each.arg: each.value for each in call.keywords if each.arg}
                    if name in given:
                        yield from _made_as(ast.unparse(given[name]), place.function)


def _taken_from(name: str, place: Place) -> Iterator[str]:
    """Yield the classes of what a loop takes one by one, as `for block in self.blocks` does."""
    for node in ast.walk(place.function):
        match node:
            case ast.For(target=ast.Name(id=taken), iter=source) if taken == name:
                yield from _made_as(ast.unparse(source), place.owner or place.function)


def _made_as(name: str, scope: ast.AST) -> Iterator[str]:
    """Yield the classes that a name, such as `self.gate`, is set to objects of, be it in a list."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            calls = (each for each in ast.walk(node.value) if isinstance(each, ast.Call))
            yield from (call.func.id for call in calls if isinstance(call.func, ast.Name))
