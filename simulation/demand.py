"""Demand: flows between zones, or single trips, and the vehicles that they become."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sensors import InputError
from simulation.gravity import gravity_flows
from twin import Network
from twin.tables import Table

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int32]

GOLDEN = 0.618034  # spreads the first departures of the rows, so that they do not all leave at the full second
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


@dataclass(frozen=True, slots=True)
class Trips:
    """Vehicles in order of departure.

    Parameters
    ----------
    ids
        One per trip.
    depart : (n,) s
    origin, destination : (n,)
        Positions of nodes.
    routes
        Links of the fixed route of a trip by its row; the others choose.
    """

    ids: tuple[str, ...]
    depart: Float
    origin: Int
    destination: Int
    routes: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.depart)

    def subset(self, keep: npt.NDArray[np.bool_]) -> "Trips":
        """Return the trips at which ``keep`` is true."""
        rows = np.flatnonzero(keep)
        place = {int(old): new for new, old in enumerate(rows)}
        routes = {place[row]: links for row, links in self.routes.items() if row in place}
        return Trips(
            tuple(self.ids[row] for row in rows), self.depart[rows], self.origin[rows], self.destination[rows], routes
        )


@dataclass(frozen=True)
class Demand:
    """What wants to travel: flows between zones, or single trips.

    Parameters
    ----------
    flows
        Rows of ``demand.csv``.
    fixed
        Trips of ``trips.csv``; None when the demand is given by flows.
    zones
        Nodes (id, share) by zone.
    node_ids
        Of the network, in its order.
    assumed
        Whether no one has given it: a gravity model.
    notes
        What people should know about it.
    """

    flows: tuple[Flow, ...] = ()
    fixed: Trips | None = None
    zones: dict[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    node_ids: tuple[str, ...] = field(default=(), repr=False)
    assumed: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, network: Network, *, demand: Path | str | None = None, trips: Path | str | None = None) -> "Demand":
        """Return the demand of a file, else of the network's folder, else a gravity model marked assumed.

        Raises
        ------
        InputError
            With every fault of the file.
        """
        if demand is not None and trips is not None:
            raise InputError("both a demand and a trips file are given, give one")
        folder = network.folder
        if demand is None and trips is None and folder is not None:
            if (folder / "demand.csv").is_file():
                demand = folder / "demand.csv"
            elif (folder / "trips.csv").is_file():
                trips = folder / "trips.csv"
        if demand is not None:
            return cls._read_flows(network, Path(demand))
        if trips is not None:
            return cls._read_trips(network, Path(trips))
        return cls.gravity(network)

    @classmethod
    def of_flows(cls, network: Network, flows: Iterable[Flow]) -> "Demand":
        """Return the demand of flows between zones of the network, made in memory."""
        return cls(tuple(flows), None, dict(network.zones), network.compile().node_ids)

    @classmethod
    def of_trips(
        cls,
        network: Network,
        depart_s: Sequence[float],
        from_node_id: Sequence[str],
        to_node_id: Sequence[str],
        *,
        link_ids: Sequence[Sequence[str]] | None = None,
    ) -> "Demand":
        """Return the demand of single trips made in memory, with fixed routes where ``link_ids`` has them."""
        roads = network.compile()
        nodes = {name: k for k, name in enumerate(roads.node_ids)}
        links = {name: k for k, name in enumerate(roads.link_ids)}
        depart = np.asarray(depart_s, dtype=np.float64)
        order = np.argsort(depart, kind="stable").tolist()
        routes = {}
        if link_ids is not None:
            routes = {row: tuple(links[name] for name in link_ids[k]) for row, k in enumerate(order) if link_ids[k]}
        trips = Trips(
            tuple(str(k + 1) for k in order),
            depart[order],
            np.array([nodes[from_node_id[k]] for k in order], np.int32),
            np.array([nodes[to_node_id[k]] for k in order], np.int32),
            routes,
        )
        return cls((), trips, {}, roads.node_ids)

    @classmethod
    def gravity(cls, network: Network) -> "Demand":
        """Return an hour of assumed demand between the zones (else the nodes) of a network."""
        zones, rows = gravity_flows(network)
        flows = tuple(Flow(*row) for row in rows)
        note = "demand is assumed: no demand or trips were given, one hour of a gravity model is used"
        return cls(flows, None, zones, network.compile().node_ids, True, (note,))

    @classmethod
    def _read_flows(cls, network: Network, path: Path) -> "Demand":
        faults: list[str] = []
        table = Table.read(path, faults)
        known = {zone: k for k, zone in enumerate(network.zones)}
        if faults or not table.requires("o_zone_id", "d_zone_id", "volume", "start_s", "end_s"):
            raise InputError([_named(fault, table.name, path) for fault in faults])
        origin = table.references("o_zone_id", known, "the zones of the network")
        destination = table.references("d_zone_id", known, "the zones of the network")
        volume = table.numbers("volume", least=0.0, required=True)
        start = table.numbers("start_s", least=0.0, required=True)
        end = table.numbers("end_s", least=0.0, required=True)
        for row in np.flatnonzero(end <= start).tolist():
            table.fault(row, f"end_s is {end[row]:g}, must be > start_s, which is {start[row]:g}")
        zones = network.zones
        names = list(zones)
        for row, zone in [(r, z) for ends in (origin, destination) for r, z in enumerate(ends.tolist()) if z >= 0]:
            if not zones[names[zone]]:
                table.fault(row, f"zone {names[zone]} has no node with a share > 0")
        if faults:
            raise InputError([_named(fault, table.name, path) for fault in dict.fromkeys(faults)])
        rows = zip(origin, destination, volume.tolist(), start.tolist(), end.tolist(), strict=True)
        flows = tuple(Flow(names[o], names[d], v, a, b) for o, d, v, a, b in rows)
        inside = sum(f.volume for f in flows if f.origin == f.destination and len(zones[f.origin]) == 1)
        note = f"{inside:g} vehicles start and end at the only node of their zone and are left out"
        return cls(flows, None, dict(zones), network.compile().node_ids, False, (note,) if inside else ())

    @classmethod
    def _read_trips(cls, network: Network, path: Path) -> "Demand":
        faults: list[str] = []
        table = Table.read(path, faults)
        if faults or not table.requires("trip_id", "depart_s"):
            raise InputError([_named(fault, table.name, path) for fault in faults])
        table = Table("trip", table.rows, table.lines, faults, table.columns)
        roads = network.compile()
        nodes = {name: k for k, name in enumerate(roads.node_ids)}
        links = {name: k for k, name in enumerate(roads.link_ids)}
        routes = table.lists("link_ids")
        ids = tuple(table.ids("trip_id")) if len(table) else ()
        depart = table.numbers("depart_s", least=0.0, required=True)
        origin = table.references("from_node_id", nodes, "node.csv", optional=True)
        destination = table.references("to_node_id", nodes, "node.csv", optional=True)
        fixed: dict[int, tuple[int, ...]] = {}
        for row, route in enumerate(routes):
            if not route:
                continue
            unknown = [name for name in route if name not in links]
            for name in unknown:
                table.fault(row, f"link_ids: link {name!r} is not in link.csv")
            if not unknown:
                fixed[row] = tuple(links[name] for name in route)
        _check_ends(table, fixed, roads.from_node, roads.to_node, origin, destination, roads.node_ids)
        if faults:
            raise InputError([_named(fault, "trip", path) for fault in dict.fromkeys(faults)])
        order = np.argsort(depart, kind="stable")
        place = {int(old): new for new, old in enumerate(order)}
        sorted_trips = Trips(
            tuple(ids[k] for k in order),
            depart[order],
            origin[order].astype(np.int32),
            destination[order].astype(np.int32),
            {place[row]: route for row, route in fixed.items()},
        )
        return cls((), sorted_trips, {}, roads.node_ids)

    def sha256(self) -> str:
        """Hash of the flows or trips, whatever file they came from."""
        digest = hashlib.sha256()
        for flow in self.flows:
            digest.update(repr((flow.origin, flow.destination, flow.volume, flow.start_s, flow.end_s)).encode())
        if self.fixed is not None:
            digest.update(repr((self.fixed.ids, sorted(self.fixed.routes.items()))).encode())
            for array in (self.fixed.depart, self.fixed.origin, self.fixed.destination):
                digest.update(array.tobytes())
        return digest.hexdigest()

    def trips(self, surges: Sequence[Surge] = (), *, until_s: float = math.inf) -> Trips:
        """Return the vehicles due until ``until_s``, in order of departure.

        Vehicle k of row r leaves when the row's volume so far is ``k + f``, f the fractional part of 0.618034 r.
        """
        if self.fixed is not None:
            return self.fixed if math.isinf(until_s) else self.fixed.subset(self.fixed.depart <= until_s)
        rows = np.arange(len(self.flows))
        phase = (GOLDEN * rows) % 1.0
        volume = np.array([flow.volume for flow in self.flows], float)
        start = np.array([flow.start_s for flow in self.flows], float)
        length = np.array([flow.end_s for flow in self.flows], float) - start
        count = np.maximum(0, np.ceil(volume - phase - 1e-9)).astype(np.int64)
        surged: dict[int, Float] = {}
        for row, flow in enumerate(self.flows) if surges else ():
            if covering := [surge for surge in surges if surge.covers(flow)]:
                surged[row] = _departures(flow, covering, float(phase[row]))
                count[row] = len(surged[row])
        row_of = np.repeat(rows, count)
        number = np.arange(len(row_of)) - np.repeat(np.cumsum(count) - count, count)
        depart = start[row_of] + (number + phase[row_of]) * (length / np.maximum(volume, 1e-300))[row_of]
        for row, times in surged.items():
            depart[np.searchsorted(row_of, row) :][: len(times)] = times
        origin, destination = self._ends(row_of, number)
        keep = np.flatnonzero((depart <= until_s) & (origin != destination))
        order = keep[np.argsort(depart[keep], kind="stable")]
        places = zip((row_of[order] + 1).tolist(), (number[order] + 1).tolist(), strict=True)
        names = tuple(f"{row}-{k}" for row, k in places)
        return Trips(names, depart[order], origin[order], destination[order])

    def _ends(self, row_of: npt.NDArray[np.int64], number: npt.NDArray[np.int64]) -> tuple[Int, Int]:
        """Return the nodes of vehicle ``number`` of each row: spread evenly over both zones' shares (low discrepancy)."""
        position = {name: k for k, name in enumerate(self.node_ids)}
        names = list(self.zones)
        zone = {name: k for k, name in enumerate(names)}
        found = []
        for side, end in enumerate(("origin", "destination")):
            of_row = np.array([zone[getattr(flow, end)] for flow in self.flows], np.int64)
            point = (0.5 + GOLDEN * row_of + PLASTIC[side] * number) % 1.0
            of_vehicle = of_row[row_of]
            order = np.argsort(of_vehicle, kind="stable")
            bounds = np.searchsorted(of_vehicle[order], np.arange(len(names) + 1))
            node = np.zeros(len(row_of), np.int32)
            for k, name in enumerate(names):
                mine = order[bounds[k] : bounds[k + 1]]
                places = np.array([position[node_id] for node_id, _ in self.zones[name]], np.int32)
                edges = np.cumsum([share for _, share in self.zones[name]])
                if len(mine):
                    node[mine] = places[np.minimum(np.searchsorted(edges, point[mine], "right"), len(places) - 1)]
            found.append(node)
        return found[0], found[1]


