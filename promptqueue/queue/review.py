"""What a queue file can get wrong although each of its values is well formed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

from jinja2.sandbox import SandboxedEnvironment

from promptqueue.chat.validation import shown
from promptqueue.errors import UsageError
from promptqueue.queue.document import Document, Location
from promptqueue.queue.inputs import checked_value
from promptqueue.queue.interface import UNPARSABLE
from promptqueue.queue.model import Input, Queue, Step
from promptqueue.queue.problem import suggest as suggest
from promptqueue.queue.template_reader import Source
from promptqueue.queue.template_review import review_templates
from promptqueue.queue.templates import lies_within, read_template
from promptqueue.queue.types import Scalar

_SAMPLES = "samples above 1 has no effect without `checks`: nothing judges which one is best"
_NOT_THERE = "does not exist; paths start at the folder of the queue file"
_MANIFEST = "manifest.json"
_MARK = re.compile(r"""^[^#\n]*\brequirement\(\s*(["'])(?P<name>[^"'\n]+)\1""", re.MULTILINE)


def review_queue(
    queue: Queue, document: Document, environment: SandboxedEnvironment, *, contract: bool = True
) -> tuple[Source, ...]:
    """Note every cross-reference that leads nowhere in `document.problems`.

    Args:
        queue: what is reviewed.
        document: where its texts stand.
        environment: of the templates.
        contract: look at the checks and the reference, too.

    Returns:
        All templates that the queue is made of.
    """
    folder = Path(document.path).parent
    _review_identities(queue, document)
    _review_inputs(queue, document)
    _review_contexts(queue, document)
    _review_files(queue, document, folder)
    for index, step in enumerate(queue.steps):
        if contract:
            _review_checks(step, index, document, folder)
    if contract:
        _review_shared_requirements(queue, document)
    if contract and queue.reference is not None and not _is_folder(folder / queue.reference):
        text = f"the folder {shown(queue.reference)} {_NOT_THERE}"
        document.complain(("reference",), text)
    return review_templates(queue, document, environment, folder)


def _review_identities(queue: Queue, document: Document) -> None:
    seen: dict[str, int] = {}
    folders = {str(parent) for s in queue.steps for p in s.paths() for parent in Path(p).parents}
    for index, step in enumerate(queue.steps):
        if step.id in seen:
            text = f"the step id {step.id!r} is taken by step {seen[step.id] + 1}; ids are unique"
            document.complain(("steps", index, "id"), text)
        seen.setdefault(step.id, index)
        paths = step.paths()
        for number, path in enumerate(paths):
            location: Location = ("steps", index, "outputs", number, "path")
            if path == _MANIFEST:
                text = (
                    f"{path!r} is the file in which promptqueue notes what it wrote; take another"
                )
                document.complain(location, text)
            if path in folders:
                document.complain(location, f"{path!r} is the folder of another output, too")
            if path in paths[:number]:
                document.complain(location, f"{path!r} is declared twice in this step")
            if step.outputs[number].parts:
                _review_parts(queue, index, path, document, (*location[:-1], "parts"))
        if step.refine is not None and step.refine.samples > 1 and not step.checks:
            location = ("steps", index, "refine", "samples")
            document.complain(location, _SAMPLES, severity="warning")
    if queue.defaults.refine.samples > 1 and not any(step.checks for step in queue.steps):
        document.complain(("defaults", "refine", "samples"), _SAMPLES, severity="warning")


def _review_parts(
    queue: Queue, index: int, path: str, document: Document, location: Location
) -> None:
    if not path.endswith(".py"):
        document.complain(location, f"{path!r} is no Python file; only of these parts can be told")
    elif not any(path in step.paths() for step in queue.steps[:index]):
        text = f"no earlier step writes {path!r}, whose other parts would stay; leave this out"
        document.complain(location, text)


def _review_inputs(queue: Queue, document: Document) -> None:
    for name, spec in queue.inputs.items():
        for bound in ("min", "max") if spec.type in ("str", "bool") else ():
            if getattr(spec, bound) is not None:
                text = f"only a number has a {bound}, and this input is a {spec.type}; remove it"
                document.complain(("inputs", name, bound), text, key=True)
        if spec.min is not None and spec.max is not None and spec.min > spec.max:
            text = f"no number is at least {spec.min:g} and at most {spec.max:g}"
            document.complain(("inputs", name, "min"), text)
            continue
        if spec.choices == ():
            document.complain(("inputs", name, "choices"), "the list is empty; name the choices")
            continue
        before = len(document.problems)
        for index, choice in enumerate(spec.choices or ()):
            free = spec.model_copy(update={"choices": None})
            _review_value(name, free, choice, document, ("choices", index))
        if spec.default is not None and len(document.problems) == before:
            _review_value(name, spec, spec.default, document, ("default",))


def _review_value(
    name: str, spec: Input, value: Scalar, document: Document, place: Location
) -> None:
    try:
        checked_value(name, spec, value)
    except UsageError as error:
        document.complain(("inputs", name, *place), str(error))


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
    back = next(s for s in queue.steps if s.id == other)
    if step.id in [entry.step for entry in queue.context_of(back)]:
        return f"a cycle: {step.id} → {other} → {step.id}; take context from earlier steps only"
    return f"step {other!r} comes later than {step.id!r}; move it up, or name an earlier step"


def _review_files(queue: Queue, document: Document, folder: Path) -> None:
    if isinstance(queue.role, str):
        if any(char.isspace() for char in queue.role):
            text = "this is a text, not the name of a file; write `role: {text: ...}`"
            document.complain(("role",), text)
        else:
            _review_template(queue.role, ("role",), document, folder)
    for index, step in enumerate(queue.steps):
        if step.template is not None:
            _review_template(step.template, ("steps", index, "template"), document, folder)
        elif not (step.task or "").strip():
            document.complain(("steps", index, "task"), "the task is empty; say what is to be done")


def _review_template(name: str, location: Location, document: Document, folder: Path) -> None:
    if not lies_within(folder, name):
        text = f"the template {name!r} leads out of the folder of the queue file; move it there"
        document.complain(location, text)
        return
    try:
        read_template(folder, name)
    except UnicodeDecodeError:
        document.complain(location, f"the template {name!r} is not UTF-8 text; save it as UTF-8")
    except (OSError, ValueError):  # not there, a folder, no name at all
        document.complain(location, f"the template {shown(name)} {_NOT_THERE}")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # longer than any name may be
        return False


def _review_checks(step: Step, index: int, document: Document, folder: Path) -> None:
    guarded: set[str] = set()
    for number, check in enumerate(step.checks):
        location: Location = ("steps", index, "checks", number)
        try:
            guarded |= set(_requirements_named_in(folder / check))
        except (OSError, UnicodeDecodeError):
            text = f"the check {shown(check)} is no readable file; paths start at the queue file"
            document.complain(location, text)
        except UNPARSABLE as error:
            text = f"the check {check!r} is not valid Python: {_described(error)}"
            document.complain(location, text)
    unguarded = [name for name in step.requirements if name not in guarded]
    if unguarded:
        text = (
            f"no check names {', '.join(unguarded)}: a report will say 'not verified'; "
            f"mark a test with @pytest.mark.requirement({unguarded[0]!r})"
        )
        document.complain(("steps", index, "requirements"), text, key=True, severity="warning")


def _review_shared_requirements(queue: Queue, document: Document) -> None:
    """Warn of an id in two steps: a check is marked with it, and knows no steps."""
    judged: dict[str, str] = {}
    for index, step in enumerate(queue.steps):
        for name in step.requirements:
            if name in judged:
                text = (
                    f"step {judged[name]!r} has the requirement {name!r}, too, and is judged by "
                    "all its tests before this step has brought its files; take another id, or "
                    "keep it where its tests can pass"
                )
                location = ("steps", index, "requirements", name)
                document.complain(location, text, key=True, severity="warning")
            elif step.checks:
                judged[name] = step.id


def _described(error: Exception) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{error.msg} in line {error.lineno}"
    return str(error) or "nested too deeply"


def _requirements_named_in(check: Path) -> Iterator[str]:
    """Yield the first argument of every `@pytest.mark.requirement(...)`, unexecuted.

    Compiling finds every error, and Python remembers what it has compiled, as for any import.
    """
    source = check.read_text("utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SourceFileLoader(check.stem, str(check)).get_code(check.stem)
    yield from marked_requirements(source)


def marked_requirements(source: str) -> set[str]:
    """Return what the tests of a check's source are marked with, unexecuted."""
    return {found["name"] for found in _MARK.finditer(source)}
