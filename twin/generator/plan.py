"""The plan of a city: lattice of arterials, river with few bridges, ring roads, gateways; blocks are cut later."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from twin.generator.mesh import ARTERIAL, COLLECTOR, MOTORWAY, Edge, Mesh

Float = npt.NDArray[np.float64]

SPACING_M = 1_300.0  # between arterials: superblocks of Chinese cities are 1 km to 1.5 km wide
RIVER_HALF_WIDTH_M = 85.0  # from the river's axis to the riverside roads
RING_MARGIN_M = 120.0  # least distance of an interchange from the next junction of the lattice
AREA_PER_JUNCTION_M2 = 64e6 / 300  # an 8 km x 8 km city has 300 junctions


@dataclass(slots=True)
class Plan:
    """A city's plan: its mesh and what is needed to cut and dress it.

    Parameters
    ----------
    mesh
        Streets.
    side_m
        Side of the square plan.
    centres : (n, 3) m
        Old centres as x, y, radius; the first is the main one.
    gateways
        Vertices where roads leave the city.
    parks
        Faces that are kept free of streets.
    stops
        Vertices between two roads of one line that are junctions all the same: very long links end there.
    n_lines
        Lines drawn so far; each line or cut is the seed of a street.
    riverside
        Lines of the southern and the northern riverside road.
    ring_line
        First line of the ring roads, which have four each: east, north, west, south.
    """

    mesh: Mesh
    side_m: float
    centres: Float
    gateways: list[int]
    parks: list[int]
    n_lines: int
    riverside: tuple[int, int]
    ring_line: int
    stops: set[int] = field(default_factory=set)

    def junctions(self) -> list[int]:
        """Return the vertices that are junctions."""
        around = self.mesh.neighbours
        return [v for v in range(len(around)) if v in self.stops or len(around[v]) not in (0, 2)]


def draw_plan(rng: np.random.Generator, *, junctions: int) -> Plan:
    """Return the skeleton of a city for about so many junctions; blocks are not yet cut."""
    side = math.sqrt(AREA_PER_JUNCTION_M2 * junctions)
    half = max(1, round(side / 2 / SPACING_M))
    west, east, south, north = (_lines(rng, half=half, side_m=side) for _ in range(4))
    xs = [*(-x for x in west[:0:-1]), *east]
    ys = [*(-y for y in south[:0:-1]), -RIVER_HALF_WIDTH_M, RIVER_HALF_WIDTH_M, *north[1:]]
    mesh = Mesh()
    _lattice(mesh, xs, ys, bridges=_bridges(rng, half=half))
    n_lines = ring_line = len(xs) + len(ys)
    for cell in range(min(2, half - 1), half, 3):
        _draw_ring(mesh, xs, ys, _ring(rng, xs, ys, half=half, cell=cell), n_lines)
        n_lines += 4
    _fray(rng, mesh, xs, ys)
    gateways = _gateways(rng, mesh, xs, ys)
    centres = _centres(rng, side_m=side, junctions=junctions)
    parks = _parks(rng, mesh, centres, n=max(1, junctions // 300))
    riverside = len(xs) + len(ys) // 2 - 1
    return Plan(mesh, side, centres, gateways, parks, n_lines, (riverside, riverside + 1), ring_line)


def _lines(rng: np.random.Generator, *, half: int, side_m: float) -> list[float]:
    """Return places of lines from 0 outwards, closer together in the middle."""
    steps = (0.85 + 0.3 * np.arange(half) / max(1, half - 1)) * rng.uniform(0.92, 1.08, half)
    return [0.0, *(np.cumsum(steps) * side_m / 2 / steps.sum()).tolist()]


def _centres(rng: np.random.Generator, *, side_m: float, junctions: int) -> Float:
    """Return the old centres; large cities have grown together from several towns."""
    shift = rng.choice([-1.0, 1.0])
    main = [[rng.uniform(-0.05, 0.05) * side_m, shift * (350.0 + 0.07 * side_m), 0.12 * min(side_m, 24_000.0) + 200.0]]
    towns = rng.uniform(-0.42, 0.42, (junctions // 1_500, 2)) * side_m
    return np.array(main + [[x, y, 900.0] for x, y in towns.tolist()])


def _bridges(rng: np.random.Generator, *, half: int) -> set[int]:
    """Return which vertical lines cross the river: few, so that bridges are what the city quarrels about."""
    inner = rng.permutation(np.arange(-half + 1, half)) if half > 1 else np.array([0])
    if half == 1:
        return {half - 1, int(rng.choice([0, 2]))}
    n = max(2, round(0.42 * len(inner))) + int(rng.integers(0, 2))
    # The line beside each chosen one is left out while there is choice, so that bridges are spread.
    chosen: list[int] = []
    for spread in (2, 1):
        for line in inner.tolist():
            if len(chosen) < n and all(abs(line - other) >= spread for other in chosen):
                chosen.append(line)
    return {line + half for line in chosen}


@dataclass(frozen=True, slots=True)
class _Ring:
    """A superellipse ``|x / a|^p + |y / b|^p = 1`` in the plan."""

    a: float
    b: float
    p: float

    def y_at(self, x: float) -> float | None:
        """Return the positive y at x, or None outside."""
        rest = 1.0 - abs(x / self.a) ** self.p
        return self.b * rest ** (1 / self.p) if rest > 0 else None

    def x_at(self, y: float) -> float | None:
        """Return the positive x at y, or None outside."""
        rest = 1.0 - abs(y / self.b) ** self.p
        return self.a * rest ** (1 / self.p) if rest > 0 else None

    def crossings(self, xs: list[float], ys: list[float]) -> list[tuple[float, float, bool, int]]:
        """Return crossings with the lattice, anticlockwise: x, y, whether the line is vertical, its number."""
        points = []
        for i, x in enumerate(xs):
            if (y := self.y_at(x)) is not None:
                points += [(x, y, True, i), (x, -y, True, i)]
        for j, y in enumerate(ys):
            if (x_pos := self.x_at(y)) is not None:
                points += [(x_pos, y, False, j), (-x_pos, y, False, j)]
        return sorted(points, key=lambda point: math.atan2(point[1] / self.b, point[0] / self.a))

    def between(self, start: tuple[float, float], end: tuple[float, float], n: int) -> list[tuple[float, float]]:
        """Return n points of the curve between two of its points, anticlockwise."""
        first = math.atan2(start[1] / self.b, start[0] / self.a)
        turn = (math.atan2(end[1] / self.b, end[0] / self.a) - first) % (2 * math.pi)
        points = []
        for k in range(1, n + 1):
            cos, sin = math.cos(first + turn * k / (n + 1)), math.sin(first + turn * k / (n + 1))
            radius = (abs(cos) ** self.p + abs(sin) ** self.p) ** (-1 / self.p)
            points.append((self.a * radius * cos, self.b * radius * sin))
        return points


def _ring(rng: np.random.Generator, xs: list[float], ys: list[float], *, half: int, cell: int) -> _Ring:
    """Return a ring road between lattice lines whose interchanges stay clear of the lattice's junctions."""
    right, top = xs[half:], ys[half + 1 :]
    best, best_margin = None, -1.0
    for _ in range(400):
        a, b = (line[cell] + rng.uniform(0.2, 0.8) * (line[cell + 1] - line[cell]) for line in (right, top))
        ring = _Ring(a, b, rng.uniform(2.1, 2.9))
        points = ring.crossings(xs, ys)
        along = [min(abs(y - v) for v in ys) if up else min(abs(x - u) for u in xs) for x, y, up, _ in points]
        apart = [math.dist(p[:2], q[:2]) for p, q in zip(points, [*points[1:], points[0]], strict=True)]
        margin = min(*along, *apart)
        if margin > best_margin:
            best, best_margin = ring, margin
        if margin > RING_MARGIN_M:
            break
    assert best is not None
    return best


