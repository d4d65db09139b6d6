"""Which trips have a path at all; the others are faults of the input, found before anything runs."""

from collections.abc import Sequence

import numpy as np

from sensors import InputError
from simulation import events, routing
from simulation.demand import Demand
from simulation.departures import Trips
from twin.compiled import CompiledNetwork


def reachable(
    city: CompiledNetwork,
    chart: routing.Map,
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
    pairs, back = np.unique(trips.origin.astype(np.int64) * city.n_nodes + trips.destination, return_inverse=True)
    start, end = (pairs // city.n_nodes).astype(np.int32), (pairs % city.n_nodes).astype(np.int32)
    free_time = city.length / city.free_speed
    routes = routing.plan_routes(chart, free_time, start, end, np.full(1024, -1, np.int32), 0, threads=threads)
    lost = routes.first[back.ravel()] < 0
    lost &= ~trips.routes.given
    if not allowed:
        found += demand.lost_trips(trips, lost)
    if found:
        raise InputError(found)
    return (trips.subset(~lost) if lost.any() else trips), int(lost.sum())
