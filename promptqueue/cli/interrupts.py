"""Ctrl-C, SIGTERM and the end of the time while a run is at work: when each of them stops it."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from promptqueue.chat.message import Answered, AttemptFailed, AttemptStarted, Waiting
from promptqueue.cli.frames import LOADERS, is_within
from promptqueue.run.events import CallStarted, Event, Spent
from promptqueue.run.ledger import TimeIsUp

_WRITERS = (
    *LOADERS,
    *("promptqueue.run.journal", "promptqueue.run.blobs", "promptqueue.run.recorder"),
    *("promptqueue.run.workspace", "promptqueue.cli.display", "promptqueue.cli.live"),
    "promptqueue.cli.narrator",
)
"""A signal never cuts into these: half a line in the journal would make a run unreadable."""
_QUESTIONS = ("promptqueue.cli.wheel",)
"""While the user is asked something, nothing is under way."""
_TICK_S = 0.1
"""So often it is looked whether the time is up, or a signal waits for the end of a write.
A tick also wakes a call that went to sleep in the moment in which a signal came: Python runs the
handler between two instructions, and would find none before the call returns.
"""
_CLEAN_UP_S = 10.0
"""So long a run that is stopping may journal why, and end its server, undisturbed."""


class Interrupts:
    """Owns the signals of a run, as a context manager.

    The first Ctrl-C lets the reply under way end, for it is paid for; its files are written, and
    the run stops before it asks again. Where nothing is under way it stops at once, as it does
    on a second Ctrl-C, on SIGTERM, and when its time is up.

    Args:
        tell: is called from within a signal handler when the first Ctrl-C has been understood.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._asking = False  # a reply is under way, or its files are being written
        self._stopping = False
        self._pending: BaseException | None = None  # to be raised as soon as nothing is written
        self._deadline = math.inf
        self._error: BaseException | None = None  # what was raised last
        self._raised = -_CLEAN_UP_S
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            self._before[number] = signal.signal(number, self._on_signal)
        signal.setitimer(signal.ITIMER_REAL, _TICK_S, _TICK_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def follow(self, event: Event) -> None:
        """Take note of an event of the run.

        Raises:
            KeyboardInterrupt: the run is to stop before it asks again.
        """
        if self._error is not None:  # Python swallows what is raised within a `__del__`
            raise self._error
        if isinstance(event, Spent):
            left = event.limits.get("wall", math.inf) - event.seconds
            self._deadline = time.monotonic() + left
        elif isinstance(event, AttemptStarted | Answered):
            self._asking = True  # after the answer its files are still to be written
        elif isinstance(event, AttemptFailed | Waiting) or (
            isinstance(event, CallStarted) and not event.reused
        ):
            self._asking = False
            if self._stopping:
                self._raise(KeyboardInterrupt())

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGALRM:
            self._look_at_the_clock()
        elif number == signal.SIGINT and self._may_end(frame):
            self._stopping = True
            self._tell()
        else:
            self._pending = KeyboardInterrupt()
        if self._pending is not None and not is_within(_WRITERS, frame):
            self._raise(self._pending)

    def _look_at_the_clock(self) -> None:
        if self._pending is None and time.monotonic() >= self._deadline:
            self._pending = TimeIsUp()

    def _may_end(self, frame: FrameType | None) -> bool:
        """Tell whether this is the first Ctrl-C, and there is a reply to wait for."""
        return self._asking and not self._stopping and not is_within(_QUESTIONS, frame)

    def _raise(self, error: BaseException) -> None:
        """Raise, unless the run is at work to end because of an earlier signal."""
        now = time.monotonic()
        self._pending, self._deadline = None, math.inf
        if now - self._raised >= _CLEAN_UP_S:
            self._raised, self._error = now, error
            raise error
