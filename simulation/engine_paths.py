"""The k cheapest paths of each pair of nodes.

Paths pass no node twice, unless forbidden turns leave no cheaper way round. Each found path is split at every one of
its nodes into those that follow it so far and then turn off; the cheapest of those is found with the tree of the
destination as a guide: mostly the tree itself is the way.

Notes
-----
Source: Yen (1971), Finding the k shortest loopless paths in a network, Management Science 17(11); Lawler (1972), A
procedure for computing the k best solutions to discrete optimization problems, Management Science 18(7); the guide:
Hart, Nilsson and Raphael (1968), A formal basis for the heuristic determination of minimum cost paths.
"""

import math
from typing import NamedTuple

import numpy as np

from simulation.engine_kernel import inner, kernel, part_of_kernel
from simulation.engine_tree import (
    BITS,
    ENDS,
    LARGEST,
    Map,
    Scratch,
    clear,
    is_reached,
    movement_between,
    pop,
    push,
    scratch,
    tree,
)
from simulation.routing import Requests, by_destination, lengthened, shares
from simulation.street import Long, whole
from simulation.threads import in_order
from twin.compiled import Float, Int

FREE, CANDIDATE, FOUND = 0, 1, 2


class Work(NamedTuple):
    """What one thread needs for the paths of a pair; a row of ``cells`` holds the places of the links of one path."""

    cells: Int
    state: Long
    length: Long
    turn: Long  # number of links that a path shares with the one that it was split from
    total: Float
    on_way: Int  # search in which a node was on the common part
    seen: Int  # search in which a link was reached
    closed: Int  # search in which a link was left
    number: Long  # of the search
    so_far: Float
    from_place: Int
    heap: Long


def _work(chart: Map, k: int) -> Work:
    n_links, n_nodes = len(chart.from_node), len(chart.rank)
    return Work(
        cells=np.empty((2 * k, n_links + 1), np.int32),
        state=np.zeros(2 * k, np.int64),
        length=np.zeros(2 * k, np.int64),
        turn=np.zeros(2 * k, np.int64),
        total=np.zeros(2 * k),
        on_way=np.zeros(n_nodes, np.int32),
        seen=np.zeros(n_links, np.int32),
        closed=np.zeros(n_links, np.int32),
        number=np.zeros(1, np.int64),
        so_far=np.zeros(n_links),
        from_place=np.zeros(n_links, np.int32),
        heap=np.full(n_links + len(chart.movement_to) + 4, LARGEST),
    )


