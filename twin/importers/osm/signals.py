"""Signals of the map on the junctions that they steer.

Mappers put a signal on the junction itself, or on the stop line before it, or, for those who walk, between junctions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from twin.geometry import step_lengths
from twin.importers.osm.extract import Extract, Point
from twin.importers.osm.pieces import Long
from twin.importers.osm.roads import Roads
from twin.importers.osm.tags import point_kind

# A stop line is hardly farther from its junction than this, m.
FARTHEST_M = 50.0
_JUNCTION = 3  # pieces


@dataclass(slots=True)
class Signals:
    """Where the signals of a city are.

    Parameters
    ----------
    junction
        Node (position) that each signal (node of the map) steers.
    between
        Link on which each of the others stands.
    """

    junction: dict[int, int] = field(default_factory=dict)
    between: dict[int, int] = field(default_factory=dict)


def snap(extract: Extract, roads: Roads) -> Signals:
    """Return the junction that each signal of the map steers: its own node, else the next one downstream."""
    found = Signals()
    signals = [point for point in extract.points if point_kind(point.tags) == "signal"]
    at = extract.positions(np.array([point.node_id for point in signals], np.int64))
    known = [(point, node) for point, node in zip(signals, at.tolist(), strict=True) if node >= 0]
    pieces_at = _pieces_at(roads, np.array([node for _, node in known], np.int64))
    reach = _Reach(roads)
    for point, node in known:
        if reach.is_junction(node):
            found.junction[point.node_id] = node
            continue
        starts = [
            (gap, link)
            for piece, place in pieces_at.get(node, ())
            for gap, link in _onto(piece, place, point, extract, roads)
        ]
        ends = [(way, end) for gap, link in starts for way, end in [reach.downstream(link, gap)] if end >= 0]
        if ends:
            found.junction[point.node_id] = min(ends)[1]
        elif starts:
            found.between[point.node_id] = min(starts, key=lambda start: start[1])[1]
    return found


def _pieces_at(roads: Roads, nodes: Long) -> Mapping[int, list[tuple[int, int]]]:
    """Return the pieces that pass each node, with the place of the node among the points."""
    pieces = roads.pieces
    wanted = np.flatnonzero(np.isin(pieces.points, nodes))
    result: dict[int, list[tuple[int, int]]] = {}
    # Pieces lie one after the other among the points; two of them share the point at which they meet.
    order = np.argsort(pieces.first, kind="stable")
    first, last = pieces.first[order], pieces.last[order]
    for place in wanted.tolist():
        near = int(np.searchsorted(first, place, side="right")) - 1
        for k in range(max(near - 1, 0), near + 1):
            if len(first) and first[k] <= place <= last[k]:
                result.setdefault(int(pieces.points[place]), []).append((int(order[k]), place))
    return result


def _onto(piece: int, place: int, point: Point, extract: Extract, roads: Roads) -> list[tuple[float, int]]:
    """Return the links of a piece on which one passes a signal, each with the way left to its end, m."""
    pieces = roads.pieces
    side = point.tags.get("traffic_signals:direction", point.tags.get("direction", ""))
    first = int(pieces.first[piece])
    steps = step_lengths(extract.lon_lat[pieces.points[first : int(pieces.last[piece]) + 1]])
    before, after = float(steps[: place - first].sum()), float(steps[place - first :].sum())
    links = np.flatnonzero(roads.piece == piece).tolist()
    return [
        (before if roads.back[link] else after, link)
        for link in links
        if side not in ("forward", "backward") or (side == "backward") == bool(roads.back[link])
    ]


class _Reach:
    """Walks downstream until pieces meet."""

    def __init__(self, roads: Roads) -> None:
        self.roads = roads
        pieces = roads.pieces
        pairs = np.concatenate(
            [np.column_stack([pieces.start, pieces.end]), np.column_stack([pieces.end, pieces.start])]
        ).reshape(-1, 2)
        self.neighbours = np.bincount(np.unique(pairs, axis=0)[:, 0], minlength=roads.n_nodes)

    def is_junction(self, node: int) -> bool:
        return node < len(self.neighbours) and bool(self.neighbours[node] >= _JUNCTION)

    def downstream(self, link: int, gap: float) -> tuple[float, int]:
        """Return the next junction and how far it is, -1 when there is none near."""
        while gap <= FARTHEST_M:
            node = int(self.roads.to_node[link])
            if self.is_junction(node):
                return gap, node
            onward = self.roads.onward(link)
            if len(onward) != 1 or self.roads.to_node[onward[0]] == self.roads.from_node[link]:
                break
            link = onward[0]
            gap += max(float(self.roads.pieces.length[self.roads.piece[link]]), 1.0)
        return gap, -1
