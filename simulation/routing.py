"""Shortest paths on links, so that forbidden turns are respected, and the routes that vehicles take from them.

A search grows a **tree** from a destination against the traffic and settles links in order of their cost to it. What a
link costs does not depend on the movement behind it, so the first settled link that a link leads to is its best one:
each link is reached once, nothing is ever corrected, and a node all of whose in-links are reached has no more to say.
With that a search over links costs about as much as one over nodes, and respects turns as well.

Equal costs are settled by the number of the link, so routes do not depend on threads, nor on who else asks.

Notes
-----
Source: Dijkstra (1959), A note on two problems in connexion with graphs; on links: Caldwell (1961), On finding minimum
routes in a network with turn penalties, Communications of the ACM 4(2).
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from simulation.threads import in_order
from twin.compiled import CompiledNetwork, Float, Int

Long = npt.NDArray[np.int64]

CLOSED_S = 1e9  # cost of a closed link: taken only where there is no other way, and then waited for
ENDS, UNSEEN = -1, -2  # instead of the movement at the end of a link: the trip ends there; nobody has come there
NOBODY, WANTED = -1, -2  # instead of the link by which those who start at a node set off
TASKS_PER_THREAD = 8  # so that none waits long for the last
FEW = 64  # requests that are not worth a second thread

# No reference counting: the kernels make no arrays, and counting those they are given would take most of the time.
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}


class Map(NamedTuple):
    """The network as path search sees it; ``before`` lists the movements into each link, and whence they come."""

    from_node: Int
    out_start: Int
    out_link: Int
    in_start: Int
    in_link: Int
    movement_from: Int
    movement_to: Int
    before_start: Int
    before: Int
    before_link: Int


def draw_map(network: CompiledNetwork, forbidden: Int) -> Map:
    """Return the map of ``network`` without the movements of rows ``forbidden``."""
    movement_from = np.repeat(np.arange(network.n_links), np.diff(network.movement_start)).astype(np.int32)
    allowed = np.setdiff1d(np.arange(len(movement_from)), forbidden)
    into = network.movement_out[allowed]
    before = allowed[np.argsort(into, kind="stable")].astype(np.int32)
    return Map(
        from_node=network.from_node,
        out_start=network.out_start,
        out_link=network.out_link,
        in_start=network.in_start,
        in_link=network.in_link,
        movement_from=movement_from,
        movement_to=network.movement_out,
        before_start=np.searchsorted(np.sort(into), np.arange(network.n_links + 1)).astype(np.int32),
        before=before,
        before_link=movement_from[before],
    )


class Scratch(NamedTuple):
    """What one thread needs for a tree; between trees all is as `scratch` made it."""

    distance: Float  # s from the start of each link to the destination
    choice: Int  # movement at the end of each link, ENDS or UNSEEN
    missing: Int  # in-links of each node that are not reached, and one more while its own vehicles wait
    setting_off: Int  # best first link of each node, NOBODY or WANTED
    wanted: npt.NDArray[np.uint8]  # links from whose end somebody asks
    place: Long  # in the path of the movement at the end of each link, -1: not written
    heap: Long
    reached: Int  # links, in the order in which they were reached
    settled: Int  # starts (node, or -1 - link), in the order in which they were settled


def scratch(chart: Map) -> Scratch:
    """Return what one thread needs."""
    n_links, n_nodes = len(chart.from_node), len(chart.in_start) - 1
    return Scratch(
        distance=np.zeros(n_links),
        choice=np.full(n_links, UNSEEN, np.int32),
        missing=np.diff(chart.in_start).astype(np.int32),
        setting_off=np.full(n_nodes, NOBODY, np.int32),
        wanted=np.zeros(n_links, np.uint8),
        place=np.full(n_links, -1, np.int64),
        heap=np.zeros(n_links + 1, np.int64),
        reached=np.zeros(n_links, np.int32),
        settled=np.zeros(n_links + n_nodes, np.int32),
    )


@njit(**OPTIONS)
def _push(heap: Long, n: int, key: int) -> int:
    k = n
    while k > 0:
        parent = (k - 1) >> 2
        if heap[parent] <= key:
            break
        heap[k] = heap[parent]
        k = parent
    heap[k] = key
    return n + 1


@njit(**OPTIONS)
def _pop(heap: Long, n: int) -> int:
    n -= 1
    key = heap[n]
    k = 0
    while True:
        child = 4 * k + 1
        if child >= n:
            break
        best = child
        for other in range(child + 1, min(child + 4, n)):
            if heap[other] < heap[best]:
                best = other
        if heap[best] >= key:
            break
        heap[k] = heap[best]
        k = best
    heap[k] = key
    return n


@njit(**OPTIONS)
def tree(chart: Map, cost: Float, node: int, remaining: int, s: Scratch) -> tuple[int, int]:
    """Fill ``s`` with the tree of ``node`` until ``remaining`` starts are settled; return links reached and starts.

    The heap holds one number per link: the bits of its distance, which sort as the distances do, the last of them
    replaced by the link's number. That makes a heap of half the size and decides between equals; distances that differ
    by less than 2^-32 of themselves count as equal in a network of a million links.
    """
    from_node, distance, choice, missing, heap = chart.from_node, s.distance, s.choice, s.missing, s.heap
    mask = 1
    while mask < len(cost):
        mask <<= 1
    mask -= 1
    n, n_reached, n_settled = 0, 0, 0
    for k in range(chart.in_start[node], chart.in_start[node + 1]):
        link = np.int64(chart.in_link[k])
        choice[link] = ENDS
        distance[link] = cost[link]
        missing[node] -= 1
        s.reached[n_reached] = link
        n_reached += 1
        if s.wanted[link]:
            s.settled[n_settled] = -1 - link
            n_settled += 1
        n = _push(heap, n, (np.float64(cost[link]).view(np.int64) & ~mask) | link)
    while n > 0 and n_settled < remaining:
        link = heap[0] & mask
        n = _pop(heap, n)
        here = from_node[link]
        if s.setting_off[here] == WANTED:
            s.setting_off[here] = link
            s.settled[n_settled] = here
            n_settled += 1
            missing[here] -= 1
        if missing[here] <= 0:
            continue
        so_far = distance[link]
        for k in range(chart.before_start[link], chart.before_start[link + 1]):
            previous = np.int64(chart.before_link[k])
            if choice[previous] != UNSEEN:
                continue
            choice[previous] = chart.before[k]
            distance[previous] = so_far + cost[previous]
            missing[here] -= 1
            s.reached[n_reached] = previous
            n_reached += 1
            if s.wanted[previous]:
                s.settled[n_settled] = -1 - previous
                n_settled += 1
            if missing[from_node[previous]] > 0:
                n = _push(heap, n, (np.float64(distance[previous]).view(np.int64) & ~mask) | previous)
        if missing[here] > 0 and not _needed(chart, here, s):
            missing[here] = 0
    return n_reached, n_settled


@njit(**OPTIONS)
def _needed(chart: Map, node: int, s: Scratch) -> bool:
    """Return whether it matters when the in-links of ``node`` that are not reached are: mostly they lead back."""
    for k in range(chart.in_start[node], chart.in_start[node + 1]):
        link = chart.in_link[k]
        if s.choice[link] == UNSEEN and (s.wanted[link] or s.missing[chart.from_node[link]] > 0):
            return True
    return False


@njit(**OPTIONS)
def clear(chart: Map, node: int, n_reached: int, s: Scratch) -> None:
    """Leave ``s`` as it was before the tree of ``node``."""
    for k in range(n_reached):
        link = s.reached[k]
        s.choice[link] = UNSEEN
        s.place[link] = -1
        movement_end = chart.from_node[link]
        s.missing[movement_end] = chart.in_start[movement_end + 1] - chart.in_start[movement_end]
    s.missing[node] = chart.in_start[node + 1] - chart.in_start[node]


@njit(**OPTIONS)
def _write(chart: Map, link: int, path: Int, used: int, s: Scratch) -> int:
    """Write the path from the end of ``link`` behind ``path[:used]`` and return how much is used then, -1: too much."""
    while used < len(path):
        if s.place[link] < 0:
            s.place[link] = used
        movement = s.choice[link]
        path[used] = movement
        used += 1
        if movement == ENDS:
            return used
        link = chart.movement_to[movement]
    return -1


@njit(**OPTIONS)
def _plan(
    chart: Map,
    cost: Float,
    start: Int,
    node: Int,
    order: Long,
    groups: Long,
    done: int,
    end: int,
    first: Int,
    step: Long,
    total: Float,
    path: Int,
    used: int,
    s: Scratch,
) -> tuple[int, int]:
    """Plan the groups ``done:end`` of requests; return how far it came before ``path`` was full, and what is used.

    A group are the requests of one destination, ``order[groups[g]:groups[g + 1]]``. A start >= 0 is a node, a start
    below is the end of link ``-1 - start``. A route that lies on one already written is not written again; the starts
    that were settled last, which are the farthest, are therefore written first.
    """
    for group in range(done, end):
        target = node[order[groups[group]]]
        remaining = 0
        for k in range(groups[group], groups[group + 1]):
            begin = np.int64(start[order[k]])
            if begin >= 0:
                if s.setting_off[begin] == NOBODY:
                    s.setting_off[begin] = WANTED
                    s.missing[begin] += 1
                    remaining += 1
            elif not s.wanted[-1 - begin]:
                s.wanted[-1 - begin] = 1
                remaining += 1
        n_reached, n_settled = tree(chart, cost, target, remaining, s)
        now = used
        for k in range(n_settled - 1, -1, -1):
            begin = np.int64(s.settled[k])
            link = np.int64(s.setting_off[begin]) if begin >= 0 else -1 - begin
            if s.place[link] < 0:
                now = _write(chart, link, path, now, s)
                if now < 0:
                    break
        for k in range(groups[group], groups[group + 1]):
            row = order[k]
            begin = np.int64(start[row])
            link = np.int64(s.setting_off[begin]) if begin >= 0 else -1 - begin
            first[row], step[row], total[row] = -1, 0, math.inf
            if now < 0 or link < 0 or s.choice[link] == UNSEEN:
                continue
            first[row], step[row], total[row] = link, s.place[link], s.distance[link]
            if begin < 0:
                total[row] = s.distance[chart.movement_to[s.choice[link]]] if s.choice[link] >= 0 else 0.0
        clear(chart, target, n_reached, s)
        for k in range(groups[group], groups[group + 1]):
            begin = np.int64(start[order[k]])
            if begin >= 0:
                s.setting_off[begin] = NOBODY
                s.missing[begin] = chart.in_start[begin + 1] - chart.in_start[begin]
            else:
                s.wanted[-1 - begin] = 0
        if now < 0:
            return group, used
        used = now
    return end, used


@njit(**OPTIONS)
def _sort(node: Int, count: Long, order: Long) -> int:
    """Sort requests by node into ``order``, and end each node's in ``count``; return how many nodes there are."""
    for k in range(len(node)):
        count[node[k] + 1] += 1
    found = 0
    for k in range(1, len(count)):
        found += count[k] > 0
        count[k] += count[k - 1]
    for k in range(len(node)):
        order[count[node[k]]] = k
        count[node[k]] += 1
    return found


