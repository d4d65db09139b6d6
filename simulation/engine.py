"""The kernel: moves every vehicle at the first instant at which it is ready, accepted and has green.

Event-driven link transmission with single vehicles. The n-th vehicle of a queue is ready at ``max(entry(n) + L / v,
exit(n-1) + 1 / q)``; a part accepts it not before ``max(entry(n-1) + 1 / q, exit(n-K) + K / (w k_jam))``. There are no
time steps: each node says when it may next act, the earliest of a block acts first and runs ahead as long as no
neighbour can reach it (`simulation.street.set_lookahead`), so the result depends neither on the order in which nodes
are served nor on the blocks in which threads share them (`simulation.engine_blocks`).

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

from simulation.engine_fence import fetch, observe, publish
from simulation.street import AT_END, ORIGIN, UNKNOWN, Roads, Traffic, whole
from twin.compiled import Int

CACHED: dict[str, Any] = {"cache": True, "error_model": "numpy"}
# No reference counting: the kernels make no arrays, and counting those they are given took four fifths of the time.
OPTIONS: dict[str, Any] = {**CACHED, "nogil": True, "_nrt": False, "no_cfunc_wrapper": True}
UNSEEN: dict[str, Any] = {**OPTIONS, "no_cpython_wrapper": True}  # never called from Python
kernel = njit(**OPTIONS)
part_of_kernel = njit(**UNSEEN)
# A call hands over every array of the street, some 200 words: what is called for each move is put in its place.
inner = njit(forceinline=True, **UNSEEN)

TIE_S = 1e-9  # instants closer than this are one
RARE = 8  # a movement taken by fewer than one in this many is weighed as one in this many


@kernel
def wake(roads: Roads, traffic: Traffic, node: int, time: float) -> None:
    """Set the time at which ``node`` acts next and mend the heap of its block."""
    key, heap, place = traffic.wake, traffic.heap, traffic.heap_place
    block = roads.node[node].block
    first, end = roads.block_start[block], roads.block_start[block + 1]
    key[node] = time
    k = place[node] - first
    while k > 0:
        parent = (k - 1) >> 1
        above = heap[first + parent]
        if key[above] <= time:
            break
        heap[first + k] = above
        place[above] = first + k
        k = parent
    n = end - first
    while True:
        child = 2 * k + 1
        if child >= n:
            break
        if child + 1 < n and key[heap[first + child + 1]] < key[heap[first + child]]:
            child += 1
        below = heap[first + child]
        if key[below] >= time:
            break
        heap[first + k] = below
        place[below] = first + k
        k = child
    heap[first + k] = node
    place[node] = first + k


@inner
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


@part_of_kernel
def earliest_green(roads: Roads, traffic: Traffic, node: int, movement: int, time: float) -> float:
    """Return the first instant at or after ``time`` at which ``movement`` has green and, where it yields, a gap.

    Infinite when it never has. Vehicles to come may only make a yielding movement wait longer.
    """
    cycle = roads.node[node].cycle
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


@inner
def queue_on(roads: Roads, traffic: Traffic, part: int, step: int) -> int:
    """Return the queue that a vehicle joins on ``part`` when ``step`` holds the movement at the end of that link."""
    if roads.part[part].next >= 0:
        return int(roads.part[part].queue)
    movement = traffic.path[step]
    if movement < 0:
        return int(roads.part[part].last_queue)
    return int(roads.movement[movement].queue)


@inner
def look_ahead(roads: Roads, traffic: Traffic, part: int, slot: int, step: int) -> None:
    """Note in a slot of ``part`` where its vehicle goes next: movement and queue."""
    traffic.slot[slot].step = step
    out, movement = whole(roads.part[part].next), whole(-1)
    if out < 0:
        movement = whole(traffic.path[step])
        step += 1
        if movement >= 0:
            out = whole(roads.movement[movement].part)
    traffic.slot[slot].movement = movement
    traffic.slot[slot].ahead = queue_on(roads, traffic, out, step) if out >= 0 else AT_END


@inner
def queue_hole(roads: Roads, traffic: Traffic, queue: int) -> int:
    """Return the slot whose hole the next vehicle of a queue takes: as many before its own as are in use."""
    slot = whole(traffic.tail[queue]) - roads.queue[queue].room
    return int(
        slot if slot >= roads.queue[queue].slot else slot + roads.queue[queue].end_slot - roads.queue[queue].slot
    )


@inner
def part_hole(roads: Roads, traffic: Traffic, part: int) -> int:
    """Return the own slot of a part whose hole its next vehicle takes."""
    slot = whole(traffic.entry[part].tail) - roads.part[part].room
    return int(slot if slot >= roads.part[part].slot else slot + roads.part[part].end_slot - roads.part[part].slot)


@inner
def _accepts(roads: Roads, traffic: Traffic, part: int, queue: int) -> float:
    """Return the earliest entry that ``part`` offers to a vehicle of ``queue``; infinite while full or closed."""
    slot = queue_hole(roads, traffic, queue)
    if roads.part[part].closed or traffic.slot[slot].vehicle >= 0:
        return math.inf
    if roads.part[part].crosses:
        observe()
    time = max(traffic.entry[part].free, traffic.slot[slot].time)
    if roads.part[part].slot >= 0:
        time = max(time, traffic.part_slot_time[part_hole(roads, traffic, part)])
    return float(time)


@inner
def _leave(roads: Roads, traffic: Traffic, queue: int, time: float) -> None:
    """Take the first vehicle of ``queue`` off its part and send its hole upstream."""
    part, slot = whole(roads.queue[queue].part), whole(traffic.queue[queue].head)
    vehicle = traffic.slot[slot].vehicle
    opens = time + roads.queue[queue].hole
    inside = not roads.part[part].crosses
    full = inside and queue_hole(roads, traffic, queue) == slot
    traffic.slot[slot].time = opens
    if not inside:
        publish()
    traffic.slot[slot].vehicle = -1
    ahead = slot + 1
    if ahead == roads.queue[queue].end_slot:
        ahead = roads.queue[queue].slot
    traffic.queue[queue].head = ahead
    if roads.part[part].slot >= 0:
        slot = whole(traffic.exit[part].head)
        hole = time + roads.part[part].hole
        if inside and part_hole(roads, traffic, part) == slot:
            full = True
            opens = max(opens, hole)
        traffic.part_slot_time[slot] = hole
        slot += 1
        traffic.exit[part].head = slot if slot < roads.part[part].end_slot else roads.part[part].slot
    traffic.exit[part].left += 1
    traffic.exit[part].left_sum += time
    node = whole(roads.part[part].from_node)
    if full and opens < traffic.wake[node]:
        wake(roads, traffic, node, opens)
    if roads.part[part].next < 0:
        link = roads.part[part].link
        spent = time - traffic.vehicle[vehicle].link_enter
        free = roads.link[link].free_time
        if spent > free + 1.0:
            traffic.exit[part].stops += 1
        traffic.vehicle[vehicle].free_time += min(free, spent)
        traffic.vehicle[vehicle].distance += roads.link[link].length


@inner
def _enter(roads: Roads, traffic: Traffic, part: int, queue: int, vehicle: int, time: float) -> None:
    """Put ``vehicle`` on ``part`` at its entrance."""
    slot, ready = whole(traffic.tail[queue]), time + roads.part[part].travel
    traffic.slot[slot].time = ready
    look_ahead(roads, traffic, part, slot, traffic.vehicle[vehicle].step)
    if roads.part[part].first:
        traffic.vehicle[vehicle].link_enter = time
    if roads.part[part].crosses:
        publish()
    traffic.slot[slot].vehicle = vehicle
    behind = slot + 1
    traffic.tail[queue] = behind if behind < roads.queue[queue].end_slot else roads.queue[queue].slot
    if roads.part[part].slot >= 0:
        behind = traffic.entry[part].tail
        traffic.part_slot_time[behind] = math.inf
        behind += 1
        traffic.entry[part].tail = behind if behind < roads.part[part].end_slot else roads.part[part].slot
    traffic.entry[part].free = time + roads.part[part].headway
    traffic.entry[part].entered += 1
    traffic.entry[part].entered_sum += time
    if not roads.part[part].crosses and traffic.queue[queue].head == slot:
        node = whole(roads.part[part].to_node)
        if ready < traffic.wake[node]:
            wake(roads, traffic, node, ready)


@inner
def _start_tag(traffic: Traffic, queue: int, movement: int, part: int, origin: int) -> float:
    """Return the virtual time at which the head of ``queue`` (-1: of the origin) starts its turn before ``part``."""
    tag = traffic.origin[origin].tag if queue < 0 else (traffic.movement[movement].tag if movement >= 0 else 0.0)
    return float(max(tag, traffic.entry[part].virtual))


@inner
def _charge(roads: Roads, traffic: Traffic, queue: int, movement: int, part: int, origin: int) -> None:
    """Book the turn just taken: an approach pays for all its departures since its last turn towards ``part``.

    So each approach that waits for the same part leaves in proportion to its weight whatever its turning shares are,
    which is the oriented capacity of Tampere et al. (2011); who does not use a turn leaves it to the others.
    """
    start = _start_tag(traffic, queue, movement, part, origin)
    traffic.entry[part].virtual = start
    if queue < 0:
        traffic.origin[origin].tag = start + roads.part[part].origin_price
    elif movement >= 0:
        served = traffic.queue[queue].served + 1
        traffic.queue[queue].served = served
        turns = min(RARE, served - traffic.movement[movement].served)
        traffic.movement[movement].served = served
        traffic.movement[movement].tag = start + turns * roads.queue[queue].price


@inner
def _time_of_queue(roads: Roads, traffic: Traffic, node: int, queue: int, since: float, until: float) -> None:
    """Note when the first vehicle of ``queue`` may move, and onto what; past ``until`` only that it is not before."""
    slot = traffic.queue[queue].head
    if traffic.slot[slot].vehicle < 0:
        traffic.queue_time[queue] = math.inf
        traffic.queue_out[queue] = AT_END
        return
    if roads.part[roads.queue[queue].part].crosses:
        observe()
    time = max(since, traffic.slot[slot].time, traffic.queue[queue].free)
    movement = whole(traffic.slot[slot].movement)
    out = whole(roads.movement[movement].part if movement >= 0 else roads.part[roads.queue[queue].part].next)
    if time < until:
        fetch(traffic.vehicle, traffic.slot[slot].vehicle)
        fetch(traffic.path, traffic.slot[slot].step)
    if time < until and out >= 0:
        time = max(time, _accepts(roads, traffic, out, whole(traffic.slot[slot].ahead)))
        if movement >= 0 and roads.node[node].cycle > 0.0 and time < math.inf:
            time = earliest_green(roads, traffic, node, movement, time)
    traffic.queue_time[queue] = time
    traffic.queue_out[queue] = out


@inner
def _time_of_origin(roads: Roads, traffic: Traffic, origin: int, since: float, until: float) -> None:
    """Note when the first vehicle that waits to begin its trip on a part may enter."""
    vehicle = traffic.origin[origin].head
    time = math.inf
    if vehicle >= 0:
        time = max(since, traffic.vehicle[vehicle].depart)
        if time < until:
            part = whole(roads.node_origin[origin])
            if traffic.origin[origin].ahead == UNKNOWN:
                traffic.origin[origin].ahead = queue_on(roads, traffic, part, traffic.vehicle[vehicle].step)
            time = max(time, _accepts(roads, traffic, part, whole(traffic.origin[origin].ahead)))
    traffic.origin_time[origin] = time


@part_of_kernel
def _serve(roads: Roads, traffic: Traffic, node: int, since: float, until: float) -> float:
    """Make all moves of ``node`` from ``since`` on before ``until``, in order of time; return when it may act next.

    A move changes the times of its own queue and of those that want the same part; the others stay as they are.
    """
    first_queue, end_queue = roads.node[node].queue, roads.node[node].end_queue
    first_origin, end_origin = roads.node[node].origin, roads.node[node].end_origin
    beyond = until + 2.0 * TIE_S  # whoever comes so soon after ``until`` that the instant is one is seen now as well
    signal = roads.node[node].cycle > 0.0
    again = True
    queue = out = whole(-1)
    while True:
        moved, moved_out = queue, out
        best = math.inf
        queue = origin = out = whole(-1)
        for k in range(first_queue, end_queue):
            touched = again or k == moved or (moved_out >= 0 and traffic.queue_out[k] == moved_out)
            if touched or (signal and _yields(roads, traffic, k)):
                _time_of_queue(roads, traffic, node, k, since, beyond)
            if traffic.queue_time[k] < best:
                best, queue = traffic.queue_time[k], whole(k)
        for k in range(first_origin, end_origin):
            if again or roads.node_origin[k] == moved_out:
                _time_of_origin(roads, traffic, k, since, beyond)
            if traffic.origin_time[k] < best:
                best, origin = traffic.origin_time[k], whole(k)
        if best >= until:
            return float(best)
        if origin >= 0:
            queue, out = whole(-1), whole(roads.node_origin[origin])
        else:
            out = whole(traffic.queue_out[queue])
        if out >= 0:
            best, queue, origin = _turn(roads, traffic, node, out, best, queue, origin)
            if best >= until:
                return float(best)
        _move(roads, traffic, queue, origin, out, best)
        again = out >= 0 and roads.part[out].to_node == node  # a loop: what was done changes both ends
        if queue >= 0:
            again = again or roads.part[roads.queue[queue].part].from_node == node


@inner
def _yields(roads: Roads, traffic: Traffic, queue: int) -> bool:
    """Return whether the first vehicle of a queue waits for gaps, which each move may take from it."""
    movement = traffic.slot[traffic.queue[queue].head].movement
    return bool(movement >= 0 and roads.movement[movement].yields)


@inner
def _turn(
    roads: Roads, traffic: Traffic, node: int, out: int, time: float, queue: int, origin: int
) -> tuple[float, int, int]:
    """Return whose turn it is among all that may move onto ``out`` at the instant ``time``: when, queue and origin."""
    rival, tag, nobody = False, 0.0, whole(-1)
    start_queue, start_origin, start = queue, origin, time
    for k in range(whole(roads.node[node].queue), whole(roads.node[node].end_queue)):
        if k != start_queue and traffic.queue_out[k] == out and traffic.queue_time[k] <= start + TIE_S:
            if not rival:
                rival, tag = True, _tag_of(traffic, start_queue, out, start_origin)
            other = _tag_of(traffic, k, out, nobody)
            if other < tag:
                time, queue, origin, tag = traffic.queue_time[k], k, nobody, other
    k = whole(roads.part[out].origin)
    if k >= 0 and k != start_origin and traffic.origin_time[k] <= start + TIE_S:
        if not rival:
            tag = _tag_of(traffic, start_queue, out, start_origin)
        if _tag_of(traffic, nobody, out, k) < tag:
            time, queue, origin = traffic.origin_time[k], nobody, k
    return time, queue, origin


@inner
def _tag_of(traffic: Traffic, queue: int, out: int, origin: int) -> float:
    movement = whole(traffic.slot[traffic.queue[queue].head].movement if queue >= 0 else -1)
    return float(_start_tag(traffic, queue, movement, out, origin))


@inner
def _pace(roads: Roads, traffic: Traffic, queue: int, movement: int, out: int, slot: int, time: float) -> None:
    """Set when the vehicle after the one that leaves now may leave, for the headway's sake: one headway later.

    A vehicle that another approach has kept waiting does not keep those behind it waiting as well: the queue's schedule
    goes on as if it had left, for one headway at most. Without this a queue could not take a share of a merge that
    needs two turns in a row whenever the part ahead carries more than the queue does.
    """
    headway = roads.queue[queue].headway
    schedule, lag = time, traffic.queue[queue].last - traffic.queue[queue].schedule
    contested = out >= 0 and traffic.entry[out].last_from != queue and traffic.entry[out].last_from != UNKNOWN
    if out >= 0 and (contested or lag > 0.0):
        due = max(traffic.slot[slot].time, traffic.queue[queue].schedule + headway)
        if contested:
            lag = headway
            node = whole(roads.part[roads.queue[queue].part].to_node)
            if movement >= 0 and roads.node[node].cycle > 0.0:
                due = earliest_green(roads, traffic, node, movement, due)
        schedule = min(time, max(due, time - lag))
    traffic.queue[queue].schedule = schedule
    traffic.queue[queue].last = time
    least = headway if out < 0 else min(headway, roads.part[out].headway)
    traffic.queue[queue].free = max(schedule + headway, time + least)


@inner
def _move(roads: Roads, traffic: Traffic, queue: int, origin: int, out: int, time: float) -> None:
    """Move the first vehicle of ``queue`` (-1: of ``origin``) onto part ``out`` (-1: it has arrived)."""
    if queue < 0:
        ahead, vehicle = whole(traffic.origin[origin].ahead), whole(traffic.origin[origin].head)
        _charge(roads, traffic, queue, whole(-1), out, origin)
        traffic.origin[origin].head = traffic.vehicle[vehicle].behind
        traffic.origin[origin].ahead = UNKNOWN
        traffic.vehicle[vehicle].enter = time
    else:
        slot = whole(traffic.queue[queue].head)
        ahead, vehicle = whole(traffic.slot[slot].ahead), whole(traffic.slot[slot].vehicle)
        movement = whole(traffic.slot[slot].movement)
        if out >= 0:
            _charge(roads, traffic, queue, movement, out, whole(-1))
        _pace(roads, traffic, queue, movement, out, slot, time)
        _leave(roads, traffic, queue, time)
        if movement >= 0:
            traffic.vehicle[vehicle].step += 1
            traffic.movement[movement].left += 1
            traffic.movement[movement].last = time
    if out >= 0:
        _enter(roads, traffic, out, ahead, vehicle, time)
        traffic.entry[out].last_from = queue if queue >= 0 else ORIGIN
    else:
        traffic.vehicle[vehicle].arrive = time


@kernel
def run_block(roads: Roads, traffic: Traffic, block: int, since: float, until: float) -> None:
    """Make every move of the nodes of a block from ``since`` on before ``until``.

    Nothing that happens meanwhile in another block may reach the block before ``until``.
    """
    first, end = roads.block_start[block], roads.block_start[block + 1]
    if first == end:
        return
    while True:
        node = whole(traffic.heap[first])
        time = traffic.wake[node]
        if time >= until:
            return
        bound = min(until, max(time + roads.node[node].lookahead, np.nextafter(time, math.inf)))
        wake(roads, traffic, node, _serve(roads, traffic, node, since, bound))


@kernel
def join_origins(roads: Roads, traffic: Traffic, vehicles: Int, parts: Int) -> None:
    """Put vehicles, in order of departure, at the end of the queue of their first part."""
    for k in range(len(vehicles)):
        vehicle, part = vehicles[k], parts[k]
        origin = roads.part[part].origin
        traffic.vehicle[vehicle].behind = -1
        if traffic.origin[origin].head < 0:
            traffic.origin[origin].head = vehicle
            node = whole(roads.part[part].from_node)
            if traffic.vehicle[vehicle].depart < traffic.wake[node]:
                wake(roads, traffic, node, traffic.vehicle[vehicle].depart)
        else:
            traffic.vehicle[traffic.origin[origin].last].behind = vehicle
        traffic.origin[origin].last = vehicle


@kernel
def withdraw(traffic: Traffic, time: float) -> None:
    """Take the vehicles that are due at or after ``time`` out of all origin queues."""
    for origin in range(len(traffic.origin)):
        last, vehicle = -1, traffic.origin[origin].head
        while vehicle >= 0 and traffic.vehicle[vehicle].depart < time:
            last, vehicle = vehicle, traffic.vehicle[vehicle].behind
        if last < 0:
            traffic.origin[origin].head = -1
        else:
            traffic.vehicle[last].behind = -1
        traffic.origin[origin].last = last
