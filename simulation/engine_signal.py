"""The kernel's signals: when a movement has green and, where it yields, a gap."""

import math

from simulation.engine_kernel import TIE_S, at, inner, part_of_kernel
from simulation.street import Roads, Traffic


@inner
def _gap(roads: Roads, traffic: Traffic, movement: int, rule: int, time: float, start: float) -> float:
    """Return the first instant at or after ``time`` at which a yielding movement, green since ``start``, has its gap.

    A vehicle goes once the last one of every movement that it yields to is the critical gap ago and the last one of its
    own the follow-up time. In a gap G between two of those that is floor((G - critical) / follow-up) + 1 vehicles, the
    number of those who look ahead, but it asks nothing of the future. Until the first of those has come in this green
    there is nobody to look out for, and no follow-up time.
    """
    movement, rule = at(movement), at(rule)
    latest = -math.inf
    for k in range(at(roads.yielding[rule].first), at(roads.yielding[rule].end)):
        latest = max(latest, traffic.movement[at(roads.rival[at(k)])].last)
    time = max(time, latest + roads.yielding[rule].gap)
    if latest >= start - TIE_S:
        time = max(time, traffic.movement[movement].last + roads.yielding[rule].follow_up)
    return float(time + 2.0 * TIE_S)  # of two at the same instant the one that need not yield goes first


@part_of_kernel
def earliest_green(roads: Roads, traffic: Traffic, node: int, movement: int, time: float) -> float:
    """Return the first instant at or after ``time`` at which ``movement`` has green and, where it yields, a gap.

    Infinite when it never has. Vehicles to come may only make a yielding movement wait longer.
    """
    node, movement = at(node), at(movement)
    cycle = roads.node[node].cycle
    first, end = at(roads.movement[movement].green), at(roads.movement[movement].end_green)
    if first == end:
        return math.inf
    begin = roads.node[node].offset + math.floor((time - roads.node[node].offset) / cycle) * cycle
    while begin < math.inf:
        for window in range(first, end):
            k = at(window)
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
def yields(roads: Roads, traffic: Traffic, queue: int) -> bool:
    """Return whether the first vehicle of a queue waits for gaps, which each move may take from it."""
    movement = traffic.slot[at(traffic.queue[at(queue)].head)].movement
    return bool(movement >= 0 and roads.movement[at(movement)].yields)
