"""What a run has taken is the sum over its sessions, as its journal tells it."""

from __future__ import annotations

from typing import Any

import pytest

from promptqueue.chat.config import Price
from promptqueue.errors import LimitReached
from promptqueue.queue.model import Limits
from promptqueue.run.ledger import Ledger


def record(at: str, event: str, **data: Any) -> dict[str, Any]:
    return {"at": f"2026-01-01T{at}+00:00", "event": event, **data}


SESSIONS = [
    record("10:00:00.000", "run.started"),
    record("10:00:29.500", "notice"),
    record("10:00:30.000", "run.interrupted"),
    record("11:00:00.000", "run.started"),
    record("11:00:20.000", "notice"),
]


@pytest.mark.parametrize(("wall", "wait_s"), [(50, 0), (600, 550)])
def test_the_time_of_a_run_is_that_of_its_sessions(wall: int, wait_s: int) -> None:
    ledger = Ledger(Limits(wall=wall)).fold(SESSIONS)
    assert ledger.earlier_s == 50
    with pytest.raises(LimitReached, match="limit wall is reached: the run took"):
        ledger.check_wall(wait_s)


def test_the_time_between_sessions_does_not_count() -> None:
    Ledger(Limits(wall=3600)).fold(SESSIONS).check_wall()


def test_what_failed_is_paid_and_what_an_earlier_run_was_answered_is_not() -> None:
    """Two models at 1 and 10 USD per million tokens in, 2 and 20 out; worked out by hand."""
    prices = {"small": Price(input=1.0, output=2.0), "big": Price(input=10.0, output=20.0)}
    at, usage = "10:00:00.000", {"prompt": 100_000, "completion": 10_000}
    records = [
        record(at, "call.started", key="a", model="small"),
        record(at, "call.attempt"),
        record(at, "call.failed", usage=usage),  # 0.12
        record(at, "call.attempt"),
        record(at, "call.failed", usage=None),
        record(at, "call.attempt"),
        record(at, "call.finished", usage=usage),  # 0.12
        record(at, "call.started", key="b", model="big"),
        record(at, "call.attempt"),
        record(at, "call.finished", usage=usage),  # 1.2
        record(at, "call.started", key="c", model="big"),
        record(at, "call.finished", usage=usage, origin="an earlier run"),
    ]
    ledger = Ledger(Limits(), prices).fold(records)
    assert (ledger.calls, ledger.usage.prompt, ledger.usage.completion) == (4, 300_000, 30_000)
    assert ledger.usd == pytest.approx(1.44)
    assert ledger.answers.keys() == {"a", "b", "c"}
