"""The time store: writes batches of readings, each once, in one transaction a batch, and answers for them."""

import json
import math
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ingest import statements
from ingest.catalogue import Catalogue, storable
from ingest.catalogue import Series as Entry
from ingest.database import CheckViolation, Connection, Database, Row, UniqueViolation
from ingest.newest import Newest
from ingest.rows import Integers, Rows
from ingest.series import EARLIEST_MS, LATEST_MS, Series
from sensors import QUANTITIES, Batch, Quantity, Reason, Rejected, Sensor
from sensors.reading import Quality

STAGED_AFTER_REPEAT = 20  # batches: repeats come in runs, and a failed COPY costs as much as a good one
WEEKS_AHEAD = 4
WEEK_MS = 7 * 86_400_000
FIRST_MONDAY_MS = 946_857_600_000  # 2000-01-03

Origin = Callable[[int], tuple[str, bytes]]
Sift = Callable[[Connection, Sequence[Rejected]], Sequence[Rejected]]


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a batch, in readings: received = stored + duplicate + conflict + rejected."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    conflict: int = 0
    rejected: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.received + other.received,
            self.stored + other.stored,
            self.duplicate + other.duplicate,
            self.conflict + other.conflict,
            self.rejected + other.rejected,
        )


@dataclass(frozen=True, slots=True)
class Settled:
    """A batch after its commit.

    Parameters
    ----------
    counts
        What became of its readings.
    batch
        Those readings that are in the database now, stored or duplicate.
    rejected
        Everything that went to ``rejected``, conflicts included.
    """

    counts: Counts
    batch: Batch
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """How much a database holds."""

    readings: int
    rejected: Mapping[str, int]
    series: int
    sensors: int
    unverified_sensors: int


