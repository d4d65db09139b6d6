"""What is answered from the store: each answer is compared with the same sum done in Python over the same readings."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ingest import queries, rollup
from ingest.correction import correct
from ingest.database import Database, Level
from ingest.migration import SCHEMA, migrate
from ingest.postgres import EmbeddedPostgres
from ingest.store import Store
from sensors import Batch, InputError, Reading, Sensor
from sensors.reading import Quality

MONDAY = 1_781_481_600.0  # 2026-06-15T00:00Z
MONDAY_MS = int(MONDAY) * 1000
MINUTE_MS = 60_000
DAY = 86_400.0


@contextmanager
def _private(url: str) -> Iterator[Database]:
    with _empty(url) as private:
        migrate(private)
        yield private


@contextmanager
def _empty(url: str) -> Iterator[Database]:
    def at(name: str) -> str:
        return urlsplit(url)._replace(path=f"/{name}").geturl()

    with Database(at("postgres")) as maintenance:
        maintenance.execute("DROP DATABASE IF EXISTS queries WITH (FORCE)")
        maintenance.execute("CREATE DATABASE queries")
        try:
            with Database(at("queries")) as private:
                yield private
        finally:
            maintenance.execute("DROP DATABASE IF EXISTS queries WITH (FORCE)")


@pytest.fixture(scope="module")
def postgres_15(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The oldest PostgreSQL that the tests run on."""
    programs = Path("/usr/lib/postgresql/15/bin")
    if not (programs / "postgres").exists():
        pytest.skip(f"NO POSTGRESQL 15 in {programs}: apt-get install postgresql-15")
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres-15"), binaries=programs) as server:
        yield server


