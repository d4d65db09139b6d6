"""Ways split where they meet, and the part of them from which one comes everywhere and back.

A *piece* is the part of a way between two nodes at which something can happen; it becomes one link or two.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from twin.geometry import Float, step_lengths
from twin.importers.osm.extract import Extract
from twin.importers.osm.tags import directions
from twin.links import SHORTEST_LINK_M

Long = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pieces:
    """All pieces; nodes are positions in the extract's list of nodes.

    Parameters
    ----------
    way : (n_pieces,)
        Position of the way each is a part of.
    number : (n_pieces,)
        Its number along the way.
    start, end : (n_pieces,)
        Nodes along the way.
    first, last : (n_pieces,)
        Where its points begin and end in `points`, both included.
    points : (n_points,)
        Nodes of all pieces, one way after the other.
    length : (n_pieces,) m
    along, against : (n_pieces,)
        Whether one drives so.
    """

    way: Long
    number: Long
    start: Long
    end: Long
    first: Long
    last: Long
    points: Long
    length: Float
    along: Bool
    against: Bool

    def __len__(self) -> int:
        return len(self.way)

    @property
    def n_links(self) -> int:
        """Directed links that the pieces make."""
        return int(self.along.sum() + self.against.sum())

    def keep(self, which: Bool) -> "Pieces":
        """Return some of the pieces."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return Pieces(**{name: values if name == "points" else values[which] for name, values in fields.items()})


def split(extract: Extract) -> tuple[Pieces, Counter[str]]:
    """Return the pieces of an extract, and how many things were mended or left out, by reason.

    A way is cut where its nodes have no place (extracts are clipped), and split at nodes that another way, or it
    itself, touches too. One that leaves a node and comes back to it is split in the middle. Nodes that pieces of no
    length join become one.
    """
    counts: Counter[str] = Counter()
    sizes = np.array([len(way.refs) for way in extract.roads], np.int64)
    refs = np.concatenate([way.refs for way in extract.roads]) if len(sizes) else np.zeros(0, np.int64)
    way = np.repeat(np.arange(len(sizes)), sizes)
    node = extract.positions(refs)
    missing = node < 0
    counts["clipped"] = len(np.unique(way[missing]))
    # A run is an unbroken part of a way; a node that stands twice in a row is one.
    breaks = np.ones(len(node), bool)
    breaks[1:] = (way[1:] != way[:-1]) | missing[:-1]
    run = np.cumsum(breaks)
    keep = ~missing
    keep[1:] &= (node[1:] != node[:-1]) | breaks[1:]
    way, node, run = way[keep], node[keep], run[keep]
    size_of = np.bincount(run)
    long_enough = size_of[run] >= 2
    counts["short"] = len(sizes) - len(np.unique(way[long_enough]))
    way, node, run = way[long_enough], node[long_enough], run[long_enough]
    if not len(node):
        return _pieces(extract, way, node, np.zeros((0, 2), np.int64)), counts
    edge = np.flatnonzero(run[1:] != run[:-1])
    ends = np.zeros(len(node), bool)
    ends[[0, -1]] = True
    ends[edge] = ends[edge + 1] = True
    used = np.bincount(node, minlength=len(extract.node_ids))
    cut = np.flatnonzero(ends | (used[node] > 1))
    spans = np.column_stack([cut[:-1], cut[1:]])
    spans = spans[run[spans[:, 0]] == run[spans[:, 1]]]
    loop = node[spans[:, 0]] == node[spans[:, 1]]
    round_ = spans[loop]
    middle = round_.sum(axis=1) // 2
    # There and back over one node is one piece, not two.
    back = np.column_stack([middle, round_[:, 1]])[round_[:, 1] - round_[:, 0] > 2]
    halves = np.concatenate([spans[~loop], np.column_stack([round_[:, 0], middle]), back])
    counts["loops"] = int(loop.sum())
    halves = halves[np.argsort(halves[:, 0], kind="stable")]
    pieces = _pieces(extract, way, node, halves)
    return _join(pieces, len(extract.node_ids), counts), counts


def _pieces(extract: Extract, way: Long, points: Long, spans: Long) -> Pieces:
    ways = [directions(road.tags) for road in extract.roads]
    sides = np.array([side[:2] for side in ways], bool).reshape(-1, 2)
    steps = step_lengths(extract.lon_lat[points]) if len(points) else np.zeros(0)
    reach = np.concatenate([[0.0], np.cumsum(steps)])
    first, last = spans[:, 0], spans[:, 1]
    of = way[first]
    number = np.arange(len(of)) - np.searchsorted(of, of)
    return Pieces(
        way=of,
        number=number,
        start=points[first],
        end=points[last],
        first=first,
        last=last,
        points=points,
        length=reach[last] - reach[first],
        along=sides[of, 0],
        against=sides[of, 1],
    )


def _join(pieces: Pieces, n_nodes: int, counts: Counter[str]) -> Pieces:
    """Make one node of those that pieces of no length join."""
    none = pieces.length < SHORTEST_LINK_M
    if not none.any():
        return pieces
    counts["points"] = int(none.sum())
    pairs = (pieces.start[none], pieces.end[none])
    matrix = coo_array((np.ones(len(pairs[0])), pairs), shape=(n_nodes, n_nodes))
    _, group = connected_components(matrix, directed=False)
    leader = np.full(group.max() + 1, n_nodes, np.int64)
    np.minimum.at(leader, group, np.arange(n_nodes))
    one = leader[group]
    pieces = pieces.keep(~none)
    start, end = one[pieces.start], one[pieces.end]
    fields = {name: getattr(pieces, name) for name in Pieces.__slots__}
    return Pieces(**{**fields, "start": start, "end": end}).keep(start != end)


def largest_part(pieces: Pieces, n_nodes: int) -> Bool:
    """Return which pieces belong to the largest part in which one comes from every node to every other."""
    along, against = pieces.along, pieces.against
    tail = np.concatenate([pieces.start[along], pieces.end[against]])
    head = np.concatenate([pieces.end[along], pieces.start[against]])
    if not len(tail):
        return np.zeros(len(pieces), bool)
    matrix = coo_array((np.ones(len(tail)), (tail, head)), shape=(n_nodes, n_nodes))
    _, part = connected_components(matrix, connection="strong")
    inside = part[tail] == part[head]
    largest = np.bincount(part[tail[inside]]).argmax() if inside.any() else -1
    return np.asarray((part[pieces.start] == largest) & (part[pieces.end] == largest))
