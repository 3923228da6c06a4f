"""`compare`: whether a queue beats one big prompt, with numbers."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from promptqueue.cli import complete
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
    check_writable,
)
from promptqueue.errors import EndpointError, Interrupted, LimitReached, UsageError
from promptqueue.extras import install_command
from promptqueue.words import counted

if TYPE_CHECKING:
    from collections.abc import Generator

    from promptqueue.compare.conduct import Missed, Taken
    from promptqueue.compare.design import Design, Recipe
    from promptqueue.compare.taking import Task
    from promptqueue.run.events import Event

    Outcomes = Generator[Taken | Missed, None, None]

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
    executor: Annotated[
        Literal["local", "ray"],
        typer.Option("--executor", help="Take the samples here, or on the nodes of a Ray cluster."),
    ] = "local",
    address: Annotated[
        str,
        typer.Option(
            "--ray-address",
            metavar="HOST:PORT",
            help="Of the cluster's head; auto finds the one of this machine.",
        ),
    ] = "auto",
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
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=VALUE",
            help="Of all runs together: calls=N, tokens=N, usd=AMOUNT, or wall=TIME from now on; "
            "the limits of a queue are those of each run.",
            autocompletion=complete.limits,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, for machines.")
    ] = False,
) -> None:
    """Measure ways to ask for the same code: one big prompt, or the queue with other contexts.

    Each sample is a run of its own, judged by the whole contract. Stop it and start it again:
    what is there is not asked, or paid for, again.
    """
    from promptqueue.chat.endpoints import EndpointChoice
    from promptqueue.compare.design import Recipe, design

    _require_scipy()
    _check_picture(picture)  # samples take hours, and all of them come before it
    recipe = Recipe(
        queue=queue.absolute(),
        arms=tuple(arm or ()),
        samples=samples,
        base=base,
        ablate=ablate,
        store=store,
        settings=tuple(settings or ()),
        inputs_file=inputs and inputs.absolute(),
        endpoint=EndpointChoice(endpoint, base_url, api_key_env, model, attempts, timeout),
        price_file=prices and prices.absolute(),
        limits=tuple(limit or ()),
        folder=Path.cwd(),
    )
    plan = design(recipe)
    _say_estimate(plan, alone=estimate, json=json)
    if estimate:
        return
    with contextlib.ExitStack() as stack:
        if executor == "ray":
            outcomes = _on_cluster(plan, recipe, address, stack)
        else:
            outcomes = _here(plan, concurrency, quiet=json)
        try:
            failed = _follow(plan, outcomes, quiet=json)
        except LimitReached:
            _show(plan, picture, json=json)
            raise
    _show(plan, picture, json=json)
    if failed:
        raise EndpointError(
            f"{counted(len(failed), 'sample')} could not be taken: {failed[0].why}\n"
            "start the same command again: what is there is kept"
        )


def _say_estimate(plan: Design, *, alone: bool, json: bool) -> None:
    """Say what is to be expected; as JSON where no result follows, which is a document itself."""
    from promptqueue.compare.estimate import estimate
    from promptqueue.reports.comparison import estimate_json, estimate_lines

    expected = estimate(plan)
    if json:
        if alone:
            typer.echo(estimate_json(expected), nl=False)
        return
    arms, samples = counted(len(plan.arms), "arm"), counted(plan.samples, "sample")
    typer.echo(f"{plan.loaded.path}: {arms}, {samples} of each")
    typer.echo(f"endpoint: {plan.terms.endpoint.described}")
    for line in estimate_lines(expected):
        typer.echo(line)


def _here(plan: Design, concurrency: int | None, *, quiet: bool) -> Outcomes:
    from promptqueue.chat.connect import connect
    from promptqueue.cli.display import PlainDisplay
    from promptqueue.compare.conduct import conduct

    display = PlainDisplay(quiet=quiet)
    most = 1 if plan.terms.endpoint.embedded else concurrency or _AT_ONCE
    return conduct(
        plan,
        lambda log: connect(plan.terms.endpoint, display.progress, log_path=log),
        most=most,
        tell=functools.partial(_tell, quiet=quiet or most > 1),
    )


def _on_cluster(
    plan: Design, recipe: Recipe, address: str, stack: contextlib.ExitStack
) -> Outcomes:
    from promptqueue.chat.connect import connect
    from promptqueue.compare.cluster import cluster
    from promptqueue.compare.conduct import conduct_elsewhere

    joined = stack.enter_context(cluster(address, recipe))
    return conduct_elsewhere(
        plan, lambda _: connect(plan.terms.endpoint, lambda _: None), joined.run
    )


def _follow(plan: Design, outcomes: Outcomes, *, quiet: bool) -> list[Missed]:
    from promptqueue.compare.conduct import Taken

    failed: list[Missed] = []
    try:
        with contextlib.closing(outcomes):
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
    drawn = [target] if summary.arms else []
    typer.echo(", ".join(map(str, [*drawn, folder / "results.csv", folder / "results.json"])))


def _check_picture(path: Path | None) -> None:
    if path is None:
        return
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"the picture {str(path)!r} must end in .png, .svg or .pdf")
    check_writable(path)


def _require_scipy() -> None:
    from importlib.util import find_spec

    absent = [name for name in ("scipy", "matplotlib", "numpy") if find_spec(name) is None]
    if absent:
        raise UsageError(f"{', '.join(absent)} missing: {install_command('compare', 'verify')}")
