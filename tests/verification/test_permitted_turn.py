"""Permitted turns: the capacity of gap acceptance, the opposing queue first, the last ones at the end of green."""

import numpy as np
import pytest

GAP_S, FOLLOW_UP_S, HEADWAY_S = 4.5, 2.5, 2.0

LONG_GREEN = """
[[signal]]
node = "C"
cycle_s = 90000
[[signal.stage]]
green_s = 90000
movements = [["NC", "CS"], ["SC", "CW"]]
"""


def tanner(flow: float, gap: float, follow_up: float, headway: float) -> float:
    """Return the capacity (veh/s) of a yielding stream beside one of random arrivals no closer than a headway.

    Source: Tanner (1962), A theoretical analysis of delays at an uncontrolled intersection, Biometrika 49; without the
    headway it is the formula of Harders (1968) that the Highway Capacity Manual uses for permitted left turns.
    """
    free = np.exp(-flow * (gap - headway)) / (1.0 - np.exp(-flow * follow_up))
    return float(flow * (1.0 - flow * headway) * free)


@pytest.mark.parametrize("flow", [0.03, 0.1, 0.2, 0.3])
def test_a_left_turn_finds_the_gaps_of_random_oncoming_traffic(crossing, every, flow):
    road, end = crossing(), 40_000.0
    oncoming = np.sort(np.random.default_rng(1).uniform(0.0, end, int(flow * end))).tolist()
    demand = road.trips(("N", "S", oncoming), ("S", "W", every(2.0, int(end / 2))))
    result = road.run(demand, LONG_GREEN, horizon_s=end)
    turned = int(result.links.left[-1][road.network.compile().link_ids.index("SC")])
    expected = tanner(flow, GAP_S, FOLLOW_UP_S, HEADWAY_S)
    # Random counts: the oncoming ones differ from their mean by the root of their number, 1.2 to 3 % here, and the
    # capacity changes with the flow by up to exp(-flow dT): 4 % is two such deviations.
    assert turned / (end - 100.0) == pytest.approx(expected, rel=0.04)


def test_gaps_are_exact(crossing):
    road = crossing()
    # Oncoming traffic is at the stop line at 100, 120 and 126 s; turners from 101 s on.
    demand = road.trips(("N", "S", [0.0, 20.0, 26.0]), ("S", "W", [1.0] * 9))
    arrive = np.sort(road.run(demand, LONG_GREEN).trips.arrive[road_rows(demand, "S")]) - 100.0
    first = 104.5 + FOLLOW_UP_S * np.arange(7)  # a gap of 20 s: floor((20 - 4.5) / 2.5) + 1 = 7 vehicles
    second = [124.5]  # one of 6 s: floor(1.5 / 2.5) + 1 = 1
    assert arrive == pytest.approx([*first, *second, 130.5], abs=1e-6)


def road_rows(demand, origin):
    return demand.fixed.origin == demand.node_ids.index(origin)


@pytest.mark.parametrize("to", ["N", "W"])
def test_without_oncoming_traffic_all_discharge_at_saturation_flow(crossing, to):
    road = crossing()
    plan = LONG_GREEN.replace('["NC", "CS"], ', '["NC", "CS"], ["NC", "CW"], ["SC", "CN"], ')
    result = road.run(road.trips(("S", to, [0.0] * 30)), plan)
    assert np.diff(result.trips.arrive) == pytest.approx(HEADWAY_S)


def test_the_usual_two_stage_plan_runs_with_its_left_turns_permitted(crossing, two_stages):
    road = crossing()
    result = road.run(road.trips(("N", "S", [0.0])), two_stages)
    assert [note for note in result.notes if "permitted" in note and "node C" in note]
    assert result.trips.arrive[0] == pytest.approx(200.0)


