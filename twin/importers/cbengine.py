"""Road networks as CBEngine text: KDD Cup 2021 City Brain Challenge, LibSignal.

One number a line announces what follows: nodes ``latitude longitude id signalised``, then roads of three lines
(``from to length_m speed_m_s lanes lanes_back id id_back`` and the lane permissions of both directions, three flags
left, straight, right for each lane), then signals ``node link link link link``, -1 where an arm is missing.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sensors import InputError
from twin.geometry import line_length
from twin.gmns import Tables
from twin.importers.source import beginning, read_text, stem
from twin.links import SHORTEST_LINK_M

Row = Mapping[str, object]

# Fields that hold the same value (almost) everywhere carry no information: they are placeholders.
PLACEHOLDER_SHARE = 0.8
_FEWEST_TO_JUDGE = 20


def recognises(source: Path) -> bool:
    """Return whether a file begins with a number of nodes and a line of latitude, longitude, id and flag."""
    lines = beginning(source).decode("utf-8", "replace").lstrip("\ufeff").split("\n")[:2]
    if len(lines) < 2 or not lines[0].strip().isdigit():
        return False
    words = lines[1].split()
    try:
        return len(words) == 4 and all(math.isfinite(float(word)) for word in words[:2])
    except ValueError:
        return False


@dataclass(slots=True)
class Words:
    """The words of a file in order, each with its line."""

    name: str
    words: list[tuple[int, str]]
    at: int = 0

    @property
    def line(self) -> int:
        """Line of the word taken last."""
        return self.words[self.at - 1][0] if self.at else 1

    def take(self, what: str, count: int) -> list[str]:
        """Return the next words; the file is cut off when there are fewer."""
        taken = self.words[self.at : self.at + count]
        self.at += len(taken)
        if len(taken) < count:
            raise InputError(f"{self.name}: ends after line {self.line}, in {what}; the file is cut off")
        return [word for _, word in taken]

    def number(self, word: str, what: str, *, whole: bool = False) -> float:
        """Return a word as a number."""
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (whole and not value.is_integer()):
            kind = "a whole number" if whole else "a number"
            raise InputError(f"{self.name}: line {self.line}: {what} is {word!r}, must be {kind}")
        return value

    def count(self, what: str) -> int:
        """Return the next word as the number of things that follow."""
        number = self.number(self.take(f"the number of {what}", 1)[0], f"the number of {what}", whole=True)
        if number < 0:
            raise InputError(f"{self.name}: line {self.line}: the number of {what} is {number:g}, must be >= 0")
        return int(number)


@dataclass(frozen=True, slots=True)
class _Road:
    """One direction of a road."""

    link_id: str
    ends: tuple[str, str]
    length: float
    speed: float
    permissions: tuple[tuple[bool, bool, bool], ...]
    line: int


def _nodes(words: Words) -> dict[str, tuple[float, float, bool]]:
    """Return longitude, latitude and signal flag of each node."""
    nodes: dict[str, tuple[float, float, bool]] = {}
    count = words.count("nodes")
    for k in range(count):
        row = words.take(f"node {k + 1} of {count}", 4)
        lat, lon = words.number(row[0], "latitude"), words.number(row[1], "longitude")
        if abs(lat) > 90 or abs(lon) > 180:
            hint = "; latitude comes first in this format" if abs(lat) <= 180 and abs(lon) <= 90 else ""
            raise InputError(
                f"{words.name}: line {words.line}: node {row[2]} lies at latitude {lat:g}, longitude {lon:g}, "
                f"which is not on the globe{hint}"
            )
        if row[2] in nodes:
            raise InputError(f"{words.name}: line {words.line}: node {row[2]} stands twice")
        nodes[row[2]] = (lon, lat, words.number(row[3], "signalised") > 0)
    return nodes


def _roads(words: Words, nodes: dict[str, tuple[float, float, bool]]) -> list[_Road]:
    roads: list[_Road] = []
    count = words.count("roads")
    for k in range(count):
        what = f"road {k + 1} of {count}"
        row = words.take(what, 8)
        line = words.line
        for node in row[:2]:
            if node not in nodes:
                raise InputError(f"{words.name}: line {line}: {what} ends at node {node}, which the file does not list")
        length, speed = words.number(row[2], f"length of {what}"), words.number(row[3], f"speed of {what}")
        lanes = [int(words.number(word, f"lanes of {what}", whole=True)) for word in row[4:6]]
        if min(lanes) < 0 or max(lanes) > 30 or length < 0 or speed <= 0:
            raise InputError(
                f"{words.name}: line {line}: {what} has length {row[2]}, speed {row[3]}, lanes {row[4]} and {row[5]}; "
                "length must be >= 0, speed > 0, lanes 0 to 30"
            )
        for direction in (0, 1):
            flags = words.take(f"the lane permissions of {what}", 3 * lanes[direction])
            if strange := [flag for flag in flags if flag not in ("0", "1")]:
                raise InputError(
                    f"{words.name}: line {words.line}: a lane permission is {strange[0]!r}, must be 0 or 1"
                )
            turns = [flag == "1" for flag in flags]
            permissions = tuple((turns[i], turns[i + 1], turns[i + 2]) for i in range(0, len(turns), 3))
            if lanes[direction]:
                ends = (row[direction], row[1 - direction])
                roads.append(_Road(row[6 + direction], ends, length, speed, permissions, line))
    return roads


def _links(roads: list[_Road], nodes: dict[str, tuple[float, float, bool]], notes: list[tuple[str, str]]) -> list[Row]:
    """Return the rows of ``link.csv``; lanes that are the same everywhere are flagged as assumed."""
    lanes = {len(road.permissions) for road in roads}
    placeholder = len(roads) >= _FEWEST_TO_JUDGE and len(lanes) == 1
    if placeholder:
        notes.append(("placeholder", f"every link of the source has {lanes.pop()} lanes: they are assumed"))
    rows: list[Row] = []
    seen: set[str] = set()
    loops = zero = 0
    for road in roads:
        if road.ends[0] == road.ends[1]:
            loops += 1
            continue
        if road.link_id in seen:
            raise InputError(f"line {road.line}: link {road.link_id} stands twice")
        seen.add(road.link_id)
        length, assumed = road.length, ["lanes"] if placeholder else []
        if length < SHORTEST_LINK_M:
            zero += 1
            assumed.append("length")
            length = max(line_length(np.array([nodes[end][:2] for end in road.ends])), 1.0)
        rows.append(
            {
                "link_id": road.link_id,
                "from_node_id": road.ends[0],
                "to_node_id": road.ends[1],
                "directed": True,
                "length": length,
                "lanes": len(road.permissions),
                "free_speed": round(road.speed * 3.6, 6),
                "assumed": ";".join(assumed),
            }
        )
    if loops:
        notes.append(("note", f"{loops} links that begin and end at the same node are left out"))
    if zero:
        notes.append(("note", f"{zero} links have no length in the source: the distance of their nodes is assumed"))
    return rows


def _movements(roads: list[_Road], nodes: dict[str, tuple[float, float, bool]]) -> list[Row]:
    """Return the movements that the lane permissions allow: left, straight and right by the angle of the out-link."""
    leaving: dict[str, list[_Road]] = defaultdict(list)
    for road in roads:
        if road.ends[0] != road.ends[1]:
            leaving[road.ends[0]].append(road)
    rows: list[Row] = []
    for road in roads:
        others = [out for out in leaving[road.ends[1]] if out.ends[1] != road.ends[0]]
        if road.ends[0] == road.ends[1]:
            continue
        for out in others or leaving[road.ends[1]]:
            turn = 0 if not others else _turn(road, out, nodes)
            lanes = [k for k, flags in enumerate(road.permissions, 1) if flags[turn]]
            if not lanes:
                continue
            rows.append(
                {
                    "mvmt_id": f"{road.link_id}>{out.link_id}",
                    "node_id": road.ends[1],
                    "ib_link_id": road.link_id,
                    "start_ib_lane": lanes[0],
                    "end_ib_lane": lanes[-1],
                    "ob_link_id": out.link_id,
                    "type": "uturn" if not others else ("left", "thru", "right")[turn],
                }
            )
    return rows


def _turn(road: _Road, out: _Road, nodes: dict[str, tuple[float, float, bool]]) -> int:
    """Return 0, 1 or 2: left, straight (within 45 degrees), right."""
    (x0, y0, _), (x1, y1, _), (x2, y2, _) = (nodes[name] for name in (*road.ends, out.ends[1]))
    squeeze = math.cos(math.radians(y1))
    turn = math.atan2(y2 - y1, (x2 - x1) * squeeze) - math.atan2(y1 - y0, (x1 - x0) * squeeze)
    turn = (turn + math.pi) % (2 * math.pi) - math.pi
    return 0 if turn > math.pi / 4 else (2 if turn < -math.pi / 4 else 1)


def read(source: Path) -> Tables:
    """Return the tables of a CBEngine road network.

    Raises
    ------
    InputError
        When the file is cut off or not in this format; the sentence names the line.
    """
    lines = read_text(source).split("\n")
    words = Words(source.name, [(n, word) for n, line in enumerate(lines, 1) for word in line.split()])
    nodes = _nodes(words)
    roads = _roads(words, nodes)
    if not roads:
        raise InputError(f"{source.name}: has no roads")
    notes = [("attribution", f"Imported from {source.name} (CBEngine text).")]
    if words.at < len(words.words):
        signals = words.count("signals")
        for k in range(signals):
            words.take(f"signal {k + 1} of {signals}", 5)
    else:
        notes.append(("note", "the source ends after its roads, without a list of signals"))
    links = _links(roads, nodes, notes)
    alike = len(roads) >= _FEWEST_TO_JUDGE and len({road.permissions for road in roads}) == 1
    if alike:
        notes.append(("placeholder", "lane permissions are the same on every link of the source and are left out"))
    flagged = [name for name, (_, _, signal) in nodes.items() if signal]
    placeholder = len(nodes) >= _FEWEST_TO_JUDGE and len(flagged) >= PLACEHOLDER_SHARE * len(nodes)
    if placeholder:
        notes.append(
            ("placeholder", f"{len(flagged)} of {len(nodes)} nodes are flagged as signalised: the flags are left out")
        )
    elif flagged:
        notes.append(("placeholder", f"{len(flagged)} signalised nodes have no timing in the source"))
    return {
        "config": [{"dataset_name": stem(source), "crs": "EPSG:4326", "long_length": "m", "speed": "km/h"}],
        "node": [
            {
                "node_id": name,
                "x_coord": lon,
                "y_coord": lat,
                "ctrl_type": "signal" if signal and not placeholder else "",
            }
            for name, (lon, lat, signal) in nodes.items()
        ],
        "link": links,
        "movement": [] if alike else _movements(roads, nodes),
        "note": [{"kind": kind, "text": text} for kind, text in notes],
    }
