"""What templates are made of and what they use, unrendered."""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, TemplateAssertionError, TemplateNotFound, TemplateSyntaxError, nodes
from jinja2.sandbox import SandboxedEnvironment

from promptqueue.queue.problem import suggest
from promptqueue.queue.template_variables import GIVEN, names_read, names_set, variables_used
from promptqueue.queue.templates import BUILT_IN, CONTEXT, LAYOUT, CompiledOnce, is_built_in

_FOLDER = "names start at the folder of the queue file, and never lead out of it"
_LOST = (
    "template: this stands in no block, and of a template that extends another only blocks are "
    "shown; put it into one, as {% block task %}"
)
_BLOCK = re.compile(r"\{%[-+]?\s*block\s+(\w+)")
_EXTENDS = re.compile(r"\{%[-+]?\s*extends\s+[\"']([^\"']+)")
_REFERENCES = (nodes.Extends, nodes.FromImport, nodes.Import, nodes.Include)
_LOOKED_AT = (
    *_REFERENCES,
    nodes.Call,
    nodes.Filter,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Macro,
    nodes.Name,
    nodes.Test,
)


class Source(NamedTuple):
    """One template text and where it comes from."""

    name: str
    """File name relative to the queue, or the key of the queue file for text in place."""
    text: str
    file: str | None
    """Path as messages show it; None for text in place."""


class Use(NamedTuple):
    """A variable that a template uses, or a fault in it."""

    source: Source
    line: int
    name: str
    """`inputs.language`, `steps.model`, `steps.model.reply`, `steps.model.files.model.py`,
    `step.title`, or the bare name of an unknown variable."""


class Fault(NamedTuple):
    """Something that keeps a template from being rendered."""

    source: Source
    line: int
    message: str


class Reading(NamedTuple):
    """What one template and all that it includes need."""

    sources: tuple[Source, ...]
    uses: tuple[Use, ...]
    faults: tuple[Fault, ...]


class _Parsed(NamedTuple):
    """One template: what of its tree is looked at."""

    parts: tuple[nodes.Node, ...]
    blocks: tuple[nodes.Block, ...]
    """Those at its top level: with a parent they say nothing unless the parent has them."""
    lost: tuple[int, ...]
    """Lines of what stands in no block although it has a parent."""
    unknown: frozenset[str]
    """Names that it reads and that Jinja does not know; others may be set in its parents."""


