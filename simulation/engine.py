"""The kernel: moves every vehicle at the first instant at which it is ready, accepted and has green.

Event-driven link transmission with single vehicles. The n-th vehicle of a queue is ready at ``max(entry(n) + L / v, exit(n-1) +
1 / q)``; a part accepts it not before ``max(entry(n-1) + 1 / q, exit(n-K) + K / (w k_jam))``. There are no time steps: each
node says when it may next act, the earliest acts first and runs ahead as long as no neighbour can reach it
(`simulation.street.set_lookahead`), so the result does not depend on the order in which nodes are served.

Notes
-----
Source: Newell (1993), A simplified theory of kinematic waves, Transportation Research B 27(4); Yperman (2007), The link
transmission model; Leclercq and Becarie (2012), A meso Lighthill-Whitham-Richards model; merges: Tampere, Corthout, Cattrysse
and Immers (2011), A generic class of first order node models, Transportation Research B 45(1), realised for single vehicles by
start-time fair queueing (Goyal, Vin and Cheng 1996).
"""

import math

import numpy as np
from numba import njit

from simulation.street import Roads, Traffic

TIE_S = 1e-9  # instants closer than this are one
RARE = 8  # a movement taken by fewer than one in this many is weighed as one in this many


@njit(cache=True)
def wake(traffic: Traffic, node: int, time: float) -> None:
    """Set the time at which ``node`` acts next and mend the heap."""
    key, heap, place = traffic.node_wake, traffic.heap, traffic.heap_place
    key[node] = time
    k = place[node]
    while k > 0:
        parent = (k - 1) >> 1
        above = heap[parent]
        if key[above] <= time:
            break
        heap[k] = above
        place[above] = k
        k = parent
    n = len(heap)
    while True:
        child = 2 * k + 1
        if child >= n:
            break
        if child + 1 < n and key[heap[child + 1]] < key[heap[child]]:
            child += 1
        below = heap[child]
        if key[below] >= time:
            break
        heap[k] = below
        place[below] = k
        k = child
    heap[k] = node
    place[node] = k


@njit(cache=True)
def earliest_green(roads: Roads, node: int, movement: int, time: float) -> float:
    """Return the first instant at or after ``time`` at which ``movement`` has green; infinite when it never has."""
    cycle = roads.node_cycle[node]
    if cycle <= 0.0:
        return time
    first, end = roads.green_start[movement], roads.green_start[movement + 1]
    if first == end:
        return math.inf
    begin = roads.node_offset[node] + math.floor((time - roads.node_offset[node]) / cycle) * cycle
    phase = time - begin
    for k in range(first, end):
        if phase < roads.green_closes[k] - TIE_S:
            if phase >= roads.green_opens[k] - TIE_S:
                return time
            return begin + roads.green_opens[k]
    return begin + cycle + roads.green_opens[first]


@njit(cache=True)
def _queue_ahead(roads: Roads, traffic: Traffic, part: int, step: int) -> int:
    """Return the queue that a vehicle joins on ``part`` when ``step`` holds the movement at the end of that link."""
    if roads.part_next[part] >= 0:
        return roads.part_queue[part]
    movement = traffic.path[step]
    if movement < 0:
        return roads.part_last_queue[part]
    return roads.movement_queue[movement]


@njit(cache=True)
def _accepts(roads: Roads, traffic: Traffic, part: int, queue: int) -> float:
    """Return the earliest entry that ``part`` offers to a vehicle of ``queue``; infinite while full or closed."""
    if roads.part_closed[part]:
        return math.inf
    time = traffic.part_free[part]
    entered = traffic.queue_entered[queue]
    storage = roads.queue_storage[queue]
    if entered - traffic.queue_left[queue] >= storage:
        return math.inf
    time = max(time, traffic.slot_time[roads.queue_slot[queue] + entered % storage])
    if roads.part_slot[part] >= 0:
        entered = traffic.part_entered[part]
        storage = roads.part_storage[part]
        if entered - traffic.part_left[part] >= storage:
            return math.inf
        time = max(time, traffic.part_slot_time[roads.part_slot[part] + entered % storage])
    return time


