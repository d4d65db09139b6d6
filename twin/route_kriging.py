"""Flow of links that nobody counts, from counted ones: two streets are alike by the share of routes that use both.

The *routes* are those of any demand of the city, right or not: only which links they join, and how many use a link, is
taken from them. Roots of flows are told, for their noise does not grow with the flow (and GEH is nearly their
difference): a mean by lanes and demand whose coefficients are shrunk (ridge), and a Gaussian process on what is left.
The noise has heavy tails: a detector that its neighbours contradict is believed less, at all times.

Notes
-----
Sources: Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, sec. 2.7 (a mean with coefficients of
their own) and 5.4.2 (leaving out in closed form), ISBN 026218253X; Lange, Little & Taylor (1989), Robust statistical
modeling using the t distribution, doi:10.1080/01621459.1989.10478852; Vovk, Gammerman & Shafer (2005), Algorithmic
Learning in a Random World (intervals), doi:10.1007/b106715.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sensors import InputError

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]

LEAST = 5  # counted links: fewer cannot be left out in turn to choose anything
INTERVAL = 0.9
# Degrees of freedom of the noise: Lange et al. find 3 to 5 in most data. The steps lead close to where it settles.
TAIL, _STEPS = 3.0, 8
LEVEL_VARIANCE = 10.0  # of the unknown level, in variances of the noise-free process
# What is tried: variances of the coefficients of the mean, of the process of shared routes, and of the noise.
_MEANS, _SHARED, _NOISES = (0.3, 3.0), (0.1, 0.3, 1.0, 3.0), (0.03, 0.1, 0.3)
_LINKS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Balance:
    """Variances of what makes a flow, each relative to the others.

    Parameters
    ----------
    mean
        Of the coefficients of roots of lanes and demand, both standardised, and of being on no route.
    shared
        Of what links share with those on the same routes.
    noise
        Of what each link has for itself, its detector's errors included.
    """

    mean: float
    shared: float
    noise: float


@dataclass(frozen=True, slots=True)
class Flows:
    """What counted links say of all links.

    Parameters
    ----------
    flow : (n_times, n_links)
        In the unit of the counted flows; also of counted links, smoothed.
    low, high : (n_times, n_links)
        Ends of the 90 % interval of what a detector there would count.
    belief : (n_counted,)
        1 for a detector whose noise is the usual one, towards 0 for one that its neighbours contradict.
    balance
        Chosen, or as given.
    """

    flow: Float
    low: Float
    high: Float
    belief: Float
    balance: Balance


def tell(
    flow: Float, counted: Long, *, use: sparse.csr_array, lanes: npt.ArrayLike, balance: Balance | None = None
) -> Flows:
    """Return flows of all links with intervals.

    Parameters
    ----------
    flow : (n_times, n_counted) veh/s, or any other unit of flow
        Of the counted links, at times of which any may be busier than others as a whole.
    counted : (n_counted,)
        Positions of the counted links.
    use : (n_routes, n_links)
        How many vehicles of each route pass each link, 0 where it does not lead.
    lanes : (n_links,)
    balance
        Chosen by leaving each counted link out when not given: the least sum of absolute errors.

    Raises
    ------
    InputError
        When shapes do not fit, a flow is no flow, or fewer than `LEAST` links are counted.

    Notes
    -----
    A street that no route uses is not a street without traffic: it has a level of its own. Choosing costs some two
    hundred inversions of a matrix of the counted links: 0.3 s of CPU for a hundred of them, 22 s for a thousand.

    Examples
    --------
    Six streets of which each two in a row are one road, all of two lanes; the last is not counted.

    >>> use = sparse.csr_array(np.kron(np.diag([100.0, 400.0, 900.0]), [[1.0, 1.0]]))
    >>> flow = np.array([[0.02, 0.02, 0.12, 0.12, 0.25]])
    >>> told = tell(flow, np.arange(5), use=use, lanes=np.full(6, 2))
    >>> bool(abs(told.flow[0, 5] - 0.25) < 0.02)
    True
    """
    flow, counted, lanes = np.asarray(flow, np.float64), np.asarray(counted, np.int64), np.asarray(lanes, np.float64)
    use = sparse.csr_array(use)
    _check(flow, counted, use, lanes)
    root = np.sqrt(flow)
    middle = np.mean(root, axis=1, keepdims=True)
    level = np.where(middle > 0, middle / max(float(middle.mean()), 1e-300), 1.0)
    rest = (root - middle) / level
    features, shared = _features(use, lanes, counted), _Shared(use, counted)
    by_mean, by_routes = features[counted] @ features[counted].T, shared.among()
    best, found = np.inf, None
    for tried in [balance] if balance is not None else _grid():
        fit = _Fit.of(rest, LEVEL_VARIANCE + tried.mean * by_mean + tried.shared * by_routes, tried)
        error = float(np.abs(_square(middle + level * fit.left_out) - flow).sum())
        if found is None or error < best:
            best, found = error, fit
    assert found is not None
    fit, balance = found, found.balance
    told, deviation = np.empty((len(flow), len(lanes))), np.empty(len(lanes))
    for first in range(0, len(lanes), _LINKS_AT_ONCE):
        part = slice(first, first + _LINKS_AT_ONCE)
        alike, own = shared.with_links(part)
        cross = LEVEL_VARIANCE + balance.mean * features[counted] @ features[part].T + balance.shared * alike
        itself = LEVEL_VARIANCE + balance.mean * (features[part] ** 2).sum(axis=1) + balance.shared * own
        told[:, part] = fit.weights @ cross
        known = np.einsum("sn,sn->n", cross, fit.inverse @ cross)
        deviation[part] = np.sqrt(np.maximum(itself - known, 0.0) + balance.noise)
    wide = fit.reach * deviation
    return Flows(
        _square(middle + level * told),
        _square(middle + level * (told - wide)),
        _square(middle + level * (told + wide)),
        np.minimum(balance.noise / fit.noise, 1.0),
        balance,
    )


def _check(flow: Float, counted: Long, use: sparse.csr_array, lanes: Float) -> None:
    n = use.shape[1]
    if lanes.shape != (n,):
        raise InputError(f"lanes has shape {lanes.shape}, must be ({n},): one for each link of the routes")
    odd = np.flatnonzero(~(np.isfinite(lanes) & (lanes >= 0)))
    if len(odd):
        raise InputError(f"link {odd[0]} has {lanes[odd[0]]} lanes, must be 0 or more")
    if counted.ndim != 1 or flow.ndim != 2 or flow.shape[1] != len(counted):
        raise InputError(
            f"flow has shape {flow.shape}, must be (n_times, {counted.size}): a column for each counted link"
        )
    if len(counted) < LEAST or not len(flow):
        raise InputError(f"{len(counted)} counted links at {len(flow)} times, must be {LEAST} or more at one or more")
    if counted.min() < 0 or counted.max() >= n or len(np.unique(counted)) < len(counted):
        raise InputError(f"counted links must be different positions from 0 to {n - 1}")
    bad = ~(np.isfinite(flow) & (flow >= 0))
    if bad.any():
        at, k = (int(part[0]) for part in np.nonzero(bad))
        raise InputError(f"flow of link {counted[k]} at time {at} is {flow[at, k]}, must be 0 or more")
    if not (np.isfinite(use.data) & (use.data >= 0)).all():
        raise InputError("the use of a link by a route must be a number of vehicles, 0 or more")


def _grid() -> Iterator[Balance]:
    return (Balance(*each) for each in itertools.product(_MEANS, _SHARED, _NOISES))


def _square(root: Float) -> Float:
    return np.asarray(np.maximum(root, 0.0) ** 2, np.float64)


def _features(use: sparse.csr_array, lanes: Float, counted: Long) -> Float:
    """Return what the mean is made of, (n_links, 3), standardised on the counted links."""
    demand = np.asarray(use.sum(axis=0), np.float64).ravel()
    columns = np.column_stack((np.sqrt(lanes), np.sqrt(demand), demand == 0))
    spread = columns[counted].std(axis=0)
    # What all counted links have in common teaches nothing, and must not tell the others.
    return np.where(spread > 0, (columns - columns[counted].mean(axis=0)) / np.where(spread > 0, spread, 1.0), 0.0)


class _Shared:
    """Vehicles that use both of two links, over the geometric mean of those that use each: a cosine, 0 to 1."""

    def __init__(self, use: sparse.csr_array, counted: Long) -> None:
        root = use.sqrt()  # a route of many vehicles is as many routes of one
        norm = np.sqrt(np.asarray(use.sum(axis=0), np.float64).ravel())
        self._used = norm > 0
        self._root = sparse.csc_array(
            root @ sparse.diags_array(np.where(self._used, 1 / np.maximum(norm, 1e-300), 0.0))
        )
        self._counted = self._root[:, counted]

    def among(self) -> Float:
        return np.asarray((self._counted.T @ self._counted).toarray(), np.float64)

    def with_links(self, part: slice) -> tuple[Float, Float]:
        """Return (n_counted, n) of some links, and (n,) of each with itself: 0 when on no route."""
        alike = (self._counted.T @ self._root[:, part]).toarray()
        return np.asarray(alike, np.float64), self._used[part].astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Fit:
    """A balance, with how much each counted link is believed.

    Parameters
    ----------
    inverse : (s, s)
        Of the covariance of counted links, each with its own noise.
    noise : (s,)
    weights : (n_times, s)
    left_out : (n_times, s)
        What the others say of each.
    reach
        So many deviations hold nine tenths of the errors of links left out.
    """

    balance: Balance
    inverse: Float
    noise: Float
    weights: Float
    left_out: Float
    reach: float

    @classmethod
    def of(cls, rest: Float, covariance: Float, balance: Balance) -> "_Fit":
        """Fit the noises of rest, (n_times, s), by expectation and maximisation of Student's t."""
        s = len(covariance)
        noise = np.full(s, balance.noise)
        for _ in range(_STEPS):
            inverse = np.asarray(np.linalg.inv(covariance + np.diag(noise)), np.float64)
            weights = rest @ inverse
            variance = max(float((weights * rest).sum()) / rest.size, 1e-300)  # of all, per unit of the balance
            square = ((weights * noise) ** 2).mean(axis=0) / variance + noise - noise**2 * np.diag(inverse)
            noise = np.asarray((TAIL * balance.noise + square) / (TAIL + 1), np.float64)
        inverse = np.asarray(np.linalg.inv(covariance + np.diag(noise)), np.float64)
        weights = rest @ inverse
        error = weights / np.diag(inverse)
        deviation = np.sqrt(np.maximum(1 / np.diag(inverse) - noise, 0.0) + balance.noise)
        reach = np.quantile(np.abs(error) / deviation, min(INTERVAL * (1 + 1 / s), 1.0))
        return cls(balance, inverse, noise, weights, rest - error, float(reach))
