"""Small images, small models: what the reference promises does not depend on size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # there is a worker for each core


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with 20 images of two classes, which mirrorings leave as they are."""
    random = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            pixels = random.integers(50, 80, (64, 64), dtype=np.uint8) + np.uint8(120 * label)
            cv2.imwrite(str(tmp_path / "images" / name / f"{number}.png"), pixels)
    return tmp_path / "images"


class Tiny(nn.Module):
    """A classifier that trains in milliseconds."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 16))
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images))
