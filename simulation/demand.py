"""Demand: flows between zones, or single trips, and the vehicles that they become."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sensors import InputError
from sensors.daily_profile import day_share
from simulation.departures import Flow, Int, Surge, Trips, choose_nodes, spread
from simulation.fixed_routes import FixedRoutes
from simulation.gravity import gravity_flows
from twin import Network
from twin.tables import Table

HOUR_S = 3600.0


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
        n = len(depart_s)
        routes = {} if link_ids is None else {k: tuple(links[i] for i in link_ids[k]) for k in range(n) if link_ids[k]}
        origin, destination = (np.array([nodes[i] for i in ids], np.int64) for ids in (from_node_id, to_node_id))
        names = tuple(str(k + 1) for k in range(n))
        depart = np.asarray(depart_s, dtype=np.float64)
        return cls((), _in_order(names, depart, origin, destination, routes), {}, roads.node_ids)

    def over_a_day(self) -> "Demand":
        """Return the demand of a whole day: an assumed hour is that of the peak, and every hour has its share of it.

        Demand that somebody gave is returned as it is.
        """
        if not self.assumed:
            return self
        peak = max(day_share(hour + 0.5) for hour in range(24))
        flows = tuple(
            replace(
                flow,
                volume=flow.volume * day_share(hour + 0.5) / peak,
                start_s=hour * HOUR_S,
                end_s=(hour + 1) * HOUR_S,
            )
            for hour in range(24)
            for flow in self.flows
        )
        return replace(self, flows=flows, notes=(*self.notes, "its hours follow an assumed working day"))

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
        return cls((), _in_order(ids, depart, origin, destination, fixed), {}, roads.node_ids)

    def lost_trips(self, trips: Trips, lost: npt.NDArray[np.bool_]) -> list[str]:
        """Return one sentence for each trip, or row of flows, that has no path."""
        advice = "add a link or movement, or leave them out with --allow-unreachable"
        found: dict[str, list[int]] = {}
        for place in np.flatnonzero(lost).tolist():
            row = int(trips.key[place, 0])
            who = f"trip {trips.trip_id(place)}"
            if self.fixed is None and row >= 0:
                who = f"demand row {row + 1}: {self.flows[row].origin} to {self.flows[row].destination}"
            found.setdefault(who, []).append(place)
        faults = []
        for who, places in found.items():
            start, end = (self.node_ids[ends[places[0]]] for ends in (trips.origin, trips.destination))
            many = f" ({len(places)} vehicles)" if who.startswith("demand row") else ""
            faults.append(f"{who}: no path from node {start} to node {end}{many}, {advice}")
        return faults

    def sha256(self) -> str:
        """Hash of the flows or trips, whatever file they came from."""
        digest = hashlib.sha256()
        for flow in self.flows:
            digest.update(repr((flow.origin, flow.destination, flow.volume, flow.start_s, flow.end_s)).encode())
        if self.fixed is not None:
            digest.update(repr(self.fixed.ids).encode())
            routes = self.fixed.routes
            for array in (self.fixed.depart, self.fixed.origin, self.fixed.destination, routes.start, routes.link):
                digest.update(array.tobytes())
        return digest.hexdigest()

    def trips(self, surges: Sequence[Surge] = (), *, until_s: float = math.inf) -> Trips:
        """Return the vehicles due until ``until_s``, in order of departure.

        Vehicle k of row r leaves when the row's volume so far is ``k + f``, f the fractional part of 0.618034 r.
        """
        if self.fixed is not None:
            return self.fixed if math.isinf(until_s) else self.fixed.subset(self.fixed.depart <= until_s)
        key, depart = spread(self.flows, surges)
        order = np.argsort(depart, kind="stable")
        order = order[depart[order] <= until_s]
        key, depart = key[order], depart[order]
        position = {name: k for k, name in enumerate(self.node_ids)}
        origin = choose_nodes(self.zones, [flow.origin for flow in self.flows], key, 0, position)
        destination = choose_nodes(self.zones, [flow.destination for flow in self.flows], key, 1, position)
        trips = Trips(key, depart, origin, destination)
        stays = origin == destination
        return trips.subset(~stays) if stays.any() else trips


def _in_order(
    names: tuple[str, ...],
    depart: npt.NDArray[np.float64],
    origin: npt.NDArray[np.int64],
    destination: npt.NDArray[np.int64],
    routes: dict[int, tuple[int, ...]],
) -> Trips:
    """Return single trips in order of departure."""
    order = np.argsort(depart, kind="stable")
    return Trips(
        np.stack([order, np.zeros(len(order), np.int64)], axis=1),
        depart[order],
        origin[order].astype(np.int32),
        destination[order].astype(np.int32),
        FixedRoutes.of(len(order), routes).take(order),
        names,
    )


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
