"""The result of a run is the same to the last bit on any number of threads, in blocks and windows of any size."""

import numpy as np
import pytest

from simulation import Demand, Scenario, Simulation, engine_blocks, routing
from twin import Network
from twin.generate import generate


@pytest.fixture(scope="module")
def city():
    return Network.from_tables(generate(seed=5, junctions=300))


def digest(simulation):
    """Return all that moves, as bytes; where nodes lie in the heap is no part of the result."""
    traffic = simulation.traffic
    arrays = (traffic.slot, traffic.part_slot_time, traffic.entry, traffic.exit, traffic.queue, traffic.origin)
    return [array.tobytes() for array in (*arrays, traffic.movement, traffic.vehicle)]


SCENARIO = """
[[close]]
links = ["{0}"]
from_s = 600
until_s = 1500
reroute = true
[[incident]]
link = "{1}"
position_m = 40
lanes_blocked = 1
from_s = 300
until_s = 1200
[[speed_limit]]
links = ["{2}", "{3}"]
speed_kmh = 15
from_s = 200
until_s = 900
[routing]
update = "periodic"
interval_s = 300
share = 0.5
"""


def run(city, *, threads, window_s=None):
    busy = np.argsort(-city.compile().capacity)[:4]
    scenario = Scenario.parse(SCENARIO.format(*(city.compile().link_ids[k] for k in busy)))
    demand = Demand.gravity(city)
    simulation = Simulation(city, demand, scenario=scenario, repeat_s=3600.0, threads=threads, window_s=window_s)
    simulation.advance(2400.0)
    assert simulation.counts().arrived > 500
    return simulation


def test_threads_blocks_and_windows_do_not_change_a_bit(city, monkeypatch):
    monkeypatch.setattr(routing, "LITTLE", 0)  # threads look for routes as well
    one = run(city, threads=1)
    bytes_of_one = digest(one)
    two = run(city, threads=2)
    assert len(two.roads.block_start) > 3, "the city must really be divided"
    window = two.window_s
    assert digest(two) == bytes_of_one
    for threads, factor in ((2, 0.5), (1, 0.25), (3, 0.1)):
        other = run(city, threads=threads, window_s=window * factor)
        assert other.window_s == pytest.approx(window * factor)
        assert digest(other) == bytes_of_one
    monkeypatch.setattr(engine_blocks, "BLOCKS_PER_THREAD", 1)
    assert digest(run(city, threads=1)) == bytes_of_one


def test_blocks_are_joined_only_by_parts_that_take_a_window_or_longer(city):
    simulation = Simulation(city, Demand.gravity(city), threads=4)
    part, node = simulation.roads.part, simulation.roads.node
    crosses = node["block"][part["from_node"]] != node["block"][part["to_node"]]
    assert crosses.any()
    assert (part["crosses"] == crosses).all()
    assert (part["travel"][crosses] >= simulation.window_s).all()
    holes = simulation.roads.queue["hole"][np.isin(simulation.roads.queue["part"], np.flatnonzero(crosses))]
    assert (holes >= simulation.window_s).all()
    sizes = np.diff(simulation.roads.block_start)
    assert sizes.max() <= 2.5 * sizes.mean(), "one block would keep one thread busy and the others waiting"


def test_a_network_of_links_shorter_than_a_second_is_divided_where_it_can_be():
    nodes = [
        {"node_id": f"{i},{j}", "x_coord": 120 + i * 1e-4, "y_coord": 30 + j * 1e-4}
        for i in range(20)
        for j in range(20)
    ]
    links = []
    for i in range(20):
        for j in range(20):
            for di, dj in ((1, 0), (0, 1), (-1, 0), (0, -1)):
                if 0 <= i + di < 20 and 0 <= j + dj < 20:
                    length = 200 if {i, i + di} == {9, 10} else 6
                    a, b = f"{i},{j}", f"{i + di},{j + dj}"
                    links.append(
                        {"link_id": f"{a}>{b}", "from_node_id": a, "to_node_id": b, "length": length, "free_speed": 50}
                    )
    network = Network.from_tables({"node": nodes, "link": [{**row, "lanes": 1} for row in links]})
    rng = np.random.default_rng(3)
    ids = network.compile().node_ids
    start = rng.integers(0, 400, 600)
    end = (start + rng.integers(1, 400, 600)) % 400
    demand = Demand.of_trips(
        network, np.sort(rng.uniform(0, 300, 600)).tolist(), [ids[k] for k in start], [ids[k] for k in end]
    )
    runs = [Simulation(network, demand, threads=threads) for threads in (1, 2)]
    for simulation in runs:
        simulation.advance(900.0)
    assert digest(runs[0]) == digest(runs[1])
    assert runs[1].window_s > 5.0, "the long links are where the city can be cut"
