"""Which movements of a junction conflict, and who gives way: from the directions of its links.

Rules are those of traffic on the right. Where one drives on the left a junction is looked at in a mirror: there the
right turn crosses oncoming traffic, and is called `LEFT`.

Two movements of different in-links **merge** when they enter the same out-link and **cross** when, going round the
junction, the ends of one lie on both sides of the other. Links whose directions can hardly be told apart cross nothing:
a doubtful conflict is none.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from twin import Network
from twin.geometry import point_along

Long = npt.NDArray[np.int64]

STRAIGHT_DEG = 45.0  # a turn by less goes straight on
U_TURN_DEG = 150.0
APART_DEG = 30.0  # nearer directions may be two carriageways of one road: which side is which cannot be told
FACING_DEG = 100.0  # approaches whose directions differ by more are oncoming traffic to each other
NEAR_NODE_M = 20.0  # the direction of a link is that of its stretch this near to the junction

THROUGH, RIGHT, LEFT, U_TURN = range(4)  # in the order of their right of way at a signal


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement: its row, its links, the directions of its legs (degrees, counter-clockwise) and what it is."""

    row: int
    into: int
    out: int
    from_deg: float
    to_deg: float
    kind: int


def apart(a: float, b: float) -> float:
    """Return the angle between two directions, 0 to 180."""
    return abs((a - b + 180.0) % 360.0 - 180.0)


class Junctions:
    """The movements of every junction of a network and their conflicts, each worked out when it is asked for."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.city = network.compile()
        self._direction: dict[tuple[int, bool], float] = {}
        self._movements: dict[int, dict[int, Movement]] = {}

    @cached_property
    def position(self) -> dict[str, int]:
        """Position of each node by its id."""
        return {name: node for node, name in enumerate(self.city.node_ids)}

    @cached_property
    def inlink(self) -> Long:
        """In-link of each movement, (n_movements,)."""
        return np.repeat(np.arange(self.city.n_links), np.diff(self.city.movement_start))

    def _leg(self, link: int, *, at_end: bool) -> float:
        """Return the direction from a node along a link that ends (or begins) there, degrees counter-clockwise."""
        key = (link, at_end)
        if key not in self._direction:
            line, length = self._network.geometry(link), float(self.city.length[link])
            here, fraction = line[-1 if at_end else 0], min(1.0, NEAR_NODE_M / length)
            lon, lat = point_along(line, 1.0 - fraction if at_end else fraction)
            east = (lon - here[0]) * np.cos(np.radians(here[1]))
            if self._network.drives_left:
                east = -east
            self._direction[key] = float(np.degrees(np.arctan2(lat - here[1], east)))
        return self._direction[key]

    def direction(self, link: int) -> float:
        """Return the direction in which a link lies, seen from its downstream end, degrees counter-clockwise."""
        return self._leg(link, at_end=True)

    def movements(self, node: int) -> dict[int, Movement]:
        """Return the movements of a node by row."""
        if node not in self._movements:
            city, found = self.city, {}
            for link in city.in_link[city.in_start[node] : city.in_start[node + 1]].tolist():
                come = self._leg(link, at_end=True)
                for row in range(int(city.movement_start[link]), int(city.movement_start[link + 1])):
                    out = int(city.movement_out[row])
                    back = city.to_node[out] == city.from_node[link]
                    go = come if back else self._leg(out, at_end=False)
                    left = (go - come + 360.0) % 360.0 - 180.0  # 0: straight on, positive: to the left
                    if back or abs(left) > U_TURN_DEG:
                        kind = U_TURN
                    else:
                        kind = THROUGH if abs(left) <= STRAIGHT_DEG else LEFT if left > 0 else RIGHT
                    found[row] = Movement(row, link, out, come, go, kind)
            self._movements[node] = found
        return self._movements[node]

    def merge(self, a: Movement, b: Movement) -> bool:
        """Return whether two movements come from different links and enter the same one."""
        return a.into != b.into and a.out == b.out

    def distinct(self, a: Movement, b: Movement) -> bool:
        """Return whether the directions of the legs of two movements can be told apart."""
        directions = list(self._legs(a, b).values())
        return all(apart(x, y) >= APART_DEG for k, x in enumerate(directions) for y in directions[:k])

    def _legs(self, a: Movement, b: Movement) -> dict[int, float]:
        """Return the direction of each leg of two movements by the node at its far end."""
        city, legs = self.city, {}
        for turn in (b, a):
            legs[int(city.to_node[turn.out])] = turn.to_deg
            legs[int(city.from_node[turn.into])] = turn.from_deg
        return legs

    def cross(self, a: Movement, b: Movement) -> bool:
        """Return whether the paths of two movements cross."""
        if a.into == b.into or a.out == b.out or not self.distinct(a, b):
            return False
        city, legs = self.city, self._legs(a, b)

        def ends(turn: Movement) -> tuple[float, float]:  # coming in is on the counter-clockwise side of its leg
            come, go = legs[int(city.from_node[turn.into])], legs[int(city.to_node[turn.out])]
            return (come + 0.5) % 360.0, (go - 0.5) % 360.0

        low, high = sorted(ends(a))
        return sum(low < place < high for place in ends(b)) == 1

    def conflict(self, a: Movement, b: Movement) -> bool:
        """Return whether two movements may not have green together, unless one yields.

        Two that enter the same link each find a lane there when it has two.
        """
        merge = self.merge(a, b) and int(self.city.lanes[a.out]) < 2
        return self.cross(a, b) or (merge and self.distinct(a, b))

    def yielder(self, a: Movement, b: Movement) -> Movement | None:
        """Return which of two conflicting movements gives way as every driver knows it, None when none does.

        Who turns left gives way to oncoming traffic, who turns right to whom he joins; traffic that crosses from the
        side is no such case.
        """
        if a.kind == b.kind:
            return None
        loser = a if a.kind > b.kind else b
        facing = apart(a.from_deg, b.from_deg) > FACING_DEG
        return loser if facing or loser.kind == RIGHT else None
