"""Pieces as directed links: ends, headings, ids, and which of them leave and reach each node."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from twin.geometry import Float
from twin.importers.osm.extract import Extract
from twin.importers.osm.pieces import Bool, Long, Pieces
from twin.links import Int
from twin.movement import adjacency


@dataclass(frozen=True)
class Roads:
    """The directed links of a city: those along their way first in each piece, then those against it.

    Parameters
    ----------
    pieces
        What they are made of.
    piece : (n_links,)
        Position of each link's piece.
    back : (n_links,)
        Whether it runs against its way.
    from_node, to_node : (n_links,)
        Positions in the extract's nodes.
    heading_out, heading_in : (n_links,) rad
        Where a link sets off from its first node, and where it arrives at its last, anticlockwise from east.
    ids
        ``<way>.<number>``, and ``-r`` after it against the way.
    """

    pieces: Pieces
    piece: Long
    back: Bool
    from_node: Long
    to_node: Long
    heading_out: Float
    heading_in: Float
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.piece)

    @property
    def way(self) -> Long:
        """Position of each link's way, (n_links,)."""
        return self.pieces.way[self.piece]

    @cached_property
    def last_of_way(self) -> Bool:
        """Whether no other number of its way follows, (n_links,): there the way's arrows are painted."""
        way, n = self.pieces.way, len(self.pieces)
        first = np.ones(n, bool)
        first[1:] = way[1:] != way[:-1]
        last = np.ones(n, bool)
        last[:-1] = way[1:] != way[:-1]
        return np.where(self.back, first[self.piece], last[self.piece])

    @cached_property
    def _leaving(self) -> tuple[Int, Int]:
        return adjacency(self.from_node.astype(np.int32), self.n_nodes)

    @cached_property
    def _arriving(self) -> tuple[Int, Int]:
        return adjacency(self.to_node.astype(np.int32), self.n_nodes)

    @property
    def n_nodes(self) -> int:
        """Nodes up to the last one that a link touches."""
        return int(max(self.from_node.max(initial=-1), self.to_node.max(initial=-1))) + 1

    def leaving(self, node: int) -> list[int]:
        """Return the links that leave a node."""
        start, link = self._leaving
        return [int(k) for k in link[start[node] : start[node + 1]]]

    def arriving(self, node: int) -> list[int]:
        """Return the links that reach a node."""
        start, link = self._arriving
        return [int(k) for k in link[start[node] : start[node + 1]]]

    def onward(self, link: int) -> list[int]:
        """Return the links that may follow one when nothing is said: all but the U-turn, that too at a dead end."""
        ways = self.leaving(int(self.to_node[link]))
        return [way for way in ways if self.to_node[way] != self.from_node[link]] or ways

    def turn(self, link: int, out: int) -> float:
        """Return the angle from one link to another, -pi to pi, left is positive."""
        angle = self.heading_out[out] - self.heading_in[link]
        return float((angle + np.pi) % (2 * np.pi) - np.pi)


def link_up(extract: Extract, pieces: Pieces) -> Roads:
    """Return the links of pieces."""
    order = np.repeat(np.arange(len(pieces)), pieces.along.astype(int) + pieces.against)
    back = np.zeros(len(order), bool)
    back[1:] = order[1:] == order[:-1]
    back |= ~pieces.along[order]
    places = extract.lon_lat[pieces.points]
    headings = [
        _heading(places[a], places[b]) for a, b in ((pieces.first, pieces.first + 1), (pieces.last - 1, pieces.last))
    ]
    set_off, arrive = headings[0][order], headings[1][order]
    names = [
        f"{extract.roads[way].way_id}.{number}"
        for way, number in zip(pieces.way.tolist(), pieces.number.tolist(), strict=True)
    ]
    return Roads(
        pieces=pieces,
        piece=order,
        back=back,
        from_node=np.where(back, pieces.end[order], pieces.start[order]),
        to_node=np.where(back, pieces.start[order], pieces.end[order]),
        heading_out=np.where(back, arrive + np.pi, set_off),
        heading_in=np.where(back, set_off + np.pi, arrive),
        ids=tuple(names[k] + ("-r" if b else "") for k, b in zip(order.tolist(), back.tolist(), strict=True)),
    )


def _heading(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Float:
    east = (b[:, 0] - a[:, 0]) * np.cos(np.radians(a[:, 1]))
    return np.arctan2(b[:, 1] - a[:, 1], east)
