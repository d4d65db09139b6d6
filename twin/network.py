"""The network of a city: nodes, links, movements, signals, zones, sensors and equipment, read from one folder.

The graph is what people query, the compiled arrays are what kernels run, and the tables are what is written: each is
made from the one before.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import networkx as nx
import numpy as np

from sensors import InputError, Sensor
from twin import gmns
from twin.assets import AssetGraph, read_assets
from twin.compiled import CompiledNetwork
from twin.furniture import Area, Building, Zones, read_areas, read_buildings, read_sensors, read_zones
from twin.geometry import Float, point_along, to_local
from twin.links import Links, read_links
from twin.movement import Movements, adjacency, read_movements
from twin.nodes import Nodes, read_nodes
from twin.signal import SignalPlan
from twin.tables import Table, Unreadable
from twin.timing import read_signals
from twin.units import Units
from twin.validate import Fault, validate

SIDES = ("", "right", "left")  # of the road on which traffic keeps; right when nothing is said


@dataclass(frozen=True, eq=False)
class Network:
    """A road network and what stands on it; made by `read` and `from_tables`, never changed.

    Parameters
    ----------
    tables
        The rows as they were read or given, by table; `write` writes these.
    units
        Of the tables.
    nodes, links, movements
        In SI and WGS84 degrees.
    signals
        Fixed plan by node id.
    zones
        Nodes (id, share) at which each zone loads.
    sensors
        The rows of ``sensor.csv``.
    assets
        Equipment and what it depends on.
    buildings, areas
        For the map and the 3-D view.
    notes
        Attribution, and what is a placeholder, assumed or approximated; for people.
    folder
        Where it was read, None when it was made in memory.
    """

    tables: Mapping[str, Table] = field(repr=False)
    units: Units
    nodes: Nodes = field(repr=False)
    links: Links = field(repr=False)
    movements: Movements = field(repr=False)
    signals: dict[str, SignalPlan] = field(repr=False)
    zones: Zones = field(repr=False)
    sensors: tuple[Sensor, ...] = field(repr=False)
    assets: AssetGraph = field(repr=False)
    buildings: tuple[Building, ...] = field(repr=False)
    areas: tuple[Area, ...] = field(repr=False)
    notes: tuple[str, ...] = ()
    folder: Path | None = None

    @classmethod
    def read(cls, folder: Path | str) -> "Network":
        """Return the network of a folder of GMNS tables.

        Raises
        ------
        InputError
            With every fault of the folder at once: file, line, id, column, value and rule.
        """
        folder = Path(folder)
        faults: list[str] = []
        return cls._of(gmns.read_folder(folder, faults), faults, folder)

    @classmethod
    def from_tables(cls, tables: gmns.Tables) -> "Network":
        """Return the network of tables made in memory: lists of rows by table name, as `read` finds them in files.

        Raises
        ------
        InputError
            With every fault at once.

        Examples
        --------
        >>> network = Network.from_tables({
        ...     "node": [
        ...         {"node_id": "A", "x_coord": 120.0, "y_coord": 30.0},
        ...         {"node_id": "B", "x_coord": 120.01, "y_coord": 30.0},
        ...     ],
        ...     "link": [{"link_id": "L1", "from_node_id": "A", "to_node_id": "B", "lanes": 2, "free_speed": 50}],
        ... })
        >>> network.compile().length.round(1).tolist(), network.links.assumed
        ([964.9], (('length',),))
        """
        faults: list[str] = []
        return cls._of(gmns.make_tables(tables, faults), faults, None)

    @classmethod
    def _of(cls, tables: dict[str, Table], faults: list[str], folder: Path | None) -> "Network":
        config = dict(tables["config"].rows[0]) if len(tables["config"]) else {}
        units = Units.of(config, faults)
        if (side := config.get("driving_side", "")).strip().lower() not in SIDES:
            faults.append(f"config.csv: driving_side is {side!r}, must be 'right' or 'left'")
        nodes = read_nodes(tables["node"], units)
        links = read_links(tables["link"], tables["geometry"], nodes, units)
        names = dict.fromkeys([*links.ids, *tables["link"].text("link_id")])
        link_ids = {name: i for i, name in enumerate(names)} if len(links) else Unreadable()
        if faults and len(links.ids) != len(links):
            raise InputError(faults)  # ids that stand twice: positions below would mean nothing
        movements = read_movements(tables["movement"], tables, links, nodes, units, all_link_ids=link_ids)
        signals, timing_notes = read_signals(tables, links, nodes, movements)
        zones = read_zones(tables["zone"], tables["zone_node"], nodes)
        zone_ids = {name: i for i, name in enumerate(zones)}
        sensors = read_sensors(tables["sensor"], links, units, link_ids=link_ids, zone_ids=zone_ids)
        assets = read_assets(tables["asset"], tables["dependency"], units, nodes=nodes.position, link_ids=link_ids)
        buildings = read_buildings(tables["building"], units)
        areas = read_areas(tables["area"], units)
        if faults:
            raise InputError(list(dict.fromkeys(faults)))
        notes = [text for text in tables["note"].text("text") if text]
        return cls(
            tables=tables,
            units=units,
            nodes=nodes,
            links=links,
            movements=movements,
            signals=signals,
            zones=zones,
            sensors=sensors,
            assets=assets,
            buildings=buildings,
            areas=areas,
            notes=(*notes, *_assumed_notes(links, tables["link"]), *timing_notes),
            folder=folder,
        )

    def write(self, folder: Path | str, *, overwrite: bool = False) -> None:
        """Write the network's tables to a folder, all or nothing; reading them again gives the same network.

        Parameters
        ----------
        overwrite
            Replace the network of a folder that holds one.

        Raises
        ------
        InputError
            When the folder holds something.
        WorkError
            When the disk refuses.
        """
        beside = [] if self.folder is None else [self.folder / f"{name}.csv" for name in gmns.DEMAND_TABLES]
        gmns.write_tables(
            folder,
            {name: table.rows for name, table in self.tables.items()},
            overwrite=overwrite,
            copies=[path for path in beside if path.is_file()],
        )

    @cached_property
    def sha256(self) -> str:
        """Hash of what the tables say, whatever their column order, byte order mark or line ends."""
        return gmns.sha256(self.tables)

    def _config(self, column: str) -> str:
        rows = self.tables["config"].rows
        return rows[0].get(column, "") if rows else ""

    @property
    def name(self) -> str:
        """Name of the city, else of the dataset, else of its folder."""
        own = self._config("name") or self._config("dataset_name")
        return own or (self.folder.resolve().name if self.folder else "network")

    @property
    def name_zh(self) -> str:
        """Chinese name, else the same as `name`."""
        return self._config("name_zh") or self.name

    @property
    def timezone(self) -> str:
        """IANA name of the city's time zone, empty unless ``config.csv`` names one."""
        return self._config("timezone")

    @property
    def drives_left(self) -> bool:
        """Whether traffic keeps to the left of the road, as ``driving_side`` of ``config.csv`` says."""
        return self._config("driving_side").strip().lower() == "left"

    @cached_property
    def origin(self) -> Float:
        """Longitude and latitude of the local metres (0, 0): the middle of the nodes' box, (2,) degrees."""
        low, high = self.nodes.lon_lat.min(axis=0), self.nodes.lon_lat.max(axis=0)
        return np.asarray((low + high) / 2, dtype=np.float64)

    def compile(self) -> CompiledNetwork:
        """Return the network as arrays; made once."""
        return self._compiled

    @cached_property
    def _compiled(self) -> CompiledNetwork:
        links, movements = self.links, self.movements
        out_start, out_link = adjacency(links.from_node, len(self.nodes))
        in_start, in_link = adjacency(links.to_node, len(self.nodes))
        return CompiledNetwork(
            node_ids=self.nodes.ids,
            link_ids=links.ids,
            node_xy=to_local(self.nodes.lon_lat, self.origin),
            from_node=links.from_node.copy(),
            to_node=links.to_node.copy(),
            length=links.length.copy(),
            lanes=links.lanes.copy(),
            free_speed=links.free_speed.copy(),
            wave_speed=links.wave_speed.copy(),
            jam_density=links.jam_density.copy(),
            capacity=links.capacity.copy(),
            priority=links.priority.copy(),
            link_class=links.link_class.copy(),
            out_start=out_start,
            out_link=out_link,
            in_start=in_start,
            in_link=in_link,
            movement_start=movements.start.copy(),
            movement_out=movements.out.copy(),
            movement_group=movements.group.copy(),
            group_start=movements.group_start.copy(),
            group_lanes=movements.group_lanes.copy(),
            group_pocket=movements.group_pocket.copy(),
            origin=self.origin.copy(),
        )

    @cached_property
    def graph(self) -> "nx.MultiDiGraph[str]":
        """The roads as a graph: what people query.

        Nodes carry ``lon``, ``lat`` (degrees), ``name``, ``name_zh``, ``zone_id`` and ``ctrl_type``. Every link is an
        edge whose key is its id, with ``position`` (in the compiled arrays), ``length_m``, ``lanes``,
        ``free_speed_m_s``, ``capacity_veh_s`` (over all lanes), ``link_class``, ``name``, ``name_zh`` and ``assumed``.
        """
        graph: nx.MultiDiGraph[str] = nx.MultiDiGraph(name=self.name)
        nodes, links = self.nodes, self.links
        for i, name in enumerate(nodes.ids):
            graph.add_node(
                name,
                lon=float(nodes.lon_lat[i, 0]),
                lat=float(nodes.lon_lat[i, 1]),
                name=nodes.names[i],
                name_zh=nodes.names_zh[i],
                zone_id=nodes.zone_ids[i],
                ctrl_type=nodes.ctrl_types[i],
            )
        ids = nodes.ids
        for i, name in enumerate(links.ids):
            graph.add_edge(
                ids[links.from_node[i]],
                ids[links.to_node[i]],
                key=name,
                position=i,
                length_m=float(links.length[i]),
                lanes=int(links.lanes[i]),
                free_speed_m_s=float(links.free_speed[i]),
                capacity_veh_s=float(links.capacity[i]),
                link_class=int(links.link_class[i]),
                name=links.names[i],
                name_zh=links.names_zh[i],
                assumed=links.assumed[i],
            )
        return graph

    def validate(self, *, owners: Collection[str] = ()) -> list[Fault]:
        """Return what is doubtful about the network, see `twin.validate.validate`."""
        return validate(self, owners=owners)

    def geometry(self, position: int) -> Float:
        """Return the points of a link from its upstream to its downstream end, (k, 2) degrees."""
        return self.links.geometry[position]

    def assumed(self, position: int) -> tuple[str, ...]:
        """Return the columns of a link that are imputed, not measured."""
        return self.links.assumed[position]

    def point_on_link(self, position: int, distance_m: float) -> tuple[float, float]:
        """Return longitude and latitude at a distance from the upstream end of a link."""
        return point_along(self.links.geometry[position], distance_m / float(self.links.length[position]))

    def sensor_point(self, sensor: Sensor) -> tuple[float, float] | None:
        """Return longitude and latitude of a sensor: its own, else of its place on its link, its zone, its asset.

        None for a sensor that has none of them.
        """
        if sensor.x_coord is not None and sensor.y_coord is not None:
            point = np.array([[sensor.x_coord, sensor.y_coord]])
            if self.units.projection is not None:
                point = self.units.projection.to_degrees(point)
            return float(point[0, 0]), float(point[0, 1])
        link = self.links.position.get(sensor.link_id)
        if link is not None:
            return self.point_on_link(link, sensor.position_m)
        if sensor.zone_id in self.zones:
            return self.zone_point(sensor.zone_id)
        asset = self.assets.assets.get(sensor.asset_id)
        return None if asset is None else asset.lon_lat

    def zone_point(self, zone_id: str) -> tuple[float, float] | None:
        """Return longitude and latitude of the middle of a zone: that of its nodes, weighted by their shares."""
        nodes = [(self.nodes.position[node], share) for node, share in self.zones[zone_id]]
        if not nodes:
            return None
        at, shares = np.array([node for node, _ in nodes]), np.array([share for _, share in nodes])
        middle = shares @ self.nodes.lon_lat[at] / shares.sum()
        return float(middle[0]), float(middle[1])

    def link_names(self, position: int) -> dict[str, str]:
        """Return how people call a link, in English (``en``) and Chinese (``zh``): street, from and to.

        Where one street crosses at both ends, the direction tells the two ways apart.
        """
        a, b = int(self.links.from_node[position]), int(self.links.to_node[position])
        street, street_zh = self.links.names[position], self.links.names_zh[position]
        names = {}
        for language, comma in (("en", ", "), ("zh", "，")):
            own = _prefer(language, street, street_zh)
            start, end = self._corner(a, own, language), self._corner(b, own, language)
            ends = f"{start} → {end}"
            if start == end and a != b:
                way = _WAYS[self._eighth(a, b)]
                ends = f"{end}处{way[1]}" if language == "zh" else f"{way[0]} at {end}"
            names[language] = f"{own}{comma}{ends}" if own else ends
        return names

    def _eighth(self, start: int, end: int) -> int:
        """Return the direction from one node to another in eighths of a circle, anticlockwise from east."""
        east, north = (self.compile().node_xy[end] - self.compile().node_xy[start]).tolist()
        return round(math.atan2(north, east) / (math.pi / 4)) % 8

    def _corner(self, node: int, street: str, language: str) -> str:
        """Return a node's name, else that of a street that crosses there, else its id."""
        name = _prefer(language, self.nodes.names[node], self.nodes.names_zh[node])
        # "Jiefang Road / Qingchun Road" or "解放路与庆春路路口": on Jiefang Road it is enough to say Qingchun Road.
        parts = [part.strip() for part in re.split(r"/|与", name.removesuffix("路口") if "与" in name else name)]
        own = " / ".join(part for part in parts if part != street) if street in parts else name
        if own and own.removesuffix("路口") != street:
            return own
        compiled = self.compile()
        outs = compiled.out_link[compiled.out_start[node] : compiled.out_start[node + 1]].tolist()
        ins = compiled.in_link[compiled.in_start[node] : compiled.in_start[node + 1]].tolist()
        for link in (*outs, *ins):
            crossing = _prefer(language, self.links.names[link], self.links.names_zh[link])
            if crossing and crossing != street:
                return crossing
        return name or self.nodes.ids[node]


_WAYS = (
    ("eastbound", "向东"),
    ("northeastbound", "向东北"),
    ("northbound", "向北"),
    ("northwestbound", "向西北"),
    ("westbound", "向西"),
    ("southwestbound", "向西南"),
    ("southbound", "向南"),
    ("southeastbound", "向东南"),
)


def _prefer(language: str, english: str, chinese: str) -> str:
    """Return a name in a language, else in the other one."""
    return (chinese or english) if language == "zh" else (english or chinese)


def _assumed_notes(links: Links, table: Table) -> Iterable[str]:
    """Return one sentence for each column that is imputed on some links."""
    counts: dict[str, int] = {}
    for columns in links.assumed:
        for column in columns:
            counts[column] = counts.get(column, 0) + 1
    for column, count in sorted(counts.items()):
        yield f"{column} is assumed on {count} of {len(links)} links"
