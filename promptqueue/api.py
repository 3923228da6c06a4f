"""The Python API: what the command line does, as data and a generator of events."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path

from promptqueue.chat.connect import connect
from promptqueue.chat.endpoints import EndpointChoice
from promptqueue.chat.weights import Progress
from promptqueue.errors import PromptQueueError
from promptqueue.queue.inputs import Value, setting
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.run.events import Event
from promptqueue.run.prepare import prepare
from promptqueue.run.replay import Replay, replay
from promptqueue.run.session import execute
from promptqueue.run.steering import Decision, Review, Steer

__all__ = [
    "Decision",
    "Event",
    "LoadedQueue",
    "PromptQueueError",
    "Replay",
    "Review",
    "Steer",
    "load_queue",
    "replay",
    "run",
]


def run(
    queue: LoadedQueue | Path | str,
    *,
    inputs: Mapping[str, Value] | None = None,
    endpoint: str | None = None,
    base_url: str | None = None,
    api_key_env: str | None = None,
    model: str | None = None,
    out: Path | str | None = None,
    runs: Path | str = ".promptqueue/runs",
    fresh: bool = False,
    start: str | None = None,
    overwrite: bool = False,
    steer: Steer | None = None,
    verify: bool | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Generator[Event, None, None]:
    """Run a queue and yield what happens; the last event is `RunFinished`.

    Closing the generator stops the run; it can be resumed.

    Args:
        queue: from `load_queue`, or the path of a queue file.
        inputs: values of the queue's inputs; those left out have their defaults.
        endpoint: `embedded`, `openai`, or a profile of the user's configuration.
        base_url: an address up to and with `/v1`; excludes `endpoint`.
        api_key_env: with `base_url`, the environment variable that holds its key.
        model: wins over what the queue names.
        out: folder of the files; `generated/<queue>` by default.
        runs: where runs are kept.
        fresh: ask everything anew, also what earlier runs have answers to.
        start: the step from which on everything is asked anew.
        overwrite: replace files that were edited by hand (they are kept in the run).
        steer: decides after each reply.
        verify: judge each step when it lands; None: where this machine can.
        on_progress: is told while the embedded model's weights are fetched and checked.

    Raises:
        PromptQueueError: a subclass says whose fault it is; see `promptqueue.errors`.
    """
    plan = prepare(
        queue if isinstance(queue, LoadedQueue) else Path(queue),
        EndpointChoice(endpoint, base_url, api_key_env, model),
        settings=[setting(name, value) for name, value in (inputs or {}).items()],
        out=Path(out) if out is not None else None,
        runs=Path(runs),
        overwrite=overwrite,
        fresh=fresh,
        start=start,
        steer=steer,
        verify=verify,
    )
    yield from execute(plan, lambda log: connect(plan.endpoint, on_progress, log_path=log))
