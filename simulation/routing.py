"""The cheapest routes of those who ask: sorted by destination, shared out among threads, written behind each other."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulation.engine_kernel import kernel
from simulation.engine_tree import Map, Scratch, plan, scratch
from simulation.threads import in_order
from twin.compiled import Float, Int

Long = npt.NDArray[np.int64]

CLOSED_S = 1e9  # cost of a closed link: taken only where there is no other way, and then waited for
TASKS_PER_THREAD = 8  # so that none waits long for the last
REQUESTS_PER_TASK = 1000  # fewer are not worth a call
LITTLE = 20_000  # looks at a link: not worth a second thread


@kernel
def _sort(chart: Map, start: Int, node: Int, begin: Int, target: Int, count: Long, order: Long) -> None:
    """Translate requests to the map and sort them by destination into ``order``, which ``count`` says the ends of."""
    for k in range(len(node)):
        begin[k] = chart.rank[start[k]] if start[k] >= 0 else -1 - chart.place[-1 - start[k]]
        target[k] = chart.rank[node[k]]
        count[target[k] + 1] += 1
    for k in range(1, len(count)):
        count[k] += count[k - 1]
    for k in range(len(node)):
        order[count[target[k]]] = k
        count[target[k]] += 1


class Requests(NamedTuple):
    """Who wants to go where, on the map; the rows of destination g are ``order[groups[g]:groups[g + 1]]``."""

    begin: Int
    target: Int
    order: Long
    groups: Long


def by_destination(chart: Map, start: Int, node: Int) -> Requests:
    """Return requests from ``start`` (node, or -1 - link under way) to ``node``, sorted by destination."""
    n = len(start)
    begin, target = np.empty(n, np.int32), np.empty(n, np.int32)
    count, order = np.zeros(len(chart.rank) + 1, np.int64), np.empty(n, np.int64)
    start, node = np.ascontiguousarray(start, np.int32), np.ascontiguousarray(node, np.int32)
    _sort(chart, start, node, begin, target, count, order)
    ends = count[np.flatnonzero(np.diff(count, prepend=0))]
    return Requests(begin, target, order, np.concatenate([np.zeros(1, np.int64), ends]))


@kernel
def _move_steps(order: Long, first_row: int, end_row: int, by: int, first: Int, step: Long) -> None:
    for k in range(first_row, end_row):
        if first[order[k]] >= 0:
            step[order[k]] += by


def shares(groups: Long, threads: int) -> Long:
    """Return where to cut ``groups`` into tasks of about equal work: so much per tree, so much per request."""
    if threads == 1:
        return np.array([0, len(groups) - 1])
    work = groups + (groups[-1] // len(groups) + 1) * np.arange(len(groups))
    n = max(threads, min(TASKS_PER_THREAD * threads, int(groups[-1]) // REQUESTS_PER_TASK))
    n = min(len(groups) - 1, n)
    cuts = np.searchsorted(work, np.linspace(0, work[-1], n + 1))
    return np.unique(np.concatenate([[0], cuts, [len(groups) - 1]]))


def lengthened(path: Int, n: int) -> Int:
    """Return a copy of a store with room for ``n`` cells at least, twice as long; zeros cost nothing until used."""
    longer = np.zeros(max(n, 2 * len(path)), np.int32)
    longer[: len(path)] = path
    return longer


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
    cost = np.ascontiguousarray(cost, np.float64)
    begin, target, order, groups = by_destination(chart, start, node)
    if (len(groups) - 1) * len(cost) < LITTLE:
        threads = 1
    cuts = shares(groups, threads)
    idle: list[Scratch] = []
    per_request = [2.0]  # cells of path; a guess of what is needed, which nothing but speed depends on

    def work(task: int) -> Int:
        s = idle.pop() if idle else scratch(chart, cost)
        done, end, filled = int(cuts[task]), int(cuts[task + 1]), 0
        n_requests = int(groups[end] - groups[done])
        chunk = np.empty(1024 + int(per_request[0] * n_requests), np.int32)
        while True:
            done, filled = plan(chart, begin, target, order, groups, done, end, first, step, total, chunk, filled, s)
            if done == end:
                break
            more = len(chunk) + len(cost)
            if filled:
                more = max(more, int(1.3 * filled / (groups[done] - groups[cuts[task]]) * n_requests) - len(chunk))
            chunk = np.concatenate([chunk, np.empty(more, np.int32)])
        per_request[0] = max(per_request[0], 1.3 * filled / n_requests)
        idle.append(s)
        return chunk[:filled]

    chunks = in_order(work, len(cuts) - 1, threads)
    begins = used + np.concatenate([[0], np.cumsum([len(chunk) for chunk in chunks])])
    end = int(begins[-1])
    if end > len(path):
        path = lengthened(path, end)
    for chunk, place in zip(chunks, begins.tolist(), strict=False):
        path[place : place + len(chunk)] = chunk
    for task, by in enumerate(begins[:-1].tolist()):
        _move_steps(order, int(groups[cuts[task]]), int(groups[cuts[task + 1]]), by, first, step)
    return Routes(first, step, total, path, end)
