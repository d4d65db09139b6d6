"""The contract of the store; the same on every PostgreSQL."""

import json
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.database import Database
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from ingest.settled import Counts
from ingest.store import FEW, Store
from sensors import Batch, Reading, Reason, Rejected, Sensor
from sensors.reading import Quality

MONDAY_MS = 1_781_481_600_000  # 2026-06-15T00:00Z


def batch(
    *readings: tuple[str, int, float], quantity: str = "speed_kmh", received_at: float = 1_781_481_700.0
) -> Batch:
    return Batch.of(
        [Reading(sensor_id, quantity, MONDAY_MS + t, value) for sensor_id, t, value in readings],
        received_at=received_at,
    )


@pytest.fixture(scope="module")
def postgres_15(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The oldest PostgreSQL that the tests run on."""
    programs = Path("/usr/lib/postgresql/15/bin")
    if not (programs / "postgres").exists():
        pytest.skip(f"NO POSTGRESQL 15 in {programs}: apt-get install postgresql-15")
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres-15"), binaries=programs) as server:
        with Database(server.url) as template:
            migrate(template)
        yield server


def url_of(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@contextmanager
def copied(url: str, template: str) -> Iterator[Database]:
    """Lend a copy of a database of a server."""
    place = url_of(url, "postgres")
    with Database(place) as maintenance:
        maintenance.execute("DROP DATABASE IF EXISTS contract WITH (FORCE)")
        maintenance.execute(f"CREATE DATABASE contract TEMPLATE {template}")
        try:
            with Database(url_of(url, "contract")) as private:
                yield private
        finally:
            maintenance.execute("DROP DATABASE contract WITH (FORCE)")


@pytest.fixture(params=["newest", "postgresql-15", "timescale"])
def any_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty, migrated database on each server that the contract holds for."""
    if request.param == "newest":
        yield request.getfixturevalue("database")
    elif request.param == "postgresql-15":
        server = request.getfixturevalue("postgres_15")
        with copied(server.url, "citytwin") as private:
            yield private
    else:
        url = os.environ.get("CITYTWIN_TEST_TIMESCALE_URL")
        if not url:
            pytest.skip(
                "NO TIMESCALEDB: set CITYTWIN_TEST_TIMESCALE_URL to a database of a role that may create databases"
            )
        with copied(url, "template1") as private:
            migrate(private)
            yield private


@pytest.fixture
def store(any_database: Database) -> Store:
    return Store(any_database)


def test_a_reading_comes_back_as_it_was_written(store: Store) -> None:
    assert store.write(batch(("D1", 60_000, 31.5))) == Counts(received=1, stored=1)
    series = store.series("D1", "speed_kmh")
    assert series.time_ms.tolist() == [MONDAY_MS + 60_000]
    assert series.value.tolist() == [31.5]
    assert series.received_at.tolist() == [1_781_481_700.0]


def test_the_view_and_the_tables_have_the_published_names(store: Store) -> None:
    store.write(batch(("D1", 60_001, 31.5)))
    rows = store.database.fetch(
        "SELECT s.sensor_id, s.quantity, s.scale, r.value, r.quality, raw.raw, r.time = raw.time,"
        " to_char(r.time, 'YYYY-MM-DD HH24:MI:SS.US') FROM reading r JOIN series s USING (series_id)"
        " JOIN reading_raw raw USING (series_id)"
    )
    assert rows == [
        ("D1", "speed_kmh", 1000, 31.5, Quality.UNVERIFIED_SENSOR, 31_500, True, "2026-06-15 00:01:00.001000")
    ]
    for columns, table in {
        "series_id, time, raw, quality, received_at": "reading_raw",
        "series_id, time, value, quality, received_at": "reading",
        "series_id, time, value": "latest",
        "received_at, topic, payload, reason, replayed_at": "rejected",
        "series_id, time, value, recorded_at, author, reason": "correction",
        "alert_id, rule, event, time, payload": "alert_event",
        "run_id, state, payload": "run",
    }.items():
        store.database.fetch(f"SELECT {columns} FROM {table} WHERE false")


def test_a_repeated_batch_is_counted_as_duplicates_and_stored_once(store: Store) -> None:
    readings = batch(("D1", 0, 1.0), ("D2", 0, 2.0))
    store.write(readings)
    assert store.write(readings) == Counts(received=2, duplicate=2)
    assert store.contents().readings == 2


def test_a_few_readings_are_written_as_many_are(store: Store) -> None:
    """One call and COPY must leave the same in every table, but for when and by whom."""
    rng = np.random.default_rng(5)
    keys = [(f"D{sensor}", minute * 60_000) for sensor in range(3) for minute in range(100)]
    parts = [
        batch(*((*keys[i], float(rng.integers(2))) for i in rng.choice(len(keys), n, replace=False)))
        for n in (1, 2, 30, 190, 7, 1)  # each key once in a part, and some in several parts, with other values
    ]
    tables = "reading_raw", "latest", "rejected"
    columns = {"rejected": "topic, payload, reason, detail"}
    found = []
    for few in (0, FEW):
        for table in (*tables, "rollup_due"):
            store.database.execute(f"TRUNCATE {table}")
        one = Store(store.database, few=few)
        counts, due = [], []
        for part in parts:
            counts.append(one.write(part))
            due.append(store.database.fetch("SELECT DISTINCT bucket FROM rollup_due ORDER BY 1"))
            store.database.execute("TRUNCATE rollup_due")
        rows = [
            store.database.fetch(f"SELECT DISTINCT {columns.get(table, '*')} FROM {table} ORDER BY 1, 2")
            for table in tables
        ]
        found.append((counts, due, rows))
    assert found[0] == found[1]


def test_what_the_database_refuses_for_its_content_is_rejected_alone(store: Store) -> None:
    """No reading of ours is known to be refused; a check of the city's own on the table is what could do it."""
    store.write(batch(("D1", 0, 1.0)))
    scale = store.database.fetch("SELECT scale FROM series")[0][0]
    store.database.execute(f"ALTER TABLE reading_raw ADD CONSTRAINT not_seven CHECK (raw <> {7 * scale})")
    refused = [Rejected("city/x", b"?", Reason.NOT_JSON)]
    for start, n in ((1, 9), (1000, FEW + 100)):  # few, and many
        readings = [Reading("D1", "speed_kmh", MONDAY_MS + start + i, 7.0 if i % 4 == 1 else 1.0) for i in range(n)]
        bad = sum(reading.value == 7.0 for reading in readings)
        settled = store.settle(Batch.of(readings, received_at=1_781_481_700.0, rejected=tuple(refused)))
        assert settled.counts == Counts(received=n + 1, stored=n - bad, rejected=bad + 1)
        assert settled.batch.value.tolist() == [1.0] * (n - bad)
        reasons = [item.reason for item in settled.rejected]
        assert reasons.count(Reason.REFUSED_BY_DATABASE) == bad
        assert json.loads(settled.rejected[-1].payload)["speed_kmh"] == 7.0, "it names the reading it is about"
        assert "not_seven" in settled.rejected[-1].detail
    assert store.contents().rejected == {"not_json": 2, "refused_by_database": bad + 2}


def test_the_same_key_with_another_value_is_a_conflict_and_the_first_value_stays(store: Store) -> None:
    store.write(batch(("D1", 0, 1.0)))
    counts = store.write(batch(("D1", 0, 9.0), ("D1", 1, 3.0)))
    assert counts == Counts(received=2, stored=1, conflict=1)
    assert store.series("D1", "speed_kmh").value.tolist() == [1.0, 3.0]
    assert store.latest().value.tolist() == [3.0]
    [(topic, payload, reason, detail)] = store.database.fetch("SELECT topic, payload, reason, detail FROM rejected")
    assert (topic, payload, reason) == ("D1", b'{"t": 1781481600000, "speed_kmh": 9.0}', "conflict")
    assert "9.0" in detail
    assert "1.0" in detail


def test_within_one_batch_the_first_value_of_a_key_wins(store: Store) -> None:
    counts = store.write(batch(("D1", 0, 5.0), ("D1", 0, 5.0), ("D1", 0, 6.0)))
    assert counts == Counts(received=3, stored=1, duplicate=1, conflict=1)
    assert store.series("D1", "speed_kmh").value.tolist() == [5.0]


def test_repeats_within_a_batch_are_judged_by_what_the_database_holds(store: Store) -> None:
    store.write(batch(("D1", 0, 5.0)))
    counts = store.write(batch(("D1", 0, 6.0), ("D1", 0, 6.0), ("D1", 0, 5.0)))
    assert counts == Counts(received=3, duplicate=1, conflict=2)


def test_latest_moves_forward_only(store: Store) -> None:
    store.write(batch(("D1", 60_000, 2.0), ("D1", 30_000, 1.0)))
    store.write(batch(("D1", 45_000, 7.0)))
    latest = store.latest()
    assert (latest.sensor_id, latest.quantity) == (("D1",), ("speed_kmh",))
    assert (latest.time_ms.tolist(), latest.value.tolist()) == ([MONDAY_MS + 60_000], [2.0])


def test_latest_is_to_the_bit_what_its_table_holds(store: Store) -> None:
    values = [0.1, -273.15, 1e9, 0.0, 123.456, -0.5]
    times = [0, 1, 1_781_481_600_123, 7_258_118_399_999, 946_684_799_999, 999]
    assert len(store.latest()) == 0
    store.write(
        Batch.of([Reading(f"D{i}", "speed_kmh", t, v) for i, (t, v) in enumerate(zip(times, values, strict=True))],
                 received_at=5.0)
    )  # fmt: skip
    newest = store.latest()
    expected = store.database.fetch(
        "SELECT sensor_id, quantity, (extract(epoch FROM time) * 1000)::int8, value, l.quality FROM latest AS l"
        " JOIN series USING (series_id) ORDER BY series_id"
    )
    columns = (newest.time_ms, newest.value, newest.quality)
    assert list(zip(newest.sensor_id, newest.quantity, *(c.tolist() for c in columns), strict=True)) == expected
    for after, n in ((-math.inf, 6), (math.inf, 0), (4.999, 6), (5.0, 0), (-1.0, 6), (1e300, 0)):
        assert len(store.latest(received_after=after)) == n


def test_latest_can_be_asked_for_what_is_new(store: Store) -> None:
    store.write(batch(("D1", 0, 1.0), received_at=100.0))
    store.write(batch(("D2", 0, 2.0), received_at=200.0))
    assert store.latest(received_after=150.0).sensor_id == ("D2",)


def test_readings_of_weeks_far_apart_are_stored_and_found(store: Store) -> None:
    week_ms = 7 * 86_400_000
    store.write(batch(("D1", -30 * week_ms, 1.0), ("D1", -1, 2.0), ("D1", 0, 3.0), ("D1", 4 * week_ms, 4.0)))
    assert store.series("D1", "speed_kmh").value.tolist() == [1.0, 2.0, 3.0, 4.0]
    since = MONDAY_MS / 1000
    assert store.series("D1", "speed_kmh", since=since, until=since + 1).value.tolist() == [3.0]
    assert store.series("D1", "speed_kmh", limit=2).value.tolist() == [3.0, 4.0]


def test_retention_drops_weeks_that_are_over_and_they_can_be_written_again(store: Store) -> None:
    store.write(batch(("D1", -14 * 86_400_000, 1.0), ("D1", 0, 2.0)))
    other = Store(store.database)
    other.write(batch(("D2", -14 * 86_400_000, 1.0)))
    assert store.retain(since=MONDAY_MS / 1000) == 1
    assert store.series("D1", "speed_kmh").value.tolist() == [2.0]
    assert other.write(batch(("D1", -14 * 86_400_000, 8.0))).stored == 1  # it still believes that the week is there


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (Reading("D1\0", "speed_kmh", MONDAY_MS, 1.0), Reason.BAD_SENSOR_ID),
        (Reading("\ud800", "speed_kmh", MONDAY_MS, 1.0), Reason.BAD_SENSOR_ID),
        (Reading("", "speed_kmh", MONDAY_MS, 1.0), Reason.BAD_SENSOR_ID),
        (Reading("D" * 3000, "speed_kmh", MONDAY_MS, 1.0), Reason.BAD_SENSOR_ID),
        (Reading("D1", "speed_mph", MONDAY_MS, 1.0), Reason.UNKNOWN_QUANTITY),
        (Reading("D1", "speed_\0", MONDAY_MS, 1.0), Reason.UNKNOWN_QUANTITY),
        (Reading("D1", "speed_kmh", MONDAY_MS, float("nan")), Reason.NOT_A_NUMBER),
        (Reading("D1", "speed_kmh", MONDAY_MS, float("-inf")), Reason.NOT_A_NUMBER),
        (Reading("D1", "speed_kmh", MONDAY_MS, 1e16), Reason.OUT_OF_STORAGE_RANGE),
        (Reading("D1", "speed_kmh", -1, 1.0), Reason.TIME_TOO_OLD),
        (Reading("D1", "speed_kmh", 9 * 10**18, 1.0), Reason.TIME_IN_FUTURE),
    ],
)
def test_a_reading_that_cannot_be_stored_is_rejected_alone(store: Store, reading: Reading, reason: Reason) -> None:
    good = Reading("D2", "speed_kmh", MONDAY_MS, 50.0)
    counts = store.write(Batch.of([reading, good], received_at=1.0))
    assert counts == Counts(received=2, stored=1, rejected=1)
    assert store.contents().rejected == {reason.value: 1}