def _lattice(mesh: Mesh, xs: list[float], ys: list[float], *, bridges: set[int]) -> None:
    """Add the lattice's cells, their sides as streets, and the bridges."""
    nx, ny, river_row = len(xs), len(ys), len(ys) // 2 - 1
    vertices: dict[tuple[int, int], int] = {}

    def vertex(i: int, j: int) -> int:
        if (i, j) not in vertices:
            vertices[i, j] = mesh.add_vertex(xs[i], ys[j])
        return vertices[i, j]

    def side(a: tuple[int, int], b: tuple[int, int]) -> None:
        line = a[0] if a[0] == b[0] else nx + a[1]
        outer = (a[0] == b[0] and a[0] in (0, nx - 1)) or (a[1] == b[1] and a[1] in (0, ny - 1))
        riverside = a[1] == b[1] and a[1] in (river_row, river_row + 1)
        mesh.add_edge(vertex(*a), vertex(*b), Edge(COLLECTOR if outer or riverside else ARTERIAL, line))

    for i in range(nx - 1):
        for j in range(ny - 1):
            if j == river_row:
                continue
            corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
            for a, b in ((0, 1), (1, 2), (3, 2), (0, 3)):
                side(corners[a], corners[b])
            mesh.add_face([vertex(*corner) for corner in corners])
    for i in sorted(bridges):
        mesh.add_edge(vertex(i, river_row), vertex(i, river_row + 1), Edge(ARTERIAL, i, bridge=True))


