"""Cut a part of a link in two while vehicles are on it: what a point incident needs that nobody knew of before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulation.signals import GreenTable
from simulation.street import (
    LONG_AGO_S,
    QUEUE_TRAFFIC,
    UNKNOWN,
    Records,
    Roads,
    Traffic,
    empty_traffic,
    forget_heads,
    lay_roads,
)
from twin.compiled import CompiledNetwork

STATIC = ("closed", "travel", "headway")  # what scenario events may have changed on a part


@dataclass(frozen=True, slots=True)
class Recut:
    """The street after a cut; ``part`` and ``queue`` give the new position of every old one."""

    roads: Roads
    traffic: Traffic
    part: npt.NDArray[np.int64]
    queue: npt.NDArray[np.int64]


def recut(
    network: CompiledNetwork,
    greens: GreenTable,
    cuts: Mapping[int, Sequence[float]],
    old_roads: Roads,
    old: Traffic,
    cut: tuple[int, float],
    now: float,
) -> Recut | None:
    """Return the street with one part more; None where the vehicles on it do not fit on either side.

    Parameters
    ----------
    cuts
        All cuts by link, the new one among them.
    cut
        The part and the distance (m) from its start.
    """
    part, distance = cut
    roads = lay_roads(network, greens, cuts)
    traffic = empty_traffic(roads, 0)._replace(
        vehicle=old.vehicle, path=old.path, movement=old.movement, link_stops=old.link_stops
    )
    parts, queues = np.arange(len(old_roads.part)), np.arange(len(old_roads.queue))
    new_part = parts + (parts > part)
    new_queue = queues + (queues >= old_roads.part[part]["queue"])
    others = parts != part
    for name in STATIC:
        roads.part[name][new_part[others]] = old_roads.part[name][others]
    roads.queue["headway"][new_queue] = old_roads.queue["headway"]
    for name in ("cycle", "offset"):
        roads.node[name][: network.n_nodes] = old_roads.node[name][: network.n_nodes]
    roads.movement["yields"] = old_roads.movement["yields"]
    ratio = old_roads.part[part]["travel"] / (roads.part[part]["travel"] + roads.part[part + 1]["travel"])
    for half in (part, part + 1):
        roads.part["travel"][half] *= ratio
    for name in ("closed", "headway"):
        roads.part[name][part] = old_roads.part[name][part]

    traffic.part[new_part[others]] = old.part[others]
    traffic.queue[new_queue] = old.queue
    _copy_slots(old_roads.queue, roads.queue, new_queue, old.slot_time, traffic.slot_time)
    _copy_slots(old_roads.queue, roads.queue, new_queue, old.slot_vehicle, traffic.slot_vehicle)
    several = others & (old_roads.part["slot"] >= 0)
    places = np.flatnonzero(several)
    _copy_slots(old_roads.part[places], roads.part[new_part[places]], None, old.part_slot_time, traffic.part_slot_time)
    if not _split(old_roads, old, roads, traffic, part, distance, now):
        return None
    came = traffic.part["last_from"]
    traffic.part["last_from"] = np.where(came >= 0, new_queue[came], came)
    forget_heads(traffic)
    traffic.wake[:] = now  # everyone looks again: a bound that is too early does no harm
    return Recut(roads, traffic, new_part, new_queue)


def _copy_slots(
    old: Records, new: Records, place: npt.NDArray[np.int64] | None, source: npt.NDArray[Any], target: npt.NDArray[Any]
) -> None:
    """Copy the slots of every record whose storage is unchanged."""
    new = new if place is None else new[place]
    same = old["storage"] == new["storage"]
    for begin, end, n in zip(old["slot"][same], new["slot"][same], old["storage"][same], strict=True):
        target[end : end + n] = source[begin : begin + n]


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
    for queue in range(int(row["queue"]), int(row["end_queue"])):
        new = queue + 1
        storage, room = int(old_roads.queue[queue]["storage"]), int(roads.queue[new]["storage"])
        base, start = int(old_roads.queue[queue]["slot"]), int(roads.queue[new]["slot"])
        left, entered = int(old.queue[queue]["left"]), int(old.queue[queue]["entered"])
        spacing = float(row["length"]) / storage
        traffic.slot_time[start : start + room] = -np.inf
        traffic.slot_vehicle[start : start + room] = -1
        for number in range(max(entered - storage, left - room, 0), left):  # holes on their way
            hole = old.slot_time[base + number % storage] - old_roads.queue[queue]["hole"]
            traffic.slot_time[start + number % room] = hole + roads.queue[new]["hole"]
        passed = 0
        for number in range(left, entered):
            ready = float(old.slot_time[base + number % storage])
            vehicle = int(old.slot_vehicle[base + number % storage])
            place = row["length"] - max(0.0, (ready - now) * speed, (number - left) * spacing)
            if place >= distance and passed < room and passed == number - left:
                traffic.slot_time[start + number % room] = ready
                traffic.slot_vehicle[start + number % room] = vehicle
                passed += 1
            else:
                behind.append((ready - beyond, vehicle))
        traffic.queue[new]["entered"] = left + passed
    n = len(behind)
    first = int(roads.part[part]["queue"])
    storage, base = int(roads.queue[first]["storage"]), int(roads.queue[first]["slot"])
    if n > storage:
        return False
    total = int(old.part[part]["entered"])
    behind.sort()
    for k, (ready, vehicle) in enumerate(behind):
        slot = base + (total - n + k) % storage
        traffic.slot_time[slot], traffic.slot_vehicle[slot] = ready, vehicle
    traffic.queue[first] = np.zeros(1, QUEUE_TRAFFIC)[0]
    traffic.queue["entered"][first], traffic.queue["left"][first] = total, total - n
    traffic.queue["free"][first] = -np.inf
    traffic.queue["schedule"][first] = traffic.queue["last"][first] = LONG_AGO_S
    near, far = traffic.part[part : part + 1], traffic.part[part + 1 : part + 2]
    near[:] = far[:] = old.part[part]
    near["left"] = far["entered"] = total - n
    near["left_sum"] = far["entered_sum"] = 0.0
    far["free"], far["virtual"], far["last_from"] = -np.inf, 0.0, UNKNOWN
    far["origin_head"] = far["origin_tail"] = -1
    return True
