"""Polygons: rings sorted into outer ones and the holes in them, their sense and area."""

from collections.abc import Sequence

import numpy as np

from twin.geometry import Float


def signed_area(ring: Float) -> float:
    """Return the area of a ring in the square of its unit, positive when it runs anticlockwise.

    Parameters
    ----------
    ring : (k, 2), closed or not

    Notes
    -----
    Source: Meister (1769/70), the shoelace formula.

    Examples
    --------
    >>> signed_area(np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]]))
    2.0
    """
    x, y = (ring - ring[0]).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def closed(ring: Float) -> Float:
    """Return a ring whose last point is its first."""
    return ring if (ring[0] == ring[-1]).all() else np.concatenate([ring, ring[:1]])


def opened(ring: Float) -> Float:
    """Return a ring whose last point is not its first."""
    return ring[:-1] if len(ring) > 1 and (ring[0] == ring[-1]).all() else ring


def polygons(rings: Sequence[Float]) -> list[list[Float]]:
    """Return the rings by polygon: an outer one, which runs anticlockwise, and the holes in it, which run clockwise.

    A ring lies in the outer one that holds its first point; one that lies in none begins a polygon of its own.

    Examples
    --------
    >>> square = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.0]])
    >>> [[signed_area(ring) for ring in part] for part in polygons([square, square / 3 + 1, square + 20])]
    [[81.0, -9.0], [81.0]]
    """
    parts: list[list[Float]] = []
    for ring in rings:
        home = next((part for part in parts if _holds(part[0], ring[0])), None)
        outer = home is None
        turned = ring if (signed_area(ring) > 0) == outer else ring[::-1]
        if home is None:
            parts.append([turned])
        else:
            home.append(turned)
    return parts


def _holds(ring: Float, point: Float) -> bool:
    """Return whether a point lies in a ring: a ray from it to the east crosses the ring an odd number of times."""
    x, y = point
    (ax, ay), (bx, by) = ring.T, np.roll(ring, -1, axis=0).T
    spans = (ay > y) != (by > y)
    at = ax[spans] + (y - ay[spans]) / (by[spans] - ay[spans]) * (bx[spans] - ax[spans])
    return bool((at > x).sum() % 2)
