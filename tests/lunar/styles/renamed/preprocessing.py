"""Moon tiles from files to batches: reading, augmentation, splitting and loading."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

READABLE = frozenset({"png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp"})
BLUR_KERNEL = 5


@dataclass(frozen=True)
class AugmentationLimits:
    """How far a training tile may stray from the file."""

    angle: float = 15.0  # degrees, to either side
    flip: float = 0.5  # probability, per axis
    tone: float = 0.2  # brightness and contrast factors are 1 ± tone
    noise: float = 0.01  # standard deviation on the 0-1 scale


@dataclass(frozen=True)
class Tile:
    """One file and the number of the folder that it lies in."""

    path: str
    label: int


def get_image_paths(image_dir: str | Path) -> list[str]:
    """Return all readable files of all class folders, sorted."""
    found: list[str] = []
    for folder in _class_folders(image_dir):
        found.extend(str(file) for file in _readable_files(folder))
    return sorted(found)


def _class_folders(image_dir: str | Path) -> list[Path]:
    folders = (entry for entry in Path(image_dir).iterdir() if entry.is_dir())
    return sorted(folders, key=lambda folder: folder.name)


def _readable_files(folder: Path) -> Iterator[Path]:
    for file in folder.iterdir():
        if file.suffix[1:].lower() in READABLE and file.is_file():
            yield file


def read_tile(path: str | Path) -> Tensor:
    """Decode a file into a float32 tensor (3, H, W) between 0 and 1."""
    with Image.open(path) as picture:
        if picture.mode.startswith("I"):  # 16 bits, one channel
            gray = np.asarray(picture, dtype=np.float32) / np.float32(65535)
            levels = np.broadcast_to(gray, (3, *gray.shape))
        else:
            rgb = np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255)
            levels = np.moveaxis(rgb, -1, 0)
    return torch.from_numpy(levels.copy()).clamp_(0, 1)


def highpass_filter(tile: Tensor) -> Tensor:
    """Return what a Gaussian blur removes: rims and walls, and nothing on a flat plain."""
    return tile - TF.gaussian_blur(tile, [BLUR_KERNEL, BLUR_KERNEL])


class TileAugmentation:
    """Draws a random view of a tile; every call draws anew."""

    def __init__(self, limits: AugmentationLimits | None = None) -> None:
        self.limits = limits or AugmentationLimits()

    def view(self, tile: Tensor) -> Tensor:
        """Rotate, mirror and re-expose a square tile."""
        # What the rotation uncovers gets the mean brightness of the tile.
        background = tile.mean(dim=(1, 2)).tolist()
        tile = TF.rotate(
            tile,
            self._around(0.0, self.limits.angle),
            interpolation=InterpolationMode.BILINEAR,
            fill=background,
        )
        if torch.rand(()) < self.limits.flip:
            tile = TF.hflip(tile)
        if torch.rand(()) < self.limits.flip:
            tile = TF.vflip(tile)
        tile = TF.adjust_contrast(tile, self._around(1.0, self.limits.tone))
        return TF.adjust_brightness(tile, self._around(1.0, self.limits.tone))

    def grain(self, tile: Tensor) -> Tensor:
        """Add sensor noise."""
        return torch.normal(tile, self.limits.noise).clamp_(0, 1)

    @staticmethod
    def _around(middle: float, reach: float) -> float:
        return float(torch.empty(()).uniform_(middle - reach, middle + reach))


class MoonTiles(Dataset[tuple[Tensor, int]]):
    """A list of files that are opened one at a time, when they are asked for."""

    def __init__(
        self,
        tiles: Sequence[Tile],
        image_size: int,
        augmentation: TileAugmentation | None = None,
    ) -> None:
        self.tiles = tuple(tiles)
        self.image_size = image_size
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        tile = self.tiles[index]
        pixels = TF.resize(read_tile(tile.path), [self.image_size] * 2, antialias=True)
        if self.augmentation is not None:
            pixels = self.augmentation.view(pixels)
        pixels = (pixels + highpass_filter(pixels)).clamp(0, 1)
        if self.augmentation is not None:
            pixels = self.augmentation.grain(pixels)
        return pixels, tile.label


def _label_tiles(image_dir: str | Path) -> list[Tile]:
    numbers = {folder.name: number for number, folder in enumerate(_class_folders(image_dir))}
    return [Tile(path, numbers[Path(path).parent.name]) for path in get_image_paths(image_dir)]


def _split(tiles: Sequence[Tile], val_split: float) -> tuple[list[Tile], list[Tile]]:
    """Shuffle with a fixed seed and cut; returns (training, validation)."""
    order = np.random.RandomState(42).permutation(len(tiles))
    shuffled = [tiles[position] for position in order]
    held_out = math.ceil(round(len(tiles) * val_split, 6))
    return shuffled[held_out:], shuffled[:held_out]


def _loader(tiles: MoonTiles, batch_size: int, num_workers: int) -> DataLoader:
    in_workers = {"prefetch_factor": 2, "persistent_workers": True} if num_workers > 0 else {}
    return DataLoader(
        tiles,
        batch_size=batch_size,
        shuffle=tiles.augmentation is not None,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        **in_workers,
    )


def create_train_val_dataloaders(
    image_dir: str | Path,
    val_split: float = 0.2,
    batch_size: int = 8,
    num_workers: int = 4,
    image_size: int = 256,
) -> tuple[DataLoader, DataLoader]:
    """Return the loaders of the training and of the validation tiles."""
    tiles = _label_tiles(image_dir)
    if not tiles:
        raise ValueError(f"no images of the form <class>/<file> in {image_dir}")
    training, validation = _split(tiles, val_split)
    train_set = MoonTiles(training, image_size, TileAugmentation())
    val_set = MoonTiles(validation, image_size)
    return (
        _loader(train_set, batch_size, num_workers),
        _loader(val_set, batch_size, num_workers),
    )
