"""Puts a function, class or constant that was sent alone into the file that it belongs to."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from promptqueue.queue.interface import UNPARSABLE, Definition, parse_quietly
from promptqueue.run.guards import Import, guards, new_guards, new_imports
from promptqueue.run.places import Places, Replacement, after_docstring, after_imports, start_of
from promptqueue.run.rows import spread
from promptqueue.run.torn import header_length, lines_of, parse_torn
from promptqueue.run.units import (
    Constant,
    Scope,
    constants,
    definitions,
    named,
    names_read,
    span,
    units,
)
from promptqueue.verify.lint import names_bound

_STRING = ast.Constant | ast.JoinedStr
_FUTURE = "from __future__"


def spliced(whole: str, part: str, *, adding: bool = False) -> str | None:
    """Return a file with some of its definitions and constants replaced.

    What `part` defines takes the place of what has the same name at the top level of `whole`.
    What is new there stands before the first function or class of them, or else behind all that
    the file defines; but behind what it reads when the file is imported, and before what then
    reads it.
    Imports that are new stand after the others; one that `whole` has under `try` is not new.
    A class that comes with some of its methods or fields is amended as a file is: small models
    end at the method that they were asked about.

    Args:
        whole: text of a Python module; one of its definitions may be torn, and mended by this.
        part: text with some of its functions, classes and constants; one may be torn.
        adding: `part` may consist of new definitions alone.

    Returns:
        None if `part` is no part of the file: one of the two does not parse, nothing of it is
        known there (with `adding`: it defines no function or class, or the file nothing), or it is
        the file anew, with every definition, all that they name, and all that runs beside them.
    """
    try:
        new = _source(spread(part))
        old = _source(spread(whole, {*_rows(parse_torn(whole), new.scope)}))
    except UNPARSABLE:
        return None
    adds = adding and units(old.scope) and definitions(new.scope)  # constants alone: an example
    if not (adds or _replaced(old.scope, new.scope)) or _is_anew(old, new):
        return None
    edits = [*_imports(old.scope, new.scope), *_amended(old, new)]
    return "\n".join(_edited(old.lines, edits)) + "\n"


def covers(part: str, whole: str) -> bool:
    """Tell whether a text parses and has every definition of a file, one of which may be torn."""
    try:
        known, sent = definitions(parse_torn(whole)), definitions(parse_quietly(part))
    except UNPARSABLE:
        return False
    return bool(sent) and known.keys() <= sent.keys()


class _Source(NamedTuple):
    """A module or class, and where it stands."""

    scope: Scope
    lines: Sequence[str]
    """Of the whole file."""

    def moved(self, start: int, end: int, indent: str) -> list[str]:
        """Return the lines from `start` up to `end`, counted from 0, at another indentation.

        What is inside of a string is left as it is.
        """
        was = _indentation(self.lines[start])
        if was == indent:
            return [*self.lines[start:end]]
        strings = [node for node in ast.walk(self.scope) if isinstance(node, _STRING)]
        fixed = {line for node in strings for line in range(node.lineno, node.end_lineno or 0)}
        return [
            line if number in fixed or not line.startswith(was) else indent + line.removeprefix(was)
            for number, line in enumerate(self.lines[start:end], start)
        ]

    def indentation(self) -> str:
        """Return what its statements begin with."""
        return _indentation(self.lines[start_of(self.scope.body[0])])


def _source(text: str) -> _Source:
    return _Source(parse_torn(text), lines_of(text))


class _Edit(NamedTuple):
    """What takes the place of the lines from `start` up to `end`, counted from 0."""

    start: int
    end: int
    lines: list[str]


def _edited(lines: Sequence[str], edits: Iterable[_Edit]) -> list[str]:
    """Return the lines after all edits; of those at one place the first comes first."""
    edited, done = list[str](), 0
    for edit in sorted(edits, key=lambda edit: edit[:2]):
        edited += [*lines[done : edit.start], *edit.lines]
        done = edit.end
    return [*edited, *lines[done:]]


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())].rpartition("\f")[2]


# A part, or all of it.


def _is_anew(old: _Source, new: _Source) -> bool:
    """Tell whether `new` is the whole file, and not only each of its definitions."""
    if definitions(old.scope).keys() - definitions(new.scope) or _leans_on(new.scope, old.scope):
        return False
    if _running(old.scope) - _running(new.scope):
        return False
    return not any(_within(each, old, new) for each in _replaced(old.scope, new.scope))


def _leans_on(part: Scope, whole: Scope) -> bool:
    """Tell whether `part` reads names that only `whole` binds; a star may bind any."""
    names = (node for node in ast.walk(part) if isinstance(node, ast.Name))
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    return bool((read | {"*"}) & (names_bound(whole.body) - names_bound(part.body)))


def _running(scope: Scope) -> Counter[type[ast.stmt]]:
    """Count what is there for what it does, such as the main guard, by its kind."""
    quiet = {node for _, node in named(scope)}
    others = [node for node in scope.body if node not in quiet and not isinstance(node, Import)]
    return Counter(type(node) for node in others if not _is_text(node))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_part(old: ast.ClassDef, new: ast.ClassDef) -> bool:
    """Tell whether a class was sent with some of its methods or fields, and lacks others."""
    methods, sent = definitions(old).keys(), definitions(new).keys()
    fields, given = constants(old).keys(), constants(new).keys()
    same = methods & sent if sent else fields & given  # none: torn, or another of that name
    return bool(same) and bool(methods - sent or (fields and not given))


# What becomes of the file.


def _replaced(old: Scope, new: Scope) -> list[Replacement]:
    """Return what takes the place of what."""
    known, sent = _named(old), _named(new)
    found = list[Replacement]()
    for name in known.keys() & sent.keys():
        now = _with_overloads(sent[name], new)
        was = _with_overloads(known[name], old) if len(now) > 1 else [known[name]]
        found.append(Replacement(was, now))
    return sorted(found, key=lambda each: each.place)


def _named(scope: Scope) -> dict[str, ast.stmt]:
    return {**guards(scope), **units(scope)}


def _with_overloads(node: ast.stmt, scope: Scope) -> list[ast.stmt]:
    """Return a statement, behind the overloads that stand right before it if it is a function."""
    found, before = [node], scope.body[: scope.body.index(node)]
    while before and _is_overload(before[-1], node):
        found.insert(0, before.pop())
    return found


def _is_overload(node: ast.stmt, function: ast.stmt) -> bool:
    if not (isinstance(node, Definition) and isinstance(function, Definition)):
        return False
    names = {getattr(each, "attr", getattr(each, "id", "")) for each in node.decorator_list}
    return node.name == function.name and "overload" in names


def _rows(old: Scope, new: Scope) -> Iterator[int]:
    """Yield the first and last lines of what is replaced, also within classes, and their heads."""
    for each in _replaced(old, new):
        was, now = each.was[-1], each.now[-1]
        yield from span(was)
        if isinstance(was, ast.ClassDef) and isinstance(now, ast.ClassDef):
            yield from span(was.body[0])
            yield from _rows(was, now)


def _amended(old: _Source, new: _Source) -> list[_Edit]:
    edits = list[_Edit]()
    for each in _replaced(old.scope, new.scope):
        text = new.moved(start_of(each.now[0]), span(each.now[-1])[1], old.indentation())
        anew = _Edit(each.place, span(each.was[-1])[1], text)
        edits += _within(each, old, new) or [anew]
    return [*edits, *_additions(old, new)]


def _within(replaced: Replacement, old: _Source, new: _Source) -> list[_Edit]:
    """Return the edits within a class of which a part was sent; else none."""
    was, now = replaced.was[-1], replaced.now[-1]
    if not (isinstance(was, ast.ClassDef) and isinstance(now, ast.ClassDef) and _is_part(was, now)):
        return []
    inner = _amended(_Source(was, old.lines), _Source(now, new.lines))
    docstring = ast.get_docstring(now) is not None
    end = _head_end(was, old.lines, docstring=docstring)
    sent_end = _head_end(now, new.lines, docstring=docstring)
    if not (end and sent_end):
        return inner
    head = new.moved(start_of(now), sent_end, old.indentation())
    return [_Edit(start_of(was), end, head), *inner]


def _head_end(node: ast.ClassDef, lines: Sequence[str], *, docstring: bool) -> int:
    """Return the last line of a class' header, or of its docstring; 0 if it cannot be told."""
    if docstring and _is_text(node.body[0]):
        return node.body[0].end_lineno or 0
    start, end = span(node)
    length = header_length(lines[start - 1 : end])
    return start - 1 + length if length else 0


