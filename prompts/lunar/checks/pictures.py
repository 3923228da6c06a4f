"""Pictures with known contents, and what can be measured on them after they were augmented."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]

SIZE = 256
BITS = 6
_STEP = 12
"""Width of a ring of the code, in pixels of a picture of 256."""
INNER, OUTER, RIM = 64, 110, 124
LOW, HIGH = 0.35, 0.65


def radii(size: int = SIZE) -> Array:
    """Return each pixel's distance from the middle, in pixels of a picture of 256."""
    axis = (np.arange(size) + 0.5) / size - 0.5
    return np.asarray(np.hypot(*np.meshgrid(axis, axis)) * SIZE, np.float32)


def pixels(values: Array) -> Pixels:
    """Return values of 0–1 as 8 bits."""
    return np.asarray(np.round(np.clip(values, 0, 1) * 255), np.uint8)


def coded(number: int, size: int = SIZE) -> Pixels:
    """Return rings that spell a number of 6 bits: no turn, mirror or change of light hides it."""
    levels = [HIGH, LOW, *(HIGH if number >> bit & 1 else LOW for bit in range(BITS))]
    ring = np.clip(radii(size) // _STEP, 0, len(levels)).astype(int)
    return pixels(np.asarray([*levels, 0.5], np.float32)[ring])


def decoded(image: Array) -> int:
    """Return the number that the rings of an image H×W spell."""
    distance = radii(image.shape[0])
    means = []
    for ring in range(BITS + 2):
        inside = (distance > ring * _STEP + 3) & (distance < (ring + 1) * _STEP - 3)
        means.append(float(image[inside].mean()))
    middle = (means[0] + means[1]) / 2
    return sum(1 << bit for bit in range(BITS) if means[bit + 2] > middle)


def scale(images: Array) -> tuple[float, float]:
    """Return by what factor and offset views of coded pictures (N×H×W) show their levels."""
    distance = radii(images.shape[1])
    high, low = (
        float(np.median(images[:, (distance > begin) & (distance < begin + 6)].mean(1)))
        for begin in (3, _STEP + 3)
    )
    factor = (high - low) / (HIGH - LOW)
    return (factor, high - factor * HIGH) if abs(factor) > 1e-3 else (1.0, 0.0)


def disc() -> Pixels:
    """Return a bright disc in a darker ring; the mean of the whole is 0.5."""
    distance = radii()
    inner, ring = distance < INNER, (distance >= INNER) & (distance < OUTER)
    rest = (0.5 - HIGH * inner.mean() - LOW * ring.mean()) / (1 - inner.mean() - ring.mean())
    return pixels(np.where(inner, HIGH, np.where(ring, LOW, np.float32(rest))))


def light(images: Array) -> tuple[Array, Array]:
    """Return brightness and contrast factors of views of `disc` (N×H×W).

    Contrast may be taken about the mean or about 0.5, of the picture before or after it was
    turned (with black corners): that moves the brightness by 2.5 % at most.
    """
    distance = radii()
    inner = images[:, distance < INNER - 12].mean(1)
    ring = images[:, (distance > INNER + 8) & (distance < OUTER - 8)].mean(1)
    brightness = (inner + ring) / (HIGH + LOW)
    contrast = (inner - ring) / (HIGH - LOW) / np.maximum(brightness, 1e-6)
    return brightness, contrast


def grain(images: Array) -> Array:
    """Return the deviations from the mean in the disc of each view of `disc`, N×pixels."""
    flat = images[:, radii() < INNER - 12]
    return np.asarray(flat - flat.mean(1, keepdims=True))


def texture(random: np.random.Generator) -> Pixels:
    """Return smooth random ground, which looks like itself in no other position."""
    spectrum = np.fft.rfft2(random.standard_normal((SIZE, SIZE)))
    rows, columns = np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None]
    ground = np.fft.irfft2(spectrum * np.exp(-2 * (np.pi * 8) ** 2 * (rows**2 + columns**2)))
    return pixels(np.asarray(0.5 + 0.1 * ground / ground.std(), np.float32))


def poses(images: Array, original: Pixels) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return by what angle (degrees) each view N×H×W is turned, and how it is mirrored.

    The views are compared with the original around the middle, on circles, where a turn is a
    shift and a mirroring runs backwards.

    Returns:
        Angles in −90…90, whether mirrored left to right, whether top to bottom.
    """
    ground = _circles(np.asarray(original, np.float32)[None])[0]
    forward, backward = np.fft.rfft(ground), np.fft.rfft(ground[:, ::-1])
    angles, sideways, upside = [], [], []
    for view in _circles(images):
        spectrum = np.fft.rfft(view)
        scores = [np.fft.irfft((np.conj(known) * spectrum).sum(0)) for known in (forward, backward)]
        mirrored = bool(scores[1].max() > scores[0].max())
        turn = (np.argmax(scores[mirrored]) - mirrored) * 360 / view.shape[1]
        half = 90 < turn % 360 < 270
        angles.append((turn + 90) % 180 - 90)
        sideways.append(half)
        upside.append(half != mirrored)
    return np.asarray(angles, np.float32), np.asarray(sideways), np.asarray(upside)


def _circles(images: Array, steps: int = 1440) -> Array:
    """Return N×circles×steps: what lies on circles around the middle, each without its mean."""
    angle = np.arange(steps) * 2 * np.pi / steps
    distance = np.arange(24, 112, 4)[:, None]
    rows = np.round(SIZE / 2 - 0.5 + distance * np.sin(angle)).astype(int)
    columns = np.round(SIZE / 2 - 0.5 + distance * np.cos(angle)).astype(int)
    found = images[:, rows, columns]
    return np.asarray(found - found.mean(2, keepdims=True), np.float32)


def folder(
    pictures: Iterable[tuple[str, Pixels]], classes: tuple[str, ...] = ("a", "b")
) -> Mapping[str, Pixels]:
    """Return file paths to pictures, dealt out to classes in turn."""
    return {
        f"{classes[number % len(classes)]}/{name}": picture
        for number, (name, picture) in enumerate(pictures)
    }
