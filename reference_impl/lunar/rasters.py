"""Large rasters, read by windows: GeoTIFF, PDS3 and whatever else GDAL knows, through rasterio.

Only the asked-for part of a file is read, so memory follows the window and not the raster.
"""

from __future__ import annotations

import functools
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from reference_impl.lunar.errors import DataError

Floats = NDArray[np.float64]

LARGE = 4096 * 4096
"""Pixels from which on a file is read as a raster, never decoded as a whole."""
_MOST = 2048
"""Pixels of a side that leave a raster; a larger part of it is averaged down while it is read."""
_CACHE_BYTES = 32 * 2**20
"""Of GDAL's blocks; its own default is a twentieth of the machine's memory."""


class Window(NamedTuple):
    """A part of a raster, in pixels."""

    x: int
    y: int
    width: int
    height: int


def read_window(path: str | Path, window: Window) -> NDArray[Any]:
    """Read a part of a raster as height×width×bands, in its own type.

    What is larger than 2,048 px comes averaged down to that, in the shape that it has.

    Raises:
        DataError: the extra `geo` is missing, or the file is no raster.
    """
    shrink = max(1.0, max(window.width, window.height) / _MOST)
    size = (max(1, round(window.height / shrink)), max(1, round(window.width / shrink)))
    return _read(_handle(str(path), os.getpid()), window, size)


def window_problem(path: str | Path, window: Window) -> str:
    """Say why a part of a raster is no usable image; nothing if it is one.

    Raises:
        DataError: the extra `geo` is missing.
    """
    _rasterio(path)
    try:
        raster = _handle(str(path), os.getpid())
    except DataError as error:
        return str(error)
    if raster.dtypes[0] not in ("uint8", "uint16"):
        kind = raster.dtypes[0]  # int16 has 16 bits, but elevations have no white
        return f"its pixels are of the kind {kind}; unsigned ones of 8 or 16 bits are needed"
    if raster.colorinterp[0].name == "palette":
        return "its colours are a palette, whose numbers cannot be averaged; save it as gray or RGB"
    x, y, width, height = window
    if x + width > raster.width or y + height > raster.height:
        size = f"{raster.width}×{raster.height}"
        return f"the window {width}×{height} at {x},{y} leaves its {size} px"
    return ""


