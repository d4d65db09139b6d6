"""Road networks of SUMO (net.xml, plain or gzip), read as plain XML without SUMO.

An *edge* of SUMO is a link, a *connection* a movement, a *tlLogic* a signal plan. Lane 0 is the rightmost in SUMO, lane
1 the leftmost here. Source: SUMO documentation, "SUMO Road Networks" and "Traffic Lights" (Eclipse SUMO, EPL-2.0).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from sensors import InputError
from twin.geometry import METRES_PER_DEGREE, Float, format_line
from twin.gmns import Tables
from twin.importers.source import beginning, open_bytes, stem
from twin.projection import Projection, projection, transverse_mercator, utm
from twin.timing import Pair, Step, plan_of_timeline, timing_rows
from twin.units import Units

Row = Mapping[str, object]

GENERAL = frozenset({"passenger", "private", "all"})
MOTOR = GENERAL | {"bus", "coach", "taxi", "truck", "trailer", "delivery", "hov", "evehicle", "motorcycle", "moped"}
_TURNS = {"s": "thru", "l": "left", "L": "left", "r": "right", "R": "right", "t": "uturn", "T": "uturn"}
_ROOT = re.compile(rb"<\s*([A-Za-z][\w:-]*)")


def recognises(source: Path) -> bool:
    """Return whether a file is XML of SUMO, be it a network or not: `read` says what else it is."""
    head = re.sub(rb"<!--.*?(-->|$)|<\?.*?\?>|<!.*?>", b"", beginning(source), flags=re.DOTALL)
    found = _ROOT.search(head)
    return bool(found and found.group(1) in (b"net", b"routes", b"additional", b"add", b"configuration"))


@dataclass(slots=True)
class _Lane:
    """A lane with what it is for."""

    speed: float
    length: float
    general: bool
    motor: bool


@dataclass(slots=True)
class _Edge:
    """An edge with its lanes, rightmost first."""

    ends: tuple[str, str]
    kind: str
    name: str
    shape: str
    lanes: list[_Lane] = field(default_factory=list)

    @property
    def motor(self) -> bool:
        return any(lane.motor for lane in self.lanes)

    @property
    def general(self) -> bool:
        return any(lane.general for lane in self.lanes)


@dataclass(slots=True)
class _Net:
    """What is read of the file."""

    name: str
    location: Mapping[str, str] = field(default_factory=dict)
    types: dict[str, tuple[str, str]] = field(default_factory=dict)
    edges: dict[str, _Edge] = field(default_factory=dict)
    junctions: dict[str, tuple[float, float, str]] = field(default_factory=dict)
    connections: list[dict[str, str]] = field(default_factory=list)
    programs: dict[str, tuple[str, float, list[tuple[float, str]]]] = field(default_factory=dict)
    more_programs: set[str] = field(default_factory=set)
    drives_left: bool = False
    notes: list[tuple[str, str]] = field(default_factory=list)

    def number(self, element: ElementTree.Element, key: str, default: float | None = None) -> float:
        text = element.get(key)
        try:
            value = float(text) if text is not None else default
        except ValueError:
            value = None
        if value is None or not np.isfinite(value):
            what = f"<{element.tag}> {element.get('id', '')}".strip()
            raise InputError(f"{self.name}: {what}: {key} is {text!r}, must be a number")
        return value


_Reader = Callable[[_Net, ElementTree.Element], None]


def _allowed(allow: str | None, disallow: str | None) -> tuple[bool, bool]:
    """Return whether general traffic and whether any motor vehicle may use a lane."""
    if allow is not None:
        classes = set(allow.split())
        return bool(classes & GENERAL), bool(classes & MOTOR)
    if disallow is not None:
        classes = set(disallow.split())
        if "all" in classes:
            return False, False
        return "passenger" not in classes, not classes >= MOTOR - {"all"}
    return True, True


def _parse(source: Path, additional: Iterable[Path] = ()) -> _Net:
    """Return what the network's file holds; signal programs of additional files stand in for its own, as in SUMO."""
    net = _Net(source.name)
    _walk(source, net, _READERS, ("net",), "not a network; give its .net.xml")
    for path in additional:
        more = _Net(path.name)
        _walk(path, more, {"tlLogic": _read_program}, ("additional", "add"), "not an additional file")
        if not more.programs:
            net.notes.append(("note", f"{path.name} holds no signal programs; nothing else of such files is read"))
        if unknown := sorted(set(more.programs) - set(net.programs)):
            raise InputError(f"{path.name}: <tlLogic> {unknown[0]}: the network has no such signal")
        net.programs |= more.programs
        net.more_programs = net.more_programs - set(more.programs) | more.more_programs
    return net


