"""`plan`, `refine` and `replay`: ahead of a run, and back to a run that is there already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptqueue.cli import complete
from promptqueue.cli.options import (
    RUNS,
    AsJson,
    Attempts,
    BaseUrl,
    EndpointName,
    Fresh,
    FromStep,
    InputsFile,
    Json,
    KeyVariable,
    LimitFlags,
    Model,
    NamedRun,
    Overwrite,
    PriceList,
    QueueFile,
    Quiet,
    RunName,
    Runs,
    Settings,
    Timeout,
)
from promptqueue.cli.run_commands import conduct
from promptqueue.errors import StorageError, UsageError, writing
from promptqueue.words import counted, is_unicode

if TYPE_CHECKING:
    from promptqueue.run.forecast import Forecast


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("plan")(plan)
    app.command("refine")(refine)
    app.command("replay")(replay)


def plan(
    queue: QueueFile,
    settings: Settings = None,
    inputs: InputsFile = None,
    endpoint: EndpointName = None,
    base_url: BaseUrl = None,
    api_key_env: KeyVariable = None,
    model: Model = None,
    prices: PriceList = None,
    runs: Runs = RUNS,
    start: FromStep = None,
    fresh: Fresh = False,
    json: AsJson = False,
) -> None:
    """Say what `run` would ask of QUEUE, and about what it would take.

    Nothing is asked. Tokens of prompts are estimated; replies and times are those of the last
    run, where there was one.
    """
    import json as json_module
    from dataclasses import asdict

    from promptqueue.chat.endpoints import EndpointChoice
    from promptqueue.run.forecast import forecast
    from promptqueue.run.prepare import prepare

    planned = prepare(
        queue,
        EndpointChoice(endpoint, base_url, api_key_env, model),
        settings=settings or (),
        inputs_file=inputs,
        price_file=prices,
        runs=runs,
        fresh=fresh,
        start=start,
    )
    told = forecast(planned)
    if json:
        typer.echo(json_module.dumps([asdict(each) for each in told], ensure_ascii=False))
        return
    for each in told:
        typer.echo(f"[{each.number}/{len(told)}] {each.title}: {_taking(each)}")
    typer.echo(_sum(told))


def _taking(each: Forecast) -> str:
    from promptqueue.cli.narrator import clock

    if not each.asked:
        return f"nothing to ask, {each.reason}"
    parts = [f"asks {each.model or 'the model'} ({each.reason})"]
    parts.append(f"about {each.prompt_tokens:,} tokens in")
    if each.reply_tokens is not None:
        parts.append(f"about {each.reply_tokens:,} out")
    elif each.cap is not None:
        parts.append(f"at most {each.cap:,} out")
    if each.seconds is not None:
        parts.append(f"about {clock(each.seconds)}")
    if each.usd is not None:
        parts.append(f"{each.usd:.4f} USD")
    return ", ".join(parts)


def _sum(told: list[Forecast]) -> str:
    from promptqueue.cli.narrator import clock

    asked = [each for each in told if each.asked]
    if not asked:
        return "nothing would be asked; --fresh asks everything anew"
    tokens = sum(each.prompt_tokens + (each.reply_tokens or each.cap or 0) for each in asked)
    parts = [f"{len(asked)} of {len(told)} steps would be asked: about {tokens:,} tokens"]
    if any(each.reply_tokens is None and each.cap is None for each in asked):
        parts[0] += " and replies of unknown length"
    if all(each.seconds is not None for each in asked):
        parts.append(f"about {clock(sum(each.seconds or 0 for each in asked))}")
    costs = [each.usd for each in asked if each.usd is not None]
    parts.append(f"{sum(costs):.4f} USD" if len(costs) == len(asked) else "money not known")
    return ", ".join(parts) + "; refinements come on top"


def refine(
    name: NamedRun,
    step: Annotated[
        str,
        typer.Argument(metavar="STEP", help="The step to correct.", autocompletion=complete.steps),
    ],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What should change.")],
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Ask the steps that depend on it again as well.")
    ] = False,
    endpoint: EndpointName = None,
    base_url: BaseUrl = None,
    api_key_env: KeyVariable = None,
    model: Model = None,
    attempts: Attempts = None,
    timeout: Timeout = None,
    limit: LimitFlags = None,
    prices: PriceList = None,
    runs: Runs = RUNS,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give STEP of RUN one more turn, with TEXT as the correction.

    Works on the queue as it was when the run was last at work. The steps that depended on it
    are named as stale; `promptqueue resume RUN` asks them again, or --rerun at once.
    """
    from promptqueue.chat.endpoints import EndpointChoice
    from promptqueue.cli.display import ending
    from promptqueue.run.correction import Correction
    from promptqueue.run.journal import RunDirectory, find_run
    from promptqueue.run.prepare import prepare_resumed, relative
    from promptqueue.run.replay import sources

    with ending(json=json):
        if not text.strip():
            raise UsageError("the correction is empty; say what should change")
        if not is_unicode(text):
            raise UsageError(
                "the correction holds bytes that are no text in UTF-8; say it in UTF-8"
            )
        path = find_run(runs, name)
        directory = RunDirectory(path)
        with sources(directory) as loaded:
            plan = prepare_resumed(
                replace(loaded, path=relative(Path(directory.meta()["queue"]["path"]))),
                path,
                EndpointChoice(endpoint, base_url, api_key_env, model, attempts, timeout),
                limits=limit or (),
                price_file=prices,
                overwrite=overwrite,
            )
            correction = Correction(step, text, rerun=rerun)
            conduct(plan, json=json, quiet=quiet, resume=path, correction=correction)


def replay(
    name: RunName = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write the files here as well.")
    ] = None,
    runs: Runs = RUNS,
) -> None:
    """Run RUN once more from what is kept of it, and compare every byte.

    No endpoint is asked. The files are compared, and written only with --out.
    """
    from promptqueue.run.journal import find_run
    from promptqueue.run.replay import replay as replay_run

    found = replay_run(find_run(runs, name))
    if out is not None:
        _write(out, found.files)
    if found.differences:
        raise StorageError(
            "\n".join([f"the replay of {found.run} is not the run:", *found.differences])
        )
    steps, files = counted(found.steps, "step"), counted(len(found.files), "file")
    typer.echo(f"{found.run}: {steps} replayed, {files}; every byte as it was")


def _write(out: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        target = out / path
        with writing(target, "name another folder with --out DIR"):
            if target.exists() and target.read_text("utf-8", "replace") != text:
                raise StorageError(
                    f"{target} is there already and differs; give an empty --out DIR"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
