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

from promptqueue.queue.bullets import bullets, paragraph_of
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
_MOST_BULLETS = 2
"""Of a function that has no paragraph: more requirements say what it keeps from being measured."""


class Suspicion(IntEnum):
    """Why a function may be at fault, the likeliest first."""

    LACKS = 0
    """The fault shows in it, or comes through it, and it lacks a name of what the task says."""
    SHOWS = 1
    """The fault shows in it."""
    FEEDS_ERROR = 2
    """A line that raises an error works with what it returns."""
    LACKS_ELSEWHERE = 3
    """It lacks such a name, and nothing else speaks against it."""
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
    declared = {each.path for each in outputs} & texts.keys()
    found = once(faults)
    found += [each for fault in found for each in alike(fault, texts)]
    found = [fault for fault in found if fault.path in declared]
    near = [each for fault in found for each in _near(fault, texts[fault.path], prompt)]
    known = {(each.path, *each.key[:-1]) for each in near}
    paths = dict.fromkeys(fault.path for fault in found)
    others = [each for path in paths for each in lacking(path, texts[path], prompt)]
    others = [each for each in others if (each.path, *each.key) not in known]
    return sorted([*near, *others], key=lambda each: each.suspicion)


def lacking(path: str, text: str, prompt: str) -> Iterator[Rewriting]:
    """Yield a question for each function of a file that lacks a name which the task writes as code.

    Args:
        path: of the file.
        text: of the file.
        prompt: what asked for the file.
    """
    classes = classes_of(text)
    for place in places_of(text):
        said = paragraph_of(prompt, place.names, classes)
        if lacks(place, said) and not _is_one_line(place):
            asked = _prompt(place, path, text, said, prompt)
            yield Rewriting(path, place.names, asked, True, Suspicion.LACKS_ELSEWHERE)


def _near(fault: Fault, text: str, prompt: str) -> Iterator[Rewriting]:
    """Yield the questions for what one fault shows in or comes through, in this order."""
    if (place := place_of(text, fault.line)) is None:
        return
    errs = not fault.measured and not undefined_in(fault.seen)
    fed = feeding(text, fault.line) if errs else []
    cause = _FIGURE.sub("#", fault.seen) if errs else " ".join(fault.requirements)
    for each in (place, *fed):
        paragraph = paragraph_of(prompt, each.names, classes_of(text))
        said = paragraph or _bullets_of(fault, prompt)
        if not said or _is_one_line(each):
            continue
        if not fed:  # else it may be the fault of another
            hint = mends(fault, {fault.path: text})
            said += f"\n\nAn earlier version failed: {fault.seen}{f' ({hint})' if hint else ''}"
        asked = _prompt(each, fault.path, text, said, prompt, missing_in([fault]))
        feeds = Suspicion.FEEDS_ERROR if _ERROR.search(fault.seen) else Suspicion.FEEDS
        shows = Suspicion.SHOWS if each == place else feeds
        suspicion = Suspicion.LACKS if lacks(each, paragraph) else shows
        yield Rewriting(fault.path, (*each.names, cause), asked, bool(paragraph), suspicion)


def _bullets_of(fault: Fault, prompt: str) -> str:
    """Return what the task says of the requirements at stake, if they are few."""
    if len(fault.requirements) > _MOST_BULLETS:
        return ""
    known = bullets(prompt)
    return "\n".join(f"- {name}: {known[name]}" for name in fault.requirements if name in known)


def _prompt(
    place: Place, path: str, text: str, said: str, prompt: str, missing: Missing = _NONE
) -> str:
    name = f"`{place.function.name}` of {place.owner.name}" if place.owner else ""
    name = name or f"`{place.function.name}`"
    lines = ["## DATA", "", f"Of the file `{path}`:", ""]
    lines += [fenced(_around(place, text), "python"), "", "## TASK", ""]
    lines += [f"Write {name}, which is left out here, line by line as it is asked for:", "", said]
    lines += ["", "## ANSWER FORMAT", "", "Only this function, whole, and no other:", ""]
    lines += openings_wanted({path: _to_fill(place)}, prompt, missing)
    return "\n".join(lines) + "\n"


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
    start, end = place.function.body[0].lineno, place.function.end_lineno or 0
    line = lines[start - 1]
    lines[start - 1 : end] = [line[: len(line) - len(line.lstrip())] + _LEFT_OUT]
    return "\n".join(lines) + "\n"


def _is_one_line(place: Place) -> bool:
    return place.function.body[0].lineno == place.function.lineno


def _to_fill(place: Place) -> list[str]:
    """Return the signature with a place for the body, a method within the line of its class."""
    lines = [*opening_of(place.function).split("\n"), "    <its lines>"]
    if place.owner is None:
        return lines
    return [*opening_of(place.owner).split("\n"), *(f"    {line}" for line in lines)]
