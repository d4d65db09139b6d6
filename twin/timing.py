"""Signal timing of a network folder: GMNS rings, barriers and phases to fixed plans of stages, and back."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from twin.geometry import Float
from twin.links import Links
from twin.movement import Movements
from twin.nodes import Nodes
from twin.signal import SignalPlan, Stage
from twin.tables import Table, Unreadable

Pair = tuple[str, str]

# A phase whose green nobody states; MUTCD/FHWA Signal Timing Manual 2nd ed. (2015), ch. 6: minimum greens of 7-15 s.
DEFAULT_GREEN_S = 15.0
DEFAULT_CLEARANCE_S = 5.0

# Words of ``protection``. GMNS 0.96: protected, permitted, rtor (right turn on red).
PROTECTED = ("", "protected")
PERMITTED = ("permitted", "permissive", "rtor", "right_turn_on_red")

TIMING_TABLES = (
    "signal_controller",
    "signal_timing_plan",
    "signal_timing_phase",
    "signal_phase_mvmt",
    "signal_coordination",
)


class Step(NamedTuple):
    """Movements that are green together for some time (s), and those of them that give way to the others."""

    time: float
    green: frozenset[Pair]
    permitted: frozenset[Pair] = frozenset()


def plan_of_timeline(
    node_id: str, timeline: Iterable[Step | tuple[float, frozenset[Pair]]], *, offset_s: float = 0.0
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
    steps = [step for step in (Step(*entry) for entry in timeline) if step.time > 0]
    cycle = float(sum(step.time for step in steps))
    first = next((i for i, step in enumerate(steps) if step.green), None)
    if first is None:
        return None
    offset_s += sum(step.time for step in steps[:first])
    stages: list[list[float]] = []
    shown: list[tuple[frozenset[Pair], frozenset[Pair]]] = []
    for time, green, permitted in steps[first:] + steps[:first]:
        if not green:
            stages[-1][1] += time
        elif shown and shown[-1] == (green, permitted) and stages[-1][1] == 0:
            stages[-1][0] += time
        else:
            stages.append([float(time), 0.0])
            shown.append((green, permitted))
    return SignalPlan(
        node_id=node_id,
        cycle_s=cycle,
        stages=tuple(
            Stage(green_s, intergreen_s, tuple(sorted(green)), tuple(sorted(permitted)))
            for (green_s, intergreen_s), (green, permitted) in zip(stages, shown, strict=True)
        ),
        offset_s=offset_s % cycle,
    )


@dataclass(frozen=True, slots=True)
class _Phase:
    """One phase in its ring: green then clearance, the movements that it shows green and those that give way then."""

    number: str
    green: float
    clearance: float
    ring: float
    barrier: float
    position: float
    pairs: frozenset[Pair]
    permitted: frozenset[Pair]


Timeline = list[Step]


def _timeline(phases: Sequence[_Phase], cycle: float) -> tuple[Timeline, dict[str, float], float]:
    """Return what is green when, when each phase begins, and the factor on the greens that fits them into the cycle.

    Rings run side by side, barriers hold them together.
    """
    spans: list[tuple[float, float, _Phase]] = []
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
    shrink = (cycle - fixed) / (stated - fixed) if 0 < fixed < cycle < stated - 1e-6 else 1.0
    time = 0.0
    for block in blocks:
        length = max(sum(p.green * shrink + p.clearance for p in ring) for ring in block)
        for ring in block:
            at = time
            for phase in ring:
                left = time + length - at
                green = left - phase.clearance if phase is ring[-1] else min(phase.green * shrink, left)
                begins.setdefault(phase.number, at)
                spans.append((at, at + max(green, 0.0), phase))
                at += green + phase.clearance
        time += length
    end = round(max(time, cycle), 6)
    cuts = sorted({0.0, end, *(round(t, 6) for begin, stop, _ in spans for t in (begin, stop))})
    line = []
    for begin, stop in pairwise(cuts):
        middle = (begin + stop) / 2
        shown = [phase for since, until, phase in spans if since <= middle < until]
        pairs = frozenset[Pair]().union(*(phase.pairs for phase in shown))
        protected = frozenset[Pair]().union(*(phase.pairs - phase.permitted for phase in shown))
        line.append(Step(round(stop - begin, 6), pairs, pairs - protected))
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
    if len(tables["signal_controller"]) and tables["signal_controller"].requires("controller_id"):
        controllers = tables["signal_controller"].ids("controller_id")
        plan_table.references("controller_id", controllers, "signal_controller.csv")
    cycles = plan_table.numbers("cycle_length", above=0)
    at_phase = link_table.references("timing_phase_id", phases, "signal_timing_phase.csv")
    named = dict.fromkeys(tables["movement"].text("mvmt_id"), 0)
    known_movements = named if tables["movement"].readable else Unreadable()
    by_node: dict[str, dict[int, set[Pair]]] = defaultdict(lambda: defaultdict(set))
    yielding: set[tuple[int, Pair]] = set()
    unknown: list[str] = []
    protection = link_table.text("protection")
    for index, name in enumerate(link_table.text("mvmt_id")):
        if name and name not in known_movements:
            link_table.fault(index, f"mvmt_id {name!r} is not in movement.csv")
        if name in movements.pairs and at_phase[index] >= 0:
            ib, ob = movements.pairs[name]
            node = nodes.ids[links.to_node[ib]]
            pair = links.ids[ib], links.ids[ob]
            by_node[node][int(at_phase[index])].add(pair)
            word = protection[index].strip().lower().replace(" ", "_")
            if word in PERMITTED:
                yielding.add((int(at_phase[index]), pair))
            elif word not in PROTECTED:
                unknown.append(node)
    reader = _Reader(plan_table, phase_table, coordination, cycles, yielding)
    if unknown:
        reader.notes["a protection other than protected, permitted, rtor is read as protected"] = unknown
    result: dict[str, SignalPlan] = {}
    for node, greens in by_node.items():
        plan = reader.plan(node, greens)
        if plan is not None:
            result[node] = plan
    return result, [f"{text}: {_some(nodes_of)}" for text, nodes_of in reader.notes.items()]


def _some(names: Sequence[str]) -> str:
    """Return a list of nodes in words, at most five of them."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"node{'s' * (len(names) > 1)} {', '.join(names[:5])}{more}"


