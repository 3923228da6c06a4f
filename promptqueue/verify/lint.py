"""What can be said of a file by reading alone: does it parse, is it whole, what does it define."""

from __future__ import annotations

import ast
import functools
import io
import json
import re
import tokenize
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

_TOO_DEEP = "nested too deeply to be parsed"
_MESSAGE_CAP = 200
_DEFINING = (
    ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom | ast.Assign
)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A comment that stands where code should be."""

    line: int
    """Line of the file, from 1."""
    text: str
    """The comment, without the blanks around it."""


def parse_problem(path: str, text: str) -> str | None:
    """Say why `text` is not what the suffix of `path` promises.

    Args:
        path: only its suffix counts; a suffix without a parser always parses.
        text: content of the file.

    Returns:
        None if it parses, else one line such as `line 12: unterminated string literal`.
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
        return _one_line(_described(exc))
    return None


def placeholders(text: str) -> tuple[Placeholder, ...]:
    """Return the comments that stand for code which was left out.

    Args:
        text: Python, or anything else with comments of its own line.
    """
    lines = text.split("\n")
    suspects = tuple(comment for comment in _line_comments(lines) if _is_lazy(comment, lines))
    if not suspects:  # nearly always, and the tokenizer takes longer than all else here
        return ()
    comments = _python_comments(text)  # what looks like a comment may stand in a string
    if comments is None:
        return suspects
    return tuple(comment for comment in comments if _is_lazy(comment, lines))


