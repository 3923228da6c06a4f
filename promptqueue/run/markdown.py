"""The lines of a reply: thoughts before it, fences in it, the lists and quotes around them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# At most eight quotes and list marks: real replies have two, and each costs time on every line.
OPENER = re.compile(
    r"(?P<prefix>(?:[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t]))){0,8}[ \t]*)"
    r"(?P<fence>`{3,}(?=[^`]*$)|~{3,})(?P<info>.*)$"
)
CLOSER = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*$")
_CODE_LINE = re.compile(
    r"import \w|from [\w.]+ import |(?:async )?def \w+\(|class \w+[(:]|@\w|\"\"\"|'''"
    r"|[A-Za-z_]\w*(?:: [^=]+)? = |if __name__"
)
_THINKING = re.compile(r"\s*<(think|thinking)>", re.IGNORECASE)
_THOUGHT = {
    tag: re.compile(rf"</{tag}>", re.IGNORECASE)  # found in one search, however long the thought
    for tag in ("think", "thinking")
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply without what the model thought before it."""

    text: str
    """Lines end with LF; thoughts became blank lines, so that line numbers hold."""
    thinking: bool = False
    """The reply ended within its thoughts: there is no answer."""


@dataclass(frozen=True, slots=True)
class Container:
    """The list items and quotes around a block, as far as they show on its lines."""

    quotes: int = 0
    """Quote marks on each body line."""
    indent: int = 0
    """Blanks to take from each body line, behind the quote marks."""
    reach: int = 3
    """Most blanks before a closing fence."""

    def strip(self, line: str) -> str | None:
        """Take the container's marks from a line; None if the line stands outside the quote."""
        for _ in range(self.quotes):
            line = line.lstrip(" \t")
            if line and not line.startswith(">"):
                return None
            line = line[1:]
        return line[min(self.indent, _blanks(line)) :]

    def strip_all(self, lines: Sequence[str]) -> list[str]:
        """Take the marks from every line; a line outside the quote becomes blank."""
        if not self.quotes and not self.indent:
            return list(lines)
        return [self.strip(line) or "" for line in lines]


def answer_of(reply: str) -> Answer:
    """Return the reply without byte order mark and thoughts, its line ends as LF.

    Only what stands before the answer is taken for thoughts: a file may speak of `<think>`.
    """
    text = reply.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    position = 0
    while opening := _THINKING.match(text, position):
        end = _THOUGHT[opening[1].lower()].search(text, opening.end())
        if end is None:
            return Answer("", thinking=True)
        position = end.end()
    thoughts = text.count("\n", 0, position)
    return Answer("\n" * thoughts + text[position:].removeprefix("\ufeff"))


def container_of(prefix: str, head: Sequence[str]) -> Container:
    """Return the container of a fence.

    Args:
        prefix: what stands before the fence on its line.
        head: the first body lines that are not blank. They decide what is taken from the body:
            models often write a list item's fence with its body at the margin.
    """
    first = head[0] if head else ""
    quotes = prefix.count(">")
    inner = Container(quotes).strip(first)
    if inner is None:
        quotes, inner = 0, first
    indent = min(len(prefix.rpartition(">")[2]), _blanks(inner))
    return Container(quotes, indent, reach=max(3, len(prefix)))


def closes(line: str, fence: str, *, reach: int) -> bool:
    """Tell whether a line closes the block that `fence` opened; "" is closed by any fence."""
    match = CLOSER.match(line)
    if not match or len(match["indent"]) > reach:
        return False
    return match["fence"].startswith(fence)


def opens_with_info(line: str, *, least: int) -> bool:
    """Tell whether a line opens a block, has an info string and a fence of `least` marks."""
    match = OPENER.match(line)
    return bool(match and match["info"].strip() and len(match["fence"]) >= least)


def is_balanced(text: str, fence: str) -> bool:
    """Tell whether the fences inside a Markdown file are closed before it ends.

    Only those count that `fence`, which opened the file itself, could be mistaken for.
    """
    inside = ""
    for line in text.split("\n"):
        if inside:
            inside = "" if closes(line, inside, reach=3) else inside
        elif (opener := OPENER.match(line)) and opener["fence"].startswith(fence):
            inside = opener["fence"]
    return not inside


def looks_like_code(text: str) -> bool:
    """Tell whether a text begins like Python, comments aside, and holds no fence."""
    lines = [line for line in text.split("\n") if line.strip()]
    first = next((line for line in lines if not line.startswith("#")), "")
    return bool(_CODE_LINE.match(first)) and not any(OPENER.match(line) for line in lines)


def _blanks(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