def _walk(source: Path, net: _Net, readers: Mapping[str, _Reader], roots: tuple[str, ...], otherwise: str) -> None:
    """Read a file element by element, so that the memory stays that of the network."""
    root: ElementTree.Element | None = None
    try:
        with open_bytes(source) as file:
            # The standard parser (expat 2.4 and later) bounds the growth of entities; it loads nothing from outside.
            for event, element in ElementTree.iterparse(file, events=("start", "end")):  # noqa: S314
                if root is None:
                    root = element
                    net.drives_left |= element.get("lefthand", "").lower() in ("true", "1", "yes", "on", "t", "x")
                    if element.tag not in roots:
                        raise InputError(f"{source.name}: is a <{element.tag}> file of SUMO, {otherwise}")
                elif event == "end" and element.tag in readers:
                    readers[element.tag](net, element)
                    element.clear()
                    root.clear()
    except ElementTree.ParseError as error:
        line = error.position[0]
        raise InputError(f"{source.name}: line {line}: is not complete XML ({error}); the file is cut off") from None
    except (LookupError, ValueError) as error:  # what expat says of encodings
        raise InputError(f"{source.name}: cannot be read ({error}), must be XML in UTF-8") from None
    except (EOFError, OSError) as error:
        raise InputError(f"{source.name}: is a broken gzip file: {error}") from None


def _read_edge(net: _Net, element: ElementTree.Element) -> None:
    if element.get("function", "normal") not in ("normal", ""):
        return  # the inside of a junction, a crossing, a walking area
    ends = element.get("from", ""), element.get("to", "")
    edge = _Edge(ends, element.get("type", ""), element.get("name", ""), element.get("shape", ""))
    allow, disallow = net.types.get(edge.kind, ("", ""))
    for lane in element.findall("lane"):
        own = lane.get("allow"), lane.get("disallow")
        general, motor = _allowed(*(own if own != (None, None) else (allow or None, disallow or None)))
        edge.lanes.append(_Lane(net.number(lane, "speed"), net.number(lane, "length"), general, motor))
    if edge.lanes:
        net.edges[element.get("id", "")] = edge


def _read_junction(net: _Net, element: ElementTree.Element) -> None:
    kind = element.get("type", "")
    if kind != "internal":
        net.junctions[element.get("id", "")] = (net.number(element, "x"), net.number(element, "y"), kind)


def _read_connection(net: _Net, element: ElementTree.Element) -> None:
    if not element.get("from", ":").startswith(":"):
        net.connections.append(dict(element.attrib))


def _read_program(net: _Net, element: ElementTree.Element) -> None:
    name = element.get("id", "")
    if name in net.programs:
        net.more_programs.add(name)
        return
    steps = [(net.number(step, "duration"), step.get("state", "")) for step in element.findall("phase")]
    net.programs[name] = (element.get("type", "static"), net.number(element, "offset", 0.0), steps)


def _read_type(net: _Net, element: ElementTree.Element) -> None:
    net.types[element.get("id", "")] = (element.get("allow", ""), element.get("disallow", ""))


_READERS: dict[str, _Reader] = {
    "location": lambda net, element: setattr(net, "location", dict(element.attrib)),
    "type": _read_type,
    "edge": _read_edge,
    "junction": _read_junction,
    "connection": _read_connection,
    "tlLogic": _read_program,
}


def _system(text: str) -> Projection | None:
    """Return the projection of SUMO's ``projParameter`` (PROJ words), None when there is none."""
    if text.strip() in ("", "!", "-", "."):
        return None
    words = dict(word.lstrip("+").partition("=")[::2] for word in text.split())
    if words.get("init"):
        return projection(words["init"])
    if words.get("proj") == "utm" and words.get("zone", "").isdigit():
        return utm(int(words["zone"]), north="south" not in words)
    if words.get("proj") == "tmerc":
        number = {key: float(words.get(key, "0")) for key in ("lon_0", "lat_0", "x_0", "y_0")}
        return transverse_mercator(**number, k=float(words.get("k_0", words.get("k", "1"))))
    raise ValueError(f"projParameter is {text!r}, must be UTM or transverse Mercator")


