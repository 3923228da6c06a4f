"""Loaders of lunar images."""

from dataset import LunarDataset
from filters import high_pass  # noqa: F401
from images import load_image  # noqa: F401
from options import loader_options
from paths import get_image_paths, get_labels
from split import split_files
from torch.utils.data import DataLoader


def create_train_val_dataloaders(image_dir, val_split=0.2, batch_size=8, num_workers=4, image_size=256):
    """Make the loaders for training and validation."""
    paths = get_image_paths(image_dir)
    labels = get_labels(paths)
    train, train_labels, val, val_labels = split_files(paths, labels, val_split)
    options = loader_options(batch_size, num_workers)
    return (
        DataLoader(LunarDataset(train, train_labels, image_size, True), shuffle=True, **options),
        DataLoader(LunarDataset(val, val_labels, image_size, False), shuffle=False, **options),
    )
