"""The street as the kernels see it: what stands (`Roads`) and what moves (`Traffic`), both plain arrays.

A link with an incident at a point is cut there into **parts**; every other link is one part. A part ends in one **queue** per
lane group. A **slot** is room for one vehicle: it holds the time at which its vehicle may leave and, once the vehicle has left,
the time at which the hole that it left behind has travelled back to the entrance (Newell 1993; Yperman 2007).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulation.signals import GreenTable
from twin.compiled import CompiledNetwork, Float, Int

Long = npt.NDArray[np.int64]
Byte = npt.NDArray[np.int8]

MIN_LOOKAHEAD_S = 1e-6  # below this, adding it to a time of day would change nothing
MIN_PART_M = 0.5  # an incident nearer to an end of its link stands at that end


class Roads(NamedTuple):
    """What stands. Only scenario events change it, between two runs of the kernel.

    ``part_*`` by part, ``queue_*`` by lane group of a part, ``movement_*`` by movement of the network, ``node_*`` by node (those of
    the cuts come last). Headways are seconds per vehicle, infinite where nothing passes.
    """

    part_link: Int
    part_from: Int
    part_to: Int
    part_next: Int  # the part that follows on the same link, -1 at the link's end
    part_first: Byte  # 1 where the link begins
    part_length: Float
    part_travel: Float  # s at the free speed in force
    part_headway: Float  # s between entries
    part_storage: Long
    part_hole: Float
    part_slot: Long  # first of the part's own slots, -1 with one queue
    part_closed: Byte
    part_queue: Int  # first queue; (n_parts + 1,)
    part_last_queue: Int  # queue of the vehicles whose trip ends here
    part_origin_weight: Float
    queue_part: Int
    queue_headway: Float
    queue_storage: Long
    queue_hole: Float
    queue_slot: Long
    queue_weight: Float
    queue_share: Float  # of the link's lanes
    movement_part: Int
    movement_queue: Int
    green_start: Int
    green_opens: Float
    green_closes: Float
    node_queue_start: Int
    node_queue: Int
    node_origin_start: Int
    node_origin: Int  # parts at which trips can begin
    node_cycle: Float
    node_offset: Float
    node_lookahead: Float
    link_length: Float
    link_free_time: Float  # s at the undisturbed free speed


class Traffic(NamedTuple):
    """What moves. Counts are since the start; times are seconds of the run."""

    slot_time: Float
    slot_vehicle: Int
    part_slot_time: Float
    queue_entered: Long
    queue_left: Long
    queue_free: Float  # when the next vehicle may leave, for the headway's sake
    queue_served: Long
    part_free: Float  # when the next vehicle may enter, for the headway's sake
    part_entered: Long
    part_left: Long
    part_entered_sum: Float  # sum of entry times
    part_left_sum: Float
    part_virtual: Float  # virtual time of the merge in front of the part
    movement_tag: Float
    movement_served: Long
    origin_tag: Float
    origin_head: Int
    origin_tail: Int
    link_stops: Long
    node_wake: Float
    heap: Int
    heap_place: Int
    vehicle_step: Long  # place in ``path`` of the movement at the end of the link it is on
    vehicle_behind: Int  # next in the origin's queue
    vehicle_depart: Float
    vehicle_enter: Float
    vehicle_arrive: Float
    vehicle_link_enter: Float
    vehicle_distance: Float
    vehicle_free_time: Float
    path: Int  # movements of all routes, each ended by -1


def _csr(owner: npt.NDArray[np.integer], n: int) -> tuple[Int, Int]:
    """Return (start, items) so that the items of owner ``i`` are ``items[start[i]:start[i + 1]]``, in rising order."""
    order = np.argsort(owner, kind="stable").astype(np.int32)
    start = np.searchsorted(owner[order], np.arange(n + 1)).astype(np.int32)
    return start, order


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
    travel = length / network.free_speed[link]

    node_queue_start, node_queue = _csr(part_to[queue_part], n_nodes)
    origin_owner = np.where(first, part_from, n_nodes)
    node_origin_start, node_origin = _csr(origin_owner, n_nodes)
    padding = np.zeros(n_nodes - network.n_nodes)
    movement_link = np.repeat(np.arange(network.n_links), np.diff(network.movement_start))
    group_place = network.movement_group - network.group_start[movement_link]
    roads = Roads(
        part_link=link,
        part_from=part_from,
        part_to=part_to,
        part_next=np.where(last, -1, np.arange(1, n_parts + 1)).astype(np.int32),
        part_first=first.astype(np.int8),
        part_length=length,
        part_travel=travel,
        part_headway=1.0 / network.capacity[link],
        part_storage=part_storage,
        part_hole=part_hole,
        part_slot=part_slot.astype(np.int64),
        part_closed=np.zeros(n_parts, np.int8),
        part_queue=part_queue,
        part_last_queue=part_last_queue,
        part_origin_weight=network.priority[link] / network.lanes[link],
        queue_part=queue_part,
        queue_headway=1.0 / (network.capacity[queue_link] * share),
        queue_storage=queue_storage,
        queue_hole=queue_hole,
        queue_slot=(np.cumsum(queue_storage) - queue_storage).astype(np.int64),
        queue_weight=network.priority[queue_link] * share,
        queue_share=share,
        movement_part=first_part[network.movement_out].astype(np.int32),
        movement_queue=(part_queue[last_part[movement_link]] + group_place).astype(np.int32),
        green_start=greens.start,
        green_opens=greens.opens,
        green_closes=greens.closes,
        node_queue_start=node_queue_start,
        node_queue=node_queue,
        node_origin_start=node_origin_start,
        node_origin=node_origin,
        node_cycle=np.concatenate([greens.cycle, padding]),
        node_offset=np.concatenate([greens.offset, padding]),
        node_lookahead=np.full(n_nodes, np.inf),
        link_length=network.length.copy(),
        link_free_time=network.length / network.free_speed,
    )
    set_lookahead(roads)
    return roads


def set_lookahead(roads: Roads) -> None:
    """Set how long each node may run ahead of its neighbours: what they do reaches it no sooner.

    A neighbour acts on a node through a vehicle, which takes the free-flow time of the in-link, or through a hole, which takes the
    wave's time on the out-link (Chandy and Misra 1979, conservative parallel simulation).
    """
    back = np.minimum.reduceat(roads.queue_hole, roads.part_queue[:-1])
    back = np.where(roads.part_slot >= 0, np.minimum(back, roads.part_hole), back)
    roads.node_lookahead[:] = np.inf
    np.minimum.at(roads.node_lookahead, roads.part_to, roads.part_travel)
    np.minimum.at(roads.node_lookahead, roads.part_from, back)
    np.maximum(roads.node_lookahead, MIN_LOOKAHEAD_S, out=roads.node_lookahead)


def empty_traffic(roads: Roads, n_vehicles: int) -> Traffic:
    """Return the traffic of an empty street with room for ``n_vehicles``."""
    n_parts, n_queues, n_nodes = len(roads.part_link), len(roads.queue_part), len(roads.node_cycle)
    n_movements, n_slots = len(roads.movement_part), int(roads.queue_storage.sum())
    several = roads.part_slot >= 0
    return Traffic(
        slot_time=np.full(n_slots, -np.inf),
        slot_vehicle=np.full(n_slots, -1, np.int32),
        part_slot_time=np.full(int(roads.part_storage[several].sum()), -np.inf),
        queue_entered=np.zeros(n_queues, np.int64),
        queue_left=np.zeros(n_queues, np.int64),
        queue_free=np.full(n_queues, -np.inf),
        queue_served=np.zeros(n_queues, np.int64),
        part_free=np.full(n_parts, -np.inf),
        part_entered=np.zeros(n_parts, np.int64),
        part_left=np.zeros(n_parts, np.int64),
        part_entered_sum=np.zeros(n_parts),
        part_left_sum=np.zeros(n_parts),
        part_virtual=np.zeros(n_parts),
        movement_tag=np.zeros(n_movements),
        movement_served=np.zeros(n_movements, np.int64),
        origin_tag=np.zeros(n_parts),
        origin_head=np.full(n_parts, -1, np.int32),
        origin_tail=np.full(n_parts, -1, np.int32),
        link_stops=np.zeros(len(roads.link_length), np.int64),
        node_wake=np.full(n_nodes, np.inf),
        heap=np.arange(n_nodes, dtype=np.int32),
        heap_place=np.arange(n_nodes, dtype=np.int32),
        vehicle_step=np.zeros(n_vehicles, np.int64),
        vehicle_behind=np.full(n_vehicles, -1, np.int32),
        vehicle_depart=np.full(n_vehicles, np.nan),
        vehicle_enter=np.full(n_vehicles, np.nan),
        vehicle_arrive=np.full(n_vehicles, np.nan),
        vehicle_link_enter=np.full(n_vehicles, np.nan),
        vehicle_distance=np.zeros(n_vehicles),
        vehicle_free_time=np.zeros(n_vehicles),
        path=np.full(1024, -1, np.int32),
    )
