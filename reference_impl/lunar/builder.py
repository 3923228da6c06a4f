"""Make the windows of the real Moon, with their folds, from the official maps.

`python -m reference_impl.lunar.builder --dem … --albedo … --gazetteer … --out windows` writes
`images/<class>/*.jpg` and `windows.csv`, which `main.py` takes as its manifest. Elevation is shaded
by a low sun and multiplied by albedo; the labels come from the gazetteer alone.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reference_impl.lunar.files import replacing
from reference_impl.lunar.gazetteer import LABELS, Place, choose_places, read_gazetteer
from reference_impl.lunar.index import DataError
from reference_impl.lunar.projection import window_grid
from reference_impl.lunar.rasters import GlobalRaster
from reference_impl.lunar.samples import shade

KM_PER_PX = 0.4764
"""Ground scale of all windows: 122 km at 256 px, 243.9 km at 512 px; it cannot tell a class."""
_GAIN = 0.8
"""So much of the 8 bits is for level ground; slopes towards the sun are brighter."""
_COLUMNS = ("path", "label", "feature", "lat_deg", "lon_deg", "fold")
_SUN = ("sun_azimuth_deg", "sun_elevation_deg")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m reference_impl.lunar.builder", description=__doc__
    )
    add = parser.add_argument
    add("--dem", required=True, help="elevation in m: WAC GLD100 (PDS .IMG, .LBL, or GeoTIFF)")
    add("--albedo", required=True, help="NASA SVS CGI Moon Kit, lroc_color_poles (TIFF)")
    add("--albedo_west", type=float, default=-180.0, help="left edge, if the file does not say")
    add("--gazetteer", required=True, help="CSV export of the IAU gazetteer")
    add("--out", default="lunar_windows", help="a folder")
    add("--size", type=int, default=256, help="pixels; 512 shows 244 km")
    add("--per_class", type=int, default=500, help="windows, at most")
    add("--seed", type=int, default=42)
    options = parser.parse_args(arguments)
    try:
        counts = build_windows(
            GlobalRaster.open(options.dem),
            GlobalRaster.open(options.albedo, west=options.albedo_west, unit=True),
            options.gazetteer,
            options.out,
            size=options.size,
            per_class=options.per_class,
            seed=options.seed,
        )
    except (DataError, OSError) as error:
        sys.exit(f"error: {error}")
    told = ", ".join(f"{count} {label}" for label, count in counts.items())
    print(f"{told}; the manifest is {Path(options.out) / 'windows.csv'}")  # noqa: T201


def build_windows(
    dem: GlobalRaster,
    albedo: GlobalRaster,
    gazetteer: str | Path,
    out: str | Path,
    *,
    size: int = 256,
    per_class: int = 500,
    seed: int = 42,
) -> dict[str, int]:
    """Write `images/<class>/*.jpg` and `windows.csv`; the same seed gives the same files.

    Args:
        dem: elevation in metres.
        albedo: 0–1.
        gazetteer: a CSV export.
        out: a folder, made if need be.
        size: pixels of a side, of KM_PER_PX each.
        per_class: at most so many windows of each class.
        seed: of places and suns.

    Returns:
        How many windows each class has.

    Raises:
        DataError: a source cannot be used, or gives no window of some class.
    """
    if size < 32 or per_class < 1:
        raise DataError("size must be at least 32, and per_class at least 1")
    features = read_gazetteer(gazetteer)
    places = choose_places(features, per_class=per_class, width_km=size * KM_PER_PX, seed=seed)
    missing = sorted(set(LABELS) - {place.label for place in places})
    if missing:
        raise DataError(
            f"{gazetteer} gives no window of {', '.join(missing)}; give the whole Moon's export"
        )
    rows, counts = [], Counter[str]()
    for number, place in enumerate(places):
        sun = random_sun(np.random.default_rng((seed, 1000, number)))
        name = f"images/{place.label}/{place.label}_{counts[place.label]:04}.jpg"
        counts[place.label] += 1
        _write(Path(out) / name, render(dem, albedo, place, sun, size=size))
        rows.append(_row(name, place, sun))
    with replacing(Path(out) / "windows.csv") as path, path.open("w", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*_COLUMNS, *_SUN], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return dict(counts)


def random_sun(random: np.random.Generator) -> tuple[float, float]:
    """Return azimuth (clockwise from north) and elevation, degrees: a morning or an evening."""
    azimuth = random.choice([90.0, 270.0]) + random.uniform(-25, 25)
    return float(azimuth), float(random.uniform(10, 35))


def render(
    dem: GlobalRaster, albedo: GlobalRaster, place: Place, sun: tuple[float, float], *, size: int
) -> NDArray[np.uint8]:
    """Return a window as size×size pixels of 8 bits, north up.

    Shading is divided by that of level ground, so that brightness tells albedo, not the hour.
    """
    grid = window_grid(place.lat, place.lon, size=size + 2, km=KM_PER_PX)
    height = dem.sample(*grid) / 1000
    light = shade(height, KM_PER_PX, *sun) / shade(np.zeros((2, 2)), KM_PER_PX, *sun)[0, 0]
    image = _GAIN * light * albedo.sample(*grid)
    inside = image[1:-1, 1:-1]  # gradients at the edge are one-sided
    return np.asarray(np.round(np.clip(inside, 0, 1) * 255), np.uint8)


def _row(name: str, place: Place, sun: tuple[float, float]) -> dict[str, Any]:
    where = (f"{place.lat:.3f}", f"{place.lon:.3f}", place.fold)
    values = (name, place.label, place.feature, *where, f"{sun[0]:.1f}", f"{sun[1]:.1f}")
    return dict(zip([*_COLUMNS, *_SUN], values, strict=True))


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    written, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert written
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())


if __name__ == "__main__":
    main()
