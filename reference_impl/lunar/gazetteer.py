"""The IAU gazetteer of the Moon, and the windows that its names give: labels without pixels."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reference_impl.lunar.index import DataError
from reference_impl.lunar.projection import (
    distance_km,
    offset_places,
)

Random = np.random.Generator

MARIA = frozenset({"ME", "SI", "LC", "PA", "OC"})
CRATERS = frozenset({"AA", "SF"})
_ODD = frozenset({"RI", "DO", "MO", "VA", "CA", "RU"})
"""Other relief, which a plain window of mare or highland must not show."""
MAX_LATITUDE, SECTOR, FOLDS, GUARD = 65.0, 30.0, 4, 2.05
"""All but FOLDS in degrees; the guard band is at the equator's scale."""
_COLUMNS = {
    "name": ("name", "clean_name", "feature_name", "clean_feature_name"),
    "code": ("code", "feature_type_code", "type_code", "feature_code", "type", "feature_type"),
    "lat": ("center_lat", "center_latitude", "lat", "latitude", "lat_deg"),
    "lon": ("center_lon", "center_longitude", "lon", "longitude", "lon_deg"),
    "diameter": ("diameter", "diameter_km", "diam_km"),
}
"""What the exports of planetarynames.wr.usgs.gov call a column, in lower case with underscores."""
_WORDS = {
    "crater": "AA",
    "satellite feature": "SF",
    "mare": "ME",
    "sinus": "SI",
    "lacus": "LC",
    "palus": "PA",
    "oceanus": "OC",
    "mons": "MO",
    "rima": "RI",
    "dorsum": "DO",
    "vallis": "VA",
    "catena": "CA",
    "rupes": "RU",
}


@dataclass(frozen=True, slots=True)
class Feature:
    """A named place."""

    name: str
    code: str
    """Two letters of the IAU: AA crater, SF satellite crater, ME mare, MO mountain, RI rille …"""
    lat: float
    lon: float
    """Degrees east, −180 to 180."""
    diameter: float
    """In km; of a line its length."""


@dataclass(frozen=True, slots=True)
class Place:
    """The centre of a window, and what it shows."""

    label: str
    feature: str
    lat: float
    lon: float
    fold: int


