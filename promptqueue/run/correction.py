"""One more turn of a step that was answered already, in the user's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from promptqueue.errors import UsageError
from promptqueue.queue.model import Queue
from promptqueue.run.events import Event, StepsStale, StepSteered
from promptqueue.run.history import (
    last_question,
    models_asked,
    prompts_asked,
    stale_since_correction,
    step_results,
)
from promptqueue.run.job import Job
from promptqueue.run.journal import RunDirectory
from promptqueue.run.plan import number_of
from promptqueue.run.runner import run_queue, stale_steps


@dataclass(frozen=True, slots=True)
class Correction:
    """One more turn of a step that a run has an answer of."""

    step: str
    text: str
    """What is wanted, in the user's words."""
    rerun: bool = False
    """Ask the steps that depend on it again as well."""


def correct(job: Job, correction: Correction) -> Iterator[Event]:
    """Give one step another turn, and see what depends on it.

    The steps before come from the journal, with all that was found out about them.
    """
    directory, queue = job.recorder.directory, job.loaded.queue
    number = number_of(queue, correction.step)
    asked, models = prompts_asked(directory), models_asked(directory)
    kept = step_results(queue, directory)
    before = {step.id for step in queue.steps[: number - 1]} & models.keys()
    job.models = {**job.models, **{name: models[name] for name in before}}
    question = last_question(directory, correction.step)
    text = directory.keep(correction.text)
    job.ledger.decisions[question.key] = ("correct", text)
    yield job.recorder.record(
        StepSteered(correction.step, question.turn, question.key, "correct", text)
    )
    later = queue.steps[number:]
    yield from run_queue(job, last=number)
    stale = stale_steps(job, later, asked, kept)
    open_steps = [step for step in later if step.id not in asked]
    if correction.rerun or not (stale or open_steps):
        yield from run_queue(job, first=number + 1)
        return
    yield job.recorder.record(StepsStale(directory.id, correction.step, stale))


def check_correction(queue: Queue, directory: RunDirectory, correction: Correction) -> None:
    """Refuse a correction that the run is not ready for.

    Raises:
        UsageError: the queue has no such step, or the run no answer of it that holds.
    """
    number = number_of(queue, correction.step)
    stale = stale_since_correction(directory)
    old = [step.id for step in queue.steps[:number] if step.id in stale]
    if correction.step in step_results(queue, directory) and not old:
        return
    why = (
        f"has asked the step {old[0]!r} with what an earlier one has changed since"
        if old
        else f"has no answer of the step {correction.step!r} yet"
    )
    raise UsageError(f"the run {directory.id} {why}; {directory.way_on} first")
