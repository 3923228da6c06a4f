"""The sheet of mistakes: which ones are on it, and in what order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from reference_impl.lunar import mistakes


def test_the_surest_mistakes_are_drawn_first(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, str]] = []

    def draw(images: list[np.ndarray], titles: list[str], _path: Path) -> None:
        drawn.extend(
            (float(image[0, 0]), title) for image, title in zip(images, titles, strict=True)
        )

    monkeypatch.setattr(mistakes, "plot_images", draw)
    chances = torch.tensor([[0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [0.3, 0.7]])
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 2, 2)

    class Known(nn.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return chances[batch[:, 0, 0, 0].long()].log()

    loader = DataLoader(TensorDataset(images, torch.tensor([0, 0, 0, 0])), batch_size=3)
    mistakes.plot_mistakes(Known(1, 1), loader, ("mare", "mons"), Path("unused"), most=2)
    assert drawn == [(2.0, "mare, taken for\nmons (90%)"), (3.0, "mare, taken for\nmons (70%)")]
