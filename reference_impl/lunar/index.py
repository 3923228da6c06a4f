"""What a data set consists of: files with labels, from class folders or from a manifest."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from reference_impl.lunar.errors import DataError
from reference_impl.lunar.manifest import Row, manifest_rows
from reference_impl.lunar.rasters import LARGE, Window, window_problem

__all__ = [
    "DataError",
    "Index",
    "by_fold",
    "get_image_paths",
    "load_index",
    "split",
    "split_as_named",
]
log = logging.getLogger(__name__)

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16", "I;16B", "I;16L"})
"""Kinds of pixels of 1 to 16 bits; floats have no scale that could be brought to 0–1."""
_VALIDATION = frozenset({"val", "valid", "validation", "dev"})
"""Folds that are there to choose the epoch by."""
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
"""What the last bytes of a whole file hold; decoders may fill up a cut one, and say nothing."""


@dataclass(frozen=True, slots=True)
class Index:
    """Files and their labels, in a fixed order."""

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    """Names, sorted; a label is an index into them."""
    folds: tuple[str, ...] = ()
    """Fold or split of each file, if a manifest has them."""
    groups: tuple[str, ...] = ()
    """What each file shows, if a manifest has a column `group` or `feature`."""
    windows: tuple[Window | None, ...] = ()
    """Part of each file that counts, if a manifest has columns x, y, width, height."""
    skipped: tuple[Path, ...] = ()
    """Files that are no usable image."""
    root: Path = Path()
    """The folder that the files were found from."""

    def subset(self, numbers: Iterable[int]) -> Index:
        """Return the files with these numbers."""
        chosen = list(numbers)
        return replace(
            self,
            paths=tuple(self.paths[i] for i in chosen),
            labels=tuple(self.labels[i] for i in chosen),
            folds=tuple(self.folds[i] for i in chosen) if self.folds else (),
            groups=tuple(self.groups[i] for i in chosen) if self.groups else (),
            windows=tuple(self.windows[i] for i in chosen) if self.windows else (),
        )

    def counts(self) -> dict[str, int]:
        """Return how many files each class has."""
        found = Counter(self.labels)
        return {name: found[label] for label, name in enumerate(self.classes)}

    def digest(self) -> str:
        """Return what tells these files, labels and windows from others, wherever the root lies."""
        found = hashlib.sha256()
        windows = self.windows or (None,) * len(self.paths)
        for path, label, window in zip(self.paths, self.labels, windows, strict=True):
            place = Path(os.path.relpath(path, self.root)).as_posix()
            found.update(repr((place, self.classes[label], window)).encode())
        return found.hexdigest()[:12]


def get_image_paths(image_dir: str | Path) -> list[Path]:
    """Return the image files of all class folders, `<image_dir>/<class>/**/*`, sorted.

    Folders may be links to others.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    folder = Path(image_dir)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; name one with a folder of images per class")
    found = sorted(
        path
        for path in _below(folder)
        if path.suffix.lower() in SUFFIXES and path.parent != folder and path.is_file()
    )
    if not found:
        kinds = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{folder} has no image in a class folder ({kinds})")
    return found


def _below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yield the files below a folder, through links, but for those that lead back up."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for path in folder.iterdir():
        if path.is_dir():
            yield from _below(path, above | {real})
        else:
            yield path


def load_index(source: str | Path, classes: Sequence[str] | None = None) -> Index:
    """Read a folder of class folders, or a manifest (CSV or JSONL with path and label).

    Only headers and last bytes of the files are read. What is no usable image is skipped, with a
    warning.
    A file of more than 16 Mpx is never decoded as a whole, which takes the extra `geo`.
    A row of a manifest may have x, y, width and height of a part of a raster, in pixels: then only
    this part is ever read, through the extra `geo`.

    Args:
        source: the folder, or a manifest (.csv, .jsonl), whose paths are relative to its folder.
        classes: the order of the classes, for a model that was trained with it.

    Raises:
        DataError: nothing usable, fewer than two classes, an image with two labels or in two
            folds, or a manifest with errors.
    """
    source = Path(source)
    if source.suffix.lower() not in (".csv", ".jsonl"):
        rows = [
            Row(path, path.relative_to(source).parts[0], where=str(path))
            for path in get_image_paths(source)
        ]
    else:
        rows = list(manifest_rows(source))
    _refuse_contradictions(rows)
    rows = [_whole_by_window(row) for row in rows]
    problems = {row.source: _problem(*row.source) for row in rows}
    good = [row for row in rows if not problems[row.source]]
    skipped = [path for (path, _), problem in problems.items() if problem]
    for (path, _), problem in problems.items():
        if problem:
            log.warning("%s is skipped: %s", path, problem)
    if skipped:
        log.warning("%d of %d files of %s are skipped", len(skipped), len(rows), source)
    if not good:
        raise DataError(f"{source} has no usable image; the warnings above say why")
    names = tuple(classes) if classes is not None else tuple(sorted({row.label for row in good}))
    strange = sorted({row.label for row in good} - set(names))
    if strange:
        known = ", ".join(names)
        raise DataError(f"{source} has the label {strange[0]!r}; the model knows {known}")
    if len(names) < 2:
        raise DataError(f"{source} has only the class {names[0]!r}; a classifier needs two")
    folds = tuple(row.fold for row in good)
    groups = tuple(row.group for row in good)
    windows = tuple(row.window for row in good)
    return Index(
        paths=tuple(row.path for row in good),
        labels=tuple(names.index(row.label) for row in good),
        classes=names,
        folds=folds if any(folds) else (),
        groups=groups if any(groups) else (),
        windows=windows if any(windows) else (),
        skipped=tuple(skipped),
        root=source if source.is_dir() else source.parent,
    )


