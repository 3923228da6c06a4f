"""The windows of the real Moon, from a small made-up Moon whose answers are known."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")

from rasterio.transform import Affine  # noqa: E402

from reference_impl.lunar import builder  # noqa: E402
from reference_impl.lunar.gazetteer import (  # noqa: E402
    Feature,
    Place,
    choose_places,
    fold_of,
    read_gazetteer,
)
from reference_impl.lunar.index import DataError, load_index  # noqa: E402
from reference_impl.lunar.projection import distance_km, window_grid  # noqa: E402
from reference_impl.lunar.rasters import GlobalRaster  # noqa: E402

PER_DEGREE = 4
KM = 1737.4 * np.pi / 180


def globe(
    path: Path, values: np.ndarray, *, west: float | None, degree: float = 1, **more: object
) -> Path:
    """Write a map of the whole Moon; without `west` it has no georeferencing.

    A degree is one unit, or so many; `more` is what rasterio takes, such as crs and nodata.
    """
    height, width = values.shape
    if west is None:
        assert cv2.imwrite(str(path), values)
        return path
    kind = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": values.dtype}
    turn = Affine.scale(degree) @ Affine(360 / width, 0, west, 0, -180 / height, 90)
    with rasterio.open(path, "w", transform=turn, **kind, **more) as file:
        file.write(values, 1)
    return path


def places(west: float) -> tuple[np.ndarray, np.ndarray]:
    lats = 90 - (np.arange(180 * PER_DEGREE) + 0.5) / PER_DEGREE
    lons = west + (np.arange(360 * PER_DEGREE) + 0.5) / PER_DEGREE
    return np.meshgrid(lats, lons, indexing="ij")


def peaks(west: float, *centres: tuple[float, float], km: float = 20) -> np.ndarray:
    lats, lons = places(west)
    away = [distance_km(lat, lon, lats, lons) for lat, lon in centres]
    return sum(3000 * np.exp(-((each / km) ** 2)) for each in away).astype(np.float32)


def pds(path: Path, values: np.ndarray) -> Path:
    """Write elevation as 16 bits with an attached PDS3 label, the left edge at 0° E."""
    height, width = values.shape
    metres = 1000 * KM / PER_DEGREE
    label = f"""PDS_VERSION_ID = PDS3
RECORD_TYPE = FIXED_LENGTH
RECORD_BYTES = {2 * width}
FILE_RECORDS = {height + 2}
LABEL_RECORDS = 2
^IMAGE = 3
OBJECT = IMAGE_MAP_PROJECTION
  MAP_PROJECTION_TYPE = "EQUIRECTANGULAR"
  A_AXIS_RADIUS = 1737.4 <KM>
  B_AXIS_RADIUS = 1737.4 <KM>
  C_AXIS_RADIUS = 1737.4 <KM>
  CENTER_LATITUDE = 0.0 <DEG>
  CENTER_LONGITUDE = 180.0 <DEG>
  MAP_SCALE = {metres} <METERS/PIXEL>
  MAP_RESOLUTION = {PER_DEGREE} <PIXEL/DEG>
  LINE_PROJECTION_OFFSET = {height / 2 - 0.5}
  SAMPLE_PROJECTION_OFFSET = {width / 2 - 0.5}
END_OBJECT = IMAGE_MAP_PROJECTION
OBJECT = IMAGE
  LINES = {height}
  LINE_SAMPLES = {width}
  SAMPLE_TYPE = LSB_INTEGER
  SAMPLE_BITS = 16
  SCALING_FACTOR = 1
  OFFSET = 0
