"""Three correct answers to the lunar queue, each in another style, do what the prompts ask for.

A contract that calls one of them wrong cries wolf; so these tests say, by means that the contract
does not share, that none of them is wrong.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50

from promptqueue.verify.placeholders import placeholders
from promptqueue.verify.ruff import ruff_findings
from tests.lunar.pictures import size_and_format
from tests.lunar.style import MODULES, Style

STYLES = Path(__file__).parent / "styles"
pytestmark = pytest.mark.usefixtures("seeded")
ALLOWED = {*sys.stdlib_module_names, *MODULES, "torch", "torchvision", "numpy", "PIL", "matplotlib"}
FLAGS = {
    "data_dir": "lunar_images",
    "save_dir": "checkpoints",
    "model_type": "hybrid",
    "num_classes": 5,
    "dropout": 0.3,
    "pretrained": False,
    "epochs": 50,
    "batch_size": 8,
    "lr": 1e-4,
    "weight_decay": 1e-5,
    "gamma": 2.0,
    "patience": 7,
    "val_split": 0.2,
    "num_workers": 4,
    "create_sample_data": False,
    "seed": 42,
    "resume": None,
    "config": None,
}


@pytest.fixture(scope="module")
def hybrid(style: Style) -> nn.Module:
    return style.model.create_model("hybrid", num_classes=4)


@pytest.mark.training
def test_the_frozen_layers_stay_put_and_all_others_learn(hybrid: nn.Module) -> None:
    before = {name: value.clone() for name, value in hybrid.state_dict().items()}
    learning = [weight for weight in hybrid.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-3)
    F.cross_entropy(hybrid.train()(torch.rand(2, 3, 64, 64)), torch.tensor([0, 3])).backward()
    optimizer.step()
    still = [
        value for name, value in hybrid.state_dict().items() if torch.equal(value, before[name])
    ]
    assert shapes(still) == shapes(frozen(resnet50().state_dict()))
    locked = [weight for weight in hybrid.parameters() if not weight.requires_grad]
    assert shapes(locked) == shapes(frozen(dict(resnet50().named_parameters())))


def frozen(trunk: dict[str, Tensor]) -> list[Tensor]:
    """Return what of a ResNet50 must stay put: stem and first two layers."""
    stem = ("conv1", "bn1", "layer1", "layer2")
    return [value for name, value in trunk.items() if name.startswith(stem)]


def shapes(values: list[Tensor]) -> Counter[torch.Size]:
    return Counter(value.shape for value in values)


def test_hybrid_takes_any_batch_in_eval_mode_and_drops_out_only_in_training(
    hybrid: nn.Module,
) -> None:
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        hybrid.train()
        assert not torch.allclose(hybrid(images), hybrid(images))
        logits = hybrid.eval()(images)
        torch.testing.assert_close(hybrid(images[:1]), logits[:1], atol=1e-3, rtol=1e-3)
    assert logits.shape == (2, 4)


def test_dilated_convolutions_start_from_he_normal_weights(style: Style) -> None:
    fresh = style.model.create_model("hybrid")
    dilated = {
        layer.dilation[0]: layer
        for layer in fresh.modules()
        if isinstance(layer, nn.Conv2d) and layer.dilation[0] > 2
    }
    assert sorted(dilated) == [6, 12, 18]
    for layer in dilated.values():
        spread = layer.weight.std().item()
        fans = (9 * layer.in_channels, 9 * layer.out_channels)  # either is He's
        assert min(abs(spread / math.sqrt(2 / fan) - 1) for fan in fans) < 0.01


def test_simple_model_follows_dropout_prob(style: Style) -> None:
    images = torch.rand(4, 3, 32, 32)
    never, often = (
        style.model.create_model("simple", num_classes=3, dropout_prob=p).train() for p in (0, 0.9)
    )
    assert torch.equal(never(images), never(images))
    assert not torch.equal(often(images), often(images))
    with pytest.raises(ValueError, match="'other'"):
        style.model.create_model("other")


@pytest.mark.training
def test_main_runs_the_whole_and_can_go_on_from_there(
    style: Style, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style.main.create_sample_data(tmp_path / "D", num_samples=5, num_classes=5)
    pictures = sorted((tmp_path / "D").glob("*/*.png"))
    assert [size_and_format(path) for path in pictures] == [((256, 256), "PNG")] * 5
    given = {"data_dir": "D", "save_dir": "S", "model_type": "simple", "epochs": 1}
    given |= {"batch_size": 8, "num_workers": 0}
    flags = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    subprocess.run(
        [sys.executable, style.folder / "main.py", *flags],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
    )
    assert json.loads((tmp_path / "S/config.json").read_text()) == FLAGS | given
    results = json.loads((tmp_path / "S/results.json").read_text())
    assert set(results) == {"best_f1", "total_time"}
    assert 0 <= results["best_f1"] <= 1
    monkeypatch.chdir(tmp_path)
    _go_on(style, monkeypatch)
    assert json.loads((tmp_path / "S2/config.json").read_text())["model_type"] == "simple"
    assert len(list((tmp_path / "D2").glob("*/*.png"))) == 5


def _go_on(style: Style, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start again in this process, where the sample data may be made few."""
    few = partial(style.main.create_sample_data, num_samples=5)
    monkeypatch.setattr(style.main, "create_sample_data", few)
    words = "main.py --config S/config.json --resume S/best_model.pth --create_sample_data"
    monkeypatch.setattr(sys, "argv", [*words.split(), "--data_dir", "D2", "--save_dir", "S2"])
    style.main.main()


@pytest.mark.parametrize(
    "folder",
    [each for each in sorted(STYLES.iterdir()) if each.name != "fine"],  # it answers lunar-fine
    ids=lambda folder: folder.name,
)
def test_a_style_keeps_to_libraries_and_language(folder: Path) -> None:
    assert sorted(path.name for path in folder.glob("*.py")) == sorted(f"{m}.py" for m in MODULES)
    for path in folder.glob("*.py"):
        text = path.read_text("utf-8")
        assert imported(text) <= ALLOWED
        assert bool(re.search("[А-Яа-яЁё]", text)) == (folder.name != "renamed")
        assert not [*placeholders(text)]
    assert not [*ruff_findings(folder)]


def imported(text: str) -> set[str]:
    """Return the top-level names of all modules that a module imports."""
    nodes: list[Any] = [*ast.walk(ast.parse(text))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}
