"""Kernels that look at the vehicles between two runs: who is where, who blocks whom, who changes queue."""

import math

import numpy as np
from numba import njit

from simulation.engine import wake
from simulation.street import Roads, Traffic
from twin.compiled import Int


@njit(cache=True)
def riders(roads: Roads, traffic: Traffic) -> tuple[Int, Int]:
    """Return every vehicle on the street and its queue, queue by queue in order of the road."""
    n = 0
    for queue in range(len(roads.queue)):
        n += traffic.queue[queue].entered - traffic.queue[queue].left
    vehicles, queues = np.empty(n, np.int32), np.empty(n, np.int32)
    k = 0
    for queue in range(len(roads.queue)):
        for number in range(traffic.queue[queue].left, traffic.queue[queue].entered):
            vehicles[k] = traffic.slot_vehicle[roads.queue[queue].slot + number % roads.queue[queue].storage]
            queues[k] = queue
            k += 1
    return vehicles, queues


@njit(cache=True)
def change_queue(roads: Roads, traffic: Traffic, vehicle: int, old: int, new: int, now: float) -> bool:
    """Move a vehicle to another queue of its part, in order of its time there; False when that one is full."""
    storage, base = roads.queue[new].storage, roads.queue[new].slot
    if traffic.queue[new].entered - traffic.queue[new].left >= roads.queue[new].room:
        return False
    old_storage, old_base = roads.queue[old].storage, roads.queue[old].slot
    number, ready = -1, 0.0
    for k in range(traffic.queue[old].left, traffic.queue[old].entered):
        slot = old_base + k % old_storage
        if number >= 0:
            before = old_base + (k - 1) % old_storage
            traffic.slot_time[before] = traffic.slot_time[slot]
            traffic.slot_vehicle[before] = traffic.slot_vehicle[slot]
        elif traffic.slot_vehicle[slot] == vehicle:
            number, ready = k, traffic.slot_time[slot]
    if number < 0:
        return False
    traffic.queue[old].entered -= 1
    slot = old_base + traffic.queue[old].entered % old_storage
    traffic.slot_time[slot] = -math.inf
    traffic.slot_vehicle[slot] = -1
    k = traffic.queue[new].entered
    traffic.queue[new].entered += 1
    while k > traffic.queue[new].left:
        before = base + (k - 1) % storage
        if traffic.slot_time[before] <= ready:
            break
        slot = base + k % storage
        traffic.slot_time[slot] = traffic.slot_time[before]
        traffic.slot_vehicle[slot] = traffic.slot_vehicle[before]
        k -= 1
    slot = base + k % storage
    traffic.slot_time[slot] = ready
    traffic.slot_vehicle[slot] = vehicle
    part = roads.queue[old].part
    for node in (roads.part[part].to_node, roads.part[part].from_node):
        if now < traffic.wake[node]:
            wake(traffic, node, now)
    return True


@njit(cache=True)
def waits_for(roads: Roads, traffic: Traffic) -> tuple[Int, Int]:
    """Return by queue what its first vehicle waits for, for want of room: a queue, or a whole part; -1 for neither."""
    n = len(roads.queue)
    queue_ahead, part_ahead = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
    for queue in range(n):
        left = traffic.queue[queue].left
        if left == traffic.queue[queue].entered:
            continue
        step = traffic.vehicle[traffic.slot_vehicle[roads.queue[queue].slot + left % roads.queue[queue].storage]].step
        out = roads.part[roads.queue[queue].part].next
        if out < 0:
            movement = traffic.path[step]
            if movement < 0:
                continue
            step += 1
            out = roads.movement[movement].part
        if roads.part[out].closed:
            continue
        ahead = roads.part[out].last_queue
        if roads.part[out].next >= 0:
            ahead = roads.part[out].queue
        elif traffic.path[step] >= 0:
            ahead = roads.movement[traffic.path[step]].queue
        if traffic.queue[ahead].entered - traffic.queue[ahead].left >= roads.queue[ahead].room:
            queue_ahead[queue] = ahead
        elif traffic.part[out].entered - traffic.part[out].left >= roads.part[out].room:
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
                    if traffic.queue[other].entered > traffic.queue[other].left:
                        freed = freed or not dead[other]
            if freed:
                dead[queue] = 0
                changed = True
    for queue in range(n):
        if dead[queue] and queue_ahead[queue] < 0:
            part = part_ahead[queue]
            for other in range(roads.part[part].queue, roads.part[part].end_queue):
                if traffic.queue[other].entered > traffic.queue[other].left:
                    queue_ahead[queue] = other
    return dead, queue_ahead
