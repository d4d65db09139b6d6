"""Fixed signal plans as green windows per movement, the form in which the engine evaluates them.

A window is protected or has a **rule**: whom its movement yields to, and the gap that it needs. A permitted movement
yields for most of its window; in the last seconds those who wait in the junction clear it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sensors import InputError
from simulation.conflicts import Junctions, Movement
from simulation.priority import Rule, flashing_rules, is_shared, permitted_rule, rivals
from twin.compiled import CompiledNetwork, Float, Int
from twin.signal import SignalPlan, Stage

Long = npt.NDArray[np.int64]
Pair = tuple[str, str]

# Vehicles of a permitted turn that clear the junction in each green: Highway Capacity Manual 2000, chapter 16, app. C.
SNEAKERS = 2


@dataclass(frozen=True, slots=True)
class GreenTable:
    """Green windows of all movements; a node with ``cycle`` 0 has no signal.

    Parameters
    ----------
    cycle, offset : (n_nodes,) s
    start : (n_movements + 1,)
        Windows of movement ``m`` are rows ``start[m]:start[m + 1]``, in order of time. A movement that is never green
        at a signal has one that never comes.
    opens, closes : (n_windows,) s after the start of the cycle
    yields : (n_windows,)
        Row of the rule, -1 where protected.
    gap, follow_up : (n_rules,) s
    rival_start : (n_rules + 1,)
        Rule ``r`` yields to the movements ``rival[rival_start[r]:rival_start[r + 1]]``.
    stage_rules
        By node, for each of its stages the rule of every movement that is green in it.
    flashing
        By node the rule of every movement while its signal flashes; not there where no road has priority.
    """

    cycle: Float
    offset: Float
    start: Int
    opens: Float
    closes: Float
    yields: Long
    gap: Float
    follow_up: Float
    rival_start: Long
    rival: Long
    stage_rules: Mapping[int, tuple[Mapping[int, int], ...]]
    flashing: Mapping[int, Mapping[int, int]]

    def yields_now(self) -> Long:
        """Return 1 for each movement that one of its windows makes yield."""
        movement = np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))
        return (np.bincount(movement[self.yields >= 0], minlength=len(self.start) - 1) > 0).astype(np.int64)


Window = tuple[float, float, int]  # opens, closes, rule
NEVER: Window = (np.inf, np.inf, -1)


class Rules:
    """Numbers the rules; equal ones are one."""

    def __init__(self) -> None:
        self._number: dict[Rule, int] = {}

    def add(self, rule: Rule | None) -> int:
        """Return the number of a rule, -1 for None."""
        return -1 if rule is None else self._number.setdefault(rule, len(self._number))

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._number)


def movement_rows(roads: CompiledNetwork) -> dict[Pair, int]:
    """Row of every allowed movement by (in-link id, out-link id)."""
    inlink = np.repeat(np.arange(roads.n_links), np.diff(roads.movement_start))
    ids = roads.link_ids
    pairs = zip(inlink.tolist(), roads.movement_out.tolist(), strict=True)
    return {(ids[i], ids[o]): row for row, (i, o) in enumerate(pairs)}


def faults_of(plan: SignalPlan, roads: CompiledNetwork, where: str, known: Mapping[Pair, int]) -> list[str]:
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
        for pair in dict.fromkeys((*stage.movements, *stage.permitted)):
            if pair not in known or pair[0] not in at_node:
                faults.append(
                    f"{where}: stage {number}: movement {list(pair)} is not an allowed movement of node {plan.node_id}"
                )
    return faults


def settle(
    plan: SignalPlan, junctions: Junctions, known: Mapping[Pair, int], where: str
) -> tuple[SignalPlan, list[str]]:
    """Return a sound plan in which conflicting turns are permitted, and a sentence for each conflict left.

    Who gives way as every driver knows it (a left turn to oncoming traffic) is permitted. Of two others that conflict,
    of which neither is said to be permitted, the one of the smaller approach is permitted, and a sentence says so.
    """
    turns = junctions.movements(junctions.position[plan.node_id])
    stages, faults = [], []
    for number, stage in enumerate(plan.stages, 1):
        green = [turns[known[pair]] for pair in dict.fromkeys((*stage.movements, *stage.permitted))]
        permitted = {known[pair] for pair in stage.permitted}
        for k, a in enumerate(green):
            for b in green[:k]:
                if {a.row, b.row} & permitted or not junctions.conflict(a, b):
                    continue
                loser = junctions.yielder(a, b)
                if loser is None:
                    loser = min(a, b, key=lambda turn: (junctions.city.capacity[turn.into], -turn.row))
                    how = "enter the same lane" if junctions.merge(a, b) else "cross"
                    pairs = " and ".join(str(_pair(junctions.city, turn)) for turn in (b, a))
                    faults.append(
                        f"{where}: node {plan.node_id} stage {number}: movements {pairs} {how} and neither yields; "
                        "give them stages of their own, or list the one that yields in permitted"
                    )
                permitted.add(loser.row)
        pairs_of = {turn.row: (_pair(junctions.city, turn)[0], _pair(junctions.city, turn)[1]) for turn in green}
        stages.append(
            replace(
                stage,
                movements=tuple(pairs_of.values()),
                permitted=tuple(pair for row, pair in pairs_of.items() if row in permitted),
            )
        )
    return replace(plan, stages=tuple(stages)), faults


def _pair(roads: CompiledNetwork, turn: Movement) -> list[str]:
    return [roads.link_ids[turn.into], roads.link_ids[turn.out]]


def rules_of_stage(stage: Stage, node: int, junctions: Junctions, known: Mapping[Pair, int]) -> dict[int, Rule | None]:
    """Return the rule of every movement of a stage by row; protected ones have None."""
    turns = junctions.movements(node)
    green = [turns[known[pair]] for pair in stage.movements]
    permitted = {known[pair] for pair in stage.permitted}
    return {
        turn.row: permitted_rule(turn, green, permitted, junctions) if turn.row in permitted else None for turn in green
    }


def windows_of(city: CompiledNetwork, movement: int, opens: float, closes: float, rule: int) -> list[Window]:
    """Return the windows of one green: with a rule the last seconds are for those who wait in the junction."""
    if rule < 0:
        return [(opens, closes, -1)]
    change = max(opens, closes - clear_time(city, movement))
    return [(opens, change, rule), (change, closes, -1)]


def clear_time(city: CompiledNetwork, movement: int) -> float:
    """Return how long those take who clear the junction at the end of a green in which they had to yield (s)."""
    inlink = int(np.searchsorted(city.movement_start, movement, side="right")) - 1
    return SNEAKERS * float(city.lanes[inlink] / city.capacity[inlink])


def plan_windows(
    city: CompiledNetwork, plan: SignalPlan, rules: Sequence[Mapping[int, int]]
) -> dict[int, list[Window]]:
    """Return the windows of every movement that a plan gives green, by row; ``rules`` gives by stage row and rule."""
    windows: dict[int, list[Window]] = {}
    begin = 0.0
    for stage, of_stage in zip(plan.stages, rules, strict=True):
        for row, rule in of_stage.items():
            windows.setdefault(row, []).extend(windows_of(city, row, begin, begin + stage.green_s, rule))
        begin += stage.green_s + stage.intergreen_s
    return windows


def green_table(junctions: Junctions, plans: Mapping[str, SignalPlan]) -> GreenTable:
    """Return the green windows of all movements under sound ``plans``, by node id."""
    city = junctions.city
    known = movement_rows(city)
    cycle, offset = np.zeros(city.n_nodes), np.zeros(city.n_nodes)
    rows: list[list[Window]] = [[] for _ in range(len(city.movement_out))]
    rules = Rules()
    stage_rules: dict[int, tuple[Mapping[int, int], ...]] = {}
    flashing: dict[int, Mapping[int, int]] = {}
    for plan in plans.values():
        node = junctions.position[plan.node_id]
        cycle[node], offset[node] = plan.cycle_s, plan.offset_s
        stage_rules[node] = tuple(
            {row: rules.add(rule) for row, rule in rules_of_stage(stage, node, junctions, known).items()}
            for stage in plan.stages
        )
        by_row = flashing_rules(junctions, node)
        if by_row is not None:
            flashing[node] = {row: rules.add(rule) for row, rule in by_row.items()}
        windows = plan_windows(city, plan, stage_rules[node])
        for row in junctions.movements(node):
            rows[row] = windows.get(row) or [NEVER]
    flat = [window for of_movement in rows for window in of_movement]
    start = np.concatenate([[0], np.cumsum([len(w) for w in rows])]).astype(np.int32)
    opens, closes, yields = np.array(flat, dtype=float).reshape(-1, 3).T
    return GreenTable(
        cycle=cycle,
        offset=offset,
        start=start,
        opens=opens.copy(),
        closes=closes.copy(),
        yields=yields.astype(np.int64),
        gap=np.array([rule.gap for rule in rules], float),
        follow_up=np.array([rule.follow_up for rule in rules], float),
        rival_start=np.cumsum([0, *(len(rule.rivals) for rule in rules)]).astype(np.int64),
        rival=np.array([row for rule in rules for row in rule.rivals], np.int64),
        stage_rules=stage_rules,
        flashing=flashing,
    )


def never_green(roads: CompiledNetwork, greens: GreenTable) -> Int:
    """Return the rows of the movements that a plan of their node never gives green."""
    never = np.full(len(roads.movement_out), False)
    single = np.flatnonzero(np.diff(greens.start) == 1)
    never[single] = np.isinf(greens.opens[greens.start[single]])
    return np.flatnonzero(never).astype(np.int32)


def sound_plans(
    junctions: Junctions, base: Mapping[str, SignalPlan], replacements: Iterable[SignalPlan]
) -> tuple[dict[str, SignalPlan], list[str]]:
    """Return ``base`` with ``replacements`` in place of the plans of the same nodes, all settled, and notes on that.

    Raises
    ------
    InputError
        With every fault of every plan.
    """
    known = movement_rows(junctions.city)
    every = {**base, **{plan.node_id: plan for plan in replacements}}
    wrong = [fault for key, plan in every.items() for fault in faults_of(plan, junctions.city, f"signal {key}", known)]
    if wrong:
        raise InputError(wrong)
    plans, doubtful, turning, unhindered = {}, [], [], []
    for node, plan in every.items():
        plans[node], faults = settle(plan, junctions, known, "")
        if faults:
            doubtful.append(node)
        elif [stage.permitted for stage in plans[node].stages] != [stage.permitted for stage in plan.stages]:
            turning.append(node)
        if _has_unhindered(plans[node], junctions, known):
            unhindered.append(node)
    notes = []
    if turning:
        notes.append(f"turns across oncoming traffic of the same stage are permitted (assumed) at {_some(turning)}")
    if doubtful:
        notes.append(f"of movements that cross in one stage the smaller approach yields (assumed) at {_some(doubtful)}")
    if unhindered:
        notes.append(
            "permitted turns from a lane group of several lanes that others share wait for no gap (assumed; lane "
            f"ranges in movement.csv give them a lane of their own) at {_some(unhindered)}"
        )
    return plans, notes


def _has_unhindered(plan: SignalPlan, junctions: Junctions, known: Mapping[Pair, int]) -> bool:
    """Return whether a permitted movement of a sound plan has rivals for which it does not wait."""
    turns = junctions.movements(junctions.position[plan.node_id])
    for stage in plan.stages:
        green = [turns[known[pair]] for pair in stage.movements]
        permitted = {known[pair] for pair in stage.permitted}
        for turn in green:
            shared = turn.row in permitted and is_shared(turn, green, permitted, junctions.city)
            if shared and rivals(turn, green, permitted, junctions):
                return True
    return False


def _some(names: Sequence[str]) -> str:
    """Return nodes in words, at most five of them."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"node{'s' * (len(names) > 1)} {', '.join(names[:5])}{more}"
