"""GMNS folders of others: cut column names, feet and miles, projected coordinates, ids that a spreadsheet mangled.

What comes out is a folder in metres, km/h and WGS84 degrees that holds only what motor vehicles use.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sensors import InputError
from twin.geometry import format_line, line_length, parse_line
from twin.gmns import COLUMNS, Tables
from twin.importers.source import stem
from twin.links import is_for_motors
from twin.nodes import to_degrees
from twin.tables import Columns, Table, read_table
from twin.units import KMH, Units

Rows = list[dict[str, object]]

# Shapefiles (dBASE III) cut names to ten characters; many GMNS folders have been one.
_CUT = 10
# A stated length that is this many times off its geometry is in another unit than config.csv says.
_FAR_OFF = 3.0


def recognises(source: Path) -> bool:
    """Return whether a folder has ``node.csv`` and ``link.csv``."""
    return source.is_dir() and set(_files(source)) >= {"node", "link"}


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of the folder by table, whatever the case of their names."""
    return {path.stem.lower(): path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".csv"}


def _whole_names(rows: Columns, table: str) -> list[dict[str, str]]:
    """Return rows whose column names are as in the specification: lower case, not cut."""
    known = (*COLUMNS[table], *_CARRIED.get(table, ()))
    header = list(rows.cells)
    names: dict[str, str] = {}
    for name in header:
        low = name.lower()
        longer = [full for full in known if len(low) == _CUT < len(full) and full.startswith(low)]
        taken = {other.lower() for other in header}
        names[name] = longer[0] if low not in known and len(longer) == 1 and longer[0] not in taken else low
    return [{names[name]: value for name, value in row.items()} for row in rows]


def _whole_ids(row: dict[str, str]) -> dict[str, str]:
    """Return a row whose ids are whole numbers again: a table program with empty cells makes 3 to 3.0."""
    return {
        name: value[:-2] if name.endswith("_id") and value.endswith(".0") and value[:-2].isdigit() else value
        for name, value in row.items()
    }


# Columns of GMNS that are not read, but worth keeping.
_CARRIED: dict[str, tuple[str, ...]] = {
    "node": ("node_type",),
    "movement": ("name", "type", "mvmt_code", "start_ob_lane", "end_ob_lane"),
    "signal_timing_plan": ("time_day",),
    "signal_coordination": ("coord_contr_id", "coord_ref_to"),
}


def _load(folder: Path) -> dict[str, list[dict[str, str]]]:
    faults: list[str] = []
    tables: dict[str, list[dict[str, str]]] = {}
    files = _files(folder)
    for name in COLUMNS:
        if name in files:
            try:
                tables[name] = [_whole_ids(row) for row in _whole_names(read_table(files[name]), name)]
            except InputError as error:
                faults.extend(error.faults)
    faults += [f"{name}.csv: has a header and no rows, a network needs {name}s" for name in ("node", "link")
               if name in tables and not tables[name]]  # fmt: skip
    if faults:
        raise InputError(faults)
    return tables


