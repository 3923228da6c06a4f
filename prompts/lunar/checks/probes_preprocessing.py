"""Travels into the sandbox: writes image files and hands out what the candidate makes of them."""

import ctypes
import gc
import io
import os
import re
from unittest import mock

import numpy as np
import torch
from PIL import Image

SUFFIXES = {"JPEG": "jpg", "TIFF": "tif"}


def views(candidate, files, which="train", epochs=1, size=256, channels=None, **options):
    """Write files, make loaders, and return images, labels and what kind of thing they were.

    files: path below the image folder to an array H×W(×bands), uint8 or uint16.
    channels: only these of each image.
    """
    folder = write(files)
    loaders = make(candidate, folder, size, options)
    batches = [batch for _ in range(epochs) for batch in loaders[which == "val"]]
    return {**described(batches, loaders), **stacked(batches, channels)}


def both(candidate, files, epochs=3, size=256, channels=None, **options):
    """Return what both loaders hand out: of the training one, several epochs."""
    loaders = make(candidate, write(files), size, options)
    train = [batch for _ in range(epochs) for batch in loaders[0]]
    validation = list(loaders[1])
    return {
        **described(train[:1], loaders),
        "train": stacked(train, channels),
        "val": stacked(validation, channels),
    }


def rewritten(candidate, files, later, size=256, channels=None, **options):
    """Make the loaders, then give every file another content, and only then read."""
    folder = write(files)
    loaders = make(candidate, folder, size, options)
    write(later)
    return stacked(list(loaders[1]), channels)


def memory(candidate, few, many, side, size=256):
    """Return how many MiB more are in use after `many` files were read than after `few`."""
    used = []
    for number, count in enumerate((few, few, many)):
        folder = f"memory{number}"
        for index in range(count):
            place = os.path.join(folder, "ab"[index % 2])
            os.makedirs(place, exist_ok=True)
            pixels = np.full((side, side), 40 + index, np.uint8)
            Image.fromarray(pixels).save(os.path.join(place, f"{index}.bmp"))
        before = in_use()
        loaders = make(candidate, folder, size, {})
        for loader in loaders:
            for _batch in loader:
                pass
        del _batch
        used.append(in_use() - before)
    return {"growth": (used[2] - used[1]) / 2**20}


class Allocated(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def in_use():
    """Return the bytes that the allocator has handed out; a peak would also count its slack."""
    gc.collect()
    told = ctypes.CDLL(None).mallinfo2
    told.restype = Allocated
    found = told()
    return found.uordblks + found.hblkhd


def filtered(candidate, images):
    """Return what the candidate's high-pass filter makes of images N×3×H×W, one by one."""
    names = [n for n in dir(candidate.preprocessing) if re.search(r"high_?pass", n, re.I)]
    functions = [getattr(candidate.preprocessing, name) for name in sorted(names, key=len)]
    functions = [each for each in functions if callable(each)]
    if not functions:
        return {"name": ""}
    function = functions[0]
    if isinstance(function, type):
        function = function()
    results = [torch.as_tensor(function(torch.from_numpy(each.copy()))) for each in images]
    return {"name": names[0], "shapes": [list(each.shape) for each in results],
            "views": [each.float() for each in results]}  # fmt: skip


def worker_settings(candidate, files, workers):
    """Return how the loaders were set up, and how many images come through that many workers."""
    loaders = make(candidate, write(files), 256, {"num_workers": workers, "batch_size": 4})
    return {
        "loaders": [settings(loader) for loader in loaders],
        "images": [sum(len(batch[0]) for batch in loader) for loader in loaders],
        "cores": os.cpu_count(),
    }


def pinned(candidate, files, gpu):
    """Return pin_memory of the loaders where torch says that there is a GPU, or that there is none.

    The code is imported under that word, too, and nothing is read, which would take a real GPU.
    Where the code itself takes one already, there is nothing to tell.
    """
    folder = write(files)
    try:
        with mock.patch.object(torch.cuda, "is_available", return_value=gpu):
            loaders = make(candidate, folder, 256, {})
    except (AssertionError, RuntimeError):  # what torch raises without a driver
        if gpu:
            return {"pinned": []}
        raise
    return {"pinned": [settings(loader)["pin_memory"] for loader in loaders]}


def settings(loader):
    names = ("num_workers", "pin_memory", "prefetch_factor", "persistent_workers", "batch_size")
    return {name: plain(getattr(loader, name, None)) for name in names}


def plain(value):
    return value if value is None or isinstance(value, (bool, int)) else str(value)


def make(candidate, folder, size, options):
    options = {"num_workers": 0, **options}
    return candidate.preprocessing.create_train_val_dataloaders(folder, image_size=size, **options)


def write(files):
    for path, pixels in files.items():
        path = os.path.join("images", path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(encoded(path, np.asarray(pixels)))
    return "images"


def encoded(path, pixels):
    """Encode pixels; `x.palette.png` becomes a palette image, and so on."""
    name = os.path.basename(path).lower()
    image = Image.fromarray(pixels)
    for word, mode in {"palette": "P", "rgba": "RGBA", "rgb": "RGB"}.items():
        if f".{word}." in name:
            image = image.convert(mode)
            break
    suffix = name.rsplit(".", 1)[1]
    kind = {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "tiff": "TIFF"}.get(suffix, suffix)
    options = {"jpg": {"quality": 95}, "jpeg": {"quality": 95}, "webp": {"lossless": True}}
    data = io.BytesIO()
    image.save(data, kind.upper(), **options.get(suffix, {}))
    return data.getvalue()


def described(batches, loaders):
    """Return what kinds of things came, before they are made comparable."""
    images, labels = (batches[0][0], batches[0][1]) if batches else (None, None)
    return {
        "loaders": [isinstance(each, torch.utils.data.DataLoader) for each in loaders],
        "kind": type(images).__name__,
        "dtype": str(getattr(images, "dtype", "")),
        "shape": list(getattr(images, "shape", [])),
        "label_dtype": str(getattr(labels, "dtype", "")),
        "label_shape": list(getattr(labels, "shape", [])),
        "first": len(images) if images is not None else 0,
    }


def stacked(batches, channels):
    """Return all images (float32 N×C×H×W, uint8 scaled to 0–1) and labels of the batches."""
    images = [as_images(batch[0]) for batch in batches if len(batch[0])]
    labels = [int(each) for batch in batches for each in batch[1]]
    if not images:
        return {"images": np.zeros((0, 1, 1, 1), np.float32), "labels": labels, "low": 0, "high": 0}
    images = torch.cat(images)
    low, high = float(images.min()), float(images.max())
    if channels is not None:
        images = images[:, [min(c, images.shape[1] - 1) for c in channels]]
    return {"images": images, "labels": labels, "low": low, "high": high}


def as_images(images):
    images = (
        images if torch.is_tensor(images) else torch.stack([torch.as_tensor(i) for i in images])
    )
    scale = 255 if images.dtype is torch.uint8 else 1
    return (images.float() / scale).contiguous()
