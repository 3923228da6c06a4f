"""Limits of a comparison: what counts, and that what is under way comes to its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptqueue.chat.connect import Connection, connect
from promptqueue.chat.endpoints import EndpointChoice
from promptqueue.compare import conduct as conducting
from promptqueue.compare.conduct import Missed, Taken, conduct
from promptqueue.compare.design import Design, Recipe, design
from promptqueue.compare.sample import Sample
from promptqueue.compare.taking import Ran, Task, Terms
from promptqueue.errors import LimitReached
from tests.fake_endpoint import Answer, Asked, FakeEndpoint, error, stream
from tests.scripted import fence

PACK = Path(__file__).parents[1] / "packs" / "tiny"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    def judged(task: Task, _: Terms, ran: Ran) -> Sample:
        return Sample(task.arm.name, task.number, ran.run, ran.complete, ran.spending, (), ())

    monkeypatch.setattr(conducting, "judge", judged)
    with FakeEndpoint() as fake:
        yield fake


def plan(tmp_path: Path, server: FakeEndpoint, limit: str, samples: int = 6) -> Design:
    return design(
        Recipe(
            queue=PACK / "tiny.yaml",
            arms=("none",),
            samples=samples,
            store=tmp_path / "store",
            endpoint=EndpointChoice(base_url=server.base_url, attempts=1),
            limits=(limit,),
        )
    )


def conducted(made: Design, most: int) -> list[Taken | Missed]:
    """Return what came before the limit."""

    @contextlib.contextmanager
    def opened(_: Path) -> Iterator[Connection]:
        with connect(made.terms.endpoint, lambda _: None) as connection:
            yield connection

    outcomes: list[Taken | Missed] = []
    with pytest.raises(LimitReached, match="the limit calls of the comparison is reached"):
        outcomes.extend(conduct(made, opened, most=most, tell=lambda *_: None))
    return outcomes


def test_calls_of_samples_that_could_not_be_taken_count(
    tmp_path: Path, server: FakeEndpoint
) -> None:
    def failing(asked: Asked) -> Answer:
        report = "Write report.py" in asked.body["messages"][-1]["content"]
        return error(401) if report else stream(fence("stats.py", "x = 1"))

    server._default = failing
    (outcome,) = conducted(plan(tmp_path, server, "calls=2"), 1)

    assert isinstance(outcome, Missed)
    assert len(server.requests) == 2
    assert conducted(plan(tmp_path, server, "calls=2"), 1) == []  # nor is it asked at a new start
    assert len(server.requests) == 2


def test_what_is_under_way_when_a_limit_is_reached_comes_to_its_end(
    tmp_path: Path, server: FakeEndpoint
) -> None:
    def answer(asked: Asked) -> Answer:
        report = "Write report.py" in asked.body["messages"][-1]["content"]
        answer = stream(fence("report.py", "y = 2") if report else fence("stats.py", "x = 1"))
        return answer.then(delay_s=0.01)

    server._default = answer
    outcomes = conducted(plan(tmp_path, server, "calls=2", samples=40), 4)

    assert all(isinstance(outcome, Taken) for outcome in outcomes)
    assert 2 <= len(outcomes) < 40
    assert len(server.requests) == 2 * len(outcomes)  # none was cut between its two steps


def test_no_more_is_begun_while_verdicts_are_waited_for(
    tmp_path: Path, server: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdicts come one by one, and take longer than answers."""
    judged = conducting.judge

    def slowly(task: Task, terms: Terms, ran: Ran) -> Sample:
        time.sleep(0.5)
        return judged(task, terms, ran)

    monkeypatch.setattr(conducting, "judge", slowly)
    server._default = lambda asked: stream(
        fence("report.py", "y = 2")
        if "Write report.py" in asked.body["messages"][-1]["content"]
        else fence("stats.py", "x = 1")
    )
    outcomes = conducted(plan(tmp_path, server, "calls=4", samples=20), 2)

    assert len(outcomes) <= 4  # two that reach the limit, and two that had begun before
