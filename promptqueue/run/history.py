"""What a run brought, read from its journal."""

from __future__ import annotations

from promptqueue.queue.model import Queue, StepResult, Turn
from promptqueue.run.journal import RunDirectory


def step_results(queue: Queue, directory: RunDirectory) -> dict[str, StepResult]:
    """Return the result of every step of `queue` that the run has answers of.

    Raises:
        StorageError: the journal or a blob is damaged.
    """
    turns: dict[str, list[Turn]] = {}
    files: dict[str, dict[str, str]] = {}
    prompts: dict[str, str] = {}
    step = key = ""
    answers: dict[str, str] = {}
    for record in directory.records():
        event: str = record["event"]
        if event == "step.started":
            turns[record["step"]], files[record["step"]] = [], {}
        elif event == "call.started":
            step, key = record["step"], record["key"]
            prompts[key] = directory.blobs.get(record["messages"][-1][1])
        elif event == "call.finished":
            answers[key] = directory.blobs.get(record["text"])
        elif event == "modules.extracted":
            turns[step].append(Turn(prompts[key], answers[key]))
        elif event == "file.written":
            files[step][record["path"]] = directory.blobs.get(record["digest"])
        elif event == "step.refining" and record["fresh"]:
            turns[step] = []
    known = {each.id for each in queue.steps}
    return {
        name: StepResult(name, tuple(asked), files[name])
        for name, asked in turns.items()
        if asked and name in known
    }
