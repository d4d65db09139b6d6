"""The kernel: moves every vehicle at the first instant at which it is ready, accepted and has green.

Event-driven link transmission with single vehicles. The n-th vehicle of a queue is ready at ``max(entry(n) + L / v,
exit(n-1) + 1 / q)``; a part accepts it not before ``max(entry(n-1) + 1 / q, exit(n-K) + K / (w k_jam))``. There are no
time steps: each node says when it may next act, the earliest acts first and runs ahead as long as no neighbour can
reach it (`simulation.street.set_lookahead`), so the result does not depend on the order in which nodes are served.

Notes
-----
Source: Newell (1993), A simplified theory of kinematic waves, Transportation Research B 27(4); Yperman (2007), The link
transmission model; Leclercq and Becarie (2012), A meso Lighthill-Whitham-Richards model; merges: Tampere, Corthout,
Cattrysse and Immers (2011), A generic class of first order node models, Transportation Research B 45(1), realised for
single vehicles by start-time fair queueing (Goyal, Vin and Cheng 1996).
"""

import math
from typing import Any

import numpy as np
from numba import njit

from simulation.street import AT_END, ORIGIN, UNKNOWN, Roads, Traffic

# No reference counting: the kernels make no arrays, and counting those they are given took four fifths of the time.
OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "_nrt": False}
kernel = njit(**OPTIONS)

TIE_S = 1e-9  # instants closer than this are one
RARE = 8  # a movement taken by fewer than one in this many is weighed as one in this many


@kernel
def wake(traffic: Traffic, node: int, time: float) -> None:
    """Set the time at which ``node`` acts next and mend the heap."""
    key, heap, place = traffic.wake, traffic.heap, traffic.heap_place
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


@kernel
def _gap(roads: Roads, traffic: Traffic, movement: int, rule: int, time: float, start: float) -> float:
    """Return the first instant at or after ``time`` at which a yielding movement, green since ``start``, has its gap.

    A vehicle goes once the last one of every movement that it yields to is the critical gap ago and the last one of its
    own the follow-up time. In a gap G between two of those that is floor((G - critical) / follow-up) + 1 vehicles, the
    number of those who look ahead, but it asks nothing of the future. Until the first of those has come in this green
    there is nobody to look out for, and no follow-up time.
    """
    latest = -math.inf
    for k in range(roads.yielding[rule].first, roads.yielding[rule].end):
        latest = max(latest, traffic.movement[roads.rival[k]].last)
    time = max(time, latest + roads.yielding[rule].gap)
    if latest >= start - TIE_S:
        time = max(time, traffic.movement[movement].last + roads.yielding[rule].follow_up)
    return float(time + 2.0 * TIE_S)  # of two at the same instant the one that need not yield goes first


@kernel
def earliest_green(roads: Roads, traffic: Traffic, node: int, movement: int, time: float) -> float:
    """Return the first instant at or after ``time`` at which ``movement`` has green and, where it yields, a gap.

    Infinite when it never has. Vehicles to come may only make a yielding movement wait longer.
    """
    cycle = roads.node[node].cycle
    if cycle <= 0.0 or time == math.inf:  # a full link accepts nobody: the arithmetic below would make that a number
        return time
    first, end = roads.movement[movement].green, roads.movement[movement].end_green
    if first == end:
        return math.inf
    begin = roads.node[node].offset + math.floor((time - roads.node[node].offset) / cycle) * cycle
    while begin < math.inf:
        for k in range(first, end):
            start, stop = begin + roads.green_opens[k], begin + roads.green_closes[k]
            if time >= stop - TIE_S:
                continue
            if time < start - TIE_S:
                time = start
            rule = roads.green_yields[k]
            if rule < 0:
                return float(time)
            found = _gap(roads, traffic, movement, rule, time, start)
            if found < stop - TIE_S:
                return float(found)
        begin += cycle
    return math.inf


@kernel
def _queue_ahead(roads: Roads, traffic: Traffic, part: int, step: int) -> int:
    """Return the queue that a vehicle joins on ``part`` when ``step`` holds the movement at the end of that link."""
    if roads.part[part].next >= 0:
        return int(roads.part[part].queue)
    movement = traffic.path[step]
    if movement < 0:
        return int(roads.part[part].last_queue)
    return int(roads.movement[movement].queue)


