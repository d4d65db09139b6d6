"""Merges: supply is shared by priority, unused shares passed on (Daganzo 1995, Tampere et al. 2011)."""

import numpy as np
import pytest


def shares(result, links, start, end):
    """Return the flow that leaves each link between two times (veh/s)."""
    table = result.links
    rows = [int(np.searchsorted(table.time, t)) for t in (start, end)]
    columns = [table.link_ids.index(name) for name in links]
    return [(table.left[rows[1], c] - table.left[rows[0], c]) / (end - start) for c in columns]


def merge(street, lanes_1=1, lanes_2=1, out=1, **more):
    return street(
        [
            ("I1", "A", "M", {"lanes": lanes_1, **more}),
            ("I2", "B", "M", {"lanes": lanes_2, **more}),
            ("O", "M", "C", {"lanes": out}),
        ]
    )


# 0.5 veh/s over 1000 s: counts are exact up to one vehicle at either end.
TOLERANCE = 2 / 1000


def test_equal_approaches_share_equally(street):
    road = merge(street)
    result = road.run(road.trips(("A", "C", [0.0] * 600), ("B", "C", [0.0] * 600)), horizon_s=1500)
    assert shares(result, ["I1", "I2"], 300, 1300 - 40) == pytest.approx([0.25, 0.25], abs=TOLERANCE)


@pytest.mark.parametrize("out", [1, 2])
def test_two_lanes_get_twice_the_share_of_one(street, out):
    road = merge(street, lanes_1=2, out=out)
    result = road.run(road.trips(("A", "C", [0.0] * 1500), ("B", "C", [0.0] * 900)), horizon_s=1500)
    supply = 0.5 * out
    expected = [supply * 2 / 3, supply / 3]
    assert shares(result, ["I1", "I2"], 300, 1260) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("capacity", [900, 1700, 1780, 1800, 1820, 1850, 1950, 2250])
@pytest.mark.parametrize("priority", [1, 2, 3, 10])
def test_given_priorities_hold_whatever_the_capacity_ahead(street, capacity, priority):
    # The approaches carry 1800 veh/h each. A share may need two turns in a row of an approach when the link ahead
    # carries a little more than the approach does. Counts are exact up to a vehicle at either end and one at the start.
    road = street(
        [
            ("I1", "A", "M", {"priority": priority}),
            ("I2", "B", "M", {"priority": 1}),
            ("O", "M", "C", {"free_speed": 100, "capacity": capacity}),
        ]
    )
    result = road.run(road.trips(("A", "C", [0.0] * 900), ("B", "C", [0.0] * 900)), horizon_s=1500)
    supply = capacity / 3600
    first = min(0.5, supply * priority / (priority + 1))
    first = max(first, supply - 0.5)
    assert shares(result, ["I1", "I2"], 300, 1260) == pytest.approx([first, supply - first], abs=3 / 960)


def test_an_idle_approach_leaves_its_share_to_the_other(street):
    road = merge(street)
    result = road.run(road.trips(("A", "C", [0.0] * 600)), horizon_s=1300)
    assert shares(result, ["I1"], 300, 1260) == pytest.approx([0.5], abs=TOLERANCE)


def test_an_approach_below_its_share_is_served_in_full(street, every):
    road = merge(street)
    result = road.run(road.trips(("A", "C", [0.0] * 900), ("B", "C", every(10.0, 150))), horizon_s=1500)
    assert shares(result, ["I1", "I2"], 300, 1260) == pytest.approx([0.4, 0.1], abs=TOLERANCE)


def test_a_merge_that_spills_back_from_further_down_shares_as_well(street):
    road = street(
        [
            ("I1", "A", "M", {"lanes": 2}),
            ("I2", "B", "M", {}),
            ("O", "M", "C", {"length": 200, "lanes": 2}),
            ("P", "C", "D", {"capacity": 600}),
        ]
    )
    result = road.run(road.trips(("A", "D", [0.0] * 900), ("B", "D", [0.0] * 900)), horizon_s=2100)
    supply = 600 / 3600
    assert shares(result, ["I1", "I2"], 900, 2100) == pytest.approx([supply * 2 / 3, supply / 3], abs=TOLERANCE)


def test_an_origin_competes_with_the_priority_of_one_lane(street):
    road = street([("I", "A", "M", {"lanes": 2}), ("O", "M", "C", {"lanes": 2})])
    result = road.run(road.trips(("A", "C", [0.0] * 1500), ("M", "C", [0.0] * 900)), horizon_s=1500)
    assert shares(result, ["I", "O"], 300, 1260)[0] == pytest.approx(2 / 3, abs=TOLERANCE)  # of 1 veh/s


def test_supply_of_two_contested_links_follows_oriented_capacities(street):
    # I1 sends every second vehicle to O, all of I2 goes to O, P is wide: Tampere et al. give I1 half of I2's
    # share of O, since both are held by O alone and so leave in proportion to their capacities.
    road = street([("I1", "A", "M", {}), ("I2", "B", "M", {}), ("O", "M", "C", {"capacity": 900}), ("P", "M", "D", {})])
    times = [0.0] * 1200
    rows = [("A", "C" if k % 2 else "D", [t]) for k, t in enumerate(times)] + [("B", "C", [0.0] * 900)]
    result = road.run(road.trips(*rows), horizon_s=2000)
    supply = 0.25
    out_1, out_2 = shares(result, ["I1", "I2"], 600, 1980)
    assert out_1 / 2 + out_2 == pytest.approx(supply, abs=TOLERANCE)
    assert out_1 == pytest.approx(out_2, rel=0.02)


def test_a_street_makes_up_for_what_it_waited_at_a_merge(street, every):
    # Half of A's vehicles turn off; of O's 0.5 veh/s they and those of B need 0.25 + 0.1 veh/s, so in theory nobody
    # holds A back. A vehicle of B that comes between costs A's next one up to a headway, which those behind make up.
    road = street([("I1", "A", "M", {}), ("I2", "B", "M", {}), ("O", "M", "C", {}), ("P", "M", "D", {})])
    main = [("A", "C" if k % 2 else "D", [0.0]) for k in range(900)]
    result = road.run(road.trips(*main, ("B", "C", every(10.3, 150))), horizon_s=1500)
    assert shares(result, ["I1", "I2"], 300, 1260) == pytest.approx([0.5, 1 / 10.3], abs=3 / 960)
