"""Kernels that look at the vehicles between two runs: who is where, who blocks whom, who changes queue."""

import math

import numpy as np
from numba import njit

from simulation.engine import look_ahead, part_hole, queue_hole
from simulation.engine_fence import fetch
from simulation.engine_kernel import wake
from simulation.street import UNKNOWN, Roads, Traffic, whole
from twin.compiled import Int

FAR, NEAR = 16, 8  # turns before a vehicle, and then its route, are needed


@njit(cache=True)
def count(roads: Roads, traffic: Traffic, queue: int) -> int:
    """Return the number of vehicles of a queue."""
    head, tail = traffic.queue[queue].head, traffic.tail[queue]
    if traffic.slot[head].vehicle < 0:
        return 0
    storage = roads.queue[queue].end_slot - roads.queue[queue].slot
    return int(tail - head if tail > head else tail - head + storage)


@njit(cache=True)
def riders(roads: Roads, traffic: Traffic) -> tuple[Int, Int]:
    """Return every vehicle on the street and its queue, queue by queue in order of the road."""
    n = 0
    for queue in range(len(roads.queue)):
        n += count(roads, traffic, queue)
    vehicles, queues = np.empty(n, np.int32), np.empty(n, np.int32)
    k = 0
    for queue in range(len(roads.queue)):
        slot = whole(traffic.queue[queue].head)
        for _ in range(count(roads, traffic, queue)):
            vehicles[k] = traffic.slot[slot].vehicle
            queues[k] = queue
            k += 1
            slot = _next(roads, queue, slot)
    return vehicles, queues


@njit(cache=True)
def _next(roads: Roads, queue: int, slot: int) -> int:
    slot += 1
    return int(slot if slot < roads.queue[queue].end_slot else roads.queue[queue].slot)


@njit(cache=True)
def look_again(roads: Roads, traffic: Traffic) -> None:
    """Look up anew where every vehicle goes: routes or queues have changed.

    Vehicles lie anywhere, and so do their routes: both are asked for some turns before they are needed.
    """
    for queue in range(len(roads.queue)):
        slot, part = whole(traffic.queue[queue].head), whole(roads.queue[queue].part)
        far = near = slot
        n = count(roads, traffic, queue)
        for k in range(-FAR, n):
            if k + FAR < n:
                fetch(traffic.vehicle, traffic.slot[far].vehicle)
                far = _next(roads, queue, far)
            if 0 <= k + NEAR < n:
                fetch(traffic.path, traffic.vehicle[traffic.slot[near].vehicle].step)
                near = _next(roads, queue, near)
            if k >= 0:
                look_ahead(roads, traffic, part, slot, traffic.vehicle[traffic.slot[slot].vehicle].step)
                slot = _next(roads, queue, slot)
    for origin in range(len(traffic.origin)):
        traffic.origin[origin].ahead = UNKNOWN


@njit(cache=True)
def _shift(traffic: Traffic, source: int, target: int) -> None:
    traffic.slot[target].time, traffic.slot[target].vehicle = traffic.slot[source].time, traffic.slot[source].vehicle
    traffic.slot[target].movement, traffic.slot[target].ahead = (
        traffic.slot[source].movement,
        traffic.slot[source].ahead,
    )
    traffic.slot[target].step = traffic.slot[source].step


@njit(cache=True)
def change_queue(roads: Roads, traffic: Traffic, vehicle: int, old: int, new: int, now: float) -> bool:
    """Move a vehicle to another queue of its part, in order of its time there; False when that one is full."""
    n_old, n_new = count(roads, traffic, old), count(roads, traffic, new)
    first, end = roads.queue[new].slot, roads.queue[new].end_slot
    if n_new >= roads.queue[new].room:
        return False
    slot, before, ready = whole(traffic.queue[old].head), whole(-1), 0.0
    for _ in range(n_old):
        if before >= 0:
            _shift(traffic, slot, before)
        elif traffic.slot[slot].vehicle == vehicle:
            ready = traffic.slot[slot].time
        else:
            slot = _next(roads, old, slot)
            continue
        before = slot
        slot = _next(roads, old, slot)
    if before < 0:
        return False
    traffic.slot[before].time, traffic.slot[before].vehicle = -math.inf, -1
    traffic.tail[old] = before
    slot = whole(traffic.tail[new])
    traffic.tail[new] = _next(roads, new, slot)
    for _ in range(n_new):
        before = slot - 1 if slot > first else end - 1
        if traffic.slot[before].time <= ready:
            break
        _shift(traffic, before, slot)
        slot = before
    traffic.slot[slot].time, traffic.slot[slot].vehicle = ready, vehicle
    part = roads.queue[old].part
    for node in (whole(roads.part[part].to_node), whole(roads.part[part].from_node)):
        if now < traffic.wake[node]:
            wake(roads, traffic, node, now)
    return True


@njit(cache=True)
def waits_for(roads: Roads, traffic: Traffic) -> tuple[Int, Int]:
    """Return by queue what its first vehicle waits for, for want of room: a queue, or a whole part; -1 for neither."""
    n = len(roads.queue)
    queue_ahead, part_ahead = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
    for queue in range(n):
        slot = traffic.queue[queue].head
        ahead = whole(traffic.slot[slot].ahead)
        if traffic.slot[slot].vehicle < 0 or ahead < 0:
            continue
        out = whole(roads.queue[ahead].part)
        if roads.part[out].closed:
            continue
        if traffic.slot[queue_hole(roads, traffic, ahead)].vehicle >= 0:
            queue_ahead[queue] = ahead
        elif roads.part[out].slot >= 0 and traffic.part_slot_time[part_hole(roads, traffic, out)] == math.inf:
            part_ahead[queue] = out
    return queue_ahead, part_ahead


@njit(cache=True)
def dead_queues(roads: Roads, traffic: Traffic) -> tuple[Int, Int]:
    """Return by queue whether nothing that is still moving can ever free it, and the queue that it waits for."""
    queue_ahead, part_ahead = waits_for(roads, traffic)
    n = len(queue_ahead)
    dead = np.zeros(n, np.int32)
    for queue in range(n):
        dead[queue] = queue_ahead[queue] >= 0 or part_ahead[queue] >= 0
    changed = True
    while changed:
        changed = False
        for queue in range(n):
            if not dead[queue]:
                continue
            if queue_ahead[queue] >= 0:
                freed = not dead[queue_ahead[queue]]
            else:
                freed = False
                part = part_ahead[queue]
                for other in range(roads.part[part].queue, roads.part[part].end_queue):
                    if traffic.slot[traffic.queue[other].head].vehicle >= 0:
                        freed = freed or not dead[other]
            if freed:
                dead[queue] = 0
                changed = True
    for queue in range(n):
        if dead[queue] and queue_ahead[queue] < 0:
            part = part_ahead[queue]
            for other in range(roads.part[part].queue, roads.part[part].end_queue):
                if traffic.slot[traffic.queue[other].head].vehicle >= 0:
                    queue_ahead[queue] = other
    return dead, queue_ahead
