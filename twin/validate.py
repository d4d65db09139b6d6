"""What is doubtful about a network that can be read: every finding at once, each with its rule, for people to judge."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from twin.geometry import METRES_PER_DEGREE, Float, line_length, line_lengths, step_lengths
from twin.links import motor_rows
from twin.movement import movement_links

if TYPE_CHECKING:
    from twin.network import Network

# A geometry that misses its node by more than this is drawn to another place (m).
OFF_NODE_M = 50.0
# Speeds that no road has: walking pace, and above the fastest motorways (km/h).
SLOWEST_KMH, FASTEST_KMH = 5.0, 200.0
# Links between two nodes of a city are hardly longer (m), nor lanes of one direction more.
LONGEST_M = 50_000.0
MOST_LANES = 10
# Where this share of links has one back, those without are worth a look: else one-way streets are the custom.
MOSTLY_TWO_WAY = 0.9
# A node that lies this far from the others, and so many times as far as most do, is a slip of the pen (m).
FAR_M, FAR_TIMES = 100_000.0, 20.0
# More of one kind than this are counted in one sentence.
MOST_OF_A_KIND = {"error": 1000, "warning": 20, "note": 3}


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding.

    Parameters
    ----------
    severity
        ``error``: the network cannot be used as it is; ``warning``: most likely wrong; ``note``: worth knowing.
    file
        Where it is.
    id
        Of the row, or ``""``.
    rule
        Short name of what was checked.
    text
        One sentence.
    """

    severity: str
    file: str
    id: str
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.file}: {self.text} [{self.rule}]"


def validate(network: "Network", *, owners: Collection[str] = ()) -> list[Fault]:
    """Return what is doubtful about a network, errors first; many findings of one rule are counted in a last one.

    Parameters
    ----------
    owners
        The known departments; those that own an asset when not given.
    """
    known = owners or {asset.owner for asset in network.assets.assets.values() if asset.owner}
    found = [
        *_reach(network),
        *_dead_ends(network),
        *_links(network),
        *_one_way(network),
        *_outliers(network),
        *_geometry(network),
        *_movements(network),
        *_signals(network),
        *_zones(network),
        *_equipment(network, known),
    ]
    order = {"error": 0, "warning": 1, "note": 2}
    shown: list[Fault] = []
    counts = Counter((fault.severity, fault.file, fault.rule) for fault in found)
    seen: Counter[tuple[str, str, str]] = Counter()
    for fault in sorted(found, key=lambda fault: order[fault.severity]):
        key = (fault.severity, fault.file, fault.rule)
        seen[key] += 1
        most = MOST_OF_A_KIND[fault.severity]
        if seen[key] <= most:
            shown.append(fault)
        elif seen[key] == counts[key]:
            shown.append(Fault(*key[:2], "", key[2], f"and {counts[key] - most} more like this"))
    return shown


def _reach(network: "Network") -> Iterator[Fault]:
    """Parts that cannot be reached from the largest one along allowed movements, or do not lead back to it."""
    compiled = network.compile()
    n = compiled.n_links
    ib, ob = movement_links(network.movements)
    matrix = coo_array((np.ones(len(ib)), (ib, ob)), shape=(n, n)).tocsr()
    pieces, weak = connected_components(matrix, connection="weak")
    sizes = np.bincount(weak, minlength=pieces)
    main = int(np.argmax(sizes))
    for piece in np.flatnonzero(np.arange(pieces) != main):
        links = np.flatnonzero(weak == piece)
        name = compiled.link_ids[links[0]]
        text = f"{len(links)} links around link {name} are cut off from the rest: no movement joins them"
        yield Fault("warning", "link.csv", name, "unreachable", text)
    strong_pieces, strong = connected_components(matrix, connection="strong")
    core = int(np.argmax(np.bincount(strong, minlength=strong_pieces)))
    ways = np.zeros((2, n), dtype=bool)
    for row, graph in ((0, matrix), (1, matrix.T.tocsr())):
        start = int(np.flatnonzero(strong == core)[0])
        reached = _reached(graph.indptr, graph.indices, start)
        ways[row, reached] = True
    inside = weak == main
    for rule, lost, text in (
        ("no way in", inside & ~ways[0] & ways[1], "cannot be reached from most of the network"),
        ("no way back", inside & ways[0] & ~ways[1], "has no way back to most of the network"),
    ):
        links = np.flatnonzero(lost)
        # The rim of a map always has streets that only lead in or out: one line says how many.
        if len(links):
            names = ", ".join(compiled.link_ids[i] for i in links[:5])
            more = f" and {len(links) - 5} more" if len(links) > 5 else ""
            verb = text if len(links) == 1 else text.replace("has ", "have ")
            yield Fault("note", "link.csv", compiled.link_ids[links[0]], rule, f"link {names}{more} {verb}")


