"""Junctions, roads between them and directed links: the plan laid on the ground."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from twin.generator.blocks import chains, density
from twin.generator.ground import Ground, simplified
from twin.generator.mesh import ARTERIAL, COLLECTOR, LOCAL, MOTORWAY
from twin.generator.plan import Plan

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

FACILITY_TYPE = ("motorway", "arterial", "collector", "local")
# Limits usual in Chinese cities: expressway 80, trunk road 60, secondary road 50, side street 30 to 40 km/h
# (CJJ 37-2012, Code for design of urban road engineering, table 3.2.1).
FREE_SPEED_KMH = (80, 60, 50, 40)
# veh/h and lane; the expressway's is the design value at 80 km/h of the same code, section 4.2. Those of streets are
# assumed: its basic values (section 4.3: 1,600 to 1,800) less what parking, buses and turning take.
CAPACITY_VEH_H_LANE = (1_750, 1_500, 1_200, 800)
LANES = (3, 3, 1, 1)
NARROW_ARTERIALS, WIDE_COLLECTORS = 0.65, 0.2  # shares of streets with 2 lanes instead of 3 and of 1
OLD_DENSITY = 4.0  # streets this dense belong to the old town


@dataclass(slots=True)
class Roads:
    """Junctions, roads (one for both directions) and links (one for each direction).

    Parameters
    ----------
    vertex : (n_nodes,)
        Vertex of the plan of each junction.
    xy : (n_nodes, 2) m east and north of the origin
    dense : (n_nodes,)
        Density of streets there, 1 at the outskirts.
    gateway : (n_nodes,) bool
        Whether it is an end of the city.
    shapes
        Points of each road from its first to its last junction, (k, 2) m.
    road_class, line, street, bridge : (n_roads,)
        The line is the plan's, a street is one or more lines.
    road, start, end : (n_links,)
        Road of each link, and its junctions.
    forward : (n_links,) bool
        Whether the link runs in the order of the road's shape.
    link_class : (n_links,)
        Road class of each link.
    length : (n_links,) m
    lanes : (n_links,)
    n_streets
        Number of streets.
    """

    vertex: Int
    xy: Float
    dense: Float
    gateway: npt.NDArray[np.bool_]
    shapes: list[Float]
    road_class: Int
    line: Int
    street: Int
    bridge: npt.NDArray[np.bool_]
    road: Int
    start: Int
    end: Int
    forward: npt.NDArray[np.bool_]
    link_class: Int
    length: Float
    lanes: Int
    n_streets: int

    @property
    def n_nodes(self) -> int:
        """Number of junctions."""
        return len(self.vertex)

    @property
    def n_links(self) -> int:
        """Number of links."""
        return len(self.road)

    def link_shape(self, link: int) -> Float:
        """Return the points (k, 2) m of a link in its direction."""
        shape = self.shapes[int(self.road[link])]
        along: Float = shape if self.forward[link] else shape[::-1]
        return along

    def free_time(self) -> Float:
        """Return the free-flow travel time of each link, s."""
        speed_kmh: Float = np.array(FREE_SPEED_KMH, np.float64)[self.link_class]
        time: Float = self.length * 3.6 / speed_kmh
        return time

    def node_class(self) -> Int:
        """Return the highest class (lowest number) of road at each junction."""
        best = np.full(self.n_nodes, LOCAL)
        np.minimum.at(best, self.start, self.link_class)
        np.minimum.at(best, self.end, self.link_class)
        return best


def lay_roads(rng: np.random.Generator, plan: Plan, ground: Ground) -> Roads:
    """Return the plan's junctions, roads and links on the ground."""
    mesh = plan.mesh
    vertices = plan.junctions()
    number = {v: k for k, v in enumerate(vertices)}
    paths = chains(plan)
    shapes = _shapes(plan, ground, paths)
    first = [mesh.edge(path[0], path[1]) for path in paths]
    ends = np.array([[number[path[0]], number[path[-1]]] for path in paths])
    road_class = np.array([edge.road_class for edge in first])
    street, n_streets = _streets(plan, paths, shapes, road_class, [edge.line for edge in first])
    dense = np.array([density(plan, mesh.x[v], mesh.y[v]) for v in vertices])
    old = dense[ends].min(axis=1) > OLD_DENSITY
    one_way = _one_way(rng, ends, candidates=(road_class == LOCAL) & old, n_nodes=len(vertices))
    road = np.repeat(np.arange(len(paths)), 2)
    forward = np.tile([True, False], len(paths))
    stays = (one_way[road] == 0) | (one_way[road] == np.where(forward, 1, -1))
    road, forward = road[stays], forward[stays]
    lanes = np.array(LANES)[road_class]
    drawn = rng.random(n_streets)[street]
    lanes[(road_class == ARTERIAL) & (old | (drawn < NARROW_ARTERIALS))] = 2
    bridge = np.array([edge.bridge for edge in first])
    lanes[(road_class == ARTERIAL) & bridge] = 2
    lanes[(road_class == COLLECTOR) & ~old & (drawn < WIDE_COLLECTORS)] = 2
    lanes[(one_way != 0)] = rng.integers(1, 3, int((one_way != 0).sum()))
    length = np.array([np.hypot(*np.diff(shape, axis=0).T).sum() for shape in shapes]).round(1)
    x, y = ground.place(np.array(mesh.x)[vertices], np.array(mesh.y)[vertices])
    gateway = np.isin(vertices, plan.gateways)
    return Roads(
        vertex=np.array(vertices),
        xy=np.column_stack((x, y)),
        dense=dense,
        gateway=gateway,
        shapes=shapes,
        road_class=road_class,
        line=np.array([edge.line for edge in first]),
        street=street,
        bridge=bridge,
        road=road,
        start=np.where(forward, ends[road, 0], ends[road, 1]),
        end=np.where(forward, ends[road, 1], ends[road, 0]),
        forward=forward,
        link_class=road_class[road],
        length=length[road],
        lanes=lanes[road],
        n_streets=n_streets,
    )


