"""A recorded table into the database: as columns, beside message by message and beside a bare COPY of the file.

The bare COPY puts the same readings, one a line, into a table with the same key: no flags, no repeats, no series, no
latest, no rollups. It is what the database itself could take. All are timed from the file to the last commit.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hub.commands.replay import batches
from ingest.backfill import BLOCK_READINGS, Backfill
from ingest.database import Database
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from ingest.store import Store
from sensors.payload import decoder
from sensors.recorded_table import Table
from sensors.replay import merged, open_recording

START_MS = 1_781_481_600_000
SENSORS = 500


def written(path: Path, rows: int) -> None:
    """Write a table: three quantities of 500 detectors, once a minute; and the same with one quantity a line."""
    names = ("flow_veh_h", "speed_kmh", "occupancy")
    with path.open("w", encoding="utf-8") as file, path.with_suffix(".narrow").open("w", encoding="utf-8") as narrow:
        file.write(f"sensor_id,t,{','.join(names)}\n")
        narrow.write("sensor_id,quantity,time,value\n")
        for k in range(rows):
            stamp = f"2026-06-{15 + k // SENSORS // 1440:02d}T{k // SENSORS // 60 % 24:02d}:{k // SENSORS % 60:02d}:00Z"
            values = (f"{300 + k * 7 % 700}", f"{20 + k % 60}.{k % 10}", f"0.{k % 90 + 10}")
            file.write(f"D{k % SENSORS},{stamp},{','.join(values)}\n")
            narrow.writelines(f"D{k % SENSORS},{n},{stamp},{v}\n" for n, v in zip(names, values, strict=True))


def columns(database: Database, path: Path) -> None:
    table = open_recording(path)
    assert isinstance(table, Table)
    for _ in Backfill(Store(database), source="bench", name=path.name).steps(table.blocks(BLOCK_READINGS)):
        pass


def messages(database: Database, path: Path) -> None:
    store = Store(database)
    for batch in batches(merged([open_recording(path)]), decoder()):
        store.write(batch)


def bare(database: Database, path: Path) -> None:
    database.execute(
        "CREATE TABLE bare (sensor_id text, quantity text, time timestamptz, value float8,"
        " PRIMARY KEY (sensor_id, quantity, time))"
    )
    with (
        database.connection() as connection,
        connection.cursor().copy("COPY bare FROM STDIN (FORMAT csv, HEADER)") as copy,
        path.with_suffix(".narrow").open("rb") as file,
    ):
        while piece := file.read(1 << 20):
            copy.write(piece)


def checksum(database: Database, of: str) -> list[tuple[object, ...]]:
    return database.fetch(f"SELECT quantity, count(*), round(sum(value)::numeric, 1) FROM {of} GROUP BY 1 ORDER BY 1")


STORED = "(SELECT quantity, value FROM reading JOIN series USING (series_id)) AS r"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the file, three readings each")
    rows = parser.parse_args().rows
    seconds: dict[str, float] = {}
    found: dict[str, list[tuple[object, ...]]] = {}
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as server:
        path = Path(folder) / "table.csv"
        written(path, rows)
        ways: tuple[tuple[Callable[[Database, Path], None], str], ...] = (
            (columns, STORED),
            (bare, "bare"),
            (messages, STORED),
        )
        for way, table in ways:
            with Database(server.url) as maintenance:
                maintenance.execute(f"CREATE DATABASE {way.__name__}")
            with Database(server.url_of(way.__name__)) as database:
                migrate(database)
                begin = time.perf_counter()
                way(database, path)
                seconds[way.__name__] = time.perf_counter() - begin
                found[way.__name__] = checksum(database, table)
            with Database(server.url) as maintenance:
                maintenance.execute(f"DROP DATABASE {way.__name__} WITH (FORCE)")
    assert found["columns"] == found["messages"] == found["bare"], found
    assert sum(int(str(row[1])) for row in found["columns"]) == 3 * rows
    print(
        f"backfill: {seconds['messages'] / seconds['columns']:.1f} x message by message,"
        f" {seconds['bare'] / seconds['columns']:.2f} x a bare COPY"
        f" ({3 * rows / seconds['columns']:,.0f} readings/s)"
    )


if __name__ == "__main__":
    main()
