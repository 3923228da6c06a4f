"""One more turn of a step of a run: what it builds on, and what depends on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.queue.load import load_queue
from promptqueue.queue.render import digest_of, render_queue
from promptqueue.run.events import StepsStale
from promptqueue.run.history import step_results
from promptqueue.run.replay import replay
from promptqueue.run.steering import Decision
from tests.run.bench import ONE, TWO, Bench
from tests.scripted import fence

JUDGED = """
    promptqueue: 1
    name: tiny
    defaults: {params: {seed: 1}, refine: {turns: 1, escalate: big}}
    steps:
      - id: one
        task: |
          Write one.py.
          - r: do r
          - s: do s
        outputs: [{path: one.py}]
        requirements: {r: do r, s: do s}
        checks: [checks.py]
      - id: two
        task: Write two.py.
        outputs: [{path: two.py}]
    """
CHECKS = """
import pytest


@pytest.mark.requirement("r", "s")
def test_one(candidate):
    assert candidate
"""
HALF = "a = 1\n# meets r\n"
WORSE = "a = 9\n"
GREEN = HALF + "# meets s\n"
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


@pytest.fixture
def judged(tmp_path: Path) -> Bench:
    (tmp_path / "checks.py").write_text(CHECKS, "utf-8")
    return Bench(tmp_path, JUDGED)


def test_a_correction_builds_on_the_file_that_stands(judged: Bench) -> None:
    judged.run(fence("one.py", HALF), fence("one.py", WORSE), TWO)
    assert [request.model for request in judged.chat.asked] == ["m", "big", "m"]
    assert judged.text("one.py") == HALF

    judged.refine("one", "Do s.", fence("one.py", GREEN))

    (asked,) = judged.chat.asked
    assert asked.model == "m"
    assert [message.role for message in asked.messages] == ["user", "assistant", "user"]
    assert asked.messages[1].content == fence("one.py", HALF)
    assert asked.messages[2].content.startswith("Do s.\n")
    assert judged.text("one.py") == GREEN


def test_a_correction_of_what_stands_holds_when_the_run_goes_on_and_when_it_is_replayed(
    judged: Bench,
) -> None:
    judged.run(fence("one.py", HALF), fence("one.py", WORSE), TWO)
    judged.refine("one", "Do s.", fence("one.py", GREEN))
    assert stale(judged) == ("two",)
    assert replay(judged.directory().path).differences == ()

    judged.run(fence("two.py", "x = 22"), resume=True)

    assert len(judged.chat.asked) == 1
    assert judged.finished().met == ("r", "s")
    loaded = load_queue(judged.queue_path)
    rendered = render_queue(loaded, {}, step_results(loaded.queue, judged.directory()))
    assert digest_of(rendered["two"]) == digest_of(judged.chat.asked[0].messages)
    assert "a = 9" not in str(judged.chat.asked[0].messages)
    assert replay(judged.directory().path).differences == ()


@pytest.mark.parametrize(("text", "asked"), [(HALF, 1), (GREEN, 2)], ids=["red", "green"])
def test_a_step_that_stays_red_and_stops_on_it_keeps_the_later_ones_from_being_asked(
    judged: Bench, text: str, asked: int
) -> None:
    judged.queue_path.write_text(
        judged.queue_path.read_text().replace("turns: 1, escalate: big", "turns: 0, on_red: stop")
    )
    judged.run(fence("one.py", WORSE))
    assert len(judged.chat.asked) == 1

    judged.refine("one", "Do it.", fence("one.py", text), TWO, rerun=True)

    assert judged.text("one.py") == text
    assert len(judged.chat.asked) == asked
    assert judged.finished().incomplete == (() if text == GREEN else ("two",))


def test_a_correction_may_leave_out_what_the_file_has(judged: Bench) -> None:
    f, g = "def f():\n    return 1\n", "\n\ndef g():\n    return 2\n"
    judged.run(fence("one.py", f"# meets r\n{f}{g}"), fence("one.py", f + g), TWO)
    judged.refine("one", "Without g.", fence("one.py", f"# meets r\n# meets s\n{f}"))
    assert judged.text("one.py") == f"# meets r\n# meets s\n{f}"


def test_a_change_at_the_wheel_is_one_of_the_reply_that_was_shown(judged: Bench) -> None:
    decisions = iter(
        [Decision("refine"), Decision("change", "Do s."), Decision("accept"), Decision("accept")]
    )
    judged.plan_options["steer"] = lambda review: next(decisions)
    judged.run(fence("one.py", HALF), fence("one.py", WORSE), fence("one.py", GREEN), TWO)
    assert judged.chat.asked[2].messages[-2].content == fence("one.py", WORSE)
    assert replay(judged.directory().path).differences == ()