def read(source: Path) -> Tables:
    """Return the tables of a GMNS folder in our units, without what is not for motor vehicles.

    Raises
    ------
    InputError
        When ``node.csv`` or ``link.csv`` is missing or holds no numbers where there must be some.
    """
    if not recognises(source):
        raise InputError(f"{source}: is no GMNS folder, it needs node.csv and link.csv")
    tables = _load(source)
    faults: list[str] = []
    notes: list[tuple[str, str]] = [("attribution", f"Imported from {source.resolve().name} (GMNS).")]
    config = dict(tables["config"][0]) if tables.get("config") else {}
    units = Units.of(config, faults)
    nodes, places = _nodes(tables["node"], units, faults)
    if faults:
        raise InputError(faults)
    links = _links(tables, units, places, notes, faults)
    if faults:
        raise InputError(list(dict.fromkeys(faults)))
    used = {str(row[key]) for row in links for key in ("from_node_id", "to_node_id")}
    if dropped := sum(str(row["node_id"]) not in used for row in nodes):
        notes.append(("note", f"{dropped} nodes that no road touches are left out"))
    result: dict[str, Rows] = {
        name: [dict(row) for row in rows]
        for name, rows in tables.items()
        if name not in ("config", "node", "link", "geometry", "zone", "segment", "note")
    }
    result["config"] = [
        {
            "dataset_name": config.get("dataset_name") or stem(source),
            "name_zh": config.get("name_zh", ""),
            "timezone": config.get("timezone", ""),
            **({"driving_side": config["driving_side"]} if config.get("driving_side") else {}),
            "short_length": "m",
            "long_length": "m",
            "speed": "km/h",
            "crs": "EPSG:4326",
        }
    ]
    result["node"] = [row for row in nodes if str(row["node_id"]) in used]
    result["link"] = links
    result["segment"] = _segments(tables.get("segment", []), units)
    _drop_foot_movements(result, {row["link_id"] for row in links}, {row["link_id"] for row in tables["link"]})
    result["zone"] = _zones(tables.get("zone", []), notes)
    known = {str(row["zone_id"]) for row in result["zone"]}
    for row in result["node"]:
        if known and row.get("zone_id") not in known:
            row["zone_id"] = ""
    notes.extend(("note", row["text"]) for row in tables.get("note", []) if row.get("text"))
    result["note"] = [{"kind": kind, "text": text} for kind, text in notes]
    return {name: rows for name, rows in result.items() if rows}


def _nodes(
    rows: list[dict[str, str]], units: Units, faults: list[str]
) -> tuple[Rows, Mapping[str, tuple[float, float]]]:
    table = Table.of("node", rows, faults)
    if not table.requires("node_id", "x_coord", "y_coord"):
        return [], {}
    points = np.column_stack([table.numbers("x_coord", required=True), table.numbers("y_coord", required=True)])
    degrees = to_degrees(table, points[:, 0], points[:, 1], units)
    made: Rows = []
    for row, (lon, lat) in zip(table.rows, degrees.tolist(), strict=True):
        kept = {key: value for key, value in row.items() if key in (*COLUMNS["node"], *_CARRIED["node"])}
        made.append({**kept, "x_coord": round(lon, 8), "y_coord": round(lat, 8)})
    ids = [row["node_id"] for row in table.rows]
    return made, {name: (lon, lat) for name, (lon, lat) in zip(ids, degrees.tolist(), strict=True)}


def _links(
    tables: Mapping[str, list[dict[str, str]]],
    units: Units,
    places: Mapping[str, tuple[float, float]],
    notes: list[tuple[str, str]],
    faults: list[str],
) -> Rows:
    shapes = {row.get("geometry_id", ""): row.get("geometry", "") for row in tables.get("geometry", [])}
    motors = [row for row in tables["link"] if is_for_motors(row.get("allowed_uses", ""))]
    if left_out := len(tables["link"]) - len(motors):
        notes.append(("note", f"{left_out} links without motor vehicles (foot, cycle) are left out"))
    table = Table.of("link", motors, faults)
    if not table.requires("link_id", "from_node_id", "to_node_id"):
        return []
    stated = table.numbers("length", least=0) * units.long_length_m
    speed = table.numbers("free_speed", least=0) * units.speed_m_s / KMH
    lines: list[np.ndarray | None] = []
    for index, row in enumerate(table.rows):
        ends = [row["from_node_id"], row["to_node_id"]]
        wkt = row.get("geometry", "") or shapes.get(row.get("geometry_id", ""), "")
        line: np.ndarray | None = None
        if wkt and wkt.upper() != "NULL":
            try:
                line = units.degrees(parse_line(wkt))
            except ValueError as error:
                table.fault(index, f"geometry is {wkt[:40]!r}, {error}")
                lines.append(None)
                continue
        elif all(end in places for end in ends):
            line = np.array([places[end] for end in ends])
        if line is not None and all(end in places for end in ends):
            # Some folders state dir_flag, some have the points in order anyway: the nodes decide.
            there = np.hypot(*(line[0] - places[ends[0]])) + np.hypot(*(line[-1] - places[ends[1]]))
            back = np.hypot(*(line[-1] - places[ends[0]])) + np.hypot(*(line[0] - places[ends[1]]))
            line = line[::-1] if back < there else line
        lines.append(line)
    drawn = np.array([np.nan if line is None else line_length(line) for line in lines])
    length, assumed = _lengths(stated, drawn, units, notes)
    made: Rows = []
    keep = [name for name in COLUMNS["link"] if name not in ("geometry_id", "dir_flag", "geometry")]
    for index, row in enumerate(table.rows):
        flags = [name for name in row.get("assumed", "").split(";") if name]
        line = lines[index]
        made.append(
            {
                **{name: row[name] for name in keep if name in row},
                "geometry": "" if line is None else format_line(line),
                "length": None if np.isnan(length[index]) else round(float(length[index]), 3),
                "free_speed": None if not speed[index] > 0 else round(float(speed[index]), 4),
                **{name: "" for name in ("capacity", "lanes") if row.get(name) in ("0", "0.0")},
                "assumed": ";".join(dict.fromkeys([*flags, *(["length"] if assumed[index] else [])])),
            }
        )
    return made


