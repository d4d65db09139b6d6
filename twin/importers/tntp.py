"""Road networks of the TNTP collection of test problems (net.tntp, and node.tntp beside it).

Metadata in ``<...>``, then a row a link: ``init_node term_node capacity length free_flow_time b power speed toll ...``.
Nodes below ``<FIRST THRU NODE>`` are centroids of zones, which no trip passes. Units are not stated in the files.
Source: Transportation Networks for Research Core Team, Transportation Networks for Research.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np

from sensors import InputError
from twin.geometry import METRES_PER_DEGREE, Float
from twin.gmns import Tables
from twin.importers.source import beginning, read_text, stem
from twin.links import SHORTEST_LINK_M
from twin.projection import projection
from twin.units import KMH, LENGTH_M, Units

Row = dict[str, object]

TIME_S = {"s": 1.0, "min": 60.0, "h": 3600.0}
# What the collection's networks mostly are; said to be assumed unless the user says it.
LENGTH_UNIT, TIME_UNIT = "km", "min"
# A median beyond these is no speed of roads: a unit is wrong (m/s).
SLOWEST, FASTEST = 5 * KMH, 200 * KMH
# Capacity is of all lanes; a lane carries some 1,900 veh/h (HCM 7th ed. (2022), ch. 12), and no road has more than 10.
LANE_VEH_H, MOST_LANES = 1900.0, 10
_MARK = re.compile(r"<\s*([^>]+?)\s*>([^\n]*)")
_COLUMNS = (
    "init_node",
    "term_node",
    "capacity",
    "length",
    "free_flow_time",
    "b",
    "power",
    "speed",
    "toll",
    "link_type",
)


@dataclass(frozen=True, slots=True)
class TntpUnits:
    """Units that the files do not state; None where the user did not say.

    Parameters
    ----------
    length, time
        Of ``length`` and ``free_flow_time``: m, km, foot, mile, yard; s, min, h.
    hours
        For how many hours capacities and trips are.
    crs
        Of the nodes' coordinates.
    """

    length: str | None = None
    time: str | None = None
    hours: float = 1.0
    crs: str | None = None


def recognises(source: Path) -> bool:
    """Return whether a text begins with metadata of TNTP, be it a network or not: `read` says what else it is."""
    found = _MARK.search(beginning(source).decode("utf-8", "replace"))
    return bool(found and re.match(r"NUMBER OF|FIRST THRU|TOTAL OD|END OF METADATA|ORIGINAL", found.group(1).upper()))


def metadata(source: Path) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """Return the metadata of a file, and its other lines without comments, each with its number.

    Raises
    ------
    InputError
        When the file cannot be read or its metadata does not end.
    """
    found: dict[str, str] = {}
    lines = read_text(source).split("\n")
    for number, line in enumerate(lines, 1):
        mark = _MARK.match(line.strip())
        if mark and mark.group(1).upper() == "END OF METADATA":
            rest = ((k, text.partition("~")[0].strip()) for k, text in enumerate(lines[number:], number + 1))
            return found, [(k, text) for k, text in rest if text]
        if mark:
            found[mark.group(1).upper()] = mark.group(2).strip()
    raise InputError(f"{source.name}: has no <END OF METADATA>; the file is cut off or no TNTP file")


def count(source: Path, marks: Mapping[str, str], key: str) -> int:
    """Return a number of the metadata.

    Raises
    ------
    InputError
        When it is missing or no whole number.
    """
    text = marks.get(key, "")
    if not text.isdigit():
        raise InputError(f"{source.name}: <{key}> is {text!r}, must be a whole number")
    return int(text)


def read(source: Path, *, additional: Iterable[Path] = (), units: TntpUnits | None = None) -> Tables:
    """Return the tables of a TNTP network.

    Parameters
    ----------
    additional
        The file of the nodes' places; when not given, that beside the network (``X_node.tntp`` of ``X_net.tntp``).
    units
        What the files do not state.

    Raises
    ------
    InputError
        When the file is cut off or another kind of TNTP file, or the units give no speeds of roads.
    """
    units = units or TntpUnits()
    marks, lines = metadata(source)
    if "NUMBER OF LINKS" not in marks:
        kind = "a table of trips" if "TOTAL OD FLOW" in marks else "no network"
        raise InputError(f"{source.name}: is {kind} (no <NUMBER OF LINKS>); give net.tntp, and trips with --demand")
    rows = _rows(source, lines, count(source, marks, "NUMBER OF LINKS"))
    zones = count(source, marks, "NUMBER OF ZONES") if "NUMBER OF ZONES" in marks else 0
    first = count(source, marks, "FIRST THRU NODE") if "FIRST THRU NODE" in marks else 1
    notes = [("attribution", f"Imported from {source.name} (TNTP).")]
    length = rows[:, 3] * LENGTH_M[units.length or LENGTH_UNIT]
    time = rows[:, 4] * TIME_S[units.time or TIME_UNIT]
    with np.errstate(divide="ignore", invalid="ignore"):
        speed = np.where((length > 0) & (time > 0), length / time, np.nan)
    _check(source, speed, units, notes)
    ends = rows[:, :2].astype(np.int64)
    names = sorted({*ends.ravel().tolist(), *range(1, zones + 1)} & set(ends.ravel().tolist()))
    places = _places(source, additional, names, ends, length, units, notes)
    links, centroids = _links(rows, ends, length, speed, units, notes), [name for name in names if name < first]
    if centroids:
        notes.append(("note", f"{len(centroids)} nodes are centroids of zones: no trip passes through them"))
    if units.hours != 1:
        notes.append(("note", f"capacities are for {units.hours:g} hours in the source, here for one"))
    return {
        "config": [{"dataset_name": stem(source), "crs": "EPSG:4326", "long_length": "m", "speed": "km/h"}],
        "node": [
            {"node_id": name, "x_coord": x, "y_coord": y, "zone_id": name if name <= zones else ""}
            for name, (x, y) in zip(names, np.round(places, 8).tolist(), strict=True)
        ],
        "zone": [{"zone_id": name} for name in names if name <= zones],
        "link": links,
        "movement": _barred(set(centroids), links),
        "note": [{"kind": kind, "text": text} for kind, text in notes],
    }


def _rows(source: Path, lines: list[tuple[int, str]], n_links: int) -> Float:
    """Return the numbers of the rows, (n_links, 10); columns that a file does not have are NaN."""
    made = np.full((len(lines), len(_COLUMNS)), np.nan)
    faults: list[str] = []
    kept = 0
    for number, text in lines:
        words = text.rstrip(";").split()
        if kept == 0 and any(word.lower() in ("init_node", "init", "term_node") for word in words):
            continue  # the header, in some files no comment
        try:
            values = [float(word) for word in words[: len(_COLUMNS)]]
        except ValueError:
            values = []
        ends = len(values) >= 5 and all(value.is_integer() and value >= 1 for value in values[:2])
        if not ends or not all(math.isfinite(value) and value >= 0 for value in values[:5]):
            rule = "must be init_node, term_node, capacity, length, free_flow_time, ..., all >= 0"
            faults.append(f"{source.name}: line {number}: is {text[:60]!r}, {rule}")
            continue
        made[kept, : len(values)] = values
        kept += 1
    if not faults and kept != n_links:
        rule = "the file is cut off" if kept < n_links else "there are more"
        faults.append(f"{source.name}: has {kept} rows of links, <NUMBER OF LINKS> says {n_links}; {rule}")
    if not faults and not kept:
        faults.append(f"{source.name}: has no links")
    if faults:
        raise InputError(faults)
    return made[:kept]


def _check(source: Path, speed: Float, units: TntpUnits, notes: list[tuple[str, str]]) -> None:
    """Say which units are assumed, and refuse those that make no speeds of roads."""
    length, time = units.length or LENGTH_UNIT, units.time or TIME_UNIT
    known = speed[np.isfinite(speed)]
    median = float(np.median(known)) if len(known) else math.nan
    if len(known) and not SLOWEST <= median <= FASTEST:
        ratio = median / (LENGTH_M[length] / TIME_S[time])
        fits = [
            f"--length-unit {a} --time-unit {b} ({ratio * LENGTH_M[a] / TIME_S[b] / KMH:.0f} km/h)"
            for a in ("km", "mile", "m", "foot")
            for b in TIME_S
            if 15 * KMH <= ratio * LENGTH_M[a] / TIME_S[b] <= 130 * KMH
        ]
        hint = f"try {' or '.join(fits)}" if fits else "name them"
        raise InputError(
            f"{source.name}: with lengths in {length} and times in {time} half of the links are driven at "
            f"{median / KMH:.4g} km/h; the file does not state its units, {hint}"
        )
    if units.length is None or units.time is None:
        text = f"the source states no units: lengths are taken as {length}, times as {time}"
        notes.append(
            ("approximation", f"{text} (--length-unit, --time-unit); half of the links: {median / KMH:.0f} km/h")
        )


def _links(
    rows: Float, ends: np.ndarray, length: Float, speed: Float, units: TntpUnits, notes: list[tuple[str, str]]
) -> list[Row]:
    capacity = rows[:, 2] / units.hours
    lanes = np.clip(np.ceil(capacity / LANE_VEH_H), 1, MOST_LANES)
    notes.append(
        ("approximation", f"lanes are assumed: one for every {LANE_VEH_H:g} veh/h of capacity, at most {MOST_LANES}")
    )
    short = length < SHORTEST_LINK_M
    if short.any():
        notes.append(("note", f"{short.sum()} links have no length in the source: that between their nodes is assumed"))
    if (slow := ~np.isfinite(speed)).any():
        notes.append(
            ("note", f"{slow.sum()} links have no free-flow time in the source: the speed of their class is assumed")
        )
    assumed_length = ["length"] if units.length is None else []
    assumed_speed = ["free_speed"] if units.length is None or units.time is None else []
    made: list[Row] = []
    seen: dict[str, int] = {}
    for k, (a, b) in enumerate(ends.tolist()):
        name = f"{a}-{b}"
        seen[name] = seen.get(name, 0) + 1
        flags = ["lanes", *(["length"] if short[k] else assumed_length), *([] if slow[k] else assumed_speed)]
        made.append(
            {
                "link_id": name if seen[name] == 1 else f"{name}.{seen[name]}",
                "from_node_id": a,
                "to_node_id": b,
                "directed": True,
                "length": "" if short[k] else round(float(length[k]), 3),
                "free_speed": "" if slow[k] else round(float(speed[k]) / KMH, 4),
                "lanes": int(lanes[k]),
                "capacity": round(float(capacity[k] / lanes[k]), 4) if capacity[k] > 0 else "",
                "toll": "" if np.isnan(rows[k, 8]) else rows[k, 8],
                "bpr_b": "" if np.isnan(rows[k, 5]) else rows[k, 5],
                "bpr_power": "" if np.isnan(rows[k, 6]) else rows[k, 6],
                "assumed": ";".join(flags),
            }
        )
    return made


def _barred(centroids: set[int], links: list[Row]) -> list[Row]:
    """Return one movement for each centroid, which nobody chooses: what a listed node does not list is forbidden."""
    arriving = {row["to_node_id"]: row["link_id"] for row in links if row["to_node_id"] in centroids}
    leaving = {row["from_node_id"]: row["link_id"] for row in links if row["from_node_id"] in centroids}
    return [
        {
            "mvmt_id": f"{arriving[node]}>{leaving[node]}",
            "node_id": node,
            "ib_link_id": arriving[node],
            "ob_link_id": leaving[node],
            "allowed_uses": "bus",
        }
        for node in sorted(centroids & set(arriving) & set(leaving))
    ]


def _places(
    source: Path,
    additional: Iterable[Path],
    names: list[int],
    ends: np.ndarray,
    length: Float,
    units: TntpUnits,
    notes: list[tuple[str, str]],
) -> Float:
    """Return the places of the nodes, (n_nodes, 2) degrees."""
    files = list(additional)
    beside = source.with_name(re.sub(r"_net(?=\.tntp)", "_node", source.name, flags=re.IGNORECASE))
    if not files and beside != source and beside.is_file():
        files = [beside]
        notes.append(("note", f"places of the nodes are those of {beside.name}"))
    position = {name: k for k, name in enumerate(names)}
    at = np.vectorize(position.__getitem__)(ends)
    if not files:
        graph = nx.Graph((a, b) for a, b in at.tolist() if a != b)
        graph.add_nodes_from(range(len(names)))
        drawn = nx.spring_layout(graph, seed=1)
        places = np.array([drawn[k] for k in range(len(names))], np.float64)
        notes.append(
            ("placeholder", "the source has no places of its nodes (X_node.tntp): they are drawn, at 0° N, 0° E")
        )
        return _scaled(places, at, length)
    places = np.full((len(names), 2), np.nan)
    for path in files:
        _read_places(path, position, places)
    if missing := [names[k] for k in np.flatnonzero(np.isnan(places).any(axis=1))]:
        raise InputError(f"{files[0].name}: has no place of node {missing[0]} (and of {len(missing) - 1} more)")
    if units.crs is not None or (np.abs(places) <= (180, 90)).all():
        try:
            return Units(projection=projection(units.crs or "")).degrees(places)
        except ValueError as error:
            raise InputError(f"{files[0].name}: {error}") from None
    notes.append(("placeholder", "the coordinates are in no known system (--crs): the network lies at 0° N, 0° E"))
    return _scaled(places, at, length)


def _scaled(places: Float, at: np.ndarray, length: Float) -> Float:
    """Return places about 0° N, 0° E in a scale in which half of the links are longer than their straight line."""
    straight = np.hypot(*(places[at[:, 1]] - places[at[:, 0]]).T)
    known = (straight > 0) & (length > 0)
    scale = float(np.median(length[known] / straight[known])) if known.any() else 1.0
    reach = np.abs(places - places.mean(axis=0)).max() * scale / METRES_PER_DEGREE
    return np.asarray((places - places.mean(axis=0)) * scale / METRES_PER_DEGREE / max(reach / 45, 1.0), np.float64)


def _read_places(path: Path, position: Mapping[int, int], places: Float) -> None:
    """Put the places of a file (``node x y ;``) into the array."""
    faults: list[str] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        words = line.partition("~")[0].replace(";", " ").replace(",", " ").split()
        if len(words) < 3 or _MARK.match(line.strip()) or (number < 10 and not words[0].isdigit()):
            continue  # metadata, header, an empty line
        try:
            name, x, y = int(words[0]), float(words[1]), float(words[2])
        except ValueError:
            name, x, y = 0, math.nan, math.nan
        if not (math.isfinite(x) and math.isfinite(y)):
            faults.append(f"{path.name}: line {number}: is {line.strip()[:60]!r}, must be node, x, y")
        elif name in position:
            places[position[name]] = x, y
    if faults:
        raise InputError(faults)
