"""The live display of a terminal: what stays scrolls up, one status below it moves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from promptqueue.chat.message import Answered, AttemptFailed, AttemptStarted, Delta, Waiting
from promptqueue.chat.weights import Progress
from promptqueue.cli.budget import clock
from promptqueue.cli.narrator import STOPPING, Narrator, percent
from promptqueue.run.events import CallStarted, Event, FileWritten, RunFinished, Spent
from promptqueue.words import printable

_REDRAWS_PER_S = 4
"""Enough for the eye; more would take cycles from a model on the same processor."""
_TAIL_LINES = 8
_TAIL_CHARACTERS = 4000
_CHARACTERS_PER_TOKEN = 3.5
"""For the counter while the stream runs; the summary has the endpoint's own count."""


class LiveDisplay:
    """Shows events on a terminal; redrawn a few times a second, never per event."""

    def __init__(self, *, quiet: bool) -> None:
        self._narrator = Narrator()
        self._quiet = quiet
        self._console = Console(highlight=False, soft_wrap=True)
        self._live = Live(
            self, console=self._console, refresh_per_second=_REDRAWS_PER_S, transient=True
        )
        self._busy = ""
        self._since = time.monotonic()
        self._first: float | None = None
        self._characters = 0
        self._tail = ""
        self._until: float | None = None
        self._stopping = False

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._busy = ""
        self._live.stop()

    def show(self, event: Event) -> None:
        """Take note of an event; print the lines that stay."""
        if isinstance(event, Delta):
            self._stream(event)
            return
        for line in self._narrator.lines(event):
            self._console.print(Text(line, style=_style(event)))
        self._follow(event)

    def progress(self, progress: Progress) -> None:
        """Show how far the weights are."""
        line = self._narrator.stage_line(progress)
        if line is not None:
            self._console.print(Text(line))
            self._start("")
        share = f" {percent(progress)} %" if progress.stage in ("fetching", "verifying") else ""
        self._busy = f"embedded model: {progress.stage}{share}"

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the screen to a question."""
        self._start("")
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def failed(self) -> None:
        """Clear the status; the message goes to standard error."""
        self._start("")
        for line in self._narrator.budget_lines():
            self._console.print(Text(line))

    def stopping(self) -> None:
        """Say so with the next redraw, for a signal may have come in the middle of one."""
        self._stopping = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the status: called by the refresh thread of rich."""
        if not self._busy:
            return
        below = list(self._below())
        room = min(_TAIL_LINES, options.size.height - len(below))  # rich cuts off what is lowest
        if not self._quiet and room > 0:
            for line in self._tail.splitlines()[-room:]:
                shown = printable(line[: options.max_width - 3])
                yield Text(f"  {shown}", style="dim", no_wrap=True)
        yield from below

    def _below(self) -> Iterator[Text]:
        """Yield what stands below the reply: the status, the limits, that it stops."""
        yield _line(self._status(), "bold cyan")
        budget = self._narrator.budget
        if budget.text():
            yield _line(budget.text(), "bold yellow" if budget.is_near() else "cyan")
        if self._stopping:
            yield _line(STOPPING, "bold yellow")

    def _status(self) -> str:
        now = time.monotonic()
        if self._until is not None:
            left = max(0.0, self._until - time.time())
            return f"{self._busy} · {clock(left)} left"
        text = f"{self._busy} · {clock(now - self._since)}"
        if self._first is None or not self._characters:
            return text
        tokens = self._characters / _CHARACTERS_PER_TOKEN
        speed = tokens / max(0.1, now - self._first)
        return f"{text} · about {tokens:,.0f} tokens, {speed:.0f}/s"

    def _stream(self, event: Delta) -> None:
        if self._first is None:
            self._first = time.monotonic()
        self._characters += len(event.text)
        self._tail = (self._tail + event.text)[-_TAIL_CHARACTERS:]
        self._busy = f"{self._narrator.label}: {'thinking' if event.reasoning else 'writing'}"

    def _follow(self, event: Event) -> None:
        label = self._narrator.label
        if isinstance(event, CallStarted | AttemptStarted):
            self._start(f"{label}: reading the prompt")
        elif isinstance(event, Waiting):
            self._start(f"{label}: waiting: {event.reason}")
            self._until = event.until
        elif isinstance(event, Answered | AttemptFailed | FileWritten):
            self._start(f"{label}: working")
        elif isinstance(event, RunFinished):
            self._start("")

    def _start(self, busy: str) -> None:
        self._busy, self._since, self._until = busy, time.monotonic(), None
        self._first, self._characters, self._tail = None, 0, ""


def _line(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _style(event: Event) -> str:
    if isinstance(event, AttemptFailed | Waiting | Spent):
        return "yellow"
    if isinstance(event, FileWritten):
        return "green" if event.status != "aside" else "yellow"
    if isinstance(event, RunFinished):
        return "bold green" if event.complete else "bold yellow"
    return ""
