"""Loaders of lunar images."""

import random

import torch
from dataset import LunarDataset
from filters import high_pass  # noqa: F401
from images import load_image  # noqa: F401
from paths import get_image_paths, get_labels
from torch.utils.data import DataLoader


def create_train_val_dataloaders(image_dir, val_split=0.2, batch_size=8, num_workers=4, image_size=256):
    """Make the loaders for training and validation."""
    paths = get_image_paths(image_dir)
    labels = get_labels(paths)
    order = list(range(len(paths)))
    random.Random(42).shuffle(order)
    cut = int(len(paths) * val_split)
    more = {"prefetch_factor": 2, "persistent_workers": True} if num_workers > 0 else {}
    loaders = []
    for chosen, train in ((order[cut:], True), (order[:cut], False)):
        images = LunarDataset([paths[i] for i in chosen], [labels[i] for i in chosen], image_size, train)
        loaders.append(DataLoader(images, batch_size=batch_size, shuffle=train, num_workers=num_workers,
                                  pin_memory=torch.cuda.is_available(), **more))
    return tuple(loaders)
