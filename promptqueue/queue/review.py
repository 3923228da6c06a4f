"""What a queue file can get wrong although each of its values is well formed."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from jinja2.sandbox import SandboxedEnvironment

from promptqueue.errors import UsageError
from promptqueue.queue.document import Document, Location, Place, Problem
from promptqueue.queue.inputs import checked_value
from promptqueue.queue.model import Queue, Step
from promptqueue.queue.templates import Fault, Reading, Source, TemplateReader, Use


def review_queue(
    queue: Queue, document: Document, environment: SandboxedEnvironment
) -> tuple[Source, ...]:
    """Note every cross-reference that leads nowhere in `document.problems`.

    Returns:
        All templates that the queue is made of.
    """
    folder = Path(document.path).parent
    _review_identities(queue, document)
    _review_inputs(queue, document)
    _review_contexts(queue, document)
    _review_files(queue, document, folder)
    for index, step in enumerate(queue.steps):
        _review_checks(step, index, document, folder)
    return _review_templates(queue, document, environment, folder)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the way out of a wrong name: the nearest one, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there is {', '.join(map(repr, names))}" if names else "there is none"


def _review_identities(queue: Queue, document: Document) -> None:
    seen: dict[str, int] = {}
    for index, step in enumerate(queue.steps):
        if step.id in seen:
            text = f"the step id {step.id!r} is taken by step {seen[step.id] + 1}; ids are unique"
            document.complain(("steps", index, "id"), text)
        seen.setdefault(step.id, index)
        paths = step.paths()
        for number, path in enumerate(paths):
            if path in paths[:number]:
                location: Location = ("steps", index, "outputs", number, "path")
                document.complain(location, f"{path!r} is declared twice in this step")
        if (step.refine or queue.defaults.refine).samples > 1:
            text = "samples above 1 has no effect yet: nothing judges which sample is best"
            document.complain(("steps", index, "refine", "samples"), text, severity="warning")


def _review_inputs(queue: Queue, document: Document) -> None:
    for name, spec in queue.inputs.items():
        if spec.default is None:
            continue
        try:
            checked_value(name, spec, spec.default)
        except UsageError as error:
            document.complain(("inputs", name, "default"), str(error))


def _review_contexts(queue: Queue, document: Document) -> None:
    ids = [step.id for step in queue.steps]
    for index, step in enumerate(queue.steps):
        rule = step.context
        entries = rule if isinstance(rule, tuple) else ()
        for number, entry in enumerate(entries):
            location: Location = ("steps", index, "context", number, "step")
            if entry.step not in ids:
                document.complain(location, f"no step {entry.step!r}; {suggest(entry.step, ids)}")
            elif ids.index(entry.step) >= index:
                document.complain(location, _cycle(queue, step, entry.step))
    if isinstance(queue.defaults.context, tuple):
        text = "the default is all, none or last; name single steps at the step that needs them"
        document.complain(("defaults", "context"), text)


def _cycle(queue: Queue, step: Step, other: str) -> str:
    if other == step.id:
        return f"a cycle: step {step.id!r} takes its context from itself; name an earlier step"
    back = next(s for s in queue.steps if s.id == other).context
    names = [entry.step for entry in back] if isinstance(back, tuple) else []
    if step.id in names or back in (None, "all"):
        return f"a cycle: {step.id} → {other} → {step.id}; take context from earlier steps only"
    return f"step {other!r} comes later than {step.id!r}; move it up, or name an earlier step"


def _review_files(queue: Queue, document: Document, folder: Path) -> None:
    if queue.reference is not None and not (folder / queue.reference).is_dir():
        text = f"the reference folder {queue.reference!r} does not exist below {folder}"
        document.complain(("reference",), text)
    if isinstance(queue.role, str) and not (folder / queue.role).is_file():
        text = f"the file {queue.role!r} is not in {folder}; text in place is `role: {{text: ...}}`"
        document.complain(("role",), text)
    for index, step in enumerate(queue.steps):
        if step.template is not None and not (folder / step.template).is_file():
            text = f"the template {step.template!r} is not in {folder}"
            document.complain(("steps", index, "template"), text)


def _review_checks(step: Step, index: int, document: Document, folder: Path) -> None:
    guarded: set[str] = set()
    for number, check in enumerate(step.checks):
        location: Location = ("steps", index, "checks", number)
        try:
            guarded |= set(_requirements_named_in((folder / check).read_text("utf-8")))
        except (OSError, UnicodeDecodeError):
            document.complain(location, f"the check {check!r} is not a readable file in {folder}")
        except (SyntaxError, ValueError) as error:
            document.complain(location, f"the check {check!r} is not valid Python: {error}")
    unguarded = [name for name in step.requirements if name not in guarded]
    if unguarded:
        text = (
            f"no check names {', '.join(unguarded)}: a report will say 'not verified'; "
            f"mark a test with @pytest.mark.requirement({unguarded[0]!r})"
        )
        document.complain(("steps", index, "requirements"), text, key=True, severity="warning")


def _requirements_named_in(source: str) -> Iterator[str]:
    """Yield the first argument of every `@pytest.mark.requirement(...)`, unexecuted."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "requirement"
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)


