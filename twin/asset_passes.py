"""Circles, and when each state is lost, compiled by numba; `twin.asset_arrays` says what the arrays hold."""

import numba
import numpy as np

from twin.asset_arrays import Bool, Float, Int


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def parts_of(start: Int, member: Int) -> tuple[Int, Int, Int]:
    """Return the states so that what one needs comes before it, the parts of that order, and the part of each.

    Source: Tarjan (1972), Depth-first search and linear graph algorithms, doi:10.1137/0201010, without recursion.
    """
    n = len(start) - 1
    order, part_start, part = np.empty(n, np.int64), np.empty(n + 1, np.int64), np.full(n, -1, np.int64)
    seen, low, at = np.full(n, -1, np.int64), np.zeros(n, np.int64), start[:-1].copy()
    path, waiting = np.empty(n, np.int64), np.empty(n, np.int64)
    depth, height, number, placed, parts = 0, 0, 0, 0, 0
    for root in range(n):
        if seen[root] >= 0:
            continue
        path[0], depth = root, 1
        while depth:
            v = path[depth - 1]
            if seen[v] < 0:
                seen[v] = low[v] = number
                number += 1
                waiting[height] = v
                height += 1
            if at[v] < start[v + 1]:
                w = member[at[v]]
                at[v] += 1
                if seen[w] < 0:
                    path[depth] = w
                    depth += 1
                elif part[w] < 0:
                    low[v] = min(low[v], seen[w])
                continue
            depth -= 1
            if depth:
                low[path[depth - 1]] = min(low[path[depth - 1]], low[v])
            if low[v] == seen[v]:
                part_start[parts] = placed
                while True:
                    height -= 1
                    w = waiting[height]
                    part[w] = parts
                    order[placed] = w
                    placed += 1
                    if w == v:
                        break
                parts += 1
    part_start[parts] = placed
    return order, part_start[: parts + 1].copy(), part


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def founded_parts(
    group_of: Int, start: Int, member: Int, autonomy: Float, order: Int, part_start: Int, part: Int
) -> Bool:
    """Return the parts of several states that could have started from what they need from outside."""
    n_parts = len(part_start) - 1
    founded, alive, dead = np.zeros(n_parts, np.bool_), np.zeros(len(order), np.bool_), np.full(len(order), -1)
    for k in range(n_parts):
        first, end = part_start[k], part_start[k + 1]
        if end - first > 1:
            started, changed = 0, True
            while changed:
                changed = False
                for v in order[first:end]:
                    if not alive[v] and supplied(v, alive, dead, 0, False, group_of, start, member, autonomy, part):
                        alive[v] = changed = True
                        started += 1
            founded[k] = started == end - first
    return founded


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def supplied(
    v: int, alive: Bool, dead: Int, asset: int, battery: bool, group_of: Int, start: Int, member: Int, autonomy: Float,
    part: Int,
) -> bool:  # fmt: skip
    """Return whether each group of a state has a member that is not dead with an asset, and feeds it.

    A member outside of the state's part does, one inside if it is alive; with ``battery`` one that a battery bridges.
    """
    for g in range(group_of[v], group_of[v + 1]):
        enough = False
        for m in range(start[g], start[g + 1]):
            w = member[m]
            if (dead[w] != asset and (part[w] != part[v] or alive[w])) or (battery and autonomy[m] > 0):
                enough = True
                break
        if not enough:
            return False
    return True


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _first_loss(
    v: int, alone: Float, bridge: bool, time: Float, group_of: Int, start: Int, member: Int, autonomy: Float, part: Int
) -> tuple[float, int]:
    """Return when a state is lost as its members are, and by which; without ``bridge`` no battery counts."""
    first, cause = alone[v], -1
    for g in range(group_of[v], group_of[v + 1]):
        last, by = -np.inf, -1
        for m in range(start[g], start[g + 1]):
            inside = part[member[m]] == part[v]
            t = time[member[m]] + (autonomy[m] if bridge else 0.0)
            if t > last or (t == last and not inside):  # of two at once the one that is not in the same circle
                last, by = t, m
        if last < first:
            first, cause = last, by
    return first, cause


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def spread(stack: Int, seen: Bool, height: int, start: Int, to: Int) -> int:
    """Put on a stack all that is reached from what lies on it, over the rows of a sparse matrix; return its height."""
    done = 0
    while done < height:
        v = stack[done]
        done += 1
        for k in range(start[v], start[v + 1]):
            w = to[k]
            if not seen[w]:
                stack[height], seen[w] = w, True
                height += 1
    return height


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def times_lost(
    alone: Float, group_of: Int, start: Int, member: Int, autonomy: Float, used_start: Int, used_owner: Int,
    order: Int, part_start: Int, part: Int, founded: Bool,
) -> tuple[Float, Int]:  # fmt: skip
    """Return when each state is lost, and the member of a group that was lost last, -1 for none."""
    time, cause = alone.copy(), np.full(len(alone), -1, np.int64)
    # Only what needs something that failed, directly or not, can be lost.
    stack, seen, height = np.empty(len(alone), np.int64), np.zeros(len(alone), np.bool_), 0
    for v in range(len(alone)):
        if alone[v] < np.inf:
            stack[height], seen[v] = v, True
            height += 1
    height = spread(stack, seen, height, used_start, used_owner)
    for k in np.unique(part[stack[:height]]):
        first, end = part_start[k], part_start[k + 1]
        if founded[k]:  # from below: nothing is alive by what it feeds itself
            time[order[first:end]] = -np.inf
        if end - first > 1:
            changed = True
            while changed:
                changed = False
                for v in order[first:end]:
                    t, by = _first_loss(v, alone, not founded[k], time, group_of, start, member, autonomy, part)
                    if t != time[v]:
                        time[v], changed = t, True
                    cause[v] = by
        if founded[k]:  # the batteries, once
            fed = time[order[first:end]].copy()
            for i, v in enumerate(order[first:end]):
                fed[i], cause[v] = _first_loss(v, alone, True, time, group_of, start, member, autonomy, part)
            time[order[first:end]] = fed
        elif end - first == 1:
            v = order[first]
            time[v], cause[v] = _first_loss(v, alone, True, time, group_of, start, member, autonomy, part)
    return time, cause


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def reached(i: int, start: Int, to: Int) -> Int:
    """Return what is reached from a position over the rows of a sparse matrix, in no order, without itself."""
    n = len(start) - 1
    seen, stack = np.zeros(n, np.bool_), np.empty(n, np.int64)
    stack[0], seen[i] = i, True
    return stack[1 : spread(stack, seen, 1, start, to)].copy()
