"""Movements and fixed signal plans of a generated city.

A signalised junction has two axes, main and cross. An axis whose approaches have a lane of their own for left turns
gives them a stage; elsewhere left turns are permitted beside the straight ones. Greens follow the flow ratios.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from twin.generator.mesh import ARTERIAL, COLLECTOR, MOTORWAY
from twin.generator.roads import CAPACITY_VEH_H_LANE, FREE_SPEED_KMH, Roads

Float = npt.NDArray[np.float64]

SIGNALS_PER_JUNCTION = 0.27
CYCLE_S, SHORT_CYCLE_S = 90, 60  # of the arterials, which go together, and of quiet junctions with two stages
INTERGREEN_S = 5  # 3 s yellow, 2 s all red
LEAST_GREEN_S = {"thru": 15, "left": 10}  # pedestrians cross beside the straight traffic
POCKET_M = 90.0
EXIT_POCKET_M = 220.0  # deceleration lane and ramp of an interchange


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement: links in and out, its lanes (1 leftmost), its type, the length of its pocket (0: whole link)."""

    node: int
    link_in: int
    link_out: int
    first_lane: int
    last_lane: int
    turn: str
    pocket_m: float


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """Green movements (rows of the movement list), whether of the main axis, and which of them are only permitted."""

    green_s: int
    movements: tuple[int, ...]
    permitted: frozenset[int]
    main: bool


@dataclass(frozen=True, slots=True)
class Signal:
    """The plan of one junction."""

    node: int
    cycle_s: int
    offset_s: int
    stages: tuple[PlannedStage, ...]


@dataclass(frozen=True, slots=True)
class Arm:
    """A road at a junction: its direction as seen from there (rad), and its links in and out (None when one-way)."""

    road: int
    angle: float
    link_in: int | None
    link_out: int | None


Junction = list[Arm]  # anticlockwise


def plan_signals(roads: Roads, flow: Float) -> tuple[list[Movement], list[Signal]]:
    """Return movements of signalised junctions and interchanges, and the signal plans.

    Parameters
    ----------
    flow : (n_links,) veh/h
        What the plans are made for.
    """
    junctions = _junctions(roads)
    chosen = _chosen(roads, junctions, flow)
    movements: list[Movement] = []
    signals = []
    offsets = _offsets(roads)
    interchange = np.zeros(roads.n_nodes, bool)
    interchange[roads.end[roads.link_class == MOTORWAY]] = True
    for node, arms in enumerate(junctions):
        if node in chosen:
            first = len(movements)
            movements += _movements(roads, node, arms, signalised=True)
            main = chosen[node]
            signals.append(_plan(roads, node, arms, movements, first, main, flow, offsets))
        elif interchange[node]:
            movements += _movements(roads, node, arms, signalised=False)
    return movements, signals


def _junctions(roads: Roads) -> list[Junction]:
    """Return the arms of each junction, anticlockwise."""
    found: list[dict[int, Arm]] = [{} for _ in range(roads.n_nodes)]
    for link, (road, start, end) in enumerate(
        zip(roads.road.tolist(), roads.start.tolist(), roads.end.tolist(), strict=True)
    ):
        shape = roads.link_shape(link)
        for node, near, far, into in ((start, shape[0], shape[1], False), (end, shape[-1], shape[-2], True)):
            arm = found[node].get(road) or Arm(road, math.atan2(far[1] - near[1], far[0] - near[0]), None, None)
            found[node][road] = replace(arm, link_in=link) if into else replace(arm, link_out=link)
    return [sorted(arms.values(), key=lambda arm: arm.angle) for arms in found]


def _axes(arms: Junction) -> list[list[int]]:
    """Return which arms lie in line: opposite ones of four, the straightest two of three."""
    if len(arms) == 4:
        return [[0, 2], [1, 3]]
    if len(arms) == 3:

        def bend(stem: int) -> float:
            one, two = (arms[k].angle for k in range(3) if k != stem)
            return abs((one - two) % (2 * math.pi) - math.pi)

        stem = min(range(3), key=bend)
        return [[k for k in range(3) if k != stem], [stem]]
    return [list(range(len(arms)))]


