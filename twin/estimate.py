"""The estimator: speed and flow of every link, with deviation and source, from the few links that are measured.

Both are fields on the road graph. Standardised by its prior, a field is a Gaussian Markov random field: movements pull
the two links that they join together, the more the shorter, straighter and more alike they are; every link is pulled to
the level of its class, the classes to the level of the city, and that to the prior. Far from every measurement the
prior is all there is. With a history (`Estimator.learn`) links near sensed ones are told by what it taught
(twin.learned) instead.

Notes
-----
Sources: Rue and Held (2005), Gaussian Markov random fields, doi:10.1201/9780203492024; the weights are those of a
Whittle-Matern field on the road graph, Bolin, Simas and Wallin (2024), doi:10.3150/23-BEJ1647.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from sensors.errors import InputError
from twin.compiled import CompiledNetwork
from twin.estimate_solve import Precision
from twin.history import History
from twin.interval import NINE_TENTHS, normal_interval, within
from twin.learned import LearnedField, learn
from twin.neighbours import neighbours
from twin.prior import Prior, free_flow_prior
from twin.state import Source

Float = npt.NDArray[np.float64]
Sources = npt.NDArray[np.uint8]

# Posterior deviation over prior deviation up to which neighbours, not the prior, make the estimate.
ESTIMATED_RATIO = 0.7
# Length over which the field forgets, by class. Ranges, own share and the prior's deviation were chosen on a month of
# 449 links of Aarhus, each left out in turn: mean error 9.6 km/h, nine tenths within 1.645 deviations (free flow
# 10.4 km/h, nearest link 14.0 km/h).
RANGE_M = (6000.0, 2000.0, 1200.0, 800.0)
# Variance of the levels of city and class, as shares of a link's own. Small: what is measured is not a fair sample
# (detectors stand where traffic is), and a level alone must not turn "guessed" into "estimated".
CITY_SHARE, CLASS_SHARE = 0.05, 0.1
# Share of a link's variance that it has for itself: the head of a queue is sharper than any smooth field.
OWN_SHARE = {"speed": 0.1, "flow": 0.3}
SHORTEST_M = 20.0
# Where a factorisation takes more multiplications than this (real streets of some 250,000 links, or a perfect grid of
# 11,000), only the mean is solved at every call, and the variance at every so many.
EXACT_WORK, REFRESH_CALLS = 1e8, 60

# The most that an interval holds, in free speeds and capacities. Maps state what is allowed or usual, which many
# exceed: cut at the stated speed, intervals would lose what they are to hold.
FASTEST, FULLEST = 1.5, 1.0


@dataclass(frozen=True, slots=True)
class Measurements:
    """What detectors say of their links, NaN without one.

    Parameters
    ----------
    speed, speed_deviation : (n_links,) m/s
    flow, flow_deviation : (n_links,) veh/s over all lanes
    """

    speed: Float
    speed_deviation: Float
    flow: Float
    flow_deviation: Float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Posterior of every link.

    Parameters
    ----------
    speed, speed_deviation : (n_links,) m/s
    flow, flow_deviation : (n_links,) veh/s over all lanes
    speed_source, flow_source : (n_links,) uint8 of `Source`
    speed_interval, flow_interval : (2, n_links)
        Where nine in ten of the true values lie, low and high, between nought and what is physical; from the deviation
        unless history taught it, and then not in the middle of it: jams lie below.
    """

    speed: Float
    speed_deviation: Float
    flow: Float
    flow_deviation: Float
    speed_source: Sources
    flow_source: Sources
    speed_interval: Float = field(default_factory=lambda: np.zeros((2, 0)))
    flow_interval: Float = field(default_factory=lambda: np.zeros((2, 0)))

    def __post_init__(self) -> None:
        for name in ("speed", "flow"):
            mean, deviation = getattr(self, name), getattr(self, f"{name}_deviation")
            if getattr(self, f"{name}_interval").shape[1] != len(mean):  # left out
                object.__setattr__(self, f"{name}_interval", normal_interval(mean, deviation))


def affinity(compiled: CompiledNetwork, link: npt.NDArray[np.intp], other: npt.NDArray[np.intp]) -> Float:
    """Return how alike the two links of each movement are, 0..1: straight on in one class is 1.

    A turn leaves the queue behind it to other traffic; a right angle keeps a fifth. Each step of class halves.
    """
    xy = compiled.node_xy
    heading = xy[compiled.to_node] - xy[compiled.from_node]
    heading = heading / np.maximum(np.hypot(heading[:, 0], heading[:, 1]), 1e-9)[:, None]
    cosine = np.sum(heading[link] * heading[other], axis=1)
    step = np.abs(compiled.link_class[link] - compiled.link_class[other])
    return np.asarray((0.2 + 0.8 * np.clip(cosine, 0.0, 1.0) ** 2) * 0.5**step, np.float64)


