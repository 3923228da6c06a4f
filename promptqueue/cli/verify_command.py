"""`verify`: whether generated code is right, requirement by requirement."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from promptqueue.cli import complete
from promptqueue.cli.options import InputsFile, Settings, check_writable
from promptqueue.errors import ChecksFailed, UsageError, writing

if TYPE_CHECKING:
    from promptqueue.queue.inputs import Value
    from promptqueue.queue.load import LoadedQueue
    from promptqueue.run.manifest import Target
    from promptqueue.verify.report import Finding, Report

Isolations = Literal["auto", "bwrap", "landlock", "none"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("verify")(verify)


def verify(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A folder of generated files, or its parent.")
    ] = Path("generated"),
    queue: Annotated[
        Path | None,
        typer.Option(
            "--queue",
            metavar="QUEUE",
            help="Judge PATH by this queue, whatever its manifest says.",
            autocompletion=complete.queue_files,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="ID", help="Only checks of this requirement; may be repeated."
        ),
    ] = None,
    settings: Settings = None,
    inputs: InputsFile = None,
    keyword: Annotated[
        str, typer.Option("-k", metavar="EXPR", help="Only checks that fit, as pytest's -k.")
    ] = "",
    first_only: Annotated[
        bool, typer.Option("-x", help="Stop at the first check that fails.")
    ] = False,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="ID", help="One requirement's whole story.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=2**32 - 1, help="Of the fresh inputs; to repeat a verdict exactly."
        ),
    ] = None,
    isolation: Annotated[
        Isolations, typer.Option("--isolation", help="Accept a weaker wall, or none.")
    ] = "auto",
    details: Annotated[
        bool, typer.Option("--details", help="Also warnings, and what pytest said of each failure.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Also write JUnit XML.")
    ] = None,
    sarif: Annotated[
        Path | None, typer.Option("--sarif", metavar="FILE", help="Also write SARIF 2.1.0.")
    ] = None,
) -> None:
    """Judge generated code in a sandbox, against the requirements of its queue.

    Ends with 0 if all that was to be judged is met, 100 if not, 125 if the code cannot be kept
    apart here.
    """
    from promptqueue.queue.load import load_queue
    from promptqueue.reports.terminal import heading
    from promptqueue.run.manifest import find_targets, refuse_own_judge
    from promptqueue.verify.contract import Selection
    from promptqueue.verify.gates import verify as judge

    targets = find_targets(path, queue)
    if len(targets) > 1 and (junit or sarif):
        raise UsageError("--junit and --sarif write one report; name one of the folders")
    check_writable(junit, sarif)  # judging takes minutes, which are lost where nothing can be kept
    names = (explain,) if explain else tuple(only or ())
    selection = Selection(keyword, first_only)
    if names:
        selection = Selection(keyword, first_only, names, gates=())
    reports = []
    for target in targets:
        loaded = load_queue(target.queue_file)
        refuse_own_judge(path, target, loaded)
        for name in [*(only or ()), *([explain] if explain else ())]:
            _check_name(loaded, name)
        _warn_of_change(loaded, target)
        told: list[Finding] = []
        values = _inputs(loaded, target, settings or [], inputs)
        if not json:
            typer.echo(heading(target.folder, _judged_by(loaded, target), values))
        report = judge(
            loaded,
            target.folder,
            seed=seed,
            isolation=isolation,
            selection=selection,
            inputs=values,
            shrunk=target.shrunk,
            watch=partial(_tell, told, quiet=json or explain is not None),
        )
        reports.append(report)
        if not json:
            _print(report, explain, details=details, told=told)
    if json:
        _print_json(reports)
    _write_files(reports[0], targets[0], junit, sarif)
    red = [
        target.folder for target, report in zip(targets, reports, strict=True) if not report.passed
    ]
    if red:
        raise ChecksFailed(f"not green: {', '.join(map(str, red))}")


def _judged_by(loaded: LoadedQueue, target: Target) -> str:
    """Return the queue's name, and its file where the user did not name it."""
    from promptqueue.run.prepare import relative

    return loaded.queue.name + ("" if target.named else f" ({relative(loaded.path)})")


def _inputs(
    loaded: LoadedQueue, target: Target, settings: Sequence[str], file: Path | None
) -> Mapping[str, Value]:
    """Return the inputs that the code was asked with; what the user sets wins."""
    from promptqueue.queue.inputs import resolve_inputs

    return resolve_inputs(loaded.queue, settings, file, before=target.inputs)


def _check_name(loaded: LoadedQueue, name: str) -> None:
    from promptqueue.queue.review import suggest

    known = [each for step in loaded.queue.steps for each in step.requirements]
    if name not in known:
        raise UsageError(f"{loaded.path} has no requirement {name!r}; {suggest(name, known)}")


def _warn_of_change(loaded: LoadedQueue, target: Target) -> None:
    if target.queue_digest and target.queue_digest != loaded.digest:
        typer.echo(
            f"warning: {loaded.path.name} has changed since {target.folder} was generated; "
            "the code is judged by what it says now",
            err=True,
        )


def _tell(told: list[Finding], findings: Sequence[Finding], *, quiet: bool) -> None:
    """Show what is wrong at once: what follows may take minutes."""
    from promptqueue.reports.terminal import finding_lines

    if quiet:
        return
    errors = [each for each in findings if each.severity == "error"]
    told += errors
    for line in finding_lines(errors):
        typer.echo(line)


def _print(
    report: Report, explain: str | None, *, details: bool, told: Collection[Finding]
) -> None:
    from promptqueue.reports.terminal import explain_lines, report_lines

    lines = (
        explain_lines(report, explain)
        if explain
        else report_lines(report, details=details, told=told)
    )
    for line in lines:
        typer.echo(line)


def _print_json(reports: Sequence[Report]) -> None:
    from promptqueue.reports.machine import report_json

    typer.echo(report_json(*reports), nl=False)


def _write_files(report: Report, target: Target, junit: Path | None, sarif: Path | None) -> None:
    from promptqueue.reports.junit import report_junit
    from promptqueue.reports.sarif import report_sarif

    folder, queue = _from_here(target.folder), _from_here(target.queue_file)
    place_in = partial(report_sarif, folder=folder, queue_file=queue)
    for path, write in ((junit, report_junit), (sarif, place_in)):
        if path is not None:
            with writing(path, "name another file"):
                # a name that is no UTF-8 is written as on standard output; JSON reads it back
                path.write_text(write(report), "utf-8", "backslashreplace")


def _from_here(path: Path) -> Path:
    """Return a path from the working directory on, or an absolute one where it lies elsewhere."""
    from promptqueue.run.prepare import relative

    return relative(Path(os.path.abspath(path)))  # noqa: PTH100 - links stay as the user named them
