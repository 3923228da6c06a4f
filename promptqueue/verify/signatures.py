"""Compares the signature that a queue declares with the one that a module defines."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from promptqueue.queue.interface import Definition, Function, parse_quietly


def signature_problems(text: str, symbols: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield line and words for each declared `name(arguments)` that the module would not take.

    A declared parameter must be there by its name and in its place; one with a default may not be
    required; parameters beyond the declared ones must have defaults. A class is called, too.

    Args:
        text: a module that parses.
        symbols: names, or names with arguments, as a queue declares them.
    """
    nodes = {n.name: n for n in parse_quietly(text).body if isinstance(n, Definition)}
    for symbol in symbols:
        name = symbol.partition("(")[0].strip()
        node = _called(nodes.get(name))
        if "(" not in symbol or node is None:
            continue
        wanted = _declared(symbol)
        if wanted is not None:
            problems = [*_differences(wanted, node, method=name != node.name)]
            if problems:
                yield node.lineno, f"{name}: {'; '.join(problems)}"


def _called(node: ast.stmt | None) -> Function | None:
    """Return the function that a call runs; of a class its __init__."""
    if isinstance(node, ast.ClassDef):
        inner = [n for n in node.body if isinstance(n, Function) and n.name == "__init__"]
        return inner[0] if inner else None
    return node if isinstance(node, Function) else None


def _declared(symbol: str) -> ast.arguments | None:
    try:
        (node,) = parse_quietly(f"def {symbol}: ...").body
    except (SyntaxError, ValueError):
        return None
    return node.args if isinstance(node, Function) else None


def _differences(wanted: ast.arguments, node: Function, *, method: bool) -> Iterator[str]:
    have = node.args
    places = [each.arg for each in (*have.posonlyargs, *have.args)][1 if method else 0 :]
    names = {*places, *(each.arg for each in have.kwonlyargs)}
    for number, each in enumerate((*wanted.posonlyargs, *wanted.args)):
        if each.arg not in names and not (have.kwarg or (have.vararg and number >= len(places))):
            yield f"it takes no {each.arg!r}"
        elif each.arg in places and places.index(each.arg) != number:
            yield f"{each.arg!r} is parameter {places.index(each.arg) + 1}, not {number + 1}"
    for each in wanted.kwonlyargs:
        if each.arg not in names and not have.kwarg:
            yield f"it takes no {each.arg!r}"
    given = {a.arg for a in (*wanted.posonlyargs, *wanted.args, *wanted.kwonlyargs)}
    optional = _optional(wanted)
    for name in _required(have, places):
        if name not in given:
            yield f"it needs {name!r}, which nobody gives it"
        elif name in optional:
            yield f"{name!r} has no default"


def _optional(arguments: ast.arguments) -> set[str]:
    placed = [*arguments.posonlyargs, *arguments.args]
    count = len(arguments.defaults)
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {a.arg for a in placed[len(placed) - count :]} | {
        a.arg for a, default in keywords if default is not None
    }


def _required(arguments: ast.arguments, places: Sequence[str]) -> list[str]:
    optional = _optional(arguments)
    keywords = [each.arg for each in arguments.kwonlyargs]
    return [name for name in (*places, *keywords) if name not in optional]
