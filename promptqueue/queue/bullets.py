"""What a prompt says of a requirement, `- name: …`, and of a function, `` `name(…)` … ``."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

_BULLET = re.compile(r"\s*[-*]\s*(\w[\w-]*):\s*(.+)")
_SPEAKS_OF = re.compile(r"(?:\w+ )?`(\w+)[`(]")
_QUOTED = re.compile(r"`[^`]*`")
_ITEM = re.compile(r"^\s*(?:[-*]|\d+[.)])\s", re.MULTILINE)
_HEADING = "\n## "
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_USED = re.compile(
    r"""(?<=[\w\])]\.)(?!py\b|\w\.(?!\w))[^\W\d]\w*  # after a dot: loss.item; not of m.py, e.g.
    | \b[^\W\d]\w*(?=\()  # what is called
    | \b[A-Z]\w*[a-z](?:[A-Z]|\d)\w*  # a class: ReLU, Conv2d
    """,
    re.VERBOSE,
)


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


def paragraphs(text: str) -> list[tuple[str, str]]:
    """Return what is said of functions and classes: name and the paragraph that opens with it.

    It opens with the name in backticks, or with one word before: ``Class `Gate`:``. After the
    paragraphs come the bullets whose text opens so: ``- loss: class `Loss`: …``.
    """
    found = [paragraph.strip() for paragraph in re.split(r"\n\s*\n", text)]
    found += bullets(text).values()
    return [(match[1], each) for each in found if (match := _SPEAKS_OF.match(each))]


def paragraph_of(text: str, names: Sequence[str], classes: Collection[str] = ()) -> str:
    """Return the paragraph on a definition, or else on the one around it; nothing without one.

    Args:
        text: of a prompt.
        names: the definition's, and those around it, as `("forward", "Gate")`.
        classes: of the same file; a paragraph on `forward` that names one of them in its first
            line is on the method of that class.
    """
    for depth, name in enumerate(names):
        around = {*names[depth + 1 :]}
        others = []
        for spoken_of, paragraph in paragraphs(text):
            if spoken_of == name:
                named = {*re.findall(r"\w+", paragraph.partition("\n")[0])} & {*classes}
                if named & around:
                    return paragraph
                others += [] if around and named else [paragraph]
        if others:
            return others[0]
    return ""


def remarks(text: str, others: Collection[str]) -> list[str]:
    """Return the paragraphs of a task that speak of none of others, and so may hold for all else.

    They are no bullets, no lists, no examples in a fence, and not the first, which says what is
    to be written.

    Args:
        text: of a prompt; the task is its last section but one, the last is the answer format.
        others: names of functions and classes, and paths of files.
    """
    _, _, task = text.rpartition(_HEADING)[0].rpartition(_HEADING)
    found = re.split(r"\n\s*\n", _FENCED.sub("", task.partition("\n")[2]).strip())[1:]
    return [each for each in found if not _ITEM.search(each) and not _quoted(each) & {*others}]


def names_used(paragraph: str) -> frozenset[str]:
    """Return the names of what a paragraph uses, its bullets aside: `loss.item`, `zip(`, `Conv2d`.

    What it only gives a name to, such as `total`, has another one in other people's code.
    """
    text = "\n".join(line for line in paragraph.split("\n") if not _BULLET.match(line))
    return frozenset(_USED.findall(text))


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


def _quoted(text: str) -> set[str]:
    """Return what is in backticks, and each name in it that is no part of a dotted one."""
    quoted = {each.strip("`") for each in _QUOTED.findall(text)}
    return quoted.union(*(re.findall(r"(?<![\w.])\w+\b(?!\.\w)", each) for each in quoted))
