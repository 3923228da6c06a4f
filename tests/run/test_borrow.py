"""A step that stays red for what an earlier one left behind mends that file as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from promptqueue.errors import EndpointError
from promptqueue.queue.model import Step
from promptqueue.run.events import FileWritten, Judged, Notice
from promptqueue.run.replay import replay
from promptqueue.run.steering import Decision
from promptqueue.run.verdict import Fault, Judgement
from tests.run.bench import Bench, MarkJudge
from tests.run.test_versions import CHECKS
from tests.scripted import fence

QUEUE = """
    promptqueue: 1
    name: tiny
    defaults: {context: none, params: {seed: 1}, refine: {turns: 2}}
    steps:
      - id: one
        task: |
          Write one.py.

          `one(x)` returns abs(x)

          - r: do r
          - q: do q
        outputs: [{path: one.py}]
        requirements: {r: do r, q: do q}
        checks: [checks.py]
      - id: two
        task: |
          Write two.py.

          `two(x)` returns one(x)

          - s: do s
        outputs: [{path: two.py}]
        requirements: {s: do s}
        checks: [checks.py]
    """
SLIP = "# meets r\n# meets q\ndef one(x):\n    return x\n"
ONE = SLIP.replace("return x", "return abs(x)\n\n# meets s")
TWO = "from one import one\n\n\ndef two(x):\n    return one(x)\n"
ALONE = fence("two.py", TWO.partition("\n\n\n")[2])
MENDS = "two: asks for one.py of one as well, which lacks what its task names"


def told(bench: Bench) -> list[str]:
    return [event.message for event in bench.events if isinstance(event, Notice)]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose judge says that what is wrong shows in the last line of a step's file."""
    judge = MarkJudge.judge

    def judge_with_lines(self: MarkJudge, step: Step, texts: Mapping[str, str]) -> Judgement:
        found, path = judge(self, step, texts), step.outputs[0].path
        at = f"{path}:{len(texts[path].splitlines())}"
        return replace(found, faults=tuple(replace(each, at=at) for each in found.faults))

    monkeypatch.setattr(MarkJudge, "judge", judge_with_lines)
    (tmp_path / "checks.py").write_text(CHECKS, "utf-8")
    return Bench(tmp_path, QUEUE)


def test_a_function_that_lacks_what_its_task_names_is_asked_for(bench: Bench) -> None:
    bench.run(fence("one.py", SLIP), fence("two.py", TWO), ALONE, fence("one.py", ONE))

    question = bench.chat.asked[3].messages[-1].content
    assert "Of the file `one.py`:" in question
    assert "asked for:\n\n`one(x)` returns abs(x)\n" in question
    assert "return x" not in question
    assert told(bench) == [MENDS]
    assert bench.text("one.py") == ONE
    assert bench.finished().met == ("r", "q", "s")
    written = [(each.step, each.path) for each in bench.events if isinstance(each, FileWritten)]
    assert written == [("one", "one.py"), ("two", "two.py"), ("two", "one.py")]
    assert replay(bench.directory().path).differences == ()


def test_of_a_file_each_function_that_lacks_something_is_asked_for(bench: Bench) -> None:
    said = "      `one(x)` returns abs(x)\n"
    more = said.replace("one", "more").replace("abs", "sorted")
    text = bench.queue_path.read_text().replace(said, f"{said}\n{more}")
    bench.queue_path.write_text(text.replace("turns: 2", "turns: 3"))
    slip = f"{SLIP}\n\ndef more(x):\n    return x\n"
    part = fence("one.py", "def one(x):\n    return abs(x)\n")
    other = fence("one.py", "def more(x):\n# meets s\n    return sorted(x)\n")
    bench.run(fence("one.py", slip), fence("two.py", TWO), ALONE, part, other)

    question = bench.chat.asked[4].messages[-1].content
    assert "asked for:\n\n`more(x)` returns sorted(x)\n" in question
    assert "return abs(x)" in bench.text("one.py")
    assert told(bench) == [MENDS]
    assert bench.finished().met == ("r", "q", "s")


