"""How movements turn: the sign and kind of a turn by the headings of its links, and the lanes that it joins."""

import numpy as np

from twin.geometry import METRES_PER_DEGREE, Float
from twin.movement import movement_links
from twin.network import Network

# Below 30 degrees a movement goes on, above 150 it turns back; between them it is a left or right turn.
THRU_DEG, BACK_DEG = 30.0, 150.0


def headings(network: Network, *, end: bool) -> Float:
    """Return the heading at the end (else the beginning) of each link, (n_links,) radians anticlockwise from east."""
    lines = network.links.geometry
    pairs = np.array([(line[-2], line[-1]) if end else (line[0], line[1]) for line in map(_moving, lines)])
    step = (pairs[:, 1] - pairs[:, 0]) * METRES_PER_DEGREE
    squeeze = np.cos(np.radians(pairs[:, 0, 1]))
    return np.asarray(np.arctan2(step[:, 1], step[:, 0] * squeeze), np.float64)


def _moving(line: Float) -> Float:
    """Return a line without the points that repeat the one before; one that stands still stays as it is."""
    keep = np.concatenate([[True], (np.diff(line, axis=0) != 0).any(axis=1)])
    return line[keep] if keep.sum() > 1 else line[[0, -1]]


def turn_angles(network: Network) -> Float:
    """Return the angle of every allowed movement, (n_movements,) degrees: positive to the left, -180 to 180."""
    ib, ob = movement_links(network.movements)
    angle = np.degrees(headings(network, end=False)[ob] - headings(network, end=True)[ib])
    return (angle + 180) % 360 - 180


def turn_kind(angle: float, *, back: bool = False) -> str:
    """Return ``thru``, ``left``, ``right`` or ``uturn``, the words of GMNS.

    Examples
    --------
    >>> [turn_kind(angle) for angle in (10.0, 90.0, -45.0, 175.0)]
    ['thru', 'left', 'right', 'uturn']
    """
    if back or abs(angle) > BACK_DEG:
        return "uturn"
    return "thru" if abs(angle) < THRU_DEG else ("left" if angle > 0 else "right")


def lanes_of(network: Network, ib: int, ob: int) -> list[int]:
    """Return the lanes (1 is the leftmost) of the in-link that a movement uses; a pocket counts as the lane beside."""
    count = int(network.links.lanes[ib])
    used = network.movements.lanes.get((ib, ob)) or frozenset(range(1, count + 1))
    return sorted({min(max(lane, 1), count) for lane in used})
