"""Questions to the store, beside the same answers from the raw readings: latest, one series, the network's day.

One reading a minute of every series, made by COPY. Every answer is compared with that of its
alternative before both are timed; a figure is the median of several tries with a warm cache. With ``--url`` of a server
with TimescaleDB its ``time_bucket`` stands beside.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ingest import queries, rollup
from ingest.database import Database, Level
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from ingest.rows import Rows
from ingest.store import Store
from sensors import Sensor

START_MS = 1_781_481_600_000
MINUTE_MS = 60_000
ZONES = 50
NAME = "citytwin_bench_queries"


def filled(store: Store, n_series: int, n_times: int) -> None:
    """Write a reading a minute of every series, an hour at once, as the newest readings and the rollups need them."""
    database = store.database
    sensors = [Sensor(f"D{k}", link_id=f"L{k}", quantities=("speed_kmh",)) for k in range(n_series)]
    store.register(sensors, zones={f"L{k}": f"Z{k % ZONES}" for k in range(n_series)})
    found = store.catalogue.resolve([(sensor.sensor_id, "speed_kmh") for sensor in sensors])
    numbers = np.sort(found.series_id)
    rng = np.random.default_rng(1)
    hour = 60
    for begin in range(0, n_times, hour):
        times = START_MS + np.arange(begin, min(begin + hour, n_times), dtype=np.int64) * MINUTE_MS
        n = len(numbers) * len(times)
        raw = rng.integers(50, 900, n)
        rows = Rows(
            np.arange(n),
            np.repeat(numbers, len(times)),
            np.tile(times, len(numbers)),
            raw,
            np.zeros(n, np.int64),
            np.ones(n, np.int64),
        )
        store.ensure_weeks(times)
        with (
            database.connection() as connection,
            connection.cursor().copy("COPY reading_raw FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.write(rows.packed(rows.time_ms * 1000))
    database.execute(
        "INSERT INTO latest SELECT s.series_id, r.time, r.raw::float8 / s.scale, r.quality, r.received_at"
        " FROM series AS s JOIN reading_raw AS r USING (series_id) WHERE r.time = (SELECT max(time) FROM reading_raw)"
    )
    buckets = np.arange(START_MS, START_MS + n_times * MINUTE_MS, 300_000)
    database.execute("SELECT note_rollups(%s::int8[])", (buckets.tolist(),))
    while rollup.refresh(database):
        pass
    database.execute("VACUUM ANALYZE")


def milliseconds(ask: Callable[[], Any], tries: int) -> float:
    ask()
    taken = []
    for _ in range(tries):
        begin = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1000


@contextlib.contextmanager
def database_at(url: str | None) -> Iterator[Database]:
    """Lend an empty database of the server at a URL, or of one of its own."""
    with contextlib.ExitStack() as stack:
        if url is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            url = stack.enter_context(EmbeddedPostgres(Path(folder))).url
        with Database(url) as maintenance:
            maintenance.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
            maintenance.execute(f"CREATE DATABASE {NAME}")
            try:
                with Database(urlsplit(url)._replace(path=f"/{NAME}").geturl()) as database:
                    migrate(database)
                    yield database
            finally:
                maintenance.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--tries", type=int, default=15)
    parser.add_argument("--url", help="a server whose login may create databases; without it one of our own")
    args = parser.parse_args()
    n_times = max(10, args.rows // args.series)
    with database_at(args.url) as database:
        store = Store(database)
        filled(store, args.series, n_times)
        level = database.level()
        n_rows = args.series * n_times
        print(f"queries: {n_rows:,} readings of {args.series:,} series on {level}, PostgreSQL {database.version()}")
        compare(database, store, n_times, args.tries, timescale=level is not Level.PLAIN)


def compare(database: Database, store: Store, n_times: int, tries: int, *, timescale: bool) -> None:
    day = min(86_400, n_times * 60 // 300 * 300)
    since, until = START_MS / 1000, START_MS / 1000 + day

    lateral = (
        "SELECT sensor_id, quantity, (extract(epoch FROM time) * 1000)::int8, raw::float8 / scale, quality FROM series"
        " CROSS JOIN LATERAL (SELECT time, raw, quality FROM reading_raw AS r WHERE r.series_id = series.series_id"
        " ORDER BY time DESC LIMIT 1) AS last ORDER BY series_id"
    )
    newest = store.latest()
    raw = database.fetch(lateral)
    assert list(newest.sensor_id) == [row[0] for row in raw]
    assert newest.value.tolist() == [row[3] for row in raw]
    own = milliseconds(store.latest, tries)
    other = milliseconds(lambda: database.fetch(lateral), max(3, tries // 3))
    print(f"queries: {other / own:.1f} x LATERAL over the readings, latest of all series ({own:.1f} ms)")

    def rolled() -> rollup.Buckets:
        return rollup.buckets(database, "D7", "speed_kmh", since=since, until=until)

    def from_raw() -> rollup.Buckets:
        return queries.buckets(database, "D7", "speed_kmh", since=since, until=until, step_s=300)

    assert rolled().n.tolist() == from_raw().n.tolist()
    np.testing.assert_allclose(rolled().mean, from_raw().mean, rtol=1e-12)
    own, other = milliseconds(rolled, tries), milliseconds(from_raw, tries)
    print(f"queries: {other / own:.1f} x date_bin over the readings, one series by 5 minutes ({own:.1f} ms)")
    if timescale:
        bucket = (
            "SELECT time_bucket('5 min', time), count(*), avg(raw::float8 / scale), min(raw), max(raw) FROM reading_raw"
            " JOIN series USING (series_id) WHERE sensor_id = 'D7' AND time >= to_timestamp(%s)"
            " AND time < to_timestamp(%s) GROUP BY 1 ORDER BY 1"
        )
        assert len(database.fetch(bucket, (since, until))) == len(rolled())
        other = milliseconds(lambda: database.fetch(bucket, (since, until)), tries)
        print(f"queries: {other / own:.1f} x time_bucket of TimescaleDB, one series by 5 minutes")

    curve_sql = (
        "SELECT date_bin('5 min', r.time, timestamptz '2000-01-03T00:00:00Z') AS step, avg(r.raw::float8 / s.scale)"
        " FROM reading_raw AS r JOIN series AS s USING (series_id) WHERE s.quantity = 'speed_kmh'"
        " AND r.time >= to_timestamp(%s) AND r.time < to_timestamp(%s) AND r.quality & 65 = 0"
        " GROUP BY step ORDER BY step"
    )

    def curve() -> rollup.Buckets:
        return rollup.network_curve(database, "speed_kmh", since=since, until=until)

    expected = [row[1] for row in database.fetch(curve_sql, (since, until))]
    np.testing.assert_allclose(curve().mean, expected, rtol=1e-9)
    own = milliseconds(curve, tries)
    other = milliseconds(lambda: database.fetch(curve_sql, (since, until)), 1)
    print(f"queries: {other / own:.0f} x from the readings, day curve of the network ({own:.1f} ms)")

    whole = {"since": since, "until": until}
    zone = "Europe/Helsinki"
    others: dict[str, Callable[[], Any]] = {
        "page of 1,000": lambda: queries.page(database, "D7", "speed_kmh", **whole),  # type: ignore[arg-type]
        "network at a time": lambda: queries.network(database, at=until, within_s=300.0),
        "network as known at a time": lambda: queries.network(
            database, at=until, within_s=300.0, known_at=until, corrected=True
        ),
        "profile by time of week": lambda: rollup.week_profile(
            database, "D7", "speed_kmh", since=since, until=until, time_zone=zone
        ),
        "gaps of a series": lambda: queries.gaps(
            database, "D7", "speed_kmh", since=since, until=until, longer_than_s=90.0
        ),
        "completeness of all sensors": lambda: rollup.completeness(database, since=since, until=until, time_zone=zone),
        "all zones over a day": lambda: rollup.zones(database, "speed_kmh", since=since, until=until),
        "day curve of a zone": lambda: rollup.zone_curve(database, "Z3", "speed_kmh", since=since, until=until),
    }
    for name, ask in others.items():
        assert len(ask()) or name.startswith("gaps")
        print(f"queries: {milliseconds(ask, max(3, tries // 3)):.1f} ms {name}")


if __name__ == "__main__":
    main()
