"""A recorded table as columns into the database: the same as message by message, whatever stops it on the way."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hub.commands.replay import batches
from ingest.backfill import Backfill
from ingest.database import Database
from ingest.store import Store
from sensors import Reason
from sensors.payload import decoder
from sensors.recorded_table import Table
from sensors.replay import merged, open_recording

ROOT = Path(__file__).resolve().parents[2]
MONDAY = 1_781_481_600
START = "sensor_id,time,flow_veh_h,speed_kmh\n"


def stamp(second: int) -> str:
    return datetime.fromtimestamp(MONDAY + second, UTC).isoformat()


def written(path: Path, *, sensors: int = 20, minutes: int = 60, seed: int = 1) -> Path:
    """Write a table with repeats, contradictions, empty cells, stuck and impossible values, in no order of time."""
    rng = np.random.default_rng(seed)
    lines = []
    for minute in range(minutes):
        for sensor in range(sensors):
            flow = 0 if rng.random() < 0.1 else int(rng.integers(0, 2000))
            speed = "" if rng.random() < 0.1 else f"{rng.uniform(-10, 300) if rng.random() < 0.05 else 40 + sensor:.2f}"
            lines.append(f"D{sensor},{stamp(60 * minute)},{flow},{speed}\n")
    lines += [lines[i] for i in rng.integers(0, len(lines), 30)]
    # The other value comes after the first one: at equal times the order of the file decides.
    lines += [f"D{i},{stamp(60 * i)},2001,\n" for i in range(5)]
    order = np.concatenate([rng.permutation(len(lines) - 5), np.arange(len(lines) - 5, len(lines))])
    path.write_text(START + "".join(lines[i] for i in order), "utf-8")
    return path


def table(path: Path) -> Table:
    recording = open_recording(path)
    assert isinstance(recording, Table)
    return recording


def contents(database: Database) -> dict[str, list[Any]]:
    """Return what is stored, apart from when it was received and how the rollups were noted."""
    return {
        "readings": database.fetch(
            "SELECT sensor_id, quantity, time, value, quality FROM reading JOIN series USING (series_id)"
            " ORDER BY sensor_id, quantity, time"
        ),
        "latest": database.fetch(
            "SELECT sensor_id, quantity, time, value, latest.quality FROM latest JOIN series USING (series_id)"
            " ORDER BY sensor_id, quantity"
        ),
        "rejected": database.fetch("SELECT reason, detail FROM rejected ORDER BY detail"),
        "due": database.fetch("SELECT DISTINCT bucket FROM rollup_due ORDER BY bucket"),
    }


def without_late(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Leave out LATE, which says when a batch was received and not what was measured."""
    return {
        name: [(*row[:-1], row[-1] & ~32) if name in ("readings", "latest") else row for row in rows]
        for name, rows in found.items()
    }


def test_columns_give_the_same_as_messages(database: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "table.csv")
    backfill = Backfill(Store(database), source="a", name="table.csv")
    steps = list(backfill.steps(table(path).blocks(500)))
    counts = steps[-1].counts
    direct = contents(database)
    database.execute("TRUNCATE reading_raw, latest, rejected, rollup_due")
    messages = Store(database)
    other = sum(
        (messages.write(batch) for batch in batches(merged([open_recording(path)]), decoder())), start=type(counts)()
    )
    assert counts == other
    assert counts.received == counts.stored + counts.duplicate + counts.conflict + counts.rejected
    assert min(counts.stored, counts.duplicate, counts.conflict) > 0
    assert without_late(direct) == without_late(contents(database))
    # each reading is known since its own time, and no mark is left
    assert database.fetch("SELECT count(*) FROM backfill") == [(0,)]


def test_every_reading_is_known_since_its_own_time(database: Database, tmp_path: Path) -> None:
    list(Backfill(Store(database), source="a", name="").steps(table(written(tmp_path / "t.csv")).blocks(10_000)))
    assert database.fetch("SELECT count(*) FROM reading_raw WHERE received_at <> time") == [(0,)]


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_what_was_stopped_goes_on_after_its_last_commit_with_the_same_flags_and_counts(
    database: Database, tmp_path: Path, stop_after: int
) -> None:
    path = written(tmp_path / "table.csv")
    whole = Backfill(Store(database), source="whole", name="")
    expected_counts = list(whole.steps(table(path).blocks(500)))[-1]
    expected = contents(database)
    database.execute("TRUNCATE reading_raw, latest, rejected, rollup_due")

    stopped = Backfill(Store(database), source="a", name="table.csv").steps(table(path).blocks(500))
    for _ in range(stop_after):
        next(stopped)
    stopped.close()
    done = database.fetch("SELECT rows_done FROM backfill")[0][0]
    assert 0 < done < expected_counts.rows
    again = Backfill(Store(database), source="a", name="table.csv")
    assert again.progress.rows == done
    steps = list(again.steps(table(path).blocks(500)))
    assert all(step.rows > done for step in steps)
    assert steps[-1] == expected_counts
    assert contents(database) == expected


def test_readings_that_cannot_be_stored_are_rejected_alone(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        START + f"D1,{stamp(0)},1,50\nD1,1969-01-01T00:00Z,2,50\nD1,2300-01-01T00:00Z,3,50\nD1,{stamp(60)},1e300,51\n"
    )
    store = Store(database)
    counts = list(Backfill(store, source="a", name="").steps(table(path).blocks(100)))[-1].counts
    assert (counts.received, counts.stored, counts.rejected) == (8, 3, 5)
    assert store.contents().rejected == {
        Reason.OUT_OF_STORAGE_RANGE: 1, Reason.TIME_IN_FUTURE: 2, Reason.TIME_TOO_OLD: 2
    }  # fmt: skip


def test_sensors_beyond_the_limit_of_unverified_ones_are_rejected(database: Database, tmp_path: Path) -> None:
    store = Store(database, unverified_limit=3)
    path = written(tmp_path / "t.csv", sensors=5, minutes=5)
    counts = list(Backfill(store, source="a", name="").steps(table(path).blocks(1000)))[-1].counts
    assert set(store.contents().rejected) == {Reason.TOO_MANY_SENSORS, Reason.CONFLICT}
    assert counts.received == counts.stored + counts.duplicate + counts.conflict + counts.rejected


def test_killed_command_goes_on_and_nothing_is_lost_or_doubled(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("sensor_id,time,speed_kmh,flow_veh_h\n")
        for minute in range(1800):
            when = stamp(60 * minute)
            file.writelines(f"D{sensor},{when},{40 + minute % 7},{sensor}\n" for sensor in range(250))
    command = [sys.executable, "-m", "hub.cli", "replay", str(path), "--speed", "max", "--to", "database"]
    known = {key: value for key, value in os.environ.items() if not key.startswith("CITYTWIN_")}
    known |= {"CITYTWIN_DATABASE_URL": database.url, "CITYTWIN_STATE": str(tmp_path / "state")}
    with subprocess.Popen(command, cwd=ROOT, env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not database.fetch("SELECT rows_done FROM backfill"):
            assert process.poll() is None, "it was done before it could be killed"
        process.kill()
    marked = database.fetch("SELECT rows_done FROM backfill")[0][0]
    assert 0 < marked < 450_000
    done = subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "received 900000, stored 900000, duplicate 0, conflict 0, rejected 0"
    assert second == "long.csv: 450000 messages, 0 of them exact duplicates"
    assert f"goes on after {marked} of 450000 rows" in done.stderr
    assert database.fetch("SELECT count(*), count(DISTINCT (series_id, time)) FROM reading_raw") == [(900_000, 900_000)]
