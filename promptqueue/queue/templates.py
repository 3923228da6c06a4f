"""Jinja2 templates: the sandbox they run in, and where they are loaded from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PrefixLoader,
    StrictUndefined,
    Template,
    TemplateNotFound,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
from pydantic import BaseModel

from promptqueue.queue.printed import plain, printed

BUILT_IN = "promptqueue/"
LAYOUT = BUILT_IN + "layout.md.j2"
CONTEXT = BUILT_IN + "context.md.j2"
_BUILT_IN_FOLDER = Path(__file__).parent / "builtin"


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
    built_in = FileSystemLoader(_BUILT_IN_FOLDER)
    loader = CompiledOnce([PrefixLoader({"promptqueue": built_in}), _Folder(folder)])
    environment = _Sandbox(
        loader=loader,
        undefined=StrictUndefined,
        finalize=printed,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        auto_reload=False,
        optimized=False,  # costs more than it saves: each template is rendered once or twice
    )
    environment.filters["fenced"] = fenced
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": plain}
    del environment.globals["lipsum"], environment.filters["random"]  # equal queues, equal prompts
    return environment


def read_template(folder: Path, name: str) -> str:
    """Return the text of a template; a mark of the byte order is none of it.

    Raises:
        OSError, ValueError: there is none, or it is no text in UTF-8.
    """
    return (folder / name).read_text("utf-8-sig")


def is_built_in(file: str | None) -> bool:
    """Tell whether a template file is ours; a folder of the user's may have the same name."""
    return file is not None and Path(file).parent == _BUILT_IN_FOLDER


def lies_within(folder: Path, name: str) -> bool:
    """Tell whether a name leads nowhere but into the folder, whatever links there are.

    What a template holds is sent to an endpoint: a stranger's queue must not reach for more.
    """
    try:
        return (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # a circle of links, or no name at all: it cannot be read
        return True


class _Folder(FileSystemLoader):
    """Loads the templates beside a queue file, and nothing else."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, encoding="utf-8-sig")
        self._folder = folder

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        if not lies_within(self._folder, template):
            raise TemplateNotFound(template)
        return super().get_source(environment, template)


class CompiledOnce(ChoiceLoader):
    """Loads what the reader has compiled already, instead of compiling it again."""

    def __init__(self, loaders: Sequence[BaseLoader]) -> None:
        super().__init__(loaders)
        self.codes: dict[str, CodeType] = {}
        """Name of a template to its code."""

    def load(
        self,
        environment: Environment,
        name: str,
        globals: MutableMapping[str, Any] | None = None,
    ) -> Template:
        """Return a template, from its code where that is known."""
        if name not in self.codes:
            return super().load(environment, name, globals)
        return environment.template_class.from_code(environment, self.codes[name], globals or {})


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
