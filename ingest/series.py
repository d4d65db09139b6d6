"""Stored readings as columns: one series with all that is known of it, or a batch of many series."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.database import Row
from ingest.rows import Integers
from sensors import Batch

EARLIEST_MS, LATEST_MS = 0, 7_258_118_400_000  # 1970 and 2200: beyond, it is no time of a city's reading


@dataclass(frozen=True, slots=True)
class Series:
    """Stored readings of one quantity of one sensor, by time.

    Parameters
    ----------
    time_ms
        (n,) end of the measured interval, ms since 1970 UTC.
    value
        (n,) in the unit of the quantity.
    quality
        (n,) flags of `sensors.reading.Quality`.
    received_at
        (n,) city time of reception, s since 1970 UTC.
    """

    sensor_id: str
    quantity: str
    time_ms: Integers
    value: npt.NDArray[np.float64]
    quality: npt.NDArray[np.uint16]
    received_at: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time_ms)

    @classmethod
    def of(cls, sensor_id: str, quantity: str, rows: Sequence[Row]) -> "Series":
        """Return the series of rows (time in ms, value, quality, received at in s), in their order."""
        time_ms, value, quality, received_at = zip(*rows, strict=True) if rows else ((),) * 4
        return cls(
            sensor_id,
            quantity,
            np.array(time_ms, np.int64),
            np.array(value, np.float64),
            np.array(quality, np.uint16),
            np.array(received_at, np.float64),
        )


def batch_of(rows: Sequence[Row]) -> Batch:
    """Return the batch of rows (sensor id, quantity, time in ms, value, quality), in their order."""
    sensor_ids, quantities, times, values, qualities = zip(*rows, strict=True) if rows else ((),) * 5
    return Batch(
        sensor_id=sensor_ids,
        quantity=quantities,
        time_ms=np.array(times, np.int64),
        value=np.array(values, np.float64),
        quality=np.array(qualities, np.uint16),
    )
