"""Puts a function, class or constant that was sent alone into the file that it belongs to."""

from __future__ import annotations

import ast
import copy
from typing import NamedTuple, TypeGuard

from promptqueue.queue.interface import UNPARSABLE, Definition
from promptqueue.run.torn import lines_of, parse_torn

_IMPORTS = ast.Import | ast.ImportFrom


class Unit(NamedTuple):
    """What can be sent alone: a function, class or constant at the top level of a module."""

    name: str
    opening: str
    """Its lines before the body or value, such as `def mean(values):` or `LIMIT =`."""


def spliced(whole: str, part: str, *, adding: bool = False) -> str | None:
    """Return a file with some of its definitions and constants replaced.

    What `part` defines takes the place of what has the same name at the top level of `whole`;
    what is new there stands before the first of them, or else behind all that the file defines,
    and imports that are new after the others.
    Of a class that comes with some of its methods the others stay: small models end at the one
    that they were asked about.

    Args:
        whole: text of a Python module; one of its definitions may be torn, and mended by this.
        part: text with some of its functions, classes and constants; one may be torn.
        adding: `part` may consist of new definitions alone.

    Returns:
        None if `part` is no part of the file: one of the two does not parse, nothing of it is
        known there (with `adding`: it defines no function or class, or the file nothing), or it is
        the file anew, with every definition and all that they name.
    """
    try:
        old, new = parse_torn(whole), parse_torn(part)
    except UNPARSABLE:
        return None
    known, sent = _units(old), _units(new)
    replaced = [name for name in sent if name in known]
    adds = adding and known and _definitions(new)  # constants alone are an example of its use
    if not (replaced or adds) or _is_anew(old, new):
        return None
    lines, texts = lines_of(whole), lines_of(part)
    starts = {name: _span(known[name])[0] for name in replaced}
    # what is new may need the constants: it stands behind them
    first = min(_definitions(old).keys() & starts.keys() or starts,
                key=lambda name: starts[name], default=None)  # fmt: skip
    added = [_text(texts, node) for node in _new_statements(old, new)]
    if first is None:
        end = max(_span(node)[1] for node in known.values())
        lines[end:end] = [line for text in added for line in ("", "", *text)]
    for name in sorted(replaced, key=lambda name: -starts[name]):  # from the end
        start, end = _span(known[name])
        before = [line for text in added for line in (*text, "", "")] if name == first else []
        lines[start - 1 : end] = [*before, *_renewed(lines, texts, known[name], sent[name])]
    imports = {ast.unparse(node) for node in old.body if isinstance(node, _IMPORTS)}
    wanted = [node for node in new.body if _is_wanted(node) and ast.unparse(node) not in imports]
    at = min([_after_imports(old), *(start - 1 for start in starts.values())])  # no line has moved
    lines[at:at] = [ast.unparse(node) for node in wanted]
    return "\n".join(lines) + "\n"


def _is_anew(old: ast.Module, new: ast.Module) -> bool:
    """Tell whether `new` is the whole file: every definition, and all that they name."""
    known, sent = _definitions(old), _definitions(new)
    if not known.keys() <= sent.keys() or _leans_on(new, old):
        return False
    return not any(_kept(node, sent[name]) for name, node in known.items())


def _renewed(
    lines: list[str],
    texts: list[str],
    old: Definition | ast.Assign,
    new: Definition | ast.Assign,
) -> list[str]:
    """Return the lines of a definition as it was sent, with the methods that were not."""
    renewed = _text(texts, new)
    for method, shift in _kept(old, new):
        own = _text(lines, method)
        renewed += ["", *(_moved(line, shift) for line in own)]
    return renewed


def _moved(line: str, shift: int) -> str:
    """Return a line so many columns further to the right; nothing but blanks is cut off."""
    if shift >= 0:
        return " " * shift + line if line else line
    return line[-shift:] if not line[:-shift].strip() else line


