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
    """Id of an earlier step."""
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
    """What its value is."""
    default: Scalar | None = None
    """Its value where the user sets none; without one, the user has to."""
    choices: tuple[Scalar, ...] | None = None
    """The only values that are taken."""
    min: float | None = Field(None, allow_inf_nan=False)
    """The smallest number that is taken."""
    max: float | None = Field(None, allow_inf_nan=False)
    """The largest number that is taken."""
    description: str = ""
    """What it is for, for readers of the file."""


class Output(Strict):
    """A file that a step must return."""

    path: OutputPath
    """Relative to the folder of the generated files."""
    symbols: tuple[Symbol, ...] = ()
    """What the file must define at its top level: names, or names with arguments."""
    parts: bool = False
    """Whether the reply may hold some of its functions, classes and constants only: the rest of
    this Python file stays as an earlier step left it.
    """


class Refine(Strict):
    """How often a step may be asked again when its reply is not usable."""

    turns: Count = Field(8, ge=0, le=20)
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
    """A Jinja2 template."""


Role = Annotated[
    Annotated[str, Tag("role file")] | Annotated[Text, Tag("role in place")],
    Discriminator(_role_kind),
    BeforeValidator(_role),
]


class Defaults(Strict):
    """What holds for every step that does not say otherwise."""

    model: str | None = None
    """Name of the model, as the endpoint knows it."""
    params: Params = Params()
    """Sampling parameters; those of a step are laid over them."""
    context: Context = "all"
    """What of the earlier steps travels along."""
    refine: Refine = Refine()
    """How often a step is asked again."""


class Limits(Strict):
    """What a run may spend at most; checked before every call."""

    calls: Count | None = Field(None, ge=1)
    """Requests to the model, those that are made again among them."""
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
    """Its name in templates, context rules and commands; what identifies it when a run goes on."""
    title: str = ""
    """What a run calls it in its lines; the id if left out."""
    template: str | None = None
    """A template file, relative to the queue file; or else `task` (with `data`,
    `answer_format`) in place."""
    data: str | None = None
    """What is given: a Jinja2 template, as `task` and `answer_format` are."""
    task: str | None = None
    """What is to be done."""
    answer_format: str | None = None
    """How to answer; made of the outputs if left out."""
    outputs: tuple[Output, ...] = Field(min_length=1)
    """The files that it must bring back."""
    requirements: Mapping[Identifier, str] = Field(default_factory=dict)
    """What its files must do: id and sentence, each guarded by a check."""
    checks: tuple[str, ...] = ()
    """Pytest files that judge its files, relative to the queue file."""
    context: Context | None = None
    """What of the earlier steps travels along; that of `defaults` if left out."""
    refine: Refine | None = None
    """How often it is asked again; that of `defaults` if left out."""
    model: str | None = None
    """Name of the model for this step."""
    params: Params = Params()
    """Sampling parameters, laid over those of `defaults`."""

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
    """Its files go to `generated/<name>`, and its runs bear it."""
    reference: str | None = None
    """Folder of the hand-written reference, relative to the queue file."""
    role: Role | None = None
    """Template file of the system message, or `{text: ...}` in place."""
    inputs: Mapping[Identifier, Input] = Field(default_factory=dict)
    """Values that templates read as `inputs.NAME`."""
    endpoint: Identifier | None = None
    """Name of an endpoint profile of the user; never a URL, so that a foreign queue file
    cannot carry a key to another host."""
    defaults: Defaults = Defaults()
    """What holds for every step that does not say otherwise."""
    limits: Limits = Limits()
    """What a run may spend at most."""
    verify: Verification = Verification()
    """How the generated code is judged."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """Asked one after the other."""

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
