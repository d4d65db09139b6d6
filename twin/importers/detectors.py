"""Detectors of a table with places and headings, put on the links of a network.

The link that a table names for a detector is believed when it runs the detector's way; else the nearest link that does
is taken, and that is said. See docs/network.md.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sensors import InputError
from sensors.toml import nearest
from twin.importers.detector_map import DetectorMap, built_in_maps
from twin.importers.source import beginning, read_text
from twin.matching import Streets
from twin.network import Network

Float = npt.NDArray[np.float64]
Row = dict[str, object]

WITHIN_M, WITHIN_DEG = 40.0, 45.0  # of a link that is matched by place and heading
AGAINST_DEG = 90.0  # a named link that is turned more runs another way


def read(source: Path, network: Network, *, detector_map: Path | None = None) -> tuple[list[Row], list[str]]:
    """Return rows of ``sensor.csv`` for the detectors of a table, and what is to be known about them.

    A detector that stands in several rows (one a day) is one; its first row counts.

    Raises
    ------
    InputError
        With every fault of map and table.
    """
    header, delimiter = _header(source)
    if detector_map is not None:
        mapping = DetectorMap.parse(detector_map.name, read_text(detector_map))
    else:
        known = next((m for m in built_in_maps().values() if m.recognise and set(m.recognise) <= set(header)), None)
        if known is None:
            raise InputError(
                f"{source}: its columns ({', '.join(header[:6])}, ...) fit no built-in map of detectors; "
                "name them with --detector-map FILE"
            )
        mapping = known
    faults: list[str] = []
    for ours, theirs in mapping.columns.items():
        for column in theirs:
            if column not in header:
                hint = nearest(column, header)
                faults.append(f"{source.name}: has no column {column!r}, which the map names for {ours}; {hint}")
    if faults:
        raise InputError(faults)
    rows = dict(_rows(source, header, delimiter, mapping, faults))
    if not rows and not faults:
        faults.append(f"{source.name}: has no rows")
    places = np.array([_place(row, source.name, name, faults) for name, row in rows.items()]).reshape(-1, 2)
    headings = np.array([_heading(row, source.name, name, mapping, faults) for name, row in rows.items()])
    if faults:
        raise InputError(faults)
    return _sensors(rows, places, headings, network, mapping)


def _header(source: Path) -> tuple[list[str], str]:
    line = beginning(source).decode("utf-8-sig", "replace").split("\n", 1)[0].strip()
    delimiter = max(",;\t|", key=line.count)
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])], delimiter


def _rows(
    source: Path, header: list[str], delimiter: str, mapping: DetectorMap, faults: list[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each detector once, with our columns."""
    seen: set[str] = set()
    reader = csv.reader(io.StringIO(read_text(source), newline=""), delimiter=delimiter)
    next(reader, None)
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            faults.append(f"{source.name}: line {reader.line_num}: {len(cells)} cells, the header has {len(header)}")
            continue
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        ours = {key: "-".join(row[column] for column in theirs) for key, theirs in mapping.columns.items()}
        name = ours["sensor_id"]
        if not name.strip("- "):
            faults.append(f"{source.name}: line {reader.line_num}: {mapping.columns['sensor_id'][0]} is empty")
        elif name not in seen:
            seen.add(name)
            yield name, ours


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _place(row: Mapping[str, str], file: str, name: str, faults: list[str]) -> tuple[float, float]:
    lat, lon = row.get("lat", ""), row.get("lon", "")
    if "lat_lon" in row:
        lat, _, lon = row["lat_lon"].partition(",")
    place = _number(lon), _number(lat)
    if not (abs(place[0]) <= 180.0 and abs(place[1]) <= 90.0):
        faults.append(f"{file}: detector {name}: its place is {lat!r}, {lon!r}, must be degrees of latitude, longitude")
    return place


def _heading(row: Mapping[str, str], file: str, name: str, mapping: DetectorMap, faults: list[str]) -> float:
    text = row.get("heading", "")
    if not text:
        return np.nan
    degrees = _number(text)
    if not -360.0 <= degrees <= 360.0:
        faults.append(f"{file}: detector {name}: heading is {text!r}, must be degrees from -360 to 360, or empty")
        return np.nan
    return mapping.clockwise(degrees)


def _sensors(
    rows: Mapping[str, Mapping[str, str]], places: Float, headings: Float, network: Network, mapping: DetectorMap
) -> tuple[list[Row], list[str]]:
    """Return the rows of ``sensor.csv``: on the link that is named if it runs the same way, else on the nearest."""
    streets, position = Streets(network), network.links.position
    named = [row.get("link_id", "") for row in rows.values()]
    given = streets.on_links(places, headings, np.array([position.get(name, -1) for name in named], np.int64))
    against = given.turned_deg > AGAINST_DEG
    believed = (given.link >= 0) & ~against & (given.away_m <= WITHIN_M)
    near = streets.match(places, headings, within_m=WITHIN_M, within_deg=WITHIN_DEG)
    quantities = mapping.sensor.get("quantities", ["count_veh"])
    made: list[Row] = []
    for k, (name, row) in enumerate(rows.items()):
        found = given if believed[k] else near
        link = int(found.link[k])
        made.append(
            {
                "sensor_id": name,
                "kind": mapping.sensor.get("kind", "loop"),
                "quantities": ";".join(map(str, quantities)) if isinstance(quantities, list) else quantities,
                "link_id": network.links.ids[link] if link >= 0 else "",
                "position_m": round(min(float(found.position_m[k]), float(network.links.length[link])), 1)
                if link >= 0
                else "",
                "lanes": row.get("lanes", ""),
                "interval_s": mapping.sensor.get("interval_s", 3600),
                "owner": row.get("owner", "") or mapping.sensor.get("owner", ""),
                "x_coord": float(places[k, 0]),
                "y_coord": float(places[k, 1]),
                "named_link_id": named[k],
                "assumed": "" if believed[k] else "link_id",
            }
        )
    return made, _notes(made, named, against, given.link < 0, believed, mapping)


def _notes(
    made: list[Row],
    named: list[str],
    against: npt.NDArray[np.bool_],
    unknown: npt.NDArray[np.bool_],
    believed: npt.NDArray[np.bool_],
    mapping: DetectorMap,
) -> list[str]:
    notes = [mapping.attribution] if mapping.attribution else []
    lost = np.array([row["link_id"] == "" for row in made], bool)
    has_name = np.array([name != "" for name in named], bool)
    far = has_name & ~unknown & ~against & ~believed
    why = (
        (against, f"names a link that runs another way (turned by more than {AGAINST_DEG:.0f} degrees)"),
        (far, f"lies more than {WITHIN_M:.0f} m from the link that it names"),
        (has_name & unknown, "names a link that the network has not"),
        (~has_name, "names no link"),
    )
    for which, words in why:
        if not which.any():
            continue
        left = [str(made[k]["sensor_id"]) for k in np.flatnonzero(which & lost)]
        told = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        notes.append(
            f"{int(which.sum())} of {len(made)} detectors: each {words}; {int((which & ~lost).sum())} were put on the "
            f"nearest link within {WITHIN_M:.0f} m and {WITHIN_DEG:.0f} degrees"
            + (f", {len(left)} have none there and stay without a link: {told}" if left else "")
        )
    return notes