def _review_templates(
    queue: Queue, document: Document, environment: SandboxedEnvironment, folder: Path
) -> tuple[Source, ...]:
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
            text = (
                f"no template uses the input {name!r}; remove it, or write {{{{ inputs.{name} }}}}"
            )
            document.complain(("inputs", name), text, key=True, severity="warning")
    return tuple(sources.values())


def _template_texts(queue: Queue, folder: Path) -> Iterator[tuple[Location, Source, list[str]]]:
    """Yield every template with its place in the queue file and the steps that it may read."""
    role = queue.role
    if isinstance(role, str):
        yield from _file_source(("role",), role, folder, [])
    elif role is not None:
        yield ("role", "text"), Source("role", role.text, None), []
    for index, step in enumerate(queue.steps):
        earlier = [other.id for other in queue.steps[:index]]
        if step.template is not None:
            yield from _file_source(("steps", index, "template"), step.template, folder, earlier)
        for part in ("data", "task", "answer_format"):
            text = getattr(step, part)
            if text is not None:
                yield ("steps", index, part), Source(f"{step.id}.{part}", text, None), earlier


def _file_source(
    location: Location, name: str, folder: Path, earlier: list[str]
) -> Iterator[tuple[Location, Source, list[str]]]:
    try:
        text = (folder / name).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return  # a missing file has been noted; other text encodings fail when rendered
    yield location, Source(name, text, str(folder / name)), earlier


def _problems_of(
    queue: Queue, document: Document, reading: Reading, location: Location, earlier: list[str]
) -> Iterator[Problem]:
    for fault in reading.faults:
        yield _problem_at(document, location, fault, fault.message)
    for use in reading.uses:
        message = _wrong_use(queue, use.name, earlier)
        if message:
            yield _problem_at(document, location, use, message)


def _wrong_use(queue: Queue, name: str, earlier: list[str]) -> str | None:
    base, _, key = name.partition(".")
    if base == "inputs":
        if key in queue.inputs:
            return None
        return f"no input {key!r} is declared; {suggest(key, queue.inputs)}"
    if base == "steps":
        if key in earlier:
            return None
        ids = [step.id for step in queue.steps]
        if key in ids:
            return f"the step {key!r} has no result yet when this prompt is written; move it up"
        return f"no step {key!r}; {suggest(key, earlier)}"
    return f"the variable {name!r} is undefined; a template sees inputs, step and steps"


def _problem_at(document: Document, location: Location, at: Use | Fault, message: str) -> Problem:
    source = at.source
    if source.file is not None:
        path, line = source.file, at.line
        text = (source.text.splitlines() or [""])[min(line, source.text.count("\n") + 1) - 1]
    else:
        path = document.path
        line = document.place_of(location).line + at.line - (location not in document.blocks)
        text = document.line(line)
    name = at.name.rpartition(".")[2] if isinstance(at, Use) else text.strip()
    column = max(text.find(name), 0) + 1
    return Problem(Place(path, line, column), message, text)
