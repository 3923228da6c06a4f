"""What can be wrong with a reply, in words for the user and for the model's next turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from promptqueue.run.attribution import is_unsafe
from promptqueue.verify.placeholders import Placeholder

_SHOWN = 80
"""Most characters of a path that a reply made up."""


class IssueKind(StrEnum):
    """What can be wrong with a reply."""

    MISSING = "missing"
    UNDECLARED = "undeclared"
    UNATTRIBUTED = "unattributed"
    UNSAFE_PATH = "unsafe path"
    TRUNCATED = "truncated"
    SUPERSEDED = "superseded"
    LAZY = "lazy placeholder"
    SHRUNK = "shrunk"
    SYNTAX = "syntax"
    SYMBOLS = "symbols"
    DEGENERATE = "degenerate"


@dataclass(frozen=True, slots=True)
class Issue:
    """Something in a reply that is not as it should be."""

    kind: IssueKind
    path: str | None
    """The file concerned; for an undeclared or unsafe one the path as the reply wrote it."""
    message: str
    """What was found, where, and the way out; equal findings have equal messages."""
    fatal: bool
    """The declared file cannot be used as it is."""


def degenerate() -> Issue:
    message = "the reply repeated itself and was cut off; write every line once"
    return Issue(IssueKind.DEGENERATE, None, message, fatal=False)


def unattributed(line: int, declared: Sequence[str]) -> Issue:
    message = (
        f"reply line {line}: the block does not say which file it is; "
        f"write the path into its fence, as in {fence_for(declared[0])}"
    )
    return Issue(IssueKind.UNATTRIBUTED, None, message, fatal=False)


def unsafe(path: str, line: int, declared: Sequence[str]) -> Issue:
    message = (
        f"reply line {line}: {shown(path)} points out of the workspace and is not written; "
        f"use a plain relative path, here {', '.join(declared)}"
    )
    return Issue(IssueKind.UNSAFE_PATH, path, message, fatal=False)


def undeclared(path: str, line: int, declared: Sequence[str]) -> Issue:
    message = (
        f"reply line {line}: {shown(path)} was not asked for; "
        f"the files of this step are {', '.join(declared)}"
    )
    return Issue(IssueKind.UNDECLARED, path, message, fatal=False)


def superseded(path: str, line: int, *, by: int) -> Issue:
    message = (
        f"{path}: the version at reply line {line} was not taken, "
        f"the one at reply line {by} was; send each file once"
    )
    return Issue(IssueKind.SUPERSEDED, path, message, fatal=False)


def truncated(path: str | None, line: int) -> Issue:
    """Return the issue of a block that was left open; without a path no file is concerned."""
    subject = f"{path}: the reply ended inside this file" if path else "the reply ended in a block"
    message = f"{subject} (it opens at reply line {line}); send the whole file and close its fence"
    return Issue(IssueKind.TRUNCATED, path, message, fatal=path is not None)


def missing(path: str, *, why: str, parts: bool = False) -> Issue:
    """Return the issue of a file that did not come; of one that was there before, parts will do."""
    message = f"{path}: {why}; send {_wanted(parts=parts)} in a fence {fence_for(path)}"
    return Issue(IssueKind.MISSING, path, message, fatal=True)


def missing_why(others: Iterable[str], *, empty_at: int | None, thinking: bool) -> str:
    """Say why a file is missing.

    Args:
        others: paths that the reply names and that were not asked for.
        empty_at: reply line of a block for the file that has no content.
        thinking: the reply ended within its thoughts.
    """
    if thinking:
        return "the reply ended before its thoughts did"
    if empty_at is not None:
        return f"the block at reply line {empty_at} is empty"
    names = ", ".join(dict.fromkeys(shown(path) for path in others))
    instead = f"; the reply names {names} instead" if names else ""
    return f"no block of the reply is this file{instead}"


def syntax(path: str, problem: str, *, parts: bool = False) -> Issue:
    """Return the issue of a file that does not parse; of one that was there before, as above."""
    message = f"{path}: {problem}; send {_wanted(parts=parts)} with this corrected"
    return Issue(IssueKind.SYNTAX, path, message, fatal=True)


def symbols(path: str, lacking: Sequence[str]) -> Issue:
    message = f"{path}: its top level does not define {', '.join(lacking)}; add what is missing"
    return Issue(IssueKind.SYMBOLS, path, message, fatal=True)


def lazy(path: str, placeholder: Placeholder) -> Issue:
    message = (
        f"{path}: line {placeholder.line}: {placeholder.text} stands for code; "
        "write the code itself"
    )
    return Issue(IssueKind.LAZY, path, message, fatal=True)


def shrunk(path: str, *, old: int, new: int) -> Issue:
    message = (
        f"{path}: has {new} lines where the version before had {old}; "
        "send the whole file, not only what changed"
    )
    return Issue(IssueKind.SHRUNK, path, message, fatal=True)


def _wanted(*, parts: bool) -> str:
    return "each function that changes" if parts else "the whole file"


def fence_for(path: str) -> str:
    """Return the opening fence that a file is asked for with."""
    return f"```{'python ' if path.endswith('.py') else ''}path={path}"


def shown(path: str) -> str:
    """Return a path of the reply as a message may hold it: printable, short, not absolute."""
    plain = "".join(char if char.isprintable() else "?" for char in path)
    if is_unsafe(plain):
        plain = "…/" + plain.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return plain[:_SHOWN]
