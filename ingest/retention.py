"""Retention: what is older than the city keeps is dropped now and then, so that a database does not grow for ever."""

import logging
import threading
from types import TracebackType

from ingest.store import Store
from sensors import WorkError
from sensors.clock import CityClock

log = logging.getLogger(__name__)
EVERY_S = 3600.0


class Retention:
    """Drops what has become too old, every so many wall seconds, on a thread of its own.

    The first time is after the first pause: whoever starts a hub on the wrong clock has time to stop it.

    Parameters
    ----------
    store
        What is kept there.
    clock
        The city's: a replay of last year keeps last year. Should it stand ahead of the newest reading, that one counts:
        a machine whose clock jumps years ahead must not delete what it has.
    retention_s
        How long things are kept, s of city time; infinite: for ever.
    every_s
        Wall seconds between two looks.
    """

    def __init__(self, store: Store, *, clock: CityClock, retention_s: float, every_s: float = EVERY_S) -> None:
        self._store = store
        self._clock = clock
        self._retention_s = retention_s
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; returns when no look is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> "Retention":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def look(self) -> int:
        """Drop what is too old now and return how many weeks of readings went; 0 before a replay's first reading.

        Raises
        ------
        WorkError
            When the database is away or refuses.
        """
        since = self._clock.now() - self._retention_s
        if not self._clock.started or since <= 0.0:
            return 0
        newest = self._store.database.fetch("SELECT extract(epoch FROM max(time))::float8 FROM latest")[0][0]
        if newest is not None:
            since = min(since, newest - self._retention_s)
        weeks = self._store.retain(since=since)
        if weeks:
            log.info(
                "%d weeks of readings were older than %.0f days and are dropped", weeks, self._retention_s / 86_400
            )
        return weeks

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.look()
            except WorkError as error:  # the next look finds what this one left
                log.warning("nothing old was dropped: %s", error)
