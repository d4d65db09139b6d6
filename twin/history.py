"""What detectors saw in the past, as the table an estimator learns from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensors.errors import InputError

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]

BIN_S, DAY_S = 900.0, 86_400.0
# A bin of the day is drawn towards the sensor's own mean as if so many of its values had been that.
_SHRINK = 2.0


@dataclass(frozen=True, slots=True)
class History:
    """Past values of one quantity on the links that have detectors.

    Parameters
    ----------
    time : (n_times,) s since 1970 UTC
        Ascending.
    links : (s,)
        Positions of the links, each once.
    value : (n_times, s) m/s or veh/s over all lanes
        NaN where nothing was measured.
    noise : (n_times, s) unit of the quantity
        Standard deviation of each value from what was true, as far as the detector is to blame; None: not known, and
        what is told of the true values then has the noise of detectors in it.

    Raises
    ------
    InputError
        The shapes do not fit, a link stands twice, a time does not ascend, or a value is infinite or negative, or its
        noise is no deviation.
    """

    time: Float
    links: Long
    value: Float
    noise: Float | None = None

    def __post_init__(self) -> None:
        if self.value.shape != (len(self.time), len(self.links)):
            shape = f"{self.value.shape[0]} x {self.value.shape[1]}" if self.value.ndim == 2 else f"{self.value.shape}"
            raise InputError(f"history: {shape} values for {len(self.time)} times and {len(self.links)} links")
        repeated = np.flatnonzero(np.bincount(self.links) > 1) if len(self.links) else self.links
        if len(repeated):
            raise InputError(f"history: link {repeated[0]} stands there twice")
        back = np.flatnonzero(~(np.diff(self.time) > 0))
        if len(back):
            raise InputError(
                f"history: time {back[0] + 1} ({self.time[back[0] + 1]:.0f} s) is not after the one before it"
            )
        wrong = np.isinf(self.value) | (self.value < 0)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise InputError(
                f"history: value {self.value[row, column]} of link {self.links[column]} at time {row}: "
                "nought or more, or NaN where nothing was measured"
            )
        if self.noise is None:
            return
        if self.noise.shape != self.value.shape:
            raise InputError(f"history: noise of shape {self.noise.shape} for values of shape {self.value.shape}")
        odd = np.isfinite(self.value) & ~(np.isfinite(self.noise) & (self.noise >= 0))
        if odd.any():
            row, column = np.argwhere(odd)[0]
            noise, link = self.noise[row, column], self.links[column]
            raise InputError(f"history: noise {noise} of link {link} at time {row}: must be 0 or more")


@dataclass(frozen=True, slots=True)
class DayProfile:
    """Mean of each sensed link by quarter of an hour of the UTC day.

    Parameters
    ----------
    mean : (96, s)
    """

    mean: Float

    @classmethod
    def of(cls, time: Float, value: Float) -> "DayProfile":
        """Return the profile of (n_times, s) values; three bins are averaged, few values drawn to the link's mean.

        Examples
        --------
        >>> profile = DayProfile.of(np.arange(96) * 900.0, np.full((96, 1), 7.0))
        >>> profile.at(86_400.0 * 3 + 60.0)
        array([7.])
        """
        n_bins = int(DAY_S / BIN_S)
        place = (np.mod(time, DAY_S) / BIN_S).astype(np.int64)
        known = np.isfinite(value)
        total, count = np.zeros((n_bins, value.shape[1])), np.zeros((n_bins, value.shape[1]))
        np.add.at(total, place, np.where(known, value, 0.0))
        np.add.at(count, place, known)
        every = float(total.sum() / max(count.sum(), 1.0))
        mean = np.where(known.any(axis=0), total.sum(axis=0) / np.maximum(count.sum(axis=0), 1.0), every)
        total, count = (part + np.roll(part, 1, axis=0) + np.roll(part, -1, axis=0) for part in (total, count))
        return cls((total + _SHRINK * mean) / (count + _SHRINK))

    def at(self, time: float) -> Float:
        """Return what is usual at a time, (s,)."""
        return np.asarray(self.mean[int(time % DAY_S / BIN_S)], np.float64)