def test_the_largest_value_that_fits_is_stored(store: Store) -> None:
    assert store.write(batch(("D1", 0, -9.2e15))).stored == 1
    assert store.series("D1", "speed_kmh").value.tolist() == [-9.2e15]


def test_rejected_payloads_are_kept_whole_up_to_64_kb(store: Store) -> None:
    items = (
        Rejected("city/a\0b/\ud800", bytes(range(256)), Reason.NOT_JSON, "at\0 1"),
        Rejected("city/a/D1", b"x" * 65_537, Reason.WRONG_SHAPE),
        Rejected("城市/\\N\t\n", b"\\N", Reason.EMPTY),
    )
    assert store.write(Batch.of([], received_at=3.0, rejected=items)) == Counts(received=3, rejected=3)
    rows = store.database.fetch("SELECT topic, payload, reason, replayed_at FROM rejected ORDER BY rejected_id")
    assert rows == [
        ("city/a\ufffdb/?", bytes(range(256)), "not_json", None),
        ("city/a/D1", b"x" * 65_536, "wrong_shape (cut, 65537 bytes)", None),
        ("城市/\\N\t\n", b"\\N", "empty", None),
    ]


def test_rejections_carry_the_topic_and_payload_they_came_from(store: Store) -> None:
    store.write(batch(("D1", 0, 1.0)))
    store.write(batch(("D1", 0, 2.0)), origin=lambda i: (f"city/north/{i}", b"as sent"))
    assert store.database.fetch("SELECT topic, payload FROM rejected") == [("city/north/0", b"as sent")]


