"""The run directory: an append-only, hash-chained journal beside content-addressed blobs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shlex
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from promptqueue.errors import StorageError, UsageError, writing
from promptqueue.queue.problem import suggest
from promptqueue.run.blobs import Blobs
from promptqueue.run.meta import read_meta, write_meta

Record = dict[str, Any]
T = TypeVar("T")

_GENESIS = "0" * 64
_RESERVE_BYTES = 1 << 20
"""Kept free for the reply that is under way when the disk fills up."""
_ELSEWHERE = "keep a new run elsewhere with `promptqueue run QUEUE --runs DIR`"


class RunDirectory:
    """One run on disk: run.json, journal.jsonl, blobs/.

    Lines of the journal carry a sequence number and the digest of the line before, so that
    a change of anything written shows. They become durable with `commit`.
    """

    def __init__(self, path: Path, *, write: bool = False) -> None:
        self.path = path
        self.blobs = Blobs(path / "blobs")
        self._fd: int | None = None
        self._seq = 0
        self._last = _GENESIS
        self._reserve = path / "reserve"
        self.disk_is_full = False
        """Set when the reserve had to be used; nothing more should be paid for."""
        if write:
            self._open_for_writing()

    @property
    def id(self) -> str:
        """Return the name of the run."""
        return self.path.name

    @property
    def journal_path(self) -> Path:
        """Return where the journal lies."""
        return self.path / "journal.jsonl"

    @property
    def partial_path(self) -> Path:
        """Return where the reply under way is spooled, best effort."""
        return self.path / "partial.txt"

    @property
    def way_on(self) -> str:
        """Return how a user goes on with the run, wherever it lies."""
        return f"go on with `promptqueue resume {shlex.quote(str(self.path))}`"

    def meta(self) -> Record:
        """Return what run.json says.

        Raises:
            StorageError: it cannot be used.
        """
        return read_meta(self.path)

    def append(self, event: str, **data: Any) -> None:
        """Write one event; it survives a killed process at once, a power cut after `commit`."""
        record = {
            "seq": self._seq,
            "prev": self._last,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
            **data,
        }
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "surrogatepass"
        )
        self._keeping_space(lambda: self._write(line + b"\n"))
        self._seq += 1
        self._last = hashlib.sha256(line).hexdigest()

    def commit(self) -> None:
        """Make everything appended so far durable (one fsync)."""
        assert self._fd is not None
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._failed(error) from error

    def keep(self, text: str | bytes, *, durable: bool = False) -> str:
        """Store a text as a blob and return its digest, even on a disk that has just filled up."""
        return self._keeping_space(lambda: self.blobs.put(text, durable=durable))

    def records(self) -> Iterator[Record]:
        """Yield the events from the first on; a torn last line is left out.

        Raises:
            StorageError: a line is damaged, or does not follow from the one before.
        """
        for record, _, _ in self._lines():
            yield record

    def close(self) -> None:
        """Release the run; another process may go on with it."""
        if self._fd is not None:  # else the reserve is that of whoever writes
            self._reserve.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = None

    def _open_for_writing(self) -> None:
        with writing(self.journal_path, _ELSEWHERE):
            self._fd = os.open(self.journal_path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._fd)  # and no more: the reserve is the other's
            self._fd = None
            raise StorageError(
                f"the run {self.id} is at work in another process; wait for it or stop it"
            ) from error
        try:
            self._cut_torn_line()
            self._fill_reserve()
        except StorageError:
            self.close()  # or it would be at work for as long as this process lives
            raise

    def _cut_torn_line(self) -> None:
        assert self._fd is not None
        end = 0
        for _, digest, offset in self._lines():
            self._seq += 1
            self._last, end = digest, offset
        os.ftruncate(self._fd, end)

    def _fill_reserve(self) -> None:
        try:
            with self._reserve.open("wb") as file:
                file.write(os.urandom(_RESERVE_BYTES))  # noise: no disk can shrink it
                file.flush()
                os.fsync(file.fileno())  # or the first reply's fsync waits for this megabyte
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            raise StorageError(
                f"no space for a run in {self.path.parent} ({error.strerror}); "
                f"free some, or {_ELSEWHERE}"
            ) from error

    def _lines(self) -> Iterator[tuple[Record, str, int]]:
        """Yield each record with its digest and the offset of its end."""
        last, offset, seq = _GENESIS, 0, 0
        try:
            file = self.journal_path.open("rb")
        except OSError as error:
            raise StorageError(f"{self.journal_path} cannot be read: {error.strerror}") from error
        with file:
            for line in file:
                body = line.removesuffix(b"\n")
                if body == line:
                    return  # torn: the process died while it wrote
                record = self._parsed(body, seq, last)
                last = hashlib.sha256(body).hexdigest()
                offset += len(line)
                seq += 1
                yield record, last, offset

    def _parsed(self, body: bytes, seq: int, last: str) -> Record:
        try:
            record: Record = json.loads(body.decode("utf-8", "surrogatepass"))
            sound = record["seq"] == seq and record["prev"] == last
        except (ValueError, KeyError, TypeError):
            sound = False
        if not sound:
            raise StorageError(
                f"{self.journal_path}:{seq + 1}: the line is damaged, or it or the one above was "
                "changed after it was written; what is above can be shown; to go on, restore it, "
                "or start a new run"
            )
        return record

    def _write(self, data: bytes) -> None:
        assert self._fd is not None
        end = os.fstat(self._fd).st_size
        try:
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError:
            os.ftruncate(self._fd, end)
            raise

    def _keeping_space(self, write: Callable[[], T]) -> T:
        try:
            return write()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._reserve.exists():
                raise self._failed(error) from error
        self._reserve.unlink()
        self.disk_is_full = True
        try:
            return write()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.path} cannot be written: {error.strerror or error}; "
            f"free some space and {self.way_on}"
        )


def create_run(runs: Path, name: str, meta: Record) -> RunDirectory:
    """Make a new run directory below `runs` and write its run.json, once.

    Raises:
        StorageError: the folder cannot be written.
    """
    now = datetime.now(UTC)
    # To the millisecond: the latest run is the one whose name sorts last.
    stamp = f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03}"
    path = runs / f"{stamp}-{name}-{secrets.token_hex(2)}"
    with writing(runs, _ELSEWHERE), contextlib.ExitStack() as undo:
        path.mkdir(parents=True)
        undo.callback(shutil.rmtree, path, ignore_errors=True)
        _ignore_in_git(runs)
        directory = RunDirectory(path, write=True)
        undo.callback(directory.close)
        write_meta(path, meta)
        undo.pop_all()
    return directory


def find_run(runs: Path, name: str | None) -> Path:
    """Return the path of a run: the latest, or the one whose name or part of a name is given.

    Raises:
        UsageError: there is none, or the name fits more than one.
    """
    if name and (Path(name) / "run.json").is_file():
        return Path(name)
    found = sorted(path.parent for path in runs.glob("*/run.json"))
    if not found:
        raise UsageError(f"there is no run in {runs}; start one with `promptqueue run QUEUE`")
    if name is None:
        return found[-1]
    fitting = [path for path in found if name in path.name]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(path.name for path in (fitting or found)[-5:])
    near = suggest(name, [path.name for path in found], otherwise="")
    what = f"{name!r} fits more than one run" if fitting else f"there is no run {name!r}"
    hint = f"; {near}" if near.startswith("did") and not fitting else ""
    raise UsageError(f"{what} in {runs}{hint}; the latest: {known}")


def _ignore_in_git(runs: Path) -> None:
    """Keep runs out of the user's repository: they may hold anything a prompt holds."""
    ignore = runs / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", "utf-8")