@pytest.fixture(params=["newest", "postgresql-15", "timescale"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "newest":
        yield Store(request.getfixturevalue("database"))
        return
    if request.param == "postgresql-15":
        with _private(request.getfixturevalue("postgres_15").url) as database:
            yield Store(database)
        return
    url = os.environ.get("CITYTWIN_TEST_TIMESCALE_URL")
    if not url:
        pytest.skip("NO TIMESCALEDB: set CITYTWIN_TEST_TIMESCALE_URL to a database of a role that may create databases")
    with _private(url) as database:
        yield Store(database)


def write(store: Store, sensor_id: str, values: dict[int, float], *, received_at: float = MONDAY + 2 * DAY) -> None:
    """Store speeds by minutes after Monday."""
    readings = [Reading(sensor_id, "speed_kmh", MONDAY_MS + t * MINUTE_MS, value) for t, value in values.items()]
    store.write(Batch.of(readings, received_at=received_at))


def roll_up(store: Store) -> int:
    total = 0
    while n := rollup.refresh(store.database):
        total += n
    return total


def test_pages_of_a_series_follow_each_other_without_loss_or_repetition(store: Store):
    write(store, "D1", {t: t % 90 for t in range(25)})
    found: list[int] = []
    after = None
    while len(page := queries.page(store.database, "D1", "speed_kmh", after_ms=after, limit=10)):
        found += page.time_ms.tolist()
        after = found[-1]
    assert found == [MONDAY_MS + t * MINUTE_MS for t in range(25)]


def test_unknown_series_is_empty(store: Store):
    assert len(queries.page(store.database, "no\0where", "speed_kmh")) == 0
    assert len(rollup.buckets(store.database, "D1", "speed_kmh", since=0, until=MONDAY)) == 0
    assert len(queries.network(store.database, at=MONDAY)) == 0
    assert len(queries.gaps(store.database, "D1", "x", since=0, until=MONDAY, longer_than_s=1)) == 0


def test_network_at_a_time_has_the_last_reading_of_each_series_that_is_not_too_old(store: Store):
    write(store, "D1", {0: 10, 5: 20, 11: 30})
    write(store, "D2", {-30: 40})
    write(store, "D3", {10: 50})
    at_ten = queries.network(store.database, at=MONDAY + 600)
    assert dict(zip(at_ten.sensor_id, at_ten.value.tolist(), strict=True)) == {"D1": 20.0, "D3": 50.0}
    assert len(queries.network(store.database, at=MONDAY + 600, within_s=3600)) == 3


def test_what_was_received_later_was_not_known_before(store: Store):
    write(store, "D1", {0: 10}, received_at=MONDAY + 1)
    write(store, "D1", {5: 20}, received_at=MONDAY + 900)
    known = queries.network(store.database, at=MONDAY + 600, known_at=MONDAY + 600)
    assert known.value.tolist() == [10.0]
    assert queries.network(store.database, at=MONDAY + 600).value.tolist() == [20.0]
    assert queries.page(store.database, "D1", "speed_kmh", known_at=MONDAY + 899).value.tolist() == [10.0]


def test_correction_is_seen_from_when_it_was_recorded_and_overwrites_nothing(store: Store):
    write(store, "D1", {0: 10, 1: 20, 2: 30}, received_at=MONDAY + 200)
    first = [(MONDAY_MS, 11.0), (MONDAY_MS + MINUTE_MS, None)]
    told = {"author": "A. Surveyor", "reason": "lens was dirty"}
    assert correct(store.database, "D1", "speed_kmh", first, recorded_at=MONDAY + 1000, **told) == 2
    correct(store.database, "D1", "speed_kmh", [(MONDAY_MS, 12.0)], recorded_at=MONDAY + 2000, **told)

    def values(**options: object) -> list[float]:
        return queries.page(store.database, "D1", "speed_kmh", **options).value.tolist()  # type: ignore[arg-type]

    assert values() == [10.0, 20.0, 30.0]
    assert values(corrected=True) == [12.0, 30.0]
    assert values(corrected=True, known_at=MONDAY + 1500) == [11.0, 30.0]
    assert values(corrected=True, known_at=MONDAY + 999) == [10.0, 20.0, 30.0]
    network = queries.network(store.database, at=MONDAY + 60, corrected=True)
    assert network.value.tolist() == [12.0]  # the reading at 60 s is void
    steps = queries.buckets(
        store.database, "D1", "speed_kmh", since=MONDAY, until=MONDAY + 300, step_s=300, corrected=True
    )
    assert (steps.n.tolist(), steps.mean.tolist()) == ([2], [21.0])


def test_corrections_that_cannot_be_are_refused_together_and_none_is_kept(store: Store):
    write(store, "D1", {0: 10})
    with pytest.raises(InputError) as caught:
        correct(
            store.database,
            "D1",
            "speed_kmh",
            [(MONDAY_MS, float("nan"))],
            author=" ",
            reason="",
            recorded_at=MONDAY,
        )
    assert len(caught.value.faults) == 3
    with pytest.raises(InputError, match="no reading to correct"):
        correct(
            store.database, "D1", "speed_kmh", [(MONDAY_MS, 1.0), (5, 1.0)], author="a", reason="b", recorded_at=MONDAY
        )
    for attempt in (1, 2):
        if attempt == 2:
            with pytest.raises(InputError, match="same moment"):
                correct(
                    store.database, "D1", "speed_kmh", [(MONDAY_MS, 2.0)], author="a", reason="b", recorded_at=MONDAY
                )
        else:
            correct(store.database, "D1", "speed_kmh", [(MONDAY_MS, 1.0)], author="a", reason="b", recorded_at=MONDAY)
    assert store.database.fetch("SELECT value FROM correction") == [(1.0,)]


@pytest.mark.parametrize("step_s", [300, 900, 3600])
def test_rollups_equal_the_same_sums_over_the_readings(store: Store, step_s: int):
    rng = np.random.default_rng(step_s)
    minutes = rng.choice(1000, 400, replace=False)
    values = dict(zip(minutes.tolist(), rng.uniform(0, 90, 400).round(1).tolist(), strict=True))
    write(store, "D1", values)
    assert roll_up(store) > 0
    span = {"since": MONDAY, "until": MONDAY + DAY, "step_s": step_s}
    rolled = rollup.buckets(store.database, "D1", "speed_kmh", **span)  # type: ignore[arg-type]
    raw = queries.buckets(store.database, "D1", "speed_kmh", **span)  # type: ignore[arg-type]
    expected: dict[int, list[float]] = {}
    for minute, value in sorted(values.items()):
        expected.setdefault(MONDAY_MS + minute * 60 // step_s * step_s * 1000, []).append(value)
    for found in (rolled, raw):
        assert found.time_ms.tolist() == sorted(expected)
        assert found.n.tolist() == [len(expected[t]) for t in sorted(expected)]
        # sums of at most 60 values of one decimal: exact to the last bits of a double
        np.testing.assert_allclose(found.mean, [np.mean(expected[t]) for t in sorted(expected)], rtol=1e-12)
        assert found.least.tolist() == [min(expected[t]) for t in sorted(expected)]
        assert found.greatest.tolist() == [max(expected[t]) for t in sorted(expected)]


def test_late_reading_is_in_the_rollup_after_the_next_refresh(store: Store):
    write(store, "D1", {0: 10})
    assert roll_up(store) == 1
    assert roll_up(store) == 0
    write(store, "D1", {1: 30})
    write(store, "D1", {1: 30})  # a repetition changes nothing
    assert roll_up(store) == 1
    found = rollup.buckets(store.database, "D1", "speed_kmh", since=MONDAY, until=MONDAY + 300)
    assert (found.n.tolist(), found.mean.tolist()) == ([2], [20.0])


def test_speed_of_no_vehicles_counts_as_received_and_is_in_no_mean(store: Store):
    readings = [Reading("D1", "speed_kmh", MONDAY_MS + k * MINUTE_MS, 10.0 + k) for k in range(2)]
    good = Batch.of(readings, received_at=MONDAY + DAY)
    store.write(
        Batch(good.sensor_id, good.quantity, good.time_ms, good.value,
              np.array([0, int(Quality.NO_VEHICLES)], np.uint16), received_at=MONDAY + DAY)
    )  # fmt: skip
    roll_up(store)
    found = rollup.buckets(store.database, "D1", "speed_kmh", since=MONDAY, until=MONDAY + 300)
    assert (found.n.tolist(), found.mean.tolist()) == ([1], [10.0])
    assert store.database.fetch("SELECT n, n_good FROM rollup") == [(2, 1)]


def test_network_curve_is_the_mean_over_all_series(store: Store):
    write(store, "D1", {0: 10, 1: 20, 6: 50})
    write(store, "D2", {2: 60})
    roll_up(store)
    found = rollup.network_curve(store.database, "speed_kmh", since=MONDAY, until=MONDAY + DAY)
    assert (found.time_ms.tolist(), found.n.tolist()) == ([MONDAY_MS, MONDAY_MS + 300_000], [3, 1])
    assert found.mean.tolist() == [30.0, 50.0]


def test_profile_by_time_of_week_follows_local_time_over_a_change_of_clocks(store: Store):
    zone = "Europe/Helsinki"
    mondays = [datetime(2026, 10, day, 8, 0, tzinfo=ZoneInfo(zone)) for day in (19, 26)]  # summer time ends on the 25th
    readings = [Reading("D1", "speed_kmh", int(t.timestamp()) * 1000, 10.0 * (k + 1)) for k, t in enumerate(mondays)]
    store.write(Batch.of(readings, received_at=MONDAY))
    roll_up(store)
    since = datetime(2026, 10, 1, tzinfo=UTC).timestamp()
    found = rollup.week_profile(store.database, "D1", "speed_kmh", since=since, until=since + 60 * DAY, time_zone=zone)
    assert (found.time_ms.tolist(), found.n.tolist(), found.mean.tolist()) == ([8 * 3_600_000], [2], [15.0])


def test_week_quantiles_are_medians_that_one_accident_does_not_move_with_holidays_apart(store: Store):
    zone = "Europe/Helsinki"
    mondays = [date(2026, 10, day) for day in (12, 19, 26)] + [date(2026, 11, 2), date(2026, 10, 5)]
    starts = [datetime(day.year, day.month, day.day, 8, 0, tzinfo=ZoneInfo(zone)) for day in mondays]
    speeds = [50.0, 52.0, 5.0, 51.0, 70.0]
    readings = [Reading("D1", "speed_kmh", int(t.timestamp()) * 1000, v) for t, v in zip(starts, speeds, strict=True)]
    readings.append(Reading("D1", "occupancy", int(starts[0].timestamp()) * 1000, 0.5))
    store.write(Batch.of(readings, received_at=MONDAY))
    roll_up(store)
    since = datetime(2026, 10, 1, tzinfo=UTC).timestamp()
    found = rollup.week_quantiles(
        store.database,
        ("D1", "D2"),
        ("speed_kmh",),
        since=since,
        until=since + 60 * DAY,
        time_zone=zone,
        holidays=[date(2026, 10, 5)],
    )
    assert (found.sensor_id, found.quantity) == (("D1",) * 2, ("speed_kmh",) * 2)
    assert found.slot.tolist() == [32, 7 * 96 + 32]  # 8 o'clock before and after the change of clocks
    assert found.n_days.tolist() == [4, 1]
    assert found.quantile[:, 1].tolist() == [50.5, 70.0]
    assert found.quantile[0, 0] < 50.5 < found.quantile[0, 2]
    empty = rollup.week_quantiles(
        store.database, ("D1",), ("flow_veh_h",), since=since, until=since + DAY, time_zone=zone
    )
    assert empty.quantile.shape == (0, 3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"step_s": 700}, "step_s is 700"),
        ({"time_zone": "Mars/Base"}, "time_zone is 'Mars/Base', must be an IANA zone"),
    ],
)
def test_week_quantiles_refuse_a_step_or_zone_that_is_none(store: Store, wrong: dict[str, object], words: str):
    with pytest.raises(InputError, match=words):
        rollup.week_quantiles(store.database, (), (), since=0, until=1, **{"time_zone": "UTC", **wrong})


