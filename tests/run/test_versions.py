"""Which version of a file stands, where steps are judged and rewrite files of earlier ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.bench import Bench
from tests.scripted import fence

QUEUE = """
    promptqueue: 1
    name: tiny
    defaults: {context: none, params: {seed: 1}, refine: {turns: 1}}
    steps:
      - id: one
        task: |
          Write one.py.
          - r: do r
        outputs: [{path: one.py}]
        requirements: {r: do r}
        checks: [checks.py]
      - id: two
        task: |
          Write one.py and two.py.
          - s: do s
        outputs: [{path: one.py}, {path: two.py}]
        requirements: {s: do s}
        checks: [checks.py]
    """
CHECKS = """
import pytest


@pytest.mark.requirement("r")
def test_r(candidate):
    assert candidate


@pytest.mark.requirement("s")
def test_s(candidate):
    assert candidate
"""
ONE = "a = 1\n# meets r\n"
WORSE = "a = 9\n"


def files(**texts: str) -> str:
    return "\n".join(fence(f"{name}.py", text) for name, text in texts.items())


def judged(folder: Path, queue: str = QUEUE, **options: object) -> Bench:
    (folder / "checks.py").write_text(CHECKS, "utf-8")
    return Bench(folder, queue, **options)


@pytest.mark.parametrize("others", [0, 40], ids=["as long", "of twenty times the length"])
def test_a_sample_is_measured_by_itself_however_long_others_were(
    tmp_path: Path, others: int
) -> None:
    queue = QUEUE[: QUEUE.index("      - id: two")].replace("turns: 1", "turns: 0, samples: 3")
    bench = judged(tmp_path, queue)
    long = WORSE + "x = 1\n" * others
    bench.run(files(one=long), files(one=ONE), files(one=ONE))
    assert bench.text("one.py") == ONE
    assert bench.finished().met == ("r",)
