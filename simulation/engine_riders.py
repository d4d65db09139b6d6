"""Kernels that look at the vehicles on the street between two runs: who is where, who blocks whom, who changes queue."""

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
    for queue in range(len(roads.queue_part)):
        n += traffic.queue_entered[queue] - traffic.queue_left[queue]
    vehicles, queues = np.empty(n, np.int32), np.empty(n, np.int32)
    k = 0
    for queue in range(len(roads.queue_part)):
        for number in range(traffic.queue_left[queue], traffic.queue_entered[queue]):
            vehicles[k] = traffic.slot_vehicle[roads.queue_slot[queue] + number % roads.queue_storage[queue]]
            queues[k] = queue
            k += 1
    return vehicles, queues


@njit(cache=True)
def change_queue(roads: Roads, traffic: Traffic, vehicle: int, old: int, new: int, now: float) -> bool:
    """Move a vehicle to another queue of its part, in order of its time there; False when that one is full."""
    storage, base = roads.queue_storage[new], roads.queue_slot[new]
    if traffic.queue_entered[new] - traffic.queue_left[new] >= storage:
        return False
    old_storage, old_base = roads.queue_storage[old], roads.queue_slot[old]
    number, ready = -1, 0.0
    for k in range(traffic.queue_left[old], traffic.queue_entered[old]):
        slot = old_base + k % old_storage
        if number >= 0:
            before = old_base + (k - 1) % old_storage
            traffic.slot_time[before] = traffic.slot_time[slot]
            traffic.slot_vehicle[before] = traffic.slot_vehicle[slot]
        elif traffic.slot_vehicle[slot] == vehicle:
            number, ready = k, traffic.slot_time[slot]
    if number < 0:
        return False
    traffic.queue_entered[old] -= 1
    slot = old_base + traffic.queue_entered[old] % old_storage
    traffic.slot_time[slot] = -math.inf
    traffic.slot_vehicle[slot] = -1
    k = traffic.queue_entered[new]
    traffic.queue_entered[new] += 1
    while k > traffic.queue_left[new]:
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
    part = roads.queue_part[old]
    for node in (roads.part_to[part], roads.part_from[part]):
        if now < traffic.node_wake[node]:
            wake(traffic, node, now)
    return True


@njit(cache=True)
def waits_for(roads: Roads, traffic: Traffic) -> tuple[Int, Int]:
    """Return by queue what its first vehicle waits for, for want of room: a queue, or a whole part; -1 for neither."""
    n = len(roads.queue_part)
    queue_ahead, part_ahead = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
    for queue in range(n):
        left = traffic.queue_left[queue]
        if left == traffic.queue_entered[queue]:
            continue
        step = traffic.vehicle_step[traffic.slot_vehicle[roads.queue_slot[queue] + left % roads.queue_storage[queue]]]
        out = roads.part_next[roads.queue_part[queue]]
        if out < 0:
            movement = traffic.path[step]
            if movement < 0:
                continue
            step += 1
            out = roads.movement_part[movement]
        if roads.part_closed[out]:
            continue
        ahead = roads.part_last_queue[out]
        if roads.part_next[out] >= 0:
            ahead = roads.part_queue[out]
        elif traffic.path[step] >= 0:
            ahead = roads.movement_queue[traffic.path[step]]
        if traffic.queue_entered[ahead] - traffic.queue_left[ahead] >= roads.queue_storage[ahead]:
            queue_ahead[queue] = ahead
        elif traffic.part_entered[out] - traffic.part_left[out] >= roads.part_storage[out]:
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
                for other in range(roads.part_queue[part], roads.part_queue[part + 1]):
                    if traffic.queue_entered[other] > traffic.queue_left[other]:
                        freed = freed or not dead[other]
            if freed:
                dead[queue] = 0
                changed = True
    for queue in range(n):
        if dead[queue] and queue_ahead[queue] < 0:
            part = part_ahead[queue]
            for other in range(roads.part_queue[part], roads.part_queue[part + 1]):
                if traffic.queue_entered[other] > traffic.queue_left[other]:
                    queue_ahead[queue] = other
    return dead, queue_ahead