def _lengths(
    stated: np.ndarray, drawn: np.ndarray, units: Units, notes: list[tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return lengths (m) and which are assumed; where config.csv and geometry disagree, in the unit that fits."""
    known = (stated > 0) & (drawn > 1)
    length = np.where(stated > 0, stated, drawn)
    assumed = ~(stated > 0)
    if known.any():
        ratio = float(np.median(stated[known] / drawn[known]))
        if not 1 / _FAR_OFF < ratio < _FAR_OFF:
            names = {1.0: "m", 1000.0: "km", 0.3048: "feet", 1609.344: "miles", 0.9144: "yards"}
            factors = {factor: abs(np.log(ratio / units.long_length_m * factor)) for factor in names}
            factor = min(factors, key=factors.__getitem__)
            if factors[factor] < np.log(1.25):
                length = np.where(stated > 0, stated / units.long_length_m * factor, drawn)
                notes.append(
                    (
                        "approximation",
                        f"lengths are in {names[factor]}, not in the unit of config.csv: geometry says so",
                    )
                )
            else:
                length, assumed = drawn.copy(), np.ones(len(drawn), bool)
                notes.append(("approximation", "lengths fit no unit: those of the geometry are taken"))
    off = known & ~assumed & ((length > _FAR_OFF * drawn) | (length < drawn / _FAR_OFF))
    if off.any():
        length, assumed = np.where(off, drawn, length), assumed | off
        notes.append(("approximation", f"{off.sum()} lengths are far off their geometry, which is taken instead"))
    return length, assumed


def _drop_foot_movements(result: dict[str, Rows], kept: set[object], listed: set[str]) -> None:
    """Leave out movements from or to a link that was left out, and their phases; unknown links stay, as faults."""
    gone = listed - {str(name) for name in kept}
    movements = result.get("movement", [])
    lost = {row.get("mvmt_id") for row in movements if {row.get("ib_link_id"), row.get("ob_link_id")} & gone}
    result["movement"] = [row for row in movements if row.get("mvmt_id") not in lost]
    result["signal_phase_mvmt"] = [
        row for row in result.get("signal_phase_mvmt", []) if row.get("mvmt_id") and row["mvmt_id"] not in lost
    ]


def _segments(rows: list[dict[str, str]], units: Units) -> Rows:
    made: Rows = []
    for row in rows:
        new: dict[str, object] = {name: row[name] for name in COLUMNS["segment"] if name in row}
        for column in ("start_lr", "end_lr"):
            try:
                new[column] = round(float(row.get(column, "")) * units.short_length_m, 3)
            except ValueError:
                new[column] = ""
        made.append(new)
    return made


def _zones(rows: list[dict[str, str]], notes: list[tuple[str, str]]) -> Rows:
    """Return the zones; ids that a spreadsheet made equal (2.5E+11) cannot be told apart and are left out."""
    ids = [row.get("zone_id", "") for row in rows]
    if len(set(ids)) < len(ids):
        notes.append(("note", f"{len(ids)} zones are left out: their ids are not unique in the source"))
        return []
    return [{name: row[name] for name in COLUMNS["zone"] if name in row} for row in rows]
