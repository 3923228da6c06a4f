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
from promptqueue.run.judging import is_red

_GAP = 0.2
"""Difference of two pass rates that is worth a warning."""


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
            yield job.recorder.record(
                _skip(job, step, f"{job.incomplete[0]} did not bring its files: {error}")
            )
            continue
        if job.stopped:
            yield job.recorder.record(_skip(job, step, f"{job.stopped} is red and stops on it"))
            continue
        yield from run_step(job, step, number, messages)
        if job.loaded.queue.refine_of(step).on_red == "stop" and is_red(job, step):
            job.stopped = step.id
    if last is None:
        yield job.recorder.record(_finished(job))


def stale_steps(
    job: Job, steps: Sequence[Step], asked: Mapping[str, str], kept: Mapping[str, StepResult]
) -> tuple[str, ...]:
    """Return those of `steps` whose prompt is not any more what was asked.

    A step that depends on a stale one is stale as well: a stand-in takes the place of its
    result, and shows in the prompts that use it.

    Args:
        job: with the results of the steps before.
        steps: in the order of the queue.
        asked: step id to the digest of the messages that it was asked with.
        kept: step id to the result that it has left behind.
    """
    results, stale = dict(job.results), []
    for step in steps:
        prompt = ""
        if step.id in asked:  # another one may build on what was not brought
            messages = render_step(job.loaded, step, job.inputs, results)
            if digest_of(messages) == asked[step.id]:
                results[step.id] = kept.get(step.id, StepResult(step.id, ()))
                continue
            prompt = messages[-1].content
            stale.append(step.id)
        results[step.id] = placeholder(step, prompt)
    return tuple(stale)


def _skip(job: Job, step: Step, why: str) -> StepFinished:
    """Give up a step that builds on what an earlier one did not bring."""
    job.incomplete.append(step.id)
    job.results[step.id] = StepResult(step.id, ())
    issue = f"{step.id}: not asked, because {why}"
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
        met=tuple(name for name, met in job.verdicts.items() if met),
        unmet=tuple(name for name, met in job.verdicts.items() if not met),
        faults=tuple(told for faults in job.faults.values() for told in faults),
        gap=_gap(job),
    )


def _gap(job: Job) -> str:
    """Say so where the hidden checks pass much less often than those that the model is told of."""
    passed, of = (sum(each.hidden[n] for each in job.checks) for n in (0, 1))
    seen, seen_of = (sum(each.visible[n] for each in job.checks) for n in (0, 1))
    if not of or not seen_of or seen / seen_of - passed / of <= _GAP:
        return ""
    return (
        f"{seen} of {seen_of} visible checks pass, and only {passed} of {of} hidden ones: "
        "the code may have been written for the checks; read it"
    )
