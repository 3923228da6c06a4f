"""Augmentation in batches does what the one of single images does."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from reference_impl.lunar.checkpoints import load_state
from reference_impl.lunar.images import to_channels
from reference_impl.lunar.index import load_index
from reference_impl.lunar.preprocessing import LunarDataset, create_train_val_dataloaders
from reference_impl.lunar.samples import sample_image
from reference_impl.lunar.training import Options, train_model
from reference_impl.lunar.views import batch_channels, jittered, training_views, turned
from tests.reference.conftest import Tiny


def test_the_channels_are_those_of_single_images() -> None:
    images = [
        sample_image(name, np.random.default_rng(n), 128).astype(np.float32) / 255
        for n, name in enumerate(("crater", "rima"))
    ]
    found = batch_channels(torch.from_numpy(np.stack(images))[:, None])
    assert found.shape == (2, 3, 128, 128)
    for image, channels in zip(images, found, strict=True):
        assert float(np.sqrt(np.mean((channels.numpy() - to_channels(image)) ** 2))) < 0.01


def test_each_image_turns_by_its_own_angle_within_15_degrees() -> None:
    image = np.full((97, 129), 0.2, np.float32)
    image[46:51, 20:110] = 0.8  # a bar through the middle of an image that is no square
    angles = []
    for view in turned(torch.from_numpy(image).expand(300, 1, 97, 129))[:, 0].numpy():
        rows, columns = np.nonzero(view > 0.5)
        angles.append(np.degrees(np.arctan(np.polyfit(columns - 64, rows - 48, 1)[0])))
    assert -15.5 < min(angles) < -13.5
    assert 13.5 < max(angles) < 15.5
    assert (
        len({round(angle, 3) for angle in angles}) > 200
    )  # the pixels of a bar tell only so many apart


def test_both_mirrorings_happen_half_of_the_time_and_independently() -> None:
    image = np.full((64, 64), 0.3, np.float32)
    image[8:20, 12:24] = 0.9  # a mark left above the middle
    views = turned(torch.from_numpy(image).expand(600, 1, 64, 64))[:, 0].numpy()
    corners = [divmod(int(np.argmax(cv2.blur(view, (9, 9)))), 64) for view in views]
    places = [(row < 32, column < 32) for row, column in corners]
    for corner in ((True, True), (True, False), (False, True), (False, False)):
        assert 0.18 < places.count(corner) / 600 < 0.32


def test_brightness_contrast_and_noise_stay_within_what_was_asked() -> None:
    flat = jittered(torch.full((400, 1, 32, 32), 0.5))
    means = flat.mean((1, 2, 3)) / 0.5
    assert 0.795 < float(means.min()) < 0.82
    assert 1.18 < float(means.max()) < 1.205
    assert float((flat - flat.mean((2, 3), keepdim=True)).std()) == pytest.approx(0.01, rel=0.05)
    steps = torch.full((400, 1, 32, 32), 0.4)
    steps[..., 16:] = 0.6
    found = jittered(steps)
    halves = found[..., 16:].mean((1, 2, 3)), found[..., :16].mean((1, 2, 3))
    spans = (halves[0] - halves[1]) / (found.mean((1, 2, 3)) / 0.5) / 0.2
    assert 0.78 < float(spans.min()) < 0.83
    assert 1.17 < float(spans.max()) < 1.22


def test_views_come_from_the_seed_and_are_right_for_the_model() -> None:
    images = torch.rand(4, 1, 64, 64)
    first, second = (torch.manual_seed(3) and training_views(images) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (4, 3, 32, 32)
    assert 0 <= float(first.min()) < float(first.max()) <= 1


def test_a_large_image_is_turned_before_it_is_averaged_down(tmp_path: Path) -> None:
    random = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    image = cv2.GaussianBlur(random, (0, 0), 2)  # nothing finer than the views can show
    for label in "ab":
        (tmp_path / label).mkdir()
        cv2.imwrite(str(tmp_path / label / "0.png"), image)
    index = load_index(tmp_path)
    gray = LunarDataset(index, 64, training=True, gray=True)[0][0]
    views = training_views(gray.expand(60, *gray.shape))[:, 0].numpy()
    plain = LunarDataset(index, 64, training=False)[0][0][0].numpy()
    detail = [np.abs(np.diff(view)).mean() / view.std() for view in views]
    assert np.mean(detail) == pytest.approx(np.abs(np.diff(plain)).mean() / plain.std(), rel=0.04)


@pytest.mark.training
def test_training_on_gray_images_resumes_with_the_same_bits(images: Path, tmp_path: Path) -> None:
    def train(name: str, epochs: int, *, resume: bool = False) -> Tiny:
        loaders = create_train_val_dataloaders(images, 0.4, 4, 0, 32, gray=True)
        assert next(iter(loaders[0]))[0].shape == (4, 1, 64, 64)
        assert next(iter(loaders[1]))[0].shape[1] == 3
        torch.manual_seed(11)
        model = Tiny()
        options = Options(resume=resume, average=0.9)
        result = train_model(
            model, *loaders, epochs, 0.02, save_dir=tmp_path / name, options=options, patience=99
        )
        assert epochs < 12 or result["best_f1"] == 1.0
        return model

    train("whole", 12)
    train("parts", 5)
    train("parts", 12, resume=True)
    for part in ("model", "mean"):
        whole, parts = (load_state(tmp_path / n / "last.pth")[part] for n in ("whole", "parts"))
        assert all(torch.equal(value, parts[name]) for name, value in whole.items())
