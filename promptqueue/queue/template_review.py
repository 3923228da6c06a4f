"""What the templates of a queue use, and whether it is there; nothing is rendered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from jinja2.sandbox import SandboxedEnvironment

from promptqueue.queue.document import Document, Location
from promptqueue.queue.model import Queue, Step
from promptqueue.queue.problem import Place, Problem, suggest
from promptqueue.queue.template_reader import Fault, Reading, Source, TemplateReader, Use
from promptqueue.queue.templates import read_template

_Template = tuple[Location, Source, list[str] | None]
"""Where a template is named, what it is, and the earlier steps; None for the role."""
_RESULT = ("reply", "files", "interface", "turns", "id")
"""What a template sees of the result of a step."""
_FOLDED = 50
"""Lines that are searched for a name in a text that YAML has folded."""


def review_templates(
    queue: Queue, document: Document, environment: SandboxedEnvironment, folder: Path
) -> tuple[Source, ...]:
    """Note what templates use and do not have, and inputs that none uses; return all templates."""
    sources: dict[str, Source] = {}
    used: set[str] = set()
    reader = TemplateReader(environment, folder)
    for location, source, earlier in _template_texts(queue, folder):
        reading = reader.read(source)
        sources |= {found.name: found for found in reading.sources}
        used |= {use.name for use in reading.uses}
        for problem in _problems_of(queue, document, reading, location, earlier):
            if problem not in document.problems:
                document.problems.append(problem)
    broken = any(problem.severity == "error" for problem in document.problems)
    for name in queue.inputs:
        if f"inputs.{name}" not in used and not broken:
            way_out = f"remove it, or write {{{{ {_written(name)} }}}}"
            text = f"no template uses the input {name!r}; {way_out}"
            document.complain(("inputs", name), text, key=True, severity="warning")
    return tuple(sources.values())


def _written(name: str) -> str:
    """Return an input as a template names it: Jinja takes a hyphen behind a dot for a minus."""
    return f"inputs.{name}" if name.isidentifier() else f'inputs["{name}"]'


def _template_texts(queue: Queue, folder: Path) -> Iterator[_Template]:
    """Yield every template with its place in the queue file and the steps that it may read."""
    role = queue.role
    if isinstance(role, str):
        yield from _file_source(("role",), role, folder, None)
    elif role is not None:
        yield ("role", "text"), Source("<role.text>", role.text, None), None
    for index, step in enumerate(queue.steps):
        earlier = [other.id for other in queue.steps[:index]]
        if step.template is not None:
            yield from _file_source(("steps", index, "template"), step.template, folder, earlier)
        for part in ("data", "task", "answer_format"):
            text = getattr(step, part)
            if text is not None:
                yield ("steps", index, part), Source(f"<steps.{index}.{part}>", text, None), earlier


def _file_source(
    location: Location, name: str, folder: Path, earlier: list[str] | None
) -> Iterator[_Template]:
    try:
        text = read_template(folder, name)
    except (OSError, ValueError):
        return  # it has been noted
    yield location, Source(name, text, str(folder / name)), earlier


def _problems_of(
    queue: Queue,
    document: Document,
    reading: Reading,
    location: Location,
    earlier: list[str] | None,
) -> Iterator[Problem]:
    for fault in reading.faults:
        yield _problem_at(document, location, fault, fault.message)
    for use in reading.uses:
        message = _wrong_use(queue, use.name, earlier)
        if message:
            yield _problem_at(document, location, use, message)


def _wrong_use(queue: Queue, name: str, earlier: list[str] | None) -> str | None:
    base, _, key = name.partition(".")
    if not key:
        return f"the variable {name!r} is undefined; {_meant(queue, name)}"
    if base == "inputs":
        known: Iterable[str] = queue.inputs
        wrong = f"no input {key!r} is declared"
    elif earlier is None:
        return "the role is sent before any step; it sees only inputs"
    elif base == "step":
        known, wrong = Step.model_fields, f"a step has no {key!r}"
    else:
        return _wrong_result(queue, key, earlier)
    return None if key in known else f"{wrong}; {suggest(key, known)}"


def _wrong_result(queue: Queue, name: str, earlier: list[str]) -> str | None:
    key, _, rest = name.partition(".")
    attribute, _, path = rest.partition(".")
    if key in earlier:
        if path and attribute in ("files", "interface"):
            return _wrong_file(queue, key, path)
        if not attribute or attribute in _RESULT:
            return None
        return f"the result of a step has no {attribute!r}; {suggest(attribute, _RESULT)}"
    if attribute:
        return None  # what is wrong with the step is said once
    if key in [step.id for step in queue.steps]:
        return f"the step {key!r} has no result yet when this prompt is written; move it up"
    return f"no step {key!r}; {suggest(key, earlier)}"


def _wrong_file(queue: Queue, step: str, path: str) -> str | None:
    paths = next(each.paths() for each in queue.steps if each.id == step)
    if path in paths:
        return None
    return f"the step {step!r} has no file {path!r}; {suggest(path, paths)}"


def _meant(queue: Queue, name: str) -> str:
    if name in queue.inputs:
        return f"write inputs.{name}"
    if name in [step.id for step in queue.steps]:
        return f"write steps.{name}"
    sees = ("inputs", "step", "steps")
    return suggest(name, sees, otherwise="a template sees inputs, step and steps")


def _problem_at(document: Document, location: Location, at: Use | Fault, message: str) -> Problem:
    if at.source.file is not None:
        path, lines, line = at.source.file, at.source.text.split("\n"), at.line
    else:
        path, lines, line = document.path, document.lines, _line_in_place(document, location, at)
    text = lines[min(line, len(lines)) - 1]
    return Problem(Place(path, line, (_index_of(text, at) or 0) + 1), message, text)


def _line_in_place(document: Document, location: Location, at: Use | Fault) -> int:
    """Return the line of the queue file; YAML may have folded the text, then it is searched."""
    line = document.line_within(location, at.line)
    nearby = range(line, min(line + _FOLDED, len(document.lines)) + 1)
    return next((n for n in nearby if _index_of(document.line(n), at) is not None), line)


def _index_of(text: str, at: Use | Fault) -> int | None:
    """Return where in a line the name stands, preferably after its owner or inside a tag."""
    if isinstance(at, Fault):
        return len(text) - len(text.lstrip())
    *owners, name = map(re.escape, at.name.split(".", 3))  # the fourth is a path, with its dots
    patterns = (
        rf"\b{owners[-1]}\W{{1,3}}({name})\b" if owners else r"(?!)",
        rf"\{{[{{%](?:(?!\}}\}}|%\}}).)*?\b({name})\b",
        rf"\b({name})\b",
    )
    found = next(filter(None, (re.search(pattern, text) for pattern in patterns)), None)
    return found.start(1) if found else None
