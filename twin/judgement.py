"""Whether a series still behaves as its own past says: windows over its errors, each measured by what is usual for it.

Three questions are asked of the standardised errors z that `twin.agreement` leaves. Does the series read too high or
too low for long (the mean of z)? Does it jump more than it used to (the second difference of its values)? Is it more
like another place than like its own (the misfit here minus the least misfit elsewhere)? Each answer is a number that is
1 where suspicion begins.
"""

import enum

import numpy as np
import numpy.typing as npt

from twin.agreement import FADING_READINGS, TINY

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

# Readings over which each question is asked: at five minutes 9 h, 3 h and, fading, 3 h. A jam at one site ends sooner.
LONG, SHORT, ELSEWHERE = 108, 36, 40
# Errors count up to so many deviations: a jam that the neighbours do not see is no evidence of a fault, its length is.
LONG_CLIP = 1.5
# Limits, in usual deviations and shares of the usual; chosen on the first five days of METR-LA, with faults planted in
# the fourth and fifth, for less than a false alarm in ten days of a sensor.
LONG_LIMIT, SHORT_LIMIT, ELSEWHERE_LIMIT = 3.1, 4.6, 4.8
# Learning stops while the last two hours are so far off, lest a fault becomes the habit.
DOUBT_READINGS, DOUBT = 24, 2.5
# Readings before anything is suspected, and with which the own usual is mixed with that of all series.
READY, USUAL_READINGS = 288.0, 288.0
# With how many other places of the city a series is compared.
N_PLACES = 256
# Comparing all series with all their places at once would take 2 kB a series.
ROWS_AT_ONCE = 2048
JUMP_CLIP = 3.0
LARGEST_ERROR = 6.0


class Question(enum.IntEnum):
    """Columns of the answers."""

    LEVEL = 0
    JUMPS = 1
    ELSEWHERE = 2


def places(group: Int) -> npt.NDArray[np.int32]:
    """Return (n, N_PLACES) series of the same group, spread over all of them; -1 where there are no more."""
    result = np.full((len(group), N_PLACES), -1, np.int32)
    for kind in np.unique(group):
        rows = np.flatnonzero(group == kind)
        n = len(rows)
        k = min(N_PLACES, n - 1)
        if k < 1:
            continue
        steps = 1 + (np.arange(k) * (n - 1)) // k
        result[rows[:, None], np.arange(k)] = rows[(np.arange(n)[:, None] + steps) % n]
    return result


class Window:
    """Running means over each series' last readings; a series that reads seldom has a longer one."""

    def __init__(self, n: int, length: int) -> None:
        self.ring = np.zeros((n, length), np.float32)
        self.total, self.count = np.zeros(n), np.zeros(n, np.int64)

    def add(self, rows: Int, value: Float) -> None:
        """Take one value of each of these series."""
        length = self.ring.shape[1]
        at = self.count[rows] % length
        value = value.astype(np.float32)
        self.total[rows] += value.astype(np.float64) - self.ring[rows, at]
        self.ring[rows, at] = value
        self.count[rows] += 1

    def last(self, row: int) -> Float:
        """Return the last values of one series, oldest first."""
        length, count = self.ring.shape[1], int(self.count[row])
        held = np.roll(self.ring[row], -(count % length)) if count >= length else self.ring[row, :count]
        return held.astype(np.float64)

    def mean(self) -> Float:
        """Return (n,) the mean, NaN before the window is full."""
        length = self.ring.shape[1]
        return np.where(self.count >= length, self.total / length, np.nan)


class Usual:
    """Mean and variance that each series usually has, mixed with the median of all while they are few."""

    def __init__(self, n: int) -> None:
        self.mean, self.variance, self.count = np.zeros(n), np.zeros(n), np.zeros(n)

    def learn(self, value: Float, allowed: Bool, *, centre: bool) -> None:
        """Take a value of each allowed series; ``centre`` learns the mean too, else it is 0."""
        allowed = allowed & np.isfinite(value)
        self.count += allowed
        gain = np.where(allowed, 1 / np.minimum(np.maximum(self.count, 1.0), FADING_READINGS), 0.0)
        off = np.where(allowed, value - self.mean, 0.0)
        square = off**2
        known = self.variance[self.count > USUAL_READINGS]
        if len(known):
            square = np.minimum(square, 9 * np.maximum(self.variance, np.median(known)))
        self.variance += gain * (square - self.variance)
        if centre:
            self.mean += gain * off

    def deviation(self, group: Int) -> Float:
        """Return (n,) the usual deviation."""
        mixed = np.full(len(self.mean), np.nan)
        for kind in np.unique(group):
            rows = np.flatnonzero(group == kind)
            known = self.variance[rows][self.count[rows] > 0]
            if not len(known):
                continue
            usual, count = float(np.median(known)), self.count[rows]
            mixed[rows] = (self.variance[rows] * count + usual * USUAL_READINGS) / (count + USUAL_READINGS)
        return np.asarray(np.sqrt(mixed), np.float64)


