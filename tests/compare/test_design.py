"""What belongs together in a comparison: arms that are refused, samples that are kept apart."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from statistics import stdev

import pytest

from promptqueue.chat.endpoints import EndpointChoice
from promptqueue.compare.design import Design, Recipe, design
from promptqueue.compare.estimate import estimate
from promptqueue.compare.sample import Sample, Spending
from promptqueue.errors import StorageError, UsageError

PACK = Path(__file__).parents[1] / "packs" / "tiny"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    shutil.copytree(PACK, tmp_path / "pack")
    return Recipe(
        queue=tmp_path / "pack/tiny.yaml",
        arms=("monolith", "full"),
        samples=2,
        store=tmp_path / "store",
        endpoint=EndpointChoice(base_url="http://127.0.0.1:9/v1"),
    )


def places(plan: Design) -> dict[str, str]:
    return {task.arm.name: task.place.parent.name for task in plan.tasks()}


def test_samples_of_other_prompts_are_kept_apart(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of our own layout and of the monolith are in no queue file."""
    before = places(design(recipe))
    assert places(design(recipe)) == before

    monkeypatch.setattr("promptqueue.compare.monolith._WHOLE", "{{% extends '{layout}' %}}{task}")
    changed = places(design(recipe))
    assert changed["full"] == before["full"]
    assert changed["monolith"] != before["monolith"]


def test_the_embedded_model_is_not_called_by_another_name(recipe: Recipe) -> None:
    embedded = replace(recipe, endpoint=EndpointChoice("embedded"), arms=("full,model=other",))
    with pytest.raises(UsageError, match="'full,model=other' would be answered by the embedded"):
        design(embedded)


def test_an_arm_has_no_seed_of_its_own(recipe: Recipe) -> None:
    with pytest.raises(UsageError, match="each sample has a seed of its own"):
        design(replace(recipe, arms=("full,seed=3",)))


def test_a_store_of_another_version_is_told_before_its_samples_are_read(recipe: Recipe) -> None:
    plan = design(recipe)
    task = plan.tasks()[0]
    task.place.mkdir(parents=True)
    (task.place / "sample.json").write_text('{"arm": "full", "spent": 3}')
    with pytest.raises(StorageError, match=r"sample.json is no sample: .*; remove it"):
        plan.known(task)

    (plan.store.folder / "comparison.json").write_text('{"promptqueue_compare": 0}')
    with pytest.raises(StorageError, match="version 0"):
        design(recipe)


def test_another_reference_is_another_contract(recipe: Recipe) -> None:
    before = design(recipe)
    path = recipe.queue.parent / "reference/stats.py"
    path.write_text(path.read_text() + "\n# as before, or not\n")

    after = design(recipe)

    assert after.terms.contract != before.terms.contract
    assert places(after) == places(before)


def test_the_base_may_be_written_as_its_arm_was(recipe: Recipe) -> None:
    arms = ("full,temperature=0.70,model=x", "none")
    assert design(replace(recipe, arms=arms, base=arms[0])).base == "full,model=x,temperature=0.7"
    with pytest.raises(UsageError, match="the base 'files' is none of the arms"):
        design(replace(recipe, base="files"))


def test_a_queue_of_an_arm_may_have_an_input_more(recipe: Recipe) -> None:
    text = recipe.queue.read_text().replace(
        "steps:", "inputs: {tone: {type: str, default: kind}}\nsteps:", 1
    )
    other = recipe.queue.with_name("other.yaml")
    other.write_text(text.replace("Write stats.py.", "Write stats.py, and be {{ inputs.tone }}."))
    made = design(replace(recipe, arms=("full", f"full,queue={other}")))
    assert estimate(made).arms[1].prompt_tokens > estimate(made).arms[0].prompt_tokens


def kept(
    plan: Design, *, arm: int = 0, met: tuple[str, ...], number: int | None = None, **more: object
) -> None:
    """Keep a sample of each number, or of one, with no run and no code beside it."""
    for task in plan.tasks():
        if task.arm is plan.arms[arm] and number in (None, task.number):
            unmet = tuple(name for name in plan.terms.requirements if name not in met)
            values = {"contract": plan.terms.contract, "replies": str(task.number), **more}
            spending = Spending(1, 100, 50, 0, None, 1.0)
            sample = Sample(task.arm.name, task.number, "r", True, spending, met, unmet, **values)
            plan.store.keep(task.place, sample)


def test_what_is_there_can_be_shown_where_nothing_can_be_judged(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(design(replace(recipe, arms=("full",))), met=("mean",))
    monkeypatch.setattr("promptqueue.compare.design.why_not", lambda _: "no sandbox")

    assert len(design(replace(recipe, arms=("full",))).samples_there()) == 2
    with pytest.raises(UsageError, match="cannot be compared: no sandbox"):
        design(recipe)


def test_the_embedded_model_has_its_samples_whatever_model_the_environment_names(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = replace(recipe, endpoint=EndpointChoice("embedded"))
    before = places(design(embedded))
    monkeypatch.setenv("PROMPTQUEUE_MODEL", "another")
    assert places(design(embedded)) == before


def test_a_sample_that_was_judged_by_other_requirements_is_judged_again(recipe: Recipe) -> None:
    text = recipe.queue.read_text()
    more = text.replace("      report:", '      shown: "what it says"\n      report:', 1)
    assert more != text
    other = recipe.queue.with_name("other.yaml")
    other.write_text(more)
    asked = replace(recipe, arms=(f"full,queue={other}",))
    kept(design(asked), met=("mean",))
    assert not design(asked).missing()

    recipe.queue.write_text(more)  # the arm asks as before, and is compared by more
    assert len(design(asked).missing()) == 2


def test_copies_say_nothing_of_the_spread(recipe: Recipe) -> None:
    kept(design(recipe), met=("mean",), replies="the same")
    assert estimate(design(recipe)).assumed
    kept(design(recipe), arm=1, met=("mean",))
    assert estimate(design(recipe)).assumed  # two that are alike are no measure of chance either

    kept(design(recipe), arm=1, met=("mean", "median"), number=2)
    found = estimate(design(recipe))
    assert not found.assumed
    assert found.spread == pytest.approx(stdev([1 / 3, 2 / 3]))
