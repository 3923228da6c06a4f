"""From image files to batches: float32 B×3×H×W in 0–1, and labels int64 B.

Files are opened when their turn comes, so memory does not grow with their number.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from reference_impl.lunar import distributed
from reference_impl.lunar.images import (
    SIGMAS,
    Array,
    augment,
    doubled,
    read_image,
    resize,
    shrunk,
    to_channels,
    to_gray,
)
from reference_impl.lunar.images import high_pass as high_pass_plane
from reference_impl.lunar.index import (
    DataError,
    Index,
    by_fold,
    get_image_paths,
    load_index,
    split,
    split_as_named,
)
from reference_impl.lunar.rasters import read_window

__all__ = [
    "DataError",
    "LunarDataset",
    "augment",
    "create_evaluation_dataloader",
    "create_manifest_dataloaders",
    "create_train_val_dataloaders",
    "files_of",
    "get_image_paths",
    "high_pass",
    "load_index",
    "read_image",
    "to_channels",
]
log = logging.getLogger(__name__)
Batch = tuple[Tensor, Tensor]


class LunarDataset(Dataset[tuple[Tensor, int] | None]):
    """Images 3×size×size in 0–1 and their labels; None where a file cannot be decoded.

    What a training image looks like depends on seed, epoch and number only, not on workers.

    Args:
        index: the files.
        image_size: of the result; 256 and 512 are what the model is made for.
        training: augment; else the same number always gives the same tensor.
        seed: of the augmentation.
        cache: keep decoded files as bytes, of 8 bits; each worker has its own.
        gray: give plain images in one channel; for training they have twice the size, and
            `views.training_views` does the rest in batches.
    """

    def __init__(
        self,
        index: Index,
        image_size: int,
        *,
        training: bool,
        seed: int = 0,
        cache: bool = False,
        gray: bool = False,
    ) -> None:
        if image_size < 32 or image_size % 32:
            raise DataError(f"image_size is {image_size}; it must be a multiple of 32")
        self.index = index
        self.paths, self.labels, self.classes = index.paths, index.labels, index.classes
        self._windows = index.windows
        self.image_size = image_size
        self.training = training
        self._gray = gray
        self._seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # workers see it change
        self._decoded: dict[int, NDArray[np.uint8]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.paths)

    def set_epoch(self, epoch: int) -> None:
        """Make the next epoch's views other ones."""
        self._epoch.fill_(epoch)

    def __getitem__(self, number: int) -> tuple[Tensor, int] | None:
        try:
            image = self._read(number)
        except (ValueError, OSError, cv2.error) as error:
            log.warning("%s is skipped: %s", self.paths[number], error)
            return None
        if self._gray:
            plain = (doubled if self.training else resize)(image, self.image_size)
            return torch.from_numpy(plain)[None], self.labels[number]
        if self.training:
            random = np.random.default_rng((self._seed, int(self._epoch), number))
            image = augment(image, self.image_size, random)
        else:
            image = resize(image, self.image_size)
        return torch.from_numpy(to_channels(image)), self.labels[number]

    def _read(self, number: int) -> Array:
        if self._decoded is None:
            return self._open(number)
        if number not in self._decoded:
            image = shrunk(self._open(number), 2 * self.image_size)
            self._decoded[number] = np.round(image * 255).astype(np.uint8)
        return self._decoded[number].astype(np.float32) / np.float32(255)

    def _open(self, number: int) -> Array:
        window = self._windows[number] if self._windows else None
        if window is None:
            return read_image(self.paths[number])
        pixels = read_window(self.paths[number], window)
        return to_gray(np.ascontiguousarray(pixels[..., 2::-1] if pixels.shape[2] > 2 else pixels))


