"""From a YAML file to a queue, with every problem at once, each with its place and the way out."""

from __future__ import annotations

import difflib
import hashlib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from promptqueue.errors import QueueFileError
from promptqueue.queue.document import Document, Location, Problem, read_document
from promptqueue.queue.model import Queue
from promptqueue.queue.review import review_queue
from promptqueue.queue.templates import Source, make_environment

_ROUNDS = 4
"""How often what is wrong is left out and the rest read again."""


@dataclass(frozen=True, slots=True)
class LoadedQueue:
    """A queue that passed every check that needs no call, with what it was made of."""

    queue: Queue
    path: Path
    environment: SandboxedEnvironment
    sources: Mapping[str, str]
    """The queue file and every template file, by name: what the digest is of."""
    warnings: tuple[Problem, ...] = field(default=())

    @property
    def folder(self) -> Path:
        """Return the folder that the paths of the queue file start from."""
        return self.path.parent

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the queue file and its templates."""
        digest = hashlib.sha256()
        for name, text in sorted(self.sources.items()):
            digest.update(f"{name}\0{len(text)}\0{text}".encode())
        return digest.hexdigest()


def load_queue(path: Path | str) -> LoadedQueue:
    """Read, validate and cross-check a queue file and its templates; no call is made.

    Raises:
        QueueFileError: its message lists every problem as `file:line:column: ...`.
    """
    path = Path(path)
    document = read_document(path)
    queue = _validated(document)
    environment = make_environment(path.parent)
    sources: tuple[Source, ...] = ()
    if queue is not None:
        sources = review_queue(queue, document, environment)
    _raise_problems(document)
    if queue is None:  # every reason for that was a problem
        raise QueueFileError(f"{path} is not a queue file")
    texts = {source.name: source.text for source in sources if source.file} | {
        path.name: document.text
    }
    return LoadedQueue(queue, path, environment, texts, tuple(document.problems))


def queue_schema() -> dict[str, Any]:
    """Return the JSON Schema of the queue file, for editors."""
    schema = Queue.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "promptqueue queue file"
    return schema


def _raise_problems(document: Document) -> None:
    errors = [problem for problem in document.problems if problem.severity == "error"]
    if not errors:
        return
    ordered = sorted(document.problems, key=lambda p: (p.place.path, p.place.line, p.place.column))
    count = f"{len(errors)} problem{'s' if len(errors) > 1 else ''} in {document.path}"
    raise QueueFileError("\n".join([*map(str, ordered), count]))


def _validated(document: Document) -> Queue | None:
    """Return the queue; where some values are wrong, what is left without them.

    So a wrong key does not hide the problems that only the cross-checks find.
    """
    if not isinstance(document.data, dict):
        if not document.problems:
            document.complain((), "a queue file is a mapping with promptqueue, name and steps")
        return None
    for number in range(_ROUNDS):
        try:
            return Queue.model_validate(document.data)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                if detail["type"] == "too_short" and detail["input"]:
                    continue  # its entries were wrong, and have been named
                if number == 0:  # what fails later fails because of what was cut
                    _complain(document, detail)
                _cut(document.data, _known_part(document, detail["loc"]))
    return None


def _cut(data: Any, location: Location) -> None:
    """Remove the value at `location`, so that the rest may still be read."""
    for part in location[:-1]:
        data = data[part]
    if location and isinstance(data, dict):
        data.pop(location[-1], None)


def _complain(document: Document, detail: ErrorDetails) -> None:
    location = _known_part(document, detail["loc"])
    if detail["type"] == "extra_forbidden":
        name = str(detail["loc"][-1])
        document.complain(location, _unknown_key(name, location[:-1]), key=True)
    elif detail["type"] == "missing":
        document.complain(location, f"the key {str(detail['loc'][-1])!r} is missing here")
    else:
        document.complain(location, _sentence(detail))


def _sentence(detail: ErrorDetails) -> str:
    if detail["type"] == "too_short":
        return "the list is empty; it needs at least one entry"
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    text = text[:1].lower() + text[1:]
    found = detail.get("input")
    if detail["type"] != "value_error" and isinstance(found, str | int | float | bool):
        text += f", not {found!r}"
    return text


def _known_part(document: Document, location: Sequence[str | int]) -> Location:
    """Drop what pydantic adds to a location (names of union branches)."""
    known: Location = ()
    for part in location:
        if (*known, part) in document.places:
            known = (*known, part)
    return known


def _unknown_key(name: str, parent: Location) -> str:
    known = _keys_at(parent)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
    return f"unknown key {name!r}; {hint}"


def _keys_at(location: Location) -> list[str]:
    """Return the keys that the model at `location` knows."""
    model: type[BaseModel] = Queue
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = next(_models_in(model.model_fields[part].annotation), model)
    return [info.alias or name for name, info in model.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType) or get_args(annotation):
        for argument in get_args(annotation):
            yield from _models_in(argument)
