"""Readings as rows of ``reading_raw``: integers in fixed point, sorted, each key once, packed for COPY by numpy."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# PostgreSQL counts microseconds from 2000-01-01; see "Binary Format" of COPY in its manual (version 18, SQL commands).
EPOCH_2000_US = 946_684_800_000_000
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
RECORD = np.dtype(
    [
        ("columns", ">i2"),
        ("series_size", ">i4"), ("series", ">i4"),
        ("time_size", ">i4"), ("time", ">i8"),
        ("raw_size", ">i4"), ("raw", ">i8"),
        ("quality_size", ">i4"), ("quality", ">i2"),
        ("received_size", ">i4"), ("received", ">i8"),
    ]
)  # fmt: skip
SIZES = {"columns": 5, "series_size": 4, "time_size": 8, "raw_size": 8, "quality_size": 2, "received_size": 8}

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Readings ready for the table, sorted by series and time.

    Parameters
    ----------
    position
        (n,) place of each row in its batch.
    series, time_ms, raw, quality
        (n,) columns of the table; ``time_ms`` in ms since 1970 UTC.
    scale
        (n,) integers per unit of each row's series.
    """

    position: Integers
    series: Integers
    time_ms: Integers
    raw: Integers
    quality: Integers
    scale: Integers

    def __len__(self) -> int:
        return len(self.position)

    @property
    def value(self) -> npt.NDArray[np.float64]:
        """(n,) values in the unit of each row's quantity, as the view ``reading`` shows them."""
        return self.raw / self.scale

    def take(self, chosen: npt.NDArray[np.generic]) -> "Rows":
        """Return the rows of a mask or of indices."""
        return Rows(
            self.position[chosen], self.series[chosen], self.time_ms[chosen],
            self.raw[chosen], self.quality[chosen], self.scale[chosen],
        )  # fmt: skip

    def sorted(self) -> "Rows":
        """Return the rows by series, time and place in the batch; writers that keep one order cannot deadlock."""
        return self.take(np.lexsort((self.position, self.time_ms, self.series)))

    def groups(self) -> Integers:
        """Return (n,) the number of the key of each sorted row, counted from 0.

        Examples
        --------
        >>> ones = np.ones(4, np.int64)
        >>> rows = Rows(np.arange(4), np.array([1, 1, 1, 2]), np.array([5, 5, 6, 6]), ones, ones, ones)
        >>> rows.groups().tolist()
        [0, 0, 1, 2]
        """
        return np.cumsum(self.first()) - 1

    def firsts(self) -> "Rows":
        """Return the first row of each key; the rows must be sorted."""
        return self.take(self.first())

    def first(self) -> npt.NDArray[np.bool_]:
        """Return (n,) whether a row is the first of its key; the rows must be sorted."""
        first = np.ones(len(self), bool)
        first[1:] = (self.series[1:] != self.series[:-1]) | (self.time_ms[1:] != self.time_ms[:-1])
        return first

    def newest(self) -> "Rows":
        """Return the last row of each series; the rows must be sorted."""
        last = np.ones(len(self), bool)
        last[:-1] = self.series[1:] != self.series[:-1]
        return self.take(last)

    def packed(self, received_us: int | Integers) -> bytes:
        """Return the rows in the binary format of COPY, received at one time or (n,) times in µs since 1970 UTC."""
        records = np.empty(len(self), RECORD)
        for name, size in SIZES.items():
            records[name] = size
        records["series"], records["raw"], records["quality"] = self.series, self.raw, self.quality
        records["time"] = self.time_ms * 1000 - EPOCH_2000_US
        records["received"] = received_us - EPOCH_2000_US
        return HEADER + records.tobytes() + TRAILER
