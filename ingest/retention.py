"""Retention: what is older than the city keeps is dropped now and then, and weeks to come are made ahead."""

import logging

from ingest.chore import Chore
from ingest.store import Store
from sensors.clock import CityClock

log = logging.getLogger(__name__)
EVERY_S = 3600.0


class Retention(Chore):
    """Drops what has become too old, and makes the partitions that will be needed next.

    The first drop is after the first pause: whoever starts a hub on the wrong clock has time to stop it.

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
        super().__init__("retention", every_s=every_s, undone="nothing old was dropped, no weeks were made ahead")
        self._store = store
        self._clock = clock
        self._retention_s = retention_s
        self._told = False

    def begin(self) -> None:
        """Make the partitions of this week and the next ones."""
        if self._clock.started:
            self._store.make_weeks_ahead(since=self._clock.now())

    def do(self) -> int:
        """Drop what is too old now and return how many weeks of readings went; 0 before a replay's first reading.

        Raises
        ------
        WorkError
            When the database is away or refuses.
        """
        self.begin()
        since = self._clock.now() - self._retention_s
        if not self._clock.started or since <= 0.0:
            return 0
        if not self._store.may_retain():
            if not self._told:
                log.info("this role may not drop what is old: that is left to a process with the owner's role")
                self._told = True
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
