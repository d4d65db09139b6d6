"""Lay the kernel's roads from a compiled network: parts, queues, origins, and how far each node may run ahead."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from simulation.signals import GreenTable
from simulation.street import LINK, MOVEMENT, NODE, PART, QUEUE, YIELDING, Long, Records, Roads
from twin.compiled import CompiledNetwork, Float, Int

MIN_LOOKAHEAD_S = 1e-6  # below this, adding it to a time of day would change nothing
MARGIN_S = 4e-9  # instants that count as one may be taken up by a window that begins between them


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
    """Return the kernel's roads, one block; ``cuts`` gives by link the distances (m) from its start where it is cut."""
    link, length = _cut_lengths(network, cuts)
    n_parts = len(link)
    first = np.concatenate([[True], link[1:] != link[:-1]]) if n_parts else np.zeros(0, bool)
    last = np.concatenate([link[1:] != link[:-1], [True]]) if n_parts else np.zeros(0, bool)
    first_part = np.flatnonzero(first).astype(np.int32)
    last_part = np.flatnonzero(last).astype(np.int32)
    n_nodes = network.n_nodes + int((~last).sum())
    part_to, part_from = network.to_node[link].copy(), network.from_node[link].copy()
    part_to[~last] = part_from[~first] = np.arange(network.n_nodes, n_nodes)

    # Queues: one on every part that another part follows, the link's lane groups on its last part. Those of a node
    # stand together, so that the kernel finds them in one place.
    groups = np.maximum(1, np.diff(network.group_start))
    per_part = np.where(last, groups[link], 1)
    by_node = np.argsort(part_to, kind="stable")
    part_queue = np.empty(n_parts, np.int64)
    part_queue[by_node] = np.cumsum(per_part[by_node]) - per_part[by_node]
    queue_part = np.repeat(by_node, per_part[by_node])
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
    queue_slot = np.cumsum(queue_storage) - queue_storage

    part_storage = _slots(network.jam_density[link], length)
    part_hole = part_storage / (network.wave_speed[link] * network.jam_density[link])
    several = per_part > 1
    part_slot = np.where(several, np.cumsum(np.where(several, part_storage, 0)) - part_storage, -1)
    widest = np.lexsort((np.arange(len(queue_part)), -queue_lanes, queue_part))
    widest_of = np.empty(n_parts, np.int64)
    widest_of[:] = widest[np.searchsorted(queue_part[widest], np.arange(n_parts))]

    node_queue = np.searchsorted(part_to[queue_part], np.arange(n_nodes + 1))
    node_origin = first_part[np.argsort(part_from[first_part], kind="stable")]
    node_origin_start = np.searchsorted(part_from[node_origin], np.arange(n_nodes + 1))
    part_origin = np.full(n_parts, -1)
    part_origin[node_origin] = np.arange(len(node_origin))
    padding = np.zeros(n_nodes - network.n_nodes)
    movement_link = np.repeat(np.arange(network.n_links), np.diff(network.movement_start))
    group_place = network.movement_group - network.group_start[movement_link]
    movement_queue, movement_yields = part_queue[last_part[movement_link]] + group_place, greens.yields_now()
    roads = Roads(
        part=_records(
            PART,
            link=link,
            from_node=part_from,
            to_node=part_to,
            next=np.where(last, -1, np.arange(1, n_parts + 1)),
            queue=part_queue,
            end_queue=part_queue + per_part,
            last_queue=widest_of,
            slot=part_slot,
            end_slot=np.where(several, part_slot + part_storage, -1),
            room=part_storage,
            origin=part_origin,
            first=first,
            closed=np.zeros(n_parts),
            crosses=np.zeros(n_parts),
            length=length,
            travel=length / network.free_speed[link],
            headway=1.0 / network.capacity[link],
            hole=part_hole,
            origin_price=network.lanes[link] / network.priority[link],
        ),
        queue=_records(
            QUEUE,
            part=queue_part,
            slot=queue_slot,
            end_slot=queue_slot + queue_storage,
            room=queue_storage,
            headway=1.0 / (network.capacity[queue_link] * share),
            hole=queue_hole,
            share=share,
            price=1.0 / (network.priority[queue_link] * share),
            yields=np.bincount(movement_queue, movement_yields, len(queue_part)) > 0,
        ),
        movement=_records(
            MOVEMENT,
            part=first_part[network.movement_out],
            queue=movement_queue,
            green=greens.start[:-1],
            end_green=greens.start[1:],
            yields=movement_yields,
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
            queue=node_queue[:-1],
            end_queue=node_queue[1:],
            origin=node_origin_start[:-1],
            end_origin=node_origin_start[1:],
            cycle=np.concatenate([greens.cycle, padding]),
            offset=np.concatenate([greens.offset, padding]),
            lookahead=np.full(n_nodes, np.inf),
            block=np.zeros(n_nodes),
        ),
        node_origin=node_origin,
        link=_records(LINK, length=network.length, free_time=network.length / network.free_speed),
        block_start=np.array([0, n_nodes], np.int64),
        meeting=np.zeros(0, np.int32),
        meeting_start=np.zeros(2, np.int64),
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


def lags(roads: Roads) -> tuple[Float, Float]:
    """Return by part how long what happens at one end takes to reach the other: down with a vehicle, up with a hole."""
    part = roads.part
    back = np.full(len(part), np.inf)
    np.minimum.at(back, roads.queue["part"], roads.queue["hole"])
    return part["travel"], np.where(part["slot"] >= 0, np.minimum(back, part["hole"]), back)


def set_lookahead(roads: Roads) -> None:
    """Set how long each node may run ahead of its neighbours: what they do reaches it no sooner.

    A neighbour acts on a node through a vehicle, which takes the free-flow time of the in-link, or through a hole,
    which takes the wave's time on the out-link (Chandy and Misra 1979, conservative parallel simulation).
    """
    part, node = roads.part, roads.node
    down, back = lags(roads)
    lookahead = np.full(len(node), np.inf)
    np.minimum.at(lookahead, part["to_node"], down)
    np.minimum.at(lookahead, part["from_node"], back)
    node["lookahead"] = np.maximum(lookahead - MARGIN_S, MIN_LOOKAHEAD_S)
