"""`run` and `resume`: from a queue file to generated files."""

from __future__ import annotations

import contextlib
import functools
import gc
import shlex
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from promptqueue.cli.options import (
    RUNS,
    Attempts,
    BaseUrl,
    EndpointName,
    Fresh,
    FromStep,
    InputsFile,
    Interactive,
    Json,
    KeyVariable,
    LimitFlags,
    Model,
    OutFolder,
    Overwrite,
    PriceList,
    QueueFile,
    Quiet,
    RunName,
    Runs,
    Settings,
    Timeout,
    Verify,
)
from promptqueue.errors import (
    ChecksFailed,
    EndpointError,
    Interrupted,
    LimitReached,
    PromptQueueError,
    ReplyError,
    StorageError,
)

if TYPE_CHECKING:  # what these cost to import is paid by the commands that need them
    from promptqueue.run.correction import Correction
    from promptqueue.run.events import Event, RunFinished
    from promptqueue.run.plan import Plan


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("run")(run)
    app.command("resume")(resume)


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
    limit: LimitFlags = None,
    prices: PriceList = None,
    out: OutFolder = None,
    runs: Runs = RUNS,
    start: FromStep = None,
    fresh: Fresh = False,
    interactive: Interactive = False,
    overwrite: Overwrite = False,
    verify: Verify = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask the prompts of QUEUE and write the files that come back.

    Steps that an earlier run has answered, and that have not changed since, are not asked again.

    Without --endpoint or --base-url: the profile that the queue names, else OPENAI_BASE_URL and
    OPENAI_API_KEY, else the model that is embedded in the tool.
    """
    from promptqueue.chat.endpoints import EndpointChoice
    from promptqueue.cli.display import ending
    from promptqueue.run.prepare import prepare

    with ending(json=json):
        plan = prepare(
            queue,
            EndpointChoice(endpoint, base_url, api_key_env, model, attempts, timeout),
            settings=settings or (),
            inputs_file=inputs,
            limits=limit or (),
            price_file=prices,
            out=out,
            runs=runs,
            overwrite=overwrite,
            fresh=fresh,
            start=start,
            verify=verify,
        )
        conduct(plan, json=json, quiet=quiet, interactive=interactive)


def resume(
    name: RunName = None,
    endpoint: EndpointName = None,
    base_url: BaseUrl = None,
    api_key_env: KeyVariable = None,
    model: Model = None,
    attempts: Attempts = None,
    timeout: Timeout = None,
    limit: LimitFlags = None,
    prices: PriceList = None,
    runs: Runs = RUNS,
    interactive: Interactive = False,
    overwrite: Overwrite = False,
    verify: Verify = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that stopped.

    What was answered is not asked, or paid for, again.
    """
    from promptqueue.chat.endpoints import EndpointChoice
    from promptqueue.cli.display import ending
    from promptqueue.queue.load import load_queue
    from promptqueue.run.journal import RunDirectory, find_run
    from promptqueue.run.prepare import prepare_resumed, relative

    with ending(json=json):
        path = find_run(runs, name)
        meta = RunDirectory(path).meta()
        plan = prepare_resumed(
            load_queue(relative(Path(meta["queue"]["path"]))),
            path,
            EndpointChoice(endpoint, base_url, api_key_env, model, attempts, timeout),
            limits=limit or (),
            price_file=prices,
            overwrite=overwrite,
            verify=verify,
        )
        conduct(plan, json=json, quiet=quiet, interactive=interactive, resume=path)


def conduct(
    plan: Plan,
    *,
    json: bool,
    quiet: bool,
    interactive: bool = False,
    resume: Path | None = None,
    correction: Correction | None = None,
) -> None:
    """Execute a plan, show what happens, and turn its end into an error or none."""
    from promptqueue.chat.connect import connect
    from promptqueue.chat.message import AttemptStarted
    from promptqueue.cli.display import open_display
    from promptqueue.cli.interrupts import Interrupts
    from promptqueue.cli.wheel import Wheel, refuse_without_terminal
    from promptqueue.run.events import RunFinished, RunStarted
    from promptqueue.run.session import execute

    if interactive:
        refuse_without_terminal(json=json)
    run, finished = "", None
    with open_display(json=json, quiet=quiet) as display:
        if interactive:
            plan = replace(plan, steer=Wheel(display))
        events = execute(
            plan,
            lambda log_path: connect(plan.endpoint, display.progress, log_path=log_path),
            resume=resume,
            correction=correction,
        )
        try:
            with Interrupts(display.stopping) as interrupts, _delivering_alarm(events):
                for event in events:
                    if isinstance(event, RunStarted):
                        run = event.path  # before it is shown: even that may fail
                    elif isinstance(event, RunFinished):
                        finished = event
                    display.show(event)
                    interrupts.follow(event)
                    if isinstance(event, AttemptStarted):
                        _spare_the_code()
        except (KeyboardInterrupt, BrokenPipeError, PromptQueueError) as error:
            with contextlib.suppress(BrokenPipeError):
                display.failed()
            raise _ending(error, run) from error
    if finished is not None:
        _judge(finished)


@functools.cache  # once a process
def _spare_the_code() -> None:
    """Let no collection search what is loaded when the first request leaves: it takes 10 ms."""
    gc.freeze()


@contextlib.contextmanager
def _delivering_alarm(events: Generator[Event, None, None]) -> Iterator[None]:
    """Close a run however it is left; if its time is up, let it say so itself."""
    from promptqueue.run.ledger import TimeIsUp

    with contextlib.closing(events):
        try:
            yield
        except TimeIsUp as alarm:  # it came between two events
            with contextlib.suppress(TimeIsUp):  # it came after the end
                events.throw(alarm)


def _ending(error: BaseException, run: str) -> PromptQueueError:
    """Return what the user is told, with the way to go on with the run at this path."""
    way_on = f"go on with `promptqueue resume {shlex.quote(run)}`" if run else ""
    if isinstance(error, LimitReached) and run:
        resume = "`promptqueue resume"
        return LimitReached(str(error).replace(resume, f"{resume} {shlex.quote(run)}"))
    if isinstance(error, EndpointError | StorageError) and way_on not in str(error):
        return type(error)(f"{error}\n{way_on}")
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
    if finished.unmet:
        total = len(finished.met) + len(finished.unmet)
        raise ChecksFailed(
            f"{len(finished.met)} of {total} requirements met; not met: "
            f"{', '.join(finished.unmet)}. Read more with `promptqueue verify`, or change the "
            "prompt and run again: what was answered and has not changed is not asked again"
        )
    if finished.faults:
        raise ChecksFailed(
            f"every requirement is met, and yet something is wrong: {'; '.join(finished.faults)}. "
            "Read more with `promptqueue verify`, or mend it with `promptqueue refine`"
        )
