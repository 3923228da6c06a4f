"""Focal loss against closed forms, metrics against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from reference_impl.lunar.losses import FocalLoss, focal_loss
from reference_impl.lunar.metrics import confusion_matrix as our_confusion
from reference_impl.lunar.metrics import scores_of


def test_gamma_0_is_cross_entropy() -> None:
    logits, labels = torch.randn(40, 5), torch.randint(5, (40,))
    expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(focal_loss(logits, labels, 0.0), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_the_value_is_the_closed_form(gamma: float) -> None:
    logits, labels = torch.randn(30, 4, dtype=torch.float64), torch.randint(4, (30,))
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    p = p[np.arange(30), labels.numpy()]
    expected = float(np.mean((1 - p) ** gamma * -np.log(p)))
    assert focal_loss(logits, labels, gamma).item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_is_the_numerical_one() -> None:
    logits = torch.randn(6, 3, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    leaf = logits.clone().requires_grad_()
    focal_loss(leaf, labels, 2.0).backward()
    step = 1e-2
    for row, column in ((0, 0), (3, 2), (5, 1)):
        ends = []
        for sign in (1, -1):
            moved = logits.clone()
            moved[row, column] += sign * step
            ends.append(focal_loss(moved, labels, 2.0).item())
        numerical = (ends[0] - ends[1]) / (2 * step)
        assert leaf.grad[row, column].item() == pytest.approx(numerical, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_extreme_logits_give_finite_values_and_gradients(gamma: float) -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0, 0]), gamma)
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(logits.grad).all()


def test_it_is_computed_in_float32_under_autocast() -> None:
    logits, labels = torch.randn(8, 5), torch.randint(5, (8,))
    with torch.autocast("cpu", torch.bfloat16):
        loss = FocalLoss(2.0)(logits.bfloat16(), labels)
    assert loss.dtype is torch.float32


def test_class_weights_multiply_the_loss_of_their_class() -> None:
    logits = torch.randn(1, 3)
    plain = focal_loss(logits, torch.tensor([1]), 2.0)
    weighted = FocalLoss(2.0, torch.tensor([1.0, 3.0, 1.0]))(logits, torch.tensor([1]))
    torch.testing.assert_close(weighted, 3 * plain)


def test_a_negative_gamma_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        FocalLoss(-1.0)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_all_scores_are_those_of_scikit_learn(classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, 60)
    predicted = random.integers(0, max(1, classes - seed), 60)  # some classes are never predicted
    confusion = our_confusion(torch.tensor(labels), torch.tensor(predicted), classes)
    np.testing.assert_array_equal(
        confusion, confusion_matrix(labels, predicted, labels=range(classes))
    )
    found = scores_of(confusion)
    each = precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=0
    )
    np.testing.assert_allclose(np.array(found.per_class).T, each[:3])
    macro = (found.precision, found.recall, found.f1)
    np.testing.assert_allclose(macro, [figures.mean() for figures in each[:3]])
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))


def test_without_images_all_scores_are_0() -> None:
    assert scores_of(torch.zeros(3, 3)).f1 == 0
