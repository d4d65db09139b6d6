"""What falls with each asset alone, compiled by numba; `twin.asset_arrays` says what the arrays hold.

``graph`` is `AssetArrays.columns`. A battery delays a fall and does not prevent it, but where ``at_once`` is set.
"""

from typing import Any

import numba
import numpy as np

from twin.asset_arrays import Bool, Float, Int
from twin.asset_passes import spread, supplied

NOTHING = 36.7  # what is less likely by so much in its logarithm is lost in the rounding (2 ** -53) of the other


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def scratch(n_states: int, n_groups: int) -> tuple[Int, Int, Int, Int, Int, Bool]:
    """Return what `fall` works on: stack, suspects, dead, hit, count and fed."""
    return (
        np.empty(n_states, np.int32), np.empty(n_states, np.int32), np.full(n_states, -1, np.int32),
        np.full(n_groups, -1, np.int32), np.zeros(n_groups, np.int32), np.zeros(n_states, np.bool_),
    )  # fmt: skip


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def fall(asset: int, at_once: bool, within: Bool, work: Any, graph: Any) -> int:
    """Put the states that are lost with an asset onto the stack and return how many; ``dead`` marks them with it.

    Only the states of ``within`` (2 n,) are looked at, which must hold all that they need themselves; all if it is
    empty.
    """
    stack, suspect, dead, hit, count, _ = work
    _, start, _, _, used_start, used_owner, used_group, used_ring, used_autonomy, _, _, _ = graph
    stack[0], dead[asset], fallen, done, suspects = asset, asset, 1, 0, 0
    while True:
        while done < fallen:
            v = stack[done]
            done += 1
            for k in range(used_start[v], used_start[v + 1]):
                of = used_owner[k]
                if dead[of] == asset or (len(within) and not within[of]):
                    continue
                ring = used_ring[k]
                # A circle that has lost a supply, and may have been left to itself.
                if ring >= 0 and suspects < len(suspect) and (suspects == 0 or suspect[suspects - 1] != ring):
                    suspect[suspects] = ring
                    suspects += 1
                if at_once and used_autonomy[k] > 0:
                    continue
                g = used_group[k]
                if g >= 0:
                    if hit[g] != asset:
                        hit[g], count[g] = asset, 0
                    count[g] += 1
                    if count[g] < start[g + 1] - start[g]:
                        continue
                dead[of] = asset
                stack[fallen] = of
                fallen += 1
        if suspects == 0:
            return fallen
        suspects -= 1
        fallen = _unfed(suspect[suspects], asset, fallen, at_once, work, graph)


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _unfed(ring: int, asset: int, fallen: int, at_once: bool, work: Any, graph: Any) -> int:
    """Put the states of a circle that nobody outside feeds any more onto the stack.

    With ``at_once`` those stay that have a battery of their own; it feeds nobody else in the circle.
    """
    stack, _, dead, _, _, fed = work
    group_of, start, member, autonomy, _, _, _, _, _, order, part_start, part = graph
    states = order[part_start[ring] : part_start[ring + 1]]
    for v in states:
        fed[v] = False
    changed = True
    while changed:
        changed = False
        for v in states:
            if not fed[v] and dead[v] != asset:
                fed[v] = supplied(v, fed, dead, asset, False, group_of, start, member, autonomy, part)
                changed = changed or fed[v]
    for v in states:
        if fed[v] or dead[v] == asset:
            continue
        if not supplied(v, fed, dead, asset, at_once, group_of, start, member, autonomy, part):
            dead[v] = asset
            stack[fallen] = v
            fallen += 1
    return fallen


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _carries(asset: int, n: int, used_start: Int) -> bool:
    """Return whether any asset needs this one: more than it itself to be heard."""
    lone = used_start[asset + 1] - used_start[asset] == 1 and used_start[n + asset + 1] == used_start[n + asset]
    return not lone


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def count_falls(weight: Float, graph: Any) -> tuple[Int, Int, Float]:
    """Return for each asset how many others it takes along, how many it silences, and the weight of both."""
    n = len(weight)
    lost, unheard, worth = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n)
    work, everywhere = scratch(2 * n, len(graph[1]) - 1), np.zeros(0, np.bool_)
    for asset in range(n):
        if not _carries(asset, n, graph[4]):
            continue
        fallen = fall(asset, False, everywhere, work, graph)
        for v in work[0][1:fallen]:
            if v < n:
                lost[asset] += 1
            elif v != n + asset:
                unheard[asset] += 1
                worth[asset] += weight[v - n]
    return lost, unheard - lost, worth


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def above(dark: Bool, member_start: Int, member: Int) -> Bool:
    """Return (2 n,) the states that some of the dark assets have or need, directly or not, to work or to be heard.

    Parameters
    ----------
    dark : (n,)
    member_start : (2 n + 1,)
        Members of all groups of a state: from ``member_start[state]`` until ``member_start[state + 1]``.
    member : (n_members,) states
    """
    n = len(dark)
    seen, stack, height = np.zeros(2 * n, np.bool_), np.empty(2 * n, np.int64), 0
    for i in range(n):
        if dark[i]:
            stack[height], seen[n + i] = n + i, True
            height += 1
    spread(stack, seen, height, member_start, member)
    return seen


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def explained_by(maybe: Int, dark: Bool, within: Bool, rarity: Float, graph: Any) -> tuple[Int, Float]:
    """Return what the failure of each of some assets would explain.

    Parameters
    ----------
    maybe
        Assets that may have failed.
    dark : (n,)
        What is known not to work or not to be heard.
    within : (2 n,)
        The states `above` these.
    rarity : (n,)
        Of each asset, summed over what is explained.

    Returns
    -------
    explained : (len(maybe),)
        How many of the dark ones go dark with it, it included.
    saved : (len(maybe),)
        Sum of the rarity of these.
    """
    n = len(dark)
    explained, saved = np.zeros(len(maybe), np.int64), np.zeros(len(maybe))
    work = scratch(2 * n, len(graph[1]) - 1)
    for k, asset in enumerate(maybe):
        if dark[asset]:
            explained[k], saved[k] = 1, rarity[asset]
        if _carries(asset, n, graph[4]):
            for v in work[0][: fall(asset, False, within, work, graph)]:
                i = v - n  # who does not work is not heard
                if i >= 0 and i != asset and dark[i]:
                    explained[k] += 1
                    saved[k] += rarity[i]
    return explained, saved


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def weigh(
    maybe: Int, bound: Float, best: float, dark: Bool, works: Bool, watched: Bool, odd: float, graph: Any
) -> Float:
    """Return the logarithm of how likely each cause is: its bound less what speaks against it.

    A cause that is nothing beside the best one may stay minus infinity: most are not looked at.

    Parameters
    ----------
    maybe
        Assets that may have failed, those with the highest bound first.
    bound : (len(maybe),)
        The logarithm with nothing against it.
    best
        Of another explanation; minus infinity without one.
    dark, works, watched : (n,)
        What is known not to work or to work; of what it would be known.
    odd
        Logarithm of how likely an asset works though it should be dark.
    """
    n = len(dark)
    result = np.full(len(maybe), -np.inf)
    work, everywhere = scratch(2 * n, len(graph[1]) - 1), np.zeros(0, np.bool_)
    n_dark = np.count_nonzero(dark)
    for k, asset in enumerate(maybe):
        if bound[k] < best - NOTHING:
            break
        wrong, untold = 0, 0
        for v in work[0][: fall(asset, True, everywhere, work, graph)]:
            i = v - n
            if i >= 0 and not dark[i]:
                wrong += works[i]
                untold += watched[i] and not works[i]
        result[k] = bound[k] + odd * wrong + n_dark * np.log(n_dark / (n_dark + untold))
        best = max(best, result[k])
    return result
