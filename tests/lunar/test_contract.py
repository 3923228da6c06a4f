"""The lunar contract: green for what is right, red for exactly what is wrong."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.verify.gates import verify
from promptqueue.verify.report import Report
from tests.lunar.sharpness import QUEUE, judged, requirements, sample, wrong
from tests.lunar.twins import REFERENCE, Twin
from tests.lunar.twins_all import TWINS

pytestmark = pytest.mark.contract
SEED = random.SystemRandom().randrange(2**32)
OTHERS = 3
"""Requirements that a twin does not break, and that it is judged by nevertheless."""


@pytest.fixture(scope="module")
def queue() -> LoadedQueue:
    return load_queue(QUEUE)


def unmet(report: Report) -> Mapping[str, str]:
    return {
        each.id: f"{each.verdict}: {each.evidence}"
        for each in report.requirements
        if each.verdict != "met"
    }


def test_the_reference_meets_every_requirement(queue: LoadedQueue) -> None:
    inputs = resolve_inputs(queue.queue, ["language=en"])

    report = verify(queue, REFERENCE, inputs=inputs)

    assert unmet(report) == {}, report.seed
    assert report.green, report.gates


def test_every_requirement_has_a_twin(queue: LoadedQueue) -> None:
    assert set(requirements(queue)) == {twin.requirement for twin in TWINS}


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_a_twin_fails_what_it_breaks_and_nothing_else(queue: LoadedQueue, twin: Twin) -> None:
    names = sample(twin, requirements(queue), OTHERS, SEED)

    verdicts, report = judged(twin, queue, names, SEED)

    assert wrong(twin, verdicts) == [], (SEED, unmet(report))


def test_a_twin_is_made_of_a_text_that_is_there_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 times"):
        Twin("noise", "none", "images.py", "no such text", "").make(tmp_path)
