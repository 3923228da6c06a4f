"""`compare`: whether a queue beats one big prompt, with numbers."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptqueue.cli.options import (
    Attempts,
    BaseUrl,
    EndpointName,
    InputsFile,
    KeyVariable,
    Model,
    PriceList,
    QueueFile,
    Settings,
    Timeout,
)
from promptqueue.errors import EndpointError, Interrupted, UsageError

if TYPE_CHECKING:
    from promptqueue.compare.arms import Arm
    from promptqueue.compare.conduct import Design, Missed, Taken
    from promptqueue.compare.taking import Task
    from promptqueue.queue.load import LoadedQueue
    from promptqueue.run.events import Event

_AT_ONCE = 8


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("compare")(compare)


def compare(
    queue: QueueFile,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            "--arm",
            metavar="ARM",
            help="SHAPE[+refine][,queue=FILE][,model=NAME][,PARAMETER=VALUE]; a SHAPE is monolith, "
            "written, none, full, files or interface. May be repeated; by default monolith, full "
            "and interface.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", "-n", min=1, help="Of each arm.")] = 5,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="ARM", help="Compare with this one; the first by default."),
    ] = None,
    ablate: Annotated[
        bool,
        typer.Option(
            "--ablate",
            help="Leave out one bullet, one context entry or the role of the arm at a time.",
        ),
    ] = False,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            min=1,
            help=f"Conversations at once: {_AT_ONCE}, fewer while the endpoint refuses; the "
            "embedded model has one.",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store", metavar="DIR", help="Keep samples here, not in .promptqueue/compare/<queue>."
        ),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what it would take, and what it can show.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture", metavar="FILE", help="Draw here (png, svg or pdf), not in the store."
        ),
    ] = None,
    settings: Settings = None,
    inputs: InputsFile = None,
    endpoint: EndpointName = None,
    base_url: BaseUrl = None,
    api_key_env: KeyVariable = None,
    model: Model = None,
    attempts: Attempts = None,
    timeout: Timeout = None,
    prices: PriceList = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, for machines.")
    ] = False,
) -> None:
    """Measure ways to ask for the same code: one big prompt, or the queue with other contexts.

    Each sample is a run of its own, judged by the whole contract. Stop it and start it again:
    what is there is not asked, or paid for, again.
    """
    from promptqueue.compare.conduct import design
    from promptqueue.queue.load import load_queue

    _require_scipy()
    loaded = load_queue(queue)
    plan = design(
        queue,
        arms=_arms(loaded, arm, ablate=ablate),
        samples=samples,
        base=base,
        folder=store,
        settings=settings or (),
        inputs_file=inputs,
        endpoint=endpoint,
        base_url=base_url,
        api_key_env=api_key_env,
        model=model,
        attempts=attempts,
        timeout_s=timeout,
        price_file=prices,
        loaded=loaded,
    )
    _say_estimate(plan, quiet=json)
    if estimate:
        return
    failed = _conduct(plan, concurrency, quiet=json)
    _show(plan, picture, json=json)
    if failed:
        raise EndpointError(
            f"{len(failed)} samples could not be taken: {failed[0].why}\n"
            "start the same command again: what is there is kept"
        )


def _arms(loaded: LoadedQueue, texts: list[str] | None, *, ablate: bool) -> list[Arm]:
    from promptqueue.compare.arms import DEFAULT, arms_without, parse_arm
    from promptqueue.compare.variants import in_shape

    if not ablate:
        return [parse_arm(text) for text in texts or DEFAULT]
    if texts is not None and len(texts) > 1:
        raise UsageError("--ablate takes one arm apart; give --arm once, or not at all")
    whole = parse_arm((texts or ["written"])[0])
    return [whole, *arms_without(in_shape(loaded, whole.shape), whole)]


def _say_estimate(plan: Design, *, quiet: bool) -> None:
    from promptqueue.compare.estimate import estimate
    from promptqueue.reports.comparison import estimate_lines

    lines = list(estimate_lines(estimate(plan)))
    if quiet:
        return
    endpoint = plan.terms.endpoint
    typer.echo(f"{plan.loaded.path}: {len(plan.arms)} arms, {plan.samples} samples of each")
    typer.echo(f"endpoint: {endpoint.name}, {endpoint.shown_url} ({endpoint.reason})")
    for line in lines:
        typer.echo(line)


def _conduct(plan: Design, concurrency: int | None, *, quiet: bool) -> list[Missed]:
    from promptqueue.chat.connect import connect
    from promptqueue.compare.conduct import Taken, conduct

    most = 1 if plan.terms.endpoint.embedded else concurrency or _AT_ONCE
    failed: list[Missed] = []
    outcomes = conduct(
        plan,
        lambda log: connect(plan.terms.endpoint, lambda _: None, log_path=log),
        most=most,
        tell=functools.partial(_tell, quiet=quiet or most > 1),
    )
    try:
        for outcome in outcomes:
            if isinstance(outcome, Taken):
                _say(outcome, quiet=quiet)
            else:
                failed.append(outcome)
                name = f"{outcome.task.arm.name}, sample {outcome.task.number}"
                typer.echo(f"{name}: {outcome.why.splitlines()[0]}", err=True)
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"stopped; start the same command again: what is there is kept in {plan.store.folder}"
        ) from error
    return failed


def _tell(task: Task, event: Event, *, quiet: bool) -> None:
    """Say a line for each step of a slow model."""
    from promptqueue.run.events import StepFinished

    if quiet or not isinstance(event, StepFinished):
        return
    judged = f", {len(event.met)} of {len(event.met) + len(event.unmet)} met" if event.unmet else ""
    state = "answered" if event.complete else "not all files"
    typer.echo(
        f"  {task.arm.name}, sample {task.number}: {event.step} {state} in {event.seconds:.0f} s"
        f"{judged}"
    )


def _say(taken: Taken, *, quiet: bool) -> None:
    if quiet:
        return
    sample = taken.sample
    met, total = len(sample.met), len(sample.met) + len(sample.unmet)
    ended = f"; {sample.stopped}" if sample.stopped else ""
    typer.echo(
        f"[{taken.done}/{taken.of}] {sample.arm}, sample {sample.number}: {met} of {total} met, "
        f"{sample.spending.tokens:,} tokens, {sample.spending.seconds:.0f} s{ended}"
    )


def _show(plan: Design, picture: Path | None, *, json: bool) -> None:
    from promptqueue.compare.store import write
    from promptqueue.reports.comparison import comparison_csv, comparison_json, comparison_lines
    from promptqueue.reports.picture import draw

    summary, folder = plan.summary(), plan.store.folder
    write(folder / "results.json", comparison_json(summary))
    write(folder / "results.csv", comparison_csv(summary))
    target = picture or folder / "comparison.png"
    if summary.arms:
        draw(summary, target)
    if json:
        typer.echo(comparison_json(summary), nl=False)
        return
    for line in comparison_lines(summary):
        typer.echo(line)
    typer.echo(f"{target}, {folder / 'results.csv'}, {folder / 'results.json'}")


def _require_scipy() -> None:
    from importlib.util import find_spec

    absent = [name for name in ("scipy", "matplotlib", "numpy") if find_spec(name) is None]
    if absent:
        raise UsageError(
            f"{', '.join(absent)} missing: pip install 'promptqueue-conveyor[compare,verify]'"
        )
