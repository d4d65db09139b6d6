"""Movements at nodes and the lane groups of links: which out-link follows which in-link, from which lanes."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from twin.geometry import Float
from twin.links import Int, Links, is_for_all, is_for_motors
from twin.nodes import Nodes
from twin.tables import Table
from twin.units import Units

# A turn pocket whose length nobody states; HCM 7th ed. (2022), ch. 31, gives 250 ft (76 m) as a default bay length.
DEFAULT_POCKET_M = 76.0


@dataclass(frozen=True, slots=True)
class Movements:
    """Allowed movements and lane groups of all links, as `twin.compiled.CompiledNetwork` holds them.

    Parameters
    ----------
    start, out, group, group_start, group_lanes, group_pocket
        The arrays ``movement_*`` and ``group_*`` of the compiled network.
    pairs
        (in-link, out-link) positions of each ``mvmt_id``.
    nodes_with_rows
        Node positions whose movements are listed; at the others all but U-turns are allowed.
    merged
        Links whose lane ranges overlap without being equal, so that the ranges became one group.
    assumed_pockets
        Links with a turn pocket of assumed length.
    reserved
        Rows of the movements that are not for general traffic (bus gates): drivers do not choose them, vehicles whose
        route is given may have them.
    lanes
        Lanes of the in-link of each listed movement, by (in-link, out-link) positions; 1 is the leftmost.
    """

    start: Int
    out: Int
    group: Int
    group_start: Int
    group_lanes: Float
    group_pocket: Float
    pairs: dict[str, tuple[int, int]] = field(default_factory=dict)
    nodes_with_rows: frozenset[int] = frozenset()
    merged: tuple[str, ...] = ()
    assumed_pockets: tuple[str, ...] = ()
    reserved: Int = field(default_factory=lambda: np.zeros(0, np.int32))
    lanes: dict[tuple[int, int], frozenset[int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Rule:
    """One row of ``movement.csv``: an out-link, the lanes it is reached from and its pocket."""

    out: int
    lanes: frozenset[int]
    pocket: float
    reserved: bool = False


def adjacency(node_of_link: Int, n_nodes: int) -> tuple[Int, Int]:
    """Return the compressed lists of links by node, in link order.

    Examples
    --------
    >>> [part.tolist() for part in adjacency(np.array([1, 0, 1], np.int32), 3)]
    [[0, 1, 3, 3], [1, 0, 2]]
    """
    counts = np.bincount(node_of_link, minlength=n_nodes)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return start, np.argsort(node_of_link, kind="stable").astype(np.int32)


def _pockets(segment: Table, links: Links, nodes: Nodes, units: Units) -> dict[int, tuple[float, float]]:
    """Return by link the length (m) of its left and right turn pockets at the downstream end, NaN without one."""
    if not len(segment) or not {"link_id", "start_lr", "end_lr"} <= set(segment.columns):
        return {}
    added = segment.numbers("l_lanes_added", default=0), segment.numbers("r_lanes_added", default=0)
    start = segment.numbers("start_lr") * units.short_length_m
    end = segment.numbers("end_lr") * units.short_length_m
    reference = segment.text("ref_node_id")
    best: dict[tuple[int, int], tuple[float, float]] = {}
    for index, name in enumerate(segment.text("link_id")):
        link = links.position.get(name)
        if link is None or not end[index] > start[index] or links.from_node[link] < 0:
            continue
        from_upstream = reference[index] == nodes.ids[links.from_node[link]]
        gap = abs(links.length[link] - end[index]) if from_upstream else start[index]
        for side in (0, 1):  # of several, the one nearest to the stop line: others are mid-block
            if added[side][index] > 0:
                before = best.get((link, side), (np.inf, np.nan))
                best[link, side] = min(before, (float(gap), float(end[index] - start[index])))
    return {link: (best.get((link, 0), (0.0, np.nan))[1], best.get((link, 1), (0.0, np.nan))[1]) for link, _ in best}


def _lanes_without_motors(lane: Table, segment: Table, segment_lane: Table, links: Links) -> set[tuple[int, int]]:
    """Return (link, lane number) of cycle lanes and the like; where a segment renumbers lanes, it has the last word."""
    link_of_segment = dict(zip(segment.text("segment_id"), segment.text("link_id"), strict=True))
    found: dict[tuple[int, int], bool] = {}
    for table, names in (
        (lane, lane.text("link_id")),
        (segment_lane, [link_of_segment.get(name, "") for name in segment_lane.text("segment_id")]),
    ):
        numbers, uses = table.numbers("lane_num", whole=True), table.text("allowed_uses")
        for index, name in enumerate(names):
            if name in links.position and np.isfinite(numbers[index]):
                found[links.position[name], int(numbers[index])] = is_for_motors(uses[index])
    return {key for key, motors in found.items() if not motors}


def _lane_range(table: Table, index: int, first: float, last: float, lanes: int) -> frozenset[int]:
    """Return the lanes of one row; lanes left of lane 1 are -1, -2, ... as in GMNS, 0 does not exist."""
    if np.isnan(first) and np.isnan(last):
        return frozenset(range(1, lanes + 1))
    low = first if np.isfinite(first) else last
    high = last if np.isfinite(last) else first
    if low > high or low == 0 or high == 0 or high - low > 50:
        table.fault(
            index, f"start_ib_lane to end_ib_lane is {low:g} to {high:g}, must run from left to right, 1 is leftmost"
        )
        return frozenset()
    return frozenset(lane for lane in range(int(low), int(high) + 1) if lane)


class _Reader:
    """Collects the rules of ``movement.csv`` by in-link."""

    def __init__(self, table: Table, extra: Mapping[str, Table], links: Links, nodes: Nodes, units: Units) -> None:
        self.table, self.links, self.nodes = table, links, nodes
        self.pockets = _pockets(extra["segment"], links, nodes, units)
        self.other_lanes = _lanes_without_motors(extra["lane"], extra["segment"], extra["segment_lane"], links)
        self.rules: dict[int, list[_Rule]] = defaultdict(list)
        self.pairs: dict[str, tuple[int, int]] = {}
        self.listed: set[int] = set()
        self.assumed: list[str] = []

    def read(self, all_link_ids: Mapping[str, int]) -> None:
        table, links = self.table, self.links
        if not len(table) or not table.requires("node_id", "ib_link_id", "ob_link_id"):
            return
        if "mvmt_id" in table.columns:
            table.ids("mvmt_id")
        names, uses = table.text("mvmt_id"), table.text("allowed_uses")
        at = table.references("node_id", self.nodes.position, "node.csv")
        ends = [table.text("ib_link_id"), table.text("ob_link_id")]
        first = table.numbers("start_ib_lane", whole=True)
        last = table.numbers("end_ib_lane", whole=True)
        pocket = table.numbers("pocket_m", above=0)
        for index in range(len(table)):
            pair = []
            for column, values in (("ib_link_id", ends[0]), ("ob_link_id", ends[1])):
                name = values[index]
                if name in links.position:
                    pair.append(self._direction(name, int(at[index]), inbound=column == "ib_link_id"))
                elif name not in all_link_ids:
                    table.fault(index, f"{column} {name!r} is not in link.csv")
            if len(pair) < 2 or at[index] < 0 or not is_for_motors(uses[index]):
                continue  # a faulty row, or one for those who walk and cycle
            if self._joined(index, int(at[index]), pair[0], pair[1]):
                self.listed.add(int(at[index]))
                reserved = not is_for_all(uses[index])
                self._add(index, pair[0], pair[1], first[index], last[index], pocket[index], reserved=reserved)
                if names[index]:
                    self.pairs[names[index]] = (pair[0], pair[1])

    def _direction(self, name: str, node: int, *, inbound: bool) -> int:
        """Return the link of an id; of an undirected one the direction that touches the node in the right sense."""
        end = self.links.to_node if inbound else self.links.from_node
        link, other = self.links.position[name], self.links.position.get(f"{name}-r")
        return other if end[link] != node and other is not None and end[other] == node else link

    def _joined(self, index: int, node: int, ib: int, ob: int) -> bool:
        name, right = self.nodes.ids[node], True
        for column, link, end, verb in (
            ("ib_link_id", ib, self.links.to_node, "end"),
            ("ob_link_id", ob, self.links.from_node, "start"),
        ):
            if end[link] != node:
                other = self.nodes.ids[end[link]]
                self.table.fault(
                    index, f"{column} {self.links.ids[link]!r} does not {verb} at node {name}, it {verb}s at {other}"
                )
                right = False
        return right

    def _add(self, index: int, ib: int, ob: int, first: float, last: float, pocket: float, *, reserved: bool) -> None:
        lanes = int(self.links.lanes[ib])
        used = _lane_range(self.table, index, first, last, lanes)
        motors = frozenset(lane for lane in used if (ib, lane) not in self.other_lanes)
        if used and not motors:
            return  # a movement of a cycle lane
        used = motors
        left, right = self.pockets.get(ib, (np.nan, np.nan))
        beyond = [lane for lane in used if lane < 1 or lane > lanes]
        if beyond and np.isnan(pocket):
            pocket = (
                (left if np.isfinite(left) else right) if min(beyond) < 1 else (right if np.isfinite(right) else left)
            )
            if np.isnan(pocket) and max(used) > lanes:
                self.table.fault(
                    index,
                    f"lane {max(used)} is beyond the {lanes} lanes of link {self.links.ids[ib]!r}; "
                    "correct it, or give pocket_m for a turn pocket",
                )
                return
            if np.isnan(pocket):
                pocket = DEFAULT_POCKET_M
                self.assumed.append(self.links.ids[ib])
        reach = np.inf if np.isnan(pocket) or pocket >= self.links.length[ib] else float(pocket)
        for rule in self.rules[ib]:
            if rule.out == ob:  # the same movement from further lanes
                rule.lanes, rule.pocket = rule.lanes | used, max(rule.pocket, reach)
                rule.reserved = rule.reserved and reserved
                return
        self.rules[ib].append(_Rule(ob, used, reach, reserved))


def _groups(rules: list[_Rule]) -> tuple[list[set[int]], list[int], bool]:
    """Return the lane groups (unions of overlapping ranges), each rule's group, and whether unlike ranges merged."""
    groups: list[set[int]] = []
    for rule in rules:
        union = set(rule.lanes)
        apart = []
        for group in groups:
            if group & union:
                union |= group
            else:
                apart.append(group)
        groups = [*apart, union]
    groups.sort(key=min)
    owner = [next(i for i, group in enumerate(groups) if rule.lanes <= group) for rule in rules]
    merged = any(rule.lanes != groups[i] for rule, i in zip(rules, owner, strict=True))
    return groups, owner, merged


