"""Shortest paths on links, so that forbidden turns are respected, and the routes that vehicles take from them."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from twin.compiled import CompiledNetwork, Float, Int

CLOSED_S = 1e9  # cost of a closed link: taken only where there is no other way, and then waited for


class Map(NamedTuple):
    """The network as path search sees it; ``before`` lists the movements into each link."""

    out_start: Int
    out_link: Int
    in_start: Int
    in_link: Int
    movement_start: Int
    movement_from: Int
    movement_to: Int
    before_start: Int
    before: Int


def draw_map(network: CompiledNetwork, forbidden: Int) -> Map:
    """Return the map of ``network`` without the movements of rows ``forbidden``."""
    movement_from = np.repeat(np.arange(network.n_links), np.diff(network.movement_start)).astype(np.int32)
    allowed = np.setdiff1d(np.arange(len(movement_from)), forbidden)
    into = network.movement_out[allowed]
    order = np.argsort(into, kind="stable")
    return Map(
        out_start=network.out_start,
        out_link=network.out_link,
        in_start=network.in_start,
        in_link=network.in_link,
        movement_start=network.movement_start,
        movement_from=movement_from,
        movement_to=network.movement_out,
        before_start=np.searchsorted(into[order], np.arange(network.n_links + 1)).astype(np.int32),
        before=allowed[order].astype(np.int32),
    )


@njit(cache=True)
def _tree(chart: Map, cost: Float, node: int, distance: Float, choice: Int, heap_cost: Float, heap: Int) -> None:
    """Fill cost to ``node`` from the start of every link, and the movement to take at its end (-1: it ends there)."""
    distance[:] = math.inf
    choice[:] = -1
    n = 0
    for k in range(chart.in_start[node], chart.in_start[node + 1]):
        link = np.int64(chart.in_link[k])
        distance[link] = cost[link]
        n = _push(heap_cost, heap, n, cost[link], link)
    while n > 0:
        key, link = heap_cost[0], np.int64(heap[0])
        n = _pop(heap_cost, heap, n)
        if key > distance[link]:
            continue
        for k in range(chart.before_start[link], chart.before_start[link + 1]):
            movement = chart.before[k]
            previous = np.int64(chart.movement_from[movement])
            candidate = key + cost[previous]
            if candidate < distance[previous]:
                distance[previous] = candidate
                choice[previous] = movement
                n = _push(heap_cost, heap, n, candidate, previous)


@njit(cache=True)
def _push(heap_cost: Float, heap: Int, n: int, key: float, item: np.int64) -> int:
    k = n
    while k > 0:
        parent = (k - 1) >> 1
        if heap_cost[parent] <= key:
            break
        heap_cost[k], heap[k] = heap_cost[parent], heap[parent]
        k = parent
    heap_cost[k], heap[k] = key, item
    return n + 1


@njit(cache=True)
def _pop(heap_cost: Float, heap: Int, n: int) -> int:
    n -= 1
    key, item = heap_cost[n], heap[n]
    k = 0
    while True:
        child = 2 * k + 1
        if child >= n:
            break
        if child + 1 < n and heap_cost[child + 1] < heap_cost[child]:
            child += 1
        if heap_cost[child] >= key:
            break
        heap_cost[k], heap[k] = heap_cost[child], heap[child]
        k = child
    heap_cost[k], heap[k] = key, item
    return n


@njit(cache=True)
def _plan(
    chart: Map,
    cost: Float,
    start: Int,
    node: Int,
    first: Int,
    total: Float,
    step: npt.NDArray[np.int64],
    path: Int,
    used: int,
    done: int,
) -> tuple[int, int]:
    """Plan requests from ``done`` on; returns how far it came before ``path`` was full, and how much of it is used.

    Requests are sorted by (node, start), so that a tree and a route are worked out once. A start >= 0 is a node, a
    start below is the end of link ``-1 - start``.
    """
    n_links = len(cost)
    distance, choice = np.empty(n_links), np.empty(n_links, np.int32)
    heap_cost = np.empty(len(chart.movement_to) + n_links + 1)
    heap = np.empty(len(chart.movement_to) + n_links + 1, np.int32)
    tree = -1
    for k in range(done, len(start)):
        if k > done and node[k] == node[k - 1] and start[k] == start[k - 1]:
            first[k], step[k], total[k] = first[k - 1], step[k - 1], total[k - 1]
            continue
        if node[k] != tree:
            tree = node[k]
            _tree(chart, cost, tree, distance, choice, heap_cost, heap)
        link = -1 - start[k]
        total[k] = 0.0
        if start[k] >= 0:
            link = -1
            total[k] = math.inf
            for j in range(chart.out_start[start[k]], chart.out_start[start[k] + 1]):
                candidate = chart.out_link[j]
                if distance[candidate] < total[k]:
                    total[k], link = distance[candidate], candidate
        elif distance[link] < math.inf:
            total[k] = distance[link] - cost[link]
        else:
            total[k], link = math.inf, -1
        first[k], step[k] = link, used
        if link < 0:
            continue
        if used + n_links + 1 > len(path):
            return k, used
        movement = choice[link]
        while movement >= 0:
            path[used] = movement
            used += 1
            movement = choice[chart.movement_to[movement]]
        path[used] = -1
        used += 1
    return len(start), used


class Routes(NamedTuple):
    """Routes in the order of the requests; ``path`` is the store, perhaps a larger copy of the one given.

    Parameters
    ----------
    first
        First link, -1 without any path; for a start under way the link it is on.
    step
        Place in ``path`` of the movement at the end of that link.
    total : s
        Cost from the start of the first link, or from the end of the link under way.
    """

    first: Int
    step: npt.NDArray[np.int64]
    total: Float
    path: Int
    used: int


def plan_routes(chart: Map, cost: Float, start: Int, node: Int, path: Int, used: int) -> Routes:
    """Return the cheapest routes from ``start`` (node, or -1 - link under way) to ``node``, behind ``path[:used]``."""
    order = np.lexsort((start, node))
    n = len(order)
    first, step, total = np.full(n, -1, np.int32), np.zeros(n, np.int64), np.zeros(n)
    begin, end = start[order].astype(np.int32), node[order].astype(np.int32)
    cost = np.ascontiguousarray(cost)
    done = 0
    while done < n:
        done, used = _plan(chart, cost, begin, end, first, total, step, path, used, done)
        if done < n:
            path = np.concatenate([path, np.full(len(path) + len(cost) + 1, -1, np.int32)])
    back = np.empty(n, np.int64)
    back[order] = np.arange(n)
    return Routes(first[back], step[back], total[back], path, used)


@njit(cache=True)
def compact(path: Int, step: npt.NDArray[np.int64], order: npt.NDArray[np.int64], out: Int) -> int:
    """Copy what is left of the routes at ``step`` to ``out``, in rising ``order`` of step, and return its length.

    Vehicles share routes, one further on than the other: each cell is copied once, so that ``out`` is long enough.
    """
    used, first, end, begin = 0, -1, -1, 0
    for k in order:
        place = step[k]
        if place >= end:
            first, begin, end = place, used, place
            while path[end] >= 0:
                out[used] = path[end]
                used += 1
                end += 1
            out[used] = -1
            used += 1
            end += 1
        step[k] = begin + place - first
    return used
