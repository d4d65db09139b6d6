"""Kriging with learned ranges: each link from the sensed links near it that report now.

Each link is told by its nearest few sensed links alone, whose small systems are solved together; a level of its own
that nothing is known of makes this ordinary kriging.

Notes
-----
Source: Cressie (1993), Statistics for Spatial Data, ch. 3 (ordinary kriging, local neighbourhoods, cross-validation),
doi:10.1002/9781119115151.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin.neighbours import Neighbours

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Long = npt.NDArray[np.int64]

NEAREST = 12  # of the sensed links that report, so many tell a link
LEVEL_VARIANCE = 10.0  # of the unknown level, in variances of the field
_ROWS_AT_ONCE = 20_000
# What is tried: shares of the field by road, its ranges in typical distances of a neighbour, noise in its variance.
_SHARES, _ROAD, _AIR = (0.4, 0.7, 0.95), (0.5, 1.0, 2.0, 4.0), (2.0, 12.0)
_NOISES = (0.02, 0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True)
class Ranges:
    """How alike two links are: ``share exp(-road / road_m) + (1 - share) exp(-air / air_m)``, and noise on each.

    Parameters
    ----------
    road_m, air_m : m
    share : 0..1
    noise
        Variance of what a sensed link has for itself, in variances of the field.
    """

    road_m: float
    air_m: float
    share: float
    noise: float

    def correlation(self, road: Float, air: Float) -> Float:
        """Return the correlation of links so far from each other, any shape."""
        alike = self.share * np.exp(-road / self.road_m) + (1 - self.share) * np.exp(-air / self.air_m)
        return np.asarray(alike, np.float64)


class View:
    """The neighbours of every link that report now, nearest first, with the weights that kriging gives them.

    Only links whose neighbours changed since the last `look` are solved again.

    Parameters
    ----------
    neighbours
        Of n links among s sensed ones.
    ranges
        How alike links are.

    Attributes
    ----------
    index : (n, k) positions among the sensed links
    there : (n, k)
        Whether there is one: fewer than `NEAREST` may report.
    road : (n, k) m
    weight : (n, k)
        Nought where there is none.
    beside : (n, b)
    beside_there : (n, b)
    """

    def __init__(self, neighbours: Neighbours, ranges: Ranges) -> None:
        n, k = neighbours.index.shape[0], min(NEAREST, neighbours.index.shape[1])
        self._neighbours, self.ranges = neighbours, ranges
        self._reports: Bool | None = None
        self.index = np.zeros((n, k), np.int64)
        self.there = np.zeros((n, k), np.bool_)
        self.road = np.full((n, k), np.inf)
        self.weight = np.zeros((n, k))
        self.beside = neighbours.beside
        self.beside_there = np.zeros(self.beside.shape, np.bool_)

    def look(self, reports: Bool) -> None:
        """Take which of the sensed links report now, (s,)."""
        near = self._neighbours
        known = reports[near.index] & np.isfinite(near.road)
        if self._reports is None:
            changed = np.arange(len(known))
        else:
            changed = np.flatnonzero((known != self._reports).any(axis=1))
        self._reports = known
        for first in range(0, len(changed), _ROWS_AT_ONCE):
            self._solve(changed[first : first + _ROWS_AT_ONCE], known)
        order, self.beside_there = _first(reports[near.beside] & np.isfinite(near.apart), near.beside.shape[1])
        self.beside = np.take_along_axis(near.beside, order, 1)

    def _solve(self, rows: Long, known: Bool) -> None:
        near = self._neighbours
        order, there = _first(known[rows], self.index.shape[1])
        index = np.take_along_axis(near.index[rows], order, 1)
        road, air = (np.take_along_axis(part[rows], order, 1) for part in (near.road, near.air))
        self.index[rows], self.there[rows], self.road[rows] = index, there, road
        self.weight[rows] = _weights(near, self.ranges, index, there, road, air)


def _first(known: Bool, k: int) -> tuple[Long, Bool]:
    """Return the places of the first k that are known in each row, and whether there are so many."""
    order = np.argsort(~known, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(known, order, 1)


def _weights(near: Neighbours, ranges: Ranges, index: Long, there: Bool, road: Float, air: Float) -> Float:
    """Return the weights (rows, k) of neighbours; those that are not there get none."""
    one, other = index[:, :, None], index[:, None, :]
    matrix = ranges.correlation(near.between_road[one, other], near.between_air[one, other]) + LEVEL_VARIANCE
    matrix = np.where(there[:, :, None] & there[:, None, :], matrix, 0.0)
    k = np.arange(index.shape[1])
    matrix[:, k, k] += np.where(there, ranges.noise, 1.0)
    right = np.where(there, ranges.correlation(road, air) + LEVEL_VARIANCE, 0.0)
    return np.asarray(np.linalg.solve(matrix, right[:, :, None])[:, :, 0], np.float64)


def tune(values: Float, neighbours: Neighbours, *, n_times: int = 40) -> Ranges:
    """Return the ranges that tell each sensed link best from the others, of a grid, by mean absolute error.

    Parameters
    ----------
    values : (n_times, s)
        NaN where nothing is known; at most ``n_times`` of them, evenly spread, are looked at.
    neighbours
        Of the sensed links among themselves (`Neighbours.among`).
    """
    chosen = np.unique(np.linspace(0, len(values) - 1, n_times).astype(int))
    finite = neighbours.road[:, : NEAREST // 2]
    typical = float(np.median(finite[np.isfinite(finite)]))
    cases: list[tuple[Long, Long, Bool, Float, Float, list[Float]]] = []
    for row in values[chosen]:
        reports = np.isfinite(row)
        own = np.flatnonzero(reports)
        order, there = _first((reports[neighbours.index] & np.isfinite(neighbours.road))[own], NEAREST)
        index = np.take_along_axis(neighbours.index[own], order, 1)
        road, air = (np.take_along_axis(part[own], order, 1) for part in (neighbours.road, neighbours.air))
        if len(cases) and np.array_equal(cases[-1][0], own):
            cases[-1][-1].append(row)  # the same neighbours: the same weights
        else:
            cases.append((own, index, there, road, air, [row]))
    best, found = np.inf, Ranges(typical, 12 * typical, 0.7, 0.1)
    for share, by_road, by_air, noise in itertools.product(_SHARES, _ROAD, _AIR, _NOISES):
        ranges = Ranges(by_road * typical, by_air * typical, share, noise)
        error = count = 0.0
        for own, index, there, road, air, rows in cases:
            weight = _weights(neighbours, ranges, index, there, road, air)
            some = there.any(axis=1)
            for row in rows:
                told = (weight * np.nan_to_num(row)[index]).sum(axis=1)
                error += float(np.abs(told - row[own])[some].sum())
                count += float(some.sum())
        if count and error / count < best:
            best, found = error / count, ranges
    return found