def _reached(indptr: np.ndarray, indices: np.ndarray, start: int) -> list[int]:
    seen = {start}
    stack = [start]
    while stack:
        at = stack.pop()
        for other in indices[indptr[at] : indptr[at + 1]].tolist():
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return list(seen)


def _dead_ends(network: "Network") -> Iterator[Fault]:
    """Links from which no movement leads on, although other links leave their node."""
    compiled = network.compile()
    onward = np.diff(compiled.movement_start)
    leaving = np.diff(compiled.out_start)
    centroids = _centroids(network)
    for link in np.flatnonzero(onward == 0).tolist():
        name, node = compiled.link_ids[link], int(compiled.to_node[link])
        if leaving[node] and node not in centroids:
            text = f"link {name} ends at node {compiled.node_ids[node]}, whose movements let nothing go on from it"
            yield Fault("warning", "movement.csv", name, "no movement", text)
    sinks = [compiled.link_ids[i] for i in np.flatnonzero((onward == 0) & (leaving[compiled.to_node] == 0))]
    if sinks:
        more = f" and {len(sinks) - 5} more" if len(sinks) > 5 else ""
        verb = "ends" if len(sinks) == 1 else "end"
        text = f"link {', '.join(sinks[:5])}{more} {verb} where no link leaves: the rim of the map"
        yield Fault("note", "link.csv", sinks[0], "dead end", text)
    lonely = np.flatnonzero((leaving == 0) & (np.diff(compiled.in_start) == 0)).tolist()
    for node in lonely:
        name = compiled.node_ids[node]
        yield Fault("warning", "node.csv", name, "no links", f"node {name} has no links")


def _centroids(network: "Network") -> set[int]:
    """Return the nodes of zones that no trip may pass: none of their movements is for general traffic."""
    compiled, nodes = network.compile(), network.nodes
    ib, _ = movement_links(network.movements)
    general = np.ones(len(ib))
    general[network.movements.reserved] = 0.0
    passing = np.bincount(compiled.to_node[ib], weights=general, minlength=compiled.n_nodes)
    return {node for node, zone in enumerate(nodes.zone_ids) if zone and not passing[node]}


def _links(network: "Network") -> Iterator[Fault]:
    links, compiled = network.links, network.compile()
    speed = compiled.free_speed * 3.6
    for link in range(compiled.n_links):
        name = compiled.link_ids[link]
        if not SLOWEST_KMH <= speed[link] <= FASTEST_KMH:
            text = f"link {name}: free_speed is {speed[link]:.0f} km/h, roads have {SLOWEST_KMH:g} to {FASTEST_KMH:g}"
            yield Fault("warning", "link.csv", name, "speed", text)
        if compiled.length[link] > LONGEST_M:
            text = f"link {name} is {compiled.length[link] / 1000:.0f} km long; is the unit right?"
            yield Fault("warning", "link.csv", name, "length", text)
        if compiled.length[link] < 1.0:
            text = f"link {name} is {compiled.length[link]:.2f} m long, shorter than a vehicle's gap"
            yield Fault("note", "link.csv", name, "length", text)
        if compiled.lanes[link] > MOST_LANES:
            text = f"link {name} has {compiled.lanes[link]} lanes in one direction"
            yield Fault("warning", "link.csv", name, "lanes", text)
        if compiled.from_node[link] == compiled.to_node[link]:
            text = f"link {name} begins and ends at node {compiled.node_ids[compiled.to_node[link]]}"
            yield Fault("warning", "link.csv", name, "loop", text)
        per_lane = compiled.capacity[link] / compiled.lanes[link] * 3600
        if per_lane < 100:
            text = f"link {name}: capacity is {per_lane:.0f} veh/h per lane; is it per lane and hour?"
            yield Fault("warning", "link.csv", name, "capacity", text)
    first: dict[tuple[int, int], int] = {}
    for link in range(compiled.n_links):
        ends = int(compiled.from_node[link]), int(compiled.to_node[link])
        other = first.setdefault(ends, link)
        if other != link and _alike(links.geometry[link], links.geometry[other]):
            name, twin = compiled.link_ids[link], compiled.link_ids[other]
            text = f"link {name} lies on link {twin}, between the same nodes"
            yield Fault("warning", "link.csv", name, "duplicate", text)


