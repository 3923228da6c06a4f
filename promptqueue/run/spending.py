"""One call within the limits: checked before every request, and while a reply streams."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import replace

from promptqueue.chat.message import (
    Answered,
    AttemptFailed,
    AttemptStarted,
    Chat,
    Delta,
    Request,
    Usage,
    Waiting,
)
from promptqueue.chat.quirks import estimate_tokens
from promptqueue.errors import EndpointError, StorageError
from promptqueue.run.events import Event
from promptqueue.run.ledger import Ledger
from promptqueue.run.recorder import Recorder

_LOOK_EVERY_S = 0.5
"""How often a stream is held against the limits."""
_NOTHING = Usage(0, 0)


def ask_within_limits(
    chat: Chat, request: Request, tokens: int, *, ledger: Ledger, recorder: Recorder
) -> Generator[Event, None, None]:
    """Ask, journal and yield what happens; what was paid for is counted however it ends.

    Args:
        chat: who is asked.
        request: the question.
        tokens: its estimated length.
        ledger: knows the limits and what is spent.
        recorder: journals each event before it is yielded.

    Raises:
        EndpointError: no answer is to be had.
        LimitReached: a limit is passed, or would be by the next request.
        StorageError: the disk is full.
    """
    call = _Watch(ledger, recorder, request, tokens)
    with contextlib.closing(_closable(chat.ask(request))) as events, call.counting_what_is_cut():
        for event in events:
            call.look(event)
            yield recorder.record(event)
            if isinstance(event, AttemptFailed | Answered):
                yield ledger.spent()
            if isinstance(event, Answered):
                return


def _closable(events: Iterator[Event]) -> Generator[Event, None, None]:
    """Make sure that leaving the loop early closes the connection."""
    yield from events


class _Watch:
    """What one call has cost that the ledger does not know yet."""

    def __init__(self, ledger: Ledger, recorder: Recorder, request: Request, tokens: int) -> None:
        self._ledger = ledger
        self._recorder = recorder
        self._request = request
        self._prompt_tokens = tokens
        self._attempt = AttemptStarted(0)
        self._asked = False  # a request has left, and how it ends is not known
        self._pieces: list[str] = []  # of its reply, since the last look
        self._reply_tokens = 0
        self._next_look_s = 0.0

    def look(self, event: Event) -> None:
        """Take note of an event before it is journaled; raise where it must not go on."""
        if isinstance(event, Delta):
            self._pieces.append(event.text)
            if time.monotonic() >= self._next_look_s:
                self._look_at_stream()
        elif isinstance(event, AttemptStarted):
            self._before_request(event)
        elif isinstance(event, AttemptFailed):
            self._settle(event.usage)
        elif isinstance(event, Answered):
            self._settle(event.reply.usage)
            self._attempt = replace(self._attempt, spent=None)
        elif isinstance(event, Waiting):
            self._ledger.check_wall(event.seconds)

    @contextlib.contextmanager
    def counting_what_is_cut(self) -> Iterator[None]:
        """Journal what a call has cost that ends without an answer."""
        try:
            yield
        except EndpointError:
            raise  # its last `AttemptFailed` has said all
        except BaseException as error:
            usage = self._unsettled()
            if usage != _NOTHING:
                cut = AttemptFailed(
                    self._attempt.attempt, "cut", str(error) or "stopped", "", usage
                )
                with contextlib.suppress(StorageError, OSError):  # `error` is the one to report
                    self._recorder.cut(cut)
            raise

    def _before_request(self, started: AttemptStarted) -> None:
        self._forget_reply()  # of a cut reply the part before has ended, and is in `spent`
        self._attempt = started
        directory = self._recorder.directory
        if directory.disk_is_full:
            raise StorageError(
                f"the disk of {directory.path} is full; everything so far is kept; "
                f"free some space and {directory.way_on}"
            )
        self._ledger.check_limits(
            self._request, self._sent_tokens(), cap=started.cap, pending=self._unsettled()
        )
        self._ledger.calls += 1
        self._asked = True

    def _look_at_stream(self) -> None:
        self._next_look_s = time.monotonic() + _LOOK_EVERY_S
        self._ledger.check_wall()
        self._ledger.check_spent(self._request.model, self._unsettled())

    def _settle(self, usage: Usage | None) -> None:
        if usage is not None:
            self._ledger.add(self._request.model, usage)
        self._forget_reply()

    def _forget_reply(self) -> None:
        self._asked = False
        self._pieces.clear()
        self._reply_tokens = 0

    def _unsettled(self) -> Usage:
        """Return what earlier parts of the reply cost, and about what the one under way does."""
        usage = self._attempt.spent or _NOTHING
        if not self._asked:
            return usage
        self._reply_tokens += estimate_tokens("".join(self._pieces))
        self._pieces.clear()
        return usage + Usage(self._sent_tokens(), self._reply_tokens, estimated=True)

    def _sent_tokens(self) -> int:
        """Return about how long the prompt is; a continuation sends the reply so far along."""
        spent = self._attempt.spent
        return self._prompt_tokens + (spent.completion if spent else 0)
