"""`check`, `render` and `schema`: what can be known of a queue without asking anyone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from promptqueue.cli.options import (
    RUNS,
    InputsFile,
    QueueFile,
    RunOption,
    Runs,
    Settings,
    StepId,
)
from promptqueue.errors import UsageError
from promptqueue.words import counted

if TYPE_CHECKING:
    from promptqueue.queue.inputs import Value
    from promptqueue.queue.load import LoadedQueue
    from promptqueue.queue.model import StepResult


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("check")(check)
    app.command("render")(render)
    app.command("schema")(schema)


def check(queue: QueueFile, settings: Settings = None, inputs: InputsFile = None) -> None:
    """Validate QUEUE and its templates; nothing is asked.

    Every problem is listed with its place and the way out.
    """
    from promptqueue.queue.inputs import resolve_inputs
    from promptqueue.queue.load import load_queue
    from promptqueue.queue.render import try_templates

    loaded = load_queue(queue)
    for warning in loaded.warnings:
        typer.echo(str(warning), err=True)
    needed = [name for name, spec in loaded.queue.inputs.items() if spec.default is None]
    if settings or inputs or not needed:
        try_templates(loaded, resolve_inputs(loaded.queue, settings or (), inputs))
    typer.echo(_summary(loaded, needed if not (settings or inputs) else []))


def render(
    queue: QueueFile,
    step: StepId = None,
    settings: Settings = None,
    inputs: InputsFile = None,
    run: RunOption = None,
    runs: Runs = RUNS,
) -> None:
    """Print the exact messages of each step and their digest.

    Nothing is asked.

    What only a run brings, replies and files of earlier steps, is shown as ‹...›, unless --run
    names a run to take it from.
    """
    from promptqueue.queue.inputs import resolve_inputs
    from promptqueue.queue.load import load_queue
    from promptqueue.queue.render import digest_of, render_queue
    from promptqueue.queue.review import suggest

    loaded = load_queue(queue)
    ids = [each.id for each in loaded.queue.steps]
    if step is not None and step not in ids:
        raise UsageError(f"{queue} has no step {step!r}; {suggest(step, ids)}")
    results, before = _brought_by(loaded, run, runs) if run is not None else ({}, {})
    values = resolve_inputs(loaded.queue, settings or (), inputs, before=before)
    for number, (name, messages) in enumerate(render_queue(loaded, values, results).items(), 1):
        if step is None or name == step:
            typer.echo(f"==== [{number}/{len(ids)}] {name} · sha256 {digest_of(messages)}")
            for message in messages:
                typer.echo(f"---- {message.role}\n{message.content}")
            typer.echo("")


def schema() -> None:
    """Print the JSON Schema of queue files, for editors."""
    import json

    from promptqueue.queue.schema import queue_schema

    json.dump(queue_schema(), sys.stdout, ensure_ascii=False, indent=2)
    typer.echo("")


def _summary(loaded: LoadedQueue, needed: list[str]) -> str:
    queue = loaded.queue
    requirements = sum(len(step.requirements) for step in queue.steps)
    files = dict.fromkeys(path for step in queue.steps for path in step.paths())
    text = (
        f"{loaded.path}: sound; {counted(len(queue.steps), 'step')}, "
        f"{counted(requirements, 'requirement')}, {counted(len(files), 'file')} "
        f"({', '.join(files)}); digest {loaded.digest[:12]}"
    )
    if needed:
        text += f"\nnot rendered: give the inputs {', '.join(needed)} with --set to try that too"
    return text


def _brought_by(
    loaded: LoadedQueue, name: str, runs: Path
) -> tuple[dict[str, StepResult], dict[str, Value]]:
    """Return the results of a run, and its inputs."""
    from promptqueue.run.history import step_results
    from promptqueue.run.journal import RunDirectory, find_run

    directory = RunDirectory(find_run(runs, name))
    return step_results(loaded.queue, directory), directory.meta()["inputs"]
