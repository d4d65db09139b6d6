"""Signals that answer the traffic: actuated, max-pressure and Webster re-timing, each a task on the clock of the run.

They see what detectors see (who stands at the stop line, when the last vehicle passed, how many wait) and set the
stages of the node's plan through `simulation.lights.Lights`. Between two stages the plan's intergreen is all red.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sensors import InputError
from simulation.agenda import Appointments, Memory, Task
from simulation.engine_counts import vehicles_by_movement
from simulation.lights import Lights, last_departure, retimed, standing
from simulation.scenario_signal import SignalControl
from simulation.webster import equal_saturation, optimum_cycle
from twin.compiled import Float

if TYPE_CHECKING:
    from simulation.simulation import Simulation

SLOT_S = 15.0  # of max-pressure
LOOK_S = 1.0  # a signal that rests looks this often for someone who waits at red
GREEN, CLEAR, RED = "green", "clear", "red"  # what a signal waits for: the end of one of these
GAP_HEADWAYS = 1.5  # vehicles of a queue that are this many headways apart are no gap


def _required(name: str, value: float, least: float) -> None:
    if not least <= value < math.inf:
        raise InputError(f"{name} is {value:g}, must be a number >= {least:g}")


def _node(simulation: "Simulation", node_id: str) -> int:
    try:
        return simulation.lights.node(node_id)
    except KeyError:
        raise InputError(f"node {node_id!r} has no signal plan, a controller needs its stages") from None


def actuated(node_id: str, *, min_green_s: float = 7.0, max_green_s: float = 50.0, gap_s: float = 3.0) -> "Actuated":
    """Return the process of an actuated signal: a stage stays green while vehicles follow each other.

    A stage ends when nobody has passed for ``gap_s`` (after ``min_green_s``), or ``max_green_s`` after somebody began
    to wait elsewhere; then comes the next stage in which somebody waits. Without anybody waiting the signal rests.

    Notes
    -----
    Source: Federal Highway Administration (2008), Traffic Signal Timing Manual, chapter 5 (fully actuated, gap-out and
    max-out).
    """
    _required("min_green_s", min_green_s, 1.0)
    _required("max_green_s", max_green_s, min_green_s)
    _required("gap_s", gap_s, 0.1)
    return Actuated(node_id, min_green_s, max_green_s, gap_s)


@dataclass(frozen=True)
class Actuated(Task):
    """An actuated signal, see `actuated`; it remembers the gaps by stage, and what it waits for."""

    node_id: str
    min_green_s: float
    max_green_s: float
    gap_s: float

    def step(self, simulation: "Simulation", now: float, memory: Memory) -> Appointments:
        """Begin, look at the traffic, or go on with the end of a stage."""
        node = _node(simulation, self.node_id)
        if not memory:
            rows = [simulation.lights.rows(node, k) for k in range(len(simulation.lights.plan(node).stages))]
            gaps = tuple(max(self.gap_s, GAP_HEADWAYS * _headway(simulation, of_stage)) for of_stage in rows)
            return self._show(simulation, node, now, gaps, 0)
        gaps, waits_for, *rest = memory
        if waits_for == GREEN:
            return self._look(simulation, node, now, gaps, *rest)
        stage, after = rest
        found = _end(simulation, node, stage, now, waits_for)
        if found is None:
            return self._show(simulation, node, now, gaps, after)
        return [(found[0], (gaps, found[1], stage, after))]

    def _show(self, simulation: "Simulation", node: int, now: float, gaps: Sequence[float], stage: int) -> Appointments:
        simulation.lights.show(node, stage, now)
        return [(now + self.min_green_s, (gaps, GREEN, stage, now, math.inf))]

    def _look(
        self,
        simulation: "Simulation",
        node: int,
        now: float,
        gaps: Sequence[float],
        stage: int,
        begin: float,
        limit: float,
    ) -> Appointments:
        """End a stage that is green since ``begin``, at ``limit`` at the latest, or look again."""
        after = _next_call(simulation, node, stage, now)
        if after is None:  # all signals look at once: the street stops once
            return [(now + LOOK_S - now % LOOK_S, (gaps, GREEN, stage, begin, limit))]
        if math.isinf(limit):
            limit = (begin if now <= begin + self.min_green_s else now) + self.max_green_s
        gap = max(begin, last_departure(simulation.traffic, simulation.lights.rows(node, stage))) + gaps[stage]
        if now < min(gap, limit):
            return [(min(gap, limit), (gaps, GREEN, stage, begin, limit))]
        found = _end(simulation, node, stage, now, GREEN)
        if found is None:
            return self._show(simulation, node, now, gaps, after)
        return [(found[0], (gaps, found[1], stage, after))]


def _end(simulation: "Simulation", node: int, stage: int, now: float, waits_for: str) -> tuple[float, str] | None:
    """Go on with the end of a stage: those who wait in the junction clear it, then all is red for the intergreen.

    Takes what was waited for until now, returns until when what is waited for next; None when the next stage may begin.
    """
    lights = simulation.lights
    clear = lights.clearing(node, stage, now) if waits_for == GREEN else 0.0
    if clear > 0:
        lights.show(node, stage, now, now + clear)
        return now + clear, CLEAR
    between = lights.plan(node).stages[stage].intergreen_s
    if between > 0 and waits_for != RED:
        lights.red(node, now)
        return now + between, RED
    return None


def _headway(simulation: "Simulation", rows: Sequence[int]) -> float:
    """Return the longest saturation headway of the lane groups of movements (s)."""
    queues = simulation.roads.movement["queue"][list(rows)]
    headways = simulation.roads.queue["headway"][queues]
    return float(np.max(headways[np.isfinite(headways)], initial=0.0))


def _next_call(simulation: "Simulation", node: int, stage: int, now: float) -> int | None:
    """Return the next stage in which somebody waits who has no green now; None when there is none."""
    lights = simulation.lights
    n, served = len(lights.plan(node).stages), set(lights.rows(node, stage))
    for step in range(1, n):
        other = (stage + step) % n
        rows = [row for row in lights.rows(node, other) if row not in served]
        if any(standing(simulation.roads, simulation.traffic, row, now) for row in rows):
            return other
    return None


def max_pressure(*node_ids: str, slot_s: float = SLOT_S) -> "MaxPressure":
    """Return the process of max-pressure signals: every ``slot_s`` the stage with the greatest pressure gets green.

    The pressure of a movement is its saturation flow times (its queue less the queues of the link ahead, weighted with
    their turning shares so far). A change of stage costs its intergreen, within the slot.

    Notes
    -----
    Source: Varaiya (2013), Max pressure control of a network of signalized intersections, Transportation Research C 36,
    doi 10.1016/j.trc.2013.08.014: it serves every demand that any plan can serve, as long as queues are stored.
    """
    _required("slot_s", slot_s, 1.0)
    return MaxPressure(node_ids, slot_s)


@dataclass(frozen=True)
class MaxPressure(Task):
    """Max-pressure signals, see `max_pressure`; they remember the stage of each node and the changes under way."""

    node_ids: tuple[str, ...]
    slot_s: float

    def step(self, simulation: "Simulation", now: float, memory: Memory) -> Appointments:
        """Choose the stages, or go on with a change."""
        if memory and memory[0] != GREEN:
            return self._change(simulation, now, *memory)
        lights = simulation.lights
        nodes = [_node(simulation, name) for name in self.node_ids]
        if not memory:
            faults = [fault for name in self.node_ids for fault in slot_faults(lights, name, self.slot_s)]
            if faults:
                raise InputError(faults)
        shown: dict[int, int] = dict(memory[1]) if memory else {}
        pressure, made = movement_pressure(simulation), []
        for node in nodes:
            n = len(lights.plan(node).stages)
            of_stage = [float(pressure[list(lights.rows(node, k))].sum()) for k in range(n)]
            best = int(np.argmax(of_stage))
            if node not in shown:
                lights.show(node, best, now)
                shown[node] = best
            elif of_stage[best] > of_stage[shown[node]]:
                made += self._change(simulation, now, GREEN, node, shown[node], best)
                shown[node] = best
        return [*made, (now + self.slot_s, (GREEN, shown))]

    def _change(
        self, simulation: "Simulation", now: float, waits_for: str, node: int, stage: int, after: int
    ) -> list[tuple[float, Memory]]:
        """Change from one stage to another."""
        found = _end(simulation, node, stage, now, waits_for)
        if found is None:
            simulation.lights.show(node, after, now)
            return []
        return [(found[0], (found[1], node, stage, after))]


def slot_faults(lights: Lights, node_id: str, slot_s: float) -> list[str]:
    """Return a sentence when a slot is too short for a change of stage."""
    change = lights.change_time(lights.node(node_id))
    if change < slot_s:
        return []
    return [f"slot_s is {slot_s:g}, must be longer than a change of stage at node {node_id} takes, {change:g} s"]


def movement_pressure(simulation: "Simulation") -> Float:
    """Return the pressure of every movement, (n_movements,) veh^2/s; 0 where the link ahead is full."""
    roads, traffic, city = simulation.roads, simulation.traffic, simulation.city
    waiting = vehicles_by_movement(roads, traffic, float(simulation.env.now)).astype(float)
    inlink = np.repeat(np.arange(city.n_links), np.diff(city.movement_start))
    left = traffic.movement["left"] + 1.0  # of each movement once: shares before anyone has passed
    share = left / np.bincount(inlink, left, city.n_links)[inlink]
    ahead = np.bincount(inlink, share * waiting, city.n_links)
    part = roads.movement["part"]
    rate = 1.0 / np.maximum(roads.queue["headway"][roads.movement["queue"]], roads.part["headway"][part])
    full = traffic.entry["entered"][part] - traffic.exit["left"][part] >= roads.part["room"][part]
    return np.where(full, 0.0, rate * (waiting - ahead[city.movement_out]))


def webster(
    node_id: str,
    *,
    interval_s: float = 900.0,
    min_cycle_s: float = 30.0,
    max_cycle_s: float = 120.0,
    min_green_s: float = 5.0,
) -> "Webster":
    """Return the process of a signal that is timed anew every ``interval_s``, at the end of a cycle, by its last flows.

    Cycle and greens are those of `simulation.webster`, for the flows that have come to the stop line since; the lost
    time is the sum of the intergreens.
    """
    _required("interval_s", interval_s, 1.0)
    _required("min_green_s", min_green_s, 1.0)
    _required("min_cycle_s", min_cycle_s, 1.0)
    _required("max_cycle_s", max_cycle_s, min_cycle_s)
    return Webster(node_id, interval_s, min_cycle_s, max_cycle_s, min_green_s)


@dataclass(frozen=True)
class Webster(Task):
    """A signal that is timed anew, see `webster`; it remembers its clock, who had come, and when that was."""

    node_id: str
    interval_s: float
    min_cycle_s: float
    max_cycle_s: float
    min_green_s: float

    def step(self, simulation: "Simulation", now: float, memory: Memory) -> Appointments:
        """Time the signal anew by the flows since the last time."""
        lights, node = simulation.lights, _node(simulation, self.node_id)
        plan, come = lights.plan(node), _come(simulation)
        if not memory:
            return self._wait(now, plan.cycle_s, plan.offset_s, come)
        last, since = memory[0], memory[1]
        lost = math.fsum(stage.intergreen_s for stage in plan.stages)
        ratios = _flow_ratios(simulation, node, (come - last) / (now - since))
        cycle = optimum_cycle(lost, ratios, shortest_s=self.min_cycle_s, longest_s=self.max_cycle_s)
        cycle = max(cycle, lost + len(ratios) * self.min_green_s)
        greens = equal_saturation(cycle - lost, ratios, least_s=self.min_green_s)
        lights.follow(node, retimed(plan, greens, cycle, now), now)
        return self._wait(now, cycle, now, come)

    def _wait(self, now: float, cycle_s: float, offset_s: float, come: Float) -> Appointments:
        """Wait for the end of the cycle in which the interval ends."""
        cycles = math.ceil((now + self.interval_s - offset_s) / cycle_s - 1e-9)
        return [(offset_s + cycles * cycle_s, (come, now))]


def _come(simulation: "Simulation") -> Float:
    """Return the vehicles of every movement that have come onto its link so far."""
    waiting = vehicles_by_movement(simulation.roads, simulation.traffic, math.inf)
    return np.asarray(simulation.traffic.movement["left"] + waiting, dtype=np.float64)


def _flow_ratios(simulation: "Simulation", node: int, flow: Float) -> list[float]:
    """Return the flow ratio of each stage: the largest of its lane groups, one that several stages serve shared out."""
    roads, lights = simulation.roads, simulation.lights
    plan = lights.plan(node)
    by_stage = [lights.rows(node, k) for k in range(len(plan.stages))]
    served = np.zeros(len(flow))
    for stage, rows in zip(plan.stages, by_stage, strict=True):
        served[list(rows)] += stage.green_s
    ratios = []
    for stage, rows in zip(plan.stages, by_stage, strict=True):
        groups: dict[int, float] = {}
        for row in rows:
            queue = int(roads.movement["queue"][row])
            mine = flow[row] * stage.green_s / served[row]
            groups[queue] = groups.get(queue, 0.0) + mine * float(roads.queue["headway"][queue])
        ratios.append(max((ratio for ratio in groups.values() if math.isfinite(ratio)), default=0.0))
    return ratios


CONTROLS: dict[str, Callable[..., Task]] = {"actuated": actuated, "webster": webster}


def processes_of(controls: Sequence[SignalControl], lights: Lights | None = None) -> list[Task]:
    """Return the processes of the controllers of a scenario; max-pressure signals of equal slots share one.

    Raises
    ------
    InputError
        With every setting that is out of range, by itself or for its node's plan among ``lights``.
    """
    faults: list[str] = []
    processes: list[Task] = []
    together: dict[float, list[str]] = {}
    for control in controls:
        try:
            if control.kind == "max_pressure":
                slot_s = dict(control.settings).get("slot_s", SLOT_S)
                max_pressure(control.node_id, slot_s=slot_s)
                together.setdefault(slot_s, []).append(control.node_id)
                found = slot_faults(lights, control.node_id, slot_s) if lights is not None else []
            else:
                processes.append(CONTROLS[control.kind](control.node_id, **dict(control.settings)))
                found = []
        except InputError as error:
            found = list(error.faults)
        faults += [f"[[signal]] of node {control.node_id!r}: {fault}" for fault in found]
    if faults:
        raise InputError(faults)
    return [*processes, *(max_pressure(*nodes, slot_s=slot_s) for slot_s, nodes in together.items())]