def test_beside_a_saturated_stream_two_turn_at_the_end_of_each_green(crossing, two_stages):
    road = crossing()
    demand = road.trips(("N", "S", [0.0] * 400), ("S", "W", [0.0] * 100))
    result = road.run(demand, two_stages, horizon_s=2000)
    turned = result.trips.arrive[road_rows(demand, "S")] - 100.0
    turned = turned[np.isfinite(turned) & (turned < 1600)]
    phase = turned % 80.0
    # Two headways before the end of green at 35 s, nobody in red.
    assert set(np.round(phase, 3)) <= {31.0, 33.0}
    assert np.bincount((turned // 80).astype(int))[2:20].tolist() == [2] * 18


def test_the_opposing_queue_goes_first_and_gaps_follow_when_it_is_gone(crossing, two_stages):
    road = crossing()
    demand = road.trips(("N", "S", [0.0] * 6), ("S", "W", [0.0] * 4))
    result = road.run(demand, two_stages)
    turned = np.sort(result.trips.arrive[road_rows(demand, "S")]) - 100.0
    # Six oncoming vehicles come at saturation flow to the green of 80 to 115 s: they are there from 100 to 110 s.
    assert turned[0] == pytest.approx(111.0)  # the first of two that clear the junction: 110 + 4.5 s would be later
    wide = road.run(demand, two_stages.replace("cycle_s = 80", "cycle_s = 160").replace("green_s = 35", "green_s = 75"))
    turned = np.sort(wide.trips.arrive[road_rows(demand, "S")]) - 100.0
    # Green from 160 s: the six leave until 170 s, then one turns after the critical gap, the others at follow-up times.
    assert turned == pytest.approx(170.0 + GAP_S + FOLLOW_UP_S * np.arange(4), abs=1e-6)


def test_in_a_queue_shared_by_several_lanes_nobody_waits_for_a_gap(crossing, every, two_stages):
    road = crossing({"SC": {"lanes": 2}})
    demand = road.trips(("N", "S", [0.0] * 100), ("S", "W", every(10.0, 10)), ("S", "N", every(3.0, 100)))
    result = road.run(demand, two_stages)
    assert result.summary()["gridlock"] == []
    assert [note for note in result.notes if "wait for no gap" in note and note.endswith("at node C")]
    own = crossing(
        {"SC": {"lanes": 2}},
        movement=[
            {"mvmt_id": "l", "node_id": "C", "ib_link_id": "SC", "ob_link_id": "CW", "start_ib_lane": 1},
            {"mvmt_id": "s", "node_id": "C", "ib_link_id": "SC", "ob_link_id": "CN", "start_ib_lane": 2},
            {"mvmt_id": "n", "node_id": "C", "ib_link_id": "NC", "ob_link_id": "CS"},
        ],
    )
    plan = LONG_GREEN.replace('[["NC", "CS"], ', '[["NC", "CS"], ["SC", "CN"], ')
    result = own.run(own.trips(("N", "S", [0.0] * 100), ("S", "W", [0.0]), ("S", "N", [0.0] * 50)), plan)
    assert not [note for note in result.notes if "wait for no gap" in note]
    # The turner waits for all hundred, from 100 to 298 s; straight on nobody waits for him.
    assert result.trips.arrive[100] == pytest.approx(298.0 + GAP_S + 100.0, abs=1e-6)
    assert result.trips.arrive[101:].max() == pytest.approx(100.0 + 2.0 * 49 + 100.0, abs=2.0)


def test_where_one_drives_on_the_left_it_is_the_right_turn_that_waits_for_oncoming_traffic(crossing):
    plan = LONG_GREEN.replace('["SC", "CW"]', '["SC", "CW"], ["SC", "CE"]')
    for side, waits, goes in (("right", "W", "E"), ("Left", "E", "W")):
        road = crossing(config=[{"driving_side": side}])
        oncoming = ("N", "S", [0.0] * 10)
        to = {}
        for way in (waits, goes):
            demand = road.trips(oncoming, ("S", way, [0.0]))
            to[way] = road.run(demand, plan).trips.arrive[road_rows(demand, "S")][0]
        assert to[goes] == pytest.approx(200.0)  # turns away from oncoming traffic
        assert to[waits] == pytest.approx(118.0 + GAP_S + 100.0, abs=1e-6)  # the tenth is there at 118 s
