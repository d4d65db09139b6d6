"""Blocks: faces of the plan are cut in two, largest first, until the city has its junctions.

A cut starts from a side street on the far side of the block when there is one, so that streets go on across
arterials; else it makes a T-junction, the most common junction of real cities.
"""

import bisect
import heapq
import itertools
import math

import numpy as np

from twin.generator.mesh import COLLECTOR, LOCAL, MOTORWAY
from twin.generator.plan import Plan

LEAST_LINK_M = 85.0  # in the plan; the ground shortens by at most a third
LONGEST_LINK_M = 1_050.0
STOPS_SHARE, LEAST_STOPS = 0.07, 4  # about so many junctions only divide a long road
LONG_LINK_M = 750.0  # blocks with longer sides are cut sooner
LEAST_SINE = 0.55  # streets meet at 33 degrees or more
TRIES = 10


def cut_blocks(rng: np.random.Generator, plan: Plan, *, junctions: int) -> None:
    """Cut the plan's blocks until it has about so many junctions, or none can be cut."""
    mesh = plan.mesh
    count = len(plan.junctions())
    level = dict.fromkeys(mesh.faces, 0)
    parks = set(plan.parks)
    heap = [(-_want(plan, face), face) for face in mesh.faces if face not in parks]
    heapq.heapify(heap)
    while heap and count < (1.0 - STOPS_SHARE) * junctions - LEAST_STOPS:
        _, face = heapq.heappop(heap)
        made = _cut(rng, plan, face, level[face])
        if made is None:
            continue
        count += made[1]
        for child in made[0]:
            level[child] = level[face] + 1
            heapq.heappush(heap, (-_want(plan, child), child))
    _divide_long_roads(plan)


def _divide_long_roads(plan: Plan) -> None:
    """Put junctions on roads too long to be cut, and on all but the shortest between the same two junctions."""
    found = sorted((_reach(plan, chain)[-1], chain) for chain in chains(plan))
    pairs: set[tuple[int, int]] = set()
    for length, chain in found:
        ends = (min(chain[0], chain[-1]), max(chain[0], chain[-1]))
        parts = max(math.ceil(length / LONGEST_LINK_M), 1 + (ends in pairs))
        pairs.add(ends)
        for part in range(1, parts):
            along = _reach(plan, chain)
            wish = length * part / parts
            k = bisect.bisect_left(along, wish)
            v = _halt(plan, chain[k - 1], chain[k], (wish - along[k - 1]) / (along[k] - along[k - 1]))
            chain.insert(k, v)


def _reach(plan: Plan, chain: list[int]) -> list[float]:
    """Return how far (m) each vertex of a chain is from its first."""
    steps = (plan.mesh.length(a, b) for a, b in itertools.pairwise(chain))
    return list(itertools.accumulate(steps, initial=0.0))


def _halt(plan: Plan, a: int, b: int, share: float) -> int:
    """Return a new junction that divides the edge from a to b at a share of its length."""
    mesh = plan.mesh
    x, y = mesh.x[a] + share * (mesh.x[b] - mesh.x[a]), mesh.y[a] + share * (mesh.y[b] - mesh.y[a])
    v = mesh.split_edge(a, b, x, y)
    plan.stops.add(v)
    return v


def chains(plan: Plan) -> list[list[int]]:
    """Return the vertices of each road, from junction to junction over shape points."""
    around = plan.mesh.neighbours
    ends = plan.junctions()
    is_end = set(ends)
    found = []
    for v in ends:
        for other in sorted(around[v]):
            chain = [v, other]
            while chain[-1] not in is_end:
                chain.append(next(n for n in sorted(around[chain[-1]]) if n != chain[-2]))
            if (chain[0], chain[1]) < (chain[-1], chain[-2]):
                found.append(chain)
    return found


def density(plan: Plan, x: float, y: float) -> float:
    """Return how much denser than the outskirts the streets are at a place of the plan."""
    value = 1.0 + 1.6 * math.exp(-(x**2 + y**2) / (0.33 * plan.side_m) ** 2)
    for cx, cy, radius in plan.centres.tolist():
        value += 7.0 * math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / radius**2)
    return value


