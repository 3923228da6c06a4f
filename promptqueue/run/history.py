"""What a run brought, read from its journal."""

from __future__ import annotations

from promptqueue.queue.model import Queue, StepResult
from promptqueue.run.journal import RunDirectory
from promptqueue.run.stored import StoredFiles, StoredTurns


def step_results(queue: Queue, directory: RunDirectory) -> dict[str, StepResult]:
    """Return the result of every step of `queue` that the run has answers of.

    Raises:
        StorageError: the journal is damaged.
    """
    turns: dict[str, list[tuple[str, str]]] = {}
    files: dict[str, dict[str, str]] = {}
    answers: dict[str, str] = {}
    step = key = prompt = ""
    for record in directory.records():
        event: str = record["event"]
        if event == "step.started":
            turns[record["step"]], files[record["step"]] = [], {}
        elif event == "call.started":
            step, key, prompt = record["step"], record["key"], record["messages"][-1][1]
        elif event == "call.finished":
            answers[key] = record["text"]
        elif event == "modules.extracted":
            turns[step].append((prompt, answers[key]))
        elif event == "file.written":
            files[step][record["path"]] = record["digest"]
        elif event == "step.refining" and record["fresh"]:
            turns[step] = []
    blobs, known = directory.blobs, {each.id for each in queue.steps}
    return {
        name: StepResult(name, StoredTurns(blobs, asked), StoredFiles(blobs, files[name]))
        for name, asked in turns.items()
        if asked and name in known
    }
