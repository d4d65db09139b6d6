"""Streets and demand that the benchmarks and the comparisons with other solvers share; the same every time.

Every diagram is a triangle that other solvers can hold too: with jam density 0.2 veh/m and wave speed 5 m/s per lane a
driver reacts in 1 / (w k) = 1 s, which is the step of UXsim and the ``tau`` of SUMO's mesoscopic model.

``python -m benchmarks.workload NAME FOLDER`` writes one as a network folder with its ``trips.csv``.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from simulation import Demand, Scenario
from twin import Network

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]
Row = dict[str, Any]

JAM_DENSITY_VEH_KM = 200.0  # per lane
WAVE_SPEED_KMH = 18.0
DEGREE_M = 111_194.9  # m per degree of latitude on the sphere that the twin uses
GOLDEN = 0.618034  # spreads first departures
NETWORKS = Path(__file__).parents[1] / "tests" / "verification" / "networks"
MIDDLE = (120.0, 30.0)  # degrees; nothing real is meant


@dataclass(frozen=True)
class Workload:
    """A network, who travels on it, and for how long.

    Parameters
    ----------
    depart : (n,) s
    origin, destination : (n,)
        Node positions.
    routes
        Links (positions) of every vehicle's route, None when drivers choose.
    """

    name: str
    network: Network
    depart: Float
    origin: Long
    destination: Long
    horizon_s: float
    routes: Sequence[Sequence[int]] | None = None

    def __len__(self) -> int:
        return len(self.depart)

    @property
    def demand(self) -> Demand:
        """The vehicles as the engine takes them."""
        nodes, links = self.network.nodes.ids, self.network.links.ids
        routes = None if self.routes is None else [[links[k] for k in route] for route in self.routes]
        ends = ([nodes[k] for k in side.tolist()] for side in (self.origin, self.destination))
        return Demand.of_trips(self.network, self.depart.tolist(), *ends, link_ids=routes)

    def write(self, folder: Path) -> None:
        """Write the network and ``trips.csv``."""
        self.network.write(folder, overwrite=True)
        nodes, links = self.network.nodes.ids, self.network.links.ids
        with (folder / "trips.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["trip_id", "depart_s", "from_node_id", "to_node_id", "link_ids"])
            ends = zip(self.depart.tolist(), self.origin.tolist(), self.destination.tolist(), strict=True)
            for k, (depart, start, end) in enumerate(ends):
                route = "" if self.routes is None else ";".join(links[i] for i in self.routes[k])
                rows.writerow([k + 1, depart, nodes[start], nodes[end], route])


def lay(nodes: Sequence[tuple[str, float, float]], links: Sequence[Row]) -> Network:
    """Return a network of nodes (id, x, y in m) and rows of ``link.csv``, with the diagram that the solvers share."""
    scale = 1.0 / DEGREE_M
    wide = scale / np.cos(np.radians(MIDDLE[1]))
    places = [{"node_id": n, "x_coord": MIDDLE[0] + x * wide, "y_coord": MIDDLE[1] + y * scale} for n, x, y in nodes]
    diagram = {"jam_density": JAM_DENSITY_VEH_KM, "wave_speed": WAVE_SPEED_KMH}
    return Network.from_tables({"node": places, "link": [{**diagram, **row} for row in links]})


def street(start: str, end: str, *, length: float, lanes: int, free_speed_m_s: float) -> Row:
    """Return a row of ``link.csv`` in the units of a folder without ``config.csv``."""
    ids = {"link_id": f"{start}>{end}", "from_node_id": start, "to_node_id": end}
    return {**ids, "length": length, "lanes": lanes, "free_speed": free_speed_m_s * 3.6}


def grid(n: int = 11, *, vehicles: int = 60_000, period_s: float = 3600.0, horizon_s: float = 7200.0) -> Workload:
    """Return an n x n grid of two-way streets of 1 km, one lane, 20 m/s, and trips between random nodes."""
    names = {(i, j): f"n{i}_{j}" for i in range(n) for j in range(n)}
    steps = ((1, 0), (-1, 0), (0, 1), (0, -1))
    links = [
        street(name, names[i + di, j + dj], length=1000.0, lanes=1, free_speed_m_s=20.0)
        for (i, j), name in names.items()
        for di, dj in steps
        if (i + di, j + dj) in names
    ]
    network = lay([(name, 1000.0 * i, 1000.0 * j) for (i, j), name in names.items()], links)
    random = np.random.default_rng(1)
    origin = random.integers(0, n * n, vehicles)
    destination = (origin + random.integers(1, n * n, vehicles)) % (n * n)
    depart = np.floor(np.linspace(0.0, period_s, vehicles, endpoint=False))
    return Workload(f"{n} x {n} grid", network, depart, origin, destination, horizon_s)


def sioux_falls(share: float, *, horizon_s: float = 7200.0) -> Workload:
    """Return a share of Sioux Falls' daily vehicles within an hour, on fixed routes.

    Topology, free-flow times, capacities and demand of LeBlanc, Morlok and Pierskalla (1975), Transportation Research
    9(5), doi 10.1016/0041-1647(75)90030-1. A minute of free-flow time is 300 m at 20 m/s here; a link has two lanes
    when it carries 10,000 or more.
    """
    with (NETWORKS / "sioux_falls_links.csv").open(encoding="utf-8") as file:
        links = [
            street(
                row["from"],
                row["to"],
                length=300.0 * float(row["time_min"]),
                lanes=1 if float(row["capacity"]) < 10_000 else 2,
                free_speed_m_s=20.0,
            )
            for row in csv.DictReader(file)
        ]
    names = [str(k + 1) for k in range(24)]
    network = lay([(name, 700.0 * (k % 5), 700.0 * (k // 5)) for k, name in enumerate(names)], links)
    with (NETWORKS / "sioux_falls_demand.csv").open(encoding="utf-8") as file:
        table = np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])
    start, end = np.nonzero(table)
    counts = np.round(table[start, end] * share).astype(int)
    pair = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    depart = np.floor((number + GOLDEN * pair % 1.0) / counts[pair] * 3600.0)
    order = np.argsort(depart, kind="stable")
    node = np.array([network.nodes.position[name] for name in names])
    ends = node[start[pair]][order], node[end[pair]][order]
    return with_routes(Workload("Sioux Falls", network, depart[order], *ends, horizon_s))


def city(*, vehicles: int = 1_080_000, period_s: float = 7200.0, horizon_s: float = 10_000.0) -> Workload:
    """Return a city of 930 nodes and about 2,900 links of 500 to 1,800 m, and short trips between 387 of its nodes.

    The links are long enough for UXsim with platoons of ten, whose step is 10 s.
    """
    n_x, n_y, spacing, kept, zones = 31, 30, 800.0, 0.82, 387
    random = np.random.default_rng(1)
    places = [(i, j) for i in range(n_x) for j in range(n_y)]
    names = {place: f"n{place[0]}_{place[1]}" for place in places}
    links: list[Row] = []
    for i, j in places:
        for other in ((i + 1, j), (i, j + 1)):
            if other in names and random.random() < kept:
                length = float(random.uniform(500.0, 1800.0))
                lanes = int(random.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))
                speed = float(random.choice([11.0, 14.0, 20.0, 28.0], p=[0.3, 0.4, 0.2, 0.1]))
                a, b = names[i, j], names[other]
                links += [street(*ends, length=length, lanes=lanes, free_speed_m_s=speed) for ends in ((a, b), (b, a))]
    used = [place for place in places if any(names[place] in (row["from_node_id"], row["to_node_id"]) for row in links)]
    network = lay([(names[place], spacing * place[0], spacing * place[1]) for place in used], links)
    return _between_zones("generated city", network, random, zones, vehicles, period_s, horizon_s)


def metropolis(*, vehicles: int = 500_000, period_s: float = 3600.0) -> Workload:
    """Return a city of 130,000 links, a third of them of 5 to 30 m, and trips between 300 zones within an hour.

    Every tenth street is an arterial of three lanes; the gaps between streets are as uneven as those that divided
    carriageways, slip roads and split junctions leave on real maps.
    """
    n, zones, every = 181, 300, 10
    random = np.random.default_rng(1)
    gaps = np.where(
        random.random((2, n)) < 0.33, random.uniform(5.0, 30.0, (2, n)), random.uniform(60.0, 250.0, (2, n))
    )
    xs, ys = np.cumsum(gaps, axis=1)
    names = [[f"n{i}_{j}" for j in range(n)] for i in range(n)]
    links: list[Row] = []
    for i in range(n):
        for j in range(n):
            for k, m in ((i + 1, j), (i, j + 1)):
                if k < n and m < n:
                    wide = (j if k > i else i) % every == 0
                    kind = {"lanes": 3 if wide else 1, "free_speed_m_s": 18.0 if wide else 11.0}
                    length = float(xs[k] - xs[i] + ys[m] - ys[j])
                    a, b = names[i][j], names[k][m]
                    links += [street(*ends, length=length, **kind) for ends in ((a, b), (b, a))]
    nodes = [(names[i][j], float(xs[i]), float(ys[j])) for i in range(n) for j in range(n)]
    return _between_zones("metropolis", lay(nodes, links), random, zones, vehicles, period_s, period_s)


def _between_zones(
    name: str,
    network: Network,
    random: np.random.Generator,
    zones: int,
    vehicles: int,
    period_s: float,
    horizon_s: float,
    *,
    scale_m: float = 1500.0,
) -> Workload:
    """Return trips between nodes that a gravity model chooses, exp(-distance / scale), evenly over a period."""
    xy = network.compile().node_xy
    nodes = np.sort(random.choice(len(xy), zones, replace=False))
    away = np.hypot(*(xy[nodes][:, None, :] - xy[nodes][None, :, :]).transpose(2, 0, 1))
    weight = np.exp(-away / scale_m)
    np.fill_diagonal(weight, 0.0)
    pair = random.choice(weight.size, vehicles, p=weight.ravel() / weight.sum())
    depart = np.sort(random.uniform(0.0, period_s, vehicles))
    return Workload(name, network, depart, nodes[pair // zones], nodes[pair % zones], horizon_s)


def with_routes(workload: Workload, *, variants: int = 4, noise: float = 0.1) -> Workload:
    """Return the same trips on fixed routes: shortest paths at free flow, times that differ a little by trip.

    Without noise all trips of a grid would take the same of many equally short paths.
    """
    roads = workload.network.compile()
    random = np.random.default_rng(1)
    link_at = {ends: k for k, ends in enumerate(zip(roads.from_node.tolist(), roads.to_node.tolist(), strict=True))}
    routes: list[list[int]] = [[] for _ in range(len(workload))]
    for variant in range(variants):
        cost = roads.length / roads.free_speed * random.uniform(1.0, 1.0 + noise, roads.n_links)
        matrix = csr_array((cost, (roads.from_node, roads.to_node)), shape=(roads.n_nodes, roads.n_nodes))
        starts, row = np.unique(workload.origin, return_inverse=True)
        before = dijkstra(matrix, indices=starts, return_predecessors=True)[1]
        for trip in range(variant, len(workload), variants):
            node, path = int(workload.destination[trip]), before[row[trip]]
            while node != workload.origin[trip]:
                routes[trip].append(link_at[int(path[node]), node])
                node = int(path[node])
            routes[trip].reverse()
    return replace(workload, routes=routes)


def signals(network: Network, *, cycle_s: float = 60.0, lost_s: float = 3.0) -> str:
    """Return a scenario with a plan of two stages at every node with three streets or more: north-south, east-west."""
    roads = network.compile()
    heading = roads.node_xy[roads.to_node] - roads.node_xy[roads.from_node]
    upright = np.abs(heading[:, 1]) > np.abs(heading[:, 0])
    ids, text = roads.link_ids, []
    green = cycle_s / 2 - lost_s
    for node in range(roads.n_nodes):
        into = roads.in_link[roads.in_start[node] : roads.in_start[node + 1]]
        both = [into[upright[into]], into[~upright[into]]]
        if len(into) < 3 or not all(len(side) for side in both):
            continue
        text.append(f'[[signal]]\nnode = "{roads.node_ids[node]}"\ncycle_s = {cycle_s}\noffset_s = {node * 7 % 60}\n')
        for side in both:
            rows = [
                f'["{ids[link]}", "{ids[out]}"]'
                for link in side
                for out in roads.movement_out[roads.movement_start[link] : roads.movement_start[link + 1]]
            ]
            stage = f"green_s = {green}\nintergreen_s = {lost_s}\nmovements = [{', '.join(rows)}]\n"
            text.append(f"[[signal.stage]]\n{stage}")
    return "".join(text)


def with_turn_lanes(network: Network) -> Network:
    """Return the same streets with a lane of its own for each left turn, on links of two lanes or more."""
    roads = network.compile()
    tables = {name: table.rows for name, table in network.tables.items() if len(table) and name != "movement"}
    vector = roads.node_xy[roads.to_node] - roads.node_xy[roads.from_node]
    rows: list[Row] = []
    for link in range(roads.n_links):
        lanes = int(roads.lanes[link])
        for out in roads.movement_out[roads.movement_start[link] : roads.movement_start[link + 1]].tolist():
            (ax, ay), (bx, by) = vector[link], vector[out]
            left = ax * by - ay * bx > 0.5 * np.hypot(ax, ay) * np.hypot(bx, by)
            first, last = (1, lanes) if lanes == 1 else (1, 1) if left else (2, lanes)
            ends = {"ib_link_id": roads.link_ids[link], "ob_link_id": roads.link_ids[out]}
            which = {"mvmt_id": f"m{len(rows) + 1}", "node_id": roads.node_ids[roads.to_node[link]]}
            rows.append({**which, **ends, "start_ib_lane": first, "end_ib_lane": last})
    return Network.from_tables({**tables, "movement": rows})


WORKLOADS: dict[str, Callable[[], Workload]] = {"grid": grid, "city": city, "metropolis": metropolis}
PERIODIC = Scenario.parse('[routing]\nupdate = "periodic"\ninterval_s = 600\nshare = 1.0\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=WORKLOADS)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    WORKLOADS[args.name]().write(args.folder)


if __name__ == "__main__":
    main()