END_OBJECT = IMAGE
END
"""
    space = 2 * 2 * width
    assert len(label) < space
    path.write_bytes(label.encode().ljust(space) + values.astype("<i2").tobytes())
    return path


def detached(path: Path, values: np.ndarray) -> Path:
    """Write the same with its label in a file beside it, as the archive has many products."""
    attached = pds(path, values).read_bytes()
    width = 2 * values.shape[1]
    label = attached[: 2 * width].rstrip().decode()
    label = label.replace("LABEL_RECORDS = 2\n", "").replace(
        "^IMAGE = 3", f'^IMAGE = "{path.name}"'
    )
    path.with_suffix(".LBL").write_text(label + "\n", newline="\r\n")
    path.write_bytes(attached[2 * width :])
    return path


@pytest.mark.parametrize("centre", [(0.0, 30.0), (50.0, -100.0), (-60.0, 179.9), (10.0, 0.05)])
@pytest.mark.parametrize(
    "kind", ["degrees from -180", "degrees from 0", "bare", "bare from 0", "pds", "label"]
)
def test_a_peak_at_a_known_place_stands_in_the_middle(
    tmp_path: Path, centre: tuple[float, float], kind: str
) -> None:
    west = 0.0 if kind.endswith("from 0") else -180.0  # what else says so itself
    if kind == "pds":
        file = pds(tmp_path / "dem.img", peaks(0, centre))
    elif kind == "label":
        file = detached(tmp_path / "DEM.IMG", peaks(0, centre))
    else:
        values = peaks(west, centre)
        file = globe(tmp_path / "dem.tif", values, west=None if "bare" in kind else west)
    raster = GlobalRaster.open(file, west=west)
    found = raster.sample(*window_grid(*centre, size=255, km=0.476))
    smooth = cv2.GaussianBlur(found, (0, 0), 8)
    row, column = np.unravel_index(np.argmax(smooth), smooth.shape)
    assert (row, column) == (pytest.approx(127, abs=4), pytest.approx(127, abs=4))  # a pixel is 16


@pytest.mark.parametrize(
    ("radius", "units"), [(1_737_400, "m"), (1_738_100, "m"), (1_737_400, "km")]
)
def test_a_degree_is_as_long_as_the_map_s_own_sphere_says(
    tmp_path: Path, radius: int, units: str
) -> None:
    lats, lons = places(-180)
    degree = radius * np.pi / 180 / (1000 if units == "km" else 1)
    crs = f"+proj=eqc +R={radius} +units={units}"
    for name, values in (("lat", lats), ("lon", lons)):
        globe(tmp_path / f"{name}.tif", values, west=-180, degree=degree, crs=crs)
    asked = window_grid(50.0, 170.0, size=9, km=2)
    for name, expected in zip(("lat", "lon"), asked, strict=True):
        found = GlobalRaster.open(tmp_path / f"{name}.tif").sample(*asked)
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(
    "crs",
    ["+proj=merc +R=1737400", "+proj=eqc +lat_ts=30 +R=1737400", "EPSG:4087"],
    ids=["mercator", "lat_ts", "no radius"],
)
def test_a_map_of_another_projection_is_refused(tmp_path: Path, crs: str) -> None:
    dem = globe(tmp_path / "dem.tif", np.zeros((180, 360), np.float32), west=-180, crs=crs)
    with pytest.raises(DataError, match=r"dem\.tif is of the projection .*; a simple cylindrical"):
        GlobalRaster.open(dem)


@pytest.mark.parametrize("gap", [-32768.0, np.nan])
def test_a_place_without_a_value_is_refused_and_others_are_not(tmp_path: Path, gap: float) -> None:
    values = np.ones((180, 360), np.float32)
    values[20, 30] = gap
    raster = GlobalRaster.open(globe(tmp_path / "dem.tif", values, west=-180, nodata=-32768))
    assert raster.sample(*window_grid(0.0, 0.0, size=9, km=1)).max() == 1
    with pytest.raises(DataError, match=r"dem\.tif has pixels without a value"):
        raster.sample(*window_grid(69.5, -149.5, size=9, km=1))


@pytest.mark.parametrize(
    ("kind", "white", "read"),
    [(np.uint8, 255, 1), (np.uint16, 65535, 1), (np.float32, 0.5, 0.5), (np.int16, 3000, None)],
)
def test_brightness_is_0_to_1_or_refused(
    tmp_path: Path, kind: type, white: float, read: float | None
) -> None:
    albedo = globe(tmp_path / "albedo.tif", np.full((180, 360), white, kind), west=-180)
    raster, where = GlobalRaster.open(albedo, unit=True), window_grid(0.0, 0.0, size=9, km=1)
    if read is None:
        with pytest.raises(DataError, match=r"values of 3000 to 3000; save it in unsigned 8 or 16"):
            raster.sample(*where)
    else:
        np.testing.assert_allclose(raster.sample(*where), read, atol=1e-6)


def test_north_is_up_and_east_is_right(tmp_path: Path) -> None:
    centre = (55.0, 40.0)
    north = (centre[0] + 30 / KM, centre[1])
    east = (centre[0], centre[1] + 40 / KM / np.cos(np.radians(centre[0])))
    for place, expected in ((north, (127 - 63, 127)), (east, (127, 127 + 84))):
        dem = globe(tmp_path / "dem.tif", peaks(-180, place, km=12), west=-180)
        found = GlobalRaster.open(dem).sample(*window_grid(*centre, size=255, km=0.476))
        smooth = cv2.GaussianBlur(found, (0, 0), 8)
        assert np.unravel_index(np.argmax(smooth), smooth.shape) == pytest.approx(expected, abs=5)


def test_distances_from_the_centre_are_true() -> None:
    lats, lons = window_grid(-62.0, 75.0, size=257, km=0.5)
    offset = (np.arange(257) - 128) * 0.5
    expected = np.hypot(*np.meshgrid(offset, offset))
    np.testing.assert_allclose(distance_km(-62.0, 75.0, lats, lons), expected, atol=1e-6)


@pytest.mark.parametrize("sun", [(90.0, 20.0), (270.0, 12.0), (115.0, 33.0)])
def test_a_slope_is_as_bright_as_mcewen_s_formula_says(tmp_path: Path, sun) -> None:
    _, lons = places(-180)
    slope = 0.1  # it rises to the east, at the equator
    dem = globe(tmp_path / "dem.tif", (1000 * KM * slope * lons).astype(np.float32), west=-180)
    albedo = globe(tmp_path / "albedo.tif", np.full(lons.shape, 102, np.uint8), west=None)
    image = builder.render(
        GlobalRaster.open(dem),
        GlobalRaster.open(albedo, unit=True),
        Place("mare", "", 0.0, 20.0, 0),
        sun,
        size=64,
    )
    a, e = np.radians(sun)
    mu = 1 / np.sqrt(1 + slope**2)
    mu0 = mu * (np.sin(e) - np.cos(e) * np.sin(a) * slope)  # n = (−slope, 0, 1)
    law = [1.4 * x / (x + y) + 0.3 * x if x > 0 else 0 for x, y in ((mu0, mu), (np.sin(e), 1))]
    assert image.shape == (64, 64)
    np.testing.assert_allclose(image, 255 * 0.8 * 0.4 * law[0] / law[1], atol=2)


MOON = [
    *(Feature(f"Crater {n}", "AA", 20.0 - n, -170 + 10.5 * n, 30.0 + n) for n in range(33)),
    Feature("Tiny", "SF", 1.0, -45.0, 10.0),
    Feature("Mare Magnum", "ME", 30.0, 45.0, 900.0),
    *(Feature(f"Mons {n}", "MO", 40.0, -165.0 + 30 * n, 40.0) for n in range(12)),
    *(Feature(f"Rima {n}", "RI", -40.0, -165.0 + 30 * n, 60.0) for n in range(12)),
    Feature("Rima Parva", "RI", -10.0, 15.0, 14.0),
    Feature("Mons Parvus", "MO", 10.0, 165.0, 7.0),
]


@pytest.mark.parametrize("width", [122.0, 244.0])
def test_windows_of_different_folds_share_no_ground(width: float) -> None:
    chosen = choose_places(MOON, per_class=80, width_km=width, seed=1)
    size = 15
    for place in chosen:
        _, lons = window_grid(place.lat, place.lon, size=size, km=width / (size - 1))
        assert abs(place.lat) <= 65
        assert {fold_of(0.0, float(lon)) for lon in lons.ravel()} == {place.fold}
    assert {place.fold for place in chosen} == {0, 1, 2, 3}


def test_the_fold_is_the_sector_of_30_degrees_modulo_4_with_a_guard_band() -> None:
    assert [fold_of(0, lon) for lon in (-165, -135, -105, -75, -45, 165)] == [0, 1, 2, 3, 0, 3]
    assert fold_of(0, 27.9, 122) is not None
    assert fold_of(0, 28.0, 122) is None
    assert fold_of(65.1, 15) is None


def test_classes_follow_from_the_gazetteer_alone() -> None:
    chosen = choose_places(MOON, per_class=80, width_km=122, seed=1)
    of = {label: [place for place in chosen if place.label == label] for label in builder_labels()}
    assert all(of.values())
    by_name = {feature.name: feature for feature in MOON}
    mare = by_name["Mare Magnum"]
    for place in of["crater"]:
        named = by_name[place.feature]
        assert 25 <= named.diameter <= 90
        assert (place.lat, place.lon) == pytest.approx((named.lat, named.lon))
    for place in of["mare"]:
        assert distance_km(mare.lat, mare.lon, place.lat, place.lon) < 0.6 * 450
    for place in of["highland"]:
        assert distance_km(mare.lat, mare.lon, place.lat, place.lon) > 1.3 * 450
    for place in [*of["mare"], *of["highland"]]:
        for other in MOON:
            away = distance_km(other.lat, other.lon, place.lat, place.lon)
            if other.code in ("MO", "RI"):
                assert away > 35 + other.diameter / 4
            if other.code == "AA":
                assert away > 15 + other.diameter / 2
    for place in [*of["mons"], *of["rima"]]:
        named = by_name[place.feature]
        assert 1.99 < distance_km(named.lat, named.lon, place.lat, place.lon) < 8.01
        assert named.name not in ("Rima Parva", "Mons Parvus")
    assert len({(place.lat, place.lon) for place in of["mons"]}) == len(of["mons"])


def builder_labels() -> list[str]:
    return ["crater", "highland", "mare", "mons", "rima"]


def sources(folder: Path) -> list[str]:
    lats, _ = places(-180)
    dem = globe(folder / "dem.tif", peaks(-180, (40.0, -165.0)), west=-180)
    albedo = globe(folder / "albedo.tif", np.full(lats.shape, 128, np.uint8), west=None)
    rows = [f"{f.name},Moon,{f.diameter},{f.lat},{f.lon % 360},{f.code}" for f in MOON]
    head = "Feature Name,Target,Diameter,Center Latitude,Center Longitude,Feature Type Code"
    (folder / "names.csv").write_text("\n".join([head, *rows, "Olympus Mons,Mars,600,1,1,MO"]))
    files = {"--dem": dem, "--albedo": albedo, "--gazetteer": folder / "names.csv"}
    return [word for flag, path in files.items() for word in (flag, str(path))]


def test_the_command_writes_a_manifest_that_the_trainer_takes(tmp_path: Path, capsys) -> None:
    flags = [*sources(tmp_path), "--size", "64", "--per_class", "6"]
    for out in ("one", "two"):
        builder.main([*flags, "--out", str(tmp_path / out)])
    assert "6 crater, 6 highland, 6 mare, 6 mons, 6 rima" in capsys.readouterr().out
    text = (tmp_path / "one" / "windows.csv").read_text()
    assert text == (tmp_path / "two" / "windows.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == [
        *("path", "label", "feature", "lat_deg", "lon_deg", "fold"),
        *("sun_azimuth_deg", "sun_elevation_deg"),
    ]
    for row in rows:
        assert min(abs(float(row["sun_azimuth_deg"]) - side) for side in (90, 270)) <= 25
        assert 10 <= float(row["sun_elevation_deg"]) <= 35
        same = [(tmp_path / out / row["path"]).read_bytes() for out in ("one", "two")]
        assert same[0] == same[1]
    index = load_index(tmp_path / "one" / "windows.csv")
    assert index.classes == tuple(builder_labels())
    assert len(index.paths) == 30
    assert not index.skipped
    assert "Olympus Mons" not in text


def test_type_names_in_words_will_do(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text(
        'name,type,center_lat,center_lon,diameter\nTycho,"Crater, craters",-43.3,348.8,85.3\n'
    )
    assert read_gazetteer(tmp_path / "names.csv") == [
        Feature("Tycho", "AA", -43.3, pytest.approx(-11.2), 85.3)
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,code,center_lat,center_lon\n", "no column of the diameter"),
        ("name,code,center_lat,center_lon,diameter\nA,AA,x,1,2\n", ":2: latitude"),
        (
            "name,code,center_lat,center_lon,diameter\nA,AA,89,1,2\n",
            "no window of crater, mare, mons, rima",
        ),
    ],
)
def test_a_gazetteer_with_errors_is_refused(tmp_path: Path, text: str, words: str) -> None:
    flags = sources(tmp_path)
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(SystemExit, match=words):
        builder.main([*flags, "--out", str(tmp_path / "out")])


def test_a_raster_that_is_none_or_too_small_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(DataError, match="is no raster that can be read"):
        GlobalRaster.open(tmp_path / "text.tif")
    part = peaks(-180, (0.0, 0.0))[200:400, 300:600]
    with rasterio.open(
        tmp_path / "part.tif",
        *("w", "GTiff", 300, 200, 1),
        dtype="float32",
        transform=Affine(0.25, 0, -105, 0, -0.25, 40),
    ) as file:
        file.write(part, 1)
    with rasterio.open(tmp_path / "part.tif", "r+") as file:
        straight, file.transform = file.transform, file.transform @ Affine.rotation(10)
    with pytest.raises(DataError, match=r"part\.tif is rotated"):
        GlobalRaster.open(tmp_path / "part.tif")
    with rasterio.open(tmp_path / "part.tif", "r+") as file:
        file.transform = straight
    raster = GlobalRaster.open(tmp_path / "part.tif")
    with pytest.raises(DataError, match="does not cover the longitudes"):
        raster.sample(*window_grid(0.0, 100.0, size=64, km=0.5))
    with pytest.raises(DataError, match="does not cover the latitudes"):
        raster.sample(*window_grid(-60.0, -60.0, size=64, km=0.5))
