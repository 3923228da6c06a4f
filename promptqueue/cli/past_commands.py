"""`runs`, `show`, `diff` and `blame`: what happened, from what was kept."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from promptqueue.cli import complete
from promptqueue.cli.options import RUNS, AsJson, NamedRun, RunName, Runs
from promptqueue.cli.timeline import timeline_lines
from promptqueue.errors import StorageError, UsageError
from promptqueue.words import counted

if TYPE_CHECKING:
    from promptqueue.chat.config import Price
    from promptqueue.run.journal import RunDirectory
    from promptqueue.run.past import Call, History, Summary

_ROWS = 20

Statuses = Literal["complete", "red", "incomplete", "stale", "stopped", "at work", "damaged"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("runs")(list_runs)
    app.command("show")(show)
    app.command("diff")(diff_runs)
    app.command("blame")(blame_file)


def list_runs(
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="NAME", help="Only runs of this queue.")
    ] = None,
    status: Annotated[
        Statuses | None,
        typer.Option("--status", help="Only runs that are so."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help=f"Not only the latest {_ROWS}.")
    ] = False,
    size: Annotated[bool, typer.Option("--size", help="Show how many bytes each takes.")] = False,
    keep: Annotated[
        int | None,
        typer.Option("--prune", min=1, metavar="N", help="Remove all of these but the latest N."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do remove them.")] = False,
    runs: Runs = RUNS,
    json: AsJson = False,
) -> None:
    """List the runs, the latest first."""
    from promptqueue.run.past import size_of, summaries

    if yes and keep is None:
        raise UsageError("--yes removes nothing by itself: promptqueue runs --prune N --yes")
    fitting = [
        each
        for each in summaries(runs)
        if (queue is None or each.queue == queue) and (status is None or each.status == status)
    ]
    if keep is not None:
        _prune(runs, fitting[keep:], remove=yes, json=json)
        return
    shown = fitting if everything else fitting[:_ROWS]
    sizes = {each.run: size_of(runs / each.run) for each in shown} if size else {}
    if json:
        from dataclasses import asdict

        _print_json([{**asdict(each), "bytes": sizes.get(each.run)} for each in shown])
        return
    for each in shown:
        typer.echo(_row(each, sizes.get(each.run)))
    hidden = len(fitting) - len(shown)
    if hidden:
        typer.echo(f"and {hidden} more: --all")
    if not fitting:
        narrowed = queue is not None or status is not None
        way_out = "" if narrowed else "; start one with promptqueue run QUEUE"
        typer.echo(f"no {'such ' if narrowed else ''}run in {runs}{way_out}")


def show(
    name: RunName = None,
    step: Annotated[
        str | None,
        typer.Argument(metavar="[STEP]", help="One step in full.", autocompletion=complete.steps),
    ] = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="When each call was made, and what was waited for.")
    ] = False,
    reply: Annotated[
        bool, typer.Option("--reply", help="Only the last reply of STEP, byte for byte.")
    ] = False,
    runs: Runs = RUNS,
    json: AsJson = False,
) -> None:
    """Show what RUN asked and got; with STEP, its prompts and replies."""
    from promptqueue.run.journal import RunDirectory, find_run
    from promptqueue.run.past import read_history

    directory = RunDirectory(find_run(runs, name))
    history = read_history(directory)
    if history.warning:
        typer.echo(f"promptqueue: {history.warning}", err=True)
    if sum((timeline, reply, json)) > 1:
        raise UsageError("--timeline, --reply and --json show different things; name one of them")
    if step is not None:
        if timeline:
            raise UsageError("--timeline shows all steps: promptqueue show RUN --timeline")
        _show_step(directory, history, step, only_reply=reply, json=json)
    elif reply:
        raise UsageError("--reply needs a STEP: promptqueue show RUN STEP --reply")
    elif json:
        from dataclasses import asdict

        calls = [asdict(call) for call in history.calls]
        _print_json({"run": directory.id, "calls": calls, "files": dict(history.files)})
    elif timeline:
        for line in timeline_lines(history):
            typer.echo(line)
    else:
        _show_run(directory, history)


def diff_runs(
    first: NamedRun,
    second: Annotated[
        str,
        typer.Argument(metavar="RUN", help="The other one.", autocompletion=complete.runs),
    ],
    runs: Runs = RUNS,
) -> None:
    """Say what differs between two runs: prompts, replies, parameters, tokens and files."""
    from promptqueue.run.compare import compare
    from promptqueue.run.journal import RunDirectory, find_run

    pair = [RunDirectory(find_run(runs, name)) for name in (first, second)]
    differs = False
    for line in compare(*pair):
        differs = True
        typer.echo(line)
    if not differs:
        typer.echo("no differences")


def blame_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that a run wrote.")],
    runs: Runs = RUNS,
) -> None:
    """Say of each line of FILE which step and turn of which run it came from."""
    from promptqueue.run.blame import blame

    lines = list(blame(file, runs))
    width = max((len(origin) for origin, _ in lines), default=0)
    for number, (origin, line) in enumerate(lines, 1):
        typer.echo(f"{origin:{width}}  {number:4}  {line}".rstrip())


def _prune(runs: Path, old: list[Summary], *, remove: bool, json: bool) -> None:
    from dataclasses import asdict

    from promptqueue.run.past import size_of

    doomed = [each for each in old if each.status != "at work"]
    sizes = {each.run: size_of(runs / each.run) for each in doomed}
    for each in doomed:
        if not json:
            typer.echo(each.run)
        if remove:
            try:
                shutil.rmtree(runs / each.run)
            except OSError as error:
                why = error.strerror or error
                raise StorageError(f"{runs / each.run} cannot be removed: {why}") from error
    if json:
        _print_json([{**asdict(e), "bytes": sizes[e.run], "removed": remove} for e in doomed])
        return
    verb = "removed" if remove else "would be removed; add --yes to do it"
    typer.echo(f"{counted(len(doomed), 'run')}, {sum(sizes.values()) / 1e6:.1f} MB {verb}")


def _row(each: Summary, size: int | None) -> str:
    from promptqueue.cli.narrator import clock

    parts = [f"{each.run:36} {each.status:10}"]
    if each.usage is not None and each.calls is not None and each.seconds is not None:
        tokens = each.usage.prompt + each.usage.completion
        parts.append(f"{each.calls:3} calls {tokens:9,} tokens {clock(each.seconds):>8}")
        parts.append(f"{each.usd:.4f} USD" if each.usd else "")
    if size is not None:
        parts.append(f"{size / 1e6:.1f} MB")
    return "  ".join([*filter(None, parts), each.reason]).rstrip()


def _show_run(directory: RunDirectory, history: History) -> None:
    from promptqueue.run.past import summary

    typer.echo(_row(summary(str(directory.path)), None))
    meta = directory.meta()
    inputs = ", ".join(f"{name}={value}" for name, value in meta["inputs"].items())
    typer.echo(f"queue {meta['queue']['path']}, inputs: {inputs or 'none'}")
    prices = _prices(meta)
    for step, calls in history.latest().items():
        state = "complete" if history.steps.get(step) else "not complete"
        turns = counted(len(calls), "turn")
        typer.echo(f"{step}: {state}, {turns}, {_spent(calls, prices)}")
    for path, digest in history.files.items():
        typer.echo(f"  {path}  sha256 {digest[:12]}")


def _prices(meta: Mapping[str, Any]) -> dict[str, Price]:
    """Return the prices that the run was made with."""
    from promptqueue.chat.config import Price

    return {name: Price(**price) for name, price in meta.get("prices", {}).items()}


def _spent(calls: list[Call], prices: Mapping[str, Price]) -> str:
    from promptqueue.chat.message import Usage
    from promptqueue.cli.narrator import clock, spent

    paid = [call for call in calls if call.usage is not None]
    if not paid:
        return "answered before" if all(call.reused for call in calls) else "no answer yet"
    usage = sum((call.usage for call in paid if call.usage), Usage(0, 0))
    parts = [spent(usage), clock(sum(call.seconds for call in paid))]
    if all(call.model in prices for call in paid):
        costs = [
            prices[call.model].of(call.usage.prompt, call.usage.completion, call.usage.cached)
            for call in paid
            if call.usage
        ]
        parts.append(f"{sum(costs):.4f} USD")
    return ", ".join(parts)


def _show_step(
    directory: RunDirectory, history: History, step: str, *, only_reply: bool, json: bool
) -> None:
    from promptqueue.queue.problem import suggest

    calls = history.latest().get(step)
    if calls is None:
        known = list(history.latest())
        raise UsageError(f"the run {directory.id} did not ask {step!r}; {suggest(step, known)}")
    if only_reply:
        reply = next((call.reply for call in reversed(calls) if call.reply), "")
        if not reply:
            raise UsageError(f"the run {directory.id} has no reply of {step!r} yet")
        typer.echo(directory.blobs.get(reply), nl=False)
    elif json:
        told = [_in_full(directory, call) for call in calls]
        _print_json({"run": directory.id, "step": step, "calls": told})
    else:
        _print_calls(directory, calls)


def _in_full(directory: RunDirectory, call: Call) -> dict[str, object]:
    """Return a call with the texts of its prompt and its reply, not only their digests."""
    from dataclasses import asdict

    from promptqueue.run.past import text_of

    reply = text_of(directory.blobs, call.reply) if call.reply else ""
    prompt = text_of(directory.blobs, call.messages[-1][1])
    return {**asdict(call), "prompt_text": prompt, "reply_text": reply}


def _print_calls(directory: RunDirectory, calls: list[Call]) -> None:
    from promptqueue.run.past import text_of

    prices = _prices(directory.meta())
    for call in calls:
        typer.echo(f"==== {call.step}, turn {call.turn} · {call.model} · {_spent([call], prices)}")
        typer.echo(f"---- prompt\n{text_of(directory.blobs, call.messages[-1][1]).rstrip()}")
        if call.reply:
            typer.echo(
                f"---- reply ({call.finish})\n{text_of(directory.blobs, call.reply).rstrip()}"
            )
        for line in (*call.failures, *call.issues):
            typer.echo(f"---- {line}")
        if call.verdict:
            typer.echo(f"---- judged: {call.verdict}")
        if call.steered:
            typer.echo(f"---- the user decided: {call.steered}")


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
