"""Exact scores from one confusion matrix, whatever the batches and processes it came from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def confusion_matrix(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Count pairs: rows are true classes, columns predicted ones (int64, classes×classes)."""
    pairs = labels * classes + predicted
    return torch.bincount(pairs.flatten(), minlength=classes**2).view(classes, classes)


@dataclass(frozen=True, slots=True)
class Scores:
    """Macro averages over all classes, and the figures of each class; 0 where undefined."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    per_class: tuple[tuple[float, float, float], ...]
    """Precision, recall and F1."""


def scores_of(confusion: Tensor) -> Scores:
    """Return the scores of a confusion matrix (classes×classes, rows are true classes)."""
    counts = confusion.double().cpu()
    hits, predicted, true = counts.diag(), counts.sum(0), counts.sum(1)
    precision = _share(hits, predicted)
    recall = _share(hits, true)
    f1 = _share(2 * hits, predicted + true)
    return Scores(
        accuracy=float(_share(hits.sum(), counts.sum())),
        precision=float(precision.mean()),
        recall=float(recall.mean()),
        f1=float(f1.mean()),
        per_class=tuple(zip(precision.tolist(), recall.tolist(), f1.tolist(), strict=True)),
    )


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp(min=1), torch.zeros_like(part))
