"""Road networks of CityFlow (roadnet.json): intersections, roads of lanes, road links and light phases, in metres.

A *road* is a link, a *road link* a movement, lane 0 the innermost. A *virtual* intersection is the rim of the map. Of
the movements that are green together right turns give way to all, left turns to those that go on. Source: CityFlow
documentation, "Roadnet File Format"; Zhang et al. (2019), CityFlow, doi:10.1145/3308558.3314139.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sensors import InputError
from twin.geometry import METRES_PER_DEGREE, Float, format_line
from twin.gmns import Tables
from twin.importers.cityflow_signals import recorded_phases
from twin.importers.source import beginning, read_text, stem
from twin.links import LONGEST_LINK_M, MOST_LANES
from twin.timing import Pair, Step, plan_of_timeline, timing_rows

Row = Mapping[str, object]

# A road link yields to those of a higher rank.
_RANK = {"turn_right": 1, "turn_left": 2, "go_straight": 3}
_TURNS = {"turn_right": "right", "turn_left": "left", "go_straight": "thru", "turn_u": "uturn"}


def recognises(source: Path) -> bool:
    """Return whether a file begins as JSON with a list of intersections or roads."""
    head = beginning(source).lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"{") and head[1:].lstrip().startswith((b'"intersections"', b'"roads"'))


@dataclass(frozen=True, slots=True)
class _Movement:
    """One road link: its roads, its kind and the lanes (1 is the leftmost) from which it starts."""

    pair: Pair
    kind: str
    lanes: tuple[int, ...]


@dataclass(slots=True)
class _Node:
    """One intersection."""

    place: tuple[float, float]
    movements: list[_Movement] = field(default_factory=list)
    controlled: frozenset[int] = frozenset()
    phases: list[tuple[float, frozenset[int]]] = field(default_factory=list)


class _Reader:
    """Reads the parts of the document, and gathers what is wrong with them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: list[str] = []

    def items(self, of: Any, key: str, who: str) -> list[dict[str, Any]]:
        """Return a list of objects; anything else is a fault."""
        found = of.get(key) if isinstance(of, dict) else None
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            self.faults.append(f"{self.name}: {who}: {key} must be a list of objects")
            return []
        return found

    def number(self, of: Any, key: str, who: str, *, least: float = -LONGEST_LINK_M) -> float:
        value: Any = of.get(key) if isinstance(of, dict) else None
        right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not right or not least <= value <= LONGEST_LINK_M:
            rule = "a number" if least < 0 else f"a number >= {least:g}"
            self.faults.append(f"{self.name}: {who}: {key} is {_short(value)}, must be {rule}")
            return math.nan
        return float(value)

    def point(self, of: Any, who: str) -> tuple[float, float]:
        return self.number(of, "x", who), self.number(of, "y", who)


def _short(value: object) -> str:
    return "missing" if value is None else repr(value)[:40]


