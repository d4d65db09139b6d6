"""What the signals show while the street runs: controllers, priority and failures change it, at their instant.

Each signal has a fixed plan. A controller may show a stage instead, an emergency vehicle may hold the signal, a failure
may darken it; what counts is the last of these that is in force. When it ends, what was before it is shown again.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simulation.conflicts import Junctions
from simulation.engine_kernel import wake
from simulation.priority import opposite
from simulation.signals import NEVER, GreenTable, Window, clear_time, plan_windows, windows_of
from simulation.street import Roads, Traffic
from twin.outage import DARK
from twin.signal import SignalPlan, Stage
from twin.stop_control import ALL_WAY_STOP_CROSSING_S, ALL_WAY_STOP_S

LASTING_S = 1e9  # a cycle that no run outlives: what is shown stays until it is changed


@dataclass(frozen=True, slots=True)
class Showing:
    """What a signal shows: windows by movement, repeated every cycle from ``offset`` on; all others are red.

    ``hold`` numbers the holds of a street, so that of two that are alike the right one is released.
    """

    cycle: float
    offset: float
    windows: Mapping[int, Sequence[Window]]
    hold: int = 0


@dataclass(slots=True)
class _Signal:
    """A signal's fixed plan and what stands in for it."""

    plan: SignalPlan
    rows: tuple[int, ...]
    fixed: Showing
    controlled: Showing | None = None
    held: list[Showing] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    dark: bool = False


