"""Profiles by time of the week: own, of the class, free flow; days, holidays and detectors of several lanes."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from sensors import InputError, Sensor
from tests.twin.test_twin import Road
from twin.prior import free_flow_prior
from twin.profile import SLOTS_A_DAY, Profiles, slot_of

MONDAY_8 = 8 * 4
ROAD = Road().compile()
BASE = free_flow_prior(ROAD)


def profiles(rows: list[tuple[str, str, int, int, tuple[float, float, float]]], *sensors: Sensor) -> Profiles:
    return Profiles(
        ROAD,
        sensors or [Sensor(f"D{i}", link_id=f"L{i}", lanes=2) for i in range(10)],
        sensor_id=[row[0] for row in rows],
        quantity=[row[1] for row in rows],
        slot=np.array([row[2] for row in rows], np.int64),
        n_days=np.array([row[3] for row in rows], np.int64),
        quantile=np.array([row[4] for row in rows], np.float64).reshape(-1, 3),
    )


def test_a_link_with_a_past_is_expected_to_do_what_it_usually_does_at_this_time() -> None:
    found = profiles(
        [("D3", "speed_kmh", MONDAY_8, 100, (17.0, 20.0, 23.0)), ("D3", "flow_veh_h", MONDAY_8, 100, (900, 1000, 1100))]
    )
    prior = found.prior(MONDAY_8, BASE)
    assert prior.speed[3] * 3.6 == pytest.approx(20.0, rel=1e-5)
    assert prior.flow[3] * 3600 == pytest.approx(1000.0, rel=1e-5)
    assert prior.speed_deviation[3] * 3.6 == pytest.approx(3.0, rel=0.01)  # 100 days: the median is nearly sure
    others = np.arange(10) != 3
    assert np.array_equal(prior.speed[others], BASE.speed[others])
    assert np.array_equal(found.prior(MONDAY_8 + 1, BASE).speed, BASE.speed)


def test_few_days_make_a_profile_less_sure_and_one_day_makes_none() -> None:
    def deviation(n_days: int) -> float:
        found = profiles([("D3", "speed_kmh", MONDAY_8, n_days, (17.0, 20.0, 23.0))])
        return float(found.prior(MONDAY_8, BASE).speed_deviation[3])

    assert deviation(1) == BASE.speed_deviation[3]
    assert deviation(2) > deviation(4) > deviation(50) > 0


def test_a_link_without_a_past_does_what_its_class_does_when_enough_of_it_is_known() -> None:
    rows = [(f"D{i}", "speed_kmh", MONDAY_8, 9, (20.0, 25.0, 30.0)) for i in (0, 1, 2)]
    prior = profiles(rows).prior(MONDAY_8, BASE)
    assert prior.speed[7] * 3.6 == pytest.approx(25.0, rel=1e-5)
    assert np.array_equal(prior.flow, BASE.flow)
    assert np.array_equal(profiles(rows[:2]).prior(MONDAY_8, BASE).speed[3:], BASE.speed[3:])
    assert (prior.speed_deviation > 0).all()


def test_a_detector_over_one_of_two_lanes_tells_half_of_the_flow() -> None:
    sensor = Sensor("D3", link_id="L3", lanes=1)
    found = profiles([("D3", "flow_veh_h", MONDAY_8, 9, (400, 500, 600))], sensor)
    assert found.prior(MONDAY_8, BASE).flow[3] * 3600 == pytest.approx(1000.0, rel=1e-5)


def test_a_holiday_without_a_past_is_a_sunday_and_with_one_is_itself() -> None:
    sunday, holiday = 6 * SLOTS_A_DAY + MONDAY_8, 7 * SLOTS_A_DAY + MONDAY_8
    rows = [("D3", "speed_kmh", sunday, 9, (40.0, 45.0, 50.0))]
    assert profiles(rows).prior(holiday, BASE).speed[3] * 3.6 == pytest.approx(45.0, rel=1e-5)
    rows.append(("D3", "speed_kmh", holiday, 2, (30.0, 35.0, 40.0)))
    assert profiles(rows).prior(holiday, BASE).speed[3] * 3.6 == pytest.approx(35.0, rel=1e-5)


def test_the_slot_follows_local_time_over_both_changes_of_clocks_and_holidays() -> None:
    zone = "Europe/Helsinki"
    for day in (date(2026, 3, 27), date(2026, 4, 3), date(2026, 10, 23), date(2026, 10, 30)):  # Fridays around them
        local = datetime(day.year, day.month, day.day, 8, 7, tzinfo=ZoneInfo(zone))
        assert slot_of(local.timestamp(), time_zone=zone) == 4 * SLOTS_A_DAY + MONDAY_8
        assert slot_of(local.timestamp(), time_zone=zone, holidays=frozenset({day})) == 7 * SLOTS_A_DAY + MONDAY_8
    twice = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC).timestamp() for hour in (0, 1)]  # 3:30 comes twice
    assert len({slot_of(time, time_zone=zone) for time in twice}) == 1


def test_sensors_and_quantities_that_the_network_does_not_have_are_left_out() -> None:
    found = profiles(
        [
            ("D9", "pm25_ug_m3", 0, 9, (1, 2, 3)),
            ("stranger", "speed_kmh", 0, 9, (1, 2, 3)),
            ("D1", "speed_kmh", 0, 9, (1, np.nan, 3)),
        ]
    )
    assert np.array_equal(found.prior(0, BASE).speed, BASE.speed)


def test_columns_of_different_length_and_slots_beyond_the_week_are_refused() -> None:
    with pytest.raises(InputError, match="a slot of a profile is 0 or 768, must be 0 to 767"):
        profiles([("D3", "speed_kmh", 0, 9, (1, 2, 3)), ("D3", "speed_kmh", 768, 9, (1, 2, 3))])
    with pytest.raises(InputError, match="must be of one length"):
        Profiles(
            ROAD,
            (),
            sensor_id=["D1"],
            quantity=[],
            slot=np.zeros(0, int),
            n_days=np.zeros(0, int),
            quantile=np.zeros((0, 3)),
        )
