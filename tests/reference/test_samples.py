"""Sample data: seeded, separable, shaded as the law says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from reference_impl.lunar import samples
from reference_impl.lunar.preprocessing import get_image_paths, read_image
from reference_impl.lunar.samples import (
    TERRAINS,
    contact_sheet,
    create_sample_data,
    sample_image,
    shade,
)


def test_it_writes_as_many_of_each_class_and_the_same_ones_again(tmp_path: Path) -> None:
    assert create_sample_data(tmp_path / "a", 12, image_size=64) == {
        "crater": 3,
        "highland": 3,
        "mare": 2,
        "mons": 2,
        "rima": 2,
    }
    create_sample_data(tmp_path / "b", 12, image_size=64)
    first, second = (get_image_paths(tmp_path / name) for name in "ab")
    assert len(first) == 12
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    create_sample_data(tmp_path / "c", 12, seed=1, image_size=64)
    assert first[0].read_bytes() != get_image_paths(tmp_path / "c")[0].read_bytes()
    assert read_image(first[0]).shape == (64, 64)


def test_classes_can_be_told_apart_by_a_linear_model_of_simple_statistics() -> None:
    random = np.random.default_rng(0)
    features, labels = [], []
    for label, name in enumerate(TERRAINS):
        for _ in range(24):
            image = sample_image(name, random, 128) / 255
            down, right = np.gradient(image)
            steep = np.hypot(down, right)
            inner = steep[40:88, 40:88].mean() / (steep.mean() + 1e-6)
            features.append([image.mean(), image.std(), steep.mean(), steep.max(), inner])
            labels.append(label)
    x, y = np.array(features), np.array(labels)
    x = (x - x.mean(0)) / x.std(0)
    half = np.arange(len(y)) % 2 == 0
    model = LogisticRegression(max_iter=2000).fit(x[half], y[half])
    assert model.score(x[~half], y[~half]) > 0.6  # chance is 0.2


def test_every_rille_lies_across_the_light_and_can_be_seen() -> None:
    random = np.random.default_rng(0)
    for _ in range(40):
        image = cv2.GaussianBlur(sample_image("rima", random, 128).astype(float), (0, 0), 1.5)
        steps = np.abs(np.diff(image, axis=1))  # from west to east, as the light falls
        stands_out = steps.max(axis=1) > 5 * np.median(steps)
        assert stands_out.mean() > 0.6  # of the rows that it winds through


def test_shading_is_the_lunar_lambert_law() -> None:
    flat = shade(np.zeros((8, 8)), 1.0, 90, 30)
    mu0 = np.sin(np.radians(30))
    np.testing.assert_allclose(flat, 2 * 0.7 * mu0 / (mu0 + 1) + 0.3 * mu0, rtol=1e-6)
    rising_east = np.tile(np.arange(8) * 0.2, (8, 1))
    from_west, from_east = (shade(rising_east, 1.0, azimuth, 30).mean() for azimuth in (270, 90))
    assert from_west > flat.mean() > from_east  # a slope that faces the sun is brighter
    rising_north = rising_east.T[::-1]
    assert shade(rising_north, 1.0, 180, 30).mean() > shade(rising_north, 1.0, 0, 30).mean()


def test_the_picture_of_the_readme_shows_what_is_made_now(tmp_path: Path) -> None:
    contact_sheet(tmp_path / "now.png")
    kept = Path(samples.__file__).with_name("samples.png")
    now, then = (
        cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (tmp_path / "now.png", kept)
    )
    other = np.abs(now.astype(int) - then.astype(int)) > 2
    assert other.mean() < 0.01  # other versions of libraries may round


def test_too_few_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 5 samples"):
        create_sample_data(tmp_path, 3)