def test_unknown_sensors_are_admitted_up_to_a_limit_and_registered_ones_always(any_database: Database) -> None:
    store = Store(any_database, unverified_limit=2)
    counts = store.write(batch(("U1", 0, 1.0), ("U2", 0, 1.0), ("U3", 0, 1.0), ("U1", 1, 1.0)))
    assert counts == Counts(received=4, stored=3, rejected=1)
    assert store.contents().rejected == {"too_many_sensors": 1}
    store.register([Sensor("U3", link_id="L1"), Sensor("U1")])
    assert store.write(batch(("U3", 0, 1.0), ("U4", 0, 1.0))).stored == 2  # U1 is no longer unverified
    assert Store(any_database, unverified_limit=2).write(batch(("U5", 0, 1.0))).rejected == 1
    assert store.contents().unverified_sensors == 2


def test_registered_sensors_lose_the_mark_of_unverified_ones(store: Store) -> None:
    store.write(batch(("D1", 0, 1.0)))
    store.register([Sensor("D1", link_id="L7", quantities=("speed_kmh",))])
    store.write(batch(("D1", 1, 1.0)))
    assert store.series("D1", "speed_kmh").quality.tolist() == [Quality.UNVERIFIED_SENSOR, Quality.GOOD]
    assert store.database.fetch("SELECT link_id, quantities, verified FROM sensor") == [("L7", ["speed_kmh"], True)]


