"""Random small networks: no vehicle is lost, none overtakes, nothing exceeds capacity or jam density."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulation import Demand, Scenario, Simulation, simulate
from twin import Network
from twin.generate import generate


@st.composite
def worlds(draw):
    """Return a random strongly connected network, its trips and a scenario."""
    n = draw(st.integers(3, 7))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    pairs = {(k, (k + 1) % n) for k in range(n)} | {((k + 1) % n, k) for k in range(n)}
    for _ in range(draw(st.integers(0, 6))):
        a, b = rng.integers(0, n, 2)
        if a != b:
            pairs.add((int(a), int(b)))
    nodes = [
        {"node_id": f"N{k}", "x_coord": 120 + rng.uniform(0, 0.02), "y_coord": 30 + rng.uniform(0, 0.02)}
        for k in range(n)
    ]
    links = [
        {
            "link_id": f"{a}-{b}",
            "from_node_id": f"N{a}",
            "to_node_id": f"N{b}",
            "lanes": int(rng.integers(1, 4)),
            "free_speed": float(rng.choice([20, 36, 50, 80])),
            "length": float(rng.choice([4, 9, 30, 120, 400])),
        }
        for a, b in sorted(pairs)
    ]
    network = Network.from_tables({"node": nodes, "link": links})
    count = draw(st.integers(1, 150))
    start, shift = rng.integers(0, n, count), rng.integers(1, n, count)
    demand = Demand.of_trips(
        network,
        np.sort(rng.uniform(0, draw(st.sampled_from([1.0, 100.0, 600.0])), count)).tolist(),
        [f"N{k}" for k in start],
        [f"N{k}" for k in (start + shift) % n],
    )
    chosen = [str(links[k]["link_id"]) for k in rng.integers(0, len(links), 3)]
    where = float(rng.uniform(0, 1)) * next(float(row["length"]) for row in links if row["link_id"] == chosen[1])
    update = draw(st.sampled_from(["fixed", "departure", "periodic"]))
    text = f"""
    [[close]]
    links = ["{chosen[0]}"]
    from_s = 50
    until_s = 150
    reroute = {draw(st.sampled_from(["true", "false"]))}
    [[incident]]
    link = "{chosen[1]}"
    position_m = {where}
    lanes_blocked = 1
    from_s = 20
    until_s = 200
    [[capacity]]
    links = ["{chosen[2]}"]
    factor = 0.3
    from_s = 30.5
    until_s = 180
    [routing]
    update = "{update}"
    interval_s = 40
    share = 0.5
    """
    return network, demand, Scenario.parse(text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_random_networks_conserve_vehicles_and_keep_to_capacity_and_jam_density(world):
    network, demand, scenario = world
    result = simulate(network, demand, scenario=scenario, horizon_s=900, sample_every_s=10)
    vehicles, city, links = result.summary()["vehicles"], network.compile(), result.links
    assert vehicles["demanded"] == len(demand.trips())
    assert vehicles["demanded"] == vehicles["arrived"] + vehicles["on_links"] + vehicles["waiting"]
    assert (links.on_link >= 0).all()
    cut = np.array([name == scenario.incident[0].link for name in links.link_ids])  # room is rounded up on both halves
    assert (links.on_link <= np.ceil(city.jam_density * city.length - 1e-9) + cut).all()
    assert (np.diff(links.entered, axis=0) >= 0).all()
    assert (np.diff(links.entered, axis=0) <= city.capacity * 10 + 1 + 1e-9).all()
    inside = (links.time > 50) & (links.time <= 150)
    closed = links.link_ids.index(scenario.close[0].links[0])
    assert links.entered[inside, closed].max() == links.entered[inside, closed].min()
    done = ~np.isnan(result.trips.arrive)
    assert (result.trips.delay[done] >= -1e-6).all()
    if vehicles["on_links"] + vehicles["waiting"]:
        assert result.summary()["gridlock"], "vehicles stand for ten minutes without a ring of full links"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.floats(0.5, 30.0))
def test_the_result_depends_neither_on_the_run_nor_on_how_often_it_is_looked_at(world, pause):
    network, demand, scenario = world
    one = simulate(network, demand, scenario=scenario, horizon_s=600, sample_every_s=60)
    two = simulate(network, demand, scenario=scenario, horizon_s=600, sample_every_s=60)
    assert one.trips.arrive.tobytes() == two.trips.arrive.tobytes()
    assert one.links.vehicle_seconds.tobytes() == two.links.vehicle_seconds.tobytes()
    looked_at = Simulation(network, demand, scenario=scenario, until_s=600.0)
    time = 0.0
    while time < 600:
        time = min(600.0, time + pause)
        looked_at.advance(time)
    assert looked_at.traffic.vehicle["arrive"].tobytes() == one.trips.arrive.tobytes()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_no_vehicle_overtakes_another_of_the_same_route(world):
    network, demand, _ = world
    result = simulate(network, demand, scenario=Scenario.parse('[routing]\nupdate = "fixed"'), horizon_s=2000)
    trips = demand.trips()
    pairs = trips.origin.astype(np.int64) * 1000 + trips.destination
    for pair in np.unique(pairs):
        enter, arrive = result.trips.enter[pairs == pair], result.trips.arrive[pairs == pair]
        done = ~np.isnan(arrive)
        assert (np.diff(enter[done]) >= 0).all()
        assert (np.diff(arrive[done]) >= 0).all()


def test_a_ring_of_full_links_is_reported_in_road_order():
    names = "ABCD"
    nodes = [{"node_id": n, "x_coord": 120 + k / 1000, "y_coord": 30 + k % 2 / 1000} for k, n in enumerate(names)]
    links = [
        {"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": 1, "free_speed": 36, "length": 20}
        for a, b in ("AB", "BC", "CD", "DA")
    ]
    network = Network.from_tables({"node": nodes, "link": links})
    n = 40
    demand = Demand.of_trips(network, [0.0] * 4 * n, list("ABCD" * n), list("DABC" * n))
    result = simulate(network, demand, horizon_s=3000)
    assert result.summary()["gridlock"] == [["AB", "BC", "CD", "DA"]]
    assert result.summary()["vehicles"]["arrived"] < 4 * n


@pytest.fixture(scope="module")
def city():
    return Network.from_tables(generate(seed=3, junctions=60))


def test_a_generated_city_with_signals_and_incidents_conserves_vehicles_for_hours(city):
    demand = Demand.gravity(city)
    simulation = Simulation(city, demand, repeat_s=3600.0, start_s=3600.0, seed=2)
    rng = np.random.default_rng(5)
    handles = []
    for step in range(1, 37):
        simulation.advance(3600.0 + step * 600.0)
        counts = simulation.counts()  # asserts that links, queues and vehicles agree
        assert counts.demanded == counts.arrived + counts.on_links + counts.waiting
        city, parts = simulation.city, np.bincount(simulation.roads.part["link"])
        room = np.ceil(city.jam_density * city.length - 1e-9) + parts - 1  # each part of a cut link is rounded up
        assert (simulation.cumulative().on_link <= room).all()
        link = int(rng.integers(simulation.city.n_links))
        place = float(rng.uniform(0, simulation.city.length[link]))
        handles.append(simulation.add_incident(simulation.city.link_ids[link], place, 1))
        if len(handles) > 2:
            simulation.remove_incident(handles.pop(0))
    assert counts.arrived > 0.9 * counts.demanded
