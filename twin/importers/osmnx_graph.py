"""Graphs of osmnx: a networkx MultiDiGraph in Python, or its GraphML file.

Nodes carry ``x`` and ``y``, edges ``length`` and the tags of their way; where osmnx merged ways, a tag is a list.
Source: osmnx documentation, "Graph"; Boeing (2017), OSMnx, doi:10.1016/j.compenvurbsys.2017.05.004.
"""

import ast
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import networkx as nx
import numpy as np

from sensors import InputError
from twin.geometry import Float, format_line, parse_line
from twin.gmns import Tables
from twin.importers.osm import tags as words
from twin.importers.source import beginning, read_text, stem
from twin.projection import Projection, projection
from twin.units import Units

Row = dict[str, object]

_NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
Graph = nx.Graph  # networkx names all its graphs so


def recognises(source: Path) -> bool:
    """Return whether a file is GraphML."""
    head = re.sub(rb"<!--.*?(-->|$)|<\?.*?\?>", b"", beginning(source), flags=re.DOTALL)
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<graphml")


def read(source: Path) -> Tables:
    """Return the tables of a GraphML file that osmnx wrote.

    Raises
    ------
    InputError
        When it is cut off, or its nodes have no places.
    """
    try:
        # The standard parser (expat 2.4 and later) bounds the growth of entities; it loads nothing from outside.
        root = ElementTree.fromstring(read_text(source))  # noqa: S314
    except ElementTree.ParseError as error:
        line = error.position[0]
        raise InputError(f"{source.name}: line {line}: is not complete XML ({error}); the file is cut off") from None
    except ValueError as error:  # what expat says of encodings
        raise InputError(f"{source.name}: cannot be read ({error}), must be XML in UTF-8") from None
    return tables_of_graph(_graph(root, source.name), name=stem(source), origin=source.name)


def _graph(root: ElementTree.Element, name: str) -> "nx.MultiDiGraph[str]":
    """Return the graph of a GraphML document, its attributes as text."""
    keys = {key.get("id", ""): key.get("attr.name", "") for key in root.iter(f"{{{_NAMESPACE}}}key")}
    drawn = root.find(f"{{{_NAMESPACE}}}graph")
    if drawn is None:
        raise InputError(f"{name}: is GraphML without a graph")

    def data(element: ElementTree.Element) -> dict[str, str]:
        parts = element.findall(f"{{{_NAMESPACE}}}data")
        return {keys.get(part.get("key", ""), ""): (part.text or "").strip() for part in parts}

    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    graph.graph.update(data(drawn))
    for node in drawn.findall(f"{{{_NAMESPACE}}}node"):
        graph.add_nodes_from([(node.get("id", ""), data(node))])
    for edge in drawn.findall(f"{{{_NAMESPACE}}}edge"):
        u, v = edge.get("source", ""), edge.get("target", "")
        if u not in graph or v not in graph:
            raise InputError(f"{name}: edge {u} to {v}: one of them is no node of the file")
        key = graph.add_edge(u, v, edge.get("id"))
        graph.edges[u, v, key].update(data(edge))
    return graph


def tables_of_graph(graph: "Graph[Any]", *, name: str = "network", origin: str = "a graph of osmnx") -> Tables:
    """Return the tables of a graph of osmnx.

    Parameters
    ----------
    name
        Of the dataset.
    origin
        Where the graph comes from, for people.

    Raises
    ------
    InputError
        With every node without a place and every edge that is none.

    Examples
    --------
    >>> graph = nx.MultiDiGraph(crs="epsg:4326")
    >>> graph.add_nodes_from([(1, {"x": 24.94, "y": 60.17}), (2, {"x": 24.95, "y": 60.17})])
    >>> _ = graph.add_edge(1, 2, length=556.3, highway="primary", lanes="3", maxspeed="40", oneway=True)
    >>> row = tables_of_graph(graph)["link"][0]
    >>> row["link_id"], row["lanes"], row["free_speed"], row["assumed"]
    ('1-2', 3, 40.0, '')
    """
    faults: list[str] = []
    units = Units(projection=_system(graph.graph.get("crs"), origin))
    places = _places(graph, units, origin, faults)
    links: list[Row] = []
    for u, v, key, data in _edges(graph):
        who = f"{origin}: edge {u} to {v}" + (f", key {key}" if str(key) != "0" else "")
        if str(u) in places and str(v) in places:
            links.append(_link(u, v, key, data, who, units, faults, directed=graph.is_directed()))
    if not links and not faults:
        faults.append(f"{origin}: has no edges")
    if faults:
        raise InputError(faults[:1000])
    used = {str(row[end]) for row in links for end in ("from_node_id", "to_node_id")}
    notes = [
        ("attribution", "(c) OpenStreetMap contributors, ODbL 1.0."),
        (
            "note",
            f"Imported from {origin} (osmnx): its links, lengths and tags; turn restrictions are not in such graphs.",
        ),
    ]
    if lonely := len(places) - len(used):
        notes.append(("note", f"{lonely} nodes that no link touches are left out"))
    return {
        "config": [{"dataset_name": name, "crs": "EPSG:4326", "long_length": "m", "speed": "km/h"}],
        "node": [
            {
                "node_id": str(node),
                "x_coord": round(float(places[str(node)][0]), 8),
                "y_coord": round(float(places[str(node)][1]), 8),
                "ctrl_type": "signal" if data.get("highway") == "traffic_signals" else "",
            }
            for node, data in graph.nodes(data=True)
            if str(node) in used
        ],
        "link": links,
        "note": [{"kind": kind, "text": text} for kind, text in notes],
    }