def test_writers_at_once_store_every_key_once(any_database: Database) -> None:
    stores = [Store(any_database) for _ in range(4)]
    generator = np.random.default_rng(1)
    batches = [
        batch(*((f"D{i}", int(t), float(i)) for i, t in zip(order, order % 7, strict=True)))
        for order in (generator.permutation(200) for _ in range(12))
    ]
    totals: list[Counts] = []

    def write(store: Store, mine: list[Batch]) -> None:
        for one in mine:
            totals.append(store.write(one))

    threads = [threading.Thread(target=write, args=(store, batches[i::4])) for i, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(totals, Counts())
    assert total == Counts(received=2400, stored=200, duplicate=2200)
    assert stores[0].contents().readings == 200


@pytest.mark.parametrize("few", [0, FEW], ids=["by COPY", "in one call"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["D1", "D2", "", "D\0"]),
                st.integers(0, 3),
                st.sampled_from([0.0, 1.0, float("nan"), 1e300]),
            ),
            max_size=8,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_counts_in_equal_counts_out_and_agree_with_a_dictionary(
    database: Database, few: int, parts: list[list[tuple[str, int, float]]]
) -> None:
    for table in ("reading_raw", "latest", "rejected"):
        database.execute(f"TRUNCATE {table}")
    store, model, expected = Store(database, few=few), dict[tuple[str, int], float](), Counts()
    total = Counts()
    for part in parts:
        total += store.write(batch(*part))
        for sensor_id, time, value in part:
            if sensor_id not in ("D1", "D2") or value not in (0.0, 1.0):
                expected += Counts(received=1, rejected=1)
            elif (sensor_id, time) not in model:
                model[sensor_id, time] = value
                expected += Counts(received=1, stored=1)
            elif model[sensor_id, time] == value:
                expected += Counts(received=1, duplicate=1)
            else:
                expected += Counts(received=1, conflict=1)
    assert total == expected
    assert total.received == total.stored + total.duplicate + total.conflict + total.rejected
    contents = store.contents()
    assert contents.readings == len(model)
    assert sum(contents.rejected.values()) == expected.rejected + expected.conflict
    newest = {s: max(t for name, t in model if name == s) for s, _ in model}
    latest = store.latest()
    assert dict(zip(latest.sensor_id, (latest.time_ms - MONDAY_MS).tolist(), strict=True)) == newest
