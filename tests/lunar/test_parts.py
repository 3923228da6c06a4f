"""The checks of lunar-fine's components: green for what is right, red for what is wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.verify.contract import Selection
from promptqueue.verify.gates import verify
from promptqueue.verify.report import Requirement
from tests.lunar.repeat import STYLES
from tests.lunar.twins import ROOT

pytestmark = pytest.mark.contract
FINE = STYLES / "fine"
SEED = 20261129
WRONG = [
    ("image_paths", "paths.py", "f.lower().endswith", "f.endswith"),
    ("labels", "paths.py", "enumerate(sorted(set(names)))", "enumerate(dict.fromkeys(names))"),
    ("load_image", "images.py", "/ 65535", "/ 255"),
    ("filter", "filters.py", "[5, 5]", "[9, 9]"),
    ("sharpen", "filters.py", ".clamp(0, 1)", ""),
    ("augment", "augment.py", "RandomRotation(15)", "RandomRotation(30)"),
    ("augment", "augment.py", "RandomVerticalFlip(0.5)", "RandomVerticalFlip(0.0)"),
    ("augment", "augment.py", "brightness=0.2", "brightness=0.02"),
    ("add_noise", "augment.py", "0.01 * torch.randn_like", "0.02 * torch.rand_like"),
    ("dataset", "dataset.py", "        image = sharpen(image)\n", ""),
    ("dataset", "dataset.py", "if self.train:\n            image = augment",
     "if True:\n            image = augment"),
    ("pyramid", "pyramid.py", "padding=rate, dilation=rate", "padding=1"),
    ("gate", "gate.py", "x * self.mask(x)", "self.mask(x)"),
    ("block", "block.py", "x = x + self.attention", "x = self.attention"),
    ("trunk", "trunk.py", '("conv1", "bn1", "layer1", "layer2")', '("conv1", "bn1", "layer1")'),
    ("keep_frozen", "trunk.py", "getattr(trunk, name).eval()", "getattr(trunk, name).train()"),
    ("features", "trunk.py", "return second, trunk", "return trunk.layer1(x), trunk"),
    ("weights", "weights.py", 'nonlinearity="relu"', 'nonlinearity="linear"'),
    ("simple", "simple.py", "nn.Dropout(dropout_prob)", "nn.Dropout(0.5)"),
    ("loss", "loss.py", ").mean()", ").sum()"),
    ("scores", "scores.py", "sum(column) / num_classes", "sum(column) / len(targets.unique())"),
    ("curves", "curves.py", '("f1",), ("lr",)', '("f1",), ("f1",)'),
    ("epoch", "epochs.py", " * (len(part) / len(images))", " / accumulation_steps"),
    ("epoch", "epochs.py", "enabled=use_amp):\n                loss = criterion(model(part)",
     "enabled=False):\n                loss = criterion(model(part)"),
    ("evaluation", "evaluation.py", "total / len(targets), targets", "total, targets"),
    ("split", "split.py", "(order[cut:], order[:cut])", "(order[:cut], order[cut:])"),
    ("options", "options.py", " if num_workers > 0 else {}", ""),
    ("options", "options.py", "pinned = torch.cuda.is_available()", "pinned = False"),
    ("flags", "flags.py", "        flags = parser.parse_args(arguments)\n    return flags",
     "        vars(flags).update(json.load(open(flags.config)))\n    return flags"),
    ("samples", "samples.py", "(label + 1) * column", "column"),
]  # fmt: skip
"""Requirement, file, what is right in the style `fine`, and what is wrong instead."""


@pytest.fixture(scope="module")
def queue() -> LoadedQueue:
    return load_queue(ROOT / "prompts" / "lunar-fine.yaml")


def unmet(queue: LoadedQueue, folder: Path, *names: str) -> list[Requirement]:
    """Return which of these requirements are not met; of all, where none is named."""
    report = verify(
        queue,
        folder,
        selection=Selection(requirements=names, gates=("contract",)),
        inputs=resolve_inputs(queue.queue, ["language=en"]),
        seed=SEED,
    )
    return [each for each in report.asked if each.verdict != "met"]


def test_every_component_has_a_wrong_one(queue: LoadedQueue) -> None:
    steps = [step for step in queue.queue.steps if "lunar/checks/test_parts.py" in step.checks]

    assert {name for step in steps for name in step.requirements} == {name for name, *_ in WRONG}


def test_right_components_meet_every_requirement(queue: LoadedQueue) -> None:
    assert unmet(queue, FINE) == []


def wrong(folder: Path, file: str, old: str, new: str) -> Path:
    copy = Path(shutil.copytree(FINE, folder / "code"))
    text = (copy / file).read_text("utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new), "utf-8")
    return copy


@pytest.mark.parametrize(("name", "file", "right", "other"), WRONG, ids=lambda text: text[:20])
def test_a_wrong_component_is_found_with_its_place(
    queue: LoadedQueue, tmp_path: Path, name: str, file: str, right: str, other: str
) -> None:
    (found,) = unmet(queue, wrong(tmp_path, file, right, other), name)

    assert found.id == name
    assert re.fullmatch(rf"{file}:[1-9]\d*", found.at), (found.at, found.evidence)


@pytest.mark.parametrize(
    ("name", "file", "right", "other", "told"),
    [
        ("augment", "augment.py", "return AUGMENT(", "AUGMENT(", "augment returned None"),
        ("evaluation", "evaluation.py", "total / len(targets), targets", "targets",
         "evaluate must return 4 values, not 3"),
    ],
)  # fmt: skip
def test_an_answer_of_another_kind_is_told_in_words(
    queue: LoadedQueue, tmp_path: Path, name: str, file: str, right: str, other: str, told: str
) -> None:
    (found,) = unmet(queue, wrong(tmp_path, file, right, other), name)

    assert told in found.evidence
