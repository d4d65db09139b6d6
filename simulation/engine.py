"""The kernel: moves every vehicle at the first instant at which it is ready, accepted and has green.

Event-driven link transmission with single vehicles. The n-th vehicle of a queue is ready at ``max(entry(n) + L / v,
exit(n-1) + 1 / q)``; a part accepts it not before ``max(entry(n-1) + 1 / q, exit(n-K) + K / (w k_jam))``. There are no
time steps: each node says when it may next act, the earliest of a block acts first and runs ahead as long as no
neighbour can reach it (`simulation.paving.set_lookahead`), so the result depends neither on the order in which nodes
are served nor on the blocks in which threads share them (`simulation.engine_blocks`).

Notes
-----
Source: Newell (1993), A simplified theory of kinematic waves, Transportation Research B 27(4); Yperman (2007), The link
transmission model; Leclercq and Becarie (2012), A meso Lighthill-Whitham-Richards model.
"""

import math

import numpy as np

from simulation.engine_fence import fetch, observe, publish
from simulation.engine_kernel import TIE_S, at, inner, kernel, part_of_kernel, wake
from simulation.engine_merge import charge, pace, turn
from simulation.engine_signal import earliest_green, yields
from simulation.street import AT_END, EMPTY, ORIGIN, UNKNOWN, Roads, Traffic, whole
from twin.compiled import Int


@inner
def queue_on(roads: Roads, traffic: Traffic, part: int, step: int) -> int:
    """Return the queue that a vehicle joins on ``part`` when ``step`` holds the movement at the end of that link."""
    part = at(part)
    if roads.part[part].next >= 0:
        return int(roads.part[part].queue)
    movement = traffic.path[step]
    if movement < 0:
        return int(roads.part[part].last_queue)
    return int(roads.movement[movement].queue)


@inner
def look_ahead(roads: Roads, traffic: Traffic, part: int, slot: int, step: int) -> None:
    """Note in a slot of ``part`` where its vehicle goes next: movement and queue."""
    part, slot = at(part), at(slot)
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
    queue = at(queue)
    slot = whole(traffic.tail[queue]) - roads.queue[queue].room
    return int(
        slot if slot >= roads.queue[queue].slot else slot + roads.queue[queue].end_slot - roads.queue[queue].slot
    )


@inner
def part_hole(roads: Roads, traffic: Traffic, part: int) -> int:
    """Return the own slot of a part whose hole its next vehicle takes."""
    part = at(part)
    slot = whole(traffic.entry[part].tail) - roads.part[part].room
    return int(slot if slot >= roads.part[part].slot else slot + roads.part[part].end_slot - roads.part[part].slot)


@inner
def _accepts(roads: Roads, traffic: Traffic, part: int, queue: int) -> float:
    """Return the earliest entry that ``part`` offers to a vehicle of ``queue``; infinite while full or closed."""
    part, queue = at(part), at(queue)
    slot = at(queue_hole(roads, traffic, queue))
    if roads.part[part].closed or traffic.slot[slot].vehicle >= 0:
        return math.inf
    if roads.part[part].crosses:
        observe()
    time = max(traffic.entry[part].free, traffic.slot[slot].time)
    if roads.part[part].slot >= 0:
        time = max(time, traffic.part_slot_time[at(part_hole(roads, traffic, part))])
    return float(time)


@inner
def _leave(roads: Roads, traffic: Traffic, queue: int, time: float) -> None:
    """Take the first vehicle of ``queue`` off its part and send its hole upstream."""
    queue = at(queue)
    part, slot = at(roads.queue[queue].part), at(traffic.queue[queue].head)
    vehicle = at(traffic.slot[slot].vehicle)
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
        slot = at(traffic.exit[part].head)
        hole = time + roads.part[part].hole
        if inside and part_hole(roads, traffic, part) == slot:
            full = True
            opens = max(opens, hole)
        traffic.part_slot_time[slot] = hole
        slot += 1
        traffic.exit[part].head = slot if slot < roads.part[part].end_slot else roads.part[part].slot
    traffic.exit[part].left += 1
    traffic.exit[part].left_sum += time
    node = at(roads.part[part].from_node)
    if full and opens < traffic.wake[node]:
        wake(roads, traffic, node, opens)
    if roads.part[part].next < 0:
        link = at(roads.part[part].link)
        spent = time - traffic.vehicle[vehicle].link_enter
        free = roads.link[link].free_time
        if spent > free + 1.0:
            traffic.exit[part].stops += 1
        traffic.vehicle[vehicle].free_time += min(free, spent)
        traffic.vehicle[vehicle].distance += roads.link[link].length


@inner
def _enter(roads: Roads, traffic: Traffic, part: int, queue: int, vehicle: int, time: float) -> None:
    """Put ``vehicle`` on ``part`` at its entrance."""
    part, queue, vehicle = at(part), at(queue), at(vehicle)
    slot, ready = at(traffic.tail[queue]), time + roads.part[part].travel
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
        behind = at(traffic.entry[part].tail)
        traffic.part_slot_time[behind] = math.inf
        behind += 1
        traffic.entry[part].tail = behind if behind < roads.part[part].end_slot else roads.part[part].slot
    traffic.entry[part].free = time + roads.part[part].headway
    traffic.entry[part].entered += 1
    traffic.entry[part].entered_sum += time
    if not roads.part[part].crosses and traffic.queue[queue].head == slot:
        node = at(roads.part[part].to_node)
        traffic.queue_time[queue] = ready
        if ready < traffic.wake[node]:
            wake(roads, traffic, node, ready)


