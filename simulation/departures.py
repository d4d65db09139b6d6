"""Flows become vehicles: when each leaves, and from which node of its zone to which."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sensors import InputError
from simulation.fixed_routes import FixedRoutes

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int32]
Long = npt.NDArray[np.int64]

GOLDEN = 0.618034  # spreads the first departures of the rows, so that they do not all leave at the full second
MOST_VEHICLES = 1e8  # of one run; more is a slip of the pen, and more than a machine has room for
START = -(1 << 40)  # instead of a row of the demand: under way at the start
PLASTIC = (0.7548776662466927, 0.5698402909980532)  # Roberts (2018): the two-dimensional golden ratio


@dataclass(frozen=True, slots=True)
class Flow:
    """One row of ``demand.csv``: ``volume`` vehicles from zone to zone, spread evenly over a period (s)."""

    origin: str
    destination: str
    volume: float
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Surge:
    """A factor on the flows of some zones during some time; empty tuples mean all zones."""

    factor: float
    origins: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    from_s: float = 0.0
    until_s: float = math.inf

    def covers(self, flow: Flow) -> bool:
        """Return whether the surge works on a flow."""
        return (not self.origins or flow.origin in self.origins) and (
            not self.destinations or flow.destination in self.destinations
        )


@dataclass(frozen=True)
class Trips:
    """Vehicles in order of departure.

    Parameters
    ----------
    key : (n, 2)
        Row of the demand and number within it; the id of a trip is made of them, unless ``names`` has one by row. Row
        `START` are vehicles that are under way at the start; they come first; row -1 - k is the emergency vehicle k of
        the scenario.
    depart : (n,) s
    origin, destination : (n,)
        Positions of nodes.
    routes
        Links of the trips that have a fixed route; the others choose.
    names
        Ids by row, empty for flows.
    """

    key: Long
    depart: Float
    origin: Int
    destination: Int
    routes: FixedRoutes = field(default_factory=lambda: FixedRoutes.of(0, {}))
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.routes.start) != len(self.depart) + 1:
            assert not self.routes, "the routes are those of other trips"
            object.__setattr__(self, "routes", FixedRoutes.of(len(self.depart), {}))

    def __len__(self) -> int:
        return len(self.depart)

    def trip_id(self, place: int) -> str:
        """Return the id of one trip."""
        row, number = self.key[place].tolist()
        if row < 0:
            return f"start-{number + 1}" if row == START else f"emergency-{-row}"
        return self.names[row] if self.names else f"{row + 1}-{number + 1}"

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The id of every trip."""
        rows, numbers = self.key[:, 0].tolist(), self.key[:, 1].tolist()
        if self.names:
            ids = [self.names[row] if row >= 0 else "" for row in rows]
        else:
            ids = [f"{row + 1}-{number + 1}" for row, number in zip(rows, numbers, strict=True)]
        for place in np.flatnonzero(self.key[:, 0] < 0).tolist():
            ids[place] = self.trip_id(place)
        return tuple(ids)

    def behind(self, link_from: Int, destination: Int, start_s: float) -> "Trips":
        """Return these trips behind vehicles that are under way at ``start_s``."""
        n = len(destination)
        key = np.stack([np.full(n, START, np.int64), np.arange(n)], axis=1)
        return Trips(
            np.concatenate([key, self.key]),
            np.concatenate([np.full(n, start_s), self.depart]),
            np.concatenate([link_from, self.origin]).astype(np.int32),
            np.concatenate([destination, self.destination]).astype(np.int32),
            FixedRoutes(np.concatenate([np.zeros(n, np.int64), self.routes.start]), self.routes.link),
            self.names,
        )

    def subset(self, keep: npt.NDArray[np.bool_] | slice) -> "Trips":
        """Return the trips at which ``keep`` is true, or those of a slice."""
        rows = np.arange(len(self))[keep]
        routes = self.routes.take(rows)
        return Trips(self.key[rows], self.depart[rows], self.origin[rows], self.destination[rows], routes, self.names)


