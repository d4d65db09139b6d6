"""What every score needs: the dull alternatives, what is hidden, and a table with what is owed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

NEAREST_FEW, NEAR_M = 5, 200.0


@dataclass(frozen=True)
class Hidden:
    """What was told of hidden sensors, beside what they had measured.

    Parameters
    ----------
    truth : (n_times, n_hidden)
        NaN where nothing was measured.
    told
        By name of the method, of the same shape.
    low, high : (n_times, n_hidden)
        Ends of the 90 % interval of ours.
    """

    truth: Float
    told: dict[str, Float]
    low: Float
    high: Float

    def error(self, name: str) -> float:
        """Return the mean absolute error of a method over all hidden values."""
        return float(np.nanmean(np.abs(self.told[name] - self.truth)))

    def covered(self, where: Bool | None = None) -> float:
        """Return the share of hidden values within the interval; NaN without any."""
        known = np.isfinite(self.truth) & (True if where is None else where)
        within = (self.truth >= self.low) & (self.truth <= self.high)
        return float(within[known].mean()) if known.any() else float("nan")


def hide(n: int, share: float, *, seed: int) -> tuple[Long, Long]:
    """Return the positions of hidden and of visible sensors, each ascending."""
    hidden = np.sort(np.random.default_rng(seed).choice(n, int(share * n), replace=False))
    return hidden, np.setdiff1d(np.arange(n), hidden)


def dull(value: Float, road: Float, link_class: Long, hidden_class: Long) -> dict[str, Float]:
    """Return what nearest, inverse distance and class mean say of hidden sensors.

    Parameters
    ----------
    value : (n_times, n_visible)
        NaN where nothing was measured; a method takes the next sensor that reports.
    road : (n_hidden, n_visible) m
    link_class, hidden_class : (n_visible,), (n_hidden,)
    """
    order = np.argsort(road, axis=1, kind="stable")
    told = {name: np.full((len(value), len(road)), np.nan) for name in ("nearest", "inverse distance", "class mean")}
    for k, row in enumerate(value):
        near = row[order]
        first = np.argsort(np.isnan(near), axis=1, kind="stable")[:, :NEAREST_FEW]
        few = np.take_along_axis(near, first, 1)
        far = np.take_along_axis(np.take_along_axis(road, order, 1), first, 1)
        weight = np.where(np.isfinite(few), 1 / (far + NEAR_M), 0.0)
        told["nearest"][k] = few[:, 0]
        told["inverse distance"][k] = np.nansum(weight * few, axis=1) / np.maximum(weight.sum(axis=1), 1e-12)
        every = np.nanmean(row)
        for one in np.unique(hidden_class):
            same = row[(link_class == one) & np.isfinite(row)]
            told["class mean"][k, hidden_class == one] = same.mean() if len(same) else every
    return told


def table(seeds: Iterable[int], case: Callable[[int], Hidden], *, unit: str, owed: str, slow: float) -> list[str]:
    """Return a line for each method, mean over seeds and each of them, and one for the intervals.

    Parameters
    ----------
    case
        Hides by seed.
    slow
        Coverage is given of true values below this as well.
    """
    found = [case(seed) for seed in seeds]
    lines = []
    for name in found[0].told:
        each = [one.error(name) for one in found]
        mark = f"  (owed: {owed})" if name == "citytwin" else ""
        lines.append(f"    {name:<18} {np.mean(each):6.2f} {unit}   {' '.join(f'{e:.2f}' for e in each)}{mark}")
    every = [one.covered() for one in found]
    below = [one.covered(one.truth < slow) for one in found]
    wide = np.mean([np.nanmean(one.high - one.low) for one in found])
    lines.append(
        f"    90 % interval: {np.mean(every):.1%} of all hidden values ({' '.join(f'{e:.1%}' for e in every)}), "
        f"{np.mean(below):.1%} of those below {slow:g} {unit}; {wide:.1f} {unit} wide on average"
    )
    return lines