def read_gazetteer(path: str | Path) -> list[Feature]:
    """Read the Moon's features from a CSV export.

    Raises:
        DataError: it cannot be read, or a column or a number is missing.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    rows = csv.DictReader(text.splitlines())
    known = {re.sub(r"\W+", "_", name.strip().lower()): name for name in rows.fieldnames or ()}
    columns = {}
    for what, names in _COLUMNS.items():
        found = next((known[name] for name in names if name in known), None)
        if found is None:
            raise DataError(f"{path} has no column of the {what}; it may be called {names[0]!r}")
        columns[what] = found
    target = known.get("target")
    return [
        _feature(row, columns, f"{path}:{rows.line_num}")
        for row in rows
        if target is None or "moon" in (row[target] or "moon").lower()
    ]


def _feature(row: Mapping[str, str], columns: Mapping[str, str], where: str) -> Feature:
    try:
        lat, lon, size = (float(row[columns[name]] or "x") for name in ("lat", "lon", "diameter"))
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: latitude, longitude and diameter must be numbers") from error
    words = (row[columns["code"]] or "").strip()
    code = _WORDS.get(words.partition(",")[0].lower(), words.upper())
    return Feature(row[columns["name"]].strip(), code, lat, (lon + 180) % 360 - 180, size)


def choose_places(
    features: Sequence[Feature], *, per_class: int, width_km: float, seed: int
) -> list[Place]:
    """Choose the windows of all classes; the same seed chooses the same.

    Args:
        features: of the gazetteer.
        per_class: at most so many windows of each class.
        width_km: of a window's side: it must lie within the sector of its fold as a whole.
        seed: of all choices.
    """
    chosen = []
    for number, (label, propose) in enumerate(_CLASSES.items()):
        random = np.random.default_rng((seed, number))
        places: list[Place] = []
        for feature, lat, lon in propose(features, random):
            fold = fold_of(lat, lon, width_km)
            if fold is None or (feature and fold_of(feature.lat, feature.lon) != fold):
                continue
            name = feature.name if feature else ""
            places.append(Place(label, name, lat, (lon + 180) % 360 - 180, fold))
            if len(places) >= per_class:
                break
        chosen += places
    return chosen


def fold_of(lat: float, lon: float, width_km: float = 0.0) -> int | None:
    """Return the fold of a window; None where it comes too near to another's, or to a pole."""
    inside = (lon + 180) % SECTOR
    margin = min(inside, SECTOR - inside)
    if abs(lat) > MAX_LATITUDE:
        return None
    if width_km:
        half = np.array([width_km / 2])
        corners = [offset_places(lat, 0.0, half, sign * half)[1][0] for sign in (-1, 1)]
        if margin < max(GUARD / np.cos(np.radians(lat)), *corners):
            return None
    return int((lon + 180) % 360 // SECTOR) % FOLDS


Proposal = tuple[Feature | None, float, float]


def _craters(features: Sequence[Feature], random: Random) -> Iterator[Proposal]:
    for feature in _shuffled(features, random, CRATERS, 25, 90):
        yield feature, feature.lat, feature.lon


def _maria(features: Sequence[Feature], random: Random) -> Iterator[Proposal]:
    maria = _shuffled(features, random, MARIA)
    areas = np.array([mare.diameter**2 for mare in maria])
    good = _clear(features, 25)
    for _ in range(20_000 if maria else 0):
        mare = maria[int(random.choice(len(maria), p=areas / areas.sum()))]
        away = 0.3 * mare.diameter * np.sqrt(random.random())  # r < 0.6 R
        lat, lon = _moved(mare, away, random)
        if good(lat, lon):
            yield _as_place(mare, lat, lon), lat, lon


def _highlands(features: Sequence[Feature], random: Random) -> Iterator[Proposal]:
    maria = _Places([each for each in features if each.code in MARIA])
    good = _clear(features, 12)
    for _ in range(20_000):
        lat = float(np.degrees(np.arcsin(random.uniform(-1, 1))))
        lon = float(random.uniform(-180, 180))
        if maria.clear(lat, lon, 1.3 / 2, 0) and good(lat, lon):
            yield None, lat, lon


def _rare(code: str, least: float) -> Callable[[Sequence[Feature], Random], Iterator[Proposal]]:
    """Return what proposes six jittered windows of each feature, one round after the other."""

    def propose(features: Sequence[Feature], random: Random) -> Iterator[Proposal]:
        chosen = _shuffled(features, random, frozenset({code}), least)
        for _ in range(6):
            for feature in chosen:
                yield feature, *_moved(feature, random.uniform(2, 8), random)

    return propose


_CLASSES: Mapping[str, Callable[[Sequence[Feature], Random], Iterator[Proposal]]] = {
    "crater": _craters,
    "highland": _highlands,
    "mare": _maria,
    "mons": _rare("MO", 8),
    "rima": _rare("RI", 15),
}
LABELS = tuple(_CLASSES)


def _shuffled(
    features: Sequence[Feature],
    random: Random,
    codes: frozenset[str],
    least: float = 0,
    most: float = np.inf,
) -> list[Feature]:
    fitting = [f for f in features if f.code in codes and least <= f.diameter <= most]
    return [fitting[int(number)] for number in random.permutation(len(fitting))]


def _moved(feature: Feature, km: float, random: Random) -> tuple[float, float]:
    angle = random.uniform(0, 2 * np.pi)
    east, north = (np.array([km * f(angle)]) for f in (np.sin, np.cos))
    lat, lon = offset_places(feature.lat, feature.lon, east, north)
    return float(lat[0]), float(lon[0])


def _as_place(mare: Feature, lat: float, lon: float) -> Feature:
    # A mare reaches over several sectors: each window of it belongs where it lies.
    return Feature(mare.name, mare.code, lat, lon, mare.diameter)


def _clear(features: Sequence[Feature], least: float) -> Callable[[float, float], bool]:
    """Return what tells whether a place is free of named craters and of other relief."""
    craters = _Places([f for f in features if f.code in CRATERS and f.diameter >= least])
    odd = _Places([f for f in features if f.code in _ODD])
    return lambda lat, lon: craters.clear(lat, lon, 0.5, 15) and odd.clear(lat, lon, 0.25, 35)


class _Places:
    """Features as arrays, to be asked often."""

    def __init__(self, features: Sequence[Feature]) -> None:
        table: NDArray[np.float64] = np.array([(f.lat, f.lon, f.diameter) for f in features])
        self._lat, self._lon, self._diameter = table.reshape(-1, 3).T

    def clear(self, lat: float, lon: float, share: float, km: float) -> bool:
        """Tell whether all are farther away than a share of their diameter and so many km."""
        away = distance_km(lat, lon, self._lat, self._lon)
        return bool((away > share * self._diameter + km).all())