class _Places:
    """Turns the coordinates of the file into degrees."""

    def __init__(self, net: _Net, notes: list[tuple[str, str]]) -> None:
        self.name = net.name
        try:
            self.projection = _system(net.location.get("projParameter", ""))
            offset = [float(word) for word in net.location.get("netOffset", "0,0").split(",")]
            self.offset = np.array(offset[:2]).reshape(2)
        except ValueError as error:
            raise InputError(f"{net.name}: <location>: {error}") from None
        if self.projection is None:
            notes.append(("placeholder", "the source has no geographic coordinates: the network lies at 0° N, 0° E"))

    def degrees(self, points: Float, what: str) -> Float:
        # Without a projection about the equator, where a degree is the same in both directions.
        plane = points / METRES_PER_DEGREE if self.projection is None else points - self.offset
        try:
            return Units(projection=self.projection).degrees(plane)
        except ValueError as error:
            raise InputError(f"{self.name}: {what}: {error}") from None


def _facility(kind: str) -> str:
    """Return the road part of an edge type such as ``cycleway.lane|highway.primary``."""
    return next((part.removeprefix("highway.") for part in kind.split("|") if part.startswith("highway.")), kind)


def _links(net: _Net, places: _Places) -> list[Row]:
    rows: list[Row] = []
    for name, edge in net.edges.items():
        if not edge.motor:
            continue
        for end, junction in zip(("from", "to"), edge.ends, strict=True):
            if junction not in net.junctions:
                raise InputError(f"{net.name}: <edge> {name}: {end} is {junction!r}, which is no junction of the file")
        try:
            words = [[float(x) for x in point.split(",")[:2]] for point in edge.shape.split()]
            points = np.array(words or [list(net.junctions[end][:2]) for end in edge.ends])
            points = points.reshape(-1, 2)
        except ValueError:
            raise InputError(f"{net.name}: <edge> {name}: shape is {edge.shape[:40]!r}, must be x,y x,y ...") from None
        line = places.degrees(points, f"<edge> {name}")
        motor = [lane for lane in edge.lanes if lane.motor]
        rows.append(
            {
                "link_id": name,
                "name": edge.name,
                "from_node_id": edge.ends[0],
                "to_node_id": edge.ends[1],
                "directed": True,
                "geometry": format_line(line) if len(line) > 1 else "",
                "length": round(sum(lane.length for lane in motor) / len(motor), 3),
                "facility_type": _facility(edge.kind),
                "free_speed": round(max(lane.speed for lane in motor) * 3.6, 4),
                "lanes": len(motor),
                "allowed_uses": "auto, bus" if edge.general else "bus",
            }
        )
    return rows


def _movements(net: _Net, *, reserved: bool) -> tuple[list[Row], dict[Pair, list[dict[str, str]]]]:
    """Return the rows of ``movement.csv``, and the connections of each movement.

    General traffic does not enter a link for buses alone: such movements exist only from other bus links, or are
    ``reserved`` for vehicles whose route is given.
    """
    found: dict[Pair, list[dict[str, str]]] = defaultdict(list)
    lanes: dict[Pair, set[int]] = defaultdict(set)
    for connection in net.connections:
        pair = connection.get("from", ""), connection.get("to", "")
        ib, ob = net.edges.get(pair[0]), net.edges.get(pair[1])
        index = connection.get("fromLane", "")
        if ib is None or ob is None or not (ib.motor and ob.motor):
            continue
        gate = ib.general and not ob.general
        if gate and not reserved:
            continue
        if not index.isdigit() or int(index) >= len(ib.lanes):
            raise InputError(
                f"{net.name}: <connection> from {pair[0]} to {pair[1]}: fromLane is {index!r}, "
                f"the edge has lanes 0 to {len(ib.lanes) - 1}"
            )
        lane = ib.lanes[int(index)]
        if lane.general or (lane.motor and (gate or not ib.general)):
            # Lanes of bicycles lie outside; those of motors are counted from the left.
            lanes[pair].add(sum(other.motor for other in ib.lanes[int(index) :]))
            found[pair].append(connection)
    rows: list[Row] = [
        {
            "mvmt_id": f"{pair[0]}>{pair[1]}",
            "node_id": net.edges[pair[0]].ends[1],
            "ib_link_id": pair[0],
            "start_ib_lane": min(lanes[pair]),
            "end_ib_lane": max(lanes[pair]),
            "ob_link_id": pair[1],
            "type": _TURNS.get(connections[0].get("dir", ""), ""),
            "ctrl_type": "signal" if connections[0].get("tl") else "",
            "allowed_uses": "bus" if net.edges[pair[0]].general and not net.edges[pair[1]].general else "",
        }
        for pair, connections in found.items()
    ]
    return rows, found


