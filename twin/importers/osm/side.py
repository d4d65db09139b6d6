"""On which side of the road one drives: the map says it by the way round its roundabouts."""

import numpy as np

from twin.importers.osm.extract import Extract, Long

# Of the roundabouts this share must turn one way; the rest are slips of the mapper.
_AGREED = 2 / 3


def driving_side(extract: Extract) -> tuple[str, str]:
    """Return ``left`` or ``right``, and how that is known.

    Where traffic keeps to the right, one goes round a roundabout anticlockwise. ``driving_side`` of a way counts only
    when most ways say it: single roads with the sides changed exist.
    """
    said = [side for way in extract.roads if (side := way.tags.get("driving_side")) in ("left", "right")]
    for side in ("left", "right"):
        if said.count(side) > len(extract.roads) / 2:
            return side, "as its ways say"
    turns = [
        turn for way in extract.roads if way.tags.get("junction") == "roundabout" and (turn := _turn(extract, way.refs))
    ]
    right, left = sum(turn > 0 for turn in turns), sum(turn < 0 for turn in turns)
    for side, votes in (("left", left), ("right", right)):
        if votes and votes >= _AGREED * len(turns):
            return side, f"as {votes:,} of {len(turns):,} roundabouts turn"
    return "right", ""


def _turn(extract: Extract, refs: Long) -> int:
    """Return 1 for a ring of nodes that runs anticlockwise, -1 for clockwise, 0 when it is no ring."""
    at = extract.positions(refs)
    if len(at) < 4 or at[0] != at[-1] or (at < 0).any():
        return 0
    x, y = (extract.lon_lat[at] - extract.lon_lat[at[0]]).T
    return int(np.sign((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()))