def missing_symbols(text: str, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the names that a Python module does not define at its top level.

    Args:
        text: the module; one that does not parse defines nothing.
        symbols: `name` or `name(arguments)`; only the name counts.
    """
    names = dict.fromkeys(symbol.split("(", 1)[0].strip() for symbol in symbols)
    if not names:
        return ()
    defined = top_level_names(text)
    return tuple(name for name in names if name not in defined)


def top_level_names(text: str) -> frozenset[str]:
    """Return every name that a Python module binds at its top level (none if it has an error)."""
    tree = _tree_or_none(text)
    if tree is None:
        return frozenset()
    return frozenset(name for node in _statements(tree) for name in _bound_by(node))


def top_level_definitions(text: str) -> frozenset[str]:
    """Return the functions and classes that a Python module defines at its top level."""
    tree = _tree_or_none(text)
    nodes = () if tree is None else _statements(tree)
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return frozenset(node.name for node in nodes if isinstance(node, definitions))


def is_python_module(text: str) -> bool:
    """Tell whether `text` is Python that defines or imports something; prose never is."""
    tree = _tree_or_none(text)
    return tree is not None and any(isinstance(node, _DEFINING) for node in tree.body)


@functools.lru_cache(maxsize=4)  # a file is asked about several times in a row; none edits it
def _parse_python(text: str) -> ast.Module:
    if "\0" in text:  # ast.parse names no line, and its exception differs between versions
        raise SyntaxError("null byte", ("", text.count("\n", 0, text.index("\0")) + 1, 0, ""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape is no problem of parsing
        return ast.parse(text)


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
        return _at(exc.lineno, re.sub(r" \(detected at line \d+\)", "", exc.msg))
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


def _one_line(message: str) -> str:
    plain = "".join(char if char.isprintable() else " " for char in message)
    return " ".join(plain.split())[:_MESSAGE_CAP]


def _tree_or_none(text: str) -> ast.Module | None:
    try:
        return _parse_python(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Walk what runs at import: into if, try, with and loops, not into functions and classes."""
    # A stack, not recursion: a chain of a thousand elif is a tree a thousand levels deep.
    waiting: list[ast.AST] = [*reversed(tree.body)]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = ast.stmt | ast.excepthandler | ast.match_case | ast.withitem
            children = [child for child in ast.iter_child_nodes(node) if isinstance(child, inner)]
            waiting.extend(reversed(children))


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


def _python_comments(text: str) -> list[Placeholder] | None:
    try:
        tokens = [*tokenize.generate_tokens(io.StringIO(text).readline)]
    except (tokenize.TokenError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return [
        Placeholder(token.start[0], token.string.strip())
        for token in tokens
        if token.type == tokenize.COMMENT and _stands_alone(token)
    ]


def _stands_alone(token: tokenize.TokenInfo) -> bool:
    # A comment behind real code annotates it; a placeholder has its line for itself.
    return token.line[: token.start[1]].strip() in {"", "pass", "..."}


def _line_comments(lines: Sequence[str]) -> list[Placeholder]:
    return [
        Placeholder(number, line.strip())
        for number, line in enumerate(lines, start=1)
        if len(line) <= 2 * _LAZY_CAP and _COMMENT_LINE.match(line)
    ]


_COMMENT_LINE = re.compile(r"\s*(?:(?:pass|\.\.\.)\s*)?(?:#|//|<!--|/\*)")
_LAZY_CAP = 120  # a longer comment explains something
_EDGES = " \t#/<>!*()[]{}-–—.…:,;'\"`"

_CODE = r"(?:code|class|function|method|file|module|implementation|script|program)"
_CODES = rf"(?:{_CODE}s?|classes|imports?|logic|body|definitions?|__\w+__|\w+\(\))"
_SAME = (
    r"(?:unchanged|untouched|unmodified|omitted|not shown|as is|as before"
    r"|(?:exactly )?(?:the )?same(?: as (?:before|above|earlier|previously))?)"
)
_TAIL = rf"(?: (?:remains?|stays?|is|are|goes|follows|continues|here|for brevity|{_SAME}))"
_RU_WHOLE = r"(?:код|кода|класса|файла|модуля|функции|метода|скрипта|программы)"
_RU_SAME = (
    r"(?:без изменений|(?:как|так же,? как) (?:и )?(?:раньше|прежде|было|выше)|опущен[аоы]?"
    r"|прежни[мй]|прежней|прежними|тем же|та(?:ким|кой|кая|кое|кие) же|то же самое"
    r"|не (?:меня[ею]тся|изменил\w*))"
)
_RU_TAIL = rf"(?: (?:оста[её]тся|остаются|ид[её]т|здесь|тут|далее|{_RU_SAME}))"

_LAZY = re.compile(
    "|".join(
        (
            rf"(?:the )?(?:rest|remainder) of (?:the |this |your )?(?:\w+ ){{0,3}}{_CODE}{_TAIL}*",
            rf"(?:(?:the )?rest|(?:the )?remainder|everything else|(?:[\w.]+ ){{0,4}}{_CODES})"
            rf"(?: remains?| stays?| is| are)? {_SAME}(?: for brevity)?",
            rf"(?:existing|previous|your) (?:\w+ ){{0,2}}{_CODES}{_TAIL}*",
            rf"(?:original|old|other|remaining|same) (?:\w+ ){{0,2}}{_CODES}{_TAIL}+",
            rf"{_SAME}|no changes?(?: here)?",
            r"same (?:code |implementation |logic )?as (?:before|above|earlier|previously"
            r"|(?:in )?the (?:previous|original|first) \w+)",
            r"(?:(?:add|insert|put|write) )?(?:(?:your|the|actual|real|more) )?(?:\w+ )?"
            r"(?:code|implementation|logic)(?: goes| comes)? here",
            r".*\bfor (?:the sake of )?brevity",
            r"todo\W*(?:implement|fill in|write)(?: (?:this|it|me|here|the|your|code|function"
            r"|method|class|body|logic|implementation))*",
            rf"(?:весь )?остальной (?:\w+ )?код(?: {_RU_WHOLE})?{_RU_TAIL}*",
            rf"остальная часть (?:\w+ )?{_RU_WHOLE}{_RU_TAIL}*",
            rf"(?:вс[её] )?остальн(?:ое|ые)(?: \w+)?{_RU_TAIL}+",
            rf"(?:существующий|прежний|предыдущий|ваш) (?:\w+ )?код{_RU_TAIL}*",
            rf"(?:код|класс|функция|метод|методы|функции|реализация|импорты)(?: \w+)?{_RU_TAIL}"
            rf"{{0,2}} {_RU_SAME}",
            rf"{_RU_SAME}|(?:здесь|тут) (?:ваш|остальной|прежний|будет) (?:\w+ )?код",
            r".*\bдля краткости",
        )
    )
)
# Behind a leading ellipsis much less is needed: `# ... other methods`.
_ELIDED = re.compile(
    r"(?:the |your |all |and )?(?:rest|others?|existing|remaining|same|previous|original|unchanged"
    r"|omitted|code|implementation|more|etc|остальн\w*|прежн\w*|существующ\w*|предыдущ\w*"
    r"|как раньше|без изменений|далее|и так далее|и т|код|реализация|методы|функции|импорты)\b.*"
)
_ELLIPSIS = re.compile(r"[\s#/<!*(\[-]*(?:\.{3,}|…)")


def _is_lazy(comment: Placeholder, lines: Sequence[str]) -> bool:
    if len(comment.text) > _LAZY_CAP:
        return False
    core = " ".join(comment.text.removeprefix("pass").strip(_EDGES).lower().split())
    elided = _ELLIPSIS.match(comment.text.removeprefix("pass").removeprefix("..."))
    if not core:
        return bool(elided) and not _has_neighbours(comment.line, lines)
    return bool(_LAZY.fullmatch(core) or (elided and _ELIDED.fullmatch(core)))


def _has_neighbours(line: int, lines: Sequence[str]) -> bool:
    # `# ...` between other comments belongs to an example or a drawing
    around = (*lines[max(line - 2, 0) : line - 1], *lines[line : line + 1])
    return any(near.lstrip().startswith(("#", "//")) for near in around)
