"""A power grid as feeders of the equipment of a network: files of pandapower, read as JSON.

A *feeder* is what hangs on one outgoing line of a transformer's low-voltage busbar, open switches cut. Equipment that
has no supply yet hangs on the feeder of the nearest place of the grid; that is assumed and flagged.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import networkx as nx

from sensors import InputError
from twin.importers.source import read_text
from twin.importers.supply import CONSUMERS, WITHIN_M, nearest_supply
from twin.network import Network

Row = Mapping[str, object]

_TABLES = {
    "bus": ("vn_kv", "geo"),
    "line": ("from_bus", "to_bus"),
    "trafo": ("hv_bus", "lv_bus"),
    "load": ("bus",),
    "switch": ("bus", "element", "et", "closed"),
    "ext_grid": ("bus",),
}


@dataclass(frozen=True, slots=True)
class Grid:
    """The tables of a grid that are read: rows by index."""

    name: str
    tables: Mapping[str, Mapping[int, Mapping[str, Any]]]

    def live(self, table: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield the rows of a table that are in service."""
        for index, row in self.tables[table].items():
            if row.get("in_service", True):
                yield index, row


def read_grid(source: Path) -> Grid:
    """Return the grid of a pandapower file (``pandapower.to_json``), plain, gzip or bzip2.

    Raises
    ------
    InputError
        When it is none, or rows name buses that are not there; every fault at once.
    """
    if not source.is_file():
        raise InputError(f"{source}: there is no such file")
    try:
        document = json.loads(read_text(source))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: is not JSON: {str(error)[:200]}; a grid of pandapower is wanted") from None
    content = document.get("_object") if isinstance(document, dict) else None
    if not isinstance(content, dict) or document.get("_class") != "pandapowerNet":
        raise InputError(f"{source}: is JSON, but no grid of pandapower (pandapower.to_json writes one)")
    faults: list[str] = []
    tables = {name: _table(source.name, name, content.get(name), columns, faults) for name, columns in _TABLES.items()}
    if not faults:
        for table, columns in (("line", ("from_bus", "to_bus")), ("trafo", ("hv_bus", "lv_bus")), ("load", ("bus",)),
                               ("ext_grid", ("bus",)), ("switch", ("bus",))):  # fmt: skip
            faults += [
                f"{source.name}: {table} {index}: {column} is {row[column]!r}, which is no bus"
                for index, row in tables[table].items() for column in columns if row[column] not in tables["bus"]
            ]  # fmt: skip
    if not faults and not tables["trafo"]:
        faults.append(f"{source.name}: has no transformer, so nothing feeds anything")
    if faults:
        raise InputError(faults)
    return Grid(source.name, tables)


def _table(
    file: str, name: str, value: object, columns: tuple[str, ...], faults: list[str]
) -> dict[int, Mapping[str, Any]]:
    """Return the rows of one table of the file, by index."""
    inner = value.get("_object") if isinstance(value, dict) else None
    try:
        frame = json.loads(inner) if isinstance(inner, str) else inner
    except ValueError:
        frame = None
    parts = [frame.get(key) for key in ("columns", "index", "data")] if isinstance(frame, dict) else [None] * 3
    if not all(isinstance(part, list) for part in parts) or len(parts[1]) != len(parts[2]):  # type: ignore[arg-type]
        faults.append(f"{file}: has no readable table {name!r}, must be of columns, index and data")
        return {}
    names, index, data = parts
    assert names is not None
    assert index is not None
    assert data is not None
    if missing := [column for column in columns if column not in names]:
        faults.append(f"{file}: {name}: has no column {', '.join(missing)}")
        return {}
    if any(not isinstance(row, list) or len(row) != len(names) for row in data):
        faults.append(f"{file}: {name}: has rows that do not have {len(names)} values")
        return {}
    return {number: dict(zip(names, row, strict=True)) for number, row in zip(index, data, strict=True)}


