"""Who is due when, and at which place of the vehicle array each is kept."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from simulation.chance import uniform
from simulation.departures import Trips
from simulation.saved import restored
from simulation.street import Records, Traffic, no_vehicles
from twin.compiled import Float, Int

Long = npt.NDArray[np.int64]

INFORMED, ROUTE = 0, 1  # streams of random numbers: who re-routes under way; which of several routes is taken


class Roster:
    """The trips of a run and the places of their vehicles.

    Without a repeating demand the vehicle of trip k has place k. With one, places of arrived vehicles are used again:
    a street may run for days.

    Parameters
    ----------
    trips
        In order of departure.
    repeat_s
        Period after which they are due again, None for never.
    ahead
        How many of the first trips are under way at the start: they are never due.

    Attributes
    ----------
    trip : (n_places,)
        Row of the trip at each place, -1 for a free one.
    informed : (n_places,)
        Whether the driver re-routes under way.
    gone
        Vehicles that have arrived and whose places are free again.
    """

    def __init__(self, trips: Trips, repeat_s: float | None, seed: int, *, ahead: int = 0) -> None:
        self.trips, self.repeat_s = trips, repeat_s
        self._seed, self._ahead = seed, ahead
        n = len(trips) if repeat_s is None else 1024
        self.trip = np.full(n, -1, np.int64)
        self.informed = np.zeros(n, np.bool_)
        self.gone = 0
        self._used = 0
        # Emergency vehicles, and those under way at the start, leave the chances of all others alone.
        self._number = np.cumsum(trips.key[:, 0] >= 0) - 1
        self._number[:ahead] = -2 - trips.key[:ahead, 1]

    def due(self, begin: float, end: float) -> tuple[Long, Float]:
        """Return the trips due in ``[begin, end)`` and their times of departure, in order."""
        depart, ahead = self.trips.depart[self._ahead :], self._ahead
        if self.repeat_s is None:
            low, high = np.searchsorted(depart, [begin, end])
            return np.arange(low, high) + ahead, depart[low:high]
        rows, times = [], []
        for period in range(math.floor(begin / self.repeat_s), math.floor(end / self.repeat_s) + 1):
            shift = period * self.repeat_s
            low, high = np.searchsorted(depart, [begin - shift, end - shift])
            rows.append(np.arange(low, high) + ahead)
            times.append(depart[low:high] + shift)
        return np.concatenate(rows), np.concatenate(times)

    def admit(self, traffic: Traffic, rows: Long, times: Float, share: float) -> tuple[Int, Records]:
        """Give the trips ``rows``, due at ``times``, a place each; return the places and the vehicle array.

        ``share`` of the drivers re-route under way; who they are depends on seed, trip and period alone.
        """
        places, vehicles = self._take(traffic.vehicle, len(rows))
        if self.repeat_s is not None:
            vehicles[places] = no_vehicles(len(rows))
        vehicles["depart"][places] = times
        self.trip[places] = rows
        self.informed[places] = True if share >= 1.0 else self.chance(INFORMED, rows, times) < share
        return places, vehicles

    def chance(self, stream: int, rows: Long, times: Float) -> Float:
        """Return a number in [0, 1) for the vehicle of each trip that leaves at ``times``, the same in every run."""
        period = 0 if self.repeat_s is None or not len(times) else math.floor(times[0] / self.repeat_s)
        return uniform(self._seed, stream, self._number[rows] + len(self.trips) * (period % 2**20))

    def _take(self, vehicles: Records, n: int) -> tuple[Int, Records]:
        """Return ``n`` places for new vehicles and the array that has them."""
        if self.repeat_s is None:
            self._used += n
            return np.arange(self._used - n, self._used, dtype=np.int32), vehicles
        done = np.flatnonzero(np.isfinite(vehicles["arrive"]) & (self.trip >= 0))
        self.gone += len(done)
        self.trip[done] = -1
        free = np.flatnonzero(self.trip < 0)
        if len(free) < n:
            size, more = len(self.trip), max(n, len(self.trip))
            vehicles = np.concatenate([vehicles, no_vehicles(more)])
            self.trip = np.concatenate([self.trip, np.full(more, -1, np.int64)])
            self.informed = np.concatenate([self.informed, np.zeros(more, np.bool_)])
            free = np.concatenate([free, np.arange(size, size + more)])
        return free[:n].astype(np.int32), vehicles

    def state(self) -> dict[str, object]:
        """Return what changes while it runs."""
        made_anew = {"trips", "repeat_s", "_seed", "_ahead", "_number"}
        return {name: value for name, value in vars(self).items() if name not in made_anew}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave; the trips may have become more."""
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                value = restored(getattr(self, name), value, name, longer=self.repeat_s is None)
            setattr(self, name, value)

    def place_of(self, trip: int) -> int:
        """Return the place of the newest vehicle of a trip, -1 when it has none yet."""
        places = np.flatnonzero(self.trip == trip)
        return int(places[-1]) if len(places) else -1
