"""Cut a part of a link in two while vehicles are on it: what a point incident needs that nobody knew of before."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulation.engine_riders import count, look_again
from simulation.street import LONG_AGO_S, UNKNOWN, Records, Roads, Traffic, empty_traffic
from twin.compiled import CompiledNetwork

Long = npt.NDArray[np.int64]

STATIC = ("closed", "travel", "headway", "room")  # what scenario events may have changed on a part


@dataclass(frozen=True, slots=True)
class Recut:
    """The street after a cut; ``part`` and ``queue`` give the new position of every old one."""

    roads: Roads
    traffic: Traffic
    part: Long
    queue: Long


def recut(
    network: CompiledNetwork, roads: Roads, old_roads: Roads, old: Traffic, cut: tuple[int, float], now: float
) -> Recut | None:
    """Return the street with one part more; None where the vehicles on it do not fit on either side.

    Parameters
    ----------
    roads
        As laid with the new cut among the others.
    cut
        The part of ``old_roads`` and the distance (m) from its start.
    """
    part, distance = cut
    traffic = empty_traffic(roads, 0)._replace(vehicle=old.vehicle, path=old.path, movement=old.movement)
    parts, queues = np.arange(len(old_roads.part)), np.arange(len(old_roads.queue))
    new_part = parts + (parts > part)
    owner = old_roads.queue["part"]
    last = new_part[owner] + (owner == part)  # the lane groups of the part that is cut stand on its second half
    new_queue = roads.part["queue"][last].astype(np.int64) + queues - old_roads.part["queue"][owner]
    others = parts != part
    for name in STATIC:
        roads.part[name][new_part[others]] = old_roads.part[name][others]
    roads.queue["headway"][new_queue] = old_roads.queue["headway"]
    for name in ("cycle", "offset"):
        roads.node[name][: network.n_nodes] = old_roads.node[name][: network.n_nodes]
    roads.movement["yields"] = old_roads.movement["yields"]
    roads.queue["yields"][new_queue] = old_roads.queue["yields"]
    ratio = old_roads.part[part]["travel"] / (roads.part[part]["travel"] + roads.part[part + 1]["travel"])
    for half in (part, part + 1):
        roads.part["travel"][half] *= ratio
    for name in ("closed", "headway"):
        roads.part[name][part] = old_roads.part[name][part]

    kept = owner != part
    roads.queue["room"][new_queue[kept]] = old_roads.queue["room"][kept]
    _copy_queues(old_roads, old, roads, traffic, queues[kept], new_queue[kept])
    _copy_parts(old_roads, old, roads, traffic, parts[others], new_part[others])
    old_origin = old_roads.part["origin"]
    with_origin = old_origin >= 0
    traffic.origin[roads.part["origin"][new_part[with_origin]]] = old.origin[old_origin[with_origin]]
    if not _split(old_roads, old, roads, traffic, part, distance, now):
        return None
    came = traffic.entry["last_from"]
    traffic.entry["last_from"] = np.where(came >= 0, new_queue[came], came)
    look_again(roads, traffic)
    traffic.wake[:] = now  # everyone looks again: a bound that is too early does no harm
    return Recut(roads, traffic, new_part, new_queue)


def _copy_queues(
    old_roads: Roads, old: Traffic, roads: Roads, traffic: Traffic, queues: Long, new_queues: Long
) -> None:
    """Copy queues whose storage is unchanged, slot by slot."""
    first, storage = old_roads.queue["slot"][queues], (old_roads.queue["end_slot"] - old_roads.queue["slot"])[queues]
    shift = roads.queue["slot"][new_queues] - first
    inside = np.arange(int(storage.sum())) - np.repeat(np.cumsum(storage) - storage, storage)
    source = np.repeat(first, storage) + inside
    traffic.slot[source + np.repeat(shift, storage)] = old.slot[source]
    traffic.queue[new_queues] = old.queue[queues]
    traffic.queue["head"][new_queues] += shift
    traffic.tail[new_queues] = old.tail[queues] + shift


def _copy_parts(old_roads: Roads, old: Traffic, roads: Roads, traffic: Traffic, parts: Long, new_parts: Long) -> None:
    """Copy parts whose storage is unchanged, with their own slots."""
    traffic.entry[new_parts], traffic.exit[new_parts] = old.entry[parts], old.exit[parts]
    several = old_roads.part["slot"][parts] >= 0
    for part, new in zip(parts[several].tolist(), new_parts[several].tolist(), strict=True):
        begin, end = int(old_roads.part["slot"][part]), int(old_roads.part["end_slot"][part])
        shift = int(roads.part["slot"][new]) - begin
        traffic.part_slot_time[begin + shift : end + shift] = old.part_slot_time[begin:end]
        traffic.entry["tail"][new] += shift
        traffic.exit["head"][new] += shift


def _ring(row: Records, head: int, n: int) -> Long:
    """Return ``n`` slots of a queue from ``head`` on."""
    first, storage = int(row["slot"]), int(row["end_slot"] - row["slot"])
    return first + (head - first + np.arange(n)) % storage


def _split(
    old_roads: Roads, old: Traffic, roads: Roads, traffic: Traffic, part: int, distance: float, now: float
) -> bool:
    """Put the vehicles of a part on its two halves; False where they do not fit.

    A vehicle is where free flow has brought it, or in the standing queue of those before it.
    """
    row = old_roads.part[part]
    beyond = float(roads.part[part + 1]["travel"])
    speed = float(row["length"] / row["travel"])
    behind: list[tuple[float, int]] = []
    total, passed_all = int(old.entry["entered"][part]), 0
    for queue in range(int(row["queue"]), int(row["end_queue"])):
        new = int(roads.part["queue"][part + 1]) + queue - int(row["queue"])
        old_row, new_row = old_roads.queue[queue], roads.queue[new]
        storage = int(old_row["end_slot"] - old_row["slot"])
        room = int(new_row["end_slot"] - new_row["slot"])
        n = count(old_roads, old, queue)
        spacing = float(row["length"]) / storage
        traffic.queue[new] = old.queue[queue]
        traffic.queue["head"][new] = new_row["slot"]
        full = _ring(old_row, int(old.queue["head"][queue]), n)
        passed = 0
        for place, slot in enumerate(full.tolist()):
            ready, vehicle = float(old.slot["time"][slot]), int(old.slot["vehicle"][slot])
            at = row["length"] - max(0.0, (ready - now) * speed, place * spacing)
            if at >= distance and passed < room and passed == place:
                traffic.slot["time"][new_row["slot"] + passed] = ready
                traffic.slot["vehicle"][new_row["slot"] + passed] = vehicle
                passed += 1
            else:
                behind.append((ready - beyond, vehicle))
        traffic.tail[new] = new_row["slot"] + passed % room
        # Holes on their way: the youngest stands in the slot before the head.
        holes = _ring(old_row, int(old.tail[queue]), storage - n)[::-1] if n < storage else full[:0]
        for back, slot in enumerate(holes[: room - passed].tolist(), 1):
            left = float(old.slot["time"][slot]) - float(old_row["hole"])
            traffic.slot["time"][new_row["slot"] + (-back) % room] = left + float(new_row["hole"])
        passed_all += passed
    first = int(roads.part["queue"][part])
    begin, room = int(roads.queue["slot"][first]), int(roads.queue["end_slot"][first] - roads.queue["slot"][first])
    if len(behind) > room:
        return False
    behind.sort()
    for k, (ready, vehicle) in enumerate(behind):
        traffic.slot["time"][begin + k], traffic.slot["vehicle"][begin + k] = ready, vehicle
    traffic.tail[first] = begin + len(behind) % room
    traffic.queue["free"][first] = -np.inf
    traffic.queue["schedule"][first] = traffic.queue["last"][first] = LONG_AGO_S
    near, far = part, part + 1
    traffic.entry[near] = traffic.entry[far] = old.entry[part]
    traffic.exit[near] = traffic.exit[far] = old.exit[part]
    traffic.exit["left"][near] = traffic.entry["entered"][far] = total - len(behind)
    traffic.exit["left_sum"][near] = traffic.entry["entered_sum"][far] = 0.0
    traffic.exit["stops"][near] = 0
    traffic.entry["free"][far], traffic.entry["virtual"][far] = -np.inf, 0.0
    traffic.entry["last_from"][far] = UNKNOWN
    for half in (near, far):
        traffic.entry["tail"][half] = traffic.exit["head"][half] = roads.part["slot"][half]
    if roads.part["slot"][far] >= 0:
        own = traffic.part_slot_time[roads.part["slot"][far] : roads.part["end_slot"][far]]
        own[:passed_all] = np.inf
        traffic.entry["tail"][far] += passed_all % len(own)
        old_own = old.part_slot_time[int(row["slot"]) : int(row["end_slot"])]
        tail = int(old.entry["tail"][part]) - int(row["slot"])
        n_holes = len(old_own) - (total - int(old.exit["left"][part]))
        youngest = np.roll(old_own, -tail)[:n_holes][::-1][: len(own) - passed_all]
        own[len(own) - len(youngest) :] = (youngest - row["hole"] + roads.part["hole"][far])[::-1]
    return True
