"""From a step, the inputs and what came before to the exact messages that are sent."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import TemplateError, TemplateNotFound

from promptqueue.chat.question import Message
from promptqueue.errors import PromptQueueError, QueueFileError
from promptqueue.queue.document import Location
from promptqueue.queue.inputs import Value
from promptqueue.queue.load import LoadedQueue
from promptqueue.queue.model import ContextEntry, Step, StepResult, Turn
from promptqueue.queue.templates import CONTEXT, LAYOUT

Results = Mapping[str, StepResult]


class _ContextFile(NamedTuple):
    path: str
    form: str
    info: str
    text: str


class _Namespace:
    """Gives templates `inputs.name` and `steps.id`, without a mapping's own methods in the way."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __str__(self) -> str:
        return ", ".join(self._values)  # never an address: equal queues give equal prompts


def render_step(
    loaded: LoadedQueue, step: Step, inputs: Mapping[str, Value], results: Results
) -> tuple[Message, ...]:
    """Return the messages of the first turn of a step.

    The role comes first, then the turns of the steps that the context rule names, then the
    prompt. With context `all`, the messages of one step are a prefix of those of the next.

    Raises:
        QueueFileError: a template could not be rendered.
    """
    messages = _role_messages(loaded, inputs)
    entries = loaded.queue.context_of(step)
    for entry in entries:
        if entry.form == "reply":
            messages += _turns(results[entry.step])
    prompt = _context_section(loaded, entries, results) + _prompt(loaded, step, inputs, results)
    return (*messages, Message("user", prompt))


def render_queue(
    loaded: LoadedQueue, inputs: Mapping[str, Value], results: Results | None = None
) -> dict[str, tuple[Message, ...]]:
    """Render every step with the results of those before it, as a run does.

    A result that is not known yet is stood in for by a placeholder.
    """
    brought = results or {}
    known: dict[str, StepResult] = {}
    rendered: dict[str, tuple[Message, ...]] = {}
    for step in loaded.queue.steps:
        rendered[step.id] = render_step(loaded, step, inputs, known)
        prompt = rendered[step.id][-1].content
        known[step.id] = brought.get(step.id) or placeholder(step, prompt)
    return rendered


def try_templates(loaded: LoadedQueue, inputs: Mapping[str, Value]) -> None:
    """Render every step once and keep nothing, to find what only rendering finds.

    Raises:
        QueueFileError: a template cannot be rendered.
    """
    known: dict[str, StepResult] = {}
    for step in loaded.queue.steps:
        render_step(loaded, step, inputs, known)
        known[step.id] = placeholder(step, f"‹the prompt of step {step.id}›")


def digest_of(messages: Sequence[Message]) -> str:
    """Return the SHA-256 of the messages as canonical JSON."""
    shown = [{"role": m.role, "content": m.content} for m in messages]
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _role_messages(loaded: LoadedQueue, inputs: Mapping[str, Value]) -> tuple[Message, ...]:
    role = loaded.queue.role
    if role is None:
        return ()
    if isinstance(role, str):
        text = _render_file(loaded, role, inputs=_Namespace(inputs))
    else:
        text = _render_text(loaded, ("role", "text"), role.text, inputs=_Namespace(inputs))
    return (Message("system", text.strip()),)


def _turns(result: StepResult) -> tuple[Message, ...]:
    messages: tuple[Message, ...] = ()
    for turn in result.turns:
        messages += (Message("user", turn.prompt), Message("assistant", turn.reply))
    return messages


def _prompt(loaded: LoadedQueue, step: Step, inputs: Mapping[str, Value], results: Results) -> str:
    variables = {
        "inputs": _Namespace(inputs),
        "steps": _Namespace(results),
        "step": step,
    }
    if step.template is not None:
        return _render_file(loaded, step.template, **variables).strip() + "\n"
    parts = {"data": step.data, "task": step.task, "answer_format": step.answer_format}
    index = loaded.queue.steps.index(step)
    rendered = {
        name: _render_text(loaded, ("steps", index, name), text, **variables).strip()
        for name, text in parts.items()
        if text is not None
    }
    return _render_file(loaded, LAYOUT, **variables, **rendered).strip() + "\n"


def _context_section(loaded: LoadedQueue, entries: Sequence[ContextEntry], results: Results) -> str:
    files = [file for entry in entries for file in _context_files(entry, results)]
    if not files:
        return ""
    return _render_file(loaded, CONTEXT, entries=files).strip() + "\n\n"


def _context_files(entry: ContextEntry, results: Results) -> list[_ContextFile]:
    if entry.form == "reply":
        return []
    result = results[entry.step]
    files = []
    for path in result.files:
        text = result.interface(path) if entry.form == "interface" else _latest(path, results)
        language = "python " if path.endswith(".py") else ""
        info = f"{language}path={path}" if entry.form == "files" else language.strip()
        files.append(_ContextFile(path, entry.form, info, text))
    return files


def _latest(path: str, results: Results) -> str:
    return next(r.files[path] for r in reversed(list(results.values())) if path in r.files)


def placeholder(step: Step, prompt: str) -> StepResult:
    """Return a stand-in for the result of a step that has not run."""
    reply = f"‹the reply of step {step.id}, known when it has run›"
    files = {path: f"‹{path} of step {step.id}, known when it has run›" for path in step.paths()}
    return StepResult(step.id, (Turn(prompt, reply),), files)


def _render_file(loaded: LoadedQueue, name: str, **variables: Any) -> str:
    try:
        return loaded.environment.get_template(name).render(**variables)
    except Exception as error:  # a template can raise anything that its expressions raise
        raise _render_error(loaded, loaded.folder / name, error) from error


def _render_text(loaded: LoadedQueue, location: Location, text: str, **variables: Any) -> str:
    if not any(mark in text for mark in ("{{", "{%", "{#")):
        return text  # compiling a text without a template in it takes a millisecond
    try:
        return loaded.environment.from_string(text).render(**variables)
    except Exception as error:  # as above
        raise _render_error(loaded, location, error) from error


def _render_error(loaded: LoadedQueue, origin: Path | Location, error: Exception) -> QueueFileError:
    """Name the innermost template file and line; for text in place, the line of the queue file."""
    file, line = (origin, 0) if isinstance(origin, Path) else (loaded.path, 1)
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == "<template>" and not isinstance(origin, Path):
            file, line = loaded.path, loaded.document.line_within(origin, frame.lineno or 1)
        elif _is_template(loaded, frame.filename):
            file, line = Path(frame.filename), frame.lineno or 0
    place = f"{file}:{line}" if line else str(file)
    return QueueFileError(f"{place}: the template cannot be rendered: {_reason(error)}")


def _is_template(loaded: LoadedQueue, file: str) -> bool:
    inside = Path(file).is_relative_to(loaded.folder)
    return inside and not file.startswith("<") and not file.endswith(".py")


def _reason(error: Exception) -> str:
    if isinstance(error, TemplateNotFound):
        return f"the template {error.message!r} does not exist"
    if isinstance(error, RecursionError):
        return "it includes itself, or a macro calls itself, without end"
    if isinstance(error, TemplateError | PromptQueueError):
        return str(error)
    return f"{type(error).__name__}: {error}"
