"""Telling people and programs of alerts: at least once, with a receipt for each receiver, never in the twin's way.

Each receiver has a queue and a thread of its own, so that a slow one delays nobody. What is taken in is delivered, dead
(too old, or refused), suppressed with a reason, or still waiting; the four always add up.
"""

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.alert import AlertEvent
from hub.receivers import Receiver, RefusedError
from sensors import InputError, WorkError

log = logging.getLogger(__name__)
TOLD = ("firing", "resolved")
QUEUE_FULL = "queue_full"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often a receiver is tried.

    Parameters
    ----------
    first_retry_s, longest_retry_s
        The wait after the first failure, which doubles up to the longest; each is shortened by up to a fifth at random,
        so that not all come back at once.
    maximum_age_s
        An alert that could not be told for so long (wall time) is a dead letter.
    capacity
        Most alerts that wait for one receiver; beyond it the oldest is suppressed.
    """

    first_retry_s: float = 1.0
    longest_retry_s: float = 60.0
    maximum_age_s: float = 3600.0
    capacity: int = 10_000


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the alerts for one receiver; ``taken = delivered + dead + sum(suppressed) + waiting``."""

    taken: int = 0
    delivered: int = 0
    dead: int = 0
    waiting: int = 0
    retries: int = 0
    suppressed: Mapping[str, int] = field(default_factory=dict)


def receipt(
    event: AlertEvent, *, receiver: str, delivered: bool, attempts: int, at: float, reason: str = ""
) -> AlertEvent:
    """Return the row that says that a receiver was told, or never will be."""
    return AlertEvent(
        alert_id=event.alert_id,
        fingerprint=event.fingerprint,
        rule=event.rule,
        event="notified",
        time=event.time,
        recorded_at=at,
        author=receiver,
        comment=reason,
        severity=event.severity,
        subject=event.subject,
        payload={"of": event.event, "receiver": receiver, "delivered": delivered, "attempts": attempts},
    )


def untold(rows: Iterable[Mapping[str, Any] | AlertEvent], receiver: str) -> list[AlertEvent]:
    """Return the firing and resolved events, in their order, for which a receiver has no receipt.

    Parameters
    ----------
    rows
        Rows of ``alert_event``, receipts included, in the order in which they were recorded.
    """
    events: dict[tuple[str, str], AlertEvent] = {}
    for row in rows:
        event = row if isinstance(row, AlertEvent) else AlertEvent.from_row(row)
        if event.event in TOLD:
            events.setdefault((event.alert_id, event.event), event)
        elif event.event == "notified" and event.payload.get("receiver") == receiver:
            events.pop((event.alert_id, event.payload["of"]), None)
    return list(events.values())


class _Courier(threading.Thread):
    """Delivers to one receiver, in order, one at a time."""

    def __init__(
        self,
        receiver: Receiver,
        patience: Patience,
        on_receipt: Callable[[AlertEvent], None],
        wall: Callable[[], float],
    ) -> None:
        super().__init__(name=f"notify-{receiver.name}", daemon=True)
        self.receiver = receiver
        self._patience, self._on_receipt, self._wall = patience, on_receipt, wall
        self._queue: deque[tuple[AlertEvent, float]] = deque()  # the head stays until it is settled
        self._changed = threading.Condition()
        self._count: Counter[str] = Counter()
        self._suppressed: Counter[str] = Counter()
        self._stopping = False
        self._jitter = random.Random(receiver.name)  # noqa: S311 - no secret

    def take(self, event: AlertEvent) -> None:
        with self._changed:
            self._count["taken"] += 1
            self._queue.append((event, time.monotonic()))
            if len(self._queue) > self._patience.capacity:
                # Not the head, which may be on its way just now.
                del self._queue[1 if self._patience.capacity > 0 and len(self._queue) > 1 else 0]
                self._suppressed[QUEUE_FULL] += 1
            self._changed.notify_all()

    def counts(self) -> Counts:
        with self._changed:
            return Counts(
                taken=self._count["taken"],
                delivered=self._count["delivered"],
                dead=self._count["dead"],
                waiting=len(self._queue),
                retries=self._count["retries"],
                suppressed=dict(self._suppressed),
            )

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def run(self) -> None:
        while (head := self._next()) is not None:
            self._deliver(*head)

    def _next(self) -> tuple[AlertEvent, float] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping)
            return None if self._stopping else self._queue[0]

    def _deliver(self, event: AlertEvent, since: float) -> None:
        wait, attempts, reason = self._patience.first_retry_s, 0, ""
        while True:
            left = self._patience.maximum_age_s - (time.monotonic() - since)
            if attempts and left <= 0:
                return self._settle(event, "dead", attempts, reason)
            attempts += 1
            try:
                self.receiver.send(event)
            except (RefusedError, InputError) as error:
                return self._settle(event, "dead", attempts, str(error))
            except WorkError as error:
                reason = str(error)
            else:
                return self._settle(event, "delivered", attempts, "")
            if attempts == 1:
                log.warning("alert %s not told to %s yet: %s", event.alert_id, self.receiver.name, reason)
            with self._changed:
                self._count["retries"] += 1
                pause = min(wait * self._jitter.uniform(0.8, 1.0), max(left, 0.0))
                if self._changed.wait_for(lambda: self._stopping, timeout=pause):
                    return None  # no receipt: the next start tries again
            wait = min(2 * wait, self._patience.longest_retry_s)

    def _settle(self, event: AlertEvent, result: str, attempts: int, reason: str) -> None:
        if result == "dead":
            log.error("alert %s was not told to %s: %s", event.alert_id, self.receiver.name, reason)
        # The receipt first: a crash in between tells twice, never not at all.
        self._on_receipt(
            receipt(
                event,
                receiver=self.receiver.name,
                delivered=result == "delivered",
                attempts=attempts,
                at=self._wall(),
                reason=reason,
            )
        )
        with self._changed:
            self._queue.popleft()
            self._count[result] += 1
            self._changed.notify_all()

    def settled(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, timeout=timeout_s)