@kernel
def _accepts(roads: Roads, traffic: Traffic, part: int, queue: int) -> float:
    """Return the earliest entry that ``part`` offers to a vehicle of ``queue``; infinite while full or closed."""
    if roads.part[part].closed:
        return math.inf
    time = traffic.part[part].free
    entered = traffic.queue[queue].entered
    storage, room = roads.queue[queue].storage, roads.queue[queue].room
    if entered - traffic.queue[queue].left >= room:
        return math.inf
    time = max(time, traffic.slot_time[roads.queue[queue].slot + (entered - room) % storage])
    if roads.part[part].slot >= 0:
        entered = traffic.part[part].entered
        storage, room = roads.part[part].storage, roads.part[part].room
        if entered - traffic.part[part].left >= room:
            return math.inf
        time = max(time, traffic.part_slot_time[roads.part[part].slot + (entered - room) % storage])
    return float(time)


@kernel
def _leave(roads: Roads, traffic: Traffic, queue: int, time: float) -> None:
    """Take the first vehicle of ``queue`` off its part and send its hole upstream."""
    part = roads.queue[queue].part
    storage = roads.queue[queue].storage
    left = traffic.queue[queue].left
    slot = roads.queue[queue].slot + left % storage
    vehicle = traffic.slot_vehicle[slot]
    full = traffic.queue[queue].entered - left >= roads.queue[queue].room
    opens = time + roads.queue[queue].hole
    traffic.slot_time[slot] = opens
    traffic.slot_vehicle[slot] = -1
    if roads.part[part].slot >= 0:
        left = traffic.part[part].left
        hole = time + roads.part[part].hole
        if traffic.part[part].entered - left >= roads.part[part].room:
            full = True
            opens = max(opens, hole)
        traffic.part_slot_time[roads.part[part].slot + left % roads.part[part].storage] = hole
    traffic.queue[queue].left += 1
    traffic.part[part].left += 1
    traffic.part[part].left_sum += time
    if full and opens < traffic.wake[roads.part[part].from_node]:
        wake(traffic, roads.part[part].from_node, opens)
    if roads.part[part].next < 0:
        link = roads.part[part].link
        spent = time - traffic.vehicle[vehicle].link_enter
        free = roads.link[link].free_time
        if spent > free + 1.0:
            traffic.link_stops[link] += 1
        traffic.vehicle[vehicle].free_time += min(free, spent)
        traffic.vehicle[vehicle].distance += roads.link[link].length


@kernel
def _enter(roads: Roads, traffic: Traffic, part: int, queue: int, vehicle: int, time: float) -> None:
    """Put ``vehicle`` on ``part`` at its entrance."""
    entered = traffic.queue[queue].entered
    slot = roads.queue[queue].slot + entered % roads.queue[queue].storage
    ready = time + roads.part[part].travel
    traffic.slot_time[slot] = ready
    traffic.slot_vehicle[slot] = vehicle
    traffic.queue[queue].entered = entered + 1
    traffic.part[part].free = time + roads.part[part].headway
    traffic.part[part].entered += 1
    traffic.part[part].entered_sum += time
    if roads.part[part].first:
        traffic.vehicle[vehicle].link_enter = time
    if entered == traffic.queue[queue].left and ready < traffic.wake[roads.part[part].to_node]:
        wake(traffic, roads.part[part].to_node, ready)


@kernel
def _start_tag(traffic: Traffic, queue: int, movement: int, part: int) -> float:
    """Return the virtual time at which the head of ``queue`` (-1: the origin) starts its turn in front of ``part``."""
    tag = traffic.part[part].origin_tag if queue < 0 else (traffic.movement[movement].tag if movement >= 0 else 0.0)
    return float(max(tag, traffic.part[part].virtual))


@kernel
def _charge(roads: Roads, traffic: Traffic, queue: int, movement: int, part: int) -> None:
    """Book the turn just taken: an approach pays for all its departures since its last turn towards ``part``.

    So each approach that waits for the same part leaves in proportion to its weight whatever its turning shares are,
    which is the oriented capacity of Tampere et al. (2011); who does not use a turn leaves it to the others.
    """
    start = _start_tag(traffic, queue, movement, part)
    traffic.part[part].virtual = start
    if queue < 0:
        traffic.part[part].origin_tag = start + 1.0 / roads.part[part].origin_weight
    elif movement >= 0:
        traffic.queue[queue].served += 1
        turns = min(RARE, traffic.queue[queue].served - traffic.movement[movement].served)
        traffic.movement[movement].served = traffic.queue[queue].served
        traffic.movement[movement].tag = start + turns / roads.queue[queue].weight


@kernel
def _look_ahead(roads: Roads, traffic: Traffic, queue: int) -> None:
    """Look up where the first vehicle of ``queue`` goes."""
    row = traffic.queue[queue]
    step = traffic.vehicle[traffic.slot_vehicle[roads.queue[queue].slot + row.left % roads.queue[queue].storage]].step
    movement: Any = np.int64(-1)  # one integer type: each further one would be compiled again
    out = roads.part[roads.queue[queue].part].next
    if out < 0:
        movement = np.int64(traffic.path[step])
        step += 1
        if movement >= 0:
            out = roads.movement[movement].part
    traffic.queue[queue].out = out
    traffic.queue[queue].movement = movement
    traffic.queue[queue].ahead = _queue_ahead(roads, traffic, out, step) if out >= 0 else AT_END


