"""What a user decides about a reply holds when the run goes on, is replayed, or answers another."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.errors import EndpointError
from promptqueue.run.replay import replay
from promptqueue.run.steering import Decision, Review
from tests.run.bench import ONE, TWO, Bench
from tests.scripted import fence

CHANGED = fence("one.py", "def one():\n    return 11")
ACCEPT = Decision("accept")
KINDS = {
    "change": [Decision("change", "Return 11."), ACCEPT],
    "edit": [Decision("edit", "Compose one.py."), ACCEPT],
    "retry": [Decision("retry"), ACCEPT],
    "correct": [Decision("correct", "Return 11."), ACCEPT],
    "several": [Decision("retry"), Decision("edit", "Compose it."), Decision("retry"), ACCEPT],
}


def steered(bench: Bench, decisions: list[Decision]) -> None:
    """Steer the next run by these decisions, and accept all that comes after them."""
    left = iter(decisions)
    bench.plan_options["steer"] = lambda review: next(left, ACCEPT)


@pytest.fixture(params=KINDS)
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    """A run whose second step could not be asked, after a user had a say in the first."""
    bench, decisions = Bench(tmp_path), KINDS[request.param]
    steered(bench, decisions)
    with pytest.raises(EndpointError):
        bench.run(*[ONE] * (len(decisions) - 1), CHANGED, EndpointError("gone"))
    bench.plan_options["steer"] = None
    return bench


def assert_held(bench: Bench) -> None:
    assert bench.text("one.py") == "def one():\n    return 11\n"
    assert bench.text("two.py") == "x = 2\n"
    assert replay(bench.directory().path).differences == ()


def test_a_decision_holds_when_the_run_goes_on(bench: Bench) -> None:
    bench.run(TWO, resume=True)
    assert len(bench.chat.asked) == 1
    assert_held(bench)


def test_a_decision_holds_for_a_later_run(bench: Bench) -> None:
    first = bench.directory().path
    bench.run(TWO)
    assert len(bench.chat.asked) == 1
    assert bench.directory().path != first
    assert_held(bench)
    bench.run()
    assert bench.chat.asked == []
    assert_held(bench)


def test_what_was_skipped_stays_so_in_its_run_and_is_asked_by_a_later_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    steered(bench, [Decision("skip")])
    bench.run(ONE, TWO)
    bench.plan_options["steer"] = None
    bench.run(resume=True)
    assert bench.finished().incomplete == ("one",)
    assert not (tmp_path / "out/one.py").exists()
    assert replay(bench.directory().path).differences == ()
    bench.run(ONE, TWO)
    assert bench.finished().complete


def test_a_reply_is_shown_with_what_would_go_back(tmp_path: Path) -> None:
    reviews: list[Review] = []
    bench = Bench(tmp_path)

    def decide(review: Review) -> Decision:
        reviews.append(review)
        assert not (tmp_path / "out" / f"{review.step}.py").exists()
        return Decision("refine" if review.issues else "accept")

    bench.plan_options["steer"] = decide
    bench.run("no", ONE, TWO)
    shown = [(each.step, each.turn, each.reply.text, dict(each.files)) for each in reviews]
    assert shown == [
        ("one", 0, "no", {}),
        ("one", 1, ONE, {"one.py": "def one():\n    return 1\n"}),
        ("two", 0, TWO, {"two.py": "x = 2\n"}),
    ]
    assert [bool(each.issues) for each in reviews] == [True, False, False]
    assert [each.prompt for each in reviews] == [r.messages[-1].content for r in bench.chat.asked]
