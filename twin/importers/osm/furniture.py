"""Street furniture and buildings of the map as the rows of ``asset.csv`` and ``building.csv``."""

import math
from collections.abc import Mapping

import numpy as np
from scipy.spatial import KDTree

from twin.furniture import DEFAULT_HEIGHT_M
from twin.geometry import METRES_PER_DEGREE, Float, format_polygon
from twin.importers.osm.extract import Extract, Point
from twin.importers.osm.pieces import Long
from twin.importers.osm.roads import Roads
from twin.importers.osm.signals import Signals
from twin.importers.osm.tags import point_kind

Row = Mapping[str, object]

STOREY_M = 3.0
TALLEST_M = 900.0
# Furniture of a piece stands at its side; what stands farther off belongs to something else, m.
FARTHEST_M = 40.0
# Between two points of a link that are compared with the place of furniture, m.
_SPACING_M = 15.0


def assets(extract: Extract, roads: Roads, signals: Signals, node_names: Mapping[int, str]) -> list[Row]:
    """Return the signals of the network, and the furniture that stands beside it, each with its link."""
    found = [(point, kind) for point in extract.points if (kind := point_kind(point.tags))]
    found = [
        (point, kind)
        for point, kind in found
        if kind != "signal" or point.node_id in signals.junction or point.node_id in signals.between
    ]
    links = _nearest_links(extract, roads, [point for point, _ in found])
    rows: list[Row] = []
    for (point, kind), near in zip(found, links, strict=True):
        node = signals.junction.get(point.node_id) if kind == "signal" else None
        link = signals.between.get(point.node_id) if kind == "signal" else near
        rows.append(
            {
                "asset_id": f"{kind}-{point.node_id}",
                "kind": kind,
                "name": point.tags.get("name", ""),
                "x_coord": round(point.lon_lat[0], 7),
                "y_coord": round(point.lon_lat[1], 7),
                "node_id": "" if node is None else node_names[node],
                "link_id": "" if link is None else roads.ids[link],
                "owner": "",
            }
        )
    return rows


def _nearest_links(extract: Extract, roads: Roads, points: list[Point]) -> list[int | None]:
    """Return the link beside which each point stands, None where there is none near."""
    if not points or not len(roads):
        return [None] * len(points)
    pieces = roads.pieces
    scale = METRES_PER_DEGREE * np.array([math.cos(math.radians(float(extract.lon_lat[0, 1]))), 1.0])
    link_of = np.full(len(pieces), -1)
    link_of[roads.piece[::-1]] = np.arange(len(roads))[::-1]  # the first link of each piece
    place, owner = _samples(pieces.points, pieces.first, pieces.last, extract.lon_lat * scale)
    far, near = KDTree(place).query(np.array([point.lon_lat for point in points]) * scale)
    beside = np.asarray(far) <= FARTHEST_M
    found = link_of[owner[np.asarray(near)]]
    return [int(link) if ok else None for link, ok in zip(found.tolist(), beside.tolist(), strict=True)]


def _samples(points: Long, first: Long, last: Long, xy: Float) -> tuple[Float, Long]:
    """Return places along all pieces, some metres apart, and the piece of each."""
    counts = last - first  # steps of each piece
    piece = np.repeat(np.arange(len(first)), counts)
    begin = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
    a, b = xy[points[begin]], xy[points[begin + 1]]
    parts = np.maximum(np.hypot(*(b - a).T) / _SPACING_M, 1).astype(np.int64)
    step = np.repeat(np.arange(len(a)), parts)
    number = np.arange(len(step)) - np.repeat(np.cumsum(parts) - parts, parts)
    share = ((number + 0.5) / parts[step])[:, None]
    return a[step] + share * (b[step] - a[step]), piece[step]


def buildings(extract: Extract) -> list[Row]:
    """Return the buildings whose outline is one closed way; those of several outlines are not read."""
    rows: list[Row] = []
    for way in extract.buildings:
        at = extract.positions(way.refs)
        if len(at) < 4 or at[0] != at[-1] or (at < 0).any():
            continue
        height = _height(way.tags)
        rows.append(
            {
                "building_id": f"b{way.way_id}",
                "height_m": DEFAULT_HEIGHT_M if height is None else height,
                "geometry": format_polygon((extract.lon_lat[at],)),
            }
        )
    return rows


def _height(tags: Mapping[str, str]) -> float | None:
    for key, scale in (("height", 1.0), ("building:levels", STOREY_M)):
        try:
            height = float(tags.get(key, "").lower().removesuffix("m").strip().replace(",", ".")) * scale
        except ValueError:
            continue
        if 0 < height <= TALLEST_M:
            return round(height, 2)
    return None
