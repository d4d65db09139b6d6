"""Arrows painted on lanes as the lanes of each movement."""

import math
from collections.abc import Sequence

# What an arrow points at, degrees to the left.
_POINTS_AT = {
    **{"sharp_left": 135.0, "left": 90.0, "slight_left": 45.0, "through": 0.0},
    **{"slight_right": -45.0, "right": -90.0, "sharp_right": -135.0},
}
# Merging lanes go on where the others do.
_LIKE_THROUGH = frozenset({"merge_to_left", "merge_to_right", "none", ""})
# An arrow is meant for a movement that points at most this far elsewhere, degrees.
_FARTHEST = 70.0

Range = tuple[int, int]


def lane_ranges(painted: Sequence[str], angles: Sequence[float]) -> list[Range] | None:
    """Return the lanes (first, last; 1 is the leftmost) of each movement, None when the arrows do not fit them.

    Every movement has a lane, and every lane a movement: a lane whose arrow points at no road of the network belongs
    to the movement beside it.

    Parameters
    ----------
    painted
        Arrows of each lane from left to right, several separated by semicolons.
    angles
        Of each movement, radians, left is positive.

    Examples
    --------
    >>> from math import pi
    >>> lane_ranges(["left", "through", "through;right"], [pi / 2, 0.0, -pi / 2])
    [(1, 1), (2, 3), (3, 3)]
    >>> lane_ranges(["left", "through"], [0.1])
    [(1, 2)]
    >>> lane_ranges(["left", "left"], [pi / 2, -pi / 2]) is None
    True
    """
    lanes = [{"through" if arrow in _LIKE_THROUGH else arrow for arrow in text.split(";")} for text in painted]
    kinds = {kind for lane in lanes for kind in lane if kind in _POINTS_AT}
    if not kinds or all(set(text.split(";")) <= _LIKE_THROUGH for text in painted):
        return None
    found: list[Range] = []
    for angle in angles:
        degrees = math.degrees(angle)
        kind = min(sorted(kinds), key=lambda name: abs(_POINTS_AT[name] - degrees))
        if abs(_POINTS_AT[kind] - degrees) > _FARTHEST:
            return None
        own = [number for number, lane in enumerate(lanes, 1) if kind in lane]
        found.append((own[0], own[-1]))
    for number in range(1, len(lanes) + 1):
        if not any(first <= number <= last for first, last in found):
            near = min(range(len(found)), key=lambda k: min(abs(number - found[k][0]), abs(number - found[k][1])))
            found[near] = min(found[near][0], number), max(found[near][1], number)
    return found
