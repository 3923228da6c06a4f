"""The queue file as typed, frozen data, and what a step left behind when it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from promptqueue.chat.question import Params
from promptqueue.errors import UsageError
from promptqueue.queue.interface import interface_of
from promptqueue.queue.types import Count, Identifier, OutputPath, Scalar, Seconds, Strict, Symbol
from promptqueue.queue.verification import Verification

Form = Literal["reply", "files", "interface"]
_RULES = ["all", "none", "last", "on", "off", True, False]  # as they are written


def _context(value: Any) -> Any:
    if value is True or value == "on":
        return "all"
    if value is False or value == "off":
        return "none"
    if not isinstance(value, list | tuple) and value not in ("all", "none", "last", None):
        raise ValueError(
            f"{value!r} is no context rule; write all, none, last, or a list of "
            "{step: ID, as: reply|files|interface}"
        )
    return value


def _context_kind(value: Any) -> str:
    return "rule" if isinstance(value, str) else "entries"


def _role(value: Any) -> Any:
    if value is None or isinstance(value, str | dict | Text):
        return value
    raise ValueError("the role is the name of a template file, or `{text: ...}` in place")


def _role_kind(value: Any) -> str:
    return "role file" if isinstance(value, str) else "role in place"


class ContextEntry(Strict):
    """One earlier step that travels along, and in which form."""

    step: Identifier
    form: Form = Field("reply", alias="as")
    """`reply`: its prompt and whole reply; `files`: the latest bodies of its files;
    `interface`: their signatures and docstrings."""


Context = Annotated[
    Annotated[Literal["all", "none", "last"], Tag("rule"), WithJsonSchema({"enum": _RULES})]
    | Annotated[tuple[ContextEntry, ...], Tag("entries")],
    Discriminator(_context_kind),
    BeforeValidator(_context),
]


class Input(Strict):
    """A typed value that the user may set with `--set name=value`."""

    type: Literal["str", "int", "float", "bool"]
    default: Scalar | None = None
    choices: tuple[Scalar, ...] | None = None
    min: float | None = Field(None, allow_inf_nan=False)
    max: float | None = Field(None, allow_inf_nan=False)
    description: str = ""


class Output(Strict):
    """A file that a step must return."""

    path: OutputPath
    symbols: tuple[Symbol, ...] = ()
    """What the file must define at its top level: names, or names with arguments."""
    parts: bool = False
    """Whether the reply may hold some of its functions, classes and constants only: the rest of
    this Python file stays as an earlier step left it.
    """


class Refine(Strict):
    """How often a step may be asked again when its reply is not usable."""

    turns: Count = Field(3, ge=0, le=20)
    """Refinement turns after the first one."""
    samples: Count = Field(1, ge=1, le=100)
    """Independent first answers, of which the verdict chooses; no more of them where all that is
    wrong are errors with their lines, and where nothing judges, one.
    """
    on_red: Literal["continue", "stop"] = "continue"
    """Whether later steps are asked although a requirement of this one is not met."""
    escalate: str | None = None
    """Another model for the last refinement turn, where this one did not get there."""


class Text(Strict):
    """A template written in place."""

    text: str


Role = Annotated[
    Annotated[str, Tag("role file")] | Annotated[Text, Tag("role in place")],
    Discriminator(_role_kind),
    BeforeValidator(_role),
]


class Defaults(Strict):
    """What holds for every step that does not say otherwise."""

    model: str | None = None
    params: Params = Params()
    context: Context = "all"
    refine: Refine = Refine()


class Limits(Strict):
    """What a run may spend at most; checked before every call."""

    calls: Count | None = Field(None, ge=1)
    tokens: Count | None = Field(None, ge=1)
    """Prompt and completion tokens together."""
    wall: Seconds | None = None
    """Wall time, as 90m, 1h30m or seconds."""
    usd: float | None = Field(None, gt=0, strict=True, allow_inf_nan=False)
    """Money, where the prices of the model are known."""

    def given(self) -> dict[str, Any]:
        """Return only what was set."""
        return self.model_dump(exclude_none=True)

    def over(self, base: Limits) -> Limits:
        """Return these limits laid over `base`: what is set here wins."""
        return Limits(**(base.given() | self.given()))


class Step(Strict):
    """One templated prompt with what it must bring back."""

    id: Identifier
    title: str = ""
    template: str | None = None
    """A template file, relative to the queue file; or else `task` (with `data`,
    `answer_format`) in place."""
    data: str | None = None
    task: str | None = None
    answer_format: str | None = None
    outputs: tuple[Output, ...] = Field(min_length=1)
    requirements: Mapping[Identifier, str] = Field(default_factory=dict)
    checks: tuple[str, ...] = ()
    context: Context | None = None
    refine: Refine | None = None
    model: str | None = None
    params: Params = Params()

    @model_validator(mode="after")
    def _one_prompt(self) -> Step:
        parts = (self.data, self.task, self.answer_format)
        if self.template is None and self.task is None:
            raise ValueError("the step has no prompt; give it `template: FILE` or `task: |`")
        if self.template is not None and any(part is not None for part in parts):
            raise ValueError("`template` excludes `data`, `task` and `answer_format`; keep one way")
        return self

    def paths(self) -> tuple[str, ...]:
        """Return the paths that this step declares."""
        return tuple(output.path for output in self.outputs)


class Queue(Strict):
    """A role, typed inputs, limits and an ordered list of steps."""

    promptqueue: Literal[1]
    """Version of the file format."""
    name: Identifier
    reference: str | None = None
    """Folder of the hand-written reference, relative to the queue file."""
    role: Role | None = None
    """Template file of the system message, or `{text: ...}` in place."""
    inputs: Mapping[Identifier, Input] = Field(default_factory=dict)
    endpoint: Identifier | None = None
    """Name of an endpoint profile of the user; never a URL, so that a foreign queue file
    cannot carry a key to another host."""
    defaults: Defaults = Defaults()
    limits: Limits = Limits()
    verify: Verification = Verification()
    """How the generated code is judged."""
    steps: tuple[Step, ...] = Field(min_length=1)

    def context_of(self, step: Step) -> tuple[ContextEntry, ...]:
        """Return the rule of `step` as entries, each naming an earlier step."""
        rule = self.defaults.context if step.context is None else step.context
        earlier = self.steps[: self.steps.index(step)]
        if rule == "none":
            return ()
        if rule == "all":
            return tuple(ContextEntry(step=other.id) for other in earlier)
        if rule == "last":
            return tuple(ContextEntry(step=other.id) for other in earlier[-1:])
        return rule

    def params_of(self, step: Step) -> Params:
        """Return the parameters of a step, laid over the defaults."""
        return step.params.over(self.defaults.params)

    def refine_of(self, step: Step) -> Refine:
        """Return how often a step may be refined."""
        return step.refine or self.defaults.refine


class Turn(NamedTuple):
    """One prompt and the reply to it."""

    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a finished step left behind; templates see it as `steps.<id>`."""

    id: str
    turns: Sequence[Turn]
    files: Mapping[str, str] = field(default_factory=dict)
    """Path to text, of every declared output that came back."""

    @property
    def reply(self) -> str:
        """Return the text of the last reply."""
        return self.turns[-1].reply if self.turns else ""

    def interface(self, path: str) -> str:
        """Return the signatures and docstrings of one file of this step; what is no Python, whole.

        Raises:
            UsageError: the step has brought no such file.
        """
        if path not in self.files:
            known = ", ".join(map(repr, self.files)) or "none"
            raise UsageError(f"the step {self.id!r} has no file {path!r}; its files: {known}")
        text = self.files[path]
        return interface_of(text) if path.endswith(".py") else text
