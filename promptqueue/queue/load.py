"""From a YAML file to a queue, with every problem at once, each with its place and the way out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2.sandbox import SandboxedEnvironment
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from promptqueue.chat.validation import keys_at, sentence, unknown_key
from promptqueue.errors import QueueFileError
from promptqueue.queue.document import Document, Location, read_document
from promptqueue.queue.model import Queue
from promptqueue.queue.problem import Problem
from promptqueue.queue.review import review_queue
from promptqueue.queue.template_reader import Source
from promptqueue.queue.templates import make_environment
from promptqueue.words import counted

_ROUNDS = 8
"""How often what is wrong is left out and the rest read again."""
_STAND_INS: Mapping[str, Any] = {
    "promptqueue": 1,
    "name": "x",
    "id": "unnamed",
    "path": "unnamed",
    "type": "str",
    "text": "",
    "inputs": [{"type": "str"}],
    "outputs": [{"path": "unnamed"}],
    "task": "unnamed",
    "steps": [{"id": "unnamed", "task": "unnamed", "outputs": [{"path": "unnamed"}]}],
}
"""What a key needs at least, so that the rest of a queue can still be read."""


@dataclass(frozen=True, slots=True)
class LoadedQueue:
    """A queue that passed every check that needs no call, with what it was made of."""

    queue: Queue
    path: Path
    environment: SandboxedEnvironment
    sources: Mapping[str, str]
    """The queue file and every template file, by name: what the digest is of."""
    document: Document
    """Knows where in the queue file each text stands."""
    warnings: tuple[Problem, ...] = field(default=())
    is_form: bool = False
    """Whether the queue is another than its file says, as an arm of a comparison is."""

    @property
    def folder(self) -> Path:
        """Return the folder that the paths of the queue file start from."""
        return self.path.parent

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the queue file and its templates."""
        digest = hashlib.sha256()
        for name, text in sorted(self.sources.items()):
            digest.update(f"{name}\0{len(text)}\0{text}".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def copy(self) -> dict[str, str]:
        """Return the files, by name, that this very queue can be loaded from once more."""
        if not self.is_form:
            return dict(self.sources)
        told = self.queue.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {**self.sources, self.path.name: json.dumps(told, ensure_ascii=False, indent=1)}


def load_queue(path: Path | str, *, contract: bool = True) -> LoadedQueue:
    """Read, validate and cross-check a queue file and its templates; no call is made.

    Args:
        path: of the queue file.
        contract: look at the checks and the reference, too; a replay has none.

    Raises:
        QueueFileError: its message lists every problem as `file:line:column: ...`.
    """
    path = Path(path)
    document = read_document(path)
    queue = _validated(document)
    environment = make_environment(path.parent)
    sources: tuple[Source, ...] = ()
    if queue is not None:
        sources = review_queue(queue, document, environment, contract=contract)
    _raise_problems(document)
    if queue is None:  # every reason for that was a problem
        raise QueueFileError(f"{path} is not a queue file")
    texts = {source.name: source.text for source in sources if source.file} | {
        path.name: document.text
    }
    return LoadedQueue(queue, path, environment, texts, document, tuple(document.problems))


def _raise_problems(document: Document) -> None:
    errors = [problem for problem in document.problems if problem.severity == "error"]
    if not errors:
        return
    ordered = sorted(document.problems, key=lambda p: (p.place.path, p.place.line, p.place.column))
    count = f"{counted(len(errors), 'problem')} in {document.path}"
    raise QueueFileError("\n".join([*map(str, ordered), count]))


def _validated(document: Document) -> Queue | None:
    """Return the queue; where some values are wrong, with stand-ins for them.

    So a wrong key does not hide the problems that only the cross-checks find.
    """
    if not isinstance(document.data, dict):
        if not document.problems:
            document.complain((), "a queue file is a mapping with promptqueue, name and steps")
        return None
    for _ in range(_ROUNDS):
        try:
            return Queue.model_validate(document.data)
        except ValidationError as error:
            # an entry that is wrong is not counted as one, and has been named itself
            found = [e for e in error.errors() if e["type"] != "too_short" or not e["input"]]
            for detail in found:  # of later rounds only what is new: stand-ins are not mentioned
                _complain(document, detail)
            for detail in found:
                _mend(document, detail)
    return None


def _mend(document: Document, detail: ErrorDetails) -> None:
    """Remove what is wrong, or put a stand-in where something must be."""
    location = _flawed_part(document, detail)
    document.mended.add(location)
    holder: Any = document.data
    for part in location[:-1]:
        if isinstance(holder, dict) and part not in holder:
            return  # removed already, with another flaw of the same value
        holder = holder[part]
    key: Any = location[-1]
    if location[:-1] in (("inputs",), ("steps",)):
        holder[key] = _STAND_INS["inputs" if location[0] == "inputs" else "steps"][0]
    elif key in ("task", "template") and location[:1] == ("steps",) and len(location) == 3:
        holder.pop("template", None)
        holder["task"] = _STAND_INS["task"]
    elif detail["type"] == "missing" and key in _STAND_INS:
        holder[key] = _STAND_INS[str(key)]
    else:
        holder.pop(key, None)


def _flawed_part(document: Document, detail: ErrorDetails) -> Location:
    """Return what to mend: a key of a mapping, or a whole step."""
    location = _known_part(document, detail["loc"])
    if detail["type"] == "missing":
        location = (*_known_part(document, detail["loc"][:-1]), detail["loc"][-1])
    elif detail["type"] == "value_error" and location[:1] == ("steps",) and len(location) == 2:
        location = (*location, "task")  # none, or two ways to give the prompt
    if "context" in location:  # half of a rule means something else
        location = location[: location.index("context") + 1]
    while isinstance(location[-1], int) and len(location) > 2:
        location = location[:-1]
    return location


def _complain(document: Document, detail: ErrorDetails) -> None:
    location = _known_part(document, detail["loc"])
    at_key = detail["loc"][-1] == "[key]"
    if detail["type"] == "extra_forbidden":
        words = unknown_key(str(detail["loc"][-1]), keys_at(Queue, location[:-1]))
        document.complain(location, words, key=True)
    elif detail["type"] == "missing":
        key = str(detail["loc"][-1])
        way_out = "; the format is `promptqueue: 1`" if detail["loc"] == ("promptqueue",) else ""
        document.complain(location, f"the key {key!r} is missing here{way_out}")
    else:
        document.complain(location, sentence(detail, keys_at(Queue, location)), key=at_key)


def _known_part(document: Document, location: Sequence[str | int]) -> Location:
    """Drop what pydantic adds to a location (names of union branches)."""
    known: Location = ()
    for part in location:
        if (*known, part) in document.places:
            known = (*known, part)
    return known
