"""From a step, the inputs and what came before to the exact messages that are sent."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jinja2 import TemplateError

from promptqueue.chat.message import Message
from promptqueue.errors import QueueFileError
from promptqueue.queue.inputs import Value
from promptqueue.queue.load import LoadedQueue
from promptqueue.queue.model import ContextEntry, Step, StepResult, Turn
from promptqueue.queue.templates import CONTEXT, LAYOUT

Results = Mapping[str, StepResult]


@dataclass(frozen=True, slots=True)
class _ContextFile:
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
    """Render every step; a result that is not known yet is stood in for by a placeholder."""
    known = dict(results or {})
    rendered: dict[str, tuple[Message, ...]] = {}
    for step in loaded.queue.steps:
        rendered[step.id] = render_step(loaded, step, inputs, known)
        known.setdefault(step.id, _placeholder(step, rendered[step.id][-1].content))
    return rendered


def digest_of(messages: Sequence[Message]) -> str:
    """Return the SHA-256 of the messages as canonical JSON."""
    text = json.dumps([asdict(m) for m in messages], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _role_messages(loaded: LoadedQueue, inputs: Mapping[str, Value]) -> tuple[Message, ...]:
    role = loaded.queue.role
    if role is None:
        return ()
    if isinstance(role, str):
        text = _render_file(loaded, role, inputs=_Namespace(inputs))
    else:
        text = _render_text(loaded, "role.text", role.text, inputs=_Namespace(inputs))
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
    rendered = {
        name: _render_text(loaded, f"{step.id}.{name}", text, **variables).strip()
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
    latest = {path: text for other in results.values() for path, text in other.files.items()}
    files = []
    for path in result.files:
        text = result.interface(path) if entry.form == "interface" else latest[path]
        language = "python " if path.endswith(".py") else ""
        info = f"{language}path={path}" if entry.form == "files" else language.strip()
        files.append(_ContextFile(path, entry.form, info, text))
    return files


def _placeholder(step: Step, prompt: str) -> StepResult:
    reply = f"‹the reply of step {step.id}, known when it has run›"
    files = {path: f"‹{path} of step {step.id}, known when it has run›" for path in step.paths()}
    return StepResult(step.id, (Turn(prompt, reply),), files)


def _render_file(loaded: LoadedQueue, name: str, **variables: Any) -> str:
    try:
        return loaded.environment.get_template(name).render(**variables)
    except Exception as error:  # a template can raise anything that its expressions raise
        raise _render_error(loaded, name, error) from error


def _render_text(loaded: LoadedQueue, name: str, text: str, **variables: Any) -> str:
    try:
        return loaded.environment.from_string(text).render(**variables)
    except Exception as error:  # as above
        raise _render_error(loaded, name, error) from error


def _render_error(loaded: LoadedQueue, name: str, error: Exception) -> QueueFileError:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.endswith(name) or frame.filename == "<template>"
    ]
    where = (
        f"{loaded.folder / name}" if (loaded.folder / name).exists() else f"{loaded.path} ({name})"
    )
    place = f"{where}:{lines[-1]}" if lines and lines[-1] else where
    kind = "" if isinstance(error, TemplateError) else f"{type(error).__name__}: "
    return QueueFileError(f"{place}: the template cannot be rendered: {kind}{error}")
