"""Which sensed links are near a link, by road and by air, and how far these are from each other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from twin.compiled import CompiledNetwork

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]

# A link hears of at most so many sensed links, those nearest by road, of which any may be silent; and of so many that
# are nearest by air: the other direction of its own road is near by air and far by road.
BY_ROAD, BY_AIR = 20, 6
# No road leads there: so far, and the way by air on top.
NO_ROAD_M = 50_000.0
_SOURCES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The sensed links near each of n links, as positions among the s sensed links.

    Parameters
    ----------
    index : (n, k)
        Nearest by road first.
    road, air : (n, k) m
        How far each of them is; an infinite road is no neighbour: the link itself.
    beside : (n, b)
        Nearest by air first.
    apart : (n, b) m
        How far by air; infinite for the link itself.
    between_road, between_air : (s, s) m
        How far the sensed links are from each other.
    """

    index: Long
    road: Float
    air: Float
    beside: Long
    apart: Float
    between_road: Float
    between_air: Float

    @classmethod
    def of_distances(cls, road: Float, air: Float, between_road: Float, between_air: Float) -> "Neighbours":
        """Return the neighbours of links whose distances to all sensed links are given.

        Parameters
        ----------
        road, air : (n, s) m
            Infinite at the link itself, if it is sensed; see `among`.
        between_road, between_air : (s, s) m
        """
        index = np.argsort(road, axis=1, kind="stable")[:, :BY_ROAD]
        beside = np.argsort(air, axis=1, kind="stable")[:, :BY_AIR]
        return cls(
            index=index,
            road=np.take_along_axis(road, index, 1),
            air=np.take_along_axis(air, index, 1),
            beside=beside,
            apart=np.take_along_axis(air, beside, 1),
            between_road=between_road,
            between_air=between_air,
        )

    @classmethod
    def among(cls, between_road: Float, between_air: Float) -> "Neighbours":
        """Return the neighbours of each sensed link among the others, as if it were not sensed.

        Examples
        --------
        >>> apart = np.abs(np.subtract.outer([0.0, 100.0, 250.0], [0.0, 100.0, 250.0]))
        >>> Neighbours.among(apart, apart).index[:, :2].tolist()
        [[1, 2], [0, 2], [1, 0]]
        """
        own = np.eye(len(between_road), dtype=bool)
        road, air = (np.where(own, np.inf, far) for far in (between_road, between_air))
        return cls.of_distances(road, air, between_road, between_air)


def neighbours(compiled: CompiledNetwork, sensed: Long) -> tuple[Neighbours, Neighbours]:
    """Return the neighbours of every link of a network, and those of the sensed links among themselves.

    By road means along movements in either direction, from the middle of a link to the middle of another; by air
    between these middles.

    Parameters
    ----------
    compiled
        The network.
    sensed : (s,)
        Positions of the sensed links, each once.
    """
    n, s = compiled.n_links, len(sensed)
    link = np.repeat(np.arange(n), np.diff(compiled.movement_start))
    out = compiled.movement_out.astype(np.int64)
    spacing = np.maximum((compiled.length[link] + compiled.length[out]) / 2, 0.1)
    differ = link != out
    graph = sp.csr_array(sp.coo_array((spacing[differ], (link[differ], out[differ])), shape=(n, n)))
    middle = (compiled.node_xy[compiled.from_node] + compiled.node_xy[compiled.to_node]) / 2
    place = middle[sensed]
    k = min(BY_ROAD + 1, s)  # one more: a sensed link is its own nearest
    index, road = np.zeros((n, 0), np.int64), np.zeros((n, 0))
    between = np.empty((s, s))
    for first in range(0, s, _SOURCES_AT_ONCE):  # so that n x s distances are never held at once
        some = np.arange(first, min(first + _SOURCES_AT_ONCE, s))
        far = np.asarray(dijkstra(graph, directed=False, indices=sensed[some]), np.float64).T
        lost = ~np.isfinite(far)
        if lost.any():
            row, column = np.nonzero(lost)
            far[row, column] = NO_ROAD_M + np.hypot(*(middle[row] - place[some][column]).T)
        between[:, some] = far[sensed]
        road = np.concatenate((road, far), axis=1)
        index = np.concatenate((index, np.broadcast_to(some, far.shape)), axis=1)
        best = np.argsort(road, axis=1, kind="stable")[:, :k]
        road, index = np.take_along_axis(road, best, 1), np.take_along_axis(index, best, 1)
    between = (between + between.T) / 2  # equal but for rounding
    between_air = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
    own = np.full(n, -1)
    own[sensed] = np.arange(s)
    road = np.where(index == own[:, None], np.inf, road)
    apart, beside = cKDTree(place).query(middle, k=[*range(1, min(BY_AIR + 1, s) + 1)])
    apart = np.where(beside == own[:, None], np.inf, apart)
    air = np.hypot(*(middle[:, None] - place[index]).transpose(2, 0, 1))
    every = Neighbours(
        index, road, air, np.asarray(beside, np.int64), np.asarray(apart, np.float64), between, between_air
    )
    return every, Neighbours.among(between, between_air)
