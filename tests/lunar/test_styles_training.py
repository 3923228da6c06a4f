"""How the three styles train, against closed forms, scikit-learn and a loop of the tests' own."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.lunar.pictures import size_and_format
from tests.lunar.style import Style

pytestmark = pytest.mark.usefixtures("seeded")
HISTORY = ["epoch", "train_loss", "val_loss", "accuracy", "precision", "recall", "f1", "lr"]
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
    assert all(set(record) == set(HISTORY) for record in history)
    assert [record["epoch"] for record in history] == [1, 2, 3]
    assert [record["lr"] for record in history] == pytest.approx(
        [1e-2 * (1 + math.cos(math.pi * epoch / 10)) / 2 for epoch in range(3)]
    )
    assert result["best_f1"] == max(record["f1"] for record in history)
    assert result["total_time"] > 0
    for value in (*history[-1].values(), result["best_f1"], result["total_time"]):
        assert type(value) in (int, float)
    _, kind = size_and_format(tmp_path / "new" / "place" / "training_history.png")
    assert kind == "PNG"
    fresh = style.model.create_model("simple", num_classes=3)
    path = tmp_path / "new" / "place" / "best_model.pth"
    assert reloaded_f1(style, fresh, path, val) == pytest.approx(result["best_f1"])


def reloaded_f1(style: Style, model: nn.Module, path: Path, val: DataLoader) -> float:
    loaded = style.training.load_model(model, path, torch.device("cpu"))
    assert not loaded.training
    with torch.no_grad():
        pairs = [(labels, loaded(images).argmax(1)) for images, labels in val]
    labels, answers = (torch.cat(parts).numpy() for parts in zip(*pairs, strict=True))
    return f1_score(labels, answers, average="macro", zero_division=0)


def test_the_best_model_comes_back_and_not_the_last(style: Style, tmp_path: Path) -> None:
    train, _ = loaders(size=8)
    images, labels = train.dataset.tensors
    val = DataLoader(TensorDataset(images, (labels + 1) % 3), batch_size=8)  # it learns to be wrong
    result = style.training.train_model(linear(), train, val, 8, 1e-3, save_dir=tmp_path)
    assert result["best_f1"] > result["history"][-1]["f1"]
    found = reloaded_f1(style, linear(), tmp_path / "best_model.pth", val)
    assert found == pytest.approx(result["best_f1"])


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
