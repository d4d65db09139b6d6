"""``demand.csv`` and ``trips.csv``: read with every fault noted, also while the network has faults of its own."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulation.departures import MOST_VEHICLES, Flow, Trips, in_order
from simulation.places import Places, of_file
from twin.tables import Table

LATEST_S = 1e8  # three years; a later time is an epoch or a slip


def read_flows(path: Path, places: Places, faults: list[str]) -> tuple[tuple[Flow, ...], tuple[int, ...]]:
    """Return the rows of ``demand.csv`` and the line of each."""
    found: list[str] = []
    table = Table.read(path, found)
    flows: tuple[Flow, ...] = ()
    if table.requires("o_zone_id", "d_zone_id", "volume", "start_s", "end_s"):
        for column in ("o_zone_id", "d_zone_id"):
            table.references(column, places.zones, "the zones of the network")
            for row, zone in enumerate(table.text(column)):
                if places.zones.get(zone) == 0:
                    table.fault(row, f"{column} is {zone!r}, a zone without any node at which it loads")
        volume = table.numbers("volume", least=0.0, most=MOST_VEHICLES, required=True)
        start = table.numbers("start_s", least=0.0, most=LATEST_S, required=True)
        end = table.numbers("end_s", least=0.0, most=LATEST_S, required=True)
        for row in np.flatnonzero(end <= start).tolist():
            table.fault(row, f"end_s is {end[row]:g}, must be > start_s, which is {start[row]:g}")
        if volume.sum() > MOST_VEHICLES:
            found.append(f"{table.name}.csv: has {volume.sum():g} vehicles, a run holds at most {MOST_VEHICLES:g}")
        ends = zip(table.text("o_zone_id"), table.text("d_zone_id"), strict=True)
        rows = zip(ends, volume.tolist(), start.tolist(), end.tolist(), strict=True)
        flows = tuple(Flow(o, d, v, a, b) for (o, d), v, a, b in rows)
    faults += [of_file(fault, table.name, path) for fault in dict.fromkeys(found)]
    return flows, tuple(table.lines)


def read_trips(path: Path, places: Places, faults: list[str]) -> tuple[Trips, tuple[int, ...]]:
    """Return the trips of ``trips.csv`` in order of departure, and the line of each row."""
    found: list[str] = []
    table = Table.read(path, found)
    trips = in_order((), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64), {})
    if table.requires("trip_id", "depart_s"):
        table = Table("trip", table.rows, table.lines, found, table.columns)
        table.ids("trip_id")
        depart = table.numbers("depart_s", least=0.0, most=LATEST_S, required=True)
        origin = table.references("from_node_id", places.nodes, "node.csv", optional=True)
        destination = table.references("to_node_id", places.nodes, "node.csv", optional=True)
        fixed: dict[int, tuple[int, ...]] = {}
        for row, route in enumerate(table.lists("link_ids")):
            if not route:
                continue
            unknown = [name for name in route if name not in places.links]
            for name in unknown:
                table.fault(row, f"link_ids: link {name!r} is not in link.csv")
            fixed[row] = () if unknown else tuple(places.links[name] for name in route)
        _check_ends(table, fixed, places, origin, destination)
        if not found:
            trips = in_order(tuple(table.text("trip_id")), depart, origin, destination, fixed)
    faults += [of_file(fault, table.name, path) for fault in dict.fromkeys(found)]
    return trips, tuple(table.lines)


def _check_ends(
    table: Table,
    routes: dict[int, tuple[int, ...]],
    places: Places,
    origin: npt.NDArray[np.int64],
    destination: npt.NDArray[np.int64],
) -> None:
    """Fill origins and destinations that a fixed route gives, and note those that are missing or contradict it."""
    from_ids, to_ids = table.text("from_node_id"), table.text("to_node_id")
    for row in range(len(table)):
        ends = [
            ("from_node_id", origin, from_ids, places.from_node),
            ("to_node_id", destination, to_ids, places.to_node),
        ]
        for column, position, given, node_of_link in ends:
            if row in routes:
                if not routes[row] or node_of_link is None:
                    continue  # faults of their own
                node = int(node_of_link[routes[row][0 if column == "from_node_id" else -1]])
                if position[row] >= 0 and position[row] != node:
                    there = places.node_ids[node]
                    table.fault(row, f"{column} is {given[row]!r}, but link_ids has {there!r} there")
                position[row] = node
            elif not given[row]:
                table.fault(row, f"{column} is empty, must be an id of node.csv")
        if row not in routes and from_ids[row] and from_ids[row] == to_ids[row]:
            table.fault(row, f"to_node_id is {to_ids[row]!r}, must differ from from_node_id")
