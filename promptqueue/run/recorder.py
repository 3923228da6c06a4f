"""Writes events into the journal: texts become blobs, what was paid for becomes durable."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import IO, TypeVar

from promptqueue.chat.message import Answered, AttemptFailed, Delta, Reply
from promptqueue.run.events import Event, RunFinished, StepsStale
from promptqueue.run.journal import RunDirectory
from promptqueue.run.records import reply_record

E = TypeVar("E", bound=Event)
_SPOOL_EVERY_S = 0.5
_ENDS = (RunFinished, StepsStale)
"""The last events of a run: who reads no further has not stopped it."""


class Recorder:
    """The one place through which events reach the run directory."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self._spool = Spool(directory)
        self._ended = False

    def record(self, event: E) -> E:
        """Journal an event and return it; a reply is durable before anyone acts on it."""
        if isinstance(event, Delta):
            self._spool.add(event.text)
        elif isinstance(event, Answered):
            self._record_answer(event)
        elif isinstance(event, AttemptFailed):
            data = asdict(event)
            data["partial"] = self.directory.keep(event.partial) if event.partial else ""
            self.directory.append(event.kind, **data)
            self._spool.clear()
        else:
            self.directory.append(event.kind, **asdict(event))
        self._ended = isinstance(event, _ENDS)
        return event

    def copy_answer(self, reply: Reply, origin: str) -> None:
        """Keep an answer of an earlier run, so that this run can be read without the other."""
        self.directory.append(Answered.kind, **reply_record(reply, self.directory), origin=origin)

    def cut(self, event: AttemptFailed) -> None:
        """Journal what a reply under way has cost; its text goes with `interrupted`."""
        self.directory.append(event.kind, **asdict(event))

    def interrupted(self, reason: str) -> None:
        """Note why the run stops, with what had arrived of the reply; at its end, nothing."""
        if self._ended:
            return
        partial = self._spool.take()
        blob = self.directory.keep(partial) if partial else ""
        self.directory.append("run.interrupted", reason=reason, partial=blob)
        self.directory.commit()

    def recover(self) -> int:
        """Move what a killed process had spooled of a reply into a blob; return its length."""
        partial = self._spool.take()
        if partial:
            self.directory.append("call.lost", partial=self.directory.keep(partial))
        return len(partial)

    def close(self) -> None:
        """Make the rest durable and release the run."""
        self.directory.commit()
        self._spool.clear()
        self.directory.close()

    def _record_answer(self, event: Answered) -> None:
        record = reply_record(event.reply, self.directory, durable=True)  # one fsync of two a call
        self.directory.append(event.kind, **record)
        self.directory.commit()  # the other
        self._spool.clear()


class Spool:
    """Keeps what has arrived of the reply under way, so that a killed process loses little.

    Best effort: it is never fsynced, and a full disk does not stop the stream.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._path = directory.partial_path
        self._file: IO[str] | None = None
        self._waiting: list[str] = []
        self._next = 0.0

    def add(self, text: str) -> None:
        self._waiting.append(text)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SPOOL_EVERY_S
            self._flush()

    def take(self) -> str:
        """Return everything spooled and forget it."""
        self._flush()
        try:
            text = self._path.read_text("utf-8", "replace")
        except OSError:
            text = ""
        self.clear()
        return text

    def clear(self) -> None:
        self._waiting.clear()
        self._next = 0.0
        if self._file is not None:
            self._file.close()
            self._file = None
        self._path.unlink(missing_ok=True)

    def _flush(self) -> None:
        if not self._waiting:
            return
        try:
            if self._file is None:
                self._file = self._path.open("a", encoding="utf-8", errors="replace")
            self._file.write("".join(self._waiting))
            self._file.flush()
        except OSError:
            pass  # the reply itself goes through the journal's reserve
        self._waiting.clear()
