"""Geometry of links and areas: well-known text, lengths on the ellipsoid, places along a line, local metres."""

import re
import warnings
from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from twin.projection import FLATTENING, SEMI_MAJOR_M

Float = npt.NDArray[np.float64]

# Metres per degree of the equator (WGS84): the scale of local metres, the same in every part of citytwin.
METRES_PER_DEGREE = 111_319.49
_E2 = FLATTENING * (2 - FLATTENING)
_LINES_AT_ONCE = 8192  # of a city's shapes: their words take ten times the room of the numbers
_POINTS = re.compile(r"\(([^()]*)\)")


def _points(text: str) -> Float:
    parts = text.split(",")
    array = np.array([float(number) for part in parts for number in part.split()[:2]], dtype=np.float64)
    if len(array) != 2 * len(parts) or not np.isfinite(array).all():
        raise ValueError("every point needs two finite coordinates")
    return array.reshape(-1, 2)


def parse_line(text: str) -> Float:
    """Return the points of a ``LINESTRING``; Z and M are left out.

    Returns
    -------
    (k, 2) in the coordinates of the text, k >= 2

    Raises
    ------
    ValueError
        When the text is no line of two points or more.

    Examples
    --------
    >>> parse_line("LINESTRING(0 1, 2 3)").tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    kind, _, rest = text.strip().partition("(")
    if kind.split()[:1] and kind.split()[0].upper() == "LINESTRING" and rest.endswith(")"):
        points = _points(rest[:-1])
        if len(points) >= 2:
            return points
    raise ValueError("must be LINESTRING (x y, x y, ...) of two points or more")


def parse_lines(texts: Sequence[str]) -> tuple[Float, list[int]] | None:
    """Return the points of many ``LINESTRING`` at once, None unless all of them are written in the plainest way.

    Plain are two numbers a point, one space between them, a comma and a space between points: what `format_line` and
    most programs write. Others are parsed one by one.

    Returns
    -------
    points : (n, 2)
        Of one line after the other.
    counts
        How many points each line has.

    Examples
    --------
    >>> points, counts = parse_lines(["LINESTRING (0 1, 2 3)", "LINESTRING (4 5, 6 7, 8 9)"])
    >>> points.tolist(), counts
    ([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.0]], [2, 3])
    >>> parse_lines(["LINESTRING Z (0 1 9, 2 3 9)"]) is None
    True
    """
    counts = [text.count(",") + 1 for text in texts]
    parts = [np.zeros((0, 2))]
    for start in range(0, len(texts), _LINES_AT_ONCE):
        some, n = texts[start : start + _LINES_AT_ONCE], counts[start : start + _LINES_AT_ONCE]
        for text, count in zip(some, n, strict=True):
            plain = text.startswith("LINESTRING (") and text.endswith(")") and text.count(" ") == 2 * count
            if not plain or count < 2:
                return None
        joined = ", ".join([text[12:-1] for text in some])
        if "," in "".join(joined.split(" ")[0::2]):  # a comma after the first number of a point
            return None
        numbers = _floats(joined.replace(",", " "))
        if len(numbers) != 2 * sum(n) or not np.isfinite(numbers).all():
            return None
        parts.append(numbers.reshape(-1, 2))
    return np.concatenate(parts), counts


def _floats(text: str) -> Float:
    """Return the numbers of a text, none of them when something else stands in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # what numpy before 2.3 says instead of ValueError
        try:
            return np.fromstring(text, dtype=np.float64, sep=" ")
        except (ValueError, DeprecationWarning):
            return np.zeros(0)


def split_points(points: Float, counts: Sequence[int]) -> list[Float]:
    """Return points as lines of so many each; numpy's split takes ten times as long for a city.

    Examples
    --------
    >>> [line.tolist() for line in split_points(np.eye(3), [1, 2])]
    [[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]
    """
    return [points[end - count : end] for end, count in zip(accumulate(counts), counts, strict=True)]


def parse_polygon(text: str) -> tuple[Float, ...]:
    """Return the rings of a ``POLYGON`` or of all parts of a ``MULTIPOLYGON``, each (k, 2), k >= 3.

    Raises
    ------
    ValueError
        When the text is no polygon.
    """
    kind = text.strip().upper()
    rings = [_points(part) for part in _POINTS.findall(text)] if kind.startswith(("POLYGON", "MULTIPOLYGON")) else []
    if not rings or text.count("(") != text.count(")") or any(len(ring) < 3 for ring in rings):
        raise ValueError("must be POLYGON ((x y, x y, x y, ...)) of three points or more")
    return tuple(rings)


