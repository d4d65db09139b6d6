"""Road networks as one table of links with a column map; the maps of tables that are known come with citytwin.

A map is TOML: ``[columns]`` names the table's column for each of ours, ``[units]`` their units, ``[defaults]`` fixed
values, ``[sensor]`` says that every link is also a sensor (travel times between two readers). See docs/network.md.
"""

import csv
import io
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

import numpy as np

from sensors import QUANTITIES, InputError
from twin.geometry import format_line, line_length, parse_line
from twin.gmns import Tables
from twin.importers.source import beginning, read_text, stem
from twin.tables import Table
from twin.units import KMH, Units

Row = dict[str, object]

_COLUMNS = (
    *("link_id", "from_node_id", "to_node_id", "from_lon", "from_lat", "to_lon", "to_lat", "from_name", "to_name"),
    *("length", "free_speed", "lanes", "capacity", "facility_type", "name", "name_zh", "geometry", "directed"),
)
_KEYS: dict[str, tuple[str, ...]] = {
    "": ("columns", "units", "defaults", "sensor", "attribution", "notes", "recognise"),
    "columns": _COLUMNS,
    "units": ("length", "speed", "crs"),
    "defaults": ("lanes", "free_speed", "facility_type", "directed", "timezone", "dataset_name", "name_zh"),
    "sensor": ("sensor_id", "kind", "quantities", "interval_s", "owner"),
}
# Ends closer than this are one node when the table names no nodes: about a metre.
_SAME_PLACE_DEG = 1e-5


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Which column of a table holds what.

    Parameters
    ----------
    columns
        The table's column for each of ours.
    units, defaults, sensor
        The tables of the TOML file.
    attribution
        Whose data it is.
    notes
        What a reader must know, one sentence each.
    recognise
        Columns by which a table is known to fit this map.
    """

    columns: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)
    sensor: Mapping[str, object] = field(default_factory=dict)
    attribution: str = ""
    notes: tuple[str, ...] = ()
    recognise: tuple[str, ...] = ()

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
            if not ({"from_lon", "from_lat", "to_lon", "to_lat"} <= set(columns) or "geometry" in columns):
                faults.append(f"{name}: [columns] must name from_lon, from_lat, to_lon and to_lat, or geometry")
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
        )


def built_in_maps() -> dict[str, ColumnMap]:
    """Return the column maps that come with citytwin, by name."""
    folder = files("twin.importers") / "maps"
    found = sorted((path for path in folder.iterdir() if path.name.endswith(".toml")), key=lambda path: path.name)
    return {path.name: ColumnMap.parse(path.name, path.read_text("utf-8")) for path in found}


def _delimiter(header: str) -> str:
    return max(",;\t|", key=header.count)


def _header(source: Path) -> list[str]:
    line = beginning(source).decode("utf-8-sig", "replace").split("\n", 1)[0].strip()
    return [name.strip().strip('"') for name in next(csv.reader([line], delimiter=_delimiter(line)), [])]


def _known_map(source: Path) -> ColumnMap | None:
    header = set(_header(source))
    return next((m for m in built_in_maps().values() if m.recognise and set(m.recognise) <= header), None)


def recognises(source: Path) -> bool:
    """Return whether a file is a table whose columns one of the built-in maps names."""
    return b"\x00" not in beginning(source) and _known_map(source) is not None


def _load(source: Path, faults: list[str]) -> Table:
    text = read_text(source)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text.partition("\n")[0]))
    rows, numbers = [], []
    header = [name.strip() for name in next(reader, [])]
    if not header:
        raise InputError(f"{source.name}: is empty")
    for cells in reader:
        if any(cell.strip() for cell in cells):
            if len(cells) != len(header):
                faults.append(
                    f"{source.name}: line {reader.line_num}: {len(cells)} cells, the header has {len(header)}; "
                    "the file is cut off or not this table"
                )
                continue
            rows.append(dict(zip(header, (cell.strip() for cell in cells), strict=True)))
            numbers.append(reader.line_num)
    return Table(source.name.removesuffix(".csv"), rows, numbers, faults, header)


def _renamed(table: Table, columns: Mapping[str, str]) -> Table:
    """Return the table with our column names; a mapped column that is not there is a fault."""
    for ours, theirs in columns.items():
        if theirs not in table.columns:
            near = get_close_matches(theirs, table.columns, 1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            table.faults.append(f"{table.name}.csv: has no column {theirs!r}, which the map names for {ours}{hint}")
    rows = [{ours: row.get(theirs, "") for ours, theirs in columns.items()} for row in table.rows]
    return Table(table.name, rows, table.lines, table.faults, tuple(columns))


def read(source: Path, *, column_map: Path | None = None) -> Tables:
    """Return the tables of a network that a table of links describes.

    Raises
    ------
    InputError
        With every fault of the map and the table.
    """
    if column_map is not None:
        mapping = ColumnMap.parse(column_map.name, read_text(column_map))
    else:
        known = _known_map(source)
        if known is None:
            raise InputError(
                f"{source}: its columns ({', '.join(_header(source)[:6])}, ...) fit no built-in map; "
                "name them with --map FILE"
            )
        mapping = known
    faults: list[str] = []
    table = _renamed(_load(source, faults), mapping.columns)
    if not len(table) and not faults:
        faults.append(f"{source.name}: has no rows")
    units = Units.of({"long_length": mapping.units.get("length", ""), **mapping.units}, faults)
    if faults:
        raise InputError(faults)
    lines = _lines(table, units)
    length = table.numbers("length", above=0) * units.long_length_m
    speed = table.numbers("free_speed", above=0) * units.speed_m_s / KMH
    if faults:
        raise InputError(faults)
    nodes, ends = _nodes(table, lines)
    ids = table.text("link_id") if "link_id" in mapping.columns else [f"L{i + 1}" for i in range(len(table))]
    links: list[Row] = []
    for index, row in enumerate(table.rows):
        line = lines[index]
        drawn = line_length(line)
        known_length = np.isfinite(length[index])
        links.append(
            {
                "link_id": ids[index],
                "name": row.get("name", ""),
                "name_zh": row.get("name_zh", ""),
                "from_node_id": ends[index][0],
                "to_node_id": ends[index][1],
                "directed": row.get("directed", "") or mapping.defaults.get("directed", True),
                "geometry": format_line(line) if "geometry" in row else "",
                "length": length[index] if known_length else round(max(drawn, 1.0), 2),
                "facility_type": row.get("facility_type", "") or mapping.defaults.get("facility_type", ""),
                "capacity": row.get("capacity", ""),
                "free_speed": speed[index] if np.isfinite(speed[index]) else mapping.defaults.get("free_speed"),
                "lanes": row.get("lanes", "") or mapping.defaults.get("lanes"),
                "assumed": ";".join(_assumed(row, mapping, known_length=bool(known_length))),
            }
        )
    texts = [mapping.attribution, *mapping.notes, f"Imported from {source.name} (table of links)."]
    return {
        "config": [
            {
                "dataset_name": mapping.defaults.get("dataset_name", stem(source)),
                "name_zh": mapping.defaults.get("name_zh", ""),
                "timezone": mapping.defaults.get("timezone", ""),
                "long_length": "m",
                "speed": "km/h",
                "crs": "EPSG:4326",
            }
        ],
        "node": nodes,
        "link": links,
        "sensor": _sensors(table, mapping, ids),
        "note": [{"kind": "attribution" if i == 0 else "note", "text": text} for i, text in enumerate(texts) if text],
    }


def _assumed(row: Mapping[str, str], mapping: ColumnMap, *, known_length: bool) -> list[str]:
    """Return the columns of a link that come from the map's defaults or the geometry."""
    defaults = [name for name in ("free_speed", "lanes") if not row.get(name) and name in mapping.defaults]
    return defaults + ([] if known_length else ["length"])


