"""Diverges: first in, first out within a lane group, no blocking between lane groups."""

import numpy as np
import pytest


def test_one_lane_blocks_those_behind_a_vehicle_that_cannot_go_on(street):
    road = street([("I", "A", "M", {}), ("L", "M", "B", {}), ("R", "M", "C", {})])
    demand = road.trips(("A", "B", [0.0]), ("A", "C", [4.0, 8.0]))
    result = road.run(demand, '[[close]]\nlinks = ["L"]\nuntil_s = 500\n[routing]\nupdate = "fixed"')
    assert result.trips.arrive == pytest.approx([600, 602, 604])  # all wait, then leave one headway apart


def test_lane_groups_do_not_block_each_other(street):
    movements = [
        {"node_id": "M", "ib_link_id": "I", "ob_link_id": "L", "start_ib_lane": 1, "end_ib_lane": 1},
        {"node_id": "M", "ib_link_id": "I", "ob_link_id": "R", "start_ib_lane": 2, "end_ib_lane": 2},
    ]
    road = street([("I", "A", "M", {"lanes": 2}), ("L", "M", "B", {}), ("R", "M", "C", {})], movements)
    demand = road.trips(("A", "B", [0.0]), ("A", "C", [4.0, 8.0]))
    result = road.run(demand, '[[close]]\nlinks = ["L"]\nuntil_s = 500\n[routing]\nupdate = "fixed"')
    assert result.trips.arrive == pytest.approx([600, 204, 208])


def test_each_lane_group_discharges_its_lanes_share(street):
    movements = [
        {"node_id": "M", "ib_link_id": "I", "ob_link_id": "L", "start_ib_lane": 1, "end_ib_lane": 1},
        {"node_id": "M", "ib_link_id": "I", "ob_link_id": "R", "start_ib_lane": 2, "end_ib_lane": 3},
    ]
    road = street(
        [("I", "A", "M", {"lanes": 3}), ("L", "M", "B", {"lanes": 3}), ("R", "M", "C", {"lanes": 3})], movements
    )
    result = road.run(road.trips(("A", "B", [0.0] * 60)))
    assert np.diff(result.trips.arrive)[-20:] == pytest.approx(2.0)  # one of three lanes
    result = road.run(road.trips(("A", "C", [0.0] * 60)))
    assert np.diff(result.trips.arrive)[-20:] == pytest.approx(1.0)  # two of three


def test_a_full_lane_group_holds_those_behind_it_at_the_entrance(street):
    movements = [
        {"node_id": "M", "ib_link_id": "I", "ob_link_id": "L", "start_ib_lane": 1, "end_ib_lane": 1},
        {"node_id": "M", "ib_link_id": "I", "ob_link_id": "R", "start_ib_lane": 2, "end_ib_lane": 2},
    ]
    road = street(
        [
            ("F", "Z", "A", {"lanes": 2}),
            ("I", "A", "M", {"lanes": 2, "length": 100}),
            ("L", "M", "B", {}),
            ("R", "M", "C", {}),
        ],
        movements,
    )
    demand = road.trips(("Z", "B", [0.0] * 15), ("Z", "C", [100.0]), ("Z", "B", [101.0]), ("Z", "C", [102.0]))
    text = '[[close]]\nlinks = ["L"]\nuntil_s = 5000\n[routing]\nupdate = "fixed"'
    result = road.run(demand, text, horizon_s=4000)
    # The left lane holds 0.15 x 100 = 15. The first through vehicle passes them; the 16th left-turner waits at the
    # entrance of the link and holds the second through vehicle behind it.
    assert result.trips.arrive[15] == pytest.approx(100 + 100 + 10 + 100)
    assert np.isnan(result.trips.arrive[17])
    assert result.links.on_link[-1].tolist() == [2, 15, 0, 0]
