"""Road networks as one table of links with a column map: CSV, or lines in GeoParquet, shapefiles and GeoJSON.

The maps of tables that are known come with citytwin. See docs/network.md.
"""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from sensors import InputError
from twin.geometry import Float, format_line, line_length, parse_line
from twin.gmns import Tables
from twin.importers import line_file
from twin.importers.column_map import ColumnMap, known_map
from twin.importers.line_file import LineFile
from twin.importers.source import beginning, read_text, stem
from twin.tables import Columns, Table
from twin.units import KMH, Units

Row = dict[str, object]
Point = tuple[float, float]

# Ends closer than this are one node when the table names no nodes: about a metre.
_SAME_PLACE_DEG = 1e-5


def _delimiter(header: str) -> str:
    return max(",;\t|", key=header.count)


def _header(source: Path) -> list[str]:
    if line_file.kind_of(source):
        return list(line_file.read(source).columns)
    line = beginning(source).decode("utf-8-sig", "replace").split("\n", 1)[0].strip()
    return [name.strip().strip('"') for name in next(csv.reader([line], delimiter=_delimiter(line)), [])]


def recognises(source: Path) -> bool:
    """Return whether a file is a table whose columns one of the built-in maps names, or holds lines."""
    if line_file.kind_of(source):
        return True
    return b"\x00" not in beginning(source) and known_map(_header(source)) is not None


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
    return Table(source.name.removesuffix(".csv"), Columns.of(rows), numbers, faults, header)


def _renamed(table: Table, mapping: ColumnMap) -> Table:
    """Return the table with our column names; a mapped column that is not there is a fault unless it is optional."""
    file = table.file or f"{table.name}.csv"
    columns = dict(mapping.columns)
    for ours, theirs in mapping.columns.items():
        if theirs in table.columns:
            continue
        if ours in mapping.optional:
            del columns[ours]
            continue
        near = get_close_matches(theirs, table.columns, 1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        table.faults.append(f"{file}: has no column {theirs!r}, which the map names for {ours}{hint}")
    rows = Columns({ours: table.text(theirs) for ours, theirs in columns.items()})
    return Table(table.name, rows, table.lines, table.faults, tuple(columns), file=table.file)


def _mapping(source: Path, column_map: Path | None) -> ColumnMap:
    if column_map is not None:
        return ColumnMap.parse(column_map.name, read_text(column_map))
    header = _header(source)
    found = known_map(header)
    if found is None:
        columns = ", ".join(header[:12]) + (", ..." if len(header) > 12 else "")
        raise InputError(f"{source}: its columns ({columns}) fit no built-in map; name them with --map FILE")
    return found


def _opened(source: Path, mapping: ColumnMap, faults: list[str], notes: list[str]) -> tuple[Table, LineFile | None]:
    """Return the rows of a table, and the file of lines that it comes from, if any."""
    if not line_file.kind_of(source):
        return _load(source, faults), None
    found = line_file.read(source, wanted=set(mapping.columns.values()))
    if found.unknown and not mapping.units.get("crs"):
        raise InputError(
            f"{source.name}: {found.unknown}; name one in the map ([units] crs), or save it in degrees (EPSG:4326)"
        )
    if found.skipped:
        notes.append(f"{found.skipped} things of the source that are no lines are left out")
    table = Table(
        stem(source), Columns.of(found.rows), range(1, len(found.rows) + 1), faults, found.columns, file=source.name
    )
    return table, found


def read(source: Path, *, column_map: Path | None = None, places: Sequence[Path] = ()) -> Tables:
    """Return the tables of a network that a table of links describes.

    Parameters
    ----------
    places
        Tables that say where the nodes are, for maps that name their columns.

    Raises
    ------
    InputError
        With every fault of the map and the table.
    """
    mapping = _mapping(source, column_map)
    faults: list[str] = []
    notes: list[str] = []
    table, shapes = _opened(source, mapping, faults, notes)
    table = _renamed(table, mapping)
    if not len(table) and not faults:
        faults.append(f"{source.name}: has no rows")
    units = Units.of({"long_length": mapping.units.get("length", ""), **mapping.units}, faults)
    if shapes is not None and not mapping.units.get("crs"):
        units = replace(units, projection=shapes.projection)
    if faults:
        raise InputError(faults)
    if mapping.nodes:
        lines = _between(table, _node_places(places, mapping, faults), units)
    else:
        lines = _lines(table, units, shapes)
    length = table.numbers("length", above=0) * units.long_length_m
    speed = table.numbers("free_speed", above=0) * units.speed_m_s / KMH
    if faults:
        raise InputError(faults)
    oneway, by_class = _oneway(table, mapping)
    nodes, ends = _nodes(table, lines, by_class)
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
                "directed": oneway[index],
                "geometry": format_line(line) if "geometry" in row else "",
                "length": length[index] if known_length else round(max(drawn, 1.0), 2),
                "facility_type": row.get("facility_type", "") or mapping.defaults.get("facility_type", ""),
                "capacity": row.get("capacity", ""),
                "free_speed": speed[index] if np.isfinite(speed[index]) else mapping.defaults.get("free_speed"),
                "lanes": row.get("lanes", "") or mapping.defaults.get("lanes"),
                "assumed": ";".join(_assumed(row, mapping, known_length=bool(known_length))),
            }
        )
    texts = [mapping.attribution, *mapping.notes, *notes, f"Imported from {source.name} (table of links)."]
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


