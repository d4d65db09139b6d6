"""Travel times between origins and destinations by period of departure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from simulation import frames
from simulation.departures import Float, Long

if TYPE_CHECKING:
    from pandas import DataFrame

    from simulation.result import TripTable


@dataclass(frozen=True)
class OdTable:
    """Origin, destination and period of departure, one row for each that has vehicles, in this order.

    Means are over the vehicles that have arrived, NaN where none has: where ``arrived`` is below ``vehicles`` they are
    too low, since the slowest are missing.

    Parameters
    ----------
    origin, destination
        Zones, or nodes where the demand is single trips.
    start : (n,) s
        Of the period.
    vehicles, arrived : (n,)
    travel_time, delay : (n,) s
        Waiting at the origin included.
    distance : (n,) m
    """

    origin: tuple[str, ...]
    destination: tuple[str, ...]
    start: Float
    vehicles: Long
    arrived: Long
    travel_time: Float
    delay: Float
    distance: Float

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def of(cls, trips: "TripTable", period_s: float) -> "OdTable":
        """Return the table of trips; those that were under way at the start have no origin and are left out."""
        rows = np.flatnonzero(trips.origin >= 0)
        period = np.floor_divide(trips.depart[rows], period_s).astype(np.int64)
        n_places, n_periods = len(trips.places), int(period.max(initial=0)) + 1
        keys = (trips.origin[rows] * n_places + trips.destination[rows]) * n_periods + period
        found, group = np.unique(keys, return_inverse=True)
        pair, period = found // n_periods, found % n_periods
        n, done = len(found), ~np.isnan(trips.arrive[rows])
        arrived = np.bincount(group[done], minlength=n)

        def mean_of(values: Float) -> Float:
            total = np.bincount(group[done], values[rows][done], n)
            mean: Float = np.divide(total, arrived, out=np.full(n, np.nan), where=arrived > 0)
            return mean

        names = np.array(trips.places, dtype=object)
        return cls(
            tuple(names[pair // n_places].tolist()),
            tuple(names[pair % n_places].tolist()),
            (period * period_s).astype(np.float64),
            np.bincount(group, minlength=n),
            arrived,
            mean_of(trips.arrive - trips.depart),
            mean_of(trips.delay),
            mean_of(trips.distance),
        )

    def numbers(self) -> npt.NDArray[np.float64]:
        """Return the columns behind origin and destination, (n, 6)."""
        columns = (self.start, self.vehicles, self.arrived, self.travel_time, self.delay, self.distance)
        return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)

    def to_pandas(self) -> "DataFrame":
        """Return one row per origin, destination and period, as in ``od.csv``."""
        return frames.od_frame(self)
