"""The arms of a comparison: what is asked, and how it differs from the queue as it is written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promptqueue.chat.question import Params
from promptqueue.chat.validation import sentence, suggest
from promptqueue.errors import UsageError
from promptqueue.queue.load import LoadedQueue

MONOLITH = "monolith"
SHAPES = {
    "written": "the queue with the context rules that its file has",
    MONOLITH: "all steps as one prompt",
    "none": "the queue; no step sees an earlier one",
    "full": "the queue; each step sees every prompt and reply before it",
    "files": "the queue; each step sees the files of the steps before it",
    "interface": "the queue; each step sees the signatures and docstrings of those files",
}
_IN_QUEUES = {"all": "full", "on": "full", "off": "none", "reply": "full"}
"""How a queue file says it."""
DEFAULT = ("monolith", "full", "interface")
_OWN = ("queue", "model")
_NOT_OWN = ("extra", "seed", "stop")
"""Parameters that no arm has of its own."""
_FORM = "SHAPE[+refine][,queue=FILE][,model=NAME][,PARAMETER=VALUE]"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to ask for the same code."""

    shape: str = "written"
    """A key of SHAPES."""
    refine: bool = False
    """What is not met goes back to the model, as the queue's `refine` says."""
    queue: Path | None = None
    """Another queue file; None: the one that is compared."""
    model: str | None = None
    params: Params = field(default_factory=Params)
    """Laid over those of every step."""
    omits: tuple[str, ...] = ()
    """What is left out: `role`, `STEP.bullet`, or `STEP<EARLIER`, a context entry."""

    @property
    def name(self) -> str:
        """Return the arm as it is written on the command line."""
        parts = [self.shape + ("+refine" if self.refine else "")]
        parts += [f"queue={self.queue}"] if self.queue else []
        parts += [f"model={self.model}"] if self.model else []
        parts += [f"{key}={value}" for key, value in self.params.given().items()]
        return ",".join([*parts, *(f"without {omitted}" for omitted in self.omits)])

    def key(self, told: Sequence[object]) -> str:
        """Return the digest of the arm and of what else decides its answers."""
        text = json.dumps([self.name, *told], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def parse_arm(text: str) -> Arm:
    """Return the arm that `monolith`, `full+refine` or `none,temperature=0.8` stands for.

    Raises:
        UsageError: there is no such arm, or a parameter or its value is wrong.
    """
    head, *settings = [part.strip() for part in text.split(",")]
    shape, plus, suffix = head.partition("+")
    if shape not in SHAPES:
        shape = _IN_QUEUES.get(shape, shape)
        raise UsageError(f"no arm {text!r}; an arm is {_FORM}, and {suggest(shape, SHAPES)}")
    if plus and suffix != "refine":
        raise UsageError(f"no arm {text!r}; an arm is {_FORM}: did you mean '{shape}+refine'?")
    given = dict(_setting(text, setting) for setting in settings)
    own = {name: given.pop(name) for name in _OWN if name in given}
    return Arm(
        shape=shape,
        refine=bool(plus),
        queue=Path(own["queue"]) if "queue" in own else None,
        model=own.get("model"),
        params=_params(text, given),
    )


def arms_without(loaded: LoadedQueue, base: Arm) -> Iterator[Arm]:
    """Yield the base arm with one thing left out: the role, a bullet, a context entry."""
    queue = loaded.queue
    if queue.role is not None:
        yield _without(base, "role")
    for step in queue.steps:
        for name in step.requirements:
            yield _without(base, f"{step.id}.{name}")
    for step in queue.steps if base.shape != MONOLITH else ():  # that has no context
        for entry in queue.context_of(step):
            yield _without(base, f"{step.id}<{entry.step}")


def slug(name: str) -> str:
    """Return a name that folders can have."""
    return re.sub(r"[^\w.=+-]+", "_", name)[:80]


def _without(base: Arm, omitted: str) -> Arm:
    return replace(base, omits=(omitted,))


def _setting(arm: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    known = [*_OWN, *(name for name in Params.model_fields if name not in _NOT_OWN)]
    if not equals or not value:
        raise UsageError(f"{text!r} in the arm {arm!r}: write NAME=VALUE; {suggest(name, known)}")
    if name == "seed":
        raise UsageError(
            f"{text!r} in the arm {arm!r}: each sample has a seed of its own, or all would be the "
            "same; leave it out"
        )
    if name not in known:
        raise UsageError(f"{name!r} in the arm {arm!r} is no setting; {suggest(name, known)}")
    return name, value


def _params(arm: str, given: dict[str, str]) -> Params:
    values: dict[str, Any] = {}
    for name, text in given.items():
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    try:
        return Params(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise UsageError(f"{name} in the arm {arm!r}: {sentence(first)}") from error
