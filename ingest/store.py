"""The time store: writes batches of readings, each once, in one transaction a batch, and answers for them."""

import json
import math
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ingest import statements
from ingest.catalogue import Catalogue, storable
from ingest.database import CheckViolation, Connection, Database, Refused, Row, UniqueViolation
from ingest.fixed_point import fixed_point
from ingest.newest import Newest
from ingest.rows import Integers, Rows
from ingest.series import EARLIEST_MS, LATEST_MS, Series
from ingest.settled import Counts, Settled
from sensors import QUANTITIES, Batch, Quantity, Reason, Rejected, Sensor, WorkError

STAGED_AFTER_REPEAT = 20  # batches: repeats come in runs, and a failed COPY costs as much as a good one
FEW = 200  # readings: up to so many, one call is cheaper than COPY with what belongs to it
ANSWER_S = 30.0  # a commit that takes seconds is slow, not lost
WEEKS_AHEAD = 4
WEEK_MS = 7 * 86_400_000
FIRST_MONDAY_MS = 946_857_600_000  # 2000-01-03

Origin = Callable[[int], tuple[str, bytes]]
Sift = Callable[[Connection, Sequence[Rejected]], Sequence[Rejected]]


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
    answer_s
        A database that takes longer for one write counts as away.
    few
        Up to so many readings are written in one call, more by COPY.

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
        answer_s: float = ANSWER_S,
        few: int = FEW,
    ) -> None:
        self.database = database
        self.catalogue = Catalogue(database, quantities=quantities, unverified_limit=unverified_limit)
        self._newest = Newest(database)
        self._answer_s = answer_s
        self._few = few
        self._writing = threading.Lock()
        self._weeks: set[int] = set()
        self._generation = -1
        self._staged_batches = 0
        self._writer_id = uuid.uuid4()
        self._number = 0  # of the last batch that was tried
        self._pending: tuple[Batch, Settled | None] | None = None  # None inside: `write_few` knows what it stored

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
        origin = origin or _as_json(batch)
        with self._writing, self.database.answering_within(self._answer_s):
            if self._generation != self.database.generation:  # a connection was lost: look again at what is there
                generation = self.database.generation
                self._weeks.clear()
                self.database.fetch("SELECT introduce_writer(%s)", (self._writer_id,))
                self._generation = generation
            return self._committed_before(batch) or self._divided(batch, origin, sift)

    def _divided(self, batch: Batch, origin: Origin, sift: Sift | None) -> Settled:
        """Write a batch, or, when the database refuses it for its content, each half: one reading stops no other."""
        try:
            return self._settled(batch, origin, sift)
        except Refused as error:
            n, said = len(batch), " ".join(str(error).split())
            if n + len(batch.rejected) == 0:
                raise
            if n == 0:  # what was rejected is refused as well: only its reason can be kept
                raise WorkError(f"{self.database.name} refuses to keep rejected payloads: {said}") from error
            if n == 1 and not batch.rejected:
                why = Rejected(*origin(0), Reason.REFUSED_BY_DATABASE, f"{_described(batch, 0)}: {said}")
                return self._settled(replace(batch.take([]), rejected=(why,)), origin, sift)
        half = n // 2
        parts = [
            (replace(batch.take(range(half)), rejected=batch.rejected), 0),
            (batch.take(range(half, n)), half),
        ]
        settled = [self._divided(part, partial(_shifted, origin, start), sift) for part, start in parts]
        return settled[0] + settled[1]

    def _settled(self, batch: Batch, origin: Origin, sift: Sift | None) -> Settled:
        rows, refused = self._rows(batch, origin)
        rejected = [*batch.rejected, *refused]
        self.ensure_weeks(rows.time_ms)
        try:
            if sift is None and not rejected and 0 < len(rows) <= self._few:
                settled = self._write_few(batch, rows)
                if settled is not None:
                    return settled
            staged = self._staged_batches > 0
            self._staged_batches -= staged
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
        series = self.catalogue.resolve(zip(batch.sensor_id, batch.quantity, strict=True))
        rows, refused = fixed_point(batch, series)
        return rows, [Rejected(*origin(i), reason, _described(batch, i)) for i, reason in refused]

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
            number, stored = statements.committed(connection, self._writer_id)
        settled, self._pending = self._pending[1], None
        if number != self._number:
            return None
        return settled if settled is not None else _all_stored(batch, stored)

    def _write_few(self, batch: Batch, rows: Rows) -> Settled | None:
        """Write a few rows of which nothing is rejected in one call; None when a conflict is among them."""
        firsts = rows.firsts()
        if len(firsts) < len(rows):  # the same key twice in one batch may be a conflict within it
            return None
        self._number += 1
        self._pending = (batch, None)
        stored = statements.write_few(
            self.database, firsts, round(batch.received_at * 1e6), writer_id=self._writer_id, number=self._number
        )
        self._pending = None
        return None if stored is None else _all_stored(batch, stored)

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


def _all_stored(batch: Batch, stored: int) -> Settled:
    """Return a batch all of whose readings are in the database, so many of them new."""
    return Settled(Counts(received=len(batch), stored=stored, duplicate=len(batch) - stored), batch, ())


def _described(batch: Batch, i: int) -> str:
    return f"{batch.quantity[i]} of {batch.sensor_id[i]} at {int(batch.time_ms[i])} ms is {float(batch.value[i])}"


def _shifted(origin: Origin, start: int, i: int) -> tuple[str, bytes]:
    return origin(start + i)


def _as_json(batch: Batch) -> Origin:
    def origin(i: int) -> tuple[str, bytes]:
        reading = {"t": int(batch.time_ms[i]), batch.quantity[i]: float(batch.value[i])}
        return batch.sensor_id[i], json.dumps(reading).encode()

    return origin
