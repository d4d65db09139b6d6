"""The street as the kernels see it: what stands (`Roads`) and what moves (`Traffic`), both plain arrays of records.

A link with an incident at a point is cut there into **parts**; every other link is one part. A part ends in one
**queue** per lane group. A **slot** is room for one vehicle: it holds the time at which its vehicle may leave and,
once the vehicle has left, the time at which the hole that it left behind has travelled back to the entrance (Newell
1993; Yperman 2007).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulation.signals import GreenTable
from twin.compiled import CompiledNetwork, Float, Int

Long = npt.NDArray[np.int64]
Records = npt.NDArray[Any]  # of the record types below

MIN_LOOKAHEAD_S = 1e-6  # below this, adding it to a time of day would change nothing
AT_END = ORIGIN = -1  # instead of a queue: where a trip ends, where it begins
UNKNOWN = -2
LONG_AGO_S = -1e12
MIN_PART_M = 0.5  # an incident nearer to an end of its link stands at that end

PART = np.dtype(
    [
        ("link", "i8"),
        ("from_node", "i8"),
        ("to_node", "i8"),
        ("next", "i8"),  # the part that follows on the same link, -1 at the link's end
        ("first", "i8"),  # 1 where the link begins
        ("queue", "i8"),  # its queues are queue:end_queue
        ("end_queue", "i8"),
        ("last_queue", "i8"),  # queue of the vehicles whose trip ends here
        ("slot", "i8"),  # first of the part's own slots, -1 with one queue, whose slots then are the part's
        ("storage", "i8"),
        ("room", "i8"),  # slots in use, fewer than the storage while lanes are closed
        ("closed", "i8"),
        ("length", "f8"),
        ("travel", "f8"),  # s at the free speed in force
        ("headway", "f8"),  # s between entries, infinite where nothing enters
        ("hole", "f8"),  # s that a hole takes back to the entrance
        ("origin_weight", "f8"),  # of vehicles that begin their trip here, at the merge in front of the part
    ],
    align=True,
)
QUEUE = np.dtype(
    [
        ("part", "i8"),
        ("slot", "i8"),
        ("storage", "i8"),
        ("room", "i8"),
        ("headway", "f8"),  # s between exits
        ("hole", "f8"),
        ("share", "f8"),  # of the link's lanes
        ("weight", "f8"),  # at merges
    ],
    align=True,
)
MOVEMENT = np.dtype(
    [
        ("part", "i8"),
        ("queue", "i8"),
        ("green", "i8"),  # its windows are green:end_green
        ("end_green", "i8"),
        ("yields", "i8"),  # 1 while one of its windows has a rule of yielding
    ],
    align=True,
)
YIELDING = np.dtype([("first", "i8"), ("end", "i8"), ("gap", "f8"), ("follow_up", "f8")], align=True)  # of Roads.rival
NODE = np.dtype(
    [
        ("queue", "i8"),  # rows of Roads.node_queue
        ("end_queue", "i8"),
        ("origin", "i8"),  # rows of Roads.node_origin
        ("end_origin", "i8"),
        ("cycle", "f8"),
        ("offset", "f8"),
        ("lookahead", "f8"),
    ],
    align=True,
)
LINK = np.dtype([("length", "f8"), ("free_time", "f8")], align=True)  # s at the undisturbed free speed

PART_TRAFFIC = np.dtype(
    [
        ("entered", "i8"),  # since the start
        ("left", "i8"),
        ("entered_sum", "f8"),  # of the times of entry
        ("left_sum", "f8"),
        ("free", "f8"),  # when the next vehicle may enter, for the headway's sake
        ("last_from", "i8"),  # queue from which the last vehicle came, ORIGIN, or UNKNOWN before the first
        ("virtual", "f8"),  # virtual time of the merge in front of the part
        ("origin_tag", "f8"),
        ("origin_head", "i8"),  # vehicles that wait to begin their trip here
        ("origin_tail", "i8"),
        ("origin_ahead", "i8"),
        ("origin_time", "f8"),
    ],
    align=True,
)
QUEUE_TRAFFIC = np.dtype(
    [
        ("entered", "i8"),
        ("left", "i8"),
        ("served", "i8"),  # turns at merges
        ("free", "f8"),  # when the next vehicle may leave, for the headway's sake
        ("schedule", "f8"),  # when its last vehicle would have left, had no other approach taken its turn
        ("last", "f8"),  # when it did leave
        ("ahead", "i8"),  # of its first vehicle: the queue it will join, AT_END or UNKNOWN
        ("out", "i8"),  # the part of that queue
        ("movement", "i8"),
        ("time", "f8"),  # when it may move
    ],
    align=True,
)
MOVEMENT_TRAFFIC = np.dtype(
    [("tag", "f8"), ("served", "i8"), ("left", "i8"), ("last", "f8")],  # departures so far, and when the last one was
    align=True,
)
VEHICLE = np.dtype(
    [
        ("step", "i8"),  # place in Traffic.path of the movement at the end of the link it is on
        ("behind", "i8"),  # next in the origin's queue
        ("depart", "f8"),
        ("enter", "f8"),
        ("arrive", "f8"),
        ("link_enter", "f8"),
        ("distance", "f8"),
        ("free_time", "f8"),
    ],
    align=True,
)


class Roads(NamedTuple):
    """What stands. Only scenario events change it, between two runs of the kernel."""

    part: Records
    queue: Records
    movement: Records
    green_opens: Float
    green_closes: Float
    green_yields: Long  # the rule of yielding of each window, -1: protected
    yielding: Records
    rival: Long  # movements to which others yield
    node: Records  # those of the network, then those of the cuts
    node_queue: Long
    node_origin: Long
    link: Records


class Traffic(NamedTuple):
    """What moves; times are seconds of the run."""

    part: Records
    queue: Records
    movement: Records
    vehicle: Records
    slot_time: Float
    slot_vehicle: Int
    part_slot_time: Float
    link_stops: Long
    wake: Float  # when each node acts next
    heap: Long
    heap_place: Long
    path: Int  # movements of all routes, each ended by -1


def _csr(owner: npt.NDArray[np.integer], n: int) -> tuple[Long, Long]:
    """Return (start, items) so that the items of owner ``i`` are ``items[start[i]:start[i + 1]]``, in rising order."""
    order = np.argsort(owner, kind="stable").astype(np.int64)
    return np.searchsorted(owner[order], np.arange(n + 1)).astype(np.int64), order


def _slots(density: Float, length: Float) -> Long:
    """Return max(1, ceil(density length)): real-valued storage rounded up, the hole's time keeps it exact."""
    return np.maximum(1, np.ceil(density * length - 1e-9)).astype(np.int64)


