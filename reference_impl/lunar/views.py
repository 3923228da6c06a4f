"""What `images.py` does to one image on a CPU, done to a batch where the model is.

With a GPU it takes the augmentation off the workers: they hand over plain gray images, and
everything random happens here in a few large operations.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

from reference_impl.lunar.images import GAIN, JITTER, MAX_ANGLE, NOISE, SIGMAS


def training_views(images: Tensor) -> Tensor:
    """Return augmented views of gray images: B×1×2H×2W in 0–1 → B×3×H×W, on the same device.

    They are turned at twice the size and averaged down then, or only training would see them
    blurred. Random numbers come from torch's generator of the CPU, so they are the same on any
    device.
    """
    return batch_channels(jittered(functional.avg_pool2d(turned(images), 2)))


def turned(images: Tensor) -> Tensor:
    """Rotate each image (B×1×H×W) by its own angle within ±15°, and mirror it both ways or not.

    What lies beyond the edge is mirrored.
    """
    count, _, height, width = images.shape
    angle = torch.deg2rad((torch.rand(count) * 2 - 1) * MAX_ANGLE)
    mirror = torch.randint(0, 2, (2, count, 1)) * 2.0 - 1  # of x and of y, −1 or 1
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(count)
    # affine_grid counts both sides from −1 to 1, so a turn needs the ratio of the sides.
    across = torch.stack([cos, sin * (height / width), zero], 1) * mirror[0]
    down = torch.stack([-sin * (width / height), cos, zero], 1) * mirror[1]
    matrices = torch.stack([across, down], 1).to(images)  # B×2×3
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def jittered(images: Tensor) -> Tensor:
    """Vary brightness and contrast of each image (B×1×H×W) by ±20 %, and add noise of σ = 0.01."""
    factors = 1 + (torch.rand(2, len(images), 1, 1, 1) * 2 - 1) * JITTER
    brightness, contrast = factors.to(images)
    mean = images.mean(dim=(2, 3), keepdim=True)
    noise = (NOISE * torch.randn(images.shape)).to(images, non_blocking=True)
    views: Tensor = (images - mean) * (contrast * brightness) + mean * brightness + noise
    return views.clamp(0, 1)


def batch_channels(images: Tensor) -> Tensor:
    """Return B×3×H×W in 0–1: the images (B×1×H×W), and their high-pass views around 0.5."""
    scale = images.shape[2] / 256
    passed = [GAIN * (images - _slow(images, sigma * scale)) + 0.5 for sigma in SIGMAS]
    return torch.cat([images, *passed], 1).clamp(0, 1)


def _slow(images: Tensor, sigma: float) -> Tensor:
    """Return images without what is smaller than a Gaussian of σ px."""
    kernel = _gaussian(sigma).to(images)
    for side in (2, 3):
        shape = [1, 1, 1, 1]
        shape[side] = len(kernel)
        images = functional.conv2d(_mirrored(images, side, len(kernel) // 2), kernel.view(shape))
    return images


def _mirrored(images: Tensor, side: int, reach: int) -> Tensor:
    """Continue images beyond two of their edges as mirrors would, the edge pixels twice."""
    length = images.shape[side]
    places = torch.arange(-reach, length + reach, device=images.device) % (2 * length)
    return images.index_select(side, torch.minimum(places, 2 * length - 1 - places))


@functools.lru_cache(maxsize=8)
def _gaussian(sigma: float) -> Tensor:
    reach = max(1, math.ceil(4 * sigma))
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    weights = torch.exp(-0.5 * (places / sigma) ** 2)
    return weights / weights.sum()
