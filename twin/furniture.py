"""What stands on and beside the roads of a network: zones, sensors, buildings, water and parks."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from sensors import QUANTITIES, Sensor
from twin.geometry import Float, parse_polygon
from twin.links import Links
from twin.nodes import Nodes, to_degrees
from twin.tables import Table
from twin.units import Units

Zones = dict[str, tuple[tuple[str, float], ...]]
AREA_KINDS = ("water", "park")
# A building whose height nobody states: three storeys of three metres.
DEFAULT_HEIGHT_M = 9.0
SHORTEST_INTERVAL_S = 0.1  # of a sensor; no traffic detector reports more often


@dataclass(frozen=True, slots=True)
class Building:
    """One row of ``building.csv``: the outer ring first, holes after it, each (k, 2) degrees."""

    building_id: str
    height_m: float
    rings: tuple[Float, ...]


@dataclass(frozen=True, slots=True)
class Area:
    """One row of ``area.csv``: water or a park in the background."""

    area_id: str
    kind: str
    rings: tuple[Float, ...]


def read_zones(zone: Table, zone_node: Table, nodes: Nodes) -> Zones:
    """Return the nodes at which each zone loads, with shares that add up to 1; faults are noted in the tables.

    A zone without rows in ``zone_node.csv`` loads evenly at the nodes that carry its ``zone_id``.
    """
    known = zone.ids("zone_id") if len(zone) and zone.requires("zone_id") else {}
    shares: dict[str, dict[str, float]] = {name: {} for name in known}
    if len(zone_node) and zone_node.requires("zone_id", "node_id"):
        at = zone_node.references("node_id", nodes.position, "node.csv")
        share = zone_node.numbers("share", default=1.0, least=0)
        for index, name in enumerate(zone_node.text("zone_id")):
            if not name or (known and name not in known):
                zone_node.fault(index, f"zone_id {name!r} is not in zone.csv")
            elif at[index] >= 0:
                of = shares.setdefault(name, {})
                node = zone_node.rows[index]["node_id"]
                of[node] = of.get(node, 0.0) + float(share[index])
    listed = {name for name, of in shares.items() if of}
    for node, name in zip(nodes.ids, nodes.zone_ids, strict=True) if len(nodes.ids) == len(nodes) else ():
        if name and name not in listed:
            if known and name not in known:
                zone.faults.append(f"node.csv: node {node}: zone_id {name!r} is not in zone.csv")
            shares.setdefault(name, {})[node] = 1.0
    result: Zones = {}
    for name, of in shares.items():
        total = sum(of.values())
        if of and total <= 0:
            zone_node.faults.append(f"zone_node.csv: zone {name}: its shares add up to 0, one must be > 0")
        result[name] = tuple((node, value / total) for node, value in of.items() if value > 0 and total > 0)
    return result


def link_zones(nodes: Nodes, links: Links, zones: Zones) -> dict[str, str]:
    """Return the zone by link id: that of the node it starts at, else of its end; links without one are left out.

    A node belongs to the zone whose ``zone_id`` it carries, else to the one that loads the largest share of its own
    there.
    """
    loading: dict[str, tuple[float, str]] = {}
    for zone, shares in zones.items():
        for node, share in shares:
            loading[node] = max(loading.get(node, (0.0, "")), (share, zone))
    of_node = [own or loading.get(node, (0.0, ""))[1] for node, own in zip(nodes.ids, nodes.zone_ids, strict=True)]
    starts, ends = links.from_node.tolist(), links.to_node.tolist()
    found = {link: of_node[a] or of_node[b] for link, a, b in zip(links.ids, starts, ends, strict=True)}
    return {link: zone for link, zone in found.items() if zone}


def read_sensors(
    table: Table, links: Links, units: Units, *, link_ids: Mapping[str, int], zone_ids: Mapping[str, int]
) -> tuple[Sensor, ...]:
    """Return the sensors of ``sensor.csv``; every fault is noted in the table.

    Parameters
    ----------
    link_ids
        All ids that a sensor may name; a sensor of a path without motor vehicles has no link in the network.
    zone_ids
        Zones that a sensor may name.
    """
    if not len(table) or not table.requires("sensor_id"):
        return ()
    ids = table.ids("sensor_id")
    table.references("link_id", link_ids, "link.csv", optional=True)
    table.references("zone_id", zone_ids, "zone.csv", optional=True)
    position = table.numbers("position_m", least=0)
    lanes = table.numbers("lanes", least=1, whole=True)
    interval = table.numbers("interval_s", default=60.0, least=SHORTEST_INTERVAL_S)
    x, y = table.numbers("x_coord"), table.numbers("y_coord")
    to_degrees(table, x, y, units)
    quantities = table.lists("quantities")
    default = Sensor("")
    found = []
    for name, index in ids.items():
        row = table.rows[index]
        link_id = row.get("link_id", "") if row.get("link_id", "") in links.position else ""
        link = links.position.get(link_id, -1)
        for key in quantities[index]:
            if key not in QUANTITIES:
                near = get_close_matches(key, QUANTITIES, 1)
                table.fault(
                    index,
                    f"quantities has {key!r}, which no quantity is called"
                    + (f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(QUANTITIES)}"),
                )
        if link >= 0 and position[index] > links.length[link] * 1.001 + 1:
            table.fault(
                index, f"position_m is {position[index]:g}, but link {link_id!r} is {links.length[link]:.0f} m long"
            )
        if link >= 0 and lanes[index] > links.lanes[link]:
            table.fault(index, f"lanes is {lanes[index]:g}, but link {link_id!r} has {links.lanes[link]}")
        wanted = quantities[index] or default.quantities
        at = position[index] if np.isfinite(position[index]) else (links.length[link] / 2 if link >= 0 else 0.0)
        covered = lanes[index] if np.isfinite(lanes[index]) else (links.lanes[link] if link >= 0 else 1)
        found.append(
            Sensor(
                sensor_id=name,
                kind=(row.get("kind", "") or default.kind).lower(),
                quantities=wanted,
                link_id=link_id,
                position_m=float(at),
                lanes=int(covered),
                interval_s=float(interval[index]),
                owner=row.get("owner", ""),
                asset_id=row.get("asset_id", ""),
                standard_deviation=_deviations(table, index, len(wanted)),
                x_coord=float(x[index]) if np.isfinite(x[index]) else None,
                y_coord=float(y[index]) if np.isfinite(y[index]) else None,
                zone_id=row.get("zone_id", ""),
                name=row.get("name", ""),
                name_zh=row.get("name_zh", ""),
            )
        )
    return tuple(found)


def _deviations(table: Table, index: int, wanted: int) -> tuple[float, ...]:
    texts = [part.strip() for part in table.rows[index].get("standard_deviation", "").split(";") if part.strip()]
    values = []
    for text in texts:
        try:
            value = -1.0 if "_" in text else float(text)
        except ValueError:
            value = -1.0
        if not (np.isfinite(value) and value >= 0):
            table.fault(index, f"standard_deviation has {text!r}, must be numbers >= 0 with semicolons between")
            return ()
        values.append(value)
    if values and len(values) != wanted:
        table.fault(index, f"standard_deviation has {len(values)} numbers for {wanted} quantities")
        return ()
    return tuple(values)


def _rings(table: Table, index: int, units: Units) -> tuple[Float, ...] | None:
    text = table.rows[index].get("geometry", "")
    try:
        return tuple(units.degrees(ring) for ring in parse_polygon(text))
    except ValueError as error:
        table.fault(index, f"geometry is {text[:40]!r}, {error}")
        return None


def read_buildings(table: Table, units: Units) -> tuple[Building, ...]:
    """Return the buildings of ``building.csv``; every fault is noted in the table."""
    if not len(table) or not table.requires("building_id", "geometry"):
        return ()
    heights = table.numbers("height_m", default=DEFAULT_HEIGHT_M, above=0)
    rings = {name: (i, _rings(table, i, units)) for name, i in table.ids("building_id").items()}
    return tuple(Building(name, float(heights[i]), ring) for name, (i, ring) in rings.items() if ring is not None)


def read_areas(table: Table, units: Units) -> tuple[Area, ...]:
    """Return the areas of ``area.csv``; every fault is noted in the table."""
    if not len(table) or not table.requires("area_id", "kind", "geometry"):
        return ()
    kinds = [kind.lower() for kind in table.text("kind")]
    found = []
    for name, index in table.ids("area_id").items():
        if kinds[index] not in AREA_KINDS:
            table.fault(index, f"kind is {kinds[index]!r}, must be {' or '.join(AREA_KINDS)}")
        ring = _rings(table, index, units)
        if ring is not None:
            found.append(Area(name, kinds[index], ring))
    return tuple(found)