@inner
def _time_of_queue(roads: Roads, traffic: Traffic, node: int, queue: int, since: float, until: float) -> None:
    """Note when the first vehicle of ``queue`` may move, and onto what; past ``until`` only that it is not before."""
    node, queue = at(node), at(queue)
    slot = at(traffic.queue[queue].head)
    if traffic.slot[slot].vehicle < 0:
        traffic.queue_time[queue] = math.inf
        # Who enters from another block does not say so.
        traffic.queue_out[queue] = AT_END if roads.part[at(roads.queue[queue].part)].crosses else EMPTY
        return
    if roads.part[at(roads.queue[queue].part)].crosses:
        observe()
    time = max(since, traffic.slot[slot].time, traffic.queue[queue].free)
    movement = whole(traffic.slot[slot].movement)
    if movement >= 0:
        movement = at(movement)
        out = at(roads.movement[movement].part)
    else:
        out = whole(roads.part[at(roads.queue[queue].part)].next)
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
    origin = at(origin)
    vehicle = whole(traffic.origin[origin].head)
    time = math.inf
    if vehicle >= 0:
        vehicle = at(vehicle)
        time = max(since, traffic.vehicle[vehicle].depart)
        if time < until:
            part = at(roads.node_origin[origin])
            if traffic.origin[origin].ahead == UNKNOWN:
                traffic.origin[origin].ahead = queue_on(roads, traffic, part, traffic.vehicle[vehicle].step)
            time = max(time, _accepts(roads, traffic, part, whole(traffic.origin[origin].ahead)))
    traffic.origin_time[origin] = time


@part_of_kernel
def _serve(roads: Roads, traffic: Traffic, node: int, since: float, until: float) -> float:
    """Make all moves of ``node`` from ``since`` on before ``until``, in order of time; return when it may act next.

    A move changes the times of its own queue and of those that want the same part; the others stay as they are.
    """
    node = at(node)
    first_queue, end_queue = at(roads.node[node].queue), at(roads.node[node].end_queue)
    first_origin, end_origin = at(roads.node[node].origin), at(roads.node[node].end_origin)
    beyond = until + 2.0 * TIE_S  # whoever comes so soon after ``until`` that the instant is one is seen now as well
    again, signal = True, roads.node[node].cycle > 0.0
    queue = out = whole(-1)
    while True:
        moved, moved_out = queue, out
        best = math.inf
        queue = origin = out = whole(-1)
        for queue_here in range(first_queue, end_queue):
            k = at(queue_here)
            # Whatever moves meanwhile, the first vehicle of a queue may only have to wait longer: for red lights and
            # for vehicles under way nobody looks before their time. Room that is not there may come at any time.
            bound = traffic.queue_time[k]
            if bound <= beyond or (bound == math.inf and traffic.queue_out[k] != EMPTY):
                touched = again or k == moved or (moved_out >= 0 and traffic.queue_out[k] == moved_out)
                if touched or (signal and roads.queue[k].yields and yields(roads, traffic, k)):
                    _time_of_queue(roads, traffic, node, k, since, beyond)
            if traffic.queue_time[k] < best:
                best, queue = traffic.queue_time[k], whole(k)
        for origin_here in range(first_origin, end_origin):
            k = at(origin_here)
            bound = traffic.origin_time[k]
            if not beyond < bound < math.inf and (again or roads.node_origin[k] == moved_out):
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
            best, queue, origin = turn(roads, traffic, node, out, best, queue, origin)
            if best >= until:
                return float(best)
        _move(roads, traffic, queue, origin, out, best)
        again = out >= 0 and roads.part[out].to_node == node  # a loop: what was done changes both ends
        if queue >= 0:
            again = again or roads.part[at(roads.queue[queue].part)].from_node == node


@inner
def _move(roads: Roads, traffic: Traffic, queue: int, origin: int, out: int, time: float) -> None:
    """Move the first vehicle of ``queue`` (-1: of ``origin``) onto part ``out`` (-1: it has arrived)."""
    if queue < 0:
        origin = at(origin)
        ahead, vehicle = whole(traffic.origin[origin].ahead), at(traffic.origin[origin].head)
        charge(roads, traffic, queue, whole(-1), out, origin)
        traffic.origin[origin].head = traffic.vehicle[vehicle].behind
        traffic.origin[origin].ahead = UNKNOWN
        traffic.vehicle[vehicle].enter = time
    else:
        queue = at(queue)
        slot = at(traffic.queue[queue].head)
        ahead, vehicle = whole(traffic.slot[slot].ahead), at(traffic.slot[slot].vehicle)
        movement = whole(traffic.slot[slot].movement)
        if out >= 0:
            charge(roads, traffic, queue, movement, out, whole(-1))
        pace(roads, traffic, queue, movement, out, slot, time)
        _leave(roads, traffic, queue, time)
        if movement >= 0:
            movement = at(movement)
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
        node = at(traffic.heap[at(first)])
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
            node = at(roads.part[part].from_node)
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
            traffic.origin[origin].ahead = UNKNOWN
        else:
            traffic.vehicle[last].behind = -1
        traffic.origin[origin].last = last