def test_completeness_is_told_by_sensor_and_local_day(store: Store):
    store.register([Sensor("D1", interval_s=300.0)])
    write(store, "D1", {t: 1 for t in range(0, 1440, 5) if t not in (50, 55)})
    write(store, "D2", {0: 1, 1440: 1})
    roll_up(store)
    told = rollup.completeness(store.database, since=MONDAY, until=MONDAY + 2 * DAY, time_zone="UTC")
    assert [(c.sensor_id, c.day, c.received, c.expected) for c in told] == [
        ("D1", "2026-06-15", 286, 288),
        ("D2", "2026-06-15", 1, None),
        ("D2", "2026-06-16", 1, None),
    ]
    gaps = queries.gaps(store.database, "D1", "speed_kmh", since=MONDAY, until=MONDAY + DAY, longer_than_s=300)
    assert (gaps.from_ms.tolist(), gaps.until_ms.tolist()) == (
        [MONDAY_MS + 45 * MINUTE_MS],
        [MONDAY_MS + 60 * MINUTE_MS],
    )


def test_stream_gives_every_reading_once_in_pieces(store: Store):
    write(store, "D1", dict.fromkeys(range(10), 1))
    write(store, "D2", dict.fromkeys(range(0, 14 * 1440, 1440), 2))
    pieces = list(queries.stream(store.database, since=MONDAY, until=MONDAY + 20 * DAY, rows=7))
    assert [len(piece) for piece in pieces] == [7, 7, 7, 3]
    assert [s for piece in pieces for s in piece.sensor_id] == ["D1"] * 10 + ["D2"] * 14


