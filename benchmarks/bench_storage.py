"""Bytes a reading takes in the store, beside the same readings as floats: at exact minutes and with jitter.

Values have one decimal. With ``--url`` of a server with TimescaleDB (community licence) the weeks are compressed into
its columnstore first, as the policy does with weeks that are over; without, it is the plain table. Indexes are counted.
"""

import argparse

import numpy as np

from benchmarks.bench_queries import MINUTE_MS, START_MS, database_at
from ingest.database import Database, Level
from ingest.rows import Rows
from ingest.store import Store
from sensors import Sensor


def fill(store: Store, n_rows: int, n_series: int, *, jitter_ms: int) -> None:
    """Write random walks of one decimal, and the same into a table of floats."""
    sensors = [Sensor(f"D{k}", quantities=("speed_kmh",)) for k in range(n_series)]
    store.register(sensors)
    found = store.catalogue.resolve([(sensor.sensor_id, "speed_kmh") for sensor in sensors])
    rng = np.random.default_rng(1)
    n = n_rows // n_series
    database = store.database
    database.execute(
        "CREATE TABLE floats (sensor_id text, quantity text, time timestamptz, value float8, quality int2,"
        " received_at timestamptz, PRIMARY KEY (sensor_id, quantity, time))"
    )
    for series_id, scale in zip(found.series_id.tolist(), found.scale.tolist(), strict=True):
        tenths = np.clip(400 + np.cumsum(rng.integers(-30, 31, n)), 0, 1300)
        times = START_MS + np.arange(n) * MINUTE_MS + (rng.integers(0, jitter_ms, n) if jitter_ms else 0)
        rows = Rows(
            np.arange(n),
            np.full(n, series_id),
            times,
            tenths * scale // 10,
            np.zeros(n, np.int64),
            np.full(n, scale),
        )
        store.ensure_weeks(times)
        # A worker receives a reading some tens of milliseconds after its time, many at once.
        received_us = (times // 1000 + 1) * 1_000_000
        with (
            database.connection() as connection,
            connection.cursor().copy("COPY reading_raw FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.write(rows.packed(received_us))
    database.execute(
        "INSERT INTO floats SELECT sensor_id, quantity, time, value, quality, received_at"
        " FROM reading JOIN series USING (series_id)"
    )


def size(database: Database, level: Level) -> int:
    """Return the bytes of the readings with their indexes, after compression where there is one."""
    if level is Level.COMMUNITY:
        database.fetch("SELECT compress_chunk(c) FROM show_chunks('reading_raw') AS c")
        return int(database.fetch("SELECT hypertable_size('reading_raw')")[0][0])
    if level is Level.APACHE:
        return int(database.fetch("SELECT hypertable_size('reading_raw')")[0][0])
    return int(
        database.fetch(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'reading_raw'::regclass"
        )[0][0]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--url", help="a server whose login may create databases; without it one of our own")
    args = parser.parse_args()
    for name, jitter_ms in (("at exact minutes", 0), ("with jitter", 1000)):
        with database_at(args.url) as database:
            fill(Store(database), args.rows, args.series, jitter_ms=jitter_ms)
            level = database.level()
            n = int(database.fetch("SELECT count(*) FROM reading_raw")[0][0])
            assert n == args.rows // args.series * args.series
            floats = int(database.fetch("SELECT pg_total_relation_size('floats')")[0][0])
            taken = size(database, level)
            same = database.fetch(
                "SELECT count(*) FROM floats JOIN series USING (sensor_id, quantity)"
                " JOIN reading AS r USING (series_id, time) WHERE r.value = floats.value"
            )
            assert same == [(n,)], "the readings are not the same after compression"
        print(f"storage: {floats / taken:.1f} x smaller than floats {name} ({taken / n:.1f} bytes a reading, {level})")
    if level is not Level.COMMUNITY:
        print("storage: NO COLUMNSTORE on this server, name one with TimescaleDB by --url")


if __name__ == "__main__":
    main()
