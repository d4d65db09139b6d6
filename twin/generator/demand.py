"""Zones, and a day's demand between them: people who drive to work, home and elsewhere, and through traffic.

Trips by purpose follow a doubly constrained gravity model; each purpose has its own course of the day.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from twin.generator.mesh import MOTORWAY
from twin.generator.plan import Plan
from twin.generator.roads import Roads

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

# Vehicle trips a day and junction: chosen with the traffic engine so that some bridges and arterials fill in the
# morning peak and empty again by ten (docs/generated-city.md); from about 1,000 on the peak breaks down.
DAILY_TRIPS_PER_JUNCTION = 800.0
DETERRENCE_M = 3_400.0  # trips fall by e in this distance; their mean length becomes about half the city's side
JUNCTIONS_PER_ZONE = 10
MOST_ZONES = 72
PAIRS = (1_450, 10_000)  # times periods = rows of demand.csv; the second for the largest cities

# Share of a day's trips by hour of departure, by purpose (home to work, work to home, other): commuting peaks at 7 to
# 9 and 17 to 19, as in household surveys of large Chinese cities; only the shape matters, each row is scaled to one.
_HOURLY = {
    "to_work": (1, 0, 0, 1, 2, 10, 62, 150, 165, 95, 32, 16, 18, 28, 16, 8, 5, 4, 3, 3, 3, 4, 3, 2),
    "to_home": (6, 3, 2, 1, 1, 2, 3, 5, 8, 12, 18, 32, 25, 14, 16, 30, 75, 185, 190, 90, 45, 42, 30, 14),
    "other": (8, 4, 3, 3, 5, 12, 30, 50, 58, 64, 66, 60, 52, 56, 62, 66, 64, 60, 58, 64, 62, 46, 28, 16),
}
_SHARE = {"to_work": 0.33, "to_home": 0.32, "other": 0.35}
_HALF_HOURS = (6, 7, 8, 16, 17, 18)  # hours of departure given by half hours


@dataclass(frozen=True, slots=True)
class Demand:
    """Zones and trips between them.

    Parameters
    ----------
    node_zone : (n_nodes,)
        Zone of each junction.
    population, jobs : (n_zones,)
        Zero at gateways.
    gateway : (n_zones,)
        Junction of a zone that is a gateway, else -1.
    origin, destination : (n_pairs,)
        Zones of each pair.
    trips : (n_pairs, n_periods) veh
    start_s, end_s : (n_periods,) s
        From midnight.
    """

    node_zone: Int
    population: Float
    jobs: Float
    gateway: Int
    origin: Int
    destination: Int
    trips: Float
    start_s: Int
    end_s: Int

    def shares(self, roads: Roads) -> Float:
        """Return the share (n_nodes,) of its zone's traffic that each junction sends: more in dense streets."""
        weight = np.where(roads.node_class() == MOTORWAY, 0.0, 1.0 + 0.15 * roads.dense)
        weight[roads.gateway] = 1.0
        total = np.bincount(self.node_zone, weight, len(self.gateway))
        return weight / total[self.node_zone]

    def matrix(self, hour_start_s: int, hour_end_s: int) -> Float:
        """Return the trips (n_zones, n_zones) of whole periods between two times."""
        n = len(self.gateway)
        inside = (self.start_s >= hour_start_s) & (self.end_s <= hour_end_s)
        result = np.zeros((n, n))
        result[self.origin, self.destination] = self.trips[:, inside].sum(axis=1)
        return result


def make_demand(rng: np.random.Generator, plan: Plan, roads: Roads) -> Demand:
    """Return zones of neighbouring junctions and the trips of a working day."""
    node_zone, n_inner = _zones(roads)
    gateways = np.flatnonzero(roads.gateway)
    node_zone[gateways] = n_inner + np.arange(len(gateways))
    n = n_inner + len(gateways)
    gateway = np.full(n, -1)
    gateway[n_inner:] = gateways
    size = np.bincount(node_zone, minlength=n).astype(float)
    xy = np.column_stack([np.bincount(node_zone, roads.xy[:, k], n) / size for k in (0, 1)])
    population, jobs = _people(rng, plan, roads, node_zone, n, n_inner)
    trips = _trips(xy, population, jobs, n_inner, total=DAILY_TRIPS_PER_JUNCTION * roads.n_nodes)
    daily = trips["to_work"] + trips["to_home"] + trips["other"]
    origin, destination = np.nonzero(_largest(daily, int(np.clip(5 * roads.n_nodes, *PAIRS))))
    start, end, courses = _periods()
    volume = np.zeros((len(origin), len(start)))
    for purpose, matrix in trips.items():
        volume += matrix[origin, destination, None] * courses[purpose][None, :]
    volume *= daily.sum() / volume.sum()
    return Demand(node_zone, population, jobs, gateway, origin, destination, volume, start, end)


def _zones(roads: Roads) -> tuple[Int, int]:
    """Return the zone of each junction, and their number: junctions around points that are far from each other."""
    inner = np.flatnonzero(~roads.gateway & (roads.node_class() != MOTORWAY))
    places = roads.xy[inner]
    n = int(np.clip(round(len(inner) / JUNCTIONS_PER_ZONE), 4, MOST_ZONES))
    chosen = [int(np.hypot(*(places - places.mean(axis=0)).T).argmin())]
    distance = np.hypot(*(places - places[chosen[0]]).T)
    while len(chosen) < n:
        # Distances count more where streets are dense, so that the old town has small zones.
        chosen.append(int((distance * np.sqrt(roads.dense[inner])).argmax()))
        distance = np.minimum(distance, np.hypot(*(places - places[chosen[-1]]).T))
    middles = places[chosen]
    for _ in range(6):
        zone = cKDTree(middles).query(places)[1]
        count = np.bincount(zone, minlength=n)
        sums = np.column_stack([np.bincount(zone, places[:, k], n) for k in (0, 1)])
        middles = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], middles)
    zone = cKDTree(middles).query(places)[1]
    _, number = np.unique(zone, return_inverse=True)
    result = np.zeros(roads.n_nodes, np.int64)
    result[inner] = number
    rest = np.flatnonzero(roads.node_class() == MOTORWAY)
    result[rest] = result[inner][cKDTree(places).query(roads.xy[rest])[1]]
    return result, int(number.max()) + 1


