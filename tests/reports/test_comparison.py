"""What a comparison says: tables of samples whose shares, intervals and p are known."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import pytest

from promptqueue.compare.estimate import ArmEstimate, Estimate
from promptqueue.compare.sample import Sample, Spending
from promptqueue.compare.summary import compare
from promptqueue.reports.comparison import (
    comparison_csv,
    comparison_json,
    comparison_lines,
    estimate_json,
    estimate_lines,
)
from promptqueue.reports.picture import draw

NAMES = ("a", "b", "c", "d")


def sample(
    arm: str, number: int, met: int, *, tokens: int = 150, usd: float | None = None, **more: object
) -> Sample:
    spending = Spending(1, prompt=tokens - 50, completion=50, cached=0, usd=usd, seconds=1.0)
    values = {"met": NAMES[:met], "unmet": NAMES[met:], **more}
    return Sample(arm=arm, number=number, run="r", complete=True, spending=spending, **values)


def table(**arms: list[int]) -> list[str]:
    samples = {
        arm: [sample(arm, number, met) for number, met in enumerate(counts, 1)]
        for arm, counts in arms.items()
    }
    return list(comparison_lines(compare("q", NAMES, samples, next(iter(arms)), {})))


def test_samples_that_are_all_alike_are_shown_without_an_interval() -> None:
    lines = table(one=[0] * 5, other=[0, 1, 2, 3, 4], more=[4] * 5)

    assert "0% (all alike)" in lines[1]
    assert "50% [" in lines[2]
    assert "100% (all alike)" in lines[3]
    assert "+100, p 0.008 (Holm 0.016)" in lines[3]  # the smaller of two
    assert "Holm: p adjusted for 2 tests" in lines[5]


def test_copies_of_one_answer_say_nothing_of_chance() -> None:
    samples = {
        "one": [sample("one", number, 1, replies="same") for number in range(1, 6)],
        "other": [sample("other", number, number % 4) for number in range(1, 6)],
    }
    lines = list(comparison_lines(compare("q", NAMES, samples, "one", {})))

    assert "25%  " in lines[1]  # neither an interval, nor that they are alike
    assert ", p " not in lines[2]
    assert "one: only 1 of 5 samples differ in their replies, so no interval and no p" in lines[4]


def test_arms_are_compared_at_the_tokens_of_the_dearest_one() -> None:
    costs = {"dear": 200, "cheap": 100, "cheapest": 60}
    samples = {
        arm: [sample(arm, number, number - 1, tokens=cost) for number in (1, 2, 3)]
        for arm, cost in costs.items()
    }
    head, *rows = list(comparison_lines(compare("q", NAMES, samples, "dear", {})))[:4]

    assert "best at 200 tokens" in head
    # shares of 0, 25 and 50 %: one of them; the better of two; all three, where it pays for more
    shown = {row.split()[0]: re.split("  +", row)[-3] for row in rows}
    assert shown == {"dear": "25%", "cheap": f"{(25 + 50 + 50) / 3:.0f}%", "cheapest": "≥ 50%"}


@pytest.mark.parametrize(("usd", "words"), [(0.5, ", 0.5000 USD a sample"), (None, "")])
def test_below_the_table_stands_what_several_samples_meet_and_cost(
    usd: float | None, words: str
) -> None:
    """Of four requirements, one is met by all samples, and one by a single one."""
    found = [sample("one", n, met, usd=cost) for n, met, cost in ((1, 1, 0.5), (2, 2, usd))]
    lines = list(comparison_lines(compare("q", NAMES, {"one": found}, "one", {"one": 1})))

    assert f"  one: 50% are met by one of 2 at least{words}" in lines
    assert lines[-1] == "one: 1 sample still missing"


def test_for_machines_what_is_not_a_number_is_null() -> None:
    found = compare("q", NAMES, {"one": [sample("one", 1, 1)]}, "one", {})
    endless = Estimate((), 0.1, math.inf, 0.15, assumed=True)

    read = [
        json.loads(text, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
        for text in (comparison_json(found), estimate_json(endless))
    ]
    assert read[0]["arms"][0]["met"] == {"value": 0.25, "low": None, "high": None}
    assert read[1]["detectable"] is None


@pytest.mark.parametrize(("arms", "legend"), [(3, True), (11, False)])
def test_a_picture_says_what_it_shows(tmp_path: Path, arms: int, legend: bool) -> None:
    names = [f"arm{number}" for number in range(1, arms + 1)]
    samples = {
        name: [sample(name, n, n % 4, models=("a-model",)) for n in (1, 2, 3)] for name in names
    }
    draw(compare("q", NAMES, samples, "arm1", {}), tmp_path / "found.svg")

    texts = re.findall("<!-- (.*) -->", (tmp_path / "found.svg").read_text())
    assert {"q: 4 requirements", "answered by a-model", "requirements met, %"} <= {*texts}
    assert ("arm3 (n = 3)" in texts) is legend  # more arms than colours go by number
    assert ("arm3" if legend else "3 arm3") in texts
    assert any("at most 75% of the time" in text for text in texts)


def test_samples_that_brought_no_reply_are_no_copies_and_can_be_drawn(tmp_path: Path) -> None:
    refused = [sample("one", n, 0, tokens=0, stopped="overflow") for n in range(1, 6)]
    found = compare("q", NAMES, {"one": refused}, "one", {})
    assert found.arms[0].distinct == 5

    draw(found, tmp_path / "found.svg")
    assert "one (n = 5)" in (tmp_path / "found.svg").read_text()


def test_what_there_is_no_verdict_on_is_told() -> None:
    unsure = sample(
        "one",
        1,
        1,
        errors=("c",),
        unjudged=("d",),
        stopped="overflow",
        notes=("x",),
        models=("a", "b"),
    )
    found = compare("q", NAMES, {"one": [unsure]}, "one", {})

    lines = "\n".join(comparison_lines(found))
    assert "verdicts that are errors of checks, counted as not met (1)" in lines
    assert "requirements that no check looked at, counted as not met (1)" in lines
    assert "asked in another way: x" in lines
    assert "answered by a, b" in lines
    rows = list(csv.DictReader(comparison_csv(found).splitlines()))
    assert [row["verdict"] for row in rows] == ["met", "not met", "error", "not verified"]
    assert {row["stopped"] for row in rows} == {"overflow"}


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([1], "one sample has no interval and no p"),
        ([1, 2], "at most 50% of such intervals hold the true value, with 2 samples"),
        ([1, 2, 3], "at most 75% of such intervals hold the true value, with 3 samples"),
        ([1, 2, 3] * 3, "about 95% of such intervals hold the true value; none"),
    ],
)
def test_intervals_say_how_far_they_can_be_trusted(counts: list[int], words: str) -> None:
    assert any(words in line for line in table(one=counts))


def test_a_limit_of_money_that_cannot_be_held_is_told() -> None:
    arm = ArmEstimate("full", 5, 100, 100, None, priced=False)
    found = Estimate((arm,), 0.008, 0.3, 0.15, assumed=True, unpriced=("full",))
    assert any("the limit usd cannot be held: no price" in line for line in estimate_lines(found))


@pytest.mark.parametrize(
    ("detectable", "words"),
    [(None, "smallest p is 0.100; take 4 or more"), (0.3, "a difference of 30 points")],
)
def test_an_estimate_promises_no_difference_that_cannot_be_shown(
    detectable: float | None, words: str
) -> None:
    arm = ArmEstimate("full", 3, 100, 100, None)
    said = list(estimate_lines(Estimate((arm,), 0.1, detectable, 0.15, assumed=True)))
    assert words in said[-1]
