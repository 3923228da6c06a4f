"""Three correct answers to the lunar queue, each in another style, do what the prompts ask for.

A contract that calls one of them wrong cries wolf; so these tests say, by means that the contract
does not share, that none of them is wrong.
"""

from __future__ import annotations

import ast
import importlib
import json
import math
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet50

from promptqueue.verify.placeholders import placeholders
from promptqueue.verify.ruff import ruff_findings
from tests.lunar.pictures import LEVELS, bright_quarter, edge_angle, flat_pictures, repeated_picture

STYLES = Path(__file__).parent / "styles"
MODULES = ("preprocessing", "model", "training", "main")
ALLOWED = {*sys.stdlib_module_names, *MODULES, "torch", "torchvision", "numpy", "PIL", "matplotlib"}
HISTORY = ["epoch", "train_loss", "val_loss", "accuracy", "precision", "recall", "f1", "lr"]
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
FOCAL: dict[str, Callable[[ModuleType, float], Callable[[Tensor, Tensor], Tensor]]] = {
    "plain": lambda training, gamma: training.FocalLoss(gamma),
    "functional": lambda training, gamma: partial(training.focal_loss, gamma=gamma),
    "renamed": lambda training, gamma: training.FocalCriterion(gamma),
}
METRICS: dict[str, Callable[..., dict[str, float]]] = {
    "plain": lambda training, *arguments: training.compute_metrics(*arguments),
    "functional": lambda training, *arguments: training.compute_metrics(*arguments),
    "renamed": lambda training, *arguments: vars(training.macro_scores(*arguments)),
}


class Style(NamedTuple):
    name: str
    folder: Path
    preprocessing: ModuleType
    model: ModuleType
    training: ModuleType
    main: ModuleType


@pytest.fixture(scope="module", params=["plain", "functional", "renamed"])
def style(request: pytest.FixtureRequest) -> Iterator[Style]:
    """Import the modules of one style by the names by which they import each other."""
    folder = STYLES / request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        modules = [importlib.import_module(name) for name in MODULES]
        yield Style(request.param, folder, *modules)
        for name in MODULES:
            del sys.modules[name]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Start the global generators anew; on one thread, since tests run side by side."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def hybrid(style: Style) -> nn.Module:
    return style.model.create_model("hybrid", num_classes=4)


def views(style: Style, folder: Path, rounds: int = 3) -> np.ndarray:
    """Return the first channel of every training image, 64×64, as often as there are rounds."""
    loader, _ = style.preprocessing.create_train_val_dataloaders(folder, 0.1, 8, 0, 64)
    return torch.cat([images[:, 0] for _ in range(rounds) for images, _ in loader]).numpy()


def test_reads_every_format_as_the_same_level(style: Style, tmp_path: Path) -> None:
    paths = flat_pictures(tmp_path)
    assert style.preprocessing.get_image_paths(str(tmp_path)) == paths
    train, val = style.preprocessing.create_train_val_dataloaders(str(tmp_path), 0.85, 8, 0, 64)
    images, labels = (torch.cat(parts) for parts in zip(*val, strict=True))
    assert images.shape[1:] == (3, 64, 64)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    expected = torch.tensor(LEVELS)[labels] / 255
    torch.testing.assert_close(
        images, expected.view(-1, 1, 1, 1).expand_as(images), atol=2 / 255, rtol=0
    )
    assert len(train.dataset) + len(images) == len(paths)
    assert len(images) == pytest.approx(0.85 * len(paths), abs=1)


@pytest.mark.parametrize("size", [256, 512])
def test_validation_images_are_plain_and_of_the_size_asked_for(
    style: Style, tmp_path: Path, size: int
) -> None:
    repeated_picture(tmp_path, np.random.default_rng(0).integers(0, 255, (80, 90), np.uint8), 5)
    _, val = style.preprocessing.create_train_val_dataloaders(tmp_path, 0.4, 8, 0, size)
    (images, _), (again, _) = next(iter(val)), next(iter(val))
    assert images.shape == (2, 3, size, size)
    assert torch.equal(images, again)
    assert torch.equal(images[0], images[1])  # two files of the same content
    assert 0 <= images.min() < images.max() <= 1


def test_flat_training_images_vary_in_brightness_and_have_noise(
    style: Style, tmp_path: Path
) -> None:
    repeated_picture(tmp_path, np.full((64, 64), 128, np.uint8), 20)
    middles = views(style, tmp_path)[:, 20:44, 20:44]  # no corner turns into it
    factors = middles.mean(axis=(1, 2)) / (128 / 255)
    assert 0.795 < factors.min() < 0.85
    assert 1.15 < factors.max() < 1.205
    assert middles.std(axis=(1, 2)).mean() == pytest.approx(0.01, rel=0.05)