@kernel
def _time_of_queue(roads: Roads, traffic: Traffic, node: int, queue: int, since: float, until: float) -> float:
    """Return when the first vehicle of ``queue`` may move; past ``until`` only that it is not before."""
    left = traffic.queue[queue].left
    if left == traffic.queue[queue].entered:
        return math.inf
    slot = roads.queue[queue].slot + left % roads.queue[queue].storage
    time = max(since, traffic.slot_time[slot], traffic.queue[queue].free)
    if time >= until:
        return float(time)
    if traffic.queue[queue].ahead == UNKNOWN:
        _look_ahead(roads, traffic, queue)
    out = traffic.queue[queue].out
    if out >= 0:
        time = max(time, _accepts(roads, traffic, out, traffic.queue[queue].ahead))
        if traffic.queue[queue].movement >= 0:
            time = earliest_green(roads, traffic, node, traffic.queue[queue].movement, time)
    return float(time)


@kernel
def _time_of_origin(roads: Roads, traffic: Traffic, part: int, since: float, until: float) -> float:
    """Return when the first vehicle that waits to begin its trip on ``part`` may enter."""
    vehicle = traffic.part[part].origin_head
    if vehicle < 0:
        return math.inf
    time = max(since, traffic.vehicle[vehicle].depart)
    if time >= until:
        return float(time)
    if traffic.part[part].origin_ahead == UNKNOWN:
        traffic.part[part].origin_ahead = _queue_ahead(roads, traffic, part, traffic.vehicle[vehicle].step)
    return float(max(time, _accepts(roads, traffic, part, traffic.part[part].origin_ahead)))


@kernel
def _serve(roads: Roads, traffic: Traffic, node: int, since: float, until: float) -> float:
    """Make all moves of ``node`` from ``since`` on before ``until``, in order of time; return when it may act next.

    A move changes the times of its own queue and of those that want the same part; the others stay as they are.
    """
    first_queue, end_queue = roads.node[node].queue, roads.node[node].end_queue
    first_origin, end_origin = roads.node[node].origin, roads.node[node].end_origin
    again, moved_from, moved_part, moved_out = True, -1, -1, -1
    while True:
        best, best_from, best_out, best_tag, found, next_time = until, -1, -1, 0.0, False, math.inf
        for k in range(first_queue, end_queue):
            queue = roads.node_queue[k]
            out = traffic.queue[queue].out
            touched = queue == moved_from or (out >= 0 and out in (moved_out, moved_part))
            if again or touched or roads.queue[queue].part == moved_out:
                traffic.queue[queue].time = _time_of_queue(roads, traffic, node, queue, since, until)
                out = traffic.queue[queue].out
            time = traffic.queue[queue].time
            if time >= until:
                next_time = min(next_time, time)
            elif not found or time < best - TIE_S or (time <= best + TIE_S and out == best_out):
                movement = traffic.queue[queue].movement
                tag = _start_tag(traffic, queue, movement, out) if out >= 0 else 0.0
                if not found or time < best - TIE_S or tag < best_tag:
                    found, best, best_from, best_out, best_tag = True, time, queue, out, tag
        for k in range(first_origin, end_origin):
            part = roads.node_origin[k]
            if again or part in (moved_out, moved_part):
                traffic.part[part].origin_time = _time_of_origin(roads, traffic, part, since, until)
            time = traffic.part[part].origin_time
            if time >= until:
                next_time = min(next_time, time)
            elif not found or time < best - TIE_S or (time <= best + TIE_S and part == best_out):
                tag = _start_tag(traffic, -1, -1, part)
                if not found or time < best - TIE_S or tag < best_tag:
                    found, best, best_from, best_out, best_tag = True, time, -1, part, tag
        if not found:
            return next_time
        movement = traffic.queue[best_from].movement if best_from >= 0 else -1
        if movement >= 0 and roads.movement[movement].yields:  # others may have gone since it was timed
            traffic.queue[best_from].time = _time_of_queue(roads, traffic, node, best_from, since, until)
            if traffic.queue[best_from].time > best:
                again, moved_from, moved_part, moved_out = False, -1, -1, -1
                continue
        _move(roads, traffic, best_from, best_out, best)
        again, moved_from, moved_out = False, best_from, best_out
        moved_part = roads.queue[best_from].part if best_from >= 0 else -1


