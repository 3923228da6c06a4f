"""Which step and turn of which run each line of a generated file came from."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from promptqueue.errors import UsageError
from promptqueue.run.journal import RunDirectory
from promptqueue.run.workspace import MANIFEST, manifest_files


def blame(file: Path, runs: Path) -> Iterator[tuple[str, str]]:
    """Yield every line of a generated file with where it came from.

    Yields:
        `step turn run` (or why nobody knows) and the line.

    Raises:
        UsageError: no manifest knows the file, it cannot be read as text, or the run that wrote
            it is kept elsewhere.
        StorageError: the run that wrote it cannot be read.
    """
    run, path = _written_by(file)
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read as text: {error}") from error
    if not (runs / run).is_dir():
        raise UsageError(f"the run {run} wrote {file}, and is not in {runs}; give --runs DIR")
    directory = RunDirectory(runs / run)
    known: list[tuple[str, str]] = []
    for record in directory.records():
        if record["event"] == "call.started":
            turn = record["turn"]
        if record["event"] == "file.written" and record["path"] == path:
            brought = record.get("turn", turn)  # older journals name the last turn alone
            origin = f"{record['step']} turn {brought} {directory.id}"
            known = _carried_over(known, directory.blobs.get(record["digest"]), origin)
    yield from _carried_over(known, text, "edited by hand")


def _written_by(file: Path) -> tuple[str, str]:
    """Return the run that the manifest of the nearest folder above names, and the path there."""
    if not file.is_file():
        raise UsageError(f"{file} is no file; name one that a run wrote, as generated/QUEUE/FILE")
    folders = file.absolute().parents
    folder = next((each for each in folders if (each / MANIFEST).is_file()), None)
    way_out = "name a file that `promptqueue run` left, where it left it"
    if folder is None:
        raise UsageError(f"no {MANIFEST} beside or above {file} says which run wrote it; {way_out}")
    path = file.absolute().relative_to(folder).as_posix()
    run = manifest_files(folder).get(path, {}).get("run")
    if run is None:
        raise UsageError(f"{folder / MANIFEST} does not say which run wrote {path}; {way_out}")
    return str(run), path


def _carried_over(
    known: Sequence[tuple[str, str]], text: str, origin: str
) -> list[tuple[str, str]]:
    """Return the lines of `text`; those that were there already keep where they came from."""
    lines = text.splitlines()
    result = [(origin, line) for line in lines]
    matcher = difflib.SequenceMatcher(None, [line for _, line in known], lines, autojunk=False)
    for start, target, count in matcher.get_matching_blocks():
        result[target : target + count] = known[start : start + count]
    return result
