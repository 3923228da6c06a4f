"""Whose block is it: the path that a fence, the line above it or its first line names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

INFO, ABOVE, FIRST, SOLE = "info", "line above", "first line", "sole output"

_LABEL_CAP = 200  # a longer line tells a story, it does not name a file
_PYTHON = frozenset({"python", "py", "python3", "py3"})
_CHANGES = frozenset({"diff", "patch"})  # they tell of a file, and some even parse as Python
_LANGUAGES: Mapping[str, frozenset[str]] = {
    ".py": _PYTHON,
    ".pyi": _PYTHON | {"pyi"},
    ".json": frozenset({"json", "jsonc", "json5"}),
    ".toml": frozenset({"toml"}),
    ".yaml": frozenset({"yaml", "yml"}),
    ".yml": frozenset({"yaml", "yml"}),
    ".md": frozenset({"markdown", "md"}),
    ".txt": frozenset({"text", "txt", "plain", "plaintext"}),
    ".sh": frozenset({"bash", "sh", "shell", "zsh"}),
    ".cfg": frozenset({"cfg", "ini", "conf", "toml"}),
    ".ini": frozenset({"cfg", "ini", "conf"}),
    ".html": frozenset({"html", "htm"}),
    ".css": frozenset({"css"}),
    ".js": frozenset({"javascript", "js"}),
}
_OTHER_SUFFIX = re.compile(
    r"\.(?:ipynb|rst|bat|ps1|htm|jsx|tsx?|[ct]sv|xml|sql|c|h|cc|[ch]pp|rs|go|java|kt|rb|php|lua|r"
    r"|swift|scala|env|lock|log|conf|png|jpg|pth?|npy)"
)
_KEYED = re.compile(
    r"""(?:^|[\s,;{])(?P<key>path|file|filename|file_name|filepath|file_path|title|name)\s*[=:]\s*
    (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s,;}]+))""",
    re.VERBOSE | re.IGNORECASE,
)
_SEPARATORS = re.compile(r"[\s`'\"*()\[\]{}<>,;:|=!?#«»“”„]+")
_KEYWORDS = frozenset({"file", "filename", "filepath", "path", "module", "файл", "модуль", "путь"})
_LIST_MARK = re.compile(r"[\s>#*+-]*(?:\d{1,9}[.)]\s)?")
_COMMENT = re.compile(r"\s*(?:#(?!!)|//|<!--|/\*|--|;|%)")
_DOCSTRING = re.compile(r"[rR]?(?:\"\"\"|''')")
_PROLOGUE = re.compile(r"#!|#.*\bcoding[:=]")
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*:")


@dataclass(frozen=True, slots=True)
class Claim:
    """A path that a block says is its own, and how it says so."""

    path: str
    """As written, but without a leading `./`; it may be anything."""
    found_by: str
    weak: bool = False
    """Only a sentence above the block mentions the path."""


def info_claim(info: str, declared: Collection[str]) -> Claim | None:
    """Read the path from the info string of a fence: `python path=model.py` and its kin."""
    language = language_of(info, declared)
    if language in _CHANGES:
        return None
    keyed = _keyed_path(info, declared)
    if keyed is not None:
        return Claim(keyed, INFO)
    paths = {path for path in _bare_paths(info, declared) if fits(language, path)}
    return Claim(paths.pop(), INFO) if len(paths) == 1 else None


def label_claim(line: str, language: str, declared: Collection[str]) -> Claim | None:
    """Read the path from a line that is nothing but its label: `**model.py**`, `File: model.py`."""
    path = _labelled(line, declared)
    return Claim(path, ABOVE) if path is not None and fits(language, path) else None


def first_line_claim(body: Sequence[str], language: str, declared: Collection[str]) -> Claim | None:
    """Read the path from the first comment of a body, or from a docstring that is just the path.

    Args:
        body: the first lines of a block that are not blank.
        language: of the fence; a path of another language is a remark, no claim.
        declared: paths that the step declares.
    """
    lines = [line for line in body if not _PROLOGUE.match(line)]
    path = _commented(lines, declared)
    return Claim(path, FIRST) if path is not None and fits(language, path) else None


def sentence_claim(line: str, language: str, declared: Collection[str]) -> Claim | None:
    """Read the one declared path from a sentence: `Here is the code for model.py:`."""
    if len(line) > _LABEL_CAP:
        return None
    paths = {_plain(word) for word in _words(line) if _is_path(_plain(word), declared)}
    path = paths.pop() if len(paths) == 1 else ""
    return Claim(path, ABOVE, weak=True) if path in declared and fits(language, path) else None


def is_comment(line: str) -> bool:
    """Tell whether a line is a comment with one mark (`## x` is a heading)."""
    return bool(_COMMENT.match(line)) and not line.lstrip().startswith("##")


def language_of(info: str, declared: Collection[str]) -> str:
    """Return the language that an info string names, in lower case, or an empty string."""
    first = next(iter(_info_tokens(info)), "")
    head, colon, _ = first.partition(":")
    language = head.lstrip(".").lower()
    if colon and len(head) > 1:  # `python:model.py`, but not a drive
        return "" if language in _KEYWORDS else language
    return "" if "=" in first or _is_path(_plain(first), declared) else language


def fits(language: str, path: str) -> bool:
    """Tell whether a block of that language can be that file; no language fits every file."""
    languages = _LANGUAGES.get(PurePosixPath(path).suffix.lower())
    return not language or languages is None or language in languages


def is_unsafe(path: str) -> bool:
    """Tell whether a path points out of the workspace, or is not the path of a plain file."""
    outside = path.startswith(("/", "~")) or ".." in path.split("/")
    return outside or "\\" in path or bool(_SCHEME.match(path))


def parse_path(language: str, declared: Collection[str]) -> str:
    """Return a path whose suffix says how a block without a claim is to be parsed."""
    if not language:
        suffixes = {PurePosixPath(path).suffix for path in declared}
        return "block.py" if suffixes == {".py"} else ""
    return next((f"block{end}" for end, names in _LANGUAGES.items() if language in names), "")


def _keyed_path(info: str, declared: Collection[str]) -> str | None:
    found = [
        (match["key"].lower(), match["double"] or match["single"] or match["bare"] or "")
        for match in _KEYED.finditer(info[:_LABEL_CAP])
    ]
    paths = [value for key, value in found if key not in {"title", "name"}]
    titles = [value for key, value in found if key in {"title", "name"}]
    named = [*paths, *(title for title in titles if _is_path(_plain(title), declared))]
    return next((_plain(path) for path in named if _plain(path)), None)


def _bare_paths(info: str, declared: Collection[str]) -> Iterable[str]:
    for token in _info_tokens(info):
        head, colon, tail = token.partition(":")
        behind_language = bool(colon) and len(head) > 1 and head.isalnum()
        path = _plain(tail if behind_language else token)
        if _is_path(path, declared):
            yield path


def _info_tokens(info: str) -> list[str]:
    return [token for token in re.split(r"[\s,{}]+", info[:_LABEL_CAP]) if token]


def _labelled(line: str, declared: Collection[str]) -> str | None:
    if len(line) > _LABEL_CAP:
        return None
    words = _words(line[_LIST_MARK.match(line).end() :])  # type: ignore[union-attr]  # matches ""
    while len(words) > 1 and (words[0].lower() in _KEYWORDS or words[0].rstrip(".").isdigit()):
        words = words[1:]
    path = _plain(words[0]) if len(words) == 1 else ""
    return path if _is_path(path, declared) else None


def _commented(lines: Sequence[str], declared: Collection[str]) -> str | None:
    first = lines[0] if lines else ""
    if _COMMENT.match(first):
        return _labelled(first, declared)
    opening = _DOCSTRING.match(first)
    if not opening:
        return None
    rest = first[opening.end() :].strip(" \t\"'")
    return _labelled(rest or "".join(lines[1:2]).strip(" \t\"'"), declared)


def _words(line: str) -> list[str]:
    return [word for word in _SEPARATORS.split(line) if any(char.isalnum() for char in word)]


def _plain(path: str) -> str:
    bare = path.strip(" \t`'\"*").rstrip(".,:;").removeprefix("…")
    while bare.startswith("./"):
        bare = bare[2:].lstrip("/")
    return bare


def _is_path(path: str, declared: Collection[str]) -> bool:
    if path in declared:
        return True
    suffix = PurePosixPath(path).suffix.lower()
    named = suffix in _LANGUAGES or bool(_OTHER_SUFFIX.fullmatch(suffix))
    return named or (path.startswith(("/", "../", "~/")) and len(path) > 1)