def _lines(table: Table, units: Units) -> list[np.ndarray]:
    """Return the geometry of each link in degrees."""
    if "geometry" in table.columns:
        lines = []
        for index, text in enumerate(table.text("geometry")):
            try:
                lines.append(parse_line(text))
            except ValueError as error:
                table.fault(index, f"geometry is {text[:40]!r}, {error}")
                lines.append(np.zeros((2, 2)))
    else:
        numbers = [table.numbers(name, required=True) for name in ("from_lon", "from_lat", "to_lon", "to_lat")]
        lines = list(np.stack(numbers, axis=1).reshape(-1, 2, 2))
    for index, line in enumerate(lines):
        if np.isfinite(line).all():  # what is no number is a fault already
            try:
                lines[index] = units.degrees(line)
            except ValueError as error:
                table.fault(index, str(error))
    return lines


def _nodes(table: Table, lines: list[np.ndarray]) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the nodes that the links name, or those at which their ends meet."""
    nodes: dict[str, Row] = {}
    by_place: dict[tuple[int, int], str] = {}
    ends: list[tuple[str, str]] = []
    for row, line in zip(table.rows, lines, strict=True):
        pair = []
        for side, point in (("from", line[0]), ("to", line[-1])):
            name = row.get(f"{side}_node_id", "")
            if not name:
                place = (round(float(point[0]) / _SAME_PLACE_DEG), round(float(point[1]) / _SAME_PLACE_DEG))
                name = by_place.setdefault(place, f"N{len(by_place) + 1}")
            nodes.setdefault(
                name,
                {
                    "node_id": name,
                    "name": row.get(f"{side}_name", ""),
                    "x_coord": float(point[0]),
                    "y_coord": float(point[1]),
                },
            )
            pair.append(name)
        ends.append((pair[0], pair[1]))
    return list(nodes.values()), ends


def _sensors(table: Table, mapping: ColumnMap, ids: list[str]) -> list[Row]:
    """Return one sensor a link when the map says so."""
    if not mapping.sensor:
        return []
    column = str(mapping.sensor.get("sensor_id", ""))
    names = table.text(column) if column in table.columns else ids
    quantities = mapping.sensor.get("quantities", ["travel_time_s"])
    return [
        {
            "sensor_id": name,
            "kind": mapping.sensor.get("kind", "travel_time"),
            "quantities": ";".join(str(key) for key in quantities) if isinstance(quantities, list) else quantities,
            "link_id": link,
            "interval_s": mapping.sensor.get("interval_s", 300),
            "owner": mapping.sensor.get("owner", ""),
        }
        for name, link in zip(names, ids, strict=True)
    ]
