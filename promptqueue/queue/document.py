"""A YAML file as plain data that remembers where each of its values stands."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from promptqueue.errors import QueueFileError

Location = tuple[str | int, ...]
"""The path to a value: keys and indices from the root."""

MAX_BYTES = 1 << 20
"""A queue is written by hand; something larger is the wrong file."""
_MAX_NODES = 20_000
_MAX_DEPTH = 40
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser where libyaml is there


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands; lines and columns count from 1."""

    path: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file."""

    place: Place
    message: str
    source: str = ""
    """The line of the file, without its line end."""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        label = "" if self.severity == "error" else "warning: "
        head = f"{self.place.path}:{self.place.line}:{self.place.column}: {label}{self.message}"
        if not self.source.strip():
            return head
        shown = self.source.replace("\t", " ").rstrip()
        return f"{head}\n    {shown}\n    {' ' * (self.place.column - 1)}^"


@dataclass(slots=True)
class Document:
    """The data of a YAML file with the place of every key and value."""

    path: str
    """As the user wrote it: messages show it."""
    text: str
    data: Any = None
    places: dict[Location, Place] = field(default_factory=dict)
    """Of every value."""
    keys: dict[Location, Place] = field(default_factory=dict)
    """Of every key of a mapping."""
    blocks: set[Location] = field(default_factory=set)
    """Values written as block scalars: their text begins on the line below."""
    problems: list[Problem] = field(default_factory=list)

    def complain(
        self,
        location: Location,
        message: str,
        *,
        key: bool = False,
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        """Note a problem at the key or value that `location` names, or at its nearest parent."""
        place = self.place_of(location, key=key)
        self.problems.append(Problem(place, message, self.line(place.line), severity))

    def place_of(self, location: Location, *, key: bool = False) -> Place:
        """Return where `location` stands; the nearest parent where it does not exist."""
        if key and location in self.keys:
            return self.keys[location]
        while location and location not in self.places:
            location = location[:-1]
        return self.places.get(location, Place(self.path, 1, 1))

    def line(self, number: int) -> str:
        """Return one line of the text, counted from 1."""
        lines = self.text.splitlines()
        return lines[number - 1] if 0 < number <= len(lines) else ""


def read_document(path: Path) -> Document:
    """Read a YAML file and note syntax errors, duplicate keys and odd keys in `problems`.

    Raises:
        QueueFileError: the file is not there, or is not a text file of sensible size.
    """
    document = Document(str(path), _read_text(path))
    try:
        loader = _Loader(document.text)
        try:
            root = loader.get_single_node()
            if root is None:
                raise QueueFileError(
                    f"{path}: the file is empty; `promptqueue schema` says what it needs"
                )
            document.data = _Builder(document, loader).build(root, ())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        _note_syntax_error(document, error)
    except yaml.YAMLError as error:  # a character that YAML does not allow
        document.problems.append(Problem(Place(document.path, 1, 1), " ".join(str(error).split())))
    return document


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise QueueFileError(f"{path} is a directory; name the YAML file in it")
        if not path.exists():
            raise QueueFileError(f"{path} does not exist; {_neighbours(path)}")
        if not path.is_file():
            raise QueueFileError(f"{path} is not a regular file; name a YAML file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise QueueFileError(
                f"{path} has {size:,} bytes, more than the {MAX_BYTES:,} of any queue; "
                "is it the right file?"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise QueueFileError(f"{path} cannot be read: {error.strerror or error}") from error
    return _decoded(path, raw)


def _decoded(path: Path, raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise QueueFileError(
            f"{path} is not UTF-8 text (byte {error.start:,}); save it as UTF-8, "
            "or name another file"
        ) from error
    if "\0" in text:
        raise QueueFileError(
            f"{path} is binary (a zero byte at {text.index(chr(0)):,}); name a YAML file"
        )
    if not text.strip():
        raise QueueFileError(f"{path} is empty; `promptqueue schema` says what a queue file needs")
    return text


def _neighbours(path: Path) -> str:
    found = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
    if found:
        return f"{path.parent} has {', '.join(found[:8])}"
    return "check the path"


def _note_syntax_error(document: Document, error: yaml.MarkedYAMLError) -> None:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    what = " ".join(part for part in (error.context, error.problem) if part)
    message = f"YAML: {what}{_yaml_hint(document, line, error)}"
    document.problems.append(
        Problem(Place(document.path, line, column), message, document.line(line))
    )


def _yaml_hint(document: Document, line: int, error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or ""
    if "\\t" in problem or "\t" in document.line(line)[:1]:
        return "; indent with spaces"
    if "mapping values are not allowed" in problem:
        return "; put a text that contains `: ` in quotes"
    if "block" in problem or "expected" in problem:
        return "; check the indentation of this line and the one above"
    return ""


class _Builder:
    """Turns YAML nodes into data and notes their places; safe against alias bombs."""

    def __init__(self, document: Document, loader: Any) -> None:
        self.document = document
        self.loader = loader
        self.nodes = 0

    def build(self, node: yaml.Node, location: Location) -> Any:
        self.nodes += 1
        self.document.places[location] = self._place(node)
        if self.nodes > _MAX_NODES or len(location) > _MAX_DEPTH:
            raise QueueFileError(
                f"{self.document.path}: too many or too deeply nested values; "
                "do its YAML aliases (`*name`) multiply?"
            )
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, location))
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*location, i)) for i, child in enumerate(node.value)]
        if getattr(node, "style", None) in ("|", ">"):
            self.document.blocks.add(location)
        return self._scalar(node)

    def _pairs(self, node: yaml.MappingNode, location: Location) -> Iterator[tuple[str, Any]]:
        seen: dict[str, Place] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            place = self._place(key_node)
            if key in seen:
                first = seen[key].line
                self._complain(place, f"the key {key!r} stands in line {first} already; keep one")
            seen.setdefault(key, place)
            self.document.keys[(*location, key)] = place
            yield key, self.build(value_node, (*location, key))

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._complain(self._place(node), "a key must be a plain word")
            return "?"
        return str(node.value)  # the text itself: YAML would read `on` and `1` as other types

    def _scalar(self, node: yaml.Node) -> Hashable:
        try:
            value: Hashable = self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            what = getattr(error, "problem", None) or str(error)
            self._complain(self._place(node), f"YAML: {what}; write plain values without tags")
            return None
        return value

    def _place(self, node: yaml.Node) -> Place:
        mark = node.start_mark
        return Place(self.document.path, mark.line + 1, mark.column + 1)

    def _complain(self, place: Place, message: str) -> None:
        self.document.problems.append(Problem(place, message, self.document.line(place.line)))