def _want(plan: Plan, face: int) -> float:
    """Return how much a face wants to be cut: its area by what is usual there, more when a side is too long."""
    mesh = plan.mesh
    area, x, y = mesh.area_and_centroid(face)
    loop = mesh.faces[face]
    longest = max(
        (mesh.length(a, b) for a, b in zip(loop, [*loop[1:], loop[0]], strict=True) if not _closed(plan, a, b)),
        default=0.0,
    )
    return area * density(plan, x, y) * max(1.0, longest / LONG_LINK_M) ** 4


def _closed(plan: Plan, a: int, b: int) -> bool:
    """Return whether no street may begin between two vertices: a ring road has interchanges only."""
    return plan.mesh.edge(a, b).road_class == MOTORWAY


def _cut(rng: np.random.Generator, plan: Plan, face: int, level: int) -> tuple[tuple[int, int], int] | None:
    """Cut a face in two; return both and the number of new junctions, or None when no cut is good enough."""
    mesh = plan.mesh
    loop = mesh.faces[face]
    _, cx, cy = mesh.area_and_centroid(face)
    width = max(mesh.x[v] for v in loop) - min(mesh.x[v] for v in loop)
    height = max(mesh.y[v] for v in loop) - min(mesh.y[v] for v in loop)
    wild = min(1.0, (density(plan, cx, cy) - 1.0) / 6.0)  # 1 in the old centre: crooked streets
    for attempt in range(TRIES):
        across = (width > height * rng.uniform(0.8, 1.25)) != (attempt >= TRIES - 3)
        extent = width if across else height
        angle = (math.pi / 2 if across else 0.0) + rng.normal(0.0, 0.02 + 0.17 * wild)
        shift = rng.uniform(-0.12, 0.12) * extent
        base = (cx + shift, cy) if across else (cx, cy + shift)
        start = _side_street(plan, loop, base, across, 0.27 * extent) if attempt < TRIES // 2 else None
        if start is not None:
            base = (mesh.x[start], mesh.y[start])
        ends = _ends(plan, loop, base, (math.cos(angle), math.sin(angle)), start, snap=0.12 * extent)
        if ends is None:
            continue
        new = 0
        path = []
        for end in ends:
            if isinstance(end, int):
                new += len(mesh.neighbours[end]) == 2
                path.append(end)
            else:
                a, b, x, y = end
                path.append(mesh.split_edge(a, b, x, y))
                new += 1
        length = mesh.length(path[0], path[1])
        main = level == 0 or (level == 1 and length > 450.0 and rng.random() < 0.4)
        plan.n_lines += 1
        return mesh.split_face(face, path, COLLECTOR if main else LOCAL, plan.n_lines - 1), new
    return None


def _side_street(plan: Plan, loop: list[int], base: tuple[float, float], across: bool, reach_m: float) -> int | None:
    """Return the T-junction of a street beyond the block nearest to the wished cut, or None."""
    mesh = plan.mesh
    best, best_distance = None, reach_m
    n = len(loop)
    for k, v in enumerate(loop):
        away = abs(mesh.x[v] - base[0]) if across else abs(mesh.y[v] - base[1])
        if away >= best_distance or not _may_join(plan, loop[k - 1], v, loop[(k + 1) % n]):
            continue
        before, after = loop[k - 1], loop[(k + 1) % n]
        dx, dy = mesh.x[after] - mesh.x[before], mesh.y[after] - mesh.y[before]
        if abs(dy if across else dx) < 0.5 * math.hypot(dx, dy):  # it stands on a side that the cut will meet
            best, best_distance = v, away
    return best


def _may_join(plan: Plan, before: int, v: int, after: int) -> bool:
    """Return whether a street may end at a vertex: a T-junction seen from its closed side, not of a ring road."""
    mesh = plan.mesh
    if len(mesh.neighbours[v]) != 3:
        return False
    if any(_closed(plan, v, other) for other in mesh.neighbours[v]):
        return False
    ax, ay, bx, by = (
        mesh.x[before] - mesh.x[v],
        mesh.y[before] - mesh.y[v],
        mesh.x[after] - mesh.x[v],
        mesh.y[after] - mesh.y[v],
    )
    return ax * bx + ay * by < -0.8 * math.hypot(ax, ay) * math.hypot(bx, by)


End = int | tuple[int, int, float, float]