def test_retention_forgets_rollups_as_well(store: Store):
    write(store, "D1", {0: 1, 14 * 1440: 2})
    roll_up(store)
    store.retain(since=MONDAY + 7 * DAY)
    found = rollup.buckets(store.database, "D1", "speed_kmh", since=0, until=MONDAY + 30 * DAY)
    assert found.mean.tolist() == [2.0]


def test_rollups_hold_corrections_from_the_next_refresh_and_equal_the_corrected_readings(store: Store):
    write(store, "D1", {0: 10, 1: 20, 2: 60, 5: 5})
    write(store, "D2", {1: 40})
    roll_up(store)
    told = {"author": "A. Surveyor", "reason": "lens was dirty"}
    first = [(MONDAY_MS, 12.0), (MONDAY_MS + 2 * MINUTE_MS, None), (MONDAY_MS + 5 * MINUTE_MS, None)]
    correct(store.database, "D1", "speed_kmh", first, recorded_at=MONDAY + 1000, **told)
    correct(store.database, "D1", "speed_kmh", [(MONDAY_MS, 14.0)], recorded_at=MONDAY + 2000, **told)
    assert roll_up(store) == 2
    span = {"since": MONDAY, "until": MONDAY + DAY}
    rolled = rollup.buckets(store.database, "D1", "speed_kmh", **span)
    raw = queries.buckets(store.database, "D1", "speed_kmh", step_s=300, corrected=True, **span)
    for found in (rolled, raw):  # 14 and 20; the whole bucket of minute 5 is void
        assert (found.n.tolist(), found.mean.tolist(), found.least.tolist()) == ([2], [17.0], [14.0])
    curve = rollup.network_curve(store.database, "speed_kmh", **span)
    assert curve.mean.tolist() == [pytest.approx((14 + 20 + 40) / 3)]  # the last bits of a sum of three
    assert store.database.fetch("SELECT n, n_good FROM rollup ORDER BY series_id, time") == [(3, 2), (1, 0), (1, 1)]
    write(store, "D1", {3: 30})  # a late reading does not undo the correction
    roll_up(store)
    assert rollup.buckets(store.database, "D1", "speed_kmh", **span).mean.tolist() == [pytest.approx(64 / 3)]


