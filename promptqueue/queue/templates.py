"""Jinja2 templates: the sandbox they run in, and what can be said of them unrendered."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PrefixLoader,
    StrictUndefined,
    Template,
    TemplateAssertionError,
    TemplateNotFound,
    TemplateSyntaxError,
    meta,
    nodes,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
from pydantic import BaseModel

BUILT_IN = "promptqueue/"
LAYOUT = BUILT_IN + "layout.md.j2"
CONTEXT = BUILT_IN + "context.md.j2"
_FOLDER = "names start at the folder of the queue file, and never lead out of it"
VARIABLES = frozenset({"inputs", "step", "steps"})  # all that a template sees


class _Sandbox(ImmutableSandboxedEnvironment):
    """Shows templates only the fields of a model; its `parse_raw` would unpickle anything.

    Nor can a template change a list or a mapping: results of earlier steps are shared.
    """

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return whether a template may read `attr` of `obj`."""
        if isinstance(obj, BaseModel):
            return attr in type(obj).model_fields
        return super().is_safe_attribute(obj, attr, value)


def make_environment(folder: Path) -> SandboxedEnvironment:
    """Return the environment in which the templates of the queue in `folder` are rendered."""
    built_in = FileSystemLoader(Path(__file__).parent / "builtin")
    loader = _ParsedOnce([PrefixLoader({"promptqueue": built_in}), FileSystemLoader(folder)])
    environment = _Sandbox(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        auto_reload=False,
    )
    environment.filters["fenced"] = fenced
    return environment


class _ParsedOnce(ChoiceLoader):
    """Compiles what the reader has parsed already, instead of parsing it again."""

    def __init__(self, loaders: Sequence[BaseLoader]) -> None:
        super().__init__(loaders)
        self.trees: dict[str, tuple[nodes.Template, str]] = {}
        """Name of a template to its tree and file."""

    def load(
        self,
        environment: Environment,
        name: str,
        globals: MutableMapping[str, Any] | None = None,
    ) -> Template:
        if name not in self.trees:
            return super().load(environment, name, globals)
        tree, file = self.trees[name]
        code = environment.compile(tree, name, file)
        return environment.template_class.from_code(environment, code, globals or {})


