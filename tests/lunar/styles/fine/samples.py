"""Sample images."""

import os

import numpy as np
from PIL import Image


def create_sample_data(directory, num_samples=200, num_classes=5):
    """Write images that can be told apart."""
    column = np.arange(256)
    for i in range(num_samples):
        label = i % num_classes
        wave = 128 + 60 * np.sin(2 * np.pi * (label + 1) * column / 64)
        pixels = wave + np.random.default_rng(i).normal(0, 10, (256, 256))
        folder = os.path.join(directory, f"class_{label}")
        os.makedirs(folder, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(os.path.join(folder, f"sample_{i}.png"))