class Notifier:
    """Tells every receiver of every alert that fires or is resolved.

    Parameters
    ----------
    receivers
        Names must differ.
    on_receipt
        Called from the receivers' threads with a "notified" event, to be stored like any other.
    wall
        Returns wall time, s since 1970 UTC; stamped on receipts.
    patience
        How often and how long each is tried.
    on_stop
        Lets go of what the receivers use.
    """

    def __init__(
        self,
        receivers: Iterable[Receiver],
        *,
        on_receipt: Callable[[AlertEvent], None],
        wall: Callable[[], float] = time.time,
        patience: Patience | None = None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        patience = patience or Patience()
        self._on_stop = on_stop
        self._wall, self._patience = wall, patience
        self._couriers = [_Courier(receiver, patience, on_receipt, wall) for receiver in receivers]
        names = [courier.receiver.name for courier in self._couriers]
        if len(set(names)) < len(names):
            raise ValueError(f"receivers must have different names, not {names}")

    def start(self, rows: Iterable[Mapping[str, Any] | AlertEvent] = ()) -> None:
        """Start telling, first what earlier runs could not tell.

        Parameters
        ----------
        rows
            Rows of ``alert_event`` of the last ``maximum_age_s``, receipts included, in the order in which they were
            recorded; older ones are left alone.
        """
        events = [row if isinstance(row, AlertEvent) else AlertEvent.from_row(row) for row in rows]
        oldest = self._wall() - self._patience.maximum_age_s
        for courier in self._couriers:
            for event in untold(events, courier.receiver.name):
                if event.recorded_at >= oldest:
                    courier.take(event)
            courier.start()

    def push(self, event: AlertEvent) -> None:
        """Take a transition; returns at once. Only firing and resolved are told, anything else is left alone."""
        if event.event in TOLD:
            for courier in self._couriers:
                courier.take(event)

    def settled(self, *, timeout_s: float) -> bool:
        """Wait until nothing waits any more; whether that came true in time."""
        until = time.monotonic() + timeout_s
        return all(courier.settled(max(until - time.monotonic(), 0.0)) for courier in self._couriers)

    def stop(self, *, timeout_s: float = 15.0) -> None:
        """Stop after the attempts under way; what still waits has no receipt and is told after the next start."""
        for courier in self._couriers:
            courier.stop()
        until = time.monotonic() + timeout_s
        for courier in self._couriers:
            if courier.is_alive():
                courier.join(max(until - time.monotonic(), 0.0))
        self._on_stop()

    def counts(self) -> dict[str, Counts]:
        """Return what became of the alerts, by receiver."""
        return {courier.receiver.name: courier.counts() for courier in self._couriers}

    def as_prometheus(self) -> str:
        """Return the counts in Prometheus text format."""
        name = "citytwin_notifications_total"
        lines = [f"# TYPE {name} counter"]
        for receiver, counts in self.counts().items():
            results = {"delivered": counts.delivered, "dead": counts.dead}
            results.update({f"suppressed_{reason}": n for reason, n in counts.suppressed.items()})
            label = _label_value(receiver)
            lines += [f'{name}{{receiver="{label}",result="{result}"}} {n}' for result, n in results.items()]
        lines.append("# TYPE citytwin_notifications_waiting gauge")
        for receiver, counts in self.counts().items():
            lines.append(f'citytwin_notifications_waiting{{receiver="{_label_value(receiver)}"}} {counts.waiting}')
        return "\n".join(lines)


def _label_value(text: str) -> str:
    """Return a text as Prometheus' format 0.0.4 wants it between quotes; people choose the names of receivers."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
