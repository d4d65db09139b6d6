"""Cumulative curves of the street's links over the last minutes, and how long vehicles took between them.

A link's vehicles leave in the order in which they entered (FIFO), so that the n-th entry and the n-th exit are one
vehicle's. That is exact where Edie's half-sum of entries and exits is not: of a single vehicle that is under way when a
short interval ends, nobody knows how much of the link it has driven.

Notes
-----
Source: Daganzo (1997), Fundamentals of transportation and traffic operations, chapter 2 (N-curves), ISBN 0-08-042785-5.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulation.measure import Cumulative
from twin.compiled import Float

Counts = npt.NDArray[np.int64]
Links = npt.NDArray[np.intp] | slice
EVERY = slice(None)
# A vehicle that is still on the link counts as slow once it took this much longer than at free speed.
SURELY_SLOW = 1.5
ROWS = 256  # instants for which there is room at first


@dataclass(frozen=True, slots=True)
class Passage:
    """What happened on some links between two instants.

    Parameters
    ----------
    duration_s
        Between the instants.
    entered, left : (n,)
        Vehicles.
    spent : (n,) veh s
        Time spent on the link by all vehicles.
    speed : (n,) m/s
        Mean over the whole link of the vehicles that left. When none left, but one has been there for too long, the
        most that this one can have. At most the free speed; NaN where nothing can be said.
    """

    duration_s: float
    entered: Counts
    left: Counts
    spent: Float
    speed: Float


class Curves:
    """Counts at the instants of the last minutes; between two instants events lie in their middle.

    Parameters
    ----------
    time, first
        City time of the first counts, s since 1970 UTC, and the counts.
    keep_s
        How long counts are kept.
    length, free_speed : (n_links,) m, m/s
    """

    def __init__(self, time: float, first: Cumulative, *, keep_s: float, length: Float, free_speed: Float) -> None:
        self._keep_s = keep_s
        self._length, self._free_speed = length, free_speed
        # Columns lie together, because most questions are about one link over time.
        n = len(length)
        self._time = np.zeros(ROWS)
        self._entered, self._left = (np.zeros((ROWS, n), np.int64, order="F") for _ in range(2))
        self._spent = np.zeros((ROWS, n), order="F")
        self._rows = 0
        self._from_the_start = True
        self._append(time, first)

    def note(self, time: float, counts: Cumulative) -> None:
        """Take the counts of an instant; one that is not later than the last changes nothing."""
        if time > self._time[self._rows - 1]:
            if self._rows == len(self._time):
                self._make_room(time)
            self._append(time, counts)

    def _append(self, time: float, counts: Cumulative) -> None:
        row = self._rows
        self._time[row] = time
        self._entered[row], self._left[row], self._spent[row] = counts.entered, counts.left, counts.vehicle_seconds
        self._rows += 1

    def _make_room(self, now: float) -> None:
        """Drop what is too old, but for the last instant before; make the columns longer when that is little."""
        first = max(int(np.searchsorted(self._time[: self._rows], now - self._keep_s)) - 1, 0)
        self._from_the_start = self._from_the_start and first == 0
        kept = self._rows - first
        size = len(self._time) if kept <= 0.8 * len(self._time) else 2 * len(self._time)

        def moved(old: npt.NDArray[Any]) -> npt.NDArray[Any]:
            new = np.zeros((size, *old.shape[1:]), old.dtype, order="F")
            new[:kept] = old[first : self._rows]
            return new

        self._time, self._entered, self._left, self._spent = map(
            moved, (self._time, self._entered, self._left, self._spent)
        )
        self._rows = kept

    def passage(self, from_s: float, until_s: float, links: Links = EVERY) -> Passage | None:
        """Return what happened between the last instants before two times; None while there is only one instant.

        Two times between the same instants give the step before: vehicles are whole, and flows hold on the average.
        """
        times = self._time[: self._rows]
        if len(times) < 2:
            return None
        first, last = (np.searchsorted(times, (from_s, until_s), side="right") - 1).tolist()
        last = max(last, 1)
        first = min(max(first, 0), last - 1)
        entered, left = (n[: last + 1, links] for n in (self._entered, self._left))
        spent = self._spent[: last + 1, links]
        return Passage(
            duration_s=float(times[last] - times[first]),
            entered=entered[last] - entered[first],
            left=left[last] - left[first],
            spent=np.maximum(spent[last] - spent[first], 0.0),
            speed=self._speed(entered, left, first, self._length[links], self._free_speed[links]),
        )

    def _speed(self, entered: Counts, left: Counts, first: int, length: Float, free_speed: Float) -> Float:
        """Return the speed of a passage; curves (n_times, n) up to its end, which begins at the row ``first``."""
        times = self._time[: len(entered)]
        middle = (times[1:] + times[:-1]) / 2
        begin, end = left[first], left[-1]
        # Of those that were on their links when all began nobody knows the entry; later, they waited at least so long.
        before = np.minimum(np.maximum(begin, entered[0]), end) if self._from_the_start else begin
        count = end - before

        def moment(curve: Counts) -> Float:
            """Return the sum of the times at which the curve passed the numbers of these vehicles."""
            own = np.clip(curve, before, end)
            return np.asarray(middle @ np.diff(own, axis=0) + (own[0] - before) * times[0], np.float64)

        took = np.maximum(moment(left) - moment(entered), count * length / free_speed)
        of_left = np.divide(count * length, took, out=np.full(len(length), np.nan), where=count > 0)
        head = np.argmax(entered > end, axis=0)  # the instant after the entry of the one that leaves next
        entry = np.where(head > 0, middle[head - 1], np.nan if self._from_the_start else times[0])
        waited = np.where(entered[-1] > end, times[-1] - entry, np.nan)
        slow = waited > SURELY_SLOW * length / free_speed  # false where unknown
        of_head = np.divide(length, waited, out=np.full(len(length), np.nan), where=slow)
        return np.asarray(np.where(np.isfinite(of_left), of_left, of_head), np.float64)
