"""Completion of what the shell cannot know: runs, steps, inputs, endpoints, queue files.

Called at every press of Tab: nothing heavy is imported, and whatever is wrong with a file, the
answer is a list without it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import typer

from promptqueue.chat.user_folders import config_path

_RUNS_SHOWN = 50
"""Of many runs only the latest are offered."""
_HEAD_BYTES = 4096
"""So far a file is read to see whether it is a queue."""
_LARGEST_BYTES = 1 << 20
"""A queue file beyond this is not read while the user waits."""
_BREAKS = "=:"
"""Where bash cuts a word in two (COMP_WORDBREAKS), and replaces only what follows."""
_HEAD = "_PROMPTQUEUE_COMPLETE_HEAD"
"""The variable with what bash keeps of the word that is completed."""
_DEPTH = 3
_FOLDERS = 200
"""How far below the folder that is named queue files are looked for."""

Completer = Callable[[typer.Context, str], list[str]]


def _safely(find: Callable[[typer.Context, str], Iterable[str]]) -> Completer:
    """Make a completer that never raises and offers each thing once."""

    @functools.wraps(find)
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        head = os.environ.get(_HEAD, "")
        try:
            found = dict.fromkeys(find(ctx, head + incomplete))
        except Exception:  # an error here would be printed into the user's command line
            return []
        return [text.removeprefix(head) for text in found]

    return complete


def join_words(environ: MutableMapping[str, str]) -> None:
    """Where bash asks, join the words that it cut, before typer reads them.

    Of the word at the cursor only the last piece stays, for bash replaces no more; the head that
    it keeps is put aside for the completers.
    """
    if environ.get("_PROMPTQUEUE_COMPLETE") != "complete_bash":
        return
    pieces = environ["COMP_WORDS"].split("\n")[: int(environ["COMP_CWORD"]) + 1]
    words: list[str] = []
    for before, piece in itertools.pairwise(["", *pieces]):
        follows = _is_break(before) and piece and not piece.startswith("--")
        if words and (_is_break(piece) or follows):
            words[-1] += piece
        else:
            words.append(piece)
    last = "" if _is_break(pieces[-1]) else pieces[-1]
    head = words.pop().removesuffix(last)
    if head.startswith("--") and "=" in head:  # of --set=language=e, --set is a word of its own
        option, _, head = head.partition("=")
        words.append(option)
    environ[_HEAD] = head
    environ["COMP_WORDS"] = "\n".join([*words, last])
    environ["COMP_CWORD"] = str(len(words))


@_safely
def runs(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Offer the runs whose name, or the end of it from a dash on, begins like that; latest first.

    Every shell offers only what begins with the word typed, so `tiny` becomes `tiny-7f3a`.
    """
    names = sorted(
        (path.parent.name for path in _runs_folder(ctx).glob("*/run.json")), reverse=True
    )
    ends = (_end_from(name, incomplete) for name in names)
    yield from [end for end in ends if end][:_RUNS_SHOWN]


@_safely
def endpoints(ctx: typer.Context, incomplete: str) -> Iterator[str]:  # noqa: ARG001 - typer passes it
    """Offer the user's profiles, and the two endpoints that need none."""
    import tomllib

    config: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        config = tomllib.loads(config_path().read_text("utf-8"))
    names = [*config.get("endpoints", {}), "embedded", "openai"]
    yield from (name for name in names if name.startswith(incomplete))


@_safely
def queue_files(ctx: typer.Context, incomplete: str) -> Iterator[str]:  # noqa: ARG001 - typer passes it
    """Offer the queue files in and below the folder that was typed."""
    folder, _, _ = incomplete.rpartition("/")
    base = Path(f"{folder}/" if folder or incomplete.startswith("/") else ".").expanduser()
    for path in _yaml_files(base):
        inside = path.relative_to(base)
        shown = f"{folder}/{inside}" if incomplete.count("/") else str(inside)
        if shown.startswith(incomplete) and _is_queue(path):
            yield shown


@_safely
def steps(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Offer the steps of the queue, or of the run, that the command line names."""
    for step in _queue(ctx).get("steps", ()):
        if str(step["id"]).startswith(incomplete):
            yield str(step["id"])


@_safely
def settings(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Offer the inputs of the queue that the command line names, with their choices."""
    for name, spec in (_queue(ctx).get("inputs") or {}).items():
        default = spec.get("default", "")
        for value in spec.get("choices") or (default,):
            text = f"{name}={str(value).lower() if isinstance(value, bool) else value}"
            if text.startswith(incomplete):
                yield text


@_safely
def limits(ctx: typer.Context, incomplete: str) -> Iterator[str]:  # noqa: ARG001 - typer passes it
    """Offer the names of the limits."""
    for name in ("calls=", "tokens=", "wall=", "usd="):
        if name.startswith(incomplete):
            yield name


def _is_break(piece: str) -> bool:
    return bool(piece) and not piece.strip(_BREAKS)


def _end_from(name: str, start: str) -> str:
    parts = name.split("-")
    ends = ("-".join(parts[first:]) for first in range(len(parts)))
    return next((end for end in ends if end.startswith(start)), "")


def _runs_folder(ctx: typer.Context) -> Path:
    return Path(ctx.params.get("runs") or ".promptqueue/runs")


def _queue(ctx: typer.Context) -> dict[str, Any]:
    """Return the queue file that the command line names itself, or by one of its runs."""
    import yaml

    path = _argument(ctx, "queue") or _queue_of_run(ctx)
    if path is None or Path(path).stat().st_size > _LARGEST_BYTES:
        return {}
    data = yaml.load(Path(path).read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return data if isinstance(data, dict) else {}


def _queue_of_run(ctx: typer.Context) -> str | None:
    import json

    name = _argument(ctx, "name")
    if name is None:
        return None
    found = [Path(name), *sorted(_runs_folder(ctx).glob(f"*{name}*"))]
    path = next(path for path in found if (path / "run.json").is_file())
    return str(json.loads((path / "run.json").read_bytes())["queue"]["path"])


def _argument(ctx: typer.Context, name: str) -> str | None:
    """Return the first argument, if it is the one of that name.

    While an option still waits for its value, nothing is parsed, and the words are in `args`.
    """
    if name not in ctx.params:
        return None
    value = ctx.params[name] or next(iter(ctx.args), None)
    return None if value is None else str(value)


def _yaml_files(base: Path) -> Iterator[Path]:
    """Yield YAML files, the near ones first; hidden folders and environments are left out."""
    level, seen = [base], 0
    for _ in range(_DEPTH):
        below: list[Path] = []
        for folder in level:
            seen += 1
            if seen > _FOLDERS:
                return
            for entry in _entries(folder):
                with contextlib.suppress(OSError):
                    if entry.is_dir():
                        below.append(entry)
                    elif entry.suffix in (".yaml", ".yml") and entry.is_file():
                        yield entry
        level = below


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder, in order; nothing where it cannot be read."""
    with contextlib.suppress(OSError):
        return sorted(
            entry
            for entry in folder.iterdir()
            if not entry.name.startswith(".") and entry.name != "node_modules"
        )
    return []


def _is_queue(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        return head.startswith(b"promptqueue:") or b"\npromptqueue:" in head
    return False
