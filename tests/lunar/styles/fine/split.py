"""What is for training, and what for validation."""

import random


def split_files(paths, labels, val_split):
    """Split files and labels."""
    order = list(range(len(paths)))
    random.Random(42).shuffle(order)
    cut = int(len(paths) * val_split)
    return tuple(
        [items[i] for i in part] for part in (order[cut:], order[:cut]) for items in (paths, labels)
    )
