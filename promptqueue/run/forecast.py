"""What a run would ask, before it asks: which steps, about how many tokens, time and money."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from promptqueue.chat.message import Message
from promptqueue.chat.quirks import estimate_prompt
from promptqueue.errors import StorageError
from promptqueue.queue.model import Queue, Step, StepResult, Turn
from promptqueue.queue.render import placeholder, render_step
from promptqueue.run.archive import RunArchive
from promptqueue.run.history import models_asked, result_of, step_results
from promptqueue.run.job import request_of
from promptqueue.run.journal import RunDirectory
from promptqueue.run.plan import Plan, fresh_from, named_models


@dataclass(frozen=True, slots=True)
class Forecast:
    """One step of a run that has not begun."""

    step: str
    number: int
    title: str
    reason: str
    """Why it is asked, or which run answers it."""
    asked: bool
    model: str = ""
    prompt_tokens: int = 0
    """Estimated from characters; of earlier replies as they were last time."""
    reply_tokens: int | None = None
    """As last time; None when the step has never been answered."""
    cap: int | None = None
    """The most that the reply may have."""
    seconds: float | None = None
    """As last time."""
    usd: float | None = None
    """At the known prices, with the cap where no reply is known."""


@dataclass(frozen=True, slots=True)
class _Cost:
    tokens: int
    seconds: float


def forecast(plan: Plan) -> list[Forecast]:
    """Say for every step of a new run whether it would be asked, and what that would take.

    Raises:
        QueueFileError: a template cannot be rendered.
        UsageError: the step to start from is not one of the queue.
    """
    archive = RunArchive(plan.runs, plan.endpoint.shown_url)
    latest = _latest(plan)
    before = models_asked(latest) if latest else {}
    costs = _costs(latest) if latest else {}
    guesses = step_results(plan.loaded.queue, latest) if latest else {}
    models = {**before, **named_models(plan)}  # what no one names is as it was last time
    first_fresh = fresh_from(plan)
    known: dict[str, StepResult] = {}
    unknown: set[str] = set()
    told = []
    for number, step in enumerate(plan.loaded.queue.steps, 1):
        model = models.get(step.id, "")
        messages = render_step(plan.loaded, step, plan.inputs, known)
        waits_for = _waits_for(plan, step, known, unknown, messages)
        forced = first_fresh is not None and number >= first_fresh
        key = request_of(plan.loaded.queue, step, model, messages).key()
        past = None if waits_for or forced else archive.find(key)
        title = step.title or step.id
        result = result_of(RunDirectory(plan.runs / past.run), key) if past else None
        if past is not None and result is not None:
            told.append(Forecast(step.id, number, title, f"answered by {past.run}", False))
            known[step.id] = _as_left(step, result, known)
            continue
        reason = _reason(forced, waits_for, seen=step.id in guesses)
        unknown.add(step.id)
        known[step.id] = guesses.get(step.id) or placeholder(step, messages[-1].content)
        told.append(_asked(plan, step, number, reason, model, messages, costs.get(step.id)))
    return told


def _reason(forced: bool, waits_for: str, *, seen: bool) -> str:
    if forced:
        return "as you said"
    if waits_for:
        return f"it depends on {waits_for}"
    return "it was asked otherwise before" if seen else "no run has answered it"


def _asked(
    plan: Plan,
    step: Step,
    number: int,
    reason: str,
    model: str,
    messages: tuple[Message, ...],
    cost: _Cost | None,
) -> Forecast:
    cap = plan.loaded.queue.params_of(step).max_tokens
    prompt = estimate_prompt(messages)
    reply = cost.tokens if cost else None
    price = plan.prices.get(model)
    most = reply if reply is not None else cap
    return Forecast(
        step=step.id,
        number=number,
        title=step.title or step.id,
        reason=reason,
        asked=True,
        model=model,
        prompt_tokens=prompt,
        reply_tokens=reply,
        cap=cap,
        seconds=cost.seconds if cost else None,
        usd=price.of(prompt, most, 0) if price is not None and most is not None else None,
    )


def _waits_for(
    plan: Plan,
    step: Step,
    known: Mapping[str, StepResult],
    unknown: set[str],
    messages: tuple[Message, ...],
) -> str:
    """Return the first step whose new reply this step's prompt will hold, or nothing."""
    context = [entry.step for entry in plan.loaded.queue.context_of(step)]
    for name in known:
        if name not in unknown:
            continue
        other = _altered(plan.loaded.queue, known, name)
        if name in context or render_step(plan.loaded, step, plan.inputs, other) != messages:
            return name
    return ""


def _as_left(step: Step, result: StepResult, known: Mapping[str, StepResult]) -> StepResult:
    """Return a result as a run keeps it: a file that the step did not write is as it was before."""
    versions: dict[str, str] = {}
    for each in (*known.values(), result):
        versions |= {path: each.files[path] for path in step.paths() if path in each.files}
    files = {path: versions[path] for path in step.paths() if path in versions}
    return StepResult(step.id, result.turns, files)


def _altered(queue: Queue, known: Mapping[str, StepResult], name: str) -> dict[str, StepResult]:
    """Return the results if one differed in everything that a template can see.

    Its files live on in those of later steps that left them as they were, or amended them.
    """
    names, altered, living = [*known], dict(known), {**known[name].files}
    for step in queue.steps[names.index(name) : len(names)]:
        files = {**known[step.id].files}
        for output in step.outputs:
            was, text = living.pop(output.path, None), files.get(output.path)
            if was is not None and text is not None and (output.parts or text == was):
                living[output.path] = text
                files[output.path] = f"{text}\nanother = 1\n"
        altered[step.id] = replace(known[step.id], files=files)
    altered[name] = replace(altered[name], turns=(Turn("another prompt", "another reply"),))
    return altered


def _latest(plan: Plan) -> RunDirectory | None:
    """Return the latest run of the queue that can be read."""
    name = plan.loaded.queue.name
    for path in sorted(plan.runs.glob(f"*-{name}-*"), reverse=True):
        with contextlib.suppress(StorageError):
            directory = RunDirectory(path)
            if directory.meta()["queue"]["name"] == name and models_asked(directory):
                return directory
    return None


def _costs(directory: RunDirectory) -> dict[str, _Cost]:
    """Return what each step took last time, earlier runs' answers included."""
    records = [r for r in directory.records() if r["event"] == "step.finished"]
    return {
        record["step"]: _Cost(record["usage"]["completion"], record["seconds"])
        for record in records
        if record["turns"]
    }
