"""Water, parks and buildings of a generated city: what the map shows behind the roads."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from twin.generator.ground import Ground
from twin.generator.mesh import MOTORWAY
from twin.generator.names import LAKES, Name, Names
from twin.generator.plan import RIVER_HALF_WIDTH_M, Plan
from twin.generator.roads import OLD_DENSITY, Roads

Float = npt.NDArray[np.float64]

SHORE_M = 28.0  # between the riverside roads' axes and the water
ROAD_HALF_WIDTH_M = (19.0, 16.0, 11.0, 7.0)  # with pavements, by class
BUILDINGS_PER_JUNCTION, MOST_BUILDINGS = 9.0, 30_000
SMALL_PARKS_PER_JUNCTION = 0.04


@dataclass(frozen=True, slots=True)
class Area:
    """Water or a park: kind, name and its ring (k, 2) m; a long one also in parts, which together cover it."""

    kind: str
    name: Name
    ring: Float
    parts: tuple[Float, ...] = ()


@dataclass(frozen=True, slots=True)
class Building:
    """Footprint: ring (4, 2) m, and height m."""

    ring: Float
    height_m: float


def draw_areas(rng: np.random.Generator, plan: Plan, ground: Ground, names: Names) -> list[Area]:
    """Return the river, lakes in their parks, and small parks."""
    reach = 0.5 * plan.side_m + 1_500.0
    x = np.linspace(-reach, reach, int(reach / 40.0))
    width = RIVER_HALF_WIDTH_M - SHORE_M
    banks = [np.column_stack(ground.place(x, np.full(len(x), side * width))) for side in (-1, 1)]
    parts = [np.concatenate((banks[0][k : k + 21], banks[1][k : k + 21][::-1])) for k in range(0, len(x) - 1, 20)]
    areas = [Area("water", names.river, np.concatenate((banks[0], banks[1][::-1])), tuple(parts))]
    mesh = plan.mesh
    for k, face in enumerate(plan.parks):
        lake = LAKES[(k + int(rng.integers(len(LAKES)))) % len(LAKES)]
        areas.append(Area("park", (f"{lake[0]} Park", f"{lake[1]}公园"), _inset(plan, ground, face, 40.0)))
        areas.append(Area("water", lake, _lake(rng, plan, ground, face)))
    leaves = [f for f in mesh.faces if f not in plan.parks and 25_000 < mesh.area_and_centroid(f)[0] < 450_000]
    number = min(len(leaves), round(SMALL_PARKS_PER_JUNCTION * len(leaves) * 2) + 1)
    for face in sorted(rng.permutation(leaves)[:number].tolist()):
        k = len(areas)
        areas.append(Area("park", (f"Park No. {k}", f"第{k}公园"), _inset(plan, ground, face, 22.0)))
    return areas


def _inset(plan: Plan, ground: Ground, face: int, by_m: float) -> Float:
    """Return a face's ring on the ground, drawn in towards its middle."""
    mesh = plan.mesh
    loop = mesh.faces[face]
    area, cx, cy = mesh.area_and_centroid(face)
    shrink = 1.0 - 2.4 * by_m / math.sqrt(area)
    xs, ys = [], []
    for a, b in zip(loop, [*loop[1:], loop[0]], strict=True):
        n = max(1, int(mesh.length(a, b) // 120.0))
        share = np.arange(n) / n
        xs.append(cx + shrink * (mesh.x[a] + share * (mesh.x[b] - mesh.x[a]) - cx))
        ys.append(cy + shrink * (mesh.y[a] + share * (mesh.y[b] - mesh.y[a]) - cy))
    return np.column_stack(ground.place(np.concatenate(xs), np.concatenate(ys)))


def _lake(rng: np.random.Generator, plan: Plan, ground: Ground, face: int) -> Float:
    """Return a smooth blob inside a block."""
    mesh = plan.mesh
    loop = mesh.faces[face]
    _, cx, cy = mesh.area_and_centroid(face)
    width = min(abs(mesh.x[v] - cx) for v in (min(loop, key=lambda v: mesh.x[v]), max(loop, key=lambda v: mesh.x[v])))
    height = min(abs(mesh.y[v] - cy) for v in (min(loop, key=lambda v: mesh.y[v]), max(loop, key=lambda v: mesh.y[v])))
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    radius = 0.62 + sum(
        0.16 / k * np.cos(k * angle + phase) for k, phase in zip((1, 2, 3), rng.uniform(0, 6.28, 3), strict=True)
    )
    return np.column_stack(ground.place(cx + width * radius * np.cos(angle), cy + height * radius * np.sin(angle)))


def raise_buildings(rng: np.random.Generator, roads: Roads, jobs_density: Float, areas: list[Area]) -> list[Building]:
    """Return footprints along the streets, none on a road, in water, in a park or on another.

    Parameters
    ----------
    jobs_density : (n_nodes,)
        From 0 to 1: how much of a business centre each junction's zone is; towers stand there.
    """
    limit = min(MOST_BUILDINGS, round(BUILDINGS_PER_JUNCTION * roads.n_nodes))
    place, angle, size, node, second = _lots(rng, roads)
    if len(place) > 8 * limit:  # more than enough lots
        some = np.sort(rng.permutation(len(place))[: 8 * limit])
        place, angle, size, node, second = place[some], angle[some], size[some], node[some], second[some]
    radius = np.hypot(*size.T) / 2
    road_points, road_width = _road_points(roads)
    tree = cKDTree(road_points)
    # The nearest axis is not always the widest road: look at the next ones too.
    distances, nearest = tree.query(place, k=6)
    free = (distances > radius[:, None] + 0.9 * road_width[nearest]).all(axis=1)
    lots = cKDTree(place)
    for ring in (part for area in areas for part in area.parts or (area.ring,)):
        middle = ring.mean(axis=0)
        reach = float(np.hypot(*(ring - middle).T).max()) + 60.0
        near = np.sort(np.array(lots.query_ball_point(middle, reach), np.int64))
        near = near[free[near]]
        free[near] = ~_near_ring(place[near], ring, radius[near])
    order = np.flatnonzero(free)
    # Drawn without replacement, the built-up centre more often: the smallest exponential times win.
    order = order[np.argsort(rng.exponential(size=len(order)) / roads.dense[node[order]] ** 0.7, kind="stable")]
    chosen = _apart(place[order], radius[order], limit=limit)
    picked = order[chosen]
    height = _heights(rng, roads, node[picked], jobs_density, second[picked])
    return [
        Building(_rectangle(place[k], angle[k], size[k]), float(tall))
        for k, tall in zip(picked.tolist(), height.tolist(), strict=True)
    ]


def _lots(
    rng: np.random.Generator, roads: Roads
) -> tuple[Float, Float, Float, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return candidate lots: middle, angle, size (along, deep), nearest junction of the road, whether in second row."""
    places, angles, sizes, nodes, seconds = [], [], [], [], []
    links = np.unique(roads.road, return_index=True)[1]
    for link in links.tolist():
        kind = int(roads.link_class[link])
        if kind == MOTORWAY or roads.bridge[roads.road[link]]:
            continue
        shape = roads.link_shape(link)
        along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(shape, axis=0).T))))
        spots = np.arange(42.0, along[-1] - 40.0, 40.0)
        spots = spots + rng.uniform(-7.0, 7.0, len(spots))
        if not len(spots):
            continue
        middle = np.column_stack([np.interp(spots, along, shape[:, k]) for k in (0, 1)])
        ahead = np.column_stack([np.interp(spots + 4.0, along, shape[:, k]) for k in (0, 1)]) - middle
        heading = np.arctan2(ahead[:, 1], ahead[:, 0])
        nearest = np.where(spots < along[-1] / 2, roads.start[link], roads.end[link])
        for side in (-1.0, 1.0):
            for second in (False, True):
                n = len(spots)
                long = np.where(roads.dense[nearest] > OLD_DENSITY, 30.0, 62.0)
                size = np.column_stack((rng.uniform(18.0, long), rng.uniform(13.0, 26.0, n)))
                away = ROAD_HALF_WIDTH_M[kind] + 6.0 + size[:, 1] / 2 + (rng.uniform(45.0, 75.0, n) if second else 0.0)
                places.append(middle + side * away[:, None] * np.column_stack((-np.sin(heading), np.cos(heading))))
                angles.append(heading)
                sizes.append(size)
                nodes.append(nearest)
                seconds.append(np.full(n, second))
    return (
        np.concatenate(places),
        np.concatenate(angles),
        np.concatenate(sizes),
        np.concatenate(nodes),
        np.concatenate(seconds),
    )


def _road_points(roads: Roads) -> tuple[Float, Float]:
    """Return points every 12 m of all roads, and the half width of the road at each."""
    points, widths = [], []
    for shape, kind in zip(roads.shapes, roads.road_class.tolist(), strict=True):
        along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(shape, axis=0).T))))
        spots = np.linspace(0.0, along[-1], int(along[-1] // 12.0) + 2)
        points.append(np.column_stack([np.interp(spots, along, shape[:, k]) for k in (0, 1)]))
        widths.append(np.full(len(spots), ROAD_HALF_WIDTH_M[kind]))
    return np.concatenate(points), np.concatenate(widths)


def _near_ring(points: Float, ring: Float, margin: Float) -> npt.NDArray[np.bool_]:
    """Return which points lie in a ring or closer to it than their margin."""
    inside = np.zeros(len(points), bool)
    least = np.full(len(points), np.inf)
    for (ax, ay), (bx, by) in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
        x, y = points[:, 0] - ax, points[:, 1] - ay
        dx, dy = bx - ax, by - ay
        if dy != 0.0:
            inside ^= ((y < 0.0) != (y < dy)) & (x < dx * y / dy)
        t = np.clip((x * dx + y * dy) / max(dx**2 + dy**2, 1e-9), 0.0, 1.0)
        least = np.minimum(least, np.hypot(x - t * dx, y - t * dy))
    return inside | (least < margin)


def _apart(points: Float, radius: Float, *, limit: int) -> npt.NDArray[np.int64]:
    """Return which points, earlier ones first, keep clear of those already taken."""
    pairs = cKDTree(points).query_pairs(2.0 * float(radius.max(initial=0.0)), output_type="ndarray")
    close = np.hypot(*(points[pairs[:, 0]] - points[pairs[:, 1]]).T) < radius[pairs[:, 0]] + radius[pairs[:, 1]]
    pairs = pairs[close]
    blockers: dict[int, list[int]] = {}
    for a, b in np.sort(pairs, axis=1).tolist():
        blockers.setdefault(b, []).append(a)
    taken: list[int] = []
    is_taken = np.zeros(len(points), bool)
    for k in range(len(points)):
        if len(taken) == limit:
            break
        if not any(is_taken[a] for a in blockers.get(k, ())):
            is_taken[k] = True
            taken.append(k)
    return np.array(taken, np.int64)


def _heights(
    rng: np.random.Generator,
    roads: Roads,
    node: npt.NDArray[np.int64],
    jobs_density: Float,
    second: npt.NDArray[np.bool_],
) -> Float:
    """Return heights (m) of 3 m floors: low in the old town, slabs of homes outside, towers where the jobs are."""
    n = len(node)
    old = roads.dense[node] > OLD_DENSITY
    floors = np.where(old, rng.integers(2, 7, n), np.where(second, rng.integers(6, 19, n), rng.integers(3, 12, n)))
    business = jobs_density[node]
    tower = rng.random(n) < 0.55 * business**2 * np.where(old, 0.25, 1.0)
    floors = np.where(tower, rng.integers(16, 30, n) + (26 * business * rng.random(n)).astype(int), floors)
    return floors * 3.0


def _rectangle(middle: Float, angle: float, size: Float) -> Float:
    cos, sin = math.cos(angle), math.sin(angle)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2
    return middle + np.column_stack(
        (corners[:, 0] * cos - corners[:, 1] * sin, corners[:, 0] * sin + corners[:, 1] * cos)
    )
