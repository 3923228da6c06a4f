"""Asks for one function at a time anew: with what the task says of it, and without what it was.

A small model that is shown a wrong line copies it, and of a long task it forgets a line here and
there. Asked for one function of a few lines, with nothing around it but its class, the same model
writes it as the task says: `prompts/PACKS.md` has the figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from promptqueue.queue.bullets import bullets, paragraph_of
from promptqueue.queue.interface import Definition
from promptqueue.queue.model import Output
from promptqueue.queue.templates import fenced
from promptqueue.run.ending import openings_wanted
from promptqueue.run.feedback import alike, missing_in, once
from promptqueue.run.hints import undefined_in
from promptqueue.run.suspects import Place, classes_of, feeding, lacks, place_of, places_of
from promptqueue.run.torn import lines_of, parse_torn
from promptqueue.run.units import opening_of, span
from promptqueue.run.verdict import Fault

_LEFT_OUT = "...  # left out"
_FIGURE = re.compile(r"\d+(?:\.\d+)?")
"""They come of the draw, and make no other cause."""
_MOST_BULLETS = 2
"""Of a function that has no paragraph: more requirements say what it keeps from being measured."""


class Suspicion(IntEnum):
    """How near a function is to a fault, the nearest first."""

    LACKS = 0
    """The fault shows in it, or comes through it, and it lacks a name of what the task says."""
    NEAR = 1
    """The fault shows in it, or comes through it."""
    LACKS_ELSEWHERE = 2
    """It lacks such a name, and lies in the same file."""


class Rewriting(NamedTuple):
    """A question for one function, in a prompt of its own."""

    key: tuple[str, ...]
    """Which function, and what for: a second answer to the same is not worth asking for."""
    prompt: str
    spoken_of: bool
    """The task has a paragraph on it, and so says all of it."""
    suspicion: Suspicion


def rewritings(
    faults: Sequence[Fault], texts: Mapping[str, str], outputs: Sequence[Output], prompt: str
) -> list[Rewriting]:
    """Return a question for each function that a fault may lie in, as far as the task speaks of it.

    First come those that lack what the task names: `Class Net: an nn.Linear`, and no Linear in it.
    Of the others, after the function that an error shows in come those that feed its line:
    `y + z` fails for the shape of `y`, and the fault may be where `y` comes from.

    Args:
        faults: one for each cause.
        texts: path to text of the files that have them.
        outputs: the files of the step.
        prompt: of the step.
    """
    declared = {each.path for each in outputs}
    found = once(faults)
    others = [each for fault in found for each in alike(fault, texts)]
    asked = [
        rewriting
        for fault in [*found, *others]
        if fault.path in declared and fault.path in texts
        for rewriting in _for_one(fault, texts[fault.path], prompt)
    ]
    return sorted(asked, key=lambda each: each.suspicion)


def _for_one(fault: Fault, text: str, prompt: str) -> Iterator[Rewriting]:
    """Yield the questions for one fault, the function that it shows in first."""
    if (place := place_of(text, fault.line)) is None:
        return
    errs = not fault.measured and not undefined_in(fault.seen)
    fed, classes = feeding(text, fault.line) if errs else [], classes_of(text)
    cause = _FIGURE.sub("#", fault.seen) if errs else " ".join(fault.requirements)
    near = [place, *fed]
    for each in (*near, *(other for other in places_of(text) if other not in near)):
        paragraph, is_near = paragraph_of(prompt, each.names, classes), each in near
        lacking = lacks(each, paragraph)
        said = paragraph or _bullets_of(fault, prompt)
        if not (is_near or lacking) or not said or _is_one_line(each):
            continue
        if each == place and not fed:  # else it may be the fault of another
            said += f"\n\nAn earlier version failed: {fault.seen}"
        key, asked = (fault.path, *each.names, cause), _prompt(each, fault, text, said, prompt)
        yield Rewriting(key, asked, bool(paragraph), _suspicion(lacking=lacking, near=is_near))


def _suspicion(*, lacking: bool, near: bool) -> Suspicion:
    if not near:
        return Suspicion.LACKS_ELSEWHERE
    return Suspicion.LACKS if lacking else Suspicion.NEAR


def _bullets_of(fault: Fault, prompt: str) -> str:
    """Return what the task says of the requirements at stake, if they are few."""
    if len(fault.requirements) > _MOST_BULLETS:
        return ""
    known = bullets(prompt)
    return "\n".join(f"- {name}: {known[name]}" for name in fault.requirements if name in known)


def _prompt(place: Place, fault: Fault, text: str, said: str, prompt: str) -> str:
    name = f"`{place.function.name}` of {place.owner.name}" if place.owner else ""
    name = name or f"`{place.function.name}`"
    lines = ["## DATA", "", f"Of the file `{fault.path}`:", ""]
    lines += [fenced(_around(place, text), "python"), "", "## TASK", ""]
    lines += [f"Write {name}, which is left out here, line by line as it is asked for:", "", said]
    lines += ["", "## ANSWER FORMAT", "", "Only this function, whole, and no other:", ""]
    lines += openings_wanted({fault.path: _to_fill(place)}, prompt, missing_in([fault]))
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