def split(index: Index, val_split: float, seed: int) -> tuple[Index, Index]:
    """Return training and validation files: disjoint, seeded, about the same share of each class.

    Files of one group stay together, of whatever classes they are, and no class is without a
    group to train on. A group that is all of one class, and of nothing else, says no more than
    the label does, and is taken apart: or the class would not be judged at all.

    Raises:
        DataError: `val_split` is not between 0 and 1.
    """
    if not 0 < val_split < 1:
        raise DataError(f"val_split is {val_split}; it must be between 0 and 1")
    random = np.random.default_rng(seed)
    labels = np.array(index.labels)
    held_out: set[int] = set()
    everything, left = range(len(labels)), Counter(index.labels)
    groups = _groups(index)
    for label in range(len(index.classes)):
        numbers = np.flatnonzero(labels == label).tolist()
        wanted = max(1, round(val_split * len(numbers)))
        mine = list(dict.fromkeys(groups[number] for number in numbers if number not in held_out))
        for place in random.permutation(len(mine))[:-1]:  # one stays for training
            have = len(numbers) - left[label]
            taken = Counter(index.labels[number] for number in mine[place])
            nearer = abs(have + taken[label] - wanted) < abs(have - wanted)
            if nearer and all(left[each] > count for each, count in taken.items()):
                held_out.update(mine[place])
                left.subtract(taken)
        if left[label] == len(numbers) > 0:
            log.warning("no image of %s can be held out for validation", index.classes[label])
    train = [i for i in everything if i not in held_out]
    return index.subset(train), index.subset(sorted(held_out))


def by_fold(index: Index, test_fold: str) -> tuple[Index, Index]:
    """Return the files of all other folds, of which there may be none, and those of the test fold.

    Raises:
        DataError: the index has no folds, or not this one.
    """
    if not index.folds:
        raise DataError("the manifest has no column `fold` or `split`; a test fold needs one")
    known = sorted(set(index.folds))
    if test_fold not in known:
        raise DataError(f"there is no fold {test_fold!r} to test on; there is {', '.join(known)}")
    inside = [i for i, fold in enumerate(index.folds) if fold == test_fold]
    outside = [i for i, fold in enumerate(index.folds) if fold != test_fold]
    return index.subset(outside), index.subset(inside)


def split_as_named(index: Index, val_split: float, seed: int) -> tuple[Index, Index]:
    """Return training and validation files: those of a fold `val`, if there is one, or a split.

    Raises:
        DataError: as `split`.
    """
    named = sorted({fold for fold in index.folds if fold.lower() in _VALIDATION})
    if named and set(index.folds) != set(named):
        held_out = [i for i, fold in enumerate(index.folds) if fold in named]
        train = [i for i, fold in enumerate(index.folds) if fold not in named]
        return index.subset(train), index.subset(held_out)
    return split(index, val_split, seed)


def _groups(index: Index) -> list[tuple[int, ...]]:
    """Return for each file the numbers of those that it stays together with."""
    names = index.groups or ("",) * len(index.labels)
    members: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        members.setdefault(name, []).append(number)
    sizes = Counter(index.labels)
    alone = {""}
    for name, numbers in members.items():
        of = {index.labels[number] for number in numbers}
        if len(of) == 1 and len(numbers) == sizes[of.pop()]:
            alone.add(name)
    return [
        (number,) if name in alone else tuple(members[name]) for number, name in enumerate(names)
    ]


def _refuse_contradictions(rows: Iterable[Row]) -> None:
    """Let each image have one label, and one fold: or it would be judged by what it taught."""
    known: dict[tuple[str, Window | None], Row] = {}
    for row in rows:
        first = known.setdefault((os.path.realpath(row.path), row.window), row)
        for what in ("label", "fold"):
            one, other = getattr(first, what), getattr(row, what)
            if one != other:
                raise DataError(
                    f"{first.where} and {row.where} are the same image, with the {what} {one!r} "
                    f"and the {what} {other!r}; leave one of them out"
                )


def _whole_by_window(row: Row) -> Row:
    """Make a large file a window of itself: rasters are read piece by piece, images are not."""
    if row.window is not None:
        return row
    with contextlib.suppress(OSError, ValueError, SyntaxError), _header(row.path) as image:
        if image.width * image.height > LARGE:
            return replace(row, window=Window(0, 0, image.width, image.height))
    return row


@contextlib.contextmanager
def _header(path: Path) -> Iterator[Image.Image]:
    """Open an image of any size: no pixel is decoded here, so none can be a bomb."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _ends_well(path: Path, end: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 16))
        return end in file.read()


def _problem(path: Path, window: Window | None) -> str:
    """Say why a file is no usable image, from its header and its end."""
    if window is not None:
        return window_problem(path, window)
    try:
        with _header(path) as image:
            if image.mode not in _MODES:
                found = f"its pixels are of the kind {image.mode}"
                return f"{found}; unsigned ones of 8 or 16 bits are needed"
            if not _ends_well(path, _ENDS.get(image.format or "", b"")):
                image.load()  # raises if something is missing
            return "" if min(image.size) >= 8 else f"it is only {image.width}×{image.height} px"
    except UnidentifiedImageError:
        return "it is no image that can be read"
    except (OSError, ValueError, SyntaxError) as error:
        return str(error) or type(error).__name__
