"""Where the pixels of a window lie: the local azimuthal equidistant projection of a sphere.

Formulas: Snyder 1987, Map Projections (USGS Professional Paper 1395), p. 195.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOON_RADIUS_KM = 1737.4
"""Of the reference sphere (IAU)."""
KM_PER_DEGREE = MOON_RADIUS_KM * np.pi / 180


def window_grid(lat: float, lon: float, *, size: int, km: float) -> tuple[Floats, Floats]:
    """Return latitude and longitude (degrees, size×size) of the pixels of a window.

    Args:
        lat: of the window's centre, degrees.
        lon: degrees east.
        size: pixels of a side; row 0 is in the north, column 0 in the west.
        km: of a pixel.
    """
    offset = (np.arange(size) - (size - 1) / 2) * km
    east, south = np.meshgrid(offset, offset)
    return offset_places(lat, lon, east, -south)


def offset_places(lat: float, lon: float, east: Floats, north: Floats) -> tuple[Floats, Floats]:
    """Return the places that lie so many km to the east and north; longitudes are not wrapped."""
    rho = np.hypot(east, north)
    c = rho / MOON_RADIUS_KM  # angle from the centre
    phi = np.radians(lat)
    share = np.where(rho > 0, north / np.maximum(rho, 1e-12), 0.0)
    sine = np.cos(c) * np.sin(phi) + share * np.sin(c) * np.cos(phi)
    over = rho * np.cos(phi) * np.cos(c) - north * np.sin(phi) * np.sin(c)
    turn = np.arctan2(east * np.sin(c), np.where(rho > 0, over, 1.0))
    return np.degrees(np.arcsin(np.clip(sine, -1, 1))), lon + np.degrees(turn)


def distance_km(lat: Floats | float, lon: Floats | float, lats: Floats, lons: Floats) -> Floats:
    """Return great-circle distances (haversine)."""
    a, b = np.radians(lat), np.radians(lats)
    turn = np.radians(np.asarray(lons) - lon)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(turn / 2) ** 2
    return np.asarray(2 * MOON_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1))))
