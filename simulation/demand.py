"""Demand: flows between zones, or single trips, and the vehicles that they become."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sensors import InputError
from sensors.daily_profile import day_share
from simulation.demand_file import read_flows, read_trips
from simulation.departures import START, Flow, Surge, Trips, choose_nodes, in_order, spread
from simulation.gravity import gravity_flows
from simulation.places import Places
from twin import Network
from twin.gmns import is_there

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
    path, lines
        Where it was read: the file and the line of each row; None and empty when it was made in memory.
    """

    flows: tuple[Flow, ...] = ()
    fixed: Trips | None = None
    zones: dict[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    node_ids: tuple[str, ...] = field(default=(), repr=False)
    assumed: bool = False
    notes: tuple[str, ...] = ()
    path: Path | None = field(default=None, repr=False)
    lines: tuple[int, ...] = field(default=(), repr=False)

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
            demand, trips = beside(folder)
        if demand is None and trips is None:
            return cls.gravity(network)
        faults: list[str] = []
        places, path = Places.of(network), Path(demand if demand is not None else trips or "")
        if demand is None:
            fixed, lines = read_trips(path, places, faults)
            read = cls((), fixed, {}, places.node_ids, path=path.absolute(), lines=lines)
        else:
            flows, lines = read_flows(path, places, faults)
            zones = dict(network.zones)
            notes = tuple(_notes(flows, zones, path.name))
            read = cls(flows, None, zones, places.node_ids, False, notes, path.absolute(), lines)
        if faults:
            raise InputError(faults)
        return read

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
        return cls((), in_order(names, depart, origin, destination, routes), {}, roads.node_ids)

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

    def place(self, row: int) -> str:
        """Return how a message names a row: file, line, and trip or zones."""
        where = f"{self.path.name}: line {self.lines[row]}: " if self.path is not None and self.lines else ""
        if self.fixed is not None:
            return f"{where}trip {self.fixed.names[row]}"
        flow = self.flows[row]
        return f"{where}demand row {row + 1}: {flow.origin} to {flow.destination}"

    def lost_trips(self, trips: Trips, lost: npt.NDArray[np.bool_]) -> list[str]:
        """Return one sentence for each trip, or row of flows, that has no path."""
        advice = "add a link or movement, or leave them out with --allow-unreachable"
        found: dict[int, list[int]] = {}
        for place in np.flatnonzero(lost).tolist():
            found.setdefault(int(trips.key[place, 0]), []).append(place)
        faults = []
        for row, places in found.items():
            start, end = (self.node_ids[ends[places[0]]] for ends in (trips.origin, trips.destination))
            many = f" ({len(places)} vehicles)" if self.fixed is None and row >= 0 else ""
            who = self.place(row) if row >= 0 else f"trip {trips.trip_id(places[0])}"
            faults.append(f"{who}: no path from node {start} to node {end}{many}, {advice}")
        return faults

    def ends(self, trips: Trips) -> tuple[tuple[str, ...], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return ids of zones (or nodes, for single trips) and the positions among them at which trips begin and end.

        A vehicle that was under way at the start has no origin, -1; with flows between zones it has no destination
        either, and neither end has an emergency vehicle.
        """
        if self.fixed is not None:
            origin = np.where(trips.key[:, 0] == START, -1, trips.origin)
            return self.node_ids, origin.astype(np.int64), trips.destination.astype(np.int64)
        names = tuple(dict.fromkeys(name for flow in self.flows for name in (flow.origin, flow.destination)))
        place = {name: k for k, name in enumerate(names)}
        of_row = [[place[getattr(flow, end)] for flow in self.flows] + [-1] for end in ("origin", "destination")]
        row = np.where(trips.key[:, 0] < 0, -1, trips.key[:, 0])
        origin, destination = (np.array(places, np.int64)[row] for places in of_row)
        return names, origin, destination

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


def beside(folder: Path) -> tuple[Path | None, Path | None]:
    """Return the demand or trips file of a network folder; an entry that is no file is returned too, and then told."""
    for name, answer in (("demand", 0), ("trips", 1)):
        if is_there(path := folder / f"{name}.csv"):
            return (path, None) if answer == 0 else (None, path)
    return None, None


def _notes(flows: Sequence[Flow], zones: Mapping[str, Sequence[object]], name: str) -> Iterator[str]:
    if not flows:
        yield f"{name} has no rows: nobody travels"
    inside = sum(f.volume for f in flows if f.origin == f.destination and len(zones[f.origin]) == 1)
    if inside:
        yield f"{inside:g} vehicles start and end at the only node of their zone and are left out"
