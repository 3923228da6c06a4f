"""A run from its plan to its end: the workspace, the run directory, the endpoint, the loop."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import subprocess
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from promptqueue import __version__
from promptqueue.chat.connect import Connection
from promptqueue.chat.endpoints import choose_model
from promptqueue.chat.prices import price_records
from promptqueue.errors import StorageError, UsageError
from promptqueue.queue.render import try_templates
from promptqueue.run.archive import Past, RunArchive, unfinished_into
from promptqueue.run.correction import Correction, check_correction, correct
from promptqueue.run.events import Event, Notice, RunStarted
from promptqueue.run.job import Job
from promptqueue.run.journal import RunDirectory, create_run
from promptqueue.run.judge import Judge, contract_judge, why_not
from promptqueue.run.ledger import Ledger
from promptqueue.run.plan import Plan, fresh_from, named_models
from promptqueue.run.recorder import Recorder
from promptqueue.run.runner import run_queue
from promptqueue.run.workspace import ELSEWHERE, Workspace

Connect = Callable[[Path], AbstractContextManager[Connection]]
"""Opens the endpoint; the argument is where the embedded server may log to."""


def execute(
    plan: Plan,
    connect: Connect,
    *,
    resume: Path | None = None,
    correction: Correction | None = None,
) -> Generator[Event, None, None]:
    """Run a plan and yield what happens; with `resume`, go on with the run in that directory.

    With a `correction`, only its step has one more turn; the steps that depended on it are named
    by `StepsStale`, unless they are to be asked again at once.

    Before anything is asked, every template is rendered once, the workspace is locked and
    found writable, and files that were edited by hand are looked for.

    Raises:
        QueueFileError: a template cannot be rendered.
        UsageError: the step to start from, or to correct, is not one of the queue or the run;
            or nothing can be judged here, although that was asked for.
        StorageError: the workspace or the run directory cannot be used.
        EndpointError, LimitReached: see `run_queue`.
    """
    try_templates(plan.loaded, plan.inputs)
    first_fresh = fresh_from(plan)
    judge, unjudged = _judge(plan)
    directory = RunDirectory(resume, write=True) if resume is not None else None
    workspace = Workspace(plan.out, _manifest_head(plan), overwrite=plan.overwrite)
    name = directory.id if directory else plan.loaded.queue.name
    with contextlib.ExitStack() as stack:
        if judge is not None:
            stack.callback(judge.close)
        if directory is not None:
            stack.callback(directory.close)
        stack.enter_context(workspace.locked(name))
        limits = plan.limits.over(plan.loaded.queue.limits)
        ledger = Ledger(limits, plan.prices, frozenset(plan.limits.given()))
        if directory is not None:
            ledger.fold(directory.records())
            workspace.recognise(Past(directory.id, ledger, directory.blobs).wrote)
        elif _hand_edited(plan, workspace) and (past := unfinished_into(plan.runs, plan.out)):
            workspace.recognise(past.wrote)
        if directory is not None and correction is not None:
            check_correction(plan.loaded.queue, directory, correction)
        _refuse_hand_edited(plan, workspace)
        if directory is None:
            directory = create_run(plan.runs, plan.loaded.queue.name, _meta(plan))
        recorder = Recorder(directory)
        stack.callback(recorder.close)
        stack.enter_context(ledger.keeping_time())
        stack.enter_context(_journaling_failure(recorder))
        yield from _begin(
            plan,
            recorder,
            judged=judge is not None,
            resumed=resume is not None,
            finished=ledger.finished and correction is None,
        )
        yield ledger.spent()
        with connect(directory.path / "server.log") as opened:
            models = _models(plan, opened)
            for message in (*_warnings(plan, models), *unjudged):
                yield recorder.record(Notice(message))
            job = Job(
                loaded=plan.loaded,
                inputs=plan.inputs,
                chat=opened.chat,
                models=models,
                recorder=recorder,
                ledger=ledger,
                workspace=workspace,
                archive=_archive(plan, directory, ledger),
                fresh_from=first_fresh,
                steer=plan.steer,
                judge=judge,
                judged=judge is not None,
            )
            yield from run_queue(job) if correction is None else correct(job, correction)


def _archive(plan: Plan, directory: RunDirectory, ledger: Ledger) -> RunArchive:
    """Return the earlier runs; what another endpoint answered in this one is none of theirs."""
    moved = directory.meta()["endpoint"]["base_url"] != _base_url(plan)
    known = ledger.answers if moved else ()
    return RunArchive(plan.runs, plan.endpoint.shown_url, elsewhere=known)


def _base_url(plan: Plan) -> str | None:
    return plan.endpoint.shown_url if plan.endpoint.profile else None


def _judge(plan: Plan) -> tuple[Judge | None, tuple[str, ...]]:
    """Return who judges the steps, or nobody and why, where a queue has checks.

    Raises:
        UsageError: it was asked for and cannot be done here.
    """
    if plan.verify is False or not (plan.verify or any(s.checks for s in plan.loaded.queue.steps)):
        return None, ()
    missing = why_not(plan.loaded)
    if not missing:
        return contract_judge(plan.loaded, plan.inputs), ()
    if plan.verify:
        raise UsageError(f"{plan.loaded.path} cannot be judged: {missing}")
    return None, (f"the steps are not judged when they land: {missing}",)


def _begin(
    plan: Plan, recorder: Recorder, *, judged: bool, resumed: bool, finished: bool
) -> Iterator[Event]:
    lost = recorder.recover() if resumed else 0
    yield recorder.record(
        RunStarted(
            run=recorder.directory.id,
            path=str(recorder.directory.path),
            queue=str(plan.loaded.path),
            steps=len(plan.loaded.queue.steps),
            endpoint=plan.endpoint.described,
            out=str(plan.out),
            resumed=resumed,
            sources=recorder.directory.keep(json.dumps(plan.loaded.copy())),
            judged=judged,
        )
    )
    if finished:
        text = "this run was finished; only what the queue has changed since then is asked"
        yield recorder.record(Notice(text))
    if lost:
        text = f"{lost:,} characters of an unfinished reply are kept in the run directory"
        yield recorder.record(Notice(text))
    if resumed and recorder.directory.meta()["queue"]["digest"] != plan.loaded.digest:
        text = "the queue was changed since this run began; what it changes is asked again"
        yield recorder.record(Notice(text))


@contextlib.contextmanager
def _journaling_failure(recorder: Recorder) -> Iterator[None]:
    """Note in the journal why a run ends early, whatever the reason."""
    try:
        yield
    except BaseException as error:
        reason = str(error) or "stopped by the user"
        with contextlib.suppress(StorageError, OSError):  # the first error is the one to report
            recorder.interrupted(reason)
        raise


def _models(plan: Plan, connection: Connection) -> dict[str, str]:
    if plan.endpoint.embedded:
        return {step.id: connection.list_models()[0] for step in plan.loaded.queue.steps}
    listed = functools.cache(connection.list_models)  # asked for at most once
    return {
        step.id: choose_model(
            flag=plan.model,
            step=step.model,
            queue=plan.loaded.queue.defaults.model,
            endpoint=plan.endpoint,
            listed=listed,
        )
        for step in plan.loaded.queue.steps
    }


def _warnings(plan: Plan, models: Mapping[str, str]) -> Iterator[str]:
    queue = plan.loaded.queue
    named = {plan.model, queue.defaults.model, *(step.model for step in queue.steps)} - {None}
    if plan.endpoint.embedded and named:
        yield f"the embedded model answers in place of {', '.join(sorted(map(str, named)))}"
    limited = plan.limits.over(queue.limits).usd is not None
    escalated = {queue.refine_of(step).escalate for step in queue.steps} - {None}
    asked = {*models.values(), *map(str, escalated)}
    unpriced = sorted(model for model in asked if model not in plan.prices)
    if limited and unpriced and not plan.endpoint.embedded:
        yield (
            f"the limit usd cannot be held: no price of {', '.join(unpriced)} is known; "
            f'add [prices."{unpriced[0]}"] with input and output to the configuration, or name '
            "a file of prices with --prices"
        )


def _refuse_hand_edited(plan: Plan, workspace: Workspace) -> None:
    edited = _hand_edited(plan, workspace)
    if edited and not plan.overwrite:
        raise StorageError(
            f"{', '.join(str(plan.out / path) for path in edited)}: not as a run left "
            f"{'it' if len(edited) == 1 else 'them'}, and so not overwritten"
            f"{workspace.manifest_problem}; move your version away, {ELSEWHERE}, or give "
            "--overwrite (the run directory then keeps what was there)"
        )


def _hand_edited(plan: Plan, workspace: Workspace) -> list[str]:
    paths = dict.fromkeys(path for step in plan.loaded.queue.steps for path in step.paths())
    return workspace.hand_edited(paths)


def _manifest_head(plan: Plan) -> dict[str, Any]:
    path = os.path.relpath(plan.loaded.path.resolve(), plan.out.resolve())
    queue = plan.loaded.queue
    return {
        "queue": queue.name,
        "queue_file": path,
        "queue_digest": plan.loaded.digest,
        "inputs": dict(plan.inputs),
    }


def _meta(plan: Plan) -> dict[str, Any]:
    profile = plan.endpoint.profile
    return {
        "promptqueue": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "queue": {
            "name": plan.loaded.queue.name,
            "path": str(plan.loaded.path.resolve()),
            "digest": plan.loaded.digest,
        },
        "inputs": dict(plan.inputs),
        "out": str(plan.out.resolve()),
        "endpoint": {
            "name": plan.endpoint.name,
            "base_url": _base_url(plan),
            "api_key_env": profile.api_key_env if profile else None,
        },
        "model": plan.model,
        "fresh": plan.fresh,
        "from": plan.start,
        "verify": plan.verify,
        "limits": plan.limits.given(),
        "prices": price_records(plan.prices, named_models(plan).values()),
        "versions": {
            "promptqueue": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
        },
        "git": _git_revision(plan.loaded.path.resolve().parent),
    }


def _git_revision(folder: Path) -> str | None:
    """Return the revision of the repository that the queue file lies in, `-dirty` if edited."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
