"""Fixed signal plans as green windows per movement, the form in which the engine evaluates them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from sensors import InputError
from twin.compiled import CompiledNetwork, Float, Int
from twin.signal import SignalPlan


@dataclass(frozen=True, slots=True)
class GreenTable:
    """Green windows of all movements; a node with ``cycle`` 0 has no signal.

    Parameters
    ----------
    cycle, offset : (n_nodes,) s
    start : (n_movements + 1,)
        Windows of movement ``m`` are rows ``start[m]:start[m + 1]``, in order of time.
    opens, closes : (n_windows,) s after the start of the cycle
    """

    cycle: Float
    offset: Float
    start: Int
    opens: Float
    closes: Float


def movement_rows(roads: CompiledNetwork) -> dict[tuple[str, str], int]:
    """Row of every allowed movement by (in-link id, out-link id)."""
    inlink = np.repeat(np.arange(roads.n_links), np.diff(roads.movement_start))
    ids = roads.link_ids
    pairs = zip(inlink.tolist(), roads.movement_out.tolist(), strict=True)
    return {(ids[i], ids[o]): row for row, (i, o) in enumerate(pairs)}


def faults_of(plan: SignalPlan, roads: CompiledNetwork, where: str, known: Mapping[tuple[str, str], int]) -> list[str]:
    """Return every fault of a plan as a sentence that begins with ``where``; ``known`` is `movement_rows`."""
    if plan.node_id not in roads.node_ids:
        return [f"{where}: node {plan.node_id!r} is not in the network"]
    faults = []
    if not 0 < plan.cycle_s < float("inf"):
        faults.append(f"{where}: cycle_s is {plan.cycle_s:g}, must be > 0")
    if not plan.stages:
        faults.append(f"{where}: has no stage, at least one [[signal.stage]] is needed")
    for number, stage in enumerate(plan.stages, 1):
        if not 0 < stage.green_s < float("inf"):
            faults.append(f"{where}: stage {number}: green_s is {stage.green_s:g}, must be > 0")
        if not 0 <= stage.intergreen_s < float("inf"):
            faults.append(f"{where}: stage {number}: intergreen_s is {stage.intergreen_s:g}, must be >= 0")
    used = sum(stage.green_s + stage.intergreen_s for stage in plan.stages)
    if used > plan.cycle_s + 1e-6:
        faults.append(f"{where}: its stages take {used:g} s, cycle_s is {plan.cycle_s:g}, must be at least as long")
    at_node = {roads.link_ids[i] for i in np.flatnonzero(roads.to_node == roads.node_ids.index(plan.node_id))}
    for number, stage in enumerate(plan.stages, 1):
        for pair in stage.movements:
            if pair not in known or pair[0] not in at_node:
                faults.append(
                    f"{where}: stage {number}: movement {list(pair)} is not an allowed movement of node {plan.node_id}"
                )
    return faults


def green_table(roads: CompiledNetwork, plans: Mapping[str, SignalPlan]) -> GreenTable:
    """Return the green windows of all movements under ``plans``, by node id.

    Raises
    ------
    InputError
        With every fault of every plan.
    """
    rows = movement_rows(roads)
    faults = [fault for key, plan in plans.items() for fault in faults_of(plan, roads, f"signal {key}", rows)]
    if faults:
        raise InputError(faults)
    position = {node_id: n for n, node_id in enumerate(roads.node_ids)}
    cycle, offset = np.zeros(roads.n_nodes), np.zeros(roads.n_nodes)
    windows: list[list[tuple[float, float]]] = [[] for _ in range(len(roads.movement_out))]
    for plan in plans.values():
        node = position[plan.node_id]
        cycle[node], offset[node] = plan.cycle_s, plan.offset_s
        begin = 0.0
        for stage in plan.stages:
            for pair in dict.fromkeys(stage.movements):
                windows[rows[pair]].append((begin, begin + stage.green_s))
            begin += stage.green_s + stage.intergreen_s
    flat = [window for of_movement in windows for window in of_movement]
    start = np.concatenate([[0], np.cumsum([len(w) for w in windows])]).astype(np.int32)
    opens, closes = np.array(flat, dtype=float).reshape(-1, 2).T
    return GreenTable(cycle, offset, start, np.ascontiguousarray(opens), np.ascontiguousarray(closes))


def never_green(roads: CompiledNetwork, greens: GreenTable) -> Int:
    """Return the rows of the movements that a plan of their node never gives green."""
    inlink = np.repeat(np.arange(roads.n_links), np.diff(roads.movement_start))
    signalised = greens.cycle[roads.to_node[inlink]] > 0
    return np.flatnonzero(signalised & (np.diff(greens.start) == 0)).astype(np.int32)


def merged(base: Mapping[str, SignalPlan], replacements: Iterable[SignalPlan]) -> dict[str, SignalPlan]:
    """Return ``base`` with the plans of ``replacements`` in place of those of the same node."""
    return {**base, **{plan.node_id: plan for plan in replacements}}
