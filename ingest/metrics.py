"""What an ingest worker counts, and its text form for Prometheus."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ingest.settled import Counts

RESULTS = ("received", "stored", "duplicate", "conflict", "rejected", "spooled")


class IngestMetrics:
    """Counters of one worker, in readings; an undecodable payload counts as one.

    At every moment received = stored + duplicate + conflict + rejected + spooled + in flight. ``spooled`` are those in
    the spool now; what an earlier process left there counts as received when it comes out.

    Examples
    --------
    >>> metrics = IngestMetrics()
    >>> metrics.take(3)
    >>> metrics.settle(Counts(received=3, stored=2, rejected=1), {"not_json": 1}, seconds=0.01)
    >>> metrics.readings["stored"], metrics.in_flight
    (2, 0)
    >>> metrics.as_prometheus().splitlines()[3]
    'citytwin_ingest_readings_total{result="stored"} 2'
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._readings: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._batches = 0
        self._seconds = 0.0
        self._database_up, self._database_error = True, ""

    def take(self, n: int) -> None:
        """Count readings that were received and are now in flight."""
        with self._mutex:
            self._readings["received"] += n

    def settle(self, counts: Counts, reasons: Mapping[str, int], *, seconds: float) -> None:
        """Count what became of a batch, the reasons of its rejections, and how long its transaction took."""
        with self._mutex:
            for result in ("stored", "duplicate", "conflict", "rejected"):
                self._readings[result] += getattr(counts, result)
            self._reasons.update(reasons)
            self._batches += 1
            self._seconds += seconds

    def spool(self, n: int) -> None:
        """Count readings that were in flight and are in the spool now."""
        with self._mutex:
            self._readings["spooled"] += n

    def unspool(self, n: int) -> None:
        """Count readings that have come out of the spool and are in flight again."""
        self.spool(-n)

    def database(self, *, up: bool, error: str = "") -> None:
        """Note whether the database answered the last time, and what was wrong."""
        with self._mutex:
            self._database_up, self._database_error = up, error

    @property
    def database_up(self) -> bool:
        """Whether the database answered the last time."""
        return self._database_up

    @property
    def database_error(self) -> str:
        """Why it did not answer; empty when it did."""
        return self._database_error

    @property
    def readings(self) -> dict[str, int]:
        """Readings so far by result."""
        with self._mutex:
            return {result: self._readings[result] for result in RESULTS}

    @property
    def rejected_by_reason(self) -> dict[str, int]:
        """Rejections and conflicts so far by reason."""
        with self._mutex:
            return dict(self._reasons)

    @property
    def in_flight(self) -> int:
        """Readings that were received and are not settled yet."""
        readings = self.readings
        return 2 * readings["received"] - sum(readings.values())

    def as_prometheus(self) -> str:
        """Return everything in Prometheus' text format 0.0.4."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        def metric(name: str, kind: str, text: str, values: Mapping[str, Any]) -> Iterator[str]:
            yield f"# HELP citytwin_ingest_{name} {text}"
            yield f"# TYPE citytwin_ingest_{name} {kind}"
            for label, value in values.items():
                yield f"citytwin_ingest_{name}{label} {value}"

        results = {f'{{result="{result}"}}': count for result, count in self.readings.items()}
        reasons = {f'{{reason="{reason}"}}': count for reason, count in sorted(self.rejected_by_reason.items())}
        yield from metric("readings_total", "counter", "Readings by what became of them.", results)
        yield from metric("rejected_total", "counter", "Readings that were not stored, by reason.", reasons)
        yield from metric("in_flight", "gauge", "Readings received and not settled yet.", {"": self.in_flight})
        yield from metric("batches_total", "counter", "Committed batches.", {"": self._batches})
        yield from metric("write_seconds_total", "counter", "Time spent in transactions.", {"": self._seconds})
        yield from metric("database_up", "gauge", "1 while the database answers.", {"": int(self._database_up)})
