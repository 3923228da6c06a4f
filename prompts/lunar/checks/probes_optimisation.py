"""Travels into the sandbox: a short training with all that the candidate wrote, and its samples."""

import base64
import os
from types import ModuleType

from PIL import Image


def short_training(candidate, files, epochs, rate):
    """Train the small model on these images, and return what was recorded and left on disk.

    files: path below the image folder to the file, base64.
    """
    for path, data in files.items():
        path = os.path.join("images", path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
    loaders = candidate.preprocessing.create_train_val_dataloaders(
        "images", batch_size=8, num_workers=0
    )
    model = candidate.model.create_model("simple", num_classes=5)
    result = candidate.training.train_model(
        model, *loaders, epochs, learning_rate=rate, save_dir="out"
    )
    left = [os.path.join(place, name) for place, _, names in os.walk("out") for name in names]
    history = [{str(key): value for key, value in dict(each).items()} for each in result["history"]]
    losses = [number(each.get("train_loss")) for each in history]
    return {"losses": losses, "left": sorted(left)}


def sample_data(candidate, count):
    """Return folder and kind of each image that main.py makes where it is asked for some."""
    maker(candidate.main)("made", count)
    paths = [os.path.join(place, name) for place, _, names in os.walk("made") for name in names]
    return {"folders": [os.path.dirname(path) for path in paths], "kinds": [*map(kind, paths)]}


def maker(main):
    """Return create_sample_data, which main.py may also have imported, by itself or in a module."""
    modules = [each for each in vars(main).values() if isinstance(each, ModuleType)]
    found = [vars(place).get("create_sample_data") for place in (main, *modules)]
    function = next(filter(callable, found), None)
    assert function, "main.py has no function create_sample_data"
    return function


def kind(path):
    with Image.open(path) as image:
        image.load()
        return f"{image.format} {image.width}×{image.height}"


def number(value):
    """Return a number as a float, whatever kind it is; None for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