def _turn(arms: Junction, start: int, end: int) -> str:
    """Return the type of the movement from one arm to another; traffic keeps right, arms are anticlockwise."""
    if any({start, end} == set(axis) for axis in _axes(arms)):
        return "thru"
    return "right" if (end - start) % len(arms) == 1 else "left"


def _chosen(roads: Roads, junctions: list[Junction], flow: Float) -> dict[int, list[int]]:
    """Return the approaches of the main axis of each junction that gets a signal: the busiest ones."""
    scores = {}
    mains = {}
    for node, arms in enumerate(junctions):
        into = [arm.link_in for arm in arms if arm.link_in is not None]
        into_roads = [arm.road for arm in arms]
        classes = sorted(int(roads.link_class[link]) for link in into)
        streets = {int(roads.street[arm.road]) for arm in arms if roads.road_class[arm.road] <= COLLECTOR}
        # At a bridge's head the riverside road gives way: red lights on both ends of a short bridge would choke it.
        if len(arms) < 3 or len(into) < 3 or MOTORWAY in classes or len(streets) < 2 or roads.bridge[into_roads].any():
            continue
        axes = [[link for k in axis if (link := arms[k].link_in) is not None] for axis in _axes(arms)]
        if not all(axes):
            continue
        mains[node] = min(axes, key=lambda axis: min((roads.link_class[k], -flow[k], k) for k in axis))
        scores[node] = float(flow[into].sum()) + (1e9 if classes[2] == ARTERIAL else 0.0)
    n = round(SIGNALS_PER_JUNCTION * roads.n_nodes)
    best = sorted(scores, key=lambda node: (-scores[node], node))[:n]
    return {node: mains[node] for node in best}


