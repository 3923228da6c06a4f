"""The memory of the reference: windows of a large raster, more files, a large batch."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import PYTHON, Spent, run_child
from tests.benchmarks.report import Figure

_SIDE, _WINDOW = 10_000, 256


def figures() -> Iterator[Figure]:
    """Measure peaks of child processes, less what importing the trainer takes."""
    bare = _child("import", "-").peak_mib
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for tiled in (True, False):
            raster = _raster(folder, tiled=tiled)
            spent = _child("read", str(_windows(folder, raster)))
            how = f"peak {spent.peak_mib:.0f} MiB, {bare:.0f} of it the imports; "
            how += f"{spent.output.strip()} windows of {_WINDOW} px, {'tiles' if tiled else 'rows'}"
            title = f"memory for windows of {_SIDE}×{_SIDE} px"
            yield Figure(title, spent.peak_mib - bare, 300, "MiB", how)
        yield _more_files(folder)
    spent = _child("step", "512")
    title = "memory for a step of 8 images of 512 px, trunk frozen, stride 32"
    how = f"less the imports, {bare:.0f} MiB; float32"
    yield Figure(title, spent.peak_mib - bare, None, "MiB", how)


def _child(task: str, path: str) -> Spent:
    return run_child([PYTHON, "-W", "ignore", "-m", "tests.benchmarks.lunar_child", task, path])


def _raster(folder: Path, *, tiled: bool) -> Path:
    """Write a large raster, a band of rows after the other."""
    import numpy as np
    import rasterio
    from rasterio.windows import Window

    path, rows, random = folder / f"large-{tiled}.tif", 500, np.random.default_rng(0)
    kind = {"driver": "GTiff", "width": _SIDE, "height": _SIDE, "count": 1, "dtype": "uint8"}
    if tiled:
        kind |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(path, "w", **kind, transform=rasterio.Affine(2, 0, 0, 0, -2, 0)) as file:
        for top in range(0, _SIDE, rows):
            band = random.integers(0, 255, (1, rows, _SIDE), dtype=np.uint8)
            file.write(band, window=Window(0, top, _SIDE, rows))
    return path


def _windows(folder: Path, raster: Path) -> Path:
    places = range(0, _SIDE - _WINDOW, _WINDOW)
    cells = [(x, y) for y in places for x in places]
    rows = [f"{raster.name},{'ab'[n % 2]},{x},{y},256,256" for n, (x, y) in enumerate(cells)]
    manifest = folder / f"{raster.stem}.csv"
    manifest.write_text("\n".join(["path,label,x,y,width,height", *rows]))
    return manifest


def _more_files(folder: Path) -> Figure:
    """Compare the peak of a data set with that of one that has ten times the files."""
    from reference_impl.lunar.samples import create_sample_data

    create_sample_data(folder / "made", 100)
    paths = sorted((folder / "made").rglob("*.png"))
    peaks = []
    for times in (1, 10):
        for path, number in itertools.product(paths, range(times)):
            copy = folder / f"images{times}" / path.parent.name / f"{number}-{path.name}"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        peaks.append(_child("read", str(folder / f"images{times}")).peak_mib)
    how = f"{peaks[0]:.0f} and {peaks[1]:.0f} MiB for 100 and 1,000; decoded, 900 have 56"
    return Figure("memory of 900 files more", peaks[1] - peaks[0], 20, "MiB", how)
