"""The city clock: live, at a factor, and driven by the readings of a replay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors import Batch, InputError, Reading
from sensors.clock import CityClock, EventTime, ticks

AUGUST = 1_406_851_200.0  # 2014-08-01T00:00:00Z
DAY = 86_400.0


def batch_at(*times: float, sensor: str = "D1") -> Batch:
    return Batch.of([Reading(sensor, "speed_kmh", round(t * 1000), 50.0) for t in times], received_at=0.0)


def event_time(**options: float) -> EventTime:
    return EventTime(wall=lambda: 1.8e9, **options)


def test_clock_with_a_factor_starts_now_and_runs_faster():
    wall = [100.0]
    clock = CityClock.parse("2014-08-01T02:00:00+02:00@60", wall=lambda: wall[0])
    assert clock.now() == AUGUST
    wall[0] += 10
    assert clock.now() == AUGUST + 600


def test_live_clock_is_the_wall_and_takes_no_notice_of_readings():
    clock = CityClock.parse("live", wall=lambda: 1234.5)
    clock.observe(batch_at(AUGUST))
    assert clock.started
    assert clock.now() == 1234.5


@pytest.mark.parametrize(
    "text",
    [
        *("", "LIVE", "@60", "2014-08-01T00:00:00@60", "replay@", "replay@yesterday", "replay@2014-08-01T00:00:00"),
        *(f"2014-08-01T00:00:00Z@{factor}" for factor in ("0", "-1", "x", "inf", "nan")),
    ],
)
def test_wrong_clocks_are_refused_with_what_would_be_right(text: str):
    with pytest.raises(InputError, match=r"must be 'live', a time with zone.*'replay'"):
        CityClock.parse(text, wall=lambda: 0.0)


def test_replay_clock_stands_at_the_newest_reading_and_never_goes_back():
    clock = CityClock.parse("replay", wall=lambda: 1.8e9)
    assert not clock.started
    for time, expected in [(AUGUST, AUGUST), (AUGUST + 300, AUGUST + 300), (AUGUST + 60, AUGUST + 300)]:
        clock.observe(batch_at(time))
        assert clock.started
        assert clock.now() == expected


def test_replay_clock_may_be_given_a_start():
    clock = CityClock.parse("replay@2014-08-01T00:00:00Z", wall=lambda: 1.8e9)
    assert clock.started
    assert clock.now() == AUGUST


def test_a_device_with_a_wrong_clock_does_not_carry_the_city_into_its_future():
    time = event_time()
    time.observe(batch_at(AUGUST))
    for minute in range(100):
        # each minute nine sensors report, and one that is two years ahead, twice
        time.observe(batch_at(AUGUST + 60 * minute + 700 * DAY, AUGUST + 60 * minute + 700 * DAY, sensor="rogue"))
        time.observe(batch_at(*[AUGUST + 60 * minute] * 9))
    assert time.now() == AUGUST + 60 * 99


def test_readings_from_beyond_the_wall_clock_never_move_it():
    time = event_time()
    time.observe(batch_at(*[9e11 + i for i in range(50)]))
    assert not time.started
    time.observe(batch_at(AUGUST, *[9e11 + i for i in range(50)]))
    assert time.now() == AUGUST


def test_a_gap_between_two_recordings_is_crossed_when_enough_readings_agree():
    time = event_time()
    time.observe(batch_at(AUGUST))
    for second in range(9):
        time.observe(batch_at(AUGUST + 30 * DAY + second))
        assert time.now() == AUGUST
    time.observe(batch_at(AUGUST + 30 * DAY + 9))
    assert AUGUST + 30 * DAY <= time.now() <= AUGUST + 30 * DAY + 9


def test_first_batch_with_one_wild_time_starts_at_the_others():
    time = event_time()
    time.observe(batch_at(0.0, AUGUST, AUGUST + 1, AUGUST + 2, AUGUST + 3))
    assert time.now() == AUGUST + 3


def test_ticks_show_every_instant_once_and_in_order():
    batch = batch_at(25.0, 3.0, 10.0, 10.001)
    assert [(now, part.time_ms.tolist()) for now, part in ticks(batch, interval_s=10, since=0)] == [
        (10.0, [3000, 10_000]),
        (20.0, [10_001]),
        (25.0, [25_000]),
    ]


def test_ticks_notice_silence():
    instants = [now for now, _ in ticks(batch_at(1000.0), interval_s=100, since=0)]
    assert instants == [100.0 * n for n in range(1, 11)]


def test_ticks_do_not_walk_through_the_years_between_two_recordings():
    instants = [now for now, _ in ticks(batch_at(AUGUST), interval_s=10, since=0)]
    assert instants == [AUGUST]


def test_late_readings_go_into_the_next_part_and_time_stands():
    assert [(now, len(part)) for now, part in ticks(batch_at(5.0, 7.0), interval_s=10, since=42)] == [(42, 2)]


def test_no_readings_no_instants():
    assert list(ticks(Batch(), interval_s=10, since=0)) == []


@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=40), st.integers(1, 100), st.integers(0, 300))
def test_ticks_lose_no_reading_and_never_go_back(times_ms, interval, since):
    batch = batch_at(*[ms / 1000 for ms in times_ms])
    instants, seen = [], []
    for now, part in ticks(batch, interval_s=interval, since=since):
        assert all(part.time_ms / 1000 <= now)
        instants.append(now)
        seen += part.time_ms.tolist()
    assert sorted(seen) == sorted(times_ms)
    assert instants == sorted(instants)
    assert instants[0] >= since