class Judgement:
    """Asks the three questions of every series.

    Parameters
    ----------
    group : (n,)
        Quantity as a number.
    """

    def __init__(self, group: Int) -> None:
        n = len(group)
        self._group = group
        self._places = places(group)
        self._long, self._doubt, self._short = Window(n, LONG), Window(n, DOUBT_READINGS), Window(n, SHORT)
        self._usual_long, self._usual_elsewhere = Usual(n), Usual(n)
        self._jump, self._jumps = np.zeros(n), np.zeros(n)
        self._before = np.full((n, 2), np.nan)
        self._here = np.zeros(n)
        self._there = np.zeros(self._places.shape, np.float32)
        self._compared = np.zeros(n)
        self._best = np.full(n, np.inf)

    def doubtful(self) -> Bool:
        """Return (n,) whose last hours are so far off that nothing should be learned from them."""
        return np.asarray(np.abs(np.nan_to_num(self._doubt.mean())) > DOUBT, np.bool_)

    def ask(self, value: Float, expected: Float, spread: Float, variance: Float, learns: Bool) -> Float:
        """Take one reading of each series and return (n, 3) how suspect it is, by question; 0 while unknown.

        Parameters
        ----------
        value, expected, spread, variance : (n,)
            NaN where nothing was read or nothing can be said.
        learns : (n,)
            Which series may learn what is usual.
        """
        z = np.clip((value - expected) / spread, -LARGEST_ERROR, LARGEST_ERROR)
        rows = np.flatnonzero(np.isfinite(z))
        self._long.add(rows, np.clip(z[rows], -LONG_CLIP, LONG_CLIP))
        self._doubt.add(rows, z[rows])
        new = np.zeros(len(value), np.bool_)
        new[rows] = True
        answers = np.zeros((len(value), 3))
        off = self._long.mean()
        answers[:, Question.LEVEL] = np.abs(off) / self._usual_long.deviation(self._group) / LONG_LIMIT
        self._usual_long.learn(off, learns & new, centre=False)
        answers[:, Question.JUMPS] = self._ask_jumps(value, variance, learns) / SHORT_LIMIT
        misfit = self._ask_elsewhere(value, expected, spread, rows)
        usual = self._usual_elsewhere
        answers[:, Question.ELSEWHERE] = (misfit - usual.mean) / usual.deviation(self._group) / ELSEWHERE_LIMIT
        usual.learn(misfit, learns & new, centre=True)
        for column, count in enumerate((self._usual_long.count, self._jumps, usual.count)):
            answers[count < READY, column] = 0.0
        return np.nan_to_num(answers)

    def ready(self) -> Bool:
        """Return (n,) of which series enough is known to suspect them."""
        return np.asarray(self._usual_long.count >= READY, np.bool_)

    def jumpiness(self, row: int) -> float:
        """Return how many times as large as usual the last jumps of a series are."""
        return float(np.sqrt(self._short.mean()[row]))

    def resembles(self, row: int) -> int:
        """Return the series whose place a series fits best lately, -1 when it is its own."""
        there = np.where(self._places[row] >= 0, self._there[row], np.inf)
        if not len(there) or there.min() >= self._here[row]:
            return -1
        return int(self._places[row, there.argmin()])

    def _ask_jumps(self, value: Float, variance: Float, learns: Bool) -> Float:
        """Return (n,) the mean square of the last second differences over the usual."""
        second = value - 2 * self._before[:, 0] + self._before[:, 1]
        rows = np.flatnonzero(np.isfinite(second))
        floor = 0.06 * variance
        usual = (self._jump * self._jumps + floor * 50) / (self._jumps + 50)
        with np.errstate(invalid="ignore", divide="ignore"):
            self._short.add(rows, np.minimum(second[rows] ** 2 / usual[rows], JUMP_CLIP**2))
        known = np.isfinite(second) & learns
        self._jumps += known
        gain = np.where(known, 1 / np.minimum(np.maximum(self._jumps, 1.0), FADING_READINGS), 0.0)
        square = np.minimum(np.nan_to_num(second) ** 2, 25 * np.maximum(usual, TINY))
        self._jump += gain * (square - self._jump)
        read = np.isfinite(value)
        self._before[read, 1] = self._before[read, 0]
        self._before[read, 0] = value[read]
        return self._short.mean()

    def _ask_elsewhere(self, value: Float, expected: Float, spread: Float, rows: Int) -> Float:
        """Return (n,) by how much a series fits its own place worse than the best of the others."""
        self._compared[rows] += 1
        for first in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[first : first + ROWS_AT_ONCE]
            gain = 1 / np.minimum(self._compared[some], ELSEWHERE)
            here = np.log1p(((value[some] - expected[some]) / spread[some]) ** 2)
            self._here[some] += gain * (here - self._here[some])
            other = self._places[some]
            there = np.log1p(((value[some, None] - expected[other]) / spread[other]) ** 2)
            known = np.isfinite(there) & (other >= 0)
            before = self._there[some]
            self._there[some] = np.where(known, before + gain[:, None] * (there - before), before)
            self._best[some] = np.min(np.where(other >= 0, self._there[some], np.inf), axis=1, initial=np.inf)
        full = (self._compared >= ELSEWHERE) & np.isfinite(self._best)
        return np.where(full, self._here - self._best, np.nan)