def _oneway(table: Table, mapping: ColumnMap) -> tuple[list[bool], list[bool]]:
    """Return which links are directed, and of which of them the map says so by their class alone."""
    classes = mapping.defaults.get("oneway_classes", [])
    known = {str(name) for name in classes} if isinstance(classes, list) else set()
    default = mapping.defaults.get("directed", True) is True
    stated = table.flags("directed", default=default)
    texts, kinds = table.text("directed"), table.text("facility_type")
    by_class = [not text and kind in known for text, kind in zip(texts, kinds, strict=True)]
    return [flag or rule for flag, rule in zip(stated, by_class, strict=True)], by_class


def _lines(table: Table, units: Units, shapes: LineFile | None) -> list[Float]:
    """Return the geometry of each link in degrees."""
    lines: list[Float] = []
    if shapes is not None:
        lines = list(shapes.lines)
    elif "geometry" in table.columns:
        for index, text in enumerate(table.text("geometry")):
            try:
                lines.append(parse_line(text))
            except ValueError as error:
                table.fault(index, f"geometry is {text[:40]!r}, {error}")
                lines.append(np.zeros((2, 2)))
    else:
        numbers = [table.numbers(name, required=True) for name in ("from_lon", "from_lat", "to_lon", "to_lat")]
        lines = list(np.stack(numbers, axis=1).reshape(-1, 2, 2))
    if not lines:
        return lines
    # All at once: a projection costs the same for one point as for a thousand.
    cuts = np.cumsum([len(line) for line in lines])[:-1]
    flat = np.concatenate(lines)
    known = np.isfinite(flat).all(axis=1)  # what is no number is a fault already
    try:
        flat[known] = units.degrees(flat[known])
        return list(np.split(flat, cuts))
    except ValueError:
        pass
    for index, line in enumerate(lines):
        if np.isfinite(line).all():
            try:
                lines[index] = units.degrees(line)
            except ValueError as error:
                table.fault(index, str(error))
    return lines


def _node_places(files: Sequence[Path], mapping: ColumnMap, faults: list[str]) -> dict[str, Point]:
    """Return the places of nodes, in the units of the map, of the tables that hold them."""
    if not files:
        wanted = ", ".join(mapping.nodes.values())
        raise InputError(
            f"the places of the nodes are in a table of their own ({wanted}); give it with --additional FILE"
        )
    places: dict[str, Point] = {}
    for path in files:
        table = _renamed(_load(path, faults), replace(mapping, columns=mapping.nodes))
        x, y = table.numbers("lon", required=True), table.numbers("lat", required=True)
        for name, place in zip(table.text("node_id"), zip(x.tolist(), y.tolist(), strict=True), strict=True):
            places[name] = place
    return places