class TemplateReader:
    """Reads the templates of one queue, each file once however many steps share it."""

    def __init__(self, environment: SandboxedEnvironment, folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._parsed: dict[str, _Parsed | Fault] = {}

    def read(self, source: Source) -> Reading:
        """Read a template and, through its includes, all that it is made of; render nothing."""
        sources: dict[str, Source] = {}
        parsed: dict[str, _Parsed] = {}
        faults: list[Fault] = []
        waiting = [source]
        while waiting:
            current = waiting.pop(0)
            if current.name in sources:
                continue
            sources[current.name] = current
            found = self._parse(current)
            if isinstance(found, Fault):
                faults.append(found)
                continue
            parsed[current.name] = found
            for reference in _references(found.parts):
                waiting.extend(self._included(current, reference, faults))
            faults += self._strange_blocks(current, found)
            faults += (Fault(current, line, _LOST) for line in found.lost)
        return Reading(tuple(sources.values()), tuple(_uses(sources, parsed)), tuple(faults))

    def _parse(self, source: Source) -> _Parsed | Fault:
        if source.name not in self._parsed:
            self._parsed[source.name] = self._parse_anew(source)
        return self._parsed[source.name]

    def _parse_anew(self, source: Source) -> _Parsed | Fault:
        try:
            tree = self._environment.parse(source.text)
            parts = tuple(tree.find_all(_LOOKED_AT))  # once: walking takes longer than parsing
            _refuse_unknown(self._environment, parts)
            self._compile(source, tree)
        except TemplateSyntaxError as error:  # an unknown filter or test is one, too
            return Fault(source, error.lineno, f"template: {error.message}")
        except (RecursionError, MemoryError, SyntaxError):  # Python allows 20 loops in each other
            return Fault(source, 1, "template: nested too deeply")
        except ValueError:  # Python writes and reads some thousands of digits
            return Fault(source, 1, "template: a number in it has too many digits")
        blocks = tuple(node for node in tree.body if isinstance(node, nodes.Block))
        unknown = frozenset(names_read(parts)) - self._environment.globals.keys()
        return _Parsed(parts, blocks, tuple(_lost(tree.body)), unknown)

    def _strange_blocks(self, source: Source, found: _Parsed) -> Iterator[Fault]:
        """Yield the blocks that no parent has: Jinja drops them without a word."""
        parents = [node.template for node in found.parts if isinstance(node, nodes.Extends)]
        names = [parent.value for parent in parents if isinstance(parent, nodes.Const)]
        if not names or len(names) < len(parents):
            return  # a computed name is known only when rendered
        known = {block for name in names for block in self._blocks(name)}
        for block in found.blocks:
            if known and block.name not in known:
                hint = suggest(block.name, sorted(known))
                message = f"template: {names[0]} has no block {block.name!r}; {hint}"
                yield Fault(source, block.lineno, message)

    @functools.cache  # noqa: B019 - a reader lives as long as the reading of one queue
    def _blocks(self, name: str, below: frozenset[str] = frozenset()) -> frozenset[str]:
        """Return the blocks of a template and of its parents; none where one cannot be read."""
        assert self._environment.loader is not None
        try:
            text, _, _ = self._environment.loader.get_source(self._environment, name)
        except (TemplateNotFound, UnicodeDecodeError):
            return frozenset()
        parents = {*_EXTENDS.findall(text)} - below
        above = (self._blocks(parent, below | {name, parent}) for parent in parents)
        return frozenset(_BLOCK.findall(text)).union(*above)

    def _compile(self, source: Source, tree: nodes.Template) -> None:
        """Find what only compiling finds; the code of a file is kept for rendering."""
        code = self._environment.compile(tree, source.name, source.file)
        loader = self._environment.loader
        if source.file is not None and isinstance(loader, CompiledOnce):
            loader.codes[source.name] = code

    def _included(
        self, parent: Source, reference: _Reference, faults: list[Fault]
    ) -> Iterator[Source]:
        """Yield what is included; a name of which no alternative is there is a fault."""
        assert self._environment.loader is not None
        found = reference.optional
        for name in reference.names:
            try:
                text, file, _ = self._environment.loader.get_source(self._environment, name)
            except TemplateNotFound:
                continue
            except UnicodeDecodeError:
                message = f"the template {name!r} is not UTF-8 text"
                faults.append(Fault(parent, reference.line, message))
            else:
                if not is_built_in(file):
                    yield Source(name, text, str(self._folder / name))
            found = True
        if not found:
            names = " or ".join(map(repr, reference.names))
            hint = f"built in are {LAYOUT} and {CONTEXT}" if BUILT_IN in names else _FOLDER
            message = f"the template {names} does not exist; {hint}"
            faults.append(Fault(parent, reference.line, message))


class _Reference(NamedTuple):
    """An `extends`, `include` or `import`."""

    names: tuple[str, ...]
    """The first of them that exists is taken."""
    line: int
    optional: bool


def _references(parts: Iterable[nodes.Node]) -> Iterator[_Reference]:
    """Yield what a template refers to by name; a computed name is known only when rendered."""
    for node in parts:
        if not isinstance(node, _REFERENCES):
            continue
        target: nodes.Expr = node.template
        items = target.items if isinstance(target, nodes.List | nodes.Tuple) else [target]
        names = [item.value for item in items if isinstance(item, nodes.Const)]
        if len(names) == len(items) and all(isinstance(name, str) for name in names):
            optional = isinstance(node, nodes.Include) and node.ignore_missing
            yield _Reference(tuple(names), node.lineno, optional)


def _lost(body: Iterable[nodes.Node]) -> Iterator[int]:
    """Yield the lines of what is printed below an `extends`: Jinja drops it without a word."""
    below = itertools.dropwhile(lambda node: not isinstance(node, nodes.Extends), body)
    for node in below:
        for part in node.nodes if isinstance(node, nodes.Output) else ():
            text = part.data if isinstance(part, nodes.TemplateData) else "x"
            if text.strip():
                blank = text[: len(text) - len(text.lstrip())]
                yield part.lineno + blank.count("\n")
                break


def _refuse_unknown(environment: Environment, parts: Iterable[nodes.Node]) -> None:
    """Find unknown filters and tests also where Jinja waits until they are called."""
    for node in parts:
        if not isinstance(node, (nodes.Filter, nodes.Test)):
            continue
        kind = "filter" if isinstance(node, nodes.Filter) else "test"
        known = environment.filters if kind == "filter" else environment.tests
        if node.name not in known:
            close = difflib.get_close_matches(node.name, list(known), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TemplateAssertionError(f"no {kind} {node.name!r}{hint}", node.lineno)


def _uses(sources: Mapping[str, Source], parsed: Mapping[str, _Parsed]) -> Iterator[Use]:
    own = set(GIVEN)
    for found in parsed.values():  # an included template sees what its parent has set
        own.update(names_set(found.parts))
    for name, found in parsed.items():
        for line, use in variables_used(found.parts, unknown=found.unknown, own=own):
            yield Use(sources[name], line, use)