def by_destination(node: Int, n_nodes: int) -> tuple[Long, Long]:
    """Return requests sorted by destination, those of each in the order given, and where each destination begins."""
    count, order = np.zeros(n_nodes + 1, np.int64), np.empty(len(node), np.int64)
    _sort(node, count, order)
    return order, np.unique(np.concatenate([np.zeros(1, np.int64), count]))


def shares(groups: Long, threads: int) -> Long:
    """Return where to cut ``groups`` into tasks of about equal work: so much per tree, so much per request."""
    work = groups + (groups[-1] // len(groups) + 1) * np.arange(len(groups))
    n = min(len(groups) - 1, TASKS_PER_THREAD * threads)
    cuts = np.searchsorted(work, np.linspace(0, work[-1], n + 1))
    return np.unique(np.concatenate([[0], cuts, [len(groups) - 1]]))


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
    step: Long
    total: Float
    path: Int
    used: int


def plan_routes(chart: Map, cost: Float, start: Int, node: Int, path: Int, used: int, *, threads: int = 1) -> Routes:
    """Return the cheapest routes from ``start`` (node, or -1 - link under way) to ``node``, behind ``path[:used]``.

    The same bytes on any number of threads: each destination is one tree, and the paths stand in the store in order of
    destination.
    """
    n = len(start)
    first, step, total = np.empty(n, np.int32), np.empty(n, np.int64), np.empty(n)
    if not n:
        return Routes(first, step, total, path, used)
    start, node = np.ascontiguousarray(start, np.int32), np.ascontiguousarray(node, np.int32)
    cost = np.ascontiguousarray(cost, np.float64)
    order, groups = by_destination(node, len(chart.in_start) - 1)
    cuts = shares(groups, threads if n > FEW else 1)
    idle: list[Scratch] = []

    def work(task: int) -> Int:
        s = idle.pop() if idle else scratch(chart)
        done, end, filled = int(cuts[task]), int(cuts[task + 1]), 0
        chunk = np.empty(1024 + 16 * int(groups[end] - groups[done]), np.int32)
        while True:
            done, filled = _plan(
                chart, cost, start, node, order, groups, done, end, first, step, total, chunk, filled, s
            )
            if done == end:
                break
            chunk = np.concatenate([chunk, np.empty(len(chunk) + len(cost), np.int32)])
        idle.append(s)
        return chunk[:filled]

    chunks = in_order(work, len(cuts) - 1, threads if n > FEW else 1)
    begins = used + np.concatenate([[0], np.cumsum([len(chunk) for chunk in chunks])])
    end = int(begins[-1])
    if end > len(path):
        path = np.concatenate([path, np.full(max(end - len(path), len(path)), -1, np.int32)])
    for chunk, begin in zip(chunks, begins.tolist(), strict=False):
        path[begin : begin + len(chunk)] = chunk
    step[order] += np.repeat(begins[:-1], np.diff(groups[cuts]))
    step[first < 0] = 0
    return Routes(first, step, total, path, end)