def in_order(
    names: tuple[str, ...], depart: Float, origin: Long, destination: Long, routes: Mapping[int, tuple[int, ...]]
) -> Trips:
    """Return single trips in order of departure; ``routes`` by row."""
    order = np.argsort(depart, kind="stable")
    return Trips(
        np.stack([order, np.zeros(len(order), np.int64)], axis=1),
        depart[order],
        origin[order].astype(np.int32),
        destination[order].astype(np.int32),
        FixedRoutes.of(len(order), routes).take(order),
        names,
    )


def spread(flows: Sequence[Flow], surges: Sequence[Surge]) -> tuple[Long, Float]:
    """Return key and departure of every vehicle of all flows, row by row.

    Vehicle k of row r leaves when the row's volume so far is ``k + f``, f the fractional part of 0.618034 r.
    """
    n = len(flows)
    volume, start, end = (np.array([getattr(f, name) for f in flows], float) for name in ("volume", "start_s", "end_s"))
    phase = (GOLDEN * np.arange(n)) % 1.0
    curves = {}
    for k, flow in enumerate(flows) if surges else ():
        mine = [surge for surge in surges if surge.covers(flow)]
        if mine:
            curves[k] = _curve(flow, mine)
            volume[k] = curves[k][1][-1]
    if volume.sum() > MOST_VEHICLES:
        raise InputError(f"the demand is {volume.sum():g} vehicles, a run holds at most {MOST_VEHICLES:g}")
    count = np.maximum(0, np.ceil(volume - phase - 1e-9)).astype(np.int64)
    row = np.repeat(np.arange(n), count)
    number = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    done = number + phase[row]
    depart = start[row] + done / volume[row] * (end - start)[row]
    begin = np.cumsum(count) - count
    for k, (times, amounts) in curves.items():
        of_row = slice(int(begin[k]), int(begin[k] + count[k]))
        depart[of_row] = np.interp(done[of_row], amounts, times)
    return np.stack([row, number], axis=1), depart


def _curve(flow: Flow, surges: Sequence[Surge]) -> tuple[Float, Float]:
    """Return times and the volume of a flow until then, under surges; stretches without any are left out."""
    edges = {flow.start_s, flow.end_s}
    for surge in surges:
        edges |= {time for time in (surge.from_s, surge.until_s) if flow.start_s < time < flow.end_s}
    times = np.array(sorted(edges))
    factor = np.ones(len(times) - 1)
    for surge in surges:
        factor[(times[:-1] >= surge.from_s) & (times[1:] <= surge.until_s)] *= surge.factor
    share = np.diff(times) / (flow.end_s - flow.start_s)
    amounts = np.concatenate([[0.0], np.cumsum(factor * share)]) * flow.volume
    return times, amounts


def choose_nodes(
    zones: Mapping[str, tuple[tuple[str, float], ...]],
    names: Sequence[str],
    key: Long,
    side: int,
    position: Mapping[str, int],
) -> Int:
    """Return the node of every vehicle: spread evenly over the shares of its zone by a low-discrepancy sequence.

    Parameters
    ----------
    names
        Zone by row of the demand.
    side
        0 at the origin, 1 at the destination.
    position
        Of each node.
    """
    point = (0.5 + GOLDEN * key[:, 0] + PLASTIC[side] * key[:, 1]) % 1.0
    order = list(dict.fromkeys(names))
    number = {name: k for k, name in enumerate(order)}
    zone = np.array([number[name] for name in names], np.int64)[key[:, 0]]
    nodes = np.empty(len(key), np.int32)
    by_zone = np.argsort(zone, kind="stable")
    edges = np.searchsorted(zone[by_zone], np.arange(len(order) + 1))
    for k, name in enumerate(order):
        mine = by_zone[edges[k] : edges[k + 1]]
        places = np.array([position[node] for node, _ in zones[name]], np.int32)
        shares = np.cumsum([share for _, share in zones[name]])
        nodes[mine] = places[np.minimum(np.searchsorted(shares, point[mine], side="right"), len(places) - 1)]
    return nodes