def _own_precision(compiled: CompiledNetwork) -> sp.csc_array:
    """Return the precision (n_links, n_links) of the field around its levels."""
    n = compiled.n_links
    length = np.maximum(compiled.length, SHORTEST_M)
    reach = np.array(RANGE_M)[np.clip(compiled.link_class, 0, 3)]
    link = np.repeat(np.arange(n), np.diff(compiled.movement_start))
    other = compiled.movement_out.astype(np.intp)
    link, other = link[link != other], other[link != other]
    distance = (length[link] + length[other]) / 2
    weight = affinity(compiled, link, other) * np.sqrt(reach[link] * reach[other]) / distance
    diagonal = length / reach + np.bincount(link, weight, n) + np.bincount(other, weight, n)
    every = np.arange(n)
    values = np.concatenate((diagonal, -weight, -weight))
    places = (np.concatenate((every, link, other)), np.concatenate((every, other, link)))
    return sp.csc_array(sp.coo_array((values, places), shape=(n, n)))


def _joint_precision(compiled: CompiledNetwork) -> tuple[Precision, int, Float]:
    """Return the precision of links, classes and city (in this order), the number of levels, and the links' deviations.

    With e the field around its levels and h the levels, a link is x = e + B h, hence the precision of (x, h) is
    ``[[Q, -Q B], [-B'Q, B'Q B + H]]``. B gives every link the same share of level, whatever its deviation in the field.
    """
    n = compiled.n_links
    own = _own_precision(compiled)
    nothing = np.zeros(n)
    deviation = np.sqrt(Precision(own).posterior(nothing, nothing)[1])
    classes, place = np.unique(np.clip(compiled.link_class, 0, 3), return_inverse=True)
    k = len(classes)
    share = sp.csc_array(sp.coo_array((deviation, (np.arange(n), place)), shape=(n, k + 1)))
    levels = np.zeros((k + 1, k + 1))  # each class around the city, the city around the prior
    levels[np.arange(k), np.arange(k)] = 1 / CLASS_SHARE
    levels[:k, k] = levels[k, :k] = -1 / CLASS_SHARE
    levels[k, k] = k / CLASS_SHARE + 1 / CITY_SHARE
    across = own @ share
    joint = sp.block_array([[own, -across], [-across.T, share.T @ across + sp.csc_array(levels)]], format="csc")
    return Precision(sp.csc_array(joint), n_dense=k + 1), k + 1, deviation * np.sqrt(1 + CLASS_SHARE + CITY_SHARE)


