"""What the city usually does: the rollups' medians by time of the week become the twin's prior."""

import logging
from datetime import date

import numpy as np

from ingest.chore import Chore
from ingest.database import Database
from ingest.rollup import week_quantiles
from sensors.clock import CityClock
from twin import Network
from twin.prior import Prior, free_flow_prior
from twin.profile import QUANTITIES, Profiles, slot_of

log = logging.getLogger(__name__)
# Eight weeks: enough for a median that one accident does not move, short enough to follow the seasons.
PAST_S, EVERY_S = 56 * 86_400.0, 6 * 3600.0
AT_ONCE = 100  # sensors of one question: some seconds of the database, which others ask too


class Habit(Chore):
    """Learns the profiles from the store now and then, and gives the prior of a time.

    Parameters
    ----------
    time_zone, holidays
        Of the city: a week is one of its local time.
    """

    def __init__(
        self, database: Database, network: Network, *, clock: CityClock, time_zone: str, holidays: frozenset[date]
    ) -> None:
        super().__init__("habit", every_s=EVERY_S, undone="profiles by time of the week stay as they were")
        self._database, self._network, self._clock = database, network, clock
        self._time_zone, self._holidays = time_zone, holidays
        self._base = free_flow_prior(network.compile(), network.signals)
        self._profiles: Profiles | None = None
        self._kept: tuple[Profiles, int, Prior] | None = None

    def begin(self) -> object:
        """Learn at once: a hub that starts again has a past."""
        return self.do()

    def do(self) -> int:
        """Learn the profiles, and return how many links have one."""
        now = self._clock.now()
        names = [sensor.sensor_id for sensor in self._network.sensors if sensor.link_id]
        parts = []
        for first in range(0, len(names), AT_ONCE):
            if self.stopping:
                return 0
            parts.append(
                week_quantiles(
                    self._database,
                    names[first : first + AT_ONCE],
                    QUANTITIES,
                    since=now - PAST_S,
                    until=now,
                    time_zone=self._time_zone,
                    holidays=sorted(self._holidays),
                )
            )
        if not parts:
            return 0
        profiles = Profiles(
            self._network.compile(),
            self._network.sensors,
            sensor_id=[name for part in parts for name in part.sensor_id],
            quantity=[key for part in parts for key in part.quantity],
            slot=np.concatenate([part.slot for part in parts]),
            n_days=np.concatenate([part.n_days for part in parts]),
            quantile=np.concatenate([part.quantile for part in parts]),
        )
        self._profiles = profiles
        log.info("%d of %d links have a profile by time of the week", len(profiles.links), len(self._network.links))
        return len(profiles.links)

    def prior(self, time_s: float) -> Prior | None:
        """Return what to expect at a city time, None while nothing has been learned."""
        profiles = self._profiles
        if profiles is None or not len(profiles.links):
            return None
        slot = slot_of(time_s, time_zone=self._time_zone, holidays=self._holidays)
        kept = self._kept
        if kept is None or kept[0] is not profiles or kept[1] != slot:
            kept = self._kept = profiles, slot, profiles.prior(slot, self._base)
        return kept[2]
