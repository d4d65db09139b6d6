"""Movements and fixed signal plans of a generated city.

A signalised junction has two axes, main and cross. An axis whose approaches have a lane of their own for left turns gives
them a stage; elsewhere left turns are permitted together with the straight ones. Greens follow the flow ratios (Webster).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin.generator.mesh import ARTERIAL, COLLECTOR, MOTORWAY
from twin.generator.roads import CAPACITY_VEH_H_LANE, FREE_SPEED_KMH, Roads

Float = npt.NDArray[np.float64]

SIGNALS_PER_JUNCTION = 0.27
CYCLE_S = 120  # of all coordinated junctions, or half of it where two stages do
INTERGREEN_S = 5  # 3 s yellow, 2 s all red
LEAST_GREEN_S = {"thru": 15, "left": 10}  # pedestrians cross beside the straight traffic
POCKET_M = 90.0
EXIT_POCKET_M = 220.0  # deceleration lane and ramp of an interchange
THRU_ANGLE = math.radians(42.0)


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement: links in and out, its lanes (1 leftmost), its type, and the length of its pocket (0: whole link)."""

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
class _Junction:
    """Links at a junction, with their headings (rad) there."""

    node: int
    incoming: list[int]
    outgoing: list[int]


def plan_signals(roads: Roads, flow: Float) -> tuple[list[Movement], list[Signal]]:
    """Return movements of signalised junctions and interchanges, and the signal plans.

    Parameters
    ----------
    flow : (n_links,) veh/h
        What the plans are made for.
    """
    junctions = _junctions(roads)
    headings = _headings(roads)
    chosen = _chosen(roads, junctions, headings, flow)
    movements: list[Movement] = []
    signals = []
    offsets = _offsets(roads)
    interchange = np.zeros(roads.n_nodes, bool)
    interchange[roads.end[roads.link_class == MOTORWAY]] = True
    for junction in junctions:
        if junction.node in chosen:
            first = len(movements)
            movements += _movements(roads, junction, headings, signalised=True)
            main = chosen[junction.node]
            signals.append(_plan(roads, junction, headings, movements, first, main, flow, offsets))
        elif interchange[junction.node]:
            movements += _movements(roads, junction, headings, signalised=False)
    return movements, signals


def _junctions(roads: Roads) -> list[_Junction]:
    result = [_Junction(node, [], []) for node in range(roads.n_nodes)]
    for link, (start, end) in enumerate(zip(roads.start.tolist(), roads.end.tolist(), strict=True)):
        result[start].outgoing.append(link)
        result[end].incoming.append(link)
    return result


def _headings(roads: Roads) -> Float:
    """Return the headings (n_links, 2) rad of links at their start and at their end."""
    result = np.empty((roads.n_links, 2))
    for link in range(roads.n_links):
        shape = roads.link_shape(link)
        for k, (a, b) in enumerate(((shape[0], shape[1]), (shape[-2], shape[-1]))):
            result[link, k] = math.atan2(b[1] - a[1], b[0] - a[0])
    return result


def _bend(angle: float) -> float:
    """Return an angle brought to -pi..pi."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _chosen(roads: Roads, junctions: list[_Junction], headings: Float, flow: Float) -> dict[int, list[int]]:
    """Return the approaches of the main axis of each junction that gets a signal: the busiest ones."""
    scores = {}
    axes = {}
    for junction in junctions:
        classes = [int(roads.link_class[k]) for k in junction.incoming]
        streets = {int(roads.street[roads.road[k]]) for k in junction.incoming if roads.link_class[k] <= COLLECTOR}
        if roads.gateway[junction.node] or MOTORWAY in classes or len(streets) < 2 or len(junction.incoming) < 3:
            continue
        main = _main_axis(roads, junction, headings, flow)
        if len(main) == len(junction.incoming):
            continue
        axes[junction.node] = main
        crossing = sorted(classes)[2] == ARTERIAL
        scores[junction.node] = sum(flow[k] for k in junction.incoming) + (1e9 if crossing else 0.0)
    n = round(SIGNALS_PER_JUNCTION * roads.n_nodes)
    best = sorted(scores, key=lambda node: (-scores[node], node))[:n]
    return {node: axes[node] for node in best}


def _main_axis(roads: Roads, junction: _Junction, headings: Float, flow: Float) -> list[int]:
    """Return the approaches in line with the most important one."""
    first = min(junction.incoming, key=lambda k: (roads.link_class[k], -flow[k], k))
    axis = headings[first, 1]
    return [k for k in junction.incoming if abs(math.sin(headings[k, 1] - axis)) < math.sin(math.radians(45.0))]


def _movements(roads: Roads, junction: _Junction, headings: Float, *, signalised: bool) -> list[Movement]:
    """Return all movements of a junction but U-turns, with their lanes."""
    result = []
    for link in junction.incoming:
        outs = [out for out in junction.outgoing if roads.road[out] != roads.road[link]]
        turns = {out: _turn(_bend(headings[out, 0] - headings[link, 1])) for out in outs}
        lanes, length = int(roads.lanes[link]), float(roads.length[link])
        own_left = lanes >= 3 and "left" in turns.values() and len(set(turns.values())) > 1
        for out in outs:
            first, last, pocket, turn = 1, lanes, 0.0, turns[out]
            if not signalised and roads.link_class[link] == MOTORWAY:
                leaves = roads.link_class[out] != MOTORWAY
                turn = "diverge" if leaves else "thru"
                first, last = (lanes, lanes) if leaves else (1, lanes - 1)
                pocket = min(EXIT_POCKET_M, round(length / 2)) if leaves else 0.0
            elif not signalised and roads.link_class[out] == MOTORWAY:
                turn = "merge"
            elif signalised and own_left:
                first, last = (1, 1) if turn == "left" else (2, lanes)
                pocket = min(POCKET_M, round(length / 2)) if turn == "left" else 0.0
            result.append(Movement(junction.node, link, out, first, last, turn, float(pocket)))
    return result


def _turn(angle: float) -> str:
    if abs(angle) <= THRU_ANGLE:
        return "thru"
    return "left" if angle > 0 else "right"


def _plan(
    roads: Roads,
    junction: _Junction,
    headings: Float,
    movements: list[Movement],
    first: int,
    main: list[int],
    flow: Float,
    offsets: dict[tuple[int, int], float],
) -> Signal:
    """Return the plan of one junction; every movement is in a stage."""
    own = range(first, len(movements))
    cross = [k for k in junction.incoming if k not in main]
    stages = [stage for axis in (main, cross) for stage in _stages(movements, own, axis)]
    is_main = [movements[stage[0]].link_in in main for stage, _ in stages]
    ratios = [_flow_ratio(roads, movements, own, stage, flow) for stage, _ in stages]
    two = len(stages) == 2 and sum(ratios) < 0.55
    arterial = any(roads.link_class[k] <= ARTERIAL for k in junction.incoming)
    cycle = CYCLE_S // 2 if two or not arterial else CYCLE_S
    if len(stages) > 2:
        cycle = CYCLE_S
    least = [
        LEAST_GREEN_S["left" if all(movements[m].turn == "left" for m in stage) else "thru"] for stage, _ in stages
    ]
    greens = _greens(cycle - INTERGREEN_S * len(stages), ratios, least)
    street = int(roads.street[roads.road[min(main, key=lambda k: (roads.link_class[k], k))]])
    return Signal(
        node=junction.node,
        cycle_s=cycle,
        offset_s=round(offsets[street, junction.node]) % cycle,
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
    """Return the time (s) at which a platoon that entered a street at its far end passes each junction, by (street, junction)."""
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
