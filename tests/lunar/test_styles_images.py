"""What the three styles make of image files, in training and in validation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from tests.lunar.pictures import (
    LEVELS,
    bright_quarter,
    edge_angle,
    flat_pictures,
    repeated_picture,
    upright_edge,
)
from tests.lunar.style import Style

pytestmark = pytest.mark.usefixtures("seeded")


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


def test_every_file_is_in_one_of_the_sets_and_always_in_the_same(
    style: Style, tmp_path: Path
) -> None:
    for number in range(20):  # a class for each file: the labels say which file it is
        (tmp_path / f"{number:02d}").mkdir()
        Image.new("L", (32, 32), 9).save(tmp_path / f"{number:02d}" / "only.png")
    make = style.preprocessing.create_train_val_dataloaders
    first, second = ([labels_of(loader) for loader in make(tmp_path, 0.2, 8, 0, 32)] for _ in "ab")
    assert [len(labels) for labels in first] == [16, 4]
    assert sorted(first[0] + first[1]) == list(range(20))
    assert sorted(first[1]) != [0, 1, 2, 3]
    assert [sorted(labels) for labels in first] == [sorted(labels) for labels in second]
    assert first[0] != sorted(first[0])  # training is shuffled


def labels_of(loader: DataLoader) -> list[int]:
    return torch.cat([labels for _, labels in loader]).tolist()


def test_files_are_opened_when_their_turn_comes(style: Style, tmp_path: Path) -> None:
    repeated_picture(tmp_path, np.full((32, 32), 50, np.uint8), 5)
    _, val = style.preprocessing.create_train_val_dataloaders(tmp_path, 0.4, 8, 0, 32)
    for path in tmp_path.glob("same/*"):
        Image.new("L", (32, 32), 200).save(path)
    torch.testing.assert_close(next(iter(val))[0], torch.full((2, 3, 32, 32), 200 / 255))


@pytest.mark.parametrize(("workers", "prefetch"), [(0, None), (2, 2)])
def test_loaders_prefetch_where_there_are_workers(
    style: Style, tmp_path: Path, workers: int, prefetch: int | None
) -> None:
    repeated_picture(tmp_path, np.full((32, 32), 50, np.uint8), 5)
    for loader in style.preprocessing.create_train_val_dataloaders(tmp_path, num_workers=workers):
        assert (loader.batch_size, loader.num_workers) == (8, workers)
        assert loader.prefetch_factor == prefetch
        assert loader.persistent_workers == bool(workers)
        assert loader.pin_memory == torch.cuda.is_available()


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
    repeated_picture(tmp_path, upright_edge(), 30)
    angles = [edge_angle(view) for view in views(style, tmp_path)]
    assert -15.5 < min(angles) < -13
    assert 13 < max(angles) < 15.5


def test_training_images_are_mirrored_both_ways(style: Style, tmp_path: Path) -> None:
    pixels = np.full((64, 64), 60, np.uint8)
    pixels[:32, :32] = 180
    repeated_picture(tmp_path, pixels, 30)
    found = [bright_quarter(view) for view in views(style, tmp_path)]
    assert len(set(found)) == 4
    assert all(0.1 < count / len(found) < 0.42 for count in Counter(found).values())


def test_an_edge_is_sharpened(style: Style, tmp_path: Path) -> None:
    repeated_picture(tmp_path, upright_edge(), 4)
    _, val = style.preprocessing.create_train_val_dataloaders(tmp_path, 0.5, 8, 0, 64)
    row = next(iter(val))[0][0, 0, 30] * 255
    # What a Gaussian of σ = 1.1 cut to 5 pixels leaves of a step: the tails of its weights.
    weights = np.exp(-0.5 * (np.arange(-2, 3) / 1.1) ** 2)
    tails = np.cumsum(weights / weights.sum())[:2]  # what reaches over 2 pixels, over 1
    expected = [60, 60 - 120 * tails[0], 60 - 120 * tails[1], 180 + 120 * tails[1]]
    np.testing.assert_allclose(row[[29, 30, 31, 32]], expected, atol=0.01)
