"""The wait before another attempt."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from promptqueue.chat.retry import wait_s


def test_a_wait_ends_with_a_signal_that_does_not_cut_its_sleep_short() -> None:
    """One that another thread receives is such a signal, as is one just before a sleep."""
    before = signal.signal(signal.SIGUSR1, _stop)
    threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)).start()
    begin = time.monotonic()
    try:
        with pytest.raises(InterruptedError):
            wait_s(20)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - begin < 15


def test_a_wait_lasts_as_long_as_it_was_asked_to() -> None:
    begin = time.monotonic()
    wait_s(0.6)
    assert 0.6 <= time.monotonic() - begin < 10


def _stop(number: int, frame: object) -> None:
    raise InterruptedError
