"""A sheet of the mistakes that a model is surest of: what to look at first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from reference_impl.lunar import distributed
from reference_impl.lunar.plots import plot_images


@torch.no_grad()
def plot_mistakes(
    model: nn.Module, loader: DataLoader[Any], classes: Sequence[str], path: Path, most: int = 20
) -> None:
    """Draw the wrong answers with the highest probability.

    Each process looks at its share of the images, and the main one draws the worst of all.
    """
    model.eval()
    sure = attrgetter("probability")
    mine = heapq.nlargest(most, _mistakes(model, loader, classes), key=sure)
    worst = heapq.nlargest(most, distributed.gathered(mine), key=sure)
    if distributed.is_main():
        titles = [f"{mistake.words} ({mistake.probability:.0%})" for mistake in worst]
        plot_images([mistake.image for mistake in worst], titles, path)


class _Mistake(NamedTuple):
    probability: float
    """Of the wrong answer."""
    words: str
    image: NDArray[np.float32]


def _mistakes(
    model: nn.Module, loader: DataLoader[Any], classes: Sequence[str]
) -> Iterator[_Mistake]:
    device = next(model.parameters()).device
    for images, labels in loader:
        if not len(labels):
            continue
        sure, predicted = model(images.to(device)).float().softmax(1).cpu().max(1)
        for number in torch.nonzero(predicted != labels).flatten().tolist():
            words = f"{classes[labels[number]]}, taken for\n{classes[predicted[number]]}"
            yield _Mistake(float(sure[number]), words, images[number, 0].numpy())
