"""Corrections: what a person knows better than a sensor, beside its readings and never in their place."""

from collections.abc import Iterable
from datetime import UTC, datetime

from ingest.catalogue import storable
from ingest.database import Database, UniqueViolation
from sensors import InputError


def correct(
    database: Database,
    sensor_id: str,
    quantity: str,
    values: Iterable[tuple[int, float | None]],
    *,
    author: str,
    reason: str,
    recorded_at: float,
) -> int:
    """Record corrections of readings, all or none, and return how many.

    Parameters
    ----------
    values
        Time of each reading in ms since 1970 UTC, and its right value; None: the reading is void.
    author, reason
        Who says so and why; both are kept.
    recorded_at
        City time, s since 1970 UTC. Of several corrections of a reading the last recorded one holds.

    Raises
    ------
    InputError
        For every time without a reading, for a missing author or reason, or when this time has a correction recorded
        at the same moment.
    """
    rows = list(values)
    faults = [
        f"correction: {name} is empty" for name, text in (("author", author), ("reason", reason)) if not text.strip()
    ]
    faults += [
        f"correction of {quantity} of {sensor_id!r} at {t} ms: value is {value}, must be a finite number, or None"
        for t, value in rows
        if value is not None and not abs(value) < float("inf")
    ]
    if faults:
        raise InputError(faults)
    times = [t for t, _ in rows]
    with database.connection() as connection:
        found: dict[int, int] = {}
        if storable(sensor_id) and storable(quantity):
            rows_there = connection.execute(
                "SELECT (extract(epoch FROM time) * 1000)::int8, series_id FROM reading_raw WHERE series_id ="
                " (SELECT series_id FROM series WHERE sensor_id = %s AND quantity = %s) AND time = ANY("
                "SELECT timestamptz 'epoch' + ms * interval '1 ms' FROM unnest(%s::int8[]) AS ms)",
                (sensor_id, quantity, times),
            ).fetchall()
            found = {int(t): int(series_id) for t, series_id in rows_there}
        if missing := [t for t in times if t not in found]:
            raise InputError(
                f"correction of {quantity} of {sensor_id!r} at {t} ms: there is no reading to correct" for t in missing
            )
        try:
            connection.cursor().executemany(
                "INSERT INTO correction (series_id, time, value, recorded_at, author, reason)"
                " VALUES (%s, timestamptz 'epoch' + %s * interval '1 ms', %s, %s, %s, %s)",
                [
                    (found[t], t, value, datetime.fromtimestamp(recorded_at, UTC), author.strip(), reason.strip())
                    for t, value in rows
                ],
            )
        except UniqueViolation:
            raise InputError(
                f"correction of {quantity} of {sensor_id!r}: one of its times has a correction recorded at the same "
                "moment, record this one later"
            ) from None
    return len(rows)
