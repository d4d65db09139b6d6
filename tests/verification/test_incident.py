"""Point incidents, works, speed limits and closures take effect at their instant and go back exactly."""

import numpy as np
import pytest

from simulation import Scenario, Simulation


@pytest.fixture
def road(street):
    return street([("I", "A", "B", {"lanes": 2, "length": 2000}), ("O", "B", "C", {"lanes": 2})])


def test_what_passes_an_incident_is_the_open_lanes_share_of_capacity(road, every):
    text = '[[incident]]\nlink = "I"\nposition_m = 1200\nlanes_blocked = 1\nfrom_s = 300\nuntil_s = 900'
    result = road.run(road.trips(("A", "C", every(1.25, 1200))), text)
    at_point = result.trips.arrive - 100 - 80  # nothing holds a vehicle behind the incident
    during = at_point[(at_point > 302) & (at_point < 900)]
    assert np.diff(during) == pytest.approx(2.0)  # one lane: 0.5 veh/s
    before = at_point[at_point < 300]
    assert np.diff(before) == pytest.approx(1.25)


def test_the_queue_of_an_incident_dissolves_at_the_analytic_time(road, every):
    text = '[[incident]]\nlink = "I"\nposition_m = 1200\nlanes_blocked = 1\nfrom_s = 300\nuntil_s = 900'
    result = road.run(road.trips(("A", "C", every(1.25, 2400))), text)
    # Arrivals 0.8 veh/s, 0.5 pass for 600 s: 180 are held; then 1.0 pass: gone after 180 / 0.2 = 900 s, at 1800 s.
    at_point = result.trips.arrive - 180
    delayed = at_point[result.trips.delay > 1e-6]
    assert delayed.max() == pytest.approx(1800, abs=10)  # 2 vehicles at a closing speed of 0.2 veh/s
    # Largest delay at the end: those who arrive when 180 are held wait 180 / 1.0 s once it opens.
    assert result.trips.delay.max() == pytest.approx(600 * (1 - 0.5 / 0.8), abs=3)


def test_a_full_blockage_lets_nothing_pass_and_the_queue_stands_behind_it(road, every):
    text = '[[incident]]\nlink = "I"\nposition_m = 500\nlanes_blocked = 2\nfrom_s = 100'
    result = road.run(road.trips(("A", "C", every(2.0, 500))), text, horizon_s=1200)
    # 500 m x 0.3 veh/m stand before the point, behind it the road is empty: 150 on the link.
    assert result.links.on_link[-1].tolist() == [150, 0]
    assert result.summary()["vehicles"]["arrived"] == 25  # those at 500 m before 100 s left before 50 s


@pytest.mark.parametrize("position", [0, 0.2, 700, 1999.9, 2000])
def test_an_incident_stands_anywhere_on_the_link(road, every, position):
    text = f'[[incident]]\nlink = "I"\nposition_m = {position}\nlanes_blocked = 1\nfrom_s = 0'
    result = road.run(road.trips(("A", "C", [0.0] * 300)), text)
    assert np.diff(result.trips.arrive)[5:] == pytest.approx(2.0)


def test_an_incident_without_effect_changes_nothing_but_a_headway(road, every):
    text = '[[incident]]\nlink = "I"\nposition_m = 700\nlanes_blocked = 1\nfrom_s = 100\nuntil_s = 200'
    demand = road.trips(("A", "C", every(3.0, 100)))  # below what one lane carries
    assert road.run(demand, text).trips.arrive == pytest.approx(road.run(demand).trips.arrive, abs=1e-9)


def test_a_capacity_factor_is_exact_in_time(road):
    text = '[[capacity]]\nlinks = ["I"]\nfactor = 0.5\nfrom_s = 10.5\nuntil_s = 20.25'
    result = road.run(road.trips(("A", "C", [0.0] * 40)), text)
    # N(t) = t until 10.5 s, then half as fast until 20.25 s, then as before: vehicle n enters when N reaches n.
    times, counts = [0, 10.5, 20.25, 100], [0, 10.5, 10.5 + 9.75 / 2, 10.5 + 9.75 / 2 + 79.75]
    assert result.trips.enter == pytest.approx(np.interp(np.arange(40), counts, times), abs=1e-9)


def test_nothing_enters_a_closed_link_and_what_is_on_it_leaves(road, every):
    text = '[[close]]\nlinks = ["O"]\nfrom_s = 300\nuntil_s = 500'
    result = road.run(road.trips(("A", "C", every(4.0, 100))), text, sample_every_s=50)
    times, entered = result.links.time, result.links.entered[:, 1]
    assert entered[times == 300][0] == entered[times == 450][0]
    assert result.links.on_link[times == 450, 1][0] == 0
    assert entered[times == 550][0] > entered[times == 450][0]
    assert result.summary()["vehicles"]["arrived"] == 100


