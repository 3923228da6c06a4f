"""Choose how a run is shown: JSON lines, a live display, or plain lines."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Protocol

from promptqueue.chat.message import AttemptFailed, Delta
from promptqueue.chat.weights import Progress
from promptqueue.cli.narrator import STOPPING, Narrator
from promptqueue.errors import Interrupted, PromptQueueError, StorageError
from promptqueue.run.events import (
    Event,
    FileWritten,
    Notice,
    Refining,
    RunFinished,
    Spent,
    StepFinished,
)

_RESULTS_AND_PROBLEMS = (
    *(Notice, Spent, AttemptFailed, Refining, FileWritten, StepFinished, RunFinished),
)
"""What --quiet leaves of the lines."""


class Display(Protocol):
    """Shows events."""

    def show(self, event: Event) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def paused(self) -> AbstractContextManager[None]:
        """Leave the screen to a question."""
        ...

    def failed(self) -> None:
        """Take note that the run ends early; the message itself is told elsewhere."""
        ...

    def stopping(self) -> None:
        """Say that the run stops after this reply; called from within a signal handler."""
        ...


@contextlib.contextmanager
def ending(*, json: bool) -> Iterator[None]:
    """End the lines of --json with `run.failed`, wherever a command fails."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        with contextlib.suppress(OSError):  # nobody reads any more
            if json and not isinstance(error, BrokenPipeError):
                JsonDisplay().ended(error)
        raise


@contextlib.contextmanager
def open_display(*, json: bool, quiet: bool) -> Iterator[Display]:
    """Choose what fits: JSON lines, a live display on a terminal, or plain lines."""
    if json:
        yield JsonDisplay()
    elif sys.stdout.isatty():
        from promptqueue.cli.live import LiveDisplay

        with LiveDisplay(quiet=quiet) as display:
            yield display
    else:
        yield PlainDisplay(quiet=quiet)


class JsonDisplay:
    """One JSON object a line; the text of the stream is left out (the reply has it all)."""

    def show(self, event: Event) -> None:
        if not isinstance(event, Delta):
            self._print({"event": event.kind, **asdict(event)})

    def progress(self, progress: Progress) -> None:
        if progress.done_bytes in (0, progress.total_bytes):  # begin and end of every stage
            self._print({"event": "weights", **asdict(progress)})

    def paused(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def failed(self) -> None: ...

    def ended(self, error: BaseException) -> None:
        """Print the last line of a command that ends with an error of any kind."""
        message = str(error) or "stopped"
        self._print({"event": "run.failed", "message": message, "exit_code": _exit_code(error)})

    def stopping(self) -> None:
        _tell_stopping()

    def _print(self, data: dict[str, object]) -> None:
        print(json.dumps(data, ensure_ascii=False), flush=True)  # noqa: T201 - its task


class PlainDisplay:
    """Lines that never change once written: for pipes, logs and CI."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.narrator = Narrator()
        self._quiet = quiet

    def show(self, event: Event) -> None:
        lines = self.narrator.lines(event)
        if not self._quiet or isinstance(event, _RESULTS_AND_PROBLEMS):
            self._print(lines)

    def progress(self, progress: Progress) -> None:
        lines = self.narrator.progress_lines(progress)
        if not self._quiet:
            self._print(lines)

    def failed(self) -> None:
        self._print(self.narrator.budget_lines())

    def stopping(self) -> None:
        _tell_stopping()

    def _print(self, lines: list[str]) -> None:
        for line in lines:
            print(line, flush=True)  # noqa: T201 - its task

    def paused(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()


def _exit_code(error: BaseException) -> int:
    """Return what `main` ends with."""
    if isinstance(error, PromptQueueError):
        return error.exit_code
    kinds = ((KeyboardInterrupt, Interrupted), (OSError, StorageError))
    found = (owner for kind, owner in kinds if isinstance(error, kind))
    return next(found, PromptQueueError).exit_code


def _tell_stopping() -> None:
    """Write past the buffers of Python: a signal may have come while they are being written."""
    with contextlib.suppress(OSError):
        os.write(2, f"promptqueue: {STOPPING}\n".encode())
