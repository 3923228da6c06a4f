"""What is done to one image: reading, resampling, augmentation, and its three channels.

The three channels are the image, and two high-pass views of it that bring out craters: what is
smaller than about 2 km and 8 km on windows of 476 m per pixel (σ of 4 and 16 px at 256 px).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

MAX_ANGLE = 15.0
"""Degrees, to both sides."""
JITTER = 0.2
"""Of brightness and contrast."""
NOISE = 0.01
"""Standard deviation on the 0–1 scale."""
SIGMAS = (4.0, 16.0)
"""Of the high-pass filters, in pixels of a 256-px image."""
GAIN = 2.0
"""High-pass values of relief seldom pass ±0.25; this spreads them over 0–1."""


def read_image(path: str | Path) -> Array:
    """Read a file as one gray channel, H×W float32 in 0–1, whatever its bits and colours.

    Raises:
        ValueError: it is no image of 8 or 16 bits.
    """
    data = np.fromfile(path, np.uint8)  # cv2.imread fails on paths that are not ASCII elsewhere
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if pixels is None:
        raise ValueError(f"{path} cannot be decoded")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{path} has pixels of {pixels.dtype}; unsigned 8 or 16 bits are needed")
    return to_gray(pixels)


def to_gray(pixels: NDArray[Any]) -> Array:
    """Return pixels of 8 or 16 bits, H×W or H×W×bands (blue first), as H×W in 0–1."""
    scale = np.float32(1 / np.iinfo(pixels.dtype).max)
    if pixels.ndim == 3 and pixels.shape[2] < 3:
        pixels = pixels[..., 0]
    elif pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY)  # alpha says nothing of relief
    return np.asarray(pixels, np.float32) * scale


def high_pass(image: Array, sigma: float) -> Array:
    """Return an image (H×W) without its slow changes; 0 where it is constant. Linear."""
    return np.asarray(cv2.subtract(image, _slow(image, sigma)), np.float32)


def to_channels(image: Array) -> Array:
    """Return 3×H×W in 0–1: the image, and its high-pass views around 0.5."""
    views = np.empty((1 + len(SIGMAS), *image.shape), np.float32)
    views[0] = image
    for view, sigma in zip(views[1:], SIGMAS, strict=True):
        slow = _slow(image, sigma * image.shape[0] / 256)
        cv2.addWeighted(image, GAIN, slow, -GAIN, 0.5, dst=view)
    return np.asarray(np.clip(views, 0, 1, out=views))


def _slow(image: Array, sigma: float) -> Array:
    """Return the slow changes of an image: a Gaussian of σ px, computed on a shrunken image.

    Averaging k×k pixels, and interpolating between the means, blurs as well: together with a
    variance of (k² − 1) / 4 px², which the Gaussian has to leave out.
    """
    step = 2 ** max(0, int(np.log2(max(sigma, 1) / 2)))
    height, width = image.shape
    small = (-(-width // step), -(-height // step))
    rest = np.sqrt(sigma**2 - (step**2 - 1) / 4) / step
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA) if step > 1 else image
    slow = cv2.GaussianBlur(shrunk, (0, 0), rest, borderType=cv2.BORDER_REFLECT)
    if step > 1:
        slow = cv2.resize(slow, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(slow, np.float32)


def augment(image: Array, size: int, random: np.random.Generator) -> Array:
    """Return another view of an image (H×W, 0–1) as size×size.

    Rotation by ±15°, both mirrorings and the scaling are one resampling; what lies beyond the
    edge is mirrored. A large image is turned at twice the size and averaged down then, or only
    training would see it blurred. Then brightness and contrast by ±20 %, and noise of σ = 0.01.
    """
    fine = 2 * size if min(image.shape) >= 2 * size else size
    image = shrunk(image, fine)
    height, width = image.shape
    angle = random.uniform(-MAX_ANGLE, MAX_ANGLE)
    turn = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), angle, 1.0)
    mirror = np.where(random.random(2) < 0.5, -1.0, 1.0)  # x, y
    scale = mirror * (fine / width, fine / height)
    matrix = scale[:, None] * turn
    middle = np.array([width / 2 - 0.5, height / 2 - 0.5, 1.0])
    matrix[:, 2] += (fine / 2 - 0.5) - matrix @ middle  # the middle stays the middle
    view = cv2.warpAffine(
        image, matrix, (fine, fine), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    view = shrunk(np.asarray(view, np.float32), size)
    brightness, contrast = random.uniform(1 - JITTER, 1 + JITTER, 2)
    mean = cv2.mean(view)[0] * brightness
    noise = _noise(size, random)
    sign = random.choice((-1.0, 1.0))
    cv2.addWeighted(view, contrast * brightness, noise, sign, mean * (1 - contrast), dst=view)
    return np.asarray(np.clip(view, 0, 1, out=view), np.float32)


def _noise(size: int, random: np.random.Generator) -> Array:
    """Return size×size values of white noise: a piece of the bank, from a random place on."""
    bank = _noise_bank(max(2**20, 4 * size * size))
    start = int(random.integers(len(bank) - size * size))
    return bank[start : start + size * size].reshape(size, size)


@functools.lru_cache(maxsize=2)
def _noise_bank(length: int) -> Array:
    """Return Gaussian noise for all images: to draw it anew takes longer than all the rest."""
    return np.float32(NOISE) * np.random.default_rng(0).standard_normal(length, np.float32)


def resize(image: Array, size: int) -> Array:
    """Return an image as size×size, nothing else changed."""
    image = shrunk(image, size)
    if image.shape == (size, size):
        return image
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def doubled(image: Array, size: int) -> Array:
    """Return an image at twice the size, to be turned there and averaged down to size×size after.

    A small one gets each pixel twice: to interpolate between them would blur it.
    """
    if min(image.shape) < 2 * size:
        return resize(image, size).repeat(2, axis=0).repeat(2, axis=1)
    fine = (2 * size, 2 * size)
    return np.asarray(cv2.resize(image, fine, interpolation=cv2.INTER_AREA), np.float32)


def shrunk(image: Array, size: int) -> Array:
    """Average a far larger image down first: bilinear sampling would skip most of its pixels."""
    if min(image.shape) < 2 * size:
        return image
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), np.float32)
