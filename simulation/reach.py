"""Which trips have a path at all; the others are faults of the input, found before anything runs."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sensors import InputError
from simulation import events, routing
from simulation.demand import Demand
from simulation.departures import Trips
from simulation.engine_tree import Map
from twin.compiled import CompiledNetwork


def reachable(
    city: CompiledNetwork,
    chart: Map,
    demand: Demand,
    trips: Trips,
    *,
    allowed: bool,
    threads: int,
    faults: Sequence[str] = (),
) -> tuple[Trips, int]:
    """Return the trips that have a path in the open network, and how many have none.

    Raises
    ------
    InputError
        For each of ``faults``, those found before, each fixed route with a forbidden turn, and, unless ``allowed``,
        each trip without a path.
    """
    found = [*faults, *events.route_faults(city, demand, trips)]
    if not len(trips):
        if found:
            raise InputError(found)
        return trips, 0
    lost = np.zeros(len(trips), np.bool_)
    out, into = _on_main_part(city, chart)
    doubtful = np.flatnonzero(~trips.routes.given & ~(out[trips.origin] & into[trips.destination]))
    pair = trips.origin[doubtful].astype(np.int64) * city.n_nodes + trips.destination[doubtful]
    pairs, back = np.unique(pair, return_inverse=True)
    start, end = (pairs // city.n_nodes).astype(np.int32), (pairs % city.n_nodes).astype(np.int32)
    free_time = city.length / city.free_speed
    routes = routing.plan_routes(chart, free_time, start, end, np.full(1024, -1, np.int32), 0, threads=threads)
    lost[doubtful] = routes.first[back.ravel()] < 0
    if not allowed:
        found += demand.lost_trips(trips, lost)
    if found:
        raise InputError(found)
    return (trips.subset(~lost) if lost.any() else trips), int(lost.sum())


def _on_main_part(city: CompiledNetwork, chart: Map) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return from which nodes one comes to the largest part of the network, and to which from there, by a link.

    Within that part every link leads to every other, turns respected; there nobody needs to look for a path.
    """
    before, after = chart.movement_from[chart.allowed], chart.movement_to[chart.allowed]
    graph = coo_array((np.ones(len(before), np.int8), (before, after)), shape=(city.n_links, city.n_links))
    out, into = np.zeros(city.n_nodes, np.bool_), np.zeros(city.n_nodes, np.bool_)
    if city.n_links:
        part = connected_components(graph, connection="strong")[1]
        largest = part == np.argmax(np.bincount(part))
        out[city.from_node[largest]] = into[city.to_node[largest]] = True
    return out, into
