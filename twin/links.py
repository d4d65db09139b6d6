"""Links of a network: attributes in SI with the fundamental diagram, and what of them is assumed."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import compress

import numpy as np
import numpy.typing as npt

from twin.geometry import Float, line_lengths, parse_line, parse_lines, split_points
from twin.nodes import Nodes
from twin.tables import Table
from twin.units import KMH, Units

Int = npt.NDArray[np.int32]

MOTORWAY, ARTERIAL, COLLECTOR, LOCAL = 0, 1, 2, 3
CLASS_NAMES = ("motorway", "arterial", "collector", "local")

# Design speeds by class: CJJ 37-2012 (2016), Code for design of urban road engineering, table 3.2.1:
# expressway 60-100, trunk 40-60, secondary 30-50, branch 20-40 km/h; the middle of each. Lanes: one direction of its
# common cross sections.
DEFAULT_SPEED_KMH = (80.0, 50.0, 40.0, 30.0)
DEFAULT_LANES = (3, 2, 1, 1)
# Jam density 150 veh/km per lane and wave speed 18 km/h: Treiber and Kesting (2013), Traffic Flow Dynamics, ch. 8
# (typical city values 120-160 and 15-20); with 50 km/h they give 1,985 veh/h per lane.
DEFAULT_JAM_DENSITY_VEH_KM = 150.0
DEFAULT_WAVE_SPEED_KMH = 18.0
# A shorter link than this is a point: hardly longer than the rounding of coordinates.
SHORTEST_LINK_M = 0.1
# Beyond these a number is a slip of the unit or of the pen, and would cost the engine more room than a machine has.
LONGEST_LINK_M = 10_000_000.0
MOST_LANES = 100
FASTEST_M_S = 300.0
DENSEST_VEH_KM = 1000.0  # a vehicle every metre

_CLASS_WORDS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (MOTORWAY, ("motorway", "freeway", "expressway", "interstate", "trunk", "ring", "highway_motorway", "快速路")),
    (ARTERIAL, ("arterial", "primary", "secondary", "major", "boulevard", "主干路")),
    (COLLECTOR, ("collector", "tertiary", "minor", "distributor", "次干路")),
    (LOCAL, ("local", "residential", "living", "service", "unclassified", "street", "access", "支路")),
)
_RESERVED = frozenset({"bus", "buses", "taxi", "hov", "tram", "emergency"})
_MOTOR = re.compile(r"auto|car|truck|bus|sov|hov|vehicle|motor|drive|taxi|all", re.IGNORECASE)


def link_class(facility_type: str, free_speed_kmh: float) -> int:
    """Return the class of a link from the words of its facility type, else from its speed.

    Examples
    --------
    >>> link_class("Minor Arterial", 50), link_class("highway.motorway_link", 80), link_class("", 50)
    (1, 0, 1)
    """
    number = _class_by_words(facility_type)
    if number is not None:
        return number
    if not math.isfinite(free_speed_kmh):
        return LOCAL
    return sum(free_speed_kmh < limit for limit in (75.0, 49.0, 39.0))


@lru_cache(maxsize=4096)
def _class_by_words(facility_type: str) -> int | None:
    """Return the class that a facility type names; a city has a few types and a hundred thousand links."""
    text = facility_type.lower().removeprefix("highway.")
    return next((number for number, words in _CLASS_WORDS if any(word in text for word in words)), None)


@lru_cache(maxsize=4096)
def is_for_motors(allowed_uses: str) -> bool:
    """Return whether motor vehicles may use a link or movement of these uses; an empty list means all.

    Examples
    --------
    >>> [is_for_motors(uses) for uses in ("", "ALL", "WALK, BIKE", "auto, bike")]
    [True, True, False, True]
    """
    return not allowed_uses.strip() or bool(_MOTOR.search(allowed_uses))


@lru_cache(maxsize=4096)
def is_for_all(allowed_uses: str) -> bool:
    """Return whether general traffic may use a movement; an empty list means all.

    Examples
    --------
    >>> [is_for_all(uses) for uses in ("", "bus", "auto, bus", "bus;bike")]
    [True, False, True, False]
    """
    words = re.findall(r"[a-z]+", allowed_uses.lower())
    motors = [word for word in words if is_for_motors(word)]
    return not motors or not _RESERVED.issuperset(motors)


@dataclass(frozen=True, slots=True)
class Links:
    """Directed links in the order of ``link.csv``; an undirected row gives two, the second with ``-r`` after its id.

    Parameters
    ----------
    ids
        In the order of the links.
    position
        Position of each id.
    row : (n_links,)
        Row of ``link.csv``.
    from_node, to_node : (n_links,)
        Node positions.
    length : (n_links,) m
    lanes : (n_links,)
    free_speed, wave_speed : (n_links,) m/s
    jam_density : (n_links,) veh/m over all lanes
    capacity : (n_links,) veh/s over all lanes
    priority : (n_links,)
        In the measure of capacity.
    link_class : (n_links,)
    names, names_zh
        Street names, ``""`` where there is none.
    assumed
        Columns of each link that are imputed.
    geometry
        Of each link, (k, 2) degrees.
    """

    ids: tuple[str, ...]
    position: dict[str, int]
    row: Int
    from_node: Int
    to_node: Int
    length: Float
    lanes: Int
    free_speed: Float
    wave_speed: Float
    jam_density: Float
    capacity: Float
    priority: Float
    link_class: Int
    names: tuple[str, ...]
    names_zh: tuple[str, ...]
    assumed: tuple[tuple[str, ...], ...]
    geometry: tuple[Float, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.row)


@dataclass(slots=True)
class _Columns:
    """The columns of ``link.csv`` while they are being completed; one entry a row."""

    length: Float
    lanes: Float
    speed: Float
    wave: Float
    jam: Float
    capacity: Float
    priority: Float
    classes: Int
    assumed: list[tuple[str, ...]]


def motor_rows(table: Table) -> list[bool]:
    """Return which rows carry motor vehicles; foot and cycle paths stay in the table and out of the network."""
    uses = table.text("allowed_uses")
    return [is_for_motors(text) for text in uses]


def _complete(table: Table, units: Units) -> _Columns:
    """Read the attribute columns, and put the default of its class where a cell is empty."""
    c = _Columns(
        length=table.numbers("length", above=0, most=LONGEST_LINK_M / units.long_length_m) * units.long_length_m,
        lanes=table.numbers("lanes", least=1, most=MOST_LANES, whole=True),
        speed=table.numbers("free_speed", above=0, most=FASTEST_M_S / units.speed_m_s) * units.speed_m_s,
        wave=table.numbers("wave_speed", above=0, most=FASTEST_M_S / KMH, default=DEFAULT_WAVE_SPEED_KMH) * KMH,
        jam=table.numbers("jam_density", above=0, most=DENSEST_VEH_KM, default=DEFAULT_JAM_DENSITY_VEH_KM) / 1000,
        capacity=table.numbers("capacity", above=0) / 3600,
        priority=table.numbers("priority", above=0) / 3600,
        classes=np.zeros(len(table), np.int32),
        assumed=table.lists("assumed"),
    )
    facility = table.text("facility_type")
    pairs = zip(facility, (c.speed * 3.6).tolist(), strict=True)
    c.classes[:] = [link_class(words, speed) for words, speed in pairs]
    for column, values, defaults in (
        ("lanes", c.lanes, np.array(DEFAULT_LANES, float)),
        ("free_speed", c.speed, np.array(DEFAULT_SPEED_KMH) * KMH),
    ):
        missing = np.isnan(values)
        values[missing] = defaults[c.classes[missing]]
        for index in np.flatnonzero(missing).tolist():
            if column not in c.assumed[index]:
                c.assumed[index] = (*c.assumed[index], column)
    top = c.speed * c.wave * c.jam / (c.speed + c.wave)
    c.capacity = np.where(np.isnan(c.capacity), top, np.minimum(c.capacity, top))
    return c


def _shapes(
    table: Table, shapes: Mapping[str, str], units: Units, nodes: Nodes, ends: tuple[Int, Int]
) -> list[Float | None]:
    """Return the geometry of each row in degrees, from its from-node to its to-node; a straight line without one."""
    lines: list[Float | None] = []
    flags = table.numbers("dir_flag", least=-1, most=1, whole=True, default=1)
    backwards = [flag == -1 for flag in flags.tolist()]
    keys, texts = table.text("geometry_id"), table.text("geometry")
    drawn = _parsed_at_once([text for text in texts if text], units)
    starts, stops = ends[0].tolist(), ends[1].tolist()
    straight = nodes.lon_lat[np.column_stack(ends)] if len(nodes) else np.zeros((len(table), 2, 2))
    for index, text in enumerate(texts):
        start, end = starts[index], stops[index]
        wkt = text or shapes.get(keys[index], "")
        if text and drawn is not None:
            degrees = next(drawn)
            lines.append(degrees[::-1] if backwards[index] else degrees)
        elif wkt and wkt.upper() != "NULL":
            try:
                degrees = units.degrees(parse_line(wkt))
            except ValueError as error:
                table.fault(index, f"geometry is {wkt[:40]!r}, {error}")
                lines.append(None)
                continue
            lines.append(degrees[::-1] if backwards[index] else degrees)
        elif start >= 0 and end >= 0:
            lines.append(straight[index])
        else:
            lines.append(None)
    return lines


def _parsed_at_once(texts: list[str], units: Units) -> Iterator[Float] | None:
    """Return the lines of plainly written texts in degrees, None when one of them has to be looked at by itself."""
    found = parse_lines(texts)
    if not texts or found is None:
        return None
    points, counts = found
    try:
        return iter(split_points(units.degrees(points), counts))
    except ValueError:
        return None


def read_links(table: Table, geometry: Table, nodes: Nodes, units: Units) -> Links:
    """Return the links of ``link.csv``; every fault is noted in the table.

    With capacity c, free speed v, wave speed w and jam density k per lane the fundamental diagram is the triangle
    (v, w, k) cut at c when c is below its top ``v w k / (v + w)``, and the triangle when c is missing.
    """
    kept = motor_rows(table)
    if not all(kept):
        table = Table(
            table.name,
            table.rows.take(kept),
            list(compress(table.lines, kept)),
            table.faults,
            table.columns,
            table.readable,
        )
    rows = np.flatnonzero(kept)
    if not table.requires("link_id", "from_node_id", "to_node_id"):
        table = Table(table.name, faults=table.faults)
    elif not len(table):
        table.faults.append("link.csv: has no rows for motor vehicles, a network needs links")
    ids = table.ids("link_id")
    ends = (
        table.references("from_node_id", nodes.position, "node.csv").astype(np.int32),
        table.references("to_node_id", nodes.position, "node.csv").astype(np.int32),
    )
    columns = _complete(table, units)
    lines = _shapes(
        table,
        dict(zip(geometry.text("geometry_id"), geometry.text("geometry"), strict=True)),
        units,
        nodes,
        ends,
    )
    drawn = [(k, line) for k, text in enumerate(table.text("length")) if not text and (line := lines[k]) is not None]
    if drawn:
        columns.length[[k for k, _ in drawn]] = line_lengths([line for _, line in drawn])
        for index, _ in drawn:
            columns.assumed[index] = (*columns.assumed[index], "length")
            if columns.length[index] < SHORTEST_LINK_M:  # of an end that lies nowhere its node's row tells
                table.fault(index, "length is empty and its geometry has none either, must be > 0")
    return _directed(table, ids, rows, ends, columns, lines)


def _directed(
    table: Table,
    ids: Mapping[str, int],
    rows: npt.NDArray[np.int64],
    ends: tuple[Int, Int],
    c: _Columns,
    lines: list[Float | None],
) -> Links:
    """Return one link per direction."""
    directed = table.flags("directed", default=True)
    texts = table.text("link_id")
    position: dict[str, int] = {}
    order: list[int] = list(range(len(table)))
    reverse: list[bool] = [False] * len(table)
    if all(directed):
        for index, name in enumerate(texts):
            position.setdefault(name, index)
    else:
        order, reverse = [], []
        for index in range(len(table)):
            for backwards in (False,) if directed[index] else (False, True):
                name = texts[index] + ("-r" if backwards else "")
                if backwards and name in ids:
                    sentence = f"is undirected, so its other direction is called {name!r}, but that id is taken"
                    table.fault(index, sentence)
                position.setdefault(name, len(order))
                order.append(index)
                reverse.append(backwards)
    at, back = np.array(order, np.int64), np.array(reverse, bool)
    lanes = c.lanes[at]
    empty = np.zeros((0, 2))
    shape = [
        empty if (line := lines[i]) is None else (line[::-1] if b else line)
        for i, b in zip(order, reverse, strict=True)
    ]
    for line in shape:
        line.flags.writeable = False
    unique = {names: tuple(dict.fromkeys(names)) for names in set(c.assumed)}
    names, names_zh = table.text("name"), table.text("name_zh")
    capacity = c.capacity[at] * lanes
    return Links(
        ids=tuple(position),
        position=position,
        row=rows[at].astype(np.int32) if len(at) else np.zeros(0, np.int32),
        from_node=np.where(back, ends[1][at], ends[0][at]).astype(np.int32),
        to_node=np.where(back, ends[0][at], ends[1][at]).astype(np.int32),
        length=c.length[at],
        lanes=np.nan_to_num(lanes, nan=1.0).astype(np.int32),
        free_speed=c.speed[at],
        wave_speed=c.wave[at],
        jam_density=c.jam[at] * lanes,
        capacity=capacity,
        priority=np.where(np.isnan(c.priority[at]), capacity, c.priority[at]),
        link_class=c.classes[at],
        names=tuple(names[i] for i in order),
        names_zh=tuple(names_zh[i] for i in order),
        assumed=tuple(unique[c.assumed[i]] for i in order),
        geometry=tuple(shape),
    )
