"""Conducts a comparison: what is missing is asked for and judged, until all samples are there."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from promptqueue.chat.connect import Connection
from promptqueue.compare.allowance import Allowance
from promptqueue.compare.arms import Arm
from promptqueue.compare.design import Design
from promptqueue.compare.executors import Executor, Outcome, at_once, one_by_one
from promptqueue.compare.sample import Sample
from promptqueue.compare.taking import Ran, Task, Terms, ask, asked_before, judge
from promptqueue.compare.throttle import Throttle, ThrottledChat
from promptqueue.errors import EndpointError, LimitReached, UsageError
from promptqueue.run.events import Event

_GIVE_UP = 3
"""Samples in a row that the endpoint failed: it is not there, and the rest would fail as well."""

Connect = Callable[[Path], contextlib.AbstractContextManager[Connection]]
"""Opens the endpoint; the argument is where an embedded server may log to."""
Tell = Callable[[Task, Event], None]
"""Hears what happens in each run, from whatever thread."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A sample is there."""

    sample: Sample
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Missed:
    """A sample could not be taken; the next start tries it again."""

    task: Task
    why: str


def conduct(
    design: Design, connect: Connect, *, most: int, tell: Tell
) -> Generator[Taken | Missed, None, None]:
    """Take the samples that are missing, here, and yield each.

    Args:
        design: what is compared.
        connect: opens the endpoint.
        most: conversations at once; 1 for the embedded model.
        tell: hears what happens.

    Raises:
        EndpointError: it failed several samples in a row.
        LimitReached: a limit of the comparison.
        StorageError: the store cannot be used.
        IsolationError: nothing can be judged here.
        UsageError: nobody names a model, and the endpoint has another one than before.
    """
    allowance = Allowance(design.limits)
    with _missing(design) as missing:
        if not missing:
            return
        allowance.look(design.spent())
        allowance.refuse()
        with connect(design.store.folder / "server.log") as opened:
            connection = _shared(opened, most)
            _refuse_another_model(design, connection)

            def asked(task: Task) -> Ran:
                # verdicts take long, and more is answered meanwhile than has one
                allowance.look(design.spent())
                allowance.refuse()
                return ask(task, design.terms, connection, functools.partial(tell, task))

            executor: Executor = one_by_one if most == 1 else at_once(most)
            with contextlib.closing(executor(missing, asked)) as outcomes:  # none begins another
                yield from _kept(design, outcomes, design.terms, allowance)


def conduct_elsewhere(
    design: Design, connect: Connect, executor: Callable[[Iterable[Task]], Iterator[Outcome]]
) -> Generator[Taken | Missed, None, None]:
    """Let others take the samples that are missing, and yield each; raises as `conduct` does.

    What was asked before and lacks its verdict alone is judged here.
    """
    allowance, terms = Allowance(design.limits), design.terms
    with _missing(design) as missing:
        if not missing:
            return
        allowance.look(design.spent())
        allowance.refuse()
        if _left_open(design):
            with connect(design.store.folder / "server.log") as opened:
                _refuse_another_model(design, opened)
        known = [(task, ran) for task in missing if (ran := asked_before(task, terms)) is not None]
        asked = {task.place for task, _ in known}
        rest = [task for task in missing if task.place not in asked]
        begun = itertools.takewhile(lambda _: allowance.reached is None, rest)
        outcomes = itertools.chain(known, executor(begun) if rest else ())
        yield from _kept(design, outcomes, terms, allowance)


@contextlib.contextmanager
def _missing(design: Design) -> Iterator[list[Task]]:
    """Hold the store, and say which samples it lacks."""
    with design.store.opened():
        yield design.missing()


def _kept(
    design: Design, outcomes: Iterator[Outcome], terms: Terms, allowance: Allowance
) -> Generator[Taken | Missed, None, None]:
    """Judge what was not judged where it was asked for, and keep it."""
    there, total, failed = design.samples_there(), len(design.tasks()), 0
    for task, outcome in outcomes:
        if isinstance(outcome, LimitReached):
            continue  # it was not begun
        if isinstance(outcome, EndpointError):
            failed += 1
            yield Missed(task, str(outcome))
            if failed == _GIVE_UP:
                raise outcome
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            failed = 0
            sample = outcome if isinstance(outcome, Sample) else judge(task, terms, outcome)
            design.store.keep(task.place, sample)
            there.append(sample)
            yield Taken(sample, len(there), total)
        allowance.look(design.spent(there))
    if len(there) < total:
        allowance.refuse()


def _refuse_another_model(design: Design, connection: Connection) -> None:
    """Keep samples of two models apart: where nobody names one, the endpoint's own is asked."""
    unnamed = _left_open(design)
    if not unnamed:
        return
    asked = {name for s in design.samples_there() if s.arm in unnamed for name in s.models}
    listed = connection.list_models() if asked else ()
    if asked.isdisjoint(listed) and asked:
        raise UsageError(
            f"the samples so far are of {', '.join(sorted(asked))}, and the endpoint has "
            f"{', '.join(listed)} now; name one with --model, or another folder with --store DIR"
        )


def _left_open(design: Design) -> set[str]:
    """Return the names of the arms that leave it to the endpoint which model answers."""
    return {arm.name for arm in design.arms if _leaves_model_open(design, arm)}


def _leaves_model_open(design: Design, arm: Arm) -> bool:
    if arm.model or design.named or design.terms.endpoint.embedded:
        return False
    queue = design.queue_of(arm).queue
    return queue.defaults.model is None and any(step.model is None for step in queue.steps)


def _shared(opened: Connection, most: int) -> Connection:
    """Return the connection for many runs: they take turns, and list the models once."""
    chat = ThrottledChat(opened.chat, Throttle(most)) if most > 1 else opened.chat
    return Connection(chat, functools.cache(opened.list_models))
