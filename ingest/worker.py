"""The writer: takes messages, commits them in batches, and acknowledges them only then."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, Protocol

from ingest.batcher import Batcher, Gathered, M
from ingest.database import DatabaseAway
from ingest.metrics import IngestMetrics
from ingest.seldom import Seldom
from ingest.store import Store
from sensors import Batch, Rejected

log = logging.getLogger(__name__)
FIRST_RETRY_S, LAST_RETRY_S = 0.05, 1.0
SHOWN_BYTES = 60  # of a rejected payload, in the log
IDLE_S = 0.2  # how soon a stop is noticed while nothing comes in


class Source(Protocol[M]):
    """Where messages come from: `ingest.subscriber.Subscriber`."""

    def payloads(self, timeout_s: float) -> list[M]:
        """Return what has come in, waiting so long for a first message; empty when none came."""

    def acknowledge(self, messages: Sequence[M]) -> object:
        """Tell the broker that these messages are safe."""


class Worker(Generic[M]):
    """The loop between broker and database.

    While the database is away, the worker keeps its batch, acknowledges nothing and takes no further messages, so that
    they pile up at the subscriber's bounded queue, then at the broker, then at the publishers.

    Parameters
    ----------
    source
        Gives messages and takes acknowledgements.
    store
        Where batches go; no other thread may write to it.
    batcher
        Makes the batches.
    committed
        Gets each batch after its commit and acknowledgement, with those readings that are in the database now.
    max_age_s
        A message waits at most so long for others to share its transaction.
    drain_s
        After a stop, how long to go on with what has arrived. What is left stays unacknowledged and comes again.
    """

    def __init__(
        self,
        source: Source[M],
        store: Store,
        batcher: Batcher[M],
        *,
        committed: Callable[[Batch], None] | None = None,
        metrics: IngestMetrics | None = None,
        max_age_s: float = 0.005,
        drain_s: float = 5.0,
    ) -> None:
        self.metrics = metrics or IngestMetrics()
        self._source = source
        self._store = store
        self._batcher = batcher
        self._committed = committed
        self._max_age_s = max_age_s
        self._drain_s = drain_s
        self._seldom = Seldom(log)

    def run(self, stop: threading.Event) -> None:
        """Work until the event is set, then finish what has arrived.

        Raises
        ------
        WorkError
            When the database refuses for a reason that does not pass by itself.
        """
        while not stop.is_set():
            self._round(IDLE_S, stop)
        deadline = time.monotonic() + self._drain_s
        while time.monotonic() < deadline and self._round(0.0, stop, deadline=deadline):
            pass
        self._seldom.flush()

    def _round(self, timeout_s: float, stop: threading.Event, *, deadline: float | None = None) -> bool:
        """Commit what came in and what follows closely; return whether anything came and was committed."""
        messages = self._source.payloads(timeout_s)
        if not messages:
            return False
        started = time.monotonic()
        while messages:
            for gathered in self._batcher.add(messages):
                if not self._commit(gathered, stop, deadline=deadline):
                    return False
            left = started + self._max_age_s - time.monotonic()
            messages = self._source.payloads(left) if left > 0 and len(self._batcher) else []
        return len(self._batcher) == 0 or self._commit(self._batcher.flush(), stop, deadline=deadline)

    def _commit(self, gathered: Gathered[M], stop: threading.Event, *, deadline: float | None) -> bool:
        """Write a batch, however long it takes, and acknowledge it; False when a stop came first."""
        self.metrics.take(len(gathered))
        away_since, pause = 0.0, FIRST_RETRY_S
        while True:
            started = time.monotonic()
            try:
                settled = self._store.settle(gathered.batch, origin=gathered.origin)
                break
            except DatabaseAway as error:
                if not away_since:
                    away_since = started
                    self.metrics.database(up=False)
                    log.warning("%s; readings wait unacknowledged until it is back", error)
            if stop.is_set():
                deadline = deadline or time.monotonic() + self._drain_s
                if time.monotonic() > deadline:
                    log.warning("stopping with %d readings unacknowledged, the broker keeps them", len(gathered))
                    return False
                time.sleep(pause)
            else:
                stop.wait(pause)
            pause = min(2 * pause, LAST_RETRY_S)
        if away_since:
            self.metrics.database(up=True)
            log.info("the database is back after %.1f s", time.monotonic() - away_since)
        reasons = Counter(str(item.reason) for item in settled.rejected)
        for item in {str(item.reason): item for item in settled.rejected}.values():  # the last of each reason
            self._seldom.say(str(item.reason), reasons[str(item.reason)], partial(_refusal, item))
        self.metrics.settle(settled.counts, reasons, seconds=time.monotonic() - started)
        self._source.acknowledge(gathered.messages)
        if self._committed is not None:
            self._committed(settled.batch)
        return True


def _refusal(item: Rejected, n: int) -> str:
    """Return what a person is told about rejected readings, by the last of them."""
    payload = item.payload[:SHOWN_BYTES].decode("utf-8", errors="replace")
    more = "..." if len(item.payload) > SHOWN_BYTES else ""
    readings = "1 reading" if n == 1 else f"{n} readings, the last"
    detail = f" ({item.detail})" if item.detail else ""
    return f"rejected {readings} of topic {item.topic!r}: {item.reason}{detail}: {payload!r}{more}"
