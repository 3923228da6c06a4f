"""Lets a Ray cluster take the samples: each is a task, and its folder comes back as an archive.

Every node has promptqueue and the pack at the same path. A node that is lost costs the task that
it was at; Ray gives that to another one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import itertools
import shutil
import socket
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from promptqueue import errors
from promptqueue.chat.connect import connect
from promptqueue.compare.design import Design, Recipe, design
from promptqueue.compare.executors import Outcome
from promptqueue.compare.sample import Sample, sample_from
from promptqueue.compare.taking import Task, ask, judge
from promptqueue.errors import PromptQueueError, UsageError
from promptqueue.extras import install_command

_RETRIES = 3
"""How often a task is given away again when its node is lost."""
_KNOCK_S = 5.0

_AHEAD = 2
"""Tasks for each processor, so that none waits for the next one."""

Named = tuple[str, int, str]
"""A task on its way: arm, number, and the digest of all that decides its answers."""
Answer = tuple[dict[str, Any] | tuple[str, str], bytes]
"""A sample, or the class and the words of an error, with the archive of its folder."""


@contextlib.contextmanager
def cluster(address: str, recipe: Recipe) -> Iterator[Cluster]:
    """Join a running cluster for the length of a comparison.

    Args:
        address: of its head, as host:port; `auto` finds the one that runs on this machine.
        recipe: what is compared; every node makes the same design of it.

    Raises:
        UsageError: Ray is not installed, or there is no cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise UsageError(f"Ray is not installed: {install_command('ray')}") from error
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"no Ray cluster at {address}: {str(error).splitlines()[0]}; start one with "
            "`ray start --head`, or leave --executor out"
        ) from error
    try:
        yield Cluster(ray, recipe)
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Find out at once whether somebody is there; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that was joined."""

    ray: Any
    recipe: Recipe

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Yield every task with what it came to, in the order in which they are done.

        No more are given away than will soon be begun: a limit may be reached meanwhile.
        """
        remote = self.ray.remote(max_retries=_RETRIES, num_cpus=1)(take_elsewhere)
        rest = iter(tasks)
        waiting: dict[Any, Task] = {}
        while True:
            most = _AHEAD * max(1, int(self.ray.cluster_resources().get("CPU", 1)))
            for task in itertools.islice(rest, max(0, most - len(waiting))):
                waiting[remote.remote(self.recipe, _named(task), _packed(task.place))] = task
            if not waiting:
                return
            (done, *_), _ = self.ray.wait(list(waiting), num_returns=1)
            task = waiting.pop(done)
            yield task, self._outcome(task, done)

    def _outcome(self, task: Task, done: Any) -> Any:
        try:
            answer: Answer = self.ray.get(done)
        except self.ray.exceptions.RayError as error:
            words = str(error).strip().splitlines()[0]
            return errors.EndpointError(f"Ray lost the task: {words}")
        told, archive = answer
        _unpack(archive, task.place)
        if isinstance(told, dict):
            return sample_from(told)
        kind, words = told
        return getattr(errors, kind, PromptQueueError)(words)


def take_elsewhere(recipe: Recipe, name: Named, begun: bytes) -> Answer:
    """Take one sample on this node, in a folder of its own; `begun` is what there is of it."""
    with tempfile.TemporaryDirectory(prefix="promptqueue-") as folder:
        place = Path(folder) / "sample"
        _unpack(begun, place)
        try:
            return _taken(_design(recipe), name, place).record(), _packed(place)
        except PromptQueueError as error:  # what was answered until then is paid for
            return (type(error).__name__, str(error)), _packed(place)


def _taken(plan: Design, name: Named, place: Path) -> Sample:
    task = dataclasses.replace(_task(plan, name), place=place)
    with connect(plan.terms.endpoint, lambda _: None) as connection:
        ran = ask(task, plan.terms, connection)
    return judge(task, plan.terms, ran)


@functools.cache
def _design(recipe: Recipe) -> Design:
    """Return the design, once for each worker: Ray has workers of its own for each comparison."""
    return design(recipe)


def _named(task: Task) -> Named:
    return task.arm.name, task.number, task.place.parent.name


def _task(plan: Design, name: Named) -> Task:
    """Return the task of a name.

    Raises:
        UsageError: it would be asked in another way here than where it was given away.
    """
    task = next(task for task in plan.tasks() if _named(task)[:2] == name[:2])
    if _named(task) != name:
        raise UsageError(
            f"on the node {socket.gethostname()} {name[0]} would be asked in another way, at "
            f"{plan.terms.endpoint.shown_url}: give every node the same files, OPENAI_BASE_URL, "
            "PROMPTQUEUE_MODEL and PROMPTQUEUE_CONFIG before `ray start`"
        )
    return task


def _packed(folder: Path) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return held.getvalue()


def _unpack(data: bytes, place: Path) -> None:
    """Put what an archive holds in the place of what is there."""
    new = place.with_name(f"{place.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:  # nothing in it can lead out of the folder
        archive.extractall(new)
    shutil.rmtree(place, ignore_errors=True)
    new.rename(place)
