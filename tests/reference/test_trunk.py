"""The trunk that is taught on sample data, and the two means of a model."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from reference_impl.lunar.averaging import Mirrored, averaged
from reference_impl.lunar.checkpoints import load_state, load_trunk
from reference_impl.lunar.model import create_model
from reference_impl.lunar.preprocessing import LunarDataset, create_train_val_dataloaders
from reference_impl.lunar.samples import create_sample_data
from reference_impl.lunar.trunk import histograms, main, train_trunk
from tests.reference.conftest import Tiny

STRENGTH = 64 * 2 * 0.5 / 32
"""Of the 64 gradients of a cell: central differences without a half, on slopes of 0.5."""


def slope(degrees: int) -> np.ndarray:
    down, right = np.mgrid[0:32, 0:32] / 32
    angle = np.radians(degrees)
    return np.asarray(0.5 * (np.cos(angle) * right + np.sin(angle) * down))


@pytest.mark.parametrize("degrees", [10, 50, 90, 130, 170, 190])
def test_a_slope_falls_into_the_bin_of_its_direction(degrees: int) -> None:
    plane = slope(degrees)
    found = histograms(torch.from_numpy(plane)[None, None])
    assert found.shape == (1, 11, 4, 4)
    inner = found[0, :, 1:3, 1:3]
    bins = inner[:9].square()
    assert set(bins.argmax(0).flatten().tolist()) == {degrees % 180 // 20}
    torch.testing.assert_close(bins.sum(0), torch.full((2, 2), STRENGTH).double())
    torch.testing.assert_close(inner[9], torch.log(bins.sum(0) + 0.02))
    means = plane.reshape(4, 8, 4, 8).mean((1, 3))[1:3, 1:3]
    torch.testing.assert_close(inner[10], torch.from_numpy(means))


@pytest.mark.parametrize(("degrees", "nearest"), [(40, (1, 2)), (180, (8, 0))])
def test_a_slope_between_two_directions_falls_into_both_bins(
    degrees: int, nearest: tuple[int, int]
) -> None:
    found = histograms(torch.from_numpy(slope(degrees))[None, None])[0, :9, 1, 1].square()
    expected = torch.zeros(9).double()
    expected[list(nearest)] = STRENGTH / 2
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.training
def test_a_trunk_learns_the_histograms_and_is_taken_over(tmp_path: Path) -> None:
    create_sample_data(tmp_path / "samples", 40, image_size=64)
    loaders = create_train_val_dataloaders(tmp_path / "samples", 0.1, 8, 0, 32)
    error = train_trunk(*loaders, tmp_path / "trunk.pth", epochs=8)
    assert error < 0.8  # to say the mean of each target would be 1
    model = create_model(output_stride=32)
    before = copy.deepcopy(model.state_dict())
    assert load_trunk(model, tmp_path / "trunk.pth") > 100
    moved = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert all(n.startswith("backbone.") and "layer3" not in n for n in moved)
    for part in ("stem.0.weight", "layer1.0.conv2.weight", "layer2.3.bn3.running_var"):
        assert f"backbone.{part}" in moved


@pytest.mark.training
def test_a_batch_that_cannot_be_decoded_leaves_the_error_a_number(
    images: Path, tmp_path: Path
) -> None:
    train, held_out = create_train_val_dataloaders(images, 0.2, 2, 0, 32, seed=1)
    for path in held_out.dataset.paths[:2]:
        path.write_bytes(b"")
    assert [len(labels) for _, labels in held_out] == [0, 2]
    for path in train.dataset.paths[::2]:
        path.write_bytes(b"")
    assert math.isfinite(train_trunk(train, held_out, tmp_path / "trunk.pth", epochs=1))
    assert 0 in [len(labels) for _, labels in train]  # of the same order and views


@pytest.mark.training
def test_a_trunk_goes_on_with_the_windows_of_the_other_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_sample_data(tmp_path / "samples", 40, image_size=64)
    files = sorted((tmp_path / "samples").rglob("*.png"))
    rows = [f"{path},{path.parent.name},{n % 2}" for n, path in enumerate(files)]
    manifest = tmp_path / "windows.csv"
    manifest.write_text("\n".join(["path,label,fold", *rows]))
    flags = ["--image_size", "32", "--batch_size", "8", "--epochs", "1"]
    first, second = str(tmp_path / "first.pth"), str(tmp_path / "second.pth")
    main([*flags, "--out", first, "--samples", str(tmp_path / "more"), "--num_samples", "40"])
    seen: list[Path] = []
    read = LunarDataset.__getitem__

    def watched(self: LunarDataset, number: int) -> Any:
        seen.append(self.paths[number])
        return read(self, number)

    monkeypatch.setattr(LunarDataset, "__getitem__", watched)
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # so that no worker process reads
    windows = ["--start", first, "--manifest", str(manifest), "--test_fold", "0", "--lr", "1e-9"]
    main([*flags, *windows, "--out", second])
    assert set(seen) <= {path for n, path in enumerate(files) if n % 2}
    assert len(set(seen)) > 10
    before, after = load_state(first)["model"], load_state(second)["model"]
    torch.testing.assert_close(after["read.weight"], before["read.weight"])
    with pytest.raises(SystemExit):
        main(["--manifest", str(manifest)])
    assert "go together" in capsys.readouterr().err


def test_the_mean_of_weights_and_statistics_moves_by_its_decay() -> None:
    model = nn.BatchNorm1d(1)
    mean, expected = averaged(model, 0.5), 0.0
    for step in range(20):
        nn.init.constant_(model.weight, float(step))
        nn.init.constant_(model.running_mean, float(step))
        mean.update_parameters(model)
        kept = min(0.5, (1 + step) / (10 + step))  # as TensorFlow's average with `num_updates`
        expected = kept * expected + (1 - kept) * step if step else 0.0
    for found in (mean.module.weight, mean.module.running_mean):
        assert float(found.detach()) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"average is 1\.5"):
        averaged(model, 1.5)


def test_mirrored_views_give_the_mean_of_four_probabilities() -> None:
    model, images = Tiny().eval(), torch.rand(3, 3, 32, 32)
    numpy = images.numpy()
    views = (numpy, numpy[:, :, ::-1], numpy[..., ::-1], numpy[:, :, ::-1, ::-1])
    with torch.no_grad():
        each = [model(torch.from_numpy(view.copy())).softmax(1) for view in views]
        found = Mirrored(model)(images).exp()
    torch.testing.assert_close(found, sum(each) / 4)