def read_movements(
    table: Table,
    extra: Mapping[str, Table],
    links: Links,
    nodes: Nodes,
    units: Units,
    *,
    all_link_ids: Mapping[str, int],
) -> Movements:
    """Return the movements of ``movement.csv``; every fault is noted in the table.

    At a node that has rows, what no row lists is forbidden. At the others every out-link is allowed except the U-turn,
    and the U-turn too where it is the only way on; all lanes are one group.

    Parameters
    ----------
    extra
        The tables ``lane``, ``segment`` and ``segment_lane``, which tell cycle lanes and turn pockets.
    all_link_ids
        Ids of all rows of ``link.csv``, those without motor vehicles included.
    """
    reader = _Reader(table, extra, links, nodes, units)
    reader.read(all_link_ids)
    listed = frozenset(reader.listed)
    dangling = len(links) > 0 and min(links.from_node.min(), links.to_node.min()) < 0
    n = 0 if dangling else len(links)  # dangling ends are faults, noted before
    into, out = _usual(links.from_node[:n], links.to_node[:n], len(nodes), listed)
    # Links without rules have one group of all their lanes; those with rules stand in between.
    told: dict[int, _Told] = {}
    merged: list[str] = []
    for link, rules in sorted(reader.rules.items()):
        if link < n and int(links.to_node[link]) in listed and rules and all(rule.lanes for rule in rules):
            told[link], unlike = _told(rules)
            if unlike:
                merged.append(links.ids[link])
    ruled = np.array(list(told), np.int64)
    n_groups = np.ones(n, np.int64)
    n_groups[ruled] = [len(one.lanes) for one in told.values()]
    group_start = np.concatenate([[0], np.cumsum(n_groups)]).astype(np.int32)
    group_lanes = links.lanes[np.repeat(np.arange(n), n_groups)].astype(np.float64)
    group_pocket = np.full(len(group_lanes), np.inf)
    into_told = [link for link, one in told.items() for _ in one.out]
    group = [int(group_start[link]) + g for link, one in told.items() for g in one.group]
    reserved = [flag for one in told.values() for flag in one.reserved]
    for link, one in told.items():
        own = slice(group_start[link], group_start[link + 1])
        group_lanes[own], group_pocket[own] = one.lanes, one.pocket
    all_into = np.concatenate([into, np.array(into_told, np.int64)])
    order = np.argsort(all_into, kind="stable")
    return Movements(
        start=np.searchsorted(all_into[order], np.arange(n + 1)).astype(np.int32),
        out=np.concatenate([out, [way for one in told.values() for way in one.out]]).astype(np.int32)[order],
        group=np.concatenate([group_start[into], group]).astype(np.int32)[order],
        group_start=group_start,
        group_lanes=group_lanes,
        group_pocket=group_pocket,
        pairs=reader.pairs,
        nodes_with_rows=listed,
        merged=tuple(merged),
        assumed_pockets=tuple(dict.fromkeys(reader.assumed)),
        reserved=np.flatnonzero(np.concatenate([np.zeros(len(into), bool), np.array(reserved, bool)])[order]).astype(
            np.int32
        ),
        lanes={(link, rule.out): rule.lanes for link, rules in reader.rules.items() for rule in rules},
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """What the rows say of one link: its movements with their groups, and lanes and pocket of each group."""

    out: list[int]
    group: list[int]
    reserved: list[bool]
    lanes: list[float]
    pocket: list[float]


def _told(rules: list[_Rule]) -> tuple[_Told, bool]:
    """Return the movements and groups of a link, and whether unlike ranges of lanes were merged."""
    groups, owner, unlike = _groups(rules)
    first: dict[int, int] = {}
    for index, rule in enumerate(rules):
        first.setdefault(rule.out, index)
    return _Told(
        out=list(first),
        group=[owner[index] for index in first.values()],
        reserved=[rules[index].reserved for index in first.values()],
        lanes=[float(len(lanes)) for lanes in groups],
        pocket=[max(r.pocket for r, o in zip(rules, owner, strict=True) if o == g) for g in range(len(groups))],
    ), unlike


def _usual(
    from_node: Int, to_node: Int, n_nodes: int, listed: frozenset[int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return in-link and out-link of what is allowed at nodes without rows, by in-link."""
    start, link = adjacency(from_node, n_nodes)
    free = np.ones(n_nodes, bool)
    free[list(listed)] = False
    into = np.flatnonzero(free[to_node])
    first = start[to_node[into]]
    counts = start[to_node[into] + 1] - first
    begin = np.cumsum(counts) - counts
    into = np.repeat(into, counts)
    out = link[np.arange(len(into)) - np.repeat(begin - first, counts)].astype(np.int64)
    onward = to_node[out] != from_node[into]
    stuck = np.ones(len(from_node), bool)  # from where only the U-turn goes on
    stuck[into[onward]] = False
    keep = onward | stuck[into]
    return into[keep], out[keep]


def movement_links(movements: Movements) -> tuple[npt.NDArray[np.int64], Int]:
    """Return in-link and out-link of every allowed movement."""
    counts = np.diff(movements.start)
    return np.repeat(np.arange(len(counts)), counts), movements.out
