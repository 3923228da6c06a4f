"""A YAML file as plain data that remembers where each of its values stands."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from promptqueue.errors import QueueFileError
from promptqueue.queue.problem import Place, Problem

Location = tuple[str | int, ...]
"""The path to a value: keys and indices from the root."""

MAX_BYTES = 1 << 20
"""A queue is written by hand; something larger is the wrong file."""
MAX_DIGITS = 100
"""More are no number that anybody means, and Python refuses some thousands."""
_MAX_NODES = 20_000
_MAX_DEPTH = 40
_LINE_END = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")  # what YAML counts as one
_STANDARD = "tag:yaml.org,2002:"
_TEXTS = frozenset({"timestamp", "value", "merge"})  # what we take as it is written
_KNOWN_TAGS: Mapping[type, frozenset[str]] = {
    yaml.ScalarNode: _TEXTS | {"null", "bool", "int", "float", "str"},
    yaml.SequenceNode: frozenset({"seq"}),
    yaml.MappingNode: frozenset({"map"}),
}
_HINTS = {
    "mapping values are not allowed": "; put a text that contains `: ` in quotes",
    "quoted scalar found unexpected end": "; the quote that opens here is never closed",
    "cannot start any token": "; put a text that begins with @, %, ` or { in quotes",
    "another document": "; the file is one document: remove this line and what follows",
    "flow": "; is the bracket before it closed?",
    "could not find expected ':'": "; write `key: value`, with a blank after the colon",
    "block": "; check the indentation of this line and the one above",
    "expected": "; check the indentation of this line and the one above",
}
"""Words of the parser's message to the way out; the first that fits."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser where libyaml is there


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
    """Values written as `|` blocks: their text begins on the line below, line by line."""
    mended: set[Location] = field(default_factory=set)
    """Values that a stand-in replaces: they were complained of, and nothing more is said."""
    problems: list[Problem] = field(default_factory=list)
    lines: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = _LINE_END.split(self.text)

    def complain(
        self,
        location: Location,
        message: str,
        *,
        key: bool = False,
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        """Note a problem at the key or value that `location` names, or at its nearest parent."""
        if any(location[:size] in self.mended for size in range(1, len(location) + 1)):
            return
        place = self.place_of(location, key=key)
        self.problems.append(Problem(place, message, self.line(place.line), severity))

    def place_of(self, location: Location, *, key: bool = False) -> Place:
        """Return where `location` stands; the nearest parent where it does not exist."""
        if key and location in self.keys:
            return self.keys[location]
        while location and location not in self.places:
            location = location[:-1]
        return self.places.get(location, Place(self.path, 1, 1))

    def line_within(self, location: Location, number: int) -> int:
        """Return the line of the file where line `number` of the text at `location` stands.

        Exact for `|` blocks and texts of one line; else the first line of the value.
        """
        first = self.place_of(location).line
        return first + number if location in self.blocks else first

    def line(self, number: int) -> str:
        """Return one line of the text, counted from 1."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


def read_document(
    path: Path, *, needs: str = "`promptqueue schema` says what a queue file needs"
) -> Document:
    """Read a YAML file and note syntax errors, duplicate keys and odd keys in `problems`.

    Args:
        path: of the file.
        needs: what an empty one lacks, in words.

    Raises:
        QueueFileError: the file is not there, or is not a text file of sensible size.
    """
    document = Document(str(path), _read_text(path, needs))
    try:
        _refuse_depth(document)
        loader = _Loader(document.text)
        try:
            root = loader.get_single_node()
            if root is None:
                raise QueueFileError(f"{path} is empty; {needs}")
            document.data = _Builder(document, loader).build(root, ())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        _note_syntax_error(document, error)
    except yaml.YAMLError:  # a character that YAML does not allow
        _note_character(document)
    return document


def _refuse_depth(document: Document) -> None:
    """Refuse what would overflow the stack of the composer, which is recursive C."""
    depth = 0
    for event in yaml.parse(document.text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise _too_much(document)


def _too_much(document: Document) -> QueueFileError:
    return QueueFileError(
        f"{document.path}: too many or too deeply nested values; "
        "do its YAML aliases (`*name`) multiply?"
    )


def _read_text(path: Path, needs: str) -> str:
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
                f"{path} has {size:,} bytes, more than the {MAX_BYTES:,} that anybody writes by "
                "hand; is it the right file?"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise QueueFileError(f"{path} cannot be read: {error.strerror or error}") from error
    text = _decoded(path, raw)
    if not text.strip():
        raise QueueFileError(f"{path} is empty; {needs}")
    return text


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
    return text


def _neighbours(path: Path) -> str:
    found = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
    if found:
        return f"{path.parent} has {', '.join(found[:8])}"
    return "check the path"


def _note_character(document: Document) -> None:
    found = yaml.reader.Reader.NON_PRINTABLE.search(document.text)
    before = _LINE_END.split(document.text[: found.start()] if found else "")
    what = f"the character U+{ord(found[0]):04X}" if found else "some character"
    place = Place(document.path, len(before), len(before[-1]) + 1)
    text = f"YAML does not allow {what}; remove it"
    document.problems.append(Problem(place, text, document.line(place.line)))


def _note_syntax_error(document: Document, error: yaml.MarkedYAMLError) -> None:
    mark = error.problem_mark or error.context_mark
    if "unexpected end of stream" in (error.problem or ""):
        mark = error.context_mark or mark  # where it began, not the end of the file
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    what = " ".join(part for part in (error.context, error.problem) if part)
    message = f"YAML: {what}{_yaml_hint(document, line, error)}"
    document.problems.append(
        Problem(Place(document.path, line, column), message, document.line(line))
    )


def _yaml_hint(document: Document, line: int, error: yaml.MarkedYAMLError) -> str:
    what = f"{error.context} {error.problem}"
    if "\\t" in what or "\t" in document.line(line)[:1]:
        return "; indent with spaces"
    if ": {{" in document.line(line):
        return "; put a value that begins with {{ in quotes"
    return next((hint for words, hint in _HINTS.items() if words in what), "")


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
            raise _too_much(self.document)
        if not self._has_plain_tag(node):
            self.document.mended.add(location)  # one complaint is enough
            return None
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, location))
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*location, i)) for i, child in enumerate(node.value)]
        if getattr(node, "style", None) == "|":
            self.document.blocks.add(location)
        return self._scalar(node, location)

    def _pairs(self, node: yaml.MappingNode, location: Location) -> Iterator[tuple[str, Any]]:
        seen: dict[str, Place] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                text = "a key must be a plain word; a text that begins with { or [ needs quotes"
                self._complain(place, text)
                self.document.mended.add(location)
                continue
            key = str(key_node.value)  # the text: YAML would read `on` and `1` as other types
            if key in seen:
                text = f"the key {key!r} stands in line {seen[key].line} already; keep one"
                if location and isinstance(location[-1], int):
                    text += ", or begin a new entry with `- `"
                self._complain(place, text)
            seen.setdefault(key, place)
            self.document.keys[(*location, key)] = place
            yield key, self.build(value_node, (*location, key))

    def _scalar(self, node: yaml.Node, location: Location) -> Hashable:
        kind = node.tag.removeprefix(_STANDARD)
        sexagesimal = kind in ("int", "float") and ":" in node.value
        if sexagesimal or kind in _TEXTS:
            return str(node.value)  # YAML 1.1 would make dates of texts, and 90 of 1:30
        try:
            value: Hashable = self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError):
            flaw = f"this is not a valid {kind}; put a text in quotes"
        else:
            if not isinstance(value, int) or abs(value) < 10**MAX_DIGITS:
                return value
            flaw = f"a number has at most {MAX_DIGITS} digits; put a text in quotes"
        self._complain(self._place(node), flaw)
        self.document.mended.add(location)  # one complaint is enough
        return None

    def _has_plain_tag(self, node: yaml.Node) -> bool:
        if node.tag.removeprefix(_STANDARD) in _KNOWN_TAGS[type(node)]:
            return True
        tag = node.tag.replace(_STANDARD, "!!")
        text = f"the tag {tag} is not known; write plain values without tags"
        self._complain(self._place(node), text)
        return False

    def _place(self, node: yaml.Node) -> Place:
        mark = node.start_mark
        return Place(self.document.path, mark.line + 1, mark.column + 1)

    def _complain(self, place: Place, message: str) -> None:
        self.document.problems.append(Problem(place, message, self.document.line(place.line)))