def test_a_speed_limit_applies_to_the_distance_still_to_go(road):
    text = '[[speed_limit]]\nlinks = ["I"]\nspeed_kmh = 18\nfrom_s = 100\nuntil_s = 160'
    result = road.run(road.trips(("A", "B", [0.0])), text)
    # 1000 m at 10 m/s, 60 s at 5 m/s, the last 700 m at 10 m/s again.
    assert result.trips.arrive[0] == pytest.approx(100 + 60 + 70)


def test_closing_with_reroute_sends_those_under_way_another_way(street):
    links = [("I", "A", "M", {}), ("S", "M", "C", {"length": 500}), ("T", "M", "D", {}), ("U", "D", "C", {})]
    road = street(links)
    demand = road.trips(("A", "C", [0.0]))
    wait = road.run(demand, '[[close]]\nlinks = ["S"]\nfrom_s = 50\nuntil_s = 1000')
    round_it = road.run(demand, '[[close]]\nlinks = ["S"]\nfrom_s = 50\nuntil_s = 1000\nreroute = true')
    assert wait.trips.arrive[0] == pytest.approx(1000 + 50)
    assert round_it.trips.arrive[0] == pytest.approx(300)


def test_those_who_leave_after_a_closure_know_it(street):
    road = street([("I", "A", "M", {}), ("S", "M", "C", {"length": 500}), ("T", "M", "D", {}), ("U", "D", "C", {})])
    result = road.run(road.trips(("A", "C", [60.0])), '[[close]]\nlinks = ["S"]\nfrom_s = 50\nuntil_s = 1000')
    assert result.trips.arrive[0] == pytest.approx(360)


def test_closed_lanes_take_their_share_of_capacity_and_storage(road, every):
    text = """
    [[lanes]]
    links = ["I"]
    closed = 1
    from_s = 0
    until_s = 1500
    [[close]]
    links = ["O"]
    from_s = 300
    until_s = 1400
    """
    result = road.run(road.trips(("A", "C", [0.0] * 900)), text, sample_every_s=100)
    at = {int(time): k for k, time in enumerate(result.links.time)}
    left, on = result.links.left[:, 0], result.links.on_link[:, 0]
    assert left[at[300]] == 50  # 200 to 300 s at one lane's 0.5 veh/s
    assert on[at[1300]] == 300  # 2000 m of one lane at 0.15 veh/m
    # The hole of the first to leave at 1,400 s needs 2000 m / 5 m/s to the entrance, but the second lane is free at
    # 1,500 s: 300 places more, taken at two lanes' 1 veh/s.
    assert on[at[1500]] == 300 - 50
    assert result.links.entered[at[1600], 0] - result.links.entered[at[1500], 0] == pytest.approx(100, abs=1)
    assert left[at[1800]] - left[at[1600]] == pytest.approx(200, abs=1)


def test_lanes_and_all_else_go_back_exactly(road, picture, changed):
    text = """
    [[lanes]]
    links = ["I", "O"]
    closed = 1
    from_s = 33.3
    until_s = 200
    [[capacity]]
    links = ["I"]
    factor = 0.3
    from_s = 40
    until_s = 170.7
    [[speed_limit]]
    links = ["O"]
    speed_kmh = 20
    from_s = 20
    until_s = 210
    [[incident]]
    link = "I"
    position_m = 700
    lanes_blocked = 1
    from_s = 50
    until_s = 205
    [[close]]
    links = ["O"]
    from_s = 60
    until_s = 190
    """
    simulation = Simulation(road.network, road.trips(("A", "C", [0.0] * 300)), scenario=Scenario.parse(text))
    before = picture(simulation)
    simulation.advance(150)
    assert "part" in changed(before, picture(simulation))
    simulation.advance(211)
    assert changed(before, picture(simulation)) == []


def test_all_lanes_closed_let_nobody_in_or_out(road, every):
    text = '[[lanes]]\nlinks = ["I"]\nclosed = 2\nfrom_s = 250\nuntil_s = 500'
    result = road.run(road.trips(("A", "C", every(2.0, 300))), text, sample_every_s=50)
    at = {int(time): k for k, time in enumerate(result.links.time)}
    for count in (result.links.left[:, 0], result.links.entered[:, 0]):
        assert count[at[250]] == count[at[500]]
        assert count[at[550]] > count[at[500]]
