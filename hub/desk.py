"""The alert desk: the alert book with a memory in the database and a voice to operators.

Every transition is a row of ``alert_event`` before it is told to anybody; when the database is away, rows wait here in
order and are written once it is back.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from hub.alerts import AlertBook, AlertEvent
from ingest.database import Database

log = logging.getLogger(__name__)
COLUMNS = (
    "alert_id", "fingerprint", "rule", "event", "time", "recorded_at", "severity", "subject", "author", "comment",
    "payload",
)  # fmt: skip
# Rows of alerts that are older than this and ended are history: they stay in the table and leave the book.
REMEMBER_S = 7 * 86_400.0
_INSERT = (
    "INSERT INTO alert_event (alert_id, fingerprint, rule, event, time, recorded_at, severity, subject, author,"
    " comment, payload) VALUES (%s, %s, %s, %s, to_timestamp(%s), to_timestamp(%s), %s, %s, %s, %s, %s::jsonb)"
)


class Desk:
    """One city's alerts: updated by the twin's loop, read and acknowledged by people.

    Parameters
    ----------
    database
        Holds the table ``alert_event``.
    book
        The alerts that live.
    describe
        Returns an alert as the API shows it.
    tell
        Gets every transition after it is stored, to push it to receivers.
    wall
        Returns wall time, s since 1970 UTC.
    """

    def __init__(
        self,
        database: Database,
        book: AlertBook,
        *,
        describe: Callable[[Alert], dict[str, Any]],
        tell: Callable[[AlertEvent, Mapping[str, Any]], None],
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._book = book
        self._describe = describe
        self._tell = tell
        self._now = now
        self._lock = threading.RLock()
        self._waiting: deque[AlertEvent] = deque()
        self._away = False
        self.fired = 0
