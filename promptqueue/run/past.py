"""What runs left behind: a line for each, and the calls of one as its journal tells them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from promptqueue.chat.message import Usage
from promptqueue.errors import StorageError
from promptqueue.run.blobs import Blobs
from promptqueue.run.journal import Record, RunDirectory
from promptqueue.run.records import is_paid_here, usage_paid

_TAIL_BYTES = 65_536
"""Enough for the last event of a run, whatever it says."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of the list of runs."""

    run: str
    created: str
    """UTC, ISO 8601."""
    queue: str
    status: str
    """complete, red (something that was judged is not met), incomplete, stale, stopped, at work, or
    damaged."""
    reason: str = ""
    """Why it stopped."""
    calls: int | None = None
    usage: Usage | None = None
    usd: float | None = None
    seconds: float | None = None


@dataclass(slots=True)
class Call:
    """One question of a run, and what became of it."""

    key: str
    """Digest of the question."""
    step: str
    turn: int
    model: str
    params: Mapping[str, object]
    messages: tuple[tuple[str, str], ...]
    """Role and digest."""
    started: str
    """UTC, ISO 8601."""
    reused: bool
    origin: str
    ended: str = ""
    failures: list[str] = field(default_factory=list)
    waits: list[tuple[float, str]] = field(default_factory=list)
    """Seconds and reason."""
    reply: str = ""
    """Digest of the text."""
    finish: str = ""
    usage: Usage | None = None
    """Failed attempts included; None when the model was not asked here, or counted nothing."""
    seconds: float = 0.0
    files: tuple[str, ...] = ()
    issues: tuple[str, ...] = ()
    verdict: str = ""
    """What the files were worth, where they were judged."""
    steered: str = ""
    """What the user decided about the reply."""


@dataclass(frozen=True, slots=True)
class History:
    """A run as its journal tells it."""

    calls: tuple[Call, ...]
    """In the order in which their answers were last used, over all sessions."""
    files: Mapping[str, str]
    """Path to digest, as the run left them."""
    steps: Mapping[str, bool]
    """Step to whether it is complete, as far as the run came."""
    warning: str = ""
    """Where the journal is damaged."""

    def latest(self) -> dict[str, list[Call]]:
        """Return the calls of each step the last time that it was run."""
        found: dict[str, list[Call]] = {}
        for call in self.calls:
            if call.turn == 0:
                found[call.step] = []
            found.setdefault(call.step, []).append(call)
        return found


def summaries(runs: Path) -> Iterator[Summary]:
    """Yield every run of a folder, the latest first; only the end of each journal is read."""
    for name in sorted(_names(runs), reverse=True):
        with contextlib.suppress(OSError):
            yield summary(f"{runs}/{name}")


def summary(path: str) -> Summary:
    """Return one line about a run; what is damaged is said, not raised.

    Paths are texts here: a thousand runs make several thousand of them.
    """
    name = os.path.basename(path)  # noqa: PTH119
    try:
        with open(f"{path}/run.json", "rb") as file:  # noqa: PTH123
            meta = json.load(file)
        created, queue = str(meta["created"]), str(meta["queue"]["name"])
    except (ValueError, KeyError, TypeError):
        return Summary(name, "", "?", "damaged", "run.json cannot be read")
    begun = Summary(name, created, queue, "stopped")
    try:
        return _ended(begun, f"{path}/journal.jsonl")
    except (KeyError, TypeError):
        return replace(begun, status="damaged", reason="journal.jsonl ends with what no run writes")


def _ended(begun: Summary, journal: str) -> Summary:
    """Return what became of a run, by the last line of its journal."""
    last = last_record(journal)
    if last.get("event") == "run.finished":
        whole = "red" if last.get("unmet") or last.get("faults") else "complete"
        return replace(
            begun,
            status=whole if last["complete"] else "incomplete",
            calls=last["calls"],
            usage=Usage(**last["usage"]),
            usd=last["usd"],
            seconds=last["seconds"],
        )
    if _at_work(journal):
        return replace(begun, status="at work")
    if last.get("event") == "steps.stale":
        return replace(begun, status="stale", reason=", ".join(last["stale"]))
    return replace(begun, reason=str(last.get("reason", "killed")).partition("\n")[0])


