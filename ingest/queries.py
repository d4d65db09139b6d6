"""Questions to the readings themselves: pages and steps of a series, the network at a time, as known at a time.

Two times matter: ``time``, the end of what was measured, and ``received_at``, since when it is known. ``known_at``
leaves out what was received later; ``corrected`` overlays the last correction recorded by then, without void readings.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from ingest.catalogue import storable
from ingest.database import Database, Row
from ingest.rollup import Buckets, buckets_of
from ingest.rows import Integers
from ingest.series import LATEST_MS, Series, batch_of
from sensors import Batch, InputError

_ALWAYS = LATEST_MS / 1000
_ORIGIN = "timestamptz '2000-01-03T00:00:00Z'"  # a Monday
# A reading with its last correction. %(known_at)s bounds both; without %(corrected)s no correction is looked for.
_VALUE = "CASE WHEN c.series_id IS NULL THEN r.raw::float8 / s.scale ELSE c.value END"
_CORRECTION = (
    " LEFT JOIN LATERAL (SELECT series_id, value FROM correction AS k WHERE %(corrected)s AND k.series_id = r.series_id"
    " AND k.time = r.time AND k.recorded_at <= to_timestamp(%(known_at)s) ORDER BY k.recorded_at DESC LIMIT 1) AS c"
    " ON true"
)
_NOT_VOID = " AND (c.series_id IS NULL OR c.value IS NOT NULL)"
_ONE_SERIES = (
    " FROM series AS s JOIN reading_raw AS r USING (series_id)"
    + _CORRECTION
    + " WHERE s.sensor_id = %(sensor_id)s AND s.quantity = %(quantity)s AND r.time >= to_timestamp(%(since)s)"
    " AND r.time < to_timestamp(%(until)s) AND r.received_at <= to_timestamp(%(known_at)s)" + _NOT_VOID
)


@dataclass(frozen=True, slots=True)
class Gaps:
    """Stretches of a series without a reading.

    Parameters
    ----------
    from_ms, until_ms
        (n,) times of the readings before and after each, ms since 1970 UTC.
    """

    from_ms: Integers
    until_ms: Integers

    def __len__(self) -> int:
        return len(self.from_ms)


def page(
    database: Database,
    sensor_id: str,
    quantity: str,
    *,
    since: float = 0.0,
    until: float = _ALWAYS,
    after_ms: int | None = None,
    limit: int = 1_000,
    known_at: float = _ALWAYS,
    corrected: bool = False,
) -> Series:
    """Return the next ``limit`` readings of a series by time, since <= time < until (s since 1970 UTC).

    Parameters
    ----------
    after_ms
        Time of the last reading of the page before; a page costs the same wherever it lies.
    known_at, corrected
        What was known at this time (s since 1970 UTC); with corrections.
    """
    rows: list[Row] = []
    if storable(sensor_id) and storable(quantity):
        after = "" if after_ms is None else " AND r.time > timestamptz 'epoch' + %(after_ms)s * interval '1 ms'"
        rows = database.fetch(
            f"SELECT (extract(epoch FROM r.time) * 1000)::int8, {_VALUE}, r.quality,"  # noqa: S608 - no value inside
            f" extract(epoch FROM r.received_at)::float8{_ONE_SERIES}{after} ORDER BY r.time LIMIT %(limit)s",
            _parameters(sensor_id, quantity, since, until, known_at, corrected)
            | {"after_ms": after_ms, "limit": limit},
        )
    return Series.of(sensor_id, quantity, rows)


def buckets(
    database: Database,
    sensor_id: str,
    quantity: str,
    *,
    since: float,
    until: float,
    step_s: float,
    known_at: float = _ALWAYS,
    corrected: bool = False,
) -> Buckets:
    """Return a series by steps of any length, from its readings; `ingest.rollup.buckets` is faster for a long time.

    Readings out of their physical range and means over no vehicle are left out, as in the rollups, unless a
    correction stands in their place.
    """
    if not step_s >= 0.001:
        raise InputError(f"step_s is {step_s}, must be at least 0.001")
    rows: list[tuple[object, ...]] = []
    if storable(sensor_id) and storable(quantity):
        rows = database.fetch(
            f"SELECT (extract(epoch FROM date_bin(%(step_s)s * interval '1 s', r.time, {_ORIGIN})) * 1000)::int8"  # noqa: S608 - no value inside
            " AS step,"
            f" count(*), avg({_VALUE}), min({_VALUE}), max({_VALUE}){_ONE_SERIES}"
            " AND (c.series_id IS NOT NULL OR r.quality & 65 = 0)"
            " GROUP BY step ORDER BY step",
            _parameters(sensor_id, quantity, since, until, known_at, corrected) | {"step_s": step_s},
        )
    return buckets_of(rows)


def network(
    database: Database, *, at: float, within_s: float = 900.0, known_at: float = _ALWAYS, corrected: bool = False
) -> Batch:
    """Return the last reading of every series at a time, if it is not older than ``within_s``.

    Parameters
    ----------
    at
        Readings with at - within_s < time <= at, s since 1970 UTC.
    known_at, corrected
        What was known at this time; with corrections. ``known_at=at`` is what the twin could know then.
    """
    rows = database.fetch(
        "SELECT s.sensor_id, s.quantity, (extract(epoch FROM last.time) * 1000)::int8, last.value, last.quality"  # noqa: S608 - no value inside
        f" FROM series AS s CROSS JOIN LATERAL (SELECT r.time, {_VALUE} AS value, r.quality FROM reading_raw AS r"
        f"{_CORRECTION} WHERE r.series_id = s.series_id AND r.time > to_timestamp(%(since)s)"
        f" AND r.time <= to_timestamp(%(at)s) AND r.received_at <= to_timestamp(%(known_at)s){_NOT_VOID}"
        " ORDER BY r.time DESC LIMIT 1) AS last ORDER BY s.series_id",
        {"at": at, "since": at - within_s, "known_at": known_at, "corrected": corrected},
    )
    return batch_of(rows)


def gaps(
    database: Database, sensor_id: str, quantity: str, *, since: float, until: float, longer_than_s: float
) -> Gaps:
    """Return the stretches between two readings of a series that are longer than so many seconds."""
    rows: list[tuple[int, int]] = []
    if storable(sensor_id) and storable(quantity):
        rows = [
            (row[0], row[1])
            for row in database.fetch(
                "SELECT before, t FROM (SELECT t, lag(t) OVER (ORDER BY t) AS before FROM"  # noqa: S608 - no value inside
                f" (SELECT (extract(epoch FROM r.time) * 1000)::int8 AS t{_ONE_SERIES}) AS one) AS two"
                " WHERE t - before > %(longer_ms)s ORDER BY t",
                _parameters(sensor_id, quantity, since, until, _ALWAYS, corrected=False)
                | {"longer_ms": longer_than_s * 1000},
            )
        ]
    return Gaps(np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.int64))


def stream(database: Database, *, since: float, until: float, rows: int = 10_000) -> Generator[Batch, None, None]:
    """Yield all readings with since <= time < until by series and time, so many at once, from a cursor on the server.

    The memory of neither side grows with the answer. The generator holds a connection until it ends or is closed.
    """
    with database.connection() as connection, connection.cursor(name="stream") as cursor:
        cursor.execute(
            "SELECT s.sensor_id, s.quantity, (extract(epoch FROM r.time) * 1000)::int8, r.raw::float8 / s.scale,"
            " r.quality FROM reading_raw AS r JOIN series AS s USING (series_id)"
            " WHERE r.time >= to_timestamp(%s) AND r.time < to_timestamp(%s) ORDER BY r.series_id, r.time",
            (since, until),
        )
        while found := cursor.fetchmany(rows):
            yield batch_of(found)


def _parameters(
    sensor_id: str, quantity: str, since: float, until: float, known_at: float, corrected: bool
) -> dict[str, object]:
    return {
        "sensor_id": sensor_id,
        "quantity": quantity,
        "since": since,
        "until": until,
        "known_at": known_at,
        "corrected": corrected,
    }