def test_training_images_are_turned_to_both_sides_but_never_too_far(
    style: Style, tmp_path: Path
) -> None:
    pixels = np.full((64, 64), 60, np.uint8)
    pixels[:, 32:] = 180
    repeated_picture(tmp_path, pixels, 30)
    angles = [edge_angle(view) for view in views(style, tmp_path)]
    assert -16 < min(angles) < -12
    assert 12 < max(angles) < 16


def test_training_images_are_mirrored_both_ways(style: Style, tmp_path: Path) -> None:
    pixels = np.full((64, 64), 60, np.uint8)
    pixels[:32, :32] = 180
    repeated_picture(tmp_path, pixels, 30)
    found = [bright_quarter(view) for view in views(style, tmp_path)]
    assert len(set(found)) == 4
    assert all(0.1 < count / len(found) < 0.42 for count in Counter(found).values())


def test_an_edge_is_sharpened(style: Style, tmp_path: Path) -> None:
    pixels = np.full((64, 64), 60, np.uint8)
    pixels[:, 32:] = 180
    repeated_picture(tmp_path, pixels, 4)
    _, val = style.preprocessing.create_train_val_dataloaders(tmp_path, 0.5, 8, 0, 64)
    row = next(iter(val))[0][0, 0, 30] * 255
    # What a Gaussian of σ = 1.1 cut to 5 pixels leaves of a step: the tails of its weights.
    weights = np.exp(-0.5 * (np.arange(-2, 3) / 1.1) ** 2)
    tails = np.cumsum(weights / weights.sum())[:2]  # what reaches over 2 pixels, over 1
    expected = [60, 60 - 120 * tails[0], 60 - 120 * tails[1], 180 + 120 * tails[1]]
    np.testing.assert_allclose(row[[29, 30, 31, 32]], expected, atol=0.01)


def test_the_frozen_layers_stay_put_and_all_others_learn(hybrid: nn.Module) -> None:
    before = {name: value.clone() for name, value in hybrid.state_dict().items()}
    learning = [weight for weight in hybrid.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-3)
    F.cross_entropy(hybrid.train()(torch.rand(2, 3, 64, 64)), torch.tensor([0, 3])).backward()
    optimizer.step()
    still = [
        value for name, value in hybrid.state_dict().items() if torch.equal(value, before[name])
    ]
    trunk = resnet50().state_dict()
    frozen = [
        v for name, v in trunk.items() if name.startswith(("conv1", "bn1", "layer1", "layer2"))
    ]
    assert Counter(value.shape for value in still) == Counter(value.shape for value in frozen)


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


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 5.0])
def test_focal_loss_is_its_closed_form(style: Style, gamma: float) -> None:
    logits = np.random.default_rng(1).normal(0, 3, (40, 5))
    targets = np.arange(40) % 5
    odds = np.exp(logits)
    p_t = (odds / odds.sum(axis=1, keepdims=True))[np.arange(40), targets]
    expected = np.mean((1 - p_t) ** gamma * -np.log(p_t))
    loss = FOCAL[style.name](style.training, gamma)
    assert loss(torch.tensor(logits), torch.tensor(targets)).item() == pytest.approx(expected)


def test_focal_loss_and_its_gradient_stay_finite(style: Style) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], requires_grad=True)
    loss = FOCAL[style.name](style.training, 2.0)(logits, torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(1e4)  # the mean of 0 and 20 000
    assert logits.grad.isfinite().all()


def test_metrics_are_those_of_scikit_learn(style: Style) -> None:
    """Class 4 is never right, class 5 is never predicted, and nothing is of class 6 or said so."""
    generator = np.random.default_rng(3)
    targets, predictions = generator.integers(0, 6, 60), generator.integers(0, 5, 60)
    targets[targets == 4] = 0
    found = METRICS[style.name](style.training, torch.tensor(targets), torch.tensor(predictions), 7)
    macro = precision_recall_fscore_support(
        targets, predictions, labels=range(7), average="macro", zero_division=0
    )
    expected = (accuracy_score(targets, predictions), *macro[:3])
    assert [found[name] for name in HISTORY[3:7]] == pytest.approx(expected)


def loaders(count: int = 20, size: int = 32, classes: int = 3) -> tuple[DataLoader, DataLoader]:
    """Return learnable images in a fixed order: the brighter, the higher the class."""
    labels = torch.arange(count) % classes
    images = (0.2 + 0.3 * labels).view(-1, 1, 1, 1) + 0.1 * torch.rand(count, 3, size, size)
    data = TensorDataset(images, labels)
    return DataLoader(data, batch_size=8), DataLoader(data, batch_size=8)


def linear(size: int = 8, classes: int = 3) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, classes))


