"""The street that lives for days: it is looked at and changed while it runs."""

import numpy as np
import pytest

from sensors import InputError, Sensor
from simulation import Demand, Flow, Scenario, Simulation
from simulation.detectors import Detectors
from twin import Network


@pytest.fixture(scope="module")
def network():
    nodes = [{"node_id": n, "x_coord": 120 + k / 100, "y_coord": 30.0} for k, n in enumerate("ABC")]
    links = [
        {"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": 2, "free_speed": 36, "length": 1000}
        for a, b in ("AB", "BC")
    ]
    zones = [{"zone_id": n, "node_id": n, "share": 1} for n in "AC"]
    return Network.from_tables(
        {"node": nodes, "link": links, "zone": [{"zone_id": n} for n in "AC"], "zone_node": zones}
    )


def steady(network, per_hour=1440.0, end=86400.0):
    return Demand.of_flows(network, [Flow("A", "C", per_hour * end / 3600, 0.0, end)])


def test_a_repeating_demand_is_the_same_every_day_and_its_memory_does_not_grow(network):
    demand = Demand.of_flows(network, [Flow("A", "C", 500, 0.0, 1000.0)])
    simulation = Simulation(network, demand, repeat_s=2000.0)
    sizes = []
    for day in range(1, 8):
        simulation.advance(day * 2000.0 - 1.0)
        sizes.append((len(simulation.traffic.vehicle), len(simulation.traffic.path)))
        assert simulation.counts().arrived == simulation.counts().demanded
    assert sizes[0] == sizes[-1]
    assert simulation.cumulative().entered[0] == 500 * 8 + 300  # with the warm-up hour: 1,600 s and a whole period


def test_a_street_that_starts_in_the_day_is_loaded(network):
    simulation = Simulation(network, steady(network), repeat_s=86400.0, start_s=7.5 * 3600)
    assert simulation.time_s == 7.5 * 3600
    assert simulation.cumulative().on_link == pytest.approx([40, 40], abs=1)  # 0.4 veh/s x 100 s


def test_an_incident_added_while_it_runs_holds_the_queue_behind_its_point(network):
    simulation = Simulation(network, steady(network))
    simulation.advance(500)
    before = simulation.counts()
    incident = simulation.add_incident("AB", 600, 2)
    assert simulation.counts() == before
    simulation.advance(2000)
    # 600 m x 0.3 veh/m stand before the point; behind it the road is empty.
    assert simulation.cumulative().on_link.tolist() == [180, 0]
    simulation.remove_incident(incident)
    simulation.advance(2010)
    simulation.advance(6000)
    assert simulation.cumulative().on_link == pytest.approx([40, 40], abs=1)
    assert simulation.counts().waiting == 0


def test_an_incident_added_while_it_runs_acts_as_one_known_before(network):
    scenario = Scenario.parse(
        '[[incident]]\nlink = "AB"\nposition_m = 600\nlanes_blocked = 1\nfrom_s = 500\nuntil_s = 900'
    )
    demand = Demand.of_flows(network, [Flow("A", "C", 1200, 0.0, 1800.0)])
    known = Simulation(network, demand, scenario=scenario)
    unknown = Simulation(network, demand)
    known.advance(4000)
    unknown.advance(500)
    incident = unknown.add_incident("AB", 600, 1)
    unknown.advance(900)
    unknown.remove_incident(incident)
    unknown.advance(4000)
    # Where free flow has brought a vehicle is exact, so the same are held; headways there begin afresh.
    assert np.abs(known.traffic.vehicle["arrive"] - unknown.traffic.vehicle["arrive"]).max() <= 2.0


def test_incidents_at_many_points_of_a_jammed_link_lose_no_vehicle(network):
    rng = np.random.default_rng(1)
    simulation = Simulation(network, steady(network, 4000.0))
    incidents = []
    for step in range(1, 60):
        simulation.advance(step * 50.0)
        if step % 2:
            incidents.append(simulation.add_incident("AB", float(rng.uniform(0, 1000)), float(rng.integers(1, 3))))
        elif len(incidents) > 3:
            simulation.remove_incident(incidents.pop(0))
        counts = simulation.counts()
        assert counts.demanded == counts.arrived + counts.on_links + counts.waiting
    for incident in incidents:
        simulation.remove_incident(incident)
    simulation.advance(4000)
    before = simulation.cumulative()
    simulation.advance(5000)
    assert simulation.measure(before).flow == pytest.approx([1.0, 1.0], abs=0.01)  # capacity is back, whole


def test_a_wrong_incident_is_refused(network):
    simulation = Simulation(network, steady(network))
    with pytest.raises(InputError, match="lanes_blocked is 3, link AB has 2 lanes"):
        simulation.add_incident("AB", 100, 3)
    with pytest.raises(InputError, match="position_m is 2000"):
        simulation.add_incident("AB", 2000, 1)
    with pytest.raises(InputError, match=r"'XY' is not in link\.csv"):
        simulation.add_incident("XY", 10, 1)


def test_closing_and_reopening_links_while_it_runs(network):
    simulation = Simulation(network, steady(network))
    simulation.advance(500)
    simulation.close_links(["BC"])
    simulation.advance(700)
    assert simulation.cumulative().on_link[1] == 0
    simulation.reopen_links(["BC"])
    simulation.advance(750)
    assert simulation.cumulative().on_link[1] == 50  # the queue leaves at capacity, 1 veh/s from 700 to 750 s


def test_detectors_count_every_vehicle_once_whatever_their_intervals(network):
    simulation = Simulation(network, steady(network))
    sensors = [Sensor("S1", link_id="AB", position_m=900, lanes=2), Sensor("S2", link_id="BC", position_m=10, lanes=1)]
    detectors = Detectors(simulation, sensors)
    counts = np.zeros(2)
    for second in range(10, 1001, 10):
        simulation.advance(second)
        if second % 60 == 0:
            reading = detectors.read([0])
            counts[0] += reading.count[0]
            assert reading.until_s[0] - reading.from_s[0] == 60
        if second % 100 == 0:
            counts[1] += detectors.read([1]).count[0]
    last = detectors.read([0])
    counts[0] += last.count[0]
    total = simulation.cumulative()
    assert counts[0] == total.left[0]
    assert counts[1] == pytest.approx(total.entered[1] / 2)  # one of two lanes
    assert last.speed[0] == pytest.approx(10.0, rel=0.05)
    assert last.occupancy[0] == pytest.approx(0.04 / 2 * 6.5, rel=0.1)


def test_a_processes_of_the_users_own_runs_on_the_streets_clock(network):
    seen = []

    def patrol(env, simulation):
        yield env.timeout(300)
        incident = simulation.add_incident("AB", 500, 2)
        yield env.timeout(100)
        simulation.remove_incident(incident)
        seen.append((env.now, int(simulation.cumulative().on_link[0])))

    simulation = Simulation(network, steady(network), processes=[patrol])
    simulation.advance(500)
    assert seen == [
        (400.0, pytest.approx(60, abs=1))
    ]  # at 10 m/s those within 500 m of the point: 0.4 veh/s x (50 + 100) s
