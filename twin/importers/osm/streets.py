"""Ways split into streets where they meet, and the part of them from which one comes everywhere and back.

A *street* is the piece of a way between two nodes at which something can happen; it becomes one link or two.
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
class Streets:
    """All streets; nodes are positions in the extract's list of nodes.

    Parameters
    ----------
    way : (n_streets,)
        Position of the way each is a piece of.
    piece : (n_streets,)
        Its number along the way.
    start, end : (n_streets,)
        Nodes along the way.
    first, last : (n_streets,)
        Where its points begin and end in `points`, both included.
    points : (n_points,)
        Nodes of all streets, one way after the other.
    length : (n_streets,) m
    along, against : (n_streets,)
        Whether one drives so.
    """

    way: Long
    piece: Long
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
        """Directed links that the streets make."""
        return int(self.along.sum() + self.against.sum())

    def keep(self, which: Bool) -> "Streets":
        """Return some of the streets."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return Streets(**{name: values if name == "points" else values[which] for name, values in fields.items()})


def split(extract: Extract) -> tuple[Streets, Counter[str]]:
    """Return the streets of an extract, and how many things were mended or left out, by reason.

    A way is cut where its nodes have no place (extracts are clipped), and split at nodes that another way, or it
    itself, touches too. One that leaves a node and comes back to it is split in the middle. Nodes that streets of no
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
        return _streets(extract, way, node, np.zeros((0, 2), np.int64)), counts
    edge = np.flatnonzero(run[1:] != run[:-1])
    ends = np.zeros(len(node), bool)
    ends[[0, -1]] = True
    ends[edge] = ends[edge + 1] = True
    used = np.bincount(node, minlength=len(extract.node_ids))
    cut = np.flatnonzero(ends | (used[node] > 1))
    pieces = np.column_stack([cut[:-1], cut[1:]])
    pieces = pieces[run[pieces[:, 0]] == run[pieces[:, 1]]]
    loop = node[pieces[:, 0]] == node[pieces[:, 1]]
    round_ = pieces[loop]
    middle = round_.sum(axis=1) // 2
    # There and back over one node is one street, not two.
    back = np.column_stack([middle, round_[:, 1]])[round_[:, 1] - round_[:, 0] > 2]
    halves = np.concatenate([pieces[~loop], np.column_stack([round_[:, 0], middle]), back])
    counts["loops"] = int(loop.sum())
    halves = halves[np.argsort(halves[:, 0], kind="stable")]
    streets = _streets(extract, way, node, halves)
    return _join(streets, len(extract.node_ids), counts), counts


def _streets(extract: Extract, way: Long, points: Long, pieces: Long) -> Streets:
    ways = [directions(road.tags) for road in extract.roads]
    sides = np.array([side[:2] for side in ways], bool).reshape(-1, 2)
    steps = step_lengths(extract.lon_lat[points]) if len(points) else np.zeros(0)
    reach = np.concatenate([[0.0], np.cumsum(steps)])
    first, last = pieces[:, 0], pieces[:, 1]
    of = way[first]
    number = np.arange(len(of)) - np.searchsorted(of, of)
    return Streets(
        way=of,
        piece=number,
        start=points[first],
        end=points[last],
        first=first,
        last=last,
        points=points,
        length=reach[last] - reach[first],
        along=sides[of, 0],
        against=sides[of, 1],
    )


def _join(streets: Streets, n_nodes: int, counts: Counter[str]) -> Streets:
    """Make one node of those that streets of no length join."""
    none = streets.length < SHORTEST_LINK_M
    if not none.any():
        return streets
    counts["points"] = int(none.sum())
    pairs = (streets.start[none], streets.end[none])
    matrix = coo_array((np.ones(len(pairs[0])), pairs), shape=(n_nodes, n_nodes))
    _, group = connected_components(matrix, directed=False)
    leader = np.full(group.max() + 1, n_nodes, np.int64)
    np.minimum.at(leader, group, np.arange(n_nodes))
    one = leader[group]
    streets = streets.keep(~none)
    start, end = one[streets.start], one[streets.end]
    fields = {name: getattr(streets, name) for name in Streets.__slots__}
    return Streets(**{**fields, "start": start, "end": end}).keep(start != end)


def largest_part(streets: Streets, n_nodes: int) -> Bool:
    """Return which streets belong to the largest part in which one comes from every node to every other."""
    along, against = streets.along, streets.against
    tail = np.concatenate([streets.start[along], streets.end[against]])
    head = np.concatenate([streets.end[along], streets.start[against]])
    if not len(tail):
        return np.zeros(len(streets), bool)
    matrix = coo_array((np.ones(len(tail)), (tail, head)), shape=(n_nodes, n_nodes))
    _, part = connected_components(matrix, connection="strong")
    inside = part[tail] == part[head]
    largest = np.bincount(part[tail[inside]]).argmax() if inside.any() else -1
    return np.asarray((part[streets.start] == largest) & (part[streets.end] == largest))
