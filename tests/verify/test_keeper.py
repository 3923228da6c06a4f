"""The wire to a kept worker: who gets it, and what becomes of replies that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from promptqueue.errors import IsolationError
from promptqueue.queue.verification import Verification
from promptqueue.verify import keeper
from promptqueue.verify.replies import Answered
from promptqueue.verify.sandbox import open_sandbox
from promptqueue.verify.snapshot import Copy
from promptqueue.verify.worker_process import Worker, WorkerProcess

SEVEN = Answered(answer=7, tampered=[])


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """Give the far end of a wire that was lent to this process."""
    near, far = Pipe()
    with near, far:
        monkeypatch.setattr(keeper, "_lent", near)
        yield far


def worker() -> Worker:
    return keeper.worker_for(open_sandbox("none"), Copy(Path("code")), Verification())


def answers(far: Connection, *replies: list[tuple[object, object, object]]) -> threading.Thread:
    """Answer one call after the other, in a thread; "its own" is the mark of the call."""

    def serve() -> None:
        for several in replies:
            mark, _, _ = far.recv()
            for told, result, raised in several:
                far.send((mark if told == "its own" else told, result, raised))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def test_who_was_lent_no_worker_has_one_of_its_own() -> None:
    assert isinstance(worker(), WorkerProcess)


def test_a_reply_to_one_before_is_passed_over(far: Connection) -> None:
    stale = ((1, 1), Answered(answer=5, tampered=[]), None)
    thread = answers(far, [("its own", None, None)], [stale, ("its own", SEVEN, None)])

    assert worker().exchange({"name": "probes.py"}) == SEVEN
    thread.join(10)


def test_what_the_keeper_raises_is_raised_here(far: Connection) -> None:
    error = IsolationError("no sandbox")
    thread = answers(far, [("its own", None, None)], [("its own", None, error)])

    with pytest.raises(IsolationError, match="no sandbox"):
        worker().start()
    thread.join(10)