def _cut_lengths(network: CompiledNetwork, cuts: Mapping[int, Sequence[float]]) -> tuple[Int, Float]:
    """Return link and length of every part, in order along each link."""
    links, lengths, done = [], [], 0
    for link in sorted(cuts):
        edges = [0.0, *sorted(cuts[link]), float(network.length[link])]
        links += [np.arange(done, link), np.full(len(edges) - 1, link)]
        lengths += [network.length[done:link], np.diff(edges)]
        done = link + 1
    links.append(np.arange(done, network.n_links))
    lengths.append(network.length[done:])
    return np.concatenate(links).astype(np.int32), np.concatenate(lengths)


def lay_roads(network: CompiledNetwork, greens: GreenTable, cuts: Mapping[int, Sequence[float]]) -> Roads:
    """Return the kernel's roads; ``cuts`` gives by link the distances (m) from its start at which it is cut."""
    link, length = _cut_lengths(network, cuts)
    n_parts = len(link)
    first = np.concatenate([[True], link[1:] != link[:-1]]) if n_parts else np.zeros(0, bool)
    last = np.concatenate([link[1:] != link[:-1], [True]]) if n_parts else np.zeros(0, bool)
    first_part = np.flatnonzero(first).astype(np.int32)
    last_part = np.flatnonzero(last).astype(np.int32)
    n_nodes = network.n_nodes + int((~last).sum())
    part_to, part_from = network.to_node[link].copy(), network.from_node[link].copy()
    part_to[~last] = part_from[~first] = np.arange(network.n_nodes, n_nodes)

    # Queues: one on every part that another part follows, the link's lane groups on its last part.
    groups = np.maximum(1, np.diff(network.group_start))
    per_part = np.where(last, groups[link], 1)
    part_queue = np.concatenate([[0], np.cumsum(per_part)]).astype(np.int32)
    queue_part = np.repeat(np.arange(n_parts), per_part).astype(np.int32)
    queue_link = link[queue_part]
    lanes = network.lanes[queue_link].astype(float)
    pocket = np.full(len(queue_part), np.inf)
    row_link = np.repeat(np.arange(network.n_links), np.diff(network.group_start))
    place = part_queue[last_part[row_link]] + np.arange(len(row_link)) - network.group_start[row_link]
    queue_lanes = lanes.copy()
    queue_lanes[place] = network.group_lanes
    pocket[place] = network.group_pocket
    share = queue_lanes / lanes
    queue_density = network.jam_density[queue_link] * share
    queue_storage = _slots(queue_density, np.minimum(pocket, length[queue_part]))
    queue_hole = queue_storage / (network.wave_speed[queue_link] * queue_density)

    part_storage = _slots(network.jam_density[link], length)
    part_hole = part_storage / (network.wave_speed[link] * network.jam_density[link])
    several = per_part > 1
    part_slot = np.where(several, np.cumsum(np.where(several, part_storage, 0)) - part_storage, -1)
    widest = np.lexsort((np.arange(len(queue_part)), -queue_lanes, queue_part))
    part_last_queue = widest[part_queue[:-1]].astype(np.int32)

    node_queue_start, node_queue = _csr(part_to[queue_part], n_nodes)
    node_origin_start, node_origin = _csr(np.where(first, part_from, n_nodes), n_nodes)
    padding = np.zeros(n_nodes - network.n_nodes)
    movement_link = np.repeat(np.arange(network.n_links), np.diff(network.movement_start))
    group_place = network.movement_group - network.group_start[movement_link]
    roads = Roads(
        part=_records(
            PART,
            link=link,
            from_node=part_from,
            to_node=part_to,
            next=np.where(last, -1, np.arange(1, n_parts + 1)),
            first=first,
            queue=part_queue[:-1],
            end_queue=part_queue[1:],
            last_queue=part_last_queue,
            slot=part_slot,
            storage=part_storage,
            room=part_storage,
            closed=np.zeros(n_parts),
            length=length,
            travel=length / network.free_speed[link],
            headway=1.0 / network.capacity[link],
            hole=part_hole,
            origin_weight=network.priority[link] / network.lanes[link],
        ),
        queue=_records(
            QUEUE,
            part=queue_part,
            slot=np.cumsum(queue_storage) - queue_storage,
            storage=queue_storage,
            room=queue_storage,
            headway=1.0 / (network.capacity[queue_link] * share),
            hole=queue_hole,
            share=share,
            weight=network.priority[queue_link] * share,
        ),
        movement=_records(
            MOVEMENT,
            part=first_part[network.movement_out],
            queue=part_queue[last_part[movement_link]] + group_place,
            green=greens.start[:-1],
            end_green=greens.start[1:],
            yields=greens.yields_now(),
        ),
        green_opens=greens.opens,
        green_closes=greens.closes,
        green_yields=greens.yields,
        yielding=_records(
            YIELDING,
            first=greens.rival_start[:-1],
            end=greens.rival_start[1:],
            gap=greens.gap,
            follow_up=greens.follow_up,
        ),
        rival=greens.rival,
        node=_records(
            NODE,
            queue=node_queue_start[:-1],
            end_queue=node_queue_start[1:],
            origin=node_origin_start[:-1],
            end_origin=node_origin_start[1:],
            cycle=np.concatenate([greens.cycle, padding]),
            offset=np.concatenate([greens.offset, padding]),
            lookahead=np.full(n_nodes, np.inf),
        ),
        node_queue=node_queue,
        node_origin=node_origin,
        link=_records(LINK, length=network.length, free_time=network.length / network.free_speed),
    )
    set_lookahead(roads)
    return roads


