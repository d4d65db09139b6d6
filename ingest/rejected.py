"""What was rejected, decoded again: after a codec, a topic rule or a limit was mended, nothing need be lost.

A row of ``rejected`` is *resolved* once its payload gives no such rejection any more: then its readings are in the
database, and ``replayed_at`` says since when. What still cannot be used stays as it is, to be tried another time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ingest.batcher import Decode, Flag
from ingest.broker.topics import matches
from ingest.database import Connection, Database
from ingest.settled import Counts
from ingest.statements import kept
from ingest.store import Store
from sensors import Batch, PayloadError, Reading, Reason, Rejected

PAGE_ROWS = 500  # at most 32 MB of payloads
# A second value for a reading that is there is a matter for a correction, not for another try.
_FINAL = str(Reason.CONFLICT)

_Key = tuple[str, bytes, str, str]  # topic, payload, reason, detail


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which rows of ``rejected`` are tried; without anything, all.

    Parameters
    ----------
    reason
        Rows of this reason only.
    topic
        Rows whose topic this MQTT topic filter matches.
    since : s since 1970 UTC
        Rows received then or later.
    """

    reason: Reason | None = None
    topic: str | None = None
    since: float | None = None

    def has(self, row: "Row") -> bool:
        """Return whether a row is tried, as far as the database was not asked already."""
        return self.topic is None or matches(self.topic, row.topic)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of ``rejected``."""

    rejected_id: int
    received_at: float
    topic: str
    payload: bytes
    reason: str
    detail: str

    @property
    def key(self) -> _Key:
        """What makes a rejection the same as another one."""
        return self.topic, self.payload, self.reason, self.detail


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay: rows = resolved + kept + cut.

    Parameters
    ----------
    rows
        Rows that were looked at.
    resolved
        Whose readings are in the database now.
    kept
        Still rejected.
    cut
        Not tried, because the payload was too long to be kept whole.
    readings
        What became of the readings that came out.
    """

    rows: int = 0
    resolved: int = 0
    kept: int = 0
    cut: int = 0
    readings: Counts = field(default_factory=Counts)

    def __add__(self, other: "Replayed") -> "Replayed":
        return Replayed(
            self.rows + other.rows,
            self.resolved + other.resolved,
            self.kept + other.kept,
            self.cut + other.cut,
            self.readings + other.readings,
        )


def replay_rejected(
    database: Database,
    store: Store,
    decode: Decode,
    *,
    now: float,
    retention_s: float,
    future_s: float,
    chosen: Chosen | None = None,
    clock_was_wrong: bool = False,
    flag: Flag | None = None,
    progress: Callable[[Replayed], None] = lambda _: None,
) -> Replayed:
    """Decode what was rejected again, store what can be used now, and return how much of it.

    Each page of rows is one transaction with its readings: stopped at any point, the next call goes on with what is
    left; called twice, the second call changes nothing. Rows that come in meanwhile are left for another time.

    Parameters
    ----------
    now
        City time, s since 1970 UTC: when the readings became known, and from which their age is counted.
    retention_s, future_s
        A time must be within [now - retention_s, reception + future_s]: waiting does not mend a clock that ran ahead.
    chosen
        Which rows; without it, all.
    clock_was_wrong
        Judge times by ``now`` instead of by the reception: it was the city clock that stood wrong, not the sensors'.
    flag
        Sets the flags of doubtful values.
    progress
        Called after each page with what came of everything so far.

    Raises
    ------
    DatabaseAway, WorkError
        As `Store.settle`; what was committed before remains.
    """
    chosen = chosen or Chosen()
    last = int(database.fetch("SELECT coalesce(max(rejected_id), 0) FROM rejected")[0][0])
    total, after = Replayed(), 0
    while rows := _page(database, chosen, after, last):
        after = rows[-1].rejected_id
        rows = [row for row in rows if chosen.has(row)]
        if clock_was_wrong:
            rows = [replace(row, received_at=now) for row in rows]
        total += _Page(rows, decode, now=now, retention_s=retention_s, future_s=future_s, flag=flag).store(store)
        progress(total)
    return total


