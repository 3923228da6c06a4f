"""One question of a run: answered from the journal, from an earlier run, or by the model."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator

from promptqueue.chat.message import Answered, AttemptFailed, AttemptStarted, Reply, Request
from promptqueue.chat.quirks import estimate_tokens
from promptqueue.errors import StorageError
from promptqueue.queue.model import Step
from promptqueue.run.archive import Past
from promptqueue.run.events import CallStarted, Event
from promptqueue.run.job import Job
from promptqueue.run.ledger import reply_from

_MESSAGE_TOKENS = 4
"""About what a chat template adds to every message."""


def ask(
    job: Job, step: Step, turn: int, request: Request, past: Past | None
) -> Generator[Event, None, Reply]:
    """Get the reply to a request; what was paid for once is not asked again.

    Raises:
        EndpointError, LimitReached, StorageError: see `run_queue`.
    """
    key = request.key()
    if key in job.ledger.answers:
        yield job.recorder.record(_started(job, step, turn, request, reused=True))
        return reply_from(job.ledger.answers[key], job.recorder.directory.blobs)
    if past is not None and key in past.ledger.answers:
        reply = reply_from(past.ledger.answers[key], past.blobs)
        started = _started(job, step, turn, request, reused=True, origin=past.run)
        yield job.recorder.record(started)
        job.recorder.copy_answer(reply, past.run)
        return reply
    return (yield from _ask_model(job, step, turn, request))


def _ask_model(job: Job, step: Step, turn: int, request: Request) -> Generator[Event, None, Reply]:
    started = _started(job, step, turn, request)
    yield job.recorder.record(started)
    with contextlib.closing(_closable(job.chat.ask(request))) as events:
        for event in events:
            if isinstance(event, AttemptStarted):
                _check_before_call(job, request, started.tokens)
                job.ledger.calls += 1
            elif isinstance(event, AttemptFailed) and event.usage is not None:
                job.ledger.add(request.model, event.usage)
            elif isinstance(event, Answered):
                job.ledger.add(request.model, event.reply.usage)
            yield job.recorder.record(event)
            if isinstance(event, Answered):
                return event.reply
    raise AssertionError("a chat ended without an answer and without an error")


def _closable(events: Iterator[Event]) -> Generator[Event, None, None]:
    """Make sure that leaving the loop early closes the connection."""
    yield from events


def _check_before_call(job: Job, request: Request, tokens: int) -> None:
    if job.recorder.directory.disk_is_full:
        raise StorageError(
            f"the disk of {job.recorder.directory.path} is full; everything so far is kept; "
            "free some space and go on with `promptqueue resume`"
        )
    job.ledger.check_limits(request, tokens)


def _started(
    job: Job, step: Step, turn: int, request: Request, *, reused: bool = False, origin: str = ""
) -> CallStarted:
    keep = job.recorder.directory.keep
    return CallStarted(
        step=step.id,
        turn=turn,
        key=request.key(),
        model=request.model,
        params=request.params.given() | dict(request.params.extra),
        sample=request.sample,
        messages=tuple((m.role, keep(m.content)) for m in request.messages),
        tokens=sum(estimate_tokens(m.content) + _MESSAGE_TOKENS for m in request.messages),
        reused=reused,
        origin=origin,
    )