def test_a_correction_makes_a_reading_good_that_was_out_of_range(store: Store):
    good = Batch.of([Reading("D1", "speed_kmh", MONDAY_MS, 900.0)], received_at=MONDAY)
    store.write(
        Batch(good.sensor_id, good.quantity, good.time_ms, good.value, np.array([1], np.uint16), received_at=MONDAY)
    )
    roll_up(store)
    span = {"since": MONDAY, "until": MONDAY + DAY}
    assert len(rollup.buckets(store.database, "D1", "speed_kmh", **span)) == 0
    correct(store.database, "D1", "speed_kmh", [(MONDAY_MS, 90.0)], author="a", reason="comma", recorded_at=MONDAY + 1)
    roll_up(store)
    assert rollup.buckets(store.database, "D1", "speed_kmh", **span).mean.tolist() == [90.0]
    raw = queries.buckets(store.database, "D1", "speed_kmh", step_s=300, corrected=True, **span)
    assert raw.mean.tolist() == [90.0]


def test_rollup_by_zone_is_the_mean_over_the_sensors_whose_link_lies_in_it(store: Store):
    store.register([Sensor("D1", link_id="L1"), Sensor("D2", link_id="L2"), Sensor("D3", link_id="L3")],
                   zones={"L1": "harbour", "L2": "harbour", "L3": "hill"})  # fmt: skip
    write(store, "D1", {0: 10, 6: 30})
    write(store, "D2", {1: 30})
    write(store, "D3", {2: 70})
    write(store, "D4", {2: 99})  # nobody registered it: it lies in no zone
    roll_up(store)
    span = {"since": MONDAY, "until": MONDAY + DAY}
    curve = rollup.zone_curve(store.database, "harbour", "speed_kmh", **span)
    assert (curve.time_ms.tolist(), curve.mean.tolist()) == ([MONDAY_MS, MONDAY_MS + 300_000], [20.0, 30.0])
    zones = rollup.zones(store.database, "speed_kmh", **span)
    assert zones == {"harbour": (3, pytest.approx(70 / 3)), "hill": (1, 70.0)}
    store.retain(since=MONDAY + 7 * DAY)
    assert rollup.zones(store.database, "speed_kmh", **span) == {}


def test_weeks_to_come_are_there_before_their_first_reading(store: Store):
    made = store.make_weeks_ahead(since=MONDAY + 3 * DAY, weeks=2)
    plain = store.database.level() is Level.PLAIN
    assert made == (6 if plain else 3)  # this week and the next two, of rollups and, without chunks, of readings
    assert store.make_weeks_ahead(since=MONDAY, weeks=2) == 0
    weeks = {"20260615", "20260622", "20260629"}
    found = store.database.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '_20[0-9]{6}$'")
    parents = ("reading_raw", "rollup") if plain else ("rollup",)
    assert {row[0] for row in found} == {f"{parent}_{week}" for parent in parents for week in weeks}


def test_rollups_made_before_they_had_partitions_are_all_there_after_the_migration(postgres, tmp_path: Path):
    early = tmp_path / "schema"
    early.mkdir()
    for path in SCHEMA.glob("*.sql"):
        if path.stem < "0011":
            shutil.copy(path, early)
    with _empty(postgres.url) as database:
        migrate(database, folder=early)
        database.execute("INSERT INTO sensor (sensor_id, verified) VALUES ('D1', true)")
        database.execute("INSERT INTO series (sensor_id, quantity, scale) VALUES ('D1', 'speed_kmh', 10)")
        times = "generate_series(timestamptz '2025-12-20', timestamptz '2026-02-01', interval '5 min') AS t"
        database.execute(f"INSERT INTO rollup SELECT 1, t, 2, 2, extract(epoch FROM t), 1, 9 FROM {times}")
        database.execute("INSERT INTO rollup SELECT 1, '1999-12-31T23:55Z', 1, 0, NULL, NULL, NULL")
        before = database.fetch("SELECT * FROM rollup ORDER BY time")
        migrate(database)
        assert database.fetch("SELECT * FROM rollup ORDER BY time") == before
        assert database.fetch("SELECT count(*) FROM pg_inherits WHERE inhparent = 'rollup'::regclass") == [(8,)]
        found = rollup.buckets(database, "D1", "speed_kmh", since=MONDAY - 200 * DAY, until=MONDAY)
        assert len(found) == 43 * 288 + 1
