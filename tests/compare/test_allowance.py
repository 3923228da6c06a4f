"""Limits of a comparison: what counts, and that what is under way comes to its end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from promptqueue.compare import conduct as conducting
from promptqueue.compare.allowance import Allowance
from promptqueue.compare.conduct import Missed, Taken
from promptqueue.compare.design import Design
from promptqueue.compare.sample import Sample, Spending
from promptqueue.compare.taking import Ran, Task, Terms
from promptqueue.errors import LimitReached
from promptqueue.queue.model import Limits
from tests.compare.here import answer, conducted, is_last, judged, plan
from tests.fake_endpoint import Answer, Asked, FakeEndpoint, error


def until_the_limit(made: Design, most: int) -> list[Taken | Missed]:
    """Return what came before the limit."""
    outcomes: list[Taken | Missed] = []
    with pytest.raises(LimitReached, match="the limit calls of the comparison is reached"):
        outcomes.extend(conducted(made, most))
    return outcomes


@pytest.mark.parametrize(
    ("limit", "higher", "words"),
    [
        ({"calls": 5}, {"calls": 6}, "the limit calls .*: 5 calls of 5; .* a higher --limit calls"),
        ({"tokens": 1800}, {"tokens": 1801}, "the limit tokens .*: 1,800 tokens of 1,800"),
        ({"usd": 0.3}, {"usd": 0.31}, "the limit usd .*: 0.3 usd of 0.3"),  # of unknown price: 0
        ({"wall": 1e-9}, {"wall": 600.0}, "the limit wall .* s of 1e-09"),
    ],
    ids=["calls", "tokens", "usd", "wall"],
)
def test_each_limit_is_of_all_runs_together(
    limit: dict[str, float], higher: dict[str, float], words: str
) -> None:
    runs = [
        Spending(2, prompt=1000, completion=500, cached=900, usd=0.3, seconds=9.0),
        Spending(3, prompt=200, completion=100, cached=0, usd=None, seconds=9.0),
    ]
    reached = Allowance(Limits.model_validate(limit))
    reached.look(runs)
    with pytest.raises(LimitReached, match=words):
        reached.refuse()

    for given in (higher, {}):
        free = Allowance(Limits.model_validate(given))
        free.look(runs)
        free.refuse()


def test_calls_of_samples_that_could_not_be_taken_count(
    tmp_path: Path, server: FakeEndpoint
) -> None:
    server._default = lambda asked: error(401) if is_last(asked) else answer(asked)
    made = plan(tmp_path, server, 6, "calls=2")
    (outcome,) = until_the_limit(made, 1)

    assert isinstance(outcome, Missed)
    assert len(server.requests) == 2
    assert until_the_limit(made, 1) == []  # nor is it asked at a new start
    assert len(server.requests) == 2


def test_what_is_under_way_when_a_limit_is_reached_comes_to_its_end(
    tmp_path: Path, server: FakeEndpoint
) -> None:
    both = threading.Barrier(2)

    def together(asked: Asked) -> Answer:
        """Answer two samples when both have begun: that is the limit."""
        if not is_last(asked):
            both.wait(20)
        return answer(asked)

    server._default = together
    outcomes = until_the_limit(plan(tmp_path, server, 9, "calls=2"), 2)

    assert [type(outcome) for outcome in outcomes] == [Taken, Taken]
    assert len(server.requests) == 4  # none was cut between its two steps


def test_no_more_is_begun_while_verdicts_are_waited_for(
    tmp_path: Path, server: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdicts come one by one, and take longer than answers."""

    def slowly(task: Task, terms: Terms, ran: Ran) -> Sample:
        time.sleep(0.5)
        return judged(task, terms, ran)

    monkeypatch.setattr(conducting, "judge", slowly)
    server._default = answer
    outcomes = until_the_limit(plan(tmp_path, server, 20, "calls=4"), 2)

    assert len(outcomes) <= 4  # two that reach the limit, and two that had begun before