def _one_way(network: "Network") -> Iterator[Fault]:
    """Links without one back between the same nodes, where most have one: one-way streets, or a missing direction."""
    compiled = network.compile()
    n = compiled.n_nodes
    ends = compiled.from_node.astype(np.int64) * n + compiled.to_node
    back = np.isin(ends, compiled.to_node.astype(np.int64) * n + compiled.from_node)
    if back.mean() < MOSTLY_TWO_WAY:
        return
    for link in np.flatnonzero(~back).tolist():
        name = compiled.link_ids[link]
        text = f"link {name} has no link back, as {back.mean():.0%} of the links have: is it one-way?"
        yield Fault("note", "link.csv", name, "no reverse", text)


def _outliers(network: "Network") -> Iterator[Fault]:
    """Nodes far from all others: coordinates of zero, digits that changed places, another coordinate system."""
    places = network.compile().node_xy
    off = np.hypot(*(places - np.median(places, axis=0)).T)
    limit = max(FAR_M, FAR_TIMES * float(np.median(off)))
    for node in np.flatnonzero(off > limit).tolist():
        name, (x, y) = network.nodes.ids[node], network.nodes.lon_lat[node]
        text = f"node {name} lies at {x:.4f}, {y:.4f}, {off[node] / 1000:,.0f} km from the middle of the others"
        yield Fault("warning", "node.csv", name, "place", text)


def _alike(a: Float, b: Float) -> bool:
    """Return whether two lines between the same nodes are one on the map: nearly the same length and middle."""
    if abs(line_length(a) - line_length(b)) > 0.02 * line_length(a) + 1:
        return False
    middle = np.array([a.mean(axis=0), b.mean(axis=0)])
    return bool(step_lengths(middle)[0] < 5.0)


def _geometry(network: "Network") -> Iterator[Fault]:
    links, compiled, places = network.links, network.compile(), network.nodes.lon_lat
    drawn = line_lengths(links.geometry)
    ends = np.array([[line[0], line[-1]] for line in links.geometry])
    for side, nodes, word in ((0, compiled.from_node, "begins"), (1, compiled.to_node, "ends")):
        shift = (ends[:, side] - places[nodes]) * METRES_PER_DEGREE
        shift[:, 0] *= np.cos(np.radians(places[nodes, 1]))
        off = np.hypot(shift[:, 0], shift[:, 1])
        for link in np.flatnonzero(off > OFF_NODE_M).tolist():
            name, node = compiled.link_ids[link], compiled.node_ids[nodes[link]]
            text = f"link {name}: its geometry {word} {off[link]:.0f} m from node {node}"
            yield Fault("warning", "link.csv", name, "geometry", text)
    pairs = np.column_stack([compiled.from_node, compiled.to_node])
    straight = line_lengths([places[pair] for pair in pairs])
    stated = np.array(["length" not in columns for columns in links.assumed])
    # Straight lines without geometry are shorter than streets; a stated length below them is impossible.
    short = stated & (compiled.length < 0.5 * straight) & (straight - compiled.length > 30)
    long = stated & (compiled.length > 3 * np.maximum(drawn, straight)) & (compiled.length - drawn > 100)
    swapped = _looks_swapped(network, short | long)
    if swapped:
        yield Fault("warning", "node.csv", "", "swapped", swapped)
    if (short | long).sum() > 0.5 * len(stated) > 1:
        ratio = float(np.median(compiled.length / np.maximum(drawn, 1.0)))
        text = f"lengths are {ratio:.2g} times those of the geometry; is the unit of length in config.csv right?"
        yield Fault("warning", "link.csv", "", "length unit", text)
        return
    for link in np.flatnonzero(short | long).tolist():
        name = compiled.link_ids[link]
        text = f"link {name}: length is {compiled.length[link]:.0f} m, its geometry {drawn[link]:.0f} m"
        yield Fault("warning", "link.csv", name, "length", text)


