"""What is usual: stored readings of some weeks become the prior of a time, through a real PostgreSQL."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from hub.habit import Habit
from ingest.database import Database
from ingest.rollup import refresh
from ingest.store import Store
from sensors import Batch, Reading
from sensors.clock import CityClock
from twin import Network

ZONE = "Europe/Helsinki"
NOW = datetime(2026, 11, 2, 5, 0, tzinfo=UTC).timestamp()  # a Monday after the change of clocks, 7 o'clock there


def test_what_a_detector_did_on_the_last_mondays_is_expected_on_the_next(database: Database, town: Network) -> None:
    sensor = next(s for s in town.sensors if "speed_kmh" in s.quantities and s.link_id)
    link = town.links.position[sensor.link_id]
    mondays = [datetime(2026, 10, day, 8, 5, tzinfo=ZoneInfo(ZONE)) for day in (5, 12, 19, 26)]
    speeds = dict(zip(mondays, (21.0, 22.0, 3.0, 23.0), strict=True))  # an accident on one of them
    holiday = mondays[0] + timedelta(days=1)
    speeds[holiday] = 60.0
    readings = [Reading(sensor.sensor_id, "speed_kmh", int(t.timestamp()) * 1000, v) for t, v in speeds.items()]
    Store(database).write(Batch.of(readings, received_at=NOW))
    while refresh(database):
        pass
    clock = CityClock(wall=lambda: NOW, wall_start=NOW, city_start=NOW, factor=1.0)
    habit = Habit(database, town, clock=clock, time_zone=ZONE, holidays=frozenset({holiday.date()}))
    assert habit.prior(NOW) is None
    assert habit.do() == 1
    at_eight = datetime(2026, 11, 2, 8, 7, tzinfo=ZoneInfo(ZONE)).timestamp()
    prior = habit.prior(at_eight)
    assert prior is not None
    assert prior.speed[link] * 3.6 == pytest.approx(21.5, rel=1e-5)
    assert habit.prior(at_eight + 60) is prior  # the same quarter of an hour
    an_hour_later = habit.prior(at_eight + 3600)
    assert an_hour_later is not None
    assert an_hour_later.speed[link] * 3.6 > 25


def test_without_a_past_nothing_is_usual(database: Database, town: Network) -> None:
    clock = CityClock(wall=lambda: NOW, wall_start=NOW, city_start=NOW, factor=1.0)
    habit = Habit(database, town, clock=clock, time_zone=ZONE, holidays=frozenset())
    assert habit.do() == 0
    assert habit.prior(NOW) is None
