"""Demand of SUMO (rou.xml, plain or gzip): vehicles, trips and flows as the rows of ``trips.csv``.

A *vehicle* has a route, written inside it or named; a *flow* is many vehicles alike; a *trip* knows only its ends. A
*route distribution* gives several routes with probabilities. Source: SUMO documentation, "Definition of Vehicles,
Vehicle Types, and Routes" (Eclipse SUMO, EPL-2.0).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from sensors import InputError
from twin.importers.source import open_bytes

Row = Mapping[str, object]
Route = tuple[str, ...]

GOLDEN = 0.618034  # spreads the vehicles over the routes of a distribution without chance
_TIME_PARTS = (86400.0, 3600.0, 60.0, 1.0)  # of day:hour:minute:second
_ROOTS = ("routes", "additional", "add")


class _Vehicle(NamedTuple):
    """A vehicle: where it stands in the files, and its route, or else the edges at the ends of its trip."""

    trip_id: str
    depart_s: float
    route: Route
    ends: Route
    place: str


@dataclass(slots=True)
class _Demand:
    """What is read of the files."""

    vehicles: list[_Vehicle] = field(default_factory=list)
    routes: dict[str, Route] = field(default_factory=dict)
    shares: dict[str, list[tuple[float, Route]]] = field(default_factory=dict)
    stops: int = 0
    random: int = 0
    faults: list[str] = field(default_factory=list)


def read(sources: Iterable[Path], tables: Mapping[str, Sequence[Row]]) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the rows of ``trips.csv`` in order of departure, and what people should know.

    Parameters
    ----------
    tables
        The network's ``link`` and ``movement``: routes are checked against them.

    Raises
    ------
    InputError
        With every fault of the files: a route over unknown edges or a forbidden turn, a departure without a time.
    """
    demand = _Demand()
    for source in sources:
        _parse(source, demand)
    rows = _rows(demand, tables)
    if demand.faults:
        raise InputError(demand.faults)
    notes = [("note", "trips begin at the upstream end of their first link and leave at the end of their last")]
    if demand.stops:
        notes.append(("approximation", f"{demand.stops} stops on the way (buses) are left out"))
    if demand.random:
        notes.append(("approximation", f"{demand.random} flows with a probability run at their mean rate"))
    return rows, notes


def _parse(source: Path, demand: _Demand) -> None:
    root: ElementTree.Element | None = None
    depth = 0
    try:
        with open_bytes(source) as file:
            # As for networks: expat bounds the growth of entities and loads nothing from outside.
            for event, element in ElementTree.iterparse(file, events=("start", "end")):  # noqa: S314
                depth += 1 if event == "start" else -1
                if root is None:
                    root = element
                    if element.tag not in _ROOTS:
                        raise InputError(f"{source.name}: is a <{element.tag}> file, not SUMO's demand; give .rou.xml")
                elif event == "end" and depth == 1:
                    _read_element(source.name, element, demand)
                    root.clear()
    except ElementTree.ParseError as error:
        line = error.position[0]
        raise InputError(f"{source.name}: line {line}: is not complete XML ({error}); the file is cut off") from None
    except (EOFError, OSError) as error:
        raise InputError(f"{source.name}: is a broken gzip file: {error}") from None


def _read_element(name: str, element: ElementTree.Element, demand: _Demand) -> None:
    """Read one definition; a fault is noted and the next one read."""
    who = f"{name}: <{element.tag}> {element.get('id', '')}".rstrip()
    try:
        if element.tag == "route":
            demand.routes[element.get("id", "")] = tuple(element.get("edges", "").split())
        elif element.tag == "routeDistribution":
            demand.shares[element.get("id", "")] = _shares(element, demand)
        elif element.tag in ("vehicle", "trip", "flow"):
            demand.stops += len(element.findall("stop"))
            _read_vehicles(element, demand, who)
    except ValueError as error:
        demand.faults.append(f"{who}: {error}")


def _shares(element: ElementTree.Element, demand: _Demand) -> list[tuple[float, Route]]:
    """Return the routes of a distribution with their shares, which add up to 1."""
    found: list[tuple[float, Route]] = []
    chances = element.get("probabilities", "").split()
    for place, name in enumerate(element.get("routes", "").split()):
        if name not in demand.routes:
            raise ValueError(f"route {name!r} is not defined before it")
        chance = chances[place] if place < len(chances) else "1"
        found.append((_number(chance, "probabilities"), demand.routes[name]))
    for route in element.findall("route"):
        reference = route.get("refId")
        edges = demand.routes.get(reference, ()) if reference else tuple(route.get("edges", "").split())
        if route.get("id"):
            demand.routes[str(route.get("id"))] = edges
        found.append((_number(route.get("probability", "1"), "probability"), edges))
    total = sum(chance for chance, _ in found)
    if not total > 0:
        raise ValueError("has no route with a probability > 0")
    return [(chance / total, route) for chance, route in found]