def _looks_swapped(network: "Network", doubtful: np.ndarray) -> str:
    """Return a sentence when stated lengths fit latitude and longitude better the other way round."""
    links, places = network.links, network.nodes.lon_lat
    stated = np.array(["length" not in columns for columns in links.assumed])
    if stated.sum() < 3 or (np.abs(places[:, 0]) > 90).any():
        return ""
    ends = [places[links.from_node], places[links.to_node]]
    here, there = (
        np.hypot((b[:, x] - a[:, x]) * np.cos(np.radians((a[:, y] + b[:, y]) / 2)), b[:, y] - a[:, y])
        for x, y in ((0, 1), (1, 0))
        for a, b in (ends,)
    )
    wanted = links.length[stated] / METRES_PER_DEGREE
    # Streets are a little longer than the straight line; the spread of that factor tells which order is right.
    spread = [float(np.std(np.log(wanted / np.maximum(d[stated], 1e-9)))) for d in (here, there)]
    share_short = float(np.mean(wanted < 0.98 * here[stated]))
    if share_short > 0.25 and spread[1] < 0.5 * spread[0]:
        return "x_coord and y_coord look swapped: lengths fit latitude in x; x_coord is the longitude"
    return ""


def _movements(network: "Network") -> Iterator[Fault]:
    compiled = network.compile()
    for name in network.movements.merged:
        text = f"link {name}: lane ranges of its movements overlap, so these lanes form one group"
        yield Fault("note", "movement.csv", name, "lane group", text)
    for name in network.movements.assumed_pockets:
        yield Fault("note", "movement.csv", name, "pocket", f"link {name}: the length of its turn pocket is assumed")
    entered = np.zeros(compiled.n_links, bool)
    entered[compiled.movement_out] = True
    arriving = np.diff(compiled.in_start)[compiled.from_node]
    for link in np.flatnonzero(~entered & (arriving > 0)).tolist():
        name = compiled.link_ids[link]
        text = f"link {name} leaves node {compiled.node_ids[compiled.from_node[link]]}, but no movement leads into it"
        yield Fault("note", "movement.csv", name, "no movement in", text)


def _signals(network: "Network") -> Iterator[Fault]:
    compiled = network.compile()
    without = []
    for node, control in enumerate(network.nodes.ctrl_types):
        name = compiled.node_ids[node]
        joined = compiled.in_start[node + 1] > compiled.in_start[node]
        if "signal" in control.lower() and name not in network.signals and joined:
            without.append(name)
    if without:
        more = f" and {len(without) - 5} more" if len(without) > 5 else ""
        text = f"node {', '.join(without[:5])}{more}: signalised, but without a timing plan, so without stages"
        yield Fault("warning", "node.csv", without[0], "no plan", text)
    for name, plan in network.signals.items():
        green = {pair for stage in plan.stages for pair in stage.movements}
        node = network.nodes.position[name]
        for link in compiled.in_link[compiled.in_start[node] : compiled.in_start[node + 1]].tolist():
            outs = compiled.movement_out[compiled.movement_start[link] : compiled.movement_start[link + 1]].tolist()
            for out in outs:
                pair = compiled.link_ids[link], compiled.link_ids[out]
                if pair not in green:
                    text = f"node {name}: the movement from link {pair[0]} to {pair[1]} is never green"
                    yield Fault("warning", "signal_phase_mvmt.csv", name, "never green", text)
        if sum(stage.green_s for stage in plan.stages) < 0.3 * plan.cycle_s:
            text = f"node {name}: is all red for most of its cycle of {plan.cycle_s:g} s"
            yield Fault("warning", "signal_timing_plan.csv", name, "all red", text)
        if not 20 <= plan.cycle_s <= 300:
            text = f"node {name}: its cycle is {plan.cycle_s:g} s, signals have 20 to 300"
            yield Fault("warning", "signal_timing_plan.csv", name, "cycle", text)


