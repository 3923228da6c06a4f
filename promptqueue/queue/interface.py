"""The face of a module: imports, signatures and docstrings, without the bodies."""

from __future__ import annotations

import ast
import warnings

UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What parsing foreign text can raise."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def interface_of(source: str) -> str:
    """Return `source` reduced to what a caller needs to know.

    Args:
        source: text of a Python module; what does not parse, or is nested too deeply to be
            written again, is returned as it is.

    Returns:
        Python text with imports, constants, signatures and docstrings; bodies are `...`.
    """
    try:
        tree = parse_quietly(source)
        body = [_reduced(node) for node in tree.body if not is_main_guard(node)]
        return ast.unparse(ast.Module(body=body, type_ignores=[])) + "\n"
    except UNPARSABLE:
        return source


def parse_quietly(source: str) -> ast.Module:
    """Parse foreign Python text as an import does: a byte order mark is no part of it.

    Its odd escapes are no warning of ours.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it does not parse.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source.removeprefix("\ufeff"))


def _reduced(node: ast.stmt) -> ast.stmt:
    if isinstance(node, Function):
        node.body = [*_docstring(node), ast.Expr(ast.Constant(...))]
    elif isinstance(node, ast.ClassDef):
        kept = [_reduced(child) for child in node.body if not _is_docstring(child)]
        node.body = [*_docstring(node), *kept] or [ast.Expr(ast.Constant(...))]
    elif isinstance(node, ast.If | ast.Try | ast.With):  # one of several forms of a name
        for part in ("body", "orelse", "finalbody"):
            setattr(node, part, [_reduced(child) for child in getattr(node, part, [])])
        for handler in getattr(node, "handlers", []):
            handler.body = [_reduced(child) for child in handler.body]
    return node


def is_main_guard(node: ast.stmt) -> bool:
    """Tell whether this is `if __name__ == "__main__"`."""
    return isinstance(node, ast.If) and any(
        isinstance(each, ast.Name) and each.id == "__name__" for each in ast.walk(node.test)
    )


def _docstring(node: Definition) -> list[ast.stmt]:
    return [node.body[0]] if node.body and _is_docstring(node.body[0]) else []


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