def _signals(
    net: _Net, found: Mapping[Pair, list[dict[str, str]]], notes: list[tuple[str, str]]
) -> dict[str, list[dict[str, object]]]:
    """Return the timing tables, one controller a program: a movement is green while a connection of it shows green."""
    controlled: dict[str, dict[Pair, list[int]]] = defaultdict(lambda: defaultdict(list))
    for pair, connections in found.items():
        for connection in connections:
            program, index = connection.get("tl", ""), connection.get("linkIndex", "")
            if program in net.programs and index.isdigit():
                controlled[program][pair].append(int(index))
    plans, adaptive = [], []
    for name, pairs in controlled.items():
        kind, offset, steps = net.programs[name]
        nodes = {net.edges[pair[0]].ends[1] for pair in pairs}
        # A movement without a signal of its own at a signalised node may always go.
        free = {pair for pair, c in found.items() if net.edges[pair[0]].ends[1] in nodes and not c[0].get("tl")}
        timeline = []
        for duration, state in steps:
            green = {pair for pair, indices in pairs.items() if _green(state, indices)}
            yielding = {pair for pair in green if not _green(state, pairs[pair], "GO")}
            timeline.append(Step(duration, frozenset(free | green), frozenset(yielding)))
        plan = plan_of_timeline(name, timeline, offset_s=offset)
        if plan is not None:
            plans.append(plan)
            adaptive += [name] if kind != "static" else []
    if plans:
        notes.append(("approximation", "signals: yellow counts as red"))
    if adaptive:
        notes.append(
            ("approximation", f"{len(adaptive)} adaptive signals run as fixed plans: {', '.join(adaptive[:5])}, ...")
        )
    if net.more_programs:
        notes.append(("note", f"{len(net.more_programs)} signals have several programs, the first is used"))
    return timing_rows(plans, {pair: f"{pair[0]}>{pair[1]}" for pair in found})


def _green(state: str, indices: Iterable[int], letters: str = "GgsOo") -> bool:
    """Return whether one of a movement's signals lets it pass: G, or giving way g, s (after a stop); O, o (off)."""
    return any(k < len(state) and state[k] in letters for k in indices)


def read(source: Path, *, additional: Iterable[Path] = (), reserved: bool = False) -> Tables:
    """Return the tables of a SUMO network.

    Parameters
    ----------
    additional
        Files whose signal programs replace those of the network, as SUMO's ``--additional-files``.
    reserved
        Keep movements into links for buses alone, for vehicles whose route is given.

    Raises
    ------
    InputError
        When the file is cut off, another kind of SUMO file, or in an unknown projection.
    """
    net = _parse(source, additional)
    notes = [("attribution", f"Imported from {source.name} (SUMO network)."), *net.notes]
    places = _Places(net, notes)
    links = _links(net, places)
    if not links:
        raise InputError(f"{source.name}: has no edge for motor vehicles")
    used = {str(row[key]) for row in links for key in ("from_node_id", "to_node_id")}
    movements, found = _movements(net, reserved=reserved)
    timing = _signals(net, found, notes)
    if left_out := len(net.edges) - len(links):
        notes.append(("note", f"{left_out} edges without motor vehicles (rail, foot, cycle) are left out"))
    if buses := sum(row["allowed_uses"] == "bus" for row in links):
        notes.append(("approximation", f"{buses} links are for buses alone: other traffic does not turn into them"))
    notes.append(("note", "length is the lane length of the source, which ends at the edge of the junctions"))
    nodes = [(name, junction) for name, junction in net.junctions.items() if name in used]
    lon_lat = places.degrees(np.array([junction[:2] for _, junction in nodes]), "<junction>")
    return {
        "config": [
            {
                "dataset_name": stem(source),
                "crs": "EPSG:4326",
                "long_length": "m",
                "speed": "km/h",
                **({"driving_side": "left"} if net.drives_left else {}),
            }
        ],
        "node": [
            {
                "node_id": name,
                "x_coord": round(float(lon), 7),
                "y_coord": round(float(lat), 7),
                "ctrl_type": "signal" if kind.startswith("traffic_light") else "",
            }
            for (name, (_, _, kind)), (lon, lat) in zip(nodes, lon_lat, strict=True)
        ],
        "link": links,
        "movement": movements,
        **timing,
        "note": [{"kind": kind, "text": text} for kind, text in notes],
    }
