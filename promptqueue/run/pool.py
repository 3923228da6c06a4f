"""The places where contracts are judged: as many at once as this machine bears.

Each takes cores and much memory, and so does a pytest that stays warm. Runs that go on at once
share what is warm: there is never more of it than places.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptqueue.verify.warm import WarmPytest

MOST = max(1, (os.cpu_count() or 1) // 2)
PLACES = threading.BoundedSemaphore(MOST)
"""Whoever judges holds one."""


@dataclass(slots=True)
class WarmPool:
    """Pytests that wait, warm, for the next verdict of whoever has joined."""

    _idle: list[WarmPytest] = field(default_factory=list)
    """The one that has waited longest is first."""
    _lent: int = 0
    _members: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def join(self) -> None:
        """Count in; what is warm stays so until the last one leaves."""
        with self._lock:
            self._members += 1

    def leave(self) -> None:
        """Count out, and end what nobody will need."""
        with self._lock:
            self._members -= 1
            ended = [] if self._members else [self._idle.pop() for _ in [*self._idle]]
        for each in ended:
            each.close()

    @contextmanager
    def lent(self, preload: Sequence[str]) -> Iterator[WarmPytest]:
        """Give one with these modules to a member that holds a place, and take it back."""
        pytest = self._taken(tuple(preload))
        try:
            yield pytest
        finally:
            with self._lock:
                self._lent -= 1
                self._idle.append(pytest)

    def _taken(self, preload: tuple[str, ...]) -> WarmPytest:
        from promptqueue.verify.warm import WarmPytest

        with self._lock:
            self._lent += 1
            for each in reversed(self._idle):
                if each.preload == preload:
                    self._idle.remove(each)
                    return each
            full = self._lent + len(self._idle) > MOST
            gone = self._idle.pop(0) if full and self._idle else None
        if gone is not None:
            gone.close()
        return WarmPytest(preload)


POOL = WarmPool()
"""Of this process."""