def read(source: Path, *, additional: Iterable[Path] = ()) -> Tables:
    """Return the tables of a CityFlow road network.

    Parameters
    ----------
    additional
        Recorded phases (CSV: intersection, t_s, phase) that are shown instead of the cycle of all phases.

    Raises
    ------
    InputError
        With every fault of the file: what is missing, or names a road or intersection that is not there.
    """
    document = load(source)
    reader = _Reader(source.name)
    nodes = _nodes(reader, document)
    links, lanes = _links(reader, document, nodes)
    _movements(reader, document, nodes, links, lanes)
    if not links and not reader.faults:
        reader.faults.append(f"{source.name}: has no roads")
    if reader.faults:
        raise InputError(list(dict.fromkeys(reader.faults)))
    notes = [
        ("attribution", f"Imported from {source.name} (CityFlow road network)."),
        ("placeholder", "the source has no geographic coordinates: the network lies at 0° N, 0° E"),
        ("note", "length is that of the road's points, from the middle of one junction to that of the next"),
    ]
    shown = {name: node.phases for name, node in nodes.items()}
    for path in additional:
        shown |= recorded_phases(path, shown)
        notes.append(("note", f"signals run as recorded in {path.name}"))
    plans = []
    for name, node in nodes.items():
        steps = [_step(node, time, green) for time, green in shown[name]] if len(shown[name]) > 1 else []
        plan = plan_of_timeline(name, steps) if node.movements else None
        plans += [plan] if plan is not None else []
    used = {str(row[end]) for row in links for end in ("from_node_id", "to_node_id")}
    if lonely := len(nodes) - len(used):
        notes.append(("note", f"{lonely} intersections that no road touches are left out"))
    signals = {plan.node_id for plan in plans}
    ids = [name for name in nodes if name in used]
    places = np.array([nodes[name].place for name in ids]) / METRES_PER_DEGREE
    return {
        "config": [{"dataset_name": stem(source), "crs": "EPSG:4326", "long_length": "m", "speed": "km/h"}],
        "node": [
            {"node_id": name, "x_coord": x, "y_coord": y, "ctrl_type": "signal" if name in signals else ""}
            for name, (x, y) in zip(ids, np.round(places, 8).tolist(), strict=True)
        ],
        "link": links,
        "movement": [
            {
                "mvmt_id": f"{movement.pair[0]}>{movement.pair[1]}",
                "node_id": name,
                "ib_link_id": movement.pair[0],
                "start_ib_lane": min(movement.lanes),
                "end_ib_lane": max(movement.lanes),
                "ob_link_id": movement.pair[1],
                "type": _TURNS.get(movement.kind, ""),
                "ctrl_type": "signal" if name in signals else "",
            }
            for name, node in nodes.items()
            for movement in node.movements
        ],
        **timing_rows(plans, {m.pair: f"{m.pair[0]}>{m.pair[1]}" for node in nodes.values() for m in node.movements}),
        "note": [{"kind": kind, "text": text} for kind, text in notes],
    }


def load(source: Path) -> Any:
    """Return the document of a JSON file.

    Raises
    ------
    InputError
        When it is cut off or no JSON; the sentence names the line.
    """
    try:
        return json.loads(read_text(source))
    except json.JSONDecodeError as error:
        where = f"{source.name}: line {error.lineno}"
        raise InputError(f"{where}: is not complete JSON ({error.msg}); the file is cut off or damaged") from None
    except RecursionError:
        raise InputError(f"{source.name}: is nested too deeply to be a road network") from None


def _nodes(reader: _Reader, document: Any) -> dict[str, _Node]:
    nodes: dict[str, _Node] = {}
    for k, item in enumerate(reader.items(document, "intersections", "the document"), 1):
        name = item.get("id")
        if not isinstance(name, str) or not name.strip():
            reader.faults.append(f"{reader.name}: intersection {k}: id is {_short(name)}, must be a text")
        elif name in nodes:
            reader.faults.append(f"{reader.name}: intersection {name}: stands twice")
        else:
            nodes[name] = _Node(reader.point(item.get("point"), f"intersection {name}: point"))
    return nodes


def _links(reader: _Reader, document: Any, nodes: Mapping[str, _Node]) -> tuple[list[Row], dict[str, int]]:
    """Return the rows of ``link.csv``, and the number of lanes by road."""
    rows: list[Row] = []
    lanes: dict[str, int] = {}
    for k, item in enumerate(reader.items(document, "roads", "the document"), 1):
        name = item.get("id")
        who = f"road {name if isinstance(name, str) else k}"
        if not isinstance(name, str) or not name.strip() or name in lanes:
            reader.faults.append(f"{reader.name}: {who}: id is {_short(name)}, must be a text that stands once")
            continue
        ends = [str(item.get(key, "")) for key in ("startIntersection", "endIntersection")]
        for key, end in zip(("startIntersection", "endIntersection"), ends, strict=True):
            if end not in nodes:
                reader.faults.append(f"{reader.name}: {who}: {key} {end[:40]!r} is none of the file's intersections")
        of = reader.items(item, "lanes", who)
        lanes[name] = len(of)
        if not 1 <= len(of) <= MOST_LANES:
            reader.faults.append(f"{reader.name}: {who}: has {len(of)} lanes, must be 1 to {MOST_LANES}")
            continue
        speed = max(reader.number(lane, "maxSpeed", f"{who}: a lane", least=0.01) for lane in of)
        points = [reader.point(point, f"{who}: a point") for point in reader.items(item, "points", who)]
        places = points or [nodes[end].place for end in ends if end in nodes]
        line = np.array(places, np.float64).reshape(-1, 2)
        length = _length(line)
        if not length > 0 and not np.isnan(line).any():
            reader.faults.append(f"{reader.name}: {who}: its points have no length, must be two or more apart")
        rows.append(
            {
                "link_id": name,
                "from_node_id": ends[0],
                "to_node_id": ends[1],
                "directed": True,
                "geometry": format_line(line / METRES_PER_DEGREE) if len(line) > 2 else "",
                "length": round(length, 3),
                "free_speed": round(speed * 3.6, 4),
                "lanes": len(of),
            }
        )
    return rows, lanes


