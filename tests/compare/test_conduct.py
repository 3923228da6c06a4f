"""Samples that fail: which of them end a comparison."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from promptqueue.compare import conduct as conducting
from promptqueue.compare.conduct import Missed, Taken
from promptqueue.errors import EndpointError
from tests.compare.here import answer, conducted, is_last, plan
from tests.fake_endpoint import Answer, Asked, FakeEndpoint, error


def test_an_endpoint_that_fails_three_samples_in_a_row_is_given_up(
    tmp_path: Path, server: FakeEndpoint
) -> None:
    server._default = error(401, "no key")
    outcomes = []
    with pytest.raises(EndpointError, match="no key"):
        outcomes.extend(conducted(plan(tmp_path, server, 9), 1))

    assert [type(outcome) for outcome in outcomes] == [Missed] * 3
    assert len(server.requests) == 3


def test_where_it_is_given_up_nobody_asks_on(
    tmp_path: Path, server: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking: list[threading.Thread] = []
    given_up = threading.Event()

    def failing(*_: object) -> None:
        asking.append(threading.current_thread())
        if len(asking) > 3:
            given_up.wait(20)
        raise EndpointError("no key")

    monkeypatch.setattr(conducting, "ask", failing)
    with pytest.raises(EndpointError) as caught:
        list(conducted(plan(tmp_path, server, 30), 2))
    given_up.set()
    for thread in {*asking}:
        thread.join(20)

    assert len(asking) <= 5, caught.value  # three, and what was under way


def test_samples_that_fail_here_and_there_end_nothing(tmp_path: Path, server: FakeEndpoint) -> None:
    begun = iter([True, False, False] * 2)

    def now_and_then(asked: Asked) -> Answer:
        return answer(asked) if is_last(asked) or next(begun) else error(401)

    server._default = now_and_then
    made = plan(tmp_path, server, 6)
    outcomes = list(conducted(made, 1))

    assert [type(outcome) for outcome in outcomes] == [Taken, Missed, Missed] * 2
    assert [task.number for task in made.missing()] == [2, 3, 5, 6]  # of the next start


@pytest.mark.parametrize("most", [1, 3])
def test_a_fault_of_ours_is_raised_and_not_waited_for(
    tmp_path: Path, server: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """As an error in a thread: it would be lost there, and its sample waited for in vain."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(conducting, "ask", broken)
    with pytest.raises(ZeroDivisionError):
        list(conducted(plan(tmp_path, server, 4), most))