@kernel
def _pace(roads: Roads, traffic: Traffic, queue: int, movement: int, out: int, time: float) -> None:
    """Set when the vehicle after the one that leaves now may leave, for the headway's sake: one headway later.

    A vehicle that another approach has kept waiting does not keep those behind it waiting as well: the queue's schedule
    goes on as if it had left, for one headway at most. Without this a queue could not take a share of a merge that
    needs two turns in a row whenever the part ahead carries more than the queue does.
    """
    headway = roads.queue[queue].headway
    schedule, lag = time, traffic.queue[queue].last - traffic.queue[queue].schedule
    contested = out >= 0 and traffic.part[out].last_from != queue and traffic.part[out].last_from != UNKNOWN
    if out >= 0 and (contested or lag > 0.0):
        slot = roads.queue[queue].slot + traffic.queue[queue].left % roads.queue[queue].storage
        due = max(traffic.slot_time[slot], traffic.queue[queue].schedule + headway)
        if contested:
            lag = headway
            if movement >= 0:
                due = earliest_green(roads, traffic, roads.part[roads.queue[queue].part].to_node, movement, due)
        schedule = min(time, max(due, time - lag))
    traffic.queue[queue].schedule = schedule
    traffic.queue[queue].last = time
    least = headway if out < 0 else min(headway, roads.part[out].headway)
    traffic.queue[queue].free = max(schedule + headway, time + least)


@kernel
def _move(roads: Roads, traffic: Traffic, queue: int, out: int, time: float) -> None:
    """Move the first vehicle of ``queue`` (-1: of the origin) onto part ``out`` (-1: it has arrived)."""
    movement: Any = np.int64(-1)
    if queue < 0:
        ahead = traffic.part[out].origin_ahead
        _charge(roads, traffic, queue, movement, out)
        vehicle = traffic.part[out].origin_head
        traffic.part[out].origin_head = traffic.vehicle[vehicle].behind
        traffic.part[out].origin_ahead = UNKNOWN
        traffic.vehicle[vehicle].enter = time
    else:
        ahead, movement = traffic.queue[queue].ahead, traffic.queue[queue].movement
        if out >= 0:
            _charge(roads, traffic, queue, movement, out)
        if movement >= 0:
            traffic.movement[movement].left += 1
            traffic.movement[movement].last = time
        slot = roads.queue[queue].slot + traffic.queue[queue].left % roads.queue[queue].storage
        vehicle = np.int64(traffic.slot_vehicle[slot])
        _pace(roads, traffic, queue, movement, out, time)
        _leave(roads, traffic, queue, time)
        traffic.queue[queue].ahead = UNKNOWN
        if movement >= 0:
            traffic.vehicle[vehicle].step += 1
    if out >= 0:
        _enter(roads, traffic, out, ahead, vehicle, time)
        traffic.part[out].last_from = queue if queue >= 0 else ORIGIN
    else:
        traffic.vehicle[vehicle].arrive = time


@kernel
def run(roads: Roads, traffic: Traffic, since: float, until: float) -> None:
    """Make every move from ``since`` on before ``until``; all earlier ones are made, whatever has changed meanwhile."""
    while True:
        node = traffic.heap[0]
        time = traffic.wake[node]
        if time >= until:
            return
        bound = min(until, max(time + roads.node[node].lookahead, np.nextafter(time, math.inf)))
        wake(traffic, node, _serve(roads, traffic, node, since, bound))


@kernel
def join_origins(roads: Roads, traffic: Traffic, vehicles: np.ndarray, parts: np.ndarray) -> None:
    """Put vehicles, in order of departure, at the end of the queue of their first part."""
    for k in range(len(vehicles)):
        vehicle, part = vehicles[k], parts[k]
        traffic.vehicle[vehicle].behind = -1
        if traffic.part[part].origin_head < 0:
            traffic.part[part].origin_head = vehicle
            node = roads.part[part].from_node
            if traffic.vehicle[vehicle].depart < traffic.wake[node]:
                wake(traffic, node, traffic.vehicle[vehicle].depart)
        else:
            traffic.vehicle[traffic.part[part].origin_tail].behind = vehicle
        traffic.part[part].origin_tail = vehicle


@kernel
def withdraw(traffic: Traffic, part: int, time: float) -> None:
    """Take the vehicles that are due at or after ``time`` out of the origin queue of ``part``."""
    last, vehicle = -1, traffic.part[part].origin_head
    while vehicle >= 0 and traffic.vehicle[vehicle].depart < time:
        last, vehicle = vehicle, traffic.vehicle[vehicle].behind
    if last < 0:
        traffic.part[part].origin_head = -1
    else:
        traffic.vehicle[last].behind = -1
    traffic.part[part].origin_tail = last