def _records(dtype: np.dtype[Any], **columns: npt.NDArray[Any]) -> Records:
    """Return an array of records from its columns, all of them."""
    assert set(columns) == set(dtype.names or ())
    records = np.zeros(len(next(iter(columns.values()))), dtype)
    for name, values in columns.items():
        records[name] = values
    return records


def set_lookahead(roads: Roads) -> None:
    """Set how long each node may run ahead of its neighbours: what they do reaches it no sooner.

    A neighbour acts on a node through a vehicle, which takes the free-flow time of the in-link, or through a hole,
    which takes the wave's time on the out-link (Chandy and Misra 1979, conservative parallel simulation).
    """
    part, node = roads.part, roads.node
    back = np.minimum.reduceat(roads.queue["hole"], part["queue"]) if len(part) else np.zeros(0)
    back = np.where(part["slot"] >= 0, np.minimum(back, part["hole"]), back)
    lookahead = np.full(len(node), np.inf)
    np.minimum.at(lookahead, part["to_node"], part["travel"])
    np.minimum.at(lookahead, part["from_node"], back)
    node["lookahead"] = np.maximum(lookahead, MIN_LOOKAHEAD_S)


def empty_traffic(roads: Roads, n_vehicles: int) -> Traffic:
    """Return the traffic of an empty street with room for ``n_vehicles``."""
    n_nodes, n_slots = len(roads.node), int(roads.queue["storage"].sum())
    part = np.zeros(len(roads.part), PART_TRAFFIC)
    part["free"] = -np.inf
    part["origin_head"] = part["origin_tail"] = -1
    part["origin_ahead"] = UNKNOWN
    queue = np.zeros(len(roads.queue), QUEUE_TRAFFIC)
    queue["free"] = -np.inf
    queue["ahead"] = UNKNOWN
    queue["schedule"] = queue["last"] = LONG_AGO_S
    part["last_from"] = UNKNOWN
    movement = np.zeros(len(roads.movement), MOVEMENT_TRAFFIC)
    movement["last"] = LONG_AGO_S
    own_slots = roads.part["storage"][roads.part["slot"] >= 0]
    return Traffic(
        part=part,
        queue=queue,
        movement=movement,
        vehicle=no_vehicles(n_vehicles),
        slot_time=np.full(n_slots, -np.inf),
        slot_vehicle=np.full(n_slots, -1, np.int32),
        part_slot_time=np.full(int(own_slots.sum()), -np.inf),
        link_stops=np.zeros(len(roads.link), np.int64),
        wake=np.full(n_nodes, np.inf),
        heap=np.arange(n_nodes),
        heap_place=np.arange(n_nodes),
        path=np.full(1024, -1, np.int32),
    )


def forget_heads(traffic: Traffic) -> None:
    """Let every queue look up anew where its first vehicle goes: routes or queues have changed."""
    traffic.queue["ahead"] = UNKNOWN
    traffic.part["origin_ahead"] = UNKNOWN


def no_vehicles(n: int) -> Records:
    """Return places for ``n`` vehicles."""
    vehicles = np.zeros(n, VEHICLE)
    for name in ("depart", "enter", "arrive", "link_enter"):
        vehicles[name] = np.nan
    vehicles["behind"] = -1
    return vehicles
