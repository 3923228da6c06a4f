"""`run` and `resume`: from a queue file to generated files."""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from promptqueue.cli.options import (
    RUNS,
    Attempts,
    BaseUrl,
    EndpointName,
    InputsFile,
    Json,
    KeyVariable,
    Model,
    OutFolder,
    Overwrite,
    QueueFile,
    Quiet,
    RunName,
    Runs,
    Settings,
    Timeout,
)
from promptqueue.errors import (
    EndpointError,
    Interrupted,
    PromptQueueError,
    ReplyError,
    StorageError,
)

if TYPE_CHECKING:  # what these cost to import is paid by the commands that need them
    from promptqueue.chat.endpoints import Config, Endpoint
    from promptqueue.queue.inputs import Value
    from promptqueue.queue.model import Queue
    from promptqueue.run.events import RunFinished
    from promptqueue.run.session import Plan


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(run)
    app.command()(resume)


def run(
    queue: QueueFile,
    settings: Settings = None,
    inputs: InputsFile = None,
    endpoint: EndpointName = None,
    base_url: BaseUrl = None,
    api_key_env: KeyVariable = None,
    model: Model = None,
    attempts: Attempts = None,
    timeout: Timeout = None,
    out: OutFolder = None,
    runs: Runs = RUNS,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask the prompts of QUEUE and write the files that come back.

    Without --endpoint or --base-url: the profile that the queue names, else OPENAI_BASE_URL and
    OPENAI_API_KEY, else the model that is embedded in the tool.
    """
    from promptqueue.chat.endpoints import config_path, load_config, resolve_endpoint
    from promptqueue.queue.inputs import resolve_inputs
    from promptqueue.queue.load import load_queue
    from promptqueue.run.session import Plan

    loaded = load_queue(queue)
    config = load_config(config_path())
    plan = Plan(
        loaded=loaded,
        inputs=resolve_inputs(loaded.queue, settings or (), inputs),
        endpoint=resolve_endpoint(
            config=config,
            name=endpoint,
            base_url=base_url,
            api_key_env=api_key_env,
            queue_profile=loaded.queue.endpoint,
        ).patient(attempts, timeout),
        out=out or Path("generated") / loaded.queue.name,
        runs=runs,
        model=model,
        overwrite=overwrite,
        prices=config.prices,
    )
    _execute(plan, json=json, quiet=quiet)


def resume(
    name: RunName = None,
    endpoint: EndpointName = None,
    base_url: BaseUrl = None,
    api_key_env: KeyVariable = None,
    model: Model = None,
    attempts: Attempts = None,
    timeout: Timeout = None,
    runs: Runs = RUNS,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that stopped.

    What was answered is not asked, or paid for, again.
    """
    from promptqueue.chat.endpoints import config_path, load_config
    from promptqueue.queue.load import load_queue
    from promptqueue.run.journal import RunDirectory, find_run
    from promptqueue.run.session import Plan

    path = find_run(runs, name)
    meta = RunDirectory(path).meta()
    config = load_config(config_path())
    flags = (endpoint, base_url, api_key_env)
    loaded = load_queue(_relative(Path(meta["queue"]["path"])))
    plan = Plan(
        loaded=loaded,
        inputs=_known_inputs(meta["inputs"], loaded.queue),
        endpoint=_endpoint_of(meta["endpoint"], loaded.queue.endpoint, config, flags).patient(
            attempts, timeout
        ),
        out=_relative(Path(meta["out"])),
        runs=path.parent,
        model=model or meta["model"],
        overwrite=overwrite,
        prices=config.prices,
    )
    _execute(plan, json=json, quiet=quiet, resume=path)


def _execute(plan: Plan, *, json: bool, quiet: bool, resume: Path | None = None) -> None:
    from promptqueue.chat.connect import connect
    from promptqueue.cli.display import open_display
    from promptqueue.run.events import RunFinished, RunStarted
    from promptqueue.run.session import execute

    run, finished = "", None
    with open_display(json=json, quiet=quiet) as display:
        events = execute(
            plan,
            lambda log_path: connect(plan.endpoint, display.progress, log_path=log_path),
            resume=resume,
        )
        try:
            with contextlib.closing(events):
                for event in events:
                    display.show(event)
                    if isinstance(event, RunStarted):
                        run = event.path
                    elif isinstance(event, RunFinished):
                        finished = event
        except (KeyboardInterrupt, BrokenPipeError, PromptQueueError) as error:
            ending = _ending(error, run)
            with contextlib.suppress(BrokenPipeError):
                display.failed(str(ending), ending.exit_code)
            raise ending from error
    if finished is not None:
        _judge(finished)


def _ending(error: BaseException, run: str) -> PromptQueueError:
    """Return what the user is told, with the way to go on with the run at this path."""
    way_on = f"go on with `promptqueue resume {shlex.quote(run)}`" if run else ""
    if isinstance(error, EndpointError):
        return EndpointError(f"{error}\n{way_on}".rstrip())
    if isinstance(error, PromptQueueError):
        return error
    why = "stopped" if isinstance(error, KeyboardInterrupt) else "nobody reads the output any more"
    return Interrupted(f"{why}; {way_on or 'nothing has been asked yet'}")


def _judge(finished: RunFinished) -> None:
    """Turn what a run did not reach into the exit code of its class."""
    if finished.aside:
        raise StorageError(
            f"edited while the run was at work, and so left alone: the new text is in "
            f"{', '.join(finished.aside)}; compare, and keep what you want"
        )
    if finished.incomplete:
        raise ReplyError(
            f"not everything came back: {', '.join(finished.incomplete)} did not bring usable "
            f"files (see above); the run {finished.run} keeps every reply. Run again with another "
            "model, more refine turns, or a clearer prompt"
        )


def _relative(path: Path) -> Path:
    """Show paths below the working directory the way a user would write them."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _known_inputs(given: dict[str, Value], queue: Queue) -> dict[str, Value]:
    """Return the inputs of a run for the queue as it is now: new ones get their defaults."""
    from promptqueue.queue.inputs import resolve_inputs

    settings = [f"{name}={value}" for name, value in given.items() if name in queue.inputs]
    return resolve_inputs(queue, settings)


def _endpoint_of(
    meta: dict[str, str | None],
    queue_profile: str | None,
    config: Config,
    flags: tuple[str | None, str | None, str | None],
) -> Endpoint:
    """Return the endpoint that the run began with, unless the flags name another one."""
    from promptqueue.chat.endpoints import resolve_endpoint

    name, base_url, api_key_env = flags
    same = name is None and base_url is None
    if same and meta["name"] == "url":
        base_url, api_key_env = meta["base_url"], api_key_env or meta["api_key_env"]
    elif same:
        name = meta["name"]
    endpoint = resolve_endpoint(
        config=config,
        name=name,
        base_url=base_url,
        api_key_env=api_key_env,
        queue_profile=queue_profile,
    )
    return replace(endpoint, reason="as the run began") if same else endpoint
