"""Signal timing of a network folder: GMNS rings, barriers and phases to fixed plans of stages, and back."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from twin.links import Links
from twin.movement import Movements
from twin.nodes import Nodes
from twin.signal import SignalPlan, Stage
from twin.tables import Table

Pair = tuple[str, str]

# A phase whose green nobody states; MUTCD/FHWA Signal Timing Manual 2nd ed. (2015), ch. 6: minimum greens of 7-15 s.
DEFAULT_GREEN_S = 15.0
DEFAULT_CLEARANCE_S = 5.0

TIMING_TABLES = (
    "signal_controller",
    "signal_timing_plan",
    "signal_timing_phase",
    "signal_phase_mvmt",
    "signal_coordination",
)


def plan_of_timeline(
    node_id: str, timeline: Iterable[tuple[float, frozenset[Pair]]], *, offset_s: float = 0.0
) -> SignalPlan | None:
    """Return the plan in which the given movements are green for the given times, one after the other.

    Equal neighbours become one stage; a time without green becomes the intergreen before it. None when nothing is
    ever green.

    Examples
    --------
    >>> a, b = frozenset({("L1", "L2")}), frozenset({("L3", "L4")})
    >>> plan = plan_of_timeline("N", [(3, frozenset()), (20, a), (10, a), (5, frozenset()), (22, b)], offset_s=58)
    >>> plan.cycle_s, plan.offset_s, [(s.green_s, s.intergreen_s) for s in plan.stages]
    (60.0, 1.0, [(30.0, 5.0), (22.0, 3.0)])
    """
    steps = [(float(time), green) for time, green in timeline if time > 0]
    cycle = sum(time for time, _ in steps)
    first = next((i for i, (_, green) in enumerate(steps) if green), None)
    if first is None:
        return None
    offset_s += sum(time for time, _ in steps[:first])
    stages: list[list[float]] = []
    greens: list[frozenset[Pair]] = []
    for time, green in steps[first:] + steps[:first]:
        if not green:
            stages[-1][1] += time
        elif greens and greens[-1] == green and stages[-1][1] == 0:
            stages[-1][0] += time
        else:
            stages.append([time, 0.0])
            greens.append(green)
    return SignalPlan(
        node_id=node_id,
        cycle_s=cycle,
        stages=tuple(Stage(g, i, tuple(sorted(pairs))) for (g, i), pairs in zip(stages, greens, strict=True)),
        offset_s=offset_s % cycle,
    )


@dataclass(frozen=True, slots=True)
class _Phase:
    """One phase in its ring: green then clearance, and the movements that it shows green."""

    number: str
    green: float
    clearance: float
    ring: float
    barrier: float
    position: float
    pairs: frozenset[Pair]


Timeline = list[tuple[float, frozenset[Pair]]]


def _timeline(phases: Sequence[_Phase], cycle: float) -> tuple[Timeline, dict[str, float], float]:
    """Return what is green when, when each phase begins, and the factor on the greens that fits them into the cycle.

    Rings run side by side, barriers hold them together.
    """
    spans: list[tuple[float, float, frozenset[Pair]]] = []
    begins: dict[str, float] = {}
    blocks: list[list[list[_Phase]]] = []
    for barrier in sorted({phase.barrier for phase in phases}):
        rings: dict[float, list[_Phase]] = defaultdict(list)
        for phase in sorted((p for p in phases if p.barrier == barrier), key=lambda p: p.position):
            rings[phase.ring].append(phase)
        blocks.append([rings[ring] for ring in sorted(rings)])
    stated = sum(max(sum(p.green + p.clearance for p in ring) for ring in block) for block in blocks)
    fixed = sum(max(sum(p.clearance for p in ring) for ring in block) for block in blocks)
    # A stated cycle shorter than its phases is met by shorter greens; a longer one leaves a remainder, all red.
    shrink = (cycle - fixed) / (stated - fixed) if 0 < fixed < cycle < stated else 1.0
    time = 0.0
    for block in blocks:
        length = max(sum(p.green * shrink + p.clearance for p in ring) for ring in block)
        for ring in block:
            at = time
            for phase in ring:
                left = time + length - at
                green = left - phase.clearance if phase is ring[-1] else min(phase.green * shrink, left)
                begins.setdefault(phase.number, at)
                spans.append((at, at + max(green, 0.0), phase.pairs))
                at += green + phase.clearance
        time += length
    end = max(time, cycle)
    cuts = sorted({0.0, end, *(round(t, 6) for begin, stop, _ in spans for t in (begin, stop))})
    line = []
    for begin, stop in pairwise(cuts):
        middle = (begin + stop) / 2
        pairs = [pairs for since, until, pairs in spans if since <= middle < until]
        line.append((round(stop - begin, 6), frozenset().union(*pairs)))
    return line, begins, shrink


def read_signals(
    tables: Mapping[str, Table], links: Links, nodes: Nodes, movements: Movements
) -> tuple[dict[str, SignalPlan], list[str]]:
    """Return the fixed plan of each signalised node, and notes on what of it is assumed.

    The first timing plan of a node's controller that states a cycle is used, else its first one; times of day are left
    out. A phase is green for its ``max_green`` (else ``min_green``) and is followed by its ``clearance``.
    """
    plan_table, phase_table = tables["signal_timing_plan"], tables["signal_timing_phase"]
    link_table, coordination = tables["signal_phase_mvmt"], tables["signal_coordination"]
    if not (len(phase_table) and len(link_table)):
        return {}, []
    ready = [
        plan_table.requires("timing_plan_id", "controller_id"),
        phase_table.requires("timing_phase_id", "timing_plan_id"),
        link_table.requires("timing_phase_id", "mvmt_id"),
    ]
    if not all(ready):
        return {}, []
    plans, phases = plan_table.ids("timing_plan_id"), phase_table.ids("timing_phase_id")
    phase_table.references("timing_plan_id", plans, "signal_timing_plan.csv")
    cycles = plan_table.numbers("cycle_length", above=0)
    at_phase = link_table.references("timing_phase_id", phases, "signal_timing_phase.csv")
    known_movements = set(tables["movement"].text("mvmt_id"))
    by_node: dict[str, dict[int, set[Pair]]] = defaultdict(lambda: defaultdict(set))
    for index, name in enumerate(link_table.text("mvmt_id")):
        if name and name not in known_movements:
            link_table.fault(index, f"mvmt_id {name!r} is not in movement.csv")
        if name in movements.pairs and at_phase[index] >= 0:
            ib, ob = movements.pairs[name]
            node = nodes.ids[links.to_node[ib]]
            by_node[node][int(at_phase[index])].add((links.ids[ib], links.ids[ob]))
    notes: list[str] = []
    numbers = {
        name: phase_table.numbers(name, least=0)
        for name in ("min_green", "max_green", "clearance", "ring", "barrier", "position")
    }
    plan_of = phase_table.text("timing_plan_id")
    result: dict[str, SignalPlan] = {}
    for node, greens in by_node.items():
        names = list(dict.fromkeys(plan_of[row] for row in sorted(greens) if plan_of[row] in plans))
        if not names:
            continue
        used = min(names, key=lambda name: (bool(np.isnan(cycles[plans[name]])), plans[name]))
        if len(names) > 1:
            notes.append(f"node {node}: has {len(names)} timing plans, plan {used} is used at all times")
        rows = [row for row in sorted(greens) if plan_of[row] == used]
        made = [_phase(row, phase_table, numbers, frozenset(greens[row]), notes, node) for row in rows]
        cycle = cycles[plans[used]]
        line, begins, shrink = _timeline(made, 0.0 if np.isnan(cycle) else float(cycle))
        if shrink < 1:
            notes.append(
                f"node {node}: the phases of plan {used} take longer than its cycle of {cycle:g} s, "
                f"greens are shortened to {shrink:.0%}"
            )
        offset = _offset(coordination, used, node, begins)
        plan = plan_of_timeline(node, line, offset_s=offset)
        if plan is not None:
            result[node] = plan
    return result, notes


def _phase(
    row: int,
    table: Table,
    numbers: Mapping[str, np.ndarray],
    pairs: frozenset[Pair],
    notes: list[str],
    node: str,
) -> _Phase:
    def number(column: str, default: float) -> float:
        value = float(numbers[column][row])
        return default if np.isnan(value) else value

    green, clearance = number("max_green", number("min_green", np.nan)), number("clearance", np.nan)
    phase = table.text("signal_phase_num")[row] or table.text("timing_phase_id")[row]
    if np.isnan(green):
        green = DEFAULT_GREEN_S
        notes.append(f"node {node}: phase {phase} states no green, {DEFAULT_GREEN_S:g} s are assumed")
    if np.isnan(clearance):
        clearance = DEFAULT_CLEARANCE_S
        notes.append(f"node {node}: phase {phase} states no clearance, {DEFAULT_CLEARANCE_S:g} s are assumed")
    return _Phase(phase, green, clearance, number("ring", 1.0), number("barrier", 1.0), number("position", 1.0), pairs)


def _offset(table: Table, plan: str, node: str, begins: Mapping[str, float]) -> float:
    """Return when the cycle starts (s): the coordinated phase begins its green at the stated offset."""
    offsets = table.numbers("offset")
    controllers, phases = table.text("controller_id"), table.text("coord_phase")
    candidates = [i for i, name in enumerate(table.text("timing_plan_id")) if name == plan and np.isfinite(offsets[i])]
    candidates.sort(key=lambda i: controllers[i] != node)
    if not candidates or (len(candidates) > 1 and controllers[candidates[0]] != node):
        return 0.0
    return float(offsets[candidates[0]]) - begins.get(phases[candidates[0]], 0.0)


def timing_rows(plans: Iterable[SignalPlan], movement_ids: Mapping[Pair, str]) -> dict[str, list[dict[str, object]]]:
    """Return the GMNS rows of fixed plans: each stage is a phase behind a barrier of its own.

    Parameters
    ----------
    movement_ids
        The ``mvmt_id`` of each pair of link ids.
    """
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in TIMING_TABLES}
    for plan in plans:
        node = plan.node_id
        rows["signal_controller"].append({"controller_id": node})
        rows["signal_timing_plan"].append({"timing_plan_id": node, "controller_id": node, "cycle_length": plan.cycle_s})
        rows["signal_coordination"].append(
            {
                "coordination_id": node,
                "timing_plan_id": node,
                "controller_id": node,
                "coord_contr_id": node,
                "coord_phase": 1,
                "coord_ref_to": "begin_of_green",
                "offset": plan.offset_s,
            }
        )
        for number, stage in enumerate(plan.stages, 1):
            phase = f"{node}-{number}"
            rows["signal_timing_phase"].append(
                {
                    "timing_phase_id": phase,
                    "timing_plan_id": node,
                    "signal_phase_num": number,
                    "min_green": stage.green_s,
                    "max_green": stage.green_s,
                    "clearance": stage.intergreen_s,
                    "ring": 1,
                    "barrier": number,
                    "position": 1,
                }
            )
            rows["signal_phase_mvmt"].extend(
                {
                    "signal_phase_mvmt_id": f"{phase}-{k}",
                    "timing_phase_id": phase,
                    "mvmt_id": movement_ids[pair],
                    "protection": "protected",
                }
                for k, pair in enumerate(stage.movements, 1)
            )
    return {name: made for name, made in rows.items() if made}
