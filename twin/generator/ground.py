"""The ground: a smooth one-to-one map from the straight plan to winding streets, and from metres to degrees.

Because the map never folds, streets that do not cross in the plan do not cross on the ground.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]

#: Where the invented city is put: a place on the plain around (120.2 E, 30.3 N); nothing there is meant.
ORIGIN = (120.2, 30.3)
#: Metres per degree of latitude on a sphere of 6,378,137 m: 2 pi R / 360.
METRES_PER_DEGREE = 111_319.49


@dataclass(frozen=True, slots=True)
class Ground:
    """A drawn ground: the amounts by which the plan is bent.

    Parameters
    ----------
    side_m
        Side of the plan.
    river : (n, 3)
        Meander as waves along x: amplitude m, wave number 1/m, phase.
    waves : (n, 5)
        Wide bends of everything: amplitude x and y m, wave numbers x and y 1/m, phase.
    centres : (n, 3) m
        Old centres: x, y, radius; narrow streets wind there.
    turn_rad
        Rotation of the whole.
    """

    side_m: float
    river: Float
    waves: Float
    centres: Float
    turn_rad: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, side_m: float, centres: Float) -> "Ground":
        """Return a ground of seeded bends; amplitudes are bounded so that the map stays one to one."""
        lengths = np.array([9_500.0, 5_600.0]) * rng.uniform(0.85, 1.15, 2)
        reach = min(1.0, side_m / 8_000.0)
        river = np.column_stack((np.array([620.0, 260.0]) * reach, 2 * np.pi / lengths, rng.uniform(0, 2 * np.pi, 2)))
        n = 5
        heading = rng.uniform(0, 2 * np.pi, n)
        number = 2 * np.pi / rng.uniform(2_800.0, 6_000.0, n)
        # Each wave's slope, amplitude times wave number, is at most 0.09: five together stay below one half.
        size = 0.09 * rng.uniform(0.5, 1.0, n) / number
        push = rng.uniform(0, 2 * np.pi, n)
        waves = np.column_stack(
            (
                size * np.cos(push),
                size * np.sin(push),
                number * np.cos(heading),
                number * np.sin(heading),
                rng.uniform(0, 2 * np.pi, n),
            )
        )
        return cls(side_m, river, waves, centres, float(rng.uniform(-0.2, 0.2)))

    def place(self, x: Float, y: Float) -> tuple[Float, Float]:
        """Return metres east and north of the origin for plan coordinates."""
        # A square is pulled towards a disc (elliptical grid map, in part), so that the outskirts are round.
        half = 0.62 * self.side_m
        round_x = x * (0.55 + 0.45 * np.sqrt(np.maximum(1.0 - (y / half) ** 2 / 2, 0.05)))
        round_y = y * (0.55 + 0.45 * np.sqrt(np.maximum(1.0 - (x / half) ** 2 / 2, 0.05)))
        east, north = round_x.copy(), round_y.copy()
        for amplitude, number, phase in self.river:
            fade = np.exp(-((round_y / 2_600.0) ** 2))
            north = north + amplitude * np.sin(number * round_x + phase) * fade
        for dx, dy, kx, ky, phase in self.waves:
            bend = np.sin(kx * round_x + ky * round_y + phase)
            east, north = east + dx * bend, north + dy * bend
        for cx, cy, radius in self.centres:
            fade = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / radius**2)
            east = east + 22.0 * fade * np.sin(2 * np.pi * y / 530.0 + 1.0) * np.cos(2 * np.pi * x / 910.0)
            north = north + 22.0 * fade * np.sin(2 * np.pi * x / 470.0 + 2.0) * np.cos(2 * np.pi * y / 830.0)
        cos, sin = math.cos(self.turn_rad), math.sin(self.turn_rad)
        return east * cos - north * sin, east * sin + north * cos


def to_degrees(east: Float, north: Float) -> tuple[Float, Float]:
    """Return longitude and latitude (degrees) of metres east and north of `ORIGIN`."""
    lon = ORIGIN[0] + east / (METRES_PER_DEGREE * math.cos(math.radians(ORIGIN[1])))
    return lon, ORIGIN[1] + north / METRES_PER_DEGREE


def coordinates(east: Float, north: Float) -> str:
    """Return ``lon lat, lon lat`` of points in metres, to a tenth of a metre."""
    lon, lat = to_degrees(east, north)
    return ", ".join(f"{a:.6f} {b:.6f}" for a, b in zip(lon.tolist(), lat.tolist(), strict=True))


def line_string(east: Float, north: Float) -> str:
    """Return well-known text of a line."""
    return f"LINESTRING ({coordinates(east, north)})"


def polygon(east: Float, north: Float) -> str:
    """Return well-known text of a polygon whose ring is closed here."""
    return f"POLYGON (({coordinates(np.append(east, east[0]), np.append(north, north[0]))}))"


def simplified(points: Float, tolerance_m: float) -> Float:
    """Return the points (n, 2) without those closer than the tolerance to the line that remains.

    Notes
    -----
    Source: Douglas and Peucker (1973), Algorithms for the reduction of the number of points required to represent a
    digitized line or its caricature, doi:10.3138/FM57-6770-U75U-7727.
    """
    keep = np.zeros(len(points), bool)
    keep[[0, -1]] = True
    parts = [(0, len(points) - 1)]
    while parts:
        start, end = parts.pop()
        if end - start < 2:
            continue
        chord = points[end] - points[start]
        rest = points[start + 1 : end] - points[start]
        length = math.hypot(*chord.tolist())
        if length > 0:
            off = np.abs(chord[0] * rest[:, 1] - chord[1] * rest[:, 0]) / length
        else:
            off = np.hypot(rest[:, 0], rest[:, 1])
        worst = int(off.argmax())
        if off[worst] > tolerance_m:
            middle = start + 1 + worst
            keep[middle] = True
            parts += [(start, middle), (middle, end)]
    return points[keep]