@njit(cache=True)
def _leave(roads: Roads, traffic: Traffic, queue: int, time: float) -> None:
    """Take the first vehicle of ``queue`` off its part and send its hole upstream."""
    part = roads.queue_part[queue]
    storage = roads.queue_storage[queue]
    left = traffic.queue_left[queue]
    slot = roads.queue_slot[queue] + left % storage
    vehicle = traffic.slot_vehicle[slot]
    full = traffic.queue_entered[queue] - left >= storage
    opens = time + roads.queue_hole[queue]
    traffic.slot_time[slot] = opens
    traffic.slot_vehicle[slot] = -1
    if roads.part_slot[part] >= 0:
        left = traffic.part_left[part]
        hole = time + roads.part_hole[part]
        if traffic.part_entered[part] - left >= roads.part_storage[part]:
            full = True
            opens = max(opens, hole)
        traffic.part_slot_time[roads.part_slot[part] + left % roads.part_storage[part]] = hole
    traffic.queue_left[queue] += 1
    traffic.queue_free[queue] = time + roads.queue_headway[queue]
    traffic.part_left[part] += 1
    traffic.part_left_sum[part] += time
    if full and opens < traffic.node_wake[roads.part_from[part]]:
        wake(traffic, roads.part_from[part], opens)
    if roads.part_next[part] < 0:
        link = roads.part_link[part]
        spent = time - traffic.vehicle_link_enter[vehicle]
        free = roads.link_free_time[link]
        if spent > free + 1.0:
            traffic.link_stops[link] += 1
        traffic.vehicle_free_time[vehicle] += min(free, spent)
        traffic.vehicle_distance[vehicle] += roads.link_length[link]


@njit(cache=True)
def _enter(roads: Roads, traffic: Traffic, part: int, queue: int, vehicle: int, time: float) -> None:
    """Put ``vehicle`` on ``part`` at its entrance."""
    entered = traffic.queue_entered[queue]
    slot = roads.queue_slot[queue] + entered % roads.queue_storage[queue]
    ready = time + roads.part_travel[part]
    traffic.slot_time[slot] = ready
    traffic.slot_vehicle[slot] = vehicle
    traffic.queue_entered[queue] = entered + 1
    traffic.part_free[part] = time + roads.part_headway[part]
    traffic.part_entered[part] += 1
    traffic.part_entered_sum[part] += time
    if roads.part_first[part]:
        traffic.vehicle_link_enter[vehicle] = time
    if entered == traffic.queue_left[queue] and ready < traffic.node_wake[roads.part_to[part]]:
        wake(traffic, roads.part_to[part], ready)


@njit(cache=True)
def _start_tag(roads: Roads, traffic: Traffic, queue: int, movement: int, part: int) -> float:
    """Return the virtual time at which the head of ``queue`` (-1: the origin) starts its turn in front of ``part``."""
    tag = traffic.origin_tag[part] if queue < 0 else (traffic.movement_tag[movement] if movement >= 0 else 0.0)
    return max(tag, traffic.part_virtual[part])


@njit(cache=True)
def _charge(roads: Roads, traffic: Traffic, queue: int, movement: int, part: int) -> None:
    """Book the turn just taken: an approach pays for all its departures since its last turn towards ``part``.

    So each approach that waits for the same part leaves in proportion to its weight whatever its turning shares are, which
    is the oriented capacity of Tampere et al. (2011); who does not use a turn leaves it to the others.
    """
    start = _start_tag(roads, traffic, queue, movement, part)
    traffic.part_virtual[part] = start
    if queue < 0:
        traffic.origin_tag[part] = start + 1.0 / roads.part_origin_weight[part]
    elif movement >= 0:
        traffic.queue_served[queue] += 1
        turns = min(RARE, traffic.queue_served[queue] - traffic.movement_served[movement])
        traffic.movement_served[movement] = traffic.queue_served[queue]
        traffic.movement_tag[movement] = start + turns / roads.queue_weight[queue]


