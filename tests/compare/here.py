"""Takes the samples of the tiny pack at a scripted endpoint; nothing is judged by checks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from promptqueue.chat.connect import Connection, connect
from promptqueue.chat.endpoints import EndpointChoice
from promptqueue.compare.conduct import Missed, Taken, conduct
from promptqueue.compare.design import Design, Recipe, design
from promptqueue.compare.sample import Sample
from promptqueue.compare.taking import Ran, Task, Terms
from tests.fake_endpoint import Answer, Asked, FakeEndpoint, stream
from tests.scripted import fence

PACK = Path(__file__).parents[1] / "packs" / "tiny"


def recipe(tmp_path: Path, server: FakeEndpoint, samples: int = 1, limit: str = "") -> Recipe:
    return Recipe(
        queue=PACK / "tiny.yaml",
        arms=("none",),
        samples=samples,
        store=tmp_path / "store",
        endpoint=EndpointChoice(base_url=server.base_url, attempts=1),
        limits=(limit,) if limit else (),
    )


def plan(tmp_path: Path, server: FakeEndpoint, samples: int, limit: str = "") -> Design:
    return design(recipe(tmp_path, server, samples, limit))


def judged(task: Task, terms: Terms, ran: Ran) -> Sample:
    """Stand for the verdict of the contract, which takes seconds: nothing is met."""
    told = (task.arm.name, task.number, ran.run, ran.complete, ran.spending)
    return Sample(*told, met=(), unmet=terms.requirements, contract=terms.contract)


def conducted(made: Design, most: int) -> Iterator[Taken | Missed]:
    @contextlib.contextmanager
    def opened(_: Path) -> Iterator[Connection]:
        with connect(made.terms.endpoint, lambda _: None) as connection:
            yield connection

    return conduct(made, opened, most=most, tell=lambda *_: None)


def answer(asked: Asked) -> Answer:
    """Bring the file that is asked for."""
    return stream(fence("report.py", "y = 2") if is_last(asked) else fence("stats.py", "x = 1"))


def is_last(asked: Asked) -> bool:
    """Tell whether it is the second and last call of a sample."""
    return "Write report.py" in asked.body["messages"][-1]["content"]
