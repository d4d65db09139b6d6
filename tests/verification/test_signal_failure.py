"""Failed signals: an all-way stop when dark, priority when flashing, and everything as before when they are mended."""

import numpy as np
import pytest

from simulation import Scenario, Simulation

FAILURE = '\n[[asset_failure]]\nasset = "{asset}"\nfrom_s = {start}\nuntil_s = {end}\n'


def assets(mode_of_signal="all_way_stop", mode_of_controller="flashing"):
    return {
        "asset": [
            {"asset_id": "feeder", "kind": "feeder"},
            {"asset_id": "controller", "kind": "controller", "node_id": "C", "degraded_mode": mode_of_controller},
            {"asset_id": "head", "kind": "signal", "node_id": "C", "degraded_mode": mode_of_signal},
        ],
        "dependency": [
            {"asset_id": "controller", "depends_on": "feeder", "kind": "power"},
            {"asset_id": "head", "depends_on": "controller", "kind": "control"},
        ],
    }


MAJOR = {name: {"facility_type": "primary"} for name in ("WC", "CW", "EC", "CE")}
MINOR = {name: {"facility_type": "residential"} for name in ("NC", "CN", "SC", "CS")}


@pytest.mark.parametrize(
    ("approaches", "headway"),
    [
        ("N", 3.9),  # Highway Capacity Manual 2000, exhibit 17: case 1, nobody else
        ("NS", 4.7),  # case 2: one opposite
        ("NE", 5.8),  # case 3: one from the side
        ("NES", 7.0),  # case 4
        ("NESW", 9.6),  # case 5: on all sides
    ],
)
def test_a_dark_signal_discharges_like_a_saturated_all_way_stop(street, compass, approaches, headway):
    links = [(x + "C", x, "C", {}) for x in approaches]
    other = {"N": "S", "S": "N", "E": "W", "W": "E"}
    links += [("C" + other[x], "C", other[x], {}) for x in approaches]
    road = street(links, places=compass, **assets())
    rows = ", ".join(f'["{x}C", "C{other[x]}"]' for x in "NS" if x in approaches)
    more = ", ".join(f'["{x}C", "C{other[x]}"]' for x in "EW" if x in approaches)
    stages = "".join(f"[[signal.stage]]\ngreen_s = 30\nmovements = [{part}]\n" for part in (rows, more) if part)
    text = f'[[signal]]\nnode = "C"\ncycle_s = 60\n{stages}' + FAILURE.format(asset="head", start=0, end=90000)
    demand = road.trips(*((x, other[x], [0.0] * 40) for x in approaches))
    result = road.run(demand, text)
    for x in approaches:
        mine = np.sort(result.trips.arrive[demand.fixed.origin == demand.node_ids.index(x)])
        assert np.diff(mine) == pytest.approx(headway)


def test_a_flashing_signal_lets_the_minor_road_wait_for_gaps(crossing, two_stages):
    road, end, flow = crossing(MAJOR | MINOR, **assets()), 40_000, 0.15
    text = two_stages + FAILURE.format(asset="controller", start=0, end=90000)
    major = np.sort(np.random.default_rng(2).uniform(0, end, int(flow * end))).tolist()
    demand = road.trips(("W", "E", major), ("N", "S", (2.0 * np.arange(end / 2)).tolist()))
    result = road.run(demand, text, horizon_s=end)
    on_major = demand.fixed.origin == demand.node_ids.index("W")
    # The major road does not notice: those who came closer than a headway queue at their origin, as without a signal.
    free = result.trips.arrive[on_major] - result.trips.enter[on_major]
    assert np.nanmax(free) == pytest.approx(200.0)
    crossed = int(result.links.left[-1][road.network.compile().link_ids.index("NC")])
    # Tanner (1962) with the critical gap 6.5 s and follow-up time 4.0 s of the manual for crossing straight on, headway
    # 2 s; 6,000 random vehicles differ from their mean by 1.3 %, times exp(-flow dT): 3 % is two deviations.
    expected = flow * (1 - 2 * flow) * np.exp(-flow * 4.5) / (1 - np.exp(-flow * 4.0))
    assert crossed / (end - 100) == pytest.approx(expected, rel=0.03)


def test_without_power_a_flashing_controller_is_dark(crossing, two_stages):
    road = crossing(MAJOR | MINOR, **assets())
    demand = road.trips(("W", "E", [0.0] * 30), ("N", "S", [0.0] * 30))
    dark = road.run(demand, two_stages + FAILURE.format(asset="feeder", start=0, end=90000))
    assert np.diff(dark.trips.arrive[demand.fixed.origin == demand.node_ids.index("W")]) == pytest.approx(9.6)
    flashing = road.run(demand, two_stages + FAILURE.format(asset="controller", start=0, end=90000))
    assert np.diff(flashing.trips.arrive[demand.fixed.origin == demand.node_ids.index("W")]) == pytest.approx(2.0)


def test_where_all_roads_are_alike_flashing_is_an_all_way_stop(crossing, two_stages):
    road = crossing(**assets())
    demand = road.trips(("W", "E", [0.0] * 30))
    result = road.run(demand, two_stages + FAILURE.format(asset="controller", start=0, end=90000))
    assert np.diff(result.trips.arrive) == pytest.approx(9.6)


@pytest.mark.parametrize("asset", ["head", "controller", "feeder"])
def test_a_mended_signal_is_what_it_was(crossing, picture, changed, asset, two_stages):
    road = crossing(MAJOR | MINOR, **assets())
    scenario = Scenario.parse(two_stages + FAILURE.format(asset=asset, start=130.5, end=391.25))
    demand = road.trips(("N", "S", [0.0] * 50), ("S", "W", [0.0] * 50), ("W", "E", [0.0] * 50))
    simulation = Simulation(road.network, demand, scenario=scenario)
    before = picture(simulation)
    simulation.advance(200.0)
    assert "node" in changed(before, picture(simulation))
    simulation.advance(400.0)
    assert changed(before, picture(simulation)) == []


def test_a_failure_begins_and_ends_at_its_instant(crossing, two_stages):
    road = crossing(MAJOR | MINOR, **assets())
    text = two_stages + FAILURE.format(asset="head", start=150, end=217)
    demand = road.trips(("N", "S", [0.0] * 80))
    at_line = road.run(demand, text).trips.arrive - 100.0
    # Green from 80 to 115, red until 160; dark from 150 on: the first leaves then, the others every 9.6 s; from 217 s
    # on the plan again, green from 240 s.
    assert at_line[at_line < 115].tolist() == pytest.approx([100.0, 102.0, 104.0, 106.0, 108.0, 110.0, 112.0, 114.0])
    between = at_line[(at_line > 115) & (at_line < 235)]
    assert between == pytest.approx(150 + 9.6 * np.arange(7))
    assert at_line[at_line > 235][:3] == pytest.approx([240.0, 242.0, 244.0])