class Lights:
    """The signals of a street; nodes and movements are positions, times seconds of the run."""

    def __init__(
        self,
        junctions: Junctions,
        plans: Mapping[str, SignalPlan],
        greens: GreenTable,
        pace: Callable[[int, float, float], None],
    ) -> None:
        """``pace(link, headway_s, now)`` sets the least time between vehicles at the end of a link, 0 for none."""
        self._junctions, self._greens, self._pace = junctions, greens, pace
        self._signals: dict[int, _Signal] = {}
        self._holds = 0
        for plan in plans.values():
            node = junctions.position[plan.node_id]
            windows = plan_windows(junctions.city, plan, greens.stage_rules[node])
            fixed = Showing(plan.cycle_s, plan.offset_s, windows)
            self._signals[node] = _Signal(plan, tuple(junctions.movements(node)), fixed)

    def bind(self, roads: Roads, traffic: Traffic) -> None:
        """Work on these arrays from now on."""
        self._roads, self._traffic = roads, traffic

    def state(self) -> dict[str, Any]:
        """Return what stands in for the fixed plans."""
        of_node = {node: (s.controlled, s.held, s.failures, s.dark) for node, s in self._signals.items()}
        return {"holds": self._holds, "of_node": of_node}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave; the kernel's arrays hold it already."""
        self._holds = state["holds"]
        for node, (controlled, held, failures, dark) in state["of_node"].items():
            signal = self._signals[node]
            signal.controlled, signal.held, signal.failures, signal.dark = controlled, held, failures, dark

    # --- what there is ----------------------------------------------------------------------------------------------

    def node(self, node_id: str) -> int:
        """Return the position of a signalised node.

        Raises
        ------
        KeyError
            When the node has no signal.
        """
        node = self._junctions.position.get(node_id, -1)
        if node not in self._signals:
            raise KeyError(f"node {node_id!r} has no signal")
        return node

    def has(self, node: int) -> bool:
        """Return whether a node has a signal."""
        return node in self._signals

    def plan(self, node: int) -> SignalPlan:
        """Return the fixed plan of a node."""
        return self._signals[node].plan

    def showing(self, node: int, now: float = 0.0) -> Showing:
        """Return what is in force at a node; the windows of a flashing one begin ``now``."""
        signal = self._signals[node]
        if self._dark(node):
            return Showing(0.0, 0.0, signal.fixed.windows)
        if signal.failures:
            rules = self._greens.flashing[node]
            return Showing(LASTING_S, now, {row: [(0.0, math.inf, rules[row])] for row in signal.rows})
        return signal.held[-1] if signal.held else signal.controlled or signal.fixed

    def _dark(self, node: int) -> bool:
        """Return whether a signal is an all-way stop: dark, or flashing where no road has priority."""
        failures = self._signals[node].failures
        return bool(failures) and (DARK in failures or node not in self._greens.flashing)

    def rows(self, node: int, stage: int) -> tuple[int, ...]:
        """Return the movements that are green in a stage."""
        return tuple(self._greens.stage_rules[node][stage])

    def green(self, movement: int, now: float) -> bool:
        """Return whether a movement has green at an instant, permitted or not."""
        roads, city = self._roads, self._junctions.city
        node = int(city.to_node[self._junctions.inlink[movement]])
        cycle, offset = float(roads.node["cycle"][node]), float(roads.node["offset"][node])
        if cycle <= 0:
            return True
        phase = (now - offset) % cycle
        first, end = int(roads.movement["green"][movement]), int(roads.movement["end_green"][movement])
        return any(roads.green_opens[k] <= phase < roads.green_closes[k] for k in range(first, end))

    # --- controllers ------------------------------------------------------------------------------------------------

    def show(self, node: int, stage: int, now: float, until: float = math.inf) -> None:
        """Show a stage of the node's plan from now until a time; what follows then is red until it is changed."""
        signal = self._signals[node]
        windows = {
            row: windows_of(self._junctions.city, row, 0.0, until - now, rule)
            for row, rule in self._greens.stage_rules[node][stage].items()
        }
        signal.controlled = Showing(LASTING_S, now, windows)
        self._put(node, now)

    def red(self, node: int, now: float) -> None:
        """Show red to all."""
        self._signals[node].controlled = Showing(LASTING_S, now, {})
        self._put(node, now)

    def follow(self, node: int, plan: SignalPlan, now: float) -> None:
        """Run a fixed plan with other times: its stages have the same movements."""
        signal = self._signals[node]
        if [(s.movements, s.permitted) for s in plan.stages] != [
            (s.movements, s.permitted) for s in signal.plan.stages
        ]:
            raise ValueError(f"the new plan of node {plan.node_id} must have the stages of its old one")
        windows = plan_windows(self._junctions.city, plan, self._greens.stage_rules[node])
        signal.controlled = Showing(plan.cycle_s, plan.offset_s, windows)
        self._put(node, now)

    def clearing(self, node: int, stage: int, now: float) -> float:
        """Return how long those take who wait in the junction for a gap (s), 0 when nobody does."""
        waiting = [
            clear_time(self._junctions.city, row)
            for row, rule in self._greens.stage_rules[node][stage].items()
            if rule >= 0 and standing(self._roads, self._traffic, row, now)
        ]
        return max(waiting, default=0.0)

    def change_time(self, node: int) -> float:
        """Return the longest time that a change of stage may take (s)."""
        city, stages = self._junctions.city, self._signals[node].plan.stages
        return max(
            stage.intergreen_s + max((clear_time(city, row) for row, rule in rules.items() if rule >= 0), default=0.0)
            for stage, rules in zip(stages, self._greens.stage_rules[node], strict=True)
        )

    def resume(self, node: int, now: float) -> None:
        """Run the fixed plan again, by its own clock."""
        self._signals[node].controlled = None
        self._put(node, now)

    # --- priority ---------------------------------------------------------------------------------------------------

    def hold(self, node: int, movement: int, now: float) -> Showing:
        """Give one movement green as soon as the junction is clear; all that it conflicts with gets red at once.

        What is green now and does not conflict stays so. Returns what `release` takes.
        """
        signal = self._signals[node]
        turns = self._junctions.movements(node)
        clear = 0.0 if self.green(movement, now) else self.clearance(node)
        windows: dict[int, list[Window]] = {movement: [(clear, math.inf, -1)]}
        for row in signal.rows:
            free = row != movement and not self._meet(turns[row].row, movement, node)
            if free and self.green(row, now):
                windows[row] = [(0.0, math.inf, -1)]
        held = self._number(Showing(LASTING_S, now, windows))
        signal.held.append(held)
        self._put(node, now)
        return held

    def _number(self, showing: Showing) -> Showing:
        self._holds += 1
        return replace(showing, hold=self._holds)

    def _meet(self, a: int, b: int, node: int) -> bool:
        turns = self._junctions.movements(node)
        return self._junctions.cross(turns[a], turns[b]) or self._junctions.merge(turns[a], turns[b])

    def clearance(self, node: int) -> float:
        """Return how long a junction takes to clear (s): its longest intergreen."""
        return max(stage.intergreen_s for stage in self._signals[node].plan.stages)

    def clear(self, node: int, held: Showing, now: float) -> Showing:
        """Show red to all in place of what is held, so that the junction is clear before it is released."""
        signal = self._signals[node]
        red = self._number(Showing(LASTING_S, now, {}))
        signal.held[signal.held.index(held)] = red
        self._put(node, now)
        return red

    def release(self, node: int, held: Showing, now: float) -> None:
        """End a hold; what was shown before it runs on by its own clock."""
        signal = self._signals[node]
        signal.held.remove(held)
        self._put(node, now)

    # --- failures ---------------------------------------------------------------------------------------------------

    def fail(self, node: int, mode: str, now: float) -> None:
        """Let a signal fail: ``dark`` is an all-way stop, ``flashing`` gives the major road priority."""
        self._signals[node].failures.append(mode)
        self._put(node, now)

    def mend(self, node: int, mode: str, now: float) -> None:
        """End one failure of a signal."""
        self._signals[node].failures.remove(mode)
        self._put(node, now)

    # --- the kernel's arrays ----------------------------------------------------------------------------------------

    def _put(self, node: int, now: float) -> None:
        """Write what is in force into the kernel's arrays and wake the node."""
        signal = self._signals[node]
        dark, showing = self._dark(node), self.showing(node, now)
        roads = self._roads
        roads.node["cycle"][node], roads.node["offset"][node] = showing.cycle, showing.offset
        for row in signal.rows:
            first, end = int(roads.movement["green"][row]), int(roads.movement["end_green"][row])
            windows = [*showing.windows.get(row, ()), *([NEVER] * (end - first))][: end - first]
            for k, (opens, closes, rule) in zip(range(first, end), windows, strict=True):
                roads.green_opens[k], roads.green_closes[k], roads.green_yields[k] = opens, closes, rule
            roads.movement["yields"][row] = showing.cycle > 0 and any(rule >= 0 for _, _, rule in windows)
        movements = roads.movement[list(signal.rows)]
        queue, yields = movements["queue"], movements["yields"]
        roads.queue["yields"][queue] = 0
        roads.queue["yields"][queue[yields > 0]] = 1
        if dark != signal.dark:
            signal.dark = dark
            self._stop(node, now, dark=dark)
        if now < self._traffic.wake[node]:
            wake(roads, self._traffic, node, now)

    def _stop(self, node: int, now: float, *, dark: bool) -> None:
        """Let the approaches of a dark signal discharge like those of an all-way stop."""
        city = self._junctions.city
        links = city.in_link[city.in_start[node] : city.in_start[node + 1]].tolist()
        headway = ALL_WAY_STOP_S[min(len(links), len(ALL_WAY_STOP_S)) - 1]
        if len(links) == 2 and not opposite(self._junctions, links):
            headway = ALL_WAY_STOP_CROSSING_S
        for link in links:
            self._pace(link, headway if dark else 0.0, now)


def retimed(plan: SignalPlan, greens: Sequence[float], cycle_s: float, offset_s: float) -> SignalPlan:
    """Return a plan with other greens (s), cycle and offset."""
    stages: list[Stage] = [replace(stage, green_s=green) for stage, green in zip(plan.stages, greens, strict=True)]
    return replace(plan, stages=tuple(stages), cycle_s=cycle_s, offset_s=offset_s)


def standing(roads: Roads, traffic: Traffic, movement: int, now: float) -> bool:
    """Return whether the first vehicle of a movement's lane group stands at the stop line and takes that movement."""
    queue = int(roads.movement["queue"][movement])
    first = traffic.slot[traffic.queue["head"][queue]]
    return bool(first["vehicle"] >= 0 and first["time"] <= now and first["movement"] == movement)


def last_departure(traffic: Traffic, movements: Sequence[int]) -> float:
    """Return when the last vehicle took one of the movements."""
    return float(np.max(traffic.movement["last"][list(movements)]))