def _additions(old: _Source, new: _Source) -> Iterator[_Edit]:
    """Yield what is new."""
    places = Places(old.scope, new.scope, _replaced(old.scope, new.scope))
    gap = [""] * (2 if isinstance(old.scope, ast.Module) else 1)
    for nodes in _new(old.scope, new.scope):
        text = new.moved(start_of(nodes[0]), span(nodes[-1])[1], old.indentation())
        at = places.take(nodes)
        yield _Edit(at, at, [*gap, *text] if places.is_behind(at) else [*text, *gap])


def _new(old: Scope, new: Scope) -> list[list[ast.stmt]]:
    """Return the definitions, constants and guards that the file does not have, in their order.

    A constant is none if something else binds it there, such as an import.
    """
    known, brought = units(old), set[ast.stmt](new_guards(old, new))
    bound = names_bound([node for node in old.body if not isinstance(node, Constant)])
    for name, node in named(new):
        fresh = names_bound([node]) - names_read(node)
        if name not in known and (isinstance(node, Definition) or not bound & fresh):
            brought.add(node)
    found = [_with_overloads(node, new) for node in new.body if node in brought]
    parts = {node for nodes in found for node in nodes[:-1]}
    return [nodes for nodes in found if nodes[-1] not in parts]


def _imports(old: Scope, new: Scope) -> list[_Edit]:
    """Return the imports that are new, behind the others and before all else that changes."""
    lines = new_imports(old, new)
    at = min([after_imports(old), *(each.place for each in _replaced(old, new))])
    front = after_docstring(old)
    return [
        _Edit(front, front, [line for line in lines if line.startswith(_FUTURE)]),
        _Edit(at, at, [line for line in lines if not line.startswith(_FUTURE)]),
    ]