def test_a_training_leaves_history_curves_and_the_best_model(style: Style, tmp_path: Path) -> None:
    model = style.model.create_model("simple", num_classes=3)
    train, val = loaders()
    result = style.training.train_model(
        model, train, val, 3, learning_rate=1e-2, save_dir=str(tmp_path / "new" / "place")
    )
    history = result["history"]
    assert [list(record) for record in history] == [HISTORY] * 3 or all(
        set(record) == set(HISTORY) for record in history
    )
    assert [record["epoch"] for record in history] == [1, 2, 3]
    assert [record["lr"] for record in history] == pytest.approx(
        [1e-2 * (1 + math.cos(math.pi * epoch / 10)) / 2 for epoch in range(3)]
    )
    assert result["best_f1"] == max(record["f1"] for record in history)
    assert result["total_time"] > 0
    for value in (*history[-1].values(), result["best_f1"], result["total_time"]):
        assert type(value) in (int, float)
    picture = Image.open(tmp_path / "new" / "place" / "training_history.png")
    assert picture.format == "PNG"
    _assert_the_best_comes_back(style, tmp_path / "new" / "place", result["best_f1"], val)


def _assert_the_best_comes_back(style: Style, folder: Path, best: float, val: DataLoader) -> None:
    fresh = style.model.create_model("simple", num_classes=3)
    loaded = style.training.load_model(fresh, folder / "best_model.pth", torch.device("cpu"))
    assert not loaded.training
    with torch.no_grad():
        pairs = [(labels, loaded(images).argmax(1)) for images, labels in val]
    labels, answers = (torch.cat(parts).numpy() for parts in zip(*pairs, strict=True))
    assert f1_score(labels, answers, average="macro", zero_division=0) == pytest.approx(best)


def test_training_stops_when_f1_no_longer_rises(style: Style, tmp_path: Path) -> None:
    train, val = loaders(size=8)
    result = style.training.train_model(
        linear(), train, val, 9, learning_rate=0.0, patience=2, save_dir=tmp_path
    )
    assert len(result["history"]) == 3  # the first is the best, and two are no better


@pytest.mark.parametrize("steps", [1, 3])
def test_accumulation_leaves_the_steps_of_adamw_as_they_are(
    style: Style, tmp_path: Path, steps: int
) -> None:
    train, val = loaders(size=8)  # batches of 8, 8 and 4; parts of 3, 3, 2 and of 2, 2
    model, expected = linear(), linear()
    style.training.train_model(
        model, train, val, 1, 1e-2, 0.1, save_dir=tmp_path, accumulation_steps=steps
    )
    optimizer = torch.optim.AdamW(expected.parameters(), lr=1e-2, weight_decay=0.1)
    for images, labels in train:
        optimizer.zero_grad()
        log_p = expected(images).log_softmax(1)[range(len(labels)), labels]
        ((1 - log_p.exp()) ** 2 * -log_p).mean().backward()
        optimizer.step()
    for weight, other in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(weight, other, atol=1e-5, rtol=0)


def test_mixed_precision_trains_on_a_cpu(style: Style, tmp_path: Path) -> None:
    seen = []
    model = linear()
    model[1].register_forward_hook(lambda _layer, _inputs, output: seen.append(output.dtype))
    train, val = loaders(size=8)
    result = style.training.train_model(model, train, val, 1, save_dir=tmp_path, use_amp=True)
    assert set(seen) == {torch.bfloat16}
    assert math.isfinite(result["history"][0]["train_loss"])
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_main_runs_the_whole_and_can_go_on_from_there(
    style: Style, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style.main.create_sample_data(tmp_path / "D", num_samples=10, num_classes=5)
    pictures = [Image.open(path) for path in sorted((tmp_path / "D").glob("*/*.png"))]
    assert [picture.size for picture in pictures] == [(256, 256)] * 10
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
    assert len(list((tmp_path / "D2").glob("*/*.png"))) == 10


def _go_on(style: Style, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start again in this process, where the sample data may be made few."""
    few = partial(style.main.create_sample_data, num_samples=10)
    monkeypatch.setattr(style.main, "create_sample_data", few)
    words = "main.py --config S/config.json --resume S/best_model.pth --create_sample_data"
    monkeypatch.setattr(sys, "argv", [*words.split(), "--data_dir", "D2", "--save_dir", "S2"])
    style.main.main()


@pytest.mark.parametrize("folder", sorted(STYLES.iterdir()), ids=lambda folder: folder.name)
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
