"""Sample data: small pieces of a made-up Moon, to try everything without real images.

Relief is stamped with craters by published size and depth laws and shaded by a lunar photometric
law under a low sun. The five classes are separable by construction, so scores on them show that
the plumbing works and nothing about the real Moon.

Sources: depths and rims of craters, Pike 1977 (Impact and Explosion Cratering, p. 489); slopes of
size distributions, Neukum et al. 2001 (Space Sci. Rev. 96, 55); photometry, McEwen 1991 (Icarus
92, 298), with L = 0.7.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Random = np.random.Generator

KM_PER_PX = 0.476
"""Ground scale at 256 px, as of the real windows: 122 km across."""
MARE_ALBEDO, HIGHLAND_ALBEDO = 0.38, 0.62
"""Relative brightness, not a physical albedo: lava plains are about half as bright."""
_LUNAR_LAMBERT = 0.7


def create_sample_data(
    directory: str | Path, num_samples: int = 200, *, seed: int = 42, image_size: int = 256
) -> dict[str, int]:
    """Write `<directory>/<class>/*.png`, as many of each class as `num_samples` allows.

    Args:
        directory: made if need be; files of the same names are replaced.
        num_samples: over all five classes.
        seed: the same one gives the same files.
        image_size: pixels of a side; the ground covered stays 122 km.

    Returns:
        How many images each class has.

    Raises:
        ValueError: fewer samples than classes, or images too small to show anything.
    """
    if num_samples < len(TERRAINS) or image_size < 32:
        raise ValueError(f"at least {len(TERRAINS)} samples of at least 32 px are needed")
    counts = dict.fromkeys(TERRAINS, 0)
    for number in range(num_samples):
        name = list(TERRAINS)[number % len(TERRAINS)]
        image = sample_image(name, np.random.default_rng((seed, number)), image_size)
        path = Path(directory) / name / f"{name}_{counts[name]:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        written, data = cv2.imencode(".png", image)
        assert written
        path.write_bytes(data.tobytes())
        counts[name] += 1
    return counts


def contact_sheet(path: str | Path, *, columns: int = 6, size: int = 160, seed: int = 1) -> None:
    """Write a picture with a row of samples of each class, as PNG."""
    rows = [
        np.hstack(
            [
                sample_image(name, np.random.default_rng((seed, row, n)), size)
                for n in range(columns)
            ]
        )
        for row, name in enumerate(TERRAINS)
    ]
    written, data = cv2.imencode(".png", np.vstack(rows))
    assert written
    Path(path).write_bytes(data.tobytes())


def sample_image(name: str, random: Random, size: int = 256) -> NDArray[np.uint8]:
    """Return one image of a class, size×size, 8 bits."""
    scene = Scene(random, size)
    TERRAINS[name](scene)
    azimuth = random.choice([90.0, 270.0]) + random.uniform(-25, 25)
    light = shade(scene.height, scene.km, azimuth, random.uniform(12, 35))
    image = light * scene.albedo
    image = 0.42 * image / max(1e-6, float(np.median(image)))
    image *= MARE_ALBEDO / 0.5 if scene.is_mare else 1.0
    noise = 0.008 * random.standard_normal(image.shape)
    return np.round(np.clip(image + noise, 0, 1) * 255).astype(np.uint8)


def shade(height: Array, km: float, azimuth: float, elevation: float) -> Array:
    """Return how bright a relief is (H×W), seen from above, under one sun.

    McEwen's lunar-Lambert law: A · (2L·μ0 / (μ0 + μ) + (1 − L)·μ0).

    Args:
        height: in km, row 0 in the north.
        km: of a pixel.
        azimuth: of the sun, degrees clockwise from north.
        elevation: of the sun above the horizon, degrees.
    """
    down, right = np.gradient(height, km)
    east, north = -right, down
    steep = 1 / np.sqrt(1 + east**2 + north**2)  # cosine of the emission angle
    a, e = np.radians(azimuth), np.radians(elevation)
    sun = np.cos(e) * (np.sin(a) * east + np.cos(a) * north) + np.sin(e)
    incidence = np.clip(sun * steep, 0, None)
    part = 2 * _LUNAR_LAMBERT * incidence / (incidence + steep + 1e-9)
    return np.asarray(part + (1 - _LUNAR_LAMBERT) * incidence)


class Scene:
    """A piece of ground: height in km and albedo, and the tools that shape them."""

    def __init__(self, random: Random, size: int) -> None:
        self.random, self.size = random, size
        self.km = KM_PER_PX * 256 / size
        """Of a pixel."""
        self.height: Array = np.zeros((size, size))
        self.albedo: Array = np.ones((size, size))
        self.is_mare = False
        places = np.arange(size, dtype=np.float64) * self.km
        rows, columns = np.meshgrid(places, places, indexing="ij")
        self.rows: Array = rows.astype(np.float64)
        """Of every pixel, km from the upper edge; `columns` from the left one."""
        self.columns: Array = columns.astype(np.float64)
        self.width = size * self.km

    def roughen(self, amplitude: float, slope: float = 1.9) -> None:
        """Add fractal relief, `amplitude` km of standard deviation."""
        self.height += amplitude * self._fractal(slope)

    def paint(self, amplitude: float) -> None:
        """Vary the albedo smoothly."""
        self.albedo *= 1 + amplitude * self._fractal(1.6)

    def bombard(self, count: float, least: float, most: float, power: float) -> None:
        """Add craters: a Poisson number with diameters from N(>D) ~ D^-power, in km."""
        number = self.random.poisson(count)
        share = self.random.random(number)
        low, high = least**-power, most**-power
        diameters = (low - share * (low - high)) ** (-1 / power)
        for diameter in np.sort(diameters)[::-1]:  # small ones lie on top of large ones
            row, column = self.random.uniform(0, self.width, 2)
            self.crater(row, column, float(diameter), fresh=self.random.uniform(0.25, 0.8))

    def crater(self, row: float, column: float, diameter: float, *, fresh: float) -> None:
        """Stamp one crater; `fresh` scales its relief, for old ones are worn down."""
        radius, km = diameter / 2, self.km
        depth = 0.196 * diameter**1.01 if diameter < 15 else 1.044 * diameter**0.301
        rim = 0.036 * diameter**1.014 if diameter < 21 else 0.236 * diameter**0.399
        reach = 2.5 * radius
        top, left = (max(0, int((x - reach) / km)) for x in (row, column))
        window = (
            slice(top, max(top, int((row + reach) / km) + 2)),
            slice(left, max(left, int((column + reach) / km) + 2)),
        )
        r = np.hypot(self.rows[window] - row, self.columns[window] - column) / radius
        floor = 2.0 if diameter < 15 else 5.0  # bowls, and the flat floors of complex craters
        inside = (depth + rim) * np.clip(r, 0, 1) ** floor - depth
        outside = rim * np.maximum(r, 1e-3) ** -3.0 * np.clip(2.5 - r, 0, 1)
        profile = np.where(r < 1, inside, outside)
        if diameter > 25:
            profile += 0.25 * depth * np.exp(-((r / 0.13) ** 2))  # central peak
            profile += 0.04 * depth * np.sin(22 * r) * ((r > 0.6) & (r < 1))  # terraces
        self.height[window] += fresh * profile

    def path(self, wander: float, *, turned: float = np.pi / 2) -> tuple[Array, Array]:
        """Return a winding line through the scene: row and column of its points, in km.

        Args:
            wander: how far its bends reach.
            turned: from north and south, at most; radians.
        """
        steps = 120
        angle = np.pi / 2 + self.random.uniform(-turned, turned)
        along = np.linspace(-0.75, 0.75, steps) * self.width
        bends = np.cumsum(self.random.standard_normal(steps))
        smooth = cv2.GaussianBlur(bends[:, None], (1, 0), 0, sigmaY=4)
        bends = np.asarray(smooth[:, 0], np.float64)
        across = wander * (bends - np.linspace(bends[0], bends[-1], steps))
        across += self.random.uniform(-0.12, 0.12) * self.width
        middle = self.width / 2
        rows = middle + along * np.sin(angle) + across * np.cos(angle)
        columns = middle + along * np.cos(angle) - across * np.sin(angle)
        return rows, columns

    def distance(self, line: tuple[Array, Array]) -> Array:
        """Return the distance of every pixel from a line, in km."""
        points = np.stack([line[1], line[0]], axis=1) / self.km
        canvas = np.full((self.size, self.size), 255, np.uint8)
        cv2.polylines(canvas, [np.round(points).astype(np.int32)], False, 0, 1)
        return np.asarray(cv2.distanceTransform(canvas, cv2.DIST_L2, 5), float) * self.km

    def _fractal(self, slope: float) -> Array:
        """Return noise whose amplitude falls with frequency^slope; mean 0, deviation 1."""
        white = np.fft.rfft2(self.random.standard_normal((self.size, self.size)))
        down = np.fft.fftfreq(self.size)[:, None] * self.size
        right = np.fft.rfftfreq(self.size)[None] * self.size
        frequency = np.maximum(np.hypot(down, right), 1.5)
        field = np.fft.irfft2(white * frequency**-slope, (self.size, self.size))
        return np.asarray((field - field.mean()) / (field.std() + 1e-12))


def _mare_floor(scene: Scene) -> None:
    scene.is_mare = True
    scene.roughen(0.035, 2.2)
    scene.paint(0.06)
    scene.bombard(28, 1.2, 9, 2.6)


def _crater(scene: Scene) -> None:
    scene.roughen(0.16)
    scene.paint(0.05)
    scene.bombard(120, 1.4, 14, 1.9)
    row, column = scene.width / 2 + scene.random.uniform(-3, 3, 2)
    scene.crater(row, column, scene.random.uniform(32, 80), fresh=scene.random.uniform(0.7, 1))
    scene.bombard(30, 1.2, 6, 2.2)


def _mare(scene: Scene) -> None:
    _mare_floor(scene)
    if scene.random.random() < 0.5:  # a wrinkle ridge: low, broad and asymmetric
        distance = scene.distance(scene.path(2.5))
        scene.height += 0.10 * np.exp(-((distance / 2.5) ** 2))


def _highland(scene: Scene) -> None:
    scene.roughen(0.42, 1.7)
    scene.paint(0.06)
    scene.bombard(420, 1.4, 22, 1.7)


def _mons(scene: Scene) -> None:
    _mare_floor(scene)
    random, middle = scene.random, scene.width / 2
    angle, length, breadth = random.uniform(0, np.pi), random.uniform(16, 34), random.uniform(7, 13)
    row, column = scene.rows - middle, scene.columns - middle
    along = row * np.sin(angle) + column * np.cos(angle)
    across = row * np.cos(angle) - column * np.sin(angle)
    block = np.exp(-(((along / length) ** 2 + (across / breadth) ** 2) ** 1.5))
    crags = 1 + 0.45 * scene._fractal(1.5)
    scene.height += random.uniform(2.2, 4.2) * block * np.clip(crags, 0.1, None)
    scene.albedo *= 1 + 0.7 * block


def _rima(scene: Scene) -> None:
    _mare_floor(scene)
    width, depth = scene.random.uniform(1.6, 3.0), scene.random.uniform(0.28, 0.5)
    # The sun stands in the east or west: along its light a rille shows nothing but level ground.
    path = scene.path(scene.random.uniform(2.0, 5.0), turned=np.radians(30))
    distance = scene.distance(path)
    scene.height -= depth * np.exp(-((distance / width) ** 4))  # steep walls, flat floor


TERRAINS: dict[str, Callable[[Scene], None]] = {
    "crater": _crater,
    "highland": _highland,
    "mare": _mare,
    "mons": _mons,
    "rima": _rima,
}
"""Class to what shapes its ground."""