def _edges(graph: "Graph[Any]") -> list[tuple[Any, Any, Any, Mapping[str, Any]]]:
    if graph.is_multigraph():
        return list(graph.edges(keys=True, data=True))  # type: ignore[call-overload]
    return [(u, v, 0, data) for u, v, data in graph.edges(data=True)]


def _system(crs: Any, origin: str) -> Projection | None:
    """Return the projection that a graph names, as text or as an object of pyproj."""
    code = crs.to_epsg() if hasattr(crs, "to_epsg") else None
    try:
        return projection(str(code or crs or ""))
    except ValueError as error:
        raise InputError(
            f"{origin}: {error}; osmnx.projection.project_graph(graph, to_latlong=True) gives degrees"
        ) from None


def _places(graph: "Graph[Any]", units: Units, origin: str, faults: list[str]) -> dict[str, Float]:
    places: dict[str, Float] = {}
    for node, data in graph.nodes(data=True):
        x, y = _number(data.get("x")), _number(data.get("y"))
        if math.isnan(x) or math.isnan(y):
            faults.append(f"{origin}: node {node}: x is {data.get('x')!r} and y {data.get('y')!r}, must be numbers")
            continue
        try:
            places[str(node)] = units.degrees(np.array([[x, y]]))[0]
        except ValueError as error:
            faults.append(f"{origin}: node {node}: {error}")
    return places


def _link(
    u: Any, v: Any, key: Any, data: Mapping[str, Any], who: str, units: Units, faults: list[str], *, directed: bool
) -> Row:
    """Return the row of an edge: a two-way street has an edge each way, each with the tags of the whole way."""
    tag = {name: _values(data.get(name)) for name in ("highway", "lanes", "maxspeed", "name", "oneway", "reversed")}
    kind = next((text for text in tag["highway"] if text in words.CLASSES), "".join(tag["highway"][:1]))
    oneway = "true" in [text.lower() for text in tag["oneway"]] or "yes" in tag["oneway"]
    against = not oneway and "true" in [text.lower() for text in tag["reversed"]]
    way = {"highway": kind, "oneway": "yes" if oneway else "no"}
    counts = [said for text in tag["lanes"] if (said := _lanes({**way, "lanes": text}, against)) is not None]
    lanes, shared = min(counts, default=(None, False))
    speeds = [limit for text in tag["maxspeed"] if (limit := _limit(text)) is not None]
    speed = min(speeds, default=None)
    assumed = ["lanes"] if lanes is None or shared else []
    if speed is None:
        given = _number(data.get("speed_kph"))
        speed = words.DEFAULT_SPEED_KMH.get(kind) if math.isnan(given) or given <= 0 else given
        assumed.append("free_speed")
    length = _number(data.get("length"))
    if not length > 0:
        faults.append(f"{who}: length is {data.get('length')!r}, must be a number > 0")
    return {
        "link_id": f"{u}-{v}" + (f".{key}" if str(key) != "0" else ""),
        "name": " / ".join(tag["name"]),
        "from_node_id": str(u),
        "to_node_id": str(v),
        "directed": directed,
        "geometry": _shape(data.get("geometry"), who, units, faults),
        "length": length,
        "facility_type": kind,
        "free_speed": "" if speed is None else round(speed, 4),
        "lanes": lanes or words.DEFAULT_LANES.get(kind, (1, 1))[oneway],
        "assumed": ";".join(assumed),
    }


def _values(value: Any) -> list[str]:
    """Return a tag as texts: a list, or the text of one as GraphML has it.

    Examples
    --------
    >>> _values("['50', '30']"), _values(["a", "b"]), _values(True), _values(None)
    (['50', '30'], ['a', 'b'], ['True'], [])
    """
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return [value]
    if isinstance(value, list | tuple | set):
        return [str(part) for part in value]
    return [] if value is None or value == "" or (isinstance(value, float) and math.isnan(value)) else [str(value)]


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _lanes(way: Mapping[str, str], against: bool) -> tuple[int, bool] | None:
    """Return the lanes of a direction and whether they were shared out; None when nothing is said."""
    try:
        *sides, shared = words.lanes(way)
    except ValueError:
        return None
    number = sides[against]
    return None if number is None else (number, shared)


def _limit(text: str) -> float | None:
    try:
        return words.speed_kmh(text)
    except ValueError:
        return None


def _shape(value: Any, who: str, units: Units, faults: list[str]) -> str:
    """Return the line of an edge, given as well-known text or as an object of shapely; ``""`` for a straight one."""
    if value is None or value == "":
        return ""
    try:
        return format_line(units.degrees(parse_line(str(getattr(value, "wkt", value)))))
    except ValueError as error:
        faults.append(f"{who}: geometry {error}")
        return ""
