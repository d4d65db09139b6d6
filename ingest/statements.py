"""The statements of one write transaction, in the order in which they run."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from ingest.catalogue import storable
from ingest.database import Connection, Database
from ingest.rows import Integers, Rows
from sensors import Rejected

PAYLOAD_LIMIT = 65_536  # bytes
ROLLUP_MS = 300_000
AT_MS = "timestamptz 'epoch' + {} * interval '1 ms'"  # exact: below 2^53 µs until the year 2255


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of sorted rows, within their transaction.

    Parameters
    ----------
    stored
        How many are new.
    kept
        (n,) raw value that is stored under the key of each row.
    """

    stored: int
    kept: Integers


def place(
    connection: Connection, rows: Rows, received_us: int, *, each_received_us: Integers | None = None, staged: bool
) -> Placed:
    """Store sorted rows, the first of each key, and note what follows from it: rollups to sum, newest of each series.

    Parameters
    ----------
    each_received_us
        (n,) when each row was received, where it is not the same for all; ``latest`` gets ``received_us``.
    staged
        Whether keys may be known already; if not, a known key raises UniqueViolation.
    """
    first = rows.first()
    firsts = rows.take(first)
    received = received_us if each_received_us is None else each_received_us[first]
    if staged:
        stored, kept = insert_new(connection, firsts, received)
    else:
        stored, kept = copy(connection, firsts, received), firsts.raw
    if stored:
        note_rollups(connection, firsts)
    update_latest(connection, firsts.take(firsts.raw == kept).newest(), received_us)
    return Placed(stored, kept[rows.groups()])


def copy(connection: Connection, rows: Rows, received_us: int | Integers) -> int:
    """Copy rows that are all new; a known key among them raises UniqueViolation."""
    if len(rows):
        with connection.cursor().copy("COPY reading_raw FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(rows.packed(received_us))
    return len(rows)


def insert_new(connection: Connection, rows: Rows, received_us: int | Integers) -> tuple[int, Integers]:
    """Insert the rows whose key is new; return how many, and (n,) the raw value that is stored under each key."""
    connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS stage (series_id int, time timestamptz(3), raw int8, quality int2,"
        " received_at timestamptz) ON COMMIT DELETE ROWS"
    )
    with connection.cursor().copy("COPY stage FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(rows.packed(received_us))
    stored = connection.execute(
        "INSERT INTO reading_raw SELECT * FROM stage ORDER BY series_id, time ON CONFLICT (series_id, time) DO NOTHING"
    ).rowcount
    kept = rows.raw.copy()
    if stored < len(rows):
        # By the key, row by row: without statistics of the stage a plan may read all readings there are.
        connection.execute(
            "SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)"
        )
        others = connection.execute(
            "SELECT series_id, (extract(epoch FROM time) * 1000)::int8, old.raw"
            " FROM stage JOIN reading_raw AS old USING (series_id, time) WHERE old.raw <> stage.raw"
        ).fetchall()
        index = {key: i for i, key in enumerate(zip(rows.series.tolist(), rows.time_ms.tolist(), strict=True))}
        for series_id, time_ms, raw in others:
            kept[index[series_id, time_ms]] = raw
    return stored, kept


def update_latest(connection: Connection, rows: Rows, received_us: int) -> None:
    """Move the latest reading of each series forward, never back."""
    if not len(rows):
        return
    connection.execute(
        "INSERT INTO latest AS old (series_id, time, value, quality, received_at)"  # noqa: S608 - no value inside
        f" SELECT series_id, {AT_MS.format('time_ms')}, value, quality,"
        " timestamptz 'epoch' + %s * interval '1 us'"
        " FROM unnest(%s::int4[], %s::int8[], %s::float8[], %s::int2[]) AS new (series_id, time_ms, value, quality)"
        " ORDER BY series_id ON CONFLICT (series_id) DO UPDATE SET time = EXCLUDED.time, value = EXCLUDED.value,"
        " quality = EXCLUDED.quality, received_at = EXCLUDED.received_at WHERE old.time < EXCLUDED.time",
        (received_us, _array(rows.series), _array(rows.time_ms), _array(rows.value), _array(rows.quality)),
    )


def note_rollups(connection: Connection, rows: Rows) -> None:
    """Note which buckets of the rollups these rows lie in, to be summed anew."""
    if len(rows):
        buckets = np.unique(rows.time_ms // ROLLUP_MS) * ROLLUP_MS
        connection.execute("SELECT note_rollups(%s::int8[])", (_array(buckets),))


def insert_rejected(connection: Connection, rejected: Sequence[Rejected], received_us: int) -> None:
    """Keep what was rejected, its payload whole up to 64 kB."""
    if not rejected:
        return
    received_at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=received_us)
    with connection.cursor().copy("COPY rejected (received_at, topic, payload, reason, detail) FROM STDIN") as copy:
        for item in rejected:
            copy.write_row((received_at, *kept(item)))


def kept(item: Rejected) -> tuple[str, bytes, str, str]:
    """Return topic, payload, reason and detail of a rejection as the table keeps them."""
    reason, size = item.reason.value, len(item.payload)
    if size > PAYLOAD_LIMIT:
        reason = f"{reason} (cut, {size} bytes)"
    return _text(item.topic), item.payload[:PAYLOAD_LIMIT], reason, _text(item.detail[:2000])


def write_few(database: Database, rows: Rows, received_us: int, *, writer_id: uuid.UUID, number: int) -> int | None:
    """Store sorted rows, each key once, in one call that is its own transaction, and return how many were new.

    None, with nothing done, when another value is stored under one of the keys.
    """
    last = np.ones(len(rows), bool)
    last[:-1] = rows.series[1:] != rows.series[:-1]
    buckets = np.unique(rows.time_ms // ROLLUP_MS) * ROLLUP_MS
    columns = (rows.series, rows.time_ms, rows.raw, rows.quality, rows.value, last, buckets)
    answer = database.fetch(
        "SELECT write_few(%s, %s, %s, %s::int4[], %s::int8[], %s::int8[], %s::int2[], %s::float8[], %s::bool[],"
        " %s::int8[])",
        (writer_id, number, received_us, *map(_array, columns)),
    )[0][0]
    return None if answer is None else int(answer)


def note_number(connection: Connection, writer_id: uuid.UUID, number: int) -> None:
    """Note the number of this transaction's batch, to be found should the answer to its commit be lost."""
    connection.execute(
        "INSERT INTO writer (writer_id, batch) VALUES (%s, %s) ON CONFLICT (writer_id) DO UPDATE"
        " SET batch = EXCLUDED.batch, written_at = EXCLUDED.written_at",
        (writer_id, number),
    )


def committed(connection: Connection, writer_id: uuid.UUID) -> tuple[int, int]:
    """Return the number of the last committed batch, -1 when there is none, and what `write_few` stored of it.

    A commit that is still under way is waited for.
    """
    connection.execute("SET LOCAL lock_timeout TO '5s'")
    row = connection.execute(
        "SELECT batch, coalesce(stored, 0) FROM writer WHERE writer_id = %s FOR UPDATE", (writer_id,)
    ).fetchone()
    return (-1, 0) if row is None else (int(row[0]), int(row[1]))


def _array(values: npt.NDArray[np.generic]) -> str:
    """Return numbers as an array literal: psycopg takes 4 ms for a list of 5,000, joining them 0.5 ms."""
    return "{" + ",".join(map(repr, values.tolist())) + "}"


def _text(text: str) -> str:
    """Return a text that PostgreSQL can keep, with a sign where something cannot be."""
    return text if storable(text) else text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
