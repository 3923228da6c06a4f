"""The one loop: each step is rendered, asked, searched for its files, and written."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field

from promptqueue.chat.message import (
    Answered,
    AttemptFailed,
    AttemptStarted,
    Chat,
    Message,
    Params,
    Reply,
    Request,
    Usage,
)
from promptqueue.chat.quirks import estimate_tokens
from promptqueue.errors import QueueFileError, StorageError
from promptqueue.queue.inputs import Value
from promptqueue.queue.load import LoadedQueue
from promptqueue.queue.model import Step, StepResult, Turn
from promptqueue.queue.render import digest_of, render_step
from promptqueue.run.events import (
    CallStarted,
    Event,
    Extracted,
    FileWritten,
    Refining,
    RunFinished,
    StepFinished,
    StepStarted,
)
from promptqueue.run.extract import Extraction, Issue, extract_modules
from promptqueue.run.ledger import Ledger, reply_from
from promptqueue.run.recorder import Recorder
from promptqueue.run.refine import Board, refinement_prompt
from promptqueue.run.stored import StoredFiles, StoredTurns
from promptqueue.run.workspace import Workspace

_MESSAGE_TOKENS = 4
"""About what a chat template adds to every message."""


@dataclass(slots=True)
class Job:
    """Everything that one run works with, and what it has brought so far."""

    loaded: LoadedQueue
    inputs: Mapping[str, Value]
    chat: Chat
    models: Mapping[str, str]
    """Step id to model."""
    recorder: Recorder
    ledger: Ledger
    workspace: Workspace
    results: dict[str, StepResult] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """Digest of the latest usable text of every file."""
    written: dict[str, str] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)


def run_queue(job: Job) -> Iterator[Event]:
    """Run every step in order and yield what happens; the last event is `RunFinished`.

    Answers that the journal has already are taken from there. However the run ends, it can be
    resumed, and nothing that was paid for is asked again.

    Raises:
        EndpointError: the model could not be asked.
        LimitReached: a limit of the queue would be passed.
        StorageError: the run directory or the workspace cannot be written.
    """
    for number, step in enumerate(job.loaded.queue.steps, 1):
        try:
            first = render_step(job.loaded, step, job.inputs, job.results)
        except QueueFileError as error:
            if not job.incomplete:
                raise
            yield job.recorder.record(_skip(job, step, error))
            continue
        yield from _run_step(job, step, number, first)
    yield job.recorder.record(_finished(job))


def _skip(job: Job, step: Step, error: QueueFileError) -> StepFinished:
    """Give up a step whose prompt needs what an earlier step did not bring."""
    job.incomplete.append(step.id)
    job.results[step.id] = StepResult(step.id, ())
    issue = f"{step.id}: not asked, because {job.incomplete[0]} did not bring its files: {error}"
    return StepFinished(step.id, False, (), (issue,), Usage(0, 0), 0.0, 0)


def _run_step(
    job: Job, step: Step, number: int, first: tuple[Message, ...]
) -> Generator[Event, None, None]:
    of = len(job.loaded.queue.steps)
    yield job.recorder.record(
        StepStarted(step.id, number, of, step.title or step.id, digest_of(first))
    )
    blobs = job.recorder.directory.blobs
    earlier = {path: blobs.get(job.files[path]) for path in step.paths() if path in job.files}
    board = Board(step.outputs, earlier)
    totals = _Totals()
    turns: list[Turn] = []
    messages, sample = first, 0
    last_turn = job.loaded.queue.refine_of(step).turns
    for turn in range(last_turn + 1):
        request = _request(job, step, messages, sample)
        reply = yield from _ask(job, step, turn, request)
        totals.add(reply)
        turns.append(Turn(messages[-1].content, reply.text))
        extraction = _extract(step, board, reply)
        yield job.recorder.record(_extracted(step, turn, extraction))
        for path in board.take(extraction):
            if board.best[path].rank > 1:
                yield from _write(job, step, path, board.best[path].text, turn)
        job.workspace.save()
        if not board.open_paths() or turn == last_turn:
            break
        reasons = board.open_issues(extraction)
        fresh = board.starts_afresh(reply.text)
        yield job.recorder.record(
            Refining(step.id, turn + 1, tuple(issue.message for issue in reasons), fresh)
        )
        if fresh:
            messages, sample, turns = first, sample + 1, []
        else:
            wanted = [output for output in step.outputs if output.path in board.open_paths()]
            prompt = refinement_prompt(reasons, wanted)
            messages = (*messages, Message("assistant", reply.text), Message("user", prompt))
    yield from _finish_step(job, step, board, totals, turns, extraction)


@dataclass(slots=True)
class _Totals:
    usage: Usage = field(default_factory=lambda: Usage(0, 0))
    seconds: float = 0.0
    turns: int = 0

    def add(self, reply: Reply) -> None:
        self.usage += reply.usage
        self.seconds += reply.seconds
        self.turns += 1


def _finish_step(
    job: Job, step: Step, board: Board, totals: _Totals, turns: list[Turn], latest: Extraction
) -> Generator[Event, None, None]:
    for path in step.paths():
        best = board.best.get(path)
        if best is not None and best.rank <= 1 and board.writable(path):
            yield from _write(job, step, path, best.text, totals.turns - 1)
    job.workspace.save()
    job.results[step.id] = _stored(job, step, board, turns)
    complete = board.complete()
    if not complete:
        job.incomplete.append(step.id)
    issues = () if not board.open_paths() else board.open_issues(latest)
    yield job.recorder.record(
        StepFinished(
            step=step.id,
            complete=complete,
            files=tuple(job.written[path] for path in step.paths() if path in job.written),
            issues=tuple(_named(issue, step) for issue in issues),
            usage=totals.usage,
            seconds=totals.seconds,
            turns=totals.turns,
        )
    )


def _named(issue: Issue, step: Step) -> str:
    if issue.path and issue.path in issue.message:
        return issue.message
    return f"{issue.path or step.id}: {issue.message}"


def _stored(job: Job, step: Step, board: Board, turns: list[Turn]) -> StepResult:
    directory = job.recorder.directory
    texts = [(directory.keep(turn.prompt), directory.keep(turn.reply)) for turn in turns]
    found = board.texts()
    files = {path: directory.keep(found[path]) for path in step.paths() if path in found}
    blobs = directory.blobs
    return StepResult(step.id, StoredTurns(blobs, texts), StoredFiles(blobs, files))


def _request(job: Job, step: Step, messages: tuple[Message, ...], sample: int) -> Request:
    params = job.loaded.queue.params_of(step)
    if sample and params.seed is not None:  # another sample needs another seed to be one
        params = Params(seed=params.seed + sample).over(params)
    return Request(messages, job.models[step.id], params, sample)


def _ask(job: Job, step: Step, turn: int, request: Request) -> Generator[Event, None, Reply]:
    started = _call_started(job, step, turn, request)
    yield job.recorder.record(started)
    if started.reused:
        return reply_from(job.ledger.answers[started.key], job.recorder.directory.blobs)
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


def _call_started(job: Job, step: Step, turn: int, request: Request) -> CallStarted:
    key = request.key()
    keep = job.recorder.directory.keep
    return CallStarted(
        step=step.id,
        turn=turn,
        key=key,
        model=request.model,
        params=request.params.given() | dict(request.params.extra),
        sample=request.sample,
        messages=tuple((m.role, keep(m.content)) for m in request.messages),
        tokens=sum(estimate_tokens(m.content) + _MESSAGE_TOKENS for m in request.messages),
        reused=key in job.ledger.answers,
    )


def _extract(step: Step, board: Board, reply: Reply) -> Extraction:
    return extract_modules(
        reply.text, step.outputs, previous=board.texts(), finish_reason=reply.finish_reason
    )


def _extracted(step: Step, turn: int, extraction: Extraction) -> Extracted:
    issues = tuple(f"{issue.kind}: {issue.message}" for issue in extraction.issues)
    return Extracted(step.id, turn, tuple(extraction.modules), issues)


def _write(job: Job, step: Step, path: str, text: str, turn: int) -> Generator[Event, None, None]:
    old = job.workspace.read(path) if job.workspace.hand_edited([path]) else None
    blob = job.recorder.directory.keep(old) if old is not None else ""
    origin = {"step": step.id, "turn": turn, "run": job.recorder.directory.id}
    target, status = job.workspace.write(path, text, origin)
    digest = job.files[path] = job.recorder.directory.keep(text)
    job.written[path] = str(target)
    if status == "aside" and str(target) not in job.aside:
        job.aside.append(str(target))
    yield job.recorder.record(
        FileWritten(
            step=step.id,
            path=path,
            target=str(target),
            digest=digest,
            lines=len(text.splitlines()),
            status=status,
            old=blob if status == "replaced" else "",
        )
    )


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
