"""The arguments and options that commands share: each has one type, one name and one help text."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Annotated

import typer

from promptqueue.cli import complete
from promptqueue.errors import StorageError

RUNS = Path(".promptqueue/runs")


def check_writable(*paths: Path | None) -> None:
    """Refuse a file that cannot be written, before anything is done that would be lost.

    Raises:
        StorageError: it names the file.
    """
    for path in filter(None, paths):
        if flaw := _flaw_of(path):
            raise StorageError(f"{path} cannot be written: {flaw}; name another file")


def _flaw_of(path: Path) -> str:
    if path.is_dir():
        return "it is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    writable = os.access(path if path.exists() else path.parent, os.W_OK)
    return "" if writable else os.strerror(errno.EACCES)


QueueFile = Annotated[
    Path,
    typer.Argument(
        metavar="QUEUE", help="The queue file (YAML).", autocompletion=complete.queue_files
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set an input; may be given repeatedly.",
        autocompletion=complete.settings,
    ),
]
InputsFile = Annotated[
    Path | None, typer.Option("--inputs", metavar="FILE", help="A YAML file of inputs.")
]
EndpointName = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="NAME",
        help="embedded, openai, or a profile of your configuration.",
        autocompletion=complete.endpoints,
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        "--base-url", metavar="URL", help="An endpoint's address, as http://host:port/v1."
    ),
]
KeyVariable = Annotated[
    str | None,
    typer.Option(
        "--api-key-env", metavar="VAR", help="With --base-url: the variable that holds its key."
    ),
]
Model = Annotated[str | None, typer.Option("--model", help="Ask this model in every step.")]
Attempts = Annotated[
    int | None,
    typer.Option(min=1, help="How often a call is tried; 6 if neither this nor a profile says."),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        min=0.1, metavar="SECONDS", help="Give up on an endpoint that is silent for so long; 300."
    ),
]
LimitFlags = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=VALUE",
        help="Stop at calls=N, tokens=N, wall=TIME or usd=AMOUNT; wins over the queue's limit.",
        autocompletion=complete.limits,
    ),
]
PriceList = Annotated[
    Path | None,
    typer.Option("--prices", metavar="FILE", help="A TOML file of prices instead of the built-in."),
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where runs are kept.")]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace files that were edited by hand (they are kept)."),
]
Verify = Annotated[
    bool | None,
    typer.Option(
        "--verify/--no-verify",
        help="Judge each step when it lands, and refine what is red; by default where this "
        "machine can.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print events as JSON lines, for machines.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for machines.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No streaming text; in a pipe: only results and problems."),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Ask everything anew, also what earlier runs answer.")
]
FromStep = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="STEP",
        help="Ask anew from this step on; earlier runs answer before it.",
        autocompletion=complete.steps,
    ),
]
Interactive = Annotated[
    bool,
    typer.Option(
        "--interactive",
        "-i",
        help="Decide after each reply: accept, fix, change, edit, retry, skip.",
    ),
]
StepId = Annotated[
    str | None,
    typer.Option("--step", metavar="ID", help="Only this step.", autocompletion=complete.steps),
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Write here instead of generated/<queue>."),
]
RunName = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="A run: its path, or part of its name; the latest if left out.",
        autocompletion=complete.runs,
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="RUN",
        help="Fill in the replies of this run: its path, or part of its name.",
        autocompletion=complete.runs,
    ),
]
NamedRun = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run: its path, or part of its name.", autocompletion=complete.runs
    ),
]
