"""One link: free-flow time, capacity, jam storage, and the exact entry and exit conditions at every length."""

import numpy as np
import pytest


def test_a_lone_vehicle_takes_length_over_free_speed(street):
    result = street([("L", "A", "B", {"length": 730})]).run(
        street([("L", "A", "B", {"length": 730})]).trips(("A", "B", [7.0]))
    )
    assert result.trips.arrive[0] - result.trips.depart[0] == pytest.approx(73.0, abs=1e-9)
    assert result.trips.delay[0] == 0.0


def test_a_full_origin_discharges_at_capacity(street, every):
    road = street([("L", "A", "B", {})])
    result = road.run(road.trips(("A", "B", [0.0] * 100)))
    assert result.trips.enter == pytest.approx(np.arange(100) * 2.0, abs=1e-9)  # 1 / q apart
    assert result.trips.arrive == pytest.approx(100 + np.arange(100) * 2.0, abs=1e-9)


def test_capacity_below_the_top_of_the_triangle_cuts_it(street):
    road = street([("L", "A", "B", {"capacity": 900})])
    result = road.run(road.trips(("A", "B", [0.0] * 20)))
    assert np.diff(result.trips.enter) == pytest.approx(4.0)


@pytest.mark.parametrize("length", [3, 5, 6.5, 7, 10, 13, 20, 33.3, 100, 500, 1000])
@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_links_of_every_length_carry_their_capacity(street, length, lanes):
    links = [("I", "A", "B", {"lanes": lanes}), ("M", "B", "C", {"lanes": lanes, "length": length})]
    road = street([*links, ("O", "C", "D", {"lanes": lanes})])
    n = 200 * lanes
    result = road.run(road.trips(("A", "D", [0.0] * n)))
    headway = 2.0 / lanes
    expected = 200 + length / 10 + headway * np.arange(n)
    assert result.trips.arrive == pytest.approx(expected, abs=1e-6)  # not one headway is lost


def test_a_blocked_link_stores_jam_density_times_length(street):
    road = street([("I", "A", "B", {}), ("J", "B", "C", {"length": 200}), ("O", "C", "D", {})])
    result = road.run(road.trips(("A", "D", [0.0] * 300)), '[[close]]\nlinks = ["O"]', horizon_s=2000)
    on = dict(zip(result.links.link_ids, result.links.on_link[-1].tolist(), strict=True))
    assert on["J"] == 30  # 0.15 veh/m x 200 m
    assert on["I"] == 150
    assert on["O"] == 0
    assert result.summary()["vehicles"]["waiting"] == 300 - 180
    assert result.summary()["gridlock"] == []  # a queue behind a closure is none


@pytest.mark.parametrize("cut", [4.0, 77.7, 250.0, 499.0])
def test_splitting_a_link_changes_no_arrival_by_more_than_one_headway(street, every, cut):
    whole = street([("I", "A", "B", {"length": 500}), ("O", "B", "C", {"capacity": 720})])
    split = street(
        [
            ("I1", "A", "X", {"length": cut}),
            ("I2", "X", "B", {"length": 500 - cut}),
            ("O", "B", "C", {"capacity": 720}),
        ]
    )
    departures = every(1.7, 150)  # above the capacity behind, so the queue grows back to the origin
    one = whole.run(whole.trips(("A", "C", departures)))
    two = split.run(split.trips(("A", "C", departures)))
    assert np.abs(one.trips.arrive - two.trips.arrive).max() <= 2.0
