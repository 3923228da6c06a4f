"""Asks for one function at a time anew: with what the task says of it, and without what it was.

A small model that is shown a wrong line copies it, and of a long task it forgets a line here and
there. Asked for one function of a few lines, with nothing around it but its class, the same model
writes it as the task says: `prompts/PACKS.md` has the figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

from promptqueue.queue.bullets import bullets, paragraph_of, remarks
from promptqueue.queue.interface import Definition
from promptqueue.queue.model import Output
from promptqueue.queue.templates import fenced
from promptqueue.run.ending import Missing, openings_wanted
from promptqueue.run.feedback import alike, mends, missing_in, once
from promptqueue.run.hints import undefined_in
from promptqueue.run.suspects import Place, classes_of, feeding, lacks, place_of, places_of
from promptqueue.run.torn import lines_of, parse_torn
from promptqueue.run.units import opening_of, span
from promptqueue.run.verdict import Fault

_NONE: Missing = MappingProxyType({})
_LEFT_OUT = "...  # left out"
_FIGURE = re.compile(r"\d+(?:\.\d+)?")
"""They come of the draw, and make no other cause."""
_ERROR = re.compile(r"\b\w+(?:Error|Exception|Exit|Interrupt)\b")
"""The name of an exception: its line is where something went wrong."""
_MOST_NAMES = 5
_MOST_BULLETS = 2
"""Of a function that has no paragraph: more requirements say what it keeps from being measured."""


class Suspicion(IntEnum):
    """Why a function may be at fault, the likeliest first."""

    LACKS = 0
    """The fault shows in it, or comes through it, and it lacks what the task uses by name."""
    SHOWS = 1
    """The fault shows in it."""
    FEEDS_ERROR = 2
    """A line that raises an error works with what it returns."""
    LACKS_ELSEWHERE = 3
    """It lacks that, and nothing else speaks against it."""
    FEEDS = 4
    """A line works with what it returns that is named for what is wrong with the whole."""


class Rewriting(NamedTuple):
    """A question for one function, in a prompt of its own."""

    path: str
    key: tuple[str, ...]
    """Which function of the file, and what for: to ask the same again is not worth it."""
    prompt: str
    spoken_of: bool
    """The task has a paragraph on it, and so says all of it."""
    suspicion: Suspicion


class File(NamedTuple):
    """A file as it stands, and what asked for it."""

    path: str
    text: str
    prompt: str
    beside: Sequence[str]
    """Paths of the other files that the same prompt asks for."""

    def said_of(self, place: Place) -> str:
        """Return the paragraph of the task on a function, or on its class."""
        return paragraph_of(self.prompt, place.names, classes_of(self.text))

    def remarks(self) -> list[str]:
        """Return what the task says of the file beside its functions."""
        names = {name for place in places_of(self.text) for name in place.names}
        return remarks(self.prompt, {*names, *self.beside})


def rewritings(
    faults: Sequence[Fault], texts: Mapping[str, str], outputs: Sequence[Output], prompt: str
) -> list[Rewriting]:
    """Return a question for each function that a fault may lie in, as far as the task speaks of it.

    First come those that lack what the task names: ``Class `Net`: an nn.Linear``, and none in it.
    Then those that a fault shows in, and those that feed its line: `y + z` fails for the shape of
    `y`, and the fault may be where `y` comes from.

    Args:
        faults: one for each cause.
        texts: path to text of the files that have them.
        outputs: the files of the step.
        prompt: of the step.
    """
    paths = [each.path for each in outputs]
    files = {
        path: File(path, texts[path], prompt, [each for each in paths if each != path])
        for path in paths
        if path in texts
    }
    found = once(faults)
    found += [each for fault in found for each in alike(fault, texts)]
    found = [fault for fault in found if fault.path in files]
    near = [each for fault in found for each in _near(fault, files[fault.path])]
    known = {(each.path, *each.key[:-1]) for each in near}
    at_fault = dict.fromkeys(fault.path for fault in found)
    others = [each for path in at_fault for each in lacking(files[path])]
    others = [each for each in others if (each.path, *each.key) not in known]
    return sorted([*near, *others], key=lambda each: each.suspicion)


def lacking(file: File) -> Iterator[Rewriting]:
    """Yield a question for each function that lacks something that the task uses by name."""
    for place in places_of(file.text):
        said = file.said_of(place)
        if (names := lacks(place, said)) and not _is_one_line(place, file.text):
            asked = _prompt(place, file, [said, _lacked(names)])
            yield Rewriting(file.path, place.names, asked, True, Suspicion.LACKS_ELSEWHERE)


def _near(fault: Fault, file: File) -> Iterator[Rewriting]:
    """Yield the questions for what one fault shows in or comes through, in this order."""
    if (place := place_of(file.text, fault.line)) is None:
        return
    errs = not fault.measured and not undefined_in(fault.seen)
    fed = feeding(file.text, fault.line) if errs else []
    cause = _FIGURE.sub("#", fault.seen) if errs else " ".join(fault.requirements)
    hint = mends(fault, {file.path: file.text})
    failed = f"An earlier version failed: {fault.seen}{f' ({hint})' if hint else ''}"
    for each in (place, *fed):
        paragraph = file.said_of(each)
        said = paragraph or _bullets_of(fault, file.prompt)
        if not said or _is_one_line(each, file.text):
            continue
        names = lacks(each, paragraph)
        told = [said, *([_lacked(names)] if names else [])]
        if not fed:  # else it may be the fault of another
            told.append(failed)
        asked = _prompt(each, file, told, missing_in([fault]))
        feeds = Suspicion.FEEDS_ERROR if _ERROR.search(fault.seen) else Suspicion.FEEDS
        shows = Suspicion.SHOWS if each == place else feeds
        suspicion = Suspicion.LACKS if names else shows
        yield Rewriting(file.path, (*each.names, cause), asked, bool(paragraph), suspicion)


def _lacked(names: Sequence[str]) -> str:
    some = ", ".join(f"`{name}`" for name in names[:_MOST_NAMES])
    return f"An earlier version lacked {some}{' and more' if names[_MOST_NAMES:] else ''}."


def _bullets_of(fault: Fault, prompt: str) -> str:
    """Return what the task says of the requirements at stake, if they are few."""
    if len(fault.requirements) > _MOST_BULLETS:
        return ""
    known = bullets(prompt)
    return "\n".join(f"- {name}: {known[name]}" for name in fault.requirements if name in known)


def _prompt(place: Place, file: File, said: Sequence[str], missing: Missing = _NONE) -> str:
    name = f"`{place.function.name}` of {place.owner.name}" if place.owner else ""
    name = name or f"`{place.function.name}`"
    first, *others = said
    wanted = openings_wanted({file.path: _to_fill(place)}, file.prompt, missing)
    paragraphs = [
        f"## DATA\n\nOf the file `{file.path}`:",
        fenced(_around(place, file.text), "python"),
        "## TASK",
        f"Write {name}, which is left out here, line by line as it is asked for:",
        *(first, *file.remarks(), *others),
        "## ANSWER FORMAT\n\nOnly this function, whole, and no other:",
        "\n".join(wanted),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _around(place: Place, text: str) -> str:
    """Return the file without the body of a function, and without the definitions beside it."""
    lines, name = lines_of(_without(place, text)), (place.owner or place.function).name
    shown: list[str] = []
    for node in parse_torn("\n".join(lines)).body:
        if not isinstance(node, Definition) or node.name == name:
            first, last = span(node)
            shown += [*([""] if isinstance(node, Definition) else []), *lines[first - 1 : last]]
    return "\n".join(shown).lstrip("\n")


def _without(place: Place, text: str) -> str:
    """Return a file in which the body of a function is left out."""
    lines = lines_of(text)
    (start, _), end = span(place.function.body[0]), place.function.end_lineno or 0
    line = lines[start - 1]
    lines[start - 1 : end] = [line[: len(line) - len(line.lstrip())] + _LEFT_OUT]
    return "\n".join(lines) + "\n"


def _is_one_line(place: Place, text: str) -> bool:
    """Tell whether the body begins in the line where the signature ends."""
    first = place.function.body[0]
    return bool(lines_of(text)[first.lineno - 1].encode()[: first.col_offset].strip())


def _to_fill(place: Place) -> list[str]:
    """Return the signature with a place for the body, a method within the line of its class."""
    lines = [*opening_of(place.function).split("\n"), "    <its lines>"]
    if place.owner is None:
        return lines
    return [*opening_of(place.owner).split("\n"), *(f"    {line}" for line in lines)]