@njit(cache=True)
def _serve(roads: Roads, traffic: Traffic, node: int, until: float) -> float:
    """Make all moves of ``node`` before ``until`` in order of time and return when it may act next."""
    first_queue, end_queue = roads.node_queue_start[node], roads.node_queue_start[node + 1]
    first_origin, end_origin = roads.node_origin_start[node], roads.node_origin_start[node + 1]
    while True:
        best, best_out, best_queue, best_movement, best_from = until, -1, -1, -1, -1
        best_tag, next_time, found = 0.0, math.inf, False
        for k in range(first_queue, end_queue):
            queue = roads.node_queue[k]
            left = traffic.queue_left[queue]
            if left == traffic.queue_entered[queue]:
                continue
            slot = roads.queue_slot[queue] + left % roads.queue_storage[queue]
            time = max(traffic.slot_time[slot], traffic.queue_free[queue])
            if time > best + TIE_S:
                next_time = min(next_time, time)
                continue
            vehicle = traffic.slot_vehicle[slot]
            step = traffic.vehicle_step[vehicle]
            out, movement, ahead = roads.part_next[roads.queue_part[queue]], -1, -1
            if out < 0:
                movement = traffic.path[step]
                step += 1
                if movement >= 0:
                    out = roads.movement_part[movement]
            if out >= 0:
                ahead = _queue_ahead(roads, traffic, out, step)
                time = max(time, _accepts(roads, traffic, out, ahead))
                if movement >= 0:
                    time = earliest_green(roads, node, movement, time)
            if time >= until:
                next_time = min(next_time, time)
                continue
            tag = _start_tag(roads, traffic, queue, movement, out) if out >= 0 else 0.0
            if not found or time < best - TIE_S or (time <= best + TIE_S and out == best_out and tag < best_tag):
                found, best, best_tag, best_from = True, time, tag, queue
                best_out, best_queue, best_movement = out, ahead, movement
        for k in range(first_origin, end_origin):
            part = roads.node_origin[k]
            vehicle = traffic.origin_head[part]
            if vehicle < 0:
                continue
            ahead = _queue_ahead(roads, traffic, part, traffic.vehicle_step[vehicle])
            time = max(traffic.vehicle_depart[vehicle], _accepts(roads, traffic, part, ahead))
            if time >= until:
                next_time = min(next_time, time)
                continue
            tag = _start_tag(roads, traffic, -1, -1, part)
            if not found or time < best - TIE_S or (time <= best + TIE_S and part == best_out and tag < best_tag):
                found, best, best_tag, best_from = True, time, tag, -1
                best_out, best_queue, best_movement = part, ahead, -1
        if not found:
            return next_time
        _move(roads, traffic, best_from, best_movement, best_out, best_queue, best)


@njit(cache=True)
def _move(roads: Roads, traffic: Traffic, queue: int, movement: int, out: int, ahead: int, time: float) -> None:
    """Move the head of ``queue`` (-1: of the origin) into queue ``ahead`` of part ``out`` (-1: it has arrived)."""
    if out >= 0:
        _charge(roads, traffic, queue, movement, out)
    if queue < 0:
        vehicle = traffic.origin_head[out]
        traffic.origin_head[out] = traffic.vehicle_behind[vehicle]
        traffic.vehicle_enter[vehicle] = time
    else:
        vehicle = traffic.slot_vehicle[roads.queue_slot[queue] + traffic.queue_left[queue] % roads.queue_storage[queue]]
        _leave(roads, traffic, queue, time)
        if movement >= 0:
            traffic.vehicle_step[vehicle] += 1
    if out >= 0:
        _enter(roads, traffic, out, ahead, vehicle, time)
    else:
        traffic.vehicle_arrive[vehicle] = time


@njit(cache=True)
def run(roads: Roads, traffic: Traffic, until: float) -> None:
    """Make every move before ``until``."""
    while True:
        node = traffic.heap[0]
        time = traffic.node_wake[node]
        if time >= until:
            return
        bound = min(until, max(time + roads.node_lookahead[node], np.nextafter(time, math.inf)))
        wake(traffic, node, _serve(roads, traffic, node, bound))


@njit(cache=True)
def join_origins(roads: Roads, traffic: Traffic, vehicles: np.ndarray, parts: np.ndarray) -> None:
    """Put vehicles, in order of departure, at the end of the queue of their first part."""
    for k in range(len(vehicles)):
        vehicle, part = vehicles[k], parts[k]
        traffic.vehicle_behind[vehicle] = -1
        if traffic.origin_head[part] < 0:
            traffic.origin_head[part] = vehicle
            node = roads.part_from[part]
            if traffic.vehicle_depart[vehicle] < traffic.node_wake[node]:
                wake(traffic, node, traffic.vehicle_depart[vehicle])
        else:
            traffic.vehicle_behind[traffic.origin_tail[part]] = vehicle
        traffic.origin_tail[part] = vehicle


@njit(cache=True)
def withdraw(traffic: Traffic, part: int, time: float) -> None:
    """Take the vehicles that are due at or after ``time`` out of the origin queue of ``part``."""
    last, vehicle = -1, traffic.origin_head[part]
    while vehicle >= 0 and traffic.vehicle_depart[vehicle] < time:
        last, vehicle = vehicle, traffic.vehicle_behind[vehicle]
    if last < 0:
        traffic.origin_head[part] = -1
    else:
        traffic.vehicle_behind[last] = -1
    traffic.origin_tail[part] = last
