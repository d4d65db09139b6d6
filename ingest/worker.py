"""The writer: takes messages, commits them in batches, and acknowledges them only then.

With a spool it acknowledges them as well while the database is away, once they are on the disk.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from ingest.batcher import Batcher, Gathered, M
from ingest.database import DatabaseAway
from ingest.linger import Linger
from ingest.metrics import IngestMetrics
from ingest.segment import Record
from ingest.seldom import Seldom
from ingest.settled import Settled
from ingest.spool import SpoolFull
from ingest.spools import Spools
from ingest.store import Store
from sensors import Batch, Rejected

log = logging.getLogger(__name__)
FIRST_RETRY_S, LAST_RETRY_S = 0.05, 1.0
SHOWN_BYTES = 60  # of a rejected payload, in the log
IDLE_S = 0.2  # how soon a stop is noticed while nothing comes in
SPOOL_AFTER_S = 1.0  # a restart of the database is shorter
DRAINED_AT_ONCE = 10_000  # records between two looks at what has come in

T = TypeVar("T")


class Source(Protocol[M]):
    """Where messages come from: `ingest.subscriber.Subscriber`."""

    def payloads(self, timeout_s: float) -> list[M]:
        """Return what has come in, waiting so long for a first message; empty when none came."""

    def acknowledge(self, messages: Sequence[M]) -> object:
        """Tell the broker that these messages are safe."""


class Worker(Generic[M]):
    """The loop between broker and database.

    While the database is away, messages go to the spool. Without one, or once it is full, the worker keeps its batch,
    acknowledges nothing and takes no further messages, so that they pile up at the subscriber's bounded queue, then at
    the broker, then at the publishers.

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
    spools
        Where messages go while the database is away; it is emptied when the database is back.
    linger
        How long a message waits for others to share its transaction.
    prepare
        Called before the first write, until it does not raise `DatabaseAway`: it makes the tables.
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
        spools: Spools | None = None,
        prepare: Callable[[], None] | None = None,
        linger: Linger | None = None,
        drain_s: float = 5.0,
    ) -> None:
        self.metrics = metrics or IngestMetrics()
        self._source = source
        self._store = store
        self._batcher = batcher
        self._spooled: Batcher[Record] = batcher.another()
        self._committed = committed
        self._linger = linger or Linger()
        self._drain_s = drain_s
        self._spools = spools
        self._prepare = prepare
        self._away_since: float | None = None
        self._told: list[str] = []  # reasons, of this absence
        self._look_at = 0.0  # when to ask a database that is away again
        self._pause = FIRST_RETRY_S
        self._seldom = Seldom(log)

    def run(self, stop: threading.Event) -> None:
        """Work until the event is set, then finish what has arrived.

        Raises
        ------
        WorkError
            When the database refuses for a reason that does not pass by itself.
        """
        while not stop.is_set():
            if self._prepare is not None:
                self._reach(lambda: True)
            busy = self._empty_spool()
            self._round(0.0 if busy else IDLE_S, stop)
        deadline = time.monotonic() + self._drain_s
        while time.monotonic() < deadline and (
            self._round(0.0, stop, deadline=deadline) or (len(self._batcher) == 0 and self._empty_spool())
        ):
            pass
        self._seldom.flush()

    def _round(self, timeout_s: float, stop: threading.Event, *, deadline: float | None = None) -> bool:
        """Commit what came in and what follows closely; return whether anything came and was committed."""
        messages = self._source.payloads(timeout_s)
        if not messages:
            return False
        started = time.monotonic()
        wait_s = self._linger.wait_s(now=started)
        self._linger.took(len(messages), now=started)
        if self._linger.is_long(wait_s):
            stop.wait(wait_s)  # nobody is in a hurry: not to be woken by each message saves more than half of the work
            followed = self._source.payloads(0.0)
            self._linger.took(len(followed), now=time.monotonic())
            self._linger.waited(wait_s, came=len(followed), now=time.monotonic())
            messages = [*messages, *followed]
            wait_s = 0.0
        while messages:
            for gathered in self._batcher.add(messages):
                if not self._commit(gathered, stop, deadline=deadline):
                    return False
            left = started + wait_s - time.monotonic()
            messages = self._source.payloads(left) if left > 0 and len(self._batcher) else []
            self._linger.took(len(messages), now=time.monotonic())
        return len(self._batcher) == 0 or self._commit(self._batcher.flush(), stop, deadline=deadline)

    def _commit(self, gathered: Gathered[M], stop: threading.Event, *, deadline: float | None) -> bool:
        """Write a batch, however long it takes, and acknowledge it; False when a stop came first."""
        self.metrics.take(len(gathered))
        while (settled := self._settle(gathered)) is None:
            if self._put_aside(gathered, stop):
                return True
            if stop.is_set():
                deadline = deadline or time.monotonic() + self._drain_s
                if time.monotonic() > deadline:
                    log.warning("stopping with %d readings unacknowledged, the broker keeps them", len(gathered))
                    return False
                time.sleep(FIRST_RETRY_S)
            else:
                stop.wait(FIRST_RETRY_S)
        self._source.acknowledge(gathered.messages)
        if self._committed is not None:
            self._committed(settled.batch)
        return True

    def _settle(self, gathered: Gathered[Any]) -> Settled | None:
        """Write a batch; None when the database is away, or was a moment ago."""
        started = time.monotonic()
        settled = self._reach(lambda: self._store.settle(gathered.batch, origin=gathered.origin))
        if settled is None:
            return None
        reasons = Counter(str(item.reason) for item in settled.rejected)
        for item in {str(item.reason): item for item in settled.rejected}.values():  # the last of each reason
            self._seldom.say(str(item.reason), reasons[str(item.reason)], partial(_refusal, item))
        self.metrics.settle(settled.counts, reasons, seconds=time.monotonic() - started)
        return settled

    def _reach(self, call: Callable[[], T]) -> T | None:
        """Return what a call to the database gives; None when it is away, or was a moment ago."""
        started = time.monotonic()
        if self._away_since is not None and started < self._look_at:
            return None
        try:
            if self._prepare is not None:
                self._prepare()
                self._prepare = None
                self.metrics.database(up=True)
            answer = call()
        except DatabaseAway as error:
            said = str(error)
            if self._away_since is None:
                self._away_since, self._pause, self._told = started, FIRST_RETRY_S, [said]
                kept = "are kept in the spool" if self._spools is not None else "wait unacknowledged"
                log.warning("%s; readings %s until it is back", error, kept)
            elif started - self._away_since > SPOOL_AFTER_S and len(self._told) == 1 and said not in self._told:
                self._told.append(said)  # the first reason tells how it went away, this one why it does not come back
                log.warning("still away: %s", error)
            self.metrics.database(up=False, error=said)
            self._look_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LAST_RETRY_S)
            return None
        if self._away_since is not None:
            self.metrics.database(up=True)
            log.info("the database is back after %.1f s", time.monotonic() - self._away_since)
            self._away_since = None
        return answer

    def _put_aside(self, gathered: Gathered[M], stop: threading.Event) -> bool:
        """Put the messages of a batch into the spool, and acknowledge them; whether that was done."""
        if self._spools is None or self._away_since is None:
            return False
        if time.monotonic() - self._away_since < SPOOL_AFTER_S and not stop.is_set():
            return False
        try:
            self._spools.append(gathered.messages)
        except SpoolFull as error:
            text = f"{error}; readings wait unacknowledged"
            self._seldom.say("full", 1, lambda _: text)
            return False
        self.metrics.spool(len(gathered))
        self._source.acknowledge(gathered.messages)
        return True

    def _empty_spool(self) -> bool:
        """Commit some of what is in a spool; whether there may be more to commit now."""
        if self._spools is None or (self._away_since is not None and time.monotonic() < self._look_at):
            return False
        spool = self._spools.waiting()
        if spool is None:
            return False
        records = spool.take(DRAINED_AT_ONCE)
        for gathered in [*self._spooled.add(records), self._spooled.flush()]:
            if not gathered.messages:
                continue
            count = self.metrics.unspool if gathered.messages[0].own else self.metrics.take
            count(len(gathered))
            settled = self._settle(gathered)
            if settled is None:
                count(-len(gathered))
                spool.again()
                return False
            spool.done(len(gathered.messages))
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
