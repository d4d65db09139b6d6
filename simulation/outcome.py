"""What a run leaves behind: its trips, totals and samples as a `Result`."""

import numpy as np

from simulation import engine_riders
from simulation.demand import Demand
from simulation.detectors import DetectorTable
from simulation.measure import Cumulative
from simulation.recipe import version_of
from simulation.result import LinkTable, Result, TripTable
from simulation.simulation import Simulation


def _trip_table(simulation: Simulation, demand: Demand, horizon: float) -> tuple[TripTable, float]:
    """Return the trips due until the horizon, and the free-flow time of all vehicles so far (s)."""
    trips = simulation.trips
    n = int(np.searchsorted(trips.depart, horizon, side="right"))
    vehicle = simulation.traffic.vehicle
    depart, enter, arrive = vehicle["depart"][:n], vehicle["enter"][:n], vehicle["arrive"][:n]
    free = vehicle["free_time"][:n].copy()
    vehicles, queues = engine_riders.riders(simulation.roads, simulation.traffic)
    links = simulation.roads.part["link"][simulation.roads.queue["part"][queues]]
    spent = horizon - vehicle["link_enter"][vehicles]
    delay = arrive - depart - free
    delay = np.where(np.abs(delay) < 1e-6, 0.0, delay)  # rounding of sums, far below any headway
    free[vehicles] += np.minimum(spent, simulation.roads.link["free_time"][links])
    places, origin, destination = demand.ends(trips.subset(slice(0, n)))
    distance = np.maximum(0.0, vehicle["distance"][:n])  # below 0 on the link on which a vehicle began under way
    table = TripTable(trips.ids[:n], depart, enter, arrive, distance, delay, origin, destination, places)
    return table, float(free.sum())


def result_of(
    simulation: Simulation,
    demand: Demand,
    samples: list[Cumulative],
    wall: float,
    made: dict[str, object],
    detectors: DetectorTable | None,
) -> Result:
    """Return the result of a run that has ended.

    Parameters
    ----------
    samples
        On the way, the last one at the end.
    wall : s
        That loading and routing took.
    made
        What it takes to repeat the run.
    detectors
        What they have counted.
    """
    city, counts = simulation.city, simulation.counts()
    horizon = samples[-1].time_s
    links = LinkTable(city.link_ids, city.length, samples)
    trips, free = _trip_table(simulation, demand, horizon)
    spent = float((np.where(np.isnan(trips.arrive), horizon, trips.arrive) - trips.depart).sum())
    distance = float((samples[-1].left * city.length).sum())
    if simulation.filled:
        distance = float(trips.distance.sum())  # those under way at the start had driven a part of their link
    vehicles = {
        "demanded": counts.demanded,
        "entered": counts.entered,
        "arrived": counts.arrived,
        "on_links": counts.on_links,
        "waiting": counts.waiting,
        "unreachable": simulation.unreachable,
    }
    known = {
        "horizon_s": horizon,
        "seed": simulation.seed,
        "engine_wall_s": round(wall, 6),
        "network_sha256": simulation.network.sha256,
        "demand_sha256": demand.sha256(),
        "scenario_sha256": simulation.scenario.sha256(),
        "version": version_of("citytwin"),
    }
    totals = {
        "vehicles": vehicles,
        "total_time_spent_s": round(spent, 6),
        "total_distance_m": round(distance, 6),
        "total_delay_s": round(max(0.0, spent - free), 6),
        "link_crossings": int(samples[-1].entered.sum()) - simulation.filled,
        "stops": int(simulation.traffic.exit["stops"].sum()),
        "gridlock": [[city.link_ids[link] for link in ring] for ring in simulation.rings],
        **known,
    }
    made |= known | {"notes": list(simulation.notes)}
    return Result(links, trips, totals, simulation.notes, made, detectors, simulation.network)
