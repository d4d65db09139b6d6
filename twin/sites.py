"""What each measured link is worth, and where the next detector would tell most.

The worth is posterior variance: by how much the uncertainty of the whole city, in (km/h)^2 and weighted by the traffic
of each link, would rise if the detectors of a link were removed, or fall if one were placed there. With the posterior
covariance C of the field, more precision p at link i changes the variance of link l by ``-p C[l,i]^2 / (1 + p C[i,i])``
(Sherman and Morrison), so that one solve a link tells all. For the next sites the sum over l is first estimated for all
links at once with random signs (Hutchinson), and worked out for the best of them.

Notes
-----
Sources: Sherman and Morrison (1950), doi:10.1214/aoms/1177729893; Hutchinson (1990), A stochastic estimator of the
trace of the influence matrix, doi:10.1080/03610919008812866; greedy choice comes within 1 - 1/e of the best set where
the gain is submodular: Krause, Singh and Guestrin (2008), Near-optimal sensor placements in Gaussian processes,
https://www.jmlr.org/papers/v9/krause08a.html.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensors import InputError
from twin.estimate import OWN_SHARE, Estimator
from twin.estimate_solve import Factor
from twin.measure import SPEED_FLOOR, SPEED_SPREAD
from twin.prior import Prior

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]

# Random signs for the first look, and how many of the best links are worked out at each choice.
N_SIGNS, N_EXACT = 64, 24


@dataclass(frozen=True, slots=True)
class Worth:
    """What measuring some links is worth.

    Parameters
    ----------
    link : (k,)
        Positions of the links, the most valuable first (of sites: in the order in which to build them).
    share : (k,)
        Of the city's uncertainty as it is: by how much of it the removal raises, or the site lowers it.
    deviation : float, m/s
        Root of the weighted mean variance as it is now.
    """

    link: Int
    share: Float
    deviation: float


class _Field:
    """The posterior of the speed field with measured links, and what one more or less would change."""

    def __init__(self, estimator: Estimator, measured: Bool, weight: Float | None, prior: Prior | None) -> None:
        n = estimator.compiled.n_links
        prior = prior or estimator.prior
        weight = prior.flow * estimator.compiled.length if weight is None else weight
        for name, column in (("measured", measured), ("weight", weight)):
            if len(column) != n:
                raise InputError(f"{name} has {len(column)} links, the network has {n}")
        if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0):
            raise InputError("weight must be finite, nowhere negative and somewhere positive")
        precision, n_levels, scale = estimator.field
        self.n, self.n_all = n, n + n_levels
        share = OWN_SHARE["speed"]
        noise = (np.hypot(SPEED_SPREAD * prior.speed, SPEED_FLOOR) / prior.speed_deviation) ** 2
        unit = scale / np.sqrt(1 - share)
        self.share, self.noise, self.unit = share, noise, unit
        self.gain = 1 / (unit**2 * (noise + share))  # precision that a detector gives the field at its link
        self.measured = measured.copy()
        # A link's variance in (m/s)^2: of the field seen through its unit, and its own; a detector leaves less of both.
        left = (noise / (share + noise)) ** 2
        own = share * noise / (share + noise)
        scale2 = weight / weight.sum() * prior.speed_deviation**2
        self.total_of = scale2 / unit**2  # weight of the field's variance at an unmeasured link
        self.left, self.own, self.scale2 = left, own, scale2
        added = np.zeros(self.n_all)
        added[:n][measured] = self.gain[measured]
        self.factor: Factor = precision.factor(added)
        self.variance = self.factor.inverse_diagonal()[:n]

    def weights(self, measured: Bool) -> Float:
        """Return (n,) by how much variance of the field at each link counts."""
        return np.asarray(self.total_of * np.where(measured, self.left, 1.0), np.float64)

    def uncertainty(self, variance: Float, measured: Bool) -> float:
        """Return the weighted mean variance of the city."""
        own = np.where(measured, self.own, self.share)
        return float((self.weights(measured) * variance + self.scale2 * own).sum())

    def column(self, link: int) -> Float:
        """Return (n,) the covariance of the field at a link with all others."""
        right = np.zeros(self.n_all)
        right[link] = 1.0
        return self.factor.solve(right)[: self.n]


def value(estimator: Estimator, measured: Bool, *, weight: Float | None = None, prior: Prior | None = None) -> Worth:
    """Return what each measured link is worth: the rise of uncertainty when its detectors are removed.

    Parameters
    ----------
    estimator
        Its field says how links depend on each other.
    measured : (n_links,)
        Which links have a healthy detector of speed.
    weight : (n_links,)
        How much the variance of each link counts; vehicles on the way (flow x length of the prior) unless given.
    prior
        Replaces the estimator's own.

    Raises
    ------
    InputError
        When a column does not fit the network or weights are not.
    """
    field = _Field(estimator, np.asarray(measured, np.bool_), weight, prior)
    now = field.uncertainty(field.variance, field.measured)
    links = np.flatnonzero(field.measured)
    rise = np.empty(len(links))
    for k, link in enumerate(links.tolist()):
        column, gain = field.column(link), field.gain[link]
        variance = field.variance + gain * column**2 / (1 - gain * column[link])
        without = field.measured.copy()
        without[link] = False
        rise[k] = field.uncertainty(variance, without) - now
    order = np.argsort(-rise, kind="stable")
    return Worth(links[order], rise[order] / now, float(np.sqrt(now)))


def next_sites(
    estimator: Estimator,
    measured: Bool,
    n_sites: int,
    *,
    random: np.random.Generator,
    weight: Float | None = None,
    prior: Prior | None = None,
    allowed: Bool | None = None,
    exact: bool = False,
) -> Worth:
    """Return where to place detectors one after the other, each where it lowers the uncertainty most.

    Parameters
    ----------
    n_sites
        How many; fewer when there are not so many links.
    random
        Of the first look at all links.
    allowed : (n_links,)
        Where one may be placed; everywhere unless given. A measured link never is a new site.
    exact
        Works out every link at each choice: a solve a link, for small networks and for tests.

    Raises
    ------
    InputError
        When a column does not fit the network, weights are not, or ``n_sites`` is negative.
    """
    if n_sites < 0:
        raise InputError(f"n_sites is {n_sites}, must be 0 or more")
    field = _Field(estimator, np.asarray(measured, np.bool_), weight, prior)
    free = ~field.measured if allowed is None else ~field.measured & np.asarray(allowed, np.bool_)
    if len(free) != field.n:
        raise InputError(f"allowed has {len(free)} links, the network has {field.n}")
    variance, have = field.variance.copy(), field.measured.copy()
    start = now = field.uncertainty(variance, have)
    columns: list[tuple[Float, float]] = []  # of the sites chosen, with the divisor of their update
    signs = random.choice((-1.0, 1.0), size=(N_SIGNS, field.n))
    looks = np.zeros((0, field.n)) if exact else _looks(field, signs, have)
    chosen, falls = [], []

    def column_of(link: int) -> Float:
        column = field.column(link)
        for other, divisor in columns:
            column = column - other * (other[link] / divisor)
        return column

    for _ in range(min(n_sites, int(np.count_nonzero(free)))):
        candidates = np.flatnonzero(free)
        if not exact and len(candidates) > N_EXACT:
            spread = (looks**2).mean(axis=0)
            guess = field.gain * spread / (1 + field.gain * variance)
            # What the detector tells of its own link, which no neighbour does.
            guess += field.scale2 * (field.share - field.own) + field.total_of * variance * (1 - field.left)
            candidates = candidates[np.argsort(-guess[candidates], kind="stable")[:N_EXACT]]
        best, best_after, best_column = -1, np.inf, np.zeros(0)
        for link in candidates.tolist():
            column = column_of(link)
            with_it = have.copy()
            with_it[link] = True
            after = field.uncertainty(variance - column**2 / (1 / field.gain[link] + column[link]), with_it)
            if after < best_after:
                best, best_after, best_column = link, after, column
        divisor = float(1 / field.gain[best] + best_column[best])
        if not exact:
            looks -= np.outer((signs * np.sqrt(field.weights(have))) @ best_column / divisor, best_column)
        variance -= best_column**2 / divisor
        columns.append((best_column, divisor))
        have[best], free[best] = True, False
        chosen.append(best)
        falls.append(now - best_after)
        now = best_after
    return Worth(np.array(chosen, np.int64), np.array(falls) / start, float(np.sqrt(start)))


def _looks(field: _Field, signs: Float, have: Bool) -> Float:
    """Return (n_signs, n) the covariance times weighted random signs: their mean square is the sum over links."""
    looks = np.empty_like(signs)
    root = np.sqrt(field.weights(have))
    right = np.zeros(field.n_all)
    for k, sign in enumerate(signs):
        right[: field.n] = root * sign
        looks[k] = field.factor.solve(right)[: field.n]
    return looks