def _zones(network: "Network") -> Iterator[Fault]:
    compiled = network.compile()
    out, into = np.diff(compiled.out_start), np.diff(compiled.in_start)
    for name, nodes in network.zones.items():
        at = [network.nodes.position[node] for node, _ in nodes]
        if not at:
            yield Fault("warning", "zone.csv", name, "no node", f"zone {name} has no node at which it loads")
        elif not out[at].any():
            yield Fault("warning", "zone.csv", name, "no way out", f"zone {name}: no link leaves its nodes")
        elif not into[at].any():
            yield Fault("warning", "zone.csv", name, "no way in", f"zone {name}: no link leads to its nodes")


def _equipment(network: "Network", owners: Collection[str]) -> Iterator[Fault]:
    assets = network.assets
    for ring in assets.cycles():
        told = ", ".join(ring[:10]) + (f" and {len(ring) - 10} more" if len(ring) > 10 else "")
        among = set(ring)
        choices = [d.need == "any" for d in assets.dependencies if d.asset_id in among and d.depends_on in among]
        if all(choices) and assets.feeds_from_outside(ring[0]):
            text = f"assets {told} feed each other in a ring; they are dark once nobody outside feeds them"
            yield Fault("note", "dependency.csv", ring[0], "ring", text)
            continue
        text = f"assets {told} need each other in a circle; which of them starts first?"
        yield Fault("warning", "dependency.csv", ring[0], "circle", text)
    powered = {d.asset_id for d in assets.dependencies if d.kind == "power"}
    for asset in assets.assets.values():
        yield from _owner("asset.csv", "asset", asset.asset_id, asset.owner, owners)
        if asset.asset_id in powered and asset.autonomy_s == 0 and asset.kind in ("cabinet", "controller"):
            text = f"asset {asset.asset_id}: has no battery (autonomy_s), so it fails with its supply"
            yield Fault("note", "asset.csv", asset.asset_id, "battery", text)
    kinds: dict[tuple[str, str], set[bool]] = {}
    for d in assets.dependencies:
        if d.need == "any":
            kinds.setdefault((d.asset_id, d.group), set()).add(d.kind == "comms")
    for (name, group), mixed in kinds.items():
        if len(mixed) > 1:
            text = f"asset {name}: group {group} holds lines and supplies; a line stands in for no supply"
            yield Fault("warning", "dependency.csv", name, "group", text)
    alternatives = Counter((d.asset_id, d.group) for d in assets.dependencies if d.need == "any")
    for (name, group), count in alternatives.items():
        if count == 1:
            text = f"asset {name}: group {group} holds one supply only, so 'any' is 'all'"
            yield Fault("note", "dependency.csv", name, "group", text)
    for sensor in network.sensors:
        yield from _owner("sensor.csv", "sensor", sensor.sensor_id, sensor.owner, owners)
        if sensor.asset_id and sensor.asset_id not in assets.assets:
            text = f"sensor {sensor.sensor_id}: asset {sensor.asset_id} is not in asset.csv"
            yield Fault("warning", "sensor.csv", sensor.sensor_id, "asset", text)
        if network.sensor_point(sensor) is None:
            text = f"sensor {sensor.sensor_id}: has neither a link nor coordinates, so no place on the map"
            yield Fault("warning", "sensor.csv", sensor.sensor_id, "place", text)
    paths = len(network.tables["link"]) - sum(motor_rows(network.tables["link"]))
    if paths:
        text = f"{paths} links are not for motor vehicles and no part of the network"
        yield Fault("note", "link.csv", "", "paths", text)


def _owner(file: str, what: str, name: str, owner: str, owners: Collection[str]) -> Iterator[Fault]:
    """Say when nobody, or a department that is not known, owns something: nobody would be told when it fails."""
    if owners and not owner:
        yield Fault("warning", file, name, "owner", f"{what} {name}: has no owner, so no department is told of it")
    elif owners and owner not in owners:
        near = get_close_matches(owner, owners, 1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        yield Fault("warning", file, name, "owner", f"{what} {name}: owner {owner!r} is not known{hint}")
