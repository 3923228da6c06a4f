"""Who takes the samples: this process, one after the other or many at once."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from promptqueue.compare.sample import Sample
from promptqueue.compare.taking import Ran, Task
from promptqueue.errors import PromptQueueError

T = TypeVar("T")
_TICK_S = 0.5
Ask = Callable[[Task], Ran]
Outcome = tuple[Task, Ran | Sample | PromptQueueError]
Outcomes = Generator[Outcome, None, None]
Executor = Callable[[Sequence[Task], Ask], Outcomes]
"""Yields every task with what it came to; an error of one ends no other. Closed, it begins no more.
"""


def one_by_one(tasks: Sequence[Task], ask: Ask) -> Outcomes:
    """Ask for one sample after the other: a model on this machine needs all of it."""
    for task in tasks:
        yield task, _outcome(ask, task)


def at_once(most: int) -> Executor:
    """Return what asks for up to `most` samples at once.

    A thread for each conversation: it does little but wait, and the conveyor stays one plain loop.
    """

    def run(tasks: Sequence[Task], ask: Ask) -> Outcomes:
        waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
        done: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
        for task in tasks:
            waiting.put(task)
        stopping = threading.Event()
        for _ in range(min(most, len(tasks))):
            # daemons: on Ctrl-C nobody waits for a silent endpoint; journals stand any end
            threading.Thread(target=_work, args=(waiting, done, ask, stopping), daemon=True).start()
        try:
            for _ in tasks:
                outcome = _next(done)
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            stopping.set()

    return run


def _next(done: queue.SimpleQueue[T]) -> T:
    """Wait for what comes next; a Ctrl-C that strikes before the lock is waited for shows, too."""
    while True:
        with contextlib.suppress(queue.Empty):
            return done.get(timeout=_TICK_S)


def _work(
    waiting: queue.SimpleQueue[Task],
    done: queue.SimpleQueue[Outcome | BaseException],
    ask: Ask,
    stopping: threading.Event,
) -> None:
    try:
        while not stopping.is_set():
            task = waiting.get_nowait()
            done.put((task, _outcome(ask, task)))
    except queue.Empty:
        return
    except BaseException as error:  # it is raised where it is heard
        done.put(error)


def _outcome(ask: Ask, task: Task) -> Ran | PromptQueueError:
    try:
        return ask(task)
    except PromptQueueError as error:
        return error