def _kept(old: ast.stmt, new: ast.stmt) -> list[tuple[Definition, int]]:
    """Return the methods of a class that stay where it was sent with others of them.

    Each comes with the columns that it has to move, to stand as those do.
    """
    if not isinstance(old, ast.ClassDef) or not isinstance(new, ast.ClassDef):
        return []
    known, sent = _definitions(old), _definitions(new)
    if not known.keys() & sent.keys():  # torn, or another class of that name
        return []
    column = new.body[-1].col_offset
    return [(node, column - node.col_offset) for name, node in known.items() if name not in sent]


def unit_at(text: str, line: int) -> Unit | None:
    """Return the function, class or constant at the top level that a line belongs to, if any."""
    try:
        for name, node in _units(parse_torn(text)).items():
            start, end = _span(node)
            if start <= line <= end:
                return Unit(name, _opening(node))
    except UNPARSABLE:
        pass
    return None


def _opening(node: Definition | ast.Assign) -> str:
    if isinstance(node, ast.Assign):
        return f"{ast.unparse(node.targets[0])} ="
    bare = copy.copy(node)  # decorators and signature, however many lines they take
    bare.body = [ast.Expr(ast.Constant(...))]
    return ast.unparse(bare).removesuffix("\n    ...")


def _is_wanted(node: ast.stmt) -> bool:
    """Tell whether this is an import that may stand anywhere."""
    in_front = isinstance(node, ast.ImportFrom) and node.module == "__future__"
    return isinstance(node, _IMPORTS) and not in_front


def _definitions(tree: ast.Module | ast.ClassDef) -> dict[str, Definition]:
    return {node.name: node for node in tree.body if isinstance(node, Definition)}


def _units(tree: ast.Module) -> dict[str, Definition | ast.Assign]:
    """Return what can be replaced by its name: definitions, and constants that are set alone."""
    constants = {
        name: node
        for node in tree.body
        if isinstance(node, ast.Assign) and len(node.targets) == 1
        for name in _names(node)
    }
    return {**constants, **_definitions(tree)}


def _new_statements(old: ast.Module, new: ast.Module) -> list[ast.stmt]:
    """Return the definitions and constants of `new` that the file does not have."""
    definitions, constants = _definitions(old), _bound(old)
    return [
        node
        for node in new.body
        if (isinstance(node, Definition) and node.name not in definitions)
        or (isinstance(node, ast.Assign) and not constants & {*_names(node)})
    ]


def _leans_on(part: ast.Module, whole: ast.Module) -> bool:
    """Tell whether `part` reads imports or constants that only `whole` has."""
    read = {node.id for node in ast.walk(part) if _is_read(node)}
    return bool(read & (_bound(whole) - _bound(part)))


def _is_read(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


def _bound(tree: ast.Module) -> set[str]:
    """Return the names that imports and constants at the top level bind."""
    imports = [alias for node in tree.body if isinstance(node, _IMPORTS) for alias in node.names]
    imported = {(alias.asname or alias.name).partition(".")[0] for alias in imports}
    constants = (
        name for node in tree.body if isinstance(node, ast.Assign) for name in _names(node)
    )
    return imported.union(constants)


def _names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _span(node: ast.stmt) -> tuple[int, int]:
    """Return first and last line, decorators included."""
    decorators = node.decorator_list if isinstance(node, Definition) else []
    return min([node.lineno, *(each.lineno for each in decorators)]), node.end_lineno or node.lineno


def _text(lines: list[str], node: ast.stmt) -> list[str]:
    start, end = _span(node)
    return lines[start - 1 : end]


def _after_imports(tree: ast.Module) -> int:
    """Return how many lines stand before the place for another import."""
    ends = [node.end_lineno or 0 for node in tree.body if isinstance(node, _IMPORTS)]
    docstring = tree.body[0] if tree.body and ast.get_docstring(tree) is not None else None
    return max([*ends, (docstring.end_lineno or 0) if docstring else 0])