def format_line(points: Float, *, digits: int = 7) -> str:
    """Return points as ``LINESTRING``; seven digits of a degree are a centimetre."""
    return "LINESTRING (" + ", ".join(f"{x:.{digits}f} {y:.{digits}f}" for x, y in points.tolist()) + ")"


def format_polygon(rings: tuple[Float, ...], *, digits: int = 7) -> str:
    """Return rings as one ``POLYGON``."""
    parts = ("(" + ", ".join(f"{x:.{digits}f} {y:.{digits}f}" for x, y in ring.tolist()) + ")" for ring in rings)
    return f"POLYGON ({', '.join(parts)})"


def all_at_once(work: Callable[[Float], Float], lines: Sequence[Float]) -> list[Float]:
    """Return what a function of points makes of each line, called once: it costs the same for one point as for many.

    Examples
    --------
    >>> [line.tolist() for line in all_at_once(lambda points: points * 2, [np.ones((2, 2)), np.zeros((1, 2))])]
    [[[2.0, 2.0], [2.0, 2.0]], [[0.0, 0.0]]]
    """
    if not lines:
        return []
    cuts = np.cumsum([len(line) for line in lines])[:-1]
    return np.split(work(np.concatenate(list(lines))), cuts)


def step_lengths(lon_lat: Float) -> Float:
    """Return the length of each step of a line, by the radii of curvature at the step's middle latitude.

    Parameters
    ----------
    lon_lat : (k, 2) degrees

    Returns
    -------
    (k - 1,) m, right to 1e-6 for steps of a few kilometres

    Examples
    --------
    >>> bool(abs(step_lengths(np.array([[0.0, 0.0], [1 / 60, 0.0]]))[0] - 1855.3248) < 0.001)
    True
    """
    middle = np.radians((lon_lat[1:, 1] + lon_lat[:-1, 1]) / 2)
    w2 = 1 - _E2 * np.sin(middle) ** 2
    d_lon = np.radians((np.diff(lon_lat[:, 0]) + 180) % 360 - 180)
    east = d_lon * np.cos(middle) * SEMI_MAJOR_M / np.sqrt(w2)
    north = np.radians(np.diff(lon_lat[:, 1])) * SEMI_MAJOR_M * (1 - _E2) / w2**1.5
    return np.hypot(east, north)


def line_length(lon_lat: Float) -> float:
    """Return the length of a line of degrees, m."""
    return float(step_lengths(lon_lat).sum())


def line_lengths(lines: Sequence[Float]) -> Float:
    """Return the length of each line of degrees, (n,) m; all at once, for cities.

    Examples
    --------
    >>> lines = [np.array([[0.0, 0.0], [1 / 60, 0.0], [2 / 60, 0.0]]), np.array([[9.0, 50.0]]), np.zeros((2, 2))]
    >>> line_lengths(lines).round(1).tolist()
    [3710.6, 0.0, 0.0]
    """
    counts = np.array([len(line) for line in lines], np.int64)
    if not counts.sum():
        return np.zeros(len(lines))
    owner = np.repeat(np.arange(len(lines)), counts)
    steps = step_lengths(np.concatenate(list(lines)))
    steps[owner[1:] != owner[:-1]] = 0.0  # from the end of one line to the start of the next
    return np.asarray(np.bincount(owner[1:], weights=steps, minlength=len(lines)), dtype=np.float64)


def point_along(lon_lat: Float, share: float) -> tuple[float, float]:
    """Return longitude and latitude at a share (0..1) of a line's length."""
    steps = step_lengths(lon_lat)
    reach = np.concatenate([[0.0], np.cumsum(steps)])
    at = min(max(share, 0.0), 1.0) * reach[-1]
    return float(np.interp(at, reach, lon_lat[:, 0])), float(np.interp(at, reach, lon_lat[:, 1]))


def to_local(lon_lat: Float, origin: Float) -> Float:
    """Return metres east and north of an origin, as the cockpit draws them.

    Parameters
    ----------
    lon_lat : (n, 2) degrees
    origin : (2,) degrees

    Returns
    -------
    (n, 2) m
    """
    scale = np.array([np.cos(np.radians(origin[1])), 1.0]) * METRES_PER_DEGREE
    return np.asarray((lon_lat - origin) * scale, dtype=np.float64)
