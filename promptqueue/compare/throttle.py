"""How many conversations ask at once: fewer when the endpoint says that it is too much."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from promptqueue.chat.failure import Failure
from promptqueue.chat.message import Answered, AttemptFailed, Chat, ChatEvent, Request


class Throttle:
    """A limit that halves with a refusal and grows by one with every so many answers.

    Additive increase and multiplicative decrease, as TCP does it: many clients of one endpoint
    find the rate that it bears.
    """

    def __init__(self, most: int) -> None:
        self.limit = most
        self._most = most
        self._busy = 0
        self._answers = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a place, and hold it."""
        with self._changed:
            self._changed.wait_for(lambda: self._busy < self.limit)
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify()

    def refused(self) -> None:
        """Note that the endpoint wants fewer requests."""
        with self._changed:
            # those that were under way together are refused together: one halving for all
            if self._busy <= self.limit:
                self.limit = max(1, min(self.limit, self._busy) // 2)
            self._answers = 0

    def answered(self) -> None:
        """Note that a request was answered."""
        with self._changed:
            self._answers += 1
            if self._answers >= self.limit and self.limit < self._most:
                self.limit, self._answers = self.limit + 1, 0
                self._changed.notify()


class ThrottledChat:
    """A chat that asks only when there is a place."""

    def __init__(self, chat: Chat, throttle: Throttle) -> None:
        self._chat = chat
        self._throttle = throttle

    def ask(self, request: Request) -> Iterator[ChatEvent]:
        """Yield what happens; see `Chat.ask`."""
        with self._throttle.slot():
            for event in self._chat.ask(request):
                if isinstance(event, AttemptFailed) and event.failure == Failure.RATE_LIMITED:
                    self._throttle.refused()
                elif isinstance(event, Answered):
                    self._throttle.answered()
                yield event