def _length(line: Float) -> float:
    return float(np.hypot(*np.diff(line, axis=0).T).sum()) if len(line) > 1 else 0.0


def _movements(
    reader: _Reader, document: Any, nodes: Mapping[str, _Node], links: list[Row], lanes: Mapping[str, int]
) -> None:
    """Put road links and phases into their intersections."""
    ends = {str(row["link_id"]): (row["from_node_id"], row["to_node_id"]) for row in links}
    for item in document.get("intersections", []) if isinstance(document, dict) else []:
        name = item.get("id")
        node = nodes.get(name) if isinstance(name, str) else None
        if node is None or not isinstance(item.get("roadLinks"), list):
            continue
        for k, part in enumerate(reader.items(item, "roadLinks", f"intersection {name}")):
            who = f"intersection {name}: road link {k}"
            pair = str(part.get("startRoad")), str(part.get("endRoad"))
            joined = [ends.get(road) for road in pair]
            if None in joined or joined[0][1] != name or joined[1][0] != name:  # type: ignore[index]
                reader.faults.append(f"{reader.name}: {who}: roads {pair[0]!r} and {pair[1]!r} do not meet there")
                pair = ("", "")
            index = {lane.get("startLaneIndex") for lane in reader.items(part, "laneLinks", who)}
            used = sorted(lane + 1 for lane in index if isinstance(lane, int) and 0 <= lane < lanes.get(pair[0], 0))
            if pair[0] and len(used) < max(len(index), 1):
                rule = f"must be 0 to {lanes[pair[0]] - 1}"
                reader.faults.append(f"{reader.name}: {who}: startLaneIndex is {sorted(map(str, index))}, {rule}")
            node.movements.append(_Movement(pair, str(part.get("type")), tuple(used) or (1,)))
        light = item.get("trafficLight")
        if item.get("virtual") or not isinstance(light, dict) or not node.movements:
            continue
        node.controlled = _indices(reader, light.get("roadLinkIndices"), node, f"intersection {name}: trafficLight")
        for k, phase in enumerate(reader.items(light, "lightphases", f"intersection {name}: trafficLight")):
            who = f"intersection {name}: light phase {k}"
            time = reader.number(phase, "time", who, least=0)
            node.phases.append((time, _indices(reader, phase.get("availableRoadLinks"), node, who)))


def _indices(reader: _Reader, values: Any, node: _Node, who: str) -> frozenset[int]:
    count = len(node.movements)
    right = [k for k in values if type(k) is int and 0 <= k < count] if isinstance(values, list) else []
    if not isinstance(values, list) or len(right) < len(values):
        reader.faults.append(
            f"{reader.name}: {who}: names road links {_short(values)}, must be a list of 0 to {count - 1}"
        )
    return frozenset(right)


def _step(node: _Node, time: float, green: frozenset[int]) -> Step:
    """Return what is green in a phase: its road links, and those that no light controls."""
    shown = [m for k, m in enumerate(node.movements) if k in green or k not in node.controlled]
    yields = {
        one.pair
        for one in shown
        for other in shown
        if other.pair[0] != one.pair[0]
        and _RANK.get(other.kind, 0) > _RANK.get(one.kind, 0)
        and (other.pair[1] == one.pair[1] or one.kind == "turn_left")
    }
    return Step(time, frozenset(m.pair for m in shown), frozenset(yields))
