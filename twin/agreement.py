"""How the series of a city agree: what its neighbours say that a sensor should read, learned from their own past.

Every series has a few *peers*, the nearest of its quantity. Each peer alone predicts it by a line learned from both
pasts; the predictions are joined by a weighted mean that listens less to a peer far from their weighted median, so that
a faulty, silent or suspected peer does no harm. No matrix is solved: work and memory grow with the number of series.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

N_PEERS = 16
# What is learned fades after so many readings: at five minutes, two weeks.
FADING_READINGS = 14 * 288.0
# Readings that a pair must share before one predicts the other.
SHARED_READINGS = 48.0
# Shares of a series' own variance: noise of a peer (keeps slopes below one), and the least error of a prediction.
PEER_NOISE, LEAST_ERROR = 0.03, 0.002
# A peer weighs by the inverse of its error variance to this power: several near peers tell the same story twice.
SHARPNESS = 8
# Variance of the peers' predictions about their mean that joins the variance of the error.
DISAGREEMENT = 1.0
# Quantiles of a series' values that part the levels at which its error is learned: a queue is harder to predict.
LEVELS = (0.1, 0.3, 0.6)
# An error of one level weighs as much as so many readings of all levels.
LEVEL_READINGS = 30.0
TINY = 1e-12


def nearest(xy: Float, group: Int, own: Int, *, among: Bool) -> Int:
    """Return (n, N_PEERS) the nearest series of the same group and of another sensor, -1 where there are no more.

    Parameters
    ----------
    xy : (n, 2) m
    group : (n,)
        Quantity as a number; series are compared within it.
    own : (n,)
        Sensor as a number; a sensor is not its own peer.
    among : (n,)
        Which series may be peers.
    """
    peers = np.full((len(xy), N_PEERS), -1, np.int64)
    for kind in np.unique(group):
        rows = np.flatnonzero(group == kind)
        able = rows[among[rows]]
        if len(able) < 2:
            continue
        found = cKDTree(xy[able]).query(xy[rows], k=min(N_PEERS + 4, len(able)))[1]
        found = able[found.reshape(len(rows), -1)]
        other = own[found] != own[rows][:, None]
        place = np.cumsum(other, axis=1) - 1
        take = other & (place < N_PEERS)
        at, column = np.nonzero(take)
        peers[rows[at], place[at, column]] = found[at, column]
    return peers


class Agreement:
    """Learns lines between series and predicts each from its peers.

    Parameters
    ----------
    peers : (n, k)
        Rows of the peers, -1 where there is none.
    """

    def __init__(self, peers: Int) -> None:
        n, k = peers.shape
        self.peers = peers
        self._shared = np.zeros((n, k))
        self._own_mean, self._peer_mean = np.zeros((n, k)), np.zeros((n, k))
        self._own_var, self._peer_var, self._joint = np.zeros((n, k)), np.zeros((n, k)), np.zeros((n, k))
        self.readings, self._mean, self.variance = np.zeros(n), np.zeros(n), np.zeros(n)
        self._level = np.full((n, len(LEVELS)), np.nan)
        self._errors, self._error_mean, self._error_var = (np.zeros((n, len(LEVELS) + 1)) for _ in range(3))
        self._joined, self._spread = np.full(n, np.nan), np.full(n, np.nan)

    def __len__(self) -> int:
        return len(self.peers)

    def _seen(self, value: Float, trusted: Bool) -> Float:
        """Return (n, k) what the peers read, NaN where they are silent, not trusted or not there."""
        seen = np.where(trusted, value, np.nan)[self.peers]
        return np.where(self.peers >= 0, seen, np.nan)

    def predict(self, value: Float, trusted: Bool) -> tuple[Float, Float]:
        """Return (n,) what each series should read, and the deviation of that; NaN where no peer can say.

        Parameters
        ----------
        value : (n,)
            NaN where nothing was read.
        trusted : (n,)
            Whose value may speak for others.
        """
        seen = self._seen(value, trusted)
        noise = self._peer_var + PEER_NOISE * self._peer_var + TINY
        slope = self._joint / noise
        error = np.maximum(self._own_var - slope * self._joint, LEAST_ERROR * self._own_var) + TINY
        said = self._own_mean + slope * (seen - self._peer_mean)
        speaks = np.isfinite(said) & (self._shared >= SHARED_READINGS)
        with np.errstate(invalid="ignore"):
            weight = np.where(speaks, (error.min(axis=1, keepdims=True) / error) ** SHARPNESS, 0.0)
        said = np.where(speaks, said, 0.0)
        middle = _weighted_median(said, weight, speaks)
        # Huber's weights: a peer more than three of its deviations off the others counts as if it were just there.
        off = np.abs(said - middle[:, None])
        weight *= np.minimum(1.0, 3 * np.sqrt(error) / np.maximum(off, TINY))
        total = weight.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            joined = np.where(total > 0, (weight * said).sum(axis=1) / total, np.nan)
        self._joined = joined
        place = self._place(joined)
        every = np.arange(len(self))
        count = self._errors[every, place]
        of_all = np.maximum(self._errors.sum(axis=1), 1.0)
        usual = (self._error_var * self._errors).sum(axis=1) / of_all
        mean = self._error_mean[every, place] * count / (count + LEVEL_READINGS)
        spread = (self._error_var[every, place] * count + usual * LEVEL_READINGS) / (count + LEVEL_READINGS)
        # Where the peers disagree, as at the tail of a queue, none of them knows.
        apart = (weight * (said - np.nan_to_num(joined)[:, None]) ** 2).sum(axis=1) / np.maximum(total, TINY)
        self._spread = np.sqrt(DISAGREEMENT * apart + spread + LEAST_ERROR * self.variance + TINY)
        return joined + mean, self._spread

    def _place(self, value: Float) -> Int:
        """Return (n,) the level of each value among those of its series."""
        return np.asarray((np.nan_to_num(value)[:, None] > np.nan_to_num(self._level)).sum(axis=1), np.int64)

    def learn(self, value: Float, trusted: Bool) -> None:
        """Learn from the values that `predict` has just been asked about; only those of trusted series."""
        own = np.where(trusted, value, np.nan)
        seen = self._seen(value, trusted)
        both = np.isfinite(own)[:, None] & np.isfinite(seen)
        self._shared += both
        gain = np.where(both, 1 / np.minimum(np.maximum(self._shared, 1.0), FADING_READINGS), 0.0)
        of_own = np.where(both, own[:, None] - self._own_mean, 0.0)
        of_peer = np.where(both, seen - self._peer_mean, 0.0)
        self._own_mean += gain * of_own
        self._peer_mean += gain * of_peer
        self._own_var = (1 - gain) * (self._own_var + gain * of_own**2)
        self._peer_var = (1 - gain) * (self._peer_var + gain * of_peer**2)
        self._joint = (1 - gain) * (self._joint + gain * of_own * of_peer)
        known = np.isfinite(own)
        self.readings += known
        gain = np.where(known, 1 / np.minimum(np.maximum(self.readings, 1.0), FADING_READINGS), 0.0)
        off = np.where(known, own - self._mean, 0.0)
        self._mean += gain * off
        self.variance = (1 - gain) * (self.variance + gain * off**2)
        self._learn_error(own, known & np.isfinite(self._joined) & (self.readings > 2 * SHARED_READINGS))
        # Quantiles by small steps up and down (Robbins and Monro 1951, doi:10.1214/aoms/1177729586).
        self._level = np.where(known[:, None] & np.isnan(self._level), own[:, None], self._level)
        above = own[:, None] > self._level
        step = 0.05 * np.sqrt(self.variance)[:, None] * np.where(above, LEVELS, np.array(LEVELS) - 1)
        self._level += np.where(known[:, None], step, 0.0)

    def _learn_error(self, own: Float, known: Bool) -> None:
        rows = np.flatnonzero(known)
        place = self._place(self._joined)[rows]
        limit = 5 * self._spread[rows]  # one accident must not make a series deaf
        error = np.clip(own[rows] - self._joined[rows], -limit, limit)
        self._errors[rows, place] += 1
        gain = 1 / np.minimum(self._errors[rows, place], FADING_READINGS)
        off = error - self._error_mean[rows, place]
        self._error_mean[rows, place] += gain * off
        self._error_var[rows, place] = (1 - gain) * (self._error_var[rows, place] + gain * off**2)


def adopt(new: object, old: object) -> None:
    """Copy all arrays of an object into the first rows of those of a larger one of its class."""
    for name, value in vars(old).items():
        if isinstance(value, np.ndarray):
            getattr(new, name)[: len(value)] = value
        else:
            adopt(getattr(new, name), value)


def columns(of: object, prefix: str = "") -> dict[str, npt.NDArray[Any]]:
    """Return all arrays of an object and of the objects that it holds, by dotted name."""
    found: dict[str, npt.NDArray[Any]] = {}
    for name, value in vars(of).items():
        if isinstance(value, np.ndarray):
            found[prefix + name] = value
        else:
            found |= columns(value, f"{prefix}{name}.")
    return found


def _weighted_median(value: Float, weight: Float, there: Bool) -> Float:
    """Return (n,) the weighted median of each row."""
    order = np.argsort(np.where(there, value, np.inf), axis=1)
    total = np.cumsum(np.take_along_axis(weight, order, 1), axis=1)
    half = (total >= 0.5 * total[:, -1:]).argmax(axis=1)
    at = np.take_along_axis(order, half[:, None], 1)
    return np.asarray(np.take_along_axis(value, at, 1)[:, 0], np.float64)