def _people(
    rng: np.random.Generator, plan: Plan, roads: Roads, node_zone: Int, n: int, n_inner: int
) -> tuple[Float, Float]:
    """Return inhabitants and jobs of the zones: jobs crowd in the centre and in a district across the river."""
    x, y = np.array(plan.mesh.x)[roads.vertex], np.array(plan.mesh.y)[roads.vertex]
    reach = 0.2 * plan.side_m
    cx, cy, _ = plan.centres[0].tolist()
    side = -math.copysign(1.0, cy)
    bx, by = rng.uniform(-0.18, 0.18) * plan.side_m, side * 0.16 * plan.side_m
    centre = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / reach**2)
    business = np.exp(-((x - bx) ** 2 + (y - by) ** 2) / (0.6 * reach) ** 2)
    home = np.exp(-np.hypot(x, y) / (0.5 * plan.side_m)) / roads.dense**0.5
    people = np.bincount(node_zone, home * rng.uniform(0.7, 1.3, len(x)), n)
    work = np.bincount(
        node_zone, (0.12 + centre / roads.dense**0.3 + 1.1 * business) * rng.uniform(0.7, 1.3, len(x)), n
    )
    people[n_inner:] = work[n_inner:] = 0.0
    inhabitants = 1_500.0 * roads.n_nodes
    return (people / people.sum() * inhabitants).round(-1), (work / work.sum() * 0.52 * inhabitants).round(-1)


def _trips(xy: Float, population: Float, jobs: Float, n_inner: int, *, total: float) -> dict[str, Float]:
    """Return the day's trips (n_zones, n_zones) by purpose, gateways included."""
    distance = np.hypot(xy[:, None, 0] - xy[None, :, 0], xy[:, None, 1] - xy[None, :, 1])
    deterrence = np.exp(-distance / DETERRENCE_M) * (1.0 - np.exp(-((distance / 900.0) ** 2)))
    np.fill_diagonal(deterrence, 0.0)
    gateway = np.arange(len(population)) >= n_inner
    deterrence[gateway] = np.exp(-distance[gateway] / (2.5 * DETERRENCE_M))
    deterrence[:, gateway] = np.exp(-distance[:, gateway] / (2.5 * DETERRENCE_M))
    np.fill_diagonal(deterrence, 0.0)
    n_gates = int(gateway.sum())
    share = {"from": 0.13, "to": 0.08} if n_gates else {"from": 0.0, "to": 0.0}
    homes, works = population / population.sum(), jobs / jobs.sum()
    homes = np.where(gateway, share["from"] / max(1, n_gates), (1 - share["from"]) * homes)
    works = np.where(gateway, share["to"] / max(1, n_gates), (1 - share["to"]) * works)
    commute = _furness(deterrence, homes, works)
    mixed = (homes + works) / 2
    other = _furness(deterrence, mixed, mixed)
    return {
        "to_work": _SHARE["to_work"] * total * commute,
        "to_home": _SHARE["to_home"] * total * commute.T,
        "other": _SHARE["other"] * total * other,
    }


def _furness(deterrence: Float, origins: Float, destinations: Float) -> Float:
    """Return the gravity matrix with given row and column sums.

    Notes
    -----
    Source: Furness (1965), Time function iteration, Traffic Engineering and Control 7(7).
    """
    matrix = deterrence * origins[:, None] * destinations[None, :]
    for _ in range(25):
        matrix *= (origins / np.maximum(matrix.sum(axis=1), 1e-300))[:, None]
        matrix *= destinations / np.maximum(matrix.sum(axis=0), 1e-300)
    result: Float = matrix / matrix.sum()
    return result


def _largest(matrix: Float, n: int) -> npt.NDArray[np.bool_]:
    """Return which n entries are the largest, so that demand.csv stays small."""
    keep = matrix > 0
    if int(keep.sum()) > n:
        keep &= matrix >= np.partition(matrix, matrix.size - n, axis=None)[matrix.size - n]
    return keep


def _periods() -> tuple[Int, Int, dict[str, Float]]:
    """Return start and end (s) of the day's periods, and each purpose's share of trips in each."""
    starts = [0, *range(5 * 3600, 24 * 3600, 3600), *(h * 3600 + 1800 for h in _HALF_HOURS)]
    start = np.array(sorted(starts))
    end = np.append(start[1:], 24 * 3600)
    fine = np.arange(0, 24 * 3600, 300)
    courses = {}
    for purpose, hourly in _HOURLY.items():
        # Mid-hour values joined by lines, so that half hours of a rising peak differ.
        middle = np.arange(-1, 25) * 3600.0 + 1800.0
        course = np.interp(fine + 150.0, middle, [hourly[-1], *hourly, hourly[0]])
        share = np.add.reduceat(course, np.searchsorted(fine, start))
        courses[purpose] = share / share.sum()
    return start, end, courses
