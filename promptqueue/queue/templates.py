"""Jinja2 templates: the sandbox they run in, and what can be said of them unrendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    FileSystemLoader,
    PrefixLoader,
    StrictUndefined,
    TemplateNotFound,
    TemplateSyntaxError,
    meta,
    nodes,
)
from jinja2.sandbox import SandboxedEnvironment

BUILT_IN = "promptqueue/"
LAYOUT = BUILT_IN + "layout.md.j2"
CONTEXT = BUILT_IN + "context.md.j2"
VARIABLES = frozenset({"inputs", "step", "steps"})
"""What a template sees; everything else must be its own."""


def make_environment(folder: Path) -> SandboxedEnvironment:
    """Return the environment in which the templates of the queue in `folder` are rendered."""
    built_in = FileSystemLoader(Path(__file__).parent / "builtin")
    loader = ChoiceLoader([PrefixLoader({"promptqueue": built_in}), FileSystemLoader(folder)])
    environment = SandboxedEnvironment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        auto_reload=False,
    )
    environment.filters["fenced"] = fenced
    return environment


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
    """`inputs.language`, `steps.model`, or the bare name of an unknown variable."""


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


def read_template(environment: SandboxedEnvironment, source: Source, folder: Path) -> Reading:
    """Read a template and, through its includes, all that it is made of; render nothing."""
    sources: dict[str, Source] = {}
    trees: dict[str, nodes.Template] = {}
    faults: list[Fault] = []
    waiting = [source]
    while waiting:
        current = waiting.pop(0)
        if current.name in sources:
            continue
        sources[current.name] = current
        try:
            tree = environment.parse(current.text)
            environment.compile(tree)  # finds unknown filters and tests
            trees[current.name] = environment.parse(current.text)  # compiling changes the tree
        except TemplateSyntaxError as error:
            faults.append(Fault(current, error.lineno, f"template: {error.message}"))
            continue
        for name in meta.find_referenced_templates(trees[current.name]):
            waiting.extend(_included(environment, current, name, folder, faults))
    return Reading(tuple(sources.values()), tuple(_uses(sources, trees)), tuple(faults))


def _included(
    environment: SandboxedEnvironment,
    parent: Source,
    name: str | None,
    folder: Path,
    faults: list[Fault],
) -> list[Source]:
    if name is None or name.startswith(BUILT_IN):
        return []
    assert isinstance(environment.loader, BaseLoader)
    try:
        text, _, _ = environment.loader.get_source(environment, name)
    except TemplateNotFound:
        line = next((i for i, text in enumerate(parent.text.splitlines(), 1) if name in text), 1)
        faults.append(Fault(parent, line, f"the template {name!r} is not in {folder}"))
        return []
    except UnicodeDecodeError:
        faults.append(Fault(parent, 1, f"the template {name!r} is not UTF-8 text"))
        return []
    return [Source(name, text, str(folder / name))]


def _uses(sources: Mapping[str, Source], trees: Mapping[str, nodes.Template]) -> Iterator[Use]:
    own = set[str]()  # an included template sees what its parent has set
    for tree in trees.values():
        own |= {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
        own |= {name for node in tree.find_all(nodes.FromImport) for name in _imported(node)}
        own |= {node.target for node in tree.find_all(nodes.Import)}
        own |= {node.name for node in tree.find_all(nodes.Macro)} | {
            "self",
            "loop",
            "caller",
            "super",
        }
    for name, tree in trees.items():
        undeclared = meta.find_undeclared_variables(tree)
        for node in tree.find_all((nodes.Name, nodes.Getattr, nodes.Getitem)):
            use = _use_of(node, undeclared - own)
            if use:
                yield Use(sources[name], node.lineno, use)


def _imported(node: nodes.FromImport) -> Iterator[str]:
    for name in node.names:
        yield name[1] if isinstance(name, tuple) else name


def _use_of(node: nodes.Node, undeclared: set[str]) -> str | None:
    if isinstance(node, nodes.Name):
        return node.name if node.name in undeclared and node.name not in VARIABLES else None
    base = getattr(node, "node", None)
    if not isinstance(base, nodes.Name) or base.name not in ("inputs", "steps"):
        return None
    key: Any = None
    if isinstance(node, nodes.Getattr):
        key = node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        key = node.arg.value
    return f"{base.name}.{key}" if isinstance(key, str) else None
