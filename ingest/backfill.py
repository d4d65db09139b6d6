"""Backfill: a recorded table as columns straight into the database, resumable, each reading once.

The columns never become messages: numpy flags, numbers and packs them, and they go through COPY in large blocks, one
transaction a block, while the next block is prepared.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ingest import statements
from ingest.database import CheckViolation, Database, UniqueViolation
from ingest.fixed_point import fixed_point
from ingest.rows import Rows
from ingest.settled import Counts
from ingest.store import Store
from sensors import Batch, Reason, Rejected
from sensors.quality import SeriesMemory, flag
from sensors.recorded_table import Block

BLOCK_READINGS = 300_000  # of 100,000 each costs the server 30 % more: fewer of a series lie side by side


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backfill is: rows of the file in the database or rejected, and what became of their readings."""

    rows: int = 0
    counts: Counts = field(default_factory=Counts)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A block as rows of the table, with what cannot be one."""

    rows_done: int
    rows: Rows
    sensor_id: Sequence[str]
    quantity: Sequence[str]
    value: Sequence[float]
    rejected: tuple[Rejected, ...]
    n_readings: int


class Backfill:
    """One recorded table on its way into a database.

    Parameters
    ----------
    store
        Where it goes.
    source
        What tells this recording from every other one, and from itself read in another way.
    name
        Of the recording.
    """

    def __init__(self, store: Store, *, source: str, name: str) -> None:
        self._store = store
        self._database: Database = store.database
        self._source = source
        self._name = name
        self._memory = SeriesMemory()
        self._staged = False
        self.progress = self._noted()

    def steps(self, blocks: Iterable[Block]) -> Iterator[Progress]:
        """Write what of the blocks is not there yet, and yield how far it is after each commit.

        Killed at any point, the next call with the same blocks goes on after the last commit; the flags are the same
        as without the stop, because they are set on the earlier blocks as well.

        Raises
        ------
        DatabaseAway, WorkError
            As `Store.settle`; what was committed before remains.
        """
        done, place = self.progress.rows, 0
        with ThreadPoolExecutor(1, thread_name_prefix="backfill") as pool:
            writing: Future[None] | None = None
            for block in blocks:
                batch = self._flagged(block)
                place += len(block)
                if place <= done:
                    continue
                prepared = self._prepared(batch, place)
                if writing is not None:
                    writing.result()
                    yield self.progress
                writing = pool.submit(self._write, prepared)
            if writing is not None:
                writing.result()
        self._database.execute("DELETE FROM backfill WHERE source = %s", (self._source,))
        yield self.progress

    def _noted(self) -> Progress:
        found = self._database.fetch("SELECT rows_done, counts FROM backfill WHERE source = %s", (self._source,))
        return Progress(int(found[0][0]), Counts(*found[0][1])) if found else Progress()

    def _flagged(self, block: Block) -> Batch:
        """Return the readings of a block by time, flagged as if each were received at its own time."""
        row, column = np.nonzero(~np.isnan(block.value))
        sensors = np.array(block.sensor_ids, object)
        keys = np.array(block.quantities, object)
        batch = Batch(
            sensor_id=tuple(sensors[block.sensor[row]].tolist()),
            quantity=tuple(keys[column].tolist()),
            time_ms=block.time_ms[row],
            value=block.value[row, column],
            quality=np.zeros(len(row), np.uint16),
            received_at=float(block.time_ms.max(initial=0)) / 1000,
        )
        return flag(batch, self._memory)

    def _prepared(self, batch: Batch, rows_done: int) -> _Prepared:
        places = self._memory.positions(batch)  # a number for each series: cheaper than its two texts
        _, first, which = np.unique(places, return_index=True, return_inverse=True)
        keys = [(batch.sensor_id[i], batch.quantity[i]) for i in first.tolist()]
        rows, refused = fixed_point(batch, self._store.catalogue.resolve(keys).at(which))
        rejected = tuple(
            _rejected(batch.sensor_id[i], batch.quantity[i], batch.time_ms[i], batch.value[i], reason)
            for i, reason in refused
        )
        return _Prepared(rows_done, rows, batch.sensor_id, batch.quantity, batch.value.tolist(), rejected, len(batch))

    def _write(self, block: _Prepared) -> None:
        self._store.ensure_weeks(block.rows.time_ms)
        try:
            self._transact(block, staged=self._staged)
        except UniqueViolation:
            self._staged = True  # a file of which a part is there has more of it
            self._transact(block, staged=True)
        except CheckViolation:  # retention dropped a week between our look and our write
            self._store.forget_weeks()
            self._store.ensure_weeks(block.rows.time_ms)
            self._transact(block, staged=True)

    def _transact(self, block: _Prepared, *, staged: bool) -> None:
        rows = block.rows
        received_us = int(rows.time_ms.max(initial=0)) * 1000
        with self._database.connection() as connection:
            placed = statements.place(
                connection, rows, received_us, each_received_us=rows.time_ms * 1000, staged=staged
            )
            differ = np.flatnonzero(rows.raw != placed.kept).tolist()
            conflicts = [self._conflict(block, i, int(placed.kept[i])) for i in differ]
            statements.insert_rejected(connection, [*block.rejected, *conflicts], received_us)
            counts = self.progress.counts + Counts(
                received=block.n_readings,
                stored=placed.stored,
                duplicate=len(rows) - placed.stored - len(conflicts),
                conflict=len(conflicts),
                rejected=len(block.rejected),
            )
            # Two at once on the same file: the second waits here, and its mark is behind, so that it changes nothing.
            connection.execute(
                "INSERT INTO backfill AS old (source, name, rows_done, counts) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (source) DO UPDATE SET rows_done = EXCLUDED.rows_done, counts = EXCLUDED.counts,"
                " written_at = now() WHERE old.rows_done < EXCLUDED.rows_done",
                (
                    self._source,
                    self._name,
                    block.rows_done,
                    [counts.received, counts.stored, counts.duplicate, counts.conflict, counts.rejected],
                ),
            )
        self.progress = Progress(block.rows_done, counts)

    def _conflict(self, block: _Prepared, i: int, kept: int) -> Rejected:
        position, rows = int(block.rows.position[i]), block.rows
        return _rejected(
            block.sensor_id[position],
            block.quantity[position],
            int(rows.time_ms[i]),
            block.value[position],
            Reason.CONFLICT,
            f", before it was {kept / rows.scale[i]}",
        )


def _rejected(sensor_id: str, quantity: str, time_ms: int, value: float, reason: Reason, more: str = "") -> Rejected:
    payload = json.dumps({"t": int(time_ms), quantity: float(value)}).encode()
    return Rejected(
        sensor_id, payload, reason, f"{quantity} of {sensor_id} at {int(time_ms)} ms is {float(value)}{more}"
    )
