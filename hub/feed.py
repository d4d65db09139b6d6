"""What was committed, on its way from the writer to the twin: coalesced, and cut so that rules see every instant."""

import threading
from collections.abc import Iterator

import numpy as np

from ingest.store import Store
from sensors import Batch
from sensors.clock import CityClock, ticks

# Rules see at least one snapshot in this much city time, whatever the clock's factor; ``for_s`` of the shipped rules
# is a multiple of it.
RULE_INTERVAL_S = 60.0
# A replay at full speed may not run away from the twin by more than this; its writer waits then.
MOST_WAITING = 50_000
# Commits come out of order: what other processes committed is asked for again a little into the past.
OVERLAP_S = 10.0


def merge(batches: list[Batch]) -> Batch:
    """Return one batch of all readings, in the order of the batches; what was rejected is left behind.

    Examples
    --------
    >>> len(merge([]))
    0
    """
    if len(batches) == 1:
        return batches[0]
    return Batch(
        sensor_id=tuple(sensor for batch in batches for sensor in batch.sensor_id),
        quantity=tuple(quantity for batch in batches for quantity in batch.quantity),
        time_ms=np.concatenate([batch.time_ms for batch in batches] or [np.zeros(0, np.int64)]),
        value=np.concatenate([batch.value for batch in batches] or [np.zeros(0)]),
        quality=np.concatenate([batch.quality for batch in batches] or [np.zeros(0, np.uint16)]),
        received_at=max((batch.received_at for batch in batches), default=0.0),
    )


class CommittedFeed:
    """Batches that the writer of this process committed.

    Parameters
    ----------
    clock
        A replay's clock makes the writer wait when the twin falls behind; a live one never delays it.
    """

    def __init__(self, clock: CityClock) -> None:
        self._waits = clock.event_time is not None
        self._batches: list[Batch] = []
        self._readings = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, batch: Batch) -> None:
        """Hand a committed batch over; called by the writer."""
        with self._changed:
            if self._waits:
                self._changed.wait_for(lambda: self._closed or self._readings < MOST_WAITING)
            self._batches.append(batch)
            self._readings += len(batch)

    def take(self) -> Batch:
        """Return everything that was committed since the last call."""
        with self._changed:
            batches, self._batches, self._readings = self._batches, [], 0
            self._changed.notify_all()
        return merge(batches)

    def close(self) -> None:
        """Make nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class PolledFeed:
    """The newest readings that any process committed, asked from the database.

    Parameters
    ----------
    store
        Where they are.
    clock
        Says when they were received.
    """

    def __init__(self, store: Store, clock: CityClock) -> None:
        self._store = store
        self._clock = clock
        self._since = float("-inf")

    def take(self) -> Batch:
        """Return the newest reading of every series that got one since the last call."""
        now = self._clock.now()
        batch = self._store.latest(received_after=self._since)
        if self._clock.event_time is not None:
            self._clock.observe(batch)  # nothing else in this process does
            now = self._clock.now()
        self._since = now - OVERLAP_S
        return batch

    def close(self) -> None:
        """Nobody waits."""


def instants(batch: Batch, clock: CityClock, *, since: float) -> Iterator[tuple[float, Batch]]:
    """Yield (city time, readings) of every instant at which rules are to be evaluated.

    A clock at the pace of the wall has one instant a call. A faster one, or one that readings drive, is cut at every
    `RULE_INTERVAL_S` of event time.

    Parameters
    ----------
    since : s since 1970 UTC
        The last instant.
    """
    replayed = clock.event_time is not None
    if len(batch) and (replayed or clock.factor > RULE_INTERVAL_S):
        since = max(since, float(batch.time_ms.min()) / 1000 - RULE_INTERVAL_S)  # the first instant of all
        for now, part in ticks(batch, interval_s=RULE_INTERVAL_S, since=since):
            since = now
            yield now, part
        batch = Batch()
    if replayed:
        return  # the clock is where the writer is; the twin must not expect what it has not been given yet
    now = clock.now()
    if now > since or len(batch):
        yield max(now, since), batch