def _named(fault: str, name: str, path: Path) -> str:
    """Return a fault with the name of the file as the user gave it."""
    return fault.replace(f"{name}.csv", path.name, 1) if fault.startswith(f"{name}.csv") else fault


def _check_ends(
    table: Table,
    routes: dict[int, tuple[int, ...]],
    from_node: Int,
    to_node: Int,
    origin: npt.NDArray[np.int64],
    destination: npt.NDArray[np.int64],
    node_ids: tuple[str, ...],
) -> None:
    """Fill origins and destinations that a fixed route gives, and note those that are missing or contradict it."""
    from_ids, to_ids = table.text("from_node_id"), table.text("to_node_id")
    for row in range(len(table)):
        ends = [("from_node_id", origin, from_ids), ("to_node_id", destination, to_ids)]
        for column, position, given in ends:
            if row in routes:
                link = routes[row][0] if column == "from_node_id" else routes[row][-1]
                node = int((from_node if column == "from_node_id" else to_node)[link])
                if position[row] >= 0 and position[row] != node:
                    table.fault(row, f"{column} is {given[row]!r}, but link_ids has {node_ids[node]!r} there")
                position[row] = node
            elif not given[row]:
                table.fault(row, f"{column} is empty, must be an id of node.csv")
        if row not in routes and origin[row] == destination[row] >= 0:
            table.fault(row, f"to_node_id is {to_ids[row]!r}, must differ from from_node_id")


def _departures(flow: Flow, surges: Sequence[Surge], phase: float) -> Float:
    """Return when the vehicles of a flow leave: at the instants at which its volume so far is ``phase + k``."""
    edges = {flow.start_s, flow.end_s}
    for surge in surges:
        edges |= {time for time in (surge.from_s, surge.until_s) if flow.start_s < time < flow.end_s}
    times = np.array(sorted(edges))
    factor = np.ones(len(times) - 1)
    for surge in surges:
        factor[(times[:-1] >= surge.from_s) & (times[1:] <= surge.until_s)] *= surge.factor
    done = np.concatenate([[0.0], np.cumsum(factor * np.diff(times))]) * flow.volume / (flow.end_s - flow.start_s)
    number = phase + np.arange(max(0, math.ceil(done[-1] - phase - 1e-9)))
    rising = np.concatenate([[True], np.diff(done) > 0])
    return np.interp(number, done[rising], times[rising]) if len(number) else np.zeros(0)
