"""Kernels on recorded link times: what vehicles met, and the ways that would have been the fastest.

Times are given at the middles of steps and run straight between them. They never fall faster than the clock runs, so
who enters a link later leaves it later, and the search for the earliest arrival needs to reach each link only once.

Notes
-----
Source: Newell (1993), A simplified theory of kinematic waves; Kaufman and Smith (1993), Fastest paths in time-dependent
networks for intelligent vehicle-highway systems application, IVHS Journal 1(1).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from simulation.engine_kernel import inner, kernel
from simulation.engine_tree import LARGEST, pop, push
from simulation.street import Long, whole
from twin.compiled import Float, Int


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_of_exits(count: Long, total: Float, link: int, n: int, row: int, start: float, step: float) -> float:
    """Return the sum of the first ``n`` times of exit; ``row`` is the step in which the n-th happens.

    Within a step only number and sum are known: the exits are laid evenly around their mean, as wide as the step lets.
    """
    before = count[row, link]
    inside = count[row + 1, link] - before
    done = total[row, link]
    if n > before:
        mean = (total[row + 1, link] - done) / inside
        begin = start + row * step
        spacing = max(0.0, min(step, 2.0 * (mean - begin), 2.0 * (begin + step - mean))) / inside
        m = n - before
        done += m * mean + spacing * (0.5 * m * (m + 1) - 0.5 * m * (inside + 1))
    return float(done)


@njit(cache=True, nogil=True, error_model="numpy")
def measured_times(
    entered: Long,
    entered_sum: Float,
    left: Long,
    left_sum: Float,
    closed: np.ndarray,
    free: Float,
    headway: Float,
    start: float,
    step: float,
) -> Float:
    """Return the time that vehicles which entered in each step took, (n_steps, n_links), s.

    By the curves of those that had entered and left (samples, links): in a link they leave in the order in which they
    came. Where nobody came, the time of one that had come in the middle of the step; on a closed link one waits first.
    """
    n_steps, n_links = len(entered) - 1, entered.shape[1]
    end = start + n_steps * step
    time = np.empty((n_steps, n_links))
    for link in range(n_links):
        row = 0
        all_left = left[n_steps, link]
        for k in range(n_steps):
            first, last = entered[k, link], entered[k + 1, link]
            middle = start + (k + 0.5) * step
            if last > first:
                n_out = min(last, all_left)
                exits = 0.0
                if first < all_left:
                    while left[row + 1, link] < first:
                        row += 1
                    until = row
                    while left[until + 1, link] < n_out:
                        until += 1
                    exits = _sum_of_exits(left, left_sum, link, n_out, until, start, step)
                    exits -= _sum_of_exits(left, left_sum, link, first, row, start, step)
                for n in range(max(first, all_left), last):  # still on the link at the end: at capacity from then on
                    exits += end + (n - all_left + 1) * headway[link]
                entries = entered_sum[k + 1, link] - entered_sum[k, link]
                time[k, link] = max(free[link], (exits - entries) / (last - first))
                continue
            behind = 0.0
            if first > 0 and first <= all_left:  # behind the last one before
                until = row
                while left[until + 1, link] < first:
                    until += 1
                behind = _sum_of_exits(left, left_sum, link, first, until, start, step)
                until = row
                while left[until + 1, link] < first - 1:
                    until += 1
                behind -= _sum_of_exits(left, left_sum, link, first - 1, until, start, step)
            elif first > all_left:
                behind = end + (first - all_left) * headway[link]
            time[k, link] = max(free[link], behind - middle)
        for k in range(n_steps - 1, -1, -1):
            if closed[k, link]:
                later = time[k + 1, link] if k + 1 < n_steps else 1e9
                time[k, link] = max(time[k, link], later + step)
    return time


@kernel
def keep_order(time: Float, step: float) -> None:
    """Raise times so that nobody who comes later is through earlier."""
    for k in range(1, len(time)):
        for link in range(time.shape[1]):
            time[k, link] = max(time[k, link], time[k - 1, link] - step)


@inner
def time_at(time: Float, start: float, step: float, link: int, at: float) -> float:
    """Return the time of a link for one who comes ``at`` (s of the run)."""
    k = (at - start) / step - 0.5
    if k <= 0.0:
        return float(time[0, link])
    before = whole(k)
    if before >= len(time) - 1:
        return float(time[len(time) - 1, link])
    return float(time[before, link] + (k - before) * (time[before + 1, link] - time[before, link]))


@kernel
def arrivals(
    time: Float,
    wait: Float,
    start: float,
    step: float,
    route_start: Long,
    route_link: Int,
    depart: Float,
    arrive: Float,
) -> None:
    """Set when those who leave at ``depart`` arrive on their routes."""
    for k in range(len(depart)):
        now = depart[k]
        for cell in range(route_start[k], route_start[k + 1]):
            link = whole(route_link[cell])
            if cell == route_start[k]:
                now += time_at(wait, start, step, link, now)
            now += time_at(time, start, step, link, now)
        arrive[k] = now


@kernel
def along(
    time: Float,
    wait: Float,
    start: float,
    step: float,
    movement_to: Int,
    path: Int,
    first: Int,
    place: Long,
    depart: float,
    total: Float,
) -> None:
    """Set how long those who leave at ``depart`` are on the way along paths given as movements."""
    for k in range(len(first)):
        if first[k] < 0:
            continue
        link, cell = whole(first[k]), place[k]
        now = depart + time_at(wait, start, step, link, depart)
        now += time_at(time, start, step, link, now)
        while path[cell] >= 0:
            link = whole(movement_to[path[cell]])
            now += time_at(time, start, step, link, now)
            cell += 1
        total[k] = now - depart


class Search(NamedTuple):
    """What one thread needs for a search, by link or node of the network."""

    exit: Float  # when one is through each link that was reached
    before: Int  # the link before, -1: the first
    seen: Int  # search in which a link was reached
    last: Int  # link by which a node was reached first
    wanted: Int  # search in which somebody wants to a node
    heap: Long


def search(n_links: int, n_nodes: int) -> Search:
    """Return what one thread needs."""
    return Search(
        exit=np.zeros(n_links),
        before=np.full(n_links, -1, np.int32),
        seen=np.full(n_links, -1, np.int32),
        last=np.full(n_nodes, -1, np.int32),
        wanted=np.full(n_nodes, -1, np.int32),
        heap=np.full(n_links + 4, LARGEST),
    )


@kernel
def fastest(
    time: Float,
    wait: Float,
    start: float,
    step: float,
    out_start: Int,
    out_link: Int,
    to_node: Int,
    movement_start: Int,
    movement_to: Int,
    open_movement: np.ndarray,
    origin: Int,
    depart: Float,
    destination: Int,
    groups: Long,
    done: int,
    end: int,
    length: Long,
    path: Int,
    used: int,
    s: Search,
) -> tuple[int, int]:
    """Write the fastest routes of the groups ``done:end``; return how far it came before ``path`` was full, and used.

    A group are requests ``groups[g]:groups[g + 1]`` of one origin and one time. ``length`` is set to 0 without a path.
    """
    mask = np.int64(1)
    while mask < time.shape[1]:
        mask <<= 1
    mask -= 1
    for group in range(done, end):
        first, last = groups[group], groups[group + 1]
        remaining = 0
        for k in range(first, last):
            if s.wanted[destination[k]] != group:
                s.wanted[destination[k]] = group
                s.last[destination[k]] = -1
                remaining += 1
        n, now = 0, depart[first]
        for k in range(out_start[origin[first]], out_start[origin[first] + 1]):
            link = whole(out_link[k])
            enter = now + time_at(wait, start, step, link, now)
            s.exit[link] = enter + time_at(time, start, step, link, enter)
            s.before[link], s.seen[link] = -1, group
            n = push(s.heap, n, (np.float64(s.exit[link] - now).view(np.int64) & ~mask) | link)
        while n > 0 and remaining > 0:
            link = s.heap[0] & mask
            n = pop(s.heap, n)
            node = to_node[link]
            if s.wanted[node] == group and s.last[node] < 0:
                s.last[node] = link
                remaining -= 1
            for movement in range(movement_start[link], movement_start[link + 1]):
                after = whole(movement_to[movement])
                if s.seen[after] == group or not open_movement[movement]:
                    continue
                s.exit[after] = s.exit[link] + time_at(time, start, step, after, s.exit[link])
                s.before[after], s.seen[after] = link, group
                n = push(s.heap, n, (np.float64(s.exit[after] - now).view(np.int64) & ~mask) | after)
        for k in range(n):
            s.heap[k] = LARGEST
        begin = used
        for k in range(first, last):
            length[k] = 0
            link = whole(s.last[destination[k]])
            while link >= 0:
                length[k] += 1
                link = whole(s.before[link])
            if used + length[k] > len(path):
                return group, begin
            link = whole(s.last[destination[k]])
            for j in range(length[k]):
                path[used + length[k] - 1 - j] = link
                link = whole(s.before[link])
            used += length[k]
    return end, used