def _page(database: Database, chosen: Chosen, after: int, last: int) -> list[Row]:
    reason = None if chosen.reason is None else str(chosen.reason)
    found = database.fetch(
        "SELECT rejected_id, extract(epoch FROM received_at)::float8, topic, payload, reason, detail FROM rejected"
        " WHERE rejected_id > %s AND rejected_id <= %s AND replayed_at IS NULL AND reason <> %s"
        " AND (%s::text IS NULL OR reason = %s OR starts_with(reason, %s || ' (cut'))"
        " AND (%s::float8 IS NULL OR received_at >= to_timestamp(%s)) ORDER BY rejected_id LIMIT %s",
        (after, last, _FINAL, reason, reason, reason, chosen.since, chosen.since, PAGE_ROWS),
    )
    return [Row(*row) for row in found]


class _Page:
    """Some rows and the readings that come out of them."""

    def __init__(
        self, rows: list[Row], decode: Decode, *, now: float, retention_s: float, future_s: float, flag: Flag | None
    ) -> None:
        self._now = now
        self._count = len(rows)
        self._cut = [row for row in rows if " (cut, " in row.reason]
        self._tried: list[Row] = []  # rows whose payload could be decoded
        self._origins: list[tuple[str, bytes]] = []  # of each reading
        readings: list[Reading] = []
        rejected: list[Rejected] = []
        seen: set[tuple[str, bytes]] = set()
        for row in rows:
            origin = row.topic, row.payload
            if row in self._cut:
                continue
            if origin in seen:  # several values of one payload were rejected
                self._tried.append(row)
                continue
            try:
                good, bad = decode(row.topic, row.payload)
            except PayloadError:
                continue
            seen.add(origin)
            self._tried.append(row)
            rejected += bad
            for reading in good:
                if (reason := _untimely(reading, now - retention_s, row.received_at + future_s)) is not None:
                    rejected.append(Rejected(*origin, reason, _detail(reading)))
                else:
                    readings.append(reading)
                    self._origins.append(origin)
        batch = Batch.of(readings, received_at=now, rejected=tuple(rejected))
        self._batch = flag(batch) if flag is not None and readings else batch
        self._resolved = 0

    def store(self, store: Store) -> Replayed:
        """Write everything in one transaction and return what came of it."""
        counts = Counts()
        if self._tried:
            counts = store.settle(self._batch, origin=self._origins.__getitem__, sift=self._sift).counts
        kept_rows = self._count - self._resolved - len(self._cut)
        return Replayed(self._count, self._resolved, kept_rows, len(self._cut), counts)

    def _sift(self, connection: Connection, rejected: Sequence[Rejected]) -> Sequence[Rejected]:
        """Mark the rows that are resolved; return the rejections that no row tells of yet."""
        again = {kept(item): item for item in rejected}
        open_rows = [row for row in self._tried if row.key not in again]
        for row in self._tried:
            again.pop(row.key, None)
        fresh = {key: item for key, item in again.items() if not _is_told(connection, key)}
        # The same rejection may be told in other words by now: how old a reading is, for example.
        reworded = {key[:3] for key in fresh}
        resolved = [row for row in open_rows if row.key[:3] not in reworded]
        reworded &= {row.key[:3] for row in open_rows}
        connection.execute(
            "UPDATE rejected SET replayed_at = %s WHERE rejected_id = ANY(%s)",
            (datetime.fromtimestamp(self._now, UTC), [row.rejected_id for row in resolved]),
        )
        self._resolved = len(resolved)
        return [item for key, item in fresh.items() if key[:3] not in reworded]


def _untimely(reading: Reading, since: float, until: float) -> Reason | None:
    if reading.time_ms < since * 1000:
        return Reason.TIME_TOO_OLD
    return Reason.TIME_IN_FUTURE if reading.time_ms > until * 1000 else None


def _detail(reading: Reading) -> str:
    return f"{reading.quantity} of {reading.sensor_id} at {reading.time_ms} ms is {reading.value}"


def _is_told(connection: Connection, key: _Key) -> bool:
    topic, payload, reason, detail = key
    found = connection.execute(
        "SELECT 1 FROM rejected WHERE replayed_at IS NULL AND reason = %s AND detail = %s AND topic = %s"
        " AND payload = %s LIMIT 1",
        (reason, detail, topic, payload),
    )
    return found.fetchone() is not None