def size_of(path: Path) -> int:
    """Return the bytes of all files of a run."""
    return sum(
        os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - thousands of them
        for folder, _, names in os.walk(path)
        for name in names
    )


def read_history(directory: RunDirectory) -> History:
    """Read a journal, up to where it may be damaged."""
    calls: list[Call] = []
    files: dict[str, str] = {}
    steps: dict[str, bool] = {}
    warning = ""
    try:
        for record in directory.records():
            event = record["event"]
            if event == "call.started":
                calls.append(_own_answer(calls, record) or _call(record))
            elif event == "file.written":
                files[record["path"]] = record["digest"]
            elif event == "step.started":
                steps[record["step"]] = False
            elif event == "step.finished":
                steps[record["step"]] = record["complete"]
            elif calls:
                _note(calls[-1], record)
    except StorageError as error:
        warning = str(error)
    return History(tuple(calls), files, steps, warning)


def text_of(blobs: Blobs, digest: str) -> str:
    """Return a text, or in its place why it cannot be read."""
    try:
        return blobs.get(digest)
    except StorageError as error:
        return f"‹{error}›\n"


def _names(runs: Path) -> list[str]:
    try:
        with os.scandir(runs) as entries:
            return [e.name for e in entries if e.is_dir() and e.name[:1].isdigit()]
    except OSError:
        return []


def last_record(journal: str) -> Record:
    """Return the last whole line of a journal; nothing where that is no record."""
    try:
        with open(journal, "rb") as file:  # noqa: PTH123
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().rpartition(b"\n")[0].splitlines()
        record = json.loads(lines[-1])
    except (OSError, ValueError, IndexError):
        return {}
    return record if isinstance(record, dict) else {}


def _at_work(journal: str) -> bool:
    try:
        with open(journal, "rb") as file:  # noqa: PTH123
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _own_answer(calls: list[Call], record: Record) -> Call | None:
    """Take out the call that this one repeats after a resume: it was answered in this run."""
    if not record["reused"] or record.get("origin"):
        return None
    found = next(
        (call for call in reversed(calls) if call.key == record["key"] and call.reply), None
    )
    if found is not None:
        calls.remove(found)
    return found


def _call(record: Record) -> Call:
    return Call(
        key=record["key"],
        step=record["step"],
        turn=record["turn"],
        model=record["model"],
        params=record["params"],
        messages=tuple((role, digest) for role, digest in record["messages"]),
        started=record["at"],
        reused=record["reused"],
        origin=record.get("origin", ""),
    )


def _spend(call: Call, record: Record) -> None:
    spent = usage_paid(record)
    if spent is not None:
        call.usage = spent if call.usage is None else call.usage + spent


def _note(call: Call, record: Record) -> None:
    event = record["event"]
    if event == "call.failed":
        call.failures.append(record["message"])
        call.ended = record["at"]
        _spend(call, record)
    elif event == "call.waiting":
        call.waits.append((record["seconds"], record["reason"]))
    elif event == "call.finished":
        call.ended, call.reply, call.finish = record["at"], record["text"], record["finish_reason"]
        if is_paid_here(record):
            _spend(call, record)
            call.seconds = record["seconds"]
    elif event == "modules.extracted":
        call.files, call.issues = tuple(record["files"]), tuple(record["issues"])
    elif event == "step.judged":
        met, unmet = record["verdict"]["met"], record["verdict"]["unmet"]
        call.verdict = f"{len(met)} of {len(met) + len(unmet)} requirements met"
        call.verdict += f"; not met: {', '.join(unmet)}" if unmet else ""
    elif event == "step.steered":
        call.steered = record["action"]
