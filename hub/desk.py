"""The alert desk: the alert book with a memory in the database and a voice to operators.

Every transition becomes a row of ``alert_event``. When the database is away, rows wait here in order and are written
once it is back; an acknowledgement by a person is only confirmed when its row is stored.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

from hub.alert import AlertEvent
from hub.alerts import AlertBook
from hub.rules import Findings
from ingest.database import Database, DatabaseAway

log = logging.getLogger(__name__)
# What ended longer ago than this stays in the table and is not taken up again.
REMEMBER_S = 7 * 86_400.0
TOLD = ("firing", "resolved")
_COLUMNS = "alert_id, fingerprint, rule, event, time, recorded_at, author, comment, severity, subject, payload"
_INSERT = f"INSERT INTO alert_event ({_COLUMNS}) VALUES ({', '.join(['%s'] * 10)}, %s::jsonb)"  # noqa: S608 - constants
# The last event of an alert holds all of it, so that one row an alert is enough.
_RESTORE = (
    f"SELECT {_COLUMNS} FROM (SELECT DISTINCT ON (alert_id) * FROM alert_event WHERE event <> 'notified'"  # noqa: S608
    " ORDER BY alert_id, alert_event_id DESC) AS last"
    " WHERE payload ->> 'state' <> 'resolved' OR time > to_timestamp(%s) ORDER BY alert_event_id"
)


class Desk:
    """One city's alerts: moved on by the twin's loop, read and acknowledged by people.

    Parameters
    ----------
    database
        Holds the table ``alert_event``.
    book
        The alerts that live.
    now
        Returns city time, s since 1970 UTC.
    wall
        Returns wall time, s since 1970 UTC: when a row is written down.
    """

    def __init__(
        self, database: Database, book: AlertBook, *, now: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._database = database
        self._book = book
        self._now = now
        self._wall = wall
        self._lock = threading.RLock()
        self._waiting: deque[AlertEvent] = deque()
        self._away = False
        self.fired = 0
        self.on_event: Callable[[AlertEvent], None] = lambda event: None

    @property
    def unsaved(self) -> int:
        """Transitions that wait for the database."""
        return len(self._waiting)

    @property
    def away(self) -> bool:
        """Whether the database could not be written the last time."""
        return self._away

    def restore(self) -> None:
        """Take up the alerts of earlier runs, but those of another network; nobody is told again.

        Raises
        ------
        WorkError
            When the database cannot be read.
        """
        rows = self._database.fetch(_RESTORE, (self._now() - REMEMBER_S,))
        names = _COLUMNS.split(", ")
        with self._lock:
            self._book.restore(dict(zip(names, row, strict=True)) for row in rows)
            self._waiting.extend(self._book.reconcile(now=self._now(), recorded_at=self._wall()))
        self.save()

    def recorded(self, *, since: float) -> list[AlertEvent]:
        """Return the events, receipts included, that were written down since a wall time, in their order."""
        rows = self._database.fetch(
            f"SELECT {_COLUMNS} FROM alert_event WHERE recorded_at >= to_timestamp(%s) ORDER BY alert_event_id",  # noqa: S608
            (since,),
        )
        names = _COLUMNS.split(", ")
        return [AlertEvent.from_row(dict(zip(names, row, strict=True))) for row in rows]

    def update(self, findings: Findings, *, now: float) -> list[AlertEvent]:
        """Move alerts on by the findings of one snapshot; return the transitions that people are told."""
        with self._lock:
            events = self._book.update(findings, now=now, recorded_at=self._wall())
            self._waiting.extend(events)
        self.save()
        told = [event for event in events if event.event in TOLD]
        self.fired += sum(event.event == "firing" for event in told)
        for event in told:
            self.on_event(event)
        return told

    def alerts(self, state: Literal["firing", "resolved", "all"]) -> list[dict[str, Any]]:
        """Return alerts as the API shows them, the most severe first, then the newest."""
        with self._lock:
            return [alert.to_json() for alert in self._book.alerts(state)]

    def alert(self, alert_id: str) -> dict[str, Any] | None:
        """Return one alert, None when the book does not hold it."""
        with self._lock:
            try:
                return self._book.get(alert_id).to_json()
            except KeyError:
                return None

    def acknowledge(self, alert_id: str, *, author: str, comment: str) -> dict[str, Any] | None:
        """Note that somebody has seen an alert, and return it once that is stored; None when it is not known.

        Raises
        ------
        WorkError
            When the database is away or refuses: the person is told, and nothing is half noted.
        """
        with self._lock:
            known = self.alert(alert_id)
            if known is None or known["acknowledged"] is not None:
                return known
            self._flush()
            event = self._book.acknowledge(
                alert_id, author=author, comment=comment, at=self._now(), recorded_at=self._wall()
            )
            stored = False
            try:
                self._write([event])
                stored = True
            finally:
                if not stored:
                    self._book.restore([_without_acknowledgement(event)])
            self.on_event(event)
            return self._book.get(alert_id).to_json()

    def note(self, event: AlertEvent) -> None:
        """Write a receipt down: somebody was told."""
        with self._lock:
            self._waiting.append(event)

    def save(self) -> None:
        """Write what waits, if the database is there."""
        with self._lock:
            try:
                self._flush()
            except DatabaseAway as error:
                if not self._away:
                    log.warning("%s; alerts go on and are written when it is back", error)
                self._away = True
            else:
                self._away = False

    def as_prometheus(self) -> str:
        """Return the counters of the desk in Prometheus text format."""
        with self._lock:
            firing = self._book.alerts("firing")
        lines = ["# TYPE citytwin_alerts_total counter", f'citytwin_alerts_total{{state="fired"}} {self.fired}']
        lines.append("# TYPE citytwin_alerts_firing gauge")
        for severity in (1, 2, 3, 4):
            count = sum(alert.severity == severity for alert in firing)
            lines.append(f'citytwin_alerts_firing{{severity="{severity}"}} {count}')
        lines += ["# TYPE citytwin_alerts_unsaved gauge", f"citytwin_alerts_unsaved {self.unsaved}"]
        return "\n".join(lines)

    def _flush(self) -> None:
        if self._waiting:
            self._write(list(self._waiting))
            self._waiting.clear()

    def _write(self, events: Sequence[AlertEvent]) -> None:
        names = _COLUMNS.split(", ")
        rows = []
        for event in events:
            row = event.to_row()
            row["payload"] = json.dumps(row["payload"])
            rows.append([row[name] for name in names])
        with self._database.connection() as connection, connection.cursor() as cursor:
            cursor.executemany(_INSERT, rows)


def _without_acknowledgement(event: AlertEvent) -> AlertEvent:
    """Return the event with its alert as it was before somebody acknowledged it."""
    row = event.to_row()
    row["payload"] = {**row["payload"], "acknowledged": None}
    return AlertEvent.from_row(row)
