"""Turn restrictions and lane arrows as the rows of ``movement.csv``.

A *ban* is a relation that forbids a turn (``no_*``) or all others (``only_*``), over a node or over ways. Source:
OpenStreetMap Wiki, page Relation:restriction (CC BY-SA 2.0).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from twin.importers.osm import tags as words
from twin.importers.osm.arrows import Range, lane_ranges
from twin.importers.osm.extract import Ban, Extract
from twin.importers.osm.roads import Roads

Row = Mapping[str, object]

_GENERAL_KEYS = ("restriction", "restriction:motorcar", "restriction:motor_vehicle", "restriction:vehicle")
_EXCEPTED = frozenset({"motorcar", "motor_vehicle", "vehicle"})
_HOURS = ("day_on", "day_off", "hour_on", "hour_off")
# Further than this, in links and in branches, nobody follows a ban over ways.
_LONGEST_VIA, _MOST_BRANCHES = 20, 1000

# Why a ban has no effect here, in the order in which it is told.
LEFT_OUT = {
    "elsewhere": "are about roads that are left out",
    "others": "are for other vehicles than cars",
    "hours": "hold at certain hours only and are left out",
    "no turn": "have an unknown kind or lack a member and are left out",
    "apart": "name roads that do not meet and are left out",
    "ambiguous": "name a way that goes on beyond the junction, so the turn is not certain, and are left out",
    "via ways": "go over a way that others use too, which movements cannot say, and are left out",
    "trap": "would leave no way on and are left out",
}


@dataclass(slots=True)
class Turns:
    """What is known of the turns of a city.

    Parameters
    ----------
    banned
        Out-links that may not follow, by in-link.
    applied
        Bans that have an effect.
    left_out
        Ids of relations by reason, a key of `LEFT_OUT`.
    lanes
        Lane range of movements (in-link, out-link).
    """

    banned: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    applied: int = 0
    left_out: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    lanes: dict[tuple[int, int], Range] = field(default_factory=dict)


def read_turns(extract: Extract, roads: Roads, lane_counts: Mapping[int, int]) -> Turns:
    """Return the bans and lane ranges of a city.

    Parameters
    ----------
    lane_counts
        Lanes of the links that have arrows.
    """
    turns = Turns()
    of_way = _links_by_way(extract, roads)
    for ban in extract.bans:
        reason = _apply(ban, turns, extract, roads, of_way)
        if reason:
            turns.left_out[reason].append(ban.relation_id)
        else:
            turns.applied += 1
    for link, lanes in lane_counts.items():
        way = extract.roads[int(roads.way[link])]
        painted = words.arrows(way.tags, "backward" if roads.back[link] else "forward")
        outs = _allowed(link, turns, roads)
        if len(painted) != lanes or lanes < 2 or len(outs) < 2:
            continue
        ranges = lane_ranges(painted, [roads.turn(link, out) for out in outs])
        for out, of in zip(outs, ranges or (), strict=False):
            turns.lanes[link, out] = of
    return turns


def rows(turns: Turns, roads: Roads, node_names: Mapping[int, str]) -> list[Row]:
    """Return the rows of ``movement.csv``: all movements at the nodes of which something is known."""
    known = {int(roads.to_node[link]) for link in (*turns.banned, *(pair[0] for pair in turns.lanes))}
    found: list[Row] = []
    for node in sorted(known):
        for link in roads.arriving(node):
            for out in _allowed(link, turns, roads):
                first, last = turns.lanes.get((link, out), ("", ""))
                found.append(
                    {
                        "mvmt_id": f"{roads.ids[link]}>{roads.ids[out]}",
                        "node_id": node_names[node],
                        "ib_link_id": roads.ids[link],
                        "start_ib_lane": first,
                        "end_ib_lane": last,
                        "ob_link_id": roads.ids[out],
                        "type": _kind(link, out, roads),
                    }
                )
    return found


def _kind(link: int, out: int, roads: Roads) -> str:
    if roads.to_node[out] == roads.from_node[link]:
        return "uturn"
    turn = roads.turn(link, out)
    return "left" if turn > math.pi / 4 else "right" if turn < -math.pi / 4 else "thru"


def _allowed(link: int, turns: Turns, roads: Roads) -> list[int]:
    banned = turns.banned.get(link, ())
    return [out for out in roads.onward(link) if out not in banned]


def _links_by_way(extract: Extract, roads: Roads) -> dict[int, list[int]]:
    """Return the links of the ways that bans name, by id of the way; of a way without links none."""
    named = {ref for ban in extract.bans for kind, ref, _ in ban.members if kind == "w"}
    at = {extract.roads[k].way_id: k for k in range(len(extract.roads)) if extract.roads[k].way_id in named}
    links: dict[int, list[int]] = {k: [] for k in at.values()}
    for link, way in enumerate(roads.way.tolist()):
        if way in links:
            links[way].append(link)
    return {name: links[k] for name, k in at.items()}


def _apply(ban: Ban, turns: Turns, extract: Extract, roads: Roads, of_way: Mapping[int, list[int]]) -> str:
    """Note what a ban forbids and return "", or why it has no effect."""
    kind = next((ban.tags[key] for key in _GENERAL_KEYS if key in ban.tags), "")
    if not kind:
        conditional = any(key.endswith(":conditional") and key[:-12] in _GENERAL_KEYS for key in ban.tags)
        return (
            "hours"
            if conditional
            else "others"
            if any(key.startswith("restriction:") for key in ban.tags)
            else "no turn"
        )
    if any(key in ban.tags for key in _HOURS):
        return "hours"
    if _EXCEPTED & {word.strip() for word in ban.tags.get("except", "").split(";")}:
        return "others"
    members = {role: [(k, ref) for k, ref, r in ban.members if r == role] for role in ("from", "via", "to")}
    if not kind.startswith(("no_", "only_")) or not all(members.values()):
        return "no turn"
    if any(k != "w" for role in ("from", "to") for k, _ in members[role]):
        return "no turn"
    only = kind.startswith("only_")
    starts = [ref for _, ref in members["from"]]
    goals = [ref for _, ref in members["to"]]
    if not all(of_way.get(ref) for ref in (*starts, *goals)):
        return "elsewhere"
    vias = members["via"]
    if all(k == "w" for k, _ in vias):
        if len(starts) != 1 or len(goals) != 1:
            return "via ways"
        return _over_ways(of_way[starts[0]], [ref for _, ref in vias], of_way[goals[0]], only, turns, roads, of_way)
    if len(vias) != 1 or vias[0][0] != "n":
        return "no turn"
    reasons = {
        _over_node(of_way[start], vias[0][1], of_way[goal], only, turns, extract, roads)
        for start in starts
        for goal in goals
    }
    return "" if "" in reasons else sorted(reasons)[0]


def _over_node(
    start: list[int], via: int, goal: list[int], only: bool, turns: Turns, extract: Extract, roads: Roads
) -> str:
    pairs = [(link, out) for link in start for out in goal if roads.to_node[link] == roads.from_node[out]]
    nodes = {int(roads.to_node[link]) for link, _ in pairs}
    if len(nodes) > 1:  # ways that meet twice: the via node tells where
        at = [k for k in nodes if int(extract.node_ids[k]) == via]
        pairs = [(link, out) for link, out in pairs if int(roads.to_node[link]) in at]
    if not pairs:
        return "apart"
    if start is goal:
        pairs = [(link, out) for link, out in pairs if roads.piece[link] == roads.piece[out]]
    if len({link for link, _ in pairs}) != 1 or len({out for _, out in pairs}) != 1:
        return "ambiguous"
    return _forbid(pairs[0][0], pairs[0][1], only, turns, roads)


def _forbid(link: int, out: int, only: bool, turns: Turns, roads: Roads) -> str:
    before = _allowed(link, turns, roads)
    if only and out not in before:
        return "trap"
    forbidden = set(before) - {out} if only else {out}
    if not set(before) - forbidden:
        return "trap"
    turns.banned[link] |= forbidden
    return ""


def _over_ways(
    start: list[int],
    vias: list[int],
    goal: list[int],
    only: bool,
    turns: Turns,
    roads: Roads,
    of_way: Mapping[int, list[int]],
) -> str:
    """Forbid a turn over ways where a movement can say it: nobody else comes over them, or they lead nowhere else."""
    if not all(of_way.get(ref) for ref in vias):
        return "elsewhere"
    inside = {link for ref in vias for link in of_way[ref]}
    paths = [path for link in start for path in _paths(link, inside, set(goal), roads)]
    if not paths:
        return "apart"
    if len(paths) > 1:
        return "ambiguous"
    path = paths[0]
    steps = list(pairwise(path))
    reason = "via ways"
    if all(_comers(step[1], roads) == [step[0]] for step in steps[:-1]):
        reason = _forbid(path[-2], path[-1], only, turns, roads)
    if reason and not only and all(roads.onward(step[0]) == [step[1]] for step in steps[1:]):
        reason = _forbid(path[0], path[1], False, turns, roads)
    return reason


def _comers(link: int, roads: Roads) -> list[int]:
    """Return the links from which one comes onto another."""
    return [other for other in roads.arriving(int(roads.from_node[link])) if link in roads.onward(other)]


def _paths(link: int, inside: set[int], goal: set[int], roads: Roads) -> Iterable[list[int]]:
    """Yield the ways from a link over links of the via ways to the goal."""
    stack = [[link]]
    for _ in range(_MOST_BRANCHES):
        if not stack:
            return
        path = stack.pop()
        for out in roads.leaving(int(roads.to_node[path[-1]])):
            if out in goal and len(path) > 1:
                yield [*path, out]
            elif out in inside and len(path) <= _LONGEST_VIA and roads.piece[out] not in roads.piece[path]:
                stack.append([*path, out])
