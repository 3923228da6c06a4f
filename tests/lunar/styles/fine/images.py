"""One image of any kind."""

import numpy as np
import torch
from PIL import Image


def load_image(path):
    """Read an image as float32 3xHxW from 0 to 1."""
    with Image.open(path) as image:
        if image.mode.startswith("I"):
            gray = np.asarray(image, dtype=np.float32) / 65535
            pixels = np.stack([gray, gray, gray], axis=-1)
        else:
            pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