class Estimator:
    """Estimates every link of one network.

    `estimate` depends on its arguments only; beyond `EXACT_WORK` deviations may be those of one of the last calls.

    Parameters
    ----------
    compiled
        The network.
    prior
        What to expect of each link; free flow unless given.

    Attributes
    ----------
    learned
        By quantity, what `learn` made; its ``leave_out`` says how well each sensed link is told by the others.
    """

    def __init__(self, compiled: CompiledNetwork, *, prior: Prior | None = None) -> None:
        self.compiled = compiled
        self.prior = prior or free_flow_prior(compiled)
        self._precision, self._n_levels, self._scale = _joint_precision(compiled)
        self.learned: dict[str, LearnedField] = {}
        self._calls: dict[str, int] = {}
        self._last: dict[str, tuple[Float, Float]] = {}

    @property
    def field(self) -> tuple[Precision, int, Float]:
        """The precision of links and levels, how many of its last rows are levels, and the links' deviations in it."""
        return self._precision, self._n_levels, self._scale

    def learn(self, *, speed: History | None = None, flow: History | None = None, seed: int) -> None:
        """Learn from the past of the sensed links how to tell the others; replaces what was learned of the quantity.

        Takes seconds to minutes, holds nothing up and may run in a thread beside `estimate`.

        Parameters
        ----------
        speed, flow
            What detectors saw; at least 20 links at 48 times.
        seed
            The same history and seed teach the same.

        Raises
        ------
        InputError
            A history is too small, or of links that the network does not have.
        """
        found = dict(self.learned)
        for name, history, unit in (
            ("speed", speed, self.prior.speed),  # with the wait at red lights, where plans are known
            ("flow", flow, self.compiled.capacity),
        ):
            if history is None:
                continue
            n = self.compiled.n_links
            if len(history.links) and not 0 <= history.links.min() <= history.links.max() < n:
                raise InputError(f"history: link {history.links.max()} of a network that has {n}")
            near = neighbours(self.compiled, history.links)
            map_says = ("length", "free_speed", "lanes", "link_class")
            own = np.column_stack((unit, *(getattr(self.compiled, column) for column in map_says)))
            found[name] = learn(history, neighbours=near, unit=unit, own=own.astype(np.float64), seed=seed)
        self.learned = found

    def estimate(
        self, measurements: Measurements, *, prior: Prior | None = None, time: float | None = None
    ) -> Estimate:
        """Return the posterior of speed and flow given what is measured now.

        Parameters
        ----------
        measurements
            NaN where nothing is measured; deviations must be positive where something is.
        prior
            Replaces the estimator's own, for example the profile of this time of the week.
        time : s since 1970 UTC
            When this is; without it nothing that was learned is used.
        """
        prior = prior or self.prior
        speed, speed_deviation, speed_source = self._field(
            "speed", prior.speed, prior.speed_deviation, measurements.speed, measurements.speed_deviation
        )
        flow, flow_deviation, flow_source = self._field(
            "flow", prior.flow, prior.flow_deviation, measurements.flow, measurements.flow_deviation
        )
        plain = Estimate(speed, speed_deviation, flow, flow_deviation, speed_source, flow_source)
        # Beyond measurement and experience nothing runs a tenth faster than its free speed, or above capacity.
        top_speed = np.fmax(1.1 * self.compiled.free_speed, measurements.speed)
        top_flow = np.fmax(self.compiled.capacity, measurements.flow)
        np.clip(plain.speed, 0.0, top_speed, out=plain.speed)
        np.clip(plain.flow, 0.0, top_flow, out=plain.flow)
        if time is not None:
            self._use_learned("speed", plain, measurements, prior, time)
            self._use_learned("flow", plain, measurements, prior, time)
        for name, most in (
            ("speed", np.fmax(FASTEST * self.compiled.free_speed, measurements.speed)),
            ("flow", np.fmax(FULLEST * self.compiled.capacity, measurements.flow)),
        ):
            if name in self.learned:
                most = np.fmax(most, self.learned[name].most)
            interval = getattr(plain, f"{name}_interval")
            interval[:] = within(interval, getattr(plain, name), most)
        return plain

    def _use_learned(self, name: str, plain: Estimate, measured: Measurements, prior: Prior, time: float) -> None:
        """Overwrite what the field says of one quantity where history taught better."""
        learned = self.learned.get(name)
        value, spread = getattr(measured, name), getattr(measured, f"{name}_deviation")
        known = np.isfinite(value) & np.isfinite(spread) & (spread > 0)
        told = learned.tell(np.where(known, value, np.nan), time=time) if learned else None
        if learned is None or told is None:
            return
        link_class = self.compiled.link_class
        use = told.near & np.isin(link_class, np.unique(link_class[learned.links]))
        mean, deviation, interval, source = (
            getattr(plain, name + part) for part in ("", "_deviation", "_interval", "_source")
        )
        own = np.fmax((told.true_high - told.true_low) / (2 * NINE_TENTHS), 1e-9)
        only = use & ~known
        mean[only], deviation[only] = told.middle[only], own[only]
        interval[0, only], interval[1, only] = told.true_low[only], told.true_high[only]
        limit = ESTIMATED_RATIO * getattr(prior, f"{name}_deviation")
        source[only] = np.where(own[only] <= limit[only], Source.ESTIMATED, Source.GUESSED)
        both = use & known  # what is told and what is measured, each by its precision
        share = own[both] ** 2 / (own[both] ** 2 + spread[both] ** 2)
        mean[both] = told.middle[both] + share * (value[both] - told.middle[both])
        deviation[both] = np.sqrt(share) * spread[both]
        interval[:, both] = normal_interval(mean[both], deviation[both])

    def _field(
        self, name: str, mean: Float, deviation: Float, measured: Float, measured_deviation: Float
    ) -> tuple[Float, Float, Sources]:
        """Return posterior mean, deviation and source of one field, all in its own unit."""
        n = self.compiled.n_links
        source = np.full(n, Source.GUESSED, np.uint8)
        known = np.isfinite(measured) & np.isfinite(measured_deviation) & (measured_deviation > 0)
        if not known.any():
            return mean.copy(), deviation.copy(), source
        # A link is field plus something of its own, x = f + e; standardised, var f + var e = 1 and var e = share.
        share = OWN_SHARE[name]
        unit = self._scale / np.sqrt(1 - share)
        noise = (measured_deviation[known] / deviation[known]) ** 2
        surplus = ((measured - mean) / deviation)[known]
        precision = np.zeros(n + self._n_levels)
        information = np.zeros(n + self._n_levels)
        precision[:n][known] = 1 / (unit[known] ** 2 * (noise + share))
        information[:n][known] = precision[:n][known] * unit[known] * surplus
        z, variance = self._posterior(name, precision, information)
        posterior = z[:n] / unit
        spread = np.clip(variance[:n], 0.0, None) / unit**2 + share
        own = share / (share + noise)
        spread[known] = (1 - own) ** 2 * (spread[known] - share) + own * noise
        posterior[known] += own * (surplus - posterior[known])
        ratio = np.sqrt(spread)
        source[ratio <= ESTIMATED_RATIO] = Source.ESTIMATED
        source[known] = Source.MEASURED
        return mean + posterior * deviation, ratio * deviation, source

    def _posterior(self, name: str, precision: Float, information: Float) -> tuple[Float, Float]:
        """Return mean and variance of a field; in a big network the variance of one of the last calls."""
        if self._precision.work <= EXACT_WORK:
            return self._precision.posterior(precision, information)
        call = self._calls.get(name, len(self._calls) * REFRESH_CALLS // 2)  # not both fields in one call
        self._calls[name] = call + 1
        if name not in self._last or call % REFRESH_CALLS == 0:
            self._last[name] = self._precision.posterior(precision, information)
        else:
            mean, variance = self._last[name]
            self._last[name] = self._precision.mean(precision, information, start=mean), variance
        return self._last[name]
