"""Which version of a file stands, where steps are judged and rewrite files of earlier ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.errors import EndpointError
from promptqueue.queue.load import load_queue
from promptqueue.queue.render import digest_of, render_queue
from promptqueue.run.events import Judged, Notice
from promptqueue.run.history import step_results
from promptqueue.run.replay import replay
from promptqueue.run.steering import Decision
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
THREE = """\
  - id: three
        task: Write three.py.
        context: [{step: two, as: files}]
        outputs: [{path: three.py}]
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
TWO = "b = 2\n# meets s\n"
WORSE = "a = 9\n"
BROKEN = "a = (\n"


def files(**texts: str) -> str:
    return "\n".join(fence(f"{name}.py", text) for name, text in texts.items())


def judged(folder: Path, queue: str = QUEUE, **options: object) -> Bench:
    (folder / "checks.py").write_text(CHECKS, "utf-8")
    return Bench(folder, queue, **options)


def told(bench: Bench) -> list[str]:
    return [event.message for event in bench.events if isinstance(event, Notice)]


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


def test_what_was_not_judged_does_not_replace_what_was_green(tmp_path: Path) -> None:
    bench = judged(tmp_path)
    bench.run(files(one=ONE), files(one=WORSE), files(one=WORSE + "b = 0\n"))
    assert bench.text("one.py") == ONE
    assert bench.finished().met == ("r",)
    assert bench.finished().incomplete == ("two",)
    assert told(bench) == ["two: one.py left as before, for what came instead was not judged"]


def test_what_was_judged_later_replaces_it_then(tmp_path: Path) -> None:
    better = ONE + "# and more\n"
    bench = judged(tmp_path)
    bench.run(files(one=ONE), files(one=better), files(two=TWO))
    assert bench.text("one.py") == better
    assert bench.finished().met == ("r", "s")
    assert replay(bench.directory().path).differences == ()


def test_what_met_nothing_is_replaced_by_what_can_be_used(tmp_path: Path) -> None:
    bench = judged(tmp_path)
    bench.run(files(one=WORSE), files(one=WORSE), files(one=ONE), files(one=ONE))
    assert bench.text("one.py") == ONE


@pytest.mark.parametrize("checks", ["        checks: [checks.py]\n", ""], ids=["unjudged", "none"])
def test_what_nobody_judges_is_written_and_takes_the_verdict_with_it(
    tmp_path: Path, checks: str
) -> None:
    """Of what only collects files the files are wanted; that they are green is not said."""
    first, _, second = QUEUE.rpartition("        checks: [checks.py]\n")
    bench = judged(tmp_path, first + checks + second)
    with pytest.raises(EndpointError):
        bench.run(files(one=ONE), EndpointError("gone"))
    if checks:
        bench.plan_options["verify"] = False
    bench.run(files(one=WORSE, two=TWO), resume=True)
    assert bench.text("one.py") == WORSE
    assert (bench.finished().met, bench.finished().unmet) == ((), ())
    assert "two: r not counted as met: what took the place of one.py was not judged" in told(bench)
    assert replay(bench.directory().path).differences == ()


def test_a_verdict_on_what_was_skipped_does_not_count(tmp_path: Path) -> None:
    decisions = iter([Decision("skip"), Decision("accept")])
    bench = judged(tmp_path, steer=lambda review: next(decisions))
    bench.run(files(one=ONE), files(one=WORSE, two=TWO))
    assert [event.step for event in bench.events if isinstance(event, Judged)] == ["one", "two"]
    assert (bench.finished().met, bench.finished().unmet) == (("s",), ("r",))
    assert "one" not in step_results(load_queue(bench.queue_path).queue, bench.directory())


@pytest.mark.parametrize(
    ("second", "two"),
    [
        ([files(one=BROKEN, two=TWO)] * 2, TWO),
        ([files(one=WORSE, two="b = 0\n")] * 2, "b = 0\n"),
    ],
    ids=["does not parse", "is worse"],
)
def test_the_file_that_stands_travels_along(tmp_path: Path, second: list[str], two: str) -> None:
    bench = judged(tmp_path, QUEUE + THREE)
    bench.run(files(one=ONE), *second, files(three="c = 3"))
    assert bench.text("one.py") == ONE
    prompt = bench.chat.asked[-1].messages[-1].content
    assert prompt.startswith("## CONTEXT")
    assert f"```python path=one.py\n{ONE}```" in prompt
    assert f"```python path=two.py\n{two}```" in prompt
    loaded = load_queue(bench.queue_path)
    rendered = render_queue(loaded, {}, step_results(loaded.queue, bench.directory()))
    assert digest_of(rendered["three"]) == digest_of(bench.chat.asked[-1].messages)
    assert replay(bench.directory().path).differences == ()
