"""Small pictures whose levels, angles and mirrorings are known, and how to read them again."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LEVELS = (60, 150)
"""Of 255: what `flat_pictures` is filled with, one class of each."""


def flat_pictures(folder: Path) -> list[str]:
    """Write a flat picture of each level in each format; return their sorted paths."""
    for level in LEVELS:
        inside = folder / f"level_{level:03d}"
        inside.mkdir(parents=True)
        _eight_bits(inside, level)
        _sixteen_bits(inside, level * 257)  # 255 · 257 = 65535
    paths = sorted(str(path) for path in folder.glob("*/*"))
    (inside / "notes.txt").write_text("no picture")
    (folder / "stray.txt").write_text("in no class")
    return paths


def _eight_bits(folder: Path, level: int) -> None:
    gray = Image.new("L", (70, 50), level)
    colour = Image.new("RGB", (50, 70), (level, level, level))
    for name in ("a.png", "b.JPG", "c.jpeg", "d.tif", "e.BMP", "f.tiff"):
        gray.save(folder / name)
    for name in ("g.PNG", "h.jpg", "i.TIF", "j.bmp", "k.webp"):
        colour.save(folder / name)
    colour.convert("RGBA").save(folder / "l.png")
    colour.quantize(4).save(folder / "m.png")


def _sixteen_bits(folder: Path, value: int) -> None:
    deep = np.full((40, 40), value, np.uint16)
    Image.fromarray(deep).save(folder / "n.png")
    Image.fromarray(deep).save(folder / "o.TIFF")
    big_endian = deep.astype(">u2").tobytes()
    Image.frombytes("I;16B", deep.shape, big_endian).save(folder / "p.tif")
    Image.fromarray(deep.astype(np.int32)).save(folder / "q.tiff")  # mode I


def repeated_picture(folder: Path, pixels: NDArray[np.uint8], count: int) -> None:
    """Write the same gray picture often, so that all that differs is augmentation."""
    (folder / "same").mkdir(parents=True)
    for number in range(count):
        Image.fromarray(pixels).save(folder / "same" / f"{number:03d}.png")


def upright_edge() -> NDArray[np.uint8]:
    """Return an image (64×64), light to the right of an upright edge, with a strip on its top."""
    pixels = np.full((64, 64), 60, np.uint8)
    pixels[:, 32:] = 180
    pixels[:8] = 230
    return pixels


def edge_angle(image: NDArray[np.float32]) -> float:
    """Return by how many degrees `upright_edge` was turned before it was mirrored.

    A mirroring turns the sign of the angle around, so what left and right, top and bottom look
    like counts as well. The rest is where each of the middle rows crosses the edge, and the line
    through these places; nothing from beyond the corners, and no strip, gets into this window.
    """
    window = image[16:48, 8:56]
    left, right = window[:, :4].mean(), window[:, -4:].mean()
    crossings = ((window - right) / (left - right)).sum(axis=1)
    mirrored = (left > right) != (image[2:6, 24:40].mean() < image[-6:-2, 24:40].mean())
    angle = math.degrees(math.atan(np.polyfit(np.arange(32), crossings, 1)[0]))
    return -angle if mirrored else angle


def bright_quarter(image: NDArray[np.float32]) -> tuple[bool, bool]:
    """Tell whether the brightest quarter of an image (H×W) lies below, and right."""
    half, inner = image.shape[0] // 2, image.shape[0] // 4
    middle = image[inner : half + inner, inner : half + inner]
    quarters = middle.reshape(2, inner, 2, inner).mean(axis=(1, 3))
    below, right = divmod(int(quarters.argmax()), 2)
    return bool(below), bool(right)


def size_and_format(path: Path) -> tuple[tuple[int, int], str | None]:
    """Return width and height in pixels, and what the file says that it is."""
    with Image.open(path) as picture:
        return picture.size, picture.format
