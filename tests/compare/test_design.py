"""What belongs together in a comparison: arms that are refused, samples that are kept apart."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from promptqueue.compare.design import Design, Recipe, design
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
        base_url="http://127.0.0.1:9/v1",
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
    embedded = replace(recipe, base_url=None, endpoint="embedded", arms=("full,model=other",))
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
