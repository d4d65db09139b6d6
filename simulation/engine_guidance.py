"""Kernels that give routes to vehicles under way, look along them, and forget what lies behind."""

import numpy as np
import numpy.typing as npt

from simulation.engine_fence import fetch
from simulation.engine_kernel import inner, kernel, wake
from simulation.engine_riders import FAR, NEAR, change_queue
from simulation.street import Long, Roads, Traffic, whole
from twin.compiled import Float, Int

LAST_KEPT = np.int32(-(2**31))  # mark of a cell that ends a route and is kept


@inner
def _fetch(traffic: Traffic, vehicles: Int, k: int) -> None:
    """Ask the memory for the vehicles, and the places on their routes, whose turn is some turns after ``k``."""
    if k + FAR < len(vehicles):
        fetch(traffic.vehicle, vehicles[k + FAR])
    if k + NEAR < len(vehicles):
        fetch(traffic.path, traffic.vehicle[vehicles[k + NEAR]].step)


@kernel
def adopt(
    roads: Roads, traffic: Traffic, vehicles: Int, queues: Int, step: Long, total: Float, limit: float, now: float
) -> int:
    """Put vehicles under way on the routes at ``step`` that cost less than ``limit``; return how many turn off.

    A vehicle that needs another lane group and finds no room there stays on its way.
    """
    turned = 0
    for k in range(len(vehicles)):
        _fetch(traffic, vehicles, k)
        if k + NEAR < len(vehicles):
            fetch(traffic.path, step[k + NEAR])
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


@kernel
def passes(
    traffic: Traffic, movement_to: Int, vehicles: Int, marked: npt.NDArray[np.bool_], hit: npt.NDArray[np.bool_]
) -> None:
    """Set ``hit`` for each vehicle with a marked link before it on its route."""
    for k in range(len(vehicles)):
        step = traffic.vehicle[vehicles[k]].step
        while traffic.path[step] >= 0 and not hit[k]:
            hit[k] = marked[movement_to[traffic.path[step]]]
            step += 1


@inner
def _keep(traffic: Traffic, vehicle: int, fixed: int, end_fixed: int) -> None:
    """Mark the cells of the path that lie before a vehicle; given routes are kept anyway."""
    path, step = traffic.path, traffic.vehicle[vehicle].step
    if fixed <= step < end_fixed:
        return
    while path[step] >= 0:
        path[step] = -2 - path[step]
        step += 1
    if path[step] == -1:
        path[step] = LAST_KEPT


@inner
def _moved(traffic: Traffic, vehicle: int, fixed: int, end_fixed: int) -> None:
    """Tell a vehicle the new place of its route."""
    step = traffic.vehicle[vehicle].step
    traffic.vehicle[vehicle].step = step - fixed if fixed <= step < end_fixed else traffic.path[step]


@kernel
def compact(roads: Roads, traffic: Traffic, vehicles: Int, used: int, fixed: int, end_fixed: int, out: Int) -> int:
    """Copy what lies before ``vehicles``, those under way, and those at origins, to ``out``; return its new length.

    Vehicles share routes, one further on than the other: each cell is copied once. ``traffic.path`` is used up: cells
    that are kept are marked first, then hold their new place. Given routes, ``traffic.path[fixed:end_fixed]``, are left
    to the caller: they come first in ``out``.
    """
    path = traffic.path
    for k in range(len(vehicles)):
        _fetch(traffic, vehicles, k)
        _keep(traffic, vehicles[k], fixed, end_fixed)
    for origin in range(len(traffic.origin)):
        vehicle = whole(traffic.origin[origin].head)
        while vehicle >= 0:
            _keep(traffic, vehicle, fixed, end_fixed)
            vehicle = whole(traffic.vehicle[vehicle].behind)
    kept = end_fixed - fixed
    for k in range(used):
        cell = path[k]
        if cell < -1 and not fixed <= k < end_fixed:
            out[kept] = -1 if cell == LAST_KEPT else -2 - cell
            path[k] = kept
            kept += 1
    for k in range(len(vehicles)):
        _fetch(traffic, vehicles, k)
        _moved(traffic, vehicles[k], fixed, end_fixed)
    for origin in range(len(traffic.origin)):
        vehicle = whole(traffic.origin[origin].head)
        while vehicle >= 0:
            _moved(traffic, vehicle, fixed, end_fixed)
            vehicle = whole(traffic.vehicle[vehicle].behind)
    return kept
