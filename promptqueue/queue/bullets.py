"""What a prompt says of a requirement, `- name: …`, and of a function, `` `name(…)` … ``."""

from __future__ import annotations

import re

_BULLET = re.compile(r"\s*[-*]\s*(\w[\w-]*):\s*(.+)")
_SPEAKS_OF = re.compile(r"(?:\w+ )?`(\w+)[`(]")


def bullets(text: str) -> dict[str, str]:
    """Return name to what is said: the first line, and the lines that are indented below it."""
    found: dict[str, list[str]] = {}
    name, depth = "", 0
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if match := _BULLET.match(line):
            name, depth = match[1], indent
            found[name] = [match[2].rstrip()]
        elif name and line.strip() and indent > depth:
            found[name].append(line[depth:].rstrip())
        else:
            name = ""
    return {name: "\n".join(lines) for name, lines in found.items()}


def paragraphs(text: str) -> dict[str, str]:
    """Return what is said of functions and classes: name to the first paragraph that opens with it.

    It opens with the name in backticks, or with one word before: ``Class `Gate`:``.
    """
    found: dict[str, str] = {}
    for paragraph in re.split(r"\n\s*\n", text):
        if match := _SPEAKS_OF.match(paragraph.strip()):
            found.setdefault(match[1], paragraph.strip())
    return found


def without_bullet(text: str, name: str) -> str:
    """Return a text without the bullets of a name, and without what is indented below them."""
    kept, deeper = [], -1
    for line in text.splitlines(keepends=True):
        indent = len(line) - len(line.lstrip())
        if re.match(rf"\s*[-*]\s*{re.escape(name)}:", line):
            deeper = indent
            continue
        if deeper >= 0 and line.strip() and indent > deeper:
            continue
        deeper = -1
        kept.append(line)
    return "".join(kept)
