"""What history teaches of links without detectors: each sensed link is hidden in turn, and told from the others.

A teller (twin.tellers) gives the middle of what a hidden link shows, and how far from it the truth lies; the latter,
measured on sensors that took no part, makes the interval. What it is told with are the link's surroundings
(twin.surroundings).

Notes
-----
Source of the interval: Lei, G'Sell, Rinaldo, Tibshirani and Wasserman (2018), Distribution-free predictive inference
for regression (locally weighted, split conformal), doi:10.1080/01621459.2017.1307116.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from sensors.errors import InputError
from twin.history import DayProfile, History
from twin.kriging import Ranges, View, tune
from twin.neighbours import Neighbours
from twin.surroundings import surroundings
from twin.tellers import Teller, tellers

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

FEWEST_SENSORS, FEWEST_TIMES = 20, 48
MOST_ROWS = 30_000  # of sensor and time; more teach little and take long
N_FOLDS = 5
# Share of values below and above the 90 % interval. Jams lie below: an interval with five per cent on either side is
# right on average and misses four in ten of the slow values.
BELOW, ABOVE = 0.03, 0.07
REACH = 0.95
_CUTS = (np.minimum, np.maximum, np.minimum, np.maximum)  # a low end is no more than the middle, a high one no less
# However much noise there is, of an interval so much is left: the noise that detectors state is not known so well.
LEAST_LEFT = 0.3


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """How well each sensed link was told by a model that had never seen it.

    Parameters
    ----------
    links : (s,)
    n_values : (s,)
    mean_error, bias : (s,) unit of the quantity
        Mean absolute error, and mean of estimate less value; NaN without values.
    covered : (s,)
        Share of values within the 90 % interval.
    """

    links: Long
    n_values: Long
    mean_error: Float
    bias: Float
    covered: Float

    def by_class(self, link_class: npt.NDArray[np.int32]) -> dict[int, float]:
        """Return the mean absolute error of all values of each class of links that has any."""
        found = {}
        for one in np.unique(link_class[self.links]).tolist():
            some = (link_class[self.links] == one) & (self.n_values > 0)
            if some.any():
                found[one] = float(np.average(self.mean_error[some], weights=self.n_values[some]))
        return found


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of n links: the middle, and the ends of the interval that holds nine values in ten.

    Parameters
    ----------
    middle, low, high : (n,) unit of the quantity
        What a detector there would show; NaN where nothing is told.
    true_low, true_high : (n,) unit of the quantity
        Nine in ten of the true values lie between these: the noise of detectors, as far as the history stated it, is
        taken off.
    near : (n,)
        Whether a sensed link that reports is as near as those were that the interval was measured with; elsewhere
        nothing is known of how good this is.
    """

    middle: Float
    low: Float
    high: Float
    true_low: Float
    true_high: Float
    near: Bool


class LearnedField:
    """One quantity of links without detectors, from those with; made by `learn`.

    Attributes
    ----------
    links : (s,)
        The sensed links of the history.
    ranges : Ranges
    reach_m : m
        Nineteen in twenty of the sensed links had another one within so far by road.
    most : (n,) unit of the quantity
        What the most of the history would be on each link.
    leave_out : LeaveOut
    """

    def __init__(
        self,
        *,
        links: Long,
        unit: Float,
        own: Float,
        neighbours: Neighbours,
        ranges: Ranges,
        profile: DayProfile,
        tellers: tuple[Teller, Teller],
        ends: tuple[float, float],
        noise: tuple[float, float],
        reach_m: float,
        most: float,
        leave_out: LeaveOut,
    ) -> None:
        self.links, self.ranges, self.leave_out, self.reach_m = links, ranges, leave_out, reach_m
        self.most = most * unit
        self._unit, self._own, self._profile = unit, own, profile
        self._view = View(neighbours, ranges)
        self._middle, self._spread = tellers
        self._ends, self._noise = ends, noise

    def tell(self, value: Float, *, time: float, far: bool = False) -> Told | None:
        """Return what is to be expected of every link, as if it had no detector; None when no sensed link reports.

        Parameters
        ----------
        value : (n_links,) unit of the quantity
            NaN where nothing is measured; links that had no history are not listened to.
        time : s since 1970 UTC
        far
            Tell links as well that are not near (`Told.near`), which costs time; they are NaN otherwise.
        """
        now = (value / self._unit)[self.links]
        if not np.isfinite(now).any():
            return None
        around = surroundings(now, self._profile.at(time), self._view)
        near = self._view.there[:, 0] & (self._view.road[:, 0] <= self.reach_m)
        rows = np.arange(len(near)) if far else np.flatnonzero(near)
        told = np.full((5, len(near)), np.nan)
        if len(rows):
            features = np.column_stack((around[rows], self._own[rows]))
            middle, spread = self._middle(features), self._spread(features)
            ends = [end * spread for end in self._ends]
            noise = self._noise[0] + self._noise[1] * np.clip(middle, 0.0, None)
            ends += [_without_noise(end, level, noise) for end, level in zip(ends, (BELOW, 1 - ABOVE), strict=True)]
            ends = [np.clip(middle + end, 0.0, None) for end in ends]
            middle = np.clip(middle, 0.0, None)
            ends = [cut(end, middle) for cut, end in zip(_CUTS, ends, strict=True)]
            told[:, rows] = np.stack((middle, *ends)) * self._unit[rows]
        return Told(told[0], told[1], told[2], told[3], told[4], near)


