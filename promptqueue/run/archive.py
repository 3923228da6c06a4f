"""Earlier runs as a store of answers, so that nothing is paid for twice.

An index beside the runs says which run completed a step that began with a given question.
It holds no answer itself: when it is lost, or names a run that was pruned, the question is
asked again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from promptqueue.errors import StorageError
from promptqueue.queue.model import Limits
from promptqueue.run.blobs import Blobs
from promptqueue.run.journal import RunDirectory
from promptqueue.run.ledger import Ledger

_INDEX = "answers"


@dataclass(frozen=True, slots=True)
class Past:
    """What an earlier run has got and been told; only read."""

    run: str
    ledger: Ledger
    blobs: Blobs

    def wrote(self, digest: str) -> bool:
        """Tell whether the run wrote the text of a file: it keeps what it writes before it does."""
        return digest in self.blobs and digest not in self.ledger.replaced


class Archive(Protocol):
    """Where a run looks for answers that are not its own."""

    def find(self, key: str) -> Past | None:
        """Return the run that completed a step which began with the request of this key."""
        ...

    def add(self, key: str, run: str) -> None:
        """Note that a run has completed such a step."""
        ...


class RunArchive:
    """The runs of one folder that asked one endpoint."""

    def __init__(
        self, runs: Path, endpoint: str, *, elsewhere: Collection[str] = frozenset()
    ) -> None:
        """Take note of where runs are, who answers, and which keys somebody else has answered."""
        self._runs = runs
        self._elsewhere = frozenset(elsewhere)
        self._endpoint = endpoint
        self._read: dict[str, Past | None] = {}

    def find(self, key: str) -> Past | None:
        """Return the run that completed a step which began with the request of this key."""
        try:
            name = self._entry(key).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        if name not in self._read:
            self._read[name] = _readable(self._runs / name) if name else None
        past = self._read[name]
        return past if past is not None and key in past.ledger.answers else None

    def add(self, key: str, run: str) -> None:
        """Note that a run has completed such a step; best effort."""
        if key in self._elsewhere:
            return
        entry = self._entry(key)
        with contextlib.suppress(OSError):
            entry.parent.mkdir(parents=True, exist_ok=True)
            temporary = entry.with_name(f".{entry.name}.{run}")
            temporary.write_text(run, "utf-8")
            temporary.replace(entry)

    def _entry(self, key: str) -> Path:
        digest = hashlib.sha256(f"{self._endpoint}\0{key}".encode()).hexdigest()
        return self._runs / _INDEX / digest[:2] / digest[2:]


class OneRun:
    """An archive of a single run, for its replay."""

    def __init__(self, past: Past) -> None:
        self._past = past

    def find(self, key: str) -> Past | None:
        """Return the run if it has an answer to this request."""
        return self._past if key in self._past.ledger.answers else None

    def add(self, key: str, run: str) -> None:
        """Keep nothing."""


def read_past(path: Path) -> Past:
    """Read the journal of a run.

    Raises:
        StorageError: it is damaged.
    """
    directory = RunDirectory(path)
    return Past(directory.id, Ledger(Limits()).fold(directory.records()), directory.blobs)


def unfinished_into(runs: Path, out: Path) -> Past | None:
    """Return the latest run that wrote to the folder `out`, if it did not come to its end."""
    where = str(out.resolve())
    found = sorted(runs.glob("*/run.json"), reverse=True)
    latest = next((path.parent for path in found if _out_of(path.parent) == where), None)
    past = _readable(latest) if latest else None
    return past if past and not past.ledger.finished else None


def _out_of(path: Path) -> str:
    try:
        return str(RunDirectory(path).meta()["out"])
    except (StorageError, KeyError, TypeError):
        return ""


def _readable(path: Path) -> Past | None:
    try:
        return read_past(path)
    except StorageError:
        return None
