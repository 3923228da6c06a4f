"""A run once more, from what is kept of it: no endpoint is asked, and every byte is compared."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from promptqueue import __version__
from promptqueue.chat.message import ChatEvent, Request
from promptqueue.errors import PromptQueueError, StorageError
from promptqueue.queue.inputs import known_inputs
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.queue.model import Limits
from promptqueue.run.archive import OneRun, read_past
from promptqueue.run.events import Event
from promptqueue.run.history import Outcomes, models_asked, outcomes, sources_of, was_judged
from promptqueue.run.job import Job
from promptqueue.run.journal import RunDirectory, create_run
from promptqueue.run.ledger import Ledger
from promptqueue.run.recorder import Recorder
from promptqueue.run.records import blobs_of
from promptqueue.run.runner import run_queue
from promptqueue.run.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found."""

    run: str
    steps: int
    """Steps that were replayed, to their end or to where the run stopped."""
    files: dict[str, str]
    """Path to text, as the run left them."""
    differences: tuple[str, ...]
    """Where the replay went another way; empty when every byte is the same."""


class _NotAnsweredError(PromptQueueError):
    """The run has no answer to a question: it stopped there, or it was asked another one."""


class _Nobody:
    """Stands where a model would be asked."""

    def ask(self, request: Request) -> Iterator[ChatEvent]:
        raise _NotAnsweredError(request.key())


@contextlib.contextmanager
def sources(directory: RunDirectory) -> Iterator[LoadedQueue]:
    """Load the queue as it was when the run was last at work.

    Raises:
        StorageError: the run does not hold it.
    """
    digest = sources_of(directory)
    if not digest:
        raise StorageError(
            f"the run {directory.id} holds no copy of its queue: it ended before it began, or was "
            "made by an older version; it can be shown, but not replayed or refined"
        )
    texts = json.loads(directory.blobs.get(digest))
    name = Path(directory.meta()["queue"]["path"]).name
    with tempfile.TemporaryDirectory(prefix="promptqueue-") as folder:
        for path, text in texts.items():
            target = Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
        yield load_queue(Path(folder) / name, contract=False)


def replay(path: Path) -> Replay:
    """Run the queue of a run again from the answers that it got, and compare.

    Raises:
        StorageError: the journal or a blob is missing or was changed; it is named.
    """
    directory = RunDirectory(path)
    past = read_past(path)
    _check_blobs(directory)
    asked = models_asked(directory)
    with sources(directory) as loaded, tempfile.TemporaryDirectory() as scratch:
        second = create_run(Path(scratch) / "runs", loaded.queue.name, {})
        workspace = Workspace(Path(scratch) / "out", {})
        last = next(reversed(asked.values()), "")
        job = Job(
            loaded=loaded,
            inputs=known_inputs(directory.meta()["inputs"], loaded.queue),
            chat=_Nobody(),
            models={step.id: asked.get(step.id, last) for step in loaded.queue.steps},
            recorder=Recorder(second),
            ledger=Ledger(Limits()),
            workspace=workspace,
            archive=OneRun(past),
            judged=was_judged(directory),
        )
        with workspace.locked("replay"), contextlib.closing(second):
            _exhaust(run_queue(job))
            files = {path: second.blobs.get(digest) for path, digest in job.files.items()}
        replayed = outcomes(second)
        steps = {step.id for step in loaded.queue.steps}  # one that was renamed on the way is gone
        told = {step: entries for step, entries in outcomes(directory).items() if step in steps}
        differences = tuple(_compare(told, replayed, _age(directory)))
        return Replay(directory.id, len(replayed), files, differences)


def _check_blobs(directory: RunDirectory) -> None:
    """Read every text that the journal names: prompts and files come out the same without it."""
    for digest in {each for record in directory.records() for each in blobs_of(record)}:
        directory.blobs.read(digest)


def _exhaust(events: Iterator[Event]) -> None:
    with contextlib.suppress(_NotAnsweredError):
        for _ in events:
            pass


def _compare(run: Outcomes, replay: Outcomes, age: str) -> Iterator[str]:
    """Name the first place where the replay goes another way, and before it files that differ."""
    for step, told in run.items():
        replayed = replay.get(step, [])
        complete = told[-1][0] == "complete"
        for one, other in itertools.zip_longest(_steps_of(told), _steps_of(replayed)):
            if one is None and not complete:
                break  # the run stopped here
            if one != other:
                kind = (one or other or ("end",))[0]
                yield f"{step}: {_WORDS.get(kind, 'the end')} comes out differently{age}"
                return
        if complete:
            files = _files_of(replayed)
            for path, digest in _files_of(told).items():
                if files.get(path) != digest:
                    yield f"{step}: {path} comes out differently{age}"


_WORDS = {
    "prompt": "the prompt",
    "question": "a question",
    "found": "what a reply holds",
    "verdict": "a verdict",
}


def _steps_of(entries: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [entry for entry in entries if entry[0] != "file"]


def _files_of(entries: list[tuple[str, ...]]) -> dict[str, str]:
    return {entry[1]: entry[2] for entry in entries if entry[0] == "file"}


def _age(directory: RunDirectory) -> str:
    version = directory.meta()["versions"]["promptqueue"]
    return "" if version == __version__ else f" (made by {version}, replayed by {__version__})"