@dataclass(slots=True)
class Supply:
    """What a grid adds to a network: rows of ``asset.csv`` and ``dependency.csv``, places, and words about them."""

    assets: list[Row] = field(default_factory=list)
    dependencies: list[Row] = field(default_factory=list)
    places: list[tuple[str, float, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def asset(self, name: str, kind: str, called: str, place: tuple[float, float] | None) -> None:
        """Add an asset."""
        x, y = place or ("", "")
        self.assets.append({"asset_id": name, "kind": kind, "name": called, "x_coord": x, "y_coord": y})

    def needs(self, name: str, depends_on: str, *, group: str = "") -> None:
        """Add a dependency on power; those of one group stand in for each other."""
        row = {"asset_id": name, "depends_on": depends_on, "kind": "power", "need": "any" if group else "all"}
        self.dependencies.append({**row, "group": group})


def feeders(grid: Grid) -> Supply:
    """Return supplies, transformers, their outgoing switches and the feeders behind them."""
    cut = {row["element"] for _, row in grid.live("switch") if row["et"] == "l" and not row["closed"]}
    switch = {
        (row["bus"], row["element"]): index for index, row in grid.live("switch") if row["et"] == "l" and row["closed"]
    }
    wires: nx.Graph[int] = nx.Graph()
    wires.add_nodes_from(bus for bus, _ in grid.live("bus"))
    lines = [(n, row) for n, row in grid.live("line") if n not in cut]
    wires.add_edges_from((row["from_bus"], row["to_bus"]) for _, row in lines)
    place = {bus: _point(row.get("geo")) for bus, row in grid.tables["bus"].items()}
    supply, busbars = Supply(), dict[int, list[str]]()
    sources = {row["bus"]: f"grid-{index}" for index, row in grid.live("ext_grid")}
    for bus, name in sources.items():
        supply.asset(name, "grid_supply", f"supply from above, bus {bus}", place.get(bus))
    for index, row in grid.live("trafo"):
        name = f"transformer-{index}"
        supply.asset(name, "transformer", str(row.get("name") or f"transformer {index}"), place.get(row["lv_bus"]))
        above = [sources[bus] for bus in nx.node_connected_component(wires, row["hv_bus"]) if bus in sources]
        for source in above:
            supply.needs(name, source, group="supply" if len(above) > 1 else "")
        busbars.setdefault(row["lv_bus"], []).append(name)
    loads: dict[int, int] = {}
    for _, row in grid.live("load"):
        loads[row["bus"]] = loads.get(row["bus"], 0) + 1
    outgoing: dict[int, list[tuple[int, int]]] = {}  # of each bus next to a busbar: (busbar, line)
    for number, row in lines:
        for here, there in ((row["from_bus"], row["to_bus"]), (row["to_bus"], row["from_bus"])):
            if here in busbars and there not in busbars:
                outgoing.setdefault(there, []).append((here, number))
    rest = wires.subgraph(set(wires) - set(busbars))
    fed = 0
    for part in sorted(nx.connected_components(rest), key=min):
        ways = sorted({way for bus in part for way in outgoing.get(bus, ())})
        if not ways:
            continue
        name, n_loads = f"feeder-{min(part)}", sum(loads.get(bus, 0) for bus in part)
        fed += n_loads
        called = (
            f"feeder of {', '.join(dict.fromkeys(t for busbar, _ in ways for t in busbars[busbar]))}, {n_loads} loads"
        )
        supply.asset(name, "feeder", called, next((place[bus] for bus in sorted(part) if place.get(bus)), None))
        for busbar, number in ways:
            group = "supply" if len(ways) * len(busbars[busbar]) > 1 else ""
            breaker = switch.get((busbar, number))
            if breaker is None:
                for transformer in busbars[busbar]:
                    supply.needs(name, transformer, group=group)
                continue
            asset = f"breaker-{breaker}"
            supply.asset(asset, "breaker", f"outgoing switch of line {number}", place.get(busbar))
            for transformer in busbars[busbar]:
                supply.needs(asset, transformer, group="supply" if len(busbars[busbar]) > 1 else "")
            supply.needs(name, asset, group="supply" if len(ways) > 1 else "")
        supply.places += [(name, *point) for bus in part if (point := place.get(bus)) is not None]
    count = {kind: sum(row["kind"] == kind for row in supply.assets) for kind in ("transformer", "feeder", "breaker")}
    supply.notes.append(
        f"{grid.name}: {count['transformer']:,} transformers, {count['breaker']:,} outgoing switches and "
        f"{count['feeder']:,} feeders with {fed:,} of {sum(loads.values()):,} loads; {len(cut):,} lines are open "
        "(closing one by hand is no supply here), what stands on the busbars and switches within a feeder are left out"
    )
    return supply


def _point(geo: object) -> tuple[float, float] | None:
    """Return the place of a bus, of GeoJSON as text."""
    try:
        shape = json.loads(geo) if isinstance(geo, str) else geo
        lon, lat = (float(value) for value in shape["coordinates"][:2])  # type: ignore[index]
    except (ValueError, TypeError, KeyError):
        return None
    return (lon, lat) if abs(lon) <= 180 and abs(lat) <= 90 else None


def read(source: Path, network: Network) -> tuple[list[Row], list[Row], list[str]]:
    """Return rows of ``asset.csv`` and ``dependency.csv`` that a grid adds to a network, and what is to be known.

    Raises
    ------
    InputError
        When the grid cannot be read, or has no place near the network.
    """
    supply = feeders(read_grid(source))
    known = network.assets.assets
    places = network.nodes.lon_lat
    made: list[Row] = []
    with_signal = {asset.node_id for asset in known.values() if asset.kind in ("signal", "controller")}
    for node_id in network.signals:
        if node_id not in with_signal:
            lon, lat = places[network.nodes.position[node_id]].tolist()
            made.append({"asset_id": f"signal-{node_id}", "kind": "signal", "name": "", "x_coord": lon, "y_coord": lat,
                         "node_id": node_id, "degraded_mode": "all_way_stop"})  # fmt: skip
    carried = {d.asset_id for d in network.assets.dependencies if d.kind in ("power", "control")}
    consumers: list[Row] = [*made]
    for asset in known.values():
        if asset.kind in CONSUMERS and asset.asset_id not in carried:
            place = asset.lon_lat or _stands_at(network, asset.node_id, asset.link_id)
            if place is not None:
                consumers.append({"asset_id": asset.asset_id, "x_coord": place[0], "y_coord": place[1]})
    hanging = nearest_supply(consumers, supply.places)
    notes = [
        *supply.notes,
        f"{len(hanging):,} of {len(consumers):,} pieces of equipment without a supply hang on the feeder of the "
        f"nearest place of the grid within {WITHIN_M:g} m, which is assumed",
    ]
    if made:
        notes.append(f"{len(made):,} signals became assets, which go dark as all-way stops (assumed)")
    if consumers and not hanging:
        raise InputError(
            f"{source.name}: none of its places lies within {WITHIN_M:g} m of the network's equipment; "
            "is it the grid of another town?"
        )
    return [*supply.assets, *made], [*supply.dependencies, *hanging], notes


def _stands_at(network: Network, node_id: str, link_id: str) -> tuple[float, float] | None:
    if node_id in network.nodes.position:
        lon, lat = network.nodes.lon_lat[network.nodes.position[node_id]].tolist()
        return lon, lat
    if link_id in network.links.position:
        lon, lat = network.geometry(network.links.position[link_id]).mean(axis=0).tolist()
        return lon, lat
    return None