def fenced(text: str, info: str = "") -> str:
    """Put `text` into a Markdown fence that is longer than any fence inside it."""
    longest = max((len(run) for run in _backtick_runs(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{info}\n{text.rstrip(chr(10))}\n{fence}"


def _backtick_runs(text: str) -> Iterator[str]:
    for line in text.splitlines():
        stripped = line.lstrip(" \t>")
        run = stripped[: len(stripped) - len(stripped.lstrip("`"))]
        if run:
            yield run


@dataclass(frozen=True, slots=True)
class Source:
    """One template text and where it comes from."""

    name: str
    """File name relative to the queue, or the key of the queue file for text in place."""
    text: str
    file: str | None
    """Path as messages show it; None for text in place."""


@dataclass(frozen=True, slots=True)
class Use:
    """A variable that a template uses, or a fault in it."""

    source: Source
    line: int
    name: str
    """`inputs.language`, `steps.model`, `steps.model.reply`, `step.title`, or the bare name of
    an unknown variable."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that keeps a template from being rendered."""

    source: Source
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What one template and all that it includes need."""

    sources: tuple[Source, ...]
    uses: tuple[Use, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class _Parsed:
    """One template file: its tree and the names that nothing in it declares."""

    tree: nodes.Template
    undeclared: frozenset[str]


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
            for reference in _references(found.tree):
                waiting.extend(self._included(current, reference, faults))
        return Reading(tuple(sources.values()), tuple(_uses(sources, parsed)), tuple(faults))

    def _parse(self, source: Source) -> _Parsed | Fault:
        if source.name not in self._parsed:
            try:
                tree = self._environment.parse(source.text)
                _refuse_unknown(self._environment, tree)
                undeclared = frozenset(meta.find_undeclared_variables(tree))
                loader = self._environment.loader
                if source.file is not None and isinstance(loader, _ParsedOnce):
                    loader.trees[source.name] = (tree, source.file)
                self._parsed[source.name] = _Parsed(tree, undeclared)
            except TemplateSyntaxError as error:  # an unknown filter or test is one, too
                self._parsed[source.name] = Fault(
                    source, error.lineno, f"template: {error.message}"
                )
            except RecursionError:
                self._parsed[source.name] = Fault(source, 1, "template: nested too deeply")
        return self._parsed[source.name]

    def _included(
        self, parent: Source, reference: _Reference, faults: list[Fault]
    ) -> Iterator[Source]:
        """Yield what is included; a name of which no alternative is there is a fault."""
        assert self._environment.loader is not None
        found = reference.optional
        for name in reference.names:
            try:
                text, _, _ = self._environment.loader.get_source(self._environment, name)
            except TemplateNotFound:
                continue
            except UnicodeDecodeError:
                message = f"the template {name!r} is not UTF-8 text"
                faults.append(Fault(parent, reference.line, message))
            else:
                if not name.startswith(BUILT_IN):
                    yield Source(name, text, str(self._folder / name))
            found = True
        if not found:
            names = " or ".join(map(repr, reference.names))
            hint = f"built in are {LAYOUT} and {CONTEXT}" if BUILT_IN in names else _FOLDER
            message = f"the template {names} does not exist; {hint}"
            faults.append(Fault(parent, reference.line, message))


@dataclass(frozen=True, slots=True)
class _Reference:
    """An `extends`, `include` or `import`."""

    names: tuple[str, ...]
    """The first of them that exists is taken."""
    line: int
    optional: bool


def _references(tree: nodes.Template) -> Iterator[_Reference]:
    """Yield what a template refers to by name; a computed name is known only when rendered."""
    for node in tree.find_all((nodes.Extends, nodes.FromImport, nodes.Import, nodes.Include)):
        target: nodes.Expr = node.template  # type: ignore[attr-defined]  # each of them has one
        items = target.items if isinstance(target, nodes.List | nodes.Tuple) else [target]
        names = [item.value for item in items if isinstance(item, nodes.Const)]
        if len(names) == len(items) and all(isinstance(name, str) for name in names):
            optional = isinstance(node, nodes.Include) and node.ignore_missing
            yield _Reference(tuple(names), node.lineno, optional)


def _refuse_unknown(environment: Environment, tree: nodes.Template) -> None:
    """Find unknown filters and tests also where Jinja waits until they are called."""
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        kind = "filter" if isinstance(node, nodes.Filter) else "test"
        known = environment.filters if kind == "filter" else environment.tests
        if node.name not in known:
            close = difflib.get_close_matches(node.name, list(known), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TemplateAssertionError(f"no {kind} {node.name!r}{hint}", node.lineno)


def _uses(sources: Mapping[str, Source], parsed: Mapping[str, _Parsed]) -> Iterator[Use]:
    own = {"self", "loop", "caller", "super"}
    for found in parsed.values():  # an included template sees what its parent has set
        own.update(_declared(found.tree))
    for name, found in parsed.items():
        for node in found.tree.find_all((nodes.Name, nodes.Getattr, nodes.Getitem)):
            use = _use_of(node, found.undeclared - own, frozenset(own))
            if use:
                yield Use(sources[name], node.lineno, use)


def _declared(tree: nodes.Template) -> Iterator[str]:
    for node in tree.find_all((nodes.Name, nodes.FromImport, nodes.Import, nodes.Macro)):
        if isinstance(node, nodes.Name):
            if node.ctx != "load":
                yield node.name
        elif isinstance(node, nodes.FromImport):
            yield from _imported(node)
        elif isinstance(node, nodes.Import):
            yield node.target
        elif isinstance(node, nodes.Macro):
            yield node.name


def _imported(node: nodes.FromImport) -> Iterator[str]:
    for name in node.names:
        yield name[1] if isinstance(name, tuple) else name


def _use_of(node: nodes.Node, undeclared: frozenset[str], own: frozenset[str]) -> str | None:
    if isinstance(node, nodes.Name):
        return node.name if node.name in undeclared and node.name not in VARIABLES else None
    path = _path_of(node)
    deepest = 3 if path and path[0] == "steps" else 2
    if not path or path[0] not in VARIABLES - own or not 2 <= len(path) <= deepest:
        return None
    return ".".join(path)


def _path_of(node: nodes.Node) -> tuple[str, ...]:
    """Return `("steps", "model", "reply")` for `steps.model.reply`; nothing where computed."""
    if isinstance(node, nodes.Name):
        return (node.name,)
    key: Any = None
    if isinstance(node, nodes.Getattr):
        key = node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        key = node.arg.value
    base = _path_of(node.node) if isinstance(node, nodes.Getattr | nodes.Getitem) else ()
    return (*base, key) if base and isinstance(key, str) else ()
