"""``simulate``: one run from an empty street, sampled, to its result."""

import math
import time
from collections.abc import Generator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import simpy

from sensors import InputError
from simulation import engine_riders
from simulation.demand import Demand
from simulation.events import Late
from simulation.measure import Cumulative
from simulation.result import LinkTable, Result, TripTable
from simulation.scenario import Scenario
from simulation.simulation import Process, Simulation
from twin import Network

PATIENCE_S = 86400.0  # without a horizon: how long after the last departure a run may last


def simulate(
    network: Network,
    demand: Demand | None = None,
    *,
    scenario: Scenario | None = None,
    seed: int = 0,
    horizon_s: float | None = None,
    sample_every_s: float = 60.0,
    processes: Sequence[Process] = (),
    allow_unreachable: bool = False,
) -> Result:
    """Return the result of one run.

    Parameters
    ----------
    demand
        That of the network's folder by default, else a gravity model marked assumed.
    horizon_s
        End of the run; by default when everyone has arrived, at most 24 h after the last departure.
    sample_every_s
        Interval of ``result.links``.
    processes
        SimPy processes of your own, called as ``process(env, simulation)``.

    Raises
    ------
    InputError
        With every fault of demand and scenario, before anything runs.
    """
    for name, value in (("horizon_s", horizon_s), ("sample_every_s", sample_every_s)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value:g}, must be a number > 0")
    scenario = scenario or Scenario()
    demand = Demand.read(network) if demand is None else demand
    compile_kernels()
    begin = time.perf_counter()
    simulation = Simulation(
        network,
        demand,
        scenario=scenario,
        seed=seed,
        until_s=math.inf if horizon_s is None else horizon_s,
        processes=processes,
        allow_unreachable=allow_unreachable,
    )
    samples = [simulation.cumulative()]
    depart = simulation.trips.depart
    latest = horizon_s if horizon_s is not None else (float(depart[-1]) if len(depart) else 0.0) + PATIENCE_S
    done = simulation.env.event()
    simulation.env.process(
        _sampling(simulation, samples, sample_every_s, latest, done, stop_when_empty=horizon_s is None)
    )
    while not done.triggered:
        simulation.advance_to_event()
    wall = time.perf_counter() - begin
    return _result(simulation, demand, samples, wall, sample_every_s)


def _sampling(
    simulation: Simulation,
    samples: list[Cumulative],
    every_s: float,
    latest: float,
    done: simpy.Event,
    *,
    stop_when_empty: bool,
) -> Generator[simpy.Event, object, None]:
    """Take a sample at the end of every interval.

    A sample at t holds what happened before t: nothing has entered a link that is closed until t.
    """
    number = 0
    while True:
        number += 1
        at = min(number * every_s, latest)
        yield Late(simulation.env, at - simulation.env.now, rank=1)
        samples.append(simulation.cumulative())
        simulation.note_gridlock()
        counts = simulation.counts()
        everyone = counts.arrived == len(simulation.trips)
        if at >= latest or (stop_when_empty and everyone):
            done.succeed()
            return


def _trip_table(simulation: Simulation, horizon: float) -> tuple[TripTable, float]:
    """Return the trips, and the free-flow time of all vehicles so far (s)."""
    traffic, n = simulation.traffic, len(simulation.trips)
    depart, enter = traffic.vehicle["depart"][:n], traffic.vehicle["enter"][:n]
    arrive = traffic.vehicle["arrive"][:n]
    free = traffic.vehicle["free_time"][:n].copy()
    vehicles, queues = engine_riders.riders(simulation.roads, traffic)
    links = simulation.roads.part["link"][simulation.roads.queue["part"][queues]]
    spent = horizon - traffic.vehicle["link_enter"][vehicles]
    delay = arrive - depart - free
    delay = np.where(np.abs(delay) < 1e-6, 0.0, delay)  # rounding of sums, far below any headway
    free[vehicles] += np.minimum(spent, simulation.roads.link["free_time"][links])
    table = TripTable(simulation.trips.ids, depart, enter, arrive, traffic.vehicle["distance"][:n], delay)
    return table, float(free.sum())


def _result(
    simulation: Simulation, demand: Demand, samples: list[Cumulative], wall: float, sample_every_s: float
) -> Result:
    city, counts = simulation.city, simulation.counts()
    horizon = samples[-1].time_s
    links = LinkTable.of(city.link_ids, samples, city.length)
    trips, free = _trip_table(simulation, horizon)
    spent = float((np.where(np.isnan(trips.arrive), horizon, trips.arrive) - trips.depart).sum())
    vehicles = {
        "demanded": counts.demanded,
        "entered": counts.entered,
        "arrived": counts.arrived,
        "on_links": counts.on_links,
        "waiting": counts.waiting,
        "unreachable": simulation.unreachable,
    }
    totals: dict[str, Any] = {
        "vehicles": vehicles,
        "total_time_spent_s": round(spent, 6),
        "total_distance_m": round(float((links.left[-1] * city.length).sum()), 6),
        "total_delay_s": round(max(0.0, spent - free), 6),
        "link_crossings": int(links.entered[-1].sum()),
        "stops": int(simulation.traffic.exit["stops"].sum()),
        "gridlock": [[city.link_ids[link] for link in ring] for ring in simulation.rings],
        "horizon_s": horizon,
        "seed": simulation.seed,
        "engine_wall_s": round(wall, 6),
        "network_sha256": simulation.network.sha256,
        "demand_sha256": demand.sha256(),
        "scenario_sha256": simulation.scenario.sha256(),
        "version": _version(),
    }
    recipe = {
        "scenario": repr(simulation.scenario),
        "sample_every_s": sample_every_s,
        "notes": list(simulation.notes),
        **{
            key: value
            for key, value in totals.items()
            if key.endswith(("sha256", "version", "seed", "horizon_s", "wall_s"))
        },
    }
    return Result(links, trips, totals, simulation.notes, recipe)


def _version() -> str:
    try:
        return version("citytwin")
    except PackageNotFoundError:
        return "unknown"


def compile_kernels() -> None:
    """Compile or load every kernel: the first time after installation it takes some seconds, later one."""
    if not _compiled:
        _compiled.append(True)
        _warm_up()


_compiled: list[bool] = []


def _warm_up() -> None:
    """Run a street of three links through everything that a run may call."""
    nodes = [{"node_id": name, "x_coord": 120.0 + k / 1000, "y_coord": 30.0} for k, name in enumerate("ABC")]
    links = [
        {"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": 2, "free_speed": 36, "length": 100}
        for a, b in ("AB", "BC")
    ]
    network = Network.from_tables({"node": nodes, "link": links})
    demand = Demand.of_trips(network, [0.0, 1.0], ["A", "A"], ["C", "C"])
    text = """
    [routing]
    update = "periodic"
    interval_s = 5
    [[close]]
    links = ["BC"]
    from_s = 2
    until_s = 4
    reroute = true
    """
    simulation = Simulation(network, demand, scenario=Scenario.parse(text))
    simulation.advance(3.0)
    riders, queues = engine_riders.riders(simulation.roads, simulation.traffic)
    engine_riders.change_queue(
        simulation.roads, simulation.traffic, int(riders[0]), int(queues[0]), int(queues[0]), 3.0
    )
    simulation.note_gridlock()
    simulation.guidance.forget_routes()
