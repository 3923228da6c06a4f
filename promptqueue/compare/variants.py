"""Turns a queue into what an arm asks; the file on disk stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from promptqueue.chat.question import Params
from promptqueue.compare.arms import MONOLITH, Arm
from promptqueue.compare.monolith import as_monolith, with_templates
from promptqueue.errors import UsageError
from promptqueue.queue.bullets import without_bullet
from promptqueue.queue.inputs import Value
from promptqueue.queue.load import LoadedQueue
from promptqueue.queue.model import Context, ContextEntry, Queue, Refine, Step

_FORMS = ("files", "interface")
_RULES: Mapping[str, Context] = {"none": "none", "full": "all"}


def variant(
    loaded: LoadedQueue, arm: Arm, inputs: Mapping[str, Value], *, seed: int
) -> LoadedQueue:
    """Return the queue that an arm runs.

    Args:
        loaded: the queue of the arm.
        arm: what is different.
        inputs: of the queue; the prompts of a monolith are written out with them.
        seed: of the sampling, so that samples differ.

    Raises:
        UsageError: what is to be left out is not there, or the steps cannot be one prompt.
        QueueFileError: a template cannot be rendered.
    """
    loaded = in_shape(loaded, arm.shape)
    for omitted in arm.omits:
        loaded = _without(loaded, omitted)
    if arm.shape == MONOLITH:
        given = frozenset(arm.params.given())
        loaded = as_monolith(in_shape(loaded, "none"), inputs, given=given)
    return replace(loaded, queue=_with_settings(loaded.queue, arm, seed), is_form=True)


def in_shape(loaded: LoadedQueue, shape: str) -> LoadedQueue:
    """Return the queue with the context rules of a shape."""
    queue = loaded.queue
    if shape not in (*_FORMS, *_RULES):
        return loaded
    steps = tuple(_with_context(queue, number, shape) for number in range(len(queue.steps)))
    return replace(loaded, queue=queue.model_copy(update={"steps": steps}))


def with_files_of(loaded: LoadedQueue, other: LoadedQueue) -> LoadedQueue:
    """Return the queue with the files of another one among those that are judged."""
    own = {path for step in loaded.queue.steps for path in step.paths()}
    outputs = {output.path: output for step in other.queue.steps for output in step.outputs}
    more = tuple(output for path, output in outputs.items() if path not in own)
    *steps, last = loaded.queue.steps
    last = last.model_copy(update={"outputs": (*last.outputs, *more)})
    return replace(loaded, queue=loaded.queue.model_copy(update={"steps": (*steps, last)}))


def _with_context(queue: Queue, index: int, shape: str) -> Step:
    rule = _RULES.get(shape)
    if rule is None:
        rule = tuple(
            ContextEntry.model_validate({"step": step.id, "as": shape})
            for step in queue.steps[:index]
        )
    return queue.steps[index].model_copy(update={"context": rule or "none"})


def _with_settings(queue: Queue, arm: Arm, seed: int) -> Queue:
    steps = []
    for step in queue.steps:
        refine = queue.refine_of(step) if arm.refine else Refine(turns=0, samples=1)
        params = Params(seed=seed).over(arm.params.over(queue.params_of(step)))
        changed = {"refine": refine, "params": params, "model": arm.model or step.model}
        steps.append(step.model_copy(update=changed))
    return queue.model_copy(update={"steps": tuple(steps)})


def _without(loaded: LoadedQueue, omitted: str) -> LoadedQueue:
    queue = loaded.queue
    if omitted == "role":
        return replace(loaded, queue=queue.model_copy(update={"role": None}))
    name, context, earlier = omitted.partition("<")
    if context:
        return replace(loaded, queue=_without_context(queue, name, earlier))
    step, _, bullet = omitted.partition(".")
    return _without_bullet(loaded, step, bullet)


def _without_context(queue: Queue, name: str, earlier: str) -> Queue:
    steps = []
    for step in queue.steps:
        if step.id == name:
            kept = tuple(e for e in queue.context_of(step) if e.step != earlier)
            step = step.model_copy(update={"context": kept or "none"})
        steps.append(step)
    return queue.model_copy(update={"steps": tuple(steps)})


def _without_bullet(loaded: LoadedQueue, name: str, bullet: str) -> LoadedQueue:
    step = next(each for each in loaded.queue.steps if each.id == name)
    index = loaded.queue.steps.index(step)
    if step.template is None:
        shorter = {
            part: without_bullet(text, bullet)
            for part in ("data", "task", "answer_format")
            if (text := getattr(step, part)) is not None
        }
        _refuse_nothing(step, bullet, changed=any(getattr(step, p) != shorter[p] for p in shorter))
        steps = list(loaded.queue.steps)
        steps[index] = step.model_copy(update=shorter)
        return replace(loaded, queue=loaded.queue.model_copy(update={"steps": tuple(steps)}))
    text = without_bullet(loaded.sources[step.template], bullet)
    _refuse_nothing(step, bullet, changed=text != loaded.sources[step.template])
    return with_templates(loaded, {step.template: text})


def _refuse_nothing(step: Step, bullet: str, *, changed: bool) -> None:
    if not changed:
        raise UsageError(
            f"the prompt of {step.id} has no bullet `- {bullet}: …` to leave out; write one for "
            "each requirement, or compare without --ablate"
        )