@dataclass(frozen=True, slots=True)
class GlobalRaster:
    """A map of the Moon in the simple cylindrical projection, whole or a part.

    Without georeferencing, as NASA's texture maps are, it covers the globe from `west` on.
    """

    file: Any
    west: float
    """Longitude of the left edge, degrees east."""
    north: float
    """Latitude of the upper edge, degrees."""
    per_degree: tuple[float, float]
    """Pixels per degree, of longitude and latitude."""
    scale: float
    offset: float
    """A value is scale · pixel + offset."""
    unit: bool = False
    """Values must be 0–1."""

    @classmethod
    def open(cls, path: str | Path, *, west: float = -180.0, unit: bool = False) -> Self:
        """Open a map; `unit` brings unsigned values of 8 or 16 bits to 0–1, and wants others there.

        Raises:
            DataError: the extra `geo` is missing, the file is no raster, it is rotated, or of
                another projection.
        """
        file = _opened(path)
        scale, offset = float(file.scales[0]), float(file.offsets[0])
        if unit and np.dtype(file.dtypes[0]).kind == "u":
            scale, offset = 1 / float(np.iinfo(file.dtypes[0]).max), 0.0
        t = file.transform
        if t.is_identity:
            per_degree = (file.width / 360, file.height / 180)
            return cls(file, west, 90.0, per_degree, scale, offset, unit)
        if t.b or t.d:
            raise DataError(f"{path} is rotated; a simple cylindrical map with north up is needed")
        degree, middle = 1.0, 0.0
        if file.crs and file.crs.is_projected:
            degree, middle = _simple_cylindrical(file)
        per_degree = (degree / t.a, -degree / t.e)
        return cls(file, middle + t.c / degree, t.f / degree, per_degree, scale, offset, unit)

    def sample(self, lat: Floats, lon: Floats) -> Floats:
        """Return the values at places (degrees), bilinear between the pixels' centres.

        Raises:
            DataError: a place lies outside the map, or has no value, or none of 0–1 as asked.
        """
        around = 360 * self.per_degree[0]
        columns = ((lon - self.west) * self.per_degree[0] - 0.5) % around
        middle = columns.flat[columns.size // 2]
        columns = middle + (columns - middle + around / 2) % around - around / 2  # in one piece
        rows = (self.north - lat) * self.per_degree[1] - 0.5
        left, top = int(np.floor(columns.min())), int(np.floor(rows.min()))
        window = Window(left, top, int(columns.max()) - left + 3, int(rows.max()) - top + 3)
        pixels = self._around(window).astype(np.float32)
        at = ((columns - left).astype(np.float32), (rows - top).astype(np.float32))
        found = cv2.remap(pixels, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        values = np.asarray(found, np.float64) * self.scale + self.offset
        if self.unit and np.abs(values - 0.5).max() > 0.501:  # interpolation rounds
            raise DataError(
                f"{self.file.name} has values of {values.min():g} to {values.max():g}; save it in "
                "unsigned 8 or 16 bits, or bring it to 0–1"
            )
        return values

    def _around(self, window: Window) -> Floats:
        """Read a window that may cross the left or right edge of a map of the whole globe."""
        whole = abs(self.file.width - 360 * self.per_degree[0]) < 1
        left, right = window.x, window.x + window.width
        if not whole and (left < -1 or right > self.file.width + 1):
            raise DataError(f"{self.file.name} does not cover the longitudes that are asked for")
        if window.y < -2 or window.y + window.height > self.file.height + 2:
            raise DataError(f"{self.file.name} does not cover the latitudes that are asked for")
        columns = np.arange(left, right)
        columns = columns % self.file.width if whole else columns.clip(0, self.file.width - 1)
        rows = np.arange(window.y, window.y + window.height).clip(0, self.file.height - 1)
        pieces = np.split(columns, np.flatnonzero(np.diff(columns) < 0) + 1)
        parts = []
        for piece in pieces:
            first, last = int(piece[0]), int(piece[-1])
            part = Window(first, int(rows[0]), last - first + 1, int(rows[-1] - rows[0] + 1))
            pixels = _read(self.file, part)
            if not np.isfinite(pixels).all() or (pixels == self.file.nodata).any():
                raise DataError(
                    f"{self.file.name} has pixels without a value (NoData {self.file.nodata}) in "
                    f"{part}; give a map without gaps there"
                )
            parts.append(pixels.mean(2)[rows - rows[0]][:, piece - first])
        return np.hstack(parts)


def _simple_cylindrical(file: Any) -> tuple[float, float]:
    """Return the length of a degree, in units of the map, and the longitude of its middle.

    Raises:
        DataError: it is of another projection, or does not say on which sphere.
    """
    told = file.crs.to_dict()
    radius = told.get("R", told.get("a"))  # metres
    shifts = [name for name in ("lat_ts", "lat_0", "x_0", "y_0") if told.get(name)]
    if told.get("proj") != "eqc" or radius is None or shifts:
        raise DataError(
            f"{file.name} is of the projection {file.crs.to_string()}; a simple cylindrical one is "
            "needed: gdalwarp -t_srs '+proj=eqc +R=1737400 +units=m' makes one of it"
        )
    metres = file.crs.linear_units_factor[1]
    return float(radius) * np.pi / 180 / metres, float(told.get("lon_0", 0.0))


def _read(raster: Any, window: Window, size: tuple[int, int] | None = None) -> NDArray[Any]:
    """Return a window as height×width×bands; averaged down to `size` (height, width), if given."""
    from rasterio import Env
    from rasterio.enums import Resampling
    from rasterio.windows import Window as Part

    shape = (raster.count, *(size or (window.height, window.width)))
    with Env(GDAL_CACHEMAX=_CACHE_BYTES):
        pixels = raster.read(  # bands×height×width
            window=Part(*window), out_shape=shape, resampling=Resampling.average
        )
    return np.ascontiguousarray(np.moveaxis(pixels, 0, 2))


@functools.lru_cache(maxsize=8)
def _handle(path: str, _process: int) -> Any:
    """Open a raster once per process: a handle of GDAL must not be shared after a fork."""
    return _opened(path)


def _opened(path: str | Path) -> Any:
    rasterio = _rasterio(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            return rasterio.open(_label_of(Path(path)))
        except rasterio.errors.RasterioIOError as error:
            raise DataError(f"{path} is no raster that can be read: {error}") from error


def _label_of(path: Path) -> Path:
    """Return the detached PDS label that lies beside an image file, or the file itself."""
    if path.suffix.lower() != ".img":
        return path
    labels = (path.with_suffix(suffix) for suffix in (".lbl", ".LBL"))
    return next((label for label in labels if label.exists()), path)


def _rasterio(path: str | Path) -> Any:
    try:
        import rasterio.errors  # only those who have rasters need it
    except ImportError as error:
        raise DataError(
            f"{path} is a raster or has more than 16 Mpx, so rasterio reads it piece by piece; "
            "it is not installed and comes with the extra `geo`: "
            "pip install -e '.[lunar,geo]'"
        ) from error
    return rasterio
