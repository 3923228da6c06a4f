"""What can be said of a file by reading alone: does it parse, and what does it define."""

from __future__ import annotations

import ast
import functools
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from promptqueue.queue.interface import UNPARSABLE, Definition, parse_quietly
from promptqueue.words import printable

_TOO_DEEP = "nested too deeply to be parsed"
_MESSAGE_CAP = 200
_LINE_CAP = 80
_DEFINING = Definition | ast.Import | ast.ImportFrom | ast.Assign


def parse_problem(path: str, text: str) -> str | None:
    """Say why `text` is not what the suffix of `path` promises.

    Args:
        path: only its suffix counts; a suffix without a parser always parses.
        text: content of the file.

    Returns:
        None if it parses, else one line such as ``line 12: expected ':', in `def main()` ``.
        Nothing is ever raised: whatever a parser does is an answer.
    """
    parse = _PARSERS.get(PurePosixPath(path).suffix.lower())
    if parse is None:
        return None
    try:
        parse(text)
    except (RecursionError, MemoryError):
        return _TOO_DEEP
    except Exception as exc:  # parsers of foreign text raise far more than they document
        return one_line(_described(exc))
    return None


def missing_symbols(text: str, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the names that a Python module does not define at its top level.

    After `from x import *` nobody can say: whatever is not there may come from x.

    Args:
        text: the module; one that does not parse defines nothing.
        symbols: `name` or `name(arguments)`; only the name counts.
    """
    names = dict.fromkeys(symbol.split("(", 1)[0].strip() for symbol in symbols)
    if not names:
        return ()
    defined = top_level_names(text)
    return () if "*" in defined else tuple(name for name in names if name not in defined)


def top_level_names(text: str) -> frozenset[str]:
    """Return every name that a Python module binds at its top level (none if it has an error)."""
    tree = _tree_or_none(text)
    return frozenset() if tree is None else names_bound(tree.body)


def names_bound(body: Sequence[ast.stmt]) -> frozenset[str]:
    """Return every name that statements bind; a star stands for all that an import may bring."""
    return frozenset(name for node in statements(body) for name in _bound_by(node))


def statements(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """Walk what runs at import: into if, try, with and loops, not into functions and classes."""
    # A stack, not recursion: a chain of a thousand elif is a tree a thousand levels deep.
    waiting: list[ast.AST] = [*reversed(body)]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Definition):
            inner = ast.stmt | ast.excepthandler | ast.match_case | ast.withitem
            children = [child for child in ast.iter_child_nodes(node) if isinstance(child, inner)]
            waiting.extend(reversed(children))


def top_level_definitions(text: str) -> frozenset[str]:
    """Return the functions and classes that a Python module defines at its top level."""
    tree = _tree_or_none(text)
    nodes = () if tree is None else statements(tree.body)
    return frozenset(node.name for node in nodes if isinstance(node, Definition))


def is_python_module(text: str) -> bool:
    """Tell whether `text` is Python that defines or imports something; prose never is."""
    tree = _tree_or_none(text)
    return tree is not None and any(isinstance(node, _DEFINING) for node in tree.body)


@functools.lru_cache(maxsize=4)  # a file is asked about several times in a row; none edits it
def _parse_python(text: str) -> ast.Module:
    if "\0" in text:  # ast.parse names no line, and its exception differs between versions
        raise SyntaxError("null byte", ("", text.count("\n", 0, text.index("\0")) + 1, 0, ""))
    return parse_quietly(text)


def _parse_yaml(text: str) -> None:
    import yaml  # not every queue has YAML outputs

    # Composing resolves no tags and expands no merge keys: a bomb of aliases stays small.
    for _ in yaml.compose_all(text, Loader=yaml.SafeLoader):
        pass


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    ".py": _parse_python,
    ".pyi": _parse_python,
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
}


def _described(exc: Exception) -> str:
    if isinstance(exc, SyntaxError):
        said = re.sub(r" \(detected at line \d+\)", "", exc.msg)
        line = one_line(exc.text or "", _LINE_CAP)  # a small model cannot count lines
        return _at(exc.lineno, f"{said}, in `{line}`" if line else said)
    if isinstance(exc, json.JSONDecodeError):
        return _at(exc.lineno, exc.msg)
    if isinstance(exc, tomllib.TOMLDecodeError):
        place = re.search(r"\(at line (\d+), column \d+\)$", str(exc))
        return _at(int(place[1]), str(exc)[: place.start()]) if place else str(exc)
    mark, problem = getattr(exc, "problem_mark", None), getattr(exc, "problem", None)
    if mark is not None and problem:  # yaml.MarkedYAMLError
        return _at(mark.line + 1, problem)
    return str(exc) or type(exc).__name__


def _at(line: int | None, message: str) -> str:
    return f"line {line}: {message}" if line else message


def one_line(message: str, cap: int = _MESSAGE_CAP) -> str:
    """Return foreign words as one printable line of at most `cap` characters."""
    return " ".join(printable(message).split())[:cap]


def _tree_or_none(text: str) -> ast.Module | None:
    try:
        return _parse_python(text)
    except UNPARSABLE:
        return None


def _bound_by(node: ast.AST) -> Iterable[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return [alias.asname or alias.name.partition(".")[0] for alias in aliases]
        case _:
            return [name for target in _targets(node) for name in _names_in(target)]


def _targets(node: ast.AST) -> Sequence[ast.AST]:
    match node:
        case ast.Assign(targets=targets):
            return targets
        case ast.AnnAssign(target=target, value=ast.expr()):  # without a value nothing is bound
            return [target]
        case ast.For(target=target) | ast.AsyncFor(target=target):
            return [target]
        case ast.withitem(optional_vars=ast.AST() as target):
            return [target]
    # `type X = ...` is a statement of 3.12, unknown to the syntax tree of 3.11
    alias = getattr(node, "name", None)
    return [alias] if isinstance(alias, ast.Name) else []


def _names_in(target: ast.AST) -> list[str]:
    if isinstance(target, ast.Tuple | ast.List):
        return [name for element in target.elts for name in _names_in(element)]
    if isinstance(target, ast.Starred):
        return _names_in(target.value)
    return [target.id] if isinstance(target, ast.Name) else []