class _Reader:
    """Makes the plan of a node from the timing tables, and gathers what it had to assume: nodes by sentence."""

    def __init__(
        self, plans: Table, phases: Table, coordination: Table, cycles: Float, yielding: set[tuple[int, Pair]]
    ) -> None:
        self.yielding = yielding
        self.phases, self.coordination, self.cycles = phases, coordination, cycles
        self.plans = {name: i for i, name in enumerate(plans.text("timing_plan_id"))}
        self.numbers = {
            name: phases.numbers(name, least=0)
            for name in ("min_green", "max_green", "clearance", "ring", "barrier", "position")
        }
        self.phase_names = phases.text("signal_phase_num")
        self.rows_of: dict[str, list[int]] = defaultdict(list)
        for row, name in enumerate(phases.text("timing_plan_id")):
            self.rows_of[name].append(row)
        self.offsets = coordination.numbers("offset")
        self.notes: dict[str, list[str]] = defaultdict(list)

    def plan(self, node: str, greens: Mapping[int, set[Pair]]) -> SignalPlan | None:
        names = [name for name, rows in self.rows_of.items() if name in self.plans and greens.keys() & set(rows)]
        if not names:
            return None
        used = min(names, key=lambda name: (bool(np.isnan(self.cycles[self.plans[name]])), self.plans[name]))
        if len(names) > 1:
            self.notes["of several timing plans the first with a cycle is used at all times"].append(node)
        rows = self.rows_of[used]
        places = [tuple(self.numbers[key][row] for key in ("ring", "barrier", "position")) for row in rows]
        if len(set(places)) < len(places):  # the plan holds several controllers' phases: only the node's own are its
            rows = [row for row in rows if row in greens]
        phases = [self._phase(row, frozenset(greens.get(row, ())), node) for row in rows]
        cycle = float(self.cycles[self.plans[used]])
        line, begins, shrink = _timeline(phases, 0.0 if np.isnan(cycle) else cycle)
        if shrink < 1:
            self.notes["greens are shortened, the phases take longer than the cycle"].append(node)
        return plan_of_timeline(node, line, offset_s=self._offset(used, node, begins))

    def _phase(self, row: int, pairs: frozenset[Pair], node: str) -> _Phase:
        def number(column: str, default: float) -> float:
            value = float(self.numbers[column][row])
            return default if np.isnan(value) else value

        green, clearance = number("max_green", number("min_green", np.nan)), number("clearance", np.nan)
        if np.isnan(green):
            green = DEFAULT_GREEN_S if pairs else 0.0  # one without vehicles takes what its ring leaves
            if pairs:
                self.notes[f"a phase states no green, {DEFAULT_GREEN_S:g} s are assumed"].append(node)
        if np.isnan(clearance):
            clearance = DEFAULT_CLEARANCE_S
            self.notes[f"a phase states no clearance, {DEFAULT_CLEARANCE_S:g} s are assumed"].append(node)
        return _Phase(
            number=self.phase_names[row],
            green=green,
            clearance=clearance,
            ring=number("ring", 1.0),
            barrier=number("barrier", 1.0),
            position=number("position", 1.0),
            pairs=pairs,
            permitted=frozenset(pair for pair in pairs if (row, pair) in self.yielding),
        )

    def _offset(self, plan: str, node: str, begins: Mapping[str, float]) -> float:
        """Return when the cycle starts (s): the coordinated phase begins its green at the stated offset."""
        controllers, phases = self.coordination.text("controller_id"), self.coordination.text("coord_phase")
        plans = self.coordination.text("timing_plan_id")
        rows = [i for i, name in enumerate(plans) if name == plan and np.isfinite(self.offsets[i])]
        rows.sort(key=lambda i: controllers[i] != node)
        if not rows or (len(rows) > 1 and controllers[rows[0]] != node):
            return 0.0
        return float(self.offsets[rows[0]]) - begins.get(phases[rows[0]], 0.0)


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
                    "protection": "permitted" if pair in stage.permitted else "protected",
                }
                for k, pair in enumerate(stage.movements, 1)
            )
    return {name: made for name, made in rows.items() if made}
