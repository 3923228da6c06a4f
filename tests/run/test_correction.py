"""One more turn of a step of a run: what it builds on, and what depends on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.run.events import StepsStale
from tests.run.bench import ONE, TWO, Bench
from tests.scripted import fence

APART = """
    promptqueue: 1
    name: tiny
    defaults: {context: none, refine: {turns: 2}}
    steps:
      - id: one
        task: Write one.py.
        outputs: [{path: one.py}]
      - id: two
        task: Write two.py.
        outputs: [{path: two.py}]
      - id: three
        task: Write three.py.
        outputs: [{path: three.py}]
    """
ONE_CHANGED = fence("one.py", "def one():\n    return 11")
THREE = fence("three.py", "y = 3")


def stale(bench: Bench) -> tuple[str, ...]:
    last = bench.events[-1]
    assert isinstance(last, StepsStale)
    return last.stale


@pytest.mark.parametrize(
    "three",
    [
        "Write three.py. {{ steps.two.interface('two.py') }} {{ steps.one.files['one.py'] }}",
        "Write three.py. {{ steps.one.files['one.py'] }}\n"
        "        context: [{step: two, as: files}]",
        "Write three.py. {{ steps.one.files['one.py'] }}\n"
        "        context: [{step: two, as: reply}]",
    ],
    ids=["template", "files", "reply"],
)
def test_a_stale_step_may_use_one_that_is_not(tmp_path: Path, three: str) -> None:
    bench = Bench(tmp_path, APART.replace("Write three.py.", three))
    bench.run(ONE, TWO, THREE)
    bench.refine("one", "Return 11.", ONE_CHANGED)
    assert stale(bench) == ("three",)


def test_what_uses_only_steps_that_are_not_stale_is_not_stale(tmp_path: Path) -> None:
    queue = APART.replace("Write two.py.", "Write two.py. {{ steps.one.reply }}")
    queue = queue.replace("Write three.py.", "Write three.py.\n        context: [{step: two}]")
    queue += """\
  - id: four
        task: Write four.py.
        outputs: [{path: four.py}]
      - id: five
        task: "Write five.py. {{ steps.four.interface('four.py') }}"
        outputs: [{path: five.py}]
    """
    bench = Bench(tmp_path, queue)
    bench.run(ONE, TWO, THREE, fence("four.py", "z = 4"), fence("five.py", "z = 5"))
    bench.refine("one", "Return 11.", ONE_CHANGED)
    assert stale(bench) == ("two", "three")


def test_a_correction_survives_what_could_not_be_asked(tmp_path: Path) -> None:
    queue = APART.replace("Write three.py.", "Use {{ steps.two.interface('two.py') }}.")
    bench = Bench(tmp_path, queue)
    bench.run(ONE, "no", "never", "not at all")
    assert bench.finished().incomplete == ("two", "three")
    bench.refine("one", "Return 11.", ONE_CHANGED)
    assert stale(bench) == ()
    assert bench.text("one.py") == "def one():\n    return 11\n"