def _draw_ring(mesh: Mesh, xs: list[float], ys: list[float], ring: _Ring, line: int) -> None:
    """Draw a ring road: an interchange where it crosses a line of the lattice, bends between them."""
    points = ring.crossings(xs, ys)
    by_place = {(mesh.x[v], mesh.y[v]): v for v in range(len(mesh.x))}
    vertices = []
    for x, y, vertical, number in points:
        places = ys if vertical else xs
        k = int(np.searchsorted(places, y if vertical else x))
        ends = [(xs[number], ys[m]) if vertical else (xs[m], ys[number]) for m in (k - 1, k)]
        vertices.append(mesh.split_edge(by_place[ends[0]], by_place[ends[1]], x, y))
    for k, (p, q) in enumerate(zip(points, [*points[1:], points[0]], strict=True)):
        a, b = vertices[k], vertices[(k + 1) % len(vertices)]
        middle = math.atan2((p[1] + q[1]) / 2, (p[0] + q[0]) / 2)
        quarter = line + round(middle / (math.pi / 2)) % 4
        face = mesh.common_face(a, b)
        if face is None:
            mesh.add_edge(a, b, Edge(MOTORWAY, quarter, bridge=True))
            continue
        n = int(math.dist(p[:2], q[:2]) // 120.0)
        bends = [mesh.add_vertex(*place) for place in ring.between(p[:2], q[:2], n)]
        mesh.split_face(face, [a, *bends, b], MOTORWAY, quarter)


def _fray(rng: np.random.Generator, mesh: Mesh, xs: list[float], ys: list[float]) -> None:
    """Take faces off the rim, the corners always, so that the city's edge is not a frame."""
    if len(xs) <= 3:
        return
    for face in list(mesh.faces):
        loop = mesh.faces[face]
        rim = (min(mesh.x[v] for v in loop) == xs[0] or max(mesh.x[v] for v in loop) == xs[-1]) + (
            min(mesh.y[v] for v in loop) == ys[0] or max(mesh.y[v] for v in loop) == ys[-1]
        )
        if rim == 2 or (rim == 1 and rng.random() < 0.24):
            mesh.remove_face(face)


def _gateways(rng: np.random.Generator, mesh: Mesh, xs: list[float], ys: list[float]) -> list[int]:
    """Add roads that leave the city from the ends of lattice lines, and return their outer ends."""
    gateways = []
    count = len(mesh.x)
    for vertical, lines in ((True, xs), (False, ys)):
        inner = [k for k in range(1, len(lines) - 1) if vertical or k not in (len(ys) // 2 - 1, len(ys) // 2)]
        for sign in (-1, 1):
            for k in rng.permutation(inner)[: min(6, max(1, round(0.4 * len(inner))))].tolist():
                on_line = [
                    v for v in range(count) if mesh.neighbours[v] and (mesh.x[v] if vertical else mesh.y[v]) == lines[k]
                ]
                start = max(on_line, key=lambda v: sign * (mesh.y[v] if vertical else mesh.x[v]))
                reach = sign * rng.uniform(380.0, 620.0)
                end = mesh.add_vertex(
                    mesh.x[start] + (0 if vertical else reach), mesh.y[start] + (reach if vertical else 0)
                )
                mesh.add_edge(start, end, Edge(ARTERIAL, k if vertical else len(xs) + k))
                gateways.append(end)
    return gateways


def _parks(rng: np.random.Generator, mesh: Mesh, centres: Float, *, n: int) -> list[int]:
    """Return whole blocks near the centre that stay free of streets: a lake in its park."""
    candidates: list[tuple[float, int]] = []
    for face in mesh.faces:
        area, x, y = mesh.area_and_centroid(face)
        away = math.hypot(x - centres[0, 0], y - centres[0, 1])
        if area > 0.5e6 and all(mesh.edge(a, b).road_class != MOTORWAY for a, b in _sides(mesh.faces[face])):
            candidates.append((abs(away - 1_500.0), face))
    near = [face for _, face in sorted(candidates)]
    return near[:1] + [near[1:][k] for k in rng.permutation(max(0, len(near) - 1))[: n - 1].tolist()]


def _sides(loop: list[int]) -> list[tuple[int, int]]:
    return list(zip(loop, [*loop[1:], loop[0]], strict=True))
