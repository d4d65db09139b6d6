"""A bottleneck: Newell's cumulative curves, shock speed, spillback and recovery.

Vehicles are whole, so counts differ from the fluid ones by less than one, and times by less than one headway of the
bottleneck.
"""

import numpy as np
import pytest

ARRIVAL_S, SERVICE_S = 3.0, 4.0  # headways of demand and bottleneck: q1 = 1/3, q2 = 1/4 veh/s


@pytest.fixture
def road(street):
    return street([("I", "A", "B", {"length": 2000}), ("O", "B", "C", {"capacity": 900})])


def test_delay_at_a_bottleneck_is_that_of_newells_curves(road, every):
    n = 90
    result = road.run(road.trips(("A", "C", every(ARRIVAL_S, n))))
    free = 200 + 100
    departure = np.arange(n) * ARRIVAL_S
    expected = np.arange(n) * SERVICE_S + free  # D(t): one every 4 s from the first vehicle on
    assert result.trips.arrive == pytest.approx(expected, abs=1e-6)
    total = (expected - departure - free).sum()  # area between the curves = n (n - 1) / 2 x (4 - 3)
    assert total == n * (n - 1) / 2
    assert result.summary()["total_delay_s"] == pytest.approx(total, abs=1e-3)


def test_the_horizontal_queue_grows_at_the_shock_speed(road, every):
    result = road.run(road.trips(("A", "C", every(ARRIVAL_S, 400))), sample_every_s=10, horizon_s=1200)
    # State 1: q1 = 1/3, k1 = q1 / v. State 2 behind the bottleneck: q2 = 1/4, k2 = k_jam - q2 / w.
    q1, q2, v, w, jam = 1 / 3, 1 / 4, 10.0, 5.0, 0.15
    k1, k2 = q1 / v, jam - q2 / w
    shock = (q1 - q2) / (k2 - k1)  # speed of the tail, upstream
    start = 200.0  # the first vehicle is at the bottleneck
    times = result.links.time
    growing = (times > start + 10) & (shock * (times - start) < 2000)
    length = np.minimum(2000, shock * (times - start))
    expected = k1 * (2000 - length) + k2 * length
    # On the link: whole vehicles, and the platoon's phase at both ends: at most two.
    assert np.abs(result.links.on_link[growing, 0] - expected[growing]).max() <= 2


def test_spillback_reaches_the_entrance_at_the_time_of_the_shock(road, every):
    q1, q2, v, w, jam = 1 / 3, 1 / 4, 10.0, 5.0, 0.15
    shock = (q1 - q2) / (jam - q2 / w - q1 / v)
    reached = 200 + 2000 / shock
    n = int((reached + 1500) / ARRIVAL_S)
    result = road.run(road.trips(("A", "C", every(ARRIVAL_S, n))))
    held = np.flatnonzero(result.trips.enter - result.trips.depart > 1e-6)
    first = result.trips.depart[held[0]]
    # The entry headway turns from 3 to 4 s; the first delay shows at the next vehicle: within two headways.
    assert first == pytest.approx(reached, abs=2 * SERVICE_S)
    assert np.diff(result.trips.enter[held[0] + 1 :]) == pytest.approx(SERVICE_S)


def test_the_queue_is_gone_when_the_curves_meet(road, every):
    platoon, calm = every(ARRIVAL_S, 60), every(8.0, 60, 60 * ARRIVAL_S)
    result = road.run(road.trips(("A", "C", platoon + calm)))
    # Demand: 60 vehicles in 180 s, then one every 8 s; served one every 4 s: 240 + 4 m = 180 + 8 m, m = 15.
    delayed = np.flatnonzero(result.trips.delay > 1e-6)
    assert delayed[-1] == pytest.approx(60 + 15, abs=1)
