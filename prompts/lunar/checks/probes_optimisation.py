"""Travels into the sandbox: a short training with all that the candidate wrote."""

import base64
import os


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


def number(value):
    """Return a number as a float, whatever kind it is; None for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
