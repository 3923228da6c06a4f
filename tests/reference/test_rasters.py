"""Parts of large rasters as images of a data set."""

from __future__ import annotations

import sys
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference_impl.lunar.images import read_image, to_channels
from reference_impl.lunar.index import DataError, load_index, split
from reference_impl.lunar.manifest import manifest_rows, write_manifest
from reference_impl.lunar.preprocessing import LunarDataset

HEAD = "path,label,x,y,width,height"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return a manifest of four windows of one raster of 16 bits, and one ordinary file."""
    pixels = np.random.default_rng(0).integers(0, 2**16, (200, 300)).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "large.tif")
    Image.fromarray(pixels[:64, :64]).save(tmp_path / "small.png")
    rows = [f"large.tif,{'ab'[n % 2]},{60 * n},{20 * n},64,64" for n in range(4)]
    (tmp_path / "parts.csv").write_text("\n".join([HEAD, *rows, "small.png,a,,,,"]))
    return tmp_path / "parts.csv"


def test_a_row_may_name_a_part_of_a_raster(manifest: Path) -> None:
    pytest.importorskip("rasterio")
    whole = read_image(manifest.parent / "large.tif")  # OpenCV, not GDAL
    index = load_index(manifest)
    dataset = LunarDataset(index, 64, training=False)
    assert len(dataset) == 5
    for n in range(4):
        expected = whole[20 * n : 20 * n + 64, 60 * n : 60 * n + 64]
        np.testing.assert_allclose(dataset[n][0], to_channels(expected), atol=1e-6)
    np.testing.assert_allclose(dataset[4][0][0], whole[:64, :64], atol=1e-6)
    for part in split(index, 0.5, 0):
        for path, window in zip(part.paths, part.windows, strict=True):
            assert (path.name == "small.png") == (window is None)


def test_rows_that_are_written_elsewhere_are_read_again(manifest: Path, tmp_path: Path) -> None:
    rows = [replace(row, fold="2", group="Alter") for row in manifest_rows(manifest)]
    write_manifest(rows, tmp_path / "elsewhere" / "again.csv")
    assert list(manifest_rows(tmp_path / "elsewhere" / "again.csv")) == rows
    assert [row.window is None for row in rows] == [False] * 4 + [True]


def test_a_digest_tells_the_parts_of_a_file_apart(manifest: Path) -> None:
    pytest.importorskip("rasterio")
    found = load_index(manifest).digest()
    manifest.write_text(manifest.read_text().replace("large.tif,b,60,20", "large.tif,b,61,20"))
    assert load_index(manifest).digest() != found


def test_colours_of_a_raster_weigh_as_those_of_other_files(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "rgb.tif")
    rows = ["rgb.tif,a,0,0,64,64", "rgb.tif,b,0,0,32,32"]
    (tmp_path / "parts.csv").write_text("\n".join([HEAD, *rows]))
    dataset = LunarDataset(load_index(tmp_path / "parts.csv"), 64, training=False)
    np.testing.assert_allclose(dataset[0][0][0], read_image(tmp_path / "rgb.tif"), atol=1e-6)


def test_without_the_extra_the_error_names_it(manifest: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    monkeypatch.setitem(sys.modules, "rasterio.errors", None)
    with pytest.raises(DataError, match=r"large\.tif .* the extra `geo`"):
        load_index(manifest)


def test_windows_that_leave_the_raster_are_named_and_skipped(manifest: Path, caplog) -> None:
    pytest.importorskip("rasterio")
    with manifest.open("a") as file:
        file.write("\nlarge.tif,b,250,0,64,64\nnone.tif,b,0,0,64,64\n")
    index = load_index(manifest)
    assert len(index.paths) == 5
    assert "the window 64×64 at 250,0 leaves its 300×200 px" in caplog.text
    assert "none.tif" in caplog.text


def test_elevations_are_named_and_skipped_for_what_they_are(manifest: Path, caplog) -> None:
    rasterio = pytest.importorskip("rasterio")
    kind = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "int16"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(manifest.parent / "dem.tif", "w", **kind) as file:
            file.write(np.full((64, 64), -1900, np.int16), 1)
    with manifest.open("a") as rows:
        rows.write("\ndem.tif,b,0,0,64,64\n")
    assert [path.name for path in load_index(manifest).skipped] == ["dem.tif"]
    assert "of the kind int16; unsigned ones of 8 or 16 bits are needed" in caplog.text


@pytest.mark.parametrize("window", ["1,2,3", "-1,0,64,64", "0,0,4,64", "a,0,64,64"])
def test_a_window_that_is_none_is_refused(manifest: Path, window: str) -> None:
    manifest.write_text(f"{HEAD}\nlarge.tif,a,{window}\n")
    with pytest.raises(DataError, match=r"parts\.csv:2: x, y, width and height"):
        load_index(manifest)


def test_a_large_file_is_read_piece_by_piece_averaged_down(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    tile = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    pixels = np.kron(tile, np.ones((80, 80), np.uint8))  # 5,120×5,120
    kind = {"driver": "GTiff", "width": 5120, "height": 5120, "count": 1, "dtype": "uint8"}
    for label in "ab":
        (tmp_path / label).mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(tmp_path / label / "large.tif", "w", **kind) as file:
                file.write(pixels, 1)
    index = load_index(tmp_path)
    dataset = LunarDataset(index, 64, training=False)
    np.testing.assert_allclose(dataset[0][0][0], tile / 255, atol=2 / 255)
    tracemalloc.start()
    assert dataset[1] is not None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < pixels.nbytes  # neither as bytes nor as floats was it there as a whole


def test_without_the_extra_a_large_file_is_refused_by_name(tmp_path: Path, monkeypatch) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / label / "small.png")
    Image.new("L", (14_000, 14_000)).save(tmp_path / "a" / "large.png")  # a bomb to Pillow
    monkeypatch.setitem(sys.modules, "rasterio", None)
    monkeypatch.setitem(sys.modules, "rasterio.errors", None)
    with pytest.raises(DataError, match=r"large\.png .* more than 16 Mpx.* the extra `geo`"):
        load_index(tmp_path)


def test_a_large_file_of_a_palette_is_skipped_by_name(tmp_path: Path, caplog) -> None:
    pytest.importorskip("rasterio")
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / label / "small.png")
    Image.new("P", (4200, 4200)).save(tmp_path / "a" / "large.png")
    assert len(load_index(tmp_path).paths) == 2
    assert "save it as gray or RGB" in caplog.text