def _shapes(plan: Plan, ground: Ground, paths: list[list[int]]) -> list[Float]:
    """Return the points of each road on the ground."""
    mesh = plan.mesh
    x, y, stops = [], [], [0]
    for path in paths:
        count = 1
        for a, b in itertools.pairwise(path):
            share = np.linspace(0.0, 1.0, max(2, int(mesh.length(a, b) // 30.0) + 2))[:-1]
            x.append(mesh.x[a] + share * (mesh.x[b] - mesh.x[a]))
            y.append(mesh.y[a] + share * (mesh.y[b] - mesh.y[a]))
            count += len(share)
        x.append(np.array([mesh.x[path[-1]]]))
        y.append(np.array([mesh.y[path[-1]]]))
        stops.append(stops[-1] + count)
    points = np.column_stack(ground.place(np.concatenate(x), np.concatenate(y)))
    return [simplified(points[a:b], 2.0) for a, b in itertools.pairwise(stops)]


def _streets(
    plan: Plan, paths: list[list[int]], shapes: list[Float], road_class: Int, lines: list[int]
) -> tuple[Int, int]:
    """Return the street of each road: lines of the plan, joined where one goes straight on as another."""
    parent = list(range(plan.n_lines))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    around: dict[int, list[tuple[int, float]]] = {}
    for k, (path, shape) in enumerate(zip(paths, shapes, strict=True)):
        for v, (near, far) in ((path[0], (shape[0], shape[1])), (path[-1], (shape[-1], shape[-2]))):
            around.setdefault(v, []).append((k, math.atan2(far[1] - near[1], far[0] - near[0])))
    for roads in around.values():
        for i, (k, angle) in enumerate(roads):
            for m, other in roads[i + 1 :]:
                if lines[k] in plan.riverside or lines[m] in plan.riverside:
                    continue  # both banks may bend into one street, but a bridge leads from one name to another
                bend = abs((angle - other) % (2 * math.pi) - math.pi)
                kinds = {int(road_class[k]), int(road_class[m])}
                if (
                    bend < math.radians(28.0)
                    and (len(kinds) == 1 or kinds == {COLLECTOR, LOCAL})
                    and MOTORWAY not in kinds
                ):
                    parent[root(lines[k])] = root(lines[m])
    roots = [root(line) for line in lines]
    names = {r: n for n, r in enumerate(dict.fromkeys(roots))}
    return np.array([names[r] for r in roots]), len(names)


def _one_way(rng: np.random.Generator, ends: Int, *, candidates: npt.NDArray[np.bool_], n_nodes: int) -> Int:
    """Return 1, -1 (one way along or against the road) or 0 for each road, so that one can still drive everywhere."""
    way = np.where(candidates & (rng.random(len(ends)) < 0.7), rng.choice([-1, 1], len(ends)), 0)
    degree = np.bincount(ends.ravel(), minlength=n_nodes)
    while True:
        along, against = np.flatnonzero(way >= 0), np.flatnonzero(way <= 0)
        road = np.concatenate((along, against))
        start = np.concatenate((ends[along, 0], ends[against, 1]))
        end = np.concatenate((ends[along, 1], ends[against, 0]))
        one, numbers = np.ones(len(road)), np.arange(len(road))
        # Links follow each other where one ends and the other starts, but for U-turns: both on one road.
        leads = sparse.csr_array((one, (numbers, end)), shape=(len(road), n_nodes))
        begins = sparse.csr_array((one, (start, numbers)), shape=(n_nodes, len(road)))
        pair = (leads @ begins).tocoo()
        turn = road[pair.coords[0]] != road[pair.coords[1]]
        graph = sparse.coo_array(
            (pair.data[turn], (pair.coords[0][turn], pair.coords[1][turn])), shape=(len(road), len(road))
        )
        _, part = csgraph.connected_components(graph, connection="strong")
        stranded = (part != np.bincount(part).argmax()) & (degree[start] > 1) & (degree[end] > 1)
        if not stranded.any():
            return way
        reached = np.zeros(n_nodes, bool)
        reached[start[stranded]] = reached[end[stranded]] = True
        way[reached[ends].any(axis=1)] = 0