def create_train_val_dataloaders(
    image_dir: str | Path,
    val_split: float = 0.2,
    batch_size: int = 8,
    num_workers: int = 4,
    image_size: int = 256,
    *,
    seed: int = 42,
    cache: bool = False,
    gray: bool = False,
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return loaders of the training and the validation images of a folder of class folders.

    Raises:
        DataError: the folder holds nothing usable, or an argument is out of range.
    """
    train, validation = split(load_index(image_dir), val_split, seed)
    options = (batch_size, num_workers, image_size)
    return _loaders(train, validation, options, seed=seed, cache=cache, gray=gray)


def create_manifest_dataloaders(
    manifest: str | Path,
    test_fold: str,
    batch_size: int = 8,
    num_workers: int = 4,
    image_size: int = 256,
    *,
    val_split: float = 0.15,
    seed: int = 42,
    cache: bool = False,
    gray: bool = False,
) -> tuple[DataLoader[Any], DataLoader[Any], DataLoader[Any]]:
    """Return loaders for training and validation, from all folds but one, and of that one.

    The fold that is judged on must not choose the epoch, so another one that is named `val`,
    `valid`, `validation` or `dev` does, or else a part of the others.

    Raises:
        DataError: the manifest cannot be used, or has no such fold, or no other.
    """
    rest, test = by_fold(load_index(manifest), test_fold)
    if not rest.paths:
        raise DataError(f"{manifest} has no fold but {test_fold!r}, so there is none to train on")
    train, validation = split_as_named(rest, val_split, seed)
    options = (batch_size, num_workers, image_size)
    loaders = _loaders(train, validation, options, seed=seed, cache=cache, gray=gray)
    judged = LunarDataset(test, image_size, training=False)
    return *loaders, _loader(judged, batch_size, num_workers, seed=seed)


def create_evaluation_dataloader(
    source: str | Path,
    batch_size: int = 8,
    num_workers: int = 4,
    image_size: int = 256,
    *,
    classes: Sequence[str] | None = None,
    fold: str | None = None,
) -> DataLoader[Any]:
    """Return a loader of every image of a folder or manifest, or of a fold, once and as it is.

    Raises:
        DataError: the source cannot be used, has labels that are not in `classes`, or no such
            fold.
    """
    index = load_index(source, classes)
    index = index if fold is None else by_fold(index, fold)[1]
    dataset = LunarDataset(index, image_size, training=False)
    return _loader(dataset, batch_size, num_workers, seed=0)


def files_of(*loaders: DataLoader[Any]) -> dict[str, str]:
    """Say how many files loaders for training, validation and test have, and of which digest.

    Of others than those of this module nothing is known: an empty string.
    """
    said = {}
    for use, loader in zip(("training", "validation", "test"), loaders, strict=False):
        index = getattr(loader.dataset, "index", None)
        told = f"{len(index.paths)} of digest {index.digest()}" if isinstance(index, Index) else ""
        said[f"{use} files"] = told
    return said


def high_pass(image: Tensor) -> Tensor:
    """Return an image (…×H×W) without its slow changes, in the same shape: the finer view."""
    planes = image.reshape(-1, *image.shape[-2:]).float().numpy()
    views = np.stack([high_pass_plane(plane, SIGMAS[0]) for plane in planes])
    return torch.from_numpy(views).reshape(image.shape)


def _loaders(
    train: Index,
    validation: Index,
    options: tuple[int, int, int],
    *,
    seed: int,
    cache: bool,
    gray: bool,
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    batch_size, num_workers, image_size = options
    sets = (
        LunarDataset(train, image_size, training=True, seed=seed, cache=cache, gray=gray),
        LunarDataset(validation, image_size, training=False, cache=cache),
    )
    first, second = (_loader(each, batch_size, num_workers, seed=seed) for each in sets)
    return first, second


def _loader(dataset: LunarDataset, batch_size: int, workers: int, *, seed: int) -> DataLoader[Any]:
    if batch_size < 1 or workers < 0:
        raise DataError("batch_size must be at least 1, and num_workers at least 0")
    workers = min(workers, max(0, (os.cpu_count() or 1) - 1))  # more would only get in the way
    sampler: Sampler[int] = distributed.sampler(dataset, training=dataset.training, seed=seed)
    return DataLoader(
        dataset,
        batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
        # A batch of one has no batch statistics.
        drop_last=dataset.training and len(sampler) > batch_size,  # type: ignore[arg-type]
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_quiet_worker if workers else None,
        # Its own: drawn from torch's, the workers' seed would shift dropout where they start.
        generator=torch.Generator(),
    )


def _collate(samples: Sequence[tuple[Tensor, int] | None]) -> Batch:
    """Stack what could be decoded: B×3×H×W and B; B may be less than asked for, or 0."""
    good = [sample for sample in samples if sample is not None]
    if not good:
        return torch.zeros(0, 3, 32, 32), torch.zeros(0, dtype=torch.int64)
    images, labels = zip(*good, strict=True)
    return torch.stack(images), torch.tensor(labels, dtype=torch.int64)


def _quiet_worker(_worker: int) -> None:
    """Keep a worker to one core: there is a worker for each."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
