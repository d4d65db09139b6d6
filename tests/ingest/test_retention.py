"""What is older than the city keeps goes by itself, by the city's own clock, and nothing else goes."""

import threading
from typing import Any

import pytest

from ingest.database import Database, DatabaseAway
from ingest.retention import Retention
from ingest.store import Store
from sensors import Batch, Reading, Reason, Rejected
from sensors.clock import CityClock

DAY_S = 86_400.0
NOW = 1_781_481_600.0  # Monday, 2026-06-15T00:00Z
OLD = NOW - 30 * DAY_S


def holding(database: Database) -> Store:
    """Return a store with a reading and a rejected payload of now and of thirty days ago."""
    store = Store(database)
    for at in (OLD, NOW):
        reading = Reading("D1", "speed_kmh", round(at * 1000), 50.0)
        junk = Rejected("city/centre/D1", b"junk", Reason.NOT_JSON)
        store.write(Batch.of([reading], received_at=at, rejected=(junk,)))
    return store


def retention(store: Store, clock: CityClock, **more: Any) -> Retention:
    return Retention(store, clock=clock, retention_s=14 * DAY_S, **more)


def add_events(database: Database, *events: tuple[str, str, float]) -> None:
    for alert_id, event, at in events:
        database.execute(
            "INSERT INTO alert_event (alert_id, fingerprint, rule, event, time)"
            " VALUES (%s, '', '', %s, to_timestamp(%s))",
            (alert_id, event, at),
        )


def test_readings_and_rejected_payloads_go_when_they_are_older_than_the_city_keeps(database: Database) -> None:
    store = holding(database)
    assert retention(store, CityClock(wall=lambda: NOW)).do() == 1
    assert store.series("D1", "speed_kmh").time_ms.tolist() == [round(NOW * 1000)]
    assert store.contents().rejected == {"not_json": 1}


def test_an_alert_goes_whole_once_it_has_ended_and_one_that_fires_stays_however_old_it_is(database: Database) -> None:
    add_events(
        database,
        ("ended", "firing", OLD), ("ended", "resolved", OLD + 60),
        ("nothing", "pending", OLD), ("nothing", "inactive", OLD + 60),
        ("fires", "firing", OLD), ("fires", "acknowledged", OLD + 60),
        ("late", "firing", OLD), ("late", "resolved", NOW),
        ("told", "resolved", OLD), ("told", "acknowledged", NOW),
    )  # fmt: skip
    retention(Store(database), CityClock(wall=lambda: NOW)).do()
    left = database.fetch("SELECT alert_id, count(*) FROM alert_event GROUP BY alert_id ORDER BY alert_id")
    assert left == [("fires", 2), ("late", 2), ("told", 2)]


def test_a_replay_of_last_year_keeps_last_year(database: Database) -> None:
    store = holding(database)
    clock = CityClock.parse("replay", wall=lambda: NOW)
    assert retention(store, clock).do() == 0  # it stands nowhere yet
    clock.observe(Batch.of([Reading("D1", "speed_kmh", round(OLD * 1000), 50.0)], received_at=0.0))
    assert retention(store, clock).do() == 0
    assert len(store.series("D1", "speed_kmh").value) == 2


def test_a_clock_that_jumps_years_ahead_deletes_nothing_that_the_newest_reading_keeps(database: Database) -> None:
    store = holding(database)
    assert retention(store, CityClock(wall=lambda: NOW + 3650 * DAY_S)).do() == 1
    assert store.series("D1", "speed_kmh").time_ms.tolist() == [round(NOW * 1000)]
    assert store.contents().rejected == {"not_json": 1}


def test_what_is_kept_for_ever_is_never_asked_for(database: Database) -> None:
    store = holding(database)
    assert Retention(store, clock=CityClock(wall=lambda: NOW), retention_s=float("inf")).do() == 0
    assert len(store.series("D1", "speed_kmh").value) == 2


def test_it_looks_by_itself_and_goes_on_after_the_database_was_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, looks, again = Store(database), [], threading.Event()

    def retain(*, since: float) -> int:
        looks.append(since)
        if len(looks) == 1:
            raise DatabaseAway("gone for a moment")
        again.set()
        return 0

    monkeypatch.setattr(store, "retain", retain)
    with retention(store, CityClock(wall=lambda: NOW), every_s=0.01):
        assert again.wait(30.0)
    assert set(looks) == {NOW - 14 * DAY_S}


def test_the_next_weeks_are_made_as_soon_as_it_starts(database: Database) -> None:
    with retention(Store(database), CityClock(wall=lambda: NOW)):
        deadline = threading.Event()
        while not database.fetch("SELECT to_regclass('rollup_20260713')")[0][0]:  # four weeks after this one
            assert not deadline.wait(0.01)
    assert database.fetch("SELECT count(*) FROM pg_inherits WHERE inhparent = 'reading_raw'::regclass") == [(5,)]
