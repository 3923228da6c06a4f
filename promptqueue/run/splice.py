"""Puts a function, class or constant that was sent alone into the file that it belongs to."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from promptqueue.queue.interface import UNPARSABLE, Definition, parse_quietly
from promptqueue.run.torn import header_length, lines_of, parse_torn
from promptqueue.run.units import (
    Constant,
    Named,
    Scope,
    constants,
    definitions,
    named,
    names_read,
    span,
    units,
)
from promptqueue.verify.lint import names_bound

_Import = ast.Import | ast.ImportFrom


def spliced(whole: str, part: str, *, adding: bool = False) -> str | None:
    """Return a file with some of its definitions and constants replaced.

    What `part` defines takes the place of what has the same name at the top level of `whole`.
    What is new there stands before the first function or class of them, or else behind all that
    the file defines; but behind what it reads when the file is imported, and before what then
    reads it.
    Imports that are new stand after the others.
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
        tree, sent = parse_torn(whole), parse_torn(part)
    except UNPARSABLE:
        return None
    adds = adding and units(tree) and definitions(sent)  # constants alone: an example of its use
    old, new = _Source(tree, lines_of(whole)), _Source(sent, lines_of(part))
    if not (adds or _replaced(tree, sent)) or _is_anew(old, new):
        return None
    edits = [_imports(tree, sent), *_amended(old, new)]
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

    def text(self, node: ast.stmt, column: int) -> list[str]:
        """Return the lines of one of its statements, moved to a column."""
        start, end = span(node)
        return [_moved(line, column - node.col_offset) for line in self.lines[start - 1 : end]]


class _Replacement(NamedTuple):
    was: Named
    now: Named


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


def _moved(line: str, shift: int) -> str:
    """Return a line so many columns further to the right; nothing but blanks is cut off."""
    if shift >= 0:
        return " " * shift + line if line else line
    return line[-shift:] if not line[:-shift].strip() else line


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
    others = [node for node in scope.body if node not in quiet and not isinstance(node, _Import)]
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


def _replaced(old: Scope, new: Scope) -> list[_Replacement]:
    """Return what takes the place of what."""
    known, sent = units(old), units(new)
    return [_Replacement(node, sent[name]) for name, node in known.items() if name in sent]


def _amended(old: _Source, new: _Source) -> list[_Edit]:
    edits = list[_Edit]()
    for each in _replaced(old.scope, new.scope):
        anew = _Edit(_start(each.was), span(each.was)[1], new.text(each.now, each.was.col_offset))
        edits += _within(each, old, new) or [anew]
    return [*edits, *_additions(old, new)]


def _within(replaced: _Replacement, old: _Source, new: _Source) -> list[_Edit]:
    """Return the edits within a class of which a part was sent; else none."""
    was, now = replaced
    if not (isinstance(was, ast.ClassDef) and isinstance(now, ast.ClassDef) and _is_part(was, now)):
        return []
    docstring = ast.get_docstring(now) is not None
    end = _head_end(was, old.lines, docstring=docstring)
    sent_end = _head_end(now, new.lines, docstring=docstring)
    if not (end and sent_end):
        return []
    shift = was.col_offset - now.col_offset
    head = [_moved(line, shift) for line in new.lines[_start(now) : sent_end]]
    inner = _amended(_Source(was, old.lines), _Source(now, new.lines))
    return [_Edit(_start(was), end, head), *inner]


def _head_end(node: ast.ClassDef, lines: Sequence[str], *, docstring: bool) -> int:
    """Return the last line of a class' header, or of its docstring; 0 if it cannot be told."""
    if docstring and _is_text(node.body[0]):
        return node.body[0].end_lineno or 0
    start, end = span(node)
    length = header_length(lines[start - 1 : end])
    return start - 1 + length if length else 0


def _additions(old: _Source, new: _Source) -> Iterator[_Edit]:
    """Yield what is new, behind what it reads at import and before what reads it then.

    What has to stand behind something that is replaced goes to the end, where that allows it:
    if it calls that, it needs all the rest, too.
    """
    body, replaced = old.scope.body, _replaced(old.scope, new.scope)
    bound = {name: span(node)[1] for node in body for name in names_bound([node])}
    needs = _needs(new.scope)
    reads = {node: names_read(node) for node in body} | {was: needs[now] for was, now in replaced}
    ends = {span(node)[1] for node in body if isinstance(node, Named | _Import)}
    gap = [""] * (2 if isinstance(old.scope, ast.Module) else 1)
    for node in _new(old.scope, new.scope):
        names = names_bound([node])
        behind = max((bound.get(name, 0) for name in names | needs[node]), default=0)
        before = min((_start(each) for each in body if names & reads[each]), default=max(ends))
        places = (min(_usual_place(node, replaced, max(ends)), before), before)
        at = next((place for place in places if place >= behind), max(ends))
        text = new.text(node, body[0].col_offset)
        yield _Edit(at, at, [*gap, *text] if at in ends else [*text, *gap])


def _usual_place(node: Named, replaced: Sequence[_Replacement], end: int) -> int:
    """Return a place before the definitions that are replaced, but behind the constants."""
    if starts := [_start(was) for was, _ in replaced if isinstance(was, Definition)]:
        return min(starts)
    ends = [span(was)[1] for was, _ in replaced if isinstance(node, Constant)]
    return max(ends, default=end)


def _new(old: Scope, new: Scope) -> list[Named]:
    """Return the definitions and constants that the file does not have."""
    known = units(old)
    bound = names_bound([node for node in old.body if not isinstance(node, Constant)])
    return [
        node
        for name, node in named(new)
        if name not in known and (isinstance(node, Definition) or not bound & names_bound([node]))
    ]


def _needs(scope: Scope) -> dict[ast.stmt, frozenset[str]]:
    """Return what each statement reads at import, by itself or by what it reads of those before."""
    needs, of_name = dict[ast.stmt, frozenset[str]](), dict[str, frozenset[str]]()
    for node in scope.body:
        read = names_read(node)
        needs[node] = read.union(*(of_name.get(name, ()) for name in read))
        of_name |= dict.fromkeys(names_bound([node]), needs[node])
    return needs


def _start(node: ast.stmt) -> int:
    return span(node)[0] - 1


def _imports(old: Scope, new: Scope) -> _Edit:
    """Return the imports that are new, behind the others and before all else that changes."""
    known = {ast.unparse(node) for node in old.body if isinstance(node, _Import)}
    wanted = [ast.unparse(node) for node in new.body if _is_wanted(node)]
    at = min([_after_imports(old), *(_start(was) for was, _ in _replaced(old, new))])
    return _Edit(at, at, [line for line in wanted if line not in known])


def _is_wanted(node: ast.stmt) -> bool:
    """Tell whether this is an import that may stand anywhere."""
    in_front = isinstance(node, ast.ImportFrom) and node.module == "__future__"
    return isinstance(node, _Import) and not in_front


def _after_imports(tree: Scope) -> int:
    """Return how many lines stand before the place for another import."""
    ends = [span(node)[1] for node in tree.body if isinstance(node, _Import)]
    docstring = tree.body[:1] if ast.get_docstring(tree) is not None else []
    return max([*ends, *(span(node)[1] for node in docstring)], default=0)