@inner
def _leads(chart: Map, before: int, after: int) -> bool:
    """Return whether the link at place ``before`` leads into the one at ``after``."""
    node = chart.end_node[before]
    if chart.from_node[after] != node:
        return False
    number = before - chart.in_start[node]
    return bool((chart.led[chart.led_start[after] + number // BITS] >> (number % BITS)) & 1)


@part_of_kernel
def _is_clear(chart: Map, place: int, s: Scratch, w: Work) -> bool:
    """Return whether the tree's way from a link on passes none of the nodes of the common part."""
    while True:
        if w.on_way[chart.end_node[place]] == w.number[0]:
            return False
        if s.link[place].next == ENDS:
            return True
        place = whole(s.link[place].next)


@part_of_kernel
def _turn_off(chart: Map, cost: Float, path: int, turn: int, start: int, mask: int, s: Scratch, w: Work) -> int:
    """Find the cheapest path that follows ``path`` for ``turn`` links and then none of those found; return its row.

    -1 when there is none, or none cheap enough to be among the k.
    """
    w.number[0] += 1
    now = w.number[0]
    node, spent = start, 0.0
    for k in range(turn):
        w.on_way[node] = now
        node = whole(chart.end_node[w.cells[path, k]])
        spent += cost[w.cells[path, k]]
    w.on_way[node] = now
    n = 0
    for k in range(chart.out_start[node], chart.out_start[node + 1]):
        place = whole(chart.out_place[k])
        allowed = is_reached(chart, place, s) and w.on_way[chart.end_node[place]] != now
        if turn > 0 and allowed:
            allowed = _leads(chart, whole(w.cells[path, turn - 1]), place)
        for other in range(len(w.state)):
            if allowed and w.state[other] == FOUND and w.length[other] > turn and w.cells[other, turn] == place:
                same = True
                for j in range(turn):
                    same = same and w.cells[other, j] == w.cells[path, j]
                allowed = not same
        if allowed:
            w.seen[place], w.so_far[place], w.from_place[place] = now, 0.0, -1
            n = push(w.heap, n, (np.float64(s.link[place].distance).view(np.int64) & ~mask) | place)
    last = whole(-1)
    while n > 0:
        place = w.heap[0] & mask
        n = pop(w.heap, n)
        if w.closed[place] == now:
            continue
        w.closed[place] = now
        if _is_clear(chart, place, s, w):
            last = place
            break
        link = chart.link[place]
        for movement in range(chart.movement_start[link], chart.movement_start[link + 1]):
            after = whole(chart.place[chart.movement_to[movement]])
            if w.closed[after] == now or w.on_way[chart.end_node[after]] == now:
                continue
            if not _leads(chart, place, after) or not is_reached(chart, after, s):
                continue
            away = w.so_far[place] + cost[place]
            if w.seen[after] == now and w.so_far[after] <= away:
                continue
            w.seen[after], w.so_far[after], w.from_place[after] = now, away, place
            n = push(w.heap, n, (np.float64(away + s.link[after].distance).view(np.int64) & ~mask) | after)
    for k in range(n):
        w.heap[k] = LARGEST
    if last < 0:
        return -1
    total = spent + w.so_far[last] + s.link[last].distance
    row, worst, n_kept = whole(-1), whole(-1), 0
    for other in range(len(w.state)):
        if w.state[other] == FREE:
            row = whole(other) if row < 0 else row
        else:
            n_kept += 1
            if w.state[other] == CANDIDATE and (worst < 0 or w.total[other] > w.total[worst]):
                worst = whole(other)
    if 2 * n_kept >= len(w.state):  # there are k already, found or better than this
        if worst < 0 or w.total[worst] <= total:
            return -1
        row = worst
    length, place = turn, last
    while w.from_place[place] >= 0:
        length += 1
        place = whole(w.from_place[place])
    n_before, place = length - turn, last
    for k in range(turn):
        w.cells[row, k] = w.cells[path, k]
    for k in range(n_before + 1):
        w.cells[row, turn + n_before - k] = place
        place = whole(w.from_place[place])
    length, place = turn + n_before + 1, last
    while s.link[place].next != ENDS:
        place = whole(s.link[place].next)
        w.cells[row, length] = place
        length += 1
    w.state[row], w.length[row], w.turn[row], w.total[row] = CANDIDATE, length, turn, total
    return int(row)


@part_of_kernel
def _paths(chart: Map, cost: Float, start: int, k: int, s: Scratch, w: Work, order: Long) -> int:
    """Fill ``w`` with the k cheapest paths from ``start`` to the tree's node; return how many, ``order`` their rows."""
    mask = np.int64(1)
    while mask < len(cost):
        mask <<= 1
    mask -= 1
    for row in range(len(w.state)):
        w.state[row] = FREE
    _turn_off(chart, cost, 0, 0, start, mask, s, w)
    n = 0
    while n < k:
        best = whole(-1)
        for row in range(len(w.state)):
            if w.state[row] == CANDIDATE and (best < 0 or w.total[row] < w.total[best]):
                best = whole(row)
        if best < 0:
            break
        w.state[best] = FOUND
        order[n] = best
        n += 1
        if n < k:
            for turn in range(w.turn[best], w.length[best]):
                _turn_off(chart, cost, best, whole(turn), start, mask, s, w)
    return n


@kernel
def _plan(
    chart: Map,
    cost: Float,
    q: Requests,
    k: int,
    done: int,
    end: int,
    first: Int,
    step: Long,
    total: Float,
    path: Int,
    used: int,
    s: Scratch,
    w: Work,
    order: Long,
) -> tuple[int, int]:
    """Plan the requests ``done:end`` in order of destination; return how far it came, and what of ``path`` is used.

    ``path`` must have room for k paths of the longest length at the start of each request; else it stops there.
    """
    target = whole(-1)
    for number in range(done, end):
        row = q.order[number]
        if target != q.target[row]:
            target = whole(q.target[row])
            clear(chart, s)
            tree(chart, target, len(chart.from_node) + len(chart.rank), True, s)
        n = _paths(chart, cost, whole(q.begin[row]), k, s, w, order)
        room = 0
        for j in range(n):
            room += w.length[order[j]]
        if used + room > len(path):
            clear(chart, s)
            return number, used
        for j in range(k):
            first[row, j], step[row, j], total[row, j] = -1, 0, math.inf
        for j in range(n):
            best = order[j]
            first[row, j], step[row, j], total[row, j] = chart.link[w.cells[best, 0]], used, w.total[best]
            for i in range(w.length[best] - 1):
                path[used] = movement_between(chart, chart.link[w.cells[best, i]], chart.link[w.cells[best, i + 1]])
                used += 1
            path[used] = ENDS
            used += 1
    clear(chart, s)
    return end, used


class Alternatives(NamedTuple):
    """The cheapest paths of each request, (n, k); ``first`` is -1 where there are no more. See `routing.Routes`."""

    first: Int
    step: Long
    total: Float
    path: Int
    used: int


def plan_alternatives(
    chart: Map, cost: Float, start: Int, node: Int, k: int, path: Int, used: int, *, threads: int = 1
) -> Alternatives:
    """Return the ``k`` cheapest paths from node ``start`` to ``node``, cheapest first, behind ``path[:used]``.

    The same bytes on any number of threads.
    """
    n = len(start)
    first, step, total = np.full((n, k), -1, np.int32), np.zeros((n, k), np.int64), np.full((n, k), math.inf)
    if not n:
        return Alternatives(first, step, total, path, used)
    cost = np.ascontiguousarray(cost, np.float64)
    at_place = cost[chart.link]
    q = by_destination(chart, start, node)
    cuts = q.groups[shares(q.groups, threads)]

    def work(task: int) -> Int:
        s, w, order = scratch(chart, cost), _work(chart, k), np.zeros(k, np.int64)
        done, end, filled = int(cuts[task]), int(cuts[task + 1]), 0
        chunk = np.empty(1024 + 16 * k * (end - done), np.int32)
        while True:
            done, filled = _plan(chart, at_place, q, k, done, end, first, step, total, chunk, filled, s, w, order)
            if done == end:
                return chunk[:filled]
            chunk = np.concatenate([chunk, np.empty(len(chunk) + k * len(cost), np.int32)])

    chunks = in_order(work, len(cuts) - 1, threads)
    begins = used + np.concatenate([[0], np.cumsum([len(chunk) for chunk in chunks])])
    end = int(begins[-1])
    if end > len(path):
        path = lengthened(path, end)
    for chunk, place in zip(chunks, begins.tolist(), strict=False):
        path[place : place + len(chunk)] = chunk
    step[q.order] += np.repeat(begins[:-1], np.diff(cuts))[:, None]
    step[first < 0] = 0
    return Alternatives(first, step, total, path, end)
