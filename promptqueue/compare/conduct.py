"""Conducts a comparison: what is missing is asked for and judged, until all samples are there."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptqueue.chat.connect import Connection
from promptqueue.chat.endpoints import choose_model, named_model
from promptqueue.compare.arms import Arm
from promptqueue.compare.executors import Executor, at_once, one_by_one
from promptqueue.compare.sample import Sample
from promptqueue.compare.store import Store
from promptqueue.compare.summary import Comparison, compare
from promptqueue.compare.taking import Ran, Task, Terms, ask, judge
from promptqueue.compare.throttle import Throttle, ThrottledChat
from promptqueue.errors import EndpointError, UsageError
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.run.events import Event
from promptqueue.run.judge import contract_judge, why_not
from promptqueue.run.prepare import prepare

_GIVE_UP = 3
"""Samples in a row that the endpoint failed: it is not there, and the rest would fail as well."""


@dataclass(frozen=True, slots=True)
class Design:
    """What is compared."""

    loaded: LoadedQueue
    arms: tuple[Arm, ...]
    samples: int
    """Of each arm."""
    base: str
    terms: Terms
    store: Store
    queues: Mapping[Path, LoadedQueue]
    """Queue files of arms of their own."""

    def tasks(self) -> list[Task]:
        """Return all samples: the first of each arm, then the second; a stop leaves all alike."""
        return [
            Task(arm, number, self._place(arm, number), self.queue_of(arm))
            for number in range(1, self.samples + 1)
            for arm in self.arms
        ]

    def queue_of(self, arm: Arm) -> LoadedQueue:
        """Return the queue that an arm is a form of."""
        return self.queues[arm.queue] if arm.queue else self.loaded

    def requirements(self) -> list[str]:
        """Return the ids of what is asked for."""
        return [name for step in self.loaded.queue.steps for name in step.requirements]

    def known(self, task: Task) -> Sample | None:
        """Return a sample that was taken before, if the checks are still the same."""
        sample = self.store.sample(task.place)
        return sample if sample and sample.contract == self.terms.contract else None

    def summary(self) -> Comparison:
        """Return what the samples so far come to."""
        samples: dict[str, list[Sample]] = {arm.name: [] for arm in self.arms}
        missing: dict[str, int] = {}
        for task in self.tasks():
            sample = self.known(task)
            if sample is None:
                missing[task.arm.name] = missing.get(task.arm.name, 0) + 1
            else:
                samples[task.arm.name].append(sample)
        name = self.loaded.queue.name
        return compare(name, self.requirements(), samples, self.base, missing)

    def _place(self, arm: Arm, number: int) -> Path:
        loaded, terms = self.queue_of(arm), self.terms
        told = (
            loaded.digest,
            sorted(terms.inputs.items()),
            terms.endpoint.shown_url,
            terms.model,
        )
        return self.store.place(arm.name, arm.key(told), number)


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


def design(
    path: Path,
    *,
    arms: Sequence[Arm],
    samples: int,
    base: str | None,
    folder: Path | None,
    settings: Sequence[str] = (),
    inputs_file: Path | None = None,
    endpoint: str | None = None,
    base_url: str | None = None,
    api_key_env: str | None = None,
    model: str | None = None,
    attempts: int | None = None,
    timeout_s: float | None = None,
    price_file: Path | None = None,
    loaded: LoadedQueue | None = None,
) -> Design:
    """Return the design of a comparison; nothing is asked, and nothing written.

    Raises:
        UsageError: an arm, an input or the endpoint is wrong, or nothing can be judged here.
    """
    loaded = loaded or load_queue(path)
    missing = why_not(loaded)
    if missing:
        raise UsageError(f"{path} cannot be compared: {missing}")
    plan = prepare(
        loaded,
        settings=settings,
        inputs_file=inputs_file,
        endpoint=endpoint,
        base_url=base_url,
        api_key_env=api_key_env,
        model=model,
        attempts=attempts,
        timeout_s=timeout_s,
        price_file=price_file,
        runs=Path(),
    )
    contract = contract_judge(loaded, plan.inputs).contract
    named = named_model(
        flag=plan.model, step=None, queue=loaded.queue.defaults.model, endpoint=plan.endpoint
    )
    terms = Terms(plan.inputs, plan.endpoint, plan.prices, named, contract)
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"the arm {twice!r} is there twice")
    chosen = base or names[0]
    if chosen not in names:
        raise UsageError(f"the base {chosen!r} is none of the arms: {', '.join(names)}")
    store = Store(folder or Path(".promptqueue") / "compare" / loaded.queue.name)
    queues = {arm.queue: _other(arm.queue, loaded) for arm in arms if arm.queue}
    return Design(loaded, tuple(arms), samples, chosen, terms, store, queues)


def conduct(
    design: Design,
    connect: Callable[[Path], contextlib.AbstractContextManager[Connection]],
    *,
    most: int,
    tell: Callable[[Task, Event], None],
) -> Iterator[Taken | Missed]:
    """Take the samples that are missing, and yield each.

    Args:
        design: what is compared.
        connect: opens the endpoint; the argument is where an embedded server may log to.
        most: conversations at once; 1 for the embedded model.
        tell: hears what happens in each run, from whatever thread.

    Raises:
        EndpointError: it failed several samples in a row.
        StorageError: the store cannot be used.
        IsolationError: nothing can be judged here.
    """
    tasks = design.tasks()
    with design.store.opened():
        missing = [task for task in tasks if design.known(task) is None]
        if not missing:
            return
        with connect(design.store.folder / "server.log") as opened:
            yield from _take(design, missing, opened, most=most, of=len(tasks), tell=tell)


def _take(
    design: Design,
    missing: Sequence[Task],
    opened: Connection,
    *,
    most: int,
    of: int,
    tell: Callable[[Task, Event], None],
) -> Iterator[Taken | Missed]:
    connection = _shared(opened, most)
    terms = dataclasses.replace(design.terms, model=_model(design, connection))
    executor: Executor = one_by_one if most == 1 else at_once(most)
    done, failed = of - len(missing), 0

    def asked(task: Task) -> Ran:
        return ask(task, terms, connection, functools.partial(tell, task))

    for task, outcome in executor(missing, asked):
        if not isinstance(outcome, Ran):
            if not isinstance(outcome, EndpointError):
                raise outcome
            failed += 1
            yield Missed(task, str(outcome))
            if failed == _GIVE_UP:
                raise outcome
            continue
        failed = 0
        sample = judge(task, terms, outcome)
        design.store.keep(task.place, sample)
        done += 1
        yield Taken(sample, done, of)


def _shared(opened: Connection, most: int) -> Connection:
    """Return the connection for many runs: they take turns, and list the models once."""
    chat = ThrottledChat(opened.chat, Throttle(most)) if most > 1 else opened.chat
    return Connection(chat, functools.cache(opened.list_models))


def _model(design: Design, connection: Connection) -> str | None:
    """Return the model that no arm and no step need look up any more."""
    queue, endpoint = design.loaded.queue, design.terms.endpoint
    if endpoint.embedded or any(step.model for step in queue.steps):
        return design.terms.model
    return choose_model(
        flag=design.terms.model,
        step=None,
        queue=queue.defaults.model,
        endpoint=endpoint,
        listed=connection.list_models,
    )


def _other(path: Path, loaded: LoadedQueue) -> LoadedQueue:
    """Return the queue of an arm of its own; it must be asked for the same things.

    Raises:
        UsageError: it is not.
    """
    other = load_queue(path)
    ours, theirs = (
        {name for step in each.queue.steps for name in step.requirements}
        for each in (loaded, other)
    )
    if ours != theirs:
        odd = ", ".join(sorted(ours ^ theirs)[:3])
        raise UsageError(
            f"{path} cannot be an arm: its requirements are not those of {loaded.path} ({odd} …)"
        )
    return other
