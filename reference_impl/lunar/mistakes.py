"""A sheet of the mistakes that a model is surest of: what to look at first."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from reference_impl.lunar.plots import plot_images


@torch.no_grad()
def plot_mistakes(
    model: nn.Module, loader: DataLoader[Any], classes: Sequence[str], path: Path, most: int = 20
) -> int:
    """Draw the wrong answers with the highest probability; return how many mistakes there are."""
    model.eval()
    device = next(model.parameters()).device
    worst: list[tuple[float, int, Any, str]] = []
    count = 0
    for images, labels in loader:
        if not len(labels):
            continue
        sure, predicted = model(images.to(device)).float().softmax(1).cpu().max(1)
        for number in torch.nonzero(predicted != labels).flatten().tolist():
            count += 1
            words = f"{classes[labels[number]]}, taken for\n{classes[predicted[number]]}"
            entry = (float(sure[number]), count, images[number, 0].numpy(), words)
            heapq.heappush(worst, entry)
            if len(worst) > most:
                heapq.heappop(worst)
    worst.sort(key=lambda entry: -entry[0])
    titles = [f"{words} ({sure:.0%})" for sure, _, _, words in worst]
    plot_images([image for _, _, image, _ in worst], titles, path)
    return count
