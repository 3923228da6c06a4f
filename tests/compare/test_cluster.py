"""Samples that are taken elsewhere: a Ray that runs each task at once, here, and is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from promptqueue.chat.endpoints import EndpointChoice
from promptqueue.compare import cluster
from promptqueue.compare.cluster import Cluster
from promptqueue.compare.design import design
from promptqueue.compare.sample import Sample
from promptqueue.errors import EndpointError, UsageError
from promptqueue.run.past import summaries
from tests.compare.here import PACK, answer, recipe
from tests.fake_endpoint import FakeEndpoint, error, stream
from tests.scripted import fence

STATS = (PACK / "reference/stats.py").read_text()


class Done:
    """What stands for an answer; Ray keeps these in a mapping."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer


class RayHere:
    """As much of Ray as is used."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self) -> None:
        self.given = 0

    def remote(self, **_: object) -> Callable[[Callable[..., Any]], SimpleNamespace]:
        return lambda function: SimpleNamespace(remote=lambda *given: self._run(function, given))

    def _run(self, function: Callable[..., Any], given: tuple[Any, ...]) -> Done:
        self.given += 1
        return Done(function(*given))

    def wait(self, waiting: list[Done], num_returns: int) -> tuple[list[Done], list[Done]]:
        return waiting[:num_returns], waiting[num_returns:]

    def get(self, done: Done) -> Any:
        return done.answer

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 1.0}


@pytest.fixture
def ray() -> RayHere:
    cluster._design.cache_clear()
    return RayHere()


def test_what_was_answered_before_an_error_comes_back_and_goes_along_again(
    tmp_path: Path, server: FakeEndpoint, ray: RayHere
) -> None:
    asked = recipe(tmp_path, server)
    (task,) = design(asked).tasks()
    server.enqueue(stream(fence("stats.py", STATS)), error(401))

    ((_, outcome),) = Cluster(ray, asked).run([task])
    assert isinstance(outcome, EndpointError)
    (run,) = summaries(task.place / "runs")
    assert run.status == "stopped"

    server.enqueue(stream(fence("report.py", "y = 2")))
    ((_, outcome),) = Cluster(ray, asked).run([task])
    assert isinstance(outcome, Sample)
    assert (outcome.run, outcome.complete) == (run.run, True)
    assert len(server.requests) == 3  # the first answer was not asked for again
    assert [path.name for path in task.place.parent.iterdir()] == ["1"]


def test_a_node_that_would_ask_in_another_way_is_told_apart(
    tmp_path: Path, server: FakeEndpoint, ray: RayHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(recipe(tmp_path, server), endpoint=EndpointChoice(attempts=1))
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    tasks = design(asked).tasks()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")  # of the node

    ((_, outcome),) = Cluster(ray, asked).run(tasks)

    assert isinstance(outcome, UsageError)
    assert "none would be asked in another way, at http://127.0.0.1:9/v1" in str(outcome)
    assert not server.requests


def test_no_more_is_given_away_than_is_soon_begun(
    tmp_path: Path, server: FakeEndpoint, ray: RayHere
) -> None:
    asked = recipe(tmp_path, server, samples=6)
    server._default = error(401)

    outcomes = Cluster(ray, asked).run(design(asked).tasks())
    next(outcomes)
    assert ray.given == 2


def test_a_task_that_ray_lost_is_missed_and_costs_no_other(
    tmp_path: Path, server: FakeEndpoint, ray: RayHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([RayHere.exceptions.RayError("The node died.\nIts address: 10.0.0.7")])

    def get(done: Done) -> Any:
        for lost in answers:
            raise lost
        return done.answer

    monkeypatch.setattr(ray, "get", get)
    server._default = answer
    asked = recipe(tmp_path, server, samples=2)
    (_, first), (_, second) = Cluster(ray, asked).run(design(asked).tasks())

    assert isinstance(first, EndpointError)
    assert str(first) == "Ray lost the task: The node died."
    assert isinstance(second, Sample)