def test_what_fails_in_that_file_is_asked_for_with_what_its_own_task_says(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = MarkJudge.judge

    def judge_with_error(self: MarkJudge, step: Step, texts: Mapping[str, str]) -> Judgement:
        found = judge(self, step, texts)
        error = Fault(("s",), (), "ValueError: x", "one.py:4")
        return replace(found, faults=(error,)) if "abs" in texts["one.py"] else found

    monkeypatch.setattr(MarkJudge, "judge", judge_with_error)
    text = bench.queue_path.read_text().replace("turns: 2", "turns: 3")
    said = "      `two(x)` returns one(x)\n"
    bench.queue_path.write_text(text.replace(said, f"{said}\n      `one(x)` is imported.\n"))
    part = fence("one.py", SLIP.replace("return x", "return abs(x)"))
    bench.run(fence("one.py", SLIP), fence("two.py", TWO), ALONE, part, fence("one.py", ONE))

    question = bench.chat.asked[4].messages[-1].content
    assert "asked for:\n\n`one(x)` returns abs(x)\n\nAn earlier version failed: Value" in question


def test_a_later_step_gets_what_the_step_declares(bench: Bench) -> None:
    third = "  - {id: three, task: Go., context: [{step: two, as: files}], outputs: [{path: t.py}]}"
    bench.queue_path.write_text(f"{bench.queue_path.read_text()}{third}\n")
    bench.run(
        fence("one.py", SLIP),
        fence("two.py", TWO),
        ALONE,
        fence("one.py", ONE),
        fence("t.py", "x = 1"),
    )

    context = bench.chat.asked[4].messages[0].content
    assert "two.py" in context
    assert "one.py" not in context


def test_what_it_met_before_is_not_lost(bench: Bench) -> None:
    worse = ONE.replace("# meets r\n# meets q\n", "")
    bench.run(fence("one.py", SLIP), fence("two.py", TWO), ALONE, fence("one.py", worse))

    assert bench.text("one.py") == SLIP
    assert [each.standing for each in bench.events if isinstance(each, Judged)][-1] is False
    assert (bench.finished().met, bench.finished().unmet) == (("r", "q"), ("s",))
    assert replay(bench.directory().path).differences == ()


def test_what_brings_no_file_leaves_it_as_it_was(bench: Bench) -> None:
    bench.run(fence("one.py", SLIP), fence("two.py", TWO), ALONE, "I cannot.")

    assert bench.text("one.py") == SLIP
    assert bench.finished().complete
    assert bench.finished().met == ("r", "q")


@pytest.mark.parametrize(
    "wrong",
    ["    # ... rest of the code stays the same\n    return abs(x)", "    return abs(x"],
    ids=["not whole", "does not parse"],
)
def test_what_is_not_usable_is_not_judged_in_its_place(bench: Bench, wrong: str) -> None:
    """Or the step would be green by a file that is never written."""
    answer = fence("one.py", ONE.replace("    return abs(x)", wrong))
    bench.run(fence("one.py", SLIP), fence("two.py", TWO), ALONE, answer)

    assert bench.text("one.py") == SLIP
    assert (bench.finished().met, bench.finished().unmet) == (("r", "q"), ("s",))
    assert replay(bench.directory().path).differences == ()


def test_a_change_of_the_user_may_not_lose_more_than_was_met(tmp_path: Path, bench: Bench) -> None:
    refine, change = Decision("refine"), Decision("change", "Shorter.")
    decisions = iter([Decision("accept"), refine, refine, change])
    accept = Decision("accept")
    bench.plan_options["steer"] = lambda review: next(decisions, accept)
    worse = ONE.replace("# meets r\n# meets q\n", "")
    first = (fence("one.py", SLIP), fence("two.py", TWO), ALONE)
    bench.run(*first, "I cannot.", fence("one.py", worse))

    assert bench.text("one.py") == SLIP


def test_a_change_of_the_user_may_bring_any_file_after_one_was_asked_for(bench: Bench) -> None:
    refine, change = Decision("refine"), Decision("change", "Shorter.")
    decisions, accept = iter([Decision("accept"), refine, refine, change]), Decision("accept")
    bench.plan_options["steer"] = lambda review: next(decisions, accept)
    changed = f"{TWO}# meets s\n"
    first = (fence("one.py", SLIP), fence("two.py", TWO), ALONE)
    bench.run(*first, "I cannot.", fence("two.py", changed))

    assert bench.text("two.py") == changed


def test_what_is_asked_for_alone_needs_no_path(bench: Bench) -> None:
    alone = fence("", ONE.replace("# meets q\n", "# meets q\n\n")).replace(" path=", "")
    bench.run(fence("one.py", SLIP), fence("two.py", TWO), ALONE, alone)

    assert "return abs(x)" in bench.text("one.py")


def test_a_fresh_answer_is_again_to_what_the_step_declares(bench: Bench) -> None:
    text = bench.queue_path.read_text()
    bench.queue_path.write_text(text.replace("turns: 2", "turns: 4"))
    better = f"{TWO}# meets s\n"
    first = (fence("one.py", SLIP), fence("two.py", TWO), ALONE, "I cannot.")
    bench.run(*first, fence("two.py", TWO), fence("", better).replace(" path=", ""))

    assert "An earlier answer failed" in bench.chat.asked[-1].messages[-1].content
    assert bench.text("two.py") == better


def test_a_file_that_an_earlier_red_step_wrote_is_left_to_it(bench: Bench) -> None:
    text = bench.queue_path.read_text()
    zero = "{id: zero, task: Go., outputs: [{path: one.py}], requirements: {z: z}, checks: [c.py]}"
    bench.queue_path.write_text(text.replace("  - id: one", f"  - {zero}\n  - id: one"))
    (bench.folder / "c.py").write_text(CHECKS.replace('"r"', '"z"'))
    bench.run(*[fence("one.py", SLIP) + fence("two.py", TWO)] * 9)

    assert "z" in bench.finished().unmet
    assert MENDS not in told(bench)


def test_a_run_that_is_stopped_then_goes_on(bench: Bench) -> None:
    with pytest.raises(EndpointError):
        bench.run(fence("one.py", SLIP), fence("two.py", TWO), ALONE, EndpointError("gone"))
    bench.run(fence("one.py", ONE), resume=True)

    assert bench.text("one.py") == ONE
    assert bench.finished().met == ("r", "q", "s")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (SLIP, TWO.replace("from one import one", "one = abs")),
        (SLIP.replace("return x", "return abs(x) + x"), TWO),
        (SLIP.replace("# meets r\n", ""), TWO),
    ],
    ids=["not imported", "nothing lacks", "red itself, and not mended"],
)
def test_else_the_step_is_told_what_is_wrong_with_its_own(bench: Bench, one: str, two: str) -> None:
    both = fence("one.py", one) + fence("two.py", two)
    bench.run(*[both] * 9)

    assert MENDS not in told(bench)
    assert bench.text("one.py") == one


def test_where_the_task_speaks_of_no_function_the_step_is_told_first(bench: Bench) -> None:
    text = bench.queue_path.read_text()
    text = text.replace("`two(x)` returns one(x)", "Quickly.").replace("turns: 2", "turns: 3")
    bench.queue_path.write_text(text)
    wrong = fence("two.py", TWO)
    bench.run(fence("one.py", SLIP), wrong, wrong, ALONE, fence("one.py", ONE))

    assert "not as the task asks" in bench.chat.asked[2].messages[-1].content
    assert bench.text("one.py") == ONE