def _ends(
    plan: Plan,
    loop: list[int],
    base: tuple[float, float],
    heading: tuple[float, float],
    start: int | None,
    *,
    snap: float,
) -> tuple[End, End] | None:
    """Return where a straight cut meets the block's sides: vertices, or places on an edge; None when it must not."""
    mesh = plan.mesh
    hits: list[tuple[float, End]] = [(0.0, start)] if start is not None else []
    n = len(loop)
    for k, a in enumerate(loop):
        b = loop[(k + 1) % n]
        if start in (a, b):
            continue
        ax, ay, bx, by = mesh.x[a] - base[0], mesh.y[a] - base[1], mesh.x[b] - base[0], mesh.y[b] - base[1]
        side_a, side_b = heading[0] * ay - heading[1] * ax, heading[0] * by - heading[1] * bx
        if (side_a > 0) == (side_b > 0):
            continue
        share = side_a / (side_a - side_b)
        x, y = ax + share * (bx - ax), ay + share * (by - ay)
        hits.append((heading[0] * x + heading[1] * y, (a, b, x + base[0], y + base[1])))
    if len(hits) != 2:  # a block that is not convex along this line
        return None
    first, second = (_settle(plan, loop, end, snap) for _, end in sorted(hits, key=lambda hit: hit[0]))
    if first is None or second is None or not _good(plan, loop, first, second):
        return None
    return first, second


def _settle(plan: Plan, loop: list[int], end: End, snap: float) -> End | None:
    """Return the end moved to a side street near it, or as it is; None when it would make too short a link."""
    if isinstance(end, int):
        return end
    mesh = plan.mesh
    a, b, x, y = end
    if _closed(plan, a, b):
        return None
    n = len(loop)
    near = sorted((math.hypot(mesh.x[v] - x, mesh.y[v] - y), v) for v in (a, b))
    distance, v = near[0]
    k = loop.index(v)
    if distance < max(snap, LEAST_LINK_M) and _may_join(plan, loop[k - 1], v, loop[(k + 1) % n]):
        return v
    return end if distance >= LEAST_LINK_M else None


def _good(plan: Plan, loop: list[int], first: End, second: End) -> bool:
    """Return whether a cut between two ends is long enough, meets no street at a sharp angle and stays inside."""
    mesh = plan.mesh
    places = [(mesh.x[e], mesh.y[e]) if isinstance(e, int) else e[2:] for e in (first, second)]
    length = math.dist(*places)
    if length < LEAST_LINK_M:
        return False
    if isinstance(first, int) and isinstance(second, int) and second in mesh.neighbours[first]:
        return False
    ux, uy = (places[1][0] - places[0][0]) / length, (places[1][1] - places[0][1]) / length
    n = len(loop)
    for end, (x, y) in zip((first, second), places, strict=True):
        k = loop.index(end) if isinstance(end, int) else -1
        others = (loop[k - 1], loop[(k + 1) % n]) if isinstance(end, int) else end[:2]
        for other in others:
            dx, dy = mesh.x[other] - x, mesh.y[other] - y
            if abs(ux * dy - uy * dx) < LEAST_SINE * math.hypot(dx, dy):
                return False
    return not any(_crosses(plan, a, loop[(k + 1) % n], places, (first, second)) for k, a in enumerate(loop))


def _crosses(plan: Plan, a: int, b: int, places: list[tuple[float, float]], ends: tuple[End, End]) -> bool:
    """Return whether a side of the block, other than those the cut ends on, meets the cut."""
    for end in ends:
        if (isinstance(end, int) and end in (a, b)) or (not isinstance(end, int) and {a, b} == set(end[:2])):
            return False
    mesh = plan.mesh
    (px, py), (qx, qy) = places

    def turn(ox: float, oy: float, sx: float, sy: float, tx: float, ty: float) -> float:
        return (sx - ox) * (ty - oy) - (sy - oy) * (tx - ox)

    ax, ay, bx, by = mesh.x[a], mesh.y[a], mesh.x[b], mesh.y[b]
    return (turn(px, py, qx, qy, ax, ay) > 0) != (turn(px, py, qx, qy, bx, by) > 0) and (
        turn(ax, ay, bx, by, px, py) > 0
    ) != (turn(ax, ay, bx, by, qx, qy) > 0)
