"""A fixed signal: uniform delay, saturation discharge and residual queue."""

import numpy as np
import pytest

PLAN = """
[routing]
update = "fixed"
[[signal]]
node = "B"
cycle_s = {cycle}
offset_s = {offset}
[[signal.stage]]
green_s = {red}
movements = [["X", "O"]]
[[signal.stage]]
green_s = {green}
movements = [["I", "O"]]
"""


@pytest.fixture
def road(street):
    return street([("I", "A", "B", {}), ("X", "Z", "B", {}), ("O", "B", "C", {})])


def plan(cycle=60, green=30, offset=0):
    return PLAN.format(cycle=cycle, green=green, red=cycle - green, offset=offset)


def test_a_vehicle_at_red_leaves_at_the_next_green(road):
    result = road.run(road.trips(("A", "C", [0.0, 25.0])), plan(offset=7))
    # It is at the stop line at 100 s; cycles begin at 67 and 127 with 30 s of red: green from 97 to 127.
    assert result.trips.arrive == pytest.approx([200.0, 225.0])
    late = road.run(road.trips(("A", "C", [27.0])), plan(offset=7))
    assert late.trips.arrive[0] == pytest.approx(157.0 + 100.0)  # green is open at its end


def test_uniform_delay_is_websters_first_term(road, every):
    cycle, green, headway = 60.0, 30.0, 6.1
    n = 600
    result = road.run(road.trips(("A", "C", every(headway, n))), plan(cycle, green))
    flow, saturation = 1 / headway, 0.5
    ratio = green / cycle
    expected = cycle * (1 - ratio) ** 2 / (2 * (1 - flow / saturation))
    # The fluid's first vehicle waits the mean of a headway less than a whole one: half a saturation headway.
    assert result.trips.delay.mean() == pytest.approx(expected, abs=1.0)


def test_a_standing_queue_discharges_at_saturation_flow_in_green(road):
    result = road.run(road.trips(("A", "C", [0.0] * 120)), plan())
    at_line = result.trips.arrive - 100
    per_cycle = np.bincount((at_line // 60).astype(int))[2:8]
    assert (per_cycle == 15).all()  # 30 s of green at 0.5 veh/s
    assert ((at_line % 60) >= 30 - 1e-6).all()


def test_an_oversaturated_approach_keeps_what_it_cannot_serve(road, every):
    headway, cycles = 3.0, 8  # 20 arrive in each cycle, 15 leave; 40 stay, which the link holds
    result = road.run(road.trips(("A", "C", every(headway, 500))), plan(), horizon_s=120 + 60 * cycles)
    at_line = (result.trips.depart + 100 <= 120 + 60 * cycles).sum()
    waiting = at_line - result.links.left[-1, 0]
    # Arrivals before the first whole cycle: 100 to 120 s, in the end of green; phases are worth a vehicle each.
    assert waiting == pytest.approx(5 * cycles, abs=3)


def test_a_movement_in_no_stage_is_never_green_and_routes_avoid_it(street):
    road = street(
        [
            ("I", "A", "B", {}),
            ("O", "B", "C", {}),
            ("D1", "A", "D", {"length": 3000}),
            ("D2", "D", "C", {}),
            ("E", "B", "D", {}),
        ]
    )
    text = '[[signal]]\nnode = "B"\ncycle_s = 60\n[[signal.stage]]\ngreen_s = 60\nmovements = [["I", "E"]]\n'
    result = road.run(road.trips(("A", "C", [0.0])), text)
    assert result.trips.distance[0] == 3000  # I, E, D2 instead of I, O
    assert any("I > O" in note for note in result.notes)