def learn(
    history: History, *, neighbours: tuple[Neighbours, Neighbours], unit: Float, own: Float, seed: int
) -> LearnedField:
    """Return what the history of the sensed links teaches of all links.

    Every model, range and interval is chosen on the sensed links of ``history`` alone.

    Parameters
    ----------
    history
        Of one quantity.
    neighbours
        Of all n links, and of the sensed links among themselves (`twin.neighbours.neighbours`).
    unit : (n,) unit of the quantity, positive
        What a value of 1 means on each link: the speed that is expected of it, or its capacity.
    own : (n, m)
        What the map says of each link: its unit, length, class, ...
    seed
        Of the folds and trees: the same seed, the same model.

    Raises
    ------
    InputError
        Too few sensed links, or times at which at least half of those report that usually do.
    """
    value = history.value / unit[history.links]
    reporting = np.isfinite(value).sum(axis=1)
    usable = np.flatnonzero(reporting >= max(FEWEST_SENSORS, 0.5 * np.median(reporting)))
    if len(history.links) < FEWEST_SENSORS or len(usable) < FEWEST_TIMES:
        raise InputError(
            f"history: {len(usable)} times of {len(history.links)} sensed links are too few to learn from: "
            f"at least {FEWEST_TIMES} times at which {FEWEST_SENSORS} links report"
        )
    every, among = neighbours
    ranges = tune(value[usable], among)
    profile = DayProfile.of(history.time, value)
    step = max(1, int(np.ceil(len(usable) * float(np.median(reporting[usable])) / MOST_ROWS)))
    features, truth, sensor, noise = _rows(history, value, usable[::step], among, ranges, profile, own, unit)
    random = np.random.default_rng(seed)
    fold = random.permutation(len(history.links))[sensor] % N_FOLDS
    fit = tellers(seed)
    # What a model that never saw the sensor tells of it; then how far off that is, told in the same way.
    middle, spread = np.empty_like(truth), np.empty_like(truth)
    for k in range(N_FOLDS):
        kept, held = fold != k, fold == k
        middle[held] = fit.middle(features[kept], truth[kept])(features[held])
    off = truth - middle
    for k in range(N_FOLDS):
        kept, held = fold != k, fold == k
        spread[held] = fit.spread(features[kept], off[kept])(features[held])
    nearest = among.road[:, 0]
    ends = (float(np.quantile(off / spread, BELOW)), float(np.quantile(off / spread, 1 - ABOVE)))
    within = (off >= ends[0] * spread) & (off <= ends[1] * spread)
    return LearnedField(
        links=history.links,
        unit=unit,
        own=own,
        neighbours=every,
        ranges=ranges,
        profile=profile,
        tellers=(fit.middle(features, truth), fit.spread(features, off)),
        ends=ends,
        noise=_line(middle, noise),
        reach_m=float(np.quantile(nearest, REACH)),
        most=float(np.nanmax(value)),
        leave_out=_leave_out(history.links, sensor, -off * unit[history.links][sensor], within),
    )


def _without_noise(end: Float, level: float, noise: Float) -> Float:
    """Return how far the truth lies from the middle at a level, of how far measurements do and their noise, (rows,).

    Variances of what is independent add up, and a quantile of a normal distribution is so many deviations away:
    ``true^2 = end^2 - z^2 noise^2``.
    """
    most = (1 - LEAST_LEFT**2) * end**2
    return np.asarray(np.sign(end) * np.sqrt(end**2 - np.minimum((NormalDist().inv_cdf(level) * noise) ** 2, most)))


def _line(middle: Float, noise: Float) -> tuple[float, float]:
    """Return the line, nowhere negative, from what is told to the noise of measurements: at nought, and its rise."""
    if not noise.any():
        return 0.0, 0.0
    rise = max(float(np.polyfit(middle, noise, 1)[0]), 0.0)
    return max(float(noise.mean() - rise * middle.mean()), 0.0), rise


def _rows(
    history: History,
    value: Float,
    times: Long,
    among: Neighbours,
    ranges: Ranges,
    profile: DayProfile,
    own: Float,
    unit: Float,
) -> tuple[Float, Float, Long, Float]:
    """Return features, value, sensor and noise of every value at some times."""
    view = View(among, ranges)
    parts, truth, sensor, noise = [], [], [], []
    states = np.zeros_like(value) if history.noise is None else history.noise / unit[history.links]
    for row in times:
        known = np.flatnonzero(np.isfinite(value[row]))
        around = surroundings(value[row], profile.at(float(history.time[row])), view)
        parts.append(np.column_stack((around, own[history.links]))[known])
        truth.append(value[row, known])
        sensor.append(known)
        noise.append(states[row, known])
    return np.concatenate(parts), np.concatenate(truth), np.concatenate(sensor), np.concatenate(noise)


def _leave_out(links: Long, sensor: Long, error: Float, within: Bool) -> LeaveOut:
    n = np.bincount(sensor, minlength=len(links))
    share = [
        np.where(n > 0, np.bincount(sensor, part, len(links)) / np.maximum(n, 1), np.nan)
        for part in (np.abs(error), error, within.astype(np.float64))
    ]
    return LeaveOut(links, n.astype(np.int64), *share)