def _movements(roads: Roads, node: int, arms: Junction, *, signalised: bool) -> list[Movement]:
    """Return all movements of a junction but U-turns, with their lanes."""
    result = []
    for k, arm in enumerate(arms):
        if (link := arm.link_in) is None:
            continue
        turns = {out: _turn(arms, k, m) for m, to in enumerate(arms) if m != k and (out := to.link_out) is not None}
        lanes, half = int(roads.lanes[link]), float(roads.length[link] // 2)
        own_left = lanes >= 3 and "left" in turns.values() and len(set(turns.values())) > 1
        for out, kind in turns.items():
            first, last, pocket, turn = 1, lanes, 0.0, kind
            if not signalised and roads.link_class[link] == MOTORWAY:
                leaves = roads.link_class[out] != MOTORWAY
                turn = "diverge" if leaves else "thru"
                first, last = (lanes, lanes) if leaves else (1, lanes - 1)
                pocket = min(EXIT_POCKET_M, half) if leaves else 0.0
            elif not signalised and roads.link_class[out] == MOTORWAY:
                turn = "merge"
            elif signalised and own_left:
                first, last = (1, 1) if turn == "left" else (2, lanes)
                pocket = min(POCKET_M, half) if turn == "left" else 0.0
            result.append(Movement(node, link, out, first, last, turn, pocket))
    return result


def _plan(
    roads: Roads,
    node: int,
    arms: Junction,
    movements: list[Movement],
    first: int,
    main: list[int],
    flow: Float,
    offsets: dict[tuple[int, int], float],
) -> Signal:
    """Return the plan of one junction; every movement is in a stage."""
    own = range(first, len(movements))
    into = [arm.link_in for arm in arms if arm.link_in is not None]
    cross = [link for link in into if link not in main]
    stages = [stage for axis in (main, cross) for stage in _stages(movements, own, axis)]
    is_main = [movements[stage[0]].link_in in main for stage, _ in stages]
    ratios = [_flow_ratio(roads, movements, own, stage, flow) for stage, _ in stages]
    two = len(stages) == 2 and sum(ratios) < 0.55
    arterial = any(roads.link_class[k] <= ARTERIAL for k in into)
    cycle = SHORT_CYCLE_S if two or not arterial else CYCLE_S
    if len(stages) > 2:
        cycle = CYCLE_S
    least = [
        LEAST_GREEN_S["left" if all(movements[m].turn == "left" for m in stage) else "thru"] for stage, _ in stages
    ]
    greens = _greens(cycle - INTERGREEN_S * len(stages), ratios, least)
    street = int(roads.street[roads.road[min(main, key=lambda k: (roads.link_class[k], k))]])
    return Signal(
        node=node,
        cycle_s=cycle,
        offset_s=round(offsets[street, node]) % cycle,
        stages=tuple(
            PlannedStage(green, tuple(stage), frozenset(permitted), on_main)
            for green, (stage, permitted), on_main in zip(greens, stages, is_main, strict=True)
        ),
    )


def _stages(movements: list[Movement], own: range, axis: list[int]) -> list[tuple[list[int], set[int]]]:
    """Return the stages of one axis: movements green together, and those that must give way."""
    here = [m for m in own if movements[m].link_in in axis]
    lefts = [m for m in here if movements[m].turn == "left"]
    facing = len({movements[m].link_in for m in here}) > 1
    protected = [m for m in lefts if movements[m].last_lane == 1 and movements[m].pocket_m > 0]
    if not (facing and protected):
        return [(here, set(lefts) if facing else set())]
    straight = [m for m in here if m not in protected]
    turning = set(protected)
    sides = {movements[m].link_in for m in lefts}
    if len(sides) == 1:  # a T-junction: nothing comes against what goes straight on beside the turn
        turning |= {m for m in here if movements[m].link_in in sides}
    return [(straight, {m for m in lefts if m in straight}), (sorted(turning), set())]


def _flow_ratio(roads: Roads, movements: list[Movement], own: range, stage: list[int], flow: Float) -> float:
    """Return the stage's largest ratio of flow to saturation flow over its lane groups."""
    groups: dict[tuple[int, int], float] = {}
    for m in stage:
        movement = movements[m]
        outs = [movements[k].link_out for k in own if movements[k].link_in == movement.link_in]
        share = (flow[movement.link_out] + 20.0) / sum(flow[out] + 20.0 for out in outs)
        lanes = movement.last_lane - movement.first_lane + 1
        saturation = lanes * CAPACITY_VEH_H_LANE[int(roads.link_class[movement.link_in])]
        key = (movement.link_in, movement.first_lane)
        groups[key] = groups.get(key, 0.0) + (flow[movement.link_in] + 40.0) * share / saturation
    return max(groups.values())


def _greens(time_s: int, ratios: list[float], least: list[int]) -> list[int]:
    """Return whole greens (s) that fill the time, in proportion to the ratios but none below its least.

    Notes
    -----
    Source: Webster (1958), Traffic signal settings, Road Research Technical Paper 39.

    Examples
    --------
    >>> _greens(50, [0.3, 0.1], [15, 15])
    [35, 15]
    """
    spare = time_s - sum(least)
    wish = [max(0.0, time_s * ratio / sum(ratios) - low) for ratio, low in zip(ratios, least, strict=True)]
    total = sum(wish) or 1.0
    greens = [low + int(spare * part / total) for low, part in zip(least, wish, strict=True)]
    greens[int(np.argmax(wish))] += time_s - sum(greens)
    return greens


def _offsets(roads: Roads) -> dict[tuple[int, int], float]:
    """Return when (s) a platoon that entered a street at its far end passes each junction, by (street, junction)."""
    along: dict[int, dict[int, list[tuple[int, float]]]] = {}
    for link in range(roads.n_links):
        road = int(roads.road[link])
        seconds = float(roads.length[link]) / (0.85 * FREE_SPEED_KMH[int(roads.road_class[road])] / 3.6)
        around = along.setdefault(int(roads.street[road]), {})
        a, b = int(roads.start[link]), int(roads.end[link])
        around.setdefault(a, []).append((b, seconds))
        around.setdefault(b, []).append((a, seconds))
    away = np.hypot(*roads.xy.T)
    result: dict[tuple[int, int], float] = {}
    for street, around in along.items():
        # Ends first, the outermost before the others: platoons of the morning drive inwards.
        for seed in sorted(around, key=lambda n: (len({k for k, _ in around[n]}) > 1, -away[n])):
            todo = [(seed, 0.0)] if (street, seed) not in result else []
            while todo:
                node, time = todo.pop()
                if (street, node) in result:
                    continue
                result[street, node] = time
                todo += [(other, time + seconds) for other, seconds in around[node]]
    return result
