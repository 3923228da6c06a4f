"""One question of a run: answered from the journal, from an earlier run, or by the model."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from promptqueue.chat.message import Answered, Reply, Request
from promptqueue.chat.quirks import estimate_prompt
from promptqueue.errors import StorageError
from promptqueue.queue.model import Step
from promptqueue.run.archive import Past
from promptqueue.run.events import CallStarted, Event
from promptqueue.run.job import Job
from promptqueue.run.records import reply_from
from promptqueue.run.spending import ask_within_limits


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
    reply = _known_reply(past, key) if past is not None else None
    if past is not None and reply is not None:
        started = _started(job, step, turn, request, reused=True, origin=past.run)
        yield job.recorder.record(started)
        job.recorder.copy_answer(reply, past.run)
        return reply
    return (yield from _ask_model(job, step, turn, request))


def _known_reply(past: Past, key: str) -> Reply | None:
    """Return what an earlier run was answered, unless it is lost: then the model is asked."""
    try:
        return reply_from(past.ledger.answers[key], past.blobs)
    except (KeyError, StorageError):
        return None


def _ask_model(job: Job, step: Step, turn: int, request: Request) -> Generator[Event, None, Reply]:
    started = _started(job, step, turn, request)
    yield job.recorder.record(started)
    asking = ask_within_limits(
        job.chat, request, started.tokens, ledger=job.ledger, recorder=job.recorder
    )
    reply: Reply | None = None
    with contextlib.closing(asking) as events:
        for event in events:
            yield event
            if isinstance(event, Answered):
                reply = event.reply
    assert reply is not None, "a chat ended without an answer and without an error"
    return reply


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
        tokens=estimate_prompt(request.messages),
        reused=reused,
        origin=origin,
    )
