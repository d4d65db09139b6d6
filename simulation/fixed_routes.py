"""Routes that are given, not chosen: the links of many trips in two arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin.compiled import CompiledNetwork, Int

Long = npt.NDArray[np.int64]

LAST, FORBIDDEN = -1, -2  # instead of a movement: the route ends here; there is no such movement


@dataclass(frozen=True, eq=False)
class FixedRoutes(Mapping[int, tuple[int, ...]]):
    """The links of the route of each trip; a mapping from the trips that have one to their links.

    Parameters
    ----------
    start : (n_trips + 1,)
        The route of trip k is ``link[start[k]:start[k + 1]]``, empty for one that chooses.
    link
        Positions of links.

    Examples
    --------
    >>> routes = FixedRoutes.of(3, {2: (4, 5)})
    >>> dict(routes), routes.given.tolist()
    ({2: (4, 5)}, [False, False, True])
    """

    start: Long
    link: Int

    @classmethod
    def of(cls, n_trips: int, routes: Mapping[int, Sequence[int]]) -> "FixedRoutes":
        """Return the routes of a mapping."""
        length = np.zeros(n_trips, np.int64)
        for row, links in routes.items():
            length[row] = len(links)
        start = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        link = np.empty(int(start[-1]), np.int32)
        for row, links in routes.items():
            link[start[row] : start[row + 1]] = links
        return cls(start, link)

    @property
    def given(self) -> npt.NDArray[np.bool_]:
        """Which trips have a route, (n_trips,)."""
        given: npt.NDArray[np.bool_] = self.start[1:] > self.start[:-1]
        return given

    def __getitem__(self, row: int) -> tuple[int, ...]:
        if not 0 <= row < len(self.start) - 1 or self.start[row] == self.start[row + 1]:
            raise KeyError(row)
        return tuple(self.link[self.start[row] : self.start[row + 1]].tolist())

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self.given).tolist())

    def __len__(self) -> int:
        return int(np.count_nonzero(self.given))

    def cells(self, rows: Long) -> tuple[Long, Long]:
        """Return where the links of some trips stand, one trip after the other, and how many each has."""
        length = self.start[rows + 1] - self.start[rows]
        ends = np.cumsum(length)
        return np.arange(int(length.sum())) + np.repeat(self.start[rows] - (ends - length), length), length

    def take(self, rows: Long) -> "FixedRoutes":
        """Return the routes of some trips."""
        if not len(self.link):
            return FixedRoutes(np.zeros(len(rows) + 1, np.int64), self.link)
        cells, length = self.cells(rows)
        return FixedRoutes(np.concatenate([[0], np.cumsum(length)]).astype(np.int64), self.link[cells])

    def replaced(self, rows: Long, routes: "FixedRoutes") -> "FixedRoutes":
        """Return these routes with those of ``rows`` replaced by ``routes``, in the same order."""
        length = np.diff(self.start)
        length[rows] = np.diff(routes.start)
        start = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        link = np.empty(int(start[-1]), np.int32)
        changed = FixedRoutes(start, link)
        kept = np.ones(len(length), np.bool_)
        kept[rows] = False
        others = np.flatnonzero(kept)
        link[changed.cells(others)[0]] = self.link[self.cells(others)[0]]
        link[changed.cells(rows)[0]] = routes.link
        return changed

    def movements(self, city: CompiledNetwork) -> Int:
        """Return the movement at the end of every link of every route, LAST or FORBIDDEN; as long as ``link``."""
        n = len(self.link)
        if not n:
            return np.zeros(0, np.int32)
        from_link = np.repeat(np.arange(city.n_links, dtype=np.int64), np.diff(city.movement_start))
        key = from_link * city.n_links + city.movement_out
        order = np.argsort(key, kind="stable")
        wanted = self.link[:-1].astype(np.int64) * city.n_links + self.link[1:]
        place = np.minimum(np.searchsorted(key, wanted, sorter=order), max(0, len(key) - 1))
        found = np.full(n, LAST, np.int32)
        if len(key):
            found[:-1] = np.where(key[order[place]] == wanted, order[place], FORBIDDEN)
        else:
            found[:-1] = FORBIDDEN
        found[self.start[1:][self.given] - 1] = LAST
        return found
