"""What happens to one image: its views, its channels, its precision."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from reference_impl.lunar.images import augment, doubled, high_pass, read_image
from reference_impl.lunar.samples import sample_image


def views(image: np.ndarray, count: int = 300, size: int = 64) -> list[np.ndarray]:
    random = np.random.default_rng(7)
    return [augment(image.astype(np.float32), size, random) for _ in range(count)]


def test_rotation_fills_15_degrees_to_both_sides_and_stays_within() -> None:
    image = np.full((129, 129), 0.2, np.float32)
    image[62:67, 20:110] = 0.8  # a bar through the middle: its slope is the angle
    angles = []
    for view in views(image, size=129):
        rows, columns = np.nonzero(view > 0.5 * (view.min() + view.max()))
        slope = np.polyfit(columns - 64, rows - 64, 1)[0]
        angles.append(np.degrees(np.arctan(slope)))
    assert -16 < min(angles) < -13
    assert 13 < max(angles) < 16


def test_both_mirrorings_happen_half_of_the_time_and_independently() -> None:
    image = np.full((64, 64), 0.3, np.float32)
    image[8:20, 12:24] = 0.9  # a mark left above the middle
    corners = [divmod(int(np.argmax(cv2.blur(view, (9, 9)))), 64) for view in views(image, 600)]
    places = [(row < 32, column < 32) for row, column in corners]
    for corner in ((True, True), (True, False), (False, True), (False, False)):
        assert 0.18 < places.count(corner) / 600 < 0.32


def test_brightness_and_contrast_vary_by_20_percent() -> None:
    # Vertical mirroring and small rotations leave the two means of a flat image as they are.
    flat = [float(view.mean()) / 0.5 for view in views(np.full((64, 64), 0.5))]
    assert 0.795 < min(flat) < 0.83
    assert 1.17 < max(flat) < 1.205
    rings = np.full((64, 64), 0.4, np.float32)
    rings[24:40, 24:40] = 0.6  # a square: its contrast, brightness divided out
    spans = []
    for view in views(rings):
        middle, edge = view[28:36, 28:36].mean(), view[:8, :8].mean()
        spans.append((middle - edge) / (view.mean() / rings.mean()) / 0.2)
    assert 0.78 < min(spans) < 0.86
    assert 1.14 < max(spans) < 1.22


def test_noise_has_a_deviation_of_0_01() -> None:
    noise = np.stack([view - view.mean() for view in views(np.full((64, 64), 0.5), 50)])
    assert float(noise.std()) == pytest.approx(0.01, rel=0.05)
    assert abs(float(np.mean(noise[:, :, :-1] * noise[:, :, 1:]))) < 1e-5  # white
    alike = np.corrcoef(noise.reshape(50, -1)) - np.eye(50)
    assert float(np.abs(alike).max()) < 0.1  # no two views have the same


def test_the_high_pass_is_linear_keeps_the_shape_and_ignores_what_is_constant() -> None:
    random = np.random.default_rng(0)
    a, b = (random.random((48, 40), np.float32) for _ in range(2))
    assert np.abs(high_pass(np.full((48, 40), 0.7, np.float32), 4)).max() < 1e-5
    combined = high_pass(2 * a - 3 * b, 4)
    np.testing.assert_allclose(combined, 2 * high_pass(a, 4) - 3 * high_pass(b, 4), atol=1e-5)
    edge = np.zeros((48, 40), np.float32)
    edge[:, 20:] = 1
    found = high_pass(edge, 4)
    assert found.shape == edge.shape
    assert np.abs(found[:, 18:22]).min() > 0.3
    assert np.abs(found[:, :2]).max() < 0.01


@pytest.mark.parametrize(("size", "sigma"), [(256, 4.0), (256, 16.0), (300, 18.75), (96, 1.5)])
def test_the_high_pass_is_that_of_a_whole_gaussian(size: int, sigma: float) -> None:
    image = sample_image("crater", np.random.default_rng(1), size).astype(np.float32) / 255
    image = image[:, : size - 8]  # sides that no power of two divides
    slow = gaussian_filter(image, sigma, mode="reflect", truncate=6)  # scipy's, at full size
    found = high_pass(image, sigma)
    assert float(np.sqrt(np.mean((found - (image - slow)) ** 2))) < 0.001  # a tenth of the noise
    assert np.corrcoef(found.ravel(), (image - slow).ravel())[0, 1] > 0.99995  # σ is right to 2 %


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "P"])
def test_colours_weigh_as_in_pillow_and_transparency_does_not(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 4)).astype(np.uint8)
    image = Image.fromarray(pixels)
    image = image.quantize(64) if kind == "P" else image.convert(kind)
    image.save(tmp_path / "colours.png")
    expected = np.asarray(image.convert("RGB").convert("L")) / 255
    np.testing.assert_allclose(read_image(tmp_path / "colours.png"), expected, atol=1.1 / 255)


def test_sixteen_bits_keep_their_precision(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, (40, 40)).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "sixteen.png")
    found = read_image(tmp_path / "sixteen.png")
    np.testing.assert_allclose(found.astype(float) * 65_535, pixels, atol=0.01)


def test_a_large_image_is_turned_before_it_is_averaged_down() -> None:
    image = np.random.default_rng(0).random((256, 256)).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), 2)  # nothing finer than the views can show
    plain = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    detail = [np.abs(np.diff(view)).mean() / view.std() for view in views(image, 60)]
    assert np.mean(detail) == pytest.approx(np.abs(np.diff(plain)).mean() / plain.std(), rel=0.04)


def test_a_small_image_at_twice_the_size_is_as_sharp_as_before() -> None:
    image = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    found = doubled(image, 64)
    assert found.shape == (128, 128)
    np.testing.assert_allclose(found.reshape(64, 2, 64, 2).mean((1, 3)), image, atol=1e-6)
