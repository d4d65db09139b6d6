"""Kernels compiled before they are needed: a run of a street of two links through everything that a run may call."""

import math

from simulation import engine_riders
from simulation.demand import Demand
from simulation.engine_counts import vehicles_by_movement
from simulation.scenario import Scenario
from simulation.simulation import Simulation
from twin import Network


def compile_kernels() -> None:
    """Compile or load every kernel: the first time after installation it takes some seconds, later one."""
    if not _compiled:
        _compiled.append(True)
        _warm_up()


_compiled: list[bool] = []


def compile_moves() -> None:
    """Compile what moves vehicles, on a street without any.

    `compile_kernels` compiles routes first and moves last, so that two processes share the work: it finds on disk what
    this one has made meanwhile.
    """
    network = _short_street()
    Simulation(network, Demand.of_trips(network, [], [], [])).advance(1.0)


def _short_street() -> Network:
    nodes = [{"node_id": name, "x_coord": 120.0 + k / 1000, "y_coord": 30.0} for k, name in enumerate("ABC")]
    links = [
        {"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": 2, "free_speed": 36, "length": 100}
        for a, b in ("AB", "BC")
    ]
    return Network.from_tables({"node": nodes, "link": links})


def _warm_up() -> None:
    """Run a street of two links through everything that a run may call."""
    network = _short_street()
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
    vehicles_by_movement(simulation.roads, simulation.traffic, math.inf)
    simulation.note_gridlock()
    simulation.guidance.forget_routes()
