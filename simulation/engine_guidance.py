"""Kernels that give routes to vehicles under way, look along them, and forget what lies behind."""

import numpy as np
import numpy.typing as npt
from numba import njit

from simulation.engine_kernel import wake
from simulation.engine_riders import change_queue
from simulation.street import Long, Roads, Traffic, whole
from twin.compiled import Float, Int

LAST_KEPT = np.int32(-(2**31))  # mark of a cell that ends a route and is kept


@njit(cache=True)
def adopt(
    roads: Roads, traffic: Traffic, vehicles: Int, queues: Int, step: Long, total: Float, limit: float, now: float
) -> int:
    """Put vehicles under way on the routes at ``step`` that cost less than ``limit``; return how many turn off.

    A vehicle that needs another lane group and finds no room there stays on its way.
    """
    turned = 0
    for k in range(len(vehicles)):
        vehicle = whole(vehicles[k])
        old, new = traffic.vehicle[vehicle].step, step[k]
        if traffic.path[old] < 0 or traffic.path[new] < 0 or total[k] >= limit:
            continue  # on its last link, or no way round
        queue = whole(queues[k])
        part = whole(roads.queue[queue].part)
        if traffic.path[old] != traffic.path[new] and roads.part[part].next < 0:
            other = whole(roads.movement[traffic.path[new]].queue)
            if other != queue and not change_queue(roads, traffic, vehicle, queue, other, now):
                continue
        traffic.vehicle[vehicle].step = new
        same = traffic.path[old] == traffic.path[new] and traffic.path[old + 1] == traffic.path[new + 1]
        if not same:  # the queue that it joins next may be another one
            turned += 1
            node = whole(roads.part[part].to_node)
            if now < traffic.wake[node]:
                wake(roads, traffic, node, now)
    return turned


@njit(cache=True)
def passes(traffic: Traffic, movement_to: Int, vehicles: Int, marked: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return for each vehicle whether a marked link lies before it on its route."""
    hit = np.zeros(len(vehicles), np.bool_)
    for k in range(len(vehicles)):
        step = traffic.vehicle[vehicles[k]].step
        while traffic.path[step] >= 0 and not hit[k]:
            hit[k] = marked[movement_to[traffic.path[step]]]
            step += 1
    return hit


@njit(cache=True)
def compact(path: Int, used: int, step: Long, alive: Long, out: Int) -> int:
    """Copy what lies before the vehicles ``alive`` to ``out``, set their ``step``, and return how much it is.

    Vehicles share routes, one further on than the other: each cell is copied once. ``path`` is used up: cells that are
    kept are marked first, then hold their new place.
    """
    for vehicle in alive:
        k = step[vehicle]
        while path[k] >= 0:
            path[k] = -2 - path[k]
            k += 1
        if path[k] == -1:
            path[k] = LAST_KEPT
    kept = 0
    for k in range(used):
        cell = path[k]
        if cell < -1:
            out[kept] = -1 if cell == LAST_KEPT else -2 - cell
            path[k] = kept
            kept += 1
    for vehicle in alive:
        step[vehicle] = path[step[vehicle]]
    return kept
