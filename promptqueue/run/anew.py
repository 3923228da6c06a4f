"""Asks for the functions at fault once more, out of sight of what they were.

A small model that is shown a wrong line copies it; the same model wrote the rest of the file right.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from promptqueue.queue.bullets import paragraph_of
from promptqueue.queue.model import Output
from promptqueue.run.ending import openings_wanted
from promptqueue.run.feedback import missing_in, once
from promptqueue.run.hints import undefined_in
from promptqueue.run.suspects import Place, classes_of, feeding, place_of
from promptqueue.run.torn import lines_of
from promptqueue.run.units import opening_of
from promptqueue.run.verdict import Fault

_LEFT_OUT = "...  # left out"


class Anew(NamedTuple):
    """A turn that asks for functions as if they had not been written yet."""

    files: dict[str, str]
    """Path to text without the bodies of these functions."""
    prompt: str


def anew(
    faults: Iterable[Fault], texts: Mapping[str, str], outputs: Sequence[Output], prompt: str
) -> Anew | None:
    """Return the turn, or nothing where a fault lies in no function of these files.

    With the function that an error shows in go those that feed its line: `y + z` fails for the
    shape of `y`, and the fault may be where `y` comes from.

    Args:
        faults: one for each cause.
        texts: path to text of the files that have them.
        outputs: the files of the step.
        prompt: of the step.
    """
    faults = once(faults)
    places: dict[str, list[Place]] = {}
    for fault in faults:
        found = _suspects(fault, texts) if fault.path in {each.path for each in outputs} else []
        if not found or any(_is_one_line(place) for place in found):
            return None
        known = places.setdefault(fault.path, [])
        known += [place for place in found if place.names not in {each.names for each in known}]
    if not places:
        return None
    files = {path: _without(texts[path], places.get(path, ())) for path in texts}
    openings = {path: [*_openings(found)] for path, found in places.items()}
    lines = ["Some functions failed, and are left out of your files:", ""]
    lines += dict.fromkeys(f"- {fault.seen}" for fault in faults)
    lines += ["", "Write these functions anew, line by line as the task asks for it:", ""]
    for path, found in places.items():
        classes = classes_of(texts[path])
        said = dict.fromkeys(paragraph_of(prompt, place.names, classes) for place in found)
        lines += [line for each in said if each for line in (*each.split("\n"), "")]
    lines += ["Send only these functions, each whole, and the imports they need:", ""]
    lines += openings_wanted(openings, prompt, missing_in(faults))
    return Anew(files, "\n".join(lines) + "\n")


def _suspects(fault: Fault, texts: Mapping[str, str]) -> list[Place]:
    """Return the functions that a fault may lie in, in the order of the file."""
    text = texts.get(fault.path, "")
    place = place_of(text, fault.line)
    if place is None:
        return []
    fed = [] if fault.measured or undefined_in(fault.seen) else feeding(text, fault.line)
    return sorted([place, *fed], key=lambda each: each.function.lineno)


def _is_one_line(place: Place) -> bool:
    return place.function.body[0].lineno == place.function.lineno


def _without(text: str, places: Iterable[Place]) -> str:
    """Return a file in which the bodies of functions are left out."""
    lines = lines_of(text)
    for place in sorted(places, key=lambda each: -each.function.lineno):
        start, end = place.function.body[0].lineno, place.function.end_lineno or 0
        line = lines[start - 1]
        indent = line[: len(line) - len(line.lstrip())]
        lines[start - 1 : end] = [indent + _LEFT_OUT]
    return "\n".join(lines) + "\n"


def _openings(places: Sequence[Place]) -> Iterator[str]:
    """Yield the signatures of functions, methods within the lines that open their classes."""
    opened = ""
    for place in sorted(places, key=lambda each: each.function.lineno):
        lines = [*opening_of(place.function).split("\n"), "    <its lines>"]
        if place.owner is None:
            yield from lines
            continue
        if opened != place.owner.name:
            opened = place.owner.name
            yield from opening_of(place.owner).split("\n")
        yield from textwrap.indent("\n".join(lines), "    ").split("\n")