class Store:
    """Readings in a database that `ingest.migration.migrate` has prepared.

    Parameters
    ----------
    database
        PostgreSQL, with or without TimescaleDB.
    quantities
        What may be stored, by key.
    unverified_limit
        How many sensors that nobody registered are admitted.

    Notes
    -----
    Many threads may read; writes queue on a lock. Several processes may write to one database.
    """

    def __init__(
        self,
        database: Database,
        *,
        quantities: Mapping[str, Quantity] = QUANTITIES,
        unverified_limit: int = 10_000,
    ) -> None:
        self.database = database
        self.catalogue = Catalogue(database, quantities=quantities, unverified_limit=unverified_limit)
        self._newest = Newest(database)
        self._writing = threading.Lock()
        self._weeks: set[int] = set()
        self._generation = -1
        self._staged_batches = 0
        self._writer_id = uuid.uuid4()
        self._number = 0  # of the last batch that was tried
        self._pending: tuple[Batch, Settled] | None = None

    def write(self, batch: Batch, *, origin: Origin | None = None) -> Counts:
        """Write a batch as `settle` does, and return the counts only."""
        return self.settle(batch, origin=origin).counts

    def settle(self, batch: Batch, *, origin: Origin | None = None, sift: Sift | None = None) -> Settled:
        """Write a batch in one transaction and return what became of it; when this returns, it is on disk.

        The first value of a key (series, time) wins; the same value again is a duplicate, another one a conflict,
        which goes to ``rejected``. When it raises `DatabaseAway`, call again with the same object: should the commit
        have happened though its answer was lost, that is found out, and nothing is written or counted twice.

        Parameters
        ----------
        origin
            Topic and payload of the reading at a position of the batch, for ``rejected``; without it the reading is
            written down there as JSON.
        sift
            Called within the transaction with everything that is rejected; returns what of it goes to ``rejected``.

        Raises
        ------
        DatabaseAway
            When the database cannot be reached or cannot work now.
        WorkError
            When rights or tables are missing.
        """
        with self._writing:
            if self._generation != self.database.generation:  # a connection was lost: look again at what is there
                generation = self.database.generation
                self._weeks.clear()
                self.database.fetch("SELECT introduce_writer(%s)", (self._writer_id,))
                self._generation = generation
            settled = self._committed_before(batch)
            if settled is not None:
                return settled
            origin = origin or _as_json(batch)
            rows, refused = self._rows(batch, origin)
            rejected = [*batch.rejected, *refused]
            self.ensure_weeks(rows.time_ms)
            staged = self._staged_batches > 0
            self._staged_batches -= staged
            try:
                return self._transact(batch, rows, rejected, origin, staged=staged, sift=sift)
            except UniqueViolation:
                self._staged_batches = STAGED_AFTER_REPEAT
            except CheckViolation:  # retention dropped a week between our look and our write
                self._weeks.clear()
                self.ensure_weeks(rows.time_ms)
            return self._transact(batch, rows, rejected, origin, staged=True, sift=sift)

    def register(self, sensors: Iterable[Sensor], *, zones: Mapping[str, str] | None = None) -> int:
        """Write the sensors of a network, as verified ones, and return how many there are.

        Parameters
        ----------
        zones
            Zone by link id: a sensor belongs to the zone of its link.
        """
        return self.catalogue.register(sensors, zones=zones)

    def latest(self, *, received_after: float = -math.inf) -> Batch:
        """Return the newest reading of each series, or of those whose newest was received after a time (s)."""
        return self._newest.batch(received_after=received_after)

    def series(
        self,
        sensor_id: str,
        quantity: str,
        *,
        since: float = EARLIEST_MS / 1000,
        until: float = LATEST_MS / 1000,
        limit: int = 10_000,
    ) -> Series:
        """Return the newest ``limit`` readings of a series with since <= time < until (s since 1970), by time."""
        rows: list[Row] = []
        if storable(sensor_id) and storable(quantity):
            found = self.database.fetch(
                "SELECT (extract(epoch FROM time) * 1000)::int8, value, quality,"
                " extract(epoch FROM received_at)::float8"
                " FROM reading WHERE series_id = (SELECT series_id FROM series WHERE sensor_id = %s AND quantity = %s)"
                " AND time >= to_timestamp(%s) AND time < to_timestamp(%s) ORDER BY time DESC LIMIT %s",
                (sensor_id, quantity, since, until, limit),
            )
            rows = found[::-1]
        return Series.of(sensor_id, quantity, rows)

    def contents(self) -> Contents:
        """Return how much the database holds; it counts every reading, which takes a second for 20 million."""
        readings, series, sensors, unverified = self.database.fetch(
            "SELECT (SELECT count(*) FROM reading_raw), (SELECT count(*) FROM series), (SELECT count(*) FROM sensor),"
            " (SELECT count(*) FROM sensor WHERE NOT verified)"
        )[0]
        reasons = self.database.fetch("SELECT reason, count(*) FROM rejected GROUP BY reason ORDER BY reason")
        rejected = dict[str, int]((str(name), int(n)) for name, n in reasons)
        return Contents(readings, rejected, series, sensors, unverified)

    def retain(self, *, since: float) -> int:
        """Drop the weeks of readings that ended before a time (s since 1970 UTC), and return how many.

        What was rejected before it, and the events of alerts that ended before it, go as well.
        """
        self.database.fetch("SELECT forget_before(to_timestamp(%s))", (since,))  # may take long: the writer goes on
        self.database.fetch("SELECT forget_rollups_before(to_timestamp(%s))", (since,))
        with self._writing:
            self._weeks.clear()
            return int(self.database.fetch("SELECT drop_readings_before(to_timestamp(%s))", (since,))[0][0])

    def make_weeks_ahead(self, *, since: float, weeks: int = WEEKS_AHEAD) -> int:
        """Make the partitions of readings and rollups for the week of a time (s since 1970 UTC) and those that follow.

        Returns how many were missing; readings of any other week make theirs when they come. With TimescaleDB only
        the rollups have partitions, for it makes its own chunks.
        """
        return int(self.database.fetch("SELECT make_weeks_ahead(to_timestamp(%s), %s)", (since, weeks))[0][0])

    def may_retain(self) -> bool:
        """Return whether this role may drop what is old; a writer may not."""
        return bool(
            self.database.fetch("SELECT has_function_privilege('drop_readings_before(timestamptz)', 'EXECUTE')")[0][0]
        )

    def _rows(self, batch: Batch, origin: Origin) -> tuple[Rows, list[Rejected]]:
        """Return the rows that can be stored, sorted, and what cannot with its reason."""
        keys = list(zip(batch.sensor_id, batch.quantity, strict=True))
        series = self.catalogue.resolve(keys)
        found = [series[key] for key in keys]
        refused = Entry(0, 1, verified=True)
        entries = [entry if isinstance(entry, Entry) else refused for entry in found]
        scale = np.array([entry.scale for entry in entries], np.int64)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.rint(batch.value * scale)
            fits = np.abs(scaled) < 2.0**63
        in_time = (batch.time_ms >= EARLIEST_MS) & (batch.time_ms < LATEST_MS)
        known = np.array([entry is not refused for entry in entries], bool)
        good = known & fits & in_time
        rejected: list[Rejected] = []
        for i in np.flatnonzero(~good).tolist():
            entry = found[i]
            if isinstance(entry, Reason):
                reason = entry
            elif not np.isfinite(batch.value[i]):
                reason = Reason.NOT_A_NUMBER
            elif not fits[i]:
                reason = Reason.OUT_OF_STORAGE_RANGE
            else:
                reason = Reason.TIME_TOO_OLD if batch.time_ms[i] < EARLIEST_MS else Reason.TIME_IN_FUTURE
            rejected.append(Rejected(*origin(i), reason, _described(batch, i)))
        unverified = np.array([not entry.verified for entry in entries], bool)
        quality = batch.quality.astype(np.int64) | np.where(unverified, int(Quality.UNVERIFIED_SENSOR), 0)
        rows = Rows(
            position=np.arange(len(batch)),
            series=np.array([entry.series_id for entry in entries], np.int64),
            time_ms=batch.time_ms,
            raw=np.where(good, scaled, 0.0).astype(np.int64),
            quality=quality & 0x7FFF,  # the column is a signed 16-bit integer
            scale=scale,
        )
        return rows.take(good).sorted(), rejected

    def forget_weeks(self) -> None:
        """Look again at which partitions are there: another process may have dropped some."""
        self._weeks.clear()

    def ensure_weeks(self, time_ms: Integers) -> None:
        """Make the partitions in which readings of these times, (n,) ms since 1970 UTC, will lie."""
        weeks = np.unique((time_ms - FIRST_MONDAY_MS) // WEEK_MS).tolist()
        for week in weeks:
            if week not in self._weeks:
                start_ms = FIRST_MONDAY_MS + week * WEEK_MS
                self.database.fetch(f"SELECT ensure_reading_partition({statements.AT_MS.format('%s')})", (start_ms,))
                self._weeks.add(week)

    def _committed_before(self, batch: Batch) -> Settled | None:
        """Return what became of this very batch when an earlier call committed it and did not learn so."""
        if self._pending is None or self._pending[0] is not batch:
            return None
        with self.database.connection() as connection:
            number = statements.committed_number(connection, self._writer_id)
        settled = self._pending[1]
        self._pending = None
        return settled if number == self._number else None

    def _transact(
        self,
        batch: Batch,
        rows: Rows,
        rejected: list[Rejected],
        origin: Origin,
        *,
        staged: bool,
        sift: Sift | None,
    ) -> Settled:
        received_us = round(batch.received_at * 1e6)
        with self.database.connection() as connection:
            placed = statements.place(connection, rows, received_us, staged=staged)
            agrees = rows.raw == placed.kept
            conflicts = [
                Rejected(
                    *origin(int(rows.position[i])),
                    Reason.CONFLICT,
                    f"{_described(batch, int(rows.position[i]))}, before it was {placed.kept[i] / rows.scale[i]}",
                )
                for i in np.flatnonzero(~agrees).tolist()
            ]
            refused = rejected + conflicts
            statements.insert_rejected(connection, sift(connection, refused) if sift else refused, received_us)
            counts = Counts(
                received=len(batch) + len(batch.rejected),
                stored=placed.stored,
                duplicate=len(rows) - placed.stored - len(conflicts),
                conflict=len(conflicts),
                rejected=len(rejected),
            )
            whole = agrees.all() and len(rows) == len(batch)
            accepted = batch if whole else batch.take(np.sort(rows.position[agrees]))
            settled = Settled(counts, accepted, tuple(refused))
            self._number += 1
            statements.note_number(connection, self._writer_id, self._number)
            self._pending = (batch, settled)
        self._pending = None
        return settled


def _described(batch: Batch, i: int) -> str:
    return f"{batch.quantity[i]} of {batch.sensor_id[i]} at {int(batch.time_ms[i])} ms is {float(batch.value[i])}"


def _as_json(batch: Batch) -> Origin:
    def origin(i: int) -> tuple[str, bytes]:
        reading = {"t": int(batch.time_ms[i]), batch.quantity[i]: float(batch.value[i])}
        return batch.sensor_id[i], json.dumps(reading).encode()

    return origin
