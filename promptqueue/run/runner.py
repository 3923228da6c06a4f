"""The one loop: each step is rendered, asked, searched for its files, and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from promptqueue.chat.message import Usage
from promptqueue.errors import QueueFileError
from promptqueue.queue.model import Step, StepResult
from promptqueue.queue.render import digest_of, placeholder, render_step
from promptqueue.run.conversation import run_step
from promptqueue.run.events import Event, RunFinished, StepFinished
from promptqueue.run.job import Job


def run_queue(job: Job, *, first: int = 1, last: int | None = None) -> Iterator[Event]:
    """Run every step in order and yield what happens; the last event is `RunFinished`.

    Answers that the journal has already are taken from there. However the run ends, it can be
    resumed, and nothing that was paid for is asked again.

    Args:
        job: with the results of the steps before `first`.
        first: number of the first step to run, from 1.
        last: number of the last one; the run then ends without `RunFinished`.

    Raises:
        EndpointError: the model could not be asked.
        LimitReached: a limit of the queue would be passed.
        StorageError: the run directory or the workspace cannot be written.
    """
    steps = list(enumerate(job.loaded.queue.steps, 1))
    for number, step in steps[first - 1 : last]:
        try:
            messages = render_step(job.loaded, step, job.inputs, job.results)
        except QueueFileError as error:
            if not job.incomplete:
                raise
            yield job.recorder.record(_skip(job, step, error))
            continue
        yield from run_step(job, step, number, messages)
    if last is None:
        yield job.recorder.record(_finished(job))


def stale_steps(job: Job, steps: Sequence[Step], asked: Mapping[str, str]) -> tuple[str, ...]:
    """Return those of `steps` whose prompt is not any more what was asked.

    A step that depends on a stale one is stale as well: a stand-in takes the place of its
    result, and shows in the prompts that use it.

    Args:
        job: with the results of the steps before.
        steps: in the order of the queue.
        asked: step id to the digest of the messages that it was asked with.
    """
    results, stale = dict(job.results), []
    for step in steps:
        messages = render_step(job.loaded, step, job.inputs, results)
        if step.id in asked and digest_of(messages) == asked[step.id]:
            continue
        results[step.id] = placeholder(step, messages[-1].content)
        if step.id in asked:
            stale.append(step.id)
    return tuple(stale)


def _skip(job: Job, step: Step, error: QueueFileError) -> StepFinished:
    """Give up a step whose prompt needs what an earlier step did not bring."""
    job.incomplete.append(step.id)
    job.results[step.id] = StepResult(step.id, ())
    issue = f"{step.id}: not asked, because {job.incomplete[0]} did not bring its files: {error}"
    return StepFinished(step.id, False, (), (issue,), Usage(0, 0), 0.0, 0)


def _finished(job: Job) -> RunFinished:
    ledger = job.ledger
    return RunFinished(
        run=job.recorder.directory.id,
        complete=not job.incomplete,
        files=tuple(job.written.values()),
        incomplete=tuple(job.incomplete),
        aside=tuple(job.aside),
        usage=ledger.usage,
        usd=None if ledger.unpriced else ledger.usd,
        calls=ledger.calls,
        seconds=ledger.seconds(),
    )
