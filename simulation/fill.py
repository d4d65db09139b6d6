"""A street that is full at the start: vehicles for the density of each link, where they stand, and where they go.

How many: density times length, rounded so that the sum over the network is kept (the rounded running sum, link by
link): every link is within one vehicle, the total within one half.

Where: up to the critical density (capacity / free speed) vehicles are spread evenly and move at the free speed. Above
it a part of the link of length ``L (k - k_c) / (k_jam - k_c)`` before the stop line is a standing queue at jam density,
and on the rest vehicles move at the critical density: the two states of the kinematic wave that add up to ``k``.

Where to: destinations of the demand whose fastest free-flow routes cross the link, in proportion to its vehicles that
leave within an hour of the start (of all, where that hour has none); a low-discrepancy sequence mixes them along the
link. Where no route crosses, the nearest destination of the demand (without any demand, the nearest node that no link
leaves); where none can be reached, the end of the link.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit
from scipy.sparse.csgraph import dijkstra

from simulation import routing
from simulation.departures import GOLDEN, Trips
from simulation.engine import look_ahead, queue_hole
from simulation.engine_kernel import kernel
from simulation.engine_tree import Map
from simulation.street import Roads, Traffic, whole
from twin.compiled import CompiledNetwork, Float, Int

if TYPE_CHECKING:
    from simulation.simulation import Simulation

Long = npt.NDArray[np.int64]

AROUND_S = 3600.0


@dataclass(frozen=True, slots=True)
class Filling:
    """Vehicles on the street, link by link, from the stop line back.

    Parameters
    ----------
    link, destination : (n,)
    place : (n,) m
        From the start of the link.
    standing : (n,)
        Whether it stands in the queue.
    """

    link: Long
    destination: Int
    place: Float
    standing: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.link)

    def subset(self, keep: npt.NDArray[np.bool_]) -> "Filling":
        """Return the vehicles at which ``keep`` is true."""
        return Filling(self.link[keep], self.destination[keep], self.place[keep], self.standing[keep])


class Ways(NamedTuple):
    """One way on from each lane group of a link that has several: those of link ``l`` are ``start[l]:start[l + 1]``.

    Parameters
    ----------
    queue, step, node
        The lane group, its route's place in ``path``, and where that ends.
    path, used
        The store of routes, with these.
    """

    start: Long
    queue: Long
    step: Long
    node: Int
    path: Int
    used: int


def vehicles_of(city: CompiledNetwork, densities: Mapping[str, float]) -> Long:
    """Return the number of vehicles on each link, (n_links,), for densities by link id (veh/m over all lanes)."""
    density = np.zeros(city.n_links)
    position = {name: k for k, name in enumerate(city.link_ids)}
    for name, value in densities.items():
        density[position[name]] = value
    steps = np.floor(np.cumsum(density * city.length) + 0.5)
    room = np.maximum(1, np.ceil(city.jam_density * city.length - 1e-9))
    return np.minimum(np.diff(steps, prepend=0.0), room).astype(np.int64)


def places_of(city: CompiledNetwork, count: Long) -> tuple[Long, Float, npt.NDArray[np.bool_]]:
    """Return link, place (m) and whether it stands of every vehicle, link by link from the stop line back."""
    link = np.repeat(np.arange(city.n_links), count)
    rank = np.arange(len(link)) - np.repeat(np.cumsum(count) - count, count) + 0.5
    length, jam = city.length, city.jam_density
    critical = city.capacity / city.free_speed
    density = count / length
    over = np.maximum(0.0, density - critical) / np.maximum(jam - critical, 1e-12)
    queue_length = np.minimum(1.0, over) * length
    in_queue = np.minimum(count, np.round(queue_length * jam)).astype(np.int64)
    moving = np.maximum(1, count - in_queue)
    standing = rank < in_queue[link]
    behind = queue_length[link] + (rank - in_queue[link]) * ((length - queue_length) / moving)[link]
    place = length[link] - np.where(standing, rank / jam[link], behind)
    return link, np.clip(place, 0.0, length[link]), standing


@njit(cache=True)
def _crossings(
    first: Int, step: Long, node: Int, path: Int, movement_out: Int, link: Long, to: Long, pair: Long
) -> int:
    """Write every (link, destination, pair) of the routes; with arrays too short only count them."""
    n = 0
    for k in range(len(first)):
        here = np.int64(first[k])
        at = step[k]
        while here >= 0:
            if n < len(link):
                link[n], to[n], pair[n] = here, node[k], k
            n += 1
            movement = path[at]
            at += 1
            here = np.int64(movement_out[movement]) if movement >= 0 else np.int64(-1)
    return n


def _weights(
    city: CompiledNetwork, chart: Map, trips: Trips, start_s: float, repeat_s: float | None
) -> tuple[Long, Long, Float]:
    """Return link, destination and vehicles of the demand's routes, in order of link."""
    gap = np.abs(trips.depart - start_s)
    if repeat_s is not None:
        gap = np.minimum(gap % repeat_s, repeat_s - gap % repeat_s)
    rows = np.flatnonzero(gap <= AROUND_S)
    rows = rows if len(rows) else np.arange(len(trips))
    free = (
        np.array([int(row) not in trips.routes for row in rows], np.bool_) if trips.routes else np.ones(len(rows), bool)
    )
    pairs, volume = np.unique(
        trips.origin[rows[free]].astype(np.int64) * city.n_nodes + trips.destination[rows[free]], return_counts=True
    )
    start, node = (pairs // city.n_nodes).astype(np.int32), (pairs % city.n_nodes).astype(np.int32)
    cost = city.length / city.free_speed
    routes = routing.plan_routes(chart, cost, start, node, np.full(1024, -1, np.int32), 0)
    none = np.zeros(0, np.int64)
    size = _crossings(routes.first, routes.step, node, routes.path, city.movement_out, none, none, none)
    link, to, pair = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    _crossings(routes.first, routes.step, node, routes.path, city.movement_out, link, to, pair)
    amount = volume[pair].astype(np.float64)
    fixed = [int(row) for row in rows[~free]]
    more = np.array([on for row in fixed for on in trips.routes[row]], np.int64)
    ends = np.repeat(trips.destination[fixed], [len(trips.routes[row]) for row in fixed]).astype(np.int64)
    keys = np.concatenate([link, more]) * city.n_nodes + np.concatenate([to, ends])
    found, group = np.unique(keys, return_inverse=True)
    total = np.bincount(group.ravel(), np.concatenate([amount, np.ones(len(more))]), len(found))
    return (found // city.n_nodes).astype(np.int64), (found % city.n_nodes).astype(np.int64), total.astype(np.float64)


def _nearest(city: CompiledNetwork, chart: Map, exits: Long) -> Long:
    """Return by link the destination that is nearest from it, its own end where none can be reached."""
    nearest = city.to_node.astype(np.int64)
    ends = np.flatnonzero(np.isin(city.to_node, exits))
    if not len(ends):
        return nearest
    cost = city.length / city.free_speed
    into = chart.allowed
    back = sp.csr_matrix(
        (cost[chart.movement_from[into]], (chart.movement_to[into], chart.movement_from[into])),
        shape=(city.n_links, city.n_links),
    )
    _, _, source = dijkstra(back, indices=ends, min_only=True, return_predecessors=True)
    return np.where(source >= 0, city.to_node[np.maximum(source, 0)], nearest)


def filling(
    city: CompiledNetwork,
    chart: Map,
    trips: Trips,
    densities: Mapping[str, float],
    *,
    start_s: float,
    repeat_s: float | None,
) -> Filling:
    """Return the vehicles for densities by link (veh/m), see the module."""
    count = vehicles_of(city, densities)
    link, place, standing = places_of(city, count)
    at, to, volume = _weights(city, chart, trips, start_s, repeat_s)
    exits = np.unique(trips.destination) if len(trips) else np.flatnonzero(np.diff(city.out_start) == 0)
    destination = _nearest(city, chart, exits.astype(np.int64))[link]
    low, high = np.searchsorted(at, link), np.searchsorted(at, link, side="right")
    rank = np.arange(len(link)) - np.repeat(np.cumsum(count) - count, count)
    total = np.concatenate([[0.0], np.cumsum(volume)])
    point = (0.5 + GOLDEN * rank + 0.7548776662466927 * link) % 1.0
    chosen = np.searchsorted(total, total[low] + point * (total[high] - total[low]), side="right") - 1
    crossed = high > low
    destination[crossed] = to[np.clip(chosen, low, high - 1)[crossed]]
    return Filling(link.astype(np.int64), destination.astype(np.int32), place, standing)


def other_ways(
    city: CompiledNetwork, roads: Roads, link: Long, step: Long, destination: Int, path: Int, used: int
) -> Ways:
    """Return the ways on of vehicles whose own lane group is full: that of another vehicle there, else any movement."""
    first = np.flatnonzero(roads.part["first"])
    last = np.concatenate([first[1:], [len(roads.part)]]) - 1
    counts = np.zeros(city.n_links, np.int64)
    rows: list[tuple[int, int, int]] = []
    cells: list[int] = []
    begin = np.searchsorted(link, np.arange(city.n_links + 1))
    several = np.flatnonzero(roads.part["end_queue"][last] - roads.part["queue"][last] > 1)
    for on in np.intersect1d(several, link).tolist():
        found: dict[int, tuple[int, int]] = {}
        for k in range(begin[on], begin[on + 1]):
            movement = int(path[step[k]])
            queue = int(roads.movement["queue"][movement]) if movement >= 0 else int(roads.part["last_queue"][last[on]])
            found.setdefault(queue, (int(step[k]), int(destination[k])))
        for movement in range(city.movement_start[on], city.movement_start[on + 1]):
            queue = int(roads.movement["queue"][movement])
            if queue not in found:
                found[queue] = (used + len(cells), int(city.to_node[city.movement_out[movement]]))
                cells += [movement, -1]
        counts[on] = len(found)
        rows += [(queue, *way) for queue, way in sorted(found.items())]
    if used + len(cells) > len(path):
        path = np.concatenate([path, np.full(len(path) + len(cells), -1, np.int32)])
    path[used : used + len(cells)] = cells
    start = np.concatenate([[0], np.cumsum(counts)])
    table = np.array(rows, np.int64).reshape(-1, 3)
    columns = [np.ascontiguousarray(table[:, k]) for k in range(3)]
    return Ways(start, columns[0], columns[1], columns[2].astype(np.int32), path, used + len(cells))


def put(roads: Roads, traffic: Traffic, vehicles: Int, made: Filling, destination: Int, ways: Ways, now: float) -> None:
    """Put vehicles on the street; ``destination`` becomes -1 where there is no room, and another with another lane."""
    first = np.flatnonzero(roads.part["first"])
    _put(roads, traffic, vehicles, made.link, made.place, made.standing, first, ways, destination, now)


@kernel
def _put(
    roads: Roads,
    traffic: Traffic,
    vehicles: Int,
    links: Long,
    places: Float,
    standing: npt.NDArray[np.bool_],
    first_part: Long,
    ways: Ways,
    destination: Int,
    now: float,
) -> None:
    """Put vehicles, from the stop line back, where they are; one whose lane is full takes another."""
    for k in range(len(vehicles)):
        vehicle, link, place = vehicles[k], links[k], places[k]
        part, edge = whole(first_part[link]), roads.part[first_part[link]].length
        while roads.part[part].next >= 0 and place >= edge:
            part = whole(roads.part[part].next)
            edge += roads.part[part].length
        step = traffic.vehicle[vehicle].step
        queue = whole(roads.part[part].queue)
        if roads.part[part].next < 0:
            movement = whole(traffic.path[step])
            queue = whole(roads.movement[movement].queue if movement >= 0 else roads.part[part].last_queue)
        room = traffic.slot[queue_hole(roads, traffic, queue)].vehicle < 0
        if not room and roads.part[part].next < 0:
            for j in range(ways.start[link], ways.start[link + 1]):
                if not room and traffic.slot[queue_hole(roads, traffic, ways.queue[j])].vehicle < 0:
                    room, queue, step = True, whole(ways.queue[j]), ways.step[j]
                    destination[k] = ways.node[j]
        if roads.part[part].slot >= 0:
            room = room and traffic.entry[part].entered - traffic.exit[part].left < roads.part[part].room
        if not room:
            destination[k] = -1
            continue
        traffic.vehicle[vehicle].step = step
        speed = roads.part[part].length / roads.part[part].travel
        passed = first_part[link]
        while passed != part:  # the parts behind it: it came through them
            traffic.entry[passed].entered += 1
            traffic.entry[passed].entered_sum += now
            traffic.exit[passed].left += 1
            traffic.exit[passed].left_sum += now
            passed = whole(roads.part[passed].next)
        slot = whole(traffic.tail[queue])
        traffic.slot[slot].time = now if standing[k] else now + max(0.0, edge - place) / speed
        traffic.slot[slot].vehicle = vehicle
        look_ahead(roads, traffic, part, slot, step)
        traffic.tail[queue] = slot + 1 if slot + 1 < roads.queue[queue].end_slot else roads.queue[queue].slot
        if roads.part[part].slot >= 0:
            own = whole(traffic.entry[part].tail)
            traffic.part_slot_time[own] = math.inf
            traffic.entry[part].tail = own + 1 if own + 1 < roads.part[part].end_slot else roads.part[part].slot
        traffic.entry[part].entered += 1
        traffic.entry[part].entered_sum += now
        traffic.entry[part].free = now - (place - (edge - roads.part[part].length)) / speed + roads.part[part].headway
        driven = roads.link[link].free_time if standing[k] else min(roads.link[link].free_time, place / speed)
        traffic.vehicle[vehicle].enter = now
        traffic.vehicle[vehicle].link_enter = now - driven
        traffic.vehicle[vehicle].free_time = -driven
        traffic.vehicle[vehicle].distance = -place


def place(simulation: "Simulation", made: Filling) -> npt.NDArray[np.bool_]:
    """Put vehicles on their links, each on a route that leads on from there, and return which have found room."""
    n, roads = len(made), simulation.roads
    times, share = np.full(n, simulation.time_s), simulation.scenario.routing.share
    vehicles, records = simulation.roster.admit(simulation.traffic, np.arange(n), times, share)
    simulation.use(simulation.traffic._replace(vehicle=records))
    cost, start = roads.link["free_time"], (-1 - made.link).astype(np.int32)
    destination = made.destination.copy()
    for _ in range(2):
        path, used = simulation.traffic.path, simulation.guidance.used
        routes = routing.plan_routes(simulation.chart, cost, start, destination, path, used, threads=simulation.threads)
        destination = np.where(routes.first < 0, simulation.city.to_node[made.link], destination).astype(np.int32)
    simulation.guidance.keep_path(routes.path, routes.used)
    simulation.traffic.vehicle["step"][vehicles] = routes.step
    ways = other_ways(simulation.city, roads, made.link, routes.step, destination, simulation.traffic.path, routes.used)
    simulation.guidance.keep_path(ways.path, ways.used)
    put(roads, simulation.traffic, vehicles, made, destination, ways, simulation.time_s)
    simulation.trips.destination[:n] = destination
    simulation.traffic.wake[:] = simulation.time_s  # everyone looks: a bound that is too early does no harm
    return destination >= 0