def _read_vehicles(element: ElementTree.Element, demand: _Demand, who: str) -> None:
    times = _flow_times(element, demand) if element.tag == "flow" else [_time(element.get("depart"), "depart")]
    inside, reference = element.find("route"), element.get("route")
    choices: list[tuple[float, Route]] = [(1.0, ())]
    if inside is not None:
        choices = [(1.0, tuple(inside.get("edges", "").split()))]
    elif element.find("routeDistribution") is not None:
        choices = _shares(element.find("routeDistribution"), demand)  # type: ignore[arg-type]
    elif reference is not None:
        if reference not in demand.routes and reference not in demand.shares:
            raise ValueError(f"route {reference!r} is not defined before it")
        choices = demand.shares.get(reference) or [(1.0, demand.routes[reference])]
    elif not (element.get("from") and element.get("to")):
        raise ValueError("has neither a route nor the edges from and to; zones (TAZ) are not read")
    own = element.get("id", "")
    for k, time in enumerate(times):
        number = len(demand.vehicles) if element.tag != "flow" else k
        route = _choose(choices, (0.5 + GOLDEN * number) % 1.0)
        trip = own if element.tag != "flow" else f"{own}.{k}"
        ends = route or (element.get("from", ""), element.get("to", ""))
        if not all(ends):
            raise ValueError("its route has no edges")
        demand.vehicles.append(_Vehicle(trip, time, route, ends, who))


def _choose(choices: Sequence[tuple[float, Route]], point: float) -> Route:
    """Return the route in whose share a point (0..1) lies."""
    for share, route in choices:
        point -= share
        if point < 0:
            return route
    return choices[-1][1]


def _flow_times(element: ElementTree.Element, demand: _Demand) -> list[float]:
    """Return the departures of a flow, evenly spaced."""
    begin = _time(element.get("begin", "0"), "begin")
    end = _time(element.get("end"), "end") if element.get("end") else math.nan
    number = _number(element.get("number"), "number") if element.get("number") else math.nan
    gap = math.nan
    for key, hour in (("vehsPerHour", 3600.0), ("perHour", 3600.0)):
        if element.get(key):
            gap = hour / max(_number(element.get(key), key), 1e-12)
    if element.get("period"):
        gap = _number(element.get("period"), "period")
    if element.get("probability"):
        gap = 1.0 / max(_number(element.get("probability"), "probability"), 1e-12)
        demand.random += 1
    if math.isnan(gap):
        if math.isnan(end) or math.isnan(number):
            raise ValueError("needs end and number, or vehsPerHour, period or probability")
        gap = (end - begin) / number if number else math.inf
    if math.isnan(end) and math.isnan(number):
        raise ValueError("needs end or number, else it never ends")
    if not gap > 0:
        raise ValueError(f"lets a vehicle go every {gap:g} s, must be > 0")
    last = number if not math.isnan(number) else math.ceil((end - begin) / gap - 1e-9)
    return [begin + k * gap for k in range(max(0, int(last)))]


def _number(text: str | None, key: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{key} is {text!r}, must be a number >= 0")
    return value


def _time(text: str | None, key: str) -> float:
    """Return a time in seconds, given so or as ``hours:minutes:seconds``."""
    parts = (text or "").split(":")
    if not 1 <= len(parts) <= 4 or len(parts) == 2:
        raise ValueError(f"{key} is {text!r}, must be a time: seconds or h:m:s")
    try:
        return sum(_number(part, key) * size for part, size in zip(parts, _TIME_PARTS[-len(parts) :], strict=True))
    except ValueError:
        raise ValueError(f"{key} is {text!r}, must be a time: seconds or h:m:s") from None


def _rows(demand: _Demand, tables: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Return the rows of ``trips.csv``, and note what the network does not allow, a sentence each."""
    ends = {str(row["link_id"]): (str(row["from_node_id"]), str(row["to_node_id"])) for row in tables["link"]}
    turns = {(str(row["ib_link_id"]), str(row["ob_link_id"])) for row in tables.get("movement", ())}
    listed = {str(row["node_id"]) for row in tables.get("movement", ())}
    seen: dict[tuple[bool, Route], str] = {}
    wrong: dict[str, list[str]] = {}
    ids: set[str] = set()
    rows: list[Row] = []
    for vehicle in sorted(demand.vehicles, key=lambda vehicle: vehicle.depart_s):
        name, links = vehicle.trip_id, vehicle.ends
        if not name or name in ids:
            fault = f"id {name!r} stands twice, ids must be unique" if name else "id is empty"
            demand.faults.append(f"{vehicle.place}: {fault}")
        ids.add(name)
        key = bool(vehicle.route), links
        if key not in seen:
            seen[key] = _wrong(links, ends, turns if vehicle.route else None, listed)
        if seen[key]:
            wrong.setdefault(seen[key], []).append(vehicle.place)
            continue
        nodes = {"from_node_id": ends[links[0]][0], "to_node_id": ends[links[-1]][1]}
        rows.append({"trip_id": name, "depart_s": vehicle.depart_s, **nodes, "link_ids": ";".join(vehicle.route)})
    for sentence, places in wrong.items():
        others = f" (and of {len(places) - 1} more)" if len(places) > 1 else ""
        demand.faults.append(f"{places[0]}: route{others}: {sentence}")
    return rows


def _wrong(
    links: Route, ends: Mapping[str, tuple[str, str]], turns: set[tuple[str, str]] | None, listed: set[str]
) -> str:
    """Return what is wrong with a route, ``""`` when nothing is; only the ends are looked at without ``turns``."""
    for name in links:
        if name not in ends:
            return f"edge {name!r} is no link for motor vehicles of the network"
    if turns is None:
        return ""
    for one, other in pairwise(links):
        node = ends[one][1]
        if node != ends[other][0]:
            return f"edges {one!r} and {other!r} do not meet"
        if node in listed and (one, other) not in turns:
            return f"there is no connection from {one!r} to {other!r}"
    return ""
