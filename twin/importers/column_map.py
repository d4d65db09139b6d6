"""Column maps of tables of links: which column holds what, in which unit, and what the table does not say.

A map is TOML: ``[columns]`` names the table's column for each of ours, ``[units]`` their units, ``[defaults]`` fixed
values, ``[sensor]`` says that every link is also a sensor (travel times between two readers). See docs/network.md.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files

from sensors import QUANTITIES, InputError

_COLUMNS = (
    *("link_id", "from_node_id", "to_node_id", "from_lon", "from_lat", "to_lon", "to_lat", "from_name", "to_name"),
    *("length", "free_speed", "lanes", "capacity", "facility_type", "name", "name_zh", "geometry", "directed"),
)
_KEYS: dict[str, tuple[str, ...]] = {
    "": ("columns", "nodes", "units", "defaults", "sensor", "optional", "attribution", "notes", "recognise"),
    "columns": _COLUMNS,
    "nodes": ("node_id", "lon", "lat", "name"),
    "units": ("length", "speed", "crs"),
    "defaults": (
        *("lanes", "free_speed", "facility_type", "directed", "oneway_classes", "timezone", "dataset_name", "name_zh"),
    ),
    "sensor": ("sensor_id", "kind", "quantities", "interval_s", "owner"),
}


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Which column of a table holds what.

    Parameters
    ----------
    columns
        The table's column for each of ours.
    nodes
        Columns of a second table, which says where the nodes are.
    units, defaults, sensor
        The tables of the TOML file.
    attribution
        Whose data it is.
    notes
        What a reader must know, one sentence each.
    recognise
        Columns by which a table is known to fit this map.
    optional
        Keys of ``columns`` that a table need not have.
    """

    columns: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)
    sensor: Mapping[str, object] = field(default_factory=dict)
    attribution: str = ""
    notes: tuple[str, ...] = ()
    recognise: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    nodes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, name: str, text: str) -> "ColumnMap":
        """Return the map of a TOML text.

        Raises
        ------
        InputError
            With every unknown key and the nearest valid one.
        """
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{name}: is not TOML: {error}") from None
        faults = []
        for table, known in _KEYS.items():
            part = data.get(table, {}) if table else data
            if not isinstance(part, dict):
                faults.append(f"{name}: {table} must be a table [{table}]")
                continue
            for key in part:
                if key not in known:
                    near = get_close_matches(key, known, 1)
                    hint = f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
                    faults.append(f"{name}: [{table}] has an unknown key {key!r}{hint}")
        columns = data.get("columns", {})
        if not faults:
            if any(not isinstance(column, str) for column in columns.values()):
                faults.append(f"{name}: [columns] must name columns as text")
            nodes = data.get("nodes", {})
            placed = {"from_lon", "from_lat", "to_lon", "to_lat"} <= set(columns) or "geometry" in columns
            if nodes and not (
                {"node_id", "lon", "lat"} <= set(nodes) and {"from_node_id", "to_node_id"} <= set(columns)
            ):
                rule = "[nodes] must name node_id, lon and lat, and [columns] from_node_id and to_node_id"
                faults.append(f"{name}: {rule}")
            elif not nodes and not placed:
                rule = "[columns] must name from_lon, from_lat, to_lon and to_lat, or geometry"
                faults.append(f"{name}: {rule}; or [nodes] the columns of a table of nodes")
            for key in data.get("sensor", {}).get("quantities", []):
                if key not in QUANTITIES:
                    near = get_close_matches(str(key), QUANTITIES, 1)
                    faults.append(
                        f"{name}: [sensor] quantities has {key!r}, which no quantity is called"
                        + (f", did you mean {near[0]!r}?" if near else "")
                    )
        if faults:
            raise InputError(faults)
        return cls(
            columns=columns,
            units={key: str(value) for key, value in data.get("units", {}).items()},
            defaults=data.get("defaults", {}),
            sensor=data.get("sensor", {}),
            attribution=str(data.get("attribution", "")),
            notes=tuple(str(note) for note in data.get("notes", [])),
            recognise=tuple(str(column) for column in data.get("recognise", [])),
            nodes=data.get("nodes", {}),
            optional=tuple(str(key) for key in data.get("optional", [])),
        )


def built_in_maps() -> dict[str, ColumnMap]:
    """Return the column maps that come with citytwin, by name."""
    folder = files("twin.importers") / "maps"
    found = sorted((path for path in folder.iterdir() if path.name.endswith(".toml")), key=lambda path: path.name)
    return {path.name: ColumnMap.parse(path.name, path.read_text("utf-8")) for path in found}


def known_map(columns: Iterable[str]) -> ColumnMap | None:
    """Return the built-in map that fits a table with these columns, None when none does."""
    header = set(columns)
    return next((m for m in built_in_maps().values() if m.recognise and set(m.recognise) <= header), None)