def _between(table: Table, places: Mapping[str, Point], units: Units) -> list[Float]:
    """Return the straight line between the nodes of each link, in degrees; a node without a place is a fault."""
    lines = []
    for index, row in enumerate(table.rows):
        names = [row.get("from_node_id", ""), row.get("to_node_id", "")]
        if missing := [name for name in names if name not in places]:
            table.fault(index, f"node {missing[0]!r} is not in the table of nodes")
            lines.append(np.zeros((2, 2)))
            continue
        try:
            lines.append(units.degrees(np.array([places[name] for name in names])))
        except ValueError as error:
            table.fault(index, str(error))
            lines.append(np.zeros((2, 2)))
    return lines


def _nodes(table: Table, lines: list[Float], by_class: list[bool]) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the nodes that the links name, or those at which their ends meet.

    A line that is drawn against its nodes is turned; that of a one-way link of which only the class says so is
    believed, and its nodes change places.
    """
    nodes: dict[str, Row] = {}
    by_place: dict[tuple[int, int], str] = {}
    ends: list[tuple[str, str]] = []
    named = {"from_node_id", "to_node_id"} <= set(table.columns) and "geometry" in table.columns
    places = _places(table, lines) if named else {}
    for index, row in enumerate(table.rows):
        line = lines[index]
        names = [row.get("from_node_id", ""), row.get("to_node_id", "")]
        if named and all(names) and _against(line, places[names[0]], places[names[1]]):
            if by_class[index]:
                names.reverse()
            else:
                lines[index] = line = line[::-1]
        for k, point in ((0, line[0]), (1, line[-1])):
            side = ("from", "to")[k]
            if not names[k]:
                place = (round(float(point[0]) / _SAME_PLACE_DEG), round(float(point[1]) / _SAME_PLACE_DEG))
                names[k] = by_place.setdefault(place, f"N{len(by_place) + 1}")
            x, y = places.get(names[k], point)
            made = {"node_id": names[k], "name": row.get(f"{side}_name", ""), "x_coord": float(x), "y_coord": float(y)}
            nodes.setdefault(names[k], made)
        ends.append((names[0], names[1]))
    return list(nodes.values()), ends


def _places(table: Table, lines: list[Float]) -> dict[str, Point]:
    """Return where each named node lies: where most ends of its links do, else where its neighbour does not."""
    links: list[tuple[tuple[str, str], tuple[Point, Point]]] = []
    seen: dict[str, Counter[Point]] = {}
    for row, line in zip(table.rows, lines, strict=True):
        start, end = ((float(x), float(y)) for x, y in (line[0], line[-1]))
        names = row["from_node_id"], row["to_node_id"]
        links.append((names, (start, end)))
        for name in set(names):
            seen.setdefault(name, Counter()).update((start, end))
    sure: dict[str, Point] = {}
    for name, counts in seen.items():
        ranked = counts.most_common(2)
        if len(ranked) == 1 or ranked[0][1] > ranked[1][1]:
            sure[name] = ranked[0][0]
    found = dict(sure)
    for names, points in links:
        for own in (0, 1):  # a dead end: its only link leads from a place that is known
            name, neighbour = names[own], sure.get(names[1 - own])
            if name not in found and neighbour is not None:
                found[name] = points[1] if points[0] == neighbour else points[0]
    for names, points in links:
        for name, point in zip(names, points, strict=True):
            found.setdefault(name, point)
    return found


def _against(line: Float, start: tuple[float, float], end: tuple[float, float]) -> bool:
    """Return whether a line runs from the end to the start."""
    there = np.abs(line[0] - start).sum() + np.abs(line[-1] - end).sum()
    return bool(np.abs(line[0] - end).sum() + np.abs(line[-1] - start).sum() < there)


def _sensors(table: Table, mapping: ColumnMap, ids: Sequence[str]) -> list[Row]:
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
