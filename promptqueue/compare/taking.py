"""Takes one sample: runs its arm, or goes on with that run, and judges what it brought."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from promptqueue.chat.config import Price
from promptqueue.chat.connect import Connection
from promptqueue.chat.endpoints import Endpoint
from promptqueue.chat.failure import Failure
from promptqueue.compare.arms import Arm
from promptqueue.compare.sample import (
    Sample,
    Spending,
    models_of,
    notes_of,
    replies_of,
    spending_of,
)
from promptqueue.compare.variants import variant, with_files_of
from promptqueue.errors import EndpointError, LimitReached
from promptqueue.queue.inputs import Value, known_inputs
from promptqueue.queue.load import LoadedQueue
from promptqueue.run.events import Event
from promptqueue.run.journal import Record, RunDirectory
from promptqueue.run.past import last_record
from promptqueue.run.plan import Plan
from promptqueue.run.pool import PLACES
from promptqueue.run.session import execute

Tell = Callable[[Event], None]
_TRIES = 2
"""A check that breaks may have met a machine that was busy, which says nothing of the code."""
_CAP = "max_tokens"
_OWN_FAILURES = frozenset(
    {Failure.CONTEXT_OVERFLOW, Failure.CONTEXT_TRUNCATED, Failure.EMPTY, Failure.FILTERED}
)
"""Those that come of what was asked; without them, an arm would be judged by its survivors."""


@dataclass(frozen=True, slots=True)
class Task:
    """A sample that is to be taken."""

    arm: Arm
    number: int
    """From 1."""
    place: Path
    loaded: LoadedQueue
    """The queue of the arm, as its file has it."""
    judge: LoadedQueue | None = None
    """The queue whose contract judges the code, where that is another one."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What all samples of a comparison have in common."""

    inputs: Mapping[str, Value]
    endpoint: Endpoint
    prices: Mapping[str, Price]
    model: str | None
    """Named by an option, for every step."""
    contract: str
    """Digest of the checks."""
    requirements: tuple[str, ...]
    """Those that are compared; the queue of an arm may have more."""

    def inputs_of(self, loaded: LoadedQueue) -> Mapping[str, Value]:
        """Return the inputs of an arm's queue: what it has beyond the others has its default."""
        return known_inputs(self.inputs, loaded.queue)


@dataclass(frozen=True, slots=True)
class Ran:
    """What asking came to, before anything is judged."""

    run: str
    complete: bool
    spending: Spending
    models: tuple[str, ...]
    replies: str
    notes: tuple[str, ...]
    stopped: str = ""


def ask(task: Task, terms: Terms, connection: Connection, tell: Tell = lambda _: None) -> Ran:
    """Run the arm, or go on with its run: what was answered is not asked again.

    Raises:
        EndpointError: it failed, and not because of what was asked.
        StorageError, UsageError: see `promptqueue.run.session.execute`.
    """
    ran = asked_before(task, terms)
    if ran is not None:
        return ran
    inputs = terms.inputs_of(task.loaded)
    plan = Plan(
        loaded=variant(task.loaded, task.arm, inputs, seed=seed_of(task)),
        inputs=inputs,
        endpoint=terms.endpoint,
        out=task.place / "code",
        runs=task.place / "runs",
        model=task.arm.model or terms.model,
        prices=terms.prices,
        verify=task.arm.refine,
    )
    begun, stopped = _run_of(task.place), ""
    events = execute(plan, lambda _: contextlib.nullcontext(connection), resume=begun)
    try:
        with contextlib.closing(events):
            for event in events:
                tell(event)
    except LimitReached as error:
        stopped = str(error).partition(";")[0]
    except EndpointError:
        ran = asked_before(task, terms)
        if ran is None:
            raise
        return ran
    path = _run_of(task.place)
    assert path is not None
    return _ran(path, terms, stopped)


def asked_before(task: Task, terms: Terms) -> Ran | None:
    """Return what a run came to that has ended before, where only the verdict is missing."""
    path = _run_of(task.place)
    if path is None:
        return None
    if _end_of(path).get("event") == "run.finished":
        return _ran(path, terms)
    failure = _own_failure(path, task.arm)
    return _ran(path, terms, failure) if failure else None


def spent_on(task: Task, terms: Terms) -> Spending | None:
    """Return what the run of a sample has taken so far, however it stands."""
    path = _run_of(task.place)
    return spending_of(_records_of(path), terms.prices) if path is not None else None


def _ran(path: Path, terms: Terms, stopped: str = "") -> Ran:
    records = _records_of(path)
    return Ran(
        run=path.name,
        complete=bool(_end_of(path).get("complete")),
        spending=spending_of(records, terms.prices),
        models=models_of(records),
        replies=replies_of(records),
        notes=notes_of(records),
        stopped=stopped,
    )


def judge(task: Task, terms: Terms, ran: Ran) -> Sample:
    """Judge what a run brought by the whole contract of the queue that is compared.

    Raises:
        IsolationError, UsageError, StorageError: see `promptqueue.verify.gates.verify`.
    """
    from promptqueue.verify.contract import Selection
    from promptqueue.verify.gates import verify

    code = task.place / "code"
    code.mkdir(exist_ok=True)
    selection = Selection(gates=("contract",))
    loaded = with_files_of(task.judge, task.loaded) if task.judge else task.loaded
    inputs = terms.inputs_of(loaded)
    for _ in range(_TRIES):
        with PLACES:
            report = verify(loaded, code, selection=selection, inputs=inputs)
        verdicts = {each.id: each.verdict for each in report.requirements}
        errors = tuple(name for name in terms.requirements if verdicts[name] == "error")
        if not errors:
            break
    return Sample(
        arm=task.arm.name,
        number=task.number,
        run=ran.run,
        complete=ran.complete,
        spending=ran.spending,
        met=tuple(name for name in terms.requirements if verdicts[name] == "met"),
        unmet=tuple(name for name in terms.requirements if verdicts[name] != "met"),
        errors=errors,
        stopped=ran.stopped,
        contract=terms.contract,
        seed=report.seed,
        models=ran.models,
        replies=ran.replies,
        unjudged=tuple(name for name in terms.requirements if verdicts[name] == "not verified"),
        notes=ran.notes,
    )


def seed_of(task: Task) -> int:
    """Return the sampling seed of a sample: no two of a comparison have the same."""
    return int(task.arm.key(["seed", task.number])[:7], 16)


def _run_of(place: Path) -> Path | None:
    """Return the run of a sample; it has one at most."""
    found = sorted(path.parent for path in (place / "runs").glob("*/run.json"))
    return found[-1] if found else None


def _own_failure(path: Path, arm: Arm) -> str:
    """Return why a run stopped, where that comes of what was asked; else an empty text."""
    if _end_of(path).get("event") != "run.interrupted":
        return ""
    records = _records_of(path)
    failed = records[-2]
    if failed["event"] != "call.failed" or failed["failure"] not in _OWN_FAILURES:
        return ""
    told = f"{failed['failure'].replace('_', ' ')}: {failed['message']}"
    cap = next(r for r in reversed(records) if r["event"] == "call.started")["params"].get(_CAP)
    if failed["failure"] == Failure.CONTEXT_OVERFLOW and cap:  # servers count prompt and cap
        told += f" (asked with {_CAP} {cap}; a smaller one may fit: {arm.name},{_CAP}=N)"
    return told


def _records_of(path: Path) -> list[Record]:
    return list(RunDirectory(path).records())


def _end_of(path: Path) -> Record:
    return last_record(str(RunDirectory(path).journal_path))
