"""What a run is to do, decided before anything is asked or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from promptqueue.chat.config import Price
from promptqueue.chat.endpoints import Endpoint, named_model
from promptqueue.chat.validation import suggest
from promptqueue.chat.weights import EMBEDDED
from promptqueue.errors import UsageError
from promptqueue.queue.inputs import Value
from promptqueue.queue.load import LoadedQueue
from promptqueue.queue.model import Limits, Queue
from promptqueue.run.steering import Steer


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do; everything is decided, and nothing has been asked yet."""

    loaded: LoadedQueue
    inputs: Mapping[str, Value]
    endpoint: Endpoint
    out: Path
    runs: Path
    model: str | None = None
    """From the command line: wins over what the queue names."""
    overwrite: bool = False
    prices: Mapping[str, Price] = field(default_factory=dict)
    fresh: bool = False
    """Ask everything anew, whatever earlier runs have answers to."""
    start: str | None = None
    """The step from which on everything is asked anew; the ones before are taken as they are."""
    steer: Steer | None = None
    """Asked after every reply."""
    verify: bool | None = None
    """Judge each step when it lands; None: if that can be done here."""
    limits: Limits = field(default_factory=Limits)
    """From the command line: each wins over the queue's."""


def fresh_from(plan: Plan) -> int | None:
    """Return the number of the first step that earlier runs may not answer for.

    Raises:
        UsageError: the queue has no such step.
    """
    if plan.fresh:
        return 1
    return number_of(plan.loaded.queue, plan.start) if plan.start is not None else None


def named_models(plan: Plan) -> dict[str, str]:
    """Return the model of each step, as far as it is known before the endpoint is open."""
    queue, endpoint = plan.loaded.queue, plan.endpoint
    if endpoint.embedded:
        return {step.id: EMBEDDED.name for step in queue.steps}
    default = queue.defaults.model
    named = {
        step.id: named_model(flag=plan.model, step=step.model, queue=default, endpoint=endpoint)
        for step in queue.steps
    }
    return {step: model for step, model in named.items() if model}


def number_of(queue: Queue, step: str) -> int:
    """Return the number of a step, from 1.

    Raises:
        UsageError: the queue has no such step.
    """
    steps = [each.id for each in queue.steps]
    if step not in steps:
        raise UsageError(f"the queue {queue.name} has no step {step!r}; {suggest(step, steps)}")
    return steps.index(step) + 1
